"""Ufuncs of SciPy that are others with their arguments rearranged.

Distribution functions of old names, Bessel functions of integer order, powers: each is
SciPy's own definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from .composed import _tracers
from .table import as_tracer, emit, recorder_of
from .ufuncs import call, composed, loop_dtypes

__all__: list[str] = []


def _entry(ufunc: np.ufunc, rule: Callable[..., Any]) -> None:
    composed(ufunc)(lambda *given: rule(*_tracers(ufunc, *given)))


def _fraction(x: Any, y: Any) -> Any:
    return x / (x + y)


gammainc, gammaincc = special.gammainc, special.gammaincc
betainc, betaincc = special.betainc, special.betaincc

_entry(special.chdtr, lambda v, x: call(gammainc, v / 2, x / 2))
_entry(special.chdtrc, lambda v, x: call(gammaincc, v / 2, x / 2))
_entry(special.gdtr, lambda a, b, x: call(gammainc, b, a * x))
_entry(special.gdtrc, lambda a, b, x: call(gammaincc, b, a * x))
_entry(special.pdtr, lambda k, m: call(gammaincc, np.floor(k) + 1, m))
_entry(special.pdtrc, lambda k, m: call(gammainc, np.floor(k) + 1, m))
_entry(
    special.fdtr,
    lambda n, d, x: call(betainc, n / 2, d / 2, _fraction(n * x, d)),
)
_entry(
    special.fdtrc,
    lambda n, d, x: call(betainc, d / 2, n / 2, _fraction(d, n * x)),
)

# Of real arguments, which is all that a tape has a form for.
_entry(special.jve, lambda v, x: call(special.jv, v, x))


def _yve(v: Any, x: Any) -> Any:
    """SciPy's yve is NaN at 0, where yv has its pole, and overflows to +inf."""
    y = call(special.yv, v, x)
    return np.where(x == 0, np.nan, np.where(y == -np.inf, np.inf, y))


_entry(special.yve, _yve)


def _of_order(ufunc: np.ufunc, other: np.ufunc) -> None:
    """An integer order; that of a float is truncated, as SciPy does with a warning."""

    @composed(ufunc)
    def rule(n: Any, x: Any) -> Any:
        rec, dtype = recorder_of(n, x), loop_dtypes(ufunc, n, x)[1]
        order = np.trunc(as_tracer(rec, n, dtype))
        return call(other, order, as_tracer(rec, x, dtype))


@composed(special.expn, host=True)
def _expn(n: Any, x: Any) -> Any:
    dtype = loop_dtypes(special.expn, n, x)[1]
    rec = recorder_of(n, x)
    return emit("expn", as_tracer(rec, n, dtype), as_tracer(rec, x, dtype))


_of_order(special.yn, special.yv)
_of_order(special.kn, special.kv)


@composed(special.exp10)
def _exp10(x: Any) -> Any:
    (x,) = _tracers(special.exp10, x)
    return call(np.power, 10.0, x)


@composed(special.gammasgn, gradient=False)
def _gammasgn(x: Any) -> Any:
    (x,) = _tracers(special.gammasgn, x)
    whole = np.floor(x)
    odd = call(np.remainder, whole, 2.0) != 0
    sign = np.where((x < 0) & odd, -1.0, 1.0).astype(x.dtype)
    return np.where((x < 0) & (whole == x) | np.isnan(x), np.nan, sign)


@composed(special.loggamma)
def _loggamma(x: Any) -> Any:
    (x,) = _tracers(special.loggamma, x)
    if x.dtype.kind == "c":
        return emit("complex_loggamma", x)
    inside = x >= 0
    value = call(special.gammaln, np.where(inside, x, np.ones_like(x)))
    return np.where(inside, value, np.nan)


@composed(special.boxcox1p)
def _boxcox1p(a: Any, b: Any) -> Any:
    x, power = _tracers(special.boxcox1p, a, b)
    log, zero = np.log1p(x), power == 0
    safe = np.where(zero, np.ones_like(power), power)
    return np.where(zero, log, np.expm1(safe * log) / safe)


@composed(special.inv_boxcox1p)
def _inv_boxcox1p(a: Any, b: Any) -> Any:
    y, power = _tracers(special.inv_boxcox1p, a, b)
    zero = power == 0
    safe = np.where(zero, np.ones_like(power), power)
    return np.where(zero, np.expm1(y), np.expm1(np.log1p(safe * y) / safe))
