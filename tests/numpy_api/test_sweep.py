"""Every entry of the table of NumPy's functions, with drawn operands and options.

`make test-long` draws each text thirty times, in all dtypes, and compiles all of them.
"""

from __future__ import annotations

import contextlib
import os
import warnings
import zlib

import numpy as np
import pytest

from tests.numpy_api import sweep
from tests.numpy_api.texts import CONSTANT, SMOOTH
from tracejit import grad, jit
from tracejit.errors import UnsupportedError

#: How often each text is drawn.
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


@pytest.mark.parametrize("form", [sweep.with_out, sweep.as_method])
def test_the_same_in_other_words(form):
    """Each text whose function takes `out=`, or is a method as well."""
    checked = 0
    for text in SMOOTH + CONSTANT:
        for rng in generators(text, 2):
            case = form(text, rng)
            if case is None:
                continue
            try:
                sweep.plain(case)
            except TypeError:
                continue  # a keyword that methods have not
            sweep.compare(case)
            checked += 1
    assert checked >= {sweep.with_out: 250, sweep.as_method: 50}[form] * ROUNDS


# --- compiled -------------------------------------------------------------------------

#: How many texts are compiled, chosen with a fixed seed; 0 stands for all of them.
COMPILED = int(os.environ.get("TRACEJIT_SWEEP_COMPILED", "24"))
CHOSEN = np.random.default_rng(4).permutation(SMOOTH)[: COMPILED or None].tolist()


@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", CHOSEN)
def test_kernels(text):
    """Value and gradient of a kernel against NumPy's value and the interpreter."""
    case = sweep.draw(text, np.random.default_rng(zlib.crc32(text.encode())))
    expected = sweep.flatten(case.function(*[a.copy() for a in case.arrays]))
    compiled = jit(case.function)
    for value, want in zip(
        sweep.flatten(compiled(*case.arrays)), expected, strict=True
    ):
        sweep.near(value, want, case.text)
    again = sweep.flatten(compiled(*case.arrays))
    for value, want in zip(again, expected, strict=True):
        sweep.near(value, want, case.text)
    found = sweep.gradients(case)
    floats = [i for i, a in enumerate(case.arrays) if a.dtype.kind == "f"]
    if found is None or any(np.any(np.isnan(v)) for v in expected):
        return

    def total(*arrays):
        leaves = sweep.flatten(case.function(*arrays))
        return sum(
            (leaf * sweep.weights_of(np.shape(leaf))).sum()
            for leaf in leaves
            if leaf.dtype.kind == "f"
        )

    gradients = grad(total, argnums=tuple(floats))(*case.arrays)
    for i, gradient in zip(floats, gradients, strict=True):
        want = found[0][i]
        want = np.zeros_like(case.arrays[i]) if want is None else want
        np.testing.assert_allclose(gradient, want, rtol=1e-7, atol=1e-7)


def test_how_much_is_compiled(capsys):
    with capsys.disabled():
        print(f"\n{len(CHOSEN)} of {len(SMOOTH)} texts compiled, {ROUNDS} rounds each")
    assert len(CHOSEN) == min(COMPILED or len(SMOOTH), len(SMOOTH))
