"""Elementwise functions of complex numbers, written on their parts.

Sources: division is Smith's, as NumPy's; roots, inverse functions and their branch
cuts follow W. Kahan, "Branch cuts for complex elementary functions" (1987), signed
zeros included.  Products are the plain formulas, as NumPy's: infinite operands may
give NaN in both parts.  Errors are a few units in the last place of the modulus.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...ops import elementwise as ew
from ...ops.logic import (
    cast,
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    logical_and,
    logical_or,
    lt,
    ne,
    select,
)
from ...ops.structural import broadcast_to
from ...tape import Ref

__all__ = ["FORMULAS", "Pair"]


class Pair(NamedTuple):
    """The parts of a complex value.

    flat: whether it is a real one by construction.
    number: its value, if it is a constant.
    both: the parts side by side along a last axis, if they lie in memory so.
    """

    re: Ref
    im: Ref
    flat: bool = False
    number: complex | None = None
    both: Ref | None = None


#: Name of a primitive -> its formula on pairs (and on refs, where it mixes them).
FORMULAS: dict[str, Callable[..., Any]] = {}


def formula(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            FORMULAS[name] = function
        return function

    return enter


# --- parts


@formula("real")
def _real(z: Pair) -> Ref:
    return z.re


@formula("imag")
def _imag(z: Pair) -> Ref:
    return z.im


@formula("complex")
def _complex(a: Ref, b: Ref) -> Pair:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return Pair(_to(a, shape), _to(b, shape))


def _to(x: Ref, shape: tuple[int, ...]) -> Ref:
    return x if x.shape == shape else broadcast_to(x, shape=shape)


@formula("conj")
def conj(z: Pair) -> Pair:
    return Pair(z.re, -z.im, False)


@formula("modulus")
def modulus(z: Pair) -> Ref:
    return ew.hypot(z.re, z.im)


@formula("copy", "stop_gradient")
def _copy(z: Pair) -> Pair:
    return z


@formula("cast")
def _cast(z: Any, *, dtype: np.dtype) -> Any:
    if not isinstance(z, Pair):
        part = np.dtype("f4" if dtype == np.complex64 else "f8")
        re = cast(z, dtype=part)
        return Pair(re, _zeros(re), True)
    if dtype.kind == "c":
        part = np.dtype("f4" if dtype == np.complex64 else "f8")
        return Pair(cast(z.re, dtype=part), cast(z.im, dtype=part), z.flat)
    if dtype.kind == "b":
        return logical_or(ne(z.re, 0), ne(z.im, 0))
    return cast(z.re, dtype=dtype)


def _zeros(like: Ref) -> Ref:
    zero = like.builder.const(0, like.dtype)
    return _to(zero, like.shape)


# --- arithmetic


@formula("neg")
def neg(z: Pair) -> Pair:
    return Pair(-z.re, -z.im)


@formula("add")
def add(a: Pair, b: Pair) -> Pair:
    return Pair(a.re + b.re, a.im + b.im, a.flat and b.flat)


@formula("sub")
def sub(a: Pair, b: Pair) -> Pair:
    return Pair(a.re - b.re, a.im - b.im, a.flat and b.flat)


@formula("mul")
def mul(a: Pair, b: Pair) -> Pair:
    return Pair(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


@formula("square")
def square(z: Pair) -> Pair:
    return mul(z, z)


@formula("mulz")
def _mulz(a: Pair, b: Pair) -> Pair:
    zero = logical_and(eq(a.re, 0), eq(a.im, 0))
    product = mul(a, b)
    return Pair(select(zero, 0, product.re), select(zero, 0, product.im))


@formula("div")
def div(a: Pair, b: Pair) -> Pair:
    wide = ge(ew.abs_(b.re), ew.abs_(b.im))
    p, q = select(wide, b.re, b.im), select(wide, b.im, b.re)
    # Division by zero divides by +0.0, as NumPy's.
    none = eq(p, 0)
    p = select(none, 0, p)
    ratio = select(none, 0, q / p)
    scale = 1.0 / (p + q * ratio)
    x, y = select(wide, a.re, a.im), select(wide, a.im, a.re)
    im = select(wide, y - x * ratio, x * ratio - y)
    return Pair((x + y * ratio) * scale, im * scale)


@formula("reciprocal")
def reciprocal(z: Pair) -> Pair:
    wide = ge(ew.abs_(z.re), ew.abs_(z.im))
    p, q = select(wide, z.re, z.im), select(wide, z.im, z.re)
    ratio = q / p
    size = p + q * ratio
    return Pair(select(wide, 1, ratio) / size, select(wide, -ratio, -1) / size)


# --- exponentials, logarithms, roots, powers


def _times(small: Ref, large: Ref) -> Ref:
    """small * large, but a zero where `small` is zero, with the product's sign."""
    return select(eq(small, 0), small * ew.copysign(1, large), small * large)


@formula("exp")
def exp(z: Pair) -> Pair:
    size = ew.exp(z.re)
    return Pair(size * ew.cos(z.im), _times(ew.sin(z.im), size))


@formula("exp2")
def _exp2(z: Pair) -> Pair:
    return exp(Pair(math.log(2.0) * z.re, math.log(2.0) * z.im))


@formula("expm1")
def _expm1(z: Pair) -> Pair:
    half = ew.sin(0.5 * z.im)
    re = ew.expm1(z.re) * ew.cos(z.im) - 2.0 * (half * half)
    return Pair(re, _times(ew.sin(z.im), ew.exp(z.re)))


def _log_modulus(z: Pair) -> Ref:
    """log |z|, with the digits that log(hypot) loses where |z| is about 1."""
    x, y = ew.abs_(z.re), ew.abs_(z.im)
    large, small = select(ge(x, y), x, y), select(ge(x, y), y, x)
    near = 0.5 * ew.log1p((large - 1.0) * (large + 1.0) + small * small)
    size = ew.hypot(x, y)
    return select(logical_and(gt(size, 0.7), lt(size, 1.5)), near, ew.log(size))


@formula("log")
def log(z: Pair) -> Pair:
    return Pair(_log_modulus(z), ew.arctan2(z.im, z.re))


def _scaled_log(scale: float) -> Callable[[Pair], Pair]:
    def scaled(z: Pair) -> Pair:
        found = log(z)
        return Pair(scale * found.re, scale * found.im)

    return scaled


FORMULAS["log2"] = _scaled_log(1 / math.log(2.0))
FORMULAS["log10"] = _scaled_log(1 / math.log(10.0))


@formula("log1p")
def _log1p(z: Pair) -> Pair:
    x = z.re + 1.0
    size = ew.hypot(x, z.im)
    # |1 + z|**2 - 1, with the digits that 1 + z loses (and NumPy's log1p with it).
    near = 0.5 * ew.log1p(z.re * (z.re + 2.0) + z.im * z.im)
    re = select(logical_and(gt(size, 0.7), lt(size, 1.5)), near, ew.log(size))
    return Pair(re, ew.arctan2(z.im, x))


@formula("sqrt")
def sqrt(z: Pair) -> Pair:
    size = ew.abs_(z.re)
    t = ew.sqrt(0.5 * ew.hypot(size, z.im) + 0.5 * size)
    none = eq(t, 0)
    other = select(none, ew.abs_(z.im), ew.abs_(z.im) / (2.0 * select(none, 1, t)))
    endless = isinf(z.im)
    t = select(endless, ew.abs_(z.im), t)
    other = select(endless, t, other)
    left = lt(z.re, 0)
    return Pair(
        select(left, other, t),
        ew.copysign(select(left, t, other), z.im),
    )


@formula("pow")
def pow_(a: Pair, b: Pair) -> Pair:
    whole = _whole(b)
    if whole is not None:
        return _whole_power(a, whole)
    log_a = Pair(_log_modulus(a), ew.arctan2(a.im, a.re))
    out = exp(mul(b, log_a))
    nothing = logical_and(eq(a.re, 0), eq(a.im, 0))
    rises = gt(b.re, 0)
    at_zero = select(rises, 0, out.re.builder.const(math.nan, out.re.dtype))
    one = logical_and(eq(b.re, 0), eq(b.im, 0))
    re = select(one, 1, select(nothing, at_zero, out.re))
    return Pair(re, select(one, 0, select(nothing, at_zero, out.im)))


def _whole(b: Pair) -> int | None:
    """The exponent, if it is a known integer for which NumPy multiplies."""
    n = b.number
    if n is None or n.imag != 0 or not n.real.is_integer() or abs(n.real) >= 100:
        return None
    return int(n.real)


def _whole_power(a: Pair, n: int) -> Pair:
    if n == 0:
        one = a.re.builder.const(1, a.re.dtype)
        return Pair(_to(one, a.re.shape), _zeros(a.re))
    result: Pair | None = None
    power, left = a, abs(n)
    while left:
        if left & 1:
            result = power if result is None else mul(result, power)
        left >>= 1
        if left:
            power = mul(power, power)
    assert result is not None
    return reciprocal(result) if n < 0 else result


# --- trigonometric and hyperbolic functions


def _turn(z: Pair) -> Pair:
    """i * z."""
    return Pair(-z.im, z.re)


def _turn_back(z: Pair) -> Pair:
    """-i * z."""
    return Pair(z.im, -z.re)


@formula("sinh")
def sinh(z: Pair) -> Pair:
    return Pair(
        _times(ew.sinh(z.re), ew.cos(z.im)), _times(ew.sin(z.im), ew.cosh(z.re))
    )


@formula("cosh")
def cosh(z: Pair) -> Pair:
    s = ew.sinh(z.re)
    im = select(eq(s, 0), s * ew.sin(z.im), _times(ew.sin(z.im), s))
    return Pair(ew.cosh(z.re) * ew.cos(z.im), im)


@formula("sin")
def _sin(z: Pair) -> Pair:
    return _turn_back(sinh(_turn(z)))


@formula("cos")
def _cos(z: Pair) -> Pair:
    return cosh(_turn(z))


@formula("tanh")
def tanh(z: Pair) -> Pair:
    x, y = z.re, z.im
    s, c = ew.sin(y), ew.cos(y)
    far = gt(ew.abs_(x), 20.0)
    inner = select(far, 0, x)
    sx = ew.sinh(inner)
    scale = sx * sx + c * c
    decay = ew.exp(-2.0 * ew.abs_(x))
    re = select(far, ew.copysign(1, x), sx * ew.cosh(inner) / scale)
    return Pair(re, select(far, 4.0 * (s * c) * decay, s * c / scale))


@formula("tan")
def _tan(z: Pair) -> Pair:
    return _turn_back(tanh(_turn(z)))


def _roots(z: Pair) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    return sqrt(Pair(1.0 - z.re, -z.im)), sqrt(Pair(1.0 + z.re, z.im))


def _finite(a: Ref, b: Ref) -> Ref:
    """a * b, but 0 for 0 * inf."""
    product = a * b
    lost = logical_and(isnan(product), logical_or(eq(a, 0), eq(b, 0)))
    return select(lost, 0, product)


@formula("arcsin")
def arcsin(z: Pair) -> Pair:
    minus, plus = _roots(z)
    re = _finite(minus.re, plus.re) - _finite(minus.im, plus.im)
    im = _finite(minus.re, plus.im) - _finite(minus.im, plus.re)
    return Pair(ew.arctan2(z.re, re), ew.arcsinh(im))


@formula("arccos")
def _arccos(z: Pair) -> Pair:
    minus, plus = _roots(z)
    re = 2.0 * ew.arctan2(minus.re, plus.re)
    im = _finite(plus.re, minus.im) - _finite(plus.im, minus.re)
    return Pair(re, ew.arcsinh(im))


@formula("arcsinh")
def _arcsinh(z: Pair) -> Pair:
    return _turn_back(arcsin(_turn(z)))


@formula("arccosh")
def _arccosh(z: Pair) -> Pair:
    minus = sqrt(Pair(z.re - 1.0, z.im))
    plus = sqrt(Pair(z.re + 1.0, z.im))
    re = ew.arcsinh(_finite(minus.re, plus.re) + _finite(minus.im, plus.im))
    return Pair(re, 2.0 * ew.arctan2(minus.im, plus.re))


@formula("arctanh")
def arctanh(z: Pair) -> Pair:
    size = ew.hypot(z.re, z.im)
    # Far out the squares would overflow, and 1 / z is all that is left of it.
    limit = 1e18 if z.re.dtype == np.float32 else 1e150
    far = gt(size, limit)
    x, y = select(far, 0, ew.abs_(z.re)), select(far, 0, z.im)
    apart = 1.0 - x
    re = 0.25 * ew.log1p(4.0 * x / (apart * apart + y * y))
    im = 0.5 * ew.arctan2(2.0 * y, apart * (1.0 + x) - y * y)
    rest = select(isinf(size), 0, ew.abs_(z.re) / size / size)
    re = select(far, rest, re)
    return Pair(
        ew.copysign(re, z.re),
        select(far, ew.copysign(0.5 * math.pi, z.im), im),
    )


@formula("arctan")
def _arctan(z: Pair) -> Pair:
    return _turn_back(arctanh(_turn(z)))


# --- comparisons and choice


@formula("eq")
def _eq(a: Pair, b: Pair) -> Ref:
    return logical_and(eq(a.re, b.re), eq(a.im, b.im))


@formula("ne")
def _ne(a: Pair, b: Pair) -> Ref:
    return logical_or(ne(a.re, b.re), ne(a.im, b.im))


@formula("isnan")
def _isnan(z: Pair) -> Ref:
    return logical_or(isnan(z.re), isnan(z.im))


@formula("isinf")
def _isinf(z: Pair) -> Ref:
    return logical_or(isinf(z.re), isinf(z.im))


@formula("isfinite")
def _isfinite(z: Pair) -> Ref:
    return logical_and(isfinite(z.re), isfinite(z.im))


@formula("select")
def _select(cond: Ref, a: Pair, b: Pair) -> Pair:
    return Pair(select(cond, a.re, b.re), select(cond, a.im, b.im), a.flat and b.flat)
