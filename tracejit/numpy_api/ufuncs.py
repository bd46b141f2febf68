"""NumPy's and SciPy's ufuncs: the table to primitives, and NumPy's promotion.

Which dtype an operand is cast to is asked of the ufunc itself (`resolve_dtypes`, with
Python numbers as `int` and `float`), once per combination of dtypes.  So promotion is
NumPy's own, NEP 50 included, and a missing loop raises NumPy's own error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from ..primitive import PRIMITIVES
from ..tracer import (
    TAPE_DTYPES,
    UFUNC_METHODS,
    Recorder,
    Tracer,
    full_name,
    refuse,
)
from .table import as_array, as_tracer, cast, emit, recorder_of, tracers_in

__all__ = ["COMPOSED", "UFUNCS", "call", "composed", "loop_dtype", "operate"]

BOOL = np.dtype(np.bool_)
I64 = np.dtype(np.int64)
F64 = np.dtype(np.float64)

# fmt: off
#: ufunc -> primitive.
UFUNCS: dict[np.ufunc, str] = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div",
    np.power: "pow", np.float_power: "pow", np.negative: "neg", np.absolute: "abs",
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
    special.expit: "expit", special.logit: "logit", special.log_expit: "log_expit",
    special.erf: "erf", special.erfc: "erfc", special.erfinv: "erfinv",
    special.gammaln: "gammaln", special.psi: "digamma", special.xlogy: "xlogy",
    special.log1p: "log1p", special.expm1: "expm1", special.exp2: "exp2",
    special.cbrt: "cbrt",
}

#: What the arithmetic of bools is called where NumPy gives it another meaning.
_OF_BOOLS = {
    "add": "logical_or", "mul": "logical_and", "maximum": "logical_or",
    "minimum": "logical_and", "fmax": "logical_or", "fmin": "logical_and",
    "bit_and": "logical_and", "bit_or": "logical_or", "bit_xor": "logical_xor",
    "invert": "logical_not", "ne": "logical_xor",
}
_SAME_OF_BOOLS = {"abs", "floor", "ceil", "trunc"}
_SAME_OF_INTS = {"floor", "ceil", "trunc"}
_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
# fmt: on

#: ufunc -> implementation from operators and other ufuncs; takes tracers.
COMPOSED: dict[np.ufunc, Callable[..., Any]] = {}


def composed(
    *ufuncs: np.ufunc,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter an implementation of ufuncs that are no primitives."""

    def enter(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for ufunc in ufuncs:
            COMPOSED[ufunc] = implementation
        return implementation

    return enter


# --- promotion ------------------------------------------------------------------------

_loops: dict[tuple[Any, ...], tuple[np.dtype, ...]] = {}
_PYTHON = {bool: BOOL, int: int, float: float}
_WEAK = {bool: int, int: int, float: float}


def _kind(x: Any) -> Any:
    """What an operand is to promotion: a dtype, or `int` or `float` if weak."""
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
    dtypes = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout))
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
    return _loop(ufunc, tuple([_kind(x) for x in inputs]))[0]


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
    if kind is complex or isinstance(x, np.complexfloating):
        refuse("complex arithmetic", "Split the computation into real parts")
    if isinstance(x, np.ndarray) and x.dtype != object:
        return x
    if isinstance(x, np.generic):
        return x
    if next(iter(tracers_in([x])), None) is not None:
        return as_tracer(rec, x)
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"ufunc {ufunc.__name__!r} not supported for the input types: "
            f"{type(x).__name__!r} and a traced array"
        )
    return array


def call(ufunc: np.ufunc, *inputs: Any) -> Any:
    """`ufunc(*inputs)` with at least one tracer among the inputs."""
    for x in inputs:
        if type(x) is Tracer:
            rec = x.rec
            break
    else:
        rec = recorder_of(*inputs)
    inputs = tuple([_usable(rec, ufunc, x) for x in inputs])
    name = UFUNCS.get(ufunc)
    if name is None:
        implementation = COMPOSED.get(ufunc)
        if implementation is None:
            refuse(full_name(ufunc))
        return implementation(*inputs)
    if ufunc is np.power:
        power = _special_power(rec, *inputs)
        if power is not None:
            return power
    kinds = tuple([_kind(x) for x in inputs])
    loop = _loop(ufunc, kinds)
    dtype = loop[0]
    if name in _COMPARISONS:
        dtype = _comparison_dtype(inputs, loop)
    elif dtype.kind != "f":
        exact = _of_integers(rec, name, inputs, dtype)
        if exact is not None:
            return exact
    refs = [_operand(rec, x, dtype) for x in inputs]
    return Tracer(rec, rec.apply(PRIMITIVES[name], refs, {}), None, False)


def _of_integers(
    rec: Recorder, name: str, inputs: tuple, dtype: np.dtype
) -> Tracer | None:
    """Integer and bool operands where another primitive, or none, does the work."""
    if dtype.kind == "b":
        if name in _SAME_OF_BOOLS:
            return cast(as_tracer(rec, inputs[0]), dtype)
        other = _OF_BOOLS.get(name)
        if other is None:
            return None
        refs = [_operand(rec, x, dtype) for x in inputs]
        return Tracer(rec, rec.apply(PRIMITIVES[other], refs, {}), None, False)
    if name in _SAME_OF_INTS:
        return cast(as_tracer(rec, inputs[0]), dtype)
    if name == "reciprocal":
        refuse("np.reciprocal of integers", "Use 1 / x")
    return None


def _comparison_dtype(inputs: tuple, loop: tuple[np.dtype, ...]) -> np.dtype:
    """One dtype for both operands of a comparison."""
    first, second = loop[:2]
    if first != second:
        refuse(
            f"a comparison of {first} with {second}",
            "Convert one of the two with .astype first",
        )
    if first.kind in "iu":
        for x in inputs:
            # NumPy compares a uint8 with 300 exactly, without converting 300.
            if type(x) is int and not _fits(x, first):
                return I64 if _fits(x, I64) else F64
    return first


def _fits(x: int, dtype: np.dtype) -> bool:
    info = np.iinfo(dtype)
    return info.min <= x <= info.max


def _special_power(rec: Recorder, base: Any, exponent: Any) -> Tracer | None:
    """Integer powers of integers by repeated squaring; None for all others."""
    kinds = (_kind(base), _kind(exponent))
    dtype = _loop(np.power, kinds)[0]
    if dtype.kind == "f":
        return None
    if type(exponent) is Tracer or isinstance(exponent, np.ndarray):
        refuse(
            "an integer power with a traced exponent or an array of exponents",
            "Convert the base with .astype(np.float64)",
        )
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


def _one(rec: Recorder, dtype: np.dtype) -> Tracer:
    return Tracer(rec, rec.constant(1, dtype), None, False)


# --- Python's operators ---------------------------------------------------------------

#: How the result of Python's own arithmetic is called.
_RESULT = {"b": bool, "i": int, "f": float}


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
    if not bitwise and UFUNCS.get(ufunc) not in _COMPARISONS:
        operands = tuple([_widen(x) for x in operands])
    out = call(ufunc, *operands)
    parts = out if isinstance(out, tuple) else (out,)
    for part in parts:
        part.weak = _RESULT[part.dtype.kind]
    return out


_BITWISE = {np.bitwise_and, np.bitwise_or, np.bitwise_xor}


def _widen(x: Any) -> Any:
    """Python's True is 1 in arithmetic."""
    if type(x) is Tracer:
        if x.weak is bool:
            return Tracer(x.rec, cast(x, I64).ref, int, False)
        return x
    return int(x) if type(x) is bool else x


# --- ufuncs from other ufuncs ---------------------------------------------------------


@composed(np.positive, np.conjugate)
def _positive(x: Tracer) -> Tracer:
    if x.dtype.kind == "b":
        _loop(np.positive, (BOOL,))
    return Tracer(x.rec, x.ref, None, False)


@composed(np.radians, np.deg2rad)
def _radians(x: Tracer) -> Any:
    return x * _of_float(x, math.pi / 180)


@composed(np.degrees, np.rad2deg)
def _degrees(x: Tracer) -> Any:
    return x * _of_float(x, 180 / math.pi)


def _of_float(x: Tracer, factor: float) -> Any:
    """A factor that makes integers f64, as the ufuncs of floats do."""
    _loop(np.sin, (_kind(x),))
    return factor if x.dtype.kind == "f" and x.weak is None else np.float64(factor)


@composed(np.divmod)
def _divmod(a: Any, b: Any) -> tuple[Any, Any]:
    return call(np.floor_divide, a, b), call(np.remainder, a, b)


@composed(np.modf)
def _modf(x: Tracer) -> tuple[Any, Any]:
    whole = call(np.trunc, call(np.multiply, x, _of_float(x, 1.0)))
    return call(np.copysign, call(np.subtract, x, whole), x), whole


@composed(np.logaddexp2)
def _logaddexp2(a: Any, b: Any) -> Any:
    ln2 = math.log(2.0)
    return call(np.logaddexp, _mul(a, ln2), _mul(b, ln2)) / ln2


def _mul(a: Any, factor: float) -> Any:
    return call(np.multiply, a, factor) if type(a) is Tracer else as_array(a) * factor


@composed(special.xlog1py)
def _xlog1py(a: Any, b: Any) -> Any:
    return call(special.xlogy, a, b + 1)


@composed(special.ndtr)
def _ndtr(x: Any) -> Any:
    return call(special.erfc, call(np.multiply, x, -math.sqrt(0.5))) * 0.5


@composed(special.entr)
def _entr(x: Any) -> Any:
    return -call(special.xlogy, x, x)


# --- dispatch -------------------------------------------------------------------------


def _call_method(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    if not kwargs:
        return call(ufunc, *inputs)
    return _call_with(ufunc, inputs, **kwargs)


def _call_with(
    ufunc: np.ufunc,
    inputs: tuple,
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
    **rest: Any,
) -> Any:
    if out is not None and any(o is not None for o in out):
        _refuse_out(ufunc, out)
    if where is not True:
        refuse(f"{full_name(ufunc)} with where=", "Use np.where(condition, a, b)")
    if casting != "same_kind" or rest:
        name = "casting" if casting != "same_kind" else next(iter(rest))
        refuse(f"{full_name(ufunc)} with {name}=", f"Leave {name}= away")
    if dtype is not None:
        dtype = np.dtype(dtype)
        rec = recorder_of(*inputs)
        inputs = tuple([cast(as_tracer(rec, x), dtype) for x in inputs])
    return call(ufunc, *inputs)


def _refuse_out(ufunc: np.ufunc, out: Any) -> None:
    if any(type(o) is Tracer for o in out):
        refuse(f"{full_name(ufunc)} with out=", "Assign the result to a name")
    symbol = _SYMBOLS.get(ufunc.__name__, "")
    what = f"a {symbol}= t" if symbol else f"{full_name(ufunc)}(..., out=a)"
    refuse(
        f"writing a traced value into an ordinary array in place ({what})",
        f"Write a = a {symbol} t" if symbol else "Assign the result to a name",
    )


_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "floor_divide": "//",
    "remainder": "%",
    "matmul": "@",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "left_shift": "<<",
    "right_shift": ">>",
}

UFUNC_METHODS["__call__"] = _call_method
