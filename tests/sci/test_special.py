"""Special functions: values of SciPy, traced and untraced."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from tracejit import grad, jit
from tracejit.errors import DifferentiationError, UnsupportedError
from tracejit.ops import incomplete
from tracejit.ops.incomplete import betainc_by, gammainc_by
from tracejit.scipy import special
from tracejit.testing import check_grads

X = np.array([0.3, 0.9, 2.6])
ONE = [
    name
    for name in special.__all__
    if getattr(getattr(special, name), "nin", 0) == 1
    and name != "gammasgn"
    and isinstance(getattr(special, name), np.ufunc)
]
INSIDE = {"erfinv", "erfcinv", "ndtri", "logit", "ellipk", "ellipe"}


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_argument(name):
    function = getattr(special, name)
    x = X / 3 if name in INSIDE else X
    np.testing.assert_allclose(jit(lambda x: function(x))(x), function(x), rtol=1e-13)
    check_grads(lambda x: np.sum(function(x)), (x,))


TWO = {
    "rel_entr": (X, X[::-1]), "kl_div": (X, X[::-1]), "beta": (X, X[::-1]),
    "betaln": (X, X[::-1]), "gammainc": (X, X[::-1]), "gammaincc": (X, X[::-1]),
    "gammaincinv": (X, X / 3), "gammainccinv": (X, X / 3), "stdtr": (X, X - 1),
    "boxcox": (X, X - 1), "inv_boxcox": (X, X), "huber": (X, X[::-1] + 0.1),
    "pseudo_huber": (X, X[::-1]), "xlogy": (X, X), "xlog1py": (X, X),
}  # fmt: skip


#: Whose second derivatives have tests of their own, quicker ones.
ONCE = {"gammainc", "gammaincc", "gammaincinv", "gammainccinv", "stdtr"}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arguments(name):
    function, args = getattr(special, name), TWO[name]
    got = jit(lambda a, b: function(a, b))(*args)
    np.testing.assert_allclose(got, function(*args), rtol=1e-12)
    once = name in ONCE
    check_grads(lambda a, b: np.sum(function(a, b)), args, order=1 if once else 2)


def test_points_where_formulas_end():
    a, b = np.array([0.0, 0.0, -1.0, 1.0, np.nan]), np.array([0.0, 2.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(
        jit(lambda a, b: special.rel_entr(a, b))(a, b), special.rel_entr(a, b)
    )
    t = np.array([-40.0, -1.0, 0.0, 1.0, 40.0])
    np.testing.assert_allclose(
        jit(lambda t: special.stdtr(3.0, t))(t), special.stdtr(3.0, t), rtol=1e-12
    )
    np.testing.assert_allclose(
        jit(lambda x: special.boxcox(x, 0.0))(X), special.boxcox(X, 0.0), rtol=1e-13
    )


def five(function, a):
    """The derivative by differences of order 4."""
    h = 1e-3 * a / np.sqrt(1 + a)
    near, far = function(a + h) - function(a - h), function(a + 2 * h)
    return (8 * near - far + function(a - 2 * h)) / (12 * h)


def close_derivatives(found, expected):
    scale = 1e-9 * np.max(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=scale)


def test_derivatives_by_parameters_of_incomplete_functions():
    rng = np.random.default_rng(5)
    a = 10 ** rng.uniform(-1, 2.5, 60)
    x = a * 10 ** rng.uniform(-0.7, 0.7, 60)
    gammainc, betainc = scipy.special.gammainc, scipy.special.betainc
    first = five(lambda a: gammainc(a, x), a)
    close_derivatives(gammainc_by(a, x, order=1), first)
    for order in (1, 2, 3):
        lower = five(lambda a, n=order: gammainc_by(a, x, order=n), a)
        close_derivatives(gammainc_by(a, x, order=order + 1), lower)
    a, b = 10 ** rng.uniform(-0.5, 2, (2, 60))
    x = rng.beta(a, b)
    by_a, by_b = (
        five(lambda a: betainc(a, b, x), a),
        five(lambda b: betainc(a, b, x), b),
    )
    close_derivatives(betainc_by(a, b, x, orders=(1, 0)), by_a)
    close_derivatives(betainc_by(a, b, x, orders=(0, 1)), by_b)
    for i, j in ((1, 0), (0, 1), (1, 1)):
        found = betainc_by(a, b, x, orders=(i + 1, j))
        lower = five(lambda a, o=(i, j): betainc_by(a, b, x, orders=o), a)
        close_derivatives(found, lower)
        mixed = five(lambda b, o=(i, j): betainc_by(a, b, x, orders=o), b)
        close_derivatives(betainc_by(a, b, x, orders=(i, j + 1)), mixed)
    assert np.isnan(gammainc_by(-1.0, 1.0, order=2))
    assert gammainc_by(1.0, 0.0, order=2) == 0.0
    assert betainc_by(1.0, 2.0, 1.0, orders=(1, 1)) == 0.0


def test_integrated_derivatives_are_those_of_the_series():
    """Two ways to the first order: sums of series, and integrals of the density's."""
    rng = np.random.default_rng(6)
    a, b = 10 ** rng.uniform(-2, 3, (2, 200))
    x = a * 10 ** rng.uniform(-1, 0.7, 200)
    for left in (True, False):
        at = (x <= a + 1) == left
        integral = incomplete._gamma_side(a[at], x[at], 1, left)
        series = gammainc_by(a[at], x[at], order=1)
        np.testing.assert_allclose(integral, series, rtol=1e-10, atol=1e-290)
    x = rng.beta(a, b)
    good = (x > 1e-200) & (x < 1)
    a, b, x = a[good], b[good], x[good]
    for orders in ((1, 0), (0, 1)):
        integral = incomplete._beta_integral(a, b, x, orders)
        series = betainc_by(a, b, x, orders=orders)
        np.testing.assert_allclose(integral, series, rtol=1e-10)


def test_third_derivatives_by_parameters():
    def third(f):
        return grad(grad(grad(f)))

    h = 1e-4
    for f in (
        lambda a: special.gammainc(a, 1.3),
        lambda a: special.betainc(a, 0.7, 0.4),
        lambda a: special.stdtr(a, -0.8),
    ):
        second = grad(grad(f))
        expected = (second(1.5 + h) - second(1.5 - h)) / (2 * h)
        np.testing.assert_allclose(third(f)(1.5), expected, rtol=1e-6)


def test_the_border_of_the_incomplete_gamma_function():
    by_both = grad(grad(lambda a, x: special.gammainc(a, x)), argnums=1)
    assert by_both(2.5, 0.0) == 0.0


def test_what_has_no_derivative_says_so():
    with pytest.raises(DifferentiationError) as caught:
        grad(lambda v: special.jv(v, 1.0))(1.5)
    assert str(caught.value).endswith("jv has no derivative by its order.")
    with pytest.raises(
        DifferentiationError, match="expn has no derivative by its order"
    ):
        grad(lambda n: special.expn(n, 1.0))(2.0)


def test_rest_of_the_beta_function_keeps_its_digits():
    x = np.array([1e-30, 1e-18, 1e-3])
    got = jit(lambda x: special.betaincc(0.01, 2.0, x))(x)
    np.testing.assert_allclose(got, scipy.special.betaincc(0.01, 2.0, x), rtol=1e-12)


REARRANGED = {
    "binom": (X + 2, X), "poch": (X, X[::-1]), "stdtrit": (X + 1, X / 3),
    "chdtr": (X, X[::-1]), "chdtrc": (X, X[::-1]), "boxcox1p": (X, X - 1),
    "inv_boxcox1p": (X, X), "fdtr": (X, X[::-1], X), "fdtrc": (X, X[::-1], X),
    "gdtr": (X, X[::-1], X), "gdtrc": (X, X[::-1], X),
    "betaincc": (X, X[::-1], X / 3), "betainccinv": (X, X[::-1], X / 3),
    "betaincinv": (X, X[::-1], X / 3),
}  # fmt: skip


@pytest.mark.parametrize("name", REARRANGED)
def test_ufuncs_of_several_parameters(name):
    function, args = getattr(special, name), REARRANGED[name]
    got = jit(lambda *args: function(*args))(*args)
    np.testing.assert_allclose(got, function(*args), rtol=1e-11)
    check_grads(lambda *args: np.sum(function(*args)), args, order=1)
    # Numbers of the second order only once: an iteration ends with what it has.
    second = grad(lambda x: np.sum(grad(lambda *a: np.sum(function(*a)))(x, *args[1:])))
    first = grad(lambda *a: np.sum(function(*a)))
    h = 1e-4
    higher, lower = (first(args[0] + s, *args[1:]) for s in (h, -h))
    np.testing.assert_allclose(
        second(args[0]), (higher - lower) / (2 * h), rtol=1e-5, atol=1e-7
    )


OF_ORDER = ("yn", "kn", "jve", "yve", "expn", "spherical_jn", "spherical_yn",
            "spherical_in", "spherical_kn", "pdtr", "pdtrc")  # fmt: skip


@pytest.mark.parametrize("name", OF_ORDER)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_functions_of_an_order(name, order):
    function, theirs = getattr(special, name), getattr(scipy.special, name)
    got = jit(lambda x: function(order, x))(X)
    np.testing.assert_allclose(got, theirs(order, X), rtol=1e-12)
    check_grads(lambda x: np.sum(function(order, x)), (X,), order=1 + (order == 1))
    if name.startswith("spherical"):
        slope = jit(lambda x: function(order, x, derivative=True))(X)
        np.testing.assert_allclose(slope, theirs(order, X, True), rtol=1e-10)


def test_points_of_functions_of_one_sign():
    x = np.array([-2.5, -2.0, -1.5, -0.0, 0.0, 0.5, np.nan])
    for name in ("gammasgn", "loggamma"):
        function = getattr(special, name)
        got = jit(lambda x, f=function: f(x))(x[[0, 2, 4, 5, 6]])
        np.testing.assert_allclose(got, function(x[[0, 2, 4, 5, 6]]), rtol=1e-14)
    assert jit(lambda z: special.spherical_jn(0, z))(0.0) == 1.0
    assert jit(lambda z: special.spherical_jn(1, z))(0.0) == 0.0


def test_numbers_of_choices():
    n, k = np.array([5.0, 5.0, 3.5, 2.0]), np.array([2.0, 6.0, 1.2, -1.0])
    got = jit(lambda n, k: special.comb(n, k))(n, k)
    np.testing.assert_allclose(got, scipy.special.comb(n, k), rtol=1e-13)
    repeated = jit(lambda n, k: special.comb(n, k, repetition=True))(n, k)
    np.testing.assert_allclose(
        repeated, scipy.special.comb(n, k, repetition=True), rtol=1e-13
    )
    x = np.array([0.0, 0.5, 4.0, -1.0])
    got = jit(lambda n: special.factorial(n))(x)
    np.testing.assert_allclose(got, scipy.special.factorial(x), rtol=1e-13)
    check_grads(lambda n, k: np.sum(special.comb(n, k)), (n[[0, 2]], k[[0, 2]]))
    with pytest.raises(UnsupportedError, match="comb of a traced value is a float"):
        jit(lambda n: special.comb(n, 2, exact=True))(5)


def test_polygamma_and_multigammaln():
    for n in (0, 1, 2, 3):
        got = jit(lambda x, n=n: special.polygamma(n, x))(X)
        np.testing.assert_allclose(got, scipy.special.polygamma(n, X), rtol=1e-12)
    mixed = jit(lambda x: special.polygamma(np.array([0, 1, 2]), x))(X)
    np.testing.assert_allclose(mixed, scipy.special.polygamma([0, 1, 2], X), rtol=1e-12)
    check_grads(lambda x: np.sum(special.polygamma(1, x)), (X,))
    np.testing.assert_allclose(
        jit(lambda n: special.polygamma(n, 1.5))(2), special.polygamma(2, 1.5)
    )
    x = X + 2
    np.testing.assert_allclose(
        jit(lambda a: special.multigammaln(a, 3))(x),
        scipy.special.multigammaln(x, 3),
        rtol=1e-13,
    )
    check_grads(lambda a: np.sum(special.multigammaln(a, 3)), (x,))
    with pytest.raises(ValueError, match="not met"):
        jit(lambda a: special.multigammaln(a, 9))(X)


HOLOMORPHIC = (
    "erf erfc erfcx erfi dawsn ndtr log_ndtr gamma rgamma loggamma digamma expi exp1"
    " spence"
).split()


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_functions_of_complex_numbers(name):
    function, z, h = getattr(special, name), X + 0.3j, 1e-4
    got = jit(lambda z: function(z))(z)
    np.testing.assert_allclose(got, function(z), rtol=1e-12)
    slope = grad(lambda z: np.sum(function(z)), holomorphic=True)(z)
    near, far = (function(z + k * h) - function(z - k * h) for k in (1, 2))
    np.testing.assert_allclose(slope, (8 * near - far) / (12 * h), rtol=1e-8)
    # Cauchy and Riemann: the same along the imaginary axis.
    turned = function(z + 1j * h) - function(z - 1j * h)
    np.testing.assert_allclose(slope, turned / (2j * h), rtol=1e-6)


def test_log_of_a_complex_sum():
    z = np.array([[1.0 + 2j, -0.5j], [0.3, 2.0 - 1j]])
    for sign in (False, True):
        got = jit(lambda z, s=sign: special.logsumexp(z, axis=1, return_sign=s))(z)
        expected = scipy.special.logsumexp(z, axis=1, return_sign=sign)
        np.testing.assert_allclose(got, expected, rtol=1e-13)
