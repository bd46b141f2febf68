"""Scalar arithmetic as Python text: the other backend of expressions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .expressions import SPECIAL

__all__ = ["Text", "TextBackend", "number_text", "scalar_type"]

_ATOM = 20
_PRECEDENCE = {
    "if": 1,
    "or": 2,
    "and": 3,
    "not": 4,
    "compare": 5,
    "|": 6,
    "^": 7,
    "&": 8,
    "<<": 9,
    ">>": 9,
    "+": 10,
    "-": 10,
    "*": 11,
    "/": 11,
    "negative": 12,
    "**": 13,
}
_FUNCTIONS = {
    "fabs": "np.abs",
    "asin": "np.arcsin",
    "acos": "np.arccos",
    "atan": "np.arctan",
    "asinh": "np.arcsinh",
    "acosh": "np.arccosh",
    "atanh": "np.arctanh",
    "atan2": "np.arctan2",
    "pow": "np.power",
    "npmax": "np.maximum",
    "npmin": "np.minimum",
    "pymod": "np.remainder",
    "floordiv": "np.floor_divide",
    "erf": "math.erf",
    "erfc": "math.erfc",
    "lgamma": "special_gammaln",
    "zeta": "zeta",
} | {name: f"special_{name}" for name in SPECIAL}
_TRUTHS = {"isnan", "isinf", "isfinite", "signbit"}
_BOOL, _F64, _I64 = np.dtype("?"), np.dtype("f8"), np.dtype("i8")


class Text(NamedTuple):
    """A piece of source: dtype, text, how tightly it binds."""

    dtype: np.dtype
    text: str
    precedence: int = _ATOM


def scalar_type(dtype: np.dtype) -> str:
    """`np.float32`; `np.bool_` for bool."""
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def number_text(dtype: np.dtype, value: Any) -> str:
    """A literal of exactly this dtype."""
    if dtype.kind == "f":
        value = float(value)
        text = repr(value)
        if not np.isfinite(value):
            text = "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"
        return text if dtype == _F64 else f"{scalar_type(dtype)}({text})"
    if dtype.kind == "b":
        return repr(bool(value))
    text = repr(int(value))
    return text if dtype == _I64 else f"{scalar_type(dtype)}({text})"


class TextBackend:
    """Makes source text; a `Backend` of `expressions`.

    `default` is the dtype of the statement's result; helper functions that the text
    calls are added to `helpers`.
    """

    def __init__(self, default: np.dtype, helpers: set[str]) -> None:
        self.default = default
        self.helpers = helpers

    def typed(self, x: Text | float, like: Text | float | None = None) -> Text:
        if isinstance(x, Text):
            return x
        dtype = self.default
        if isinstance(like, Text) and like.dtype.kind != "b":
            dtype = like.dtype
        text = number_text(dtype, x)
        return Text(dtype, text, _PRECEDENCE["negative"] if text[0] == "-" else _ATOM)

    def pair(self, x: Any, y: Any) -> tuple[Text, Text]:
        x, y = self.typed(x, y), self.typed(y, x)
        if x.dtype == y.dtype:
            return x, y
        if x.dtype.kind == "b":
            return self.cast(x, y.dtype), y
        return x, self.cast(y, x.dtype)

    def cast(self, x: Text, dtype: np.dtype) -> Text:
        if x.dtype == dtype:
            return x
        if dtype.kind == "b":
            return self.compare("!=", x, 0)
        return Text(dtype, f"{scalar_type(dtype)}({x.text})")

    def power(self, x: Text, n: int) -> Text:
        if n < 0:
            return self.binary("/", 1.0, self.power(x, -n))
        return Text(x.dtype, f"{_wrap(x, 14)} ** {n}", _PRECEDENCE["**"])

    def finish(self, x: Text, dtype: np.dtype) -> str:
        """The right-hand side of a statement whose result has this dtype."""
        x = self.cast(x, dtype)
        exact = x.text.startswith(f"{scalar_type(dtype)}(")
        if dtype == _BOOL:
            exact = x.precedence in (*range(1, 6), _ATOM)
        elif dtype in (_F64, _I64):
            exact = not x.text.startswith("math.")
        exact = exact or (x.text[0] == "{" and x.text.count("{") == 1)
        return x.text if exact else f"{scalar_type(dtype)}({x.text})"

    # --- the backend

    def binary(self, op: str, x: Any, y: Any) -> Text:
        x, y = self.pair(x, y)
        dtype = x.dtype
        if dtype.kind == "b" and self.default.kind != "b":
            dtype = self.default
            x, y = self.cast(x, dtype), self.cast(y, dtype)
        return _infix(dtype, op, op, x, y)

    def compare(self, op: str, x: Any, y: Any) -> Text:
        x, y = self.pair(x, y)
        level = _PRECEDENCE["compare"] + 1
        return Text(_BOOL, f"{_wrap(x, level)} {op} {_wrap(y, level)}", level - 1)

    def logical(self, op: str, x: Any, y: Any) -> Text:
        return _infix(_BOOL, op, op, self.typed(x), self.typed(y))

    def negative(self, x: Any) -> Any:
        if not isinstance(x, Text):
            return -x
        level = _PRECEDENCE["negative"]
        return Text(x.dtype, f"-{_wrap(x, level)}", level)

    def invert(self, x: Any) -> Text:
        x = self.typed(x)
        if x.dtype.kind == "b":
            return self.logical_not(x)
        level = _PRECEDENCE["negative"]
        return Text(x.dtype, f"~{_wrap(x, level)}", level)

    def logical_not(self, x: Any) -> Text:
        level = _PRECEDENCE["not"]
        return Text(_BOOL, f"not {_wrap(self.typed(x), level)}", level)

    def select(self, condition: Any, x: Any, y: Any) -> Text:
        x, y = self.pair(x, y)
        test = _wrap(self.typed(condition), 2)
        text = f"{_wrap(x, 2)} if {test} else {_wrap(y, 1)}"
        return Text(x.dtype, text, _PRECEDENCE["if"])

    def call(self, name: str, args: list[Any]) -> Text:
        operands = [self.typed(x) for x in args]
        if len(args) == 2:
            operands = list(self.pair(*args))
        dtype = operands[0].dtype
        if dtype.kind != "f" and name in ("floor", "ceil", "trunc", "rint"):
            return operands[0]
        function = _FUNCTIONS.get(name, f"np.{name}")
        if "." not in function:
            self.helpers.add(function)
        text = f"{function}({', '.join(x.text for x in operands)})"
        return Text(_BOOL if name in _TRUTHS else dtype, text)


def _wrap(x: Text, level: int) -> str:
    return x.text if x.precedence >= level else f"({x.text})"


def _infix(dtype: np.dtype, op: str, key: str, x: Text, y: Text) -> Text:
    level = _PRECEDENCE[key]
    text = f"{_wrap(x, level)} {op} {_wrap(y, level + 1)}"
    return Text(dtype, text, level)
