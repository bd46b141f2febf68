"""Simplify, for branches: what need not be in a branch, or not be decided at all.

    %3 = 2.0                           %5 = branch %4 %1
    %5, %6 = branch %4 %1 %3             yes: %1 = 2.0; %2 = mul %0 %1; return %2
      yes: return mul %0 %1, %0   ->     no:  return %0
      no:  return %0, %0               ...%1 in place of %6

1. An outcome that is known: the side itself.  One that is negated: the sides change
   places.  Sides that do the same: one of them.
2. A constant operand comes to be inside, and so does the outcome where a side asks for
   it again; of equal operands one is left, of equal results too.
3. A result that both sides take from one operand, or that is one constant, is no result
   of the branch.

Nothing is taken out of a side: it would be computed for the other one too.  It ends
because each change leaves fewer operands, results or instrs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...ops.branch import branch
from ...ops.logic import logical_not
from ...tape import Builder, Instr, Ref, Tape, const
from ...text import print_tape
from ..loops.reduce import Rewriter
from .beside import SIDES

__all__ = ["reduce_branch"]


def reduce_branch(
    rewriter: Rewriter,
    args: Sequence[Ref],
    params: dict[str, Any],
    simplify: Callable[[Tape], Tape],
) -> tuple[Ref, ...]:
    """Emit the simplest equal of a branch.

    Args:
        simplify: the pass, for the sides.

    Returns:
        A ref for each result of the branch; it may have been made elsewhere.
    """
    pred, *given = args
    maker = rewriter.made.get(pred.index)
    if maker is not None and maker.prim is const:
        rewriter.counts["branch-known"] += 1
        return _inline(rewriter, given, params["yes" if _value(maker) else "no"])
    if maker is not None and maker.prim is logical_not:
        rewriter.counts["branch-not"] += 1
        turned = {"yes": params["no"], "no": params["yes"]}
        inner = pred.builder.ref(maker.args[0])
        return reduce_branch(rewriter, [inner, *given], turned, simplify)
    yes = simplify(_inside(rewriter, pred, given, params["yes"], True))
    no = simplify(_inside(rewriter, pred, given, params["no"], False))
    kept = _operands(rewriter, pred, given)
    if _text(yes) == _text(no):
        rewriter.counts["branch-alike"] += 1
        return _inline(rewriter, kept, yes)
    return _emit(rewriter, pred, kept, yes, no)


def _value(maker: Instr) -> Any:
    return maker.params["value"]


def _text(tape: Tape) -> str:
    return print_tape(tape, sources=False).partition("(")[2]


def _inline(rewriter: Rewriter, given: Sequence[Ref], side: Tape) -> tuple[Ref, ...]:
    env = dict(zip(side.inputs, given, strict=True))
    for instr in side.instrs:
        out = rewriter.emit(instr.prim, [env[a] for a in instr.args], instr.params)
        outs = (out,) if isinstance(out, Ref) else tuple(out)
        env.update(zip(instr.outs, outs, strict=True))
    return tuple(env[ref] for ref in side.outputs)


def _known(rewriter: Rewriter, pred: Ref, ref: Ref, outcome: bool) -> Any:
    """What an operand is where the branch has this outcome: a const's params, or None.

    It is known if it is a constant, the outcome itself or its negation.
    """
    maker = rewriter.made.get(ref.index)
    if maker is not None and maker.prim is const:
        return maker.params
    if ref.index == pred.index:
        return {"value": outcome, "dtype": pred.dtype}
    if maker is not None and maker.prim is logical_not and maker.args[0] == pred.index:
        return {"value": not outcome, "dtype": pred.dtype}
    return None


def _operands(rewriter: Rewriter, pred: Ref, given: Sequence[Ref]) -> list[Ref]:
    """The operands that stay: each once, and none that is known."""
    unknown = (r for r in given if _known(rewriter, pred, r, True) is None)
    found = {ref.index: ref for ref in unknown}
    rewriter.counts["branch-operand"] += len(given) - len(found)
    return list(found.values())


def _inside(
    rewriter: Rewriter, pred: Ref, given: Sequence[Ref], side: Tape, outcome: bool
) -> Tape:
    """The side over the operands that stay."""
    builder = Builder(side.name)
    inputs: dict[int, Ref] = {}
    consts: dict[int, Any] = {}
    for ref in given:
        params = _known(rewriter, pred, ref, outcome)
        if params is not None:
            consts[ref.index] = params
        elif ref.index not in inputs:
            inputs[ref.index] = builder.input(ref.aval)
    for index, params in consts.items():
        inputs[index] = builder.emit(const, (), params)
    env = {r: inputs[ref.index] for r, ref in zip(side.inputs, given, strict=True)}
    for instr in side.instrs:
        builder.copy(instr, env, side.avals)
    builder.source = None
    return builder.finish([env[ref] for ref in side.outputs])


def _emit(
    rewriter: Rewriter, pred: Ref, given: list[Ref], yes: Tape, no: Tape
) -> tuple[Ref, ...]:
    """The branch with each of its results once, and only those that it decides."""
    makers = [{out: i for i in side.instrs for out in i.outs} for side in (yes, no)]
    where = [{ref: k for k, ref in enumerate(side.inputs)} for side in (yes, no)]
    known: dict[int, Ref] = {}
    chosen: dict[tuple[int, int], int] = {}
    order: list[tuple[int, int] | None] = []
    for k, pair in enumerate(zip(yes.outputs, no.outputs, strict=True)):
        at = [inputs.get(ref) for inputs, ref in zip(where, pair, strict=True)]
        made = [maker.get(ref) for maker, ref in zip(makers, pair, strict=True)]
        if at[0] is not None and at[0] == at[1]:
            known[k] = given[at[0]]
        elif _same_constant(made):
            assert made[0] is not None
            known[k] = rewriter.emit(const, [], made[0].params)
        if k in known:
            order.append(None)
        else:
            chosen.setdefault(pair, len(chosen))
            order.append(pair)
    rewriter.counts["branch-result"] += len(order) - len(chosen)
    sides = {}
    for name, side, n in zip(SIDES, (yes, no), (0, 1), strict=True):
        results = tuple(pair[n] for pair in chosen)
        sides[name] = Tape(side.inputs, side.instrs, results, side.avals, side.name)
    outs: Any = ()
    if chosen or yes.instrs or no.instrs:
        outs = rewriter.unite(branch, [pred, *given], sides)
    return tuple(
        known[k] if pair is None else outs[chosen[pair]] for k, pair in enumerate(order)
    )


def _same_constant(made: Sequence[Instr | None]) -> bool:
    texts = {
        (repr(i.params["value"]), i.params["dtype"])
        for i in made
        if i is not None and i.prim is const
    }
    return len(texts) == 1 and all(i is not None and i.prim is const for i in made)
