"""A loop in segments, which are computed again for the backward pass: O(sqrt T) memory.

    loop, T times:                 loop, S times:
      s = step(s)           ->       s0 = s
                                     loop, K times:  s = step(s)
                                     s = checkpoint s, s0

The reverse loop of this form keeps what was carried at the start of each of the S
segments, and runs a segment again, keeping what its K steps need, just before it goes
back through it.  With S and K about sqrt T, both are O(sqrt T), at the price of one
more forward pass.  What is left over of T is a loop of its own.

It is asked for by a body that is nothing but one `checkpoint`: a loop that applies a
checkpointed function.  The inner checkpoint has served then and goes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import isqrt
from typing import Any

import numpy as np

from ..avals import is_float
from ..ops.control import checkpoint
from ..ops.elementwise import add, mul
from ..ops.loop import loop
from ..ops.structural import concatenate, reshape, slice_
from ..tape import Builder, Instr, Ref, Tape, guard, inner_tapes
from ..text import body_text
from .loops.activity import is_dynamic, operands, results
from .vjp import vjp

__all__ = ["checkpointed", "is_checkpoint"]

_I64 = np.dtype(np.int64)


def is_checkpoint(body: Tape) -> bool:
    """Whether a loop's body is the application of one checkpointed function."""
    groups = [i for i in body.instrs if i.prim is checkpoint]
    if len(groups) != 1:
        return False
    given = {*body.inputs, *groups[0].outs}
    return given.issuperset(body.outputs)


def checkpointed(
    builder: Builder, args: Sequence[Ref], params: dict[str, Any], segment: int = 0
) -> tuple[Ref, ...]:
    """Emit a loop in segments.

    Args:
        args, params: those of the loop.
        segment: iterations in one segment; about the root of the trip count if 0.

    Returns:
        The loop's results.
    """
    trip, reverse = params["trip"], params["reverse"]
    size = segment or max(isqrt(trip), 1)
    count = trip // size
    if count < 2 or is_dynamic(params):
        return builder.emit(loop, args, params)
    done = count * size
    body = _without(params["body"], (checkpoint,))
    fixed, state, xs = operands(params, args)
    first = [_part(x, 0, done) for x in xs]
    first = [reshape(x, shape=(count, size, *x.shape[1:])) for x in first]
    rest = [_part(x, done, trip) for x in xs]

    inner = {**params, "body": _shifted(body), "consts": params["consts"] + 1}
    whole = _segment(params, inner, size, count)
    last = {**inner, "trip": trip - done}
    left: list[Ref] = []

    def run_rest(state: list[Ref]) -> list[Ref]:
        if trip == done:
            return state
        base = builder.const(done, _I64)
        outs = builder.emit(loop, [base, *fixed, *state, *rest], last)
        state, left[:] = results(params, outs)
        return state

    if reverse:
        state = run_rest(state)
    outs = builder.emit(loop, [*fixed, *state, *first], whole)
    state, stacks = results(params, outs)
    if not reverse:
        state = run_rest(state)
    flat = [reshape(y, shape=(done, *y.shape[2:])) for y in stacks]
    if left:
        flat = [concatenate(a, b, axis=0) for a, b in zip(flat, left, strict=True)]
    return (*state, *flat)


def _segment(
    params: dict[str, Any], inner: dict[str, Any], size: int, count: int
) -> dict[str, Any]:
    """The params of the loop over segments."""
    body: Tape = params["body"]
    builder = Builder(f"{body.name}_segment")
    number = builder.input(body.avals[body.inputs[0]])
    shapes = operands(params, [body.avals[ref] for ref in body.inputs[1:]])
    given = [builder.input(a) for a in (*shapes.consts, *shapes.carries)]
    rows = [type(a)((size, *a.shape), a.dtype) for a in shapes.xs]
    given += [builder.input(a) for a in rows]
    given.insert(0, mul(number, size))
    inner = {**inner, "trip": size}
    ys = builder.emit(loop, given, inner)
    rule = _SegmentRule(body.name, inner)
    outs = builder.emit(checkpoint, [*ys, *given], {"rule": rule, "n": len(ys)})
    return {**params, "body": builder.finish(outs), "trip": count}


class _SegmentRule:
    """Runs a segment again and goes back through that."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        self.name = name
        # The guards held the first time.
        self.params = {**params, "body": _without(params["body"], (guard,))}

    def __repr__(self) -> str:
        return self.name

    def alike(self) -> Hashable:
        """Equal for rules that do the same."""
        plain = [(k, v) for k, v in self.params.items() if k != "body"]
        return self.name, body_text(self.params["body"]), *plain

    def vjp(
        self, builder: Builder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        start = len(builder.instrs)
        outs = builder.emit(loop, xs, self.params)
        moving = [x for x in xs if is_float(x.aval)]
        found = iter(vjp(builder, outs, cts, moving, start))
        return [next(found) if is_float(x.aval) else None for x in xs]


def _shifted(body: Tape) -> Tape:
    """The body with a further constant in front, which is added to its counter."""
    builder = Builder(body.name)
    counter = builder.input(body.avals[body.inputs[0]])
    base = builder.input(counter.aval)
    rest = [builder.input(body.avals[ref]) for ref in body.inputs[1:]]
    env = dict(zip(body.inputs, [add(counter, base), *rest], strict=True))
    for instr in body.instrs:
        builder.replay(instr, env)
    return builder.finish([env[ref] for ref in body.outputs])


def _without(tape: Tape, prims: tuple[Any, ...]) -> Tape:
    """The tape without its guards or checkpoints, those of inner loops included."""
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        if inner_tapes(instr):
            inner = {
                key: _without(value, prims) if isinstance(value, Tape) else value
                for key, value in instr.params.items()
            }
            instr = Instr(instr.prim, instr.args, inner, instr.outs, instr.source)
        if instr.prim in prims:
            env.update(zip(instr.outs, [env[a] for a in instr.args], strict=False))
        else:
            builder.replay(instr, env)
    return builder.finish([env[ref] for ref in tape.outputs])


def _part(x: Ref, lo: int, hi: int) -> Ref:
    ones = (1,) * x.ndim
    start = (lo, *[0] * (x.ndim - 1))
    return slice_(x, start=start, size=(hi - lo, *x.shape[1:]), step=ones)
