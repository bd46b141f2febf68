"""Distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import special

__all__ = ["dirichlet", "multivariate_normal"]

_LOG_2PI = math.log(2 * math.pi)


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
        return np.sum(special.xlogy(column - 1, x), axis=0) - front

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
