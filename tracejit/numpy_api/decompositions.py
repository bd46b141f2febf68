"""`np.linalg`: SVD, eigenvalues, QR, least squares, and what is made of them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .complex import conjugated, squared_size
from .joining import take_along_axis
from .linalg import inv, norm, solve, squares
from .products import matmul
from .reductions import any as any_
from .reductions import count_nonzero
from .reductions import max as max_
from .reductions import sum as sum_
from .selection import where as choose
from .shape import flip, swapaxes, transpose
from .table import as_tracer, cast, common, emit, implements, of, recorder_of
from .ufuncs import F64, call

__all__ = ["singular_values"]

#: NumPy's own named tuples have no public names.
_Svd: Any = type(np.linalg.svd(np.eye(1)))
_Eigh: Any = type(np.linalg.eigh(np.eye(1)))
_Qr: Any = type(np.linalg.qr(np.eye(1)))


def _matrix(a: Any) -> Tracer:
    """A stack of matrices of floats."""
    x = of(a)
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    return x if x.dtype.kind in "fc" else cast(x, F64)


def _symmetric(x: Tracer) -> Tracer:
    """What NumPy reads of a matrix that is said to be symmetric: its lower half."""
    below = emit("tril", x, k=-1)
    if x.dtype.kind != "c":
        return emit("tril", x, k=0) + swapaxes(below, -1, -2)
    n = x.shape[-1]
    diagonal = cast(emit("real", emit("diagonal", x, offset=0)), x.dtype)
    middle = emit("diag_embed", diagonal, offset=0, n=n, m=n)
    return below + middle + swapaxes(conjugated(below), -1, -2)


# --- svd ------------------------------------------------------------------------------


@implements(np.linalg.svd, host=True)
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    x = _matrix(a)
    if not compute_uv:
        return singular_values(_symmetric(squares(x)) if hermitian else x)
    if hermitian:
        return _hermitian_svd(squares(x))
    full = bool(full_matrices) and x.shape[-1] != x.shape[-2]
    return _Svd(*emit("svd", x, full=full))


def _hermitian_svd(x: Tracer) -> Any:
    w, v = emit("eigh", x, lower=True)
    sign = call(np.copysign, 1.0, w)
    size = call(np.absolute, w)
    last = size.ndim - 1
    order = flip(emit("argsort", size, axis=last), -1)
    columns = order[..., None, :]
    sign, size = [take_along_axis(t, order, -1) for t in (sign, size)]
    u = take_along_axis(v, columns, -1)
    return _Svd(u, size, swapaxes(conjugated(u * sign[..., None, :]), -1, -2))


def singular_values(x: Tracer) -> Tracer:
    """The singular values of each matrix, the largest first."""
    return emit("svdvals", x)


@implements(np.linalg.svdvals, host=True)
def svdvals(x: Any, /) -> Any:
    return singular_values(_matrix(x))


# --- eigenvalues ----------------------------------------------------------------------


def _lower(UPLO: str) -> bool:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper() == "L"


@implements(np.linalg.eigh, host=True)
def eigh(a: Any, UPLO: str = "L") -> Any:
    lower = _lower(UPLO)
    return _Eigh(*emit("eigh", squares(_matrix(a)), lower=lower))


@implements(np.linalg.eigvalsh, host=True)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    lower = _lower(UPLO)
    return emit("eigvalsh", squares(_matrix(a)), lower=lower)


# --- qr -------------------------------------------------------------------------------


@implements(np.linalg.qr, host=True)
def qr(a: Any, mode: str = "reduced") -> Any:
    x = _matrix(a)
    m, n = x.shape[-2:]
    if mode == "complete" and m > n:
        q, r = emit("complete_qr", x)
        below = ((0, 0),) * (x.ndim - 2) + ((0, m - n), (0, 0))
        return _Qr(q, np.pad(r, below))
    if mode == "raw":
        refuse("np.linalg.qr with mode='raw'", "Use mode='reduced'")
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    if m >= n:
        q, r = emit("qr", x)
    else:
        # The first columns decide on q, the others are turned by it.
        q, left = emit("qr", x[..., :m])
        right = matmul(swapaxes(conjugated(q), -1, -2), x[..., m:])
        r = emit("concatenate", left, right, axis=x.ndim - 1)
    return r if mode == "r" else _Qr(q, r)


# --- least squares and inverses -------------------------------------------------------


def _number(value: Any, name: str) -> float:
    """A cutoff that is part of the trace."""
    if type(value) is Tracer or np.ndim(value):
        refuse(f"a traced or stacked {name}=", f"Give one number as {name}=")
    return float(value)


@implements(np.linalg.pinv, host=True)
def pinv(
    a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue
) -> Any:
    x = _matrix(a)
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
        if rcond is None:
            rcond = max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    x = _symmetric(squares(x)) if hermitian else x
    return emit("pinv", x, rcond=_number(rcond, "rcond"))


@implements(np.linalg.lstsq, host=True)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    rec = recorder_of(a, b)
    x, y = common([_matrix(as_tracer(rec, a)), as_tracer(rec, b)])
    vector = y.ndim == 1
    y = y[:, None] if vector else y
    for t in (x, y):
        if t.ndim != 2:
            raise np.linalg.LinAlgError(
                f"{t.ndim}-dimensional array given. Array must be two-dimensional"
            )
    m, n = x.shape
    if m != y.shape[0]:
        raise np.linalg.LinAlgError("Incompatible dimensions")
    if rcond is None:
        rcond = float(np.finfo(x.dtype).eps) * max(n, m)
    rcond = _number(rcond, "rcond")
    cutoff = rcond if rcond >= 0 else float(np.finfo(x.dtype).eps)
    found, singular = emit("lstsq", x, y, rcond=rcond)
    rank = cast(count_nonzero(singular > singular[0] * cutoff), np.int32)
    # The shape of the residuals depends on the rank: a guard.
    if m > n and operator.index(rank) == n:
        rest = y - matmul(x, found)
        residuals: Any = sum_(squared_size(rest), 0)
    else:
        residuals = np.zeros(0, singular.dtype)
    return found[:, 0] if vector else found, residuals, rank, singular


@implements(np.linalg.matrix_rank, gradient=False, host=True)
def matrix_rank(
    A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Any:
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    x = of(A, tol, rtol)
    if x.ndim < 2:
        return cast(any_(x != 0), np.int64)
    x = _matrix(x)
    s = singular_values(_symmetric(squares(x)) if hermitian else x)
    if tol is None:
        if rtol is None:
            rtol = max(x.shape[-2:]) * np.finfo(s.dtype).eps
        else:
            rtol = as_tracer(x.rec, rtol)[..., None]
        tol = max_(s, -1, keepdims=True, initial=0) * rtol
    else:
        tol = as_tracer(x.rec, tol)[..., None]
    return count_nonzero(s > tol, -1)


@implements(np.linalg.cond, host=True)
def cond(x: Any, p: Any = None) -> Any:
    """Of a singular matrix an error where NumPy has inf, unless p is None, 2 or -2."""
    t = _matrix(x)
    if not t.size:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    with np.errstate(all="ignore"):
        if p is None or p in (2, -2):
            s = singular_values(t)
            ratio = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        else:
            axes = (t.ndim - 2, t.ndim - 1)
            ratio = norm(squares(t), p, axes) * norm(inv(t), p, axes)
    # 0 / 0 is not NaN here, unless the matrix has one.
    missing = call(np.isnan, ratio)
    of_matrix = any_(call(np.isnan, t), (t.ndim - 2, t.ndim - 1))
    return choose(missing & ~of_matrix, np.inf, ratio)


# --- tensors --------------------------------------------------------------------------


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    rec = recorder_of(a, b)
    x, y = as_tracer(rec, a), as_tracer(rec, b)
    if axes is not None:
        order = list(range(x.ndim))
        for k in axes:
            order.remove(k)
            order.insert(x.ndim, k)
        x = transpose(x, order)
    shape = x.shape[y.ndim - x.ndim :] if x.ndim > y.ndim else ()
    size = int(np.prod(shape))
    if x.size != size**2:
        raise np.linalg.LinAlgError(
            "Input arrays must satisfy the requirement "
            "            prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    x, y = [emit("reshape", t, shape=s) for t, s in ((x, (size, size)), (y, (y.size,)))]
    return emit("reshape", solve(x, y), shape=shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    x = of(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = x.shape[ind:] + x.shape[:ind]
    size = int(np.prod(x.shape[ind:]))
    x = emit("reshape", x, shape=(size, x.size // max(size, 1)))
    return emit("reshape", inv(x), shape=shape)
