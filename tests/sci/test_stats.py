"""Distributions: SciPy's values on both sides of every border, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tracejit import grad, hessian, jit, value_and_grad
from tracejit.scipy import stats
from tracejit.testing import check_grads

SHAPES = {
    "norm": (), "t": (3.5,), "gamma": (2.3,), "beta": (1.5, 2.5), "chi2": (4.0,),
    "expon": (), "cauchy": (), "laplace": (), "logistic": (), "lognorm": (0.7,),
    "weibull_min": (1.7,), "gumbel_r": (), "pareto": (2.5,), "uniform": (),
}  # fmt: skip
COUNTS = {"poisson": (2.5,), "binom": (7.0, 0.3), "nbinom": (2.5, 0.4)}
COUNTS["bernoulli"] = (0.3,)
X = np.concatenate(
    [
        np.random.default_rng(0).normal(size=8) * 2,
        [0.0, 1.0, -1.0, 0.5, 2.0, 30.0, -30.0, np.nan, np.inf, -np.inf],
    ]
)
K = np.array([-1.0, 0, 1, 2, 3, 5, 7, 8, 1.5, 100])
CONTINUOUS = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf")
DISCRETE = ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf")
#: Where SciPy loses digits that we keep, or the other way round.
ROUGH = {"cdf": 1e-9, "sf": 1e-9, "logcdf": 1e-6, "logsf": 1e-6}


def close(got, expected, method):
    rtol = ROUGH.get(method, 1e-11)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("method", CONTINUOUS)
@pytest.mark.parametrize("name", SHAPES)
def test_continuous_values(name, method):
    ours, theirs = (getattr(getattr(m, name), method) for m in (stats, scipy.stats))
    shapes = SHAPES[name]
    with np.errstate(all="ignore"):
        close(jit(lambda x: ours(x, *shapes))(X), theirs(X, *shapes), method)
        for place in ((0.3, 1.4), (0.0, -1.0)):
            close(ours(X, *shapes, *place), theirs(X, *shapes, *place), method)
        named = {"loc": -0.5, "scale": 2.0}
        close(ours(X, *shapes, **named), theirs(X, *shapes, **named), method)
    assert np.ndim(ours(0.5, *shapes)) == 0


@pytest.mark.parametrize("method", DISCRETE)
@pytest.mark.parametrize("name", COUNTS)
def test_discrete_values(name, method):
    ours, theirs = (getattr(getattr(m, name), method) for m in (stats, scipy.stats))
    shapes = COUNTS[name]
    with np.errstate(all="ignore"):
        close(jit(lambda k: ours(k, *shapes))(K), theirs(K, *shapes), method)
        close(ours(K, *shapes, 1), theirs(K, *shapes, 1), method)


INSIDE = {"pareto": [1.3, 2.0], "beta": [0.2, 0.7], "uniform": [0.2, 0.7]}


@pytest.mark.parametrize("name", SHAPES)
def test_derivatives_by_everything(name):
    x = np.array(INSIDE.get(name, [0.4, 1.7]))
    family = getattr(stats, name)
    parameters = np.array([*SHAPES[name], 0.05, 1.1])

    def density(x, parameters):
        a, b = family.logpdf(x, *parameters), family.pdf(x, *parameters)
        return np.sum(a) + np.sum(b * x)

    def distribution(x, parameters):
        one = family.cdf(x, *parameters) + 2 * family.sf(x, *parameters) * x
        other = family.logcdf(x, *parameters) + 2 * family.logsf(x, *parameters) * x
        return np.sum(one) + 3 * np.sum(other)

    check_grads(density, (x, parameters))
    check_grads(distribution, (x, parameters), order=1)


#: The point, and the parameters by which distribution functions have no formula.
BY_SUMS = {"t": (1.7, (3.5,)), "gamma": (1.7, (2.3,)), "chi2": (1.7, (4.0,)),
           "beta": (0.3, (1.5, 2.5)), "nbinom": (2.0, (2.5, 0.4))}  # fmt: skip


@pytest.mark.parametrize("name", BY_SUMS)
def test_second_derivatives_of_distribution_functions(name):
    x, shapes = BY_SUMS[name]
    family = getattr(stats, name)

    def both(p):
        return family.cdf(x, *p) + family.logsf(x, *p) ** 2

    p, h = np.array(shapes), 1e-4
    found = hessian(both)(p)
    slope = grad(both)
    for i, step in enumerate(h * np.eye(len(p))):
        expected = (slope(p + step) - slope(p - step)) / (2 * h)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", COUNTS)
def test_derivatives_of_counts(name):
    parameters = np.array(COUNTS[name])
    fixed = 1 if name == "binom" else 0
    k = np.array([0.0, 1.0]) if name == "bernoulli" else np.array([0.0, 2.0, 3.0])

    def total(free):
        given = [*parameters[:fixed], *free]
        family = getattr(stats, name)
        return np.sum(family.logpmf(k, *given)) + np.sum(family.cdf(k - 0.5, *given))

    check_grads(total, (parameters[fixed:],), order=1 if name == "nbinom" else 2)


def test_outside_the_support_nothing_leaks():
    x = np.array([-1.0, 0.5, 2.0])
    value, gradient = value_and_grad(
        lambda x: np.sum(np.where(x > 0, stats.gamma.logpdf(x, 2.0), 0.0))
    )(x)
    np.testing.assert_allclose(value, np.sum(scipy.stats.gamma.logpdf(x[1:], 2.0)))
    np.testing.assert_allclose(gradient, [0.0, 1 / 0.5 - 1, 1 / 2.0 - 1])


def test_vectors():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(3, 3))
    cov, x, mean = a @ a.T + np.eye(3), rng.normal(size=(5, 3)), np.ones(3)
    normal = scipy.stats.multivariate_normal
    for args in ((mean, cov), (mean, 2.0), (mean, np.array([1.0, 2.0, 3.0]))):
        close(
            jit(stats.multivariate_normal.logpdf)(x, *args), normal.logpdf(x, *args), ""
        )
    check_grads(
        lambda x, m, a: np.sum(
            stats.multivariate_normal.logpdf(x, m, a @ a.T + np.eye(3))
        ),
        (x, mean, a),
    )
    alpha, point = np.array([1.0, 2.0, 3.0]), np.array([0.2, 0.3, 0.5])
    expected = scipy.stats.dirichlet.logpdf(point, alpha)
    close(stats.dirichlet.logpdf(point, alpha), expected, "")
    close(stats.dirichlet.logpdf(point[:2], alpha), expected, "")
    check_grads(stats.dirichlet.logpdf, (point[:2], alpha))


@pytest.mark.parametrize("name", [*SHAPES, *COUNTS])
def test_parameters_that_are_python_numbers(name):
    """Python's `~(2.0 > 0)` is -2, and not what a distribution asks for."""
    if name in SHAPES:
        given, method = [*SHAPES[name], 0.05, 1.1], "logpdf"
    else:
        given, method = list(COUNTS[name]), "logpmf"
    x = 1.6 if name == "pareto" else 1.0 if name in COUNTS else 0.6
    ours, theirs = (getattr(getattr(m, name), method) for m in (stats, scipy.stats))
    expected = theirs(x, *given)
    np.testing.assert_allclose(jit(ours)(x, *given), expected, rtol=1e-12)
    last, h = len(given), 1e-5
    up, down = (theirs(x, *given[:-1], given[-1] + s) for s in (h, -h))
    slope = grad(ours, argnums=last)(x, *given)
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


LEVELS = np.array([0.0, 1e-9, 0.3, 0.7, 1.0, -0.1, 1.1, np.nan])


@pytest.mark.parametrize("name", SHAPES)
def test_quantiles(name):
    given = np.array([*SHAPES[name], 0.3, 1.4])
    for method in ("ppf", "isf"):
        ours, theirs = (getattr(getattr(m, name), method) for m in (stats, scipy.stats))
        got = jit(lambda p, *given, f=ours: f(p, *given))(LEVELS, *given)
        np.testing.assert_allclose(got, theirs(LEVELS, *given), rtol=1e-9)
        slope = grad(lambda given, f=ours: f(0.37, *given))(given)
        for i, step in enumerate(1e-5 * np.eye(len(given))):
            up, down = (theirs(0.37, *(given + s)) for s in (step, -step))
            np.testing.assert_allclose(
                slope[i], (up - down) / 2e-5, rtol=1e-6, atol=1e-8
            )
        assert np.isnan(ours(0.5, *SHAPES[name], 0.0, -1.0))


def test_distributions_with_their_parameters():
    for name, args, x in (
        ("norm", (0.5,), 1.0), ("poisson", (2.0,), 1.0),
        ("dirichlet", (np.ones(3),), np.array([0.2, 0.3, 0.5])),
    ):  # fmt: skip
        method = "logpmf" if name == "poisson" else "logpdf"
        ours, theirs = (
            getattr(getattr(m, name)(*args), method)(x) for m in (stats, scipy.stats)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    slope = grad(lambda s: stats.norm(scale=s).logpdf(1.0))(2.0)
    np.testing.assert_allclose(slope, 1 / 8 - 1 / 2)
    assert repr(stats.norm(1.0)) == "<distribution norm> with (1.0,) {}"


def test_distribution_functions_of_vectors():
    theirs = scipy.stats.multivariate_normal.cdf
    ours = stats.multivariate_normal.cdf
    x = np.array([[0.5, 1.0], [-1.0, 2.0], [np.inf, 1.0], [-2.0, -1.0]])
    for rho in (0.0, 0.3, -0.7, 0.99):
        cov = np.array([[2.0, rho * 6**0.5], [rho * 6**0.5, 3.0]])
        expected = theirs(x, np.zeros(2), cov, abseps=1e-13, releps=1e-13)
        np.testing.assert_allclose(ours(x, np.zeros(2), cov), expected, atol=1e-12)

    def by_correlation(rho):
        cov = np.stack([1.0, rho, rho, 1.0]).reshape((2, 2))
        return ours(x[0], np.zeros(2), cov)

    # Plackett: the density.
    density = scipy.stats.multivariate_normal.pdf(x[0], None, [[1.0, 0.4], [0.4, 1.0]])
    np.testing.assert_allclose(grad(by_correlation)(0.4), density, rtol=1e-12)
    rng = np.random.default_rng(4)
    a, point = rng.normal(size=(4, 4)), rng.normal(size=4) + 1
    cov = a @ a.T + np.eye(4)
    expected = theirs(point, np.zeros(4), cov, abseps=1e-8, releps=1e-8, maxpts=10**6)
    np.testing.assert_allclose(ours(point, np.zeros(4), cov), expected, atol=3e-5)
    log = stats.multivariate_normal.logcdf
    slope, h = grad(lambda x: log(x, np.zeros(4), cov))(point), 1e-4
    for i, step in enumerate(h * np.eye(4)):
        up, down = (log(point + s, np.zeros(4), cov) for s in (step, -step))
        np.testing.assert_allclose(slope[i], (up - down) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(ours(0.3, 0.1, 2.0), theirs(0.3, 0.1, 2.0))
    with pytest.raises(ValueError, match="at most 21 dimensions, not 22"):
        ours(np.zeros(22), None, np.eye(22))


def test_wrong_parameters_are_named():
    with pytest.raises(TypeError, match="gamma needs the parameter 'a'"):
        stats.gamma.logpdf(1.0)
    with pytest.raises(TypeError, match="norm has no parameter 'sigma'"):
        stats.norm.logpdf(1.0, sigma=2.0)
    with pytest.raises(TypeError, match="norm got two values for 'loc'"):
        stats.norm.logpdf(1.0, 0.0, loc=2.0)
    with pytest.raises(TypeError, match="poisson has no parameter 'scale'"):
        stats.poisson.logpmf(1.0, 2.0, scale=2.0)
    with pytest.raises(ValueError, match="x has 1 entries, alpha 3"):
        stats.dirichlet.logpdf(np.array([1.0]), np.ones(3))


def test_one_kernel_without_python():
    f = grad(lambda p, x: -np.sum(stats.gamma.logpdf(x, p[0], 0.0, p[1])))
    x = np.random.default_rng(0).gamma(2.0, size=100)
    f(np.array([2.0, 1.0]), x)
    assert f.stats().host_calls == 0
