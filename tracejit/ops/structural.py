"""Structural primitives: they move, repeat or select elements and compute nothing.

All are linear in their first operand, so the forward rule is the primitive itself and
the reverse rule its transpose.  Axes are non-negative, every param is a static.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .rows import REAL, sample, unbroadcast, zeros

Shape = tuple[int, ...]
INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)


def structural(
    name: str,
    reference: Callable[..., Any],
    aval: Callable[..., Aval],
    samples: tuple[Callable, ...],
    **rules: Any,
) -> Primitive:
    """A row of this family; linear in its first operand unless `rules` differ."""
    rules.setdefault("multilinear", (0,) if "vjp" in rules else ())
    row: Primitive = Primitive(
        name, "structural", reference, aval, samples=samples, **rules
    )
    return register(row)


def _size(shape: Shape) -> int:
    return Aval(shape, BOOL).size


# --- reshape, transpose, broadcast_to


def _reshape_aval(x: Aval, *, shape: Shape) -> Aval:
    if x.size != _size(shape):
        raise InvalidTapeError(f"reshape of {x!r} to {shape}")
    return Aval(shape, x.dtype)


def _reshape_batch(args: Any, batched: Any, *, shape: Shape) -> Any:
    (x,) = args
    return reshape(x, shape=(x.shape[0], *shape))


def _transpose_aval(x: Aval, *, perm: Shape) -> Aval:
    if sorted(perm) != list(range(x.ndim)):
        raise InvalidTapeError(f"transpose of {x!r} by {perm}")
    return Aval(tuple(x.shape[p] for p in perm), x.dtype)


def inverse(perm: Shape) -> Shape:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def _transpose_batch(args: Any, batched: Any, *, perm: Shape) -> Any:
    return transpose(args[0], perm=(0, *(p + 1 for p in perm)))


#: Up to so many elements a copy takes less time than NumPy's view.
_FEW = 256


def _broadcast_reference(x: Any, *, shape: Shape) -> Any:
    if x.ndim <= len(shape) and math.prod(shape) <= _FEW:
        out = np.empty(shape, x.dtype)
        try:
            out[...] = x
        except ValueError:
            pass  # NumPy's function words it
        else:
            return out
    return np.broadcast_to(x, shape)


def _broadcast_aval(x: Aval, *, shape: Shape) -> Aval:
    lead = len(shape) - x.ndim
    stretched = zip(x.shape, shape[max(lead, 0) :], strict=False)
    if lead < 0 or any(n not in (1, m) for n, m in stretched):
        raise InvalidTapeError(f"broadcast_to of {x!r} to {shape}")
    return Aval(shape, x.dtype)


def _broadcast_batch(args: Any, batched: Any, *, shape: Shape) -> Any:
    (x,) = args
    size = x.shape[0]
    ones = (1,) * (len(shape) - (x.ndim - 1))
    x = reshape(x, shape=(size, *ones, *x.shape[1:])) if ones else x
    return broadcast_to(x, shape=(size, *shape))


reshape: Primitive = structural(
    "reshape",
    lambda x, *, shape: x.reshape(shape),
    _reshape_aval,
    (
        sample(((2, 3), REAL), shape=(3, 2)),
        sample(((6,), REAL, "f4"), shape=(1, 2, 3)),
        sample(((), REAL), shape=(1, 1)),
        sample(((0, 3), REAL), shape=(3, 0)),
    ),
    vjp=lambda ct, y, x, *, shape: (reshape(ct, shape=x.shape),),
    batch=_reshape_batch,
)
transpose: Primitive = structural(
    "transpose",
    lambda x, *, perm: x.transpose(perm),
    _transpose_aval,
    (
        sample(((2, 3), REAL), perm=(1, 0)),
        sample(((2, 3, 4), REAL, "f4"), perm=(1, 2, 0)),
    ),
    vjp=lambda ct, y, x, *, perm: (transpose(ct, perm=inverse(perm)),),
    batch=_transpose_batch,
)
broadcast_to: Primitive = structural(
    "broadcast_to",
    _broadcast_reference,
    _broadcast_aval,
    (
        sample(((), REAL), shape=(2, 3)),
        sample(((3, 1), REAL), shape=(2, 3, 4)),
        sample(((1, 2), REAL, "f4"), shape=(3, 2)),
        sample(((1,), REAL), shape=(0,)),
    ),
    vjp=lambda ct, y, x, *, shape: (unbroadcast(ct, x.shape),),
    batch=_broadcast_batch,
)


# --- slice: out[i] = x[start + i * step], and its transpose


@lru_cache(4096)
def basic_index(start: Shape, size: Shape, step: Shape) -> tuple[slice, ...]:
    """The NumPy index of a `slice` instr."""
    index = []
    for a, n, s in zip(start, size, step, strict=True):
        stop = a + n * s
        index.append(slice(a, stop if stop >= 0 else None, s) if n else slice(0, 0))
    return tuple(index)


def _in_range(start: Shape, size: Shape, step: Shape, shape: Shape) -> bool:
    if not len(start) == len(size) == len(step) == len(shape):
        return False
    return all(
        k != 0 and (n == 0 or (0 <= a < m and 0 <= a + (n - 1) * k < m))
        for a, n, k, m in zip(start, size, step, shape, strict=True)
    )


def _slice_aval(x: Aval, *, start: Shape, size: Shape, step: Shape) -> Aval:
    if not _in_range(start, size, step, x.shape):
        raise InvalidTapeError(f"slice of {x!r}: start {start} size {size} step {step}")
    return Aval(size, x.dtype)


def _slice_batch(args: Any, batched: Any, *, start: Any, size: Any, step: Any) -> Any:
    (x,) = args
    n = x.shape[0]
    return slice_(x, start=(0, *start), size=(n, *size), step=(1, *step))


def _unslice_reference(x: Any, *, start: Shape, step: Shape, shape: Shape) -> Any:
    x = np.asarray(x)
    out = np.zeros(shape, x.dtype)
    out[basic_index(start, x.shape, step)] = x
    return out


def _unslice_aval(x: Aval, *, start: Shape, step: Shape, shape: Shape) -> Aval:
    if not _in_range(start, x.shape, step, shape):
        raise InvalidTapeError(f"unslice of {x!r} into {shape}: {start} step {step}")
    return Aval(shape, x.dtype)


def _unslice_batch(
    args: Any, batched: Any, *, start: Any, step: Any, shape: Any
) -> Any:
    (x,) = args
    size = x.shape[0]
    return unslice(x, start=(0, *start), step=(1, *step), shape=(size, *shape))


slice_: Primitive = structural(
    "slice",
    lambda x, *, start, size, step: x[basic_index(start, size, step)],
    _slice_aval,
    (
        sample(((7,), REAL), start=(1,), size=(3,), step=(2,)),
        sample(((4, 5), REAL, "f4"), start=(3, 0), size=(4, 2), step=(-1, 1)),
        sample(((4,), REAL), start=(2,), size=(1,), step=(1,)),
        sample(((4,), REAL), start=(0,), size=(0,), step=(1,)),
    ),
    vjp=lambda ct, y, x, *, start, size, step: (
        unslice(ct, start=start, step=step, shape=x.shape),
    ),
    batch=_slice_batch,
)
unslice: Primitive = structural(
    "unslice",
    _unslice_reference,
    _unslice_aval,
    (
        sample(((3,), REAL), start=(1,), step=(2,), shape=(7,)),
        sample(((4, 2), REAL, "f4"), start=(3, 0), step=(-1, 1), shape=(4, 5)),
        sample(((0,), REAL), start=(0,), step=(1,), shape=(3,)),
    ),
    vjp=lambda ct, y, x, *, start, step, shape: (
        slice_(ct, start=start, size=x.shape, step=step),
    ),
    batch=_unslice_batch,
)


def window(x: Any, axis: int, start: int, size: int, step: int = 1) -> Any:
    """A slice along one axis, all of the others."""
    n = x.ndim
    starts, sizes, steps = [0] * n, list(x.shape), [1] * n
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return slice_(x, start=tuple(starts), size=tuple(sizes), step=tuple(steps))


def flip(x: Any, axis: int) -> Any:
    """`np.flip` along one axis."""
    n = x.shape[axis]
    return window(x, axis, max(n - 1, 0), n, -1)


def shift(x: Any, axis: int, by: int) -> Any:
    """out[i] = x[i - by] along `axis`, zero where there is no such element."""
    n = x.shape[axis]
    size = max(n - abs(by), 0)
    part = window(x, axis, 0 if by > 0 or not size else -by, size)
    starts = [0] * x.ndim
    starts[axis] = by if by > 0 and size else 0
    return unslice(part, start=tuple(starts), step=(1,) * x.ndim, shape=x.shape)


# --- concatenate


def _concatenate_aval(*xs: Aval, axis: int) -> Aval:
    first = xs[0]
    rest = first.shape[:axis] + first.shape[axis + 1 :]
    for x in xs:
        other = x.shape[:axis] + x.shape[axis + 1 :]
        if x.ndim != first.ndim or other != rest or x.dtype != first.dtype:
            raise InvalidTapeError(f"concatenate of {first!r} and {x!r}, axis {axis}")
    n = sum(x.shape[axis] for x in xs)
    return Aval((*first.shape[:axis], n, *first.shape[axis + 1 :]), first.dtype)


def _concatenate_vjp(ct: Any, y: Any, *xs: Any, axis: int) -> tuple:
    parts, start = [], 0
    for x in xs:
        n = x.shape[axis]
        parts.append(lambda start=start, n=n: window(ct, axis, start, n))
        start += n
    return tuple(parts)


def _concatenate_jvp(tangents: Any, y: Any, *xs: Any, axis: int) -> Any:
    full = [zeros(x) if t is None else t for t, x in zip(tangents, xs, strict=True)]
    return concatenate(*full, axis=axis)


def _concatenate_batch(args: Any, batched: Any, *, axis: int) -> Any:
    return concatenate(*stacked(args, batched), axis=axis + 1)


def stacked(args: Any, batched: Any) -> list[Any]:
    """All operands with a batch axis, the unbatched ones repeated."""
    size = next(a.shape[0] for a, b in zip(args, batched, strict=True) if b)
    return [
        a if b else broadcast_to(a, shape=(size, *a.shape))
        for a, b in zip(args, batched, strict=True)
    ]


concatenate = structural(
    "concatenate",
    lambda *xs, axis: np.concatenate(xs, axis),
    _concatenate_aval,
    (
        sample(((2, 3), REAL), ((1, 3), REAL), ((0, 3), REAL), axis=0),
        sample(((2, 3), REAL, "f4"), ((2, 1), REAL, "f4"), axis=1),
        sample(((2,), REAL), axis=0),
    ),
    multilinear=(),
    jvp=_concatenate_jvp,
    vjp=_concatenate_vjp,
    batch=_concatenate_batch,
)


# --- diagonals and triangles of the last two axes


def _diagonal_size(n: int, m: int, offset: int) -> int:
    return max(min(n + min(offset, 0), m - max(offset, 0)), 0)


def _diagonal_aval(x: Aval, *, offset: int) -> Aval:
    *stack, n, m = x.shape
    return Aval((*stack, _diagonal_size(n, m, offset)), x.dtype)


def _diag_embed_reference(x: Any, *, offset: int, n: int, m: int) -> Any:
    out = np.zeros((*x.shape[:-1], n, m), x.dtype)
    i = np.arange(x.shape[-1])
    out[..., i - min(offset, 0), i + max(offset, 0)] = x
    return out


def _diag_embed_aval(x: Aval, *, offset: int, n: int, m: int) -> Aval:
    if x.shape[-1] != _diagonal_size(n, m, offset):
        raise InvalidTapeError(f"diag_embed of {x!r} in {n}x{m}, offset {offset}")
    return Aval((*x.shape[:-1], n, m), x.dtype)


diagonal: Primitive = structural(
    "diagonal",
    lambda x, *, offset: np.diagonal(x, offset, -2, -1),
    _diagonal_aval,
    (
        sample(((3, 3), REAL), offset=0),
        sample(((2, 3, 4), REAL, "f4"), offset=1),
        sample(((3, 2), REAL), offset=-1),
    ),
    vjp=lambda ct, y, x, *, offset: (
        diag_embed(ct, offset=offset, n=x.shape[-2], m=x.shape[-1]),
    ),
    batch=lambda args, batched, *, offset: diagonal(args[0], offset=offset),
)
diag_embed: Primitive = structural(
    "diag_embed",
    _diag_embed_reference,
    _diag_embed_aval,
    (
        sample(((3,), REAL), offset=0, n=3, m=3),
        sample(((2, 3), REAL, "f4"), offset=1, n=3, m=4),
        sample(((2,), REAL), offset=-1, n=3, m=2),
    ),
    vjp=lambda ct, y, x, *, offset, n, m: (diagonal(ct, offset=offset),),
    batch=lambda args, batched, **params: diag_embed(args[0], **params),
)


def _triangle(name: str, reference: Callable[..., Any]) -> Primitive:
    def rule(ct: Any, y: Any, x: Any, *, k: int) -> tuple:
        return (row(ct, k=k),)

    row: Primitive = structural(
        name,
        lambda x, *, k: reference(x, k),
        lambda x, *, k: x,
        (sample(((3, 3), REAL), k=0), sample(((2, 3, 4), REAL, "f4"), k=-1)),
        vjp=rule,
        batch=lambda args, batched, *, k: row(args[0], k=k),
    )
    return row


tril = _triangle("tril", np.tril)
triu = _triangle("triu", np.triu)


# --- sources of indices


def _iota_reference(*, shape: Shape, axis: int, dtype: np.dtype) -> Any:
    ones = [1] * len(shape)
    ones[axis] = shape[axis]
    counter = np.arange(shape[axis], dtype=dtype).reshape(ones)
    return np.broadcast_to(counter, shape)


def _mask_indices_reference(mask: Any, *, count: int) -> Any:
    found = mask.ravel().nonzero()[0]
    if found.size != count:
        raise IndexError(f"the mask selects {found.size} elements, not {count}")
    return found


iota = structural(
    "iota",
    _iota_reference,
    lambda *, shape, axis, dtype: Aval(shape, dtype),
    (
        sample(shape=(2, 3), axis=1, dtype=np.dtype("f8")),
        sample(shape=(4,), axis=0, dtype=INT64),
    ),
)
mask_indices = structural(
    "mask_indices",
    _mask_indices_reference,
    lambda mask, *, count: Aval((count,), INT64),
    (sample(np.array([[True, False], [True, True]]), count=3),),
)
