"""`scipy.special` for recorded functions.

SciPy's ufuncs dispatch, so they work as they are and are re-exported here.  What SciPy
writes in Python does not dispatch; it is written again here, with the same names and
arguments, for traced and for ordinary arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import (
    cbrt,
    digamma,
    entr,
    erf,
    erfc,
    exp2,
    expit,
    expm1,
    gammaln,
    log1p,
    log_expit,
    logit,
    ndtr,
    psi,
    xlog1py,
    xlogy,
)

__all__ = [
    "cbrt",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "log1p",
    "log_expit",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "psi",
    "softmax",
    "xlog1py",
    "xlogy",
]


def _shift(a: Any, axis: Any) -> Any:
    """The maximum, and 0 where it is infinite: what makes exp(a - shift) finite."""
    top = np.max(a, axis=axis, keepdims=True)
    return np.where(np.isfinite(top), top, np.zeros_like(top))


def _floats(a: Any) -> Any:
    """An array-like as floats; integers become f64."""
    if not hasattr(a, "dtype"):
        a = np.asarray(a)
    return a if a.dtype.kind == "f" else a.astype(np.float64)


def logsumexp(
    a: Any,
    axis: int | tuple[int, ...] | None = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Logarithm of the sum of exponentials, without overflow.

    Args:
        a: array of floats.
        axis: axis or axes to sum over; all by default.
        b: weights of the exponentials, broadcast with `a`.
        keepdims: whether the summed axes stay with length 1.
        return_sign: whether to return the pair (log of the absolute sum, its sign).

    Returns:
        log(sum(b * exp(a))), -inf for an empty or zero sum.

    Example:
        >>> float(logsumexp(np.array([1000.0, 1000.0])).round(6))
        1000.693147
    """
    a = _floats(a)
    shift = _shift(a, axis)
    terms = np.exp(a - shift) if b is None else b * np.exp(a - shift)
    total = np.sum(terms, axis=axis, keepdims=True)
    sign = np.sign(total)
    if return_sign:
        total = np.abs(total)
    elif b is not None:
        total = np.where(total < 0, np.nan, total)
    positive = total > 0
    # log(0) would warn; its derivative would be infinite times zero.
    safe = np.where(positive, total, np.ones_like(total))
    out = np.where(positive, np.log(safe), np.where(total == 0, -np.inf, total)) + shift
    if not keepdims:
        axes = axis if axis is not None else tuple(range(np.ndim(a)))
        out, sign = np.squeeze(out, axes), np.squeeze(sign, axes)
        out, sign = out[()], sign[()]
    return (out, sign) if return_sign else out


def softmax(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """exp(x) / sum(exp(x)) along `axis` (all axes by default), without overflow.

    Example:
        >>> softmax(np.array([0.0, 0.0]))
        array([0.5, 0.5])
    """
    x = _floats(x)
    terms = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return terms / np.sum(terms, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """log(softmax(x)) along `axis` (all axes by default), accurate for small ones.

    Example:
        >>> log_softmax(np.array([1000.0, 0.0]))
        array([    0., -1000.])
    """
    x = _floats(x)
    shifted = x - _shift(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
