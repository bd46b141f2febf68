"""NumPy's module while somebody records.

`np.array`, `np.asarray`, `np.full` and their kin do not dispatch on what they are
given, and no function dispatches on the elements of a list.  While a recording goes on
anywhere in the process, these names of NumPy's module hold the wrappers made here.  A
wrapper calls NumPy's own function, unless its thread is recording, the caller is the
user's code and a traced value is among the arguments; so other threads notice nothing.
After the last recording NumPy is as it was.

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

from ..tracer import (
    FUNCTIONS,
    SERVED,
    Tracer,
    active_recorder,
    is_calling,
    is_inside,
    refuse,
)
from . import (
    calculus,
    creation,
    indexing,
    joining,
    linalg,
    means,
    order_statistics,
    products,
    reductions,
    selection,
    statistics,
)
from .buffers import made, plain
from .table import as_tracer, cast, emit, filled, recorder_of, stack_nested, tracers_in

__all__: list[str] = []

#: The families whose functions are served below; importing them fills the table.
_FAMILIES = (
    calculus,
    creation,
    indexing,
    joining,
    linalg,
    means,
    order_statistics,
    products,
    reductions,
    selection,
    statistics,
)


def _serve(
    name: str, makes: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function as what `np.<name>` does with traced values.

    Args:
        makes: whether it makes arrays that may be written to, see `buffers`.
    """
    original = operator.attrgetter(name)(np)
    module, _, short = name.rpartition(".")

    def enter(implementation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def served(*args: Any, **kwargs: Any) -> Any:
            rec = active_recorder()
            if rec is None or is_inside(caller := sys._getframe(1)):
                return original(*args, **kwargs)
            if args and type(args[0]) is Tracer:
                result = implementation(*args, **kwargs)
                return made(result) if makes else result
            found = next(iter(tracers_in([*args, *kwargs.values()])), None)
            if found is None:
                result = original(*plain(args), **plain(kwargs))
                if makes and is_calling(caller, short, (served, original)):
                    return made(result, *args, *kwargs.values())
                return result
            result = implementation(*args, **kwargs)
            return made(result) if makes else result

        SERVED[getattr(np, module) if module else np, short] = served
        return implementation

    return enter


@_serve("array", makes=True)
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
    _serve(_name, makes=True)(_asarray)
for _name in ("ascontiguousarray", "asfortranarray"):
    _serve(_name, makes=True)(_ascontiguous)


@_serve("full", makes=True)
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
    return filled(rec, shape, fill, fill.dtype if dtype is None else np.dtype(dtype))


@_serve("arange", makes=True)
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

    _serve(name, makes=True)(implementation)


for _name in ("eye", "identity", "tri", "zeros", "ones", "empty"):
    _by_index(_name)

# fmt: off
#: Dispatching functions that are often given a list of scalars, or that do not look at
#: the argument that is traced (the indices of `np.take`).
_OF_LISTS = (
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "cumsum", "diff",
    "dot", "inner", "linalg.norm", "max", "mean", "median", "min",
    "outer", "prod", "sort", "std", "sum", "take", "var", "vdot",
)
# fmt: on
for _name in _OF_LISTS:
    _serve(_name)(FUNCTIONS[operator.attrgetter(_name)(np)])

#: Dispatching functions that make arrays.
_MAKING = (
    "copy empty_like full_like geomspace linspace logspace ones_like zeros_like".split()
)
for _name in _MAKING:
    _serve(_name, makes=True)(FUNCTIONS.get(getattr(np, _name), getattr(np, _name)))
