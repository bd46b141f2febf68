"""Shapes that depend on the data: a guard on the count, and equal counts share."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad

RNG = np.random.default_rng(5)
TWO = [np.array(x) for x in ([1.0, -1.0, 2.0], [-3.0, 1.0, 2.5], [0.5, 0.1, -1.0])]
ONE = np.array([1.0, -1.0, -2.0])

FUNCTIONS = {
    "selection": lambda x: np.sum(x[x > 0] ** 2),
    "flatnonzero": lambda x: np.sum(x[np.flatnonzero(x > 0)] ** 2),
    "nonzero": lambda x: np.sum(x[np.nonzero(x > 0)] ** 2),
    "argwhere": lambda x: np.sum(np.take(x, np.argwhere(x > 0)) ** 2),
    "compress": lambda x: np.sum(np.compress(x > 0, x) ** 2),
    "extract": lambda x: np.sum(np.extract(x > 0, x) ** 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equal_counts_reuse_the_kernel(name):
    f = FUNCTIONS[name]
    slope = value_and_grad(f)
    for x in TWO:
        value, gradient = slope(x)
        np.testing.assert_allclose(value, f(x))
        np.testing.assert_allclose(gradient, np.where(x > 0, 2 * x, 0.0))
    assert slope.stats().traces == 1
    assert slope.stats().guard_failures == 0
    np.testing.assert_allclose(slope(ONE)[1], [2.0, 0.0, 0.0])
    assert slope.stats().traces == 2
    slope(TWO[0])
    assert slope.stats().traces == 2


def test_a_masked_write_of_one_value_has_no_guard():
    def f(x):
        y = x * x
        y[y > 1.0] = 3.0 * x[0]
        return y.sum()

    compiled = jit(f)
    for _ in range(5):
        x = RNG.normal(size=6)
        np.testing.assert_allclose(compiled(x), f(x.copy()))
        e = np.eye(6) * 1e-6
        slope = [(f(x + d) - f(x - d)) / 2e-6 for d in e]
        np.testing.assert_allclose(grad(f)(x), slope, atol=1e-7)
    assert compiled.stats().traces == 1


def test_a_masked_update_is_a_path_for_each_count():
    def f(x):
        y = x * 2.0
        y[y > 0] += x[0]
        return (y * y).sum()

    compiled = jit(f)
    for x in (*TWO, ONE, TWO[0]):
        np.testing.assert_allclose(compiled(x), f(x.copy()))
    assert compiled.stats().traces == 2
