"""A second loop beside a loop: what it needs of the first is kept or computed again.

A derivative of a loop is another loop.  Its body is found by differentiating the body
on a scratch builder, whose instrs then fall into two parts: the body's own (first) and
the derivative's (later).  What the later part reads of the first one is

* there anyway: the counter, constants of the loop, rows of what it runs over;
* stacked: the first loop is given a further result.  So the work is done once;
* computed again, if that is cheap and needs nothing larger to be stacked;
* computed outside, once, if it is the same in every iteration.

    loop: s <- s * sin(s)      ->    loop: s <- s * sin(s), stacks s and sin(s)
                                     loop: ...cos(s)...,    over these stacks

The first loop is extended in place, because its work should be done where it stands,
and because further results change nothing for those who know it already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from ...avals import Aval
from ...ops.loop import loop
from ...tape import Builder, Instr, Ref, Tape, const, inner_tapes
from ..fuse.access import cost_of
from .activity import count_of, operands, results

__all__ = [
    "Carried",
    "Plan",
    "Scratch",
    "Second",
    "emit_second",
    "is_cheap",
    "is_movable",
]

#: Elementwise work per element up to which a value is computed again.
CHEAP_COST = 4
#: Instrs that are computed again for one value; a bound for the time of this pass.
FAR = 256
_CHEAP_STRUCTURE = frozenset(
    "reshape transpose broadcast_to slice unslice concatenate iota diagonal diag_embed"
    " tril triu gather".split()
)
_RAISING = frozenset("wrap_index mask_indices".split())


class First(Protocol):
    """What `Plan` asks of the copy of a body or a side."""

    builder: Builder
    first: int
    counter: Ref
    consts: list[Ref]
    xs: list[Ref]


class Scratch:
    """A copy of a loop's body on a builder that takes its derivative's instrs too.

    Attributes:
        builder: the copy; `builder.instrs[:first]` are the body's own.
        counter, consts, carries, xs: the body's inputs.
        state, rows: its outputs.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        body: Tape = params["body"]
        self.builder = Builder(body.name)
        inputs = [self.builder.input(body.avals[ref]) for ref in body.inputs]
        env = dict(zip(body.inputs, inputs, strict=True))
        for instr in body.instrs:
            self.builder.copy(instr, env, body.avals)
        self.first = len(self.builder.instrs)
        self.counter = inputs[0]
        self.consts, self.carries, self.xs = operands(params, inputs[1:])
        self.state, self.rows = results(params, [env[ref] for ref in body.outputs])


class Carried(NamedTuple):
    """A carry of the second loop: in and out on the scratch builder, its start."""

    before: Ref
    after: Ref
    start: Ref


class Second(NamedTuple):
    """A second loop in terms of the scratch builder.

    Attributes:
        consts, xs: pairs of an input of the scratch builder that belongs to the
            second loop, and its operand.
        carries: what the second loop carries.
        rows: refs of the scratch builder that the second loop stacks.
        reverse: its direction.
        name: of its body.
    """

    consts: list[tuple[Ref, Ref]]
    carries: list[Carried]
    xs: list[tuple[Ref, Ref]]
    rows: list[Ref]
    reverse: bool
    name: str


def emit_second(
    builder: Builder, instr: Instr, scratch: Scratch, second: Second
) -> tuple[Ref, ...]:
    """Emit the second loop beside the loop `instr`, which may be extended."""
    count = count_of(instr)
    bound = []
    if count is not None:
        ref = builder.ref(count)
        bound = [(scratch.builder.input(ref.aval), ref)]
    own = [pair[0] for pair in (*bound, *second.consts, *second.xs)]
    own += [carried.before for carried in second.carries]
    wanted = [carried.after.index for carried in second.carries]
    wanted += [row.index for row in second.rows]
    later = _live(scratch.builder.instrs[scratch.first :], wanted)
    made = {out for i in later for out in i.outs} | {ref.index for ref in own}
    read = [a for i in later for a in i.args] + wanted
    plan = Plan(scratch, [r for r in dict.fromkeys(read) if r not in made])

    outer = operands(instr.params, [builder.ref(a) for a in instr.args])
    env = {c.index: o for c, o in zip(scratch.consts, outer.consts, strict=True)}
    for i in plan.outside:
        builder.replay(i, env)
    stacks = _stacks(builder, instr, scratch, plan.stacked)

    instrs = [*plan.again, *later]
    used = {a for i in instrs for a in i.args} | set(wanted)
    kept = [c.index for c in scratch.consts if c.index in used]
    kept += [out for i in plan.outside for out in i.outs if out in used]
    consts = [*bound, *second.consts]
    consts += [*((scratch.builder.ref(c), env[c]) for c in kept)]
    rows = zip(scratch.xs, outer.xs, strict=True)
    xs = [(x, o) for x, o in rows if x.index in used and x.index not in stacks]
    xs += [(scratch.builder.ref(r), stack) for r, stack in stacks.items()]
    xs += second.xs

    carries = second.carries
    inner = Builder(second.name)
    inputs = [scratch.counter, *(c for c, _ in consts)]
    inputs += [*(c.before for c in carries), *(x for x, _ in xs)]
    inside = {ref.index: inner.input(ref.aval) for ref in inputs}
    for i in instrs:
        inner.copy(i, inside, scratch.builder.avals)
    body = inner.finish([inside[ref] for ref in wanted])
    return builder.emit(
        loop,
        [*(o for _, o in consts), *(c.start for c in carries), *(o for _, o in xs)],
        {
            "body": body,
            "trip": instr.params["trip"],
            "consts": len(consts),
            "carries": len(carries),
            "reverse": second.reverse,
            **({"counted": True} if bound else {}),
            **{k: instr.params[k] for k in ("family", "most") if k in instr.params},
        },
    )


def _live(instrs: Sequence[Instr], wanted: Iterable[int]) -> list[Instr]:
    live, found = set(wanted), []
    for instr in reversed(instrs):
        if not live.isdisjoint(instr.outs):
            live.update(instr.args)
            found.append(instr)
    return found[::-1]


class Plan:
    """How the second loop comes by what it needs of the first.

    Attributes:
        stacked: refs to be stacked by the first loop, in order.
        again: instrs of the body that the second loop's body repeats.
        outside: instrs of the body that are emitted before the second loop.
    """

    def __init__(self, scratch: First, needed: list[int]) -> None:
        self.avals = scratch.builder.avals
        first = scratch.builder.instrs[: scratch.first]
        self.maker = {out: i for i in first for out in i.outs}
        self.fixed = _invariant(first, {c.index for c in scratch.consts})
        self.free = {ref.index for ref in (*scratch.consts, *scratch.xs)}
        self.free.add(scratch.counter.index)
        self.stacked: dict[int, None] = {}
        chosen: set[Instr] = set()
        out: set[int] = set()
        # Leaves first: what has to be there makes other things cheap.
        for ref in sorted(needed, key=lambda r: (self._cheap(r), r)):
            found = self._attempt(ref, chosen, out)
            if found is None:
                self.stacked[ref] = None
            else:
                leaves, instrs, outside = found
                self.stacked.update(leaves)
                chosen |= instrs
                out |= outside
        self.again = [i for i in first if i in chosen]
        self.outside = _live([i for i in first if self.fixed.issuperset(i.outs)], out)

    def _cheap(self, ref: int) -> bool:
        return ref in self.maker and is_cheap(self.maker[ref])

    def _attempt(
        self, ref: int, chosen: set[Instr], outside: set[int]
    ) -> tuple[dict[int, None], set[Instr], set[int]] | None:
        """What there must be to compute `ref` again; None if it is better stacked."""
        leaves: dict[int, None] = {}
        instrs: set[Instr] = set()
        out: set[int] = set()
        stack = [ref]
        while stack:
            r = stack.pop()
            if r in self.free or r in self.stacked or r in leaves or r in outside:
                continue
            instr = self.maker.get(r)
            if instr is not None and (instr in chosen or instr in instrs):
                continue
            if instr is None:
                leaves[r] = None
            elif is_cheap(instr):
                instrs.add(instr)
                stack.extend(instr.args)
            elif r in self.fixed:
                out.add(r)
            else:
                leaves[r] = None
            if len(instrs) > FAR:
                return None
        size = sum(self._bytes(leaf) for leaf in leaves)
        if ref not in leaves and size > self._bytes(ref):
            return None
        return leaves, instrs, out

    def _bytes(self, ref: int) -> int:
        aval = self.avals[ref]
        return aval.size * aval.dtype.itemsize


def is_cheap(instr: Instr) -> bool:
    if instr.prim.host:
        return False
    if instr.prim.family == "elementwise":
        return cost_of(instr) <= CHEAP_COST
    return instr.prim is const or instr.prim.name in _CHEAP_STRUCTURE


def _invariant(instrs: Sequence[Instr], consts: set[int]) -> set[int]:
    """Refs that are the same in every iteration and can be had without raising."""
    fixed = set(consts)
    for instr in instrs:
        if is_movable(instr) and fixed.issuperset(instr.args):
            fixed.update(instr.outs)
    return fixed


def is_movable(instr: Instr) -> bool:
    """Whether it may be computed though the loop would not have come to it."""
    prim = instr.prim
    if bodies := inner_tapes(instr):
        return all(is_movable(i) for body in bodies for i in body.instrs)
    if prim.host or prim.family in ("control", "linalg"):
        return prim is const
    return prim.name not in _RAISING


def _stacks(
    builder: Builder, instr: Instr, scratch: Scratch, wanted: Iterable[int]
) -> dict[int, Ref]:
    """The stack of each wanted ref of the body; the loop is extended by new ones."""
    params, trip = instr.params, instr.params["trip"]
    old = results(params, instr.outs)[1]
    at = {row.index: out for row, out in zip(scratch.rows, old, strict=True)}
    new = [ref for ref in wanted if ref not in at]
    if new:
        body = _first_body(scratch, new)
        avals = [scratch.builder.avals[ref] for ref in new]
        stacked = [Aval((trip, *a.shape), a.dtype) for a in avals]
        refs = builder.extend(instr, {**params, "body": body}, stacked)
        at.update({ref: out.index for ref, out in zip(new, refs, strict=True)})
    return {ref: builder.ref(at[ref]) for ref in wanted}


def _first_body(scratch: Scratch, more: list[int]) -> Tape:
    """The body with further outputs; loops in it may have been extended as well."""
    builder = Builder(scratch.builder.name)
    inputs = [scratch.counter, *scratch.consts, *scratch.carries, *scratch.xs]
    env = {ref.index: builder.input(ref.aval) for ref in inputs}
    for instr in scratch.builder.instrs[: scratch.first]:
        builder.copy(instr, env, scratch.builder.avals)
    outs = [ref.index for ref in (*scratch.state, *scratch.rows)]
    return builder.finish([env[ref] for ref in (*outs, *more)])
