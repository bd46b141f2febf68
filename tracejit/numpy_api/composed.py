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
