"""Derivatives without rules: differences and the complex step; and forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..api import jvp
from ..errors import ArgumentError, message
from ..signature import caller
from .variable import Variable

__all__ = ["forward_grad", "numerical_grad"]


def _point(x: Any) -> np.ndarray:
    value = x.value if isinstance(x, Variable) else x
    return np.array(value, np.float64)


def numerical_grad(
    f: Callable[..., Any], x: Any, method: str = "central", step: float | None = None
) -> np.ndarray:
    """The gradient of a scalar function by evaluating it nearby.

    Args:
        f: takes an array of the shape of `x`, returns a number.
        x: array or number; float64 is used.
        method: `"central"`: (f(x + h) - f(x - h)) / 2h, about ten digits; `"complex"`:
            the imaginary part of f(x + ih) / h, which cancels nothing, so that h can be
            1e-30 and all digits are right, for functions that take complex numbers.
        step: h; by default the cube root of the rounding error, times |x| where that is
            larger than 1.

    Returns:
        An array of the shape of `x`.

    Raises:
        ArgumentError: another method; a result that is no number; a function that
            drops the imaginary part.

    Source: W. Squire and G. Trapp, Using complex variables to estimate derivatives of
    real functions, SIAM Review 40 (1998).

    Example:
        >>> numerical_grad(lambda x: (x**3).sum(), [1.0, 2.0]).round(6)
        array([ 3., 12.])
        >>> numerical_grad(lambda x: (x**3).sum(), [1.0, 2.0], "complex")
        array([ 3., 12.])
    """
    if method not in ("central", "complex"):
        raise _error(
            f"numerical_grad by the method {method!r}", 'Use "central" or "complex"'
        )
    point = _point(x)
    slopes = np.empty(point.shape)
    flat = point.reshape(-1)
    for i in range(flat.size):
        if method == "complex":
            h = step or 1e-30
            moved = flat.astype(np.complex128)
            moved[i] += 1j * h
            value = _number(f, moved.reshape(point.shape))
            if not isinstance(value, complex):
                raise _error(
                    "the function drops the imaginary part of its argument",
                    'Use numerical_grad(..., method="central")',
                )
            slopes.flat[i] = value.imag / h
        else:
            h = step or np.cbrt(np.finfo(float).eps) * max(1.0, abs(flat[i]))
            up, down = flat.copy(), flat.copy()
            up[i] += h
            down[i] -= h
            above = _number(f, up.reshape(point.shape))
            below = _number(f, down.reshape(point.shape))
            # What was really moved by: h is no float of the size of x.
            slopes.flat[i] = (above - below) / (up[i] - down[i])
    return slopes


def _number(f: Callable[..., Any], x: np.ndarray) -> Any:
    value = f(x if x.ndim else x[()])
    value = value.value if isinstance(value, Variable) else value
    if np.size(value) != 1:
        raise _error(
            f"a gradient needs a scalar, and the function gave shape {np.shape(value)}",
            "Return a sum or a mean",
        )
    return np.asarray(value).reshape(())[()].item()


def forward_grad(f: Callable[..., Any], x: Any) -> np.ndarray:
    """The gradient of a scalar function by forward mode: one run per element of `x`.

    Each run carries dual values, a value and its derivative in one direction, through
    the function; the rules are those of `jvp`.

    Args:
        f: plain NumPy, takes an array of the shape of `x`, returns a number.
        x: array or number; float64 is used.

    Returns:
        An array of the shape of `x`.

    Example:
        >>> forward_grad(lambda x: (x**3).sum(), [1.0, 2.0])
        array([ 3., 12.])
    """
    point = _point(x)
    slopes = np.empty(point.shape)
    for i in range(point.size):
        direction = np.zeros(point.shape)
        direction.flat[i] = 1.0
        _, slope = jvp(f, (point[()],), (direction[()],))
        if np.shape(slope) != ():
            raise _error(
                "a gradient needs a scalar, and the function gave shape "
                f"{np.shape(slope)}",
                "Return a sum or a mean",
            )
        slopes.flat[i] = slope
    return slopes


def _error(what: str, way_out: str) -> ArgumentError:
    return ArgumentError(message(what, where=caller(), way_out=way_out))
