"""Special functions: values of SciPy, traced and untraced."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from tracejit import grad, jit
from tracejit.errors import DifferentiationError
from tracejit.ops.incomplete import betainc_by_a, betainc_by_b, gammainc_by_a
from tracejit.scipy import special
from tracejit.testing import check_grads

X = np.array([0.3, 0.9, 2.6])
ONE = [
    name
    for name in special.__all__
    if getattr(getattr(special, name), "nin", 0) == 1
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


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arguments(name):
    function, args = getattr(special, name), TWO[name]
    got = jit(lambda a, b: function(a, b))(*args)
    np.testing.assert_allclose(got, function(*args), rtol=1e-12)
    once = name.startswith("gammainc") or name == "stdtr"
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


def test_derivatives_by_parameters_of_incomplete_functions():
    rng = np.random.default_rng(5)
    a = 10 ** rng.uniform(-1, 2.5, 60)
    x = a * 10 ** rng.uniform(-0.7, 0.7, 60)

    def five(function, a):
        h = 1e-4 * a
        near, far = function(a + h) - function(a - h), function(a + 2 * h)
        return (8 * near - far + function(a - 2 * h)) / (12 * h)

    np.testing.assert_allclose(
        gammainc_by_a(a, x),
        five(lambda a: scipy.special.gammainc(a, x), a),
        rtol=1e-7,
        atol=1e-9,
    )
    a, b = 10 ** rng.uniform(-0.5, 2, (2, 60))
    x = rng.beta(a, b)
    betainc = scipy.special.betainc
    by_a, by_b = (
        five(lambda a: betainc(a, b, x), a),
        five(lambda b: betainc(a, b, x), b),
    )
    np.testing.assert_allclose(betainc_by_a(a, b, x), by_a, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(betainc_by_b(a, b, x), by_b, rtol=1e-7, atol=1e-9)
    assert np.isnan(gammainc_by_a(-1.0, 1.0))
    assert gammainc_by_a(1.0, 0.0) == 0.0
    assert betainc_by_a(1.0, 2.0, 1.0) == 0.0


def test_what_has_no_derivative_says_so():
    with pytest.raises(DifferentiationError) as caught:
        grad(lambda v: special.jv(v, 1.0))(1.5)
    assert str(caught.value).endswith("jv has no derivative by its order.")
    with pytest.raises(DifferentiationError, match="first operand, a second time"):
        grad(grad(lambda a: special.gammainc(a, 1.0)))(1.5)


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
