"""`Function`: rules in Python, for variables and inside `@grad` functions."""

import re

import numpy as np
import pytest

from tracejit import autograd, grad, jit, value_and_grad
from tracejit.errors import ArgumentError, AutogradError


def leaf(*numbers):
    return autograd.array(np.array(numbers, float), requires_grad=True)


def raises(text, kind=AutogradError):
    return pytest.raises(kind, match=rf"^test_\S+ in \S+: {re.escape(text)}$")


class Mul(autograd.Function):
    """w * x + b; the gradient of w is ten times too large, to be told apart."""

    @staticmethod
    def forward(ctx, w, x, b, label="unused"):
        ctx.save_for_backward(w, x)
        ctx.factor = 10
        assert not autograd.is_grad_enabled() or type(w) is not autograd.Variable
        return w * x + b

    @staticmethod
    def backward(ctx, grad_output):
        w, x = ctx.saved_tensors
        return grad_output * x * ctx.factor, grad_output * w, None, None


class Both(autograd.Function):
    """Sine and cosine, two results."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return np.sin(x), np.cos(x)

    @staticmethod
    def backward(ctx, by_sin, by_cos):
        (x,) = ctx.saved_tensors
        return by_sin * np.cos(x) - by_cos * np.sin(x)


def test_the_rule_is_used():
    w, x, b = leaf(1, 2), leaf(3, 4), leaf(5, 6)
    z = Mul.apply(w, x, b, "label")
    assert z.tolist() == [8, 14]
    assert z.grad_fn.name() == "MulBackward"
    (z * z).sum().backward()
    assert w.grad.tolist() == [480, 1120]
    assert x.grad.tolist() == [16, 56]
    assert b.grad is None


def test_between_other_operations():
    x = leaf(1, 2)
    h = np.exp(x)
    z = Mul.apply(h, h * 2, 1.0) + h
    z.sum().backward()
    e = np.exp([1, 2])
    np.testing.assert_allclose(x.grad.numpy(), (10 * 2 * e + 2 * e + 1) * e)


def test_several_results():
    x = leaf(0.5, 1)
    s, c = Both.apply(x)
    (s * c).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.cos(2 * np.array([0.5, 1])))
    s, c = Both.apply(x)
    (only,) = autograd.grad(c.sum(), x)
    np.testing.assert_allclose(only.numpy(), -np.sin([0.5, 1]))


def test_one_rule_behind_the_other():
    x = leaf(0.5, 1)
    for _ in range(2):
        x.grad = None
        s, _ = Both.apply(x)
        t, _ = Both.apply(s)
        (t + s).sum().backward()
        values = np.array([0.5, 1])
        expected = (np.cos(np.sin(values)) + 1) * np.cos(values)
        np.testing.assert_allclose(x.grad.numpy(), expected)


def test_needs_input_grad():
    needs = []

    class Note(autograd.Function):
        @staticmethod
        def forward(ctx, x, y, z):
            needs.append(ctx.needs_input_grad)
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g, g, None

    Note.apply(leaf(1), autograd.array([1.0]), 2)
    assert needs == [(True, False, False)]
    assert not Note.apply(autograd.array([1.0]), 2.0, 0).requires_grad


def test_second_derivatives_go_through_the_rule():
    x = leaf(0.5, 1)
    s, _ = Both.apply(x)
    (first,) = autograd.grad((s * s).sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 2 * np.cos(2 * np.array([0.5, 1])))


def wrong(count):
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return (g,) * count if count != 2 else (g, g[:1])

    return Wrong


def test_wrong_rules():
    x = leaf(1, 2)
    text = (
        "Wrong.backward returned 3 gradients for 2 inputs of forward. Return one "
        "gradient per input, None where there is none."
    )
    with raises(text):
        wrong(3).apply(x, x).sum().backward()
    with raises(text, ArgumentError):
        grad(lambda a: wrong(3).apply(a, a).sum())(np.ones(2))
    text = (
        "Wrong.backward returned a gradient of shape [1] for input 1, whose shape is "
        "[2]. Return a gradient of the shape of the input."
    )
    with raises(text):
        wrong(2).apply(x, x).sum().backward()
    with raises(text, ArgumentError):
        grad(lambda a: wrong(2).apply(a, a).sum())(np.ones(2))
    with raises(
        "a Mul cannot be made: Functions have no instances. Call Mul.apply(...)."
    ):
        Mul()


def test_saved_arrays_are_watched():
    for change in (True, False):
        w, x = leaf(1, 2), leaf(3, 4)
        z = Mul.apply(w, x, 1.0).sum()
        if change:
            with autograd.no_grad():
                w += 1
            with raises(
                "an array of shape [2] that the gradient needs was changed in place "
                "after it was used. Change it after backward(), or use a copy: "
                "x.clone()."
            ):
                z.backward()
        else:
            z.backward()
            with raises(
                "backward() through a history that an earlier backward() has freed. "
                "Call the earlier one with retain_graph=True."
            ):
                z.backward()


def test_a_rule_that_raises():
    class Fails(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = leaf(1, 2)
    with pytest.raises(KeyError, match="mine"):
        Fails.apply(x).sum().backward()
    assert x.grad is None
    assert autograd.is_grad_enabled()


SCALE = 2.0


class Scaled(autograd.Function):
    """Reads a global."""

    @staticmethod
    def forward(ctx, x):
        return x * SCALE

    @staticmethod
    def backward(ctx, g):
        return g * SCALE


def test_inside_a_grad_function():
    def f(w, x):
        return np.sum(Mul.apply(w, x, 1.0) ** 2)

    w, x = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    both = value_and_grad(f, argnums=(0, 1))
    for _ in range(2):
        value, (by_w, by_x) = both(w, x)
        assert value == 97.0
        assert by_w.tolist() == [240, 720]
        assert by_x.tolist() == [8, 36]
    assert both.stats().traces == 1
    assert jit(f)(w, x) == 97.0
    sines = grad(lambda a: np.sum(Both.apply(a)[0] * Both.apply(a)[1]))
    np.testing.assert_allclose(sines(w), np.cos(2 * w), rtol=1e-12)


def test_globals_of_a_rule_are_looked_up_anew(monkeypatch):
    slope = grad(lambda a: Scaled.apply(a))
    assert slope(1.0) == 2.0
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert slope(1.0) == 5.0


def test_constants_have_no_gradient_to_check():
    class Line(autograd.Function):
        @staticmethod
        def forward(ctx, w, x, b):
            ctx.save_for_backward(w, x)
            return w * x + b

        @staticmethod
        def backward(ctx, g):
            w, x = ctx.saved_tensors
            return g * x, g * w, g  # not the shape of a number b

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    w = autograd.array(a, requires_grad=True)
    Line.apply(w, b, 1.0).sum().backward()
    assert w.grad.tolist() == [3.0, 4.0]
    traced = grad(lambda w: Line.apply(w, b, 1.0).sum())
    assert traced(a).tolist() == [3.0, 4.0]
