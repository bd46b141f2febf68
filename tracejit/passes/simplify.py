"""Simplify: a smaller tape with bit for bit the same results.

    %2: f64[] = 2.0                      %2: f64[3] = square %0
    %3: f64[3] = pow %0 %2          ->   return %2
    %4: f64[3] = copy %3
    return %4

One walk forward re-emits the live instrs: operands are simplified already, so a rule
sees its whole pattern at once, and an equal instr that was emitted before is taken
instead of a new one.  This finds what a worklist would find, in one pass over a
straight line.

1. Every rule is bit-exact for 0.0, -0.0, inf and NaN, so simplified and recorded
   program agree; what changes values (x*0 -> 0, x-x -> 0, x+0 -> x) is not here.
2. Rules have names; `simplify(tape, counts)` counts their firings.
3. Guards stay, in order; a `wrap_index` or a factorisation that nothing uses goes.
4. `barrier` is opaque: neither merged with an equal one nor looked through.
5. Identities that stand for the sake of a derivative (`copy`, `stop_gradient`,
   `custom_vjp`, `custom_jvp`, `checkpoint`) have served, and are replaced.

It ends because every rule returns one of the operands, or emits an instr with fewer
instrs behind it or on smaller operands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops import elementwise as ew
from ..ops.control import barrier, checkpoint, custom_jvp, custom_vjp, guard
from ..ops.logic import cast, copy, logical_not, select, stop_gradient
from ..ops.structural import broadcast_to, reshape, slice_, transpose
from ..primitive import PRIMITIVES, Primitive
from ..tape import Builder, Instr, Ref, Tape, const

__all__ = ["RULES", "Rule", "simplify"]


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


def simplify(tape: Tape, counts: Counter[str] | None = None) -> Tape:
    """Return an equivalent tape with renumbered refs.

    Args:
        tape: any valid tape.
        counts: the number of firings is added here by rule, those of common
            subexpressions as `common` and of dead instrs as `dead`.

    Example:
        >>> from tracejit.text import parse_tape
        >>> simplify(parse_tape('''
        ... tape f(%0: f64[3]):
        ...   %1: f64[] = 1.0
        ...   %2: f64[3] = mul %0 %1
        ...   return %2
        ... '''))
        tape f(%0: f64[3]):
          return %0
    """
    counts = Counter() if counts is None else counts
    return _live_tape(_Rewriter(_live_tape(tape, counts), counts).run(), counts)


# --- dead code


def _live_tape(tape: Tape, counts: Counter[str]) -> Tape:
    """Without the instrs that no output and no guard depends on."""
    live = set(tape.outputs)
    kept = []
    for instr in reversed(tape.instrs):
        if instr.prim is guard or not live.isdisjoint(instr.outs):
            live.update(instr.args)
            kept.append(instr)
    counts["dead"] += len(tape.instrs) - len(kept)
    return _renumbered(tape, kept[::-1])


def _renumbered(tape: Tape, instrs: list[Instr]) -> Tape:
    new: dict[int, int] = {}
    for ref in tape.inputs:
        new[ref] = len(new)
    for instr in instrs:
        for ref in instr.outs:
            new[ref] = len(new)
    moved = [
        Instr(
            i.prim,
            tuple([new[a] for a in i.args]),
            i.params,
            tuple([new[o] for o in i.outs]),
            i.source,
        )
        for i in instrs
    ]
    return Tape(
        tuple(new[r] for r in tape.inputs),
        tuple(moved),
        tuple(new[r] for r in tape.outputs),
        tuple(tape.avals[r] for r in new),
        tape.name,
    )


# --- the walk


@dataclass
class Site:
    """An instr about to be emitted, and what the rules may ask about it."""

    rewriter: _Rewriter
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


class _Rewriter:
    def __init__(self, tape: Tape, counts: Counter[str]) -> None:
        self.tape = tape
        self.counts = counts
        self.builder = Builder(tape.name)
        self.made: dict[int, Instr] = {}
        self.seen: dict[Any, Any] = {}
        self.rules: dict[Primitive, list[Rule]] = {}
        for r in RULES:
            for prim in r.prims:
                self.rules.setdefault(prim, []).append(r)

    def run(self) -> Tape:
        builder, tape = self.builder, self.tape
        env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
        for instr in tape.instrs:
            builder.source = instr.source
            out = self.emit(instr.prim, [env[a] for a in instr.args], instr.params)
            outs = (out,) if isinstance(out, Ref) else tuple(out)
            env.update(zip(instr.outs, outs, strict=True))
        return builder.finish([env[ref] for ref in tape.outputs])

    def emit(self, prim: Primitive, args: list[Ref], params: dict[str, Any]) -> Any:
        """The simplest known equal of this instr: an older ref, or a new instr."""
        site = Site(self, prim, args, params)
        for r in self.rules.get(prim, ()):
            found = r.apply(site)
            if found is not None:
                self.counts[r.name] += 1
                return found
        key = _key(prim, args, params)
        if key is not None and key in self.seen:
            self.counts["common"] += 1
            return self.seen[key]
        out = self.builder.emit(prim, args, params)
        instr = self.builder.instrs[-1]
        for index in instr.outs:
            self.made[index] = instr
        if key is not None:
            self.seen[key] = out
        return out


_COMMUTATIVE = {
    "add", "mul", "eq", "ne", "logical_and", "logical_or", "logical_xor",
    "bit_and", "bit_or", "bit_xor",
}  # fmt: skip
_UNIQUE = {barrier, guard}


def _key(prim: Primitive, args: Sequence[Ref], params: dict[str, Any]) -> Any:
    """What two instrs must have in common to be the same; None: never the same."""
    if prim in _UNIQUE:
        return None
    if prim is const:
        # -0.0 == 0.0 == False, but they are different constants; NaN is one.
        return prim, params["dtype"], repr(params["value"])
    indices = [a.index for a in args]
    if prim.name in _COMMUTATIVE:
        indices.sort()
    return prim, tuple(indices), tuple(params.items())


# --- identities


@rule("identity", copy, stop_gradient)
def _identity(site: Site) -> Any:
    return site.args[0]


@rule("custom", custom_vjp, custom_jvp, checkpoint)
def _custom(site: Site) -> Any:
    return tuple(site.args[: site.params["n"]])


@rule("no-axes", *[PRIMITIVES[n] for n in ("sum", "prod", "max", "min", "any", "all")])
def _no_axes(site: Site) -> Any:
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


@rule("whole-unslice", PRIMITIVES["unslice"])
def _whole_unslice(site: Site) -> Any:
    (x,) = site.args
    whole = site.params["shape"] == x.shape and all(s == 1 for s in site.params["step"])
    return x if whole else None


@rule("concatenate-one", PRIMITIVES["concatenate"])
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
    if site.number(b) == 1:
        return site.shaped(a)
    return site.shaped(b) if site.number(a) == 1 else None


@rule("over-one", ew.div)
def _over_one(site: Site) -> Any:
    return site.shaped(site.args[0]) if site.number(site.args[1]) == 1 else None


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
    return ref.dtype.kind != "f" or repr(number) == text


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


@rule("constant", *_EXACT)
def _constant(site: Site) -> Any:
    """Arithmetic of constants, where every implementation gives the same bits."""
    values = []
    for arg in site.args:
        number = site.number(arg)
        if number is None:
            return None
        values.append(arg.dtype.type(number))
    with np.errstate(all="ignore"):
        value = site.prim.reference(*values, **site.params)
    return site.emit(const, value=value.item(), dtype=value.dtype)


@rule("guard-known", guard)
def _guard_known(site: Site) -> Any:
    known = site.number(site.args[0])
    return () if known is not None and known == site.params["expected"] else None
