"""Reverse mode through the composed functions, against five-point differences.

The derivative of each primitive is tested with its row; here the tapes that NumPy's
functions make are differentiated, so that a wrong composition (an operand that drops
out of the trace, a view that is cut off) cannot hide behind right values.
"""

import warnings

import numpy as np
import pytest

from tests.numpy_api.check import flatten, record
from tests.numpy_api.test_functions import CASES
from tracejit.interpret import interpret
from tracejit.passes.vjp import vjp
from tracejit.tracer import Tracer

#: Where a finite difference is meaningless: bool or int results, rounding, steps.
SKIPPED = {
    "round",
    "round 2",
    "round -1",
    "fix",
    "astype",
    "full_like ints",
    "nan_to_num",
    "nan_to_num values",
    "polyval at",
}
NAMES = [name for name in CASES if name not in SKIPPED]


def directional(function, arrays, directions, h=1e-3):
    """d/dt sum of outputs . weights along the directions, by five points."""

    def at(t):
        moved = [a + t * d for a, d in zip(arrays, directions, strict=True)]
        return weighted(flatten(function(*moved)))

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def weights_of(shape):
    """Different for every element, so that a permuted gradient shows."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def weighted(leaves):
    floats = [np.asarray(v) for v in leaves if np.asarray(v).dtype.kind == "f"]
    return sum((v * weights_of(v.shape)).sum() for v in floats)


@pytest.mark.parametrize("name", NAMES)
def test_reverse_mode(name):
    function, *arrays = CASES[name]()
    if any(a.dtype.kind != "f" for a in arrays):
        pytest.skip("integers have no derivative")
    arrays = [np.asarray(a, np.float64) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaves, rec, inputs = record(function, *arrays)
        outs = [t for t in leaves if type(t) is Tracer and t.dtype == np.float64]
        if not outs:
            pytest.skip("no output to differentiate")
        wrt = [rec.ref(i) for i in rec.inputs]
        cts = [rec.capture(np.asarray(weights_of(t.shape))) for t in outs]
        found = vjp(rec, [t.ref for t in outs], cts, wrt)
        tape = rec.finish_trace([r for r in found if r is not None])
        gradients = interpret(tape, [*inputs, *rec.captures])
        rng = np.random.default_rng(0)
        directions = [rng.normal(size=a.shape) for a in arrays]
        expected = directional(function, arrays, directions)
    used = [d for d, r in zip(directions, found, strict=True) if r is not None]
    actual = sum((g * d).sum() for g, d in zip(gradients, used, strict=True))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
