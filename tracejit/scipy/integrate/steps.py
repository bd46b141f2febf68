"""One step of a solver: the next state, its slope, and how large the error is.

The explicit methods are Bogacki and Shampine's of order 3, Dormand and Prince's of
orders 5 and 8; their coefficients are those of SciPy's classes.  The implicit one is
Radau IIA of order 5 (Hairer and Wanner, Solving Ordinary Differential Equations II,
IV.8), whose stages are found by Newton's method; the last two of its steps, which
change nothing in the value, carry the derivatives, those of the implicit function
theorem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...api import jacobian, stop_gradient

__all__ = ["IMPLICIT", "METHODS", "Method", "method_of", "norm"]

#: Methods for stiff problems; all take the steps of the first.
IMPLICIT = ("Radau", "BDF", "LSODA")
METHODS = ("RK23", "RK45", "DOP853", *IMPLICIT)


class Method(NamedTuple):
    """A method.

    Attributes:
        step: `step(fun, t, y, f, h, scale)` gives the next state, its slope and the
            size of the error, below 1 if the step is good; `scale(y, new)` are the
            tolerances.
        order: of the estimate of the error.
    """

    step: Callable[..., tuple[Any, Any, Any]]
    order: int


def norm(x: Any) -> Any:
    """The root of the mean square."""
    return np.sqrt(np.mean(np.real(x * np.conj(x))))


@cache
def method_of(name: str) -> Method:
    """The method of SciPy's name."""
    if name in IMPLICIT:
        return Method(_radau, 3)
    # Importing it takes a while.
    import scipy.integrate

    return _explicit(getattr(scipy.integrate, name))


def _combine(y: Any, h: Any, weights: Sequence[float], slopes: Sequence[Any]) -> Any:
    total = None
    for weight, slope in zip(weights, slopes, strict=False):
        if weight:
            total = weight * slope if total is None else total + weight * slope
    return y if total is None else y + h * total


def _explicit(table: Any) -> Method:
    """The method of SciPy's class of an explicit solver."""
    stages = int(table.n_stages)
    a = [[float(x) for x in row[:i]] for i, row in enumerate(table.A[:stages])]
    b, c = [float(x) for x in table.B], [float(x) for x in table.C[:stages]]
    pair = hasattr(table, "E3")
    errors = [table.E5, table.E3] if pair else [table.E]
    weights = [[float(x) for x in row] for row in errors]

    def step(
        fun: Callable, t: Any, y: Any, f: Any, h: Any, scale: Callable
    ) -> tuple[Any, Any, Any]:
        slopes = [f]
        for share, row in zip(c[1:], a[1:], strict=True):
            slopes.append(fun(t + share * h, _combine(y, h, row, slopes)))
        new = _combine(y, h, b, slopes)
        slopes.append(fun(t + h, new))
        tolerance = scale(y, new)
        first, *second = (
            norm(_combine(0.0 * y, h, row, slopes) / tolerance) for row in weights
        )
        if not second:
            return new, slopes[-1], first
        # The two estimates together (Hairer, Norsett and Wanner, II.10).
        both = first * first + 0.01 * second[0] * second[0]
        some = both > 0
        size = first * first / np.sqrt(np.where(some, both, 1.0))
        return new, slopes[-1], np.where(some, size, 0.0)

    return Method(step, int(table.error_estimator_order))


_ROOT6 = 6**0.5
_NODES = np.array([(4 - _ROOT6) / 10, (4 + _ROOT6) / 10, 1.0])
_MATRIX = np.array(
    [
        [(88 - 7 * _ROOT6) / 360, (296 - 169 * _ROOT6) / 1800, (-2 + 3 * _ROOT6) / 225],
        [(296 + 169 * _ROOT6) / 1800, (88 + 7 * _ROOT6) / 360, (-2 - 3 * _ROOT6) / 225],
        [(16 - _ROOT6) / 36, (16 + _ROOT6) / 36, 1 / 9],
    ]
)
#: The real eigenvalue of the matrix's inverse, and the weights of the stages in the
#: estimate of the error.
_GAMMA = 3 + 3 ** (2 / 3) - 3 ** (1 / 3)
_ERROR = np.array([-13 - 7 * _ROOT6, -13 + 7 * _ROOT6, -1.0]) / 3
#: Steps of Newton's method: with the Jacobian of the beginning, and then with its own.
_SIMPLE, _FULL = 4, 2


def _radau(
    fun: Callable, t: Any, y: Any, f: Any, h: Any, scale: Callable
) -> tuple[Any, Any, Any]:
    n = y.shape[0]

    def slopes(z: Any) -> Any:
        return np.stack([fun(t + _NODES[i] * h, y + z[i]) for i in range(3)])

    def residual(z: Any) -> Any:
        return z - h * (_MATRIX @ slopes(z))

    def curvature(i: int, z: Any) -> Any:
        return jacobian(lambda y: fun(t + _NODES[i] * h, y))(y + z[i])

    def moved(z: Any, inner: list[Any]) -> Any:
        """A step of Newton's method, the Jacobians at the stages being `inner`."""
        rows = [
            np.concatenate([_MATRIX[i, j] * inner[j] for j in range(3)], axis=1)
            for i in range(3)
        ]
        whole = np.eye(3 * n) - h * np.concatenate(rows)
        return np.linalg.solve(whole, residual(z).reshape((3 * n,))).reshape((3, n))

    start = stop_gradient(jacobian(lambda y: fun(t, y))(y))
    z = 0.0 * np.stack([y, y, y])
    for _ in range(_SIMPLE):
        z = z - moved(z, [start] * 3)
    z = stop_gradient(z)
    for _ in range(_FULL):
        last = moved(z, [curvature(i, z) for i in range(3)])
        z = z - last
    new = y + z[2]
    tolerance = scale(y, new)
    estimate = np.linalg.solve(_GAMMA / h * np.eye(n) - start, f + (_ERROR @ z) / h)
    size = norm(estimate / tolerance)
    # What Newton's method did not find is no step.
    astray = norm(last / np.stack([tolerance] * 3))
    return new, fun(t + h, new), np.where(astray < 1e-2, size, 1e10)
