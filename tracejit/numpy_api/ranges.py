"""`np.linspace`, `np.logspace`, `np.geomspace`, `np.arange` with traced ends."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..tracer import Tracer
from .reductions import any as any_
from .shape import moveaxis
from .table import as_tracer, cast, emit, implements, recorder_of
from .ufuncs import call

__all__ = ["between"]

_NUMBERS = (bool, int, float)


def _common(rec: Any, *ends: Any) -> tuple[np.dtype, list[Tracer]]:
    """The inexact dtype of some operands, Python numbers being weak; and tracers."""
    kinds: list[Any] = []
    for end in ends:
        if type(end) is Tracer:
            kinds.append(end.weak(0) if end.weak else end.dtype)
        elif type(end) in _NUMBERS:
            kinds.append(end)
        else:
            kinds.append(as_tracer(rec, end).dtype)
    dtype = np.result_type(*kinds)
    if dtype.kind != "f":
        dtype = np.dtype(np.float64)
    return dtype, [as_tracer(rec, end, dtype) for end in ends]


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
    rec = recorder_of(start, stop, num)
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    common, (first, last) = _common(rec, start, stop)
    delta = call(np.subtract, last, first)
    divisor = num - 1 if endpoint else num
    counter = np.arange(num, dtype=common).reshape((-1,) + (1,) * delta.ndim)
    step = delta / divisor if divisor > 0 else as_tracer(rec, np.nan)
    scale = step if divisor > 0 else delta
    out = call(np.add, call(np.multiply, as_tracer(rec, counter), scale), first)
    if endpoint and num > 1:
        end = emit("broadcast_to", last, shape=(1, *delta.shape))
        out = emit("concatenate", out[:-1], end, axis=0)
    out = moveaxis(out, 0, axis) if axis != 0 else out
    if dtype is not None:
        dtype = np.dtype(dtype)
        out = cast(call(np.floor, out) if dtype.kind in "iu" else out, dtype)
    return (out, step) if retstep else out


between = linspace


@implements(np.logspace)
def logspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    rec = recorder_of(start, stop, num, base)
    if type(base) not in _NUMBERS and np.ndim(base):
        base, start, stop = [as_tracer(rec, t) for t in (base, start, stop)]
        rank = len(np.broadcast_shapes(base.shape, start.shape, stop.shape))
        start, stop, base = [
            emit("reshape", t, shape=(1,) * (rank - t.ndim) + t.shape)
            for t in (start, stop, base)
        ]
        base = np.expand_dims(base, axis)
    traced = any(type(t) is Tracer for t in (start, stop, num))
    between_ = linspace if traced else np.linspace
    out = between_(start, stop, num, endpoint, axis=axis)
    out = call(np.power, base, out)
    return out if dtype is None else cast(out, dtype)


@implements(np.geomspace)
def geomspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    rec = recorder_of(start, stop, num)
    num = operator.index(num)
    first, last = as_tracer(rec, start), as_tracer(rec, stop)
    if any_(first == 0) or any_(last == 0):
        raise ValueError("Geometric sequence cannot include zero")
    zero = np.zeros((), dtype)
    common = np.result_type(first.dtype, last.dtype, float(num), zero)
    first, last = cast(first, common), cast(last, common)
    sign = call(np.sign, first)
    low, high = first / sign, last / sign
    out = logspace(call(np.log10, low), call(np.log10, high), num, endpoint)
    out = cast(out, common)
    # 10 ** log10(x) is not x: the ends are exact.
    if num > 0:
        lead = out.shape[1:]
        parts = [emit("broadcast_to", low, shape=lead)[None]]
        if num > 1 and endpoint:
            parts += [out[1:-1], emit("broadcast_to", high, shape=lead)[None]]
        else:
            parts.append(out[1:])
        out = emit("concatenate", *parts, axis=0)
    out = call(np.multiply, out, sign)
    out = moveaxis(out, 0, axis) if axis != 0 else out
    return cast(out, common if dtype is None else np.dtype(dtype))
