"""Compiled kernels against the interpreter, on random tapes and random loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.passes.test_fuse import loop_tape
from tests.random_tapes import random_tape
from tracejit.interpret import interpret
from tracejit.kernel import compile_tape
from tracejit.ops.structural import broadcast_to
from tracejit.passes import optimise
from tracejit.passes.vjp import vjp
from tracejit.tape import Builder, Tape


def with_gradient(tape: Tape) -> Tape:
    """The tape with the gradient of its last output's sum among the outputs."""
    builder = Builder(tape.name)
    env = {r: builder.input(tape.avals[r]) for r in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    outs = [env[r] for r in tape.outputs]
    one = builder.const(1.0, np.dtype(np.float64))
    ct = one
    if outs[-1].shape:
        ct = broadcast_to(one, shape=outs[-1].shape)
    inputs = [env[r] for r in tape.inputs]
    cts = vjp(builder, [outs[-1]], [ct], inputs)
    return builder.finish([*outs, *[c for c in cts if c is not None]])


def agree(tape: Tape, arrays: list[np.ndarray]) -> None:
    tape = optimise(tape)
    expected = interpret(tape, arrays)
    leaves = [a if a.ndim else a.item() for a in map(np.asarray, arrays)]
    status, _, got = compile_tape(tape, []).run(*leaves)
    assert status == 0
    assert got is not None
    for mine, theirs in zip(got, expected, strict=True):
        assert np.shape(mine) == np.shape(theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        # libmvec and contraction: some ulp, of the size of the operands.
        scale = np.max(np.abs(theirs), initial=1.0)
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("seed", range(20))
def test_random_tapes_with_gradients(seed: int) -> None:
    tape, arrays = random_tape(seed)
    agree(with_gradient(tape), arrays)


@given(st.integers(1000, 10**9), st.integers(3, 30))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_tapes_of_any_length(seed: int, length: int) -> None:
    agree(*random_tape(seed, length))


@pytest.mark.parametrize("seed", range(12))
def test_random_loops_with_gradients(seed: int) -> None:
    tape, arrays = loop_tape(seed)
    agree(with_gradient(tape), arrays)
