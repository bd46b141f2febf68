"""Random programs of writes against NumPy on plain arrays: values and gradients."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tracejit import config, grad, value_and_grad
from tracejit.errors import UnsupportedError

from .programs import programs, run

X = np.cos(np.arange(12.0) * 1.7) + 0.05 * np.arange(12.0)
MAYBE = "which may be a view of it or a copy"


def complex_step(function, x, h=1e-30):
    found = np.zeros(len(x))
    for k in range(len(x)):
        z = x.astype(complex)
        z[k] += 1j * h
        found[k] = function(z).imag / h
    return found


def check(steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = run(steps, X.copy())
        slope = complex_step(lambda z: run(steps, z), X)
    if not (np.isfinite(expected) and np.all(np.abs(slope) < 1e8)):
        return

    def program(x):
        return run(steps, x)

    try:
        value, gradient = value_and_grad(program)(X)
    except UnsupportedError as error:
        # A reshape whose kind depends on the caller's layout.
        if MAYBE in str(error):
            return
        raise
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-8)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_interpreted(steps):
    before = config.MAX_EAGER_PATHS
    config.MAX_EAGER_PATHS = 0
    try:
        check(steps)
    finally:
        config.MAX_EAGER_PATHS = before


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(programs())
def test_compiled(steps):
    check(steps)


def test_a_wrong_rule_would_be_seen():
    steps = (("set", 0, (slice(1, 4),), 3, 2.0),)
    slope = grad(lambda x: run(steps, x))(X)
    assert not np.allclose(slope, grad(lambda x: run((), x))(X))
    np.testing.assert_allclose(slope, complex_step(lambda z: run(steps, z), X))


@pytest.mark.parametrize(
    "steps",
    [
        # What the machine found, or nearly did.
        (("inplace", 4, 0, 0.5), ("set", 4, (0,), 3, 2.0)),
        (("reshape", 0, (1, -1)), ("inplace", 0, 0, 0.5), ("overlap", 5, 0, 0.5)),
        (("set", 1, (0, 0, Ellipsis), 0, 0.5), ("view", 1, (0, 0, Ellipsis))),
        (("overlap", 0, 0, 0.5),),
        (("view", 1, (slice(2, 0, -1), 1)), ("transpose", 1), ("inplace", 5, 3, 2.0)),
        (("reshape", 1, (-1,)), ("set", 5, (slice(1, 7, 2),), 0, 0.5)),
        (("view", 2, (1,)), ("transpose", 5), ("scalar", 6, (0, [1, 0, 1]), 3, 2.0)),
        (("at", 2, (slice(None), [0, 0, 2], -1), 0, 2.0), ("view", 2, (0, Ellipsis))),
    ],
)
def test_some(steps):
    check(steps)
