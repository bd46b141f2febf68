"""The continuous distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import special
from .families import Continuous

__all__ = [
    "beta",
    "cauchy",
    "chi2",
    "expon",
    "gamma",
    "gumbel_r",
    "laplace",
    "logistic",
    "lognorm",
    "norm",
    "pareto",
    "t",
    "uniform",
    "weibull_min",
]

_LOG_2PI = math.log(2 * math.pi)
xlogy, xlog1py, log1p = special.xlogy, special.xlog1py, np.log1p


def _norm_logpdf(x: Any) -> Any:
    return -0.5 * (x * x) - 0.5 * _LOG_2PI


def _t_logpdf(x: Any, df: Any) -> Any:
    front = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df)
    return front - 0.5 * np.log(math.pi * df) - 0.5 * (df + 1) * log1p(x * x / df)


def _beta_logpdf(x: Any, a: Any, b: Any) -> Any:
    return xlog1py(b - 1, -x) + xlogy(a - 1, x) - special.betaln(a, b)


def _gamma_logpdf(x: Any, a: Any) -> Any:
    return xlogy(a - 1, x) - x - special.gammaln(a)


def _chi2_logpdf(x: Any, df: Any) -> Any:
    half = 0.5 * df
    return xlogy(half - 1, x) - 0.5 * x - special.gammaln(half) - half * math.log(2)


def _logistic_logpdf(x: Any) -> Any:
    size = np.abs(x)
    return -size - 2 * log1p(np.exp(-size))


def _lognorm_logpdf(x: Any, s: Any) -> Any:
    log = np.log(x)
    return -0.5 * (log / s) ** 2 - log - np.log(s) - 0.5 * _LOG_2PI


def _weibull_logpdf(x: Any, c: Any) -> Any:
    return np.log(c) + xlogy(c - 1, x) - x**c


def _gumbel_logpdf(x: Any) -> Any:
    return -x - np.exp(-x)


def _laplace_cdf(x: Any) -> Any:
    tail = 0.5 * np.exp(-np.abs(x))
    return np.where(x > 0, 1 - tail, tail)


def _cauchy_ppf(p: Any) -> Any:
    near = np.abs(p - 0.5) < 0.25
    tail = 1 / np.tan(math.pi * np.where(near, 0.25, np.minimum(p, 1 - p)))
    body = np.tan(math.pi * (np.where(near, p, 0.5) - 0.5))
    return np.where(near, body, np.where(p < 0.5, -tail, tail))


def _laplace_ppf(p: Any) -> Any:
    low = np.log(2 * np.where(p > 0.5, 1 - p, p))
    return np.where(p > 0.5, -low, low)


def _laplace_logcdf(x: Any) -> Any:
    low = np.minimum(x, 0.0) - math.log(2)
    return np.where(x > 0, log1p(-0.5 * np.exp(-np.abs(x))), low)


def _cauchy_cdf(x: Any) -> Any:
    # Left of -1 through the reciprocal, without loss.
    far = np.abs(x) > 1
    inverse = 1 / np.where(far, x, np.ones_like(x))
    tail = np.arctan(np.abs(inverse)) / math.pi
    near = 0.5 + np.arctan(np.where(far, np.zeros_like(x), x)) / math.pi
    return np.where(far, np.where(x < 0, tail, 1 - tail), near)


def _positive(first: Any, *others: Any) -> Any:
    """Where all are positive."""
    found = first > 0
    for shape in others:
        found = found & (shape > 0)
    return found


norm = Continuous(
    "norm",
    (),
    _norm_logpdf,
    lambda x: special.ndtr(x),
    lambda x: special.ndtr(-x),
    logcdf=lambda x: special.log_ndtr(x),
    logsf=lambda x: special.log_ndtr(-x),
    ppf=lambda p: special.ndtri(p),
    isf=lambda q: -special.ndtri(q),
)
t = Continuous(
    "t",
    ("df",),
    _t_logpdf,
    lambda x, df: special.stdtr(df, x),
    lambda x, df: special.stdtr(df, -x),
    _positive,
    ppf=lambda p, df: special.stdtrit(df, p),
    isf=lambda q, df: -special.stdtrit(df, q),
)
gamma = Continuous(
    "gamma",
    ("a",),
    _gamma_logpdf,
    lambda x, a: special.gammainc(a, x),
    lambda x, a: special.gammaincc(a, x),
    _positive,
    low=0.0,
    inner=1.0,
    ppf=lambda p, a: special.gammaincinv(a, p),
    isf=lambda q, a: special.gammainccinv(a, q),
)
beta = Continuous(
    "beta",
    ("a", "b"),
    _beta_logpdf,
    lambda x, a, b: special.betainc(a, b, x),
    lambda x, a, b: special.betaincc(a, b, x),
    _positive,
    low=0.0,
    high=1.0,
    inner=0.5,
    ppf=lambda p, a, b: special.betaincinv(a, b, p),
    isf=lambda q, a, b: special.betainccinv(a, b, q),
)
chi2 = Continuous(
    "chi2",
    ("df",),
    _chi2_logpdf,
    lambda x, df: special.gammainc(0.5 * df, 0.5 * x),
    lambda x, df: special.gammaincc(0.5 * df, 0.5 * x),
    _positive,
    low=0.0,
    inner=1.0,
    ppf=lambda p, df: 2 * special.gammaincinv(0.5 * df, p),
    isf=lambda q, df: 2 * special.gammainccinv(0.5 * df, q),
)
expon = Continuous(
    "expon",
    (),
    lambda x: -x,
    lambda x: -np.expm1(-x),
    lambda x: np.exp(-x),
    low=0.0,
    inner=1.0,
    logsf=lambda x: -x,
    ppf=lambda p: -log1p(-p),
    isf=lambda q: -np.log(q),
)
cauchy = Continuous(
    "cauchy",
    (),
    lambda x: -math.log(math.pi) - log1p(x * x),
    _cauchy_cdf,
    lambda x: _cauchy_cdf(-x),
    ppf=_cauchy_ppf,
    isf=lambda q: -_cauchy_ppf(q),
)
laplace = Continuous(
    "laplace",
    (),
    lambda x: -math.log(2) - np.abs(x),
    _laplace_cdf,
    lambda x: _laplace_cdf(-x),
    logcdf=_laplace_logcdf,
    logsf=lambda x: _laplace_logcdf(-x),
    ppf=_laplace_ppf,
    isf=lambda q: -_laplace_ppf(q),
)
logistic = Continuous(
    "logistic",
    (),
    _logistic_logpdf,
    lambda x: special.expit(x),
    lambda x: special.expit(-x),
    logcdf=lambda x: special.log_expit(x),
    logsf=lambda x: special.log_expit(-x),
    ppf=lambda p: special.logit(p),
    isf=lambda q: -special.logit(q),
)
lognorm = Continuous(
    "lognorm",
    ("s",),
    _lognorm_logpdf,
    lambda x, s: special.ndtr(np.log(x) / s),
    lambda x, s: special.ndtr(-np.log(x) / s),
    _positive,
    low=0.0,
    inner=1.0,
    closed=False,
    logcdf=lambda x, s: special.log_ndtr(np.log(x) / s),
    logsf=lambda x, s: special.log_ndtr(-np.log(x) / s),
    ppf=lambda p, s: np.exp(s * special.ndtri(p)),
    isf=lambda q, s: np.exp(-s * special.ndtri(q)),
)
weibull_min = Continuous(
    "weibull_min",
    ("c",),
    _weibull_logpdf,
    lambda x, c: -np.expm1(-(x**c)),
    lambda x, c: np.exp(-(x**c)),
    _positive,
    low=0.0,
    inner=1.0,
    logsf=lambda x, c: -(x**c),
    ppf=lambda p, c: (-log1p(-p)) ** (1 / c),
    isf=lambda q, c: (-np.log(q)) ** (1 / c),
)
gumbel_r = Continuous(
    "gumbel_r",
    (),
    _gumbel_logpdf,
    lambda x: np.exp(-np.exp(-x)),
    lambda x: -np.expm1(-np.exp(-x)),
    logcdf=lambda x: -np.exp(-x),
    ppf=lambda p: -np.log(-np.log(p)),
    isf=lambda q: -np.log(-log1p(-q)),
)
pareto = Continuous(
    "pareto",
    ("b",),
    lambda x, b: np.log(b) - (b + 1) * np.log(x),
    lambda x, b: -np.expm1(-b * np.log(x)),
    lambda x, b: np.exp(-b * np.log(x)),
    _positive,
    low=1.0,
    inner=2.0,
    logsf=lambda x, b: -b * np.log(x),
    ppf=lambda p, b: np.exp(-log1p(-p) / b),
    isf=lambda q, b: np.exp(-np.log(q) / b),
)
uniform = Continuous(
    "uniform",
    (),
    lambda x: 0.0 * x,
    lambda x: x,
    lambda x: 1 - x,
    low=0.0,
    high=1.0,
    inner=0.5,
    ppf=lambda p: p,
    isf=lambda q: 1 - q,
)
