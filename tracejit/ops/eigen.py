"""Eigenvalues of general matrices: LAPACK's, called in Python.

`eig(a)` is complex for real matrices too; that NumPy gives real numbers where it can is
a decision of `numpy_api`.  Derivatives: M. Giles, "An extended collection of matrix
derivative results" (2008), 3.1, with eigenvectors that keep their length.  They are
determined up to a phase each, and what depends on it has no derivative; where
eigenvalues are equal their vectors have none either, and get inf or NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval, complex_of, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .complex import conj, real
from .contraction import matmul
from .linalg import conjugated, herm, solve
from .logic import cast
from .rows import same_dtype, sample
from .structural import broadcast_to, diag_embed, diagonal, reshape

__all__ = ["eig", "eigvals"]


def _wide(dtype: np.dtype) -> np.dtype:
    return complex_of(real_of(dtype))


def _eig_aval(a: Aval) -> tuple[Aval, Aval]:
    same_dtype((a,), "eig", "fc")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise InvalidTapeError(f"eig of {a!r}, which is not a stack of squares")
    dtype = _wide(a.dtype)
    return Aval(a.shape[:-1], dtype), Aval(a.shape, dtype)


def _eig_reference(a: Any) -> tuple:
    w, v = np.linalg.eig(a)
    dtype = _wide(a.dtype)
    return w.astype(dtype), v.astype(dtype)


def _diagonal(x: Any) -> Any:
    n = x.shape[-1]
    return diag_embed(x, offset=0, n=n, m=n)


def _inverse_gaps(w: Any) -> Any:
    """F[i, j] = 1 / (w[j] - w[i]), and 0 on the diagonal."""
    one = w.builder.const(1, w.dtype)
    eye = _diagonal(broadcast_to(one, shape=(w.shape[-1],)))
    columns = reshape(w, shape=(*w.shape[:-1], 1, w.shape[-1]))
    return 1.0 / (columns - reshape(w, shape=(*w.shape, 1)) + eye) - eye


@conjugated
def _pull(cts: Any, ys: Any, a: Any) -> tuple:
    w, v = ys
    gw, gv = cts
    core = None if gw is None else _diagonal(gw)
    if gv is not None:
        inside = matmul(conj(v), gv, ta=True)
        gram = matmul(conj(v), v, ta=True)
        kept = inside - matmul(gram, _diagonal(diagonal(inside, offset=0)))
        turned = conj(_inverse_gaps(w)) * kept
        core = turned if core is None else core + turned
    return (solve(herm(v), matmul(core, herm(v))),)


def _eig_vjp(cts: Any, ys: Any, a: Any) -> tuple:
    (ct,) = _pull(cts, ys, a)
    return (ct if a.dtype.kind == "c" else real(ct),)


def _eig_jvp(tangents: Any, ys: Any, a: Any) -> tuple:
    w, v = ys
    (da,) = tangents
    da = da if a.dtype.kind == "c" else cast(da, dtype=v.dtype)
    moved = solve(v, matmul(da, v))
    turn = _inverse_gaps(w) * moved
    longer = matmul(matmul(conj(v), v, ta=True), turn)
    turn = turn - _diagonal(diagonal(longer, offset=0))
    return diagonal(moved, offset=0), matmul(v, turn)


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Real eigenvalues well apart."""
    return rng.normal(size=shape) * 0.3 + np.diag(np.arange(shape[-1]) * 3.0)


def _row(name: str, reference: Any, aval: Any, **rules: Any) -> Primitive:
    row: Primitive = Primitive(
        name,
        "linalg",
        reference,
        aval,
        host=True,
        batch=lambda args, batched: row(*args),
        samples=(
            sample(((3, 3), _apart)),
            sample(((2, 2, 2), _apart)),
            sample(((3, 3), _apart, "f4")),
        ),
        **rules,
    )
    return register(row)


eig: Primitive = _row(
    "eig", _eig_reference, _eig_aval, n_out=2, vjp=_eig_vjp, jvp=_eig_jvp
)
eigvals = _row(
    "eigvals",
    lambda a: np.linalg.eigvals(a).astype(_wide(a.dtype)),
    lambda a: _eig_aval(a)[0],
    expand=lambda a: eig(a)[0],
)
