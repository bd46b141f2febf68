"""Floating-point errors that the function itself makes events are refused."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest

import tracejit
from tracejit import grad, jit, scan
from tracejit.errors import UnsupportedError

TEXT = (
    "floating-point errors under {} cannot be recorded: compiled code does not notice "
    "them. Test the values, with np.isfinite for example."
)


def caught(x):
    try:
        with np.errstate(divide="raise"):
            return np.log(x)
    except FloatingPointError:
        return -1.0


def set_and_put_back(x):
    old = np.seterr(invalid="raise")
    try:
        return np.sqrt(x)
    finally:
        np.seterr(**old)


def called_back(x):
    seen = []
    with np.errstate(over="call", call=lambda kind, flag: seen.append(kind)):
        y = np.exp(x)
    return y * len(seen)


def warnings_are_errors(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.log(x)
        except RuntimeWarning:
            return -1.0


def warnings_are_errors_for_good(x):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        return np.log(x)


def warnings_are_collected(x):
    with warnings.catch_warnings(record=True) as seen:
        y = np.log(x)
    return y * len(seen)


def in_a_scan(x):
    with np.errstate(divide="raise"):
        return scan(lambda carry, _: (np.log(carry), None), x, None, length=3)[0]


CASES = [
    (caught, "np.errstate(divide='raise')"),
    (set_and_put_back, "np.errstate(invalid='raise')"),
    (called_back, "np.errstate(over='call')"),
    (warnings_are_errors, "warnings.simplefilter('error')"),
    (warnings_are_errors_for_good, "warnings.simplefilter('error')"),
    (warnings_are_collected, "warnings.catch_warnings(record=True)"),
    (in_a_scan, "np.errstate(divide='raise')"),
]


@pytest.mark.parametrize(
    ("function", "what"), CASES, ids=[f.__name__ for f, _ in CASES]
)
@pytest.mark.parametrize("transform", [jit, grad])
def test_events_are_refused(transform, function, what):
    compiled = transform(function)
    for x in (2.0, 0.0):
        with pytest.raises(UnsupportedError) as error:
            compiled(x)
        assert str(error.value).partition(": ")[2] == TEXT.format(what)
        assert f" in {function.__name__}:" in str(error.value) or function is in_a_scan


def quiet(x):
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.log(x) + np.sqrt(x)


def other_warnings_are_errors(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        return np.sqrt(x)


@pytest.mark.parametrize("function", [quiet, other_warnings_are_errors])
def test_silence_is_served(function):
    compiled = jit(function)
    for x in (2.0, 3.0):
        assert compiled(x) == pytest.approx(function(x), rel=1e-15)
    assert compiled.stats().traces == 1


def strict():
    stack = contextlib.ExitStack()
    stack.enter_context(np.errstate(all="raise"))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("error")
    return stack


@pytest.mark.parametrize("function", [np.log, quiet, other_warnings_are_errors])
def test_what_holds_at_the_call_is_the_callers_affair(function):
    compiled = jit(function)
    with strict():
        assert compiled(2.0) == pytest.approx(function(2.0), rel=1e-15)
        assert compiled(3.0) == pytest.approx(function(3.0), rel=1e-15)


def test_numpy_raises_while_recording():
    with strict(), pytest.raises(FloatingPointError):
        jit(lambda x: np.log(x))(0.0)


def test_the_refusal_cannot_be_caught():
    @jit
    def stubborn(x):
        try:
            return caught(x)
        except tracejit.UnsupportedError:
            return 0.0

    with pytest.raises(UnsupportedError, match="cannot be recorded"):
        stubborn(1.0)
