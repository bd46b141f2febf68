"""Looking up sorted places, counting, sets, and linear interpolation."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..tracer import Tracer, refuse
from .indexing import clipped, flat_nonzero
from .reductions import all as all_
from .reductions import any as any_
from .reductions import cumsum
from .reductions import max as max_
from .selection import where as choose
from .shape import moveaxis
from .table import as_tracer, cast, common, emit, filled, implements, of, recorder_of
from .ufuncs import BOOL, F64, I64, call

__all__ = ["lookup"]


def lookup(a: Tracer, v: Tracer, side: str) -> Tracer:
    """`np.searchsorted` in one sorted vector; any shape of `v`."""
    if "c" in (a.dtype.kind, v.dtype.kind):
        refuse("looking up complex numbers", "Use np.abs or a part")
    a, v = common([a, v])
    flat = v if v.ndim == 1 else emit("reshape", v, shape=(v.size,))
    found = emit("searchsorted", a, flat, side=side)
    return found if v.ndim == 1 else emit("reshape", found, shape=v.shape)


def _at(x: Tracer, index: Any) -> Tracer:
    return emit("gather", x, as_tracer(x.rec, index), axis=0)


def _flat(x: Tracer) -> Tracer:
    return x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))


@implements(np.searchsorted, gradient=False, host=True)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    rec = recorder_of(a, v, sorter)
    x = as_tracer(rec, a)
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array")
    x = x if sorter is None else x[sorter]
    return lookup(x, as_tracer(rec, v), side)


@implements(np.digitize, gradient=False, host=True)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    rec = recorder_of(x, bins)
    edges, values = as_tracer(rec, bins), as_tracer(rec, x)
    if edges.ndim != 1:
        raise ValueError("object of too small depth for desired array")
    side = "left" if right else "right"
    if all_(edges[1:] >= edges[:-1]):
        return lookup(edges, values, side)
    if not all_(edges[1:] <= edges[:-1]):
        raise ValueError("bins must be monotonically increasing or decreasing")
    return edges.size - lookup(edges[::-1], values, side)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    rec = recorder_of(x, weights, minlength)
    index = as_tracer(rec, x)
    if index.dtype.kind not in "biu" or index.dtype == np.uint64:
        raise TypeError(
            f"Cannot cast array data from {index.dtype!r} to {I64!r} according to the "
            "rule 'safe'"
        )
    if index.ndim != 1:
        raise ValueError("object too deep for desired array")
    minlength = operator.index(minlength)
    if minlength < 0:
        raise ValueError("'minlength' must not be negative")
    index, n = cast(index, I64), minlength
    if index.size:
        if any_(index < 0):
            raise ValueError("'list' argument must have no negative elements")
        n = max(operator.index(max_(index)) + 1, minlength)
    if weights is None:
        updates = filled(rec, index.shape, 1, I64)
    else:
        updates = as_tracer(rec, weights, F64)
        if updates.shape != index.shape:
            raise ValueError("The weights and list don't have the same length.")
    return emit("scatter_add", updates, index, axis=0, n=n)


@implements(np.unravel_index, gradient=False)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    index = as_tracer(recorder_of(indices), indices)
    sizes = [operator.index(n) for n in (shape if np.ndim(shape) else (shape,))]
    total = math.prod(sizes)
    if emit("any", _flat(index < 0) | _flat(index >= total), axes=(0,)):
        bad = np.unravel_index(np.asarray(index.concrete), sizes)
        raise AssertionError(f"{bad} is out of bounds")
    found = []
    rest = cast(index, I64)
    for n in sizes[::-1] if order == "C" else sizes:
        found.append(rest % n)
        rest = rest // n
    return tuple(found[::-1] if order == "C" else found)


@implements(np.ravel_multi_index, gradient=False)
def ravel_multi_index(
    multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C"
) -> Any:
    rec = recorder_of(multi_index)
    indices = [as_tracer(rec, i, I64) for i in multi_index]
    modes = mode if isinstance(mode, tuple) else (mode,) * len(indices)
    triples = list(zip(indices, dims, modes, strict=True))
    total: Any = 0
    for index, n, how in triples if order == "C" else triples[::-1]:
        if how == "wrap":
            index = index % n
        elif how == "clip":
            index = clipped(index, n)
        elif emit("any", _flat(index < 0) | _flat(index >= n), axes=(0,)):
            raise ValueError("invalid entry in coordinates array")
        total = total * n + index
    return total


# --- interpolation --------------------------------------------------------------------


@implements(np.interp, host=True)
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    rec = recorder_of(x, xp, fp, left, right, period)
    at, places, values = [as_tracer(rec, t, F64) for t in (x, xp, fp)]
    if places.ndim != 1 or values.ndim != 1:
        if period is not None:
            raise ValueError("Data points must be 1-D sequences")
        raise ValueError("object too deep for desired array")
    if places.size != values.size:
        raise ValueError("fp and xp are not of the same length")
    if not places.size:
        raise ValueError("array of sample points is empty")
    if period is not None:
        if period == 0:
            raise ValueError("period must be a non-zero value")
        at, places, values = _periodic(at, places, values, abs(period))
        left = right = None
    first, last = places[0], places[-1]
    low = values[0] if left is None else as_tracer(rec, left, F64)
    high = values[-1] if right is None else as_tracer(rec, right, F64)
    n = places.size
    found: Any = values[0]
    if n > 1:
        j = call(np.subtract, lookup(places, at, "right"), 1)
        j = call(np.minimum, call(np.maximum, j, 0), n - 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = _on_line(at, places, values, j)
        found = choose(at == last, values[-1], found)
    found = choose(at > last, high, choose(at < first, low, found))
    return choose(call(np.isnan, at), at, found)


def _on_line(at: Tracer, places: Tracer, values: Tracer, j: Tracer) -> Tracer:
    x0, x1, y0, y1 = [_at(t, k) for t in (places, values) for k in (j, j + 1)]
    slope = (y1 - y0) / (x1 - x0)
    found = slope * (at - x0) + y0
    # Beside an infinite value NumPy tries from the other side.
    return choose(call(np.isnan, found), slope * (at - x1) + y1, found)


def _periodic(at: Tracer, places: Tracer, values: Tracer, period: Any) -> Any:
    at, places = at % period, places % period
    order = emit("argsort", places, axis=0)
    places, values = places[order], values[order]
    wrapped = [places[-1:] - period, places, places[:1] + period]
    return (
        at,
        emit("concatenate", *wrapped, axis=0),
        emit("concatenate", values[-1:], values, values[:1], axis=0),
    )


# --- sets -----------------------------------------------------------------------------


class _Sorted(NamedTuple):
    """A flat array in order, and where its different values begin."""

    values: Tracer
    order: Tracer
    first: Tracer
    starts: Tracer


def _sorted_rows(x: Tracer) -> _Sorted:
    """The rows in order, by their first element, then their second, and so on."""
    keys = [x[:, k] for k in reversed(range(x.shape[1]))]
    order = emit("argsort", keys[0], axis=0)
    for key in keys[1:]:
        order = _at(order, emit("argsort", _at(key, order), axis=0))
    values = _at(x, order)
    differs = emit("any", values[1:] != values[:-1], axes=(1,))
    head = filled(x.rec, (min(1, x.shape[0]),), True, BOOL)
    first = emit("concatenate", head, differs, axis=0)
    return _Sorted(values, order, first, flat_nonzero(first))


def _sorted(x: Tracer, equal_nan: bool) -> _Sorted:
    flat = _flat(x)
    order = emit("argsort", flat, axis=0)
    values = _at(flat, order)
    differs = values[1:] != values[:-1]
    if equal_nan and x.dtype.kind == "f":
        both = call(np.isnan, values[1:]) & call(np.isnan, values[:-1])
        differs = differs & ~both
    head = filled(x.rec, (min(1, flat.size),), True, BOOL)
    first = emit("concatenate", head, differs, axis=0)
    return _Sorted(values, order, first, flat_nonzero(first))


def _unique_of(x: Tracer, equal_nan: bool = True) -> Tracer:
    found = _sorted(x, equal_nan)
    return _at(found.values, found.starts)


@implements(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    x = of(ar)
    shape, count = x.shape, x.size
    if axis is None or x.ndim == 1:
        found = _sorted(x, equal_nan)
        out = [_at(found.values, found.starts)]
    else:
        lines = moveaxis(x, axis, 0)
        count, *rest = lines.shape
        if not x.size:
            refuse("np.unique of an empty array with axis=", "Leave axis= away")
        shape = (count,)
        found = _sorted_rows(emit("reshape", lines, shape=(count, x.size // count)))
        rows = _at(found.values, found.starts)
        rows = emit("reshape", rows, shape=(rows.shape[0], *rest))
        out = [moveaxis(rows, 0, axis)]
    if return_index:
        out.append(_at(found.order, found.starts))
    if return_inverse:
        number = cumsum(found.first) - 1
        back = emit("argsort", found.order, axis=0)
        out.append(emit("reshape", _at(number, back), shape=shape))
    if return_counts:
        end = as_tracer(x.rec, np.array([count]))
        ends = emit("concatenate", found.starts[1:], end, axis=0)
        out.append(ends - found.starts if count else found.starts)
    return out[0] if len(out) == 1 else tuple(out)


def _parts(name: str, *wanted: str) -> None:
    function = getattr(np, name)
    result = type(function(np.zeros(1))) if wanted else None

    @implements(function)
    def implementation(x: Any, /) -> Any:
        keywords: Any = dict.fromkeys(wanted, True)
        found = unique(x, equal_nan=False, **keywords)
        return found if result is None else result(*found)


_parts("unique_values")
_parts("unique_counts", "return_counts")
_parts("unique_inverse", "return_inverse")
_parts("unique_all", "return_index", "return_inverse", "return_counts")


def _pair(*arrays: Any) -> list[Tracer]:
    rec = recorder_of(*arrays)
    return common([_flat(as_tracer(rec, a)) for a in arrays])


@implements(np.isin, gradient=False, host=True)
def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Any:
    rec = recorder_of(element, test_elements)
    x, tests = common([as_tracer(rec, element), as_tracer(rec, test_elements)])
    tests = _flat(tests)
    if not tests.size:
        return filled(rec, x.shape, invert, BOOL)
    ordered = _at(tests, emit("argsort", tests, axis=0))
    place = call(np.minimum, lookup(ordered, x, "left"), tests.size - 1)
    return call(np.not_equal if invert else np.equal, _at(ordered, place), x)


@implements(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    return _unique_of(emit("concatenate", *_pair(ar1, ar2), axis=0))


@implements(np.intersect1d)
def intersect1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    x, y = _pair(ar1, ar2)
    firsts = [_at(t, _sorted(t, True).order) for t in (x, y)]
    if not assume_unique or return_indices:
        found = [_sorted(t, True) for t in (x, y)]
        starts = [_at(f.order, f.starts) for f in found]
        firsts = [_at(f.values, f.starts) for f in found]
    both = emit("concatenate", *firsts, axis=0)
    order = emit("argsort", both, axis=0)
    values = _at(both, order)
    twice = flat_nonzero(values[1:] == values[:-1])
    out = _at(values, twice)
    if not return_indices:
        return out
    first = _at(starts[0], _at(order, twice))
    second = _at(starts[1], _at(order, twice + 1) - firsts[0].size)
    return out, first, second


@implements(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    x, y = _pair(ar1, ar2)
    if not assume_unique:
        x, y = _unique_of(x), _unique_of(y)
    both = emit("concatenate", x, y, axis=0)
    values = _at(both, emit("argsort", both, axis=0))
    end = filled(x.rec, (1,), True, BOOL)
    differs = emit("concatenate", end, values[1:] != values[:-1], end, axis=0)
    return values[differs[1:] & differs[:-1]] if values.size else values


@implements(np.setdiff1d, host=True)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    rec = recorder_of(ar1, ar2)
    x, y = as_tracer(rec, ar1), as_tracer(rec, ar2)
    x = _flat(x) if assume_unique else _unique_of(x)
    return x[isin(x, y, invert=True)]


def _sided(function: Callable[..., Any], side: float) -> None:
    @implements(function, gradient=False, refused=("out",))
    def implementation(x: Any, out: Any = None) -> Any:
        return call(np.equal, of(x), side)


_sided(np.isposinf, np.inf)
_sided(np.isneginf, -np.inf)
