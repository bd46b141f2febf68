"""`np.pad` in all its modes, along one axis after the other as NumPy does."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .means import mean
from .order_statistics import median
from .rearranging import pick
from .reductions import axis_of
from .reductions import max as max_
from .reductions import min as min_
from .selection import round as round_
from .shape import flip, moveaxis, window
from .table import as_tracer, cast, emit, fresh, implements, of, static_array
from .ufuncs import call

__all__: list[str] = []

Pair = Sequence[Any]


@implements(np.pad)
def pad(
    array: Any,
    pad_width: Any,
    mode: Any = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: Any = None,
    **kwargs: Any,
) -> Any:
    x = of(array, pad_width, constant_values, end_values)
    widths = _widths(x, pad_width)
    if callable(mode):
        return _by_function(x, widths, mode, kwargs)
    keywords = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    given = {name for name, value in keywords.items() if value is not None}
    given.update(kwargs)
    if mode not in _MODES:
        raise ValueError(f"mode '{mode}' is not supported")
    allowed, extend = _MODES[mode]
    if given - {allowed}:
        raise ValueError(
            f"unsupported keyword arguments for mode '{mode}': {given - {allowed}}"
        )
    option = keywords.get(allowed)
    if mode == "constant" and (option is None or _is_zero(option)):
        return _zeros(x, widths)
    if mode == "empty":
        return _zeros(x, widths)
    if not x.size and mode != "constant":
        for axis, pair in enumerate(widths):
            if not x.shape[axis] and builtins.any(pair):
                raise ValueError(
                    f"can't extend empty axis {axis} using modes other than "
                    "'constant' or 'empty'"
                )
        return _zeros(x, widths)
    if mode in ("reflect", "symmetric"):
        option = [option or "even"] * x.ndim
    else:
        option = _pairs(x, option, mode)
    for axis, (pair, each) in enumerate(zip(widths, option, strict=True)):
        if builtins.any(pair):
            x = extend(x, axis, pair, each)
    return Tracer(x.rec, x.ref, None, False)


def _by_function(
    x: Tracer, widths: list[list[int]], function: Callable[..., Any], kwargs: Any
) -> Tracer:
    """Zeros all around, and the function writes into each line of each axis."""
    padded = fresh(_zeros(x, widths), contiguous=True)
    for axis, pair in enumerate(widths):
        lines = moveaxis(padded, axis, -1)
        for place in np.ndindex(lines.shape[:-1]):
            function(lines[place], tuple(pair), axis, kwargs)
    return padded


def _is_zero(values: Any) -> bool:
    return type(values) in (int, float) and values == 0


def _widths(x: Tracer, given: Any) -> list[list[int]]:
    """Elements to add before and after, for each axis."""
    if isinstance(given, dict):
        pairs: list[Any] = [(0, 0)] * x.ndim
        for axis, width in given.items():
            pair = width if isinstance(width, tuple) else (width, width)
            pairs[axis_of(axis, x.ndim)] = pair
        given = pairs
    width = static_array(x.rec, given)
    if width.dtype.kind != "i":
        raise TypeError("`pad_width` must be of integral type.")
    if width.size and width.min() < 0:
        raise ValueError("index can't contain negative values")
    if width.size == 2 and width.shape != (2, 1):
        width = width.ravel()
    return np.broadcast_to(width, (x.ndim, 2)).tolist()


def _pairs(x: Tracer, given: Any, mode: str) -> list[Pair]:
    """An option for both sides of each axis."""
    if mode in ("edge", "wrap") or given is None:
        default = 0 if mode == "linear_ramp" else None
        return [(default, default)] * x.ndim
    if mode in ("constant", "linear_ramp"):
        values = as_tracer(x.rec, given)
        if values.size == 2 and values.shape != (2, 1):
            values = emit("reshape", values, shape=(2,))
        values = emit("broadcast_to", values, shape=(x.ndim, 2))
        return [(values[i, 0], values[i, 1]) for i in range(x.ndim)]
    lengths = static_array(x.rec, given)
    if lengths.min() < 0:
        raise ValueError("index can't contain negative values")
    if lengths.size == 2 and lengths.shape != (2, 1):
        lengths = lengths.ravel()
    return np.broadcast_to(lengths, (x.ndim, 2)).tolist()


def _joined(left: Any, x: Tracer, right: Any, axis: int) -> Tracer:
    parts = [p for p in (left, x, right) if p is not None]
    return x if len(parts) == 1 else emit("concatenate", *parts, axis=axis)


def _filled(x: Tracer, axis: int, count: int, value: Tracer) -> Tracer | None:
    """`count` times a value, or a slice of length 1, along an axis."""
    if not count:
        return None
    shape = tuple([count if i == axis else n for i, n in enumerate(x.shape)])
    return emit("broadcast_to", cast(value, x.dtype), shape=shape)


# --- the modes ------------------------------------------------------------------------


def _zeros(x: Tracer, widths: list[list[int]]) -> Tracer:
    if x.dtype.kind == "f":
        # The transpose of a slice writes into zeros.
        return emit(
            "unslice",
            x,
            start=tuple([w[0] for w in widths]),
            step=(1,) * x.ndim,
            shape=tuple([n + sum(w) for n, w in zip(x.shape, widths, strict=True)]),
        )
    zero = as_tracer(x.rec, 0)
    for axis, pair in enumerate(widths):
        x = _constant(x, axis, pair, (zero, zero))
    return Tracer(x.rec, x.ref, None, False)


def _constant(x: Tracer, axis: int, pair: Pair, values: Pair) -> Tracer:
    sides = [_filled(x, axis, n, v) for n, v in zip(pair, values, strict=True)]
    return _joined(sides[0], x, sides[1], axis)


def _by_index(mode: str) -> Callable[..., Tracer]:
    def extend(x: Tracer, axis: int, pair: Pair, _: Any) -> Tracer:
        index = np.pad(np.arange(x.shape[axis]), tuple(pair), mode=mode)  # type: ignore[call-overload]
        return pick(x, index, axis)

    return extend


def _edge(x: Tracer, axis: int, pair: Pair, _: Any) -> Tracer:
    first, last = window(x, axis, 0, 1), window(x, axis, x.shape[axis] - 1, 1)
    sides = [_filled(x, axis, n, v) for n, v in zip(pair, (first, last), strict=True)]
    return _joined(sides[0], x, sides[1], axis)


def _ramp(x: Tracer, axis: int, pair: Pair, ends: Pair) -> Tracer:
    edges = window(x, axis, 0, 1), window(x, axis, x.shape[axis] - 1, 1)
    sides: list[Any] = []
    for at, (count, edge, end) in enumerate(zip(pair, edges, ends, strict=True)):
        if not count:
            sides.append(None)
            continue
        shape = [1] * x.ndim
        shape[axis] = count
        kind = x.dtype if x.dtype.kind in "fc" else np.dtype(np.float64)
        share = (np.arange(count).astype(kind) / count).reshape(tuple(shape))
        start = cast(as_tracer(x.rec, end), kind)
        way = call(np.subtract, cast(edge, kind), start)
        line = call(np.add, call(np.multiply, way, as_tracer(x.rec, share)), start)
        line = call(np.floor, line) if x.dtype.kind in "iu" else line
        line = cast(line, x.dtype)
        sides.append(flip(line, axis) if at else line)
    return _joined(sides[0], x, sides[1], axis)


def _statistic(function: Callable[..., Any], name: str) -> Callable[..., Tracer]:
    def extend(x: Tracer, axis: int, pair: Pair, lengths: Pair) -> Tracer:
        n = x.shape[axis]
        spans = [n if m is None else builtins.min(m, n) for m in lengths]
        if name in ("maximum", "minimum") and 0 in spans:
            raise ValueError("stat_length of 0 yields no value for padding")
        sides = []
        for count, span, start in zip(pair, spans, (0, n - spans[1]), strict=True):
            found = function(window(x, axis, start, span), axis, keepdims=True)
            if x.dtype.kind in "iu" and found.dtype.kind == "f":
                found = round_(found)
            sides.append(_filled(x, axis, count, found))
        return _joined(sides[0], x, sides[1], axis)

    return extend


def _reflected(mode: str) -> Callable[..., Tracer]:
    even = _by_index(mode)

    def extend(x: Tracer, axis: int, pair: Pair, kind: str) -> Tracer:
        n = x.shape[axis]
        if n == 1:
            return _edge(x, axis, pair, None)
        if kind != "odd":
            return even(x, axis, pair, None)
        if x.dtype.kind == "b":
            refuse("np.pad of bools with reflect_type='odd'", "Use 'even'")
        # Reflected at a point, twice, it is moved by two lengths and goes on where it
        # ended: f(p + 2 L) = f(p) + 2 (last - first); and f(L + p) = 2 last - f(L - p).
        length, ends = (n, 1) if mode == "symmetric" else (n - 1, 0)
        place = np.arange(-pair[0], n + pair[1])
        turns, rest = np.divmod(place, 2 * length)
        back = rest >= n
        index = np.where(back, 2 * length - ends - rest, rest)
        shape = [1] * x.ndim
        shape[axis] = -1

        def along(values: np.ndarray) -> Tracer:
            return as_tracer(x.rec, values.reshape(tuple(shape)).astype(x.dtype))

        first, last = window(x, axis, 0, 1), window(x, axis, n - 1, 1)
        found = call(np.multiply, pick(x, index, axis), along(np.where(back, -1, 1)))
        found = found + call(np.multiply, last, along(2 * turns + 2 * back))
        return found - call(np.multiply, first, along(2 * turns))

    return extend


#: mode -> (the keyword it takes, how it extends one axis).
_MODES: dict[str, tuple[str, Callable[..., Tracer]]] = {
    "constant": ("constant_values", _constant),
    "empty": ("", _constant),
    "edge": ("", _edge),
    "wrap": ("", _by_index("wrap")),
    "linear_ramp": ("end_values", _ramp),
    "maximum": ("stat_length", _statistic(max_, "maximum")),
    "minimum": ("stat_length", _statistic(min_, "minimum")),
    "mean": ("stat_length", _statistic(mean, "mean")),
    "median": ("stat_length", _statistic(median, "median")),
    "reflect": ("reflect_type", _reflected("reflect")),
    "symmetric": ("reflect_type", _reflected("symmetric")),
}
