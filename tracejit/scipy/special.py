"""`scipy.special` for recorded functions.

SciPy's ufuncs dispatch, so they work as they are and are re-exported here.  What SciPy
writes in Python does not dispatch; it is written again here, with the same names and
arguments, for traced and for ordinary arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special as _scipy
from scipy.special import (
    beta,
    betainc,
    betaincc,
    betaincinv,
    betaln,
    boxcox,
    cbrt,
    dawsn,
    digamma,
    ellipe,
    ellipk,
    entr,
    erf,
    erfc,
    erfcinv,
    erfcx,
    erfi,
    erfinv,
    exp1,
    exp2,
    expi,
    expit,
    expm1,
    gamma,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    huber,
    i0,
    i0e,
    i1,
    i1e,
    inv_boxcox,
    iv,
    ive,
    j0,
    j1,
    jn,
    jv,
    k0,
    k0e,
    k1,
    k1e,
    kl_div,
    kv,
    kve,
    log1p,
    log_expit,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    pseudo_huber,
    psi,
    rel_entr,
    rgamma,
    spence,
    stdtr,
    xlog1py,
    xlogy,
    y0,
    y1,
    yv,
)

from ..numpy_api.table import emit
from ..tracer import Tracer

__all__ = [
    "beta",
    "betainc",
    "betaincc",
    "betaincinv",
    "betaln",
    "boxcox",
    "cbrt",
    "dawsn",
    "digamma",
    "ellipe",
    "ellipk",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfi",
    "erfinv",
    "exp1",
    "exp2",
    "expi",
    "expit",
    "expm1",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammainccinv",
    "gammaincinv",
    "gammaln",
    "huber",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "inv_boxcox",
    "iv",
    "ive",
    "j0",
    "j1",
    "jn",
    "jv",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "kv",
    "kve",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "pseudo_huber",
    "psi",
    "rel_entr",
    "rgamma",
    "softmax",
    "spence",
    "stdtr",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yv",
]


def _constant(x: Any) -> Any:
    """A value whose derivative is zero."""
    return emit("stop_gradient", x) if type(x) is Tracer else x


def _top(a: Any, axis: Any) -> tuple[Any, Any]:
    """The maximum, and the same with 0 where it is infinite, to be subtracted."""
    top = _constant(np.max(a, axis=axis, keepdims=True))
    return top, np.where(np.isfinite(top), top, np.zeros_like(top))


def _log_sum(terms: Any, largest: Any, axis: Any) -> tuple[Any, Any]:
    """log(sum(terms)) and the sum; -inf for 0, NaN for less.

    The terms of the largest exponents are summed apart, so that what a small rest adds
    to the logarithm is not rounded away.
    """
    nothing = np.zeros_like(terms)
    head = np.sum(np.where(largest, terms, nothing), axis=axis, keepdims=True)
    rest = np.sum(np.where(largest, nothing, terms), axis=axis, keepdims=True)
    total = head + rest
    one = np.ones_like(total)
    positive = total > 0
    apart = positive & (head > 0)
    # log(0) would warn; its derivative would be infinite times zero.
    head = np.where(apart, head, np.where(positive, total, one))
    tail = np.where(apart & np.isfinite(head), rest, 0 * one) / head
    log = np.log(head) + np.log1p(tail)
    below = np.where(total < 0, np.nan, total)
    return np.where(positive, log, np.where(total == 0, -np.inf, below)), total


def _floats(a: Any) -> Any:
    """An array-like as floats; integers become f64."""
    if not hasattr(a, "dtype"):
        a = np.asarray(a)
    return a if a.dtype.kind in "fc" else a.astype(np.float64)


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
    if b is None:
        top, shift = _top(a, axis)
        terms = np.exp(a - shift)
    else:
        a, b = np.broadcast_arrays(a, b)
        top, shift = _top(np.where(b == 0, -np.inf, a), axis)
        # Only the exponent of a weight 0 can be larger than 0.
        terms = b * np.exp(np.minimum(a - shift, np.log(np.finfo(a.dtype).max) - 1))
    out, total = _log_sum(terms, a == top, axis)
    sign = np.sign(total)
    if return_sign:
        flipped, _ = _log_sum(-terms, a == top, axis)
        out = np.where(total < 0, flipped, out)
    out = out + shift
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
    shifted = x - _top(x, axis)[1]
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def polygamma(n: Any, x: Any) -> Any:
    """The derivative of order n of digamma, n = 0, 1, ... (NIST DLMF 5.15.1).

    Args:
        n: an integer or an array of integers.
        x: floats, broadcast with `n`.

    Example:
        >>> float(polygamma(1, 1.0).round(6))
        1.644934
    """
    if type(x) is not Tracer and type(n) is not Tracer:
        return _scipy.polygamma(n, x)
    order = n if type(n) is Tracer else np.asarray(n)
    # Of order 0 the series diverges: digamma is asked instead.
    positive = np.where(order == 0, 1, order)
    sign = np.where(positive % 2 == 0, -1.0, 1.0)
    factor = sign * _scipy.gamma(positive + 1.0)
    found = factor * _scipy.zeta(positive + 1.0, x)
    if isinstance(n, int) and n != 0:
        return found
    return np.where(order == 0, psi(x), found)


def multigammaln(a: Any, d: int) -> Any:
    """Logarithm of the multivariate gamma function of dimension d.

    Args:
        a: floats, larger than (d - 1) / 2.
        d: the dimension, an integer.

    Raises:
        ValueError: `d` is no positive integer, or an `a` is too small.

    Example:
        >>> float(multigammaln(2.0, 1))
        0.0
    """
    if type(a) is not Tracer:
        return _scipy.multigammaln(a, d)
    if d != np.floor(d) or d < 1:
        raise ValueError("d should be a positive integer (dimension)")
    if np.any(a <= 0.5 * (d - 1)):
        raise ValueError(f"condition a ({a}) > 0.5 * (d-1) ({0.5 * (d - 1)}) not met")
    total = gammaln(a) + 0.25 * d * (d - 1) * np.log(np.pi)
    for j in range(1, int(d)):
        total = total + gammaln(a - 0.5 * j)
    return total
