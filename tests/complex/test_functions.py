"""Every NumPy function that is served, on complex arrays: NumPy's answer or a refusal.

Whatever a function was written for, it must not drop imaginary parts.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.numpy_api.check import flatten
from tracejit.errors import TracejitError
from tracejit.tracer import FUNCTIONS, Recorder, Tracer, full_name, recording

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


SQUARE, OTHER, LONG, SHORT = draw(3, 3), draw(3, 3), draw(5), draw(3)
MISSING = SQUARE.copy()
MISSING[0, 1] = np.nan
ARGUMENTS = [
    (SQUARE,),
    (LONG,),
    (MISSING,),
    (np.array(1 + 2j),),
    (SQUARE.real + 0j,),
    (LONG.real + 0j, SHORT),
    (SQUARE, OTHER),
    (LONG, SHORT),
    (SQUARE, SQUARE.real),
    (LONG, np.array([0, 2])),
    (LONG, 2),
    (SQUARE, 1),
]
#: The content is undefined, in no order, or text.
ELSEWHERE = {"np.empty_like", "np.unique_values", "np.array_str", "np.array_repr"}


def outcome(function, *args):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except Exception as error:
            return error


def recorded(function, *args):
    """The values that a recording gives, or its error."""
    rec = Recorder("f")
    tracers = [rec.input_tracer(a) for a in args]
    with recording(rec):
        found = outcome(function, *tracers)
    if isinstance(found, Exception):
        return found
    return [x.concrete if type(x) is Tracer else x for x in flatten(found)]


def same(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    if expected.dtype.kind not in "fc":
        return bool(np.all(actual == expected))
    return np.allclose(actual, expected, rtol=1e-8, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("args", ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_numpys_answer_or_a_refusal(args):
    checked, wrong = 0, []
    for function in list(FUNCTIONS):
        name = full_name(function)
        expected = outcome(function, *[np.array(a) for a in args])
        found = recorded(function, *[np.array(a)[()] for a in args])
        if name in ELSEWHERE or isinstance(expected, Exception) or expected is None:
            continue
        if isinstance(found, Exception):
            # A refusal, or NumPy's own words about traced counts and axes.
            refused = (TracejitError, TypeError, ValueError, IndexError)
            assert isinstance(found, refused), (name, found)
            continue
        wanted = flatten(expected)
        good = len(wanted) == len(found) and all(map(same, found, wanted))
        wrong += [] if good else [name]
        checked += 1
    assert wrong == []
    assert checked >= (60 if len(args) == 1 else 15)
