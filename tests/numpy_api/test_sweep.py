"""Every entry of the table of NumPy's functions, with drawn operands and options."""

from __future__ import annotations

import contextlib
import os
import warnings
import zlib

import numpy as np
import pytest

from tests.numpy_api import sweep
from tests.numpy_api.texts import CONSTANT, SMOOTH
from tracejit.errors import UnsupportedError

#: How often each text is drawn; `make test-long` draws more.
ROUNDS = int(os.environ.get("TRACEJIT_SWEEP_ROUNDS", "1"))
OTHERS = ("f4", "i8", "i4", "u2", "?")


#: Refused with integers: C's division, and powers that may overflow.
FLOATS_ONLY = ("np.reciprocal", "np.fmod", "np.pow")


def generators(text, salt):
    """As many generators as rounds, different for every text, equal in every run."""
    start = zlib.crc32(text.encode())
    return [np.random.default_rng([start, salt, k]) for k in range(ROUNDS)]


@pytest.mark.parametrize("text", SMOOTH)
def test_values_and_gradients(text):
    for rng in generators(text, 0):
        case = sweep.draw(text, rng)
        sweep.compare(case)
        sweep.differentiate(case)


@pytest.mark.parametrize("text", CONSTANT)
def test_values_without_gradient(text):
    for rng in generators(text, 0):
        case = sweep.draw(text, rng)
        sweep.compare(case)
        found = sweep.gradients(case)
        assert found is None or all(g is None for g in found[0])


@pytest.mark.parametrize("text", SMOOTH + CONSTANT)
def test_other_dtypes(text):
    for rng in generators(text, 1):
        chosen = OTHERS if ROUNDS > 1 else ["f4", rng.choice(OTHERS[1:])]
        for dtype in chosen:
            integers = dtype[0] in "iu" and sweep.head(text).startswith(FLOATS_ONLY)
            case = sweep.draw(text, rng, dtype)
            check_dtype(case, refusable=dtype == "?" or integers)


def check_dtype(case, refusable):
    """As NumPy has it, or NumPy's own error; arithmetic of bools may be refused."""
    try:
        sweep.plain(case)
    except Exception as error:
        raises_too(case, type(error))
        return
    with (
        contextlib.suppress(UnsupportedError) if refusable else contextlib.nullcontext()
    ):
        sweep.compare(case)


def raises_too(case, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((kind, UnsupportedError)):
            sweep.record(case.function, *case.arrays)
