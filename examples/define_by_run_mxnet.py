"""The first chapter of automatic differentiation, in MXNet's words.

`x.attach_grad()` makes room for a gradient, and only what happens inside
`with autograd.record():` is recorded.  The statements are those of MXNet's first
chapter, with NumPy's own functions; the tape behind is that of `@grad`.

Run it with `python examples/define_by_run_mxnet.py`.
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
    except ValueError as error:
        return str(error)
    raise AssertionError("no error")


def a_simple_function():
    """y = 2 x.x and its gradient 4x."""
    x = autograd.array(np.arange(4.0))
    x.attach_grad()
    show("before", x.grad, [0, 0, 0, 0])
    with autograd.record():
        y = 2 * np.dot(x, x)
    show("2 x.x", y, 28)
    y.backward()
    show("gradient", x.grad, [0, 4, 8, 12])
    assert (x.grad == 4 * x).tolist() == [True] * 4

    # The next gradient takes the place of this one, in the same memory.
    memory = x.grad.numpy()
    with autograd.record():
        y = x.sum()
    y.backward()
    show("gradient of the sum", x.grad, [1, 1, 1, 1])
    assert memory.tolist() == [1, 1, 1, 1]


def a_result_that_is_no_scalar():
    """The sum is meant."""
    x = autograd.array(np.arange(4.0))
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward()
    show("gradient of the sum of x x", x.grad, [0, 2, 4, 6])
    # Other weights than ones are given.
    with autograd.record():
        y = x * x
    y.backward(np.array([1.0, 0.0, 10.0, 0.5]))
    show("with weights", x.grad, [0, 0, 40, 3])


def adding_up():
    """`grad_req` says what becomes of the gradient that is there."""
    x = autograd.array(np.arange(4.0))
    x.attach_grad(grad_req="add")
    for _ in range(3):
        with autograd.record():
            y = x * x
        y.backward()
    show("three times, added", x.grad, [0, 6, 12, 18])
    x.attach_grad(grad_req="null")
    assert x.grad is None


def detaching():
    """A value that counts as a constant."""
    x = autograd.array(np.arange(4.0))
    x.attach_grad()
    with autograd.record():
        y = x * x
        u = y.detach()
        z = u * x
    z.backward()
    show("u is a constant in u x", x.grad, [0, 1, 4, 9])
    assert (x.grad == u).tolist() == [True] * 4
    y.backward()
    show("y has its history still", x.grad, [0, 2, 4, 6])


def control_flow():
    """Python's own: a `while` and an `if`."""

    def f(a):
        b = a * 2
        while np.linalg.norm(b) < 1000:
            b = b * 2
        return b if b.sum() > 0 else 100 * b

    for value in (0.7, -1.3, 1e-4, 2e-5, 3e-6):
        a = autograd.array(value)
        a.attach_grad()
        with autograd.record():
            d = f(a)
        d.backward()
        show(f"slope at {value}", a.grad, d.item() / value)
        assert a.grad == d / a


def two_variables():
    """2 x0^3 + 3 x0 x1 + 4 x1 at (1, 2)."""
    x = autograd.array([1.0, 2.0])
    x.attach_grad()
    with autograd.record():
        y = 2 * x[0] ** 3 + 3 * x[0] * x[1] + 4 * x[1]
    show("value at (1, 2)", y, 16)
    y.backward()
    show("gradient at (1, 2)", x.grad, [12, 7])


def gradient_descent():
    """Down 2 x0^2 + 4 x1^2 from (11, 2)."""
    x = autograd.array([11.0, 2.0])
    x.attach_grad()
    values = []
    for _ in range(20):
        with autograd.record():
            y = 2 * x[0] ** 2 + 4 * x[1] ** 2
        values.append(y.item())
        y.backward()
        x -= 0.1 * x.grad  # outside of `record`: an update, no part of the history
    show("values on the way", values[:4], [258, 87.76, 31.3888, 11.291776])
    by_hand = [2 * (11 * 0.6**k) ** 2 + 4 * (2 * 0.2**k) ** 2 for k in range(20)]
    assert np.allclose(values, by_hand)


def recording_and_pausing():
    """What is outside of `record`, or inside `pause`, is a constant."""
    x = autograd.array([1.0, 2.0])
    x.attach_grad()
    assert not (x * x).requires_grad
    with autograd.record():
        assert autograd.is_recording()
        y = x * x
        with autograd.pause():
            scale = x.sum()
        y = y * scale
    assert not autograd.is_recording()
    y.backward()
    show("scale is a constant", x.grad, [6, 12])


def leaves():
    """Who has a gradient, and who is made of what."""
    x, c = autograd.array([1.0, 2.0]), autograd.array([3.0, 4.0])
    x.attach_grad()
    with autograd.record():
        y = x * c
    assert (x.is_leaf, c.is_leaf, y.is_leaf) == (True, True, False)
    assert (x.requires_grad, c.requires_grad, y.requires_grad) == (True, False, True)
    assert y.grad_fn.name() == "MulBackward0"
    y.backward()
    assert c.grad is None
    assert y.grad is None
    show("gradient of the leaf", x.grad, [3, 4])
    y.attach_grad()  # a result becomes a leaf
    assert y.is_leaf
    show("and its own", y.grad, [0, 0])


def against_the_derivative_by_hand():
    """x^2 exp(x) on a 3 x 4 array."""
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    x = autograd.array(values)
    x.attach_grad()
    with autograd.record():
        y = x**2 * np.exp(x)
    y.backward()
    by_hand = (values**2 + 2 * values) * np.exp(values)
    show("x^2 exp(x), first row", x.grad[0], by_hand[0])
    assert x.grad.shape == (3, 4)
    assert np.allclose(x.grad, by_hand, rtol=1e-12)


def intermediates():
    """The gradient with respect to a result, asked for and by hook."""
    x = autograd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = x + 2
        z = (3 * y * y).mean()
    by_y, by_x = autograd.grad(z, [y, x])
    show("by grad: z to y", by_y, [6, 8, 10])
    show("by grad: z to x", by_x, [6, 8, 10])
    show("kept as it was", x.grad, [0, 0, 0])

    seen = []
    with autograd.record():
        y = x + 2
        y.register_hook(seen.append)
        z = (3 * y * y).mean()
    z.backward()
    show("by hook: z to y", seen[0], [6, 8, 10])


class Mul(autograd.Function):
    """w * x + b with its rule."""

    @staticmethod
    def forward(ctx, w, x, b):
        """Compute the result."""
        ctx.save_for_backward(w, x)
        return w * x + b

    @staticmethod
    def backward(ctx, grad_output):
        """Give one gradient for each input."""
        w, x = ctx.saved_tensors
        return grad_output * x, grad_output * w, grad_output


def a_function_with_a_rule():
    """`Mul` among other operations."""
    w, x, b = [autograd.array(v) for v in ([2.0, 3.0], [5.0, 7.0], [1.0, 1.0])]
    for v in (w, x, b):
        v.attach_grad()
    with autograd.record():
        z = Mul.apply(w, x, b)
    show("w x + b", z, [11, 22])
    z.backward()
    show("to w", w.grad, [5, 7])
    show("to x", x.grad, [2, 3])
    show("to b", b.grad, [1, 1])


def an_expression_before_its_data():
    """`var`: the formula first, the numbers later; symbols, in MXNet's words."""
    a, b = autograd.var("a", shape=(2,)), autograd.var("b", shape=(2,))
    c = 2 * a + b
    print(c, "of", list(c.variables))
    assert repr(c) == "2 * a + b"
    assert list(c.variables) == ["a", "b"]
    bound = c.bind(a=np.array([1.0, 2.0]), b=np.array([3.0, 5.0]))
    show("bound", bound.eval(), [5, 9])
    show("to a", (c * c).sum().grad("a", a=[1.0, 2.0], b=[3.0, 5.0]), [20, 36])
    show("with other numbers", bound.eval(b=np.zeros(2)), [2, 4])
    text = refusal(lambda: c.bind(a=np.ones(2), b=np.ones(3)))
    print(text)
    assert "b was declared with shape (2,), and given shape (3,)" in text


def by_hand(features, labels, w):
    """The losses of the same descent with the gradient written out."""
    b, losses = 0.0, []
    for _ in range(3):
        for start in range(0, 1000, 10):
            x, y = features[start : start + 10], labels[start : start + 10]
            residual = x @ w + b - y
            w, b = w - 0.003 * residual @ x, b - 0.003 * residual.sum()
        losses.append(np.mean((features @ w + b - labels) ** 2) / 2)
    return losses


def linear_regression():
    """Minibatch descent for y = X w + b, as the second chapter does it."""
    rng = np.random.default_rng(0)
    true_w, true_b = np.array([2.0, -3.4]), 4.2
    features = rng.normal(size=(1000, 2))
    labels = features @ true_w + true_b + rng.normal(scale=0.01, size=1000)

    start_w = rng.normal(scale=0.01, size=2)
    losses = by_hand(features, labels, start_w)
    w, b = autograd.array(start_w), autograd.array(0.0)
    w.attach_grad()
    b.attach_grad()
    autograd.clear()
    for epoch in range(3):
        for start in range(0, 1000, 10):
            rows = slice(start, start + 10)
            with autograd.record():
                loss = (features[rows] @ w + b - labels[rows]) ** 2 / 2
            loss.backward()
            w -= 0.03 / 10 * w.grad
            b -= 0.03 / 10 * b.grad
        error = np.mean((features @ w + b - labels) ** 2) / 2
        print(f"epoch {epoch + 1}, loss {error.item():.6f}")
        assert np.isclose(error.item(), losses[epoch], rtol=1e-9)
    assert error.item() < 1e-4
    assert np.allclose(w.detach(), true_w, atol=0.01)
    assert np.isclose(b.item(), true_b, atol=0.01)
    stats = autograd.stats()
    print(f"{stats.hits + 1} gradients, {stats.plans} plan")
    assert (stats.plans, stats.hits) == (1, 299)
    assert stats.kernels_compiled + stats.kernels_reused == 1


def main():
    """Go through the chapter."""
    a_simple_function()
    a_result_that_is_no_scalar()
    adding_up()
    detaching()
    control_flow()
    two_variables()
    gradient_descent()
    recording_and_pausing()
    leaves()
    against_the_derivative_by_hand()
    intermediates()
    a_function_with_a_rule()
    an_expression_before_its_data()
    linear_regression()


if __name__ == "__main__":
    main()
