"""Batching of a loop: one loop whose body handles the whole batch.

Carries that differ between the entries of the batch in some iteration get a batch axis
from the start: a fixed point.  The rows of what is run over keep their batch axis in
front, so the stacks are (trip, batch, ...) inside and (batch, trip, ...) outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...avals import Aval
from ...errors import UnsupportedError
from ...ops.loop import loop
from ...ops.structural import broadcast_to, transpose
from ...tape import Builder, Instr, Ref, Tape
from .activity import bound_parts, operands, results

__all__ = ["BatchedDecisionError", "batch_loop"]

#: The batching pass: (builder, instrs, env, batched) -> env, batched.
Batch = Callable[
    [Builder, Iterable[Instr], dict[int, Ref], set[int]],
    tuple[dict[int, Ref], set[int]],
]


class BatchedDecisionError(UnsupportedError):
    """Control flow depends on a value that differs between the entries of a batch."""


def batch_loop(
    builder: Builder,
    params: dict[str, Any],
    args: Sequence[Ref],
    flags: Sequence[bool],
    batch: Batch,
) -> tuple[list[Ref], list[bool]]:
    """Emit the batched loop: its outputs, and which of them have a batch axis."""
    size = next(a.shape[0] for a, flag in zip(args, flags, strict=True) if flag)
    given, which = operands(params, args), operands(params, flags)
    first_consts, first_carries = bound_parts(params)
    carried = which.carries
    while True:
        body, out_flags = _body(params, which._replace(carries=carried), size, batch)
        state_flags, row_flags = results(params, out_flags)
        if state_flags == carried:
            break
        carried = state_flags

    if any([*which.consts[:first_consts], *carried[:first_carries]]):
        raise BatchedDecisionError(
            "a loop whose number of iterations differs between the entries of a batch"
        )
    starts = [
        broadcast_to(s, shape=(size, *s.shape)) if now and not before else s
        for s, before, now in zip(given.carries, which.carries, carried, strict=True)
    ]
    xs = [
        _swapped(x) if flag else x for x, flag in zip(given.xs, which.xs, strict=True)
    ]
    outs = builder.emit(loop, [*given.consts, *starts, *xs], {**params, "body": body})
    state, stacks = results(params, outs)
    stacks = [
        _swapped(y) if flag else y for y, flag in zip(stacks, row_flags, strict=True)
    ]
    return [*state, *stacks], [*carried, *row_flags]


def _body(
    params: dict[str, Any], flags: Any, size: int, batch: Batch
) -> tuple[Tape, list[bool]]:
    """The batched body, and which of its outputs have a batch axis."""
    tape: Tape = params["body"]
    builder = Builder(tape.name)
    env, batched = {}, set()
    marks = [False, *flags.consts, *flags.carries, *flags.xs]
    for ref, flag in zip(tape.inputs, marks, strict=True):
        aval = tape.avals[ref]
        shape = (size, *aval.shape) if flag else aval.shape
        env[ref] = builder.input(Aval(shape, aval.dtype))
        if flag:
            batched.add(ref)
    env, batched = batch(builder, tape.instrs, env, batched)
    outs, found = [], []
    wanted = [*flags.carries, *[False] * (len(tape.outputs) - len(flags.carries))]
    for ref, forced in zip(tape.outputs, wanted, strict=True):
        out = env[ref]
        if forced and ref not in batched:
            out = broadcast_to(out, shape=(size, *out.shape))
        outs.append(out)
        found.append(forced or ref in batched)
    return builder.finish(outs), found


def _swapped(x: Ref) -> Ref:
    """The first two axes exchanged."""
    return transpose(x, perm=(1, 0, *range(2, x.ndim)))
