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


def linear_regression():
    """Minibatch descent for y = X w + b, as the second chapter does it."""
    rng = np.random.default_rng(0)
    true_w, true_b = np.array([2.0, -3.4]), 4.2
    features = rng.normal(size=(1000, 2))
    labels = features @ true_w + true_b + rng.normal(scale=0.01, size=1000)

    w, b = autograd.array(rng.normal(scale=0.01, size=2)), autograd.array(0.0)
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
    recording_and_pausing()
    linear_regression()


if __name__ == "__main__":
    main()
