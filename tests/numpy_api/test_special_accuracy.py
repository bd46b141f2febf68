"""Functions made of others lose no digits at extreme values; SciPy is the measure."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import special

import tracejit.scipy.special as own
from tracejit import grad, hessian, jit

pytestmark = pytest.mark.compiles

UNARY = [
    np.sinc, np.radians, np.degrees, np.modf, special.entr, special.expit,
    special.logit, special.log_expit, special.erf, special.erfc, np.expm1, np.log1p,
    np.arcsinh, np.arccosh, np.arctanh, np.tanh, np.sinh, np.cosh, np.exp2, np.cbrt,
    np.log2, np.log10, np.sqrt, np.exp, np.log, np.reciprocal,
]  # fmt: skip
BINARY = [
    np.hypot, np.arctan2, np.logaddexp, special.xlogy, special.xlog1py, np.fmod,
    np.remainder, np.floor_divide, np.divmod, np.power, np.copysign, np.heaviside,
]  # fmt: skip
ULPS = 32


def extremes(dtype):
    info = np.finfo(dtype)
    small = [1e-3, 1e-8, 1e-17, 1e-30, info.tiny, info.smallest_subnormal]
    large = [0.5, 1, 2, 5, 12, 30, 88, 104, 700, 746, 1e4, 1e10, 1e20, 1e30, info.max]
    near = [1 - info.epsneg, 1 + info.eps]
    positive = np.array([0.0, *small, *near, *large, np.inf])
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


def close(got, expected):
    if isinstance(expected, tuple):
        return all(close(g, e) for g, e in zip(got, expected, strict=True))
    assert got.dtype == expected.dtype
    info = np.finfo(expected.dtype)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    error = np.abs(got - expected) / np.maximum(np.abs(expected), info.tiny)
    wrong = ~same & ~(error <= ULPS * info.eps)
    assert not wrong.any(), (got[wrong][:5], expected[wrong][:5])
    return True


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("f", UNARY, ids=lambda f: f.__name__)
def test_unary(f, dtype):
    x = extremes(dtype)
    with np.errstate(all="ignore"):
        assert close(jit(lambda x: f(x))(x), f(x))


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_binary(f, dtype):
    a, b = (m.copy() for m in np.meshgrid(extremes(dtype), extremes(dtype)))
    with np.errstate(all="ignore"):
        assert close(jit(lambda a, b: f(a, b))(a, b), f(a, b))


def test_xlog1py():
    f = jit(special.xlog1py)
    assert f(1.0, 1e-17) == 1e-17
    assert f(0.0, -1.0) == 0.0
    assert np.isnan(f(0.0, np.nan))
    assert grad(special.xlog1py)(0.0, 3.0) == np.log1p(3.0)


def test_logaddexp2():
    x = extremes("f8")
    a, b = (m.copy() for m in np.meshgrid(x, x))
    with np.errstate(all="ignore"):
        got, expected = jit(lambda a, b: np.logaddexp2(a, b))(a, b), np.logaddexp2(a, b)
        # The rest is rounded where the two parts cancel, in NumPy as well.
        larger = np.maximum(np.abs(np.where(np.isfinite(expected), a, 0)), 1.0)
    np.testing.assert_allclose(got / larger, expected / larger, rtol=1e-13, atol=1e-15)
    assert hessian(lambda v: np.logaddexp2(v[0], v[1]))(np.zeros(2)) == pytest.approx(
        np.log(2) / 4 * np.array([[1, -1], [-1, 1]])
    )


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("third", [None, 0.0])
def test_logsumexp(dtype, third):
    x = extremes(dtype)
    rows = np.stack(np.meshgrid(x, x), -1)
    if third is not None:
        more = np.full((*rows.shape[:2], 1), third, dtype)
        rows = np.concatenate([rows, more], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = special.logsumexp(rows, axis=-1)
        compiled = jit(lambda r: own.logsumexp(r, axis=-1))(rows)
        plain = own.logsumexp(rows, axis=-1)
    with np.errstate(all="ignore"):
        for got in (compiled, plain):
            assert close(got, expected)


def test_logsumexp_with_weights():
    a = np.array([1000.0, 0.0, 3.0])
    for b in ([0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, -2.0, 0.5], [0.0, -2.0, 0.5]):
        for sign in (False, True):
            expected = special.logsumexp(a, b=np.array(b), return_sign=sign)
            got = own.logsumexp(a, b=np.array(b), return_sign=sign)
            np.testing.assert_allclose(got, expected, rtol=1e-14)
            weighted = jit(lambda a, b, s=sign: own.logsumexp(a, b=b, return_sign=s))
            np.testing.assert_allclose(weighted(a, np.array(b)), expected, rtol=1e-14)


@pytest.mark.parametrize("x", [np.zeros(3), np.array([1.0, 1.0, -2.0]), np.arange(3.0)])
def test_derivatives_of_logsumexp_at_ties(x):
    p = special.softmax(x)
    np.testing.assert_allclose(grad(own.logsumexp)(x), p, atol=1e-15)
    np.testing.assert_allclose(
        hessian(own.logsumexp)(x), np.diag(p) - np.outer(p, p), atol=1e-15
    )


def test_entr():
    x = np.array([-1.0, -0.0, 0.0, 0.5, np.inf, np.nan])
    np.testing.assert_array_equal(jit(lambda x: special.entr(x))(x), special.entr(x))
