"""The classic tour of automatic differentiation, each statement asserted.

Run it with `python examples/autodiff_tour.py`.
"""

import numpy as np
from numpy.testing import assert_allclose

from tracejit import (
    detach,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)


def show(statement, value):
    """Print one line of the tour."""
    text = np.array2string(np.asarray(value), precision=6, suppress_small=True)
    print(f"{statement:<52} {' '.join(text.split())}")


def gradients_of_vectors():
    """A scalar function of a vector has a gradient of the vector's shape."""
    x = np.arange(4.0)

    @grad
    def twice_the_square(x):
        return 2 * np.dot(x, x)

    show("gradient of 2 x·x, which is 4x", twice_the_square(x))
    assert_allclose(twice_the_square(x), 4 * x)

    total = grad(lambda x: x.sum())
    show("gradient of x.sum(), which is ones", total(x))
    assert_allclose(total(x), np.ones(4))


def vectors_times_jacobians():
    """`vjp` answers for outputs of any shape: the caller gives their weights."""
    x = np.arange(4.0)
    y, back = vjp(lambda x: x * x, x)
    assert_allclose(y, x * x)

    weights = np.array([0.1, 1.0, 10.0, 0.0])
    (ct,) = back(weights)
    show("vjp of x * x with weights 0.1, 1, 10, 0", ct)
    assert_allclose(ct, weights * 2 * x)

    (ct,) = back(np.ones(4))
    show("vjp of x * x with ones, which is 2x", ct)
    assert_allclose(ct, 2 * x)


def parts_held_constant():
    """`stop_gradient`, also called `detach`, makes a constant of what it is given."""
    x = np.arange(4.0)

    held = grad(lambda x: np.sum(detach(x * x) * x))
    show("gradient of detach(x * x) * x, which is x * x", held(x))
    assert_allclose(held(x), x * x)

    free = grad(lambda x: np.sum(x * x * x))
    show("... and without detach, 3 x * x", free(x))
    assert_allclose(free(x), 3 * x * x)

    assert_allclose(grad(lambda x: np.sum(stop_gradient(x * x) * x))(x), held(x))


def partial_derivatives():
    """Numbers are differentiated like arrays; `argnums` chooses among arguments."""

    def polynomial(x0, x1):
        return 2 * x0**3 + 3 * x0 * x1 + 4 * x1

    value, gradient = value_and_grad(polynomial, argnums=(0, 1))(1.0, 2.0)
    show("2 x0³ + 3 x0 x1 + 4 x1 at (1, 2)", value)
    show("... and its gradient", gradient)
    assert value == 16.0
    assert gradient == (12.0, 7.0)

    x = np.linspace(-1, 1, 12).reshape(3, 4)
    slope = elementwise_grad(lambda x: x**2 * np.exp(x))
    show("derivative of x² exp(x), a 3×4 array: first row", slope(x)[0])
    assert slope(x).shape == (3, 4)
    assert_allclose(slope(x), (2 * x + x**2) * np.exp(x), rtol=1e-12)


def gradients_of_intermediates():
    """A chain of `vjp`s gives the gradient of everything between input and output."""
    w, x, b = 2.0, 3.0, 1.0
    y, back_to_w_x = vjp(lambda w, x: w * x, w, x)
    z, back_to_y_b = vjp(lambda y, b: y + b, y, b)
    assert z == 7.0

    dz_dy, dz_db = back_to_y_b(1.0)
    dz_dw, dz_dx = back_to_w_x(dz_dy)
    show("z = w*x + b: dz/dy for y = w*x, dz/db", (dz_dy, dz_db))
    show("... and dz/dw = x, dz/dx = w", (dz_dw, dz_dx))
    assert (dz_dy, dz_db, dz_dw, dz_dx) == (1.0, 1.0, x, w)

    whole = grad(lambda w, x, b: w * x + b, argnums=(0, 1, 2))
    assert whole(w, x, b) == (dz_dw, dz_dx, dz_db)


def gradient_descent():
    """Follow the gradient of 2 x0² + 4 x1² downhill."""

    @value_and_grad
    def bowl(x):
        return 2 * x[0] ** 2 + 4 * x[1] ** 2

    x, values = np.array([11.0, 2.0]), []
    for _ in range(20):
        value, gradient = bowl(x)
        values.append(value)
        x = x - 0.1 * gradient

    show("gradient descent from (11, 2): the first values", values[:5])
    show("... and the last point", x)
    assert_allclose(values[:3], [258, 87.76, 31.3888], rtol=1e-12)
    assert_allclose(x, 0, atol=1e-3)
    assert bowl.stats().traces == 1


def three_ways_side_by_side():
    """Forward mode, reverse mode and differences give one directional derivative."""

    def f(x):
        return np.sum(np.sin(x) * np.cumsum(x)) / (1 + np.dot(x, x))

    x = np.array([0.3, -1.2, 2.0, 0.7])
    direction = np.array([1.0, 0.5, -2.0, 0.1])

    _, forward = jvp(f, (x,), (direction,))
    reverse = np.dot(grad(f)(x), direction)
    step = 1e-5
    numerical = (f(x + step * direction) - f(x - step * direction)) / (2 * step)

    show("one directional derivative, forward mode", forward)
    show("... reverse mode", reverse)
    show("... central difference", numerical)
    assert_allclose(forward, reverse, rtol=1e-12)
    assert_allclose(forward, numerical, rtol=1e-8)


def jacobian_and_hessian():
    """Jacobians of vector functions; Hessians, whole or times a vector."""

    def polar(p):
        r, angle = p
        return np.array([r * np.cos(angle), r * np.sin(angle)])

    r, angle = p = np.array([2.0, np.pi / 3])
    c, s = np.cos(angle), np.sin(angle)
    show("Jacobian of polar coordinates, row by row", jacobian(polar)(p))
    assert_allclose(jacobian(polar)(p), [[c, -r * s], [s, r * c]], rtol=1e-12)

    def rosenbrock(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    x = np.array([-1.2, 1.0])
    curvature = hessian(rosenbrock)(x)
    show("Hessian of the Rosenbrock function, row by row", curvature)
    assert_allclose(curvature, [[1330, 480], [480, 200]], rtol=1e-12)

    v = np.array([1.0, -1.0])
    show("... times a vector, without the matrix", hvp(rosenbrock)(x, v))
    assert_allclose(hvp(rosenbrock)(x, v), curvature @ v, rtol=1e-12)


if __name__ == "__main__":
    gradients_of_vectors()
    vectors_times_jacobians()
    parts_held_constant()
    partial_derivatives()
    gradients_of_intermediates()
    gradient_descent()
    three_ways_side_by_side()
    jacobian_and_hessian()
