"""Distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import special
from .families import Frozen

__all__ = ["dirichlet", "multivariate_normal"]

_LOG_2PI = math.log(2 * math.pi)


class _Family:
    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with these parameters, whose methods take x alone."""
        return Frozen(self, args, kwargs)


class Dirichlet(_Family):
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
        return np.sum(special.xlogy(column - 1, x), axis=0) - front

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density; see `logpdf`."""
        return np.exp(self.logpdf(x, alpha))


class MultivariateNormal(_Family):
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
        away, cov = self._read(x, mean, cov)
        size = cov.shape[0]
        factor = np.linalg.cholesky(cov)
        flat = away.reshape((-1, size)).T
        white = np.linalg.solve(factor, flat)
        square = np.sum(white * white, axis=0).reshape(away.shape[:-1])
        log_det = 2 * np.sum(np.log(np.diagonal(factor)))
        return (-0.5 * (size * _LOG_2PI + log_det + square))[()]

    def _read(self, x: Any, mean: Any, cov: Any) -> tuple[Any, Any]:
        """What x is away from the mean, `(..., d)`, and the covariance, `(d, d)`."""
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
        return x - mean, cov

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
        """The density; see `logpdf`."""
        return np.exp(self.logpdf(x, mean, cov))

    def cdf(self, x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
        """The probability of at most x in every component; see `logpdf`.

        Of two dimensions the integral over the correlation (Z. Drezner and G.
        Wesolowsky, J. Statist. Comput. Simul. 35 (1990) 101), good to 1e-12 for
        correlations up to 0.99. Of more, Genz's transformation (J. Comp.
        Graph. Stat. 1 (1992) 141) on a fixed lattice, good to some 1e-5 as SciPy's.
        """
        away, cov = self._read(x, mean, cov)
        scale = np.sqrt(np.diagonal(cov))
        z = away / scale
        size = cov.shape[0]
        if size == 1:
            return special.ndtr(z[..., 0])[()]
        correlation = cov / (scale[:, None] * scale)
        if size == 2:
            return _both(z[..., 0], z[..., 1], correlation[0, 1])[()]
        return _lattice(z, np.linalg.cholesky(correlation))[()]

    def logcdf(self, x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
        """Logarithm of `cdf`."""
        return np.log(self.cdf(x, mean, cov))


def _both(h: Any, k: Any, rho: Any) -> Any:
    """The probability that two normal variables are at most h and k."""
    top = np.arcsin(rho)
    angle = top * _POINTS
    sine, cosine = np.sin(angle), np.cos(angle)
    # Of an infinite limit nothing changes with the correlation.
    finite = np.isfinite(h) & np.isfinite(k)
    a = np.where(finite, h, 0.0)[..., None]
    b = np.where(finite, k, 0.0)[..., None]
    rate = np.exp(-0.5 * (a * a + b * b - 2 * a * b * sine) / (cosine * cosine))
    moved = np.where(finite, (rate @ _WEIGHTS) * top / (2 * math.pi), 0.0)
    return special.ndtr(h) * special.ndtr(k) + moved


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_POINTS, _WEIGHTS = 0.5 + 0.5 * _POINTS, 0.5 * _WEIGHTS
_COUNT = 8191
_PRIMES = np.array(
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71]
)


def _lattice(z: Any, factor: Any) -> Any:
    """The mean over Richtmyer's points, folded so that they are periodic."""
    size = factor.shape[0]
    if size - 1 > len(_PRIMES):
        raise ValueError(f"at most {len(_PRIMES) + 1} dimensions, not {size}")
    steps = (np.arange(_COUNT)[:, None] + 0.5) * np.sqrt(_PRIMES[: size - 1])
    points = np.abs(2 * (steps % 1.0) - 1)
    z = z[..., None, :]
    share = special.ndtr(z[..., 0] / factor[0, 0])
    total, known = share * np.ones(_COUNT), []
    for i in range(1, size):
        low = np.clip(points[:, i - 1] * share, 1e-300, 1 - 1e-16)
        known.append(special.ndtri(low))
        reach = z[..., i]
        for j, y in enumerate(known):
            reach = reach - factor[i, j] * y
        share = special.ndtr(reach / factor[i, i])
        total = total * share
    return np.mean(total, axis=-1)


dirichlet = Dirichlet()
multivariate_normal = MultivariateNormal()
