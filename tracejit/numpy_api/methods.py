"""ndarray's methods and attributes on tracers: each is a NumPy function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import FUNCTIONS, Tracer, View, full_name, note_uncertain, refuse, stamped
from . import (
    composed,
    creation,
    means,
    metadata,
    products,
    rearranging,
    searching,
)
from .indexing import take
from .shape import permute, ravel, reshape, transpose
from .table import ENTRIES, Entry, cast, emit, enter, fresh

__all__: list[str] = []

#: The families whose functions are methods; importing them fills the table.
_FAMILIES = (composed, creation, means, metadata, products, rearranging, searching)

# fmt: off
#: Methods that take what the function of the same name takes after the array.
_SAME = (
    np.all, np.any, np.argmax, np.argmin, np.argpartition, np.argsort, np.choose,
    np.clip,
    np.cumprod, np.cumsum, np.diagonal, np.dot, np.max, np.mean, np.min, np.nonzero,
    np.prod, np.ravel,
    np.repeat, np.round, np.squeeze, np.std, np.sum, np.swapaxes, np.trace, np.var,
)
#: What changes more than the elements (`mutators` has what writes these).
_WRITES = ("byteswap", "itemset", "resize", "setfield", "setflags")
# fmt: on


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        return stamped(FUNCTIONS[function], (self, *args), kwargs)

    method.__name__ = function.__name__
    return method


for _function in _SAME:
    setattr(Tracer, _function.__name__, _method(_function))


def _write(name: str) -> Callable[..., Any]:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        refuse(
            f"a.{name}(), which writes into the traced array,",
            "Make a new array instead",
        )

    return method


for _name in _WRITES:
    setattr(Tracer, _name, _write(_name))


def _reshape(self: Tracer, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    one = shape[0] if len(shape) == 1 else shape
    return reshape(self, one, order, copy=copy)


def _transpose(self: Tracer, *axes: Any) -> Any:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return transpose(self, axes[0])
    return transpose(self, axes or None)


def _copy(self: Tracer, order: str = "C") -> Any:
    return fresh(self, contiguous=order == "C")


def _flatten(self: Tracer, order: str = "C") -> Any:
    return fresh(ravel(fresh(self), order), contiguous=True)


def _astype(
    self: Tracer,
    dtype: Any,
    order: str = "K",
    casting: str = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Any:
    dtype = np.dtype(dtype)
    if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {self.dtype!r} to {dtype!r} according to "
            f"the rule {casting!r}"
        )
    if self.dtype.kind == "c" and dtype.kind in "iuf":
        self.rec.warn(
            "Casting complex values to real discards the imaginary part",
            np.exceptions.ComplexWarning,
        )
        return emit("cast", self, dtype=dtype)
    return self if not copy and self.dtype == dtype else cast(self, dtype)


def _take(
    self: Tracer, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise"
) -> Any:
    return take(self, indices, axis, out, mode)


def _searchsorted(self: Tracer, v: Any, side: str = "left", sorter: Any = None) -> Any:
    return FUNCTIONS[np.searchsorted](self, v, side, sorter)


def _compress(self: Tracer, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return FUNCTIONS[np.compress](condition, self, axis, out)


def _matrix_transpose(self: Tracer) -> Any:
    if self.ndim < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    axes = range(self.ndim)
    return permute(self, (*axes[:-2], axes[-1], axes[-2]))


def _flat(self: Tracer) -> Any:
    line = ravel(self)
    if type(line.memory) is not View:
        # NumPy's writes into the array, a copy would not.
        note_uncertain(self, line)
    return line


_METHODS: dict[str, Callable[..., Any]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "copy": _copy,
    "flatten": _flatten,
    "astype": _astype,
    "take": _take,
    "compress": _compress,
    "searchsorted": _searchsorted,
}
for _name, _implementation in _METHODS.items():
    setattr(Tracer, _name, _implementation)
_PROPERTIES: dict[str, Callable[..., Any]] = {
    "T": transpose,
    "mT": _matrix_transpose,
    "flat": _flat,
}
for _name, _getter in _PROPERTIES.items():
    setattr(Tracer, _name, property(_getter))


# --- the table ------------------------------------------------------------------------

#: Methods and attributes whose function has another name, or none.
_LIKE = {
    "flatten": "np.ravel",
}


#: What only the functions take.
_FUNCTIONS_ONLY = {"a_min", "a_max", "correction"}


def _enter_methods() -> None:
    for function in _SAME:
        name = function.__name__
        of = ENTRIES[full_name(function)]
        _enter_method(name, of, FUNCTIONS[function])
    for name, implementation in _METHODS.items():
        _enter_method(name, ENTRIES[_LIKE.get(name, f"np.{name}")], implementation)
    for name in _PROPERTIES:
        enter(f"ndarray.{name}", "method")
    for name in ("real", "imag", "conj", "conjugate"):
        enter(f"ndarray.{name}", "method")
    enter("ndarray.__getitem__", "method")


def _enter_method(name: str, of: Entry, implementation: Callable[..., Any]) -> None:
    parameters = inspect.signature(implementation).parameters
    given = [p for p in parameters.values() if p.default is not p.empty]
    keywords = [p.name for p in given if p.name in of.keywords]
    enter(
        f"ndarray.{name}",
        "method",
        keywords=[k for k in keywords if k not in _FUNCTIONS_ONLY],
        gradient=of.gradient,
        host=of.host,
    )


_enter_methods()
