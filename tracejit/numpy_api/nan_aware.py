"""Reductions and scans that skip NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import real_of
from ..tracer import Tracer, full_name, refuse
from .complex import squared_size
from .means import mean, var
from .reductions import all as all_
from .reductions import any as any_
from .reductions import argmax, argmin, cumprod, cumsum, prod
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .selection import where as choose
from .table import as_tracer, cast, emit, implements, no_keywords, of
from .ufuncs import call

__all__: list[str] = []


def _number(x: Tracer) -> Tracer:
    """Which elements are numbers."""
    return call(np.logical_not, call(np.isnan, x))


def _valid(x: Tracer, where: Any) -> Tracer:
    """Which elements count: numbers that the mask lets through."""
    valid = _number(x)
    return valid if _all(where) else call(np.logical_and, valid, where)


def _all(where: Any) -> bool:
    return where is True or where is np._NoValue


def _summed(function: Callable[..., Any], plain: Callable[..., Any]) -> None:
    @implements(function)
    def implementation(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a, where, initial)
        mask = _valid(x, where) if x.dtype.kind in "fc" else where
        return plain(x, axis, dtype, None, keepdims, initial, mask)


_summed(np.nansum, sum_)
_summed(np.nanprod, prod)


def _running(
    function: Callable[..., Any], plain: Callable[..., Any], neutral: int
) -> None:
    @implements(function)
    def implementation(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        if x.dtype.kind in "fc":
            x = choose(call(np.isnan, x), neutral, x)
        return plain(x, axis, dtype)


_running(np.nancumsum, cumsum, 0)
_running(np.nancumprod, cumprod, 1)


def _quiet_ratio(total: Tracer, n: Tracer) -> Tracer:
    with np.errstate(invalid="ignore", divide="ignore"):
        return call(np.divide, total, cast(n, total.dtype))


@implements(np.nanmean)
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    no_keywords(np.nanmean, out=out)
    x = of(a, where)
    where = True if _all(where) else where
    if x.dtype.kind not in "fc":
        return mean(x, axis, dtype, None, keepdims, where=where)
    valid = _valid(x, where)
    valid = emit("broadcast_to", valid, shape=x.shape)
    n = sum_(valid, axis, keepdims=keepdims)
    if (n.concrete == 0).any():
        x.rec.warn("Mean of empty slice")
    return _quiet_ratio(sum_(x, axis, dtype, None, keepdims, where=valid), n)


@implements(np.nanvar)
def nanvar(
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
    no_keywords(np.nanvar, out=out)
    mean = None if mean is np._NoValue else mean
    correction = None if correction is np._NoValue else correction
    x = of(a, where, mean)
    where = True if _all(where) else where
    if x.dtype.kind not in "fc":
        keywords = {"where": where, "mean": mean, "correction": correction}
        return var(x, axis, dtype, None, ddof, keepdims, **keywords)
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    valid = emit("broadcast_to", _valid(x, where), shape=x.shape)
    n = sum_(valid, axis, keepdims=True)
    if mean is None:
        total = sum_(x, axis, dtype, None, True, where=valid)
        mean = _quiet_ratio(total, n)
    # NumPy keeps the differences in the dtype of the array.
    apart = squared_size(cast(call(np.subtract, x, mean), x.dtype))
    dtype = None if dtype is None else real_of(np.dtype(dtype))
    total = sum_(apart, axis, dtype, None, keepdims, where=valid)
    free = emit("reshape", n, shape=total.shape) - ddof
    bad = free <= 0
    if bad.concrete.any():
        x.rec.warn("Degrees of freedom <= 0 for slice.")
    return choose(bad, np.nan, _quiet_ratio(total, free))


@implements(np.nanstd)
def nanstd(
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
    no_keywords(np.nanstd, out=out)
    keywords = {"where": where, "mean": mean, "correction": correction}
    return emit("sqrt", nanvar(a, axis, dtype, None, ddof, keepdims, **keywords))


# --- extrema --------------------------------------------------------------------------


def _refuse_complex(function: Callable[..., Any], x: Tracer) -> None:
    if x.dtype.kind == "c":
        refuse(f"{full_name(function)} of complex numbers", "Use np.abs or a part")


def _extremum(
    function: Callable[..., Any], plain: Any, pick: np.ufunc, neutral: float
) -> None:
    @implements(function)
    def implementation(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a, initial, where)
        _refuse_complex(function, x)
        initial = None if initial is np._NoValue else initial
        where = True if _all(where) else where
        if x.dtype.kind != "f":
            return plain(x, axis, None, keepdims, initial, where)
        if where is not True and initial is None:
            raise ValueError(
                f"reduction operation '{pick.__name__}' does not have an identity, so "
                "to use a where mask one has to specify 'initial'"
            )
        valid = _valid(x, where)
        found = plain(choose(valid, x, neutral), axis, None, keepdims)
        if initial is not None:
            return call(pick, found, cast(as_tracer(x.rec, initial), x.dtype))
        found = choose(any_(valid, axis, None, keepdims), found, np.nan)
        if np.isnan(found.concrete).any():
            x.rec.warn("All-NaN slice encountered")
        return found


_extremum(np.nanmax, max_, np.fmax, -np.inf)
_extremum(np.nanmin, min_, np.fmin, np.inf)


def _position(function: Callable[..., Any], plain: Any, neutral: float) -> None:
    @implements(function, gradient=False)
    def implementation(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False
    ) -> Any:
        no_keywords(function, out=out)
        x = of(a)
        _refuse_complex(function, x)
        if x.dtype.kind == "f":
            missing = call(np.isnan, x)
            if any_(all_(missing, axis)):
                raise ValueError("All-NaN slice encountered")
            x = choose(missing, neutral, x)
        return plain(x, axis, keepdims=keepdims is not np._NoValue and keepdims)


_position(np.nanargmax, argmax, -np.inf)
_position(np.nanargmin, argmin, np.inf)
