"""LU factors as values, so that several uses of one matrix share one factorisation.

`lu(a)` gives what LAPACK's `getrf` makes of the row-major matrix, which it takes for
its transpose: the factors of a^T, stored by columns, and one-based pivots.  Of a
matrix that is symmetric, but for the rounding of its elements, and positive definite,
it gives Cholesky's factor, which takes half the time: the upper triangle of `factors`
is U in a = U^T U, the lower one is a's, and all pivots are 0.  The rows have no
derivatives: `passes.factor` puts them in place of `solve`, `inv`, `det` and `slogdet`
when all derivatives are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .rows import REAL
from .structural import stacked

__all__ = ["PIVOT", "lu", "lu_inv", "lu_solve"]

PIVOT = np.dtype(np.int32)


def _routine(name: str, dtype: np.dtype) -> Callable[..., Any]:
    return getattr(lapack, ("s" if dtype.itemsize == 4 else "d") + name)


def _each(function: Callable[..., Any], *arrays: np.ndarray, cores: Any) -> list[Any]:
    """Apply to every matrix of a stack; `cores` are the ranks of the operands."""
    lead = arrays[0].shape[: arrays[0].ndim - cores[0]]
    flat = [
        a.reshape((-1, *a.shape[a.ndim - core :]))
        for a, core in zip(arrays, cores, strict=True)
    ]
    results = [function(*entry) for entry in zip(*flat, strict=True)]
    return [
        np.array(r).reshape((*lead, *r[0].shape)) for r in zip(*results, strict=True)
    ]


def _is_symmetric(a: np.ndarray) -> bool:
    """Symmetric within 4 eps of each element.

    Equal formulas on both sides of the diagonal may be rounded differently, in a
    vectorised loop and in what is left over.  LU's own error is larger.
    """
    size = np.abs(a)
    limit = 4 * np.finfo(a.dtype).eps * (size + size.T)
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.diagonal(a) > 0) and np.all(np.abs(a - a.T) <= limit))


def _lu_reference(a: Any) -> tuple:
    getrf, potrf = (_routine(name, a.dtype) for name in ("getrf", "potrf"))

    def one(matrix: np.ndarray) -> tuple:
        if matrix.size and _is_symmetric(matrix):
            factors, info = potrf(matrix.T, lower=True, clean=False)
            if info == 0:
                return factors.T, np.zeros(len(matrix), PIVOT)
        factors, pivots, _ = getrf(matrix.T)
        return factors.T, (pivots + 1).astype(PIVOT)

    return tuple(_each(one, a, cores=(2,)))


def _regular(factors: np.ndarray) -> None:
    if np.any(np.diagonal(factors) == 0):
        raise np.linalg.LinAlgError("Singular matrix")


def _lu_solve_reference(factors: Any, pivots: Any, b: Any, *, trans: bool) -> Any:
    getrs, potrs = (_routine(name, factors.dtype) for name in ("getrs", "potrs"))

    def one(f: np.ndarray, p: np.ndarray, right: np.ndarray) -> tuple:
        if not p.all():
            return (potrs(f.T, right, lower=True)[0],)
        _regular(f)
        return (getrs(f.T, p - 1, right, trans=0 if trans else 1)[0],)

    return _each(one, factors, pivots, b, cores=(2, 1, 2))[0]


def _lu_inv_reference(factors: Any, pivots: Any) -> Any:
    getri, potri = (_routine(name, factors.dtype) for name in ("getri", "potri"))

    def one(f: np.ndarray, p: np.ndarray) -> tuple:
        if not p.all():
            upper = np.triu(potri(f.T, lower=True)[0].T)
            return (upper + np.triu(upper, 1).T,)
        _regular(f)
        return (getri(f.T, p - 1)[0].T,)

    return _each(one, factors, pivots, cores=(2, 1))[0]


def _lu_aval(a: Aval) -> tuple[Aval, Aval]:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or a.dtype.kind != "f":
        raise InvalidTapeError(f"lu of {a!r}, which is not a stack of squares")
    return a, Aval(a.shape[:-1], PIVOT)


def _factors_aval(factors: Aval, pivots: Aval) -> Aval:
    if pivots != Aval(factors.shape[:-1], PIVOT):
        raise InvalidTapeError(f"lu_inv of {factors!r} with pivots {pivots!r}")
    return factors


def _lu_solve_aval(factors: Aval, pivots: Aval, b: Aval, *, trans: bool) -> Aval:
    _factors_aval(factors, pivots)
    if b.shape[:-1] != factors.shape[:-1] or b.dtype != factors.dtype:
        raise InvalidTapeError(f"lu_solve of {factors!r} and {b!r}")
    return b


def _sample(kind: str, *shapes: tuple[int, ...], **params: Any) -> Callable[..., Any]:
    """Factors of a regular matrix, then arrays of the other shapes."""

    def make(rng: np.random.Generator) -> tuple:
        matrix = rng.normal(size=shapes[0]).astype(kind) + 3 * np.eye(shapes[0][-1])
        matrix = matrix.astype(kind)
        rest = [REAL(rng, s).astype(kind) for s in shapes[1:]]
        return [*_lu_reference(matrix), *rest], params

    return make


def _matrix(kind: str, shape: tuple[int, ...]) -> Callable[..., Any]:
    return lambda rng: ([rng.normal(size=shape).astype(kind)], {})


def _row(name: str, reference: Any, aval: Any, samples: Any, n_out: int) -> Primitive:
    def batch(args: Any, batched: Any, **params: Any) -> Any:
        return row(*stacked(args, batched), **params)

    row: Primitive = Primitive(
        name, "linalg", reference, aval, n_out=n_out, batch=batch, samples=samples
    )
    return register(row)


lu = _row(
    "lu",
    _lu_reference,
    _lu_aval,
    (_matrix("f8", (3, 3)), _matrix("f8", (2, 2, 2)), _matrix("f4", (3, 3))),
    2,
)
lu_solve = _row(
    "lu_solve",
    _lu_solve_reference,
    _lu_solve_aval,
    (
        _sample("f8", (3, 3), (3, 2), trans=False),
        _sample("f8", (2, 2, 2), (2, 2, 1), trans=True),
        _sample("f4", (3, 3), (3, 1), trans=False),
    ),
    1,
)
lu_inv = _row(
    "lu_inv",
    _lu_inv_reference,
    _factors_aval,
    (_sample("f8", (3, 3)), _sample("f8", (2, 2, 2)), _sample("f4", (2, 2))),
    1,
)
