"""Batching of a branch.

If all entries of the batch take the same side, it is a branch of the batched sides.
If each entry has its own outcome, it is a loop over the entries with the branch in its
body.  A `select` between both sides would be wider code, but it would run both sides
for every entry: what raises or leaves on one side would do so for entries that do not
take it, and its infinities would come back as NaN in a derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...avals import Aval
from ...ops.branch import branch
from ...ops.loop import loop
from ...ops.structural import broadcast_to
from ...tape import Builder, Ref, Tape, has_guard
from ..loops.batching import Batch, BatchedDecisionError
from .beside import SIDES

__all__ = ["batch_branch"]


def batch_branch(
    builder: Builder,
    params: dict[str, Any],
    args: Sequence[Ref],
    flags: Sequence[bool],
    batch: Batch,
) -> tuple[list[Ref], list[bool]]:
    """Emit the batched branch: its results, and which of them have a batch axis."""
    size = next(a.shape[0] for a, flag in zip(args, flags, strict=True) if flag)
    if flags[0]:
        return _each(builder, params, args, flags, size)
    marks: list[bool] | None = None
    while True:
        sides, found = [], []
        for name in SIDES:
            tape, outs = _side(params[name], flags[1:], size, batch, marks)
            sides.append(tape)
            found.append(outs)
        both = [any(pair) for pair in zip(*found, strict=True)]
        if both == marks:
            break
        marks = both
    outs = builder.emit(branch, args, dict(zip(SIDES, sides, strict=True)))
    return list(outs), both


def _side(
    tape: Tape,
    flags: Sequence[bool],
    size: int,
    batch: Batch,
    marks: Sequence[bool] | None,
) -> tuple[Tape, list[bool]]:
    """A batched side, and which of its results have a batch axis."""
    builder = Builder(tape.name)
    env, batched = {}, set()
    for ref, flag in zip(tape.inputs, flags, strict=True):
        aval = tape.avals[ref]
        shape = (size, *aval.shape) if flag else aval.shape
        env[ref] = builder.input(Aval(shape, aval.dtype))
        if flag:
            batched.add(ref)
    env, batched = batch(builder, tape.instrs, env, batched)
    outs = []
    for k, ref in enumerate(tape.outputs):
        out = env[ref]
        if marks is not None and marks[k] and ref not in batched:
            out = broadcast_to(out, shape=(size, *out.shape))
        outs.append(out)
    found = [ref in batched for ref in tape.outputs]
    if marks is not None:
        found = [a or b for a, b in zip(found, marks, strict=True)]
    return builder.finish(outs), found


def _each(
    builder: Builder,
    params: dict[str, Any],
    args: Sequence[Ref],
    flags: Sequence[bool],
    size: int,
) -> tuple[list[Ref], list[bool]]:
    """A loop over the entries of the batch, each with its own outcome."""
    if any(has_guard(i) for name in SIDES for i in params[name].instrs):
        raise BatchedDecisionError(
            "Python code in a branch decides on a value that differs between the"
            " batch's entries"
        )
    inner = Builder("entry")
    counter = inner.input(Aval((), np.dtype(np.int64)))
    fixed = [a for a, flag in zip(args, flags, strict=True) if not flag]
    rows = [a for a, flag in zip(args, flags, strict=True) if flag]
    inputs = iter([inner.input(a.aval) for a in fixed])
    lines = iter([inner.input(Aval(a.shape[1:], a.dtype)) for a in rows])
    given = [next(lines) if flag else next(inputs) for flag in flags]
    body = inner.finish(inner.emit(branch, given, params))
    del counter
    outs = builder.emit(
        loop,
        [*fixed, *rows],
        {
            "body": body,
            "trip": size,
            "consts": len(fixed),
            "carries": 0,
            "reverse": False,
        },
    )
    return list(outs), [True] * len(outs)
