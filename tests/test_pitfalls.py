"""What surprises, and stays as it is on purpose: see `docs/pitfalls.md`.

A test here fails when a pitfall goes away, so that the page can lose it too.
"""

from __future__ import annotations

import datetime
import os
import warnings

import numpy as np
import pytest

from tracejit import grad, jit

pytestmark = pytest.mark.compiles


def test_the_outside_world_is_read_once(monkeypatch):
    monkeypatch.setenv("RATE", "2")
    scaled = jit(lambda x: x * float(os.environ["RATE"]))
    assert scaled(1.0) == 2.0
    monkeypatch.setenv("RATE", "3")
    assert scaled(1.0) == 2.0

    clock = jit(lambda x: x * datetime.datetime.now().timestamp())
    assert clock(1.0) == clock(1.0)


class Box:
    def __init__(self, inside):
        self.inside = inside


def test_side_effects_happen_while_recording_only(capsys):
    def noisy(x):
        print("called")
        return 2 * x

    f = jit(noisy)
    f(1.0), f(2.0)
    assert capsys.readouterr().out == "called\n"


def test_warnings_come_while_recording_only():
    def root(x):
        return np.sqrt(x)

    f = jit(root)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        f(np.array([1.0, 2.0]))
        first = f(np.array([-1.0, 2.0]))
    assert np.isnan(first[0])
    assert seen == []


def test_results_are_new_arrays():
    x = np.arange(3.0)
    assert jit(lambda x: x)(x) is not x

    def with_view(x):
        y = 2 * x
        return y, y[1:]

    y, tail = jit(with_view)(x)
    assert not np.shares_memory(y, tail)


#: a * b + c is 0 if the product is rounded, and -2**-60 if it is not.
ROUNDED = (1 + 2.0**-30, 1 - 2.0**-30, -1.0)


def test_contraction_changes_the_last_bit():
    product = jit(lambda a, b, c: a * b + c)
    arrays = [np.full(3, v) for v in ROUNDED]
    assert (arrays[0] * arrays[1] + arrays[2]).tolist() == [0.0] * 3
    assert set(product(*arrays).tolist()) <= {0.0, -(2.0**-60)}


def test_a_guard_at_a_rounding_border_is_right_and_slow(capsys):
    def branch(a, b, c):
        print("recorded")
        r = a * b + c
        if r == 0.0:
            return r
        return r + 5.0

    f = jit(branch)
    answers = [f(*ROUNDED) for _ in range(5)]
    assert answers == [0.0] * 5
    stats = f.stats()
    assert stats.traces == 1
    assert stats.interpreted in (0, 5)
    # What NumPy decides is remembered, so the function runs once.
    assert capsys.readouterr().out == "recorded\n"


def test_elementary_functions_are_within_four_ulp():
    x = np.linspace(-5.0, 5.0, 10_001)
    for function in (np.exp, np.sin, np.tanh, np.log1p):
        argument = np.abs(x) if function is np.log1p else x
        expected = function(argument)
        error = np.abs(jit(lambda x, f=function: f(x))(argument) - expected)
        assert np.all(error <= 4 * np.spacing(np.abs(expected)))


def test_a_zero_gradient_may_be_negative_zero():
    gradient = grad(lambda x: np.sum(np.where(x > 0, -x, 0.0)))(np.array([1.0, -1.0]))
    assert gradient.tolist() == [-1.0, 0.0]
    assert np.signbit(gradient).tolist() == [True, True]


def test_the_gradient_where_there_is_none():
    assert grad(np.abs)(0.0) == 0.0
    assert grad(np.max)(np.array([1.0, 1.0, 0.0])).tolist() == [0.5, 0.5, 0.0]
    assert grad(np.sqrt)(0.0) == np.inf
    assert np.isnan(grad(np.linalg.norm)(np.zeros(2))).all()


def test_each_trip_count_is_a_path():
    def doubled(x, n):
        for _ in range(n):
            x = 2 * x
        return x

    f = jit(doubled)
    assert [f(1.0, n) for n in (3, 4, 3)] == [8.0, 16.0, 8.0]
    assert f.stats().traces == 2


def test_arrays_of_objects_are_compared_by_content():
    box = Box(np.ones(3))
    f = jit(lambda x: x * box.inside)
    f(np.ones(3))
    box.inside[0] = 5.0
    assert f(np.ones(3)).tolist() == [5.0, 1.0, 1.0]
    assert f.stats().traces == 2


def test_identity_and_class_are_the_recordings():
    def f(x, y):
        return x is y, type(x) is np.ndarray, isinstance(x, np.ndarray)

    x = np.ones(2)
    assert jit(f)(x, x) == (False, False, True)


def test_a_power_that_overflows_is_inf():
    assert jit(lambda x: x**3)(2.0) == 8.0
    with pytest.raises(OverflowError):
        _ = 1e200**3
    f = jit(lambda x: x**3)
    f(2.0)
    assert f(1e200) == np.inf
