"""jvp of a loop: a second loop, of tangents, that runs beside the first.

    loop(c, s0, x):                        loop(c, c', stack of s, s0', x, x'):
      s, y = body(i, c, s, x)       ->       s', y' = jvp of body(i, c, s, x)
    -> s, stack of y                         -> s', stack of y'

Only carries that have a tangent in some iteration are carried: a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ops.rows import zeros
from ...tape import Builder, Instr, Ref
from .activity import operands, results
from .residuals import Carried, Scratch, Second, emit_second

__all__ = ["push_loop"]

#: Differentiates what stands on a builder: (builder, primals, tangents, outs).
Push = Callable[
    [Builder, Sequence[Ref], Sequence[Ref | None], Sequence[Ref]], list[Ref | None]
]


def push_loop(
    builder: Builder, instr: Instr, tangents: Sequence[Ref | None], push: Push
) -> list[Ref | None]:
    """The tangents of a loop's outputs.

    Args:
        builder: holds `instr`, which may be extended by further outputs.
        tangents: one per operand of the loop.
        push: the jvp pass, for the body.
    """
    params = instr.params
    given = operands(params, tangents)
    alive = {j for j, t in enumerate(given.carries) if t is not None}
    while True:
        scratch = Scratch(params)
        new = scratch.builder.input
        consts = [
            _input(scratch, *pair)
            for pair in zip(scratch.consts, given.consts, strict=True)
        ]
        carries = [
            new(s.aval) if j in alive else None for j, s in enumerate(scratch.carries)
        ]
        xs = [_input(scratch, *pair) for pair in zip(scratch.xs, given.xs, strict=True)]
        found = push(
            scratch.builder,
            [*scratch.consts, *scratch.carries, *scratch.xs],
            [*consts, *carries, *xs],
            [*scratch.state, *scratch.rows],
        )
        state, rows = results(params, found)
        more = {j for j, t in enumerate(state) if t is not None}
        if more <= alive:
            break
        alive |= more

    carried = []
    for j in sorted(alive):
        before, start, after = carries[j], given.carries[j], state[j]
        assert before is not None
        carried.append(
            Carried(
                before,
                zeros(before) if after is None else after,
                zeros(Ref(builder, -1, before.aval)) if start is None else start,
            )
        )
    second = Second(
        consts=_pairs(consts, given.consts),
        carries=carried,
        xs=_pairs(xs, given.xs),
        rows=[row for row in rows if row is not None],
        reverse=params["reverse"],
        name=f"{scratch.builder.name}_jvp",
    )
    outs = iter(emit_second(builder, instr, scratch, second))
    final = [next(outs) if j in alive else None for j in range(len(carries))]
    return [*final, *(None if row is None else next(outs) for row in rows)]


def _input(scratch: Scratch, like: Ref, tangent: Ref | None) -> Ref | None:
    return None if tangent is None else scratch.builder.input(like.aval)


def _pairs(
    inner: Sequence[Ref | None], outer: Sequence[Ref | None]
) -> list[tuple[Ref, Ref]]:
    both = zip(inner, outer, strict=True)
    return [(i, o) for i, o in both if i is not None and o is not None]
