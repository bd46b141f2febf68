"""Ufuncs that are made from other ufuncs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from .table import as_tracer, cast, emit, recorder_of
from .ufuncs import call, composed, loop_dtype, loop_dtypes

__all__: list[str] = []


def _tracers(ufunc: np.ufunc, *inputs: Any) -> list[Any]:
    """The operands as tracers of the dtype of the ufunc's loop."""
    rec = recorder_of(*inputs)
    dtype = loop_dtype(ufunc, *inputs)
    return [cast(as_tracer(rec, x), dtype) for x in inputs]


@composed(np.positive)
def _positive(x: Any) -> Any:
    return _tracers(np.positive, x)[0]


@composed(np.radians, np.deg2rad)
def _radians(x: Any) -> Any:
    (x,) = _tracers(np.radians, x)
    return x * (math.pi / 180)


@composed(np.degrees, np.rad2deg)
def _degrees(x: Any) -> Any:
    (x,) = _tracers(np.degrees, x)
    return x * (180 / math.pi)


@composed(np.divmod)
def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return call(np.floor_divide, a, b), call(np.remainder, a, b)


@composed(np.modf)
def _modf(x: Any) -> tuple[Any, Any]:
    (x,) = _tracers(np.modf, x)
    whole = call(np.trunc, x)
    part = np.where(call(np.isinf, x), np.zeros_like(x), x - whole)
    return call(np.copysign, part, x), whole


@composed(np.frexp, host=True)
def _frexp(x: Any) -> tuple[Any, Any]:
    """The derivative of the mantissa is 2**-exponent; the exponent has none."""
    (x,) = _tracers(np.frexp, x)
    power = emit("exponent", x)
    return emit("ldexp", x, emit("neg", power)), power


@composed(np.ldexp, host=True)
def _ldexp(a: Any, b: Any) -> Any:
    rec = recorder_of(a, b)
    dtype, exponent, _ = loop_dtypes(np.ldexp, a, b)
    x, n = as_tracer(rec, a, dtype), as_tracer(rec, b, exponent)
    shape = np.broadcast_shapes(x.shape, n.shape)
    x, n = [
        t if t.shape == shape else emit("broadcast_to", t, shape=shape) for t in (x, n)
    ]
    return emit("ldexp", x, n)


@composed(np.logaddexp2)
def _logaddexp2(a: Any, b: Any) -> Any:
    ln2 = math.log(2.0)
    x, y = _tracers(np.logaddexp2, a, b)
    # Without its larger part, so that the factor rounds small numbers only.
    top = emit("stop_gradient", call(np.maximum, x, y))
    top = np.where(call(np.isfinite, top), top, np.zeros_like(top))
    return top + call(np.logaddexp, (x - top) * ln2, (y - top) * ln2) / ln2


@composed(special.xlog1py)
def _xlog1py(a: Any, b: Any) -> Any:
    x, y = _tracers(special.xlog1py, a, b)
    # mulz: 0 for x = 0 even at y = -1, and still linear in x; but a NaN stays.
    product = emit("mulz", x, call(np.log1p, y))
    return np.where(call(np.isnan, y), y, product)


@composed(special.ndtr)
def _ndtr(x: Any) -> Any:
    (x,) = _tracers(special.ndtr, x)
    return 0.5 * call(special.erfc, x * -math.sqrt(0.5))


@composed(special.entr)
def _entr(x: Any) -> Any:
    (x,) = _tracers(special.entr, x)
    # 0 - ..., and not -(...), which would be -0.0 at 0.
    return np.where(x < 0, -np.inf, 0 - call(special.xlogy, x, x))


@composed(special.rel_entr)
def _rel_entr(a: Any, b: Any) -> Any:
    x, y = _tracers(special.rel_entr, a, b)
    inside = (x > 0) & (y > 0)
    one = np.ones_like(x)
    good = np.where(inside, x, one) / np.where(inside, y, one)
    zero = (x == 0) & (y >= 0)
    value = x * np.log(good)
    undefined = np.isnan(x) | np.isnan(y)
    outside = np.where(undefined, np.nan, np.where(zero, 0.0, np.inf))
    return np.where(inside, value, outside.astype(x.dtype))


@composed(special.kl_div)
def _kl_div(a: Any, b: Any) -> Any:
    x, y = _tracers(special.kl_div, a, b)
    return call(special.rel_entr, x, y) - x + y


@composed(special.stdtr)
def _stdtr(df: Any, t: Any) -> Any:
    # By the incomplete beta function, NIST DLMF 8.17; without loss in the left tail.
    df, t = _tracers(special.stdtr, df, t)
    square = t * t
    near = square < df
    half = 0.5 * np.ones_like(t)
    tail = call(special.betainc, df / 2, half, df / (df + np.where(near, 1.0, square)))
    body = call(
        special.betainc, half, df / 2, np.where(near, square, 1.0) / (df + square)
    )
    side = np.where(near, 0.5 - 0.5 * body, 0.5 * tail)
    return np.where(df > 0, np.where(t > 0, 1 - side, side), np.nan)


@composed(special.boxcox)
def _boxcox(a: Any, b: Any) -> Any:
    x, power = _tracers(special.boxcox, a, b)
    zero = power == 0
    safe = np.where(zero, np.ones_like(power), power)
    return np.where(zero, np.log(x), np.expm1(safe * np.log(x)) / safe)


@composed(special.inv_boxcox)
def _inv_boxcox(a: Any, b: Any) -> Any:
    y, power = _tracers(special.inv_boxcox, a, b)
    zero = power == 0
    safe = np.where(zero, np.ones_like(power), power)
    return np.where(zero, np.exp(y), np.exp(np.log1p(safe * y) / safe))


@composed(special.huber)
def _huber(a: Any, b: Any) -> Any:
    delta, r = _tracers(special.huber, a, b)
    size = np.abs(r)
    inside = np.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))
    return np.where(delta < 0, np.inf, inside)


@composed(special.pseudo_huber)
def _pseudo_huber(a: Any, b: Any) -> Any:
    delta, r = _tracers(special.pseudo_huber, a, b)
    zero = delta == 0
    v = r / np.where(zero, np.ones_like(delta), delta)
    # sqrt(1 + v**2) - 1 without cancellation.
    inside = delta * delta * (v * v) / (1 + np.sqrt(1 + v * v))
    return np.where(delta < 0, np.inf, np.where(zero, 0.0, inside))
