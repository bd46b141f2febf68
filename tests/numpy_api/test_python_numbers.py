"""Arithmetic between Python numbers is Python's, on the first and on later calls."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import tracejit as tj
from tracejit import grad, jit

INTS = [0, 1, -1, 2, -2, 3, 63, 64, 2**40, 2**62, -(2**63)]
FLOATS = [0.0, -0.0, 0.5, -0.5, 1.5, -2.0, 3.0, 1e308, np.inf, -np.inf, np.nan]
OPERATORS = ["truediv", "floordiv", "mod", "pow", "add", "sub", "mul"]
SHIFTS = ["lshift", "rshift"]


def outcome(f, *args):
    try:
        return f(*args)
    except Exception as error:
        return error


def agree(got, expected):
    if isinstance(expected, OverflowError):  # `docs/pitfalls.md`
        return not np.isfinite(got)
    if isinstance(expected, Exception):
        return type(got) is type(expected) and str(got) == str(expected)
    if isinstance(expected, complex):  # a negative number to the power of a fraction
        apart = abs(got - expected)
        return type(got) is complex and (
            apart <= 1e-12 * abs(expected) or apart != apart
        )
    if isinstance(got, tj.UnsupportedError):
        return abs(expected) > 9e18 or expected == 0
    return type(got) is type(expected) and (
        got == expected or (got != got and expected != expected)
    )


def pairs(name):
    values = INTS if name in SHIFTS else [*INTS, *FLOATS, True]
    for a, b in itertools.product(values, values):
        if name not in ("pow", "lshift") or abs(b) <= 64 or abs(b) > 1e300:
            yield a, b


@pytest.mark.compiles
@pytest.mark.parametrize("name", OPERATORS + SHIFTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_operators(name):
    op = getattr(operator, name)
    f = jit(lambda a, b: op(a, b))
    for a, b in [*pairs(name), *itertools.islice(pairs(name), 40)]:
        if name == "pow" and type(b) is int and type(a) is not float:
            continue  # an integer exponent is not traced
        assert agree(outcome(f, a, b), outcome(op, a, b)), (name, a, b)


@pytest.mark.compiles
@pytest.mark.parametrize("value", [0, 2, -1, 0.0, 0.5, -0.5, -2.0, 70])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_of_the_two_is_constant(name, value):
    op = getattr(operator, name)
    left, right = jit(lambda b: op(value, b)), jit(lambda a: op(a, value))
    for x in [1, 0, -3, 2.5, 0.0, -0.5, 1, 0]:
        if not (name == "pow" and type(x) is int and type(value) is int):
            assert agree(outcome(left, x), outcome(op, value, x)), (value, x)
        assert agree(outcome(right, x), outcome(op, x, value)), (x, value)


@pytest.mark.compiles
def test_each_side_of_the_guard_is_one_trace():
    def safe(x):
        try:
            return 1 / x
        except ZeroDivisionError:
            return -1.0

    f = jit(safe)
    assert [f(v) for v in (2.0, 0.0, 4.0, 0.0)] == [0.5, -1.0, 0.25, -1.0]
    assert f.stats().traces == 2
    g = jit(lambda x: 1 / x)
    assert g(2.0) == 0.5
    with pytest.raises(ZeroDivisionError, match="float division by zero"):
        g(0.0)
    assert (g(4.0), g.stats().traces) == (0.25, 1)


def test_what_needs_no_guard_has_none():
    for f in (
        lambda x: x / 2,
        lambda x: x**2,
        lambda x: x**3.0,
        lambda x: 2.0**x,
        lambda x: x % 3,
    ):
        assert "guard" not in str(jit(f).tape(1.5))


def test_numpy_numbers_keep_numpys_rules():
    with np.errstate(all="ignore"):
        assert jit(lambda x: 1 / x)(np.float64(0.0)) == np.inf
        assert jit(lambda x: np.divide(1, x))(0.0) == np.inf
        assert np.isnan(jit(lambda x: x**0.5)(np.float64(-1.0)))


def test_gradients():
    assert grad(lambda x: 1 / x)(2.0) == -0.25
    assert np.isclose(grad(lambda x: x**0.5)(4.0), 0.25)
    with pytest.raises(ZeroDivisionError):
        grad(lambda x: 1 / x)(0.0)


def test_the_body_of_a_scan_has_numpys_rules():
    body = jit(lambda n: tj.fori_loop(1, 5, lambda i, p: p * i, n))
    assert body(1) == 24


def test_round():
    f = jit(lambda a: (round(a, 1), round(a, 0), round(a)))
    for value in (3, True, -(2**40), np.float64(2.55), np.int32(-7)):
        expected = round(value, 1), round(value, 0), round(value)
        assert f(value) == expected
        assert [*map(type, f(value))] == [*map(type, expected)]


@pytest.mark.parametrize(("value", "digits"), [(2.675, 2), (2.5, 0), (1234, -2)])
def test_round_in_decimals_is_refused(value, digits):
    with pytest.raises(
        tj.UnsupportedError,
        match=r"in <lambda>: round\(\) of a Python number to digits cannot be "
        r"recorded\. Use np\.round\(x, n\)\.$",
    ):
        jit(lambda a: round(a, digits))(value)
