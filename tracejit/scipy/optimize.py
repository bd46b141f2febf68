"""`scipy.optimize` for recorded functions: roots and minima as implicit functions.

A root is searched by Newton's method with a damped step, a minimum by BFGS and then by
Newton's method on the gradient; the search is a loop in the kernel and has no
derivative.  The derivative is that of the implicit function theorem: two more steps of
Newton's method, which change nothing in the value, carry first and second derivatives
(J. Blondel et al., "Efficient and modular implicit differentiation", 2022, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..api import grad, hessian, jacobian, stop_gradient, while_loop
from ..errors import UnsupportedError, message
from ..signature import caller

__all__ = ["OptimizeResult", "minimize", "root"]


class OptimizeResult(NamedTuple):
    """What a search found.

    Attributes:
        x: the root or the minimum, `(n,)`.
        success: whether it converged.
        fun: the value there.
        nit: iterations.
    """

    x: Any
    success: Any
    fun: Any
    nit: Any


def _refuse(name: str, method: Any, known: str) -> None:
    raise UnsupportedError(
        message(
            f"{name}: method={method!r} is not supported",
            where=caller(),
            way_out=f"Leave it out, or use {known}",
        )
    )


def _vector(x: Any) -> Any:
    x = x * 1.0 if hasattr(x, "dtype") else np.asarray(x, np.float64)
    return np.atleast_1d(x)


def _frozen(fun: Callable) -> Callable:
    """The function without derivatives by anything that it closes over."""
    return lambda x: stop_gradient(fun(x))


def _implicit(equation: Callable, matrix: Callable, x: Any) -> Any:
    """Two steps of Newton's method on `equation(x) = 0`, with their derivatives.

    `matrix` gives the Jacobian of `equation`.
    """
    x = stop_gradient(x)
    for _ in range(2):
        x = x - np.linalg.solve(matrix(x), equation(x))
    return x


#: Fractions of a step that are tried.
_FRACTIONS = 0.5 ** np.arange(12)


def _damped(size: Callable, x: Any, step: Any) -> tuple[Any, Any]:
    """The first fraction of a step that makes `size` smaller, or else the last."""

    def going(now: tuple) -> Any:
        fraction, best, before = now
        return ~(best < before) & (fraction > _FRACTIONS[-1])

    def halved(now: tuple) -> tuple:
        fraction, _, before = now
        fraction = 0.5 * fraction
        return fraction, size(x - fraction * step), before

    one = 1.0 + 0.0 * x[0]
    fraction, best, _ = while_loop(going, halved, (one, size(x - step), size(x)))
    return x - fraction * step, best


def root(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    method: str = "newton",
    *,
    tol: float = 1e-10,
    maxiter: int = 100,
) -> OptimizeResult:
    """Find x with fun(x, *args) = 0; differentiable by `args` and closures of `fun`.

    Args:
        fun: `(n,)` -> `(n,)`; or of a number.
        x0: `(n,)`, where the search begins; the root does not depend on it.
        args: further arguments.
        method: "newton", the only one: Newton's method with a damped step.
        tol: of the largest component of `fun`.
        maxiter: at most so many steps.

    Raises:
        UnsupportedError: another method.
        numpy.linalg.LinAlgError: the Jacobian is singular.

    Example:
        >>> from tracejit import grad
        >>> def solution(a):
        ...     return root(lambda x: x**3 - a, np.ones(1)).x[0]
        >>> round(float(solution(8.0)), 6), round(float(grad(solution)(8.0)), 6)
        (2.0, 0.083333)
    """
    if method != "newton":
        _refuse("root", method, "'newton'")

    def residual(x: Any) -> Any:
        return np.atleast_1d(fun(x, *args)) + 0.0 * x

    held = _frozen(residual)

    def size(x: Any) -> Any:
        return np.max(np.abs(held(x)))

    def going(now: tuple) -> Any:
        _, error, count = now
        return (error > tol) & (count < maxiter)

    def step(now: tuple) -> tuple:
        x, _, count = now
        full = np.linalg.solve(stop_gradient(jacobian(residual)(x)), held(x))
        x, error = _damped(size, x, full)
        return stop_gradient(x), stop_gradient(error), count + 1

    start = stop_gradient(_vector(x0))
    x, error, count = while_loop(going, step, (start, size(start), np.zeros(()) + 0.0))
    x = _implicit(residual, jacobian(residual), x)
    return OptimizeResult(x, error <= tol, residual(x), count)


def minimize(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    method: str = "BFGS",
    *,
    tol: float = 1e-8,
    maxiter: int = 200,
) -> OptimizeResult:
    """Find a minimum of fun(x, *args); differentiable by `args` and closures.

    Args:
        fun: `(n,)` -> number, twice differentiable, with a regular Hessian there.
        x0: `(n,)`, where the search begins; the minimum does not depend on it.
        args: further arguments.
        method: "BFGS", the only one.
        tol: of the largest component of the gradient, times `max(1, abs(fun))`.
        maxiter: at most so many steps.

    Raises:
        UnsupportedError: another method.

    Example:
        >>> from tracejit import grad
        >>> def place(a):
        ...     return minimize(lambda x: np.sum((x - a) ** 4 + x**2), np.zeros(1)).x[0]
        >>> round(float(place(1.0)), 6), round(float(grad(place)(1.0)), 4)
        (0.410245, 0.676)
    """
    if method != "BFGS":
        _refuse("minimize", method, "'BFGS'")

    def value(x: Any) -> Any:
        return fun(x, *args) + 0.0 * np.sum(x)

    slope = grad(value)
    held, direction = _frozen(value), _frozen(slope)

    def going(now: tuple) -> Any:
        _, _, g, level, count, moved = now
        small = np.max(np.abs(g)) <= tol * np.maximum(1.0, np.abs(level))
        return ~small & (count < maxiter) & moved

    def step(now: tuple) -> tuple:
        x, inverse, g, level, count, _ = now
        full = inverse @ g
        # Not downhill any more: begin again with the gradient.
        down = full @ g > 0
        identity = np.eye(x.shape[0])
        inverse = np.where(down, inverse, identity)
        full = np.where(down, full, g)
        new, after = _damped(held, x, full)
        moved = after < level
        new = np.where(moved, new, x)
        after = np.where(moved, after, level)
        slope_there = direction(new)
        s, y = new - x, slope_there - g
        sy = s @ y
        good = sy > 1e-14 * np.sqrt((s @ s) * (y @ y))
        rho = 1.0 / np.where(good, sy, 1.0)
        left = identity - rho * s[:, None] * y
        updated = left @ inverse @ left.T + rho * s[:, None] * s
        first = (count == 0) & good
        scaled = np.where(first, sy / np.where(good, y @ y, 1.0), 1.0)
        updated = np.where(good, np.where(first, identity * scaled, updated), inverse)
        return tuple(
            stop_gradient(x)
            for x in (new, updated, slope_there, after, count + 1, moved)
        )

    start = stop_gradient(_vector(x0))
    begin = (
        start,
        np.eye(start.shape[0]) + 0.0 * start,
        direction(start),
        held(start),
        np.zeros(()) + 0.0,
        np.asarray(True),
    )
    x, _, g, level, count, _ = while_loop(going, step, begin)
    reached = np.max(np.abs(g)) <= 1e3 * tol * np.maximum(1.0, np.abs(level))
    x = _implicit(slope, hessian(value), x)
    return OptimizeResult(x, reached, value(x), count)
