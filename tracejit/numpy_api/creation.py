"""Making arrays: `*_like`, and NumPy's creation functions while somebody records.

`np.array`, `np.asarray`, `np.full` and their kin do not dispatch on what they are
given.  While a recording goes on anywhere in the process, the names of NumPy's module
hold the wrappers made here.  A wrapper calls NumPy's own function, unless its thread is
recording, the caller is the user's code and a traced value is among the arguments; so
other threads notice nothing.  After the last recording NumPy is as it was.

Whoever kept the original (`from numpy import array`) gets an error from it that names
the way out, because a traced value cannot be converted.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import SERVED, Tracer, active_recorder, is_inside, refuse
from .shape import stack
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
    recorder_of,
    stack_nested,
    tracers_in,
)

__all__: list[str] = []


# --- like another array ---------------------------------------------------------------


def _filled(
    a: Any, value: Any, dtype: Any, shape: Any, function: Callable[..., Any]
) -> Any:
    rec = recorder_of(a, value)
    if shape is None:
        shape = a.shape if type(a) is Tracer else np.shape(a)
    elif not isinstance(shape, (tuple, list)):
        shape = (shape,)
    shape = tuple([operator.index(n) for n in shape])
    dtype = (
        (a if type(a) is Tracer else np.asarray(a)).dtype if dtype is None else dtype
    )
    return _full(rec, shape, value, np.dtype(dtype))


def _full(rec: Any, shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Tracer:
    fill = cast(as_tracer(rec, value), dtype)
    # Its own memory: other than a broadcast view, it may be written in place.
    return emit("broadcast_to", fill, shape=shape)


def _like(function: Callable[..., Any], value: int) -> None:
    @implements(function)
    def like(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        return _filled(a, value, dtype, shape, function)

    like.__name__ = function.__name__


_like(np.zeros_like, 0)
_like(np.ones_like, 1)
# What is in uninitialised memory is nobody's business: zeros.
_like(np.empty_like, 0)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    return _filled(a, fill_value, dtype, shape, np.full_like)


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return Tracer(a.rec, a.ref, None, False)


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x.astype(dtype, copy=copy)


@implements(np.meshgrid)
def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Any, ...]:
    rec = recorder_of(*xi)
    axes = [as_tracer(rec, x) for x in xi]
    n = len(axes)
    places = list(range(n))
    if indexing == "xy" and n > 1:
        places[0], places[1] = 1, 0
    sizes = [0] * n
    for x, place in zip(axes, places, strict=True):
        sizes[place] = x.size
    found = []
    for x, place in zip(axes, places, strict=True):
        shape = tuple(x.size if i == place else 1 for i in range(n))
        grid = emit("reshape", x, shape=shape)
        found.append(grid if sparse else emit("broadcast_to", grid, shape=tuple(sizes)))
    return tuple(found)


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    if retstep or axis != 0:
        refuse("np.linspace with retstep= or axis=")
    rec = recorder_of(start, stop, num)
    num = operator.index(num)
    first, last = as_tracer(rec, start) * 1.0, as_tracer(rec, stop) * 1.0
    delta = last - first
    counter = np.arange(0, num, dtype=delta.dtype).reshape((-1,) + (1,) * delta.ndim)
    divisor = num - 1 if endpoint else num
    step = delta / max(divisor, 1)
    out = counter * step + first
    if endpoint and num > 1:
        ends = stack([as_tracer(rec, stop) * 1.0 + 0 * delta])
        out = emit("concatenate", out[:-1], ends, axis=0)
    return out if dtype is None else cast(out, dtype)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    n = len(x) if N is None else operator.index(N)
    powers: list[Any] = [_full(x.rec, x.shape, 1, x.dtype)]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    return stack(powers[:n] if increasing else powers[:n][::-1], 1)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    total: Any = 0
    for coefficient in p:
        total = total * x + coefficient
    return total


# --- NumPy's creation functions while somebody records --------------------------------


def _serve(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    original = getattr(np, name)

    def enter(implementation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def served(*args: Any, **kwargs: Any) -> Any:
            rec = active_recorder()
            if rec is None or is_inside(sys._getframe(1)):
                return original(*args, **kwargs)
            found = next(iter(tracers_in([*args, *kwargs.values()])), None)
            if found is None:
                return original(*args, **kwargs)
            return implementation(*args, **kwargs)

        SERVED[name] = served
        return implementation

    return enter


@_serve("array")
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
    ndmax: Any = None,
) -> Any:
    rec = recorder_of(object)
    if dtype is not None and np.dtype(dtype) == np.dtype(np.object_):
        refuse("np.array(..., dtype=object) of traced values", "Keep them in a list")
    if type(object) is Tracer:
        x = Tracer(rec, object.ref, None, False) if copy else object
    else:
        x = stack_nested(rec, object)
    x = x if dtype is None else cast(x, dtype)
    if x.ndim < ndmin:
        x = emit("reshape", x, shape=(1,) * (ndmin - x.ndim) + x.shape)
    return x


def _asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: Any = None,
    like: Any = None,
) -> Any:
    if type(a) is Tracer and not copy and (dtype is None or a.dtype == dtype):
        return a
    return array(a, dtype)


def _ascontiguous(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    x = _asarray(a, dtype)
    return x if x.ndim else emit("reshape", x, shape=(1,))


for _name in ("asarray", "asanyarray", "asarray_chkfinite"):
    _serve(_name)(_asarray)
for _name in ("ascontiguousarray", "asfortranarray"):
    _serve(_name)(_ascontiguous)


@_serve("full")
def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Any:
    rec = recorder_of(shape, fill_value)
    shape = shape if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple([operator.index(n) for n in shape])
    fill = as_tracer(rec, fill_value)
    return _full(rec, shape, fill, fill.dtype if dtype is None else np.dtype(dtype))


@_serve("arange")
def arange(*args: Any, **kwargs: Any) -> Any:
    """`np.arange` of traced ints: guards make them ordinary ones."""

    def number(x: Any) -> Any:
        if type(x) is Tracer and x.dtype.kind == "f":
            refuse("np.arange of traced floats", "Write start + step * np.arange(n)")
        return operator.index(x) if type(x) is Tracer else x

    return np.arange(
        *[number(a) for a in args], **{k: number(v) for k, v in kwargs.items()}
    )


def _by_index(name: str) -> None:
    original = getattr(np, name)

    def implementation(*args: Any, **kwargs: Any) -> Any:
        ints = [operator.index(a) if type(a) is Tracer else a for a in args]
        return original(*ints, **kwargs)

    _serve(name)(implementation)


for _name in ("eye", "identity", "tri"):
    _by_index(_name)
