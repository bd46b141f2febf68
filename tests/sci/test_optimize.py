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


def test_a_decision_inside_of_the_search_is_refused():
    def solve(a):
        def kinked(x):
            return x - a if x[0] > 0 else 2 * x - a

        return optimize.root(kinked, np.zeros(1), method="hybr").x[0]

    with pytest.raises(UnsupportedError) as caught:
        jit(solve)(1.0)
    assert str(caught.value).partition(": ")[2] == (
        "Python code in a root decides on a value that differs between iterations. "
        "Write cond(condition, f, g) or np.where(condition, a, b) instead of if."
    )


def equations(x, a):
    return np.stack([x[0] + 0.5 * (x[0] - x[1]) ** 3 - a, x[1] - np.tanh(x[0])])


@pytest.mark.parametrize("method", ["hybr", "lm", "krylov"])
def test_scipys_own_search_of_a_root(method):
    def solve(a, method=method):
        return optimize.root(equations, np.zeros(2), (a,), method, tol=1e-9)

    found = jit(solve)(1.0)
    own = solve(1.0, None)
    np.testing.assert_allclose(found.x, own.x, rtol=1e-9)
    np.testing.assert_allclose(solve(1.0).x, own.x, rtol=1e-9)
    assert found.success
    first, second = (
        [order(lambda a, m=m: solve(a, m).x[0])(1.0) for m in (method, None)]
        for order in (grad, lambda f: grad(grad(f)))
    )
    np.testing.assert_allclose(first[0], first[1], rtol=1e-9)
    np.testing.assert_allclose(second[0], second[1], rtol=1e-8)


def test_a_search_outside_is_one_host_call_for_all_values():
    def solve(a):
        return optimize.root(
            lambda x: (x**3 - a, 3 * x[:, None] ** 2), np.ones(1), method="hybr",
            jac=True,
        ).x[0]  # fmt: skip

    f = grad(solve)
    for a in (8.0, 27.0, 64.0):
        np.testing.assert_allclose(f(a), a ** (-2 / 3) / 3, rtol=1e-9)
    stats = f.stats()
    assert (stats.traces, stats.kernels_compiled, stats.host_calls) == (1, 1, 1)
    a = np.array([1.0, 8.0, 27.0])
    np.testing.assert_allclose(vmap(solve)(a), [1.0, 2.0, 3.0], rtol=1e-9)


@pytest.mark.parametrize("method", ["Nelder-Mead", "L-BFGS-B", "trust-exact"])
def test_scipys_own_search_of_a_minimum(method):
    def place(b, method=method):
        return optimize.minimize(rosenbrock, np.array([-1.2, 1.0]), (b,), method).x

    np.testing.assert_allclose(jit(place)(1.0), place(1.0, None), rtol=1e-8)
    for order in (jacobian, lambda f: grad(grad(lambda b: f(b)[1]))):
        got, own = order(place)(1.0), order(lambda b: place(b, None))(1.0)
        np.testing.assert_allclose(got, own, rtol=1e-6)


PLACES = np.array([1.2, 0.4, 2.5])


def test_a_search_of_a_function_of_captured_arrays():
    def fitted(weight):
        def loss(w):
            return np.sum((w - PLACES) ** 2) + weight * np.sum(w**4)

        return np.sum(optimize.minimize(loss, np.ones(3), method="L-BFGS-B").x)

    h = 1e-5
    expected = (fitted(0.5 + h) - fitted(0.5 - h)) / (2 * h)
    np.testing.assert_allclose(grad(fitted)(0.5), expected, rtol=1e-7)


def test_what_is_on_its_bound_stays():
    start, bounds = np.array([-1.2, 1.0]), [(-2.0, 0.5), (None, None)]

    def solve(b, bounds=bounds):
        return optimize.minimize(rosenbrock, start, (b,), bounds=bounds)

    found = jit(solve)(1.0)
    expected = scipy.optimize.minimize(rosenbrock, start, (1.0,), bounds=bounds)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    slope = jacobian(lambda b: solve(b).x)(1.0)
    # The other one is where its own derivative, 200 (x1 - 1/4) + b**2 / 10, is zero.
    np.testing.assert_allclose(slope, [0.0, -0.001], rtol=1e-9)
    same = solve(1.0, scipy.optimize.Bounds([-2.0, -np.inf], [0.5, np.inf]))
    np.testing.assert_allclose(same.x, found.x, rtol=1e-9)


def test_what_is_found_reads_like_scipys():
    found = jit(lambda a: optimize.minimize(lambda x: np.sum((x - a) ** 2), [0.0]))(2.0)
    np.testing.assert_allclose(found["x"], [2.0])
    np.testing.assert_allclose(found.jac, [0.0], atol=1e-12)
    assert found["success"]
    assert found.nit >= 1
    assert found.message == "Optimization terminated successfully."
    failed = optimize.root(lambda x: x**3 - 1, np.full(1, 1e6), options={"maxiter": 2})
    assert failed.message == "The search ended before it converged."


REFUSALS = [
    (
        lambda: optimize.root(equations, np.zeros(2), (1.0,), "newton-raphson"),
        (
            "root: method='newton-raphson' is not supported. Leave it out, or use "
            "'anderson', 'broyden1', 'broyden2', 'df-sane', 'diagbroyden', "
            "'excitingmixing', 'hybr', 'krylov', 'linearmixing', 'lm'."
        ),
    ),
    (
        lambda: optimize.root(equations, np.zeros(2), (1.0,), callback=print),
        ("root: callback= is not supported. Leave it out."),
    ),
    (
        lambda: optimize.root(equations, np.zeros(2), (1.0,), options={"xtol": 1e-3}),
        (
            "root: the option 'xtol' of this method is not supported. Known are "
            "maxiter; or name one of SciPy's methods."
        ),
    ),
    (
        lambda: optimize.minimize(rosenbrock, np.zeros(2), (1.0,), "steepest"),
        (
            "minimize: method='steepest' is not supported. Leave it out, or use "
            "'bfgs', 'cg', 'cobyla', 'cobyqa', 'dogleg', 'l-bfgs-b', 'nelder-mead', "
            "'newton-cg', 'powell', 'slsqp', 'tnc', 'trust-constr', 'trust-exact', "
            "'trust-krylov', 'trust-ncg'."
        ),
    ),
    (
        lambda: optimize.minimize(
            rosenbrock, np.zeros(2), (1.0,), constraints={"type": "eq", "fun": sum}
        ),
        (
            "minimize: constraints= is not supported. Write the function of parameters "
            "that satisfy them, or add a penalty."
        ),
    ),
]


@pytest.mark.parametrize(("call", "text"), REFUSALS)
def test_what_is_refused(call, text):
    with pytest.raises(UnsupportedError) as caught:
        call()
    assert str(caught.value).partition(": ")[2] == text
