"""NumPy's older polynomials: arrays of coefficients, the highest power first."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np

from ..tracer import FUNCTIONS, Tracer
from .calculus import convolve
from .complex import conjugated
from .joining import concatenate, sort
from .rearranging import trim_zeros
from .reductions import all as all_
from .reductions import sum as sum_
from .selection import allclose
from .shape import atleast_1d
from .table import as_tracer, cast, emit, filled, implements, of, recorder_of
from .ufuncs import F64, call

__all__: list[str] = []


def _coefficients(*given: Any) -> list[Tracer]:
    rec = recorder_of(*given)
    return [atleast_1d(as_tracer(rec, g)) for g in given]


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    rec = recorder_of(p, x)
    t = as_tracer(rec, x)
    total: Any = np.zeros_like(t)
    for coefficient in p if isinstance(p, (list, tuple)) else as_tracer(rec, p):
        total = call(np.add, call(np.multiply, total, t), coefficient)
    return total


def _summed(name: str, ufunc: np.ufunc) -> None:
    @implements(getattr(np, name))
    def implementation(a1: Any, a2: Any) -> Any:
        x, y = _coefficients(a1, a2)
        n = builtins.max(x.size, y.size)
        x, y = [
            t
            if t.size == n
            else concatenate([filled(t.rec, (n - t.size,), 0, t.dtype), t])
            for t in (x, y)
        ]
        return call(ufunc, x, y)


_summed("polyadd", np.add)
_summed("polysub", np.subtract)


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    x, y = [_trimmed(t) for t in _coefficients(a1, a2)]
    return convolve(x, y)


def _trimmed(x: Tracer) -> Tracer:
    """Without the zeros in front, as np.poly1d has it."""
    found = trim_zeros(x, "f")
    return found if found.size else filled(x.rec, (1,), 0, x.dtype)


@implements(np.polydiv)
def polydiv(u: Any, v: Any) -> Any:
    a, b = [call(np.add, t, 0.0) for t in _coefficients(u, v)]
    dtype = np.result_type(a.dtype, b.dtype)
    m, n = a.size - 1, b.size - 1
    quotient: list[Any] = []
    rest = cast(a, dtype)
    for k in range(m - n + 1):
        d = rest[k] / b[0]
        quotient.append(d)
        middle = rest[k : k + n + 1] - d * b
        rest = concatenate([rest[:k], middle, rest[k + n + 1 :]])
    if not quotient:
        quotient = [filled(a.rec, (), 0, dtype)]
    while rest.size > 1 and allclose(rest[0], 0, rtol=1e-14):
        rest = rest[1:]
    return np.stack(quotient), rest


@implements(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    (x,) = _coefficients(p)
    m = operator.index(m)
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    for _ in range(m):
        n = x.size - 1
        x = call(np.multiply, x[:-1], np.arange(n, 0, -1)) if n > 0 else x[:0]
    return x


@implements(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    rec = recorder_of(p, k)
    x = as_tracer(rec, p)
    m = operator.index(m)
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = np.zeros(m) if k is None else atleast_1d(as_tracer(rec, k))
    if constants.size == 1 and m > 1:
        constants = [constants[0]] * m
    if len(constants) < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    for i in range(m):
        divided = call(np.divide, x, np.arange(x.size, 0, -1))
        x = concatenate([divided, as_tracer(rec, constants[i])[None]])
    return x


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    (x,) = _coefficients(seq_of_zeros)
    if x.ndim == 2 and x.shape[0] == x.shape[1] != 0:
        x = FUNCTIONS[np.linalg.eigvals](x)
    elif x.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    dtype = np.result_type(x.dtype, 1.0) if x.dtype.kind not in "fc" else x.dtype
    out: Any = filled(x.rec, (1,), 1, dtype)
    for zero in x:
        factor = np.stack([filled(x.rec, (), 1, dtype), -cast(zero, dtype)])
        out = convolve(out, factor)
    if x.dtype.kind == "c" and all_(sort(x) == sort(conjugated(x))):
        return out.real
    return out


@implements(np.roots, host=True)
def roots(p: Any) -> Any:
    x = atleast_1d(of(p))
    if x.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    # How many zeros there are in front and behind is a decision about a shape.
    places = [int(i) for i in np.nonzero(x)[0]]
    if not places:
        return np.array([])
    behind = x.size - places[-1] - 1
    x = x[places[0] : places[-1] + 1]
    x = x if x.dtype.kind in "fc" else cast(x, np.float64)
    n = x.size - 1
    if n == 0:
        return np.zeros(behind)
    top = call(np.divide, -x[1:], x[0])
    below = as_tracer(x.rec, np.eye(n - 1, n, dtype=x.dtype))
    companion = concatenate([top[None], below])
    found = FUNCTIONS[np.linalg.eigvals](companion)
    return concatenate([found, np.zeros(behind, found.dtype)]) if behind else found


@implements(np.polyfit, host=True)
def polyfit(
    x: Any,
    y: Any,
    deg: Any,
    rcond: Any = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Any:
    rec = recorder_of(x, y, w)
    x, y = call_float(rec, x), call_float(rec, y)
    order = operator.index(deg) + 1
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if x.size == 0:
        raise TypeError("expected non-empty vector for x")
    if y.ndim < 1 or y.ndim > 2:
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    left, right = np.vander(x, order), y
    if w is not None:
        w = call_float(rec, w)
        if w.ndim != 1:
            raise TypeError("expected a 1-d array for weights")
        if w.shape[0] != y.shape[0]:
            raise TypeError("expected w and y to have the same length")
        left = left * w[:, None]
        right = right * w[:, None] if right.ndim == 2 else right * w
    scale = call(np.sqrt, sum_(left * left, 0))
    found, residuals, rank, singular = np.linalg.lstsq(left / scale, right, rcond)
    c = (found.T / scale).T
    full_rank = operator.index(rank) == order
    if not full_rank and not full:
        rec.warn("Polyfit may be poorly conditioned", np.exceptions.RankWarning)
    if full:
        return c, residuals, rank, singular, rcond
    if not cov:
        return c
    scaled = left / scale
    base = np.linalg.inv(
        emit("dot", scaled, scaled, contract=((0,), (0,)), batch=((), ()))
    )
    base = base / np.outer(scale, scale)
    if cov == "unscaled":
        factor: Any = 1
    else:
        if len(x) <= order:
            raise ValueError(
                "the number of data points must exceed order to scale the covariance "
                "matrix"
            )
        factor = residuals / (len(x) - order)
    return c, base * factor if y.ndim == 1 else base[:, :, None] * factor


def call_float(rec: Any, x: Any) -> Tracer:
    """`x + 0.0`: floats of their own precision, integers as f64."""
    t = as_tracer(rec, x)
    return t if t.dtype.kind == "f" else cast(t, F64)
