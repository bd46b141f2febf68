"""Repeating, inserting, deleting, sliding: elements in another order or number."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..primitive import PRIMITIVES
from ..tracer import Tracer, refuse
from .indexing import flat_nonzero
from .joining import concatenate, sort, take_along_axis
from .reductions import axes_in_order, axis_of
from .shape import moveaxis, permute, window
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
from .ufuncs import BOOL, I64

__all__ = ["pick", "windows"]

#: From this many pieces on, a gather is better than a concatenation of slices.
_PIECES = 6


def pick(x: Tracer, index: np.ndarray, axis: int) -> Tracer:
    """`np.take` by static indices: slices where they are few runs, else a gather."""
    index = np.asarray(index, I64)
    runs = _runs(index) if index.ndim == 1 else []
    if not 0 < len(runs) <= _PIECES:
        return emit("gather", x, as_tracer(x.rec, index), axis=axis)
    parts = []
    for start, step, size in runs:
        if step:
            parts.append(window(x, axis, start, size, step))
        else:
            one = window(x, axis, start, 1)
            shape = tuple([size if i == axis else n for i, n in enumerate(one.shape)])
            parts.append(emit("broadcast_to", one, shape=shape))
    if len(parts) == 1:
        return Tracer(x.rec, parts[0].ref, None, False)
    return emit("concatenate", *parts, axis=axis)


def _runs(index: np.ndarray) -> list[tuple[int, int, int]]:
    """Maximal runs `start, step, size` of steps -1, 0 or 1, as far as they are few."""
    runs: list[tuple[int, int, int]] = []
    at, n = 0, len(index)
    apart = np.diff(index)
    while at < n and len(runs) <= _PIECES:
        step = int(apart[at]) if at + 1 < n else 1
        if step not in (-1, 0, 1):
            runs.append((int(index[at]), 1, 1))
            at += 1
            continue
        other = np.flatnonzero(apart[at:] != step)
        size = (int(other[0]) if len(other) else n - 1 - at) + 1
        runs.append((int(index[at]), step, size))
        at += size
    return runs


def _flat_or_axis(x: Tracer, axis: Any) -> tuple[Tracer, int]:
    """NumPy's `axis=None`: the last axis, of the flattened array."""
    if axis is not None:
        return x, axis_of(axis, x.ndim)
    return emit("reshape", x, shape=(x.size,)), 0


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    x, axis = _flat_or_axis(of(arr, obj), axis)
    if not isinstance(obj, slice):
        obj = static_array(x.rec, obj)
        obj = obj.astype(I64) if obj.size == 0 else obj[()]
    return pick(x, np.delete(np.arange(x.shape[axis]), obj), axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    x, axis = _flat_or_axis(of(arr, obj, values), axis)
    n = x.shape[axis]
    new = cast(as_tracer(x.rec, values), x.dtype)
    if isinstance(obj, slice):
        places = np.arange(*obj.indices(n))
    else:
        places = static_array(x.rec, obj)
        if places.dtype == BOOL:
            places = np.flatnonzero(places)
        elif places.ndim > 1:
            raise ValueError(
                "index array argument obj to insert must be one dimensional or scalar"
            )
    count = places.size
    if count == 1:
        index = places.item()
        if index < -n or index > n:
            raise IndexError(
                f"index {obj} is out of bounds for axis {axis} with size {n}"
            )
        if new.ndim < x.ndim:
            ones = (1,) * (x.ndim - new.ndim)
            new = emit("reshape", new, shape=ones + new.shape)
        if places.ndim == 0:
            new = moveaxis(new, 0, axis)
        count = new.shape[axis]
        places = np.full(count, index)
    shape = tuple([count if i == axis else m for i, m in enumerate(x.shape)])
    new = emit("broadcast_to", new, shape=shape)
    marks = np.insert(np.arange(n), places.astype(I64), np.arange(n, n + count))
    return pick(emit("concatenate", x, new, axis=axis), marks, axis)


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    x = of(a)
    wanted = new_shape if isinstance(new_shape, (tuple, list)) else (new_shape,)
    shape = tuple([operator.index(n) for n in wanted])
    size = math.prod(shape)
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    if not x.size or not size:
        return as_tracer(x.rec, np.zeros(shape, x.dtype))
    times = -(-size // x.size)
    flat = emit("reshape", x, shape=(1, x.size))
    many = emit("broadcast_to", flat, shape=(times, x.size))
    line = window(emit("reshape", many, shape=(times * x.size,)), 0, 0, size)
    return emit("reshape", line, shape=shape)


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    x = of(filt)
    trim = trim.lower()
    if trim not in {"fb", "bf", "f", "b"}:
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    present = x != 0
    for i in axes_in_order(axis, x.ndim):
        others = tuple(k for k in range(x.ndim) if k != i)
        along = emit("any", present, axes=others)
        some = bool(emit("any", along, axes=(0,)))
        first = operator.index(emit("argmax", along, axis=0)) if some else 0
        flipped = emit("argmax", along[::-1], axis=0)
        last = x.shape[i] - operator.index(flipped) if some else 0
        start = first if "f" in trim or not some else 0
        stop = last if "b" in trim or not some else x.shape[i]
        x = window(x, i, start, stop - start)
        present = window(present, i, start, stop - start)
    return x


# --- windows --------------------------------------------------------------------------


def windows(x: Tracer, axis: int, size: int) -> Tracer:
    """`x[i + j]` along an axis: the places i in its stead, j < size behind it."""
    count = x.shape[axis] - size + 1
    index = _counter(x, (count, size), 0) + _counter(x, (count, size), 1)
    return emit("gather", x, index, axis=axis)


def _counter(x: Tracer, shape: tuple[int, ...], axis: int) -> Tracer:
    """0, 1, 2, ... along an axis, in no memory."""
    params = {"shape": shape, "axis": axis, "dtype": I64}
    return Tracer(x.rec, x.rec.apply(PRIMITIVES["iota"], (), params), None, False)


@implements(np.lib.stride_tricks.sliding_window_view, refused=("writeable",))
def sliding_window_view(
    x: Any,
    window_shape: Any,
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Any:
    t = of(x)
    sizes = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    sizes = [operator.index(n) for n in sizes]
    if min(sizes, default=0) < 0:
        raise ValueError("`window_shape` cannot contain negative values")
    if axis is None:
        axes = tuple(range(t.ndim))
    else:
        wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple([axis_of(i, t.ndim) for i in wanted])
    if len(sizes) != len(axes):
        raise ValueError(
            f"Must provide matching length window_shape and axis; got {len(sizes)} "
            f"window_shape elements and {len(axes)} axes elements."
            if axis is not None
            else "Since axis is None, must provide window_shape for all dimensions of "
            f"`x`; got {len(sizes)} window_shape elements and `x.ndim` is {t.ndim}."
        )
    if writeable:
        refuse("np.lib.stride_tricks.sliding_window_view with writeable=True")
    for i, size in zip(axes, sizes, strict=True):
        if size > t.shape[i]:
            raise ValueError("window shape cannot be larger than input array shape")
        t = windows(t, i, size)
        last = t.ndim - 1
        rest = [k for k in range(t.ndim) if k != i + 1]
        t = permute(t, (*rest, i + 1)) if i + 1 != last else t
    return t


# --- functions along axes -------------------------------------------------------------


@implements(np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Any:
    rec = recorder_of(arr, args, list(kwargs.values()))
    x = as_tracer(rec, arr)
    axis = axis_of(axis, x.ndim)
    lead = x.shape[:axis] + x.shape[axis + 1 :]
    if 0 in lead:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    moved = moveaxis(x, axis, -1)
    found = [
        as_tracer(rec, func1d(moved[key], *args, **kwargs))
        for key in itertools.product(*map(range, lead))
    ]
    shape = found[0].shape
    rows = [emit("reshape", cast(f, found[0].dtype), shape=(1, *shape)) for f in found]
    out = emit("reshape", concatenate(rows), shape=(*lead, *shape))
    n, k = len(lead), len(shape)
    perm = (*range(axis), *range(n, n + k), *range(axis, n))
    return permute(out, perm)


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    x = of(a)
    wanted = axes if isinstance(axes, (tuple, list)) else (axes,)
    for axis in [axis_of(i, x.ndim) for i in wanted]:
        found = func(x, axis)
        if found.ndim != x.ndim:
            shape = (*found.shape[:axis], 1, *found.shape[axis:])
            found = emit("reshape", found, shape=shape)
        if found.ndim != x.ndim:
            raise ValueError("function is not returning an array of the correct shape")
        x = found
    return x


# --- order ----------------------------------------------------------------------------


@implements(np.lexsort, gradient=False)
def lexsort(keys: Any, axis: int = -1) -> Any:
    rec = recorder_of(keys)
    rows = [as_tracer(rec, key) for key in keys]
    axis = axis_of(axis, rows[0].ndim)
    order: Any = None
    for key in rows:
        key = moveaxis(key, axis, -1)
        if order is not None:
            key = take_along_axis(key, order, -1)
        step = emit("argsort", key, axis=key.ndim - 1)
        order = step if order is None else take_along_axis(order, step, -1)
    return moveaxis(order, -1, axis)


def _checked_places(kth: Any, n: int) -> None:
    for k in np.atleast_1d(np.asarray(kth)):
        if not -n <= k < n:
            raise ValueError(f"kth(={k}) out of bounds ({n})")


@implements(np.partition, refused=("order",))
def partition(
    a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> Any:
    """A partition around all places at once: the sorted array."""
    no_keywords(np.partition, order=order)
    x, axis = _flat_or_axis(of(a), axis)
    _checked_places(kth, x.shape[axis])
    return sort(x, axis)


@implements(np.argpartition, gradient=False, refused=("order",))
def argpartition(
    a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> Any:
    no_keywords(np.argpartition, order=order)
    x, axis = _flat_or_axis(of(a), axis)
    _checked_places(kth, x.shape[axis])
    return emit("argsort", x, axis=axis)


@implements(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    rec = recorder_of(*args)
    found = []
    for k, arg in enumerate(args):
        x = as_tracer(rec, arg)
        if x.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if not x.size:
            x = cast(x, I64)
        if x.dtype == BOOL:
            x = flat_nonzero(x)
        shape = (1,) * k + (x.size,) + (1,) * (len(args) - k - 1)
        found.append(emit("reshape", x, shape=shape))
    return tuple(found)


def _of_shape(function: Callable[..., Any]) -> None:
    """Indices that depend on the shape of an array only."""

    @implements(function, gradient=False)
    def indices(arr: Any, k: int = 0) -> Any:
        stand_in = np.broadcast_to(np.False_, arr.shape)
        return function(stand_in, k)


_of_shape(np.tril_indices_from)
_of_shape(np.triu_indices_from)


@implements(np.diag_indices_from, gradient=False)
def diag_indices_from(arr: Any) -> Any:
    return np.diag_indices_from(np.broadcast_to(np.False_, arr.shape))
