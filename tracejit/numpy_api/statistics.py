"""Means, variances, medians, and reductions that skip NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .complex import squared_size
from .joining import concatenate, take_along_axis
from .products import diagonal
from .reductions import all as all_
from .reductions import axis_of, prod, reduced_size
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .selection import clip
from .selection import where as choose
from .shape import moveaxis, permute, squeeze, window
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
    in_dtype,
    no_keywords,
    of,
    recorder_of,
    static_array,
)
from .ufuncs import BOOL, F64, call

__all__ = ["mean", "var"]


# --- means and variances --------------------------------------------------------------


def _mean_dtype(x: Tracer, dtype: Any) -> np.dtype:
    if dtype is not None:
        return np.dtype(dtype)
    return x.dtype if x.dtype.kind in "fc" else F64


def _count(x: Tracer, axis: Any, where: Any, keepdims: Any) -> Any:
    """How many elements each result is made of: an int, or traced under a mask."""
    if where is True:
        return reduced_size(x, axis)
    mask = as_tracer(x.rec, where, BOOL)
    return sum_(emit("broadcast_to", mask, shape=x.shape), axis, keepdims=keepdims)


@implements(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    no_keywords(np.mean, out=out)
    x = of(a, where)
    x = in_dtype(x, _mean_dtype(x, dtype))
    n = _count(x, axis, where, keepdims)
    if type(n) is int and n == 0:
        x.rec.warn("Mean of empty slice.")
    return _ratio(sum_(x, axis, keepdims=keepdims, where=where), n)


def _ratio(total: Tracer, n: Any) -> Tracer:
    """`total / n` in the dtype of `total`, whatever the count is."""
    if type(n) is int:
        count = Tracer(total.rec, total.rec.constant(n, total.dtype), None, False)
    else:
        count = cast(n, total.dtype)
    return emit("div", total, count)


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    no_keywords(np.var, out=out)
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    x = of(a, where)
    x = in_dtype(x, _mean_dtype(x, dtype))
    center = _mean_of(x, axis, keepdims=True, where=where) if mean is None else mean
    apart = squared_size(call(np.subtract, x, center))
    total = sum_(apart, axis, keepdims=keepdims, where=where)
    n = _count(x, axis, where, keepdims)
    if type(n) is int:
        if n <= ddof:
            x.rec.warn("Degrees of freedom <= 0 for slice")
        return _ratio(total, n - ddof if n > ddof else 0)
    return _ratio(total, call(np.maximum, n - ddof, 0))


_mean_of = mean


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    no_keywords(np.std, out=out)
    return call(
        np.sqrt,
        var(
            a,
            axis,
            dtype,
            None,
            ddof,
            keepdims,
            where=where,
            mean=mean,
            correction=correction,
        ),
    )


@implements(np.average)
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    if returned:
        refuse("np.average with returned=True", "Compute the sum of weights yourself")
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    rec = recorder_of(a, weights)
    x, w = as_tracer(rec, a), as_tracer(rec, weights)
    if x.shape != w.shape:
        if axis is None or isinstance(axis, tuple):
            raise TypeError(
                "Axis must be specified when shapes of a and weights differ."
            )
        shape = [1] * x.ndim
        shape[axis_of(axis, x.ndim)] = w.size
        w = emit("reshape", w, shape=tuple(shape))
        w = emit("broadcast_to", w, shape=x.shape)
    dtype = np.result_type(x.dtype, w.dtype, F64 if x.dtype.kind in "biu" else x.dtype)
    w = cast(w, dtype)
    scale = sum_(w, axis, keepdims=keepdims)
    return sum_(cast(x, dtype) * w, axis, keepdims=keepdims) / scale


# --- NaN-aware ------------------------------------------------------------------------


def _nan_aware(function: Callable[..., Any], plain: Callable[..., Any]) -> None:
    def implementation(a: Any, *args: Any, where: Any = True, **kwargs: Any) -> Any:
        x = of(a, where)
        valid = call(np.logical_not, call(np.isnan, x)) if x.dtype.kind == "f" else True
        if where is not True and valid is not True:
            valid = call(np.logical_and, valid, where)
        return plain(x, *args, where=valid if valid is not True else where, **kwargs)

    implements(function)(implementation)


_nan_aware(np.nansum, sum_)
_nan_aware(np.nanprod, prod)
_nan_aware(np.nanmean, mean)
_nan_aware(np.nanvar, var)
_nan_aware(np.nanstd, std)


# --- order statistics -----------------------------------------------------------------


def _order_statistic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Median by sorting: the middle element, or the mean of the two."""

    def median(
        a: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        keepdims: bool = False,
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        if isinstance(axis, tuple):
            refuse("np.median over several axes", "Reshape first")
        shape = x.shape
        where_to = 0 if axis is None else axis_of(axis, x.ndim)
        t = emit("reshape", x, shape=(x.size,)) if axis is None else x
        t = moveaxis(t, where_to, -1)
        t = cast(t, np.float64) if t.dtype.kind != "f" else t
        n = t.shape[-1]
        order = emit("argsort", t, axis=t.ndim - 1)
        low, high = (n - 1) // 2, n // 2
        t = _pick(t, order, low, high)
        if keepdims:
            kept = [
                1 if axis is None or i == where_to else m for i, m in enumerate(shape)
            ]
            t = emit("reshape", t, shape=tuple(kept))
        return t

    return median


def _pick(x: Tracer, order: Tracer, low: int, high: int) -> Tracer:
    ordered = take_along_axis(x, order, -1)
    last = ordered.ndim - 1
    middle = window(ordered, last, low, high - low + 1)
    out = sum_(middle, -1) / (high - low + 1)
    # A NaN sorts to the end and makes NumPy's median NaN.
    top = ordered[..., -1]
    return choose(call(np.isnan, top), top, out)


median = implements(np.median)(_order_statistic(np.median))


@implements(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    no_keywords(np.quantile, out=out, weights=weights)
    if method != "linear" or isinstance(axis, tuple) or keepdims:
        refuse(
            "np.quantile with a method, several axes or keepdims=",
            "Use the method 'linear' along one axis",
        )
    x = of(a, q)
    x = x if x.dtype.kind == "f" else cast(x, F64)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    x = moveaxis(x, axis_of(axis, x.ndim), -1)
    n = x.shape[-1]
    level = static_array(x.rec, q)
    if not ((level >= 0) & (level <= 1)).all():
        raise ValueError("Quantiles must be in the range [0, 1]")
    place = level * (n - 1)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, n - 1)
    ordered = take_along_axis(x, emit("argsort", x, axis=x.ndim - 1), -1)
    low, high = [
        emit("gather", ordered, as_tracer(x.rec, np.asarray(i)), axis=x.ndim - 1)
        for i in (below, above)
    ]
    share = (place - below).astype(x.dtype)
    found = low + (high - low) * share
    nan = call(np.isnan, ordered[..., -1])
    nan = emit("reshape", nan, shape=nan.shape + (1,) * level.ndim)
    found = choose(nan, np.nan, found)
    rank = x.ndim - 1
    return permute(found, (*range(rank, found.ndim), *range(rank)))


@implements(np.percentile)
def percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    x = of(a, q)
    return quantile(x, static_array(x.rec, q) / 100, *args, **kwargs)


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    no_keywords(np.cov, fweights=fweights, aweights=aweights, dtype=dtype)
    x = _variables(of(m, y), rowvar)
    if y is not None:
        x = concatenate([x, _variables(as_tracer(x.rec, y), rowvar)])
    x = x if x.dtype.kind == "f" else cast(x, F64)
    x = x - mean(x, 1, keepdims=True)
    if ddof is None:
        ddof = 0 if bias else 1
    n = x.shape[1] - ddof
    if n <= 0:
        x.rec.warn("Degrees of freedom <= 0 for slice")
        n = 0
    product = emit("dot", x, x, contract=((1,), (1,)), batch=((), ()))
    return squeeze(product * np.true_divide(1, n).astype(x.dtype))


def _variables(x: Tracer, rowvar: bool) -> Tracer:
    """One row per variable."""
    if x.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    if x.ndim == 2:
        return x if rowvar else permute(x, (1, 0))
    return emit("reshape", x, shape=(1, x.size))


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    no_keywords(np.corrcoef, dtype=dtype)
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    d = call(np.sqrt, diagonal(c))
    c = c / emit("reshape", d, shape=(d.size, 1)) / d
    return clip(c, -1, 1)


def _nan_extremum(function: Callable[..., Any], plain: Any, neutral: float) -> None:
    @implements(function)
    def implementation(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        if x.dtype.kind != "f":
            return plain(x, axis, None, keepdims)
        missing = call(np.isnan, x)
        found = plain(choose(missing, neutral, x), axis, None, keepdims)
        none_left = all_(missing, axis, None, keepdims)
        if none_left.value.any():
            x.rec.warn("All-NaN slice encountered")
        return choose(none_left, np.nan, found)


_nan_extremum(np.nanmax, max_, -np.inf)
_nan_extremum(np.nanmin, min_, np.inf)
