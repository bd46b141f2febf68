"""The complete QR factorization of tall matrices: LAPACK's, called in Python.

The columns of q beyond those of the matrix complete them to a basis.  They are
determined up to a rotation of their own, and taken not to turn among themselves; what
does not depend on that has a derivative.  It is that of the reduced factors
(`ops.spectral`), completed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from .linalg import conjugated
from .spectral import (
    complete,
    completed,
    first_part,
    host_row,
    last_part,
    matrices,
    matrix,
    qr_jvp,
    qr_vjp,
    spread,
)

__all__ = ["complete_qr"]


def _aval(a: Aval) -> tuple[Aval, Aval]:
    lead, m, n = matrix(a, "complete_qr")
    if m <= n:
        raise InvalidTapeError(f"complete_qr of {a!r}, which is not tall")
    return Aval((*lead, m, m), a.dtype), Aval((*lead, n, n), a.dtype)


def _reference(a: Any) -> tuple:
    q, r = np.linalg.qr(a, "complete")
    return q, np.ascontiguousarray(r[..., : a.shape[-1], :])


def _parts(q: Any, n: int) -> tuple[Any, Any]:
    return first_part(q, q.shape[-2], n), last_part(q, q.ndim - 1, n)


@conjugated
def _vjp(cts: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    gq, gr = cts
    n = a.shape[-1]
    base, rest = _parts(q, n)
    if gq is not None:
        gq = complete(base, rest, gq, n)
    return qr_vjp((gq, gr), (base, r), a)


def _jvp(tangents: Any, ys: Any, a: Any) -> tuple:
    q, r = ys
    base, rest = _parts(q, a.shape[-1])
    dq, dr = qr_jvp(tangents, (base, r), a)
    return completed(base, rest, dq), dr


complete_qr = host_row(
    "complete_qr",
    _reference,
    _aval,
    matrices(spread, (3, 2), (2, 4, 3)),
    n_out=2,
    vjp=_vjp,
    jvp=_jvp,
)
