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
from types import BuiltinFunctionType, FunctionType
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
    stamped,
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
from .refusals import REFUSALS
from .table import (
    ENTRIES,
    as_tracer,
    cast,
    common,
    emit,
    enter,
    filled,
    recorder_of,
    stack_nested,
    tracers_in,
)

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
    name: str, makes: bool = False, *, gradient: bool = True, entered: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function as what `np.<name>` does with traced values.

    Args:
        makes: whether it makes arrays that may be written to, see `buffers`.
    """
    original = operator.attrgetter(name)(np)
    module, _, short = name.rpartition(".")

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        if entered and f"np.{name}" not in ENTRIES:
            enter(f"np.{name}", "function", implementation, gradient=gradient)

        @functools.wraps(original)
        def served(*args: Any, **kwargs: Any) -> Any:
            rec = active_recorder()
            if rec is None or is_inside(caller := sys._getframe(1)):
                return original(*args, **kwargs)
            if args and type(args[0]) is Tracer:
                result = stamped(implementation, args, kwargs)
                return made(result) if makes else result
            found = next(iter(tracers_in([*args, *kwargs.values()])), None)
            if found is None:
                result = original(*plain(args), **plain(kwargs))
                if makes and is_calling(caller, short, (served, original)):
                    return made(result, *args, *kwargs.values())
                return result
            result = stamped(implementation, args, kwargs)
            return made(result) if makes else result

        owner = operator.attrgetter(module)(np) if module else np
        SERVED[owner, short] = served
        return implementation

    return register


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
    if x.weak is not None:
        x = Tracer(rec, x.ref, None, False)
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


@_serve("require")
def require(
    a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None
) -> Any:
    return _asarray(a, dtype)


def _asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Any:
    x = _asarray(a, dtype)
    if not np.all(np.isfinite(x)):
        raise ValueError("array must not contain infs or NaNs")
    return x


_serve("asarray_chkfinite")(_asarray_chkfinite)
for _name in ("asarray", "asanyarray"):
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
    """`np.arange`: guards make traced ints ordinary ones, and hold the count of floats.

    Like NumPy, it counts from the first two elements.
    """
    if not any(type(x) is Tracer and x.dtype.kind == "f" for x in _both(args, kwargs)):
        ints = [_number(a) for a in args]
        named = {key: _number(value) for key, value in kwargs.items()}
        return np.arange(*ints, **named)
    start, stop, step, dtype = _arange_arguments(*args, **kwargs)
    rec = recorder_of(start, stop, step)
    found = np.dtype(dtype) if dtype is not None else None
    if found is None:
        (found,) = {t.dtype for t in common_of(rec, start, stop, step)}
    count = int(np.ceil((stop - start) / step))
    first = as_tracer(rec, start, found)
    apart = as_tracer(rec, start + step, found) - first
    return first + np.arange(max(count, 0)).astype(found) * apart


def _number(x: Any) -> Any:
    """A traced int or bool as one that a guard holds fixed."""
    if type(x) is not Tracer:
        return x
    return bool(x) if x.dtype.kind == "b" else operator.index(x)


def _both(args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    return [*args, *kwargs.values()]


def _arange_arguments(
    start: Any = 0,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    *,
    device: Any = None,
    like: Any = None,
) -> tuple[Any, Any, Any, Any]:
    return (0, start, step, dtype) if stop is None else (start, stop, step, dtype)


def common_of(rec: Any, *numbers: Any) -> list[Tracer]:
    return common([as_tracer(rec, n) for n in numbers])


def _by_index(name: str) -> None:
    original = getattr(np, name)

    def implementation(*args: Any, **kwargs: Any) -> Any:
        named = {key: _number(value) for key, value in kwargs.items()}
        return original(*[_number(a) for a in args], **named)

    _serve(name, makes=True, gradient=name in ("zeros", "ones", "empty"))(
        implementation
    )


for _name in ("eye", "identity", "tri", "zeros", "ones", "empty"):
    _by_index(_name)

# fmt: off
#: Dispatching functions that are often given a list of scalars, or that do not look at
#: the argument that is traced (the indices of `np.take`).
_OF_LISTS = (
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "choose", "cumsum",
    "diff", "poly", "polyadd", "polyder", "polyint", "polymul", "polysub", "polyval",
    "dot", "inner", "lexsort", "linalg.norm", "max", "mean", "median", "min", "outer",
    "prod", "sort", "std", "sum", "take", "var", "vdot",
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


# --- refused --------------------------------------------------------------------------


def _refused(name: str, way_out: str) -> Callable[..., Any]:
    def implementation(*args: Any, **kwargs: Any) -> Any:
        refuse(name, way_out)

    return implementation


# A class keeps its place in the module: somebody may ask isinstance.
for _name, _way_out in REFUSALS.items():
    _short = _name.removeprefix("np.")
    _function = operator.attrgetter(_short)(np)
    _dispatches = hasattr(_function, "_implementation")
    _is_function = isinstance(_function, (FunctionType, BuiltinFunctionType))
    if (_is_function and not _dispatches) or _function is np.nditer:
        _serve(_short, entered=False)(_refused(_name, _way_out))
