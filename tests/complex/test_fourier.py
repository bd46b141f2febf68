"""numpy.fft on tracers: all functions with all keywords, and their derivatives."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tracejit import grad, jacfwd, jacrev, jit, jvp, value_and_grad, vjp
from tracejit.interpret import interpret
from tracejit.testing import check_grads
from tracejit.tracer import Recorder, recording

RNG = np.random.default_rng(5)
NORMS = (None, "backward", "ortho", "forward")
REAL = RNG.normal(size=(4, 5, 6))
COMPLEX = REAL + 1j * RNG.normal(size=(4, 5, 6))

SINGLE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
MANY = ("fftn", "ifftn", "rfftn", "irfftn")
PLANE = ("fft2", "ifft2", "rfft2", "irfft2")
OF_REAL = {"rfft", "ihfft", "rfftn", "rfft2"}
ONE = [{}, {"n": 3}, {"n": 8}, {"axis": 0}, {"axis": -2, "n": 5}, {"n": 1}]
SEVERAL = [
    {},
    {"axes": (0, 2)},
    {"axes": (1,)},
    {"s": (3, 7), "axes": (0, 1)},
    {"s": (-1, 4), "axes": (2, 0)},
]


def calls():
    for names, keywords in ((SINGLE, ONE), (MANY, SEVERAL), (PLANE, SEVERAL)):
        for name in names:
            for k, keys in enumerate(keywords):
                keys = {**keys, "norm": NORMS[(k + len(name)) % 4]}
                yield pytest.param(name, keys, id=f"{name}-{k}")


def interpreted(f, *args):
    """What the recorded tape gives, without a kernel."""
    rec = Recorder("f")
    with recording(rec):
        out = f(*[rec.input_tracer(a) for a in args])
    return interpret(rec.finish_trace([out.ref]), [*args, *rec.captures])


@pytest.mark.parametrize(("name", "keys"), list(calls()))
def test_values(name, keys):
    for dtype in ("f8", "c16", "f4", "c8", "i8"):
        check_value(getattr(np.fft, name), keys, dtype)


def check_value(function, keys, dtype):
    x = (COMPLEX if dtype in ("c16", "c8") else REAL * 3).astype(dtype)
    if function.__name__ in OF_REAL and x.dtype.kind == "c":
        with pytest.raises(TypeError) as expected:
            function(x, **keys)
        with pytest.raises(TypeError, match=re.escape(str(expected.value)[:14])):
            interpreted(lambda x: function(x, **keys), x)
        return
    expected = function(x, **keys)
    (answer,) = interpreted(lambda x: function(x, **keys), x)
    assert answer.dtype == expected.dtype
    tolerance = 1e-5 if x.dtype in (np.float32, np.complex64) else 1e-12
    np.testing.assert_allclose(answer, expected, tolerance, tolerance * 50)


@pytest.mark.parametrize(("name", "keys"), list(calls()))
def test_derivatives(name, keys):
    function = getattr(np.fft, name)
    x = REAL[:2, :3, :4] if name in OF_REAL else COMPLEX[:2, :3, :4]
    weights = RNG.normal(size=function(x, **keys).shape)

    def loss(x):
        y = function(x, **keys)
        return np.sum(weights * np.abs(y) ** 2) + np.sum(y.real * weights)

    (gradient,) = interpreted(grad(loss), x)
    assert gradient.dtype == x.dtype
    t = RNG.normal(size=x.shape).astype(x.dtype)
    if x.dtype.kind == "c":
        t = t + 1j * RNG.normal(size=x.shape)
    h = 1e-5
    numeric = (loss(x + h * t) - loss(x - h * t)) / (2 * h)
    assert np.sum(gradient * t).real == pytest.approx(numeric, rel=1e-7, abs=1e-7)


@pytest.mark.compiles
@pytest.mark.parametrize("n", [7, 8])
def test_any_order_in_both_modes(n):
    x = RNG.normal(size=(2, n))

    def f(x):
        z = np.fft.rfft(x**2, norm="ortho")
        return np.sum(np.fft.irfft(z * z.real, n) ** 3)

    check_grads(f, (x,), order=2)
    check_grads(lambda z: np.sum(np.abs(np.fft.fftn(z)) ** 4), (x * (1 + 0.5j),))


@pytest.mark.compiles
def test_real_to_real_jacobians_agree():
    x = RNG.normal(size=9)

    def smooth(x):
        return np.fft.irfft(np.fft.rfft(x) / (1 + np.fft.rfftfreq(9) ** 2), 9)

    np.testing.assert_allclose(jacfwd(smooth)(x), jacrev(smooth)(x), atol=1e-14)
    np.testing.assert_allclose(jacrev(smooth)(x) @ x, smooth(x), rtol=1e-12)


@pytest.mark.compiles
def test_transposes_are_exact():
    x, z = RNG.normal(size=8), COMPLEX[0, 0, :5]
    _, pull = vjp(np.fft.rfft, x)
    _, pushed = jvp(np.fft.rfft, (x,), (x,))
    assert np.sum(z * pushed).real == pytest.approx(np.sum(pull(z)[0] * x), rel=1e-14)
    _, pull = vjp(lambda z: np.fft.irfft(z, 9), z)
    ct = RNG.normal(size=9)
    _, pushed = jvp(lambda z: np.fft.irfft(z, 9), (z,), (z,))
    assert np.sum(ct * pushed) == pytest.approx(np.sum(pull(ct)[0] * z).real, rel=1e-14)


@pytest.mark.compiles
def test_one_kernel_with_two_calls():
    """A spectral loss is the library's transforms, and loops around them."""
    signal, target = RNG.normal(size=(2, 512))
    response = np.exp(-np.linspace(0, 3, 257)) * (1 - 0.2j)

    def loss(x):
        blurred = np.fft.irfft(np.fft.rfft(x) * response, 512)
        return np.mean((blurred - target) ** 2)

    f = value_and_grad(loss)
    value, gradient = f(signal)
    assert value == pytest.approx(loss(signal), rel=1e-13)
    rest = np.fft.irfft(np.fft.rfft(signal) * response, 512) - target
    expected = np.fft.irfft(np.fft.rfft(rest) * np.conj(response), 512) * 2 / 512
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-15)
    names = [i.prim.name for i in f.tape(signal).instrs]
    assert (names.count("rfft"), names.count("irfft")) == (2, 2)
    assert f.stats().kernels_compiled + f.stats().kernels_reused == 1


@pytest.mark.compiles
def test_compiled():
    def f(x, z):
        return (
            np.fft.fft(x, axis=0),
            np.fft.ifftn(z, norm="ortho"),
            np.fft.rfft2(x)[0],
            np.fft.hfft(z[0, 0]),
            np.fft.fftshift(np.fft.fft(z), axes=-1),
            np.fft.ifftshift(x, (0, 2)),
        )

    g = jit(f)
    for scale in (1.0, 2.0):
        for a, e in zip(
            g(REAL * scale, COMPLEX), f(REAL * scale, COMPLEX), strict=True
        ):
            assert a.dtype == e.dtype
            np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)
    assert g.stats().hits >= 1


def test_shifts_and_frequencies():
    for shape in ((5,), (4, 5)):
        x = RNG.normal(size=shape)
        for axes in (None, 0, (-1,)):
            for shift in (np.fft.fftshift, np.fft.ifftshift):
                (answer,) = interpreted(lambda x, s=shift, a=axes: s(x, axes=a), x)
                np.testing.assert_array_equal(answer, shift(x, axes=axes))
    for n in (8, 9):
        for function in (np.fft.fftfreq, np.fft.rfftfreq):
            (answer,) = interpreted(lambda d, f=function, n=n: f(n, d), np.float64(0.3))
            np.testing.assert_allclose(answer, function(n, 0.3), rtol=1e-15)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: np.fft.fft(x, n=0),
        lambda x: np.fft.irfft(x, n=-1),
        lambda x: np.fft.fft(x, norm="both"),
        lambda x: np.fft.fftn(x, s=(1, 2), axes=(0,)),
    ],
)
def test_errors_are_numpys(program):
    with pytest.raises((ValueError, IndexError)) as expected:
        program(REAL)
    with pytest.raises(type(expected.value)) as error:
        jit(program)(REAL)
    assert str(error.value) == str(expected.value)


@pytest.mark.compiles
def test_out():
    def f(x):
        given = np.zeros(x.shape, complex)
        found = np.fft.fft(x, out=given)
        return given, found

    for answer in jit(f)(REAL):
        np.testing.assert_allclose(answer, np.fft.fft(REAL), rtol=1e-12)
