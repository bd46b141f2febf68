"""Singular values, eigenvalues, QR and least squares: LAPACK's, called in Python.

Stacks in front, as in `ops.linalg`.  Derivatives:

* svd: J. Townsend, "Differentiating the singular value decomposition" (2016); reduced
  factors.  `full` ones have more columns than the matrix determines, so only what
  depends on the first of them has a derivative.
* eigh: M. Giles, "An extended collection of matrix derivative results" (2008), 3.1.
  Like NumPy's, the function reads one triangle of its operand, and exactly that one
  has a derivative.
* qr: M. Seeger et al., "Auto-differentiating linear algebra" (2017), for as many rows
  as columns or more.
* pinv, lstsq: G. Golub, V. Pereyra, "The differentiation of pseudo-inverses and
  nonlinear least squares problems whose variables separate" (1973), at fixed rank.

Where singular values or eigenvalues are equal, their vectors have no derivative, and
what depends on these is inf or NaN, as JAX and PyTorch have it; derivatives of the
values alone divide by no differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import DifferentiationError, InvalidTapeError, message
from ..primitive import Primitive, register
from .contraction import matmul
from .linalg import swap, triangular_solve
from .rows import REAL, same_dtype, sample
from .structural import (
    broadcast_to,
    diag_embed,
    diagonal,
    reshape,
    slice_,
    stacked,
    tril,
    triu,
)

__all__ = ["eigh", "eigvalsh", "lstsq", "pinv", "qr", "svd", "svdvals"]


def _row(name: str, reference: Any, aval: Any, samples: Any, **rules: Any) -> Primitive:
    rules.setdefault("batch", lambda args, batched, **p: row(*args, **p))
    row: Primitive = Primitive(
        name, "linalg", reference, aval, samples=samples, host=True, **rules
    )
    return register(row)


def _matrix(a: Aval, name: str) -> tuple[tuple[int, ...], int, int]:
    same_dtype((a,), name, "f")
    if a.ndim < 2:
        raise InvalidTapeError(f"{name} of {a!r}, which is not a stack of matrices")
    return a.shape[:-2], a.shape[-2], a.shape[-1]


def _square(a: Aval, name: str) -> tuple[int, ...]:
    lead, m, n = _matrix(a, name)
    if m != n:
        raise InvalidTapeError(f"{name} of {a!r}, which is not a stack of squares")
    return lead


def _diagonal_of(x: Any) -> Any:
    return diagonal(x, offset=0)


def _diagonal(x: Any) -> Any:
    n = x.shape[-1]
    return diag_embed(x, offset=0, n=n, m=n)


def _rows(x: Any) -> Any:
    """A vector of each stack entry along the rows of a matrix."""
    return reshape(x, shape=(*x.shape, 1))


def _columns(x: Any) -> Any:
    return reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def _identity(like: Any, n: int) -> Any:
    one = like.builder.const(1, like.dtype)
    return _diagonal(broadcast_to(one, shape=(n,)))


def _inverse_gaps(w: Any) -> Any:
    """F[i, j] = 1 / (w[j] - w[i]), and 0 on the diagonal."""
    eye = _identity(w, w.shape[-1])
    return 1.0 / (_columns(w) - _rows(w) + eye) - eye


def _add(*parts: Any) -> Any:
    present = [p for p in parts if p is not None]
    total = present[0] if present else None
    for part in present[1:]:
        total = total + part
    return total


def _mt(a: Any, b: Any) -> Any:
    """a^T b."""
    return matmul(a, b, ta=True)


# --- svd: a = u diag(s) vh


def _svd_aval(a: Aval, *, full: bool) -> tuple[Aval, ...]:
    lead, m, n = _matrix(a, "svd")
    k = min(m, n)
    p, q = (m, n) if full else (k, k)
    return (
        Aval((*lead, m, p), a.dtype),
        Aval((*lead, k), a.dtype),
        Aval((*lead, q, n), a.dtype),
    )


def _first(x: Any, rows: int, columns: int) -> Any:
    """The upper left part of each matrix."""
    size = (*x.shape[:-2], rows, columns)
    if size == x.shape:
        return x
    return slice_(x, start=(0,) * x.ndim, size=size, step=(1,) * x.ndim)


def _reduced(moved: Any, ys: Any, a: Any, full: bool) -> tuple[Any, Any, Any]:
    u, s, vh = ys
    m, n = a.shape[-2:]
    k = min(m, n)
    if full and m != n and (moved[0] is not None or moved[2] is not None):
        raise DifferentiationError(
            message(
                "the singular vectors of np.linalg.svd with full_matrices=True are "
                f"not determined by a matrix of {m} x {n}",
                way_out="Use full_matrices=False",
            )
        )
    return _first(u, m, k), s, _first(vh, k, n)


def _svd_vjp(cts: Any, ys: Any, a: Any, *, full: bool) -> tuple:
    u, s, vh = _reduced(cts, ys, a, full)
    gu, gs, gvh = cts
    m, n = a.shape[-2:]
    core, outer = None if gs is None else _diagonal(gs), None
    gaps = None if gu is None and gvh is None else _inverse_gaps(s * s)
    if gu is not None:
        j = gaps * _mt(u, gu)
        core = _add(core, (j + swap(j)) * _columns(s))
        if m > n:
            beside = (gu - matmul(u, _mt(u, gu))) / _columns(s)
            outer = matmul(beside, vh)
    if gvh is not None:
        inside = matmul(vh, gvh, tb=True)
        k = gaps * inside
        core = _add(core, _rows(s) * (k + swap(k)))
        if n > m:
            beside = (gvh - matmul(swap(inside), vh)) / _rows(s)
            outer = _add(outer, matmul(u, beside))
    return (_add(matmul(matmul(u, core), vh), outer),)


def _svd_jvp(tangents: Any, ys: Any, a: Any, *, full: bool) -> tuple:
    (da,) = tangents
    m, n = a.shape[-2:]
    u, s, vh = ys
    if full and m != n:
        k = min(m, n)
        u, vh = _first(u, m, k), _first(vh, k, n)
    dav = matmul(da, vh, tb=True)
    dp = _mt(u, dav)
    ds = _diagonal_of(dp)
    if full and m != n:
        return None, ds, None
    gaps = _inverse_gaps(s * s)
    right, left = dp * _columns(s), _rows(s) * dp
    du = matmul(u, gaps * (right + swap(right)))
    # dv = v W with W antisymmetric, so that dvh = -W vh.
    dvh = -matmul(gaps * (left + swap(left)), vh)
    if m > n:
        du = du + (dav - matmul(u, dp)) / _columns(s)
    if n > m:
        uda = _mt(u, da)
        dvh = dvh + (uda - matmul(dp, vh)) / _rows(s)
    return du, ds, dvh


def _spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Singular values well apart."""
    u, _, vh = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    s = np.arange(min(shape[-2:]), 0, -1.0) + rng.uniform(0, 0.3)
    return (u * s) @ vh


def _matrices(domain: Any, *shapes: Any, **params: Any) -> tuple[Callable, ...]:
    return (
        *[sample((shape, domain), **params) for shape in shapes],
        sample((shapes[0], domain, "f4"), **params),
    )


svd = _row(
    "svd",
    lambda a, *, full: tuple(np.linalg.svd(a, full_matrices=full)),
    _svd_aval,
    _matrices(_spread, (3, 3), (4, 2), (2, 2, 3), full=False)
    + _matrices(_spread, (3, 3), full=True),
    n_out=3,
    vjp=_svd_vjp,
    jvp=_svd_jvp,
)


def _svdvals_aval(a: Aval) -> Aval:
    return _svd_aval(a, full=False)[1]


svdvals = _row(
    "svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    _svdvals_aval,
    _matrices(_spread, (3, 3), (4, 2), (2, 2, 3)),
    expand=lambda a: svd(a, full=False)[1],
)


# --- eigh: a = v diag(w) v^T


def _eigh_aval(a: Aval, *, lower: bool) -> tuple[Aval, Aval]:
    lead = _square(a, "eigh")
    return Aval((*lead, a.shape[-1]), a.dtype), a


def _symmetric(x: Any, lower: bool) -> Any:
    """The symmetric matrices of which one triangle is read."""
    if lower:
        return tril(x, k=0) + swap(tril(x, k=-1))
    return triu(x, k=0) + swap(triu(x, k=1))


def _one_triangle(x: Any, lower: bool) -> Any:
    """The transpose of `_symmetric`."""
    if lower:
        return tril(x, k=0) + tril(swap(x), k=-1)
    return triu(x, k=0) + triu(swap(x), k=1)


def _eigh_vjp(cts: Any, ys: Any, a: Any, *, lower: bool) -> tuple:
    w, v = ys
    gw, gv = cts
    core = None if gw is None else _diagonal(gw)
    if gv is not None:
        core = _add(core, _inverse_gaps(w) * _mt(v, gv))
    full = matmul(matmul(v, core), v, tb=True)
    return (_one_triangle(full, lower),)


def _eigh_jvp(tangents: Any, ys: Any, a: Any, *, lower: bool) -> tuple:
    w, v = ys
    moved = _mt(v, matmul(_symmetric(tangents[0], lower), v))
    return _diagonal_of(moved), matmul(v, _inverse_gaps(w) * moved)


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Eigenvalues well apart; symmetric only as far as NumPy looks."""
    n = shape[-1]
    a = rng.normal(size=shape) * 0.3
    return a + np.swapaxes(a, -1, -2) + np.diag(np.arange(n) * 2.0)


def _triangle(lower: bool) -> Any:
    return "L" if lower else "U"


eigh = _row(
    "eigh",
    lambda a, *, lower: tuple(np.linalg.eigh(a, _triangle(lower))),
    _eigh_aval,
    _matrices(_apart, (3, 3), (2, 2, 2), lower=True)
    + _matrices(_apart, (3, 3), lower=False),
    n_out=2,
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
)
eigvalsh = _row(
    "eigvalsh",
    lambda a, *, lower: np.linalg.eigvalsh(a, _triangle(lower)),
    lambda a, *, lower: _eigh_aval(a, lower=lower)[0],
    _matrices(_apart, (3, 3), (2, 2, 2), lower=True),
    expand=lambda a, *, lower: eigh(a, lower=lower)[0],
)


# --- qr: a = q r, as many rows as columns or more


def _qr_aval(a: Aval) -> tuple[Aval, Aval]:
    lead, m, n = _matrix(a, "qr")
    if m < n:
        raise InvalidTapeError(f"qr of {a!r}, which has more columns than rows")
    return a, Aval((*lead, n, n), a.dtype)


def _over_r(x: Any, r: Any) -> Any:
    """x r^-1."""
    return swap(triangular_solve(r, swap(x), lower=False, trans=True))


def _qr_vjp(cts: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    gq, gr = cts
    m = None if gr is None else matmul(r, triu(gr, k=0), tb=True)
    if gq is not None:
        inside = _mt(gq, q)
        m = -inside if m is None else m - inside
    below = tril(m, k=-1)
    even = below + swap(below) + _diagonal(_diagonal_of(m))
    # x r^-T
    right = _add(gq, matmul(q, even))
    return (swap(triangular_solve(r, swap(right), lower=False, trans=False)),)


def _qr_jvp(tangents: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    moved = _over_r(tangents[0], r)
    inside = _mt(q, moved)
    below = tril(inside, k=-1)
    turn = below - swap(below)
    return matmul(q, turn - inside) + moved, matmul(inside - turn, r)


qr = _row(
    "qr",
    lambda a: tuple(np.linalg.qr(a)),
    _qr_aval,
    _matrices(_spread, (3, 3), (4, 2), (2, 3, 2)),
    n_out=2,
    vjp=_qr_vjp,
    jvp=_qr_jvp,
)


# --- pinv, lstsq


def _pinv_aval(a: Aval, *, rcond: float) -> Aval:
    lead, m, n = _matrix(a, "pinv")
    return Aval((*lead, n, m), a.dtype)


def _pinv_vjp(ct: Any, p: Any, a: Any, *, rcond: float) -> tuple:
    g = swap(ct)
    inside = -matmul(_mt(p, ct), p, tb=True)
    beside = g - matmul(a, matmul(p, g))
    left = matmul(beside, matmul(p, p, tb=True))
    behind = matmul(_mt(p, p), g)
    right = behind - matmul(matmul(behind, p), a)
    return (inside + left + right,)


def _pinv_jvp(tangents: Any, p: Any, a: Any, *, rcond: float) -> Any:
    (da,) = tangents
    dat = swap(da)
    inside = -matmul(matmul(p, da), p)
    ahead = matmul(matmul(p, p, tb=True), dat)
    left = ahead - matmul(matmul(ahead, a), p)
    behind = matmul(dat, _mt(p, p))
    right = behind - matmul(p, matmul(a, behind))
    return inside + left + right


def _pinv_reference(a: Any, *, rcond: float) -> Any:
    # The operand's own precision: a float64 cutoff would make the result float64.
    return np.linalg.pinv(a, np.asarray(rcond, a.dtype))


pinv = _row(
    "pinv",
    _pinv_reference,
    _pinv_aval,
    _matrices(_spread, (3, 3), (4, 2), (2, 2, 3), rcond=1e-6),
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
    lead, m, n = _matrix(a, "lstsq")
    same_dtype((a, b), "lstsq", "f")
    if b.shape[:-1] != (*lead, m):
        raise InvalidTapeError(f"lstsq of {a!r} and {b!r}")
    x = Aval((*lead, n, b.shape[-1]), a.dtype)
    return x, Aval((*lead, min(m, n)), a.dtype)


def _lstsq_vjp(cts: Any, ys: Any, a: Any, b: Any, *, rcond: float) -> tuple:
    x, _ = ys
    gx, gs = cts
    ga = gb = None
    if gx is not None:
        p = pinv(a, rcond=rcond)
        gb = _mt(p, gx)
        back = matmul(p, gb)
        rest = b - matmul(a, x)
        aside = gx - _mt(a, gb)
        ga = matmul(rest, back, tb=True) - matmul(gb, x, tb=True)
        ga = ga + matmul(_mt(p, x), aside, tb=True)
    if gs is not None:
        u, _, vh = svd(a, full=False)
        ga = _add(ga, matmul(u * _columns(gs), vh))
    return ga, gb


def _lstsq_jvp(tangents: Any, ys: Any, a: Any, b: Any, *, rcond: float) -> tuple:
    da, db = tangents
    x, _ = ys
    p = pinv(a, rcond=rcond)
    dx = None if db is None else matmul(p, db)
    if da is None:
        return dx, None
    dat = swap(da)
    rest = b - matmul(a, x)
    inside = matmul(p, _mt(p, matmul(dat, rest)) - matmul(da, x))
    behind = matmul(dat, _mt(p, x))
    right = behind - matmul(p, matmul(a, behind))
    u, _, vh = svd(a, full=False)
    ds = _diagonal_of(_mt(u, matmul(da, vh, tb=True)))
    return _add(dx, inside + right), ds


def _systems(*shapes: Any) -> tuple[Callable, ...]:
    found = []
    for shape, kind in [(s, "f8") for s in shapes] + [(shapes[0], "f4")]:
        right = (*shape[:-1], 2)
        found.append(sample((shape, _spread, kind), (right, REAL, kind), rcond=1e-6))
    return tuple(found)


lstsq: Primitive = _row(
    "lstsq",
    _lstsq_reference,
    _lstsq_aval,
    _systems((3, 3), (4, 2), (2, 3), (2, 3, 2)),
    n_out=2,
    vjp=_lstsq_vjp,
    jvp=_lstsq_jvp,
    batch=lambda args, batched, **params: lstsq(*stacked(args, batched), **params),
)
