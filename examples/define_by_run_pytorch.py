"""The first chapter of automatic differentiation, in PyTorch's words.

Arrays remember how they were made; `y.backward()` fills `x.grad`.  The statements are
those that PyTorch's users learn first; whoever knows them knows this.  Behind them is
the same tape as behind `@grad`, so a training loop compiles once and then runs kernels.

Run it with `python examples/define_by_run_pytorch.py`.
"""

import numpy as np

from tracejit import autograd


def show(label, value, expected):
    """Print a value and check it."""
    numbers = value.tolist() if hasattr(value, "tolist") else value
    print(f"{label:<32} {numbers}")
    assert np.allclose(numbers, expected, rtol=1e-9, atol=1e-12), (label, numbers)


def refusal(statement):
    """Return the text of the error that a statement raises."""
    try:
        statement()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error")


def a_simple_function():
    """y = 2 x.x and its gradient 4x."""
    x = autograd.array(np.arange(4.0))
    assert repr(x) == "array([0., 1., 2., 3.])"
    x.requires_grad_(True)
    assert x.grad is None
    y = 2 * np.dot(x, x)
    print(y)
    assert repr(y) == "array(28., grad_fn=<MulBackward0>)"
    y.backward()
    show("gradient of 2 x.x", x.grad, [0, 4, 8, 12])
    assert (x.grad == 4 * x).tolist() == [True] * 4

    # Gradients accumulate, until they are set to zero.
    y = 2 * np.dot(x, x)
    y.backward()
    show("accumulated", x.grad, [0, 8, 16, 24])
    x.grad.zero_()
    y = x.sum()
    y.backward()
    show("gradient of the sum", x.grad, [1, 1, 1, 1])


def a_result_that_is_no_scalar():
    """A gradient goes in where the result has several elements."""
    x = autograd.array(np.arange(4.0), requires_grad=True)
    y = x * x
    print(refusal(y.backward))
    assert "backward() of an array of shape [4]" in refusal(y.backward)
    assert "Call y.sum().backward(), or give gradient=" in refusal(y.backward)
    y.backward(gradient=np.ones(4))
    show("with gradient=ones", x.grad, [0, 2, 4, 6])


def detaching():
    """A value that counts as a constant."""
    x = autograd.array(np.arange(4.0), requires_grad=True)
    y = x * x
    u = y.detach()
    z = u * x
    z.sum().backward()
    show("u is a constant in u x", x.grad, [0, 1, 4, 9])
    assert (x.grad == u).tolist() == [True] * 4
    x.grad.zero_()
    y.sum().backward()
    show("y has its history still", x.grad, [0, 2, 4, 6])


def control_flow():
    """Python's own: a `while` and an `if`."""

    def f(a):
        b = a * 2
        while b.norm() < 1000:
            b = b * 2
        return b if b.sum() > 0 else 100 * b

    for value in (0.7, -1.3, 1e-4, 2e-5, 3e-6):
        a = autograd.array(value, requires_grad=True)
        d = f(a)
        d.backward()
        show(f"slope at {value}", a.grad, d.item() / value)
        assert a.grad == d / a


def two_variables():
    """2 x0^3 + 3 x0 x1 + 4 x1 at (1, 2)."""
    x = autograd.array([1.0, 2.0], requires_grad=True)
    y = 2 * x[0] ** 3 + 3 * x[0] * x[1] + 4 * x[1]
    show("value at (1, 2)", y, 16)
    y.backward()
    show("gradient at (1, 2)", x.grad, [12, 7])


def gradient_descent():
    """Down 2 x0^2 + 4 x1^2 from (11, 2)."""
    x = autograd.array([11.0, 2.0], requires_grad=True)
    values = []
    autograd.clear()
    for _ in range(20):
        y = 2 * x[0] ** 2 + 4 * x[1] ** 2
        values.append(y.item())
        y.backward()
        with autograd.no_grad():
            x -= 0.1 * x.grad
            x.grad.zero_()
    show("values on the way", values[:4], [258, 87.76, 31.3888, 11.291776])
    by_hand = [2 * (11 * 0.6**k) ** 2 + 4 * (2 * 0.2**k) ** 2 for k in range(20)]
    assert np.allclose(values, by_hand)
    stats = autograd.stats()
    print(f"{stats.hits + 1} gradients, {stats.plans} plan")
    assert (stats.plans, stats.hits) == (1, 19)
    assert stats.kernels_compiled + stats.kernels_reused == 1


def leaves():
    """Who is a leaf, who requires a gradient."""
    x = autograd.array([1.0, 2.0], requires_grad=True)
    c = autograd.array([3.0, 4.0])
    y = x * c
    assert (x.is_leaf, c.is_leaf, y.is_leaf) == (True, True, False)
    assert (x.requires_grad, c.requires_grad, y.requires_grad) == (True, False, True)
    assert x.grad_fn is None
    assert y.grad_fn.name() == "MulBackward0"
    y.sum().backward()
    assert c.grad is None
    assert y.grad is None  # a result, and nobody said retain_grad()
    with autograd.no_grad():
        assert not (x * c).requires_grad
    text = refusal(lambda: x.add_(1))
    print(text)
    assert "on a leaf that requires a gradient" in text
    show("gradient of the leaf", x.grad, [3, 4])


def against_the_derivative_by_hand():
    """x^2 exp(x) on a 3 x 4 array."""
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    x = autograd.array(values, requires_grad=True)
    y = x**2 * np.exp(x)
    y.backward(gradient=np.ones((3, 4)))
    by_hand = (values**2 + 2 * values) * np.exp(values)
    show("x^2 exp(x), first row", x.grad[0], by_hand[0])
    assert x.grad.shape == (3, 4)
    assert np.allclose(x.grad, by_hand, rtol=1e-12)


def intermediates():
    """The gradient with respect to a result, asked for and by hook."""
    x = autograd.array([1.0, 2.0, 3.0], requires_grad=True)
    y = x + 2
    z = (3 * y * y).mean()
    by_y, by_x = autograd.grad(z, [y, x])
    show("by grad: z to y", by_y, [6, 8, 10])
    show("by grad: z to x", by_x, [6, 8, 10])
    assert x.grad is None

    y = x + 2
    seen = []
    handle = y.register_hook(seen.append)
    (3 * y * y).mean().backward()
    show("by hook: z to y", seen[0], [6, 8, 10])
    handle.remove()


class Mul(autograd.Function):
    """w * x + b with its rule."""

    @staticmethod
    def forward(ctx, w, x, b, x_requires_grad=True):
        """Compute the result."""
        ctx.x_requires_grad = x_requires_grad
        ctx.save_for_backward(w, x)
        return w * x + b

    @staticmethod
    def backward(ctx, grad_output):
        """Give one gradient for each input, None where there is none."""
        w, x = ctx.saved_tensors
        by_x = grad_output * w if ctx.x_requires_grad else None
        return grad_output * x, by_x, grad_output, None


def a_function_with_a_rule():
    """`Mul` among other operations."""
    w = autograd.array([2.0, 3.0], requires_grad=True)
    x = autograd.array([5.0, 7.0], requires_grad=True)
    b = autograd.array(1.0, requires_grad=True)
    z = Mul.apply(w, x, b + np.zeros(2))
    show("w x + b", z, [11, 22])
    assert z.grad_fn.name() == "MulBackward"
    z.backward(gradient=np.ones(2))
    show("to w", w.grad, [5, 7])
    show("to x", x.grad, [2, 3])
    show("to b", b.grad, 2)


def second_derivatives():
    """The gradient of a gradient."""
    x = autograd.array(2.0, requires_grad=True)
    (first,) = autograd.grad(x**3, x, create_graph=True)
    (second,) = autograd.grad(first, x)
    show("x^3 at 2, twice", [first.item(), second.item()], [12, 12])


def an_expression_before_its_data():
    """`var`: the formula first, the numbers later."""
    a, b = autograd.var("a"), autograd.var("b")
    c = 2 * a + b
    print(c)
    assert repr(c) == "2 * a + b"
    show("c at (1, 3) and (2, 5)", c.eval(a=[1.0, 2.0], b=[3.0, 5.0]), [5, 9])
    bound = c.bind(a=1.0, b=2.0)
    show("bound", bound.eval(), 4)
    show("to a", bound.grad("a"), 2)
    show("to b", bound.grad("b", a=7.0), 1)


def main():
    """Go through the chapter."""
    a_simple_function()
    a_result_that_is_no_scalar()
    detaching()
    control_flow()
    two_variables()
    gradient_descent()
    leaves()
    against_the_derivative_by_hand()
    intermediates()
    a_function_with_a_rule()
    second_derivatives()
    an_expression_before_its_data()


if __name__ == "__main__":
    main()
