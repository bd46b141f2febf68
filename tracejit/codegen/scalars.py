"""Scalar arithmetic in LLVM: the backend of expressions, conversions, math calls.

IEEE arithmetic in program order, so that results are NumPy's to the bit but for the
functions of the mathematical library.  Integers wrap around like NumPy's and never
trap: division by zero gives zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .expressions import SPECIAL
from .ir import BOOL, F64, I64, Module, Value, Writer, literal, register_type
from .special import zeta_function
from .vector_math import PURE, call_attributes

__all__ = ["Scalars"]

_FLOAT = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_INTEGER = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
# NumPy's sum of bools is "or", their product "and".
_LOGICAL = {"+": "or", "*": "and", "-": "xor", "&": "and", "|": "or", "^": "xor"}
_COMPARE_FLOAT = {
    "<": "olt",
    "<=": "ole",
    ">": "ogt",
    ">=": "oge",
    "==": "oeq",
    "!=": "une",
}
_COMPARE_INTEGER = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_INTRINSICS = {"sqrt", "fabs", "floor", "ceil", "trunc", "rint"}
_EXTREMA = {"npmax": "maximum", "npmin": "minimum", "fmax": "maxnum", "fmin": "minnum"}
_NAMES = {"lgamma": "gammaln"}


class Scalars:
    """Emits scalar instructions into a writer; a `Backend` of `expressions`.

    `default` is the dtype that literals and truth values take when they meet nothing
    else: the dtype of the statement's result.  While `contract` is set, products and
    sums may become one fused multiply-add.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.module: Module = writer.module
        self.default = F64
        self.contract = False

    # --- typing

    def typed(self, x: Value | float, like: Value | float | None = None) -> Value:
        if isinstance(x, Value):
            return x
        known = isinstance(like, Value) and like.dtype.kind != "b"
        dtype = like.dtype if known and isinstance(like, Value) else self.default
        return literal(dtype, x)

    def pair(self, x: Any, y: Any) -> tuple[Value, Value]:
        """Both operands of one dtype; truth values become numbers beside numbers."""
        x, y = self.typed(x, y), self.typed(y, x)
        if x.dtype == y.dtype:
            return x, y
        if x.dtype.kind == "b":
            return self.cast(x, y.dtype), y
        return x, self.cast(y, x.dtype)

    def truth(self, x: Any) -> Value:
        return self.cast(self.typed(x), BOOL)

    # --- the backend

    def binary(self, op: str, x: Any, y: Any) -> Value:
        x, y = self.pair(x, y)
        dtype = x.dtype
        if dtype.kind == "b" and self.default.kind != "b" and op not in "&|^":
            dtype = self.default
            x, y = self.cast(x, dtype), self.cast(y, dtype)
        if op in ("<<", ">>"):
            return self._shift(op, x, y)
        table = {"f": _FLOAT, "b": _LOGICAL}.get(dtype.kind, _INTEGER)
        flags = " contract" if self.contract and dtype.kind == "f" else ""
        return self._op(dtype, table[op] + flags, x, y)

    def compare(self, op: str, x: Any, y: Any) -> Value:
        x, y = self.pair(x, y)
        if x.dtype.kind == "f":
            word = f"fcmp {_COMPARE_FLOAT[op]}"
        elif op in ("==", "!="):
            word = "icmp " + ("eq" if op == "==" else "ne")
        else:
            sign = "s" if x.dtype.kind == "i" else "u"
            word = f"icmp {sign}{_COMPARE_INTEGER[op]}"
        return self._op(BOOL, word, x, y)

    def logical(self, op: str, x: Any, y: Any) -> Value:
        return self._op(BOOL, op, self.truth(x), self.truth(y))

    def negative(self, x: Any) -> Any:
        if not isinstance(x, Value):
            return -x
        if x.dtype.kind == "f":
            return self._op(x.dtype, "fneg", x)
        return self._op(x.dtype, "sub", literal(x.dtype, 0), x)

    def invert(self, x: Any) -> Value:
        x = self.typed(x)
        ones = literal(x.dtype, True if x.dtype.kind == "b" else -1)
        return self._op(x.dtype, "xor", x, ones)

    def logical_not(self, x: Any) -> Value:
        return self._op(BOOL, "xor", self.truth(x), literal(BOOL, True))

    def select(self, condition: Any, x: Any, y: Any) -> Value:
        condition = self.truth(condition)
        x, y = self.pair(x, y)
        kind = register_type(x.dtype)
        return self.writer.op(
            x.dtype,
            f"select i1 {condition.text}, {kind} {x.text}, {kind} {y.text}",
        )

    def call(self, name: str, args: list[Any]) -> Value:
        name = _NAMES.get(name, name)
        if name in SPECIAL:
            return self._cython(name, [self.typed(x) for x in args])
        if len(args) == 2:
            x, y = self.pair(*args)
            args = [x, y]
        else:
            x = self.typed(args[0])
            args = [x]
        special = getattr(self, f"_{name}", None)
        if special is not None:
            return special(*args)
        if x.dtype.kind != "f":
            return self._integer_call(name, args)
        if name in _INTRINSICS or name in _EXTREMA or name == "copysign":
            flags = "nsz " if name in ("npmax", "npmin") else ""
            return self.intrinsic(_EXTREMA.get(name, name), args, flags)
        single = x.dtype.itemsize == 4
        attributes = call_attributes(self.module, name, single)
        return self._external(name + ("f" if single else ""), args, attributes)

    def power(self, x: Value, n: int) -> Value:
        """x**n by repeated squaring."""
        if n < 0:
            return self.binary("/", 1.0, self.power(x, -n))
        result = None
        while n:
            if n & 1:
                result = x if result is None else self.binary("*", result, x)
            n >>= 1
            if n:
                x = self.binary("*", x, x)
        return literal(x.dtype, 1) if result is None else result

    # --- pieces

    def _op(self, dtype: np.dtype, word: str, *args: Value) -> Value:
        names = ", ".join(a.text for a in args)
        return self.writer.op(dtype, f"{word} {register_type(args[0].dtype)} {names}")

    def intrinsic(self, name: str, args: list[Value], flags: str = "") -> Value:
        kind = register_type(args[0].dtype)
        suffix = kind if kind[0] == "i" else f"f{(kind == 'float' and 32) or 64}"
        full = f"llvm.{name}.{suffix}"
        self.module.declare(full, kind, *[kind] * len(args))
        operands = ", ".join(f"{kind} {a.text}" for a in args)
        return self.writer.op(args[0].dtype, f"call {flags}{kind} @{full}({operands})")

    def _external(self, name: str, args: list[Value], attributes: str) -> Value:
        kind = register_type(args[0].dtype)
        self.module.declare(name, kind, *[kind] * len(args))
        operands = ", ".join(f"{kind} {a.text}" for a in args)
        return self.writer.op(
            args[0].dtype, f"call {kind} @{name}({operands}) {attributes}"
        )

    def cast(self, x: Value, dtype: np.dtype) -> Value:
        """Convert like NumPy's `astype`; out of range is unspecified but harmless."""
        source = x.dtype
        if source == dtype:
            return x
        if dtype.kind == "b":
            return self.compare("!=", x, literal(source, 0))
        word, to = "", register_type(dtype)
        if source.kind == "f":
            if dtype.kind == "f":
                word = "fpext" if dtype.itemsize > source.itemsize else "fptrunc"
            else:
                return self._float_to_integer(x, dtype)
        elif dtype.kind == "f":
            word = "sitofp" if source.kind == "i" else "uitofp"
        elif source.kind != "b" and dtype.itemsize == source.itemsize:
            return Value(dtype, x.text)
        elif source.kind != "b" and dtype.itemsize < source.itemsize:
            word = "trunc"
        else:
            word = "sext" if source.kind == "i" else "zext"
        return self.writer.op(dtype, f"{word} {register_type(source)} {x.text} to {to}")

    def _float_to_integer(self, x: Value, dtype: np.dtype) -> Value:
        kind, to = register_type(x.dtype), register_type(dtype)
        if dtype.itemsize == 8 and dtype.kind == "u":
            # Negative numbers wrap around; large ones need the unsigned conversion.
            signed = self._freeze(self.writer.op(I64, f"fptosi {kind} {x.text} to i64"))
            big = self._freeze(self.writer.op(I64, f"fptoui {kind} {x.text} to i64"))
            below = self.compare("<", x, literal(x.dtype, 0))
            return Value(dtype, self.select(below, signed, big).text)
        wide = to if dtype.itemsize >= 4 and dtype.kind == "i" else "i64"
        result = self.writer.op(dtype, f"fptosi {kind} {x.text} to {wide}")
        if wide != to:
            result = self.writer.op(dtype, f"trunc {wide} {result.text} to {to}")
        return self._freeze(result)

    def _freeze(self, x: Value) -> Value:
        return self._op(x.dtype, "freeze", x)

    def _shift(self, op: str, x: Value, y: Value) -> Value:
        """Shifts by the width or more give 0, or -1 of a negative number."""
        dtype = x.dtype
        bits = 8 * dtype.itemsize
        signed = dtype.kind == "i"
        word = "shl" if op == "<<" else "ashr" if signed else "lshr"
        # As unsigned numbers negative counts are too large as well.
        unsigned = Value(np.dtype(f"u{dtype.itemsize}"), y.text)
        fits = self.compare("<", unsigned, literal(unsigned.dtype, bits))
        count = self.select(fits, y, literal(dtype, bits - 1 if word == "ashr" else 0))
        shifted = self._op(dtype, word, x, count)
        if word == "ashr":
            return shifted
        return self.select(fits, shifted, literal(dtype, 0))

    def _safe_divisor(self, x: Value, y: Value) -> Value:
        """`y`, or 1 where dividing `x` by it would trap."""
        trap = self.compare("==", y, literal(y.dtype, 0))
        if y.dtype.kind == "i":
            least = np.iinfo(y.dtype).min
            overflow = self.logical(
                "and",
                self.compare("==", y, literal(y.dtype, -1)),
                self.compare("==", x, literal(x.dtype, least)),
            )
            trap = self.logical("or", trap, overflow)
        return self.select(trap, literal(y.dtype, 1), y)

    def _integer_call(self, name: str, args: list[Value]) -> Value:
        x, y = args[0], args[-1]
        if name in ("floor", "ceil", "trunc", "rint"):
            return x
        if name == "fabs":
            return (
                self.select(self.compare("<", x, 0), self.negative(x), x)
                if x.dtype.kind == "i"
                else x
            )
        if name in ("npmax", "fmax"):
            return self.select(self.compare(">", x, y), x, y)
        if name in ("npmin", "fmin"):
            return self.select(self.compare("<", x, y), x, y)
        raise ValueError(f"{name} of {x.dtype} cannot be compiled")

    # --- functions of their own: `call` finds them by name

    def _isnan(self, x: Value) -> Value:
        return self._op(BOOL, "fcmp uno", x, x)

    def _isinf(self, x: Value) -> Value:
        return self.compare("==", self.intrinsic("fabs", [x]), float("inf"))

    def _isfinite(self, x: Value) -> Value:
        return self.compare("<", self.intrinsic("fabs", [x]), float("inf"))

    def _signbit(self, x: Value) -> Value:
        integer = np.dtype(f"i{x.dtype.itemsize}")
        bits = self.writer.op(
            integer,
            f"bitcast {register_type(x.dtype)} {x.text} to {register_type(integer)}",
        )
        return self.compare("<", bits, 0)

    def _pymod(self, x: Value, y: Value) -> Value:
        if x.dtype.kind == "f":
            return self._float_divmod(x, y)[1]
        return self._integer_divmod(x, y)[1]

    def _floordiv(self, x: Value, y: Value) -> Value:
        if x.dtype.kind == "f":
            return self._float_divmod(x, y)[0]
        return self._integer_divmod(x, y)[0]

    def _integer_divmod(self, x: Value, y: Value) -> tuple[Value, Value]:
        dtype, zero = x.dtype, literal(x.dtype, 0)
        sign = "s" if dtype.kind == "i" else "u"
        divisor = self._safe_divisor(x, y)
        q = self._op(dtype, f"{sign}div", x, divisor)
        r = self._op(dtype, f"{sign}rem", x, divisor)
        if sign == "s":
            different = self._op(BOOL, "icmp slt", self._op(dtype, "xor", r, y), zero)
            fix = self.logical("and", self.compare("!=", r, zero), different)
            q = self.select(fix, self._op(dtype, "sub", q, literal(dtype, 1)), q)
            r = self.select(fix, self._op(dtype, "add", r, y), r)
        by_zero = self.compare("==", y, zero)
        return self.select(by_zero, zero, q), self.select(by_zero, zero, r)

    def _float_divmod(self, x: Value, y: Value) -> tuple[Value, Value]:
        """Quotient and remainder with the divisor's sign, like CPython's floats."""
        dtype = x.dtype
        zero, one = literal(dtype, 0.0), literal(dtype, 1.0)
        r = self.call("fmod", [x, y])
        q = self._op(dtype, "fdiv", self._op(dtype, "fsub", x, r), y)
        inexact = self.compare("!=", r, zero)
        opposite = self._op(
            BOOL, "xor", self.compare("<", r, zero), self.compare("<", y, zero)
        )
        fix = self.logical("and", inexact, opposite)
        rest = self.select(fix, self._op(dtype, "fadd", r, y), r)
        q = self.select(fix, self._op(dtype, "fsub", q, one), q)
        rest = self.select(inexact, rest, self.intrinsic("copysign", [zero, y]))
        down = self.intrinsic("floor", [q])
        above = self.compare(">", self._op(dtype, "fsub", q, down), 0.5)
        down = self.select(above, self._op(dtype, "fadd", down, one), down)
        plain = self._op(dtype, "fdiv", x, y)
        nothing = self.intrinsic("copysign", [zero, plain])
        q = self.select(self.compare("!=", q, zero), down, nothing)
        by_zero = self.compare("==", y, zero)
        undefined = self.logical("or", by_zero, self._op(BOOL, "fcmp uno", r, r))
        rest = self.select(undefined, r, rest)
        return self.select(by_zero, plain, q), rest

    def _pow(self, x: Value, y: Value) -> Value:
        if x.dtype.kind == "f":
            single = x.dtype.itemsize == 4
            attributes = call_attributes(self.module, "pow", single)
            return self._external("powf" if single else "pow", [x, y], attributes)
        if x.dtype.itemsize < 8:
            return self.cast(self._pow(self.cast(x, I64), self.cast(y, I64)), x.dtype)
        self.module.functions.setdefault("tracejit_ipow", _INTEGER_POWER)
        signed = "true" if x.dtype.kind == "i" else "false"
        return self.writer.op(
            x.dtype,
            f"call i64 @tracejit_ipow(i64 {x.text}, i64 {y.text}, i1 {signed})"
            f" {self.module.attribute(PURE)}",
        )

    def _in_double(self, name: str, args: list[Value]) -> Value:
        """A function that exists for double only."""
        wide = [self.cast(a, F64) for a in args]
        attributes = self.module.attribute(PURE)
        return self.cast(self._external(name, wide, attributes), args[0].dtype)

    def _cython(self, name: str, args: list[Value]) -> Value:
        # SciPy's functions take one argument more, which skips their dispatch.
        symbol = f"tracejit_special_{name}"
        self.module.declare(symbol, "double", *["double"] * len(args), "i32")
        given = ", ".join(f"double {self.cast(x, F64).text}" for x in args)
        attributes = self.module.attribute(PURE)
        text = f"call double @{symbol}({given}, i32 1) {attributes}"
        return self.cast(self.writer.op(F64, text), args[0].dtype)

    def _zeta(self, s: Value, q: Value) -> Value:
        zeta_function(self.module)
        return self._in_double("tracejit_zeta", [s, q])


_INTEGER_POWER = """\
define internal i64 @tracejit_ipow(i64 %x, i64 %n, i1 %signed) {
entry:
  %below = icmp slt i64 %n, 0
  %negative = and i1 %below, %signed
  br i1 %negative, label %invert, label %loop
loop:
  %r = phi i64 [ 1, %entry ], [ %r2, %loop ]
  %b = phi i64 [ %x, %entry ], [ %b2, %loop ]
  %e = phi i64 [ %n, %entry ], [ %e2, %loop ]
  %bit = and i64 %e, 1
  %odd = icmp ne i64 %bit, 0
  %rb = mul i64 %r, %b
  %r2 = select i1 %odd, i64 %rb, i64 %r
  %b2 = mul i64 %b, %b
  %e2 = lshr i64 %e, 1
  %done = icmp eq i64 %e2, 0
  br i1 %done, label %exit, label %loop
exit:
  ret i64 %r2
invert:
  %one = icmp eq i64 %x, 1
  %minus = icmp eq i64 %x, -1
  %low = and i64 %n, 1
  %even = icmp eq i64 %low, 0
  %sign = select i1 %even, i64 1, i64 -1
  %m = select i1 %minus, i64 %sign, i64 0
  %result = select i1 %one, i64 1, i64 %m
  ret i64 %result
}"""
