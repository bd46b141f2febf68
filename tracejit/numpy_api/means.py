"""Means, variances and weighted averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import real_of
from ..tracer import Tracer
from .complex import squared_size
from .reductions import any as any_
from .reductions import axes_of, reduced_size
from .reductions import sum as sum_
from .shape import transpose
from .table import (
    as_tracer,
    cast,
    emit,
    implements,
    in_dtype,
    no_keywords,
    of,
    recorder_of,
)
from .ufuncs import BOOL, F64, call

__all__ = ["average", "mean", "shaped_weights", "std", "var"]


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


def _none_left(n: Any, limit: Any = 0) -> bool:
    """Whether some result has too few elements: NumPy warns about that."""
    return bool(n <= limit) if type(n) is int else bool((n.concrete <= limit).any())


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
    if _none_left(n):
        x.rec.warn("Mean of empty slice" + ("." if where is True else ""))
    return _ratio(sum_(x, axis, keepdims=keepdims, where=where), n)


def _ratio(total: Tracer, n: Any) -> Tracer:
    """`total / n` in the dtype of `total`, whatever the count is."""
    if type(n) is Tracer:
        count = cast(n, total.dtype)
    else:  # a float, if the `ddof` of a variance is one
        count = Tracer(total.rec, total.rec.constant(n, total.dtype), None, False)
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
    x = of(a, where, mean)
    dtype = _mean_dtype(x, dtype)
    n = _count(x, axis, where, True)
    if _none_left(n, ddof):
        x.rec.warn("Degrees of freedom <= 0 for slice")
    if mean is None or mean is np._NoValue:
        mean = _ratio(sum_(x, axis, dtype, keepdims=True, where=where), n)
    # The differences are in the dtype of both, as NumPy's are.
    apart = squared_size(call(np.subtract, x, mean))
    total = sum_(apart, axis, real_of(dtype), keepdims=keepdims, where=where)
    if type(n) is int:
        return _ratio(total, n - ddof if n > ddof else 0)
    n = n if keepdims else emit("reshape", n, shape=total.shape)
    return _ratio(total, call(np.maximum, n - ddof, 0))


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
    found = var(
        a,
        axis,
        dtype,
        None,
        ddof,
        keepdims,
        where=where,
        mean=mean,
        correction=correction,
    )
    return emit("sqrt", found)


# --- weighted -------------------------------------------------------------------------


def shaped_weights(x: Tracer, w: Tracer, axis: Any) -> Tracer:
    """Weights in a shape that broadcasts against `x`, as NumPy accepts them."""
    if x.shape == w.shape:
        return w
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    wanted = axis if isinstance(axis, tuple) else (axis,)
    axes = [axes_of(i, x.ndim)[0] for i in wanted]
    if w.shape != tuple([x.shape[i] for i in axes]):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis."
        )
    w = transpose(w, tuple(np.argsort(axes).tolist()))
    shape = tuple([n if i in axes else 1 for i, n in enumerate(x.shape)])
    return emit("reshape", w, shape=shape)


@implements(np.average)
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    keepdims = keepdims is not np._NoValue and keepdims
    x = of(a, weights)
    if weights is None:
        found = mean(x, axis, keepdims=keepdims)
        scale = found.dtype.type(x.size / found.size)
    else:
        w = shaped_weights(x, as_tracer(recorder_of(a, weights), weights), axis)
        at_least = [F64] if x.dtype.kind in "biu" else []
        dtype = np.result_type(x.dtype, w.dtype, *at_least)
        scale = sum_(w, axis, dtype, keepdims=keepdims)
        if any_(scale == 0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        product = call(np.multiply, cast(x, dtype), cast(w, dtype))
        found = call(np.divide, sum_(product, axis, keepdims=keepdims), scale)
    if not returned:
        return found
    scale = as_tracer(x.rec, scale)
    if scale.shape != found.shape:
        scale = emit("broadcast_to", scale, shape=found.shape)
    return found, scale
