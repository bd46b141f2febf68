"""`scipy.optimize` for recorded functions: roots and minima as implicit functions.

A root is searched by Newton's method with a damped step, a minimum by BFGS, in a loop
of the kernel; or SciPy's own search by another method is called from the kernel.  The
search has no derivative.  The derivative is that of the implicit function theorem: two
more steps of Newton's method, which change nothing in the value, carry first and second
derivatives (J. Blondel et al., "Efficient and modular implicit differentiation", 2022,
section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..api import grad, hessian, jacobian, primitive, stop_gradient, while_loop
from ..api.bodies import record_function
from ..errors import UnsupportedError, message
from ..interpret import interpret
from ..numpy_api.table import as_tracer
from ..signature import caller
from ..tape import Tape
from ..tracer import active_recorder

__all__ = ["OptimizeResult", "minimize", "root"]


class OptimizeResult(NamedTuple):
    """What a search found; its fields are attributes and keys, as SciPy's.

    Attributes:
        x: the root or the minimum, `(n,)`.
        success: whether it converged.
        fun: the value there.
        nit: iterations; of methods that do not count them, calls of `fun`.
        jac: the gradient there; None for a root.
        message: what happened.
    """

    x: Any
    success: Any
    fun: Any
    nit: Any
    jac: Any = None

    @property
    def message(self) -> str:
        if self.success:
            return "Optimization terminated successfully."
        return "The search ended before it converged."

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if isinstance(key, str) else tuple(self)[key]


def _refuse(what: str, way_out: str) -> None:
    raise UnsupportedError(
        message(f"{what} is not supported", where=caller(), way_out=way_out)
    )


def _iterations(options: dict | None, maxiter: int | None, default: int) -> int:
    found = (options or {}).get("maxiter", maxiter)
    return default if found is None else int(found)


def _no_unknown(name: str, options: dict | None, known: set[str]) -> None:
    for key in options or ():
        if key not in known:
            _refuse(
                f"{name}: the option {key!r} of this method",
                f"Known are {', '.join(sorted(known))}; or name one of SciPy's methods",
            )


def _vector(x: Any) -> Any:
    x = x * 1.0 if hasattr(x, "dtype") else np.asarray(x, np.float64)
    return np.atleast_1d(x)


def _frozen(fun: Callable) -> Callable:
    """The function without derivatives by anything that it closes over."""
    return lambda x: stop_gradient(fun(x))


def _implicit(equation: Callable, matrix: Callable, x: Any, free: Any = None) -> Any:
    """Two steps of Newton's method on `equation(x) = 0`, with their derivatives.

    Args:
        matrix: gives the Jacobian of `equation`.
        free: which components may move; all others stay where they are.
    """
    x = stop_gradient(x)
    for _ in range(2):
        a, b = matrix(x), equation(x)
        if free is not None:
            a = np.where(free[:, None] & free, a, np.eye(len(x)))
            b = np.where(free, b, 0.0)
        x = x - np.linalg.solve(a, b)
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


#: SciPy's methods, which search where they stand, and what they ask for.
ROOTS = set(
    "hybr lm broyden1 broyden2 anderson linearmixing diagbroyden excitingmixing"
    " krylov df-sane".split()
)
VALUES_ONLY = {"nelder-mead", "powell", "cobyla", "cobyqa"}
SLOPES = {"cg", "bfgs", "l-bfgs-b", "tnc", "slsqp"}
CURVED = set("newton-cg dogleg trust-ncg trust-krylov trust-exact trust-constr".split())


def _library() -> Any:
    # Importing it takes longer than everything else that tracejit needs.
    import scipy.optimize

    return scipy.optimize


def _by_scipy(what: str, fun: Callable, x0: Any, solve: Callable) -> tuple:
    """`solve(function, x0)` of SciPy, on ordinary arrays.

    `fun`, which may use traced values, becomes a tape, and the search a host call with
    these values as its operands.
    """

    def run(x0: Any, *given: Any) -> tuple:
        last: list[Any] = [None, ()]

        def values(x: Any) -> tuple:
            # Value and derivatives at one point are asked for one after the other.
            if last[0] is None or not np.array_equal(last[0], x):
                point = np.array(x, x0.dtype)
                if tape is None:
                    found = fun(point)
                else:
                    found = interpret(tape, [np.int64(0), *given, point])
                last[:] = point, tuple(found)
            return last[1]

        found = solve(values, x0)
        count = found.get("nit", found.get("nfev", 0))
        results = found.x, float(found.success), float(count)
        return tuple([np.asarray(r, x0.dtype) for r in results])

    tape: Tape | None = None
    rec = active_recorder()
    if rec is None:
        return run(x0)
    start = as_tracer(rec, x0)
    tape, given = record_function(rec, what, fun, start)
    run.__name__ = what
    return primitive(run)(start, *[stop_gradient(value) for value in given])


def root(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    method: str | None = None,
    jac: Any = None,
    tol: float | None = None,
    callback: Any = None,
    options: dict[str, Any] | None = None,
    *,
    maxiter: int | None = None,
) -> OptimizeResult:
    """Find x with fun(x, *args) = 0; differentiable by `args` and closures of `fun`.

    Args:
        fun: `(n,)` -> `(n,)`; or of a number.
        x0: `(n,)`, where the search begins; the root does not depend on it.
        args: further arguments.
        method: None or "newton": Newton's method with a damped step, compiled. Or one
            of SciPy's, which SciPy itself runs, outside of the kernel.
        jac: True if `fun` returns the pair of value and Jacobian; otherwise it has no
            meaning: the Jacobian comes from `fun`.
        tol: of the largest component of `fun` (1e-10), or SciPy's.
        options: of SciPy's method; "newton" has "maxiter" (100).

    Raises:
        UnsupportedError: another method or option, or a callback.
        numpy.linalg.LinAlgError: the Jacobian is singular.

    Example:
        >>> from tracejit import grad
        >>> def solution(a):
        ...     return root(lambda x: x**3 - a, np.ones(1)).x[0]
        >>> round(float(solution(8.0)), 6), round(float(grad(solution)(8.0)), 6)
        (2.0, 0.083333)
    """
    if callback is not None:
        _refuse("root: callback=", "Leave it out")
    args = args if isinstance(args, tuple) else (args,)
    only = (lambda x: fun(x, *args)[0]) if jac is True else (lambda x: fun(x, *args))

    def residual(x: Any) -> Any:
        return np.atleast_1d(only(x)) + 0.0 * x

    start = stop_gradient(_vector(x0))
    if method in (None, "newton"):
        _no_unknown("root", options, {"maxiter"})
        limit = _iterations(options, maxiter, 100)
        x, success, count = _newton(residual, start, tol or 1e-10, limit)
    elif method in ROOTS:
        slopes = method in ("hybr", "lm")
        matrix = jacobian(residual)

        def both(x: Any) -> Any:
            return stop_gradient((residual(x), matrix(x)) if slopes else (residual(x),))

        def solve(values: Callable, x0: Any) -> Any:
            found = values if slopes else (lambda x: values(x)[0])
            return _library().root(
                found, x0, method=method, jac=slopes or None, tol=tol, options=options
            )

        x, success, count = _by_scipy("root", both, start, solve)
        success = success > 0
    else:
        known = ", ".join(repr(name) for name in sorted(ROOTS))
        _refuse(f"root: method={method!r}", f"Leave it out, or use {known}")
    x = _implicit(residual, jacobian(residual), x)
    return OptimizeResult(x, success, residual(x), count)


def _newton(residual: Callable, start: Any, tol: float, maxiter: int) -> tuple:
    """The root, whether it is one, and the number of steps."""
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

    x, error, count = while_loop(going, step, (start, size(start), np.zeros(()) + 0.0))
    return x, error <= tol, count


def minimize(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Any = None,
    options: dict[str, Any] | None = None,
    *,
    maxiter: int | None = None,
) -> OptimizeResult:
    """Find a minimum of fun(x, *args); differentiable by `args` and closures.

    Args:
        fun: `(n,)` -> number, twice differentiable, with a regular Hessian there.
        x0: `(n,)`, where the search begins; the minimum does not depend on it.
        args: further arguments.
        method: None or "BFGS": compiled. Or another one of SciPy's, which SciPy itself
            runs, outside of the kernel; with bounds "L-BFGS-B" by default.
        jac: True if `fun` returns the pair of value and gradient; otherwise it has no
            meaning, like `hess` and `hessp`: derivatives come from `fun`.
        bounds: `scipy.optimize.Bounds` or pairs (low, high), ordinary numbers. What is
            on its bound does not change with anything.
        tol: of the largest component of the gradient, times `max(1, abs(fun))` (1e-8),
            or SciPy's.
        options: of SciPy's method; "BFGS" has "maxiter" (200) and "gtol".

    Raises:
        UnsupportedError: another method or option, constraints, or a callback.

    Example:
        >>> from tracejit import grad
        >>> def place(a):
        ...     return minimize(lambda x: np.sum((x - a) ** 4 + x**2), np.zeros(1)).x[0]
        >>> round(float(place(1.0)), 6), round(float(grad(place)(1.0)), 4)
        (0.410245, 0.676)
    """
    if callback is not None:
        _refuse("minimize: callback=", "Leave it out")
    if not (isinstance(constraints, (tuple, list)) and not constraints):
        _refuse(
            "minimize: constraints=",
            "Write the function of parameters that satisfy them, or add a penalty",
        )
    args = args if isinstance(args, tuple) else (args,)
    only = (lambda x: fun(x, *args)[0]) if jac is True else (lambda x: fun(x, *args))

    def value(x: Any) -> Any:
        return only(x) + 0.0 * np.sum(x)

    slope = grad(value)
    start = stop_gradient(_vector(x0))
    name = (method or ("BFGS" if bounds is None else "L-BFGS-B")).lower()
    free = None
    if name == "bfgs" and bounds is None:
        _no_unknown("minimize", options, {"gtol", "maxiter"})
        limit = _iterations(options, maxiter, 200)
        tol = (options or {}).get("gtol", tol) or 1e-8
        x, success, count = _bfgs(value, slope, start, tol, limit)
    elif name in VALUES_ONLY | SLOPES | CURVED:
        x, success, count = _searched(name, value, start, bounds, tol, options)
        if bounds is not None:
            low, high = _limits(bounds, start.shape)
            free = (x > low) & (x < high)
    else:
        known = ", ".join(repr(n) for n in sorted(VALUES_ONLY | SLOPES | CURVED))
        _refuse(f"minimize: method={method!r}", f"Leave it out, or use {known}")
    x = _implicit(slope, hessian(value), x, free)
    return OptimizeResult(x, success, value(x), count, slope(x))


def _limits(bounds: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    if hasattr(bounds, "lb"):
        pair = bounds.lb, bounds.ub
    else:
        ends = [
            (-np.inf if low is None else low, np.inf if high is None else high)
            for low, high in bounds
        ]
        pair = tuple(np.array(ends, np.float64).T)
    low, high = (np.broadcast_to(np.asarray(end, np.float64), shape) for end in pair)
    return low, high


def _searched(
    name: str, value: Callable, start: Any, bounds: Any, tol: Any, options: Any
) -> tuple:
    """The minimum that SciPy's method of this name finds."""
    slope, curvature = grad(value), hessian(value)

    def values(x: Any) -> Any:
        found = [value(x)]
        if name not in VALUES_ONLY:
            found.append(slope(x))
        if name in CURVED:
            found.append(curvature(x))
        return stop_gradient(tuple(found))

    def solve(found: Callable, x0: Any) -> Any:
        given: dict[str, Any] = {"bounds": bounds, "tol": tol, "options": options}
        if name not in VALUES_ONLY:
            given["jac"] = lambda x: found(x)[1]
        if name in CURVED:
            given["hess"] = lambda x: found(x)[2]
        return _library().minimize(
            lambda x: float(found(x)[0]), x0, method=name, **given
        )

    x, success, count = _by_scipy("minimize", values, start, solve)
    return x, success > 0, count


def _bfgs(
    value: Callable, slope: Callable, start: Any, tol: float, maxiter: int
) -> tuple:
    """The minimum, whether it is one, and the number of steps."""
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
    return x, reached, count
