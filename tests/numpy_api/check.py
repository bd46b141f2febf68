"""Run a NumPy program plainly and recorded, and hold one against the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit.numpy_api  # noqa: F401  (fills the tables)
from tracejit.interpret import interpret, verify
from tracejit.tape import Ref
from tracejit.tracer import Recorder, Tracer, recording

TOLERANCE = {"f8": 1e-12, "f4": 2e-5}


def flatten(result: Any) -> list[Any]:
    """The leaves of nested lists and tuples."""
    if isinstance(result, (list, tuple)):
        return [leaf for item in result for leaf in flatten(item)]
    return [result]


def record(
    function: Callable[..., Any], *args: Any
) -> tuple[list[Any], Recorder, list[Any]]:
    """Call `function` on tracers of the arguments.

    Returns the leaves of its result, the recorder, and the traced inputs' values.
    """
    rec = Recorder(getattr(function, "__name__", "f"))
    tracers = [rec.input_tracer(a) for a in args]
    inputs = [t.concrete for t in tracers]
    with recording(rec):
        leaves = flatten(function(*tracers))
    return leaves, rec, inputs


def close(actual: Any, expected: Any) -> None:
    """Equal dtype, shape and value; floats within a few ulp."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.dtype.kind == "f":
        rtol = TOLERANCE[expected.dtype.str[1:]]
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(actual, expected)


def check(function: Callable[..., Any], *args: Any) -> Recorder:
    """Value, dtype and shape as NumPy's; the tape is valid and gives the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = flatten(function(*args))
        leaves, rec, inputs = record(function, *args)
    assert len(leaves) == len(expected)
    for leaf, want in zip(leaves, expected, strict=True):
        if type(leaf) is Tracer:
            close(leaf.concrete, want)
        else:
            assert not isinstance(leaf, (float, np.inexact))
            assert np.array_equal(leaf, want)
    outputs = [leaf for leaf in leaves if type(leaf) is Tracer]
    tape = verify(rec.finish_trace([t.ref for t in outputs]))
    again = interpret(tape, [*inputs, *rec.captures])
    for value, out in zip(again, outputs, strict=True):
        close(value, out.concrete)
    return rec


def refs(rec: Recorder, indices: tuple[int, ...]) -> list[Ref]:
    return [rec.ref(i) for i in indices]
