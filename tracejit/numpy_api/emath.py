"""`np.emath`: functions whose results are complex where they have to be.

Whether any element is outside of the real domain is a decision about the dtype, and a
guard holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer
from .joining import sort
from .reductions import any as any_
from .table import as_tracer, cast, implements, of, recorder_of
from .ufuncs import call

__all__: list[str] = []

#: What becomes complex64; all else becomes complex128.
_SHORT = [np.dtype(c) for c in ("f4", "i1", "i2", "u1", "u2")]


def _wider(x: Tracer, is_outside: Any) -> Tracer:
    """The operand, complex if one of its elements is outside of the domain."""
    if x.dtype.kind == "c" or not any_(is_outside(x)):
        return x
    return cast(x, np.dtype(np.complex64 if x.dtype in _SHORT else np.complex128))


def _negative(x: Tracer) -> Any:
    return x < 0


def _large(x: Tracer) -> Any:
    return call(np.absolute, x) > 1


def _enter(ufunc: np.ufunc, is_outside: Callable[[Tracer], Any]) -> None:
    @implements(getattr(np.emath, ufunc.__name__))
    def function(x: Any) -> Any:
        return call(ufunc, _wider(of(x), is_outside))


_DOMAINS: tuple[tuple[np.ufunc, Callable[[Tracer], Any]], ...] = (
    (np.sqrt, _negative),
    (np.log, _negative),
    (np.log2, _negative),
    (np.log10, _negative),
    (np.arccos, _large),
    (np.arcsin, _large),
    (np.arctanh, _large),
)
for _ufunc, _is_outside in _DOMAINS:
    _enter(_ufunc, _is_outside)


@implements(np.emath.logn)
def logn(n: Any, x: Any) -> Any:
    rec = recorder_of(n, x)
    top, base = [call(np.log, _wider(as_tracer(rec, t), _negative)) for t in (x, n)]
    return call(np.divide, top, base)


@implements(np.emath.power)
def power(x: Any, p: Any) -> Any:
    rec = recorder_of(x, p)
    exponent = as_tracer(rec, p)
    if exponent.dtype.kind == "i" and any_(exponent < 0):
        exponent = call(np.multiply, exponent, 1.0)
    return call(np.power, _wider(as_tracer(rec, x), _negative), exponent)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    x = sort(of(a))
    short = x.dtype in _SHORT and x.dtype.kind in "iu"
    if x.dtype.kind == "c":
        return x
    return cast(x, np.dtype(np.complex64 if short else np.complex128))
