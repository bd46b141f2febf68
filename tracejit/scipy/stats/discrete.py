"""The discrete distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import special
from .families import Discrete

__all__ = ["bernoulli", "binom", "nbinom", "poisson"]

xlogy, xlog1py = special.xlogy, special.xlog1py


def _log_choose(n: Any, k: Any) -> Any:
    gammaln = special.gammaln
    return gammaln(n + 1) - (gammaln(k + 1) + gammaln(n - k + 1))


def _poisson_logpmf(k: Any, mu: Any) -> Any:
    return xlogy(k, mu) - special.gammaln(k + 1) - mu


def _binom_logpmf(k: Any, n: Any, p: Any) -> Any:
    # Where k > n nobody asks for the value, and the formula stays finite.
    k = np.minimum(k, n)
    return _log_choose(n, k) + xlogy(k, p) + xlog1py(n - k, -p)


def _nbinom_logpmf(k: Any, n: Any, p: Any) -> Any:
    gammaln = special.gammaln
    front = gammaln(n + k) - gammaln(k + 1) - gammaln(n)
    return front + n * np.log(p) + xlog1py(k, -p)


def _probability(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _counts(n: Any, p: Any) -> Any:
    return (n >= 0) & (np.floor(n) == n) & _probability(p)


poisson = Discrete(
    "poisson",
    ("mu",),
    _poisson_logpmf,
    lambda k, mu: special.gammaincc(k + 1, mu),
    lambda k, mu: special.gammainc(k + 1, mu),
    lambda mu: mu >= 0,
)
binom = Discrete(
    "binom",
    ("n", "p"),
    _binom_logpmf,
    lambda k, n, p: special.betaincc(k + 1, np.maximum(n - k, 1.0), p),
    lambda k, n, p: special.betainc(k + 1, np.maximum(n - k, 1.0), p),
    _counts,
    lambda n, p: n,
)
nbinom = Discrete(
    "nbinom",
    ("n", "p"),
    _nbinom_logpmf,
    lambda k, n, p: special.betainc(n, k + 1, p),
    lambda k, n, p: special.betaincc(n, k + 1, p),
    lambda n, p: (n > 0) & (p > 0) & (p <= 1),
)
bernoulli = Discrete(
    "bernoulli",
    ("p",),
    lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    lambda k, p: 1 - p + 0 * k,
    lambda k, p: p + 0 * k,
    _probability,
    1.0,
)
