"""`numerical_grad`, `forward_grad`, `steps`."""

import re

import numpy as np
import pytest

from tracejit import autograd, grad
from tracejit.errors import ArgumentError


def raises(text):
    return pytest.raises(ArgumentError, match=rf"^test_\S+ in \S+: {re.escape(text)}$")


def f(x):
    return np.sum(np.sin(x) * x[..., :1]) + np.prod(np.exp(0.1 * x))


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_three_ways(shape):
    x = np.random.default_rng(0).normal(size=shape)
    reverse = grad(f)(x)
    central = autograd.numerical_grad(f, x)
    np.testing.assert_allclose(central, reverse, rtol=1e-8, atol=1e-9)
    complex_step = autograd.numerical_grad(f, x, method="complex")
    np.testing.assert_allclose(complex_step, reverse, rtol=1e-13)
    np.testing.assert_allclose(autograd.forward_grad(f, x), reverse, rtol=1e-13)
    v = autograd.array(x, requires_grad=True)
    f(v).backward()
    np.testing.assert_allclose(v.grad.numpy(), reverse, rtol=1e-13)


def test_numbers_and_variables():
    assert np.isclose(autograd.numerical_grad(lambda x: x**3, 2.0), 12.0)
    x = autograd.array([1.0, 2.0], requires_grad=True)
    found = autograd.numerical_grad(lambda a: (a * a).sum(), x, step=1e-3)
    np.testing.assert_allclose(found, [2, 4], rtol=1e-9)


def test_wrong_use():
    with raises(
        'numerical_grad by the method \'forward\'. Use "central" or "complex".'
    ):
        autograd.numerical_grad(np.sum, [1.0], method="forward")
    with raises(
        "a gradient needs a scalar, and the function gave shape (2,). Return a sum or "
        "a mean."
    ):
        autograd.numerical_grad(np.sin, [1.0, 2.0])
    with raises(
        "a gradient needs a scalar, and the function gave shape (2,). Return a sum or "
        "a mean."
    ):
        autograd.forward_grad(np.sin, [1.0, 2.0])
    with raises(
        "the function drops the imaginary part of its argument. Use "
        'numerical_grad(..., method="central").'
    ):
        autograd.numerical_grad(lambda x: float(x.real.sum()), [1.0], "complex")


def test_steps():
    found = autograd.steps(lambda x, y: np.sin(x) * y + y**2, 0.0, 2.0)
    by_ref = {s.ref: s for s in found}
    assert (by_ref["%0"].accumulated, by_ref["%1"].accumulated) == (2.0, 4.0)
    sine, product = by_ref["%2"], by_ref["%3"]
    assert (sine.text, sine.value, sine.local) == ("sin %0", 0.0, {"%0": 1.0})
    assert sine.accumulated == 2.0
    assert product.local == {"%2": 2.0, "%1": 0.0}
    assert found[-1].value == 4.0
    assert found[-1].accumulated == 1.0
    lines = repr(found).splitlines()
    assert lines[0].split() == "step value local derivatives accumulated".split()
    assert len(lines) == 2 + len(found)


def test_the_accumulated_derivatives_of_inputs_are_the_gradient():
    x = np.array([0.5, -1.0, 2.0])
    found = autograd.steps(lambda x: f(x), x)
    np.testing.assert_allclose(found[0].accumulated, grad(f)(x), rtol=1e-13)


def test_steps_refuses():
    with raises("steps() of a function that returns no scalar. Return a sum."):
        autograd.steps(np.sin, np.ones(2))
    outside = np.ones(2)
    with raises(
        "steps() of a function that takes arrays from outside. Pass them as arguments."
    ):
        autograd.steps(lambda x: (x * outside).sum(), np.ones(2))
