"""Functions and methods that write into an array: `np.copyto`, `a.sort()`, `np.add.at`.

Where NumPy goes through the elements of an array in order (`a.flat`), so does the
flattened content here; the result is one write of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..tracer import FUNCTIONS, UFUNC_METHODS, Tracer, refuse, rewrite
from .indexing import clipped, getitem, wrapped
from .joining import sort
from .reductions import axis_of, cumsum
from .table import (
    as_tracer,
    cast,
    emit,
    enter,
    fresh,
    implements,
    static_array,
)
from .ufuncs import BOOL, I64, call
from .writable import in_place, writable
from .writes import assign, setitem

__all__: list[str] = []


def _flat(x: Tracer) -> Tracer:
    """The content of an array in one line, a copy."""
    return emit("reshape", x, shape=(x.size,))


def _store(x: Tracer, flat: Tracer) -> None:
    """Give an array the content `flat`."""
    rewrite(x, emit("reshape", flat, shape=x.shape).ref)


def _cycled(v: Tracer, count: int) -> Tracer:
    """The first `count` of the elements of `v`, repeated."""
    flat = _flat(v)
    if v.size == count:
        return flat
    if v.size == 1:
        return emit("broadcast_to", flat, shape=(count,))
    index = as_tracer(v.rec, np.arange(count) % max(v.size, 1))
    return emit("gather", flat, index, axis=0)


# --- functions ------------------------------------------------------------------------


@implements(np.copyto)
@in_place
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    x = writable(np.copyto, dst)
    v = as_tracer(x.rec, src)
    if not np.can_cast(v.weak or v.dtype, x.dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {v.dtype!r} to {x.dtype!r} according to "
            f"the rule {casting!r}"
        )
    v = cast(v, x.dtype)
    if where is not True:
        mask = as_tracer(x.rec, where, BOOL)
        v = emit("select", mask, v, fresh(x))
    assign(x, v)


@implements(np.put)
@in_place
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    x = writable(np.put, a)
    values = as_tracer(x.rec, v, x.dtype)
    index = _flat(as_tracer(x.rec, ind, I64))
    if mode == "wrap":
        index = index % x.size
    elif mode == "clip":
        index = clipped(index, x.size)
    else:
        index = wrapped(index, x.size, 0)
    if not values.size:
        return
    part = _cycled(values, index.size)
    _store(x, _scatter(_flat(x), part, index))


def _scatter(flat: Tracer, part: Tracer, index: Tracer, add: bool = False) -> Tracer:
    out: Tracer = emit("scatter", flat, part, index, axis=0, unique=False, add=add)
    return out


@implements(np.putmask)
@in_place
def putmask(a: Any, mask: Any, values: Any) -> None:
    x = writable(np.putmask, a)
    m = as_tracer(x.rec, mask, BOOL)
    if m.shape != x.shape:
        raise ValueError("putmask: mask and data must be the same size")
    v = as_tracer(x.rec, values)
    if not np.can_cast(v.dtype, x.dtype, "same_kind") and v.weak is None:
        raise TypeError(
            f"Cannot cast array data from {v.dtype!r} to {x.dtype!r} according to "
            "the rule 'safe'"
        )
    if v.size:
        part = _cycled(cast(v, x.dtype), x.size)
        _store(x, emit("select", _flat(m), part, _flat(x)))


@implements(np.place)
@in_place
def place(arr: Any, mask: Any, vals: Any) -> None:
    x = writable(np.place, arr)
    m = _flat(as_tracer(x.rec, mask, BOOL))
    if m.size != x.size:
        raise ValueError("place: mask and data must be the same size")
    v = _flat(as_tracer(x.rec, vals, x.dtype))
    if not v.size:
        raise ValueError("Cannot insert from an empty array!")
    if v.size == 1:
        part = _cycled(v, x.size)
    else:
        # The k-th true element gets the k-th value.
        number = call(np.subtract, cumsum(cast(m, I64)), 1)
        part = emit("gather", v, call(np.maximum, number, 0) % v.size, axis=0)
    _store(x, emit("select", m, part, _flat(x)))


@implements(np.put_along_axis)
@in_place
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    x = writable(np.put_along_axis, arr)
    index = as_tracer(x.rec, indices)
    if axis is None:
        content = _flat(x)
        setitem(content, index, values)
        _store(x, content)
        return
    axis = axis_of(axis, x.ndim)
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    key: list[Any] = []
    for k, n in enumerate(x.shape):
        if k == axis:
            key.append(index)
        else:
            shape = [1] * x.ndim
            shape[k] = -1
            key.append(np.arange(n).reshape(shape))
    setitem(x, tuple(key), values)


@implements(np.fill_diagonal)
@in_place
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    x = writable(np.fill_diagonal, a)
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    end: int | None = None
    if x.ndim == 2:
        step = x.shape[1] + 1
        if not wrap:
            end = x.shape[1] * x.shape[1]
    else:
        if len(set(x.shape)) > 1:
            raise ValueError("All dimensions of input must be of equal length")
        step = 1 + int(np.cumprod(x.shape[:-1]).sum())
    content = _flat(x)
    count = len(range(*slice(None, end, step).indices(x.size)))
    values = as_tracer(x.rec, val, x.dtype)
    content[:end:step] = _cycled(values, count)
    _store(x, content)


# --- methods --------------------------------------------------------------------------


@in_place
def _sort(
    self: Tracer,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> None:
    x = writable(np.sort, self)
    assign(x, sort(fresh(x), axis, kind, order, stable=stable))


def _partition(
    self: Tracer, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None
) -> None:
    x = writable(np.partition, self)
    assign(x, FUNCTIONS[np.partition](fresh(x), kth, axis, kind, order))


@in_place
def _fill(self: Tracer, value: Any) -> None:
    x = writable(np.copyto, self)
    v = as_tracer(x.rec, value)
    if v.size != 1:
        raise ValueError(
            f"could not broadcast input array from shape {v.shape} into shape ()"
        )
    assign(x, v)


def _put(self: Tracer, indices: Any, values: Any, mode: str = "raise") -> None:
    put(self, indices, values, mode)


_METHODS: dict[str, Callable[..., None]] = {
    "sort": _sort,
    "partition": _partition,
    "fill": _fill,
    "put": _put,
}
for _name, _method in _METHODS.items():
    setattr(Tracer, _name, _method)
    enter(f"ndarray.{_name}", "method", _method)


# --- attributes -----------------------------------------------------------------------


def _set_part(name: str) -> Callable[[Tracer, Any], None]:
    def assigned(self: Tracer, value: Any) -> None:
        x = writable(np.copyto, self)
        if name == "imag" and x.dtype.kind != "c":
            raise TypeError("array does not have imaginary part to set")
        setitem(getattr(x, name), Ellipsis, value)

    return assigned


def _set_flat(self: Tracer, value: Any) -> None:
    x = writable(np.copyto, self)
    values = as_tracer(x.rec, value, x.dtype)
    if values.size:
        _store(x, _cycled(values, x.size))


def _refuse_setting(name: str, way_out: str) -> Callable[[Tracer, Any], None]:
    def assigned(self: Tracer, value: Any) -> None:
        refuse(f"assigning the attribute {name!r} of a traced array", way_out)

    return assigned


_SETTERS: dict[str, Callable[[Tracer, Any], None]] = {
    "real": _set_part("real"),
    "imag": _set_part("imag"),
    "flat": _set_flat,
    "shape": _refuse_setting("shape", "Write a = a.reshape(shape)"),
    "dtype": _refuse_setting("dtype", "Write a = a.astype(dtype)"),
}
for _name, _setter in _SETTERS.items():
    setattr(Tracer, _name, getattr(Tracer, _name).setter(_setter))


# --- ufunc.at -------------------------------------------------------------------------


def _at(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> None:
    """`ufunc.at(a, indices, b)`: equal indices count as often as they occur."""
    a, key, *b = inputs
    x = writable(ufunc, a)
    rec = x.rec
    positions = as_tracer(rec, np.arange(x.size).reshape(x.shape))
    where = getitem(positions, key)
    parts = []
    for operand in b:
        part = as_tracer(rec, operand)
        if part.shape != where.shape:
            part = emit("broadcast_to", part, shape=where.shape)
        parts.append(part)
    flat, index = _flat(x), _flat(where)
    if ufunc in (np.add, np.subtract) and x.dtype.kind != "b":
        part = parts[0] if ufunc is np.add else -parts[0]
        _check(ufunc, call(ufunc, flat[:0], _flat(part)[:0]), x)
        _store(x, _scatter(flat, _flat(cast(part, x.dtype)), index, add=True))
        return
    # Each round has every place at most once.
    concrete = static_array(rec, index)
    order = np.argsort(concrete, kind="stable")
    lined = concrete[order]
    first = np.searchsorted(lined, lined)
    rounds = np.empty(lined.size, int)
    rounds[order] = np.arange(lined.size) - first
    for number in range(int(rounds.max(initial=-1)) + 1):
        chosen = as_tracer(rec, np.flatnonzero(rounds == number))
        here = emit("gather", index, chosen, axis=0)
        now = [emit("gather", _flat(part), chosen, axis=0) for part in parts]
        result = call(ufunc, emit("gather", flat, here, axis=0), *now)
        _check(ufunc, result, x)
        flat = emit(
            "scatter", flat, cast(result, x.dtype), here,
            axis=0, unique=True, add=False,
        )  # fmt: skip
    _store(x, flat)


def _check(ufunc: np.ufunc, result: Tracer, x: Tracer) -> None:
    if not np.can_cast(result.dtype, x.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast ufunc {ufunc.__name__!r} output from {result.dtype!r} to "
            f"{x.dtype!r} with casting rule 'same_kind'"
        )


@cache
def _at_of(ufunc: np.ufunc) -> Callable[..., None]:
    return in_place(lambda *inputs: _at(ufunc, inputs, {}))


UFUNC_METHODS["at"] = lambda ufunc, inputs, kwargs: _at_of(ufunc)(*inputs)
