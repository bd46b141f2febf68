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
5. A loop is simplified inside, and loses what it does not need; see `loops.reduce`.
   So is a branch; see `branches.reduce`.
6. Identities that stand for the sake of a derivative (`copy`, `stop_gradient`,
   `custom_vjp`, `custom_jvp`, `checkpoint`) have served, and are replaced.

It ends because every rule returns one of the operands, or emits an instr with fewer
instrs behind it or on smaller operands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..ops.branch import branch
from ..ops.control import barrier
from ..ops.loop import loop
from ..primitive import Primitive
from ..tape import Builder, Instr, Ref, Tape, const, guard
from ..text import print_tape
from .branches import reduce_branch
from .dead import live, renumbered
from .loops import reduce_loop
from .rules import RULES, Rule, Site

__all__ = ["simplify"]


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
    simple = _Rewriter(tape, counts).run(tape, live(tape, counts))
    return renumbered(simple, live(simple, counts))


# --- the walk


class _Rewriter(Builder):
    """A builder that rewrites what it is asked to emit."""

    def __init__(self, tape: Tape, counts: Counter[str]) -> None:
        super().__init__(tape.name)
        self.counts = counts
        self.made: dict[int, Instr] = {}
        self.seen: dict[Any, Any] = {}
        self.rules: dict[Primitive, list[Rule]] = {}
        for r in RULES:
            for prim in r.prims:
                self.rules.setdefault(prim, []).append(r)

    def run(self, tape: Tape, instrs: Sequence[Instr]) -> Tape:
        env = {ref: self.input(tape.avals[ref]) for ref in tape.inputs}
        for instr in instrs:
            self.source = instr.source
            out = self.emit(instr.prim, [env[a] for a in instr.args], instr.params)
            outs = (out,) if isinstance(out, Ref) else tuple(out)
            env.update(zip(instr.outs, outs, strict=True))
        return self.finish([env[ref] for ref in tape.outputs])

    def emit(self, prim: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """The simplest known equal of this instr: an older ref, or a new instr."""
        refs = self.as_refs(args)
        if prim is loop:
            return reduce_loop(self, refs, params, self._simplify)
        if prim is branch:
            return reduce_branch(self, refs, params, self._simplify)
        site = Site(self, prim, refs, params)
        for r in self.rules.get(prim, ()):
            found = r.apply(site)
            if found is not None:
                self.counts[r.name] += 1
                return found
        return self.unite(prim, refs, params)

    def _simplify(self, tape: Tape) -> Tape:
        return simplify(tape, self.counts)

    def unite(
        self, prim: Primitive, refs: Sequence[Ref], params: dict[str, Any]
    ) -> Any:
        """An equal instr that is there already, or a new one."""
        key = _key(prim, refs, params)
        if key is not None and key in self.seen:
            self.counts["common"] += 1
            return self.seen[key]
        out = super().emit(prim, refs, params)
        instr = self.instrs[-1]
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
    if prim is loop or prim is branch:
        params = {
            key: print_tape(value, sources=False) if isinstance(value, Tape) else value
            for key, value in params.items()
        }
    return prim, tuple(indices), tuple(params.items())
