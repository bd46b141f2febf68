"""Functions that ask about an array and compute nothing; and hints for refused ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tracer import Tracer
from .reductions import axis_of
from .table import implements

__all__: list[str] = []


@implements(np.shape, gradient=False)
def shape(a: Any) -> tuple[int, ...]:
    return np.array(_stand_in(a)).shape if isinstance(a, (list, tuple)) else a.shape


@implements(np.ndim, gradient=False)
def ndim(a: Any) -> int:
    return len(shape(a))


@implements(np.size, gradient=False)
def size(a: Any, axis: Any = None) -> int:
    full = shape(a)
    if axis is None:
        return math.prod(full)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod([full[axis_of(i, len(full))] for i in axes])


def _stand_in(a: Any) -> Any:
    """An untraced value of the same dtype and shape (all zeros)."""
    if type(a) is Tracer:
        if a.weak is not None:
            return a.weak(0)
        return np.broadcast_to(a.dtype.type(0), a.shape) if a.ndim else a.dtype.type(0)
    if isinstance(a, (list, tuple)):
        return [_stand_in(item) for item in a]
    return a


def _ask(function: Any) -> None:
    """NumPy's answer depends on dtypes and shapes only: ask it about stand-ins."""

    @implements(function, gradient=False)
    def answer(*args: Any, **kwargs: Any) -> Any:
        return function(*[_stand_in(a) for a in args], **kwargs)


for _function in (
    np.can_cast,
    np.common_type,
    np.iscomplexobj,
    np.isrealobj,
    np.min_scalar_type,
    np.result_type,
):
    _ask(_function)


def _show(function: Any) -> None:
    """Text of the concrete value."""

    @implements(function, gradient=False)
    def text(a: Any, *args: Any, **kwargs: Any) -> str:
        return function(np.asarray(a.spoken()), *args, **kwargs)


for _text in (np.array_repr, np.array_str, np.array2string):
    _show(_text)
