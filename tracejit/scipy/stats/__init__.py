"""`scipy.stats` for recorded functions: the distributions that people fit.

The names, parameters and conventions are SciPy's: shape parameters first, then `loc`
and `scale`; outside the support a density is 0 and its logarithm -inf; with parameters
that are not allowed everything is NaN.  All methods take traced and ordinary arrays,
which broadcast.  The densities are those of SciPy's documentation; derivatives by
parameters come from the formulas, those of the distribution functions from
`ops.incomplete` where there is no formula.
"""

from __future__ import annotations

from .continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    gamma,
    gumbel_r,
    laplace,
    logistic,
    lognorm,
    norm,
    pareto,
    t,
    uniform,
    weibull_min,
)
from .discrete import bernoulli, binom, nbinom, poisson
from .vectors import dirichlet, multivariate_normal

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
