"""Reading by index, in all of NumPy's forms.

A key is resolved in two steps.  Its basic part (ints, slices, `None`, `...`) is one
`slice` and one `reshape`.  What is left are index arrays and traced ints on some axes:
those axes are moved in front, linearised into one, and gathered; the result's axes go
where NumPy puts them.  A boolean mask is a guard on its count, then the indices of its
true elements.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..primitive import PRIMITIVES
from ..tracer import Tracer, link, refuse, stamped
from .joining import stack
from .reductions import axis_of
from .shape import permute, reshape_to
from .table import (
    as_tracer,
    cast,
    emit,
    emit_view,
    fresh,
    implements,
    no_keywords,
    recorder_of,
    same_view,
    tracers_in,
)
from .ufuncs import BOOL, I64, call

__all__ = ["clipped", "getitem"]

_ILL_TYPED = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer "
    "or boolean arrays are valid indices"
)


def getitem(x: Tracer, key: Any) -> Any:
    """`x[key]`."""
    # The commonest keys, without the general machinery.
    if type(key) is int and x.ref.aval.shape:
        return _take_int(x, key)
    return stamped(_read, (x, key), {})


def _read(x: Tracer, key: Any) -> Any:
    key = key if isinstance(key, tuple) else (key,)
    is_array = any(k is Ellipsis for k in key)
    key = _expanded(x, tuple([_traced_list(x, k) for k in key]))
    x, key = _merged(x, key)
    entries = _entries(x, key)
    advanced = [e for e in entries if isinstance(e, _Array)]
    view = _basic(x, entries)
    if not advanced:
        return view if is_array or view.ref.aval.shape else fresh(view)  # a scalar
    return _advanced(view, entries)


def _take_int(x: Tracer, key: int) -> Tracer:
    shape = x.ref.aval.shape
    n = shape[0]
    if not -n <= key < n:
        raise IndexError(f"index {key} is out of bounds for axis 0 with size {n}")
    rest = len(shape) - 1
    params = {
        "start": (key + n if key < 0 else key,) + (0,) * rest,
        "size": (1, *shape[1:]),
        "step": (1,) * (rest + 1),
    }
    rec, inner = x.rec, {"shape": shape[1:]}
    ref = rec.apply(_SLICE, (x.ref,), params)
    row = Tracer(rec, rec.apply(_RESHAPE, (ref,), inner), None, x.shared)
    if rest:
        link(row, x, ("slice", params), ("reshape", inner))
    return row


_SLICE, _RESHAPE = PRIMITIVES["slice"], PRIMITIVES["reshape"]


# --- the key --------------------------------------------------------------------------


class _Array:
    """An index array for one axis: int64, in range.

    Traced, or an ordinary array of our own if it was a list of Python ints.
    """

    def __init__(self, index: Any) -> None:
        self.index = index


def _traced_list(x: Tracer, k: Any) -> Any:
    """A list that holds traced ints as a traced array; other keys as they are."""
    if isinstance(k, (list, tuple)) and next(iter(tracers_in(k)), None) is not None:
        return as_tracer(x.rec, k)
    return k


def _expanded(x: Tracer, key: tuple) -> tuple:
    """The key with full slices in place of the ellipsis, or at the end."""
    consumed = sum(_axes_taken(k) for k in key)
    if consumed > x.ndim:
        raise IndexError(
            f"too many indices for array: array is {x.ndim}-dimensional, "
            f"but {consumed} were indexed"
        )
    ellipses = [i for i, k in enumerate(key) if k is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    fill = (slice(None),) * (x.ndim - consumed)
    at = ellipses[0] if ellipses else len(key)
    return (*key[:at], *fill, *key[at + 1 :])


def _merged(x: Tracer, key: tuple) -> tuple[Tracer, tuple]:
    """A mask of several axes, alone among index arrays, as one of a single axis.

    Then its flat indices need not be taken apart and put together again.
    """
    arrays = [(i, k) for i, k in enumerate(key) if _is_array(k)]
    if len(arrays) != 1 or not _is_mask(arrays[0][1]) or _ndim(arrays[0][1]) < 2:
        return x, key
    place, k = arrays[0]
    axis = sum(_axes_taken(other) for other in key[:place])
    mask = _checked_mask(x, k, axis)
    shape = (*x.shape[:axis], mask.size, *x.shape[axis + mask.ndim :])
    flat = emit("reshape", mask, shape=(mask.size,))
    return reshape_to(x, shape), (*key[:place], flat, *key[place + 1 :])


def _entries(x: Tracer, key: tuple) -> list[Any]:
    """The key with one entry per axis, besides `None`s: int, slice or `_Array`."""
    entries: list[Any] = []
    axis = 0
    for k in key:
        if k is None:
            entries.append(None)
        elif isinstance(k, slice):
            entries.append(slice(*k.indices(x.shape[axis])))
            axis += 1
        elif _is_mask(k):
            entries += [_Array(i) for i in nonzero(_checked_mask(x, k, axis))]
            axis += _ndim(k)
        elif _is_array(k):
            entries.append(_array(x, k, axis))
            axis += 1
        else:
            entries.append(_int(k, x.shape[axis], axis))
            axis += 1
    return entries


def _ndim(k: Any) -> int:
    return k.ndim if isinstance(k, (Tracer, np.ndarray)) else np.ndim(k)


def _axes_taken(k: Any) -> int:
    if k is None or k is Ellipsis:
        return 0
    return _ndim(k) if _is_mask(k) else 1


def _is_mask(k: Any) -> bool:
    if type(k) is Tracer:
        return k.dtype == BOOL
    if isinstance(k, np.ndarray):
        return k.dtype == BOOL
    if isinstance(k, (list, np.bool_)):
        return np.asarray(k).dtype == BOOL
    return type(k) is bool


def _is_array(k: Any) -> bool:
    return type(k) is Tracer or isinstance(k, (list, tuple, np.ndarray)) or _is_mask(k)


def _int(k: Any, n: int, axis: int) -> int:
    try:
        i = operator.index(k)
    except TypeError:
        raise IndexError(_ILL_TYPED) from None
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for axis {axis} with size {n}")
    return i + n if i < 0 else i


def _array(x: Tracer, k: Any, axis: int) -> _Array:
    """An integer index array (or traced int): checked, wrapped, int64."""
    n = x.shape[axis]
    if type(k) is not Tracer and not isinstance(k, np.ndarray):
        return _Array(_constant(k, n, axis))
    if k.dtype.kind not in "iu":
        raise IndexError(
            "arrays used as indices must be of integer (or boolean) type"
            if k.ndim
            else _ILL_TYPED
        )
    return _Array(wrapped(cast(as_tracer(x.rec, k), I64), n, axis))


def _constant(k: Any, n: int, axis: int) -> np.ndarray:
    """A list of Python ints, checked and counted from the front."""
    index = np.asarray(k)
    if index.size and index.dtype.kind not in "iu":
        raise IndexError(_ILL_TYPED)
    index = index.astype(I64)
    _check_range(index, n, axis)
    return np.where(index < 0, index + n, index)


def _check_range(index: np.ndarray, n: int, axis: int) -> None:
    bad = index[(index < -n) | (index >= n)]
    if bad.size:
        raise IndexError(
            f"index {bad.flat[0]} is out of bounds for axis {axis} with size {n}"
        )


def wrapped(index: Tracer, n: int, axis: int) -> Tracer:
    """Indices counted from the front; NumPy's IndexError if one is out of range."""
    try:
        return emit("wrap_index", index, n=n)
    except IndexError:
        _check_range(np.asarray(index.concrete), n, axis)
        raise


def _checked_mask(x: Tracer, k: Any, axis: int) -> Tracer:
    """A boolean mask over some axes, from `axis` on."""
    mask = as_tracer(x.rec, k)
    shape = x.shape[axis : axis + mask.ndim]
    for i, (have, want) in enumerate(zip(mask.shape, shape, strict=True)):
        if have != want:
            raise IndexError(
                "boolean index did not match indexed array along axis "
                f"{axis + i}; size of axis is {want} but size of corresponding boolean "
                f"axis is {have}"
            )
    if mask.ndim == 0:
        refuse("a[b] with a scalar bool b", "Use an if statement or np.where")
    return mask


def flat_nonzero(mask: Tracer) -> Tracer:
    """`np.flatnonzero` of a bool tracer, guarded on how many there are."""
    counts = emit("sum", cast(mask, I64), axes=tuple(range(mask.ndim)))
    count = int(counts.concrete)
    mask.rec.guard(counts.ref, count, "the number of elements that a mask selects")
    return emit("mask_indices", mask, count=count)


@implements(np.flatnonzero, gradient=False)
def flatnonzero(a: Any) -> Any:
    a = as_tracer(recorder_of(a), a)
    return flat_nonzero(a if a.dtype == BOOL else a != 0)


@implements(np.nonzero, gradient=False)
def nonzero(a: Any) -> tuple[Any, ...]:
    a = as_tracer(recorder_of(a), a)
    mask = a if a.dtype == BOOL else a != 0
    flat = flat_nonzero(mask)
    found: list[Any] = []
    step = mask.size
    for n in mask.shape:
        step //= max(n, 1)
        place = flat // step if step > 1 else flat
        found.append(place % n if found and n else place)
    return tuple(found)


@implements(np.argwhere, gradient=False)
def argwhere(a: Any) -> Any:
    return stack(nonzero(a), 1)


# --- the basic part -------------------------------------------------------------------


def _basic(x: Tracer, entries: Sequence[Any]) -> Tracer:
    """A view by ints, slices and `None`s; the axes of index arrays stay whole."""
    steps = basic_steps(x.ref.aval.shape, entries)
    if not steps:
        return same_view(x)
    for name, params in steps:
        x = emit_view(name, x, **params)
    return x


def basic_steps(
    whole: tuple[int, ...], entries: Sequence[Any]
) -> list[tuple[str, dict[str, Any]]]:
    """What leads to the basic part of an array of shape `whole`."""
    start, size, step, shape = [], [], [], []
    axes = iter(whole)
    for e in entries:
        if e is None:
            shape.append(1)
            continue
        n = next(axes)
        if isinstance(e, slice):
            count = len(range(e.start, e.stop, e.step))
            start.append(e.start if count else 0)
            size.append(count)
            step.append(e.step if count else 1)
            shape.append(count)
        elif isinstance(e, _Array):
            start.append(0)
            size.append(n)
            step.append(1)
            shape.append(n)
        else:
            start.append(e)
            size.append(1)
            step.append(1)
    params = {"start": tuple(start), "size": tuple(size), "step": tuple(step)}
    ndim = len(whole)
    steps: list[tuple[str, dict[str, Any]]] = []
    if (params["start"], size, step) != ((0,) * ndim, [*whole], [1] * ndim):
        steps.append(("slice", params))
    if shape != size:
        steps.append(("reshape", {"shape": tuple(shape)}))
    return steps


# --- index arrays ---------------------------------------------------------------------


def _advanced(view: Tracer, entries: Sequence[Any]) -> Tracer:
    """Gather along the axes of `view` whose entries are index arrays."""
    left = [e for e in entries if not isinstance(e, int)]
    axes = [i for i, e in enumerate(left) if isinstance(e, _Array)]
    indices = [e.index for e in left if isinstance(e, _Array)]
    # Where the result's axes go: NumPy counts ints as index arrays here.
    places = [i for i, e in enumerate(entries) if isinstance(e, (_Array, int))]
    together = places[-1] - places[0] == len(places) - 1
    first = places[0] if together else 0
    try:
        shape = np.broadcast_shapes(*[i.shape for i in indices])
    except ValueError:
        shapes = " ".join(str(i.shape).replace(" ", "") for i in indices)
        raise IndexError(
            "shape mismatch: indexing arrays could not be broadcast together with "
            f"shapes {shapes} "
        ) from None
    if len(axes) == 1 and axes[0] == first:
        return emit("gather", view, _tracer(view, indices[0]), axis=first)
    flat = _linear(view, indices, [view.shape[a] for a in axes], shape)
    rest = [i for i in range(view.ndim) if i not in axes]
    moved = permute(view, (*rest[:first], *axes, *rest[first:]))
    joined = math.prod([view.shape[a] for a in axes])
    before = moved.shape[:first]
    after = moved.shape[first + len(axes) :]
    lined = emit("reshape", moved, shape=(*before, joined, *after))
    return emit("gather", lined, flat, axis=first)


def _tracer(x: Tracer, index: Any) -> Tracer:
    return index if type(index) is Tracer else as_tracer(x.rec, index)


def _linear(
    x: Tracer, indices: Sequence[Any], sizes: Sequence[int], shape: tuple[int, ...]
) -> Tracer:
    """Row-major position of the index arrays' elements among `sizes`."""
    total: Any = None
    for index, n in zip(indices, sizes, strict=True):
        if total is None:
            total = index
        elif type(total) is not Tracer and type(index) is not Tracer:
            total = total * n + index
        else:
            scale = Tracer(x.rec, x.rec.constant(n, I64))
            above = emit("mul", _tracer(x, total), scale)
            total = emit("add", above, _tracer(x, index))
    total = _tracer(x, total)
    return total if total.shape == shape else emit("broadcast_to", total, shape=shape)


# --- functions ------------------------------------------------------------------------


@implements(np.take)
def take(
    a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise"
) -> Any:
    no_keywords(np.take, out=out)
    rec = recorder_of(a, indices)
    x = as_tracer(rec, a)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if type(indices) is not Tracer and not isinstance(indices, np.ndarray):
        plain = np.asarray(indices)
        indices = plain.astype(I64) if plain.size == 0 else plain
    index = as_tracer(rec, indices)
    if index.dtype.kind not in "iub":
        raise TypeError(
            f"Cannot cast array data from {index.dtype!r} to {I64!r} "
            "according to the rule 'safe'"
        )
    index = cast(index, I64)
    if mode == "wrap":
        index = index % n
    elif mode == "clip":
        index = clipped(index, n)
    else:
        index = wrapped(index, n, axis)
    return emit("gather", x, index, axis=axis)


def clipped(index: Any, n: int) -> Any:
    return call(np.minimum, call(np.maximum, index, 0), n - 1)


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    no_keywords(np.compress, out=out)
    rec = recorder_of(condition, a)
    x, mask = as_tracer(rec, a), as_tracer(rec, condition, BOOL)
    if axis is None:
        x, axis = emit("reshape", x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim)
    index = flatnonzero(mask)
    if mask.size > x.shape[axis]:
        index = wrapped(index, x.shape[axis], axis)
    return emit("gather", x, index, axis=axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    rec = recorder_of(condition, arr)
    mask = as_tracer(rec, condition, BOOL)
    x = as_tracer(rec, arr)
    return getitem(
        emit("reshape", x, shape=(x.size,)), emit("reshape", mask, shape=(mask.size,))
    )


Tracer.__getitem__ = getitem  # type: ignore[method-assign]
