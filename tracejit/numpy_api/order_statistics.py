"""Medians, quantiles and percentiles: sorting, then a mean of two neighbours.

A quantile lies at a place between two elements of the sorted axis, which depends on
the number of elements and on the method (R. J. Hyndman, Y. Fan, "Sample quantiles in
statistical packages", The American Statistician 50, 1996).  The number is static, or
traced where NaNs are left out; the level may be traced too, and then has a derivative.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer
from .joining import sort, take_along_axis
from .means import shaped_weights
from .reductions import all as all_
from .reductions import any as any_
from .reductions import axes_of, cumsum
from .reductions import sum as sum_
from .selection import where as choose
from .shape import permute, window
from .table import as_tracer, cast, emit, implements, no_keywords, of
from .ufuncs import F64, I64, call

__all__: list[str] = []


def _in_front(x: Tracer, axis: Any) -> tuple[Tracer, tuple[int, ...]]:
    """`x` with the axes to reduce merged into the last one; and these axes."""
    axes = axes_of(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    moved = permute(x, (*kept, *axes))
    merged = math.prod([x.shape[i] for i in axes])
    return emit("reshape", moved, shape=(*moved.shape[: len(kept)], merged)), axes


def _kept(found: Tracer, shape: tuple[int, ...], axes: Any, lead: int) -> Tracer:
    """The result with its reduced axes as ones, behind `lead` axes of its own."""
    ones = [1 if i in axes else n for i, n in enumerate(shape)]
    return emit("reshape", found, shape=(*found.shape[:lead], *ones))


# --- medians --------------------------------------------------------------------------


@implements(np.median)
def median(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> Any:
    no_keywords(np.median, out=out)
    x = of(a)
    flat, axes = _in_front(x, axis)
    if not flat.shape[-1]:
        x.rec.warn("Mean of empty slice")
    found = _middle(cast(flat, F64) if x.dtype.kind != "f" else flat)
    if keepdims is not np._NoValue and keepdims:
        found = _kept(found, x.shape, axes, 0)
    return found


def _middle(x: Tracer) -> Tracer:
    n, last = x.shape[-1], x.ndim - 1
    if not n:
        return sum_(x, -1) / 0.0
    ordered = sort(x)
    low, high = (n - 1) // 2, n // 2
    found = sum_(window(ordered, last, low, high - low + 1), -1) / (high - low + 1)
    # A NaN sorts to the end and makes NumPy's median NaN.
    top = ordered[..., -1]
    return choose(call(np.isnan, top), top, found)


@implements(np.nanmedian)
def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> Any:
    no_keywords(np.nanmedian, out=out)
    x = of(a)
    if x.dtype.kind != "f":
        return median(x, axis, None, False, keepdims)
    flat, axes = _in_front(x, axis)
    n = sum_(call(np.logical_not, call(np.isnan, flat)), -1)
    _warn_of_none(n)
    ordered = sort(flat)
    last = call(np.maximum, n - 1, 0)
    places = [emit("reshape", i, shape=(*n.shape, 1)) for i in (last // 2, n // 2)]
    top = flat.shape[-1] - 1
    low, high = [
        take_along_axis(ordered, call(np.minimum, i, top), -1)[..., 0] for i in places
    ]
    found = choose(n % 2 == 1, low, (low + high) / 2)
    if keepdims is not np._NoValue and keepdims:
        found = _kept(found, x.shape, axes, 0)
    return found


def _warn_of_none(n: Tracer) -> None:
    if (n.concrete == 0).any():
        n.rec.warn("All-NaN slice encountered")


# --- places of quantiles --------------------------------------------------------------


def _between(alpha: float, beta: float) -> Callable[..., Any]:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _step(place: Any, stays: Callable[..., Any]) -> Any:
    below = np.floor(place)
    found = np.where(stays(place - below, below), below, below + 1)
    return np.maximum(found, 0)


#: method -> (place of the level q among n elements, whether it is an index already).
_PLACES: dict[str, tuple[Callable[..., Any], bool]] = {
    "inverted_cdf": (lambda n, q: _step(n * q - 1, lambda part, _: part == 0), True),
    "averaged_inverted_cdf": (lambda n, q: n * q - 1, False),
    "closest_observation": (
        lambda n, q: _step(
            n * q - 1 - 0.5, lambda part, below: (part == 0) & (below % 2 == 1)
        ),
        True,
    ),
    "interpolated_inverted_cdf": (_between(0, 1), False),
    "hazen": (_between(0.5, 0.5), False),
    "weibull": (_between(0, 0), False),
    "linear": (lambda n, q: (n - 1) * q, False),
    "median_unbiased": (_between(1 / 3.0, 1 / 3.0), False),
    "normal_unbiased": (_between(3 / 8.0, 3 / 8.0), False),
    "lower": (lambda n, q: np.floor((n - 1) * q), True),
    "higher": (lambda n, q: np.ceil((n - 1) * q), True),
    "midpoint": (
        lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
        False,
    ),
    "nearest": (lambda n, q: np.rint((n - 1) * q), True),
}


def _share(method: str, place: Any, below: Any) -> Any:
    """How much of the upper neighbour there is in the quantile."""
    part = place - below
    if method == "averaged_inverted_cdf":
        return np.where(part == 0, 0.5, 1.0)
    if method == "midpoint":
        return np.where(place % 1 == 0, 0.0, 0.5)
    return part


def _place(method: str, n: Any, q: Any) -> tuple[Any, Any, Any]:
    """Indices of the lower and the upper neighbour, and the upper one's share.

    The share is None where the method picks one element.
    """
    if method not in _PLACES:
        raise ValueError(
            f"{method!r} is not a valid method. Use one of: {_PLACES.keys()}"
        )
    place_of, is_index = _PLACES[method]
    place = place_of(n, q)
    if is_index:
        return place, None, None
    below = np.floor(place)
    share = _share(method, place, below)
    low = np.clip(np.where(place >= n - 1, n - 1, below), 0, None)
    high = np.clip(np.where(place >= n - 1, n - 1, below + 1), 0, None)
    high = np.where(place < 0, 0, high)
    return low, high, share


def _as_index(place: Any) -> Any:
    return cast(place, I64) if type(place) is Tracer else np.asarray(place, I64)


def _between_two(low: Tracer, high: Tracer, share: Any) -> Tracer:
    """The mean of two neighbours, from the nearer one."""
    apart = call(np.subtract, high, low)
    from_low = call(np.add, low, call(np.multiply, apart, share))
    rest = 1 - share
    from_high = call(np.subtract, high, call(np.multiply, apart, rest))
    near_low = share < 0.5
    if type(share) is float:
        return from_low if near_low else from_high
    return choose(near_low, from_low, from_high)


def call_plain(ufunc: np.ufunc, *operands: Any) -> Any:
    """A ufunc of traced or ordinary operands."""
    traced = builtins.any(type(x) is Tracer for x in operands)
    return call(ufunc, *operands) if traced else ufunc(*operands)


# --- quantiles ------------------------------------------------------------------------


class _Levels:
    """The levels of a quantile: traced or ordinary, and whether a Python number."""

    def __init__(self, x: Tracer, q: Any, scale: float = 1.0) -> None:
        traced = type(q) is Tracer
        self.weak = type(q) in (int, float) or (traced and q.weak is not None)
        self.q = q if traced else np.asarray(q)
        if scale != 1.0:
            divisor = x.dtype.type(scale) if x.dtype.kind == "f" else scale
            self.q = call_plain(np.true_divide, self.q, divisor)
        inside = (self.q >= 0) & (self.q <= 1)
        if not (all_(inside) if traced else inside.all()):
            kind = "Quantiles" if scale == 1.0 else "Percentiles"
            bounds = "[0, 1]" if scale == 1.0 else "[0, 100]"
            raise ValueError(f"{kind} must be in the range {bounds}")
        if self.q.ndim > 2:
            raise ValueError("q must be a scalar or 1d")


def _quantile(
    a: Any,
    q: Any,
    axis: Any,
    method: str,
    keepdims: Any,
    weights: Any,
    *,
    scale: float = 1.0,
    skip: bool = False,
) -> Tracer:
    x = of(a, q, weights)
    if x.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    levels = _Levels(x, q, scale)
    flat, axes = _in_front(x, axis)
    skip = skip and x.dtype.kind == "f"
    if weights is not None:
        found = _weighted(x, flat, levels, axis, method, weights, skip)
    elif skip:
        found = _skipping(flat, levels, method)
    else:
        found = _plain(flat, levels, method)
    lead = levels.q.ndim
    if keepdims is not np._NoValue and keepdims:
        found = _kept(found, x.shape, axes, lead)
    return found


def _plain(flat: Tracer, levels: _Levels, method: str) -> Tracer:
    n = flat.shape[-1]
    rank, last = levels.q.ndim, flat.ndim - 1
    low, high, share = _place(method, n, levels.q)
    ordered = sort(flat)

    def at(place: Any) -> Tracer:
        index = as_tracer(flat.rec, _as_index(place))
        found = emit("gather", ordered, index, axis=last)
        return permute(found, (*range(last, found.ndim), *range(last)))

    if share is None:
        found = at(low)
    else:
        found = _between_two(at(low), at(high), _shaped(share, levels, rank, last))
    if flat.dtype.kind != "f":
        return found
    return choose(call(np.isnan, ordered[..., -1]), np.nan, found)


def _shaped(share: Any, levels: _Levels, rank: int, last: int) -> Any:
    """Shares that broadcast over the axes that are left, weak if the level is."""
    if type(share) is Tracer:
        return emit("reshape", share, shape=share.shape + (1,) * last)
    if levels.weak:
        return float(share)
    return np.asarray(share).reshape(np.shape(share) + (1,) * last)


def _skipping(flat: Tracer, levels: _Levels, method: str) -> Tracer:
    """Quantiles of what is left of each row without its NaNs, which sort to its end."""
    n = sum_(call(np.logical_not, call(np.isnan, flat)), -1)
    _warn_of_none(n)
    ordered = sort(flat)
    q, lead = levels.q, flat.shape[:-1]
    count = emit("reshape", cast(n, F64), shape=(*lead, 1))
    q = emit("reshape", q, shape=(q.size,)) if type(q) is Tracer else q.reshape(-1)
    low, high, share = _place(method, count, q)

    def at(place: Any) -> Tracer:
        index = call(np.maximum, _as_index(place), 0)
        return take_along_axis(ordered, index, -1)

    found = at(low)
    if share is not None:
        if levels.weak:
            share = cast(share, flat.dtype)
        found = _between_two(found, at(high), share)
    none = emit("reshape", n, shape=(*lead, 1)) == 0
    found = choose(none, np.nan, found)
    found = emit("reshape", found, shape=(*lead, *levels.q.shape))
    rank = len(lead)
    return permute(found, (*range(rank, found.ndim), *range(rank)))


def _weighted(
    x: Tracer,
    flat: Tracer,
    levels: _Levels,
    axis: Any,
    method: str,
    weights: Any,
    skip: bool,
) -> Tracer:
    """The first element at which the sorted weights' share reaches the level."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    w = shaped_weights(x, as_tracer(x.rec, weights), axis)
    if any_(w < 0):
        raise ValueError("Weights must be non-negative.")
    if w.shape != x.shape:
        w = emit("broadcast_to", w, shape=x.shape)
    w, _ = _in_front(w, axis)
    order = emit("argsort", flat, axis=flat.ndim - 1)
    ordered = take_along_axis(flat, order, -1)
    if skip:
        w = choose(call(np.isnan, flat), 0, w)
    total = cumsum(take_along_axis(w, order, -1), -1, F64)
    none = all_(call(np.isnan, flat), -1) if skip else None
    with np.errstate(invalid="ignore" if skip else None):
        share = total / total[..., -1:]
    bad = call(np.isnan, share[..., -1])
    if none is not None and none.concrete.any():
        x.rec.warn("All-NaN slice encountered")
    if any_(bad if none is None else bad & ~none):
        raise ValueError("Weights included NaN, inf or were all zero.")
    q = levels.q
    if q.dtype.kind == "f":
        share = cast(share, q.dtype)
    share = choose(share == 0, -1, share)
    # How many stay below the level, for each level: an axis in front each.
    one = (1,) * (flat.ndim - 1)
    level = (
        emit("reshape", q, shape=(*q.shape, *one, 1))
        if type(q) is Tracer
        else np.asarray(q).reshape((*q.shape, *one, 1))
    )
    index = sum_(share < level, -1)
    index = call(np.minimum, index, flat.shape[-1] - 1)
    repeated = emit("broadcast_to", ordered, shape=(*q.shape, *flat.shape))
    index = emit("reshape", index, shape=(*index.shape, 1))
    found = take_along_axis(repeated, index, -1)[..., 0]
    if flat.dtype.kind == "f" and not skip:
        found = choose(call(np.isnan, ordered[..., -1]), np.nan, found)
    return found if none is None else choose(none, np.nan, found)


def _levels(function: Callable[..., Any], scale: float, skip: bool) -> None:
    @implements(function)
    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Any:
        no_keywords(function, out=out)
        return _quantile(a, q, axis, method, keepdims, weights, scale=scale, skip=skip)


_levels(np.quantile, 1.0, False)
_levels(np.percentile, 100.0, False)
_levels(np.nanquantile, 1.0, True)
_levels(np.nanpercentile, 100.0, True)
