"""Means, variances, medians, and reductions that skip NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .joining import take_along_axis
from .reductions import axis_of, prod, reduced_size
from .reductions import sum as sum_
from .selection import where as choose
from .shape import moveaxis, window
from .table import as_tracer, cast, emit, implements, no_keywords, of, recorder_of
from .ufuncs import BOOL, F64, call

__all__ = ["mean", "var"]


# --- means and variances --------------------------------------------------------------


def _mean_dtype(x: Tracer, dtype: Any) -> np.dtype:
    if dtype is not None:
        return np.dtype(dtype)
    return x.dtype if x.dtype.kind == "f" else F64


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
    x = cast(x, _mean_dtype(x, dtype))
    n = _count(x, axis, where, keepdims)
    if type(n) is int and n == 0:
        x.rec.warn("Mean of empty slice.")
    return _ratio(sum_(x, axis, keepdims=keepdims, where=where), n)


def _ratio(total: Tracer, n: Any) -> Tracer:
    """`total / n` in the dtype of `total`, whatever the count is."""
    if type(n) is int:
        return total / n
    return total / cast(n, total.dtype)


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
    x = cast(x, _mean_dtype(x, dtype))
    center = _mean_of(x, axis, keepdims=True, where=where) if mean is None else mean
    total = sum_((x - center) ** 2, axis, keepdims=keepdims, where=where)
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
