"""Derivatives of the incomplete gamma and beta functions by their parameters.

There is no closed form.  Series and continued fraction (NIST DLMF 8.11.4, 8.9.2,
8.17.22) are summed together with their derivatives, term by term; a continued fraction
by Lentz's method.  All functions take float arrays that broadcast.

Of higher orders the derivatives of the densities are integrated: the density f is the
exponential of a known g, so its derivatives are f times the polynomials that
f' = f g' gives (`exponential_rates`), and the integral over the side of the mode that
does not hold it, in a variable in which f falls without an end, is a sum over Gauss and
Legendre's points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

__all__ = ["beta_rates", "betainc_by", "exponential_rates", "gammainc_by"]

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
        small = np.abs(step_dot * h) <= 4 * _EPS * (np.abs(h_dot) + np.abs(h))
        if np.all((np.abs(step - 1) <= 4 * _EPS) & small | ~np.isfinite(h)):
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


def gammainc_by(a: Any, x: Any, *, order: int) -> Any:
    """Derivative of P(a, x), `scipy.special.gammainc`, by a; NaN outside a > 0, x >= 0.

    Args:
        a, x: floats.
        order: how many times, 1 or more.

    Example:
        >>> float(gammainc_by(1.0, 1.0, order=1).round(6))
        -0.43173
    """
    (a, x), dtype = _filled(a, x)
    out = np.full(a.shape, np.nan)
    inside = (a > 0) & (x > 0) & np.isfinite(x) & np.isfinite(a)
    out[(a > 0) & ((x == 0) | np.isposinf(x))] = 0.0
    with np.errstate(all="ignore"):
        for left in (True, False):
            chosen = inside & ((x <= a + 1) == left)
            if not chosen.any():
                continue
            if order == 1:
                rule = _series if left else _fraction
                out[chosen] = rule(a[chosen], x[chosen])
            else:
                out[chosen] = _gamma_side(a[chosen], x[chosen], order, left)
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
    left = x <= (a + 1) / (a + b + 2)
    out = np.empty_like(a)
    out[left] = _beta_side(a[left], b[left], x[left], by)
    right = ~left
    out[right] = -_beta_side(b[right], a[right], 1 - x[right], 1 - by)
    return out


def betainc_by(a: Any, b: Any, x: Any, *, orders: tuple[int, int]) -> Any:
    """Derivative of `scipy.special.betainc` by a and b; NaN outside its domain.

    Args:
        a, b, x: floats.
        orders: how many times by a, and by b; at least one time.

    Example:
        >>> float(betainc_by(1.0, 1.0, 0.5, orders=(1, 0)).round(6))
        -0.346574
    """
    (a, b, x), dtype = _filled(a, b, x)
    out = np.full(a.shape, np.nan)
    valid = (a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)
    out[valid & ((x == 0) | (x == 1))] = 0.0
    inside = valid & (x > 0) & (x < 1)
    if inside.any():
        with np.errstate(all="ignore"):
            given = a[inside], b[inside], x[inside]
            if sum(orders) == 1:
                out[inside] = _betainc_by(*given, orders[1])
            else:
                out[inside] = _beta_integral(*given, orders)
    return out.astype(dtype)[()]


# --- higher orders


def exponential_rates(rates: Callable[[tuple[int, ...]], Any], order: Any) -> Any:
    """f^(order) / f of f = exp(g), `rates` giving the derivatives of g.

    Args:
        rates: of a multi-index, not zero, the partial derivative of g.
        order: a multi-index, not zero.

    By Leibniz' rule for f' = f g', of one variable after the other.
    """
    known: dict[tuple[int, ...], Any] = {}
    for at in itertools.product(*[range(n + 1) for n in order]):
        if not any(at):
            continue
        axis = next(i for i, n in enumerate(at) if n)
        rest = tuple(n - (i == axis) for i, n in enumerate(at))
        total = None
        for low in itertools.product(*[range(n + 1) for n in rest]):
            ways = math.prod(math.comb(n, k) for n, k in zip(rest, low, strict=True))
            up = tuple(n - k for n, k in zip(at, low, strict=True))
            term = rates(up)
            if any(low):
                term = term * known[low]
            term = ways * term if ways > 1 else term
            total = term if total is None else total + term
        known[at] = total
    return known[tuple(order)]


#: How far the density falls within the sum.
_FALL = 60.0
_half, _weight = np.polynomial.legendre.leggauss(24)
_half, _weight = 0.5 + 0.5 * _half, 0.5 * _weight
#: Beyond its first `_NEAR` the logarithm of the density is a straight line.
_NEAR = 40.0


def _sum(density: Callable[[Any], Any], far: Any, near: Any) -> Any:
    """The integral from 0 to `far`, in panels that are finer before `near`."""
    near = np.minimum(far, near)
    ends = [near * part for part in (0.0, 1 / 8, 3 / 8, 1.0)]
    if np.any(far > near):
        ends += [near + (far - near) * part for part in (0.4, 1.0)]
    total = 0.0
    for low, high in itertools.pairwise(ends):
        width = high - low
        total = total + (density(low + width * _half) @ _weight) * width[..., 0]
    return total


def _until(fallen: Callable[[Any], Any], like: Any) -> Any:
    """Where an increasing function is `_FALL` or little more."""
    high = np.ones_like(like)
    for _ in range(1100):
        low = fallen(high) < _FALL
        if not low.any():
            break
        high = np.where(low, 2 * high, high)
    for _ in range(1100):
        far = fallen(0.5 * high) >= _FALL
        if not far.any():
            break
        high = np.where(far, 0.5 * high, high)
    return high


def _gamma_side(a: Any, x: Any, order: int, left: bool) -> Any:
    """The integral of the density's derivative, from 0 to x or else from x on."""
    side = -1.0 if left else 1.0

    def fallen(u: Any) -> Any:
        return x * np.expm1(side * u) - side * a * u

    a, x = a[..., None], x[..., None]
    height = a * np.log(x) - x - special.gammaln(a)
    first = np.log(x) - special.digamma(a)
    others = [-special.polygamma(n, a) for n in range(1, order)]

    def density(u: Any) -> Any:
        def rates(at: tuple[int, ...]) -> Any:
            return first + side * u if at[0] == 1 else others[at[0] - 2]

        return np.exp(height - fallen(u)) * exponential_rates(rates, (order,))

    total = _sum(density, _until(fallen, x), _NEAR)
    return total if left else -total


def beta_rates(log: Any, log1: Any, polygamma: Any, at: Any) -> Any:
    """Derivatives of the logarithm of the beta density, by a and b.

    `polygamma(n, i)` is that of order n of a (i=0), b (1) or a + b (2).
    """
    n = sum(at)
    rate = polygamma(n - 1, 2)
    if at[1] == 0:
        rate = rate - polygamma(n - 1, 0)
    if at[0] == 0:
        rate = rate - polygamma(n - 1, 1)
    if n == 1:
        rate = rate + (log if at[0] else log1)
    return rate


def _beta_integral(a: Any, b: Any, x: Any, orders: tuple[int, int]) -> Any:
    left = x * (a + b) <= a
    out = np.empty_like(a)
    out[left] = _beta_left(a[left], b[left], x[left], orders)
    right = ~left
    mirrored = b[right], a[right], 1 - x[right], orders[::-1]
    out[right] = -_beta_left(*mirrored)
    return out


def _beta_left(a: Any, b: Any, x: Any, orders: tuple[int, int]) -> Any:
    """The integral of the density's derivative from 0 to x, left of the mean.

    In the logarithm of the odds, u = log(x / (1 - x)) - log(t / (1 - t)).
    """
    a, b, x = a[..., None], b[..., None], x[..., None]
    odds = np.log(x) - np.log1p(-x)

    def logs(u: Any) -> tuple[Any, Any]:
        y = odds - u
        return -np.logaddexp(0, -y), -np.logaddexp(0, y)

    height = a * logs(0.0)[0] + b * logs(0.0)[1] - special.betaln(a, b)

    def fallen(u: Any) -> Any:
        # log(t) and log(1 - t) by what they differ from those of x, without loss.
        share = np.log1p(x * np.expm1(-u))
        return a * (u + share) + b * share

    known = [
        [special.polygamma(n, y) for y in (a, b, a + b)] for n in range(sum(orders))
    ]

    def density(u: Any) -> Any:
        log, log1 = logs(u)

        def rates(at: tuple[int, ...]) -> Any:
            return beta_rates(log, log1, lambda n, i: known[n][i], at)

        return np.exp(height - fallen(u)) * exponential_rates(rates, orders)

    near = _NEAR + np.maximum(odds, 0.0)
    return _sum(density, _until(fallen, x), near)
