"""Making arrays: `*_like`, grids and polynomials."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer
from .joining import stack
from .table import as_tracer, cast, emit, filled, fresh, implements, recorder_of
from .ufuncs import call

__all__: list[str] = []


# --- like another array ---------------------------------------------------------------


def _filled(a: Any, value: Any, dtype: Any, shape: Any) -> Any:
    rec = recorder_of(a, value)
    if shape is None:
        shape = a.shape if type(a) is Tracer else np.shape(a)
    elif not isinstance(shape, (tuple, list)):
        shape = (shape,)
    shape = tuple([operator.index(n) for n in shape])
    dtype = (
        (a if type(a) is Tracer else np.asarray(a)).dtype if dtype is None else dtype
    )
    return filled(rec, shape, value, np.dtype(dtype))


def _like(function: Callable[..., Any], value: int) -> None:
    @implements(function, gradient=False)
    def like(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        return _filled(a, value, dtype, shape)

    like.__name__ = function.__name__


_like(np.zeros_like, 0)
_like(np.ones_like, 1)
# What is in uninitialised memory is nobody's business: zeros.
_like(np.empty_like, 0)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    return _filled(a, fill_value, dtype, shape)


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return fresh(a, contiguous=order == "C")


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x.astype(dtype, copy=copy)


@implements(np.meshgrid)
def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Any, ...]:
    rec = recorder_of(*xi)
    axes = [as_tracer(rec, x) for x in xi]
    n = len(axes)
    places = list(range(n))
    if indexing == "xy" and n > 1:
        places[0], places[1] = 1, 0
    sizes = [0] * n
    for x, place in zip(axes, places, strict=True):
        sizes[place] = x.size
    found = []
    for x, place in zip(axes, places, strict=True):
        shape = tuple(x.size if i == place else 1 for i in range(n))
        grid = emit("reshape", x, shape=shape)
        found.append(grid if sparse else emit("broadcast_to", grid, shape=tuple(sizes)))
    return tuple(found)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = len(x) if N is None else operator.index(N)
    x = cast(x, np.promote_types(x.dtype, int))
    powers: list[Any] = [filled(x.rec, x.shape, 1, x.dtype)]
    while len(powers) < n:
        powers.append(call(np.multiply, powers[-1], x))
    if not n:
        return filled(x.rec, (x.size, 0), 0, x.dtype)
    return stack(powers[:n] if increasing else powers[:n][::-1], 1)
