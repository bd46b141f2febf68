"""A Gaussian process's likelihood, compiled: values, gradients, and which routines."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit
from tracejit.program import Call, walk

pytestmark = pytest.mark.compiles
RNG = np.random.default_rng(5)
N = 70


def covariance(p, x):
    variance, length, noise = np.exp(p)
    gap = (x[:, None] - x[None, :]) / length
    return variance * np.exp(-0.5 * gap**2) + noise * np.eye(len(x))


def by_cholesky(p, x, y):
    factor = np.linalg.cholesky(covariance(p, x))
    white = np.linalg.solve(factor, y)
    return -0.5 * np.dot(white, white) - np.sum(np.log(np.diag(factor)))


def by_solve(p, x, y):
    matrix = covariance(p, x)
    fit = np.dot(y, np.linalg.solve(matrix, y))
    return -0.5 * fit - 0.5 * np.linalg.slogdet(matrix)[1]


@pytest.mark.parametrize(
    ("function", "routines"),
    [
        (
            by_cholesky,
            "cholesky triangular_solve triangular_solve cholesky_vjp",
        ),
        (by_solve, "lu lu_solve lu_solve lu_inv"),
    ],
)
def test_value_gradient_and_routines(function, routines):
    x = np.sort(RNG.uniform(0, 10, N))
    args = np.log([1.0, 1.5, 0.1]), x, np.sin(x)
    both = tracejit.value_and_grad(function)
    for _ in range(4):
        value, gradient = both(*args)
    assert abs(value - function(*args)) < 1e-10 * abs(value)
    matrix = covariance(*args[:2])
    alpha = np.linalg.solve(matrix, args[2])
    outer = np.outer(alpha, alpha) - np.linalg.inv(matrix)
    smooth = matrix - 0.1 * np.eye(N)
    gap = (x[:, None] - x) / 1.5
    partials = smooth, smooth * gap**2, 0.1 * np.eye(N)
    expected = [0.5 * np.sum(outer * partial) for partial in partials]
    np.testing.assert_allclose(gradient, expected, rtol=1e-8)
    (kernel,) = both.kernels()
    calls = [s.name for s in walk(kernel.program.body) if isinstance(s, Call)]
    assert sorted(calls) == sorted(routines.split())
