"""Roots and minima as implicit functions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from tracejit import grad, jacobian, jit, vmap
from tracejit.errors import UnsupportedError
from tracejit.scipy import optimize


def cubic(a):
    return optimize.root(lambda x: x**3 - a, np.ones(1)).x[0]


def test_a_root_and_its_derivatives():
    np.testing.assert_allclose(jit(cubic)(8.0), 2.0, rtol=1e-10)
    np.testing.assert_allclose(grad(cubic)(8.0), 8 ** (-2 / 3) / 3, rtol=1e-9)
    second = -2 / 9 * 8 ** (-5 / 3)
    np.testing.assert_allclose(grad(grad(cubic))(8.0), second, rtol=1e-8)
    f = grad(cubic)
    for a in (1.0, 30.0, 1e4):
        np.testing.assert_allclose(f(a), a ** (-2 / 3) / 3, rtol=1e-8)
    assert f.stats().traces == 1


def test_a_system():
    def equations(x, a):
        return np.stack([x[0] + 0.5 * (x[0] - x[1]) ** 3 - a, x[1] - np.tanh(x[0])])

    def solve(a):
        return optimize.root(equations, np.zeros(2), (a,))

    found = jit(solve)(1.0)
    expected = scipy.optimize.root(equations, np.zeros(2), (1.0,)).x
    np.testing.assert_allclose(found.x, expected, rtol=1e-8)
    assert found.success
    h = 1e-6
    difference = (solve(1 + h).x - solve(1 - h).x) / (2 * h)
    np.testing.assert_allclose(
        jacobian(lambda a: solve(a).x)(1.0), difference, rtol=1e-6
    )


def test_no_root_is_no_success():
    far = np.full(1, 1e6)
    found = jit(lambda a: optimize.root(lambda x: x**3 - a, far, maxiter=3))(1.0)
    assert not found.success


def rosenbrock(x, b):
    return (1 - x[0]) ** 2 * b + 100 * (x[1] - x[0] ** 2) ** 2 + 0.1 * b * b * x[1]


def test_a_minimum_and_its_derivative():
    def solve(b):
        return optimize.minimize(rosenbrock, np.array([-1.2, 1.0]), (b,))

    found = jit(solve)(1.0)
    expected = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], (1.0,), tol=1e-9).x
    np.testing.assert_allclose(found.x, expected, rtol=1e-4)
    np.testing.assert_allclose(grad(rosenbrock)(found.x, 1.0), 0.0, atol=1e-9)
    assert found.success
    h = 1e-5
    difference = (solve(1 + h).x - solve(1 - h).x) / (2 * h)
    np.testing.assert_allclose(
        jacobian(lambda b: solve(b).x)(1.0), difference, rtol=1e-7
    )


def test_a_fit_inside_a_loss():
    """Ridge regression: the weight of the penalty by a validation error."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(30, 3)), np.array([1.0, -2.0, 0.5])
    y = x @ w + rng.normal(size=30)

    def fitted(log_penalty):
        def loss(w):
            return np.sum((x[:20] @ w - y[:20]) ** 2) + np.exp(log_penalty) * (w @ w)

        return optimize.minimize(loss, np.zeros(3)).x

    def exact(log_penalty):
        a = x[:20].T @ x[:20] + np.exp(log_penalty) * np.eye(3)
        return np.linalg.solve(a, x[:20].T @ y[:20])

    def score(weights):
        return np.sum((x[20:] @ weights - y[20:]) ** 2)

    got = grad(lambda p: score(fitted(p)))(0.5)
    np.testing.assert_allclose(got, grad(lambda p: score(exact(p)))(0.5), rtol=1e-6)


def test_many_roots_at_once():
    a = np.array([1.0, 8.0, 27.0])
    np.testing.assert_allclose(vmap(cubic)(a), [1.0, 2.0, 3.0], rtol=1e-9)


def test_what_is_refused():
    with pytest.raises(UnsupportedError, match="root: method='hybr' is not supported"):
        optimize.root(lambda x: x, np.ones(1), method="hybr")
    with pytest.raises(UnsupportedError, match="minimize: method='powell'"):
        optimize.minimize(lambda x: x @ x, np.ones(1), method="powell")
