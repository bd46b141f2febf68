"""`np.linalg.eig` and `eigvals`: real where NumPy's are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracer import Tracer
from .linalg import squares
from .table import cast, emit, implements, of
from .ufuncs import F64, call

__all__: list[str] = []

#: NumPy's own named tuple has no public name.
_Eig: Any = type(np.linalg.eig(np.eye(1)))


def _matrix(a: Any) -> Tracer:
    x = of(a)
    return squares(x if x.dtype.kind in "fc" else cast(x, F64))


def _all_real(x: Tracer, w: Tracer) -> bool:
    """Whether NumPy gives real numbers: a guard, for their dtype depends on it."""
    if x.dtype.kind == "c":
        return False
    real = call(np.equal, emit("imag", w), 0)
    return bool(emit("all", real, axes=tuple(range(real.ndim))))


@implements(np.linalg.eig, host=True)
def eig(a: Any) -> Any:
    x = _matrix(a)
    w, v = emit("eig", x)
    if _all_real(x, w):
        return _Eig(emit("real", w), emit("real", v))
    return _Eig(w, v)


@implements(np.linalg.eigvals, host=True)
def eigvals(a: Any) -> Any:
    x = _matrix(a)
    w = emit("eigvals", x)
    return emit("real", w) if _all_real(x, w) else w
