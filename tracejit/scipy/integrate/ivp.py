"""Initial value problems: `solve_ivp` and `odeint`.

The lengths of the steps are controlled as Hairer, Norsett and Wanner do (Solving
Ordinary Differential Equations I, II.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...api import scan, stop_gradient, while_loop
from ...errors import UnsupportedError, message
from ...signature import caller
from .steps import METHODS, Method, method_of, norm

__all__ = ["OdeResult", "odeint", "solve_ivp"]

_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0


class OdeResult(NamedTuple):
    """What `solve_ivp` found; its fields are attributes and keys, as SciPy's.

    Attributes:
        t: the times, `(m,)`.
        y: the states, `(n, m)`.
        success: whether the solver reached the end; otherwise there are NaN.
        sol: with `dense_output` a function of times, `(k,)` -> `(n, k)`.
        message: what happened.
    """

    t: Any
    y: Any
    success: Any = True
    sol: Any = None

    @property
    def message(self) -> str:
        if self.success:
            return (
                "The solver successfully reached the end of the integration interval."
            )
        return "Required step size is less than spacing between numbers."

    @property
    def status(self) -> int:
        return 0 if self.success else -1

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if isinstance(key, str) else tuple(self)[key]


class _Control(NamedTuple):
    """How a problem is solved."""

    fun: Callable
    sign: Any
    method: Method
    rtol: float
    atol: Any
    first: float | None = None
    most: float = np.inf

    def scale(self, y: Any, new: Any) -> Any:
        return self.atol + np.maximum(np.abs(y), np.abs(new)) * self.rtol


def _first_step(how: _Control, t: Any, y: Any, f: Any, end: Any) -> Any:
    """A step that is surely not too long."""
    if how.first is not None:
        return 0.0 * norm(y) + how.first
    scale = how.atol + np.abs(y) * how.rtol
    d0, d1 = norm(y / scale), norm(f / scale)
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.where(tiny, 1e-6, 0.01 * d0 / np.where(tiny, 1.0, d1))
    h0 = np.minimum(h0, np.abs(end - t))
    f1 = how.fun(t + how.sign * h0, y + how.sign * h0 * f)
    d2 = norm((f1 - f) / scale) / h0
    most = np.maximum(d1, d2)
    flat = most <= 1e-15
    h1 = np.where(
        flat,
        np.maximum(1e-6, h0 * 1e-3),
        (0.01 / np.where(flat, 1.0, most)) ** (1 / (how.method.order + 1)),
    )
    return np.minimum(np.minimum(100 * h0, h1), how.most)


def _advance(how: _Control, state: tuple, end: Any) -> tuple:
    """From the state's time to `end`; the state is time, y, slope, length of step."""
    sign = how.sign

    def going(now: tuple) -> Any:
        t, y, _, h = now
        ahead = sign * (end - t) > 0
        return ahead & (t + 0.1 * sign * h != t) & np.all(np.isfinite(y))

    def step(now: tuple) -> tuple:
        t, y, f, h = now
        left = sign * (end - t)
        last = h >= left
        used = np.where(last, left, h)
        new, slope, error = how.method.step(how.fun, t, y, f, sign * used, how.scale)
        size = stop_gradient(error)
        size = np.where(np.isfinite(size), size, 1e10)
        accepted = size < 1
        power = -1 / (how.method.order + 1)
        growth = _SAFETY * np.maximum(size, 1e-10) ** power
        growth = np.minimum(_MOST, np.maximum(_LEAST, growth))
        # The step that the end cut short says nothing about the next one.
        wish = used * np.where(accepted, growth, np.minimum(growth, 1.0))
        wish = np.where(last & accepted, np.maximum(h, wish), wish)
        after = np.where(last, end, t + sign * used)
        return (
            np.where(accepted, after, t),
            np.where(accepted, new, y),
            np.where(accepted, slope, f),
            stop_gradient(np.minimum(wish, how.most)),
        )

    t, y, f, h = while_loop(going, step, state)
    # What could not reach the end has no state there.
    y = np.where(sign * (end - t) > 0, np.nan, y)
    return t, y, f, h


def _solve(how: _Control, y0: Any, times: Any) -> Any:
    """The states at all times, `(m, n)`; the first time is that of `y0`."""
    t0 = times[0]
    f0 = how.fun(t0, y0)
    h = stop_gradient(_first_step(how, t0, y0, f0, times[-1]))

    def interval(state: tuple, end: Any) -> tuple[tuple, Any]:
        state = _advance(how, state, end)
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


def _sign(t0: Any, t1: Any) -> Any:
    """1 or -1; of a traced end no decision, for a search may move it."""
    ahead = _floating(t1) >= _floating(t0)
    return np.where(ahead, 1.0, -1.0)


def _refuse(what: str, way_out: str) -> None:
    raise UnsupportedError(
        message(f"{what} is not supported", where=caller(), way_out=way_out)
    )


def _floating(x: Any) -> Any:
    return x * 1.0 if hasattr(x, "dtype") else np.asarray(x) * 1.0


def _slope(fun: Callable, args: tuple, vectorized: bool) -> Callable:
    def slope(t: Any, y: Any) -> Any:
        if vectorized:
            return _floating(fun(t, y[:, None], *args)).ravel() + 0.0 * y
        found = fun(t, y, *args)
        if isinstance(found, (list, tuple)):
            found = np.stack([_floating(x) for x in found])
        return _floating(found) + 0.0 * y

    return slope


def solve_ivp(
    fun: Callable,
    t_span: Sequence[Any],
    y0: Any,
    method: str = "RK45",
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: tuple | None = None,
    *,
    rtol: float = 1e-3,
    atol: Any = 1e-6,
    first_step: float | None = None,
    max_step: float = np.inf,
    **hints: Any,
) -> OdeResult:
    """Solve y' = fun(t, y) from `t_span[0]` to `t_span[1]`.

    Args:
        fun: `fun(t, y, *args)` gives the slope, `(n,)`.
        t_span: begin and end; the end may be the smaller one.
        y0: `(n,)`, the state at the beginning, real or complex.
        method: "RK23", "RK45" or "DOP853", explicit; for stiff problems "Radau". "BDF"
            and "LSODA" take the steps of "Radau". Implicit methods take real states.
        t_eval: times in `t_span`, sorted, at which the state is wanted: the solver
            steps to each of them.  By default the two ends.
        dense_output: whether the result has `sol`, which solves the problem again, up
            to the times that it is given.
        vectorized: whether `fun` takes and gives `(n, k)`.
        args: further arguments of `fun`; it may use traced values from outside as well.
        rtol, atol: the error of a step is kept below `atol + rtol * abs(y)`.
        first_step, max_step: lengths.
        hints: `jac`, `jac_sparsity`, `lband`, `uband` and `min_step` have no meaning:
            the Jacobian comes from `fun`.

    Returns:
        An `OdeResult`.  SciPy interpolates between its steps, so that results differ
        within the tolerances; a state that cannot be reached is NaN.

    Raises:
        UnsupportedError: another method, or events.
        ValueError: times that are not sorted or outside of `t_span`.

    Example:
        >>> from tracejit import grad
        >>> def decayed(k):
        ...     solution = solve_ivp(lambda t, y: -k * y, (0.0, 1.0), [1.0], rtol=1e-8)
        ...     return solution.y[0, -1]
        >>> round(float(grad(decayed)(2.0)), 6), round(float(-np.exp(-2.0)), 6)
        (-0.135335, -0.135335)
    """
    if method not in METHODS:
        known = ", ".join(repr(name) for name in METHODS)
        _refuse(f"solve_ivp: method={method!r}", f"Known are {known}")
    if events is not None:
        _refuse(
            "solve_ivp: events=",
            "Find the time with tracejit.scipy.optimize.root, as the end of t_span",
        )
    for name in hints.keys() - {"jac", "jac_sparsity", "lband", "uband", "min_step"}:
        raise TypeError(f"solve_ivp() got an unexpected keyword argument {name!r}")
    y0 = np.atleast_1d(_floating(y0))
    t0, t1 = t_span
    ends = np.stack([_floating(t0), _floating(t1)])
    sign = _sign(t0, t1)
    times = ends if t_eval is None else _floating(t_eval)
    if t_eval is not None:
        _direction(times, "t_eval")
        if np.any(sign * (times - t0) < 0) or np.any(sign * (times - t1) > 0):
            raise ValueError("Values in `t_eval` are not within `t_span`.")
    begins = t_eval is None or bool(times[0] == t0)
    if not begins:
        times = np.concatenate([ends[:1], times])
    slope = _slope(fun, args or (), vectorized)
    kind = method_of(method)
    how = _Control(slope, sign, kind, rtol, atol, first_step, float(max_step))
    states = _solve(how, y0, times)
    skipped = 0 if begins else 1
    sol = _dense(how, y0, ends[0]) if dense_output else None
    success = np.all(np.isfinite(states))
    return OdeResult(times[skipped:], states[skipped:].T, success, sol)


def _dense(how: _Control, y0: Any, t0: Any) -> Callable[[Any], Any]:
    """The solution as a function of time."""

    def sol(t: Any) -> Any:
        given = _floating(t)
        times = np.atleast_1d(given)
        order = np.argsort(how.sign * times)
        states = _solve(how, y0, np.concatenate([t0[None], times[order]]))[1:]
        found = states[np.argsort(order)].T
        return found if np.ndim(given) else found[:, 0]

    return sol


def odeint(
    func: Callable,
    y0: Any,
    t: Any,
    args: tuple = (),
    *,
    tfirst: bool = False,
    rtol: float | None = None,
    atol: Any = None,
    h0: float = 0.0,
    hmax: float = 0.0,
    **hints: Any,
) -> Any:
    """Solve y' = func(y, t, ...) at the times `t`, by the method "RK45".

    Args:
        func: `func(y, t, *args)`, or `func(t, y, *args)` if `tfirst`.
        y0: `(n,)` or a number, the state at `t[0]`.
        t: `(m,)`, sorted either way.
        args: further arguments.
        rtol, atol: see `solve_ivp`; 1.49012e-8 by default.
        h0, hmax: length of the first step, and of the longest, if not 0.
        hints: `Dfun`, `col_deriv`, `ml`, `mu`, `tcrit`, `hmin`, `ixpr`, `mxstep`,
            `mxhnil`, `mxordn`, `mxords` and `printmessg` have no meaning.

    Returns:
        The states, `(m, n)`.

    Raises:
        UnsupportedError: `full_output`.

    Example:
        >>> odeint(lambda y, t: -y, 1.0, np.array([0.0, 1.0])).round(6)
        array([[1.      ],
               [0.367879]])
    """
    if hints.pop("full_output", False):
        _refuse("odeint: full_output=", "Leave it out")
    for name in hints.keys() - _LSODA:
        raise TypeError(f"odeint() got an unexpected keyword argument {name!r}")
    y0 = np.atleast_1d(_floating(y0))
    times = _floating(t)
    sign = _direction(times, "t")
    fun = func if tfirst else lambda t, y, *args: func(y, t, *args)
    slope = _slope(fun, args, vectorized=False)
    rtol, atol = (1.49012e-8 if x is None else x for x in (rtol, atol))
    how = _Control(
        slope, sign, method_of("RK45"), rtol, atol, h0 or None, hmax or np.inf
    )
    return _solve(how, y0, times)


_LSODA = set(
    "Dfun col_deriv ml mu tcrit hmin ixpr mxstep mxhnil mxordn mxords"
    " printmessg".split()
)
