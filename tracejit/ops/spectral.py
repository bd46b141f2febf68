"""Singular values, eigenvalues and QR: LAPACK's, called in Python.

Stacks in front, as in `ops.linalg`.  Derivatives:

* svd: J. Townsend, "Differentiating the singular value decomposition" (2016); reduced
  factors.  `full` ones have more columns than the matrix determines; they are taken
  not to turn among themselves, and what does not depend on that has a derivative.
* eigh: M. Giles, "An extended collection of matrix derivative results" (2008), 3.1.
  Like NumPy's, the function reads one triangle of its operand, and exactly that one
  has a derivative.
* qr: M. Seeger et al., "Auto-differentiating linear algebra" (2017), for as many rows
  as columns or more.

Complex matrices have conjugate transposes in all of them, and the reverse rules are
those of conjugated cotangents (`ops.linalg.conjugated`).  Singular and eigenvectors
are determined up to a phase each; what depends on the phases has no derivative, and
gets that of the phases which the rules choose.

Where singular values or eigenvalues are equal, their vectors have no derivative, and
what depends on these is inf or NaN, as in JAX and PyTorch; that of the values is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .complex import complex_, conj, imag, real
from .contraction import matmul
from .linalg import conjugated, herm, swap, triangular_solve
from .logic import cast
from .rows import same_dtype, sample
from .structural import (
    broadcast_to,
    concatenate,
    diag_embed,
    diagonal,
    reshape,
    slice_,
    tril,
    triu,
)

__all__ = [
    "add",
    "columns",
    "complete",
    "completed",
    "diagonal_of",
    "eigh",
    "eigvalsh",
    "first_part",
    "host_row",
    "last_part",
    "matrices",
    "matrix",
    "mt",
    "nt",
    "of_kind",
    "part",
    "qr",
    "qr_jvp",
    "qr_vjp",
    "spread",
    "svd",
    "svdvals",
]


def host_row(
    name: str, reference: Any, aval: Any, samples: Any, **rules: Any
) -> Primitive:
    """A row of this family: LAPACK's, stacked in front."""
    rules.setdefault("batch", lambda args, batched, **p: row(*args, **p))
    row: Primitive = Primitive(
        name, "linalg", reference, aval, samples=samples, host=True, **rules
    )
    return register(row)


def matrix(a: Aval, name: str) -> tuple[tuple[int, ...], int, int]:
    """The stack's shape, rows and columns of a checked operand."""
    same_dtype((a,), name, "fc")
    if a.ndim < 2:
        raise InvalidTapeError(f"{name} of {a!r}, which is not a stack of matrices")
    return a.shape[:-2], a.shape[-2], a.shape[-1]


def _square(a: Aval, name: str) -> tuple[int, ...]:
    lead, m, n = matrix(a, name)
    if m != n:
        raise InvalidTapeError(f"{name} of {a!r}, which is not a stack of squares")
    return lead


def diagonal_of(x: Any) -> Any:
    """The diagonal of each matrix."""
    return diagonal(x, offset=0)


def _diagonal(x: Any) -> Any:
    n = x.shape[-1]
    return diag_embed(x, offset=0, n=n, m=n)


def _rows(x: Any) -> Any:
    """A vector of each stack entry along the rows of a matrix."""
    return reshape(x, shape=(*x.shape, 1))


def columns(x: Any) -> Any:
    """A vector of each stack entry along the columns of a matrix."""
    return reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def _identity(like: Any, n: int) -> Any:
    one = like.builder.const(1, like.dtype)
    return _diagonal(broadcast_to(one, shape=(n,)))


def _inverse_gaps(w: Any) -> Any:
    """F[i, j] = 1 / (w[j] - w[i]), and 0 on the diagonal."""
    eye = _identity(w, w.shape[-1])
    return 1.0 / (columns(w) - _rows(w) + eye) - eye


def add(*parts: Any) -> Any:
    """The sum of what is there; None of nothing."""
    present = [p for p in parts if p is not None]
    total = present[0] if present else None
    for part in present[1:]:
        total = total + part
    return total


def mt(a: Any, b: Any) -> Any:
    """a^T b, with the conjugate transpose of complex matrices."""
    return matmul(conj(a), b, ta=True) if a.dtype.kind == "c" else matmul(a, b, ta=True)


def nt(a: Any, b: Any) -> Any:
    """a b^T."""
    return matmul(a, conj(b), tb=True) if b.dtype.kind == "c" else matmul(a, b, tb=True)


def of_kind(x: Any, like: Any) -> Any:
    """Real numbers in the dtype of the matrices that they meet."""
    return x if x.dtype == like.dtype else cast(x, dtype=like.dtype)


def part(x: Any) -> Any:
    """The real part, where there is another."""
    return real(x) if x.dtype.kind == "c" else x


def _real_diagonal(x: Any) -> Any:
    """The diagonal as a matrix, imaginary parts dropped."""
    return _diagonal(of_kind(part(diagonal_of(x)), x))


def _phases(x: Any, s: Any) -> Any:
    """diag(i Im(x[i, i]) / s[i])."""
    turned = imag(diagonal_of(x))
    return _diagonal(complex_(0, turned if s is None else turned / s))


# --- svd: a = u diag(s) vh


def _svd_aval(a: Aval, *, full: bool) -> tuple[Aval, ...]:
    lead, m, n = matrix(a, "svd")
    k = min(m, n)
    p, q = (m, n) if full else (k, k)
    return (
        Aval((*lead, m, p), a.dtype),
        Aval((*lead, k), real_of(a.dtype)),
        Aval((*lead, q, n), a.dtype),
    )


def first_part(x: Any, rows: int, columns: int) -> Any:
    """The upper left part of each matrix."""
    size = (*x.shape[:-2], rows, columns)
    if size == x.shape:
        return x
    return slice_(x, start=(0,) * x.ndim, size=size, step=(1,) * x.ndim)


def last_part(x: Any, axis: int, count: int) -> Any:
    """What is behind the first `count` along an axis."""
    start = [0] * x.ndim
    start[axis] = count
    size = [n - i for n, i in zip(x.shape, start, strict=True)]
    return slice_(x, start=tuple(start), size=tuple(size), step=(1,) * x.ndim)


def complete(base: Any, rest: Any, ct: Any, count: int) -> Any:
    """The cotangent of the first columns u that a cotangent of all columns amounts to.

    The others, u', complete them: du' = -u du^H u', the choice that does not turn them.
    """
    first = first_part(ct, ct.shape[-2], count)
    return first - matmul(rest, mt(last_part(ct, ct.ndim - 1, count), base))


def _split(cts: Any, ys: Any, a: Any, full: bool) -> tuple[Any, Any, Any, Any, Any]:
    """Reduced factors, and the cotangents of these."""
    u, s, vh = ys
    gu, _, gvh = cts
    m, n = a.shape[-2:]
    k = min(m, n)
    if full and m != n:
        u1, v1 = first_part(u, m, k), herm(first_part(vh, k, n))
        if gu is not None and m > n:
            gu = complete(u1, last_part(u, u.ndim - 1, k), gu, k)
        if gvh is not None and n > m:
            v2 = herm(last_part(vh, vh.ndim - 2, k))
            gvh = herm(complete(v1, v2, herm(gvh), k))
        return u1, s, herm(v1), gu, gvh
    return u, s, vh, gu, gvh


@conjugated
def _svd_vjp(cts: Any, ys: Any, a: Any, *, full: bool) -> tuple:
    gs = cts[1]
    u, size, vh, gu, gvh = _split(cts, ys, a, full)
    m, n = a.shape[-2:]
    s = of_kind(size, a)
    gs = None if gs is None else of_kind(gs, a)
    if gu is None and gvh is None:
        return (matmul(u * columns(gs), vh),)
    core, outer = None if gs is None else _diagonal(gs), None
    gaps = of_kind(_inverse_gaps(size * size), a)
    if gu is not None:
        inside = mt(u, gu)
        j = gaps * inside
        core = add(core, (j + herm(j)) * columns(s))
        if a.dtype.kind == "c":
            core = core + _phases(inside, size)
        if m > n:
            outer = matmul((gu - matmul(u, inside)) / columns(s), vh)
    if gvh is not None:
        inside = nt(vh, gvh)
        k = gaps * inside
        core = add(core, _rows(s) * (k + herm(k)))
        if n > m:
            beside = (gvh - matmul(herm(inside), vh)) / _rows(s)
            outer = add(outer, matmul(u, beside))
    return (add(matmul(matmul(u, core), vh), outer),)


def _svd_jvp(tangents: Any, ys: Any, a: Any, *, full: bool) -> tuple:
    (da,) = tangents
    m, n = a.shape[-2:]
    k, s = min(m, n), of_kind(ys[1], a)
    u, vh = first_part(ys[0], m, k), first_part(ys[2], k, n)
    dav = nt(da, vh)
    dp = mt(u, dav)
    ds = part(diagonal_of(dp))
    gaps = of_kind(_inverse_gaps(ys[1] * ys[1]), a)
    right, left = dp * columns(s), _rows(s) * dp
    turn = gaps * (right + herm(right))
    if a.dtype.kind == "c":
        turn = turn + _phases(dp, ys[1])
    du = matmul(u, turn)
    # dv = v W with W antisymmetric, so that dvh = -W vh.
    dvh = -matmul(gaps * (left + herm(left)), vh)
    if m > n:
        du = du + (dav - matmul(u, dp)) / columns(s)
        if full:
            du = completed(u, last_part(ys[0], a.ndim - 1, k), du)
    if n > m:
        dvh = dvh + (mt(u, da) - matmul(dp, vh)) / _rows(s)
        if full:
            beside = herm(last_part(ys[2], a.ndim - 2, k))
            dvh = herm(completed(herm(vh), beside, herm(dvh)))
    return du, ds, dvh


def completed(base: Any, rest: Any, moved: Any) -> Any:
    """The tangent of all columns, of that of the first; see `complete`."""
    others = -matmul(base, mt(moved, rest))
    return concatenate(moved, others, axis=moved.ndim - 1)


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Singular values well apart."""
    u, _, vh = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    s = np.arange(min(shape[-2:]), 0, -1.0) + rng.uniform(0, 0.3)
    return (u * s) @ vh


def matrices(domain: Any, *shapes: Any, **params: Any) -> tuple[Callable, ...]:
    """Samples of these shapes in float64, of the first in float32."""
    return (
        *[sample((shape, domain), **params) for shape in shapes],
        sample((shapes[0], domain, "f4"), **params),
    )


svd = host_row(
    "svd",
    lambda a, *, full: tuple(np.linalg.svd(a, full_matrices=full)),
    _svd_aval,
    matrices(spread, (3, 3), (4, 2), (2, 2, 3), full=False)
    + matrices(spread, (3, 3), (3, 2), (2, 3), full=True),
    n_out=3,
    vjp=_svd_vjp,
    jvp=_svd_jvp,
)


def _svdvals_aval(a: Aval) -> Aval:
    return _svd_aval(a, full=False)[1]


svdvals = host_row(
    "svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    _svdvals_aval,
    matrices(spread, (3, 3), (4, 2), (2, 2, 3)),
    expand=lambda a: svd(a, full=False)[1],
)


# --- eigh: a = v diag(w) v^T


def _eigh_aval(a: Aval, *, lower: bool) -> tuple[Aval, Aval]:
    lead = _square(a, "eigh")
    return Aval((*lead, a.shape[-1]), real_of(a.dtype)), a


def _symmetric(x: Any, lower: bool) -> Any:
    """The symmetric or Hermitian matrices of which one triangle is read."""
    beside = tril(x, k=-1) if lower else triu(x, k=1)
    return beside + herm(beside) + _real_diagonal(x)


def _one_triangle(x: Any, lower: bool) -> Any:
    """The transpose of `_symmetric`."""
    both = x + herm(x)
    beside = tril(both, k=-1) if lower else triu(both, k=1)
    return beside + _real_diagonal(x)


@conjugated
def _eigh_vjp(cts: Any, ys: Any, a: Any, *, lower: bool) -> tuple:
    w, v = ys
    gw, gv = cts
    if gv is None:
        full = nt(v * columns(of_kind(gw, a)), v)
        return (_one_triangle(full, lower),)
    core = None if gw is None else _diagonal(of_kind(gw, a))
    core = add(core, of_kind(_inverse_gaps(w), a) * mt(v, gv))
    full = nt(matmul(v, core), v)
    return (_one_triangle(full, lower),)


def _eigh_jvp(tangents: Any, ys: Any, a: Any, *, lower: bool) -> tuple:
    w, v = ys
    moved = mt(v, matmul(_symmetric(tangents[0], lower), v))
    gaps = of_kind(_inverse_gaps(w), a)
    return part(diagonal_of(moved)), matmul(v, gaps * moved)


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Eigenvalues well apart; symmetric only as far as NumPy looks."""
    n = shape[-1]
    a = rng.normal(size=shape) * 0.3
    return a + np.swapaxes(a, -1, -2) + np.diag(np.arange(n) * 2.0)


def _triangle(lower: bool) -> Any:
    return "L" if lower else "U"


eigh = host_row(
    "eigh",
    lambda a, *, lower: tuple(np.linalg.eigh(a, _triangle(lower))),
    _eigh_aval,
    matrices(_apart, (3, 3), (2, 2, 2), lower=True)
    + matrices(_apart, (3, 3), lower=False),
    n_out=2,
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
)
eigvalsh = host_row(
    "eigvalsh",
    lambda a, *, lower: np.linalg.eigvalsh(a, _triangle(lower)),
    lambda a, *, lower: _eigh_aval(a, lower=lower)[0],
    matrices(_apart, (3, 3), (2, 2, 2), lower=True),
    expand=lambda a, *, lower: eigh(a, lower=lower)[0],
)


# --- qr: a = q r, as many rows as columns or more


def _qr_aval(a: Aval) -> tuple[Aval, Aval]:
    lead, m, n = matrix(a, "qr")
    if m < n:
        raise InvalidTapeError(f"qr of {a!r}, which has more columns than rows")
    return a, Aval((*lead, n, n), a.dtype)


def _over_r(x: Any, r: Any) -> Any:
    """x r^-1."""
    return swap(triangular_solve(r, swap(x), lower=False, trans=True))


def qr_vjp(cts: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    gq, gr = cts
    m = None if gr is None else nt(r, triu(gr, k=0))
    if gq is not None:
        inside = mt(gq, q)
        m = -inside if m is None else m - inside
    below = tril(m, k=-1)
    even = below + herm(below) + _real_diagonal(m)
    # x r^-T
    right = add(gq, matmul(q, even))
    return (herm(triangular_solve(r, herm(right), lower=False, trans=False)),)


def qr_jvp(tangents: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    moved = _over_r(tangents[0], r)
    inside = mt(q, moved)
    below = tril(inside, k=-1)
    turn = below - herm(below)
    if a.dtype.kind == "c":
        turn = turn + _phases(inside, None)
    return matmul(q, turn - inside) + moved, matmul(inside - turn, r)


qr = host_row(
    "qr",
    lambda a: tuple(np.linalg.qr(a)),
    _qr_aval,
    matrices(spread, (3, 3), (4, 2), (2, 3, 2)),
    n_out=2,
    vjp=conjugated(qr_vjp),
    jvp=qr_jvp,
)
