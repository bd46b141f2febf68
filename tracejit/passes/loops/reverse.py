"""vjp of a loop: a loop the other way round that carries cotangents.

    loop(c, s0, x):                        loop(c, stack of s, x, ct of y), reversed:
      s, y = body(i, c, s, x)       ->       d, dc, dx = vjp of body(..., ct, ct of y)
    -> s, stack of y                         ct = d;  sum of dc += dc;  stack dx

1. Only carries that a derivative flows through and that have a cotangent in some
   iteration are carried back: a fixed point, found by differentiating the body again
   until no further carry gets one.
2. A cotangent that is `masked` in one iteration counts as masked in all.
3. Where only the run tells how many iterations there are, no other has given rows to
   the cotangents of the xs; these rows are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from ...avals import is_float
from ...ops.logic import lt, select
from ...ops.rows import zeros
from ...ops.structural import broadcast_to, iota, reshape
from ...tape import Builder, Instr, Ref
from .activity import Operands, loop_activity, operands, results
from .residuals import Carried, Scratch, Second, count_of, emit_second

__all__ = ["Cotangent", "pull_loop"]


class Cotangent(NamedTuple):
    """A cotangent, and whether its zeros are absolute (see `vjp`)."""

    ref: Ref
    masked: bool


#: Differentiates what stands on a builder: (builder, outs, their cotangents, wrt).
Pull = Callable[
    [Builder, Sequence[Ref], Sequence[Cotangent | None], Sequence[Ref]],
    list[Cotangent | None],
]


def pull_loop(
    builder: Builder,
    instr: Instr,
    cts: Sequence[Cotangent | None],
    active: Sequence[bool],
    pull: Pull,
) -> list[Cotangent | None]:
    """The cotangents of a loop's operands.

    Args:
        builder: holds `instr`, which may be extended by further outputs.
        cts: one per output of the loop.
        active: for each operand whether its cotangent is asked for.
        pull: the vjp pass, for the body.
    """
    params = instr.params
    moving = loop_activity(params, active)
    state, rows = results(
        params, [ct if flag else None for ct, flag in zip(cts, moving, strict=True)]
    )
    wanted = operands(params, active)._replace(carries=moving[: params["carries"]])
    masks = {j: ct.masked for j, ct in enumerate(state) if ct is not None}
    while True:
        body = _Body(params, masks, rows, wanted, pull)
        more = {
            j: ct.masked or masks.get(j, False)
            for j, ct in enumerate(body.found.carries)
            if ct is not None
        }
        if more.items() <= masks.items():
            break
        masks |= more
    found = body.emit(builder, instr, state, rows, masks)
    return [ct if flag else None for ct, flag in zip(found, active, strict=True)]


class _Body:
    """The body, differentiated for the cotangents of some carries and rows.

    Attributes:
        scratch: the body and its derivative.
        state, rows: the cotangents that come in, by number of the carry or row.
        found: the cotangents of the body's inputs.
    """

    def __init__(
        self,
        params: dict[str, Any],
        masks: dict[int, bool],
        row_cts: Sequence[Cotangent | None],
        wanted: Operands,
        pull: Pull,
    ) -> None:
        self.scratch = scratch = Scratch(params)
        new = scratch.builder.input
        self.state = {
            j: Cotangent(new(scratch.carries[j].aval), masks[j]) for j in sorted(masks)
        }
        self.rows = {
            k: Cotangent(new(scratch.rows[k].aval), ct.masked)
            for k, ct in enumerate(row_cts)
            if ct is not None
        }
        outs = [scratch.state[j] for j in self.state]
        outs += [scratch.rows[k] for k in self.rows]
        inputs = [*scratch.consts, *scratch.carries, *scratch.xs]
        asked = [
            flag and is_float(x.aval)
            for x, flag in zip(
                inputs, [f for part in wanted for f in part], strict=True
            )
        ]
        wrt = [x for x, flag in zip(inputs, asked, strict=True) if flag]
        cts = [*self.state.values(), *self.rows.values()]
        answers = iter(pull(scratch.builder, outs, cts, wrt))
        self.found = operands(params, [next(answers) if f else None for f in asked])

    def emit(
        self,
        builder: Builder,
        instr: Instr,
        state: Sequence[Cotangent | None],
        rows: Sequence[Cotangent | None],
        masks: dict[int, bool],
    ) -> list[Cotangent | None]:
        """Emit the loop back; returns a cotangent for each operand of `instr`."""
        scratch, found = self.scratch, self.found
        carries: list[Carried] = []
        for j, (before, _) in self.state.items():
            ct, start = found.carries[j], state[j]
            after = zeros(before) if ct is None else ct.ref
            begin = _zeros_on(builder, before) if start is None else start.ref
            carries.append(Carried(before, after, begin))
        for ct in found.consts:
            if ct is not None:
                before = scratch.builder.input(ct.ref.aval)
                begin = _zeros_on(builder, before)
                carries.append(Carried(before, before + ct.ref, begin))
        second = Second(
            consts=[],
            carries=carries,
            xs=[(ct.ref, _ref(rows[k])) for k, ct in self.rows.items()],
            rows=[ct.ref for ct in found.xs if ct is not None],
            reverse=not instr.params["reverse"],
            name=f"{scratch.builder.name}_vjp",
        )
        outs = iter(emit_second(builder, instr, scratch, second))
        back = {j: Cotangent(next(outs), masks[j]) for j in self.state}
        consts, xs = (
            [None if ct is None else Cotangent(next(outs), ct.masked) for ct in part]
            for part in (found.consts, found.xs)
        )
        count = count_of(instr)
        params = instr.params
        # Others have no xs but stacks, of which no further row is read, and may grow.
        if count is not None and params.get("most") == params["trip"]:
            run = builder.ref(count)
            xs = [ct and ct._replace(ref=_run_rows(ct.ref, run)) for ct in xs]
        return [*consts, *map(back.get, range(len(scratch.carries))), *xs]


def _run_rows(stack: Ref, count: Ref) -> Ref:
    """A stack with zeros in place of the rows that no iteration computed."""
    shape = stack.shape
    number: Ref = stack.builder.emit(
        iota, (), {"shape": shape[:1], "axis": 0, "dtype": count.dtype}
    )
    run = reshape(lt(number, count), shape=(shape[0], *[1] * (len(shape) - 1)))
    return cast(Ref, select(broadcast_to(run, shape=shape), stack, 0))


def _ref(ct: Cotangent | None) -> Ref:
    assert ct is not None
    return ct.ref


def _zeros_on(builder: Builder, like: Ref) -> Ref:
    """Zeros of a ref's aval on another builder."""
    return zeros(Ref(builder, -1, like.aval))
