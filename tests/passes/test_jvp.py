"""Forward mode: golden texts, absent tangents."""

from __future__ import annotations

from textwrap import dedent

import numpy as np

from tracejit.avals import Aval
from tracejit.interpret import verify
from tracejit.ops import elementwise as ew
from tracejit.ops.logic import maximum
from tracejit.passes.jvp import jvp
from tracejit.tape import Builder
from tracejit.text import parse_tape

F8 = np.dtype("f8")


def golden(before, after):
    """The last input is the first input's tangent."""
    tape = parse_tape(dedent(before))
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    ins, outs = [env[r] for r in tape.inputs], [env[r] for r in tape.outputs]
    tangents = jvp(builder, 0, ins[:1], ins[-1:], outs)
    pushed = verify(builder.finish([*outs, *[t for t in tangents if t is not None]]))
    assert repr(pushed) == dedent(after).strip()


def test_chain():
    golden(
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = sin %0
          %3: f64[3] = neg %2
          return %3
        """,
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = sin %0
          %3: f64[3] = neg %2
          %4: f64[3] = cos %0
          %5: f64[3] = mul %1 %4
          %6: f64[3] = neg %5
          return %3 %6
        """,
    )


def test_a_tangent_has_the_shape_of_its_primal():
    golden(
        """
        tape f(%0: f64[], %1: f64[3], %2: f64[]):
          %3: f64[3] = add %0 %1
          return %3
        """,
        """
        tape f(%0: f64[], %1: f64[3], %2: f64[]):
          %3: f64[3] = add %0 %1
          %4: f64[3] = broadcast_to %2 {shape=(3,)}
          return %3 %4
        """,
    )


def test_products_by_each_operand():
    golden(
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[] = dot %0 %0 {contract=((0,), (0,)), batch=((), ())}
          return %2
        """,
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[] = dot %0 %0 {contract=((0,), (0,)), batch=((), ())}
          %3: f64[] = dot %1 %0 {contract=((0,), (0,)), batch=((), ())}
          %4: f64[] = dot %0 %1 {contract=((0,), (0,)), batch=((), ())}
          %5: f64[] = add %3 %4
          return %2 %5
        """,
    )


def test_absent_tangents_cost_nothing():
    builder = Builder()
    x, y = (builder.input(Aval((3,), F8)) for _ in range(2))
    z = ew.exp(y)
    w = maximum(x, z)
    start = len(builder.instrs)
    assert jvp(builder, 0, [x], [None], [z, w]) == [None, None]
    assert len(builder.instrs) == start
    (t,) = jvp(builder, 0, [x], [builder.input(x.aval)], [z])
    assert t is None
    assert len(builder.instrs) == start


def test_what_the_outputs_do_not_need_is_not_pushed():
    builder = Builder()
    x = builder.input(Aval((3,), F8))
    ew.sin(x)
    y = ew.exp(x)
    start = len(builder.instrs)
    jvp(builder, 0, [x], [builder.input(x.aval)], [y])
    assert [i.prim.name for i in builder.instrs[start:]] == ["mul"]
