"""Linear algebra on the last two axes, stacks in front; `b` is always a matrix.

Derivatives: M. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008); Cholesky: I. Murray, "Differentiation of the
Cholesky decomposition" (2016), section 3.

Cotangents of complex matrices are not conjugated (see `ops.complex`), so the rules of
what is holomorphic (solve, inv, det) are the real ones.  The Cholesky factor is not:
its rules are written for conjugated cotangents, with conjugate transposes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from ..avals import Aval, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .complex import complex_, conj, imag, real
from .contraction import matmul
from .reduction import sum_
from .rows import REAL, same_dtype, sample, zeros
from .structural import (
    broadcast_to,
    diag_embed,
    diagonal,
    reshape,
    stacked,
    transpose,
    tril,
    triu,
)


def _square(a: Aval, name: str) -> None:
    same_dtype((a,), name, "fc")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise InvalidTapeError(f"{name} of {a!r}, which is not a stack of squares")


def _matrix_aval(name: str) -> Callable[..., Aval]:
    def aval(a: Aval) -> Aval:
        _square(a, name)
        return a

    return aval


def _solve_aval(name: str) -> Callable[..., Aval]:
    def aval(a: Aval, b: Aval, **_: Any) -> Aval:
        _square(a, name)
        same_dtype((a, b), name, "fc")
        if b.shape[:-1] != a.shape[:-1]:
            raise InvalidTapeError(f"{name} of {a!r} and {b!r}")
        return b

    return aval


def swap(x: Any) -> Any:
    """The transposed matrices of a stack."""
    n = x.ndim
    return transpose(x, perm=(*range(n - 2), n - 1, n - 2))


def herm(x: Any) -> Any:
    """The conjugate transposes of a stack."""
    return swap(conj(x)) if x.dtype.kind == "c" else swap(x)


def conjugated(rule: Callable[..., tuple]) -> Callable[..., tuple]:
    """A reverse rule written for conjugated cotangents, as the literature has them."""

    def both(ct: Any) -> Any:
        return conj(ct) if ct is not None and ct.dtype.kind == "c" else ct

    def vjp(cts: Any, ys: Any, *args: Any, **params: Any) -> tuple:
        given = tuple(map(both, cts)) if isinstance(cts, tuple) else both(cts)
        return tuple(map(both, rule(given, ys, *args, **params)))

    return vjp


def scale(x: Any, factor: Any) -> Any:
    """Every matrix of a stack times its own number."""
    return x * reshape(factor, shape=(*factor.shape, 1, 1))


def inner(a: Any, b: Any) -> Any:
    """sum(a * b) of each matrix of a stack: the trace of a^T b."""
    return sum_(a * b, axes=(a.ndim - 2, a.ndim - 1))


# --- samples


def _spd(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Positive definite, well conditioned; symmetric only as far as NumPy looks."""
    a = rng.normal(size=shape) * 0.4
    return a @ np.swapaxes(a, -1, -2) + 1.5 * np.eye(shape[-1])


def _factor(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.tril(_regular(rng, shape))


def _regular(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.normal(size=shape) * 0.4 + 2.0 * np.eye(shape[-1])


def _squares(domain: Any) -> tuple[Callable, ...]:
    return (
        sample(((3, 3), domain)),
        sample(((2, 2, 2), domain)),
        sample(((1, 1), domain)),
        sample(((3, 3), domain, "f4")),
        sample(((2, 0, 0), domain)),
    )


def _systems(**params: Any) -> tuple[Callable, ...]:
    return (
        sample(((3, 3), _regular), ((3, 2), REAL), **params),
        sample(((2, 2, 2), _regular), ((2, 2, 1), REAL), **params),
        sample(((3, 3), _regular, "f4"), ((3, 1), REAL, "f4"), **params),
        sample(((3, 3), _regular), ((3, 0), REAL), **params),
        sample(((0, 0), _regular), ((0, 2), REAL), **params),
    )


def _row(name: str, reference: Any, aval: Any, samples: Any, **rules: Any) -> Primitive:
    rules.setdefault("batch", lambda args, batched: row(*args))
    row: Primitive = Primitive(
        name, "linalg", reference, aval, samples=samples, **rules
    )
    return register(row)


# --- cholesky
#
# Like NumPy's, the function reads the lower triangle of its operand only, so exactly
# the lower triangle of the operand has a derivative: S = a_L + a_L^T - diag.


def phi(x: Any) -> Any:
    """The lower triangle with the diagonal halved: Φ(X + X^T) = X for triangular X."""
    return tril(x, k=0) - _half_diagonal(x)


def _half_diagonal(x: Any) -> Any:
    n = x.shape[-1]
    return diag_embed(0.5 * diagonal(x, offset=0), offset=0, n=n, m=n)


def _cholesky_vjp_formula(y: Any, ct: Any) -> Any:
    # With P = Φ(L^T ct): the symmetric cotangent is L^-T (P + P^T) L^-1 / 2.
    p = phi(matmul(tril(y, k=0), ct, ta=True))
    half = triangular_solve(y, p, lower=True, trans=True)
    full = swap(triangular_solve(y, swap(half), lower=True, trans=True))
    # Both of a pair of equal elements come from the lower one.
    return phi(full + swap(full))


#: Rows and columns that `cholesky_vjp` treats at a time: BLAS's products are efficient
#: at this size, and the triangles that they waste are small.
BLOCK = 64


def _cholesky_vjp_reference(y: Any, ct: Any) -> Any:
    out = np.tril(ct)
    if out.size == 0:
        return out
    flat = zip(
        y.reshape(-1, *y.shape[-2:]), out.reshape(-1, *y.shape[-2:]), strict=True
    )
    for factor, bar in flat:
        _pull_blocks(factor, bar)
    return out


def _pull_blocks(y: np.ndarray, bar: np.ndarray) -> None:
    """Murray's blocked algorithm, from the last block of columns to the first.

    Turns `bar`, lower triangular, from the cotangent of the factor into that of the
    matrix, in twice the arithmetic of the factorisation; the formula takes ten times.
    """
    n = len(y)
    for end in range(n, 0, -BLOCK):
        start = max(end - BLOCK, 0)
        block, below = slice(start, end), slice(end, n)
        d = np.tril(y[block, block])
        if end < n:
            c = _solve_lower(d, bar[below, block].T, trans=True).T
            bar[below, block] = c
            bar[block, block] -= np.tril(c.T @ y[below, block])
            bar[below, :start] -= c @ y[block, :start]
            bar[block, :start] -= c.T @ y[below, :start]
        p = _phi(d.T @ bar[block, block])
        half = _solve_lower(d, p, trans=True)
        full = _solve_lower(d, half.T, trans=True)
        full = full + full.T
        bar[block, block] = _phi(full)
        bar[block, :start] -= full @ y[block, :start]


def _solve_lower(a: np.ndarray, b: np.ndarray, *, trans: bool) -> np.ndarray:
    return _triangular_reference(a, b, lower=True, trans=trans)


def _phi(x: np.ndarray) -> np.ndarray:
    return np.tril(x) - np.diag(np.diag(x) / 2)


def _cholesky_jvp(tangents: Any, y: Any, a: Any) -> Any:
    x = phi(tangents[0])
    s = x + herm(x)
    half = triangular_solve(y, s, lower=True, trans=False)
    full = triangular_solve(y, herm(half), lower=True, trans=False)
    return matmul(y, phi(full))


@conjugated
def _complex_cholesky_vjp(ct: Any, y: Any, a: Any) -> tuple:
    """Murray's formula with conjugate transposes."""
    p = phi(matmul(herm(tril(y, k=0)), ct))
    half = triangular_solve(conj(y), p, lower=True, trans=True)
    full = herm(triangular_solve(conj(y), herm(half), lower=True, trans=True))
    return (phi(full + herm(full)),)


def _cholesky_pull(ct: Any, y: Any, a: Any) -> tuple:
    if a.dtype.kind == "c":
        return _complex_cholesky_vjp(ct, y, a)
    return (cholesky_vjp(y, ct),)


cholesky = _row(
    "cholesky",
    np.linalg.cholesky,
    _matrix_aval("cholesky"),
    _squares(_spd),
    vjp=_cholesky_pull,
    jvp=_cholesky_jvp,
)
cholesky_vjp: Primitive = _row(
    "cholesky_vjp",
    _cholesky_vjp_reference,
    _solve_aval("cholesky_vjp"),
    (
        sample(((3, 3), _factor), ((3, 3), REAL)),
        sample(((2, 2, 2), _factor), ((2, 2, 2), REAL)),
        sample(((3, 3), _factor, "f4"), ((3, 3), REAL, "f4")),
        sample(((0, 0), _factor), ((0, 0), REAL)),
    ),
    expand=_cholesky_vjp_formula,
    batch=lambda args, batched: cholesky_vjp(*stacked(args, batched)),
)


# --- triangular_solve: op(a) x = b with one triangle of a; trans: op(a) = a^T


def _triangular_reference(a: Any, b: Any, *, lower: bool, trans: bool) -> Any:
    if b.size == 0:
        return np.zeros_like(b)
    if a.ndim == 2:
        return scipy.linalg.solve_triangular(
            a, b, trans=int(trans), lower=lower, check_finite=False
        )
    flat = [
        _triangular_reference(x, y, lower=lower, trans=trans)
        for x, y in zip(
            a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True
        )
    ]
    return np.array(flat, b.dtype).reshape(b.shape)


def _own_triangle(x: Any, lower: bool) -> Any:
    return tril(x, k=0) if lower else triu(x, k=0)


def _triangular_vjp(
    ct: Any, x: Any, a: Any, b: Any, *, lower: bool, trans: bool
) -> tuple:
    ct_b = triangular_solve(a, ct, lower=lower, trans=not trans)

    def ct_a() -> Any:
        outer = matmul(x, ct_b, tb=True) if trans else matmul(ct_b, x, tb=True)
        return -_own_triangle(outer, lower)

    return ct_a, ct_b


def _triangular_jvp(
    tangents: Any, x: Any, a: Any, b: Any, *, lower: bool, trans: bool
) -> Any:
    ta, tb = tangents
    right = tb
    if ta is not None:
        moved = matmul(_own_triangle(ta, lower), x, ta=trans)
        right = -moved if tb is None else tb - moved
    return triangular_solve(a, right, lower=lower, trans=trans)


def _solve_batch(solver: Callable[..., Any]) -> Callable[..., Any]:
    def batch(args: Any, batched: Any, **params: Any) -> Any:
        a, b = args
        if batched[0]:
            if not batched[1]:
                b = broadcast_to(b, shape=(a.shape[0], *b.shape))
            return solver(a, b, **params)
        # One factorisation for the whole batch: its entries are further columns.
        n = b.ndim
        size, cols = b.shape[0], b.shape[-1]
        b = transpose(b, perm=(*range(1, n - 1), 0, n - 1))
        b = reshape(b, shape=(*b.shape[:-2], size * cols))
        x = solver(a, b, **params)
        x = reshape(x, shape=(*x.shape[:-1], size, cols))
        return transpose(x, perm=(n - 2, *range(n - 2), n - 1))

    return batch


triangular_solve: Primitive = _row(
    "triangular_solve",
    _triangular_reference,
    _solve_aval("triangular_solve"),
    (
        *_systems(lower=True, trans=False),
        *_systems(lower=True, trans=True),
        *_systems(lower=False, trans=False),
        *_systems(lower=False, trans=True),
    ),
    vjp=_triangular_vjp,
    jvp=_triangular_jvp,
    batch=_solve_batch(lambda a, b, **params: triangular_solve(a, b, **params)),
)


# --- solve, inv


def _solve_vjp(ct: Any, x: Any, a: Any, b: Any) -> tuple:
    ct_b = solve(swap(a), ct)
    return lambda: -matmul(ct_b, x, tb=True), ct_b


def _solve_jvp(tangents: Any, x: Any, a: Any, b: Any) -> Any:
    ta, tb = tangents
    right = tb
    if ta is not None:
        moved = matmul(ta, x)
        right = -moved if tb is None else tb - moved
    return solve(a, right)


def _inv_vjp(ct: Any, y: Any, a: Any) -> tuple:
    return (-matmul(matmul(y, ct, ta=True), y, tb=True),)


def _inv_jvp(tangents: Any, y: Any, a: Any) -> Any:
    return -matmul(matmul(y, tangents[0]), y)


solve: Primitive = _row(
    "solve",
    np.linalg.solve,
    _solve_aval("solve"),
    _systems(),
    vjp=_solve_vjp,
    jvp=_solve_jvp,
    batch=_solve_batch(lambda a, b: solve(a, b)),
)
inv = _row(
    "inv",
    np.linalg.inv,
    _matrix_aval("inv"),
    _squares(_regular),
    vjp=_inv_vjp,
    jvp=_inv_jvp,
)


# --- det, slogdet: d log|det a| = trace(a^-1 da)


def _det_aval(a: Aval) -> Aval:
    _square(a, "det")
    return Aval(a.shape[:-2], a.dtype)


def _slogdet_aval(a: Aval) -> tuple[Aval, Aval]:
    _square(a, "slogdet")
    return Aval(a.shape[:-2], a.dtype), Aval(a.shape[:-2], real_of(a.dtype))


def _slogdet_vjp(cts: Any, ys: Any, a: Any) -> tuple:
    if a.dtype.kind != "c":
        return (None if cts[1] is None else scale(swap(inv(a)), cts[1]),)
    # The sign turns by the imaginary part of what the logarithm grows by.
    zero = zeros(ys[1])
    turned = zero if cts[0] is None else imag(cts[0] * ys[0])
    grown = zero if cts[1] is None else cts[1]
    return (scale(swap(inv(a)), complex_(grown, turned)),)


def _slogdet_jvp(tangents: Any, ys: Any, a: Any) -> tuple:
    moved = inner(swap(inv(a)), tangents[0])
    if a.dtype.kind != "c":
        return None, moved
    return ys[0] * complex_(0, imag(moved)), real(moved)


det = _row(
    "det",
    np.linalg.det,
    _det_aval,
    _squares(_regular),
    vjp=lambda ct, y, a: (scale(swap(inv(a)), ct * y),),
    jvp=lambda tangents, y, a: y * inner(swap(inv(a)), tangents[0]),
)
slogdet = _row(
    "slogdet",
    lambda a: tuple(np.linalg.slogdet(a)),
    _slogdet_aval,
    _squares(_regular),
    n_out=2,
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
)
