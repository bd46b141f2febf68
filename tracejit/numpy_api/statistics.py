"""Covariances and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracer import Tracer
from .complex import conjugated
from .joining import concatenate
from .means import average, mean
from .products import diagonal
from .reductions import all as all_
from .reductions import any as any_
from .reductions import sum as sum_
from .selection import clip
from .shape import permute, squeeze
from .table import as_tracer, cast, emit, implements, of
from .ufuncs import F64, call

__all__ = ["cov"]


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
    first = of(m, y, fweights, aweights)
    rec = first.rec
    parts = [first] if y is None else [first, as_tracer(rec, y)]
    for name, part in zip("my", parts, strict=False):
        if part.ndim > 2:
            raise ValueError(f"{name} has more than 2 dimensions")
    if dtype is None:
        dtype = np.result_type(*[p.dtype for p in parts], F64)
    rows = [_variables(cast(p, dtype), rowvar) for p in parts]
    x = rows[0] if y is None else concatenate(rows)
    if ddof is None:
        ddof = 0 if bias else 1
    w = _weights(x, fweights, aweights)
    if w is None:
        free: Any = x.shape[1] - ddof
        x = call(np.subtract, x, mean(x, 1, keepdims=True))
        weighted = x
    else:
        center, total = average(x, 1, w, returned=True, keepdims=True)
        free = total[0, 0]
        if ddof != 0:
            lost = ddof
            if aweights is not None:
                lost = ddof * sum_(w * as_tracer(rec, aweights, F64)) / free
            free = free - lost
        x = call(np.subtract, x, center)
        weighted = call(np.multiply, x, w)
    if free <= 0:
        rec.warn("Degrees of freedom <= 0 for slice")
        free = 0.0
    weighted = conjugated(weighted)
    product = emit("dot", x, weighted, contract=((1,), (1,)), batch=((), ()))
    if type(free) is Tracer:
        factor = cast(1 / free, product.dtype)
    else:
        with np.errstate(divide="warn"):
            factor = np.true_divide(1, free).astype(product.dtype)
    return squeeze(call(np.multiply, product, factor))


def _weights(x: Tracer, fweights: Any, aweights: Any) -> Tracer | None:
    """The product of both kinds of weights, checked as NumPy does."""
    w = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        each = as_tracer(x.rec, given, F64)
        if name == "fweights" and not all_(each == call(np.rint, each)):
            raise TypeError("fweights must be integer")
        if each.ndim > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if each.shape[0] != x.shape[1]:
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        if any_(each < 0):
            raise ValueError(f"{name} cannot be negative")
        w = each if w is None else w * each
    return w


def _variables(x: Tracer, rowvar: bool) -> Tracer:
    """One row per variable."""
    if x.ndim == 2:
        return x if rowvar else permute(x, (1, 0))
    return emit("reshape", x, shape=(1, x.size))


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    d = call(np.sqrt, diagonal(c))
    c = c / emit("reshape", d, shape=(d.size, 1)) / d
    return clip(c, -1, 1)
