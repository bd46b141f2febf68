"""Dead code: what no output and no guard depends on, in loops too.

    %3: f64[], %4: f64[9] = loop ...          %3: f64[] = loop ...
    return %3                            ->   return %3

A loop is kept as far as it is needed: results that nobody reads are not stacked, a
carry that feeds nothing but itself is not carried, and the operands that are left
without a reader go.  Which carries are needed is a fixed point: one is if it is read
outside, or if something that is needed inside reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..ops.branch import branch
from ..ops.loop import loop
from ..tape import Instr, Tape, guard, has_guard
from .loops.activity import bound_parts, operands, results

__all__ = ["live", "renumbered"]


def live(tape: Tape, counts: Counter[str]) -> list[Instr]:
    """The instrs that are needed, loops narrowed to what is needed of them.

    Args:
        counts: instrs left out are added as `dead`; results and operands of loops as
            `loop-result` and `loop-operand`.
    """
    return _live(tape.instrs, tape.outputs, counts)


def _live(
    instrs: Sequence[Instr], outputs: Iterable[int], counts: Counter[str]
) -> list[Instr]:
    wanted = set(outputs)
    kept = []
    for instr in reversed(instrs):
        if instr.prim is loop or instr.prim is branch:
            needed = not wanted.isdisjoint(instr.outs) or has_guard(instr)
            if needed:
                narrow = _narrowed if instr.prim is loop else _narrowed_branch
                instr = narrow(instr, wanted, counts)
        else:
            needed = instr.prim is guard or not wanted.isdisjoint(instr.outs)
        if needed:
            wanted.update(instr.args)
            kept.append(instr)
    counts["dead"] += len(instrs) - len(kept)
    return kept[::-1]


def _narrowed(instr: Instr, wanted: set[int], counts: Counter[str]) -> Instr:
    """The loop without the results, operands and instrs that are not needed."""
    params, body = instr.params, instr.params["body"]
    state, rows = results(params, [out in wanted for out in instr.outs])
    first_consts, first_carries = bound_parts(params)
    state[:first_carries] = [True] * first_carries
    inputs = operands(params, body.inputs[1:])
    while True:
        needed = [*state, *rows]
        outs = [o for o, flag in zip(body.outputs, needed, strict=True) if flag]
        inner: Counter[str] = Counter()
        instrs = _live(body.instrs, outs, inner)
        read = {a for i in instrs for a in i.args} | set(outs)
        more = [
            flag or ref in read for flag, ref in zip(state, inputs.carries, strict=True)
        ]
        if more == state:
            break
        state = more
    consts = [ref in read for ref in inputs.consts]
    consts[:first_consts] = [True] * first_consts
    xs = [ref in read for ref in inputs.xs]
    kept = [*consts, *state, *xs]
    counts.update(inner)
    if all(kept) and all(rows) and instrs == list(body.instrs):
        return instr
    counts["loop-operand"] += kept.count(False)
    counts["loop-result"] += rows.count(False)
    params = {
        **params,
        "body": renumbered(
            Tape(
                (body.inputs[0], *_chosen(body.inputs[1:], kept)),
                tuple(instrs),
                tuple(outs),
                body.avals,
                body.name,
            ),
            instrs,
        ),
        "consts": sum(consts),
        "carries": sum(state),
    }
    args = tuple(_chosen(instr.args, kept))
    return Instr(loop, args, params, tuple(_chosen(instr.outs, needed)), instr.source)


def _narrowed_branch(instr: Instr, wanted: set[int], counts: Counter[str]) -> Instr:
    """The branch without the results, operands and instrs that are not needed."""
    needed = [out in wanted for out in instr.outs]
    kept: dict[str, list[Instr]] = {}
    used = [False] * (len(instr.args) - 1)
    dead = False
    for name in ("yes", "no"):
        side = instr.params[name]
        outs = _chosen(side.outputs, needed)
        kept[name] = _live(side.instrs, outs, counts)
        dead = dead or len(kept[name]) < len(side.instrs)
        read = {a for i in kept[name] for a in i.args} | set(outs)
        pairs = zip(used, side.inputs, strict=True)
        used = [flag or ref in read for flag, ref in pairs]
    if all(needed) and all(used) and not dead:
        return instr
    counts["branch-operand"] += used.count(False)
    counts["branch-result"] += needed.count(False)
    params = {}
    for name, instrs in kept.items():
        side = instr.params[name]
        inputs = tuple(_chosen(side.inputs, used))
        kept_outs = tuple(_chosen(side.outputs, needed))
        narrow = Tape(inputs, tuple(instrs), kept_outs, side.avals, side.name)
        params[name] = renumbered(narrow, instrs)
    args = (instr.args[0], *_chosen(instr.args[1:], used))
    return Instr(branch, args, params, tuple(_chosen(instr.outs, needed)), instr.source)


def _chosen(values: Sequence[int], flags: Sequence[bool]) -> list[int]:
    return [value for value, flag in zip(values, flags, strict=True) if flag]


def renumbered(tape: Tape, instrs: Sequence[Instr]) -> Tape:
    """The tape with these instrs instead of its own, refs numbered from 0."""
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
