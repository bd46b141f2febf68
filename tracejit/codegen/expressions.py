"""Elementwise primitives as expressions: one small language, one walk, two backends.

The `lower` text of a row is a Python expression over the operands a, b, c: `+ - * /`
and unary minus, comparisons, `x if c else y`, `and or not`, `& | ^ << >> ~`, number
literals and calls of the functions in `FUNCTIONS`.  A text is parsed once; `evaluate`
walks it with a backend that makes LLVM instructions or source text of it.

Literals have no type of their own: they take that of what they meet, and the result's
if they meet nothing.  Both sides of a conditional are evaluated where that is faster,
so no expression may trap.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

__all__ = ["FUNCTIONS", "SPECIAL", "Backend", "evaluate"]

#: Functions of `scipy.special.cython_special` for doubles, with the number of operands.
SPECIAL: dict[str, int] = (
    dict.fromkeys(
        "gammaln psi gamma rgamma ndtr ndtri log_ndtr erfinv erfcinv erfcx erfi"
        " dawsn j0 j1 y0 y1 i0 i0e i1 i1e k0 k0e k1 k1e exp1 expi spence"
        " ellipk ellipe".split(),
        1,
    )
    | dict.fromkeys(
        "gammainc gammaincc gammaincinv gammainccinv beta betaln jv yv iv ive kv kve"
        " stdtr stdtrit binom poch".split(),
        2,
    )
    | dict.fromkeys("betainc betaincc betaincinv betainccinv".split(), 3)
)

#: All functions that an expression may call, with their number of operands.
FUNCTIONS: dict[str, int] = dict.fromkeys(
    "sqrt fabs floor ceil trunc rint exp exp2 expm1 log log2 log10 log1p sin cos tan"
    " asin acos atan sinh cosh tanh asinh acosh atanh cbrt erf erfc lgamma"
    " isnan isinf isfinite signbit".split(),
    1,
) | dict.fromkeys(
    "copysign pow atan2 hypot fmod zeta fmax fmin npmax npmin pymod floordiv".split(),
    2,
)
FUNCTIONS |= SPECIAL

_BINARY: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_COMPARE: dict[type, str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


class Backend(Protocol):
    """What an expression is made of; values are the backend's own or Python numbers."""

    def binary(self, op: str, x: Any, y: Any) -> Any: ...
    def compare(self, op: str, x: Any, y: Any) -> Any: ...
    def logical(self, op: str, x: Any, y: Any) -> Any: ...
    def negative(self, x: Any) -> Any: ...
    def invert(self, x: Any) -> Any: ...
    def logical_not(self, x: Any) -> Any: ...
    def select(self, condition: Any, x: Any, y: Any) -> Any: ...
    def call(self, name: str, args: list[Any]) -> Any: ...


def evaluate(text: str, operands: Sequence[Any], backend: Backend) -> Any:
    """The value of `text` with a, b, c bound to the operands."""
    return _walk(_parse(text), operands, backend)


@cache
def _parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _walk(item: ast.expr, operands: Sequence[Any], backend: Backend) -> Any:
    def value(part: ast.expr) -> Any:
        return _walk(part, operands, backend)

    match item:
        case ast.Name(id="a" | "b" | "c" as name):
            return operands["abc".index(name)]
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=number)):
            return -number  # type: ignore[operator]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return backend.negative(value(operand))
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return backend.invert(value(operand))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return backend.logical_not(value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return backend.binary(_BINARY[type(op)], value(left), value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return backend.compare(_COMPARE[type(op)], value(left), value(right))
        case ast.BoolOp(op=op, values=[first, *rest]):
            result = value(first)
            for part in rest:
                name = "and" if isinstance(op, ast.And) else "or"
                result = backend.logical(name, result, value(part))
            return result
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return backend.select(value(test), value(body), value(orelse))
        case ast.Call(func=ast.Name(id=name), args=args) if FUNCTIONS.get(name) == len(
            args
        ):
            return backend.call(name, [value(arg) for arg in args])
    raise ValueError(f"{ast.unparse(item)!r} is not in the language of expressions")
