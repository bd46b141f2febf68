"""Loops in segments: the same, and memory for the root of the iterations."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.loop_checks import (
    agree,
    looped,
    loops_of,
    pulled,
    pushed,
    same,
    stacks,
)
from tests.random_loops import random_loop
from tracejit.avals import Aval
from tracejit.interpret import verify
from tracejit.passes.segments import checkpointed, is_checkpoint
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder

F8 = np.dtype("f8")


@pytest.mark.parametrize("seed", range(24))
def test_segments(seed: int) -> None:
    """The same in segments, left-over iterations and reversed loops included."""
    tape, arrays = random_loop(seed)
    builder = Builder("segments")
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        if instr.prim is P["loop"]:
            args = [env[a] for a in instr.args]
            outs = checkpointed(builder, args, instr.params, segment=1 + seed % 3)
            env.update(zip(instr.outs, outs, strict=True))
        else:
            builder.replay(instr, env)
    cut = verify(builder.finish([env[ref] for ref in tape.outputs]))
    same(cut, tape, arrays)
    same(pulled(cut), pulled(tape), arrays)
    same(pushed(cut), pushed(tape), arrays)
    agree(pulled(cut), arrays)


def test_memory_of_segments_grows_with_the_root():
    body = """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          %5: f64[] = tanh %4
          return %5
        """
    kept = {}
    for trip in (100, 10_000):
        tape = looped(body, "%0: f64[], %1: f64[]", trip)
        builder = Builder("f")
        args = [builder.input(tape.avals[r]) for r in tape.inputs]
        outs = checkpointed(builder, args, tape.instrs[0].params)
        joint = pulled(builder.finish(outs))
        inner = [stacks(i.params["body"]) for i in loops_of(joint)]
        kept[trip] = sum(stacks(joint)) + sum(map(sum, inner))
        assert sum(stacks(pulled(tape))) == 2 * trip
    assert kept[10_000] <= 11 * kept[100]
    assert kept[100] <= 30


def test_which_bodies_ask_for_segments():
    inner = Builder("step")
    inner.input(Aval((), np.dtype("i8")))
    s = inner.input(Aval((2,), F8))
    (z,) = inner.emit(P["checkpoint"], [P["sin"](s), s], {"rule": object(), "n": 1})
    assert is_checkpoint(inner.finish([z, s]))
    assert not is_checkpoint(inner.finish([P["cos"](z)]))
    assert not is_checkpoint(Builder("step").finish([]))
