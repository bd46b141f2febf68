"""Differences, integrals and convolutions along an axis."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .joining import concatenate
from .reductions import axis_of
from .reductions import sum as sum_
from .selection import pad, where
from .shape import flip, window
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
    no_keywords,
    of,
    promoted,
    recorder_of,
)
from .ufuncs import BOOL, F64, call

__all__ = ["diff"]


@implements(np.diff)
def diff(
    a: Any,
    n: int = 1,
    axis: int = -1,
    prepend: Any = np._NoValue,
    append: Any = np._NoValue,
) -> Any:
    ends = [e for e in (prepend, append) if e is not np._NoValue]
    x = of(a, *ends)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    if x.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = axis_of(axis, x.ndim)
    if ends:
        parts = [x]
        if prepend is not np._NoValue:
            parts.insert(0, _edge(x, prepend, axis))
        if append is not np._NoValue:
            parts.append(_edge(x, append, axis))
        x = concatenate(parts, axis)
    subtract = np.not_equal if x.dtype == BOOL else np.subtract
    for _ in range(n):
        size = builtins.max(x.shape[axis] - 1, 0)
        later = window(x, axis, builtins.min(1, size), size)
        x = call(subtract, later, window(x, axis, 0, size))
    return Tracer(x.rec, x.ref, None, False)


def _edge(x: Tracer, value: Any, axis: int) -> Tracer:
    t = as_tracer(x.rec, value)
    if t.ndim == 0:
        shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        t = emit("broadcast_to", t, shape=shape)
    return t


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    no_keywords(np.ediff1d, to_end=to_end, to_begin=to_begin)
    x = of(ary)
    return diff(emit("reshape", x, shape=(x.size,)))


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    t = of(y, x, dx)
    axis = axis_of(axis, t.ndim)
    n = t.shape[axis]
    if x is not None:
        points = as_tracer(t.rec, x)
        if points.ndim == 1:
            shape = [1] * t.ndim
            shape[axis] = points.size - 1
            dx = diff(points).reshape(tuple(shape))
        else:
            dx = diff(points, axis=axis)
    pairs = window(t, axis, 1, n - 1) + window(t, axis, 0, n - 1)
    return sum_(dx * pairs / 2.0, axis)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    rec = recorder_of(a, v)
    x, y = promoted(rec, as_tracer(rec, a), as_tracer(rec, v))
    if x.size < y.size:
        x, y = y, x
    n, m = x.size, y.size
    if not m:
        raise ValueError("v cannot be empty" if x.size else "a cannot be empty")
    # One row of products for each element of the shorter; row j is shifted by j.
    padded = pad(x, m - 1)
    index = np.arange(n + m - 1)[:, None] + np.arange(m - 1, -1, -1)
    windows = emit("gather", padded, as_tracer(rec, index), axis=0)
    out = emit("dot", windows, y, contract=((1,), (0,)), batch=((), ()))
    if mode == "full":
        return out
    if mode == "same":
        return window(out, 0, (m - 1) // 2, n)
    if mode == "valid":
        return window(out, 0, m - 1, n - m + 1)
    raise ValueError(f"mode must be one of 'full', 'same', 'valid' (got {mode!r})")


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    rec = recorder_of(a, v)
    x, y = as_tracer(rec, a), as_tracer(rec, v)
    if x.size < y.size and mode != "full":
        refuse("np.correlate with the shorter array first", "Swap the two arrays")
    return convolve(x, flip(y), mode)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = of(f, *varargs)
    x = x if x.dtype.kind == "f" else cast(x, F64)
    if edge_order != 1 or builtins.any(np.ndim(h) for h in varargs):
        refuse(
            "np.gradient with edge_order=2 or coordinates",
            "Use even spacing, or np.diff",
        )
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        wanted = axis if isinstance(axis, tuple) else (axis,)
        axes = tuple([axis_of(i, x.ndim) for i in wanted])
    steps = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    if len(steps) != len(axes):
        raise TypeError("invalid number of arguments")
    found = tuple([_slope(x, i, h) for i, h in zip(axes, steps, strict=True)])
    return found[0] if len(found) == 1 else found


def _slope(x: Tracer, axis: int, h: Any) -> Tracer:
    """Central differences inside, one-sided ones at both ends."""
    n = x.shape[axis]
    if n < 2:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least "
            "(edge_order + 1) elements are required."
        )

    def part(start: int, size: int) -> Tracer:
        return window(x, axis, start, size)

    inside = (part(2, n - 2) - part(0, n - 2)) / (2.0 * h)
    first, last = (part(1, 1) - part(0, 1)) / h, (part(n - 1, 1) - part(n - 2, 1)) / h
    return concatenate([first, inside, last], axis)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    t = of(x)
    y = math.pi * (t if t.dtype.kind == "f" else cast(t, F64))
    # The limit at 0 has derivative 0; sin(y) / y would be 0 / 0 there.
    safe = where(y == 0, 1.0, y)
    return where(y == 0, 1.0, call(np.sin, safe) / safe)
