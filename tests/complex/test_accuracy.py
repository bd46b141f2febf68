"""Compiled complex functions against NumPy's, at and away from delicate points."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import jit

#: Allowed error in units of eps times the modulus.
ULPS = 16
EPS = np.finfo(float).eps
rng = np.random.default_rng(20)


def numbers(spread, n=400):
    """Complex numbers of all directions, moduli over `spread` decades each way."""
    size = 10.0 ** rng.uniform(-spread, spread, size=n)
    return size * np.exp(1j * rng.uniform(-np.pi, np.pi, size=n))


UNARY = {
    np.exp: numbers(2),
    np.exp2: numbers(2),
    np.expm1: numbers(2),
    np.log: np.r_[numbers(100), numbers(1e-6), 1.0 + numbers(1) * 1e-9],
    np.log2: np.r_[numbers(100), numbers(1e-6)],
    np.log10: np.r_[numbers(100), numbers(1e-6)],
    np.sqrt: np.r_[numbers(150), numbers(0), numbers(2).real - 1e-300j],
    np.sin: numbers(2),
    np.cos: numbers(2),
    np.tan: numbers(2),
    np.sinh: numbers(2),
    np.cosh: numbers(2),
    np.tanh: numbers(2),
    np.arcsin: np.r_[numbers(100), numbers(2).real + 0j],
    np.arccos: np.r_[numbers(100), numbers(2).real + 0j],
    np.arctan: np.r_[numbers(100), numbers(1)],
    np.arcsinh: np.r_[numbers(100), 1j * numbers(2).real],
    np.arccosh: np.r_[numbers(100), numbers(2).real + 0j],
    np.arctanh: np.r_[numbers(100), numbers(1)],
    np.square: numbers(100),
    np.reciprocal: numbers(150),
    np.absolute: numbers(150),
    np.sign: numbers(150),
    np.angle: numbers(150),
    np.conjugate: numbers(150),
}


def apart(actual, expected):
    """The largest error in units of eps times the modulus."""
    known = np.isfinite(expected) & (expected != 0)
    error = np.abs(actual - expected)[known] / np.abs(expected)[known]
    return np.max(error, initial=0.0) / EPS


@pytest.mark.compiles
def test_against_numpy():
    """All functions in one kernel."""
    functions, operands = list(UNARY), list(UNARY.values())
    with np.errstate(all="ignore"):
        answers = jit(lambda xs: [f(x) for f, x in zip(functions, xs, strict=True)])(
            operands
        )
        for f, x, answer in zip(functions, operands, answers, strict=True):
            expected = f(x)
            assert answer.dtype == expected.dtype
            assert apart(answer, expected) <= ULPS, f
            assert np.array_equal(np.isnan(answer), np.isnan(expected)), f


@pytest.mark.compiles
def test_arithmetic_against_numpy():
    a, b, c = numbers(100), numbers(100), numbers(1)
    d = numbers(0.5)
    with np.errstate(all="ignore"):
        f = jit(lambda a, b, c, d: (a / b, a * b, a + b, c**d, c**3, c**-2, c**0))
        names = ("div", "mul", "add", "pow", "cube", "minus two", "zero")
        for name, answer, expected in zip(
            names, f(a, b, c, d), f.__wrapped__(a, b, c, d), strict=True
        ):
            # A power with complex exponent is exp(d log c): errors grow with d log c.
            assert apart(answer, expected) <= (64 if name == "pow" else 4), name


def test_log1p_keeps_digits_that_numpys_loses():
    z = np.array([1e-12 + 1e-13j, -1e-9j, 3e-17 + 0j])
    exact = z - z * z / 2 + z**3 / 3
    assert apart(jit(lambda z: np.log1p(z))(z), exact) <= 4
    assert apart(np.log1p(z), exact) > 100


SPECIAL = np.array(
    [complex(a, b) for a in (0.0, -0.0, 1.0, -2.5) for b in (0.0, -0.0, 1.0, -2.5)]
)
CUTS = (np.log, np.sqrt, np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh)


@pytest.mark.compiles
def test_signed_zeros_choose_the_side_of_a_branch_cut():
    with np.errstate(all="ignore"):
        answers = jit(lambda z: [f(z) for f in (*CUTS, np.arctanh)])(SPECIAL)
        for f, answer in zip((*CUTS, np.arctanh), answers, strict=True):
            expected = f(SPECIAL)
            np.testing.assert_allclose(answer, expected, rtol=1e-13)
            for part in (np.real, np.imag):
                np.testing.assert_array_equal(
                    np.signbit(part(answer)), np.signbit(part(expected)), str(f)
                )


@pytest.mark.compiles
def test_infinities_where_numpy_has_limits():
    big = np.array([complex(np.inf, 1.0), complex(-np.inf, 1.0), complex(2.0, np.inf)])
    functions = (np.log, np.sqrt, np.absolute, np.reciprocal, np.arctan, np.isinf)
    answers = jit(lambda z: [f(z) for f in functions])(big)
    for f, answer in zip(functions, answers, strict=True):
        np.testing.assert_array_equal(answer, f(big), str(f))
    zero = np.zeros(1, complex)
    with np.errstate(all="ignore"):
        expected = (1 + 2j) / zero
        answer = jit(lambda z: (1 + 2j) / z)(zero)
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.compiles
def test_division_does_not_overflow_on_the_way():
    a, b = np.array([1e300 + 1e300j, 1e-300j]), np.array([2e300 - 1e300j, 1e-305 + 0j])
    answer = jit(lambda a, b: a / b)(a, b)
    np.testing.assert_allclose(answer, a / b, rtol=1e-15)
    assert np.all(np.isfinite(answer))
