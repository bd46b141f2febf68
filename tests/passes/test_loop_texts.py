# ruff: noqa: E501  (a loop's line is as long as it is)
"""Loops under every pass: texts before and after."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent

import numpy as np

from tests.passes.loop_checks import looped, pulled, pushed
from tracejit.avals import Aval
from tracejit.interpret import verify
from tracejit.passes.batching import batch
from tracejit.passes.simplify import simplify
from tracejit.tape import Builder
from tracejit.text import parse_tape

F8 = np.dtype("f8")


def test_vjp_golden():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
    )
    assert (
        repr(pulled(tape))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %3: f64[]):
          %2: f64[], %5: f64[5] = loop %0 %1 {trip=5, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[]):
              %3: f64[] = mul %1 %2
              %4: f64[] = sin %3
              return %4 %2
          %4: f64[] = 0.0
          %6: f64[], %7: f64[] = loop %0 %3 %4 %5 {trip=5, consts=1, carries=2, reverse=True}
            body: tape step_vjp(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %1 %4
              %6: f64[] = cos %5
              %7: f64[] = mul %2 %6
              %8: f64[] = mul %7 %4
              %9: f64[] = mul %7 %1
              %10: f64[] = add %3 %8
              return %9 %10
          return %2 %7 %6
        """).strip()
    )


def test_jvp_golden():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
    )
    assert (
        repr(pushed(tape))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %3: f64[], %4: f64[]):
          %2: f64[], %5: f64[5] = loop %0 %1 {trip=5, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[]):
              %3: f64[] = mul %1 %2
              %4: f64[] = sin %3
              return %4 %2
          %6: f64[] = loop %3 %0 %4 %5 {trip=5, consts=2, carries=1, reverse=False}
            body: tape step_jvp(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %2 %4
              %6: f64[] = mul %1 %4
              %7: f64[] = mul %3 %2
              %8: f64[] = add %6 %7
              %9: f64[] = cos %5
              %10: f64[] = mul %8 %9
              return %10
          return %2 %6
        """).strip()
    )


def test_batching_golden():
    """Only what differs gets a batch axis; a carry that comes to differ, from its start."""
    tape = parse_tape(
        dedent("""
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[9]):
          %4: f64[], %5: f64[], %6: f64[9] = loop %0 %1 %2 %3 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %1 %2
              %6: f64[] = mul %3 %4
              return %5 %6 %6
          return %4 %5 %6
        """)
    )
    builder = Builder("f")
    env = {r: builder.input(tape.avals[r]) for r in tape.inputs[:3]}
    env[3] = builder.input(Aval((8, 9), F8))
    env, marked = batch(builder, tape.instrs, env, {3})
    assert {r for r in tape.outputs if r in marked} == {5, 6}
    assert (
        repr(builder.finish([env[r] for r in tape.outputs]))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[8,9]):
          %4: f64[8] = broadcast_to %2 {shape=(8,)}
          %5: f64[9,8] = transpose %3 {perm=(1, 0)}
          %6: f64[], %7: f64[8], %8: f64[9,8] = loop %0 %1 %4 %5 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[8], %4: f64[8]):
              %5: f64[] = mul %1 %2
              %6: f64[8] = mul %3 %4
              return %5 %6 %6
          %9: f64[8,9] = transpose %8 {perm=(1, 0)}
          return %6 %7 %9
        """).strip()
    )


# --- simplify


def simplified(before: str, after: str, **firings: int) -> None:
    counts: Counter[str] = Counter()
    tape = verify(parse_tape(dedent(before)))
    simple = verify(simplify(tape, counts))
    assert repr(simple) == dedent(after).strip()
    assert repr(simplify(simple)) == repr(simple)
    for name, times in firings.items():
        assert counts[name.replace("_", "-")] == times, counts


def test_results_carries_and_operands_without_readers_go():
    simplified(
        """
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[9], %5: f64[9]):
          %6: f64[], %7: f64[], %8: f64[], %9: f64[9] = loop %0 %1 %2 %3 %4 %5 {trip=9, consts=1, carries=3, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[], %5: f64[], %6: f64[]):
              %7: f64[] = mul %2 %5
              %8: f64[] = sin %3
              %9: f64[] = add %8 %1
              %10: f64[] = add %4 %7
              return %7 %9 %10 %9
          return %8
        """,
        """
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[9], %5: f64[9]):
          %6: f64[], %7: f64[] = loop %1 %3 %4 {trip=9, consts=0, carries=2, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[]):
              %4: f64[] = mul %1 %3
              %5: f64[] = add %2 %4
              return %4 %5
          return %7
        """,
        loop_result=1,
        loop_operand=3,
    )


def test_what_does_not_change_leaves_the_loop():
    simplified(
        """
        tape f(%0: f64[3], %1: f64[], %2: f64[3]):
          %3: f64[], %4: f64[3], %5: f64[9,3] = loop %0 %1 %2 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[3], %2: f64[], %3: f64[3]):
              %4: f64[] = exp %2
              %5: f64[3] = mul %1 %4
              %6: f64[3] = mul %5 %3
              %7: f64[3] = add %1 %6
              return %2 %7 %5
          return %3 %4 %5
        """,
        """
        tape f(%0: f64[3], %1: f64[], %2: f64[3]):
          %3: f64[] = exp %1
          %4: f64[3] = mul %0 %3
          %5: f64[3] = loop %0 %4 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[3], %2: f64[3], %3: f64[3]):
              %4: f64[3] = mul %2 %3
              %5: f64[3] = add %1 %4
              return %5
          %6: f64[9,3] = broadcast_to %4 {shape=(9, 3)}
          return %1 %5 %6
        """,
        loop_invariant=2,
        loop_carry=1,
        loop_result=1,
    )


def test_a_carry_that_is_its_start_again_and_again():
    """Zero, say: what vjp carries where nothing flows."""
    simplified(
        """
        tape f(%0: f64[2], %1: f64[2]):
          %2: f64[] = 0.0
          %3: f64[2] = broadcast_to %2 {shape=(2,)}
          %4: f64[2], %5: f64[2], %6: f64[2] = loop %0 %1 %3 %3 {trip=9, consts=1, carries=3, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2], %4: f64[2]):
              %5: f64[2] = sin %2
              %6: f64[2] = add %5 %3
              %7: f64[2] = sub %6 %4
              %8: f64[] = 0.0
              %9: f64[2] = broadcast_to %8 {shape=(2,)}
              return %7 %9 %1
          return %4 %5
        """,
        """
        tape f(%0: f64[2], %1: f64[2]):
          %2: f64[] = 0.0
          %3: f64[2] = broadcast_to %2 {shape=(2,)}
          %4: f64[2], %5: f64[2] = loop %0 %1 %3 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2]):
              %4: f64[] = 0.0
              %5: f64[2] = sin %2
              %6: f64[2] = add %5 %4
              %7: f64[2] = sub %6 %3
              return %7 %1
          return %4 %3
        """,
    )


def test_constants_and_repeated_rows_come_inside_and_equal_operands_are_one():
    simplified(
        """
        tape f(%0: f64[2], %1: f64[2], %2: f64[9,2]):
          %3: f64[] = 1.0
          %4: f64[9,2] = broadcast_to %0 {shape=(9, 2)}
          %5: f64[2], %6: f64[9,2] = loop %3 %0 %1 %4 %2 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[2], %3: f64[2], %4: f64[2], %5: f64[2], %6: f64[2]):
              %7: f64[2] = mul %3 %1
              %8: f64[2] = add %7 %4
              %9: f64[2] = mul %8 %5
              %10: f64[2] = mul %9 %6
              %11: f64[2] = add %10 %2
              return %11 %6
          return %5 %6
        """,
        """
        tape f(%0: f64[2], %1: f64[2], %2: f64[9,2]):
          %3: f64[2] = loop %0 %1 %2 {trip=9, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2]):
              %4: f64[2] = add %2 %1
              %5: f64[2] = mul %4 %3
              %6: f64[2] = mul %5 %3
              %7: f64[2] = add %6 %1
              return %7
          return %3 %2
        """,
        times_one=1,
        loop_operand=3,
    )


def test_guards_stay_and_what_may_raise_stays_behind_them():
    text = """
        tape f(%0: f64[2,2], %1: f64[], %2: i64[]):
          %3: f64[] = loop %0 %1 {trip=9, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[2,2], %2: f64[]):
              %3: f64[] = 0.0
              %4: bool[] = gt %2 %3
              guard %4 is True -> exit 0
              %5: f64[2,2] = cholesky %1
              %6: f64[] = sum %5 {axes=(0, 1)}
              %7: f64[] = mul %6 %2
              return %7
          return %2
        """
    counts: Counter[str] = Counter()
    tape = simplify(parse_tape(dedent(text)), counts)
    (instr,) = tape.instrs
    names = [i.prim.name for i in instr.params["body"].instrs]
    assert names == "const gt guard cholesky sum mul".split()
    assert counts["loop-invariant"] == 0


def test_a_cheap_large_product_of_small_ones_stays_inside():
    text = """
        tape f(%0: f64[9,1], %1: f64[9], %2: f64[9,9]):
          %3: f64[9,9] = loop %0 %1 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[9,1], %2: f64[9], %3: f64[9,9]):
              %4: f64[9,9] = mul %1 %2
              %5: f64[9,9] = mul %3 %4
              return %5
          return %3"""
    simplified(text, dedent(text), loop_invariant=0)


def test_one_iteration_is_the_body():
    simplified(
        """
        tape f(%0: f64[], %1: f64[1,2]):
          %2: f64[], %3: f64[1] = loop %0 %1 {trip=1, consts=0, carries=1, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[2]):
              %3: f64[] = cast %0 {dtype=f64}
              %4: f64[] = sum %2 {axes=(0,)}
              %5: f64[] = mul %4 %1
              %6: f64[] = sub %5 %3
              return %6 %4
          return %2 %3
        """,
        """
        tape f(%0: f64[], %1: f64[1,2]):
          %2: f64[2] = reshape %1 {shape=(2,)}
          %3: f64[] = sum %2 {axes=(0,)}
          %4: f64[] = mul %3 %0
          %5: f64[1] = reshape %3 {shape=(1,)}
          return %4 %5
        """,
        loop_once=1,
    )


def test_equal_loops_are_one():
    text = """
      %{a}: f64[] = loop %0 %1 {{trip=9, consts=1, carries=1, reverse=False}}
        body: tape step(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = {prim} %1 %2
          return %3"""
    head = "tape f(%0: f64[], %1: f64[]):"

    def count(*prims: str) -> int:
        blocks = [text.format(a=k, prim=p) for k, p in enumerate(prims, 2)]
        last = f"\n  return {' '.join(f'%{k}' for k in range(2, 2 + len(prims)))}"
        return len(simplify(parse_tape(head + "".join(blocks) + last)).instrs)

    assert count("mul", "mul") == 1
    assert count("mul", "add") == 2
