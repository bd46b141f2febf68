"""Histograms: edges that can be differentiated, and counts that cannot.

NumPy's uniform bins are a shortcut to the same counts; here each value is looked up
among the edges.  Weights are summed, and have a derivative.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .calculus import diff
from .ranges import linspace
from .reductions import all as all_
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .searching import lookup
from .table import as_tracer, cast, emit, filled, implements, promoted, recorder_of
from .ufuncs import F64, I64, call

__all__: list[str] = []


def _ndim(bins: Any) -> int:
    """The dimension of a number, an array, or a list for several axes."""
    return 1 if isinstance(bins, (list, tuple)) else np.ndim(bins)


def _outer_edges(x: Tracer, span: Any) -> tuple[Any, Any]:
    """The first and the last edge; guards hold what they were taken for."""
    if span is not None:
        first, last = span
        if first > last:
            raise ValueError("max must be larger than min in range parameter.")
        what = "supplied"
    elif not x.size:
        return 0, 1
    else:
        first, last = min_(x), max_(x)
        what = "autodetected"
    if not (np.isfinite(first) and np.isfinite(last)):
        raise ValueError(f"{what} range of [{first}, {last}] is not finite")
    return (first - 0.5, last + 0.5) if first == last else (first, last)


def _edges(x: Tracer, bins: Any, span: Any, name: str, alone: bool = False) -> Any:
    """The edges of the bins of one axis.

    Args:
        alone: whether the range decides on their dtype without the data.
    """
    if isinstance(bins, str):
        refuse(f"{name} with bins={bins!r}", "Give the number of bins, or their edges")
    if _ndim(bins) == 1:
        if type(bins) is not Tracer:
            bins = as_tracer(x.rec, bins)
        if not all_(bins[:-1] <= bins[1:]):
            raise ValueError("`bins` must increase monotonically, when an array")
        return bins
    if _ndim(bins):
        raise ValueError("`bins` must be 1d, when an array")
    try:
        count = operator.index(bins)
    except TypeError as error:
        raise TypeError("`bins` must be an integer, a string, or an array") from error
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    first, last, *_ = promoted(x.rec, *_outer_edges(x, span), *[x][alone:])
    dtype = first.dtype
    if dtype.kind not in "fc":
        dtype = np.result_type(dtype, float)
    return linspace(first, last, count + 1, dtype=dtype)


def _places(x: Tracer, edges: Any) -> Tracer:
    """The bin of each value, counted from 1; 0 and one too many are outside."""
    place = lookup(edges, x, "right")
    return call(np.subtract, place, cast(x == edges[-1], I64))


def _counted(place: Tracer, weights: Any, bins: int, dtype: Any) -> Tracer:
    """The sum of the weights of each place."""
    if weights is None:
        weights = filled(place.rec, place.shape, 1, dtype)
    found: Tracer = emit("scatter_add", cast(weights, dtype), place, axis=0, n=bins)
    return found


@implements(np.histogram, host=True)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    rec = recorder_of(a, bins, range, weights)
    x, w = _ravelled(rec, a, weights)
    edges = _edges(x, bins, range, "np.histogram")
    place = _places(x, edges)
    count = _counted(place, w, edges.size + 1, I64 if w is None else w.dtype)[1:-1]
    if density:
        return count / cast(diff(edges), F64) / sum_(count), edges
    return count, edges


def _ravelled(rec: Any, a: Any, weights: Any) -> tuple[Tracer, Any]:
    x = as_tracer(rec, a)
    if x.dtype.kind == "b":
        x = cast(x, np.uint8)
    if weights is None:
        return emit("reshape", x, shape=(x.size,)), None
    w = as_tracer(rec, weights)
    if w.dtype.kind == "b":
        refuse("np.histogram with bools as weights", "Convert them with .astype(int)")
    if w.shape != x.shape:
        raise ValueError("weights should have the same shape as a.")
    return emit("reshape", x, shape=(x.size,)), emit("reshape", w, shape=(x.size,))


@implements(np.histogram_bin_edges)
def histogram_bin_edges(
    a: Any, bins: Any = 10, range: Any = None, weights: Any = None
) -> Any:
    rec = recorder_of(a, bins, range)
    x, _ = _ravelled(rec, a, None)
    return _edges(x, bins, range, "np.histogram_bin_edges")


@implements(np.histogramdd, host=True)
def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    density: Any = None,
    weights: Any = None,
) -> Any:
    rec = recorder_of(sample, bins, range, weights)
    points: Any = as_tracer(rec, sample)
    if type(sample) is not Tracer and not isinstance(sample, np.ndarray):
        points = np.atleast_2d(points).T
    axes = points.shape[1]
    if _ndim(bins) == 0:
        bins = [bins] * axes
    elif len(bins) != axes:
        raise ValueError(
            "The dimension of bins must be equal to the dimension of the sample x."
        )
    spans = [None] * axes if range is None else range
    if len(spans) != axes:
        raise ValueError("range argument must have one entry per dimension")
    edges, place, shape = [], None, []
    for k, (each, span) in enumerate(zip(bins, spans, strict=True)):
        values = points[:, k]
        found = _edges(values, each, span, "np.histogramdd", alone=True)
        edges.append(found)
        shape.append(found.size + 1)
        here = _places(values, found)
        place = here if place is None else place * shape[-1] + here
    assert place is not None
    w = None if weights is None else as_tracer(rec, weights)
    total = int(np.prod(shape))
    count = _counted(place, w, total, F64)
    count = emit("reshape", count, shape=tuple(shape))[(slice(1, -1),) * axes]
    if density:
        whole = sum_(count)
        for k, found in enumerate(edges):
            along = [1] * axes
            along[k] = -1
            count = count / np.reshape(diff(found), along)
        count = count / whole
    return count, edges


@implements(np.histogram2d, host=True)
def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    density: Any = None,
    weights: Any = None,
) -> Any:
    if len(x) != len(y):
        raise ValueError("x and y must have the same length.")
    if _ndim(bins) == 1 and len(bins) not in (1, 2):
        bins = [bins, bins]
    count, edges = histogramdd([x, y], bins, range, density, weights)
    return count, edges[0], edges[1]
