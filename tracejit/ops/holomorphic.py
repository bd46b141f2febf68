"""Special functions of complex numbers: one row each, SciPy's functions called back.

The derivatives are those of the real rows (`special`); all functions are holomorphic
where they have no branch cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ..avals import Aval
from ..primitive import Primitive, register
from .elementwise import exp, log
from .logic import eq, select
from .rows import FIELD, POS, REAL, Domain, _row, same_dtype, sample

__all__ = ["PREFIX"]

#: In front of the name of the row of real numbers.
PREFIX = "complex_"

_ROOT_PI = math.sqrt(math.pi)
_ROOT_2PI = math.sqrt(2 * math.pi)


def _entry(
    name: str,
    reference: Callable[..., Any],
    partial: Callable[[Any, Any], Any],
    domain: Domain = REAL,
) -> Primitive:
    def partials(y: Any, a: Any) -> tuple:
        return (lambda: partial(y, a),)

    return _row(PREFIX + name, reference, partials, "", (domain,), FIELD, host=True)


# --- the derivatives of digamma: sum over k of (z + k)**-s, s = 2, 3, ...

#: Bernoulli's numbers B2, B4, ..., divided by the factorials of their indices.
_BERNOULLI = special.bernoulli(20)[2::2] / special.factorial(np.arange(2, 21, 2))
_FAR = 16.0


def _hurwitz(z: Any, *, s: int) -> Any:
    """By the formula of Euler and Maclaurin (NIST DLMF 25.11.28)."""
    z = np.asarray(z)
    dtype = z.dtype
    at = z.astype(np.complex128 if dtype.kind == "c" else np.float64)
    total = np.zeros_like(at)
    while True:
        near = at.real < _FAR
        if not near.any():
            break
        total = np.where(near, total + np.where(near, at, 1.0) ** -s, total)
        at = np.where(near, at + 1.0, at)
    total = total + at ** (1 - s) / (s - 1) + 0.5 * at**-s
    rising, power = float(s), at ** (-s - 1)
    for j, number in enumerate(_BERNOULLI):
        total = total + number * rising * power
        rising *= (s + 2 * j + 1) * (s + 2 * j + 2)
        power = power / (at * at)
    return total.astype(dtype)[()]


def _hurwitz_aval(z: Aval, *, s: int) -> Aval:
    same_dtype((z,), "hurwitz", FIELD)
    return z


hurwitz: Primitive = register(
    Primitive(
        "hurwitz",
        "elementwise",
        _hurwitz,
        _hurwitz_aval,
        partials=lambda y, z, s: (lambda: -s * hurwitz(z, s=s + 1),),
        host=True,
        samples=(
            sample(((2, 3), POS), s=2),
            sample(((), POS), s=3),
            sample(((3,), POS, "f4"), s=2),
        ),
    )
)


# --- SciPy's


def _spence_partial(y: Any, a: Any) -> Any:
    one = eq(a, 1)
    return select(one, -1.0, log(a) / select(one, 1.0, 1 - a))


digamma = _entry("digamma", special.digamma, lambda y, a: hurwitz(a, s=2), POS)
gamma = _entry("gamma", special.gamma, lambda y, a: y * digamma(a), POS)
rgamma = _entry("rgamma", special.rgamma, lambda y, a: -y * digamma(a), POS)
loggamma = _entry("loggamma", special.loggamma, lambda y, a: digamma(a), POS)
erf = _entry("erf", special.erf, lambda y, a: 2 / _ROOT_PI * exp(-a * a))
erfc = _entry("erfc", special.erfc, lambda y, a: -2 / _ROOT_PI * exp(-a * a))
erfcx = _entry("erfcx", special.erfcx, lambda y, a: 2 * a * y - 2 / _ROOT_PI)
erfi = _entry("erfi", special.erfi, lambda y, a: 2 / _ROOT_PI * exp(a * a))
dawsn = _entry("dawsn", special.dawsn, lambda y, a: 1 - 2 * a * y)
log_ndtr = _entry(
    "log_ndtr", special.log_ndtr, lambda y, a: exp(-0.5 * (a * a) - y) / _ROOT_2PI
)
expi = _entry("expi", special.expi, lambda y, a: exp(a) / a, POS)
exp1 = _entry("exp1", special.exp1, lambda y, a: -exp(-a) / a, POS)
spence = _entry("spence", special.spence, _spence_partial, POS)
