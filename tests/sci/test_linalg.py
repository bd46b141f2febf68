"""scipy.linalg and scipy.signal, traced: SciPy's values, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from tracejit import grad, jit
from tracejit.scipy import linalg, signal
from tracejit.testing import check_grads

RNG = np.random.default_rng(11)
A = RNG.normal(size=(4, 4)) * 0.5 + 2 * np.eye(4)
B = RNG.normal(size=(3, 3)) * 0.5 + 2 * np.eye(3)
Q = RNG.normal(size=(4, 3))
SPD = A @ A.T + np.eye(4)
V = RNG.normal(size=4)


def same(function, reference, *args, rtol=1e-11, order=2):
    got, expected = jit(function)(*args), reference(*args)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-12)
    weights = RNG.normal(size=np.shape(expected))
    check_grads(lambda *args: np.sum(weights * function(*args)), args, order=order)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, "T"])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular(lower, trans, unit):
    options = {"trans": trans, "lower": lower, "unit_diagonal": unit}
    same(
        lambda a, b: linalg.solve_triangular(a, b, **options),
        lambda a, b: scipy.linalg.solve_triangular(a, b, **options),
        A,
        Q if lower else V,
        order=1,
    )


@pytest.mark.parametrize("lower", [False, True])
def test_cholesky(lower):
    def solved(m, a, b):
        return m.cho_solve(m.cho_factor(a @ a.T + np.eye(4), lower=lower), b)

    same(
        lambda a, b: solved(linalg, a, b),
        lambda a, b: solved(scipy.linalg, a, b),
        A,
        Q,
        order=1,
    )


@pytest.mark.parametrize("factor", [0.1, 1.0, 7.0])
def test_expm(factor):
    same(linalg.expm, scipy.linalg.expm, A * factor, rtol=1e-9, order=1)


def test_sqrtm_and_sylvester():
    same(linalg.sqrtm, scipy.linalg.sqrtm, SPD)
    same(linalg.solve_sylvester, scipy.linalg.solve_sylvester, A, B, Q)
    with pytest.raises(np.linalg.LinAlgError, match="no real square root"):
        jit(linalg.sqrtm)(-np.eye(2))


@pytest.mark.parametrize("b", [V, Q])
def test_solve_banded(b):
    ab = RNG.normal(size=(4, 4)) + np.array([[0.0], [5.0], [0.0], [0.0]])
    same(
        lambda ab, b: linalg.solve_banded((2, 1), ab, b),
        lambda ab, b: scipy.linalg.solve_banded((2, 1), ab, b),
        ab,
        b,
        order=1,
    )
    with pytest.raises(ValueError, match="does not equal ab"):
        jit(lambda ab: linalg.solve_banded((1, 1), ab, V))(ab)


def test_built_matrices():
    same(linalg.block_diag, scipy.linalg.block_diag, A, V, Q, order=1)
    same(linalg.toeplitz, scipy.linalg.toeplitz, V, Q[0], order=1)
    same(linalg.toeplitz, scipy.linalg.toeplitz, V, order=1)


C = RNG.normal(size=(4, 4)) + 1j * RNG.normal(size=(4, 4))
HERMITIAN = C @ C.conj().T + np.eye(4)
BAND = RNG.normal(size=(3, 4)) + np.array([[0.0], [5.0], [0.0]]) + 1j * C[:3]
#: name of the function -> what it is of, given the module and a complex array.
OF_COMPLEX = {
    "solve_triangular": lambda m, z: m.solve_triangular(A + z, V, "C", lower=True),
    "cho_solve": lambda m, z: m.cho_solve(
        m.cho_factor(HERMITIAN + z @ z.conj().T + z + z.conj().T), V
    ),
    "cho_solve lower": lambda m, z: m.cho_solve(
        m.cho_factor(HERMITIAN + z + z.conj().T, lower=True), V
    ),
    "expm": lambda m, z: m.expm(A + z),
    "sqrtm": lambda m, z: m.sqrtm(HERMITIAN + 0.1 * z),
    "solve_sylvester": lambda m, z: m.solve_sylvester(A + z, B + 0j, Q + z[:, :3]),
    "solve_banded": lambda m, z: m.solve_banded((1, 1), BAND + z[:3], V),
    "block_diag": lambda m, z: m.block_diag(z, A),
    "toeplitz": lambda m, z: m.toeplitz(z[0]),
    "toeplitz of rows": lambda m, z: m.toeplitz(z[0], z[1]),
}


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_complex_matrices(name):
    function = OF_COMPLEX[name]
    z = 0.1 * C
    got = jit(lambda z: function(linalg, z))(z)
    expected = function(scipy.linalg, z)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    weights = RNG.normal(size=expected.shape) + 1j * RNG.normal(size=expected.shape)

    def loss(m, x, y):
        return np.sum(np.real(weights * function(m, x + 1j * y)))

    slope = grad(lambda x, y: loss(linalg, x, y), argnums=(0, 1))(z.real, z.imag)
    h = 1e-6
    for k, (dx, dy) in enumerate([(1, 0), (0, 1)]):
        direction = RNG.normal(size=z.shape)
        up, down = (
            loss(scipy.linalg, z.real + s * dx * direction, z.imag + s * dy * direction)
            for s in (h, -h)
        )
        expected = (up - down) / (2 * h)
        np.testing.assert_allclose(
            np.sum(slope[k] * direction), expected, rtol=1e-6, atol=1e-7
        )


STACK = np.stack([A, A.T + 1.0])


@pytest.mark.parametrize(
    ("function", "arrays"),
    [
        (lambda m, a, b: m.solve_triangular(a, b), (STACK, np.stack([Q, Q]))),
        (
            lambda m, a, b: m.cho_solve(m.cho_factor(a @ a.mT + np.eye(4)), b),
            (STACK, np.stack([Q, Q])),
        ),
        (lambda m, a: m.expm(a), (STACK,)),
        (lambda m, a: m.sqrtm(a @ a.mT + np.eye(4)), (STACK,)),
        (lambda m, a: m.block_diag(a, np.ones((1, 2))), (STACK,)),
        (lambda m, c: m.toeplitz(c), (Q,)),
    ],
)
def test_stacked(function, arrays):
    got = jit(lambda *arrays: function(linalg, *arrays))(*arrays)
    expected = function(scipy.linalg, *arrays)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_complex_signals():
    x, y = C.ravel()[:9], C.ravel()[9:13]
    for mode in ("full", "same", "valid"):
        for name in ("convolve", "fftconvolve"):
            ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
            got = jit(lambda x, y, f=ours, m=mode: f(x, y, m))(x, y)
            np.testing.assert_allclose(got, theirs(x, y, mode), rtol=1e-10)
    a = np.array([1.0, -0.5 + 0.2j])
    got = jit(lambda a, x: signal.lfilter([0.5], a, x))(a, x)
    np.testing.assert_allclose(got, scipy.signal.lfilter([0.5], a, x), rtol=1e-12)
    assert jit(lambda x: signal.convolve(x, 3.0))(np.array(2.0)) == 6.0


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution(mode):
    x, y = RNG.normal(size=9), RNG.normal(size=4)
    for name in ("convolve", "fftconvolve"):
        ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
        same(
            lambda a, b, f=ours: f(a, b, mode),
            lambda a, b, f=theirs: f(a, b, mode),
            x,
            y,
        )
    p, q = RNG.normal(size=(5, 6)), RNG.normal(size=(3, 2))
    same(
        lambda a, b: signal.convolve(a, b, mode),
        lambda a, b: scipy.signal.convolve(a, b, mode),
        p,
        q,
        order=1,
    )
    same(
        lambda a, b: signal.fftconvolve(a, b, mode, axes=1),
        lambda a, b: scipy.signal.fftconvolve(a, b, mode, axes=1),
        p,
        q[:1],
        order=1,
    )


def test_convolution_errors():
    with pytest.raises(ValueError, match="For 'valid' mode"):
        jit(lambda a: signal.convolve(a, np.ones((2, 9)), "valid"))(np.ones((5, 6)))
    with pytest.raises(ValueError, match="acceptable mode flags"):
        jit(lambda a: signal.convolve(a, V, "middle"))(V)


FILTERS = [
    (np.array([0.5, 0.2, 0.1]), np.array([2.0, -0.5])),
    (np.array([0.5]), np.array([1.0, -0.5, 0.2, 0.1])),
    (np.array([0.5, 0.3]), np.array([1.5])),
]


@pytest.mark.parametrize(("b", "a"), FILTERS)
def test_lfilter(b, a):
    x = RNG.normal(size=(2, 12))
    same(signal.lfilter, scipy.signal.lfilter, b, a, x)
    same(
        lambda b, a, x: signal.lfilter(b, a, x, axis=0),
        lambda b, a, x: scipy.signal.lfilter(b, a, x, axis=0),
        b,
        a,
        x,
        order=1,
    )
    zi = RNG.normal(size=(2, max(len(a), len(b)) - 1))
    for n in (12, 1):
        for k in (0, 1):
            same(
                lambda b, a, x, zi, k=k: signal.lfilter(b, a, x, zi=zi)[k],
                lambda b, a, x, zi, k=k: scipy.signal.lfilter(b, a, x, zi=zi)[k],
                b,
                a,
                x[:, :n],
                zi,
                order=1,
            )


def test_a_filter_has_a_gradient_by_its_coefficients():
    x = RNG.normal(size=50)

    def power(a):
        return np.mean(signal.lfilter([1.0], np.stack([1.0, a]), x) ** 2)

    h = 1e-6
    np.testing.assert_allclose(
        grad(power)(-0.5), (power(-0.5 + h) - power(-0.5 - h)) / (2 * h), rtol=1e-6
    )
