"""Hooks: when they are called, what they may change, what they may not."""

import re

import numpy as np
import pytest

from tracejit import autograd
from tracejit.errors import AutogradError


def leaf(*numbers):
    return autograd.array(np.array(numbers, float), requires_grad=True)


def test_hooks_see_gradients_in_reverse_order():
    x = leaf(1, 2)
    y = x * 2
    z = y * y
    seen = []
    for name, value in (("x", x), ("y", y), ("z", z)):
        value.register_hook(lambda g, name=name: seen.append((name, g.tolist())))
    z.sum().backward()
    assert seen == [("z", [1, 1]), ("y", [4, 8]), ("x", [8, 16])]
    assert x.grad.tolist() == [8, 16]


def test_a_hook_may_replace_the_gradient():
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: -g)
    (y * y).sum().backward()
    assert x.grad.tolist() == [-82, -162]
    assert autograd.grad((x * x).sum(), x)[0].tolist() == [-2, -4]


def test_remove():
    x = leaf(1, 2)
    handle = x.register_hook(lambda g: g * 10)
    handle.remove()
    handle.remove()
    with x.register_hook(lambda g: g * 5):
        (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [12, 24]


def test_the_gradient_of_an_intermediate_by_hook():
    x = leaf(1, 2)
    y = x + 2
    found = []
    y.register_hook(found.append)
    (3 * y * y).mean().backward()
    assert found[0].tolist() == [9, 12]
    assert y.grad is None


def test_hooks_on_several_branches():
    x = leaf(1, 2)
    a, b = np.sin(x), np.cos(x)
    a.register_hook(lambda g: 2 * g)
    b.register_hook(lambda g: 3 * g)
    c = a * b
    c.register_hook(lambda g: 5 * g)
    (c + a).sum().backward()
    s, t = np.sin([1, 2]), np.cos([1, 2])
    by_a, by_b = 2 * (5 * t + 1), 3 * 5 * s
    np.testing.assert_allclose(x.grad.numpy(), by_a * t - by_b * s)


def test_hooks_that_raise():
    x = leaf(1, 2)
    y = x * 2

    def fails(gradient):
        raise KeyError("mine")

    handle = y.register_hook(fails)
    z = (y * y).sum()
    with pytest.raises(KeyError, match="mine"):
        z.backward()
    assert x.grad is None
    assert autograd.is_grad_enabled()
    handle.remove()
    z.backward()  # the failed one has freed nothing
    assert x.grad.tolist() == [8, 16]


def test_wrong_hooks():
    x = leaf(1, 2)
    x.register_hook(lambda g: g[:1])
    text = (
        "a hook returned a gradient of shape [1] for one of shape [2]. Return a "
        "gradient of the same shape, or None."
    )
    with pytest.raises(AutogradError, match=rf"^test_\S+ in \w+: {re.escape(text)}$"):
        (x * x).sum().backward()
    text = (
        "a hook on an array that does not require a gradient would never run. Set "
        "requires_grad=True."
    )
    with pytest.raises(AutogradError, match=rf"^test_\S+ in \w+: {re.escape(text)}$"):
        x.detach().register_hook(print)


def test_hooks_of_recorded_gradients():
    x = leaf(1, 2)
    y = x * x
    y.register_hook(lambda g: g * x)
    (first,) = autograd.grad((y * 2).sum(), x, create_graph=True)
    assert first.tolist() == [4, 16]  # 2 * x * 2x
    (second,) = autograd.grad(first.sum(), x)
    assert second.tolist() == [8, 16]


def test_what_is_no_gradient_is_refused():
    x = autograd.array([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: "twice")
    with pytest.raises(AutogradError) as caught:
        x.sum().backward()
    assert str(caught.value).partition(": ")[2] == (
        "a hook returned a str as a gradient. Return an array of the shape of the "
        "gradient, or None."
    )
    assert x.grad is None
