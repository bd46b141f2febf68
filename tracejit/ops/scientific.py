"""Rows of SciPy's own routines: matrix equations, matrix functions, filters.

Each is its reference, called from inside kernels; the derivatives are made of the same
rows.  Sylvester's equation a x + x b = q gives by differentiation
a dx + dx b = dq - da x - x db, and its transpose for the cotangent; the square root
x x = a is the case a = b = x of it (Higham, Functions of Matrices, 6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .contraction import dot, matmul
from .elementwise import neg
from .linalg import _regular, swap
from .rows import FIELD, REAL, same_dtype, sample
from .structural import concatenate, reshape, slice_, stacked

__all__ = ["all_pole", "sqrtm", "sylvester"]


def _each(function: Callable[..., Any], rank: int, *stacks: Any) -> Any:
    """The function for every entry of stacks; the result is like the last."""
    lead = stacks[0].shape[: stacks[0].ndim - rank]
    if not lead:
        return function(*stacks)
    out = np.empty_like(stacks[-1])
    for i in np.ndindex(*lead):
        out[i] = function(*[stack[i] for stack in stacks])
    return out


def _add(*terms: Any) -> Any:
    """The sum of those that are not None."""
    found = [term for term in terms if term is not None]
    total = found[0]
    for term in found[1:]:
        total = total + term
    return total


# --- a x + x b = q


def _sylvester(a: Any, b: Any, q: Any) -> Any:
    return _each(scipy.linalg.solve_sylvester, 2, a, b, q).astype(q.dtype)


def _sylvester_aval(a: Aval, b: Aval, q: Aval) -> Aval:
    same_dtype((a, b, q), "sylvester", FIELD)
    *lead, m, n = q.shape
    if a.shape != (*lead, m, m) or b.shape != (*lead, n, n):
        raise InvalidTapeError(f"sylvester of {a}, {b} and {q}")
    return q


def _sylvester_vjp(ct: Any, x: Any, a: Any, b: Any, q: Any) -> tuple:
    back = sylvester(swap(a), swap(b), ct)
    return (
        lambda: neg(matmul(back, swap(x))),
        lambda: neg(matmul(swap(x), back)),
        back,
    )


def _sylvester_jvp(tangents: Any, x: Any, a: Any, b: Any, q: Any) -> Any:
    by_a, by_b, by_q = tangents
    parts = [
        by_q,
        None if by_a is None else neg(matmul(by_a, x)),
        None if by_b is None else neg(matmul(x, by_b)),
    ]
    return sylvester(a, b, _add(*parts))


sylvester: Primitive = register(
    Primitive(
        "sylvester",
        "linalg",
        _sylvester,
        _sylvester_aval,
        jvp=_sylvester_jvp,
        vjp=_sylvester_vjp,
        batch=lambda args, batched: sylvester(*stacked(args, batched)),
        host=True,
        samples=(
            sample(((2, 2), _regular), ((3, 3), _regular), ((2, 3), REAL)),
            sample(
                ((2, 2), _regular, "f4"), ((2, 2), _regular, "f4"), ((2, 2), REAL, "f4")
            ),
        ),
    )
)


# --- the principal square root


def _sqrtm(a: Any) -> Any:
    if not a.size:
        return a.copy()
    return _each(_root, 2, a)


def _root(a: Any) -> Any:
    root = scipy.linalg.sqrtm(a)
    if np.iscomplexobj(root) and not np.iscomplexobj(a):
        raise np.linalg.LinAlgError("the matrix has no real square root")
    return np.asarray(root).astype(a.dtype)


def _square_aval(a: Aval) -> Aval:
    same_dtype((a,), "sqrtm", FIELD)
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise InvalidTapeError(f"sqrtm of {a}")
    return a


def SPD(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Symmetric and well away from singular, plus a small rest."""
    x = rng.normal(size=shape)
    return x @ x.T + 2 * np.eye(shape[0]) + 0.1 * rng.normal(size=shape)


sqrtm: Primitive = register(
    Primitive(
        "sqrtm",
        "linalg",
        _sqrtm,
        _square_aval,
        jvp=lambda tangents, x, a: sylvester(x, x, tangents[0]),
        batch=lambda args, batched: sqrtm(args[0]),
        vjp=lambda ct, x, a: (sylvester(swap(x), swap(x), ct),),
        host=True,
        samples=(sample(((3, 3), SPD)), sample(((2, 2), SPD, "f4"))),
    )
)


# --- y[n] = w[n] - a[0] y[n-1] - a[1] y[n-2] - ..., along the last axis of w;
# the axes of a in front of its last are the first of w


def _all_pole(a: Any, w: Any) -> Any:
    if not w.size:
        return np.zeros_like(w)
    return _each(_filter, 1, a, w) if a.ndim > 1 else _filter(a, w).astype(w.dtype)


def _filter(a: Any, w: Any) -> Any:
    # Importing it takes longer than everything else that tracejit needs.
    from scipy.signal import lfilter

    return lfilter([1.0], np.concatenate([[1.0], a]), w)


def _all_pole_aval(a: Aval, w: Aval) -> Aval:
    same_dtype((a, w), "all_pole", FIELD)
    lead = a.shape[:-1]
    if not a.shape or len(w.shape) <= len(lead) or w.shape[: len(lead)] != lead:
        raise InvalidTapeError(f"all_pole of {a} and {w}")
    return w


def _reversed(x: Any) -> Any:
    n, ones = x.shape, (1,) * x.ndim
    start = (*(0,) * (x.ndim - 1), n[-1] - 1)
    return slice_(x, start=start, size=n, step=(*ones[:-1], -1)) if n[-1] else x


def _later(x: Any, k: int) -> Any:
    """x[n - k], zero for n < k."""
    n = x.shape[-1]
    k = min(k, n)
    ones = (1,) * x.ndim
    head = slice_(x, start=(0,) * x.ndim, size=(*x.shape[:-1], n - k), step=ones)
    zero = 0 * slice_(x, start=(0,) * x.ndim, size=(*x.shape[:-1], k), step=ones)
    return concatenate(zero, head, axis=x.ndim - 1)


def _lags(x: Any, count: int, axis: int) -> Any:
    """x[n-1], x[n-2], ..., stacked along a new axis."""
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    rows = [reshape(_later(x, k + 1), shape=shape) for k in range(count)]
    return rows[0] if count == 1 else concatenate(*rows, axis=axis)


def _all_pole_vjp(ct: Any, y: Any, a: Any, w: Any) -> tuple:
    back = _reversed(all_pole(a, _reversed(ct)))
    lead = a.ndim - 1
    inner, stack = range(lead, y.ndim), tuple(range(lead))

    def by_a() -> Any:
        lags = _lags(y, a.shape[-1], lead)
        axes = tuple(i + 1 for i in inner), tuple(inner)
        return neg(dot(lags, back, contract=axes, batch=(stack, stack)))

    return (by_a if a.shape[-1] else None), back


def _all_pole_jvp(tangents: Any, y: Any, a: Any, w: Any) -> Any:
    by_a, by_w = tangents
    if by_a is None or not a.shape[-1]:
        return None if by_w is None else all_pole(a, by_w)
    lead = a.ndim - 1
    stack = tuple(range(lead))
    lags = _lags(y, a.shape[-1], lead)
    part = dot(by_a, lags, contract=((lead,), (lead,)), batch=(stack, stack))
    return all_pole(a, _add(by_w, neg(part)))


all_pole: Primitive = register(
    Primitive(
        "all_pole",
        "linalg",
        _all_pole,
        _all_pole_aval,
        jvp=_all_pole_jvp,
        vjp=_all_pole_vjp,
        batch=lambda args, batched: all_pole(*stacked(args, batched)),
        host=True,
        samples=(
            sample(((2,), REAL), ((5,), REAL)),
            sample(((1,), REAL), ((2, 4), REAL)),
            sample(((2,), REAL, "f4"), ((4,), REAL, "f4")),
        ),
    )
)
