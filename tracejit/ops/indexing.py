"""Reading by index arrays, and its transpose.

`gather(x, idx){axis}` is `np.take(x, idx, axis)` with indices already in range;
`scatter_add(updates, idx){axis, n}` adds each update to its place among n.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive
from .rows import REAL, sample
from .structural import INT64, iota, reshape, stacked, structural, transpose


def _gather_aval(x: Aval, idx: Aval, *, axis: int) -> Aval:
    if idx.dtype.kind not in "iu" or not 0 <= axis < x.ndim:
        raise InvalidTapeError(f"gather of {x!r} by {idx!r}, axis {axis}")
    return Aval((*x.shape[:axis], *idx.shape, *x.shape[axis + 1 :]), x.dtype)


def _scatter_add_reference(updates: Any, idx: Any, *, axis: int, n: int) -> Any:
    updates, idx = np.asarray(updates), np.asarray(idx)
    pre, post = updates.shape[:axis], updates.shape[axis + idx.ndim :]
    out = np.zeros((*pre, n, *post), updates.dtype)
    np.add.at(out, (slice(None),) * axis + (idx,), updates)
    return out


def _scatter_add_aval(updates: Aval, idx: Aval, *, axis: int, n: int) -> Aval:
    pre, middle = updates.shape[:axis], updates.shape[axis : axis + idx.ndim]
    if idx.dtype.kind not in "iu" or middle != idx.shape:
        raise InvalidTapeError(f"scatter_add of {updates!r} by {idx!r}, axis {axis}")
    return Aval((*pre, n, *updates.shape[axis + idx.ndim :]), updates.dtype)


def _own_rows(idx: Any, size: int, n: int) -> Any:
    """Indices of each batch entry into its own n rows of size * n."""
    first = iota_like(idx, size) * n
    return idx + reshape(first, shape=(size,) + (1,) * (idx.ndim - 1))


def iota_like(ref: Any, n: int) -> Any:
    """0 .. n-1 of the dtype of `ref`, on its tape."""
    params = {"shape": (n,), "axis": 0, "dtype": ref.dtype}
    return ref.builder.emit(iota, (), params)


def _move(x: Any, source: int, to: int, count: int = 1) -> Any:
    """Move `count` axes from `source` on to `to` (a position among the others)."""
    moved = list(range(source, source + count))
    rest = [i for i in range(x.ndim) if i not in moved]
    perm = (*rest[:to], *moved, *rest[to:])
    return x if perm == tuple(range(x.ndim)) else transpose(x, perm=perm)


def _gather_batch(args: Any, batched: Any, *, axis: int) -> Any:
    x, idx = args
    if not batched[1]:
        return gather(x, idx, axis=axis + 1)
    if not batched[0]:
        return _move(gather(x, idx, axis=axis), axis, 0)
    size, n, inner = x.shape[0], x.shape[axis + 1], idx.ndim - 1
    x = _move(x, axis + 1, 1)
    x = reshape(x, shape=(size * n, *x.shape[2:]))
    out = gather(x, _own_rows(idx, size, n), axis=0)
    return _move(out, 1, 1 + axis, inner)


def _scatter_add_batch(args: Any, batched: Any, *, axis: int, n: int) -> Any:
    updates, idx = args
    if not batched[1]:
        return scatter_add(updates, idx, axis=axis + 1, n=n)
    size, inner = idx.shape[0], idx.ndim - 1
    updates, idx = stacked((updates, idx), batched)
    updates = _move(updates, 1 + axis, 1, inner)
    out = scatter_add(updates, _own_rows(idx, size, n), axis=0, n=size * n)
    return _move(reshape(out, shape=(size, n, *out.shape[1:])), 1, 1 + axis)


_ROWS = np.array([2, 0, 2])
_GRID = np.array([[0, 1, 1], [3, 0, 2]])

gather: Primitive = structural(
    "gather",
    lambda x, idx, *, axis: x.take(idx, axis),
    _gather_aval,
    (
        sample(((4,), REAL), _ROWS, axis=0),
        sample(((2, 4, 3), REAL, "f4"), _GRID, axis=1),
        sample(((4, 2), REAL), np.array(3), axis=0),
        sample(((4,), REAL), np.zeros(0, INT64), axis=0),
    ),
    vjp=lambda ct, y, x, idx, *, axis: (
        scatter_add(ct, idx, axis=axis, n=x.shape[axis]),
        None,
    ),
    batch=_gather_batch,
)
scatter_add: Primitive = structural(
    "scatter_add",
    _scatter_add_reference,
    _scatter_add_aval,
    (
        sample(((3,), REAL), _ROWS, axis=0, n=4),
        sample(((2, 2, 3, 3), REAL, "f4"), _GRID, axis=1, n=4),
        sample(((2,), REAL), np.array(3), axis=0, n=4),
    ),
    vjp=lambda ct, y, updates, idx, *, axis, n: (gather(ct, idx, axis=axis), None),
    batch=_scatter_add_batch,
)
