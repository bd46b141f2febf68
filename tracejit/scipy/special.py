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
    betainccinv,
    betaincinv,
    betaln,
    binom,
    boxcox,
    boxcox1p,
    cbrt,
    chdtr,
    chdtrc,
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
    exp10,
    expi,
    expit,
    expm1,
    expn,
    fdtr,
    fdtrc,
    gamma,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    gammasgn,
    gdtr,
    gdtrc,
    huber,
    i0,
    i0e,
    i1,
    i1e,
    inv_boxcox,
    inv_boxcox1p,
    iv,
    ive,
    j0,
    j1,
    jn,
    jv,
    jve,
    k0,
    k0e,
    k1,
    k1e,
    kl_div,
    kn,
    kv,
    kve,
    log1p,
    log_expit,
    log_ndtr,
    loggamma,
    logit,
    ndtr,
    ndtri,
    pdtr,
    pdtrc,
    poch,
    pseudo_huber,
    psi,
    rel_entr,
    rgamma,
    sinc,
    spence,
    stdtr,
    stdtrit,
    xlog1py,
    xlogy,
    y0,
    y1,
    yn,
    yv,
    yve,
    zeta,
)

from ..errors import UnsupportedError, message
from ..numpy_api.table import as_tracer, emit
from ..tracer import Tracer, where

__all__ = [
    "beta",
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "betaln",
    "binom",
    "boxcox",
    "boxcox1p",
    "cbrt",
    "chdtr",
    "chdtrc",
    "comb",
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
    "exp10",
    "expi",
    "expit",
    "expm1",
    "expn",
    "factorial",
    "fdtr",
    "fdtrc",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammainccinv",
    "gammaincinv",
    "gammaln",
    "gammasgn",
    "gdtr",
    "gdtrc",
    "huber",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "inv_boxcox",
    "inv_boxcox1p",
    "iv",
    "ive",
    "j0",
    "j1",
    "jn",
    "jv",
    "jve",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "kn",
    "kv",
    "kve",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "pdtr",
    "pdtrc",
    "poch",
    "polygamma",
    "pseudo_huber",
    "psi",
    "rel_entr",
    "rgamma",
    "sinc",
    "softmax",
    "spence",
    "spherical_in",
    "spherical_jn",
    "spherical_kn",
    "spherical_yn",
    "stdtr",
    "stdtrit",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yn",
    "yv",
    "yve",
    "zeta",
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
    """An array-like as floats; integers become f64.

    Also a traced Python number becomes one of NumPy, as an untraced one does: else
    `~(scale > 0)` would be Python's, -2 of True.
    """
    if type(a) is Tracer and a.weak:
        a = a.rec.tracer(as_tracer(a.rec, a).ref)
    elif not hasattr(a, "dtype"):
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
    if b is not None:
        b = _floats(b)
    if return_sign and "c" in (
        a.dtype.kind,
        a.dtype.kind if b is None else b.dtype.kind,
    ):
        found = logsumexp(a, axis, b, keepdims)
        return np.real(found), np.exp(1j * np.imag(found))
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


def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """How many ways there are to choose k of N: `binom`, and 0 outside 0 <= k <= N.

    Args:
        N, k: floats or integers, which broadcast.
        exact: only for ordinary integers, which SciPy then counts itself.
        repetition: whether a thing may be chosen again.

    Example:
        >>> float(comb(5.0, 2.0))
        10.0
    """
    if not _traced(N, k):
        return _scipy.comb(N, k, exact=exact, repetition=repetition)
    if exact:
        _not_exact("comb")
    if repetition:
        N = N + k - 1
    N, k = _floats(N), _floats(k)
    inside = (k <= N) & (N >= 0) & (k >= 0)
    found = binom(np.where(inside, N, np.ones_like(N)), np.where(inside, k, 0.0))
    return np.where(inside, found, 0.0)[()]


def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1), and 0 below 0.

    Args:
        n: floats or integers.
        exact: only for ordinary integers.
        extend: "zero", the only one of traced values.

    Example:
        >>> float(factorial(4.0))
        24.0
    """
    if not _traced(n):
        return _scipy.factorial(n, exact=exact, extend=extend)
    if exact or extend != "zero":
        _not_exact("factorial")
    n = _floats(n)
    inside = n >= 0
    found = gamma(np.where(inside, n, np.zeros_like(n)) + 1)
    return np.where(inside, found, np.where(np.isnan(n), np.nan, 0.0))[()]


def _traced(*values: Any) -> bool:
    return any(type(x) is Tracer for x in values)


def _not_exact(name: str) -> None:
    raise UnsupportedError(
        message(
            f"{name} of a traced value is a float",
            where=where(),
            way_out="Leave out exact= and extend=",
        )
    )


def _spherical(
    bessel: Any, sign: tuple[float, float], n: Any, z: Any, derivative: bool, at0: float
) -> Any:
    """sqrt(pi / (2 z)) bessel(n + 1/2, z); its derivative by DLMF 10.51."""
    z = _floats(z)
    # At z = 0 the limit is 1 for n = 0 and 0 for all others, or infinite.
    zero = z == 0
    safe = np.where(zero, np.ones_like(z), z)
    front = np.sqrt(0.5 * np.pi / safe)
    if derivative:
        here, next_one = bessel(n + 0.5, safe), bessel(n + 1.5, safe)
        return front * (sign[0] * n / safe * here + sign[1] * next_one)
    limit = np.where(np.asarray(n) == 0, 1.0, 0.0) if at0 == 0 else at0
    return np.where(zero, limit, front * bessel(n + 0.5, safe))[()]


def spherical_jn(n: Any, z: Any, derivative: bool = False) -> Any:
    """Spherical Bessel function of the first kind (NIST DLMF 10.47.3), z >= 0.

    Example:
        >>> float(spherical_jn(0, 1.0).round(6))
        0.841471
    """
    if not _traced(n, z):
        return _scipy.spherical_jn(n, z, derivative)
    return _spherical(jv, (1.0, -1.0), n, z, derivative, 0.0)


def spherical_yn(n: Any, z: Any, derivative: bool = False) -> Any:
    """Spherical Bessel function of the second kind (NIST DLMF 10.47.4), z > 0."""
    if not _traced(n, z):
        return _scipy.spherical_yn(n, z, derivative)
    return _spherical(yv, (1.0, -1.0), n, z, derivative, -np.inf)


def spherical_in(n: Any, z: Any, derivative: bool = False) -> Any:
    """Modified spherical Bessel function, first kind (NIST DLMF 10.47.7), z >= 0."""
    if not _traced(n, z):
        return _scipy.spherical_in(n, z, derivative)
    return _spherical(iv, (1.0, 1.0), n, z, derivative, 0.0)


def spherical_kn(n: Any, z: Any, derivative: bool = False) -> Any:
    """Modified spherical Bessel function, second kind (NIST DLMF 10.47.9), z > 0."""
    if not _traced(n, z):
        return _scipy.spherical_kn(n, z, derivative)
    return _spherical(kv, (1.0, -1.0), n, z, derivative, np.inf)
