"""Derivatives of rolled tapes are those of the unrolled ones, of second order, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.loop_checks import filled, opened
from tests.passes.test_reroll import program, record, trips
from tracejit.interpret import interpret, verify
from tracejit.passes.jvp import jvp
from tracejit.passes.reroll import reroll_tape
from tracejit.passes.vjp import vjp
from tracejit.tape import Tape

X, Y = np.linspace(-0.5, 0.8, 9), np.float64(0.3)


def twice(tape: Tape) -> Tape:
    """Value, gradient, the gradient's tangents, and the gradient of its sum.

    All by the first two inputs; two more inputs are their tangents.
    """
    builder, ins, (out,) = opened(tape)
    wrt = ins[:2]
    moves = [builder.input(x.aval) for x in wrt]
    one = builder.const(1.0, out.aval.dtype)
    slopes = filled(vjp(builder, [out], [one], wrt), wrt)
    forward = filled(jvp(builder, 0, wrt, moves, slopes), slopes)
    reverse = filled(vjp(builder, slopes, moves, wrt), wrt)
    return verify(builder.finish([out, *slopes, *forward, *reverse]))


def compare(fun: Any, seed: int) -> Tape:
    tape, values = record(fun, X, Y)
    rolled, tables = reroll_tape(tape)
    rng = np.random.default_rng(seed)
    moves = [rng.normal(size=9), np.float64(rng.normal())]
    found = interpret(twice(rolled), [*values, *tables, *moves])
    expected = interpret(twice(tape), [*values, *moves])
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)
    # The Hessian is symmetric: both ways give the same.
    for forward, reverse in zip(found[3:5], found[5:7], strict=True):
        np.testing.assert_allclose(forward, reverse, rtol=1e-7, atol=1e-9)
    return rolled


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_random_loops(seed: int) -> None:
    compare(program(seed), seed)


@pytest.mark.parametrize("join", [np.stack, np.concatenate, np.column_stack])
def test_what_is_collected(join: Any) -> None:
    def f(x: Any, y: Any) -> Any:
        rows = []
        for k in range(6):
            x = np.tanh(x * y + k)
            rows.append(x)
        return np.sum(join(rows) ** 2)

    assert trips(compare(f, 0)) == [6]


def test_what_is_carried_over_many_iterations() -> None:
    def f(x: Any, y: Any) -> Any:
        history = [x[k] for k in range(7)]
        for _ in range(12):
            history.append(np.sin(history[-7]) * y + history[-1] ** 2)
        return history[-1]

    assert trips(compare(f, 0)) == [12]
