"""Pseudo-inverses and least squares: LAPACK's, called in Python.

Stacks in front, as in `ops.linalg`.  Derivatives: G. Golub, V. Pereyra, "The
differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate" (1973), at fixed rank; with conjugate transposes of complex matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive
from .contraction import matmul
from .linalg import conjugated, herm
from .rows import REAL, same_dtype, sample
from .spectral import (
    add,
    columns,
    diagonal_of,
    host_row,
    matrices,
    matrix,
    mt,
    nt,
    of_kind,
    part,
    spread,
    svd,
)
from .structural import stacked

__all__ = ["lstsq", "pinv"]


def _pinv_aval(a: Aval, *, rcond: float) -> Aval:
    lead, m, n = matrix(a, "pinv")
    return Aval((*lead, n, m), a.dtype)


@conjugated
def _pinv_vjp(ct: Any, p: Any, a: Any, *, rcond: float) -> tuple:
    g = herm(ct)
    inside = -nt(mt(p, ct), p)
    beside = g - matmul(a, matmul(p, g))
    left = matmul(beside, nt(p, p))
    behind = matmul(mt(p, p), g)
    right = behind - matmul(matmul(behind, p), a)
    return (inside + left + right,)


def _pinv_jvp(tangents: Any, p: Any, a: Any, *, rcond: float) -> Any:
    (da,) = tangents
    dat = herm(da)
    inside = -matmul(matmul(p, da), p)
    ahead = matmul(nt(p, p), dat)
    left = ahead - matmul(matmul(ahead, a), p)
    behind = matmul(dat, mt(p, p))
    right = behind - matmul(p, matmul(a, behind))
    return inside + left + right


def _pinv_reference(a: Any, *, rcond: float) -> Any:
    # The operand's own precision: a float64 cutoff would make the result float64.
    return np.linalg.pinv(a, np.asarray(rcond, real_of(a.dtype)))


pinv = host_row(
    "pinv",
    _pinv_reference,
    _pinv_aval,
    matrices(spread, (3, 3), (4, 2), (2, 2, 3), rcond=1e-6),
    vjp=_pinv_vjp,
    jvp=_pinv_jvp,
)


def _lstsq_reference(a: Any, b: Any, *, rcond: float) -> Any:
    def one(x: Any, y: Any) -> Any:
        found, _, _, singular = np.linalg.lstsq(x, y, rcond)
        return found, singular

    if a.ndim == 2:
        return one(a, b)
    lead = a.shape[:-2]
    pairs = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    xs, ss = zip(*[one(x, y) for x, y in pairs], strict=True)
    return tuple(np.array(t).reshape(*lead, *t[0].shape) for t in (xs, ss))


def _lstsq_aval(a: Aval, b: Aval, *, rcond: float) -> tuple[Aval, Aval]:
    lead, m, n = matrix(a, "lstsq")
    same_dtype((a, b), "lstsq", "fc")
    if b.shape[:-1] != (*lead, m):
        raise InvalidTapeError(f"lstsq of {a!r} and {b!r}")
    x = Aval((*lead, n, b.shape[-1]), a.dtype)
    return x, Aval((*lead, min(m, n)), real_of(a.dtype))


@conjugated
def _lstsq_vjp(cts: Any, ys: Any, a: Any, b: Any, *, rcond: float) -> tuple:
    x, _ = ys
    gx, gs = cts
    ga = gb = None
    if gx is not None:
        p = pinv(a, rcond=rcond)
        gb = mt(p, gx)
        back = matmul(p, gb)
        rest = b - matmul(a, x)
        aside = gx - mt(a, gb)
        ga = nt(rest, back) - nt(gb, x)
        ga = ga + nt(mt(p, x), aside)
    if gs is not None:
        u, _, vh = svd(a, full=False)
        ga = add(ga, matmul(u * columns(of_kind(gs, a)), vh))
    return ga, gb


def _lstsq_jvp(tangents: Any, ys: Any, a: Any, b: Any, *, rcond: float) -> tuple:
    da, db = tangents
    x, _ = ys
    p = pinv(a, rcond=rcond)
    dx = None if db is None else matmul(p, db)
    if da is None:
        return dx, None
    dat = herm(da)
    rest = b - matmul(a, x)
    inside = matmul(p, mt(p, matmul(dat, rest)) - matmul(da, x))
    behind = matmul(dat, mt(p, x))
    right = behind - matmul(p, matmul(a, behind))
    u, _, vh = svd(a, full=False)
    ds = part(diagonal_of(mt(u, nt(da, vh))))
    return add(dx, inside + right), ds


def _systems(*shapes: Any) -> tuple[Callable, ...]:
    found = []
    for shape, kind in [(s, "f8") for s in shapes] + [(shapes[0], "f4")]:
        right = (*shape[:-1], 2)
        found.append(sample((shape, spread, kind), (right, REAL, kind), rcond=1e-6))
    return tuple(found)


lstsq: Primitive = host_row(
    "lstsq",
    _lstsq_reference,
    _lstsq_aval,
    _systems((3, 3), (4, 2), (2, 3), (2, 3, 2)),
    n_out=2,
    vjp=_lstsq_vjp,
    jvp=_lstsq_jvp,
    batch=lambda args, batched, **params: lstsq(*stacked(args, batched), **params),
)
