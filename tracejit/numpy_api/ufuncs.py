"""NumPy's and SciPy's ufuncs: the table to primitives, and NumPy's promotion.

Which dtype an operand is cast to is asked of the ufunc itself (`resolve_dtypes`, with
Python numbers as `int` and `float`), once per combination of dtypes.  So promotion is
NumPy's own, NEP 50 included, and a missing loop raises NumPy's own error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ..avals import Aval
from ..errors import InvalidTapeError
from ..ops.holomorphic import PREFIX
from ..primitive import PRIMITIVES, Primitive
from ..tracer import (
    HINTS,
    TAPE_DTYPES,
    Recorder,
    Tracer,
    full_name,
    refuse,
    stamped,
)
from .table import as_tracer, cast, emit, enter, recorder_of, tracers_in

__all__ = [
    "COMPLEX",
    "COMPOSED",
    "PYTHON_RULES",
    "UFUNCS",
    "call",
    "composed",
    "kind_of",
    "loop_dtype",
    "loop_dtypes",
    "operate",
]

BOOL = np.dtype(np.bool_)
I64 = np.dtype(np.int64)
F64 = np.dtype(np.float64)

# fmt: off
#: ufunc -> primitive.
UFUNCS: dict[np.ufunc, str] = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div",
    np.power: "pow", np.float_power: "pow", np.negative: "neg", np.absolute: "abs",
    np.conjugate: "conj",
    np.fabs: "abs", np.sign: "sign", np.square: "square", np.sqrt: "sqrt",
    np.cbrt: "cbrt", np.reciprocal: "reciprocal",
    np.exp: "exp", np.exp2: "exp2", np.expm1: "expm1",
    np.log: "log", np.log2: "log2", np.log10: "log10", np.log1p: "log1p",
    np.sin: "sin", np.cos: "cos", np.tan: "tan",
    np.arcsin: "arcsin", np.arccos: "arccos", np.arctan: "arctan",
    np.sinh: "sinh", np.cosh: "cosh", np.tanh: "tanh",
    np.arcsinh: "arcsinh", np.arccosh: "arccosh", np.arctanh: "arctanh",
    np.arctan2: "arctan2", np.hypot: "hypot", np.logaddexp: "logaddexp",
    np.floor: "floor", np.ceil: "ceil", np.trunc: "trunc", np.rint: "rint",
    np.isnan: "isnan", np.isfinite: "isfinite", np.isinf: "isinf",
    np.signbit: "signbit", np.copysign: "copysign", np.heaviside: "heaviside",
    np.maximum: "maximum", np.minimum: "minimum", np.fmax: "fmax", np.fmin: "fmin",
    np.remainder: "mod", np.fmod: "fmod", np.floor_divide: "floor_divide",
    np.less: "lt", np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge",
    np.equal: "eq", np.not_equal: "ne",
    np.logical_and: "logical_and", np.logical_or: "logical_or",
    np.logical_xor: "logical_xor", np.logical_not: "logical_not",
    np.bitwise_and: "bit_and", np.bitwise_or: "bit_or", np.bitwise_xor: "bit_xor",
    np.invert: "invert", np.left_shift: "left_shift", np.right_shift: "right_shift",
    np.gcd: "gcd", np.lcm: "lcm", np.bitwise_count: "bitwise_count",
    np.spacing: "spacing", np.nextafter: "nextafter",
    special.expit: "expit", special.logit: "logit", special.log_expit: "log_expit",
    special.erf: "erf", special.erfc: "erfc",
    special.gammaln: "gammaln", special.psi: "digamma", special.xlogy: "xlogy",
    special.log1p: "log1p", special.expm1: "expm1", special.exp2: "exp2",
    special.cbrt: "cbrt", special._ufuncs._zeta: "zeta",
}
_SPECIAL = (
    "gamma rgamma beta betaln gammainc gammaincc gammaincinv gammainccinv betainc"
    " betaincc betaincinv betainccinv binom poch stdtrit ndtri log_ndtr erfinv erfcinv"
    " erfcx erfi dawsn exp1 expi spence j0 j1 y0 y1 i0 i0e i1 i1e k0 k1 k0e k1e jv yv"
    " iv ive kv kve ellipk ellipe"
)
UFUNCS |= {getattr(special, name): name for name in _SPECIAL.split()}

#: Another primitive that is the same for integers and bools, where the first has no
#: such form; `copy` stands for nothing to do.
_EXACT = {
    "add": "logical_or", "mul": "logical_and", "maximum": "logical_or",
    "minimum": "logical_and", "bit_and": "logical_and", "bit_or": "logical_or",
    "bit_xor": "logical_xor", "invert": "logical_not", "ne": "logical_xor",
    "fmax": "maximum", "fmin": "minimum",
    "conj": "copy", "abs": "copy", "floor": "copy", "ceil": "copy", "trunc": "copy",
}
#: The primitive of this meaning for complex numbers, where it is another one.
_OF_COMPLEX = {"abs": "modulus"} | {
    name.removeprefix(PREFIX): name for name in PRIMITIVES if name.startswith(PREFIX)
}
_LOGICAL = {"logical_and", "logical_or", "logical_xor", "logical_not"}
_CLASSES = {"isnan", "isfinite", "isinf"}
_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
# fmt: on

#: The keywords that every ufunc takes.
_KEYWORDS = ("where", "dtype", "casting", "signature")
#: Those of a generalized ufunc.
_OF_PRODUCTS = ("axes", "dtype", "casting", "signature")
_OF_VECTORS = ("axis", "keepdims", *_OF_PRODUCTS)

#: ufunc -> implementation from operators and other ufuncs; takes tracers.
COMPOSED: dict[np.ufunc, Callable[..., Any]] = {}

#: The same, for operands that the ufunc computes as complex numbers.
COMPLEX: dict[np.ufunc, Callable[..., Any]] = {}


def composed(
    *ufuncs: np.ufunc, gradient: bool = True, host: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter an implementation of ufuncs that are no primitives."""

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for ufunc in ufuncs:
            COMPOSED[ufunc] = implementation
            keywords: tuple[str, ...] = _KEYWORDS
            if ufunc.signature:
                keywords = _OF_VECTORS if ufunc is np.vecdot else _OF_PRODUCTS
            enter(
                full_name(ufunc),
                "ufunc",
                keywords=keywords,
                gradient=gradient,
                host=host,
            )
        return implementation

    return register


for _ufunc, _name in UFUNCS.items():
    _row = PRIMITIVES[_name]
    enter(
        full_name(_ufunc),
        "ufunc",
        keywords=_KEYWORDS,
        gradient=_row.differentiable,
        host=_row.host,
    )


# --- promotion ------------------------------------------------------------------------

_loops: dict[tuple[Any, ...], tuple[np.dtype, ...]] = {}
_PYTHON = {bool: BOOL, int: int, float: float, complex: complex}


def kind_of(x: Any) -> Any:
    """What an operand is to promotion: a dtype, or a Python number's class if weak."""
    if type(x) is Tracer:
        return _PYTHON[x.weak] if x.weak else x.ref.aval.dtype
    kind = _PYTHON.get(type(x))
    return x.dtype if kind is None else kind


def _loop(ufunc: np.ufunc, kinds: tuple[Any, ...]) -> tuple[np.dtype, ...]:
    """The dtypes of the inputs and outputs of the loop NumPy would choose."""
    try:
        return _loops[ufunc, kinds]
    except KeyError:
        pass
    asked = kinds
    if all(isinstance(k, type) for k in kinds):
        asked = tuple([np.dtype(k) for k in kinds])  # nothing that they could adapt to
    dtypes = ufunc.resolve_dtypes((*asked, *[None] * ufunc.nout))
    for dtype in dtypes:
        if dtype not in TAPE_DTYPES:
            refuse(
                f"{full_name(ufunc)} of {_named(kinds)} (a {dtype} result)",
                "Convert the operand with .astype(np.float64) first",
            )
    _loops[ufunc, kinds] = dtypes
    return dtypes


def loop_dtype(ufunc: np.ufunc, *inputs: Any) -> np.dtype:
    """The dtype in which a ufunc would compute these operands."""
    return _loop(ufunc, tuple([kind_of(x) for x in inputs]))[0]


def loop_dtypes(ufunc: np.ufunc, *inputs: Any) -> tuple[np.dtype, ...]:
    """The dtypes of all inputs and outputs of the loop for these operands."""
    return _loop(ufunc, tuple([kind_of(x) for x in inputs]))


def _named(kinds: Sequence[Any]) -> str:
    return " and ".join(k.__name__ if isinstance(k, type) else str(k) for k in kinds)


def _operand(rec: Recorder, x: Any, dtype: np.dtype) -> Any:
    """The ref of an operand in the dtype of the loop."""
    kind = type(x)
    if kind is Tracer:
        ref = x.ref
        if x.rec is not rec:
            recorder_of(x, rec.tracer(rec.ref(0)))
        have = ref.aval.dtype
        if have is dtype or have == dtype:
            return ref
        return rec.apply(PRIMITIVES["cast"], (ref,), {"dtype": dtype})
    if kind in _PYTHON or isinstance(x, np.generic):
        return rec.constant(x, dtype)
    return as_tracer(rec, x, dtype).ref


def _usable(rec: Recorder, ufunc: np.ufunc, x: Any) -> Any:
    """An operand as a tracer, ordinary array, NumPy scalar or Python number."""
    kind = type(x)
    if kind is Tracer or kind in _PYTHON:
        return x
    if isinstance(x, np.ndarray) and x.dtype != object:
        return x
    if isinstance(x, np.generic):
        return x
    if next(iter(tracers_in([x])), None) is not None:
        return as_tracer(rec, x)
    array = np.asarray(x)
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"ufunc {ufunc.__name__!r} not supported for the input types: "
            f"{type(x).__name__!r} and a traced array"
        )
    return array


class _Plan(NamedTuple):
    """How a ufunc computes operands of given kinds: the cast and the primitive."""

    dtype: np.dtype
    primitive: Primitive


_plans: dict[tuple[Any, ...], _Plan] = {}


def _plan(ufunc: np.ufunc, kinds: tuple[Any, ...]) -> _Plan:
    name = UFUNCS[ufunc]
    first, *others = _loop(ufunc, kinds)[: ufunc.nin]
    if any(other != first for other in others):
        refuse(
            f"{full_name(ufunc)} of {_named(kinds)}",
            "Convert one of the two with .astype first",
        )
    found = _form(name, first, ufunc.nin)
    if found is None:
        refuse(
            f"{full_name(ufunc)} of {_named(kinds)}",
            "Convert the operands with .astype(np.float64) first",
        )
    _plans[ufunc, kinds] = found
    return found


def _form(name: str, dtype: np.dtype, nin: int) -> _Plan | None:
    """The primitive of this meaning that has a form for `dtype`, maybe after a cast."""
    if dtype.kind == "c":
        name = _OF_COMPLEX.get(name, name)
    if _exists(name, dtype, nin):
        return _Plan(dtype, PRIMITIVES[name])
    if name in _LOGICAL:
        return _Plan(BOOL, PRIMITIVES[name])
    if name in _CLASSES:
        return _Plan(F64, PRIMITIVES[name])
    if dtype.kind == "b" and name in _COMPARISONS and name != "ne":
        return _form(name, np.dtype(np.int8), nin)
    other = _EXACT.get(name)
    if other is None or (dtype.kind in "fc" and name != "conj"):
        return None
    return _form(other, dtype, nin)


def _exists(name: str, dtype: np.dtype, nin: int) -> bool:
    row = PRIMITIVES.get(name)
    try:
        return row is not None and bool(row.aval(*[Aval((), dtype)] * nin))
    except InvalidTapeError:
        return False


def call(ufunc: np.ufunc, *inputs: Any) -> Any:
    """`ufunc(*inputs)` with at least one tracer among the inputs."""
    for x in inputs:
        if type(x) is Tracer:
            rec = x.rec
            break
    else:
        rec = recorder_of(*inputs)
    for x in inputs:
        if type(x) is not Tracer and type(x) not in _PYTHON:
            inputs = tuple([_usable(rec, ufunc, x) for x in inputs])
            break
    if ufunc not in UFUNCS:
        implementation = COMPOSED.get(ufunc)
        if implementation is None:
            name = full_name(ufunc)
            refuse(name, *([HINTS[name]] if name in HINTS else []))
        return stamped(implementation, inputs, {})
    if ufunc is np.power:
        power = _integer_power(rec, *inputs)
        if power is not None:
            return power
    kinds = tuple([kind_of(x) for x in inputs])
    plan = _plans.get((ufunc, kinds))
    if plan is None:
        if ufunc in COMPLEX and _loop(ufunc, kinds)[0].kind == "c":
            return stamped(COMPLEX[ufunc], inputs, {})
        plan = _plan(ufunc, kinds)
    dtype, primitive = plan
    if dtype.kind in "iu" and primitive.name in _COMPARISONS:
        dtype = _wide_enough(dtype, inputs)
    refs = [_operand(rec, x, dtype) for x in inputs]
    if primitive.name == "copy":
        return Tracer(rec, refs[0], None, False)
    return Tracer(rec, rec.apply(primitive, refs, {}), None, False)


def _wide_enough(dtype: np.dtype, inputs: tuple) -> np.dtype:
    """NumPy compares a uint8 with 300 exactly, without converting 300."""
    for x in inputs:
        if type(x) is int and not _fits(x, dtype):
            return I64 if _fits(x, I64) else F64
    return dtype


def _fits(x: int, dtype: np.dtype) -> bool:
    info = np.iinfo(dtype)
    return info.min <= x <= info.max


def _integer_power(rec: Recorder, base: Any, exponent: Any) -> Tracer | None:
    """Integer powers of integers by repeated squaring; None for all others."""
    kinds = (kind_of(base), kind_of(exponent))
    dtype = _loop(np.power, kinds)[0]
    if dtype.kind in "fc":
        return None
    if type(exponent) is Tracer or isinstance(exponent, np.ndarray):
        if kinds[0] == BOOL and isinstance(kinds[1], type):
            # The dtype of a square is another one than that of a cube.
            refuse(
                "a power of bools with a traced Python number as exponent",
                "Convert the base with .astype(int)",
            )
        refs = [_operand(rec, x, dtype) for x in (base, exponent)]
        return _powers(*[Tracer(rec, ref, None, False) for ref in refs])
    n = int(exponent)
    if n < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    x = Tracer(rec, _operand(rec, base, dtype), None, False)
    if n == 0:
        return emit("broadcast_to", _one(rec, dtype), shape=x.shape)
    result: Any = None
    while n:
        if n & 1:
            result = x if result is None else emit("mul", result, x)
        n >>= 1
        if n:
            x = emit("square", x)
    return result


#: Bits of an exponent that a recording is made for, if not all that it has.
_BITS = (3, 6)


def _powers(x: Tracer, n: Tracer) -> Tracer:
    """x ** n of integers, by the bits of n; guards hold how many that may be."""
    axes = tuple(range(n.ndim))
    if n.size:
        if emit("min", n, axes=axes) < 0:
            raise ValueError("Integers to negative integer powers are not allowed.")
        largest = emit("max", n, axes=axes)
        width = int(np.iinfo(n.dtype).max).bit_length()
        bits = next((b for b in _BITS if b < width and largest < 2**b), width)
    else:
        bits = 0
    shape = np.broadcast_shapes(x.shape, n.shape)
    result = emit("broadcast_to", _one(x.rec, x.dtype), shape=shape)
    for bit in range(bits):
        odd = call(np.not_equal, call(np.bitwise_and, n, 1 << bit), 0)
        result = emit("select", odd, call(np.multiply, result, x), result)
        if bit + 1 < bits:
            x = call(np.multiply, x, x)
    return result


def _one(rec: Recorder, dtype: np.dtype) -> Tracer:
    return Tracer(rec, rec.constant(1, dtype), None, False)


# --- Python's operators ---------------------------------------------------------------

#: ufunc -> what Python asks of its operands; gives them back (`python_numbers`).
PYTHON_RULES: dict[np.ufunc, Callable[..., tuple]] = {}

#: How the result of Python's own arithmetic is called.
_RESULT = {"b": bool, "i": int, "f": float, "c": complex}


def operate(ufunc: np.ufunc, *operands: Any) -> Any:
    """An operator: like the ufunc, but two Python numbers give a Python number."""
    for x in operands:
        if type(x) is Tracer:
            if x.weak is None:
                break
        elif type(x) not in _PYTHON:
            break
    else:
        return _operate_weak(ufunc, operands)
    return call(ufunc, *operands)


def _operate_weak(ufunc: np.ufunc, operands: tuple) -> Any:
    kinds = [x.weak if type(x) is Tracer else type(x) for x in operands]
    bitwise = ufunc in _BITWISE and all(k is bool for k in kinds)
    if complex in kinds and ufunc in _ORDER:
        names = " and ".join([repr(k.__name__) for k in kinds if k])
        raise TypeError(f"{_ORDER[ufunc]!r} not supported between instances of {names}")
    if not bitwise and UFUNCS.get(ufunc) not in _COMPARISONS:
        operands = tuple([_widen(x) for x in operands])
        rule = PYTHON_RULES.get(ufunc)
        if rule is not None and recorder_of(*operands).python_rules:
            operands = rule(*operands)
    out = call(ufunc, *operands)
    parts = out if isinstance(out, tuple) else (out,)
    for part in parts:
        part.weak = _RESULT[part.dtype.kind]
    return out


_ORDER = {np.less: "<", np.less_equal: "<=", np.greater: ">", np.greater_equal: ">="}
_BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor}


def _widen(x: Any) -> Any:
    """Python's True is 1 in arithmetic."""
    if type(x) is Tracer:
        if x.weak is bool:
            return Tracer(x.rec, cast(x, I64).ref, int, False)
        return x
    return int(x) if type(x) is bool else x
