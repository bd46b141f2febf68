"""Gradients inside code that Numba and C compiled.

A fit by gradient descent that is written in `@njit` from beginning to end; an integral
by `scipy.integrate.quad` over a C function that is the derivative of a NumPy function;
and a function of Numba's that becomes part of a differentiated one.

Run it with `python examples/inside_numba.py`.
"""

import numpy as np
from numba import njit
from numpy.testing import assert_allclose
from scipy import LowLevelCallable, special
from scipy.integrate import quad

from tracejit import UnknownPathError, grad, primitive, value_and_grad

TIMES = np.linspace(0.0, 4.0, 40)
TRUTH = np.array([2.0, 0.7, 0.5])


def curve(p):
    """A decay towards a level: start, rate, level."""
    return p[2] + (p[0] - p[2]) * np.exp(-p[1] * TIMES)


MEASURED = curve(TRUTH) + 0.01 * np.cos(37.0 * TIMES)


def loss(p):
    """Squares near the data, straight lines far away."""
    r = curve(p) - MEASURED
    error = np.mean(r * r)
    if error > 0.5:
        error = np.sqrt(2.0 * error) - 0.5
    return error


def gradient_descent():
    """The whole loop is compiled; Python is not asked once."""
    step = value_and_grad(loss)
    start, near = np.array([8.0, 0.3, 3.0]), np.array([2.0, 1.0, 0.0])
    inside = step.njit(start, more=[(near,)])
    assert step.stats().traces == 2

    @njit(nogil=True)
    def descend(p, rate, rounds):
        p = p.copy()
        speed = np.zeros_like(p)
        for _ in range(rounds):
            slope = inside(p)[1]
            speed = 0.9 * speed - rate * slope
            p += speed
        return p, inside(p)[0]

    fitted, error = descend(start, 0.1, 2000)
    print("fitted", fitted.round(3), "mean squared error", f"{error:.2e}")
    assert_allclose(fitted, TRUTH, atol=0.01)
    assert_allclose(step(fitted)[1], 0.0, atol=1e-6)
    assert step.stats().traces == 2


def one_path_is_not_the_other():
    """What was not recorded is never answered by what was."""
    # A function of its own: of `loss`, both paths are known by now.
    inside = value_and_grad(lambda p: loss(p)).njit(np.array([2.0, 1.0, 0.0]))
    try:
        inside(np.array([80.0, 0.3, 3.0]))
    except UnknownPathError as error:
        print("refused:", error)
    else:
        raise AssertionError("another path was taken for this one")


def integrals():
    """SciPy's integrator calls machine code: a function and its derivative."""

    def bump(x):
        return np.exp(-x * x) * (2.0 + np.sin(x))

    slope = grad(bump)
    inside = slope.cfunc(0.0)
    rise, _ = quad(LowLevelCallable(inside.ctypes), 0.0, 1.5)
    print("integral of the derivative", round(rise, 12))
    assert_allclose(rise, bump(1.5) - bump(0.0), rtol=1e-12)


def the_other_direction():
    """A function of Numba's in a differentiated one, with a rule of its own."""

    @primitive
    @njit
    def bessel(x):
        """J0, by its power series; good for small x."""
        term = total = 1.0
        for k in range(1, 20):
            term *= -x * x / (4.0 * k * k)
            total += term
        return total

    @primitive
    @njit
    def bessel_slope(x):
        term = total = -0.5 * x
        for k in range(1, 20):
            term *= -x * x / (4.0 * k * (k + 1))
            total += term
        return total

    bessel.defvjp(lambda ans, x: lambda g: g * bessel_slope(x))
    slope = grad(lambda x: np.log(bessel(x)) * x)
    x = 1.3
    expected = np.log(special.j0(x)) - x * special.j1(x) / special.j0(x)
    assert_allclose(slope(x), expected, rtol=1e-12)
    assert slope.stats().host_calls == 0
    print(slope.explain())


if __name__ == "__main__":
    gradient_descent()
    one_path_is_not_the_other()
    integrals()
    the_other_direction()
