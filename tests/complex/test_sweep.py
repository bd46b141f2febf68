"""The sweep over every row that takes complex numbers.

Values against NumPy, derivatives against differences in random complex directions,
both modes against each other, batches against a Python loop, and the tape of pairs
that is compiled against the tape that it stands for.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops import sweep_checks as checks
from tracejit.interpret import interpret, verify
from tracejit.kernel import compile_tape
from tracejit.ops.elementwise import exp
from tracejit.passes.split import split
from tracejit.primitive import PRIMITIVES
from tracejit.tape import Builder

from .cases import cases

CASES = [pytest.param(*case[1:], id=case[0]) for case in cases()]
WIDE = [c for c in CASES if all(a.dtype != np.complex64 for a in c.values[1])]
SMOOTH = [
    c
    for c in WIDE
    if c.values[0].differentiable and c.values[2].get("dtype") != np.float32
]
#: The largest error of a compiled function, in units of eps times the modulus.
ULPS = 16


def test_the_sweep_is_wide():
    names = {case.values[0].name for case in CASES}
    assert len(names) >= 60
    for name in "add div exp log sqrt pow arcsin modulus conj dot sum prod".split():
        assert name in names


@pytest.mark.parametrize(("prim", "arrays", "params"), CASES)
def test_value(prim, arrays, params):
    checks.check_value(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), SMOOTH)
def test_first_order(prim, arrays, params):
    checks.check_first_order(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), SMOOTH)
def test_second_order(prim, arrays, params):
    checks.check_second_order(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), CASES)
def test_batch(prim, arrays, params):
    checks.check_batch(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), SMOOTH)
def test_batched_vjp(prim, arrays, params):
    checks.check_batched_vjp(prim, arrays, params)


def as_pairs(array):
    """A complex array as it lies in memory: its parts along a last axis."""
    array = np.asarray(array)
    if array.dtype.kind != "c":
        return array[()]
    return np.stack([array.real, array.imag], -1)


def close(actual, expected, ulps=ULPS):
    """Equal up to `ulps` times eps, relative to the largest modulus."""
    expected = np.asarray(expected)
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, expected)
        return
    eps = np.finfo(expected.dtype).eps
    scale = 1.0 + np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ulps * eps * scale)


@pytest.mark.parametrize(("prim", "arrays", "params"), CASES)
def test_pairs(prim, arrays, params):
    """The split tape holds no complex value and computes the same."""
    case = checks.Case(prim, arrays, params)
    tape = case.finish(case.outs)
    real = split(tape)
    verify(real.tape)
    assert not any(aval.dtype.kind == "c" for aval in real.tape.avals)
    answers = interpret(real.tape, [as_pairs(a) for a in arrays])
    for answer, expected in zip(answers, interpret(tape, arrays), strict=True):
        close(answer, as_pairs(expected))


@pytest.mark.parametrize("name", sorted({c.values[0].name for c in CASES}))
def test_compiled(name):
    """One kernel for all samples of a row; bits of NaN aside, the interpreter's."""
    builder, inputs, outs = Builder(name), [], []
    for case in CASES:
        prim, arrays, params = case.values
        if prim.name == name:
            refs = [builder.input(checks.aval_of(a)) for a in arrays]
            out = builder.emit(prim, refs, params)
            inputs += arrays
            outs += out if isinstance(out, tuple) else [out]
    tape = builder.finish(outs)
    given = [np.ascontiguousarray(a) if a.ndim else a[()] for a in inputs]
    answers = compile_tape(tape, []).call(*given)
    for answer, expected in zip(answers, interpret(tape, inputs), strict=True):
        assert answer.dtype == expected.dtype
        assert answer.shape == expected.shape
        close(answer, expected)


def test_a_conjugate_in_a_transpose_is_caught():
    """The sweep sees a rule that conjugates."""
    import dataclasses

    conj = PRIMITIVES["conj"]
    wrong = dataclasses.replace(exp, partials=lambda y, a: (conj(y),))
    with pytest.raises(AssertionError):
        checks.check_first_order(wrong, [np.array([0.3 + 0.4j])], {})
