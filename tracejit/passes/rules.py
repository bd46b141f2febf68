"""The rewrite rules of `simplify`: each has a name and is bit-exact.

Bit-exact means: for 0.0, -0.0, subnormals, inf and NaN too (of NaNs, that there is
one).  A rule returns the ref that the instr at hand equals, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..ops import elementwise as ew
from ..ops.control import checkpoint, custom_jvp, custom_vjp
from ..ops.logic import cast, copy, logical_not, select, stop_gradient
from ..ops.structural import (
    broadcast_to,
    concatenate,
    reshape,
    slice_,
    transpose,
    unslice,
)
from ..primitive import PRIMITIVES, Primitive
from ..tape import Instr, Ref, const, guard

__all__ = ["RULES", "Rewriter", "Rule", "Site"]


class Rewriter(Protocol):
    """What the rules need of the walk: the maker of every ref, and how to emit."""

    made: dict[int, Instr]

    def emit(
        self, prim: Primitive, args: Sequence[Any], params: dict[str, Any]
    ) -> Any: ...


@dataclass
class Site:
    """An instr about to be emitted, and what the rules may ask about it."""

    rewriter: Rewriter
    prim: Primitive
    args: list[Ref]
    params: dict[str, Any]

    def maker(self, ref: Ref, *prims: Primitive) -> Instr | None:
        """The instr that made `ref`, if it is one of `prims`."""
        instr = self.rewriter.made.get(ref.index)
        return instr if instr is not None and instr.prim in prims else None

    def operand(self, ref: Ref, *prims: Primitive) -> Ref | None:
        """The first operand of the instr that made `ref`, if it is one of `prims`."""
        instr = self.maker(ref, *prims)
        return None if instr is None else ref.builder.ref(instr.args[0])

    def number(self, ref: Ref) -> Any:
        """The value of a constant, or None."""
        instr = self.maker(ref, const)
        return None if instr is None else instr.params["value"]

    def emit(self, prim: Primitive, *args: Ref, **params: Any) -> Any:
        return self.rewriter.emit(prim, list(args), params)

    def shaped(self, ref: Ref) -> Ref:
        """`ref`, broadcast to the shape of this instr's output."""
        shape = self.prim.aval(*[a.aval for a in self.args], **self.params).shape
        return ref if ref.shape == shape else self.emit(broadcast_to, ref, shape=shape)


@dataclass(frozen=True)
class Rule:
    """A named rewrite: `apply(site)` is the ref that the instr equals, or None."""

    name: str
    prims: tuple[Primitive, ...]
    apply: Callable[[Site], Any]


RULES: list[Rule] = []


def rule(name: str, *prims: Primitive) -> Callable[[Callable], Callable]:
    """Register a rule for some primitives; all elementwise ones if none are named."""

    def decorate(apply: Callable[[Site], Any]) -> Callable:
        found = prims or tuple(
            p for p in PRIMITIVES.values() if p.family == "elementwise"
        )
        RULES.append(Rule(name, found, apply))
        return apply

    return decorate


# --- identities


@rule("identity", copy, stop_gradient)
def _identity(site: Site) -> Any:
    return site.args[0]


@rule("custom", custom_vjp, custom_jvp, checkpoint)
def _custom(site: Site) -> Any:
    return tuple(site.args[: site.params["n"]])


@rule("no-axes", *[PRIMITIVES[n] for n in ("prod", "max", "min", "any", "all")])
def _no_axes(site: Site) -> Any:
    """Not the sum: NumPy's is 0.0 + x, which loses the sign of -0.0."""
    return site.args[0] if not site.params["axes"] else None


@rule("same-shape", reshape, broadcast_to)
def _same_shape(site: Site) -> Any:
    return site.args[0] if site.args[0].shape == site.params["shape"] else None


@rule("identity-permutation", transpose)
def _identity_permutation(site: Site) -> Any:
    (x,) = site.args
    return x if site.params["perm"] == tuple(range(x.ndim)) else None


@rule("whole-slice", slice_)
def _whole_slice(site: Site) -> Any:
    (x,) = site.args
    whole = site.params["size"] == x.shape and all(s == 1 for s in site.params["step"])
    return x if whole else None


@rule("whole-unslice", unslice)
def _whole_unslice(site: Site) -> Any:
    (x,) = site.args
    whole = site.params["shape"] == x.shape and all(s == 1 for s in site.params["step"])
    return x if whole else None


@rule("concatenate-one", concatenate)
def _concatenate_one(site: Site) -> Any:
    return site.args[0] if len(site.args) == 1 else None


@rule("cast-same", cast)
def _cast_same(site: Site) -> Any:
    return site.args[0] if site.args[0].dtype == site.params["dtype"] else None


@rule("cast-back", cast)
def _cast_back(site: Site) -> Any:
    """f32 -> f64 -> f32 and the like: nothing was lost on the way."""
    inner = site.operand(site.args[0], cast)
    if inner is None or inner.dtype != site.params["dtype"]:
        return None
    safe = np.can_cast(inner.dtype, site.args[0].dtype, "safe")
    return inner if safe else None


# --- movement of movement


@rule("reshape-reshape", reshape)
def _reshape_reshape(site: Site) -> Any:
    inner = site.operand(site.args[0], reshape)
    return None if inner is None else site.emit(reshape, inner, **site.params)


@rule("broadcast-broadcast", broadcast_to)
def _broadcast_broadcast(site: Site) -> Any:
    inner = site.operand(site.args[0], broadcast_to)
    return None if inner is None else site.emit(broadcast_to, inner, **site.params)


@rule("transpose-transpose", transpose)
def _transpose_transpose(site: Site) -> Any:
    instr = site.maker(site.args[0], transpose)
    if instr is None:
        return None
    first = instr.params["perm"]
    perm = tuple(first[p] for p in site.params["perm"])
    return site.emit(transpose, site.args[0].builder.ref(instr.args[0]), perm=perm)


@rule("move-repeated", reshape, transpose, slice_)
def _move_repeated(site: Site) -> Any:
    """One number repeated stays that, however it is moved."""
    inner = site.operand(site.args[0], broadcast_to)
    return site.shaped(inner) if inner is not None and inner.shape == () else None


@rule("repeat-last")
def _repeat_last(site: Site) -> Any:
    """Elementwise rows broadcast by themselves; what is repeated is computed once."""
    inner = [site.operand(a, broadcast_to) for a in site.args]
    if all(i is None for i in inner):
        return None
    small = [a if i is None else i for a, i in zip(site.args, inner, strict=True)]
    return site.shaped(site.emit(site.prim, *small, **site.params))


# --- arithmetic


@rule("times-one", ew.mul)
def _times_one(site: Site) -> Any:
    a, b = site.args
    if a.dtype.kind == "c":  # 0 * inf: the parts meet
        return None
    if site.number(b) == 1:
        return site.shaped(a)
    return site.shaped(b) if site.number(a) == 1 else None


@rule("over-one", ew.div)
def _over_one(site: Site) -> Any:
    a, b = site.args
    if a.dtype.kind == "c":
        return None
    return site.shaped(a) if site.number(b) == 1 else None


@rule("minus-zero", ew.sub)
def _minus_zero(site: Site) -> Any:
    return site.shaped(site.args[0]) if _is_zero(site, site.args[1], "0.0") else None


@rule("plus-negative-zero", ew.add)
def _plus_negative_zero(site: Site) -> Any:
    """x + 0.0 is not x for x = -0.0, but x + -0.0 is."""
    a, b = site.args
    if _is_zero(site, b, "-0.0"):
        return site.shaped(a)
    return site.shaped(b) if _is_zero(site, a, "-0.0") else None


def _is_zero(site: Site, ref: Ref, text: str) -> bool:
    number = site.number(ref)
    if number is None or number != 0:
        return False
    parts = (number.real, number.imag) if ref.dtype.kind == "c" else (number,)
    return ref.dtype.kind not in "fc" or all(repr(part) == text for part in parts)


@rule("negate-twice", ew.neg)
def _negate_twice(site: Site) -> Any:
    return site.operand(site.args[0], ew.neg)


@rule("plus-negated", ew.add)
def _plus_negated(site: Site) -> Any:
    a, b = site.args
    if (inner := site.operand(b, ew.neg)) is not None:
        return site.emit(ew.sub, a, inner)
    inner = site.operand(a, ew.neg)
    return None if inner is None else site.emit(ew.sub, b, inner)


@rule("minus-negated", ew.sub)
def _minus_negated(site: Site) -> Any:
    inner = site.operand(site.args[1], ew.neg)
    return None if inner is None else site.emit(ew.add, site.args[0], inner)


@rule("product-of-negated", ew.mul, ew.div)
def _product_of_negated(site: Site) -> Any:
    a, b = (site.operand(arg, ew.neg) for arg in site.args)
    return None if a is None or b is None else site.emit(site.prim, a, b)


@rule("power-two", ew.pow_)
def _power_two(site: Site) -> Any:
    """As NumPy itself does for a scalar exponent."""
    two = site.number(site.args[1]) == 2
    return site.emit(ew.square, site.args[0]) if two else None


@rule("power-one", ew.pow_)
def _power_one(site: Site) -> Any:
    return site.shaped(site.args[0]) if site.number(site.args[1]) == 1 else None


@rule("power-zero", ew.pow_)
def _power_zero(site: Site) -> Any:
    """1 even for NaN, by IEEE 754 and NumPy."""
    a, b = site.args
    if site.number(b) != 0:
        return None
    return site.shaped(site.emit(const, value=a.dtype.type(1).item(), dtype=a.dtype))


# --- logic and constants


@rule("not-not", logical_not)
def _not_not(site: Site) -> Any:
    return site.operand(site.args[0], logical_not)


@rule("select-known", select)
def _select_known(site: Site) -> Any:
    cond, a, b = site.args
    known = site.number(cond)
    return None if known is None else site.shaped(a if known else b)


@rule("select-same", select)
def _select_same(site: Site) -> Any:
    _, a, b = site.args
    return site.shaped(a) if a.index == b.index else None


@rule("select-not", select)
def _select_not(site: Site) -> Any:
    cond, a, b = site.args
    inner = site.operand(cond, logical_not)
    return None if inner is None else site.emit(select, inner, b, a)


_EXACT = tuple(
    PRIMITIVES[name]
    for name in (
        "add sub mul div neg abs square sqrt cast select lt le gt ge eq ne logical_and"
        " logical_or logical_xor logical_not bit_and bit_or bit_xor invert isnan isinf"
        " isfinite signbit floor ceil trunc rint copysign"
    ).split()
)


#: Of complex numbers these are sums of products, which an implementation may fuse.
_ROUNDED = {ew.mul, ew.div, ew.square, ew.sqrt}


@rule("constant", *_EXACT)
def _constant(site: Site) -> Any:
    """Arithmetic of constants, where every implementation gives the same bits."""
    values = []
    for arg in site.args:
        number = site.number(arg)
        if number is None:
            return None
        if arg.dtype.kind == "c" and site.prim in _ROUNDED:
            return None
        values.append(arg.dtype.type(number))
    with np.errstate(all="ignore"):
        value = site.prim.reference(*values, **site.params)
    return site.emit(const, value=value.item(), dtype=value.dtype)


@rule("guard-known", guard)
def _guard_known(site: Site) -> Any:
    known = site.number(site.args[0])
    return () if known is not None and known == site.params["expected"] else None
