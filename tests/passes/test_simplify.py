"""Simplify: golden texts, every rule bit for bit, what must not be simplified."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent

import numpy as np
import pytest

from tests.random_tapes import random_tape
from tracejit.interpret import interpret, verify
from tracejit.passes.rules import RULES
from tracejit.passes.simplify import simplify
from tracejit.text import parse_tape, print_tape

#: Where rewrite rules of floats go wrong, and neighbours.
POINTS = [0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, np.inf, -np.inf, np.nan, 3.5]
SINGLES = [*POINTS[:4], 1e-45, -1e-45, *POINTS[6:]]


def bits(value):
    """The value's bytes, all NaNs being one."""
    value = np.array(value)
    if value.dtype.kind == "f":
        value[np.isnan(value)] = np.nan
    return value.shape, value.dtype, value.tobytes()


def inputs_of(tape):
    """All points in every operand, each against each."""
    found = []
    for i, ref in enumerate(tape.inputs):
        aval = tape.avals[ref]
        points = POINTS if aval.dtype == np.float64 else SINGLES
        shift = np.roll(points, 3 * i + 1 if aval.size > 10 else i)
        if aval.dtype.kind == "f":
            found.append(np.resize(shift, aval.shape).astype(aval.dtype))
        else:
            numbers = np.resize([0, 1, -1, 7], aval.shape)
            found.append(numbers.astype(aval.dtype))
    return found


#: rule -> before, after.  Inputs of 100 elements see all pairs of points.
GOLDEN = {
    "identity": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = copy %0
          %2: f64[10] = stop_gradient %1
          return %2
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "no-axes": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = max %0 {axes=()}
          return %1
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "same-shape": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = reshape %0 {shape=(10,)}
          %2: f64[10] = broadcast_to %1 {shape=(10,)}
          return %2
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "identity-permutation": (
        """
        tape f(%0: f64[5,2]):
          %1: f64[5,2] = transpose %0 {perm=(0, 1)}
          return %1
        """,
        """
        tape f(%0: f64[5,2]):
          return %0
        """,
    ),
    "whole-slice": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = slice %0 {start=(0,), size=(10,), step=(1,)}
          return %1
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "whole-unslice": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = unslice %0 {start=(0,), step=(1,), shape=(10,)}
          return %1
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "concatenate-one": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = concatenate %0 {axis=0}
          return %1
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "cast-same": (
        """
        tape f(%0: f32[10]):
          %1: f32[10] = cast %0 {dtype=f32}
          return %1
        """,
        """
        tape f(%0: f32[10]):
          return %0
        """,
    ),
    "cast-back": (
        """
        tape f(%0: f32[10]):
          %1: f64[10] = cast %0 {dtype=f64}
          %2: f32[10] = cast %1 {dtype=f32}
          return %2
        """,
        """
        tape f(%0: f32[10]):
          return %0
        """,
    ),
    "reshape-reshape": (
        """
        tape f(%0: f64[10]):
          %1: f64[5,2] = reshape %0 {shape=(5, 2)}
          %2: f64[2,5] = reshape %1 {shape=(2, 5)}
          return %2
        """,
        """
        tape f(%0: f64[10]):
          %1: f64[2,5] = reshape %0 {shape=(2, 5)}
          return %1
        """,
    ),
    "broadcast-broadcast": (
        """
        tape f(%0: f64[10]):
          %1: f64[2,10] = broadcast_to %0 {shape=(2, 10)}
          %2: f64[3,2,10] = broadcast_to %1 {shape=(3, 2, 10)}
          return %2
        """,
        """
        tape f(%0: f64[10]):
          %1: f64[3,2,10] = broadcast_to %0 {shape=(3, 2, 10)}
          return %1
        """,
    ),
    "transpose-transpose": (
        """
        tape f(%0: f64[5,2,1]):
          %1: f64[2,1,5] = transpose %0 {perm=(1, 2, 0)}
          %2: f64[1,2,5] = transpose %1 {perm=(1, 0, 2)}
          return %2
        """,
        """
        tape f(%0: f64[5,2,1]):
          %1: f64[1,2,5] = transpose %0 {perm=(2, 1, 0)}
          return %1
        """,
    ),
    "move-repeated": (
        """
        tape f(%0: f64[]):
          %1: f64[5,2] = broadcast_to %0 {shape=(5, 2)}
          %2: f64[10] = reshape %1 {shape=(10,)}
          %3: f64[4] = slice %2 {start=(1,), size=(4,), step=(2,)}
          return %3
        """,
        """
        tape f(%0: f64[]):
          %1: f64[4] = broadcast_to %0 {shape=(4,)}
          return %1
        """,
    ),
    "repeat-last": (
        """
        tape f(%0: f64[10], %1: f64[]):
          %2: f64[10] = broadcast_to %1 {shape=(10,)}
          %3: f64[10] = exp %2
          %4: f64[10] = mul %0 %3
          return %4
        """,
        """
        tape f(%0: f64[10], %1: f64[]):
          %2: f64[] = exp %1
          %3: f64[10] = mul %0 %2
          return %3
        """,
    ),
    "times-one": (
        """
        tape f(%0: f64[10], %1: f32[10]):
          %2: f64[] = 1.0
          %3: f64[10] = mul %0 %2
          %4: f64[10] = mul %2 %3
          %5: f32[] = 1.0
          %6: f32[10] = mul %5 %1
          return %4 %6
        """,
        """
        tape f(%0: f64[10], %1: f32[10]):
          return %0 %1
        """,
    ),
    "over-one": (
        """
        tape f(%0: f64[10]):
          %1: f64[] = 1.0
          %2: f64[10] = div %0 %1
          return %2
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "minus-zero": (
        """
        tape f(%0: f64[10], %1: i64[10]):
          %2: f64[] = 0.0
          %3: f64[10] = sub %0 %2
          %4: i64[] = 0
          %5: i64[10] = sub %1 %4
          return %3 %5
        """,
        """
        tape f(%0: f64[10], %1: i64[10]):
          return %0 %1
        """,
    ),
    "plus-negative-zero": (
        """
        tape f(%0: f64[10], %1: i64[10]):
          %2: f64[] = -0.0
          %3: f64[10] = add %0 %2
          %4: f64[10] = add %2 %3
          %5: i64[] = 0
          %6: i64[10] = add %1 %5
          return %4 %6
        """,
        """
        tape f(%0: f64[10], %1: i64[10]):
          return %0 %1
        """,
    ),
    "negate-twice": (
        """
        tape f(%0: f64[10]):
          %1: f64[10] = neg %0
          %2: f64[10] = neg %1
          return %2
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "plus-negated": (
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,1] = neg %1
          %3: f64[10,10] = add %0 %2
          %4: f64[10,10] = neg %0
          %5: f64[10,10] = add %4 %1
          return %3 %5
        """,
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,10] = sub %0 %1
          %3: f64[10,10] = sub %1 %0
          return %2 %3
        """,
    ),
    "minus-negated": (
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,1] = neg %1
          %3: f64[10,10] = sub %0 %2
          return %3
        """,
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,10] = add %0 %1
          return %2
        """,
    ),
    "product-of-negated": (
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,10] = neg %0
          %3: f64[10,1] = neg %1
          %4: f64[10,10] = mul %2 %3
          %5: f64[10,10] = div %2 %3
          return %4 %5
        """,
        """
        tape f(%0: f64[10,10], %1: f64[10,1]):
          %2: f64[10,10] = mul %0 %1
          %3: f64[10,10] = div %0 %1
          return %2 %3
        """,
    ),
    "power-two": (
        """
        tape f(%0: f64[10], %1: f32[10]):
          %2: f64[] = 2.0
          %3: f64[10] = pow %0 %2
          %4: f32[] = 2.0
          %5: f32[10] = pow %1 %4
          return %3 %5
        """,
        """
        tape f(%0: f64[10], %1: f32[10]):
          %2: f64[10] = square %0
          %3: f32[10] = square %1
          return %2 %3
        """,
    ),
    "power-one": (
        """
        tape f(%0: f64[10]):
          %1: f64[] = 1.0
          %2: f64[10] = pow %0 %1
          return %2
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
    "power-zero": (
        """
        tape f(%0: f64[10]):
          %1: f64[] = 0.0
          %2: f64[10] = pow %0 %1
          return %2
        """,
        """
        tape f(%0: f64[10]):
          %1: f64[] = 1.0
          %2: f64[10] = broadcast_to %1 {shape=(10,)}
          return %2
        """,
    ),
    "not-not": (
        """
        tape f(%0: bool[10]):
          %1: bool[10] = logical_not %0
          %2: bool[10] = logical_not %1
          return %2
        """,
        """
        tape f(%0: bool[10]):
          return %0
        """,
    ),
    "select-known": (
        """
        tape f(%0: f64[10], %1: f64[]):
          %2: bool[] = False
          %3: f64[10] = select %2 %0 %1
          return %3
        """,
        """
        tape f(%0: f64[10], %1: f64[]):
          %2: f64[10] = broadcast_to %1 {shape=(10,)}
          return %2
        """,
    ),
    "select-same": (
        """
        tape f(%0: bool[10], %1: f64[]):
          %2: f64[10] = select %0 %1 %1
          return %2
        """,
        """
        tape f(%0: bool[10], %1: f64[]):
          %2: f64[10] = broadcast_to %1 {shape=(10,)}
          return %2
        """,
    ),
    "select-not": (
        """
        tape f(%0: bool[10], %1: f64[10], %2: f64[]):
          %3: bool[10] = logical_not %0
          %4: f64[10] = select %3 %1 %2
          return %4
        """,
        """
        tape f(%0: bool[10], %1: f64[10], %2: f64[]):
          %3: f64[10] = select %0 %2 %1
          return %3
        """,
    ),
    "constant": (
        """
        tape f(%0: f64[10]):
          %1: f64[] = 2.0
          %2: f64[] = 3.0
          %3: f64[] = sub %1 %2
          %4: f64[10] = mul %0 %3
          return %4
        """,
        """
        tape f(%0: f64[10]):
          %1: f64[] = -1.0
          %2: f64[10] = mul %0 %1
          return %2
        """,
    ),
    "guard-known": (
        """
        tape f(%0: f64[10]):
          %1: bool[] = True
          guard %1 is True -> exit 0
          return %0
        """,
        """
        tape f(%0: f64[10]):
          return %0
        """,
    ),
}


def test_every_rule_has_a_golden_text():
    # `custom` needs a rule object: tests/ops/test_control.py.
    assert {r.name for r in RULES} - {"custom"} == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_rule(name):
    before, after = (dedent(text).strip() for text in GOLDEN[name])
    tape = verify(parse_tape(before))
    counts = Counter()
    simple = verify(simplify(tape, counts))
    assert print_tape(simple) == after
    assert counts[name] >= 1
    assert print_tape(tape) == before
    inputs = inputs_of(tape)
    pairs = zip(interpret(simple, inputs), interpret(tape, inputs), strict=True)
    for found, expected in pairs:
        assert bits(found) == bits(expected)


@pytest.mark.parametrize(
    "line",
    [
        "%2: f64[10] = mul %0 %1",
        "%2: f64[10] = add %0 %1",
        "%2: f64[10] = sub %0 %0",
        "%2: f64[10] = div %0 %0",
        "%2: f64[10] = mulz %0 %1",
        "%2: f64[10] = maximum %0 %0",
        "%2: f64[10] = sum %0 {axes=()}",
    ],
)
def test_what_changes_values_is_kept(line):
    """x*0, x+0, x-x, x/x and the like differ for inf, NaN or -0.0."""
    tape = parse_tape(
        f"tape f(%0: f64[10]):\n  %1: f64[] = 0.0\n  {line}\n  return %1 %2"
    )
    assert len(simplify(tape).instrs) == 2


# --- dead code and common subexpressions


def simplified(text):
    counts = Counter()
    return repr(verify(simplify(parse_tape(dedent(text)), counts))), counts


def test_dead_and_common():
    text, counts = simplified(
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = exp %0
          %3: f64[3] = mul %0 %1
          %4: f64[3] = mul %1 %0
          %5: f64[3] = sub %3 %1
          %6: f64[3] = sub %4 %1
          return %5 %6
        """
    )
    assert (
        text
        == dedent("""
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = mul %0 %1
          %3: f64[3] = sub %2 %1
          return %3 %3
        """).strip()
    )
    assert counts == {"dead": 1, "common": 2}


def test_params_distinguish():
    text, counts = simplified(
        """
        tape f(%0: f64[3,3]):
          %1: f64[3] = sum %0 {axes=(0,)}
          %2: f64[3] = sum %0 {axes=(1,)}
          %3: f64[] = 0.0
          %4: f64[] = -0.0
          %5: i64[] = 0
          %6: bool[] = False
          return %1 %2 %3 %4 %5 %6
        """
    )
    assert counts["common"] == 0
    assert "%4: f64[] = -0.0" in text


def test_order_matters_where_it_matters():
    _, counts = simplified(
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = sub %0 %1
          %3: f64[3] = sub %1 %0
          %4: f64[3] = maximum %0 %1
          %5: f64[3] = maximum %1 %0
          return %2 %3 %4 %5
        """
    )
    assert counts["common"] == 0


def test_guards_stay_in_order_with_what_they_need():
    text, _ = simplified(
        """
        tape f(%0: f64[], %1: i64[]):
          %2: f64[] = 1.0
          %3: bool[] = gt %0 %2
          guard %3 is True -> exit 0
          guard %1 is 3 -> exit 1
          guard %3 is True -> exit 2
          return %0
        """
    )
    assert (
        text
        == dedent("""
        tape f(%0: f64[], %1: i64[]):
          %2: f64[] = 1.0
          %3: bool[] = gt %0 %2
          guard %3 is True -> exit 0
          guard %1 is 3 -> exit 1
          guard %3 is True -> exit 2
          return %0
        """).strip()
    )


def test_a_guard_that_is_known_to_fail_stays():
    text, _ = simplified(
        """
        tape f(%0: f64[]):
          %1: bool[] = False
          guard %1 is True -> exit 0
          return %0
        """
    )
    assert "guard %1 is True -> exit 0" in text


def test_sources_are_kept():
    text, _ = simplified(
        """
        tape f(%0: f64[3]):
          %1: f64[] = 2.0                             ; model.py:7
          %2: f64[3] = pow %0 %1                      ; model.py:7
          return %2
        """
    )
    assert "; model.py:7" in text


@pytest.mark.parametrize("seed", range(40))
def test_random_tapes_keep_their_bits(seed):
    tape, arrays = random_tape(seed)
    simple = verify(simplify(tape))
    assert len(simple.instrs) <= len(tape.instrs)
    assert repr(simplify(simple)) == repr(simple)
    pairs = zip(interpret(simple, arrays), interpret(tape, arrays), strict=True)
    for found, expected in pairs:
        assert bits(found) == bits(expected)
