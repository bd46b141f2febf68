"""Shapes and order of elements: views, joins, splits, repeats, sorting."""

from __future__ import annotations

import builtins
import itertools
import math
import operator
from typing import Any

import numpy as np

from ..tracer import Tracer
from .reductions import axis_of
from .table import (
    as_tracer,
    cast,
    emit,
    emit_view,
    implements,
    no_keywords,
    recorder_of,
    static_array,
)

__all__ = ["full_shape", "permute", "reshape_to", "window"]


def _of(a: Any) -> Tracer:
    return a if type(a) is Tracer else as_tracer(recorder_of(a), a)


def _fresh(x: Tracer) -> Tracer:
    """A copy: the same value, its own tracer."""
    return Tracer(x.rec, x.ref, None, False)


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


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    x = _of(a)
    if shape is None:
        raise TypeError("reshape() missing 1 required positional argument: 'shape'")
    shape = full_shape(shape, x.size)
    if order == "F":
        flipped = permute(x, tuple(reversed(range(x.ndim))))
        out = emit("reshape", flipped, shape=tuple(reversed(shape)))
        out = permute(out, tuple(reversed(range(len(shape)))))
    elif order in ("C", "A", "K"):
        out = reshape_to(x, shape)
    else:
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return _fresh(out) if copy else out


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(a, (_of(a).size,), order)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    x = _of(a)
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = x.ndim + len(wanted)
    axes = {axis_of(i, ndim) for i in wanted}
    if len(axes) < len(wanted):
        raise ValueError("repeated axis")
    sizes = iter(x.shape)
    return reshape_to(x, tuple(1 if i in axes else next(sizes) for i in range(ndim)))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    x = _of(a)
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


def _at_least(function: Any, place: Any) -> None:
    @implements(function)
    def atleast(*arrays: Any) -> Any:
        rec = recorder_of(*arrays)
        found = []
        for a in arrays:
            x = as_tracer(rec, a)
            shape = place(x.shape)
            found.append(x if shape == x.shape else reshape_to(x, shape))
        return found[0] if len(found) == 1 else tuple(found)


_at_least(np.atleast_1d, lambda s: s or (1,))
_at_least(np.atleast_2d, lambda s: (1,) * (2 - len(s)) + s if len(s) < 2 else s)
_at_least(
    np.atleast_3d,
    lambda s: {0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}.get(len(s), s),
)


# --- transposes -----------------------------------------------------------------------


def permute(x: Tracer, perm: tuple[int, ...]) -> Tracer:
    """A view of `x` with its axes in another order."""
    if perm == tuple(range(len(perm))):
        x.shared = True
        return Tracer(x.rec, x.ref, None, True)
    return emit_view("transpose", x, perm=perm)


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    x = _of(a)
    if axes is None:
        return permute(x, tuple(reversed(range(x.ndim))))
    perm = tuple([axis_of(i, x.ndim) for i in axes])
    if len(perm) != x.ndim:
        raise ValueError("axes don't match array")
    if len(set(perm)) < x.ndim:
        raise ValueError("repeated axis in transpose")
    return permute(x, perm)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    x = _of(x)
    if x.ndim < 2:
        raise ValueError(
            f"Input array must be at least 2-dimensional, but it is {x.ndim}"
        )
    return swapaxes(x, -1, -2)


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    x = _of(a)
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    perm = list(range(x.ndim))
    perm[i], perm[j] = j, i
    return permute(x, tuple(perm))


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    x = _of(a)
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
    x = _of(a)
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
    x = _of(m)
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
    if _of(m).ndim < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    if _of(m).ndim < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(m, 1)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    x = _of(m)
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
    x = _of(a)
    if axis is None:
        flat = emit("reshape", x, shape=(x.size,))
        return emit("reshape", roll(flat, shift, 0), shape=x.shape)
    shifts, axes = np.broadcast_arrays(static_array(x.rec, shift), axis)
    out = _fresh(x)
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


# --- joining --------------------------------------------------------------------------


def _parts(arrays: Any, dtype: Any = None) -> list[Tracer]:
    """The arrays to join as tracers of one dtype."""
    if type(arrays) is Tracer:
        arrays = list(arrays)
    rec = recorder_of(*arrays)
    parts = [as_tracer(rec, a) for a in arrays]
    dtype = np.result_type(*[p.dtype for p in parts]) if dtype is None else dtype
    return [cast(p, dtype) for p in parts]


@implements(np.concatenate)
def concatenate(
    arrays: Any,
    /,
    axis: Any = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    no_keywords(np.concatenate, out=out)
    parts = _parts(arrays, dtype)
    if axis is None:
        parts, axis = [emit("reshape", p, shape=(p.size,)) for p in parts], 0
    ndim = parts[0].ndim
    if ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = axis_of(axis, ndim)
    return emit("concatenate", *parts, axis=axis)


@implements(np.stack)
def stack(
    arrays: Any,
    axis: Any = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    no_keywords(np.stack, out=out)
    parts = _parts(arrays, dtype)
    shape = parts[0].shape
    if builtins.any(p.shape != shape for p in parts):
        raise ValueError("all input arrays must have the same shape")
    axis = axis_of(axis, len(shape) + 1)
    longer = (*shape[:axis], 1, *shape[axis:])
    return emit(
        "concatenate", *[emit("reshape", p, shape=longer) for p in parts], axis=axis
    )


def _joined(arrays: Any, ndim: int, axis: int, **keywords: Any) -> Any:
    parts = [p if p.ndim >= ndim else _raised(p, ndim) for p in _parts(arrays)]
    return concatenate(parts, axis, **keywords)


def _raised(x: Tracer, ndim: int) -> Tracer:
    shape = x.shape
    if ndim == 1:
        shape = (1,)
    elif ndim == 2:
        shape = (1,) * (2 - len(shape)) + shape
    else:
        shape = {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)]
    return emit("reshape", x, shape=shape)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return _joined(tup, 2, 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    parts = _parts(tup, dtype)
    return _joined(parts, 1, 0 if parts[0].ndim <= 1 else 1)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return _joined(tup, 3, 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    parts = _parts(tup)
    columns = [
        p if p.ndim >= 2 else emit("reshape", p, shape=(p.size, 1)) for p in parts
    ]
    return concatenate(columns, 1)


@implements(np.block)
def block(arrays: Any) -> Any:
    def depth(item: Any) -> int:
        return 1 + builtins.max(map(depth, item)) if isinstance(item, list) else 0

    def ndim(item: Any) -> int:
        if isinstance(item, list):
            return builtins.max(map(ndim, item))
        return item.ndim if type(item) is Tracer else np.ndim(item)

    rec = recorder_of(arrays)
    levels = depth(arrays)
    rank = builtins.max(levels, ndim(arrays))

    def build(item: Any, level: int) -> Tracer:
        if isinstance(item, list):
            return concatenate([build(i, level + 1) for i in item], level - levels)
        x = as_tracer(rec, item)
        return emit("reshape", x, shape=(1,) * (rank - x.ndim) + x.shape)

    return build(arrays, 0)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is None:
        return concatenate((arr, values), None)
    return concatenate((arr, values), axis)


# --- splitting ------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    x = _of(ary)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        cuts = static_array(x.rec, indices_or_sections)
        cuts = [0, *[operator.index(i) for i in cuts], n]
    else:
        sections = operator.index(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.") from None
        each, extra = divmod(n, sections)
        sizes = extra * [each + 1] + (sections - extra) * [each]
        cuts = [0, *np.cumsum(sizes).tolist()]
    found = []
    for first, last in itertools.pairwise(cuts):
        start, stop, _ = slice(first, last).indices(n)
        found.append(window(x, axis, start, builtins.max(stop - start, 0)))
    return found


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Any]:
    x = _of(ary)
    if not isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        sections = operator.index(indices_or_sections)
        if x.shape[axis_of(axis, x.ndim)] % sections:
            raise ValueError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    return split(ary, indices_or_sections, 1 if _of(ary).ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    if _of(ary).ndim < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(ary, indices_or_sections, 0)


@implements(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    x = _of(x)
    return tuple(moveaxis(x, axis, 0))


# --- repeating ------------------------------------------------------------------------


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    x = _of(array)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple([operator.index(n) for n in shape])
    return emit_view("broadcast_to", x, shape=shape)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    rec = recorder_of(*args)
    arrays = [as_tracer(rec, a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple([a if a.shape == shape else broadcast_to(a, shape) for a in arrays])


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    x = _of(A)
    counts = tuple(reps) if isinstance(reps, (tuple, list, np.ndarray)) else (reps,)
    counts = tuple([operator.index(n) for n in counts])
    ndim = builtins.max(x.ndim, len(counts))
    shape = (1,) * (ndim - x.ndim) + x.shape
    counts = (1,) * (ndim - len(counts)) + counts
    pairs = list(zip(counts, shape, strict=True))
    # (n) -> (1, n) -> (reps, n) -> (reps * n), for all axes at once.
    x = emit("reshape", x, shape=tuple(k for _, n in pairs for k in (1, n)))
    x = emit("broadcast_to", x, shape=tuple(k for pair in pairs for k in pair))
    return emit("reshape", x, shape=tuple(r * n for r, n in pairs))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    x = _of(a)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim)
    counts = static_array(x.rec, repeats)
    n = x.shape[axis]
    if counts.size == 1:
        times = int(counts.reshape(())[()])
        shape = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
        longer = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        final = (*x.shape[:axis], n * times, *x.shape[axis + 1 :])
        x = emit("reshape", x, shape=shape)
        return emit("reshape", emit("broadcast_to", x, shape=longer), shape=final)
    index = np.repeat(np.arange(n), counts)
    return emit("gather", x, as_tracer(x.rec, index), axis=axis)


# --- sorting --------------------------------------------------------------------------


@implements(np.argsort)
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    no_keywords(np.argsort, order=order)
    x = _of(a)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    return emit("argsort", x, axis=axis_of(axis, x.ndim))


@implements(np.sort)
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    no_keywords(np.sort, order=order)
    x = _of(a)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim)
    return take_along_axis(x, emit("argsort", x, axis=axis), axis)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    rec = recorder_of(arr, indices)
    x, index = as_tracer(rec, arr), as_tracer(rec, indices)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim)
    if x.ndim == 1:
        return x[index]
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    grid: list[Any] = []
    for i, n in enumerate(x.shape):
        ones = [1] * x.ndim
        ones[i] = n
        grid.append(index if i == axis else np.arange(n).reshape(ones))
    return x[tuple(grid)]
