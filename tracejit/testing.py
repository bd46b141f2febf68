"""Checks that users run on their own functions.

`check_grads` compares derivatives with numerical ones along random directions: one
number per mode and order, whatever the sizes, and a wrong entry anywhere shows with
probability one.

    forward    J v             against  (f(x + h v) - f(x - h v) ...) / h
    reverse    <u, J v>        against  <J^T u, v>
    order 2    the same, of the first derivatives
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .api import jvp, vjp
from .errors import ArgumentError, CheckError, message
from .signature import caller, flatten, unflatten

__all__ = ["check_grads", "numerical_jvp"]

#: Central differences of fourth order: f(x + k h v), and the weights.
_STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
_STEP = 1e-3
_COMPLEX_STEP = 1e-30
#: The complex step is trusted where differences agree to so much.
_AGREEMENT = 1e-5
_MODES = ("fwd", "rev")


def check_grads(
    f: Callable,
    args: tuple | list,
    order: int = 2,
    modes: Sequence[str] = _MODES,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Compare the derivatives of `f` at `args` with numerical ones.

    Args:
        f: plain NumPy, of arrays, numbers and containers of them.
        args: where; its floats are differentiated, the rest is passed on.
        order: up to which derivative.
        modes: "fwd", "rev" or both.
        rtol, atol: allowed difference; by default 1e-6 and 1e-8 in float64, 5e-3 and
            1e-4 if a float32 is among the arguments.  `atol` counts in units of the
            function's size.
        seed: of the random directions.

    Raises:
        CheckError: a derivative is wrong.  It is an AssertionError.

    Example:
        >>> import numpy as np
        >>> check_grads(lambda x: np.sum(np.sin(x) * x), (np.array([0.3, 2.0]),))
    """
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown:
        raise ArgumentError(
            message(
                f"unknown mode {unknown[0]!r}",
                where=caller(),
                way_out="Modes are 'fwd' and 'rev'",
            )
        )
    moving, rest = _split(tuple(args))
    if not moving:
        raise ArgumentError(
            message(
                "check_grads got no float argument",
                where=caller(),
                way_out="Pass floats or float arrays",
            )
        )
    single = any(np.asarray(x).dtype in (np.float32, np.complex64) for x in moving)
    tolerances = (
        (5e-3 if single else 1e-6) if rtol is None else rtol,
        (1e-4 if single else 1e-8) if atol is None else atol,
    )
    name = getattr(f, "__name__", type(f).__name__)

    def floats_only(*leaves: Any) -> tuple:
        """`f` as a function of its float leaves, to the float leaves of its result."""
        out, _ = flatten(f(*rest(leaves)))
        return tuple(leaf for leaf in out if _is_float(leaf))

    _check(
        floats_only, moving, order, modes, tolerances, np.random.default_rng(seed), name
    )


def _is_float(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, (float, complex)) or (
        dtype is not None and dtype.kind in "fc"
    )


def _split(args: tuple) -> tuple[tuple, Callable[[Sequence[Any]], Any]]:
    """The float leaves of args, and the function that puts others in their place."""
    leaves, spec = flatten(args)
    places = [i for i, leaf in enumerate(leaves) if _is_float(leaf)]

    def rest(replaced: Sequence[Any]) -> Any:
        full = list(leaves)
        for i, leaf in zip(places, replaced, strict=True):
            full[i] = leaf
        return unflatten(spec, full)

    return tuple(leaves[i] for i in places), rest


def _check(
    f: Callable,
    x: tuple,
    order: int,
    modes: Sequence[str],
    tolerances: tuple[float, float],
    rng: np.random.Generator,
    name: str,
) -> None:
    """Check the first derivative of `f`, then, by recursion, those of what it gives."""
    v = _direction(rng, x)
    y = f(*x)
    u = _direction(rng, y)
    numeric = numerical_jvp(f, x, v)
    expected = _inner(u, numeric)
    scale = _norm(u) * max(_norm(y), _norm(numeric))
    if "fwd" in modes:
        _, moved = jvp(f, x, v)
        _compare(_inner(u, moved), expected, scale, tolerances, f"jvp of {name}")
    if "rev" in modes:
        _, back = vjp(f, *x)
        _compare(_inner(back(u), v), expected, scale, tolerances, f"vjp of {name}")
    if order <= 1:
        return
    if "fwd" in modes:

        def forward(*x: Any) -> tuple:
            return jvp(f, x, v)[1]

        _check(forward, x, order - 1, modes, tolerances, rng, f"jvp of {name}")
    if "rev" in modes:

        def reverse(*x: Any) -> tuple:
            return vjp(f, *x)[1](u)

        _check(reverse, x, order - 1, modes, tolerances, rng, f"vjp of {name}")


def _direction(rng: np.random.Generator, like: tuple) -> tuple:
    return tuple(_random(rng, np.asarray(leaf)) for leaf in like)


def _random(rng: np.random.Generator, like: np.ndarray) -> Any:
    """Random numbers; of complex ones both parts."""
    found: Any = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        found = found + 1j * rng.normal(size=like.shape)
    return np.asarray(found).astype(like.dtype)[()]


def _wide(leaf: Any) -> np.ndarray:
    """In double precision."""
    array = np.asarray(leaf)
    return array.astype("c16" if array.dtype.kind == "c" else "f8")


def _inner(a: tuple, b: tuple) -> float:
    """What cotangents make of tangents: Re(ct * t), summed, nothing conjugated."""
    return float(
        sum(np.sum(_wide(p) * _wide(q)).real for p, q in zip(a, b, strict=True))
    )


def _norm(a: tuple) -> float:
    return float(np.sqrt(sum(np.sum(np.abs(_wide(p)) ** 2) for p in a)))


def numerical_jvp(f: Callable, x: tuple, v: tuple) -> tuple:
    """The derivative of `f` at `x` along `v`, without tracejit.

    Five-point differences in float64; the complex step, which is exact to rounding,
    where `f` takes complex numbers and the two agree (`np.abs` is not analytic).

    Example:
        >>> numerical_jvp(lambda x: (x**3,), (2.0,), (1.0,))
        (np.float64(12.0),)
    """
    wide, along = [_wide(leaf) for leaf in x], [_wide(leaf) for leaf in v]
    total: list[Any] = []
    for k, weight in _STENCIL:
        moved = f(*[(a + k * _STEP * b)[()] for a, b in zip(wide, along, strict=True)])
        terms = [weight / _STEP * _wide(leaf) for leaf in moved]
        total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
    complex_there = any(a.dtype.kind == "c" for a in (*wide, *total))
    exact = None if complex_there else _complex_step(f, wide, along)
    if exact is not None and _norm(
        tuple(a - b for a, b in zip(total, exact, strict=True))
    ) <= _AGREEMENT * _norm(tuple(total)):
        return exact
    return tuple(np.asarray(leaf)[()] for leaf in total)


def _complex_step(
    f: Callable, x: Sequence[np.ndarray], v: Sequence[np.ndarray]
) -> tuple | None:
    try:
        with np.errstate(all="ignore"):
            moved = f(
                *[(a + 1j * _COMPLEX_STEP * b)[()] for a, b in zip(x, v, strict=True)]
            )
    except (TypeError, ValueError, ArithmeticError):
        return None
    found = tuple(np.asarray(np.imag(leaf) / _COMPLEX_STEP)[()] for leaf in moved)
    return found if all(np.all(np.isfinite(leaf)) for leaf in found) else None


def _compare(
    got: float,
    expected: float,
    scale: float,
    tolerances: tuple[float, float],
    what: str,
) -> None:
    rtol, atol = tolerances
    if abs(got - expected) <= rtol * abs(expected) + atol * max(scale, 1e-300):
        return
    raise CheckError(
        message(
            f"the {what} is {got:.10g} along a random direction, numerically "
            f"{expected:.10g}",
            where=caller(),
            way_out="Check the rules of the functions in it one by one",
        )
    )
