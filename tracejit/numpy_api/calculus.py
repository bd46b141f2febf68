"""Differences, integrals and convolutions along an axis."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..tracer import Tracer
from .complex import conjugated
from .joining import concatenate
from .padding import pad
from .rearranging import windows
from .reductions import axes_in_order, axis_of, cumsum
from .reductions import sum as sum_
from .selection import where
from .shape import flip, window
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
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
    x = of(ary, to_end, to_begin)
    flat = emit("reshape", x, shape=(x.size,))
    n = builtins.max(x.size - 1, 0)
    apart = call(
        np.subtract, window(flat, 0, builtins.min(1, x.size), n), window(flat, 0, 0, n)
    )
    parts = [apart]
    for name, end, at in (("to_begin", to_begin, 0), ("to_end", to_end, 2)):
        if end is None:
            continue
        t = as_tracer(x.rec, end)
        if not np.can_cast(t.dtype, x.dtype, "same_kind"):
            raise TypeError(
                f"dtype of `{name}` must be compatible with input `ary` under the "
                "`same_kind` rule."
            )
        t = emit("reshape", cast(t, x.dtype), shape=(t.size,))
        parts.insert(at, t)
    return apart if len(parts) == 1 else emit("concatenate", *parts, axis=0)


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
    x, y = [emit("reshape", t, shape=(1,)) if t.ndim == 0 else t for t in (x, y)]
    if x.size < y.size:
        x, y = y, x
    n, m = x.size, y.size
    if not m:
        raise ValueError("v cannot be empty" if x.size else "a cannot be empty")
    # One row of products for each element of the shorter; row j is shifted by j.
    padded = pad(x, m - 1)
    rows = windows(padded, 0, m)
    out = emit("dot", rows, flip(y), contract=((1,), (0,)), batch=((), ()))
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
    if x.size < y.size:
        return flip(conjugated(correlate(y, x, mode)))
    return convolve(x, flip(conjugated(y)), mode)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    x = of(f, *varargs)
    x = cast(x, F64) if x.dtype.kind in "iu" else x
    axes = axes_in_order(axis, x.ndim)
    if not varargs:
        steps: list[Any] = [1.0] * len(axes)
    elif len(varargs) == 1 and np.ndim(varargs[0]) == 0:
        steps = list(varargs) * len(axes)
    elif len(varargs) == len(axes):
        steps = [_spacing(x, h, i) for h, i in zip(varargs, axes, strict=True)]
    else:
        raise TypeError("invalid number of arguments")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    found = tuple(
        [
            cast(_slope(x, i, h, edge_order), x.dtype)
            for i, h in zip(axes, steps, strict=True)
        ]
    )
    return found[0] if len(found) == 1 else found


def _spacing(x: Tracer, given: Any, axis: int) -> Any:
    """The distance of points, or the distances between uneven ones."""
    if np.ndim(given) == 0:
        return given
    if np.ndim(given) != 1:
        raise ValueError("distances must be either scalars or 1d")
    if len(given) != x.shape[axis]:
        raise ValueError(
            "when 1d, distances must match the length of the corresponding dimension"
        )
    traced = as_tracer(x.rec, given) if type(given) is not np.ndarray else given
    if traced.dtype.kind in "iu":
        traced = traced.astype(F64)
    apart = np.diff(traced)
    # The formulas for uneven points give what those for even ones give.
    if type(apart) is np.ndarray and (apart == apart[0]).all():
        return apart[0]
    return apart


def _slope(x: Tracer, axis: int, h: Any, edge_order: int) -> Tracer:
    """Second-order differences inside, those of `edge_order` at both ends.

    B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced
    grids", Mathematics of Computation 51 (1988).
    """
    n = x.shape[axis]
    if n < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least "
            "(edge_order + 1) elements are required."
        )

    def part(start: int, size: int) -> Tracer:
        return window(x, axis, start, size)

    def along(coefficient: Any) -> Any:
        shape = [1] * x.ndim
        shape[axis] = -1
        return coefficient.reshape(tuple(shape))

    before, here, after = part(0, n - 2), part(1, n - 2), part(2, n - 2)
    even = np.ndim(h) == 0
    if even:
        inside = (after - before) / (2.0 * h)
        near, far = (h, h), (h, h)
    else:
        d, e = h[:-1], h[1:]
        inside = (
            along(-e / (d * (d + e))) * before
            + along((e - d) / (d * e)) * here
            + along(d / (e * (d + e))) * after
        )
        near, far = (
            (h[0], h[builtins.min(1, n - 2)]),
            (h[-1], h[builtins.max(-2, 1 - n)]),
        )
    first, last = part(0, 1), part(n - 1, 1)
    if edge_order == 1:
        start = (part(1, 1) - first) / near[0]
        end = (last - part(n - 2, 1)) / far[0]
    else:
        start = _edge_slope(*near, first, part(1, 1), part(2, 1))
        end = -_edge_slope(*far, last, part(n - 2, 1), part(n - 3, 1))
    return concatenate([start, inside, end], axis)


def _edge_slope(d: Any, e: Any, a: Tracer, b: Tracer, c: Tracer) -> Tracer:
    """The slope at `a` of the parabola through three points, d and e apart."""
    return (
        -(2.0 * d + e) / (d * (d + e)) * a
        + (d + e) / (d * e) * b
        - d / (e * (d + e)) * c
    )


@implements(np.unwrap)
def unwrap(
    p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi
) -> Any:
    """The multiples of the period that are added have derivative 0."""
    x = of(p, discont, period)
    axis = axis_of(axis, x.ndim)
    apart = diff(x, axis=axis)
    discont = period / 2 if discont is None else discont
    dtype = apart.dtype
    if np.asarray(period).dtype.kind == "f" and dtype.kind != "f":
        dtype = F64
    if dtype.kind == "f":
        high, ambiguous = period / 2, True
    else:
        high, rest = divmod(period, 2)
        ambiguous = rest == 0
    low = -high
    change = emit("stop_gradient", cast(apart, dtype))
    wrapped = (change - low) % period + low
    if ambiguous:
        wrapped = where((wrapped == low) & (change > 0), high, wrapped)
    correct = where(call(np.absolute, change) < discont, 0, wrapped - change)
    n = x.shape[axis]
    head = cast(window(x, axis, 0, builtins.min(1, n)), dtype)
    tail = window(x, axis, builtins.min(1, n), builtins.max(n - 1, 0))
    moved = cast(call(np.add, tail, cumsum(cast(correct, dtype), axis)), dtype)
    return emit("concatenate", head, moved, axis=axis)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    t = of(x)
    y = math.pi * (t if t.dtype.kind in "fc" else cast(t, F64))
    # The limit at 0 has derivative 0; sin(y) / y would be 0 / 0 there.
    safe = where(y == 0, 1.0, y)
    return where(y == 0, 1.0, call(np.sin, safe) / safe)
