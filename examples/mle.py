"""Maximum likelihood by hand-written log likelihoods, checked against statsmodels.

Five regressions on data that come with statsmodels: normal, Poisson, negative binomial,
Bernoulli and beta. Each is its log density from `tracejit.scipy.stats` and a line for
the mean; gradient and Hessian are compiled from it. Estimates and standard errors (from
the inverse Hessian) are those of statsmodels.

    python examples/mle.py
"""

import numpy as np
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from statsmodels.othermod.betareg import BetaModel

from tracejit import hessian, value_and_grad
from tracejit.scipy import special, stats


def normal(theta, y, x):
    return stats.norm.logpdf(y, x @ theta[:-1], np.exp(theta[-1]))


def poisson(theta, y, x):
    return stats.poisson.logpmf(y, np.exp(x @ theta))


def negative_binomial(theta, y, x):
    """Variance mu + alpha mu**2."""
    mu, size = np.exp(x @ theta[:-1]), 1 / theta[-1]
    return stats.nbinom.logpmf(y, size, size / (size + mu))


def bernoulli(theta, y, x):
    return stats.bernoulli.logpmf(y, special.expit(x @ theta))


def beta(theta, y, x):
    """Mean by a logistic line, precision exp(theta[-1])."""
    mean, precision = special.expit(x @ theta[:-1]), np.exp(theta[-1])
    return stats.beta.logpdf(y, mean * precision, (1 - mean) * precision)


def standardized(x):
    """Columns of mean 0 and deviation 1, and a constant in front."""
    return sm.add_constant((x - x.mean(axis=0)) / x.std(axis=0))


def tasks():
    """Name, log density, data, start, statsmodels' estimates and standard errors."""
    data = sm.datasets.longley.load_pandas()
    y, x = data.endog.to_numpy() / 1e3, standardized(data.exog.to_numpy())
    variance = sm.OLS(y, x).fit().ssr / len(y)
    fit = sm.GLM(y, x).fit(scale=variance)
    # The deviation is a parameter of ours; statsmodels has no standard error for it.
    params = np.append(fit.params, 0.5 * np.log(fit.scale))
    start = np.append(np.zeros(x.shape[1]), np.log(y.std()))
    yield "normal (longley)", normal, y, x, start, params, fit.bse

    data = sm.datasets.randhie.load_pandas()
    y, x = data.endog.to_numpy(float), standardized(data.exog.to_numpy(float))
    zero = np.zeros(x.shape[1])
    fit = sm.Poisson(y, x).fit(disp=0, method="newton", tol=1e-12)
    yield "Poisson (randhie)", poisson, y, x, zero, fit.params, fit.bse

    y, x = y[::20], x[::20]
    fit = sm.NegativeBinomial(y, x).fit(disp=0, method="newton", tol=1e-12, maxiter=200)
    start = np.append(zero, 1.0)
    yield "negative binomial", negative_binomial, y, x, start, fit.params, fit.bse

    data = sm.datasets.spector.load_pandas()
    y, x = data.endog.to_numpy(float), standardized(data.exog.to_numpy())
    fit = sm.Logit(y, x).fit(disp=0, method="newton", tol=1e-12)
    zero = np.zeros(x.shape[1])
    yield "Bernoulli (spector)", bernoulli, y, x, zero, fit.params, fit.bse

    data = sm.datasets.star98.load_pandas()
    counts = data.endog.to_numpy()
    y, x = counts[:, 0] / counts.sum(axis=1), standardized(data.exog.to_numpy()[:, :6])
    fit = BetaModel(y, x).fit(disp=0, method="newton", tol=1e-12)
    start = np.append(np.zeros(x.shape[1]), 1.0)
    yield "beta (star98)", beta, y, x, start, fit.params, fit.bse


def main():
    for name, log_density, y, x, start, params, errors in tasks():

        def loss(theta, y, x, log_density=log_density):
            return -np.sum(log_density(theta, y, x))

        gradient, curvature = value_and_grad(loss), hessian(loss)
        theta = minimize(
            gradient, start, args=(y, x), jac=True, hess=curvature,
            method="trust-exact", options={"gtol": 1e-7},
        ).x  # fmt: skip
        # Newton's method ends where rounding does.
        for _ in range(3):
            theta = theta - np.linalg.solve(
                curvature(theta, y, x), gradient(theta, y, x)[1]
            )
        ours = np.sqrt(np.diag(np.linalg.inv(curvature(theta, y, x))))
        n = len(errors)
        apart = np.max(np.abs(ours[:n] / errors - 1))
        print(
            f"{name:20} {len(y):6} rows, {len(params)} parameters; standard errors "
            f"{apart:.0e} from statsmodels'"
        )
        assert_allclose(theta, params, rtol=1e-6, atol=1e-8)
        assert_allclose(ours[:n], errors, rtol=1e-6)
        assert gradient.stats().traces == curvature.stats().traces == 1


if __name__ == "__main__":
    main()
