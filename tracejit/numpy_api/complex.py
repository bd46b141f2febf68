"""Complex numbers: their parts, and the ufuncs that are compositions for them.

NumPy orders complex numbers by their real parts, equal ones by their imaginary parts;
a NaN in either part is a NaN.  Python does not order them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer
from .table import as_tracer, emit, emit_view, implements, recorder_of, same_view
from .ufuncs import COMPLEX, call, loop_dtype

__all__ = ["conjugated", "imag", "real", "squared_size"]


def real(x: Tracer) -> Tracer:
    """The real part; a real array itself, as NumPy's view of it."""
    if x.dtype.kind != "c":
        return same_view(x)
    return _part("real", x)


def imag(x: Tracer) -> Any:
    """The imaginary part; zeros for a real array."""
    if x.dtype.kind != "c":
        return np.zeros(x.shape, x.dtype)[()] if x.weak is None else x.weak(0)
    return _part("imag", x)


def _part(name: str, x: Tracer) -> Tracer:
    part = emit_view(name, x)
    part.weak = float if x.weak is complex else None
    return part


def conjugate(x: Tracer) -> Any:
    """The method: a Python number stays one."""
    if x.dtype.kind != "c":
        found = Tracer(x.rec, x.ref, None, True)
    else:
        found = call(np.conjugate, x)
    if x.weak is not None:
        found.weak = int if x.weak is bool else x.weak
    return found


def conjugated(x: Tracer) -> Tracer:
    """The conjugate of a complex array, any other array itself."""
    return emit("conj", x) if x.dtype.kind == "c" else x


def squared_size(x: Tracer) -> Tracer:
    """|x|**2, real, without the root."""
    if x.dtype.kind != "c":
        return emit("square", x)
    return emit("square", emit("real", x)) + emit("square", emit("imag", x))


Tracer.real = property(real)  # type: ignore[attr-defined]
Tracer.imag = property(imag)  # type: ignore[attr-defined]
Tracer.conjugate = conjugate  # type: ignore[attr-defined]


def _conj(self: Tracer) -> Any:
    if self.weak is not None:
        kind = self.weak.__name__
        raise AttributeError(f"{kind!r} object has no attribute 'conj'")
    return conjugate(self)


Tracer.conj = _conj  # type: ignore[attr-defined]


@implements(np.real)
def np_real(val: Any) -> Any:
    return as_tracer(recorder_of(val), val).real


@implements(np.imag)
def np_imag(val: Any) -> Any:
    return as_tracer(recorder_of(val), val).imag


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    x = as_tracer(recorder_of(z), z)
    if x.dtype.kind == "c":
        found = call(np.arctan2, emit("imag", x), emit("real", x))
    else:  # 0 or pi, by the sign: a constant almost everywhere
        found = call(np.arctan2, 0, emit("stop_gradient", x))
    return found * (180 / math.pi) if deg else found


@implements(np.isreal, gradient=False)
def isreal(x: Any) -> Any:
    t = as_tracer(recorder_of(x), x)
    if t.dtype.kind != "c":
        return np.ones(t.shape, bool)[()]
    return call(np.equal, emit("imag", t), 0)


@implements(np.iscomplex, gradient=False)
def iscomplex(x: Any) -> Any:
    t = as_tracer(recorder_of(x), x)
    if t.dtype.kind != "c":
        return np.zeros(t.shape, bool)[()]
    return call(np.not_equal, emit("imag", t), 0)


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """The dtype depends on the values: a guard holds the decision."""
    x = as_tracer(recorder_of(a), a)
    if x.dtype.kind != "c":
        return x
    if tol > 1:
        tol = float(np.finfo(x.dtype).eps) * tol
    near = call(np.less, call(np.absolute, emit("imag", x)), tol)
    close = emit("all", near, axes=tuple(range(x.ndim)))
    return real(x) if bool(close) else x


# --- ufuncs whose complex form is no primitive ----------------------------------------


def _operands(ufunc: np.ufunc, *inputs: Any) -> list[Tracer]:
    rec = recorder_of(*inputs)
    dtype = loop_dtype(ufunc, *inputs)
    return [as_tracer(rec, x, dtype) for x in inputs]


def _sign(z: Any) -> Any:
    """z / |z|, and 0 at 0."""
    (x,) = _operands(np.sign, z)
    size = emit("modulus", x)
    at_zero = call(np.equal, size, 0)
    size = np.where(at_zero, size.dtype.type(1), size)
    return emit("complex", emit("real", x) / size, emit("imag", x) / size)


def _rint(z: Any) -> Any:
    (x,) = _operands(np.rint, z)
    return emit("complex", emit("rint", emit("real", x)), emit("rint", emit("imag", x)))


def _ordering(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """Lexicographic; false where the parts that decide are NaN."""
    strict = np.less if ufunc in (np.less, np.less_equal) else np.greater

    def compare(a: Any, b: Any) -> Any:
        x, y = _operands(ufunc, a, b)
        ar, ai, br, bi = [emit(part, t) for t in (x, y) for part in ("real", "imag")]
        numbers = call(np.logical_and, call(np.equal, ai, ai), call(np.equal, bi, bi))
        ahead = call(np.logical_and, call(strict, ar, br), numbers)
        tied = call(np.logical_and, call(np.equal, ar, br), call(ufunc, ai, bi))
        return call(np.logical_or, ahead, tied)

    return compare


def _extremum(ufunc: np.ufunc, compare: np.ufunc, skips: bool) -> Callable[..., Any]:
    """The larger or smaller in that order; NaNs are passed on, or skipped."""

    def extremum(a: Any, b: Any) -> Any:
        x, y = _operands(ufunc, a, b)
        first = call(compare, x, y)
        other = call(np.isnan, y if skips else x)
        return np.where(call(np.logical_or, first, other), x, y)

    return extremum


COMPLEX[np.sign] = _sign
COMPLEX[np.rint] = _rint
for _ufunc in (np.less, np.less_equal, np.greater, np.greater_equal):
    COMPLEX[_ufunc] = _ordering(_ufunc)
COMPLEX[np.maximum] = _extremum(np.maximum, np.greater_equal, False)
COMPLEX[np.minimum] = _extremum(np.minimum, np.less_equal, False)
COMPLEX[np.fmax] = _extremum(np.fmax, np.greater_equal, True)
COMPLEX[np.fmin] = _extremum(np.fmin, np.less_equal, True)
