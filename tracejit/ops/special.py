"""Special functions beyond the elementary ones: one row each.

SciPy's C functions are called inside kernels.  The derivatives are those of the NIST
Digital Library of Mathematical Functions (chapters 5, 6, 7, 8, 10, 19).  Derivatives by
parameters of the incomplete gamma and beta functions, of any order, are sums of their
own (`incomplete`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ..avals import Aval
from ..errors import DifferentiationError
from ..primitive import Primitive, register
from . import incomplete
from .elementwise import digamma, exp, gammaln, log, log1p, sign, xlogy, zeta
from .logic import eq, mulz, select
from .rows import (
    GT1,
    INSIDE,
    NONZ,
    POS,
    UNIT,
    Domain,
    _row,
    broadcast_shape,
    row1,
    row2,
    same_dtype,
    sample,
)

_ROOT_PI = math.sqrt(math.pi)
_ROOT_2PI = math.sqrt(2 * math.pi)


def _refuse(name: str, operand: str) -> Callable[[], Any]:
    """A partial that nobody knows."""

    def partial() -> Any:
        raise DifferentiationError(f"{name} has no derivative by its {operand}.")

    return partial


def ORDER(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Orders of Bessel functions."""
    return rng.uniform(1.0, 3.0, size=shape)


def _row3(
    name: str,
    reference: Callable[..., Any],
    partials: Callable[..., tuple],
    lower: str,
    domains: tuple[Domain, Domain, Domain],
    **rules: Any,
) -> Primitive:
    return _row(name, reference, partials, lower, domains, "f", **rules)


# --- gamma and beta functions


def _gammainc_density(a: Any, x: Any) -> Any:
    # xlogy: finite at x = 0 for a = 1.
    return exp(xlogy(a - 1, x) - x - gammaln(a))


def _betainc_density(a: Any, b: Any, x: Any) -> Any:
    return exp(xlogy(a - 1, x) + (b - 1) * log1p(-x) - betaln(a, b))


def _betaln_partials(y: Any, a: Any, b: Any) -> tuple:
    return lambda: digamma(a) - digamma(a + b), lambda: digamma(b) - digamma(a + b)


def _beta_partials(y: Any, a: Any, b: Any) -> tuple:
    by_a, by_b = _betaln_partials(y, a, b)
    return lambda: y * by_a(), lambda: y * by_b()


def _polygamma(n: int, a: Any) -> Any:
    if n == 0:
        return digamma(a)
    return (-1) ** (n + 1) * math.factorial(n) * zeta(n + 1, a)


def _gammainc_density_by(a: Any, x: Any, order: int) -> Any:
    def rates(at: tuple[int, ...]) -> Any:
        (n,) = at
        return log(x) - digamma(a) if n == 1 else -_polygamma(n - 1, a)

    # mulz: at x = 0 the density is 0, and its logarithm's rate infinite.
    rate = incomplete.exponential_rates(rates, (order,))
    return mulz(_gammainc_density(a, x), rate)


def _betainc_density_by(a: Any, b: Any, x: Any, orders: tuple[int, int]) -> Any:
    def polygamma(n: int, i: int) -> Any:
        return _polygamma(n, a + b if i == 2 else (a, b)[i])

    def rates(at: tuple[int, ...]) -> Any:
        return incomplete.beta_rates(log(x), log1p(-x), polygamma, at)

    rate = incomplete.exponential_rates(rates, orders)
    return mulz(_betainc_density(a, b, x), rate)


def _gammainc_partials(y: Any, a: Any, x: Any) -> tuple:
    return lambda: gammainc_by(a, x, order=1), lambda: _gammainc_density(a, x)


def _gammaincc_partials(y: Any, a: Any, x: Any) -> tuple:
    return lambda: -gammainc_by(a, x, order=1), lambda: -_gammainc_density(a, x)


def _gammaincinv_partials(y: Any, a: Any, p: Any) -> tuple:
    return (
        lambda: -gammainc_by(a, y, order=1) / _gammainc_density(a, y),
        lambda: 1 / _gammainc_density(a, y),
    )


def _gammainccinv_partials(y: Any, a: Any, p: Any) -> tuple:
    by_a, by_p = _gammaincinv_partials(y, a, p)
    return by_a, lambda: -by_p()


def _gammainc_by_partials(y: Any, a: Any, x: Any, order: int) -> tuple:
    return (
        lambda: gammainc_by(a, x, order=order + 1),
        lambda: _gammainc_density_by(a, x, order),
    )


def _betainc_partials(y: Any, a: Any, b: Any, x: Any) -> tuple:
    return (
        lambda: betainc_by(a, b, x, orders=(1, 0)),
        lambda: betainc_by(a, b, x, orders=(0, 1)),
        lambda: _betainc_density(a, b, x),
    )


def _betaincc_partials(y: Any, a: Any, b: Any, x: Any) -> tuple:
    return tuple(lambda p=p: -p() for p in _betainc_partials(y, a, b, x))


def _betaincinv_partials(y: Any, a: Any, b: Any, p: Any) -> tuple:
    return (
        lambda: -betainc_by(a, b, y, orders=(1, 0)) / _betainc_density(a, b, y),
        lambda: -betainc_by(a, b, y, orders=(0, 1)) / _betainc_density(a, b, y),
        lambda: 1 / _betainc_density(a, b, y),
    )


def _betaincinv_of_rest(y: Any, a: Any, b: Any, p: Any) -> tuple:
    by_a, by_b, by_p = _betaincinv_partials(y, a, b, p)
    return by_a, by_b, lambda: -by_p()


def _betainc_by_partials(
    y: Any, a: Any, b: Any, x: Any, orders: tuple[int, int]
) -> tuple:
    i, j = orders
    return (
        lambda: betainc_by(a, b, x, orders=(i + 1, j)),
        lambda: betainc_by(a, b, x, orders=(i, j + 1)),
        lambda: _betainc_density_by(a, b, x, orders),
    )


def _orders(
    name: str,
    reference: Callable[..., Any],
    partials: Callable[..., tuple],
    domains: tuple[Domain, ...],
    param: str,
    *values: Any,
) -> Primitive:
    """A row of derivatives, the param saying of which order."""

    def aval(*avals: Aval, **_: Any) -> Aval:
        dtype = same_dtype(avals, name, "f")
        return Aval(broadcast_shape(avals, name), dtype)

    shapes = (((2, 3), "f8"), ((2, 3), "f4"), ((), "f8"))
    samples = [
        sample(*[(shape, domain, dtype) for domain in domains], **{param: value})
        for value in values
        for shape, dtype in shapes
    ]
    return register(
        Primitive(
            name,
            "elementwise",
            reference,
            aval,
            partials=partials,
            host=True,
            samples=tuple(samples),
        )
    )


def _binom_partials(y: Any, n: Any, k: Any) -> tuple:
    rest = n - k + 1
    return (
        lambda: y * (digamma(n + 1) - digamma(rest)),
        lambda: y * (digamma(rest) - digamma(k + 1)),
    )


def _poch_partials(y: Any, z: Any, m: Any) -> tuple:
    return (
        lambda: y * (digamma(z + m) - digamma(z)),
        lambda: y * digamma(z + m),
    )


def _t_partials(y: Any, df: Any, p: Any) -> tuple:
    half, t2 = 0.5 * df, y * y
    share = df / (df + t2)

    def rate() -> Any:
        front = exp(-betaln(half, 0.5 + 0 * half) - 0.5 * (df + 1) * log1p(t2 / df))
        return df**0.5 / front

    def by_df() -> Any:
        # The left tail is I(share; df / 2, 1 / 2) / 2 (NIST DLMF 8.17).
        fixed = 0.5 * betainc_by(half, 0.5 + 0 * half, share, orders=(1, 0))
        moved = _betainc_density(half, 0.5 + 0 * half, share) * t2 / (df + t2) ** 2
        # At t = 0 neither changes.
        still = eq(y, 0)
        return select(still, 0.0, sign(y) * 0.5 * (fixed + moved) * rate())

    return by_df, rate


# fmt: off
gamma = row1("gamma", special.gamma, lambda y, a: y * digamma(a), "gamma(a)", GT1)
rgamma = row1("rgamma", special.rgamma, lambda y, a: -y * digamma(a), "rgamma(a)", GT1)
betaln = row2("betaln", special.betaln, _betaln_partials, "betaln(a, b)", GT1, GT1)
beta = row2("beta", special.beta, _beta_partials, "beta(a, b)", GT1, GT1)
gammainc = row2(
    "gammainc", special.gammainc, _gammainc_partials, "gammainc(a, b)", POS, POS
)
gammaincc = row2(
    "gammaincc", special.gammaincc, _gammaincc_partials, "gammaincc(a, b)", POS, POS
)
gammaincinv = row2(
    "gammaincinv", special.gammaincinv, _gammaincinv_partials, "gammaincinv(a, b)",
    GT1, INSIDE,
)
gammainccinv = row2(
    "gammainccinv", special.gammainccinv, _gammainccinv_partials,
    "gammainccinv(a, b)", GT1, INSIDE,
)
betainc = _row3(
    "betainc", special.betainc, _betainc_partials, "betainc(a, b, c)",
    (POS, POS, INSIDE),
)
betaincinv = _row3(
    "betaincinv", special.betaincinv, _betaincinv_partials, "betaincinv(a, b, c)",
    (GT1, GT1, INSIDE),
)
binom = row2("binom", special.binom, _binom_partials, "binom(a, b)", GT1, INSIDE)
poch = row2("poch", special.poch, _poch_partials, "poch(a, b)", GT1, POS)
betaincc = _row3(
    "betaincc", special.betaincc, _betaincc_partials, "betaincc(a, b, c)",
    (POS, POS, INSIDE),
)
betainccinv = _row3(
    "betainccinv", special.betainccinv, _betaincinv_of_rest, "betainccinv(a, b, c)",
    (GT1, GT1, INSIDE),
)
gammainc_by = _orders(
    "gammainc_by", incomplete.gammainc_by, _gammainc_by_partials, (POS, POS),
    "order", 1, 2,
)
betainc_by = _orders(
    "betainc_by", incomplete.betainc_by, _betainc_by_partials, (POS, POS, INSIDE),
    "orders", (1, 0), (0, 1), (1, 1), (0, 2),
)
stdtrit = row2("stdtrit", special.stdtrit, _t_partials, "stdtrit(a, b)", GT1, INSIDE)


# --- the error function's family, exponential integrals

def _erfinv_partial(y: Any, a: Any) -> Any:
    return 0.5 * _ROOT_PI * exp(y * y)


def _log_ndtr_partial(y: Any, a: Any) -> Any:
    return exp(-0.5 * (a * a) - y) / _ROOT_2PI


def _spence_partial(y: Any, a: Any) -> Any:
    one = eq(a, 1)
    return select(one, -1.0, log(a) / select(one, 1.0, 1 - a))


def WHOLE(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Small whole numbers."""
    return rng.integers(0, 4, size=shape)


def _expn(n: Any, a: Any) -> Any:
    # Without SciPy's warning that it cuts the order off.
    return special.expn(np.asarray(n).astype(np.int64), a).astype(a.dtype)[()]


def _expn_partials(y: Any, n: Any, a: Any) -> tuple:
    def by_a() -> Any:
        zero = eq(n, 0)
        return -select(zero, y * (1 + 1 / a), expn(select(zero, n, n - 1), a))

    return _refuse("expn", "order"), by_a


ndtri = row1(
    "ndtri", special.ndtri, lambda y, a: _ROOT_2PI * exp(0.5 * (y * y)), "ndtri(a)",
    INSIDE,
)
log_ndtr = row1("log_ndtr", special.log_ndtr, _log_ndtr_partial, "log_ndtr(a)")
erfinv = row1("erfinv", special.erfinv, _erfinv_partial, "erfinv(a)", UNIT)
erfcinv = row1(
    "erfcinv", special.erfcinv, lambda y, a: -_erfinv_partial(y, a), "erfcinv(a)",
    INSIDE,
)
erfcx = row1(
    "erfcx", special.erfcx, lambda y, a: 2 * a * y - 2 / _ROOT_PI, "erfcx(a)"
)
erfi = row1("erfi", special.erfi, lambda y, a: 2 / _ROOT_PI * exp(a * a), "erfi(a)")
dawsn = row1("dawsn", special.dawsn, lambda y, a: 1 - 2 * a * y, "dawsn(a)")
exp1 = row1("exp1", special.exp1, lambda y, a: -exp(-a) / a, "exp1(a)", POS)
expn: Primitive = _row(
    "expn", _expn, _expn_partials, "", (WHOLE, POS), "f", host=True
)
expi = row1("expi", special.expi, lambda y, a: exp(a) / a, "expi(a)", NONZ)
spence = row1("spence", special.spence, _spence_partial, "spence(a)", POS)


# --- Bessel functions: the recurrences of DLMF 10.6 and 10.29

def _over(y: Any, a: Any, at_zero: float) -> Any:
    """y / a, and its limit at 0."""
    zero = eq(a, 0)
    return select(zero, at_zero, y / select(zero, 1.0, a))


def _order(name: str, derivative: Callable[..., Any]) -> Callable[..., tuple]:
    def partials(y: Any, v: Any, a: Any) -> tuple:
        return _refuse(name, "order"), lambda: derivative(y, v, a)

    return partials


j1: Primitive
y1: Primitive
i1: Primitive
i1e: Primitive
k1: Primitive
k1e: Primitive
jv: Primitive
yv: Primitive
iv: Primitive
ive: Primitive
kv: Primitive
kve: Primitive
j0 = row1("j0", special.j0, lambda y, a: -j1(a), "j0(a)")
j1 = row1("j1", special.j1, lambda y, a: j0(a) - _over(y, a, 0.5), "j1(a)")
y0 = row1("y0", special.y0, lambda y, a: -y1(a), "y0(a)", POS)
y1 = row1("y1", special.y1, lambda y, a: y0(a) - y / a, "y1(a)", POS)
i0 = row1("i0", special.i0, lambda y, a: i1(a), "i0(a)")
i1 = row1("i1", special.i1, lambda y, a: i0(a) - _over(y, a, 0.5), "i1(a)")
i0e = row1("i0e", special.i0e, lambda y, a: i1e(a) - sign(a) * y, "i0e(a)", NONZ)
i1e = row1(
    "i1e", special.i1e, lambda y, a: i0e(a) - sign(a) * y - _over(y, a, 0.5), "i1e(a)",
    NONZ,
)
k0 = row1("k0", special.k0, lambda y, a: -k1(a), "k0(a)", POS)
k1 = row1("k1", special.k1, lambda y, a: -k0(a) - y / a, "k1(a)", POS)
k0e = row1("k0e", special.k0e, lambda y, a: y - k1e(a), "k0e(a)", POS)
k1e = row1("k1e", special.k1e, lambda y, a: y - k0e(a) - y / a, "k1e(a)", POS)
jv = row2(
    "jv", special.jv,
    _order("jv", lambda y, v, a: 0.5 * (jv(v - 1, a) - jv(v + 1, a))),
    "jv(a, b)", ORDER, POS,
)
yv = row2(
    "yv", special.yv,
    _order("yv", lambda y, v, a: 0.5 * (yv(v - 1, a) - yv(v + 1, a))),
    "yv(a, b)", ORDER, POS,
)
iv = row2(
    "iv", special.iv,
    _order("iv", lambda y, v, a: 0.5 * (iv(v - 1, a) + iv(v + 1, a))),
    "iv(a, b)", ORDER, POS,
)
ive = row2(
    "ive", special.ive,
    _order("ive", lambda y, v, a: 0.5 * (ive(v - 1, a) + ive(v + 1, a)) - sign(a) * y),
    "ive(a, b)", ORDER, POS,
)
kv = row2(
    "kv", special.kv,
    _order("kv", lambda y, v, a: -0.5 * (kv(v - 1, a) + kv(v + 1, a))),
    "kv(a, b)", ORDER, POS,
)
kve = row2(
    "kve", special.kve,
    _order("kve", lambda y, v, a: y - 0.5 * (kve(v - 1, a) + kve(v + 1, a))),
    "kve(a, b)", ORDER, POS,
)


# --- elliptic integrals of the parameter m (DLMF 19.4)

def _ellipk_partial(y: Any, m: Any) -> Any:
    return (ellipe(m) / (1 - m) - y) / (2 * m)


ellipe: Primitive
ellipk = row1("ellipk", special.ellipk, _ellipk_partial, "ellipk(a)", INSIDE)
ellipe = row1(
    "ellipe", special.ellipe, lambda y, m: (y - ellipk(m)) / (2 * m), "ellipe(a)",
    INSIDE,
)
# fmt: on
