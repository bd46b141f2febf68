"""Joining, splitting, repeating and sorting arrays."""

from __future__ import annotations

import builtins
import itertools
import operator
from typing import Any

import numpy as np

from ..tracer import Tracer
from .reductions import axis_of
from .shape import moveaxis, window
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
    no_keywords,
    of,
    recorder_of,
    static_array,
)

__all__ = ["concatenate", "repeat", "split", "stack", "take_along_axis"]


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
    x = of(ary)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        given = static_array(x.rec, indices_or_sections)
        cuts = [0, *[operator.index(i) for i in given], n]
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
    x = of(ary)
    if not isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        sections = operator.index(indices_or_sections)
        if x.shape[axis_of(axis, x.ndim)] % sections:
            raise ValueError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    return split(ary, indices_or_sections, 1 if of(ary).ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    if of(ary).ndim < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    if of(ary).ndim < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return split(ary, indices_or_sections, 2)


@implements(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    x = of(x)
    return tuple(moveaxis(x, axis, 0))


# --- repeating ------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    x = of(A)
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
    x = of(a)
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


@implements(np.argsort, gradient=False, refused=("order",))
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    no_keywords(np.argsort, order=order)
    x = of(a)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    return emit("argsort", x, axis=axis_of(axis, x.ndim))


@implements(np.sort, refused=("order",))
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    no_keywords(np.sort, order=order)
    x = of(a)
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
