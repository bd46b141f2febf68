"""`scipy.stats` for recorded functions: the distributions that people fit.

The names, parameters and conventions are SciPy's: shape parameters first, then `loc`
and `scale`; outside the support a density is 0 and its logarithm -inf; with parameters
that are not allowed everything is NaN.  All methods take traced and ordinary arrays,
which broadcast.  The densities are those of SciPy's documentation; derivatives by
parameters come from the formulas, those of the distribution functions from
`ops.incomplete` where there is no formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import special

__all__ = [
    "bernoulli",
    "beta",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "gamma",
    "gumbel_r",
    "laplace",
    "logistic",
    "lognorm",
    "multivariate_normal",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "t",
    "uniform",
    "weibull_min",
]

_LOG_2PI = math.log(2 * math.pi)

Function = Callable[..., Any]


def _all(*conditions: Any) -> Any:
    """Where all hold."""
    found = conditions[0]
    for condition in conditions[1:]:
        found = found & condition
    return found


def _inside(condition: Any, value: Any, otherwise: Any) -> Any:
    return np.where(condition, value, otherwise)


def _log(p: Any, rest: Any) -> Any:
    """log(p), by what is left of 1 where that is the smaller part."""
    large = p > 0.5
    return np.where(large, np.log1p(-rest), np.log(np.where(large, 1.0, p)))


class Continuous:
    """A family of continuous distributions.

    Attributes:
        name: SciPy's name.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> x = np.array([1.0, 2.0, 4.5])
        >>> grad(lambda mu: np.sum(norm.logpdf(x, mu, 2.0)))(1.0)
        np.float64(1.125)

    The functions given are those of the standard distribution (loc 0, scale 1), of x
    and the shape parameters; x is inside the support whenever it matters.
    """

    def __init__(
        self,
        name: str,
        shapes: tuple[str, ...],
        logpdf: Function,
        cdf: Function,
        sf: Function,
        allowed: Function | None = None,
        low: Function | float = -math.inf,
        high: Function | float = math.inf,
        inner: float = 0.0,
        closed: bool = True,
        logcdf: Function | None = None,
        logsf: Function | None = None,
    ) -> None:
        self.name = name
        self._shapes = shapes
        self._logpdf, self._cdf, self._sf = logpdf, cdf, sf
        self._logcdf, self._logsf = logcdf, logsf
        self._allowed = allowed
        self._low, self._high, self._inner = low, high, inner
        self._closed = closed

    def __repr__(self) -> str:
        return f"<distribution {self.name}>"

    def _read(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], Any, Any]:
        """Shape parameters, loc and scale, given by position or by name."""
        names = (*self._shapes, "loc", "scale")
        if len(args) > len(names):
            raise TypeError(f"{self.name} takes at most {len(names)} parameters")
        found = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                raise TypeError(f"{self.name} has no parameter {name!r}")
            if name in found:
                raise TypeError(f"{self.name} got two values for {name!r}")
            found[name] = value
        missing = [name for name in self._shapes if name not in found]
        if missing:
            raise TypeError(f"{self.name} needs the parameter {missing[0]!r}")
        shapes = [special._floats(found[name]) for name in self._shapes]
        return shapes, found.get("loc", 0.0), found.get("scale", 1.0)

    def _prepare(self, x: Any, args: tuple, kwargs: dict[str, Any]) -> _Standard:
        """The argument in units of the standard distribution, and what is allowed."""
        shapes, loc, scale = self._read(args, kwargs)
        scale = special._floats(scale)
        z = (special._floats(x) - loc) / scale
        allowed = scale > 0
        if self._allowed is not None:
            allowed = allowed & self._allowed(*shapes)
        low = self._low(*shapes) if callable(self._low) else self._low
        high = self._high(*shapes) if callable(self._high) else self._high
        below = z < low if self._closed else z <= low
        return _Standard(z, shapes, scale, allowed, low, high, below, self._inner)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of the density at x."""
        at = self._prepare(x, args, kwargs)
        value = self._logpdf(at.safe, *at.shapes) - np.log(at.positive)
        return at.choose(value, -np.inf, -np.inf)

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density at x."""
        at = self._prepare(x, args, kwargs)
        value = np.exp(self._logpdf(at.safe, *at.shapes)) / at.positive
        return at.choose(value, 0.0, 0.0)

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most x."""
        at = self._prepare(x, args, kwargs)
        return at.choose(self._cdf(at.safe, *at.shapes), 0.0, 1.0)

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than x, accurate where it is small."""
        at = self._prepare(x, args, kwargs)
        return at.choose(self._sf(at.safe, *at.shapes), 1.0, 0.0)

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `cdf`."""
        at = self._prepare(x, args, kwargs)
        if self._logcdf is not None:
            value = self._logcdf(at.safe, *at.shapes)
        else:
            value = _log(self._cdf(at.safe, *at.shapes), self._sf(at.safe, *at.shapes))
        return at.choose(value, -np.inf, 0.0)

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `sf`."""
        at = self._prepare(x, args, kwargs)
        if self._logsf is not None:
            value = self._logsf(at.safe, *at.shapes)
        else:
            value = _log(self._sf(at.safe, *at.shapes), self._cdf(at.safe, *at.shapes))
        return at.choose(value, 0.0, -np.inf)


class _Standard:
    """An argument in units of the standard distribution."""

    def __init__(
        self,
        z: Any,
        shapes: list[Any],
        scale: Any,
        allowed: Any,
        low: Any,
        high: Any,
        below: Any,
        inner: float,
    ) -> None:
        self.below, self.above = below, z > high
        self.allowed, self.z = allowed, z
        self.inside = ~(self.below | self.above)
        # Outside the support the formulas are asked for a harmless point.
        bounded = not (low is -math.inf and high is math.inf)
        self.bounded = bounded
        self.safe = np.where(self.inside, z, z.dtype.type(inner)) if bounded else z
        self.shapes = shapes
        self.positive = scale

    def choose(self, value: Any, below: float, above: float) -> Any:
        """The value inside the support, the limits outside, NaN where not allowed."""
        if self.bounded:
            value = np.where(self.below, below, np.where(self.above, above, value))
        undefined = ~self.allowed | np.isnan(self.z)
        return np.where(undefined, np.nan, value)[()]


# --- continuous distributions

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


def _positive(*shapes: Any) -> Any:
    return _all(*[shape > 0 for shape in shapes])


norm = Continuous(
    "norm",
    (),
    _norm_logpdf,
    lambda x: special.ndtr(x),
    lambda x: special.ndtr(-x),
    logcdf=lambda x: special.log_ndtr(x),
    logsf=lambda x: special.log_ndtr(-x),
)
t = Continuous(
    "t",
    ("df",),
    _t_logpdf,
    lambda x, df: special.stdtr(df, x),
    lambda x, df: special.stdtr(df, -x),
    _positive,
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
)
cauchy = Continuous(
    "cauchy",
    (),
    lambda x: -math.log(math.pi) - log1p(x * x),
    _cauchy_cdf,
    lambda x: _cauchy_cdf(-x),
)
laplace = Continuous(
    "laplace",
    (),
    lambda x: -math.log(2) - np.abs(x),
    _laplace_cdf,
    lambda x: _laplace_cdf(-x),
    logcdf=_laplace_logcdf,
    logsf=lambda x: _laplace_logcdf(-x),
)
logistic = Continuous(
    "logistic",
    (),
    _logistic_logpdf,
    lambda x: special.expit(x),
    lambda x: special.expit(-x),
    logcdf=lambda x: special.log_expit(x),
    logsf=lambda x: special.log_expit(-x),
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
)
gumbel_r = Continuous(
    "gumbel_r",
    (),
    _gumbel_logpdf,
    lambda x: np.exp(-np.exp(-x)),
    lambda x: -np.expm1(-np.exp(-x)),
    logcdf=lambda x: -np.exp(-x),
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
)


# --- discrete distributions


class Discrete:
    """A family of distributions of integers; see `Continuous`."""

    def __init__(
        self,
        name: str,
        shapes: tuple[str, ...],
        logpmf: Function,
        cdf: Function,
        sf: Function,
        allowed: Function,
        high: Function | float = math.inf,
    ) -> None:
        self.name = name
        self._shapes = shapes
        self._logpmf, self._cdf, self._sf = logpmf, cdf, sf
        self._allowed, self._high = allowed, high

    __repr__ = Continuous.__repr__

    def _prepare(self, k: Any, args: tuple, kwargs: dict[str, Any]) -> tuple:
        family = Continuous(self.name, self._shapes, self._logpmf, self._cdf, self._sf)
        shapes, loc, scale = family._read(args, kwargs)
        if scale is not None and not (isinstance(scale, float) and scale == 1.0):
            raise TypeError(f"{self.name} has no parameter 'scale'")
        k = special._floats(k) - loc
        allowed = self._allowed(*shapes) & ~np.isnan(k)
        high = self._high(*shapes) if callable(self._high) else self._high
        return k, shapes, allowed, high

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of the probability of k."""
        k, shapes, allowed, high = self._prepare(k, args, kwargs)
        inside = (k >= 0) & (k <= high) & (np.floor(k) == k)
        value = self._logpmf(np.where(inside, k, np.zeros_like(k)), *shapes)
        return np.where(allowed, np.where(inside, value, -np.inf), np.nan)[()]

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of k."""
        return np.exp(self.logpmf(k, *args, **kwargs))

    def _sum(
        self, rule: Function, ends: tuple[float, float], k: Any, *rest: Any
    ) -> Any:
        k, shapes, allowed, high = self._prepare(k, *rest)
        whole = np.floor(k)
        inside = (whole >= 0) & (whole < high)
        value = rule(np.where(inside, whole, np.zeros_like(k)), *shapes)
        outside = np.where(whole < 0, ends[0], ends[1])
        return np.where(allowed, np.where(inside, value, outside), np.nan)[()]

    def cdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most k."""
        return self._sum(self._cdf, (0.0, 1.0), k, args, kwargs)

    def sf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than k."""
        return self._sum(self._sf, (1.0, 0.0), k, args, kwargs)

    def logcdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `cdf`."""
        return np.log(self.cdf(k, *args, **kwargs))

    def logsf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `sf`."""
        return np.log(self.sf(k, *args, **kwargs))


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


# --- distributions of vectors


class Dirichlet:
    """The Dirichlet distribution, `scipy.stats.dirichlet`."""

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """Logarithm of the density.

        Args:
            x: a point of the simplex, `(K,)` or its first `K - 1` entries; or several,
                `(K, n)`.
            alpha: the concentrations, `(K,)`, positive.

        Raises:
            ValueError: lengths that do not match.
        """
        x, alpha = special._floats(x), special._floats(alpha)
        if alpha.ndim != 1:
            raise ValueError("alpha must be a vector")
        size = alpha.shape[0]
        if x.shape[0] == size - 1:
            x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
        if x.shape[0] != size:
            raise ValueError(
                f"x has {x.shape[0]} entries, alpha {size}: they must be as many, or "
                "x one less"
            )
        column = alpha.reshape((size,) + (1,) * (x.ndim - 1))
        front = np.sum(special.gammaln(alpha)) - special.gammaln(np.sum(alpha))
        return np.sum(xlogy(column - 1, x), axis=0) - front

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density; see `logpdf`."""
        return np.exp(self.logpdf(x, alpha))


class MultivariateNormal:
    """The multivariate normal distribution, `scipy.stats.multivariate_normal`."""

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
        """Logarithm of the density, by a Cholesky factor of the covariance.

        Args:
            x: points `(..., d)`.
            mean: `(d,)`, zeros by default.
            cov: `(d, d)` symmetric and positive definite; a vector is its diagonal, a
                number a multiple of the identity.

        Raises:
            numpy.linalg.LinAlgError: `cov` is not positive definite.
        """
        x, cov = special._floats(x), special._floats(cov)
        if mean is None:
            size = cov.shape[-1] if cov.ndim else (x.shape[-1] if x.ndim else 1)
            mean = np.zeros(size)
        mean = special._floats(mean)
        if mean.ndim == 0:
            mean = mean.reshape((1,))
        size = mean.shape[0]
        if x.ndim == 0:
            x = x.reshape((1,))
        elif size == 1 and (x.ndim == 1 or x.shape[-1] != 1):
            x = x[..., None]
        if cov.ndim < 2:
            cov = np.eye(size) * cov
        away = x - mean
        factor = np.linalg.cholesky(cov)
        flat = away.reshape((-1, size)).T
        white = np.linalg.solve(factor, flat)
        square = np.sum(white * white, axis=0).reshape(away.shape[:-1])
        log_det = 2 * np.sum(np.log(np.diagonal(factor)))
        return (-0.5 * (size * _LOG_2PI + log_det + square))[()]

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
        """The density; see `logpdf`."""
        return np.exp(self.logpdf(x, mean, cov))


dirichlet = Dirichlet()
multivariate_normal = MultivariateNormal()
