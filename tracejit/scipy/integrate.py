"""`scipy.integrate` for recorded functions: initial value problems, and quadrature.

The solver is Dormand and Prince's method of order 5 with an error estimate of order 4
(J. Comput. Appl. Math. 6 (1980) 19), with the step control of Hairer, Norsett and
Wanner (Solving Ordinary Differential Equations I, II.4).  All its steps are one loop
inside the kernel.  Derivatives are those of the accepted steps themselves, exact for
the numbers that the solver computes; the lengths of the steps count as given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..api import scan, stop_gradient, while_loop
from ..errors import UnsupportedError, message
from ..signature import caller

__all__ = ["OdeResult", "odeint", "quad", "solve_ivp"]

_C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
_A: tuple[tuple[float, ...], ...] = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
#: Weights of the difference between the two orders; the last is of the next step's.
_E = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0


class OdeResult(NamedTuple):
    """What `solve_ivp` found.

    Attributes:
        t: the times, `(m,)`.
        y: the states, `(n, m)`.
        success: True; a solution that cannot go on has NaN instead.
        message: what happened.
    """

    t: Any
    y: Any
    success: bool = True
    message: str = (
        "The solver successfully reached the end of the integration interval."
    )


def _combine(y: Any, h: Any, weights: Sequence[float], slopes: Sequence[Any]) -> Any:
    total = None
    for weight, slope in zip(weights, slopes, strict=False):
        if weight:
            total = weight * slope if total is None else total + weight * slope
    return y + h * total


def _norm(x: Any) -> Any:
    return np.sqrt(np.mean(x * x))


def _step(fun: Callable, t: Any, y: Any, f: Any, h: Any) -> tuple[Any, Any, Any]:
    """The next state, its slope, and the error estimate."""
    slopes = [f]
    for c, row in zip(_C[1:], _A[1:], strict=True):
        slopes.append(fun(t + c * h, _combine(y, h, row, slopes)))
    new = _combine(y, h, _B, slopes)
    slopes.append(fun(t + h, new))
    return new, slopes[-1], _combine(0.0 * y, h, _E, slopes)


def _first_step(
    fun: Callable, t: Any, y: Any, f: Any, sign: float, rtol: float, atol: Any
) -> Any:
    """A step that is surely not too long (Hairer, Norsett and Wanner, II.4)."""
    scale = atol + np.abs(y) * rtol
    d0, d1 = _norm(y / scale), _norm(f / scale)
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.where(tiny, 1e-6, 0.01 * d0 / np.where(tiny, 1.0, d1))
    f1 = fun(t + sign * h0, y + sign * h0 * f)
    d2 = _norm((f1 - f) / scale) / h0
    most = np.maximum(d1, d2)
    flat = most <= 1e-15
    h1 = np.where(
        flat,
        np.maximum(1e-6, h0 * 1e-3),
        (0.01 / np.where(flat, 1.0, most)) ** 0.2,
    )
    return np.minimum(100 * h0, h1)


def _advance(
    fun: Callable, state: tuple, end: Any, sign: float, rtol: float, atol: Any
) -> tuple:
    """From the state's time to `end`; the state is time, y, slope, length of step."""

    def going(now: tuple) -> Any:
        t, y, _, h = now
        ahead = sign * (end - t) > 0
        return ahead & (t + 0.1 * sign * h != t) & np.all(np.isfinite(y))

    def step(now: tuple) -> tuple:
        t, y, f, h = now
        left = sign * (end - t)
        last = h >= left
        used = np.where(last, left, h)
        new, slope, error = _step(fun, t, y, f, sign * used)
        scale = atol + np.maximum(np.abs(y), np.abs(new)) * rtol
        size = stop_gradient(_norm(error / scale))
        size = np.where(np.isfinite(size), size, 1e10)
        accepted = size < 1
        growth = _SAFETY * np.maximum(size, 1e-10) ** -0.2
        growth = np.minimum(_MOST, np.maximum(_LEAST, growth))
        # The step that the end cut short says nothing about the next one.
        wish = used * np.where(accepted, growth, np.minimum(growth, 1.0))
        wish = np.where(last & accepted, np.maximum(h, wish), wish)
        after = np.where(last, end, t + sign * used)
        return (
            np.where(accepted, after, t),
            np.where(accepted, new, y),
            np.where(accepted, slope, f),
            stop_gradient(wish),
        )

    t, y, f, h = while_loop(going, step, state)
    # What could not reach the end has no state there.
    y = np.where(sign * (end - t) > 0, np.nan, y)
    return t, y, f, h


def _solve(
    fun: Callable, y0: Any, times: Any, sign: float, rtol: float, atol: Any
) -> Any:
    """The states at all times, `(m, n)`; the first time is that of `y0`."""
    t0 = times[0]
    f0 = fun(t0, y0)
    h = stop_gradient(_first_step(fun, t0, y0, f0, sign, rtol, atol))

    def interval(state: tuple, end: Any) -> tuple[tuple, Any]:
        state = _advance(fun, state, end, sign, rtol, atol)
        return state, state[1]

    state = (t0 + 0.0 * h, y0, f0, h)
    _, rows = scan(interval, state, times[1:])
    return np.concatenate([y0[None], rows])


def _direction(times: Any, name: str) -> float:
    """1 or -1; traced times are taken to go on as they do now."""
    first, last = times[0], times[-1]
    sign = 1.0 if last >= first else -1.0
    if not np.all(sign * np.diff(times) > 0):
        raise ValueError(f"Values in `{name}` are not properly sorted.")
    return sign


def _refuse(name: str, value: Any, known: str) -> None:
    raise UnsupportedError(
        message(
            f"{name}={value!r} is not supported",
            where=caller(),
            way_out=f"Known are {known}",
        )
    )


def _floating(x: Any) -> Any:
    return x * 1.0 if hasattr(x, "dtype") else np.asarray(x, np.float64)


def solve_ivp(
    fun: Callable,
    t_span: Sequence[Any],
    y0: Any,
    method: str = "RK45",
    t_eval: Any = None,
    *,
    args: tuple | None = None,
    rtol: float = 1e-3,
    atol: Any = 1e-6,
) -> OdeResult:
    """Solve y' = fun(t, y) from `t_span[0]` to `t_span[1]`.

    Args:
        fun: `fun(t, y, *args)` gives the slope, `(n,)`.
        t_span: begin and end; the end may be the smaller one.
        y0: `(n,)`, the state at the beginning.
        method: "RK45".
        t_eval: times in `t_span`, sorted, at which the state is wanted: the solver
            steps to each of them.  By default the two ends.
        args: further arguments of `fun`; it may use traced values from outside as well.
        rtol, atol: the error of a step is kept below `atol + rtol * abs(y)`.

    Returns:
        An `OdeResult`.  SciPy interpolates between its steps, so that results differ
        within the tolerances; a state that cannot be reached is NaN.

    Raises:
        UnsupportedError: another method.
        ValueError: times that are not sorted or outside of `t_span`.

    Example:
        >>> from tracejit import grad
        >>> def decayed(k):
        ...     solution = solve_ivp(lambda t, y: -k * y, (0.0, 1.0), [1.0], rtol=1e-8)
        ...     return solution.y[0, -1]
        >>> round(float(grad(decayed)(2.0)), 6), round(float(-np.exp(-2.0)), 6)
        (-0.135335, -0.135335)
    """
    if method != "RK45":
        _refuse("method", method, "'RK45'")
    if args:
        inner, fun = fun, (lambda t, y: inner(t, y, *args))
    y0 = _floating(y0)
    t0, t1 = t_span
    ends = np.stack([_floating(t0), _floating(t1)])
    sign = 1.0 if t1 >= t0 else -1.0
    times = ends if t_eval is None else _floating(t_eval)
    if t_eval is not None:
        _direction(times, "t_eval")
        if np.any(sign * (times - t0) < 0) or np.any(sign * (times - t1) > 0):
            raise ValueError("Values in `t_eval` are not within `t_span`.")
    begins = bool(times[0] == t0)
    if not begins:
        times = np.concatenate([ends[:1], times])

    def slope(t: Any, y: Any) -> Any:
        return _floating(fun(t, y)) + 0.0 * y

    states = _solve(slope, y0, times, sign, rtol, atol)
    skipped = 0 if begins else 1
    return OdeResult(times[skipped:], states[skipped:].T)


def odeint(
    func: Callable,
    y0: Any,
    t: Any,
    args: tuple = (),
    *,
    tfirst: bool = False,
    rtol: float = 1.49012e-8,
    atol: Any = 1.49012e-8,
) -> Any:
    """Solve y' = func(y, t, ...) at the times `t`.

    Args:
        func: `func(y, t, *args)`, or `func(t, y, *args)` if `tfirst`.
        y0: `(n,)` or a number, the state at `t[0]`.
        t: `(m,)`, sorted either way.
        args: further arguments.
        rtol, atol: see `solve_ivp`.

    Returns:
        The states, `(m, n)`.

    Example:
        >>> odeint(lambda y, t: -y, 1.0, np.array([0.0, 1.0])).round(6)
        array([[1.      ],
               [0.367879]])
    """
    y0 = np.atleast_1d(_floating(y0))
    times = _floating(t)
    sign = _direction(times, "t")

    def slope(t: Any, y: Any) -> Any:
        found = func(t, y, *args) if tfirst else func(y, t, *args)
        if isinstance(found, (list, tuple)):
            found = np.stack([_floating(x) for x in found])
        return _floating(found) + 0.0 * y

    return _solve(slope, y0, times, sign, rtol, atol)


# --- quadrature

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
    args: tuple = (),
    *,
    epsabs: float = 1.49e-8,
    epsrel: float = 1.49e-8,
    limit: int = 50,
) -> tuple[Any, Any]:
    """Integrate a function of one number, by Gauss and Kronrod's rule of 21 points.

    Args:
        func: `func(x, *args)`; it may use traced values from outside as well.
        a, b: the limits, perhaps infinite (then not traced).
        args: further arguments.
        epsabs, epsrel: the interval with the largest error is halved until the errors
            together are below `max(epsabs, epsrel * abs(integral))`.
        limit: at most so many intervals.

    Returns:
        The integral and an estimate of its error.  Which intervals are halved is a
        decision of the recorded path; the derivative is that of the sum.

    Example:
        >>> from tracejit import grad
        >>> def area(s):
        ...     return quad(lambda x: np.exp(-s * x * x), -np.inf, np.inf)[0]
        >>> round(float(area(1.0)), 6), round(float(grad(area)(1.0)), 6)
        (1.772454, -0.886227)
    """

    def f(x: Any) -> Any:
        return func(x, *args) + 0.0 * x

    low, high = _is_infinite(a), _is_infinite(b)
    if low or high:
        f, a, b = _finite(f, a, b, low, high)
    pieces = [(a * 1.0, b * 1.0, *_panel(f, a * 1.0, b * 1.0))]
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
