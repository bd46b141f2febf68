"""Writing into an array, as a function: the array with a part of it replaced.

    %3 = update %0 %1 {start=(1,), step=(1,), ...}     y[1:1+n] = v
    %3 = update %0 %1 %2 {start=(0,), axes=(0,), ...}  y[%2:%2+n] = v
    %3 = scatter %0 %1 %2 {axis=0, ...}                y[idx] = v, the last one wins

With `add` the part is added to: `y[...] += v`, `np.add.at`.  A tape knows no memory, so
each write is a new value; where the old one is not read again, `passes.fuse` gives both
the same memory.

update   `axes` are those whose start is known at run time only: for each there is an
         operand, 0-d int64 and in range, that is added to `start`.
scatter  indices are in range; `unique` says that no two are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import PRIMITIVES, Primitive
from .indexing import _GRID, _ROWS, _move, _own_rows, gather
from .rows import REAL, sample, zeros
from .structural import (
    INT64,
    basic_index,
    iota,
    reshape,
    slice_,
    stacked,
    structural,
)

__all__ = ["scatter", "update", "write_into"]

Shape = tuple[int, ...]


def write_into(
    name: str, out: np.ndarray, v: Any, at: Sequence[Any], params: dict[str, Any]
) -> None:
    """Do what the primitive `name` does, to `out` itself."""
    add = params["add"]
    if name == "scatter":
        index: Any = (slice(None),) * params["axis"] + (np.asarray(at[0]),)
        if add:
            np.add.at(out, index, v)
            return
    else:
        places = {k: params[k] for k in ("start", "step", "axes")}
        index = window_index(out.shape, np.shape(v), at, **places)
    if add:
        out[index] += v
    else:
        out[index] = v


# --- update


def window_index(
    shape: Shape, size: Shape, at: Any, *, start: Shape, step: Shape, axes: Shape
) -> tuple[slice, ...]:
    """The NumPy index of the part that an `update` writes; IndexError if outside."""
    begin = list(start)
    for axis, moved in zip(axes, at, strict=True):
        begin[axis] += int(moved)
    for k, (a, n, s) in enumerate(zip(begin, size, step, strict=True)):
        if n and not (0 <= a < shape[k] and 0 <= a + (n - 1) * s < shape[k]):
            raise IndexError(f"index {a} is out of bounds for axis {k}")
    return basic_index(tuple(begin), size, step)


def _update_reference(
    x: Any, v: Any, *at: Any, start: Shape, step: Shape, axes: Shape, add: bool
) -> Any:
    out = np.array(x)
    params = {"start": start, "step": step, "axes": axes, "add": add}
    write_into("update", out, v, at, params)
    return out


def _update_aval(
    x: Aval, v: Aval, *at: Aval, start: Shape, step: Shape, axes: Shape, add: bool
) -> Aval:
    same_rank = len(start) == len(step) == v.ndim == x.ndim
    fits = same_rank and all(
        s != 0
        and (
            n == 0
            or (k in axes and (n - 1) * abs(s) < m)
            or (0 <= a < m and 0 <= a + (n - 1) * s < m)
        )
        for k, (a, n, s, m) in enumerate(
            zip(start, v.shape, step, x.shape, strict=True)
        )
    )
    counts = all(a == Aval((), INT64) for a in at) and len(at) == len(axes)
    if not fits or not counts or v.dtype != x.dtype:
        raise InvalidTapeError(f"update of {x!r} by {v!r}: {start} step {step} {at}")
    return x


def part_of(
    x: Any, size: Shape, at: Any, *, start: Shape, step: Shape, axes: Shape
) -> Any:
    """What an `update` with these params would write over: the inverse of it."""
    moving = set(axes)
    first = tuple(0 if k in moving else a for k, a in enumerate(start))
    whole = tuple(x.shape[k] if k in moving else n for k, n in enumerate(size))
    fixed = tuple(1 if k in moving else s for k, s in enumerate(step))
    if (first, whole, fixed) != ((0,) * x.ndim, x.shape, (1,) * x.ndim):
        x = slice_(x, start=first, size=whole, step=fixed)
    for axis, moved in zip(axes, at, strict=True):
        x = gather(x, _places(moved, size[axis], start[axis], step[axis]), axis=axis)
    return x


def _places(moved: Any, size: int, start: int, step: int) -> Any:
    """Positions along one axis: `start + moved + step * (0 .. size-1)`."""
    params = {"shape": (size,), "axis": 0, "dtype": INT64}
    along = moved.builder.emit(iota, (), params)
    along = along if step == 1 else along * step
    moved = moved if start == 0 else moved + start
    return along + moved


def _update_vjp(ct: Any, y: Any, x: Any, v: Any, *at: Any, **params: Any) -> tuple:
    add = params.pop("add")

    def rest() -> Any:
        return ct if add else update(ct, zeros(v), *at, add=False, **params)

    return (
        rest,
        lambda: part_of(ct, v.shape, at, **params),
        *(None for _ in at),
    )


def _written_jvp(row: Primitive, tangents: Any, args: Any, params: Any) -> Any:
    (tx, tv, *_), (x, v, *at) = tangents, args
    tx = zeros(x) if tx is None else tx
    tv = zeros(v) if tv is None else tv
    return row(tx, tv, *at, **params)


def _update_batch(
    args: Any,
    batched: Any,
    *,
    start: Shape,
    step: Shape,
    axes: Shape,
    add: bool,
) -> Any:
    (x, v, *at), moved = args, batched[2:]
    if not any(moved):
        x, v = stacked((x, v), batched[:2]) if any(batched[:2]) else (x, v)
        inner = tuple(k + 1 for k in axes)
        return update(
            x, v, *at, start=(0, *start), step=(1, *step), axes=inner, add=add
        )
    # Each example writes elsewhere: the elements' positions in one long array.
    x, v, *at = stacked(args, batched)
    size, shape = x.shape[0], x.shape[1:]
    places, stride = None, 1
    for k in reversed(range(len(shape))):
        params = {"shape": v.shape, "axis": k + 1, "dtype": INT64}
        along = x.builder.emit(iota, (), params) * step[k]
        along = along + start[k] if start[k] else along
        if k in axes:
            begin = reshape(at[axes.index(k)], shape=(size,) + (1,) * len(shape))
            along = along + begin
        along = along * stride if stride != 1 else along
        places = along if places is None else places + along
        stride *= shape[k]
    own = x.builder.emit(iota, (), {"shape": v.shape, "axis": 0, "dtype": INT64})
    places = own if places is None else places + own * stride
    count = v.aval.size
    flat = scatter(
        reshape(x, shape=(size * stride,)),
        reshape(v, shape=(count,)),
        reshape(places, shape=(count,)),
        axis=0,
        unique=True,
        add=add,
    )
    return reshape(flat, shape=x.shape)


_AT = np.array(2)
_PLAIN = {"axes": (), "add": False}

update: Primitive = structural(
    "update",
    _update_reference,
    _update_aval,
    (
        sample(((7,), REAL), ((3,), REAL), start=(1,), step=(2,), **_PLAIN),
        sample(((4, 5), REAL), ((2, 5), REAL), start=(1, 0), step=(1, 1), **_PLAIN),
        sample(
            ((4, 5), REAL, "f4"),
            ((4, 2), REAL, "f4"),
            start=(3, 0),
            step=(-1, 1),
            **_PLAIN,
        ),
        sample(
            ((4, 3), REAL), ((2, 2), REAL), start=(1, 1), step=(1, 1), axes=(), add=True
        ),
        sample(
            ((5,), REAL), ((1,), REAL), _AT, start=(1,), step=(1,), axes=(0,), add=False
        ),
        sample(
            ((5, 3), REAL),
            ((2, 3), REAL),
            _AT,
            start=(0, 0),
            step=(-1, 1),
            axes=(0,),
            add=True,
        ),
        sample(
            ((5, 4), REAL),
            ((2, 1), REAL),
            _AT,
            np.array(1),
            start=(0, 1),
            step=(2, 1),
            axes=(0, 1),
            add=False,
        ),
        sample(((3,), REAL), ((0,), REAL), start=(0,), step=(1,), **_PLAIN),
    ),
    multilinear=(),
    jvp=lambda tangents, y, *args, **params: _written_jvp(
        update, tangents, args, params
    ),
    vjp=_update_vjp,
    batch=_update_batch,
)


# --- scatter


def _scatter_reference(
    x: Any, v: Any, idx: Any, *, axis: int, unique: bool, add: bool
) -> Any:
    out = np.array(x)
    write_into("scatter", out, v, [idx], {"axis": axis, "add": add})
    return out


def _scatter_aval(
    x: Aval, v: Aval, idx: Aval, *, axis: int, unique: bool, add: bool
) -> Aval:
    shape = (*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :])
    good = idx.dtype.kind in "iu" and 0 <= axis < x.ndim
    if not good or v.shape != shape or v.dtype != x.dtype:
        raise InvalidTapeError(f"scatter of {v!r} into {x!r} by {idx!r}, axis {axis}")
    return x


def _winners(v: Any, idx: Any, axis: int, n: int) -> Any:
    """Of each update whether it is the last one at its place; broadcasts to `v`."""
    count = idx.aval.size
    flat = reshape(idx, shape=(count,))
    numbers = idx.builder.emit(iota, (), {"shape": (count,), "axis": 0, "dtype": INT64})
    none = PRIMITIVES["broadcast_to"](idx.builder.const(0, INT64), shape=(n,))
    last = scatter(none, numbers, flat, axis=0, unique=False, add=False)
    won = PRIMITIVES["eq"](gather(last, flat, axis=0), numbers)
    after = v.ndim - axis - idx.ndim
    return reshape(won, shape=(*idx.shape, *(1,) * after))


def _scatter_vjp(
    ct: Any, y: Any, x: Any, v: Any, idx: Any, *, axis: int, unique: bool, add: bool
) -> tuple:
    def rest() -> Any:
        if add:
            return ct
        return scatter(ct, zeros(v), idx, axis=axis, unique=unique, add=False)

    def part() -> Any:
        found = gather(ct, idx, axis=axis)
        if add or unique or idx.ndim == 0:
            return found
        won = _winners(v, idx, axis, x.shape[axis])
        return PRIMITIVES["select"](won, found, zeros(found))

    return rest, part, None


def _scatter_batch(
    args: Any, batched: Any, *, axis: int, unique: bool, add: bool
) -> Any:
    x, v, idx = args
    params = {"unique": unique, "add": add}
    if not batched[2]:
        x, v = stacked((x, v), batched[:2])
        return scatter(x, v, idx, axis=axis + 1, **params)
    x, v, idx = stacked(args, batched)
    size, n, inner = x.shape[0], x.shape[1 + axis], idx.ndim - 1
    x = _move(x, 1 + axis, 1)
    v = _move(v, 1 + axis, 1, inner)
    lined = reshape(x, shape=(size * n, *x.shape[2:]))
    out = scatter(lined, v, _own_rows(idx, size, n), axis=0, **params)
    return _move(reshape(out, shape=x.shape), 1, 1 + axis)


_SET = {"unique": False, "add": False}

scatter: Primitive = structural(
    "scatter",
    _scatter_reference,
    _scatter_aval,
    (
        sample(((4,), REAL), ((3,), REAL), _ROWS, axis=0, **_SET),
        sample(((4,), REAL), ((3,), REAL), _ROWS, axis=0, unique=False, add=True),
        sample(
            ((2, 4, 3), REAL, "f4"), ((2, 2, 3, 3), REAL, "f4"), _GRID, axis=1, **_SET
        ),
        sample(
            ((4, 2), REAL), ((2,), REAL), np.array(3), axis=0, unique=True, add=False
        ),
        sample(
            ((5,), REAL),
            ((2,), REAL),
            np.array([4, 1]),
            axis=0,
            unique=True,
            add=False,
        ),
        sample(((4,), REAL), ((0,), REAL), np.zeros(0, INT64), axis=0, **_SET),
    ),
    multilinear=(),
    jvp=lambda tangents, y, *args, **params: _written_jvp(
        scatter, tangents, args, params
    ),
    vjp=_scatter_vjp,
    batch=_scatter_batch,
)
