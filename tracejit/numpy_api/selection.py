"""Functions that choose, clip, round, compare or difference elements."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse, rewrite
from .indexing import flat_nonzero
from .reductions import all as all_
from .table import (
    as_tracer,
    cast,
    emit,
    filled,
    implements,
    no_keywords,
    of,
    promoted,
    recorder_of,
)
from .ufuncs import BOOL, F64, call
from .writable import writable

__all__ = ["clip", "where"]


# --- choosing -------------------------------------------------------------------------


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None and y is None:
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    rec = recorder_of(condition, x, y)
    first, second = promoted(rec, x, y)
    mask = as_tracer(rec, condition)
    mask = mask if mask.dtype == BOOL else mask != 0
    return emit("select", mask, first, second)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    rec = recorder_of(condlist, choicelist, default)
    *choices, out = promoted(rec, *choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        out = emit("select", as_tracer(rec, condition, BOOL), choice, out)
    return out


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    no_keywords(np.choose, out=out)
    rec = recorder_of(a, choices)
    parts = promoted(rec, *choices)
    index = as_tracer(rec, a)
    if index.dtype.kind not in "biu":
        raise TypeError(
            f"Cannot cast array data from {index.dtype!r} to dtype('int64') according "
            "to the rule 'safe'"
        )
    index, n = cast(index, np.int64), len(parts)
    if mode == "wrap":
        index = index % n
    elif mode == "clip":
        index = call(np.minimum, call(np.maximum, index, 0), n - 1)
    elif not all_((index >= 0) & (index < n)):
        raise ValueError("invalid entry in choice array")
    shape = np.broadcast_shapes(index.shape, *[p.shape for p in parts])
    found = emit("broadcast_to", parts[0], shape=shape)
    for k, part in enumerate(parts[1:], 1):
        found = emit("select", call(np.equal, index, k), part, found)
    return found


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Each function is given the elements that it is for, and no others."""
    rec = recorder_of(x, condlist, funclist, args, list(kw.values()))
    t = as_tracer(rec, x)
    one = np.isscalar(condlist) or (
        not isinstance(condlist[0], (list, np.ndarray)) and t.ndim
    )
    given = [condlist] if one else list(condlist)
    masks = [as_tracer(rec, c, BOOL) for c in given]
    n = len(funclist)
    if len(masks) == n - 1:
        covered = masks[0]
        for mask in masks[1:]:
            covered = covered | mask
        masks.append(~covered)
    elif len(masks) != n:
        k = len(masks)
        raise ValueError(
            f"with {k} condition(s), either {k} or {k + 1} functions are expected"
        )
    flat = emit("reshape", t, shape=(t.size,))
    found = zeros_of(flat)
    for mask, function in zip(masks, funclist, strict=True):
        where_to = emit("broadcast_to", mask, shape=t.shape)
        where_to = emit("reshape", where_to, shape=(t.size,))
        if callable(function):
            index = flat_nonzero(where_to)
            if not index.size:
                continue
            values = as_tracer(
                rec, function(emit("gather", flat, index, axis=0), *args, **kw)
            )
            values = emit("broadcast_to", cast(values, t.dtype), shape=index.shape)
            values = emit("scatter_add", values, index, axis=0, n=t.size)
        else:
            values = as_tracer(rec, function, t.dtype)
        found = emit("select", where_to, values, found)
    return emit("reshape", found, shape=t.shape)


def zeros_of(x: Tracer) -> Tracer:
    return filled(x.rec, x.shape, 0, x.dtype)


@implements(np.array_equiv, gradient=False)
def array_equiv(a1: Any, a2: Any) -> bool:
    rec = recorder_of(a1, a2)
    x, y = as_tracer(rec, a1), as_tracer(rec, a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return bool(all_(x == y))


@implements(np.i0)
def i0(x: Any) -> Any:
    t = of(x)
    return emit("i0", t if t.dtype.kind == "f" else cast(t, F64))


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: Any = None,
    *,
    min: Any = None,
    max: Any = None,
    **kwargs: Any,
) -> Any:
    no_keywords(np.clip, out=out, **kwargs)
    low = min if a_min is None else a_min
    high = max if a_max is None else a_max
    rec = recorder_of(a, low, high)
    x = a if type(a) is Tracer else as_tracer(rec, a)
    if low is None and high is None:
        return Tracer(rec, x.ref, None, False)
    # One promotion of all operands, as the ufunc of three operands has it.
    bounds = [b for b in (low, high) if b is not None]
    x, *cast_bounds = promoted(rec, x, *bounds)
    if low is not None:
        x = call(np.maximum, x, cast_bounds[0])
    return x if high is None else call(np.minimum, x, cast_bounds[-1])


@implements(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    t = of(x, nan, posinf, neginf)
    if not copy and t.shape and isinstance(x, Tracer):
        target = writable(np.nan_to_num, x)
        rewrite(target, nan_to_num(target, True, nan, posinf, neginf).ref)
        return target
    if t.dtype.kind == "c":
        parts = [emit(part, t) for part in ("real", "imag")]
        return emit(
            "complex", *[nan_to_num(p, copy, nan, posinf, neginf) for p in parts]
        )
    if t.dtype.kind != "f":
        return Tracer(t.rec, t.ref, None, False)
    info = np.finfo(t.dtype)
    big = info.max if posinf is None else posinf
    low = info.min if neginf is None else neginf
    out = where(call(np.isnan, t), cast(_of_like(t, nan), t.dtype), t)
    out = where(call(np.equal, t, np.inf), cast(_of_like(t, big), t.dtype), out)
    return where(call(np.equal, t, -np.inf), cast(_of_like(t, low), t.dtype), out)


def _of_like(t: Tracer, value: Any) -> Tracer:
    return as_tracer(t.rec, value)


# --- rounding -------------------------------------------------------------------------


@implements(np.round, np.around, gradient=False)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    no_keywords(np.round, out=out)
    x = of(a)
    decimals = operator.index(decimals)
    if x.dtype.kind in "iub":
        if x.dtype == BOOL:
            refuse("np.round of bools", "Convert with .astype first")
        if decimals < 0:
            scale = 10.0**-decimals
            tens = call(np.rint, call(np.divide, x, scale))
            return cast(call(np.multiply, tens, scale), x.dtype)
        return Tracer(x.rec, x.ref, None, False)
    if decimals == 0:
        return call(np.rint, x)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return call(np.rint, x * scale) / scale
    return call(np.rint, x / scale) * scale


@implements(np.fix, gradient=False)
def fix(x: Any, out: Any = None) -> Any:
    no_keywords(np.fix, out=out)
    return call(np.trunc, of(x))


# --- comparing ------------------------------------------------------------------------


@implements(np.isclose, gradient=False)
def isclose(
    a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Any:
    rec = recorder_of(a, b, rtol, atol)
    x, y = as_tracer(rec, a), as_tracer(rec, b)
    if y.dtype.kind not in "fc":
        y = cast(y, np.float64)
    near = call(np.absolute, x - y) <= atol + rtol * call(np.absolute, y)
    close = call(np.logical_and, near, call(np.isfinite, y))
    close = call(np.logical_or, close, x == y)
    if equal_nan:
        both = call(np.logical_and, call(np.isnan, x * 1.0), call(np.isnan, y))
        close = call(np.logical_or, close, both)
    return close


@implements(np.allclose, gradient=False)
def allclose(
    a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> bool:
    return bool(all_(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal, gradient=False)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    rec = recorder_of(a1, a2)
    x, y = as_tracer(rec, a1), as_tracer(rec, a2)
    if x.shape != y.shape:
        return False
    same = x == y
    if equal_nan and x.dtype.kind in "fc" and y.dtype.kind in "fc":
        both = call(np.logical_and, call(np.isnan, x), call(np.isnan, y))
        same = call(np.logical_or, same, both)
    return bool(all_(same))
