"""Shapes and order of elements: views, joins, splits, repeats, sorting."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .reductions import axis_of
from .table import (
    as_tracer,
    emit,
    emit_view,
    fresh,
    implements,
    of,
    recorder_of,
    same_view,
    static_array,
)

__all__ = ["atleast_1d", "full_shape", "permute", "reshape_to", "window"]


# --- reshape and its kin --------------------------------------------------------------


def full_shape(shape: Any, size: int) -> tuple[int, ...]:
    """A shape argument as ints, with -1 filled in; NumPy's error if it does not fit."""
    if isinstance(shape, (tuple, list, np.ndarray)):
        ints = tuple([operator.index(n) for n in shape])
    else:
        ints = (operator.index(shape),)
    known = math.prod([n for n in ints if n != -1])
    if -1 in ints and known and size % known == 0 and ints.count(-1) == 1:
        return tuple([size // known if n == -1 else n for n in ints])
    if -1 in ints or known != size:
        np.empty(size, bool).reshape(ints)  # for NumPy's error
    return ints


def reshape_to(x: Tracer, shape: tuple[int, ...]) -> Tracer:
    """A view of `x` in a full shape."""
    return emit_view("reshape", x, shape=shape)


_AN_ORDER = "Use order='C' or order='F'"


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    x = of(a)
    if shape is None:
        raise TypeError("reshape() missing 1 required positional argument: 'shape'")
    shape = full_shape(shape, x.size)
    if order == "F":
        flipped = permute(x, tuple(reversed(range(x.ndim))))
        out = reshape_to(flipped, tuple(reversed(shape)))
        out = permute(out, tuple(reversed(range(len(shape)))))
    elif order == "C" or (order == "A" and x.ndim <= 1 and len(shape) <= 1):
        out = reshape_to(x, shape)
    elif order == "A":
        refuse(f"order={order!r}, which asks for the place in memory,", _AN_ORDER)
    elif order == "K":
        raise ValueError("order 'K' is not permitted for reshaping")
    else:
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return fresh(out) if copy else out


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    x = of(a)
    if order in ("A", "K") and x.ndim > 1:
        refuse(f"order={order!r}, which asks for the place in memory,", _AN_ORDER)
    return reshape(x, (x.size,), "C" if order == "K" else order)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    x = of(a)
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = x.ndim + len(wanted)
    axes = {axis_of(i, ndim) for i in wanted}
    if len(axes) < len(wanted):
        raise ValueError("repeated axis")
    sizes = iter(x.shape)
    return reshape_to(x, tuple(1 if i in axes else next(sizes) for i in range(ndim)))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    x = of(a)
    if axis is None:
        axes = {i for i, n in enumerate(x.shape) if n == 1}
    else:
        wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = {axis_of(i, x.ndim) for i in wanted}
        if builtins.any(x.shape[i] != 1 for i in axes):
            raise ValueError(
                "cannot select an axis to squeeze out which has size not equal to one"
            )
    return reshape_to(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _at_least(function: Any, place: Any) -> Any:
    @implements(function)
    def atleast(*arrays: Any) -> Any:
        rec = recorder_of(*arrays)
        found = []
        for a in arrays:
            x = as_tracer(rec, a)
            shape = place(x.shape)
            found.append(x if shape == x.shape else reshape_to(x, shape))
        return found[0] if len(found) == 1 else tuple(found)

    return atleast


atleast_1d = _at_least(np.atleast_1d, lambda s: s or (1,))
_at_least(np.atleast_2d, lambda s: (1,) * (2 - len(s)) + s if len(s) < 2 else s)
_at_least(
    np.atleast_3d,
    lambda s: {0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}.get(len(s), s),
)


# --- transposes -----------------------------------------------------------------------


def permute(x: Tracer, perm: tuple[int, ...]) -> Tracer:
    """A view of `x` with its axes in another order."""
    if perm == tuple(range(len(perm))):
        return same_view(x)
    return emit_view("transpose", x, perm=perm)


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    x = of(a)
    if axes is None:
        return permute(x, tuple(reversed(range(x.ndim))))
    if len(axes) != x.ndim:
        raise ValueError("axes don't match array")
    perm = tuple([axis_of(i, x.ndim) for i in axes])
    if len(set(perm)) < x.ndim:
        raise ValueError("repeated axis in transpose")
    return permute(x, perm)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    x = of(x)
    if x.ndim < 2:
        raise ValueError(
            f"Input array must be at least 2-dimensional, but it is {x.ndim}"
        )
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    x = of(a)
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    perm = list(range(x.ndim))
    perm[i], perm[j] = j, i
    return permute(x, tuple(perm))


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    x = of(a)
    sources = source if isinstance(source, (tuple, list)) else (source,)
    targets = destination if isinstance(destination, (tuple, list)) else (destination,)
    sources = [axis_of(i, x.ndim) for i in sources]
    targets = [axis_of(i, x.ndim) for i in targets]
    if len(sources) != len(targets):
        raise ValueError(
            "`source` and `destination` arguments must have the same number of elements"
        )
    order = [i for i in range(x.ndim) if i not in sources]
    for target, moved in sorted(zip(targets, sources, strict=True)):
        order.insert(target, moved)
    return permute(x, tuple(order))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    x = of(a)
    axis = axis_of(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    order = [i for i in range(x.ndim) if i != axis]
    order.insert(start - 1 if axis < start else start, axis)
    return permute(x, tuple(order))


# --- slices along one axis, flip, roll ------------------------------------------------


def window(x: Tracer, axis: int, start: int, size: int, step: int = 1) -> Tracer:
    """`x[start], x[start + step], ...` along one axis, `size` of them; a view."""
    starts, sizes, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return emit_view(
        "slice", x, start=tuple(starts), size=tuple(sizes), step=tuple(steps)
    )


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    x = of(m)
    if axis is None:
        axes = range(x.ndim)
    else:
        wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = [axis_of(i, x.ndim) for i in wanted]  # type: ignore[assignment]
    step = tuple(-1 if i in axes else 1 for i in range(x.ndim))
    start = tuple(
        n - 1 if s < 0 and n else 0 for n, s in zip(x.shape, step, strict=True)
    )
    return emit_view("slice", x, start=start, size=x.shape, step=step)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    if of(m).ndim < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    if of(m).ndim < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    x = of(m)
    first, second = axis_of(axes[0], x.ndim), axis_of(axes[1], x.ndim)
    k %= 4
    if k == 0:
        return x[...]
    if k == 2:
        return flip(x, (first, second))
    if k == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    x = of(a)
    if axis is None:
        flat = emit("reshape", x, shape=(x.size,))
        return emit("reshape", roll(flat, shift, 0), shape=x.shape)
    shifts, axes = np.broadcast_arrays(static_array(x.rec, shift), axis)
    out = fresh(x)
    for by, i in zip(shifts.flat, axes.flat, strict=True):
        out = _roll_one(out, int(by), axis_of(int(i), x.ndim))
    return out


def _roll_one(x: Tracer, by: int, axis: int) -> Tracer:
    n = x.shape[axis]
    by = by % n if n else 0
    if by == 0:
        return x
    tail, head = window(x, axis, n - by, by), window(x, axis, 0, n - by)
    return emit("concatenate", tail, head, axis=axis)


# --- repeating ------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    x = of(array)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple([operator.index(n) for n in shape])
    return emit_view("broadcast_to", x, shape=shape)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    rec = recorder_of(*args)
    arrays = [as_tracer(rec, a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple([a if a.shape == shape else broadcast_to(a, shape) for a in arrays])
