"""A second branch beside a branch: what it needs of the first is kept or made again.

    branch: y = exp(x * x)  else  y = x
      ->
    branch: y = e = exp(x * x), r = e  else  y = x, r = 0
    branch: dx = dy * r * 2 * x        else  dx = dy

A derivative of a branch is a branch on the same outcome.  Each of its sides is found by
differentiating a side on a scratch builder, whose instrs then fall into the side's own
and the derivative's.  What the latter read of the former is an operand of the branch,
made again if that is cheap, or a further result of the first branch.  The other side
gives zeros for it, which nobody reads; the two sides share such results where their
avals are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...avals import Aval
from ...ops.branch import branch
from ...ops.rows import zeros
from ...tape import Builder, Instr, Ref, Tape
from ..loops.residuals import Plan

__all__ = ["SIDES", "Side", "emit_beside"]

SIDES = ("yes", "no")


class Side:
    """A copy of a side on a builder that takes its derivative's instrs too.

    Attributes:
        builder: the copy; `builder.instrs[:first]` are the side's own.
        inputs, outputs: of the side.
        given: inputs of the derivative, in the order of its operands.
        results: what the derivative gives; None is zero.
    """

    def __init__(self, tape: Tape) -> None:
        self.builder = Builder(tape.name)
        self.inputs = [self.builder.input(tape.avals[ref]) for ref in tape.inputs]
        env = dict(zip(tape.inputs, self.inputs, strict=True))
        for instr in tape.instrs:
            self.builder.copy(instr, env, tape.avals)
        self.first = len(self.builder.instrs)
        self.outputs = [env[ref] for ref in tape.outputs]
        self.given: list[Ref] = []
        self.results: list[Ref | None] = []
        # For `Plan`: operands are there anyway, and nothing is invariant.
        self.consts: list[Ref] = []
        self.xs = self.inputs
        self.counter = self.builder.new(Aval((), np.dtype(np.int64)))


class _Need(NamedTuple):
    """What the derivative of a side reads of the side itself.

    Attributes:
        later: the derivative's instrs.
        again: the side's instrs that it repeats.
        kept: refs of the side that the first branch has to give.
    """

    later: list[Instr]
    again: list[Instr]
    kept: list[int]


def emit_beside(
    builder: Builder, instr: Instr, sides: Sequence[Side], given: Sequence[Ref]
) -> list[Ref | None]:
    """Emit the second branch beside `instr`, which may be extended.

    Args:
        sides: the differentiated sides, with equally many `given` and `results`.
        given: operands of the derivative.

    Returns:
        One ref for each of the results, None where both sides give zero.
    """
    places = [
        k
        for k, pair in enumerate(zip(*[s.results for s in sides], strict=True))
        if any(r is not None for r in pair)
    ]
    if not places:
        return [None] * len(sides[0].results)
    needs = [_need(side, places) for side in sides]
    slots = _extend(builder, instr, sides, needs)
    pred, *xs = [builder.ref(a) for a in instr.args]
    args = [*xs, *[builder.ref(out) for out in instr.outs], *given]
    params = {}
    for name, side, need, held in zip(SIDES, sides, needs, slots, strict=True):
        inner = Builder(f"{side.builder.name}_d")
        inputs = [inner.input(arg.aval) for arg in args]
        env = {r.index: i for r, i in zip(side.inputs, inputs, strict=False)}
        outs = inputs[len(xs) : len(args) - len(given)]
        env |= {ref: outs[k] for ref, k in held.items()}
        last = inputs[len(args) - len(given) :]
        env |= {r.index: i for r, i in zip(side.given, last, strict=True)}
        for i in (*need.again, *need.later):
            inner.copy(i, env, side.builder.avals)
        inner.source = None
        params[name] = inner.finish(_results(inner, sides, side, places, env))
    args, params = _trimmed(args, params)
    found = iter(builder.emit(branch, [pred, *args], params))
    chosen = set(places)
    return [next(found) if k in chosen else None for k in range(len(side.results))]


def _need(side: Side, places: Sequence[int]) -> _Need:
    found = [side.results[k] for k in places]
    wanted = [ref.index for ref in found if ref is not None]
    later = _live(side.builder.instrs[side.first :], wanted)
    own = {out for i in later for out in i.outs} | {ref.index for ref in side.given}
    read = [a for i in later for a in i.args] + wanted
    plan = Plan(side, [r for r in dict.fromkeys(read) if r not in own])
    return _Need(later, [*plan.outside, *plan.again], list(plan.stacked))


def _live(instrs: Sequence[Instr], wanted: Iterable[int]) -> list[Instr]:
    live, found = set(wanted), []
    for instr in reversed(instrs):
        if not live.isdisjoint(instr.outs):
            live.update(instr.args)
            found.append(instr)
    return found[::-1]


def _extend(
    builder: Builder, instr: Instr, sides: Sequence[Side], needs: Sequence[_Need]
) -> list[dict[int, int]]:
    """Make the branch give what is kept; for each side, which result that is."""
    slots: list[dict[int, int]] = []
    free: list[tuple[Aval, list[int | None]]] = []
    for number, (side, need) in enumerate(zip(sides, needs, strict=True)):
        known = {ref.index: k for k, ref in reversed([*enumerate(side.outputs)])}
        mine: dict[int, int] = {}
        for ref in need.kept:
            if ref in known:
                mine[ref] = known[ref]
                continue
            aval = side.builder.avals[ref]
            fits = (
                k for k, (a, by) in enumerate(free) if a == aval and by[number] is None
            )
            k = next(fits, len(free))
            if k == len(free):
                free.append((aval, [None] * len(sides)))
            free[k][1][number] = ref
            mine[ref] = len(side.outputs) + k
        slots.append(mine)
    # Even without further results: a loop in a side may have been extended.
    params = {
        name: _first(side, [(aval, by[number]) for aval, by in free])
        for number, (name, side) in enumerate(zip(SIDES, sides, strict=True))
    }
    builder.extend(instr, params, [aval for aval, _ in free])
    return slots


def _first(side: Side, more: Sequence[tuple[Aval, int | None]]) -> Tape:
    """The side with further results; loops in it may have been extended as well."""
    builder = Builder(side.builder.name)
    env = {ref.index: builder.input(ref.aval) for ref in side.inputs}
    for instr in side.builder.instrs[: side.first]:
        builder.copy(instr, env, side.builder.avals)
    builder.source = None
    outs = [env[ref.index] for ref in side.outputs]
    for aval, ref in more:
        outs.append(zeros(Ref(builder, -1, aval)) if ref is None else env[ref])
    return builder.finish(outs)


def _results(
    inner: Builder,
    sides: Sequence[Side],
    side: Side,
    places: Sequence[int],
    env: dict[int, Ref],
) -> list[Ref]:
    outs = []
    for k in places:
        ref = side.results[k]
        if ref is not None:
            outs.append(env[ref.index])
            continue
        like = next(r for s in sides if (r := s.results[k]) is not None)
        outs.append(zeros(Ref(inner, -1, like.aval)))
    return outs


def _trimmed(
    args: list[Ref], params: dict[str, Tape]
) -> tuple[list[Ref], dict[str, Tape]]:
    """The operands that some side reads, each once."""
    read = [
        {a for i in tape.instrs for a in i.args} | set(tape.outputs)
        for tape in params.values()
    ]
    kept = [
        k
        for k in range(len(args))
        if any(
            tape.inputs[k] in used
            for tape, used in zip(params.values(), read, strict=True)
        )
    ]
    trimmed = {
        name: Tape(
            tuple(tape.inputs[k] for k in kept),
            tape.instrs,
            tape.outputs,
            tape.avals,
            tape.name,
        )
        for name, tape in params.items()
    }
    return [args[k] for k in kept], trimmed
