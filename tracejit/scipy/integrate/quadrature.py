"""Quadrature: Gauss and Kronrod's rule, in intervals that are halved."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...api import scan, stop_gradient
from ...errors import UnsupportedError, message
from ...signature import caller

__all__ = ["quad"]

#: Nodes and weights of Gauss-Kronrod's rule of 21 points on [-1, 1], and the weights of
#: the Gauss rule of 10 points on every second node (QUADPACK, 1983).
_NODES = np.array(
    [
        0.995657163025808080735527280689003, 0.973906528517171720077964012084452,
        0.930157491355708226001207180059508, 0.865063366688984510732096688423493,
        0.780817726586416897063717578345042, 0.679409568299024406234327365114874,
        0.562757134668604683339000099272694, 0.433395394129247190799265943165784,
        0.294392862701460198131126603103866, 0.148874338981631210884826001129720,
        0.0,
    ]
)  # fmt: skip
_KRONROD = np.array(
    [
        0.011694638867371874278064396062192, 0.032558162307964727478818972459390,
        0.054755896574351996031381300244580, 0.075039674810919952767043140916190,
        0.093125454583697605535065465083366, 0.109387158802297641899210590325805,
        0.123491976262065851077958109585166, 0.134709217311473325928054001771707,
        0.142775938577060080797094273138717, 0.147739104901338491374841515972068,
        0.149445554002916905664936468389821,
    ]
)  # fmt: skip
_GAUSS = np.array(
    [
        0.066671344308688137593568809893332, 0.149451349150580593145863397657697,
        0.219086362515982043995534934228163, 0.269266719309996355091226921569469,
        0.295524224714752870173815619188769,
    ]
)  # fmt: skip
_POINTS = np.concatenate([-_NODES, _NODES[-2::-1]])
_WEIGHTS = np.concatenate([_KRONROD, _KRONROD[-2::-1]])
_COARSE = np.zeros(21)
_COARSE[1:10:2] = _GAUSS
_COARSE[11:20:2] = _GAUSS[::-1]


def _panel(f: Callable, a: Any, b: Any) -> tuple[Any, Any]:
    """The integral over one interval, and an estimate of its error."""
    half, middle = 0.5 * (b - a), 0.5 * (a + b)
    _, values = scan(lambda carry, p: (carry, f(middle + half * p)), 0.0, _POINTS)
    fine, coarse = half * (values @ _WEIGHTS), half * (values @ _COARSE)
    spread = np.abs(half) * (np.abs(values - 0.5 * fine / half) @ _WEIGHTS)
    error = stop_gradient(np.abs(fine - coarse))
    return fine, np.minimum(error, stop_gradient(spread))


def quad(
    func: Callable,
    a: Any,
    b: Any,
    args: Any = (),
    full_output: int = 0,
    epsabs: float = 1.49e-8,
    epsrel: float = 1.49e-8,
    limit: int = 50,
    points: Any = None,
    weight: Any = None,
    wvar: Any = None,
    *,
    complex_func: bool = False,
) -> tuple[Any, Any]:
    """Integrate a function of one number, by Gauss and Kronrod's rule of 21 points.

    Args:
        func: `func(x, *args)`; it may use traced values from outside as well.
        a, b: the limits, perhaps infinite (then not traced).
        args: further arguments.
        epsabs, epsrel: the interval with the largest error is halved until the errors
            together are below `max(epsabs, epsrel * abs(integral))`.
        limit: at most so many intervals.
        points: where the function is not smooth, between finite limits.
        complex_func: no difference: complex functions are integrated as they are.

    Returns:
        The integral and an estimate of its error.  Which intervals are halved is a
        decision of the recorded path; the derivative is that of the sum.

    Raises:
        UnsupportedError: `full_output`, or a `weight`.
        ValueError: points together with an infinite limit.

    Example:
        >>> from tracejit import grad
        >>> def area(s):
        ...     return quad(lambda x: np.exp(-s * x * x), -np.inf, np.inf)[0]
        >>> round(float(area(1.0)), 6), round(float(grad(area)(1.0)), 6)
        (1.772454, -0.886227)
    """

    if full_output:
        _refuse("quad: full_output=", "Leave it out")
    if weight is not None or wvar is not None:
        _refuse("quad: weight=", "Multiply the function by the weight")
    args = args if isinstance(args, tuple) else (args,)

    def f(x: Any) -> Any:
        return func(x, *args) + 0.0 * x

    low, high = _is_infinite(a), _is_infinite(b)
    if low or high:
        f, a, b = _finite(f, a, b, low, high)
    ends = [a * 1.0, b * 1.0]
    if points is not None and len(points):
        if low or high:
            raise ValueError("Infinity inputs cannot be used with break points.")
        ends[1:1] = _between(a, b, points)
    pieces = [(x, y, *_panel(f, x, y)) for x, y in itertools.pairwise(ends)]
    while True:
        total = sum(piece[2] for piece in pieces)
        error = sum(piece[3] for piece in pieces)
        enough = np.maximum(epsabs, epsrel * np.abs(stop_gradient(total)))
        if len(pieces) >= limit or error <= enough:
            return total, error
        worst = int(np.argmax(np.stack([piece[3] for piece in pieces])))
        start, end, _, _ = pieces.pop(worst)
        middle = 0.5 * (start + end)
        for left, right in ((start, middle), (middle, end)):
            pieces.append((left, right, *_panel(f, left, right)))


def _between(a: Any, b: Any, points: Any) -> list[Any]:
    """The points between the limits, each once, in their order."""
    inside = {float(p): p for p in points if min(a, b) < p < max(a, b)}
    return [inside[p] * 1.0 for p in sorted(inside, reverse=bool(a > b))]


def _refuse(what: str, way_out: str) -> None:
    raise UnsupportedError(
        message(f"{what} is not supported", where=caller(), way_out=way_out)
    )


def _is_infinite(x: Any) -> bool:
    return isinstance(x, (float, np.floating)) and bool(np.isinf(x))


def _finite(f: Callable, a: Any, b: Any, low: bool, high: bool) -> tuple:
    """The same integral over (0, 1], by x = a + (1 - t) / t."""
    if low and high:
        if a == b:
            return (lambda t: 0.0 * t), 0.0, 1.0
        sign = 1.0 if b > a else -1.0

        def both(t: Any) -> Any:
            x = (1 - t) / t
            return sign * (f(x) + f(-x)) / (t * t)

        return both, 0.0, 1.0
    start, side = (a, 1.0 if b > 0 else -1.0) if high else (b, 1.0 if a > 0 else -1.0)
    sign = side if high else -side

    def one(t: Any) -> Any:
        return sign * f(start + side * (1 - t) / t) / (t * t)

    return one, 0.0, 1.0
