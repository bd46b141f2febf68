"""Elementwise functions: one row each, families in textbook order.

Operands have one dtype and broadcast like NumPy's; the row's kinds say which dtypes
it takes.  A row states its partials only; forward and reverse rules follow.  A partial
is a ref, a Python number, None (zero everywhere), or, where it costs more than an
instr, a thunk that is called only if this partial is needed.

`lower` is an expression over the operands a, b, c in the language of `codegen`.  Of
integers, `fabs` means the absolute value and `floor ceil trunc` nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..errors import DifferentiationError
from ..primitive import Primitive
from .logic import cast, eq, isinf, logical_and, mulz, select
from .rows import (
    FIELD,
    GT1,
    INSIDE,
    NONZ,
    NUM,
    NUMC,
    POS,
    REAL,
    UNIT,
    row1,
    row2,
    sample,
)

LN2, LN10 = math.log(2.0), math.log(10.0)

# Rows that stand below the rows whose partials they are.
cos: Primitive
cosh: Primitive
sign: Primitive
zeta: Primitive

# Rows without partials have derivative zero almost everywhere; stop_gradient by decree.
# fmt: off
# --- arithmetic
neg        = row1("neg", np.negative, lambda y, a: -1, "-a", REAL, NUMC)
abs_       = row1("abs", np.absolute, lambda y, a: sign(a), "fabs(a)", NONZ, NUM)
square     = row1("square", np.square, lambda y, a: 2.0 * a, "a * a", REAL, NUMC)
reciprocal = row1(
    "reciprocal", np.reciprocal, lambda y, a: -(y * y), "1.0 / a", NONZ, kinds=FIELD
)
sqrt       = row1("sqrt", np.sqrt, lambda y, a: 0.5 / y, "sqrt(a)", POS, kinds=FIELD)
cbrt       = row1("cbrt", np.cbrt, lambda y, a: 1 / (3 * (y * y)), "cbrt(a)", NONZ)
add        = row2("add", np.add, lambda y, a, b: (1, 1), "a + b", kinds=NUMC)
sub        = row2("sub", np.subtract, lambda y, a, b: (1, -1), "a - b", kinds=NUMC)
mul        = row2("mul", np.multiply, lambda y, a, b: (b, a), "a * b", kinds=NUMC)


def _div_partials(y: Any, a: Any, b: Any) -> tuple:
    r = 1.0 / b
    return r, lambda: -(y * r)


div        = row2(
    "div", np.true_divide, _div_partials, "a / b", REAL, NONZ, FIELD
)

# --- exponentials and logarithms
exp        = row1("exp", np.exp, lambda y, a: y, "exp(a)", kinds=FIELD)
exp2       = row1("exp2", np.exp2, lambda y, a: LN2 * y, "exp2(a)", kinds=FIELD)
expm1      = row1("expm1", np.expm1, lambda y, a: y + 1.0, "expm1(a)", kinds=FIELD)
log        = row1("log", np.log, lambda y, a: 1.0 / a, "log(a)", POS, kinds=FIELD)
log2 = row1(
    "log2", np.log2, lambda y, a: 1.0 / (LN2 * a), "log2(a)", POS, kinds=FIELD
)
log10 = row1(
    "log10", np.log10, lambda y, a: 1.0 / (LN10 * a), "log10(a)", POS, kinds=FIELD
)
log1p = row1(
    "log1p", np.log1p, lambda y, a: 1.0 / (1.0 + a), "log1p(a)", POS, kinds=FIELD
)

# --- trigonometric and hyperbolic functions


def _cosine(a: Any) -> Any:
    """cos(arcsin(a))."""
    return sqrt(1.0 - a * a)


sin        = row1("sin", np.sin, lambda y, a: cos(a), "sin(a)", kinds=FIELD)
cos        = row1("cos", np.cos, lambda y, a: -sin(a), "cos(a)", kinds=FIELD)
tan        = row1("tan", np.tan, lambda y, a: 1.0 + y * y, "tan(a)", UNIT, kinds=FIELD)
arcsin = row1(
    "arcsin", np.arcsin, lambda y, a: 1 / _cosine(a), "asin(a)", UNIT, kinds=FIELD
)
arccos = row1(
    "arccos", np.arccos, lambda y, a: -1 / _cosine(a), "acos(a)", UNIT, kinds=FIELD
)
arctan = row1(
    "arctan", np.arctan, lambda y, a: 1.0 / (1.0 + a * a), "atan(a)", kinds=FIELD
)
sinh       = row1("sinh", np.sinh, lambda y, a: cosh(a), "sinh(a)", kinds=FIELD)
cosh       = row1("cosh", np.cosh, lambda y, a: sinh(a), "cosh(a)", kinds=FIELD)
tanh       = row1("tanh", np.tanh, lambda y, a: 1.0 - y * y, "tanh(a)", kinds=FIELD)
arcsinh = row1(
    "arcsinh", np.arcsinh, lambda y, a: 1 / sqrt(a * a + 1), "asinh(a)", kinds=FIELD
)


def _arccosh_partial(y: Any, a: Any) -> Any:
    if a.dtype.kind == "c":  # the root of the product may be on the other branch
        return 1.0 / (sqrt(a - 1.0) * sqrt(a + 1.0))
    return 1.0 / sqrt((a - 1.0) * (a + 1.0))


def _arctanh_partial(y: Any, a: Any) -> Any:
    return 1.0 / ((1.0 - a) * (1.0 + a))


arccosh    = row1("arccosh", np.arccosh, _arccosh_partial, "acosh(a)", GT1, kinds=FIELD)
arctanh = row1(
    "arctanh", np.arctanh, _arctanh_partial, "atanh(a)", UNIT, kinds=FIELD
)


def _arctan2_partials(y: Any, a: Any, b: Any) -> tuple:
    r2 = a * a + b * b
    return b / r2, lambda: -(a / r2)


def _nonzero(a: Any) -> Any:
    """1 where `a` is 0: a harmless divisor or logarithm's operand."""
    return select(eq(a, 0), 1, a)


def _hypot_partials(y: Any, a: Any, b: Any) -> tuple:
    r = _nonzero(y)
    return lambda: a / r, lambda: b / r


arctan2    = row2("arctan2", np.arctan2, _arctan2_partials, "atan2(a, b)", NONZ)
hypot      = row2("hypot", np.hypot, _hypot_partials, "hypot(a, b)", NONZ, NONZ)

# --- powers


def _pow_partials(y: Any, a: Any, b: Any) -> tuple:
    """The derivative by the base is 0 for exponent 0, where a**-1 may be infinite.

    That by the exponent is 0 at base 0, its limit for exponents > 0.
    """
    return (
        lambda: select(eq(b, 0), 0, b * pow_(a, b - 1)),
        lambda: log(_nonzero(a)) * y,
    )


_POWERS = (
    sample(((3,), POS), ((3,), REAL)),
    sample(((4,), REAL, "i8"), ((4,), POS, "i8")),
)
pow_ = row2(
    "pow", np.power, _pow_partials, "pow(a, b)", POS, POS, NUMC, more=_POWERS
)

# --- rounding, sign and remainders: derivatives of the smooth pieces
_SIGN = "1 if a > 0 else (-1 if a < 0 else (0 if a == 0 else a))"
_HEAVISIDE = "a if isnan(a) else (0.0 if a < 0 else (1.0 if a > 0 else b))"


def _mod_partials(y: Any, a: Any, b: Any) -> tuple:
    return 1, lambda: -floor_divide(a, b)


def _fmod_partials(y: Any, a: Any, b: Any) -> tuple:
    return 1, lambda: -trunc(a / b)


def _copysign_partials(y: Any, a: Any, b: Any) -> tuple:
    return lambda: sign(a) * copysign(1, b), None


def _heaviside_partials(y: Any, a: Any, b: Any) -> tuple:
    return None, lambda: cast(eq(a, 0), dtype=b.dtype)


sign       = row1("sign", np.sign, None, _SIGN, REAL, NUM)
floor      = row1("floor", np.floor, None, "floor(a)", REAL, NUM)
ceil       = row1("ceil", np.ceil, None, "ceil(a)", REAL, NUM)
trunc      = row1("trunc", np.trunc, None, "trunc(a)", REAL, NUM)
rint       = row1("rint", np.rint, None, "rint(a)", REAL)
mod        = row2("mod", np.remainder, _mod_partials, "pymod(a, b)", REAL, NONZ, NUM)
fmod       = row2("fmod", np.fmod, _fmod_partials, "fmod(a, b)", REAL, NONZ)
floor_divide = row2(
    "floor_divide", np.floor_divide, None, "floordiv(a, b)", REAL, NONZ, NUM
)
copysign   = row2("copysign", np.copysign, _copysign_partials, "copysign(a, b)", NONZ)
heaviside  = row2("heaviside", np.heaviside, _heaviside_partials, _HEAVISIDE, NONZ)

# --- special functions
_EXPIT = "1.0 / (1.0 + exp(-a))"
_LOGIT = "log(a / (1.0 - a))"
_XLOGY = "0.0 if a == 0.0 and not isnan(b) else a * log(b)"
_LOGADDEXP = (
    "a + 0.6931471805599453 if a == b else npmax(a, b) + log1p(exp(-fabs(a - b)))"
)
_LOG_EXPIT = "-log1p(exp(-a)) if a > 0 else a - log1p(exp(a))"
_ERF = 2.0 / math.sqrt(math.pi)


def _no_derivative(name: str, operand: str) -> Any:
    raise DifferentiationError(f"{name} has no derivative with respect to {operand}.")


def _zeta_partials(y: Any, s: Any, a: Any) -> tuple:
    return lambda: _no_derivative("zeta", "its first operand"), (
        lambda: -s * zeta(s + 1, a)
    )


def _gammaln_partial(y: Any, a: Any) -> Any:
    return digamma(a)


def _logit_partial(y: Any, a: Any) -> Any:
    return 1.0 / (a * (1.0 - a))


def _xlogy_partials(y: Any, a: Any, b: Any) -> tuple:
    # mulz: 0 for a = 0 even at b = 0, and still linear in a.
    return lambda: log(b), lambda: mulz(a, 1 / b)


def _logaddexp_partials(y: Any, a: Any, b: Any) -> tuple:
    # Equal infinities are a tie; of equal finite numbers the difference is right.
    d = select(logical_and(isinf(a), eq(a, b)), 0, a - b)
    return lambda: expit(d), lambda: expit(-d)


erf        = row1("erf", special.erf, lambda y, a: _ERF * exp(-(a * a)), "erf(a)")
erfc       = row1("erfc", special.erfc, lambda y, a: -_ERF * exp(-(a * a)), "erfc(a)")
gammaln    = row1("gammaln", special.gammaln, _gammaln_partial, "gammaln(a)", GT1)
digamma    = row1("digamma", special.digamma, lambda y, a: zeta(2, a), "psi(a)", GT1)
zeta       = row2("zeta", special.zeta, _zeta_partials, "zeta(a, b)", GT1, POS)
expit      = row1("expit", special.expit, lambda y, a: y * (1 - y), _EXPIT)
logit      = row1("logit", special.logit, _logit_partial, _LOGIT, INSIDE)
log_expit  = row1("log_expit", special.log_expit, lambda y, a: expit(-a), _LOG_EXPIT)
xlogy      = row2("xlogy", special.xlogy, _xlogy_partials, _XLOGY, POS, POS)
logaddexp  = row2("logaddexp", np.logaddexp, _logaddexp_partials, _LOGADDEXP)
# fmt: on
