"""Python's operators on tracers.

Arithmetic is NumPy's; between a traced and an untraced Python number it is Python's, so
that the result is still weak.  `==` and `!=` with what is no number (None, a string)
are answered as NumPy answers them, without a trace.  In-place operators write into the
memory of the array, which all of its views see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer, View
from .ufuncs import operate
from .writable import check_writable
from .writes import setitem, write_out

__all__: list[str] = []

_OPERANDS = (Tracer, np.ndarray, np.generic, bool, int, float, complex, list, tuple)

_BINARY: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_COMPARE: dict[str, np.ufunc] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
_UNARY: dict[str, np.ufunc] = {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
}


def _plain(ufunc: np.ufunc) -> Callable[..., Any]:
    def method(self: Tracer, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return operate(ufunc, self, other)

    return method


def _reflected(ufunc: np.ufunc) -> Callable[..., Any]:
    def method(self: Tracer, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return operate(ufunc, other, self)

    return method


def _equality(ufunc: np.ufunc, different: bool) -> Callable[..., Any]:
    def method(self: Tracer, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return operate(ufunc, self, other)
        if other is None or isinstance(other, (str, bytes)):
            return np.full(self.shape, different)[()]
        return NotImplemented

    return method


def _power(self: Tracer, other: Any, modulo: Any = None) -> Any:
    if modulo is not None or not isinstance(other, _OPERANDS):
        return NotImplemented
    # What ndarray.__pow__ does: these powers have a faster ufunc of their own, with
    # another answer for (-inf)**0.5, which NumPy's scalars do not share.
    if type(other) is int or type(other) is float:
        aval = self.ref.aval
        fast = _FAST_POWERS.get(other)
        if other == 2 and (aval.shape or aval.dtype.kind in "fc"):
            return operate(np.square, self)
        if fast is not None and aval.shape and aval.dtype.kind in "fc":
            return operate(fast, self)
    return operate(np.power, self, other)


_FAST_POWERS = {0.5: np.sqrt, -1: np.reciprocal}


def _repeats(self: Tracer, other: Any) -> bool:
    """Whether `self * other` repeats a Python sequence, as NumPy's scalars do."""
    return isinstance(other, (list, tuple)) and not self.ref.aval.shape


def _times(self: Tracer, other: Any) -> Any:
    if _repeats(self, other) or not isinstance(other, _OPERANDS):
        return NotImplemented
    return operate(np.multiply, self, other)


def _times_reflected(self: Tracer, other: Any) -> Any:
    if _repeats(self, other) or not isinstance(other, _OPERANDS):
        return NotImplemented
    return operate(np.multiply, other, self)


def _in_place(ufunc: np.ufunc) -> Callable[..., Any]:
    plain = _plain(ufunc)

    def method(self: Tracer, other: Any) -> Any:
        if not self.ref.aval.shape and type(self.memory) is not View:
            return plain(self, other)  # a scalar: the name is rebound
        check_writable(self, "output array")
        out = plain(self, other)
        return out if out is NotImplemented else write_out(ufunc, self, out)

    return method


def _unary(ufunc: np.ufunc) -> Callable[..., Any]:
    return lambda self: operate(ufunc, self)


for _name, _ufunc in _BINARY.items():
    setattr(Tracer, f"__{_name}__", _plain(_ufunc))
    setattr(Tracer, f"__r{_name}__", _reflected(_ufunc))
for _name in _BINARY.keys() - {"divmod"}:
    setattr(Tracer, f"__i{_name}__", _in_place(_BINARY[_name]))
for _name, _ufunc in _COMPARE.items():
    setattr(Tracer, f"__{_name}__", _plain(_ufunc))
for _name, _ufunc in _UNARY.items():
    setattr(Tracer, f"__{_name}__", _unary(_ufunc))
Tracer.__eq__ = _equality(np.equal, False)  # type: ignore[method-assign]
Tracer.__ne__ = _equality(np.not_equal, True)  # type: ignore[method-assign]
Tracer.__mul__ = _times  # type: ignore[method-assign]
Tracer.__rmul__ = _times_reflected  # type: ignore[method-assign]
Tracer.__pow__ = _power  # type: ignore[method-assign]
Tracer.__setitem__ = setitem  # type: ignore[method-assign]
