"""Paths become one tape: which branches it has, and what they do."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.avals import Aval
from tracejit.interpret import GuardFailed, interpret, verify
from tracejit.passes.branches.paths import Path, Trees
from tracejit.tape import Builder, guard
from tracejit.text import parse_tape, print_tape

F64 = np.dtype(np.float64)

POSITIVE = """
tape f(%0: f64[]):
  %1: f64[] = 0.0
  %2: bool[] = gt %0 %1
  guard %2 is True -> exit 0
  %3: f64[] = sqrt %0
  return %3
"""
NEGATIVE = """
tape f(%0: f64[]):
  %1: f64[] = 0.0
  %2: bool[] = gt %0 %1
  guard %2 is False -> exit 0
  %3: f64[] = neg %0
  %4: f64[] = -1.0
  %5: bool[] = lt %0 %4
  guard %5 is True -> exit 1
  %6: f64[] = mul %3 %4
  return %6
"""
SMALL = """
tape f(%0: f64[]):
  %1: f64[] = 0.0
  %2: bool[] = gt %0 %1
  guard %2 is False -> exit 0
  %3: f64[] = neg %0
  %4: f64[] = -1.0
  %5: bool[] = lt %0 %4
  guard %5 is False -> exit 1
  return %3
"""
#: Not the same up to a guard: a tree of its own.
OTHER = """
tape f(%0: f64[]):
  %1: f64[] = 3.0
  %2: bool[] = lt %0 %1
  guard %2 is True -> exit 0
  %3: f64[] = exp %0
  return %3
"""


def trees_of(*texts):
    builder = Builder("outside")
    trees = Trees([Aval((), F64)], builder)
    added = []
    for text in texts:
        tape = parse_tape(text)
        added.append(
            trees.add(
                Path.of(
                    tape.instrs,
                    tape.inputs,
                    tape.outputs,
                    lambda ref: None,
                    lambda instr: instr.prim is guard,
                )
            )
        )
    return trees, added


def body_of(*texts, first=0):
    trees, _ = trees_of(*texts)
    body, outside, guards = trees.body("f", [F64], first)
    assert outside == []
    verify(body)
    return body, guards


def run(tape, x):
    return interpret(tape, [np.int64(0), np.float64(x)])[0]


def test_one_path_keeps_its_guard():
    body, guards = body_of(POSITIVE, first=5)
    assert print_tape(body) == (
        "tape f(%0: i64[], %1: f64[]):\n"
        "  %2: f64[] = 0.0\n"
        "  %3: bool[] = gt %1 %2\n"
        "  guard %3 is True -> exit 5\n"
        "  %4: f64[] = sqrt %1\n"
        "  return %4"
    )
    assert [g.params["exit"] for g in guards] == [0]


def test_paths_part_at_a_branch():
    body, guards = body_of(POSITIVE, NEGATIVE)
    assert run(body, 4.0) == 2.0
    assert run(body, -3.0) == -3.0
    with pytest.raises(GuardFailed) as caught:
        run(body, -0.5)
    assert caught.value.exit == 0
    assert caught.value.outcome is False
    assert len(guards) == 1
    assert [i.prim.name for i in body.instrs] == ["const", "gt", "branch"]


@pytest.mark.parametrize("turn", range(3))
def test_all_outcomes_leave_no_guard(turn):
    texts = [POSITIVE, NEGATIVE, SMALL]
    body, guards = body_of(*texts[turn:], *texts[:turn])
    assert guards == []
    assert [run(body, x) for x in (9.0, -2.0, -0.25)] == [3.0, -2.0, 0.25]


def test_a_path_comes_but_once():
    trees, added = trees_of(POSITIVE, NEGATIVE, POSITIVE, NEGATIVE)
    assert added == [True] * 4
    assert len(trees.roots) == 1


def test_another_tree_goes_on_where_the_first_knows_nothing():
    trees, added = trees_of(POSITIVE, OTHER)
    assert added == [True, False]
    assert len(trees.roots) == 2
    body, guards = body_of(POSITIVE, OTHER)
    assert run(body, 4.0) == 2.0
    assert run(body, -1.0) == np.exp(-1.0)
    assert len(guards) == 1
    swapped, _ = body_of(OTHER, POSITIVE)
    assert run(swapped, 4.0) == 2.0
    assert run(swapped, 1.0) == np.exp(1.0)


def test_integers_are_told_apart_one_by_one():
    def path(number):
        return f"""
        tape f(%0: f64[]):
          %1: i64[] = cast %0 {{dtype=i64}}
          guard %1 is {number} -> exit 0
          %2: f64[] = {number}.5
          %3: f64[] = mul %0 %2
          return %3
        """

    body, guards = body_of(path(1), path(4), path(7))
    assert [run(body, x) for x in (7.0, 1.0, 4.0)] == [7 * 7.5, 1.5, 18.0]
    with pytest.raises(GuardFailed) as caught:
        run(body, 2.0)
    assert caught.value.outcome == 2
    assert len(guards) == 1
