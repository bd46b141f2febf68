"""`backward()`, `grad()`: values against derivatives by hand, rules, full errors."""

import numpy as np
import pytest

from tracejit import autograd
from tracejit.errors import AutogradError


@pytest.fixture(autouse=True)
def _fresh_plans():
    autograd.clear()


def leaf(*numbers):
    return autograd.array(np.array(numbers, float), requires_grad=True)


def raises(text):
    """AutogradError of exactly this text, behind the user's position."""
    import re

    return pytest.raises(
        AutogradError, match=rf"^test_\w+\.py:\d+ in \w+: {re.escape(text)}$"
    )


def test_first_chapter():
    x = autograd.array(np.arange(4.0), requires_grad=True)
    assert x.grad is None
    y = 2 * np.dot(x, x)
    assert repr(y) == "array(28., grad_fn=<MulBackward0>)"
    y.backward()
    assert np.array_equal(x.grad, 4 * x.detach())
    x.grad.zero_()
    x.sum().backward()
    assert np.array_equal(x.grad, np.ones(4))


def test_gradients_accumulate_in_the_same_memory():
    x = leaf(1, 2)
    (x * x).sum().backward()
    memory = x.grad.numpy().ctypes.data
    (x * x).sum().backward()
    assert x.grad.tolist() == [4, 8]
    x.grad.zero_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    assert x.grad.numpy().ctypes.data == memory
    x.grad = None
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_a_non_scalar_needs_a_gradient():
    x = leaf(1, 2, 3)
    with raises(
        "backward() of an array of shape [3]: only a scalar has a gradient without "
        "further words. Call y.sum().backward(), or give gradient= an array of the "
        "shape of y."
    ):
        (x * x).backward()
    (x * x).backward(gradient=np.ones(3))
    assert x.grad.tolist() == [2, 4, 6]
    with raises(
        "backward() got a gradient of shape [2] for an output of shape [3]. Give the "
        "gradient the shape of the output."
    ):
        (x * x).backward(gradient=np.ones(2))


def test_a_second_backward_needs_retain_graph():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]
    with raises(
        "backward() through a history that an earlier backward() has freed. Call the "
        "earlier one with retain_graph=True."
    ):
        y.backward()


def test_a_loop_of_training_compiles_one_kernel():
    x = leaf(3, -1, 2, 0.5)
    for i in range(30):
        loss = ((x - 1.0) ** 2).sum()
        loss.backward()
        with autograd.no_grad():
            x -= 0.5 / (1 + i) * x.grad
        x.grad.zero_()
    stats = autograd.stats()
    assert stats.plans == 1
    assert stats.hits == 29
    assert stats.kernels_compiled + stats.kernels_reused == 1
    assert stats.interpreted == 0
    assert np.allclose(x.detach(), 1.0)


def test_grad_of_intermediates_and_leaves():
    x = leaf(0, 1, 2)
    h = x * 2
    z = (h * h).sum()
    by_h, by_x = autograd.grad(z, [h, x])
    assert by_h.tolist() == [0, 4, 8]
    assert by_x.tolist() == [0, 8, 16]
    assert x.grad is None


def test_higher_derivatives():
    x = autograd.array(2.0, requires_grad=True)
    y = x**3 * np.exp(x)
    (first,) = autograd.grad(y, x, create_graph=True)
    (second,) = autograd.grad(first, x, create_graph=True)
    (third,) = autograd.grad(second, x)
    e = np.exp(2.0)
    assert np.isclose(first.item(), (12 + 8) * e)
    assert np.isclose(second.item(), (12 + 24 + 8) * e)
    assert np.isclose(third.item(), (6 + 36 + 36 + 8) * e)


def test_control_flow_reuses_kernels_across_trip_counts():
    def f(a):
        b = a * 2
        while b.norm() < 1000:
            b = b * 2
        return b if b.sum() > 0 else 100 * b

    for value in (1.0, 3.0, 1e-3, 1e-5, 1e-4, 2e-5):
        a = autograd.array(value, requires_grad=True)
        d = f(a)
        d.backward()
        assert a.grad == d / a
    stats = autograd.stats()
    assert stats.kernels_compiled + stats.kernels_reused == stats.plans
    kernels = {plan.kernel.key for plan in autograd.plans()}
    assert len(kernels) <= 3  # counts of up to nine rounds are part of the code


def test_grad_goes_no_further_than_what_is_asked_for():
    x = autograd.array([1.0, 2.0], requires_grad=True)
    called = []
    x.register_hook(called.append)
    u = np.exp(x)
    for create_graph in (False, True, False):
        (by_u,) = autograd.grad((u * u).sum(), u, create_graph=create_graph)
        np.testing.assert_allclose(by_u.detach(), 2 * u.detach())
    assert not called
    u.sum().backward()  # its history was not freed
    np.testing.assert_allclose(x.grad, np.exp([1.0, 2.0]))
    assert len(called) == 1


def test_grad_goes_through_one_input_to_another():
    x = autograd.array([1.0, 2.0], requires_grad=True)
    u = x * x
    v = u * 3.0
    by_x, by_v, by_u = autograd.grad((v * v).sum(), [x, v, u])
    assert by_v.tolist() == [6.0, 24.0]
    assert by_u.tolist() == [18.0, 72.0]
    assert by_x.tolist() == [36.0, 288.0]
