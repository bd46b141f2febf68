"""Shapes that depend on the data: a guard on the count, and equal counts share."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad
from tracejit.testing import check_grads

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


def over_all_axes(c):
    c[c > 0.2] *= 2.0
    return c


def over_two_axes(c):
    chosen = c[..., 0] > 0.0
    c[chosen] = c[chosen][:, ::-1] + 1.0
    return c


def behind_an_axis(c):
    c[:, c[0] > 0.0] += np.arange(2.0)[:, None]
    return c


def of_a_view(c):
    plane = c[1].T
    plane[plane < 0.0] = 1.0 + np.arange(np.count_nonzero(plane < 0.0))
    return c


def into_a_new_array(c):
    out = np.zeros_like(c)
    out[c > 0] = np.sqrt(c[c > 0])
    return out


@pytest.mark.parametrize(
    "function",
    [over_all_axes, over_two_axes, behind_an_axis, of_a_view, into_a_new_array],
)
def test_masks_of_several_axes(function):
    """In arrays of which nobody knows how they lie in memory."""
    c = np.random.default_rng(3).normal(size=(2, 3, 4))
    expected = function(c.copy())
    found = jit(function)(c.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert found.shape == c.shape
    check_grads(lambda c: function(c * 1.0), (c,), order=1)
