"""vjp and jvp of a branch: a branch of the derivatives of its sides.

    branch(p, x):                    branch(p, x, ct of y):
      yes: y = f(x)           ->       yes: ct of x = vjp of f(x, ct)
      no:  y = g(x)                    no:  ct of x = vjp of g(x, ct)

1. An operand that one side does not read has an absolute zero there: its cotangent is
   `masked`, so that what computed it in front of the branch makes no NaN of it.
2. A result without tangent on one side has zeros there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...avals import is_float
from ...tape import Builder, Instr, Ref
from ..loops.forward import Push
from ..loops.reverse import Cotangent, Pull
from .beside import SIDES, Side, emit_beside

__all__ = ["pull_branch", "push_branch"]


def pull_branch(
    builder: Builder,
    instr: Instr,
    cts: Sequence[Cotangent | None],
    active: Sequence[bool],
    pull: Pull,
) -> list[Cotangent | None]:
    """The cotangents of a branch's operands.

    Args:
        builder: holds `instr`, which may be extended by further results.
        cts: one per result of the branch.
        active: for each operand whether its cotangent is asked for.
        pull: the vjp pass, for the sides.
    """
    there = [ct for ct in cts if ct is not None]
    sides, masks = [], [False] * (len(instr.args) - 1)
    for name in SIDES:
        side = Side(instr.params[name])
        side.given = [side.builder.input(ct.ref.aval) for ct in there]
        given = iter(side.given)
        inner = [None if c is None else Cotangent(next(given), c.masked) for c in cts]
        asked = [
            flag and is_float(x.aval)
            for flag, x in zip(active[1:], side.inputs, strict=True)
        ]
        wrt = [x for x, flag in zip(side.inputs, asked, strict=True) if flag]
        answers = iter(pull(side.builder, side.outputs, inner, wrt))
        found = [next(answers) if flag else None for flag in asked]
        side.results = [None if ct is None else ct.ref for ct in found]
        masks = [
            m or ct is None or ct.masked for m, ct in zip(masks, found, strict=True)
        ]
        sides.append(side)
    outs = emit_beside(builder, instr, sides, [ct.ref for ct in there])
    both = zip(outs, masks, strict=True)
    return [None, *[None if r is None else Cotangent(r, m) for r, m in both]]


def push_branch(
    builder: Builder, instr: Instr, tangents: Sequence[Ref | None], push: Push
) -> list[Ref | None]:
    """The tangents of a branch's results.

    Args:
        builder: holds `instr`, which may be extended by further results.
        tangents: one per operand of the branch.
        push: the jvp pass, for the sides.
    """
    there = [t for t in tangents[1:] if t is not None]
    sides = []
    for name in SIDES:
        side = Side(instr.params[name])
        side.given = [side.builder.input(t.aval) for t in there]
        given = iter(side.given)
        inner = [None if t is None else next(given) for t in tangents[1:]]
        side.results = push(side.builder, side.inputs, inner, side.outputs)
        sides.append(side)
    return emit_beside(builder, instr, sides, there)
