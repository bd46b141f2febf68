"""`ufunc.reduce`, `ufunc.accumulate`, `ufunc.outer` and `ufunc.reduceat`.

Sums, products and extrema are primitives.  What else is associative is reduced by
halves, in log2(n) steps; the rest from left to right, as NumPy does it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..tracer import UFUNC_METHODS, Tracer, full_name, refuse, stamped
from .reductions import (
    all,
    any,
    axes_of,
    axis_of,
    cumprod,
    cumsum,
    keep,
    max,
    min,
    prod,
    sum,
)
from .selection import where as choose
from .shape import window
from .table import (
    ENTRIES,
    as_tracer,
    cast,
    emit,
    enter,
    filled,
    no_keywords,
    of,
    recorder_of,
    static_array,
)
from .ufunc_calls import call_with
from .ufuncs import BOOL, COMPOSED, UFUNCS, call, loop_dtypes

__all__: list[str] = []

_REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_and: all,
    np.logical_or: any,
}
_ACCUMULATE: dict[np.ufunc, Callable[..., Any]] = {np.add: cumsum, np.multiply: cumprod}
_ASSOCIATIVE = {
    *_REDUCE,
    np.fmax,
    np.fmin,
    np.hypot,
    np.logaddexp,
    np.logaddexp2,
    np.logical_xor,
    np.bitwise_and,
    np.bitwise_or,
    np.bitwise_xor,
    np.gcd,
    np.lcm,
}


_LOGICAL = (np.logical_and, np.logical_or, np.logical_xor)


def _operand(ufunc: np.ufunc, x: Tracer, dtype: Any) -> Tracer:
    """The array in the dtype in which the ufunc computes two of its elements."""
    if ufunc in _LOGICAL:
        return x if x.dtype == BOOL else x != 0
    return cast(x, loop_dtypes(ufunc, x, x)[0] if dtype is None else dtype)


def _closed(ufunc: np.ufunc) -> bool:
    """Whether two elements make another one: what can be reduced."""
    if ufunc.nin != 2 or ufunc.nout != 1 or ufunc.signature is not None:
        return False
    if ufunc in _LOGICAL:
        return True
    if ufunc in (np.floor_divide, np.nextafter):
        return False
    for kind in (np.float64, np.int64):
        dtype = np.dtype(kind)
        try:
            if ufunc.resolve_dtypes((dtype, dtype, None)) == (dtype,) * 3:
                return True
        except TypeError:
            continue
    return False


#: What NumPy 2.4 itself reduces wrongly where it has vector loops for it:
#: np.power.reduce([2.0, 3.0, 2.0]) is 2 ** 1.5 there.  `accumulate` is right.
_ORDER_LOST = {np.power, np.arctan2}


def _check_order(ufunc: np.ufunc, method: str) -> None:
    if ufunc in _ORDER_LOST:
        name = full_name(ufunc)
        refuse(f"{name}.{method}", f"Use {name}.accumulate(a)[-1]")


def _arguments(names: tuple[str, ...], rest: list[Any], kwargs: Any) -> dict[str, Any]:
    """A method's arguments by name; what only stands for "not given" is left out."""
    keywords = {**dict(zip(names, rest, strict=False)), **kwargs}
    if keywords.get("out") == (None,):
        del keywords["out"]
    return {k: v for k, v in keywords.items() if v is not np._NoValue}


def _integral(ufunc: np.ufunc) -> bool:
    """Whether the results are never floats."""
    return "dd->d" not in ufunc.types


# --- reduce ---------------------------------------------------------------------------


def _reduce(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    array, *rest = inputs
    names = ("axis", "dtype", "out", "keepdims", "initial", "where")
    keywords = _arguments(names, rest, kwargs)
    keywords.setdefault("axis", 0)
    function = _REDUCE.get(ufunc)
    if function is not None and not (
        function in (all, any, max, min) and keywords.get("dtype") is not None
    ):
        if function in (all, any, max, min):
            keywords.pop("dtype", None)
        if function in (all, any) and "initial" in keywords:
            found = function(
                array, **{k: keywords[k] for k in keywords if k != "initial"}
            )
            return call(ufunc, found, keywords["initial"])
        return function(array, **keywords)
    _check_order(ufunc, "reduce")
    if not _closed(ufunc):
        refuse(f"{full_name(ufunc)}.reduce", "Write the loop over the axis")
    return _folded(ufunc, of(array, *keywords.values()), **keywords)


def _folded(
    ufunc: np.ufunc,
    x: Tracer,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    no_keywords(ufunc, out=out)
    x = _operand(ufunc, x, dtype)
    axes = axes_of(axis, x.ndim)
    if len(axes) > 1 and ufunc not in _ASSOCIATIVE:
        np.subtract.reduce(np.zeros((1, 1)), axis=(0, 1))  # NumPy words the error
    if where is not True and initial is None and ufunc.identity is None:
        raise ValueError(
            f"reduction operation {ufunc.__name__!r} does not have an identity, so to "
            "use a where mask one has to specify 'initial'"
        )
    kept = [i for i in range(x.ndim) if i not in axes]
    moved = emit("transpose", x, perm=(*axes, *kept))
    lead = tuple([x.shape[i] for i in kept])
    size = x.size // np.prod(lead, dtype=int) if np.prod(lead) else _size(x, axes)
    flat = emit("reshape", moved, shape=(int(size), *lead))
    mask = None
    if where is not True:
        mask = emit("broadcast_to", as_tracer(x.rec, where, BOOL), shape=x.shape)
        mask = emit("transpose", mask, perm=(*axes, *kept))
        mask = emit("reshape", mask, shape=flat.shape)
    found = _along(ufunc, flat, initial, mask)
    return keep(found, x.shape, axes) if keepdims is True else found


#: A second operand that no floating-point error comes from.
_HARMLESS = {
    np.divide: 1,
    np.float_power: 1,
    np.floor_divide: 1,
    np.fmod: 1,
    np.power: 1,
    np.remainder: 1,
    np.subtract: 0,
}


def _size(x: Tracer, axes: tuple[int, ...]) -> int:
    return int(np.prod([x.shape[i] for i in axes], dtype=int))


def _along(ufunc: np.ufunc, x: Tracer, initial: Any, mask: Tracer | None) -> Any:
    """Reduce the first axis."""
    n = x.shape[0]
    start = initial
    # The gcd of one number is its size, and so is hypot.
    alone = n == 1 and ufunc in (np.gcd, np.hypot)
    if start is None and (mask is not None or not n or alone):
        start = ufunc.identity
        if start is None:
            raise ValueError(
                f"zero-size array to reduction operation {ufunc.__name__} which has no "
                "identity"
            )
    if ufunc in _ASSOCIATIVE and mask is None and n:
        found = _halved(ufunc, x)
        return found if start is None else call(ufunc, _as(found, start), found)
    if start is None:
        found, first = x[0], 1
    else:
        found, first = filled(x.rec, x.shape[1:], start, x.dtype), 0
    if mask is not None and ufunc in _HARMLESS:
        # NumPy does not warn about what it leaves out.
        x = choose(mask, x, filled(x.rec, x.shape, _HARMLESS[ufunc], x.dtype))
    for k in range(first, n):
        step = call(ufunc, found, x[k])
        found = step if mask is None else choose(mask[k], step, found)
    return found


def _as(found: Tracer, start: Any) -> Tracer:
    return as_tracer(found.rec, start, found.dtype)


def _halved(ufunc: np.ufunc, x: Tracer) -> Tracer:
    while (n := x.shape[0]) > 1:
        half = n // 2
        pairs = call(ufunc, window(x, 0, 0, half), window(x, 0, half, half))
        if n % 2:
            last = cast(window(x, 0, n - 1, 1), pairs.dtype)
            pairs = emit("concatenate", pairs, last, axis=0)
        x = pairs
    return x[0]


# --- accumulate -----------------------------------------------------------------------


def _accumulate(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    array, *rest = inputs
    keywords = _arguments(("axis", "dtype", "out"), rest, kwargs)
    keywords.setdefault("axis", 0)
    function = _ACCUMULATE.get(ufunc)
    if function is not None:
        return function(array, **keywords)
    if not _closed(ufunc):
        refuse(f"{full_name(ufunc)}.accumulate", "Write the loop over the axis")
    no_keywords(ufunc, out=keywords.get("out"))
    x = _operand(ufunc, of(array), keywords.get("dtype"))
    scan = _scan if ufunc in _ASSOCIATIVE else _one_by_one
    return scan(ufunc, x, axis_of(keywords["axis"], x.ndim))


def _scan(ufunc: np.ufunc, x: Tracer, axis: int) -> Tracer:
    """Prefix results by doubling: log2(n) steps."""
    n, step = x.shape[axis], 1
    while step < n:
        joined = call(
            ufunc, window(x, axis, 0, n - step), window(x, axis, step, n - step)
        )
        head = cast(window(x, axis, 0, step), joined.dtype)
        x = emit("concatenate", head, joined, axis=axis)
        step *= 2
    return x


def _one_by_one(ufunc: np.ufunc, x: Tracer, axis: int) -> Tracer:
    if not x.shape[axis]:
        return x
    parts = [window(x, axis, 0, 1)]
    for k in range(1, x.shape[axis]):
        parts.append(call(ufunc, parts[-1], window(x, axis, k, 1)))
    parts[0] = cast(parts[0], parts[-1].dtype)
    return emit("concatenate", *parts, axis=axis)


# --- outer, reduceat ------------------------------------------------------------------


def _outer(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    rec = recorder_of(*inputs)
    a, b = [as_tracer(rec, x) for x in inputs]
    column = emit("reshape", a, shape=a.shape + (1,) * b.ndim)
    return call_with(ufunc, (column, b), **kwargs)


def _reduceat(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    array, indices, *rest = inputs
    keywords = _arguments(("axis", "dtype", "out"), rest, kwargs)
    no_keywords(ufunc, out=keywords.get("out"))
    _check_order(ufunc, "reduceat")
    if not _closed(ufunc):
        refuse(f"{full_name(ufunc)}.reduceat", "Reduce each slice by itself")
    x = of(array, indices)
    axis = axis_of(keywords.get("axis", 0), x.ndim)
    n = x.shape[axis]
    starts = static_array(x.rec, indices)
    for start in starts:
        if not 0 <= start < n:
            raise IndexError(
                f"index {start} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})"
            )
    spans = []
    for start, stop in zip(starts.tolist(), [*starts.tolist()[1:], n], strict=True):
        spans.append((start, stop - start if stop > start else 1))
    dtype = keywords.get("dtype")
    if ufunc is np.add:
        return _sums(x, axis, spans, dtype)
    if ufunc is np.multiply:
        dtype = np.multiply.reduce(np.ones(1, x.dtype), dtype=dtype).dtype
    x = _operand(ufunc, x, dtype)
    parts = [
        window(x, axis, start, 1)
        if size == 1
        else _reduce(ufunc, (window(x, axis, start, size),), {"axis": axis})
        for start, size in spans
    ]
    shape = tuple([1 if i == axis else m for i, m in enumerate(x.shape)])
    return emit(
        "concatenate", *[emit("reshape", p, shape=shape) for p in parts], axis=axis
    )


def _sums(x: Tracer, axis: int, spans: list[tuple[int, int]], dtype: Any) -> Tracer:
    """Sums of slices, as many as there are: elements added to their slice's place."""
    x = cast(x, np.add.reduce(np.zeros(1, x.dtype), dtype=dtype).dtype)
    index = np.concatenate([np.arange(start, start + size) for start, size in spans])
    place = np.repeat(np.arange(len(spans)), [size for _, size in spans])
    elements = emit("gather", x, as_tracer(x.rec, index), axis=axis)
    rec = x.rec
    return emit("scatter_add", elements, as_tracer(rec, place), axis=axis, n=len(spans))


def _remembered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose calls are known by the ufunc, too."""

    @cache
    def of(ufunc: np.ufunc) -> Callable[..., Any]:
        return lambda *inputs, **kwargs: method(ufunc, inputs, kwargs)

    return lambda ufunc, inputs, kwargs: stamped(of(ufunc), inputs, kwargs)


for _name, _method in {
    "reduce": _reduce,
    "accumulate": _accumulate,
    "outer": _outer,
    "reduceat": _reduceat,
}.items():
    UFUNC_METHODS[_name] = _remembered(_method)

# fmt: off
_KEYWORDS = {
    "reduce": ("axis", "dtype", "keepdims", "initial", "where"),
    "accumulate": ("axis", "dtype"),
    "reduceat": ("axis", "dtype"),
    "outer": (),
}
# fmt: on
for _ufunc in [*UFUNCS, *COMPOSED]:
    _full = full_name(_ufunc)
    if _ufunc.nin != 2 or _ufunc.signature or not _full.startswith("np."):
        continue
    for _name, _keywords in _KEYWORDS.items():
        _lost = _name.startswith("reduce") and _ufunc in _ORDER_LOST
        if _name == "outer" or (_closed(_ufunc) and not _lost):
            _of = ENTRIES[_full]
            # The first element is passed on as it is.
            _first = _name in ("accumulate", "reduceat") and not _integral(_ufunc)
            enter(
                f"{_full}.{_name}",
                "ufunc method",
                keywords=_keywords,
                gradient=_of.gradient or _first,
                host=_of.host,
            )
