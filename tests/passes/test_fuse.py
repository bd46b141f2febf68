"""Fusion: the fused program means what the tape means, and has the loops it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.evaluate import evaluate
from tests.random_tapes import random_tape
from tracejit.avals import Aval
from tracejit.interpret import interpret
from tracejit.passes.contract import contract
from tracejit.passes.fuse import fuse
from tracejit.primitive import PRIMITIVES
from tracejit.tape import Builder, Ref, Tape

P = PRIMITIVES


def agree(tape: Tape, arrays: list[np.ndarray]) -> None:
    expected = interpret(tape, arrays)
    got = evaluate(fuse(contract(tape)), arrays)
    for mine, theirs in zip(got, expected, strict=True):
        assert np.shape(mine) == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(150))
def test_random_tapes(seed: int) -> None:
    agree(*random_tape(seed))


@given(st.integers(1000, 10**9), st.integers(3, 40))
@settings(max_examples=60, deadline=None)
def test_random_tapes_of_any_length(seed: int, length: int) -> None:
    agree(*random_tape(seed, length))


def loop_tape(seed: int) -> tuple[Tape, list[np.ndarray]]:
    """A loop over a random body, with scalar and array state, rows and stacks."""
    rng = np.random.default_rng(seed)
    body, arrays = random_tape(seed, int(rng.integers(3, 16)))
    avals = [body.avals[r] for r in body.inputs]
    trip = int(rng.choice([1, 3, 12]))
    builder = Builder("looped")
    inner = Builder("body")
    inner.input(Aval((), np.dtype(np.int64)))
    roles = rng.permutation(len(avals))
    fixed, state = list(roles[:2]), list(roles[2:4])
    xs = list(roles[4:])
    refs, outer, given = {}, {}, []
    for k in [*fixed, *state, *xs]:
        refs[k] = inner.input(avals[k])
        shape = (trip, *avals[k].shape) if k in xs else avals[k].shape
        outer[k] = builder.input(Aval(shape, avals[k].dtype))
        given.append(rng.uniform(-1, 1, size=shape) if k in xs else arrays[k])
    env = {r: refs[k] for k, r in enumerate(body.inputs)}
    for instr in body.instrs:
        inner.replay(instr, env)
    outs = [env[r] for r in body.outputs]
    # New state: old state moved by what the body made.
    mean = sum_of(outs[0])
    new = [P["tanh"](refs[k] + mean) for k in state]
    if rng.random() < 0.3 and avals[state[0]] == avals[state[1]]:
        new = new[::-1]
    ys = [outs[-1], refs[xs[0]], outs[-1]]
    tape = inner.finish([*new, *ys])
    results = builder.emit(
        PRIMITIVES["loop"],
        [outer[k] for k in [*fixed, *state, *xs]],
        {
            "body": tape,
            "trip": trip,
            "consts": 2,
            "carries": 2,
            "reverse": bool(rng.random() < 0.5),
        },
    )
    return builder.finish([*results, sum_of(results[0])]), given


def sum_of(x: Ref) -> Ref:
    return P["sum"](x, axes=tuple(range(x.ndim))) * (0.5 / max(x.aval.size, 1))


@pytest.mark.parametrize("seed", range(80))
def test_loops_over_random_bodies(seed: int) -> None:
    agree(*loop_tape(seed))
