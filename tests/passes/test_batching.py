"""Batching: golden texts, unbatched parts, errors."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from tracejit.avals import Aval
from tracejit.errors import UnsupportedError
from tracejit.interpret import verify
from tracejit.passes.batching import batch
from tracejit.tape import Builder
from tracejit.text import parse_tape


def batched(text, flags, size=8):
    tape = parse_tape(dedent(text))
    builder = Builder(tape.name)
    env, marked = {}, set()
    for ref, flag in zip(tape.inputs, flags, strict=True):
        aval = tape.avals[ref]
        shape = (size, *aval.shape) if flag else aval.shape
        env[ref] = builder.input(Aval(shape, aval.dtype))
        if flag:
            marked.add(ref)
    env, marked = batch(builder, tape.instrs, env, marked)
    return verify(builder.finish([env[r] for r in tape.outputs])), marked


def test_operands_of_lower_rank_are_lined_up():
    tape, marked = batched(
        """
        tape f(%0: f64[3], %1: f64[2,3], %2: f64[]):
          %3: f64[2,3] = mul %0 %1
          %4: f64[2,3] = add %3 %2
          %5: f64[2] = sum %4 {axes=(1,)}
          return %5
        """,
        [True, False, True],
    )
    assert (
        repr(tape)
        == dedent("""
        tape f(%0: f64[8,3], %1: f64[2,3], %2: f64[8]):
          %3: f64[8,1,3] = reshape %0 {shape=(8, 1, 3)}
          %4: f64[8,2,3] = mul %3 %1
          %5: f64[8,1,1] = reshape %2 {shape=(8, 1, 1)}
          %6: f64[8,2,3] = add %4 %5
          %7: f64[8,2] = sum %6 {axes=(2,)}
          return %7
        """).strip()
    )
    assert marked == {0, 2, 3, 4, 5}


def test_what_is_the_same_for_all_is_computed_once():
    tape, marked = batched(
        """
        tape f(%0: f64[3,3], %1: f64[3,1]):
          %2: f64[3,3] = exp %0
          %3: f64[3,1] = solve %2 %1
          return %3
        """,
        [False, True],
    )
    assert (
        repr(tape)
        == dedent("""
        tape f(%0: f64[3,3], %1: f64[8,3,1]):
          %2: f64[3,3] = exp %0
          %3: f64[3,8,1] = transpose %1 {perm=(1, 0, 2)}
          %4: f64[3,8] = reshape %3 {shape=(3, 8)}
          %5: f64[3,8] = solve %2 %4
          %6: f64[3,8,1] = reshape %5 {shape=(3, 8, 1)}
          %7: f64[8,3,1] = transpose %6 {perm=(1, 0, 2)}
          return %7
        """).strip()
    )
    assert 2 not in marked


def test_a_product_with_an_unbatched_matrix_is_one_product():
    tape, _ = batched(
        """
        tape f(%0: f64[3], %1: f64[3,4]):
          %2: f64[4] = dot %0 %1 {contract=((0,), (0,)), batch=((), ())}
          return %2
        """,
        [True, False],
    )
    assert [i.prim.name for i in tape.instrs] == ["dot"]
    assert tape.avals[-1] == Aval((8, 4), np.dtype("f8"))


GUARDED = """
    tape f(%0: f64[]):
      %1: f64[] = 0.0
      %2: bool[] = gt %0 %1
      guard %2 is True -> exit 0            ; model.py:13  if x > 0:
      return %0
    """


def test_a_guard_on_a_batched_value_is_an_error():
    with pytest.raises(UnsupportedError) as error:
        batched(GUARDED, [True])
    assert str(error.value) == (
        "model.py:13: Python code decides on a value that differs between"
        " the batch's entries. Write np.where(condition, a, b) instead of if."
    )


def test_a_guard_on_an_unbatched_value_stays():
    tape, marked = batched(GUARDED, [False])
    assert [i.prim.name for i in tape.instrs] == ["const", "gt", "guard"]
    assert marked == set()


def test_a_primitive_without_rule_says_so():
    with pytest.raises(UnsupportedError) as error:
        batched(
            """
            tape f(%0: bool[3]):
              %1: i64[2] = mask_indices %0 {count=2}
              return %1
            """,
            [True],
        )
    assert str(error.value) == (
        "mask_indices has no batching rule. Loop over the batch in Python instead."
    )


def test_the_arguments_are_not_changed():
    tape = parse_tape(dedent(GUARDED))
    env, marked = {}, set()
    builder = Builder()
    env[0] = builder.input(tape.avals[0])
    batch(builder, tape.instrs, env, marked)
    assert list(env) == [0]
