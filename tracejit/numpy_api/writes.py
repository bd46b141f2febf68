"""Writing into traced arrays: `a[key] = v`, `a += v`, `out=`.

A write makes a new value of the whole array and gives it to the memory that the array
has (`tracer.memory`); views see it.  A key is resolved as for reading:

    ints, slices, None, ...     an `update` of the part that they lead to
    a traced int on some axes   an `update` whose start is known at run time
    index arrays                a `scatter` of the part that the rest leads to
    a mask and one value        a `select`; other masks are index arrays
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..primitive import PRIMITIVES
from ..tape import Ref
from ..tracer import (
    UFUNC_METHODS,
    Tracer,
    View,
    base_of,
    put,
    replaced,
    rewrite,
    steps_of,
)
from . import ufunc_methods as ufunc_methods  # before its entries are taken over
from .indexing import (
    _Array,
    _basic,
    _checked_mask,
    _entries,
    _expanded,
    _is_array,
    _is_mask,
    _linear,
    _merged,
    _ndim,
    _traced_list,
    basic_steps,
)
from .shape import permute
from .table import WRITE_OUT, as_tracer, cast, emit, fresh, of, tracers_in
from .ufunc_calls import call_masked, in_loop
from .ufuncs import call
from .writable import check_writable, in_place, writable

__all__ = [
    "assign",
    "setitem",
    "write_out",
]


def assign(x: Tracer, value: Tracer, casting: str = "unsafe") -> None:
    """Give all of `x` another content, of any shape that broadcasts to its own."""
    check_writable(x)
    rewrite(x, _fitted(x, value, x.shape).ref)


def _fitted(x: Tracer, value: Any, shape: tuple[int, ...]) -> Tracer:
    """A value in the dtype of `x`, broadcast to the part that it is written to."""
    v = cast(as_tracer(x.rec, value), x.ref.aval.dtype)
    have = v.ref.aval.shape
    if have == shape:
        return v
    while len(have) > len(shape) and have[0] == 1:
        have = have[1:]
    if have != v.ref.aval.shape:
        v = emit("reshape", v, shape=have)
    stretched = zip(reversed(have), reversed(shape), strict=False)
    if len(have) > len(shape) or any(n not in (1, m) for n, m in stretched):
        np.empty(shape)[...] = np.empty(v.ref.aval.shape)  # for NumPy's error
    return v if have == shape else emit("broadcast_to", v, shape=shape)


# --- a[key] = value -------------------------------------------------------------------


def setitem(x: Tracer, key: Any, value: Any) -> None:
    """`x[key] = value`."""
    kind = type(key)
    if kind is int or kind is slice:
        key = (key,)
    if kind is tuple or kind is int or kind is slice:
        shape = x.ref.aval.shape
        if len(key) <= len(shape) and _BASIC.issuperset(map(type, key)):
            check_writable(x)
            _set_basic(x, _whole_key(shape, key), value)
            return
    _set_any(x, key, value)


_BASIC = frozenset((int, slice))


def _whole_key(shape: tuple[int, ...], key: tuple[Any, ...]) -> list[Any]:
    """Ints and slices, one for each axis."""
    entries: list[Any] = []
    for axis, n in enumerate(shape):
        k = key[axis] if axis < len(key) else slice(None)
        if type(k) is int:
            if not -n <= k < n:
                raise IndexError(
                    f"index {k} is out of bounds for axis {axis} with size {n}"
                )
            entries.append(k + n if k < 0 else k)
        else:
            entries.append(slice(*k.indices(n)))
    return entries


def _set_any(x: Tracer, key: Any, value: Any) -> None:
    if type(value) is Tracer and type(value.memory) is View:
        _write(x, key, value)  # perhaps it is there already
    else:
        _write_small(x, key, value)


def _write(x: Tracer, key: Any, value: Any) -> None:
    check_writable(x)
    given = key
    key = key if isinstance(key, tuple) else (key,)
    key = tuple([_traced_list(x, k) for k in key])
    is_mask = len(key) == 1 and _is_mask(key[0]) and _ndim(key[0])
    if is_mask and _set_where(x, key[0], value):
        return
    content = fresh(x, contiguous=True)
    key = _expanded(content, key)
    try:
        if not any(_is_array(k) for k in key):
            _set_basic(x, _entries(content, key), value)
        else:
            _set_advanced(x, content, key, value)
    except ValueError:
        _fail_as_numpy(x, given, value)
        raise


_write_small = in_place(_write)


def _fail_as_numpy(x: Tracer, key: Any, value: Any) -> None:
    """Do it once more, with the concrete values, for NumPy's own error."""

    def concrete(k: Any) -> Any:
        if isinstance(k, (tuple, list)):
            return type(k)([concrete(part) for part in k])
        return k.concrete if type(k) is Tracer else k

    np.array(x.concrete)[concrete(key)] = as_tracer(x.rec, value).concrete


def _set_basic(x: Tracer, entries: Sequence[Any], value: Any) -> None:
    shape = x.ref.aval.shape
    steps = basic_steps(shape, entries)
    if _is_there(x, value, steps):
        return
    if type(x.memory) is not View:
        _overwrite(x, steps, value)
        return
    for name, params in steps:
        shape = params["size" if name == "slice" else "shape"]
    rewrite(x, _fitted(x, value, shape).ref, steps)


def _overwrite(x: Tracer, steps: Sequence[Any], value: Any) -> None:
    """Write into the part of an owner that a slice, if any, and a reshape lead to."""
    size = shape = x.ref.aval.shape
    params = None
    for name, given in steps:
        if name == "slice":
            size = shape = given["size"]
            params = {"start": given["start"], "step": given["step"]}
        else:
            shape = given["shape"]
    rec, part = x.rec, _fitted(x, value, shape).ref
    if shape != size:
        part = rec.apply(PRIMITIVES["reshape"], (part,), {"shape": size})
    if params is not None:
        ref = x.ref
        # The slot, this name and the argument: nobody else knows this value.
        exclusive = sys.getrefcount(ref) <= 3
        params |= {"axes": (), "add": False}
        part = rec.overwrite(PRIMITIVES["update"], (ref, part), params, exclusive)
    replaced(x, part)


def _is_there(x: Tracer, value: Any, steps: Sequence[Any]) -> bool:
    """Whether this part of `x` is what is written to it: so ends `a[key] += v`."""
    if type(value) is not Tracer or type(value.memory) is not View:
        return False
    base, known = value.memory
    return base is base_of(x) and known == (*steps_of(x), *steps)


def _set_where(x: Tracer, mask: Any, value: Any) -> bool:
    """`x[mask] = one value`: nothing depends on how many elements that are."""
    v = as_tracer(x.rec, value)
    if v.ref.aval.size != 1:
        return False
    content = fresh(x)
    m = _checked_mask(content, mask, 0)
    if v.ref.aval.shape:
        v = emit("reshape", v, shape=())
    v = cast(v, x.ref.aval.dtype)
    more = x.ref.aval.shape[m.ndim :]
    if more:
        m = emit("reshape", m, shape=m.shape + (1,) * len(more))
    rewrite(x, emit("select", m, v, content).ref)
    return True


def _set_advanced(x: Tracer, content: Tracer, key: tuple, value: Any) -> None:
    merged, key = _merged(content, key)
    masked = any(_is_mask(k) and type(k) is not bool for k in key)
    entries = _entries(merged, key)
    arrays = [e for e in entries if isinstance(e, _Array)]
    if all(type(e.index) is Tracer and not e.index.ndim for e in arrays):
        ref = _moved(merged, entries, arrays, value)
        steps: Sequence[Any] = ()
    else:
        part = _basic(merged, entries)
        ref = _scattered(part, entries, value, unique=masked and len(arrays) == 1)
        steps = steps_of(part)
    rewrite(x, put(x.rec, content.ref, steps or steps_of(merged), ref))


def _moved(
    x: Tracer, entries: Sequence[Any], arrays: Sequence[_Array], value: Any
) -> Ref:
    """The value of `x` with a part written whose place is known at run time only."""
    start, size, step, axes, at, shape = [], [], [], [], [], []
    lengths = iter(x.ref.aval.shape)
    for e in entries:
        if e is None:
            shape.append(1)
            continue
        next(lengths)
        if isinstance(e, slice):
            count = len(range(e.start, e.stop, e.step))
            shape.append(count)
            start.append(e.start if count else 0)
            size.append(count)
            step.append(e.step if count else 1)
            continue
        if isinstance(e, _Array):
            axes.append(len(start))
            at.append(e.index)
        start.append(e if isinstance(e, int) else 0)
        size.append(1)
        step.append(1)
    v = _fitted(x, value, tuple(shape))
    if v.ref.aval.shape != tuple(size):
        v = emit("reshape", v, shape=tuple(size))
    params = {"start": tuple(start), "step": tuple(step), "axes": tuple(axes)}
    return emit("update", x, v, *at, add=False, **params).ref


def _scattered(
    view: Tracer, entries: Sequence[Any], value: Any, unique: bool, add: bool = False
) -> Ref:
    """The value of `view` with elements at index arrays written; see `_advanced`."""
    left = [e for e in entries if not isinstance(e, int)]
    axes = [i for i, e in enumerate(left) if isinstance(e, _Array)]
    indices = [e.index for e in left if isinstance(e, _Array)]
    places = [i for i, e in enumerate(entries) if isinstance(e, (_Array, int))]
    together = places[-1] - places[0] == len(places) - 1
    first = places[0] if together else 0
    shape = np.broadcast_shapes(*[i.shape for i in indices])
    rest = [i for i in range(view.ndim) if i not in axes]
    before = tuple([view.shape[i] for i in rest[:first]])
    after = tuple([view.shape[i] for i in rest[first:]])
    v = _fitted(view, value, (*before, *shape, *after))
    flat = _linear(view, indices, [view.shape[a] for a in axes], shape)
    content = fresh(view)
    moved = permute(content, (*rest[:first], *axes, *rest[first:]))
    joined = math.prod([view.shape[a] for a in axes])
    lined = emit("reshape", moved, shape=(*before, joined, *after))
    out = emit("scatter", lined, v, flat, axis=first, unique=unique, add=add)
    ref = emit("reshape", out, shape=moved.shape).ref
    return put(view.rec, content.ref, steps_of(moved), ref)


# --- in place -------------------------------------------------------------------------


def _no_cast(ufunc: Any, have: Any, want: Any, casting: str) -> TypeError:
    return TypeError(
        f"Cannot cast ufunc {ufunc.__name__!r} output from {have!r} to "
        f"{want!r} with casting rule {casting!r}"
    )


def write_out(function: Any, out: Any, result: Any, casting: str = "same_kind") -> Any:
    """Write a result to where `out=` says; gives `out` back.

    Args:
        function: the NumPy function, for errors.
    """
    x = writable(function, out, "output array")
    result = of(result, x)
    if not np.can_cast(result.dtype, x.dtype, casting):  # type: ignore[arg-type]
        raise _no_cast(function, result.dtype, x.dtype, casting)
    stretched = zip(reversed(result.shape), reversed(x.shape), strict=False)
    if result.ndim > x.ndim or any(n not in (1, m) for n, m in stretched):
        raise ValueError(
            f"non-broadcastable output operand with shape {_show(x.shape)} "
            f"doesn't match the broadcast shape {_show(result.shape)}"
        )
    rewrite(x, _fitted(x, result, x.shape).ref)
    return out


def _show(shape: tuple[int, ...]) -> str:
    return str(shape).replace(" ", "")


def _ufunc_into(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    """A ufunc call, with `out=` and then perhaps `where=`."""
    if not kwargs:
        return call(ufunc, *inputs)
    outs = kwargs.get("out")
    if outs is None or all(o is None for o in outs):
        return _plain_call(ufunc, inputs, kwargs)
    targets = [None if o is None else writable(ufunc, o, "output array") for o in outs]
    where, casting = kwargs.get("where", True), kwargs.get("casting", "same_kind")
    rest = {k: v for k, v in kwargs.items() if k not in ("out", "where")}
    rec = next(x.rec for x in targets if x is not None)
    if where is not True:
        mask = as_tracer(rec, where, np.dtype(np.bool_))
        dtype, signature = rest.get("dtype"), rest.get("signature")
        operands = (as_tracer(rec, inputs[0]), *inputs[1:])
        if dtype is not None or signature is not None:
            operands = in_loop(ufunc, operands, dtype, signature, casting)
        found = call_masked(ufunc, operands, mask)
    elif next(iter(tracers_in(inputs)), None) is None:
        found = ufunc(*inputs, **rest)
    else:
        found = _plain_call(ufunc, inputs, rest)
    results = list(found) if isinstance(found, tuple) else [found]
    for k, x in enumerate(targets):
        if x is None:
            continue
        result = of(results[k], x)
        if where is not True:
            if not np.can_cast(result.dtype, x.dtype, casting):
                raise _no_cast(ufunc, result.dtype, x.dtype, casting)
            result = emit("select", mask, cast(result, x.dtype), fresh(x))
        results[k] = outs[k]
        write_out(ufunc, outs[k], result, casting)
    return tuple(results) if isinstance(found, tuple) else results[0]


_plain_call = UFUNC_METHODS["__call__"]
UFUNC_METHODS["__call__"] = _ufunc_into
WRITE_OUT.append(write_out)


def _into(method: str) -> None:
    """Serve `out=` of a ufunc's method."""
    plain = UFUNC_METHODS[method]

    def served(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
        outs = kwargs.get("out")
        out = outs[0] if isinstance(outs, tuple) else outs
        if out is None:
            return plain(ufunc, inputs, kwargs)
        rest = {k: v for k, v in kwargs.items() if k != "out"}
        if next(iter(tracers_in(inputs)), None) is None:
            return write_out(ufunc, out, getattr(ufunc, method)(*inputs, **rest))
        return write_out(ufunc, out, plain(ufunc, inputs, rest))

    UFUNC_METHODS[method] = served


for _method in ("reduce", "accumulate", "outer", "reduceat"):
    _into(_method)
