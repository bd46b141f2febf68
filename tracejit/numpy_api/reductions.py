"""Reductions along axes, and what is made of them.

A reduction primitive drops its axes; `keepdims` is a reshape after it.  `where` puts
the reduction's neutral element in place of what is masked, `initial` joins at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tracer import Tracer
from .table import (
    as_tracer,
    cast,
    emit,
    filled,
    implements,
    in_dtype,
    no_keywords,
    of,
)
from .ufuncs import BOOL, I64, call

__all__ = ["axes_in_order", "axes_of", "axis_of", "keep", "reduce", "reduced_size"]

U64 = np.dtype(np.uint64)


def axis_of(axis: Any, ndim: int) -> int:
    """One axis as a non-negative int; NumPy's error if it is out of bounds."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis=` of a reduction as sorted non-negative ints."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = tuple(sorted(axis_of(a, ndim) for a in axis))
        if len(set(axes)) < len(axes):
            raise ValueError("duplicate value in 'axis'")
        return axes
    if ndim == 0 and axis in (0, -1):
        return ()
    return (axis_of(axis, ndim),)


def axes_in_order(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis=` as non-negative ints in the order given; all axes for None."""
    if axis is None:
        return tuple(range(ndim))
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple([axis_of(i, ndim) for i in wanted])
    if len(set(axes)) < len(axes):
        raise ValueError("repeated axis")
    return axes


def keep(x: Tracer, shape: tuple[int, ...], axes: Sequence[int]) -> Tracer:
    """Put the reduced axes back with length 1 (`keepdims=True`)."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return x if x.shape == kept else emit("reshape", x, shape=kept)


def reduce(
    name: str, x: Tracer, axis: Any = None, keepdims: Any = False, **params: Any
) -> Tracer:
    """A reduction primitive over `axis`, in the dtype of `x`."""
    axes = axes_of(axis, x.ndim)
    out = emit(name, x, axes=axes, **params)
    return keep(out, x.shape, axes) if keepdims else out


def _masked(x: Tracer, where: Any, neutral: Any) -> Tracer:
    """`x` with the neutral element where the mask is false."""
    if where is True or where is np._NoValue:
        return x
    mask = as_tracer(x.rec, where, BOOL)
    if mask.ndim > x.ndim:
        np.add.reduce(x.concrete, where=mask.concrete)  # NumPy words the error
    return emit("select", mask, x, as_tracer(x.rec, neutral, x.dtype))


def _sum_dtype(x: Tracer, dtype: Any) -> np.dtype:
    """What sum and prod accumulate in: at least the platform's int."""
    if dtype is not None:
        return np.dtype(dtype)
    if x.dtype.kind in "bi":
        return I64
    return U64 if x.dtype.kind == "u" else x.dtype


@implements(np.sum)
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    no_keywords(np.sum, out=out)
    x = of(a, where)
    x = _masked(in_dtype(x, _sum_dtype(x, dtype)), where, 0)
    total = reduce("sum", x, axis, keepdims)
    return _joined(np.add, total, initial)


@implements(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    no_keywords(np.prod, out=out)
    x = of(a, where)
    total = reduce(
        "prod", _masked(cast(x, _sum_dtype(x, dtype)), where, 1), axis, keepdims
    )
    return _joined(np.multiply, total, initial)


def _joined(ufunc: np.ufunc, total: Tracer, initial: Any) -> Tracer:
    """A reduction's result and its initial value, in the dtype of the result."""
    if initial is None or initial is np._NoValue:
        return total
    return call(ufunc, total, as_tracer(total.rec, initial, total.dtype))


def _extremum(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    pick = np.maximum if name == "max" else np.minimum

    def extremum(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a, where, initial)
        initial = None if initial is np._NoValue else initial
        where = True if where is np._NoValue else where
        if where is not True and initial is None:
            raise ValueError(
                f"reduction operation '{pick.__name__}' does not have an identity, so "
                "to use a where mask one has to specify 'initial'"
            )
        if initial is not None and reduced_size(x, axis) == 0:
            return filled(x.rec, _reduced_shape(x, axis, keepdims), initial, x.dtype)
        if x.dtype == BOOL:
            name_of_bool = "any" if name == "max" else "all"
            found = reduce(name_of_bool, _masked(x, where, initial), axis, keepdims)
        else:
            found = reduce(name, _masked(x, where, initial), axis, keepdims)
        return _joined(pick, found, initial)

    return extremum


def _reduced_shape(x: Tracer, axis: Any, keepdims: Any) -> tuple[int, ...]:
    axes = axes_of(axis, x.ndim)
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def reduced_size(x: Tracer, axis: Any) -> int:
    """How many elements each result is made of."""
    size = 1
    for i in axes_of(axis, x.ndim):
        size *= x.shape[i]
    return size


max = implements(np.max, np.amax)(_extremum("max", np.max))
min = implements(np.min, np.amin)(_extremum("min", np.min))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    no_keywords(np.ptp, out=out)
    return max(a, axis, None, keepdims) - min(a, axis, None, keepdims)


def _truth(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def truth(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        *,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a, where)
        x = x if x.dtype == BOOL else x != x.dtype.type(0)
        return reduce(name, _masked(x, where, name == "all"), axis, keepdims)

    return truth


any = implements(np.any, gradient=False)(_truth("any", np.any))
all = implements(np.all, gradient=False)(_truth("all", np.all))


@implements(np.count_nonzero, gradient=False)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return sum(of(a) != 0, axis, keepdims=keepdims)


# --- positions, running sums ----------------------------------------------------------


def _position(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def position(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        if axis is None:
            flat = x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))
            found = emit(name, flat, axis=0)
            return keep(found, x.shape, range(x.ndim)) if keepdims else found
        axis = axis_of(axis, x.ndim)
        found = emit(name, x, axis=axis)
        return keep(found, x.shape, (axis,)) if keepdims else found

    return position


argmax = implements(np.argmax, gradient=False)(_position("argmax", np.argmax))
argmin = implements(np.argmin, gradient=False)(_position("argmin", np.argmin))


def _running(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def running(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        x = cast(x, _sum_dtype(x, dtype))
        if axis is None:
            x = x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))
            axis = 0
        return emit(name, x, axis=axis_of(axis, x.ndim))

    return running


cumsum = implements(np.cumsum)(_running("cumsum", np.cumsum))
cumprod = implements(np.cumprod)(_running("cumprod", np.cumprod))


def _cumulative(
    function: Callable[..., Any], running: Callable[..., Any], neutral: int
) -> None:
    @implements(function)
    def cumulative(
        x: Any,
        /,
        *,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> Any:
        no_keywords(function, out=out)
        t = of(x)
        if t.ndim == 0:
            raise ValueError(
                "At least one-dimensional array must be provided, but got a scalar."
            )
        if t.ndim > 1 and axis is None:
            raise ValueError(
                "For arrays which have more than one dimension ``axis`` argument is "
                "required."
            )
        found = running(t, axis, dtype)
        if not include_initial:
            return found
        axis = axis_of(0 if axis is None else axis, t.ndim)
        shape = tuple([1 if i == axis else n for i, n in enumerate(found.shape)])
        head = filled(t.rec, shape, neutral, found.dtype)
        return emit("concatenate", head, found, axis=axis)


_cumulative(np.cumulative_sum, cumsum, 0)
_cumulative(np.cumulative_prod, cumprod, 1)
