"""Python numbers that the round of a `for` loop decides: formulas of its variable.

    for i in range(n):
        x = x + xs[2 * i] * (i * 0.01)      positions: 2 i; numbers: i * 0.01

A formula is the variable itself, a number, or an operator on formulas.  It is written
down while the code is read, with Python's own operators in the program's order, so that
its value in every round, also one that was never run, is the very number that Python
would have computed.  What is not known to keep this refuses such a number.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .values import Counted, Items, Known, Value, is_data

__all__ = ["COUNTER", "counted", "counted_slice", "evaluate", "positions"]

#: The variable.
COUNTER = Counted(("item",))

#: Integers from here on are not exact as floats, and their products may overflow.
_EXACT = 2**53


def _formula(value: Value) -> tuple | None:
    if type(value) is Counted:
        return None if value.formula[0] == "slice" else value.formula
    if type(value) is Known and type(value.obj) is int and abs(value.obj) < _EXACT:
        return "int", value.obj
    if type(value) is Known and type(value.obj) is float:
        return "float", value.obj.hex()
    return None


def counted(name: str, a: Value, b: Value) -> Counted | Known | None:
    """The operator `name` of two numbers; None if one is not known."""
    first, second = _formula(a), _formula(b)
    if not name or first is None or second is None:
        return None
    if type(a) is Known and type(b) is Known:
        try:
            return Known(getattr(operator, name)(a.obj, b.obj))
        except ArithmeticError:
            return None
    return Counted((name, first, second))


def counted_slice(parts: Sequence[Value]) -> Counted:
    """`parts` as a slice; it is good for nothing but an index."""
    return Counted(("slice", *parts))


def positions(keys: Sequence[Value], bounds: bool) -> set[tuple]:
    """The formulas in an index; none if it is no such index.

    Args:
        bounds: whether the keys are the bounds of a slice.
    """
    if bounds:
        return positions([counted_slice(keys)], False) if _any_counted(keys) else set()
    (key,) = keys
    parts = key.items if type(key) is Items else (key,)
    if not _any_counted(parts):
        return set()
    found: set[tuple] = set()
    for part in parts:
        if type(part) is Counted and part.formula[0] == "slice":
            for bound in part.formula[1:]:
                if type(bound) is Counted:
                    found.add(("bound", bound.formula))
                elif not is_data(bound):
                    found.add(("unknown",))
        elif type(part) is Counted:
            found.add(("index", part.formula))
        elif not is_data(part):
            found.add(("unknown",))
    return found


def _any_counted(parts: Sequence[Value]) -> bool:
    return any(type(part) is Counted for part in parts)


def evaluate(formula: tuple, items: np.ndarray) -> np.ndarray | None:
    """A formula's values, one for each item, as Python computes them.

    Args:
        items: int64.

    Returns:
        An array of int64 or float64; None if a value is beyond what is exact, or if
        Python would raise.
    """
    kind = formula[0]
    if kind == "item":
        return _exact(items)
    if kind == "int":
        return np.full(len(items), formula[1], np.int64)
    if kind == "float":
        return np.full(len(items), float.fromhex(formula[1]))
    operands = [evaluate(part, items) for part in formula[1:]]
    if any(a is None for a in operands):
        return None
    with np.errstate(all="ignore"):
        found = _apply(kind, operands)
    return None if found is None else _exact(found)


def _apply(kind: str, operands: list[Any]) -> np.ndarray | None:
    if kind == "neg":
        return -operands[0]
    a, b = operands
    if kind in ("truediv", "floordiv", "mod") and not b.all():
        return None
    if kind in ("floordiv", "mod"):
        if a.dtype.kind == "f" or b.dtype.kind == "f":
            return None
        return a // b if kind == "floordiv" else a % b
    whole = a.dtype.kind == b.dtype.kind == "i"
    if kind == "mul" and whole and _largest(a) * _largest(b) >= _EXACT:
        return None
    operators = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "truediv": np.true_divide,
    }
    found: np.ndarray = operators[kind](a, b)
    return found


def _exact(values: np.ndarray) -> np.ndarray | None:
    return None if values.dtype.kind == "i" and _largest(values) >= _EXACT else values


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))
