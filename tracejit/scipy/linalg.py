"""`scipy.linalg` for recorded functions, with SciPy's names and arguments.

Ordinary arrays are given to SciPy itself; arguments that say how memory may be used
(`overwrite_a`, `check_finite`) mean nothing for traced ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as _scipy

from ..numpy_api.table import as_tracer, emit
from ..tracer import Tracer

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "expm",
    "solve_banded",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "toeplitz",
]


def _traced(*arrays: Any) -> bool:
    return any(type(a) is Tracer for a in arrays)


def _common(*arrays: Any) -> list[Tracer]:
    """All as tracers of one float or complex dtype."""
    rec = next(a.rec for a in arrays if type(a) is Tracer)
    found = [as_tracer(rec, a) for a in arrays]
    dtype = np.result_type(*[x.dtype for x in found], np.float32)
    return [x.astype(dtype) for x in found]


def _flip(a: Any) -> Any:
    """The conjugate transpose of the last two axes."""
    turned = np.swapaxes(a, -1, -2)
    return np.conj(turned) if a.dtype.kind == "c" else turned


def _column(b: Tracer) -> Tracer:
    return b.reshape((b.shape[0], 1)) if b.ndim == 1 else b


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    **memory: bool,
) -> Any:
    """The x with op(a) x = b, of one triangle of `a`.

    Args:
        a: `(..., n, n)`; the other triangle is not looked at.
        b: `(n,)` or `(..., n, k)`.
        trans: 0 or "N" for a, 1 or "T" for its transpose, 2 or "C" for the conjugate
            one.
        lower: which triangle.
        unit_diagonal: whether the diagonal counts as ones.

    Raises:
        numpy.linalg.LinAlgError: a zero on the diagonal.

    Example:
        >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 1.0]]), np.ones(2), lower=True)
        array([0.5, 0.5])
    """
    if not _traced(a, b):
        return _scipy.solve_triangular(a, b, trans, lower, unit_diagonal, **memory)
    a, b = _common(a, b)
    if unit_diagonal:
        eye = np.eye(a.shape[-1], dtype=bool)
        a = np.where(eye, np.ones((), a.dtype), a)
    flip = trans in (1, 2, "T", "C")
    if trans in (2, "C") and a.dtype.kind == "c":
        a = np.conj(a)
    x = emit("triangular_solve", a, _column(b), lower=bool(lower), trans=flip)
    return x.reshape(b.shape)


def cho_factor(a: Any, lower: bool = False, **memory: bool) -> tuple[Any, bool]:
    """A Cholesky factor for `cho_solve`, and which triangle it is.

    SciPy leaves numbers without meaning in the other triangle, this function zeros.
    """
    if not _traced(a):
        return _scipy.cho_factor(a, lower, **memory)
    (a,) = _common(a)
    factor = np.linalg.cholesky(a if lower else _flip(a))
    return (factor if lower else _flip(factor)), lower


def cho_solve(c_and_lower: tuple[Any, bool], b: Any, **memory: bool) -> Any:
    """The x with a x = b, of what `cho_factor` gave for a.

    Example:
        >>> cho_solve(cho_factor(np.array([[4.0, 0.0], [0.0, 1.0]])), np.ones(2))
        array([0.25, 1.  ])
    """
    factor, lower = c_and_lower
    if not _traced(factor, b):
        return _scipy.cho_solve(c_and_lower, b, **memory)
    half = solve_triangular(factor, b, trans=0 if lower else 2, lower=lower)
    return solve_triangular(factor, half, trans=2 if lower else 0, lower=lower)


#: Padé approximant of degree 13, and up to which norm it holds to double precision
#: (N. Higham, "The scaling and squaring method for the matrix exponential", 2005).
_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800,
    129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920, 40840800,
    960960, 16380, 182, 1,
)  # fmt: skip
_PADE_NORM = 5.371920351148152


def expm(A: Any) -> Any:
    """The matrix exponential, by scaling and squaring.

    Args:
        A: `(..., n, n)`, floats or complex numbers.

    Example:
        >>> expm(np.zeros((2, 2)))
        array([[1., 0.],
               [0., 1.]])
    """
    if not _traced(A):
        return _scipy.expm(A)
    (a,) = _common(A)
    if not a.shape[-1] or not a.size:
        return a
    norm = np.max(np.sum(np.abs(a), axis=-2)) / _PADE_NORM
    squarings = int(np.ceil(np.log2(np.maximum(norm, 1.0))))
    a = a / 2.0**squarings
    identity = np.eye(a.shape[-1], dtype=a.dtype)
    b = [float(x) for x in _PADE]
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2)
    u = a @ (odd + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * identity)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2)
    v = even + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * identity
    result = np.linalg.solve(v - u, v + u)
    for _ in range(squarings):
        result = result @ result
    return result


def sqrtm(A: Any, **memory: Any) -> Any:
    """The principal square root of a matrix.

    Raises:
        numpy.linalg.LinAlgError: a traced real matrix has no real square root; pass it
            as a complex one.

    Example:
        >>> sqrtm(np.diag([4.0, 9.0]))
        array([[2., 0.],
               [0., 3.]])
    """
    if not _traced(A):
        return _scipy.sqrtm(A, **memory)
    return emit("sqrtm", *_common(A))


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The x with a x + x b = q.

    Args:
        a: `(m, m)`.
        b: `(n, n)`.
        q: `(m, n)`.

    Example:
        >>> solve_sylvester(np.eye(1), np.eye(1), np.ones((1, 1)))
        array([[0.5]])
    """
    if not _traced(a, b, q):
        return _scipy.solve_sylvester(a, b, q)
    return emit("sylvester", *_common(a, b, q))


def solve_banded(
    l_and_u: tuple[int, int], ab: Any, b: Any, *flags: bool, **memory: bool
) -> Any:
    """The x with a x = b, of the diagonals of a.

    Args:
        l_and_u: how many diagonals there are below and above the main one.
        ab: `(l + u + 1, n)`, the diagonals: `ab[u + i - j, j] = a[i, j]`.
        b: `(n,)` or `(n, k)`.

    Traced diagonals are put into the whole matrix, which is then solved: `n**3`.

    Example:
        >>> solve_banded((0, 0), np.array([[2.0, 4.0]]), np.ones(2))
        array([0.5 , 0.25])
    """
    if not _traced(ab, b):
        return _scipy.solve_banded(l_and_u, ab, b, *flags, **memory)
    below, above = l_and_u
    ab, b = _common(ab, b)
    n = ab.shape[1]
    if ab.shape[0] != below + above + 1 or b.shape[0] != n:
        raise ValueError(
            f"invalid values for the number of lower and upper diagonals: l+u+1 "
            f"({below + above + 1}) does not equal ab.shape[0] ({ab.shape[0]})"
            if b.shape[0] == n
            else "shapes of ab and b are not compatible."
        )
    i, j = np.indices((n, n))
    row = above + i - j
    inside = (row >= 0) & (row < below + above + 1)
    whole = np.where(inside, ab[np.where(inside, row, 0), j], np.zeros((), ab.dtype))
    return np.linalg.solve(whole, b)


def block_diag(*arrs: Any) -> Any:
    """Matrices along the diagonal of a larger one, zeros elsewhere.

    Example:
        >>> block_diag(np.ones((1, 1)), np.full((1, 2), 2.0))
        array([[1., 0., 0.],
               [0., 2., 2.]])
    """
    if not _traced(*arrs):
        return _scipy.block_diag(*arrs)
    parts: list[Any] = [np.atleast_2d(a) for a in _common(*arrs)]
    lead = np.broadcast_shapes(*[part.shape[:-2] for part in parts])
    width = sum(part.shape[-1] for part in parts)
    rows, left = [], 0
    for part in parts:
        part = np.broadcast_to(part, (*lead, *part.shape[-2:]))
        right = width - left - part.shape[-1]
        rows.append(np.pad(part, [(0, 0)] * (part.ndim - 1) + [(left, right)]))
        left += part.shape[-1]
    return np.concatenate(rows, axis=-2)


def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix with constant diagonals: first column `c`, first row `r`.

    Example:
        >>> toeplitz(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
        array([[1., 3.],
               [2., 1.]])
    """
    if not _traced(c, r):
        return _scipy.toeplitz(c, r)
    if r is None:
        (c,) = _common(c)
        r = np.conj(c) if c.dtype.kind == "c" else c
    else:
        c, r = _common(c, r)
    c, r = np.atleast_1d(c), np.atleast_1d(r)
    i, j = np.indices((c.shape[-1], r.shape[-1]))
    lead = np.broadcast_shapes(c.shape[:-1], r.shape[:-1])
    c = np.broadcast_to(c, (*lead, c.shape[-1]))
    r = np.broadcast_to(r, (*lead, r.shape[-1]))
    values = np.concatenate([r[..., :0:-1], c], axis=-1)
    return values[..., i - j + r.shape[-1] - 1]
