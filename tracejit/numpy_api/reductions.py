"""Reductions along axes, and what is made of them.

A reduction primitive drops its axes; `keepdims` is a reshape after it.  `where` puts
the reduction's neutral element in place of what is masked, `initial` joins at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tracer import UFUNC_METHODS, Tracer, full_name, refuse
from .table import as_tracer, cast, emit, implements, no_keywords, recorder_of
from .ufuncs import BOOL, F64, I64, call

__all__ = ["axes_of", "axis_of", "keep", "reduce"]

U64 = np.dtype(np.uint64)


def axis_of(axis: Any, ndim: int) -> int:
    """One axis as a non-negative int; NumPy's error if it is out of bounds."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis=` of a reduction as sorted non-negative ints."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = tuple(sorted(axis_of(a, ndim) for a in axis))
        if len(set(axes)) < len(axes):
            raise ValueError("duplicate value in 'axis'")
        return axes
    if ndim == 0 and axis in (0, -1):
        return ()
    return (axis_of(axis, ndim),)


def keep(x: Tracer, shape: tuple[int, ...], axes: Sequence[int]) -> Tracer:
    """Put the reduced axes back with length 1 (`keepdims=True`)."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return x if x.shape == kept else emit("reshape", x, shape=kept)


def reduce(
    name: str, x: Tracer, axis: Any = None, keepdims: Any = False, **params: Any
) -> Tracer:
    """A reduction primitive over `axis`, in the dtype of `x`."""
    axes = axes_of(axis, x.ndim)
    out = emit(name, x, axes=axes, **params)
    return keep(out, x.shape, axes) if keepdims else out


def _of(a: Any, *others: Any) -> Tracer:
    return a if type(a) is Tracer else as_tracer(recorder_of(a, *others), a)


def _masked(x: Tracer, where: Any, neutral: Any) -> Tracer:
    """`x` with the neutral element where the mask is false."""
    if where is True:
        return x
    rec = x.rec
    mask = as_tracer(rec, where, BOOL)
    fill = Tracer(rec, rec.constant(neutral, x.dtype))
    return emit("select", mask, x, fill)


def _sum_dtype(x: Tracer, dtype: Any) -> np.dtype:
    """What sum and prod accumulate in: at least the platform's int."""
    if dtype is not None:
        return np.dtype(dtype)
    if x.dtype.kind in "bi":
        return I64
    return U64 if x.dtype.kind == "u" else x.dtype


@implements(np.sum)
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    no_keywords(np.sum, out=out)
    x = _of(a, where)
    total = reduce(
        "sum", _masked(cast(x, _sum_dtype(x, dtype)), where, 0), axis, keepdims
    )
    return total if initial is None else total + initial


@implements(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    no_keywords(np.prod, out=out)
    x = _of(a, where)
    total = reduce(
        "prod", _masked(cast(x, _sum_dtype(x, dtype)), where, 1), axis, keepdims
    )
    return total if initial is None else total * initial


def _extremum(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    pick = np.maximum if name == "max" else np.minimum

    def extremum(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = _of(a, where)
        if where is not True and initial is None:
            raise ValueError(
                f"reduction operation '{pick.__name__}' does not have an identity, so "
                "to use a where mask one has to specify 'initial'"
            )
        if initial is not None and _reduced_size(x, axis) == 0:
            full = np.full(_reduced_shape(x, axis, keepdims), initial, x.dtype)
            return as_tracer(x.rec, full)
        if x.dtype == BOOL:
            name_of_bool = "any" if name == "max" else "all"
            found = reduce(name_of_bool, _masked(x, where, initial), axis, keepdims)
        else:
            found = reduce(name, _masked(x, where, initial), axis, keepdims)
        return found if initial is None else call(pick, found, initial)

    return extremum


def _reduced_shape(x: Tracer, axis: Any, keepdims: Any) -> tuple[int, ...]:
    axes = axes_of(axis, x.ndim)
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def _reduced_size(x: Tracer, axis: Any) -> int:
    """How many elements each result is made of."""
    size = 1
    for i in axes_of(axis, x.ndim):
        size *= x.shape[i]
    return size


max = implements(np.max, np.amax)(_extremum("max", np.max))
min = implements(np.min, np.amin)(_extremum("min", np.min))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    no_keywords(np.ptp, out=out)
    return max(a, axis, None, keepdims) - min(a, axis, None, keepdims)


def _truth(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def truth(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        *,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = _of(a, where)
        x = x if x.dtype == BOOL else x != x.dtype.type(0)
        return reduce(name, _masked(x, where, name == "all"), axis, keepdims)

    return truth


any = implements(np.any)(_truth("any", np.any))
all = implements(np.all)(_truth("all", np.all))


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return sum(_of(a) != 0, axis, keepdims=keepdims)


# --- means and variances --------------------------------------------------------------


def _mean_dtype(x: Tracer, dtype: Any) -> np.dtype:
    if dtype is not None:
        return np.dtype(dtype)
    return x.dtype if x.dtype.kind == "f" else F64


def _count(x: Tracer, axis: Any, where: Any, keepdims: Any) -> Any:
    """How many elements each result is made of: an int, or traced under a mask."""
    if where is True:
        return _reduced_size(x, axis)
    mask = as_tracer(x.rec, where, BOOL)
    return sum(emit("broadcast_to", mask, shape=x.shape), axis, keepdims=keepdims)


@implements(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    no_keywords(np.mean, out=out)
    x = _of(a, where)
    x = cast(x, _mean_dtype(x, dtype))
    n = _count(x, axis, where, keepdims)
    if type(n) is int and n == 0:
        x.rec.warn("Mean of empty slice.")
    return _ratio(sum(x, axis, keepdims=keepdims, where=where), n)


def _ratio(total: Tracer, n: Any) -> Tracer:
    """`total / n` in the dtype of `total`, whatever the count is."""
    if type(n) is int:
        return total / n
    return total / cast(n, total.dtype)


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    no_keywords(np.var, out=out)
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    x = _of(a, where)
    x = cast(x, _mean_dtype(x, dtype))
    center = _mean_of(x, axis, keepdims=True, where=where) if mean is None else mean
    total = sum((x - center) ** 2, axis, keepdims=keepdims, where=where)
    n = _count(x, axis, where, keepdims)
    if type(n) is int:
        if n <= ddof:
            x.rec.warn("Degrees of freedom <= 0 for slice")
        return _ratio(total, n - ddof if n > ddof else 0)
    return _ratio(total, call(np.maximum, n - ddof, 0))


_mean_of = mean


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    no_keywords(np.std, out=out)
    return call(
        np.sqrt,
        var(
            a,
            axis,
            dtype,
            None,
            ddof,
            keepdims,
            where=where,
            mean=mean,
            correction=correction,
        ),
    )


@implements(np.average)
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    if returned:
        refuse("np.average with returned=True", "Compute the sum of weights yourself")
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    rec = recorder_of(a, weights)
    x, w = as_tracer(rec, a), as_tracer(rec, weights)
    if x.shape != w.shape:
        if axis is None or isinstance(axis, tuple):
            raise TypeError(
                "Axis must be specified when shapes of a and weights differ."
            )
        shape = [1] * x.ndim
        shape[axis_of(axis, x.ndim)] = w.size
        w = emit("reshape", w, shape=tuple(shape))
        w = emit("broadcast_to", w, shape=x.shape)
    dtype = np.result_type(x.dtype, w.dtype, F64 if x.dtype.kind in "biu" else x.dtype)
    w = cast(w, dtype)
    scale = sum(w, axis, keepdims=keepdims)
    return sum(cast(x, dtype) * w, axis, keepdims=keepdims) / scale


# --- positions, running sums ----------------------------------------------------------


def _position(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def position(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False
    ) -> Any:
        no_keywords(function, out=out)
        x = _of(a)
        if axis is None:
            flat = x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))
            found = emit(name, flat, axis=0)
            return keep(found, x.shape, range(x.ndim)) if keepdims else found
        axis = axis_of(axis, x.ndim)
        found = emit(name, x, axis=axis)
        return keep(found, x.shape, (axis,)) if keepdims else found

    return position


argmax = implements(np.argmax)(_position("argmax", np.argmax))
argmin = implements(np.argmin)(_position("argmin", np.argmin))


def _running(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def running(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        no_keywords(function, out=out)
        x = _of(a)
        x = cast(x, _sum_dtype(x, dtype))
        if axis is None:
            x = x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))
            axis = 0
        return emit(name, x, axis=axis_of(axis, x.ndim))

    return running


cumsum = implements(np.cumsum)(_running("cumsum", np.cumsum))
cumprod = implements(np.cumprod)(_running("cumprod", np.cumprod))


# --- NaN-aware ------------------------------------------------------------------------


def _nan_aware(function: Callable[..., Any], plain: Callable[..., Any]) -> None:
    def implementation(a: Any, *args: Any, where: Any = True, **kwargs: Any) -> Any:
        x = _of(a, where)
        valid = call(np.logical_not, call(np.isnan, x)) if x.dtype.kind == "f" else True
        if where is not True and valid is not True:
            valid = call(np.logical_and, valid, where)
        return plain(x, *args, where=valid if valid is not True else where, **kwargs)

    implements(function)(implementation)


_nan_aware(np.nansum, sum)
_nan_aware(np.nanprod, prod)
_nan_aware(np.nanmean, mean)
_nan_aware(np.nanvar, var)
_nan_aware(np.nanstd, std)


# --- ufunc.reduce, ufunc.accumulate, ufunc.outer --------------------------------------

_REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_and: all,
    np.logical_or: any,
}
_ACCUMULATE: dict[np.ufunc, Callable[..., Any]] = {np.add: cumsum, np.multiply: cumprod}


def _reduce(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    function = _REDUCE.get(ufunc)
    if function is None:
        refuse(f"{full_name(ufunc)}.reduce")
    array, *rest = inputs
    names = ("axis", "dtype", "out", "keepdims", "initial", "where")
    keywords = {**dict(zip(names, rest, strict=False)), **kwargs}
    keywords.setdefault("axis", 0)
    if keywords.get("out") == (None,):
        del keywords["out"]
    if keywords.get("initial", 0) is np._NoValue:
        del keywords["initial"]
    if function in (max, min, all, any):
        no_keywords(ufunc, dtype=keywords.pop("dtype", None))
    return function(array, **keywords)


def _accumulate(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    array, *rest = inputs
    keywords = {**dict(zip(("axis", "dtype", "out"), rest, strict=False)), **kwargs}
    keywords.setdefault("axis", 0)
    if keywords.get("out") == (None,):
        del keywords["out"]
    function = _ACCUMULATE.get(ufunc)
    if function is not None:
        return function(array, **keywords)
    if ufunc not in _REDUCE:
        refuse(f"{full_name(ufunc)}.accumulate")
    no_keywords(ufunc, dtype=keywords.get("dtype"), out=keywords.get("out"))
    return _scan(ufunc, _of(array), keywords["axis"])


def _scan(ufunc: np.ufunc, x: Tracer, axis: Any) -> Tracer:
    """Prefix results by doubling: log2(n) steps, exact for idempotent ufuncs."""
    axis = axis_of(axis, x.ndim)
    n, step = x.shape[axis], 1
    before = (slice(None),) * axis
    while step < n:
        joined = call(
            ufunc, x[(*before, slice(step, None))], x[(*before, slice(None, n - step))]
        )
        x = emit(
            "concatenate",
            cast(x, joined.dtype)[(*before, slice(None, step))],
            joined,
            axis=axis,
        )
        step *= 2
    return x


def _outer(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    no_keywords(ufunc, **kwargs)
    rec = recorder_of(*inputs)
    a, b = [as_tracer(rec, x) for x in inputs]
    return call(ufunc, emit("reshape", a, shape=a.shape + (1,) * b.ndim), b)


UFUNC_METHODS["reduce"] = _reduce
UFUNC_METHODS["accumulate"] = _accumulate
UFUNC_METHODS["outer"] = _outer
