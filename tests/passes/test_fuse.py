"""Fusion: the fused program means what the tape means, and has the loops it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.evaluate import evaluate
from tests.random_tapes import random_tape
from tracejit.interpret import interpret
from tracejit.passes.contract import contract
from tracejit.passes.fuse import fuse
from tracejit.tape import Tape


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
