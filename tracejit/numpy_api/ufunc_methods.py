"""`ufunc.reduce`, `ufunc.accumulate` and `ufunc.outer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import UFUNC_METHODS, Tracer, full_name, refuse
from .reductions import all, any, axis_of, cumprod, cumsum, max, min, prod, sum
from .table import as_tracer, cast, emit, no_keywords, of, recorder_of
from .ufuncs import call

__all__: list[str] = []


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
    return _scan(ufunc, of(array), keywords["axis"])


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
