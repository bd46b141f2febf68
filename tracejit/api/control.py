"""`scan`, `fori_loop`, `while_loop`, `cond`: loops and branches made explicit.

A plain Python loop is found again by `reroll`, so none of these is needed for speed.
They record the body once instead of once per iteration (`bodies`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..dispatch import session_function
from ..errors import ArgumentError, message
from ..numpy_api.table import as_tracer
from ..passes.loops import UNLIMITED
from ..signature import caller, flatten, unflatten
from ..tracer import Tracer, active_recorder
from .bodies import record_loop, require_structure
from .conditional import record_cond
from .leaves import function_name, shape_text

__all__ = ["cond", "fori_loop", "scan", "while_loop"]


def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Run `carry, y = f(carry, x)` over the rows of `xs`; stack the y.

    Args:
        f: takes the carry and a row of `xs` (of every leaf), returns a pair: the next
            carry, of the same structure, shapes and dtypes, and anything.
        init: the first carry, any pytree.
        xs: pytree of arrays with the same first axis; None to run `length` times.
        length: the number of iterations, where `xs` does not tell.
        reverse: from the last row to the first; the y stand where their row does.

    Returns:
        The last carry, and the y with a new first axis.  If `f` is a `checkpoint`ed
        function, the backward pass needs memory for the square root of the iterations
        only and computes the rest again.

    Raises:
        ArgumentError: lengths differ, or the carry changes its shape or dtype.
        UnsupportedError: Python code in `f` decides on a value of the iteration.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> def step(total, x):
        ...     total = total + x
        ...     return total, total * x
        >>> scan(step, 0.0, np.array([1.0, 2.0, 3.0]))
        (np.float64(6.0), array([ 1.,  6., 18.]))
        >>> grad(lambda x: scan(step, 0.0, x)[0] ** 2)(np.array([1.0, 2.0]))
        array([6., 6.])
    """
    rows, spec = flatten(xs)
    trip = _length(rows, length)
    rec = active_recorder()
    if rec is None:
        return _scan_now(f, init, rows, spec, trip, reverse)
    fun = session_function(rec, f)

    def step(counter: Any, carry: Any, x: list[Any]) -> tuple[Any, Any]:
        out = fun(carry, unflatten(spec, x))
        _require_pair(f, out)
        return out

    return record_loop(
        rec, f"scan of {function_name(f)}", step, init, rows, trip, reverse
    )


def fori_loop(lower: int, upper: int, body_fun: Callable, init_val: Any) -> Any:
    """Run `value = body_fun(i, value)` for i from `lower` up to `upper`.

    Args:
        lower, upper: the bounds, `upper` not included.
        body_fun: takes the counter and the value, returns the next value, of the same
            structure, shapes and dtypes.
        init_val: the first value, any pytree.

    Example:
        >>> from tracejit import grad
        >>> fori_loop(1, 5, lambda i, product: product * i, 1)
        24
        >>> grad(lambda x: fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
        np.float64(12.0)
    """
    lower, upper = operator.index(lower), operator.index(upper)
    rec = active_recorder()
    if rec is None or upper <= lower:
        value = _own(init_val)
        for i in range(lower, upper):
            value = body_fun(i, value)
        return value
    fun = session_function(rec, body_fun)

    def step(counter: Any, value: Any, x: list[Any]) -> tuple[Any, Any]:
        return fun(counter + lower if lower else counter, value), None

    name = f"fori_loop of {function_name(body_fun)}"
    return record_loop(rec, name, step, init_val, [], upper - lower, False)[0]


class _Rounds(NamedTuple):
    """What a `while_loop` carries: whether it goes on, its rounds so far, the value."""

    go: Any
    count: Any
    value: Any


def while_loop(cond_fun: Callable, body_fun: Callable, init_val: Any) -> Any:
    """Run `value = body_fun(value)` as long as `cond_fun(value)` is true.

    The test is inside the kernel: another number of rounds is the same path.  Reverse
    mode needs no bound, since the memory for what the derivatives need grows.

    Args:
        cond_fun: takes the value, returns a bool of shape ().
        body_fun: takes the value, returns the next one, of the same structure, shapes
            and dtypes.
        init_val: the first value, any pytree.

    Returns:
        The first value for which `cond_fun` is false.

    Raises:
        ArgumentError: the value changes its structure, shape or dtype, or `cond_fun`
            returns something else than a bool.
        UnsupportedError: Python code in one of the functions decides on the value.

    Example:
        >>> from tracejit import grad
        >>> def root(a):
        ...     def improved(x):
        ...         return 0.5 * (x + a / x)
        ...     return while_loop(lambda x: abs(x * x - a) > 1e-12, improved, a)
        >>> root(2.0)
        1.414213562373095
        >>> float(grad(root)(2.0))
        0.35355339059327...
    """
    rec = active_recorder()
    value = _own(init_val)
    if rec is None:
        while _decided(cond_fun, cond_fun(value)):
            value = body_fun(value)
        return value
    test, body = session_function(rec, cond_fun), session_function(rec, body_fun)
    go = as_tracer(rec, _decided(cond_fun, test(value)))
    if rec.python_rules and not rec.value(go.ref):
        # No round, so nothing is known of the body: a path of its own.
        rec.guard(go.ref, False)
        return value

    name = f"while_loop of {function_name(body_fun)}"

    def step(counter: Any, before: _Rounds, x: list[Any]) -> tuple[Any, Any]:
        after = body(before.value)
        require_structure(name, before.value, after)
        return _Rounds(_decided(cond_fun, test(after)), before.count + 1, after), None

    start = _Rounds(go, 0, value)
    return record_loop(rec, name, step, start, [], UNLIMITED, False, test=True)[0].value


def _decided(cond_fun: Callable, go: Any) -> Any:
    """What a test returned, if it is a bool."""
    traced = type(go) is Tracer
    found = go.ref.aval if traced else np.asarray(go)
    if found.dtype != np.bool_ or found.shape:
        raise ArgumentError(
            message(
                f"while_loop: {function_name(cond_fun)} returned {shape_text(go)}",
                where=caller(),
                way_out="Return a bool, like x < 3 or np.any(x < 3)",
            )
        )
    return go if traced else bool(go)


def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any) -> Any:
    """`true_fun(*operands)` if `pred` else `false_fun(*operands)`.

    If `pred` is traced, both functions are recorded, and the kernel runs one of them:
    another outcome is the same path.  The values that a function computes with while
    it is recorded may be such that it would not be called; if it cannot stand them
    (`np.linalg.cholesky` of a matrix that is not positive, say), the outcomes are two
    paths, as with a Python `if`.

    Args:
        pred: a number of shape (), true if it is not 0.
        true_fun, false_fun: take the operands; return the same structure, shapes and
            dtypes.
        operands: any pytrees.

    Raises:
        ArgumentError: the functions return different things, or `pred` is an array.
        UnsupportedError: one of them writes to an array from outside.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> cond(True, np.sin, np.cos, 0.0)
        np.float64(0.0)
        >>> slope = grad(lambda x: cond(x > 0, np.log, lambda x: 2 * x, x))
        >>> float(slope(4.0)), float(slope(-1.0)), slope.stats().traces
        (0.25, 2.0, 1)
    """
    rec = active_recorder()
    if rec is not None and type(pred) is Tracer:
        funs = session_function(rec, true_fun), session_function(rec, false_fun)
        return record_cond(rec, pred, funs, operands)
    return true_fun(*operands) if pred else false_fun(*operands)


# --- without a recording


def _length(rows: Sequence[Any], length: int | None) -> int:
    found = {np.shape(x)[0] if np.ndim(x) else None for x in rows}
    if length is not None:
        found.add(operator.index(length))
    known = [n for n in found if n is not None]
    if len(known) == len(found) == 1:
        return known[0]
    got = ", ".join(shape_text(x) for x in rows) or "no arrays"
    given = "" if length is None else f" and length={length}"
    raise ArgumentError(
        message(
            f"scan over {got}{given}",
            where=caller(),
            way_out="Give arrays of one length, or length=",
        )
    )


def _require_pair(f: Callable, out: Any) -> None:
    if not (isinstance(out, tuple) and len(out) == 2):
        raise ArgumentError(
            message(
                f"scan: {function_name(f)} returned {shape_text(out)}",
                where=caller(),
                way_out="Return a pair (carry, y); y may be None",
            )
        )


def _own(carry: Any) -> Any:
    """The carry in containers that the body may write to, as in a recording."""
    leaves, spec = flatten(carry)
    return unflatten(spec, leaves)


def _scan_now(
    f: Callable, carry: Any, rows: list[Any], spec: Any, trip: int, reverse: bool
) -> tuple[Any, Any]:
    carry = _own(carry)
    found: list[Any] = [None] * trip
    shape: Any = flatten(None)[1]
    for i in range(trip - 1, -1, -1) if reverse else range(trip):
        out = f(carry, unflatten(spec, [x[i] for x in rows]))
        _require_pair(f, out)
        carry = out[0]
        found[i], shape = flatten(out[1])
    if not trip:
        # What there would be in an iteration tells the shapes.
        with np.errstate(all="ignore"):
            zeros = [np.zeros(np.shape(x)[1:], np.asarray(x).dtype)[()] for x in rows]
            leaves, shape = flatten(f(carry, unflatten(spec, zeros))[1])
        return carry, unflatten(shape, [np.asarray(y)[None][:0] for y in leaves])
    return carry, unflatten(shape, map(np.stack, zip(*found, strict=True)))
