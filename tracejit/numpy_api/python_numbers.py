"""Arithmetic between Python numbers: where Python's answer is not NumPy's.

A guard on the operands remembers which side they are on.

    division by zero      ZeroDivisionError, where NumPy gives inf, nan or 0
    negative ** fraction  complex, as in Python
    beyond 64 bits        an integer of any length, which is refused

Not told apart: a float power that overflows is inf, as in NumPy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .table import cast
from .ufuncs import PYTHON_RULES, call

__all__: list[str] = []

#: What a 64-bit integer holds, with room for the rounding of the check itself.
_LIMIT = 9.2e18


def _number(x: Any) -> Any:
    """The concrete Python number."""
    return x.concrete.item() if type(x) is Tracer else x


def _kind(x: Any) -> type:
    return (x.weak or float) if type(x) is Tracer else type(x)


def _floats(x: Any) -> Any:
    return cast(x, np.dtype(np.float64)) if type(x) is Tracer else float(x)


def _holds(condition: Any) -> bool:
    """The outcome of a condition; a guard, if it depends on a traced value."""
    return bool(condition)


def _both(a: Any, b: Any) -> Any:
    if type(a) is Tracer and type(b) is Tracer:
        return call(np.logical_and, a, b)
    traced, known = (a, b) if type(a) is Tracer else (b, a)
    return traced if known else False


def _compare(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    if type(a) is Tracer or type(b) is Tracer:
        return call(ufunc, a, b)
    return bool(ufunc(a, b))


def _division(python: Callable[..., Any]) -> Callable[..., tuple]:
    def rule(a: Any, b: Any) -> tuple:
        if _holds(_compare(np.equal, b, 0)):
            python(_number(a), _number(b))  # raises, in Python's words
        if python in (operator.floordiv, divmod) and float not in (_kind(a), _kind(b)):
            # Only the lowest integer divided by -1 is beyond 64 bits.
            lowest = _compare(np.less, a, -int(_LIMIT))
            if _holds(lowest) and _holds(_compare(np.equal, b, -1)):
                _refuse_long()
        return a, b

    return rule


def _exact(ufunc: np.ufunc) -> Callable[..., tuple]:
    """Integer arithmetic that has an answer of 64 bits."""

    def rule(*operands: Any) -> tuple:
        kinds = {_kind(x) for x in operands}
        if float in kinds or complex in kinds or kinds == {bool}:
            return operands
        if ufunc is np.left_shift or ufunc is np.right_shift:
            _shift(ufunc, *operands)
        else:
            _require_short(call(ufunc, *[_floats(x) for x in operands]))
        return operands

    return rule


def _shift(ufunc: np.ufunc, a: Any, b: Any) -> None:
    if _holds(_compare(np.less, b, 0)):
        raise ValueError("negative shift count")
    if ufunc is np.left_shift:
        if _holds(_compare(np.greater, b, 62)):
            _refuse_long()
        scale = call(np.exp2, _floats(b)) if type(b) is Tracer else 2.0**b
        _require_short(_floats(a) * scale)


def _require_short(bound: Any) -> None:
    if not _holds(_compare(np.less, abs(bound), _LIMIT)):
        _refuse_long()


def _refuse_long() -> None:
    refuse(
        "an operation on Python integers with a result beyond 64 bits",
        "Pass floats, or NumPy integers if overflow is meant",
    )


def _power(a: Any, b: Any) -> tuple:
    if complex in (_kind(a), _kind(b)):
        return _complex_power(a, b)
    if float not in (_kind(a), _kind(b)):
        if type(b) is Tracer:
            return a, b  # refused by `np.power`
        if b >= 0:
            with np.errstate(over="ignore"):
                _require_short(call(np.power, _floats(a), float(b)))
            return a, b
        a = _weak_float(a)
    falls = _compare(np.less, b, 0)
    if _kind(b) is float:  # 0.0 ** -inf is inf
        falls = _both(falls, _compare(np.greater, b, -np.inf))
    if falls is not False and _holds(_both(_compare(np.equal, a, 0), falls)):
        operator.pow(_number(a), _number(b))
    whole = type(b) is not Tracer and float(b).is_integer()
    below = _compare(np.less, a, 0)
    if whole or below is False or (_kind(b) is not float):
        return a, b
    finite = _both(below, _compare(np.greater, a, -np.inf))
    floor = call(np.floor, b) if type(b) is Tracer else np.floor(b)
    if _holds(_both(finite, _compare(np.less, floor, b))):
        return a + 0j, b
    return a, b


def _complex_power(a: Any, b: Any) -> tuple:
    """Zero has powers with a positive real part only, in Python."""
    if _holds(_compare(np.equal, a, 0)):
        zero = call(np.not_equal, b, 0) if type(b) is Tracer else b != 0
        if _holds(zero):
            falls = b.real < 0
            turns = b.imag != 0 if _kind(b) is complex else False
            if _holds(falls) or _holds(turns):
                operator.pow(_number(a), _number(b))
    return a, b


def _weak_float(x: Any) -> Any:
    if type(x) is not Tracer:
        return float(x)
    return Tracer(x.rec, _floats(x).ref, float, False)


_INTEGER = (np.add, np.subtract, np.multiply, np.negative, np.absolute)

PYTHON_RULES[np.divide] = _division(operator.truediv)
PYTHON_RULES[np.floor_divide] = _division(operator.floordiv)
PYTHON_RULES[np.remainder] = _division(operator.mod)
PYTHON_RULES[np.divmod] = _division(divmod)
PYTHON_RULES[np.power] = _power
for _ufunc in (*_INTEGER, np.left_shift, np.right_shift):
    PYTHON_RULES[_ufunc] = _exact(_ufunc)
