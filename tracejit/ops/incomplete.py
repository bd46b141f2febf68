"""Derivatives of the incomplete gamma and beta functions by their parameters.

There is no closed form.  Series and continued fraction (NIST DLMF 8.11.4, 8.9.2,
8.17.22) are summed together with their derivatives, term by term; a continued fraction
by Lentz's method.  All functions take float arrays that broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

__all__ = ["betainc_by_a", "betainc_by_b", "gammainc_by_a"]

_ROUNDS = 20_000
_TINY = 1e-300
_EPS = 1e-16

Terms = Callable[[int], tuple[Any, Any, Any, Any]]


def _lentz(terms: Terms, b: Any, b_dot: Any) -> tuple[Any, Any]:
    """b + a1 / (b1 + a2 / (b2 + ...)) and its derivative.

    `terms(n)` gives a, its derivative, b, its derivative.
    """
    b = np.where(b == 0, _TINY, b)
    h, h_dot = b, b_dot
    c, c_dot = b, b_dot
    d, d_dot = np.zeros_like(b), np.zeros_like(b)
    for n in range(1, _ROUNDS):
        p, p_dot, q, q_dot = terms(n)
        low = q + p * d
        low_dot = q_dot + p_dot * d + p * d_dot
        low = np.where(low == 0, _TINY, low)
        d = 1 / low
        d_dot = -d * d * low_dot
        new = q + p / c
        new = np.where(new == 0, _TINY, new)
        c, c_dot = new, q_dot + p_dot / c - p * c_dot / (c * c)
        step = c * d
        step_dot = c_dot * d + c * d_dot
        h_dot = h_dot * step + h * step_dot
        h = h * step
        small = np.abs(step_dot * h) <= _EPS * (np.abs(h_dot) + np.abs(h))
        if np.all((np.abs(step - 1) <= _EPS) & small | ~np.isfinite(h)):
            break
    return h, h_dot


def _series(a: Any, x: Any) -> Any:
    """dP/da where x is not larger than a + 1."""
    term, rate = np.ones_like(x), np.zeros_like(x)
    total, total_dot = term, rate
    for n in range(1, _ROUNDS):
        term = term * x / (a + n)
        rate = rate - 1 / (a + n)
        total = total + term
        total_dot = total_dot + term * rate
        if np.all(np.abs(term * rate) <= _EPS * np.abs(total_dot)):
            break
    log = np.log(x)
    front = np.exp(a * log - x - special.gammaln(a + 1))
    return front * (total * (log - special.digamma(a + 1)) + total_dot)


def _fraction(a: Any, x: Any) -> Any:
    """dP/da where x is larger than a + 1."""

    def terms(n: int) -> tuple[Any, Any, Any, Any]:
        return n * (a - n), np.full_like(a, n), x + (2 * n + 1) - a, np.full_like(a, -1)

    h, h_dot = _lentz(terms, x + 1 - a, np.full_like(a, -1))
    log = np.log(x)
    front = np.exp(a * log - x - special.gammaln(a))
    by_a = (log - special.digamma(a)) / h - h_dot / (h * h)
    return -front * by_a


def _filled(a: Any, *arrays: Any) -> tuple[tuple[Any, ...], Any]:
    dtype = np.result_type(a, *arrays)
    if dtype.kind != "f":
        raise TypeError(f"operands of dtype {dtype}, not floats")
    given = np.broadcast_arrays(a, *arrays)
    return tuple(np.array(x, np.float64) for x in given), dtype


def gammainc_by_a(a: Any, x: Any) -> Any:
    """Derivative of P(a, x), `scipy.special.gammainc`, by a; NaN outside a > 0, x >= 0.

    Example:
        >>> float(gammainc_by_a(1.0, 1.0).round(6))
        -0.43173
    """
    (a, x), dtype = _filled(a, x)
    out = np.full(a.shape, np.nan)
    inside = (a > 0) & (x > 0) & np.isfinite(x) & np.isfinite(a)
    out[(a > 0) & ((x == 0) | np.isposinf(x))] = 0.0
    with np.errstate(all="ignore"):
        for where, rule in ((x <= a + 1, _series), (x > a + 1, _fraction)):
            chosen = inside & where
            if chosen.any():
                out[chosen] = rule(a[chosen], x[chosen])
    return out.astype(dtype)[()]


def _beta_side(a: Any, b: Any, x: Any, by: int) -> Any:
    """dI/da (by=0) or dI/db (by=1) where x is not larger than (a + 1) / (a + b + 2)."""

    def terms(n: int) -> tuple[Any, Any, Any, Any]:
        m = n // 2
        low = a + 2 * m
        if n % 2 == 0:
            bottom = (low - 1) * low
            p = m * (b - m) * x / bottom
            dot = -p * (2 * low - 1) / bottom if by == 0 else m * x / bottom
        else:
            bottom = low * (low + 1)
            p = -(a + m) * (a + b + m) * x / bottom
            by_a = -(2 * a + b + 2 * m) * x / bottom - p * (2 * low + 1) / bottom
            dot = by_a if by == 0 else -(a + m) * x / bottom
        return p, dot, np.ones_like(a), np.zeros_like(a)

    h, h_dot = _lentz(terms, np.ones_like(a), np.zeros_like(a))
    log, log1 = np.log(x), np.log1p(-x)
    front = np.exp(a * log + b * log1 - special.betaln(a, b)) / a
    both = special.digamma(a + b)
    if by == 0:
        rate = log - special.digamma(a) + both - 1 / a
    else:
        rate = log1 - special.digamma(b) + both
    return front * (rate - h_dot / h) / h


def _betainc_by(a: Any, b: Any, x: Any, by: int) -> Any:
    (a, b, x), dtype = _filled(a, b, x)
    out = np.full(a.shape, np.nan)
    valid = (a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)
    out[valid & ((x == 0) | (x == 1))] = 0.0
    inside = valid & (x > 0) & (x < 1)
    left = x <= (a + 1) / (a + b + 2)
    with np.errstate(all="ignore"):
        if (chosen := inside & left).any():
            out[chosen] = _beta_side(a[chosen], b[chosen], x[chosen], by)
        if (chosen := inside & ~left).any():
            mirrored = _beta_side(b[chosen], a[chosen], 1 - x[chosen], 1 - by)
            out[chosen] = -mirrored
    return out.astype(dtype)[()]


def betainc_by_a(a: Any, b: Any, x: Any) -> Any:
    """Derivative of `scipy.special.betainc` by a; NaN outside its domain."""
    return _betainc_by(a, b, x, 0)


def betainc_by_b(a: Any, b: Any, x: Any) -> Any:
    """Derivative of `scipy.special.betainc` by b; NaN outside its domain."""
    return _betainc_by(a, b, x, 1)
