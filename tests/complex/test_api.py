"""Transforms of functions of complex numbers, as users write them."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tracejit
from tracejit import (
    elementwise_grad,
    grad,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    value_and_grad,
    vjp,
)
from tracejit.errors import DifferentiationError
from tracejit.testing import check_grads

Z = np.array([0.3 + 0.4j, -1.2 + 0.1j, 0.8 - 2.0j])
X = np.array([0.3, -1.2, 0.8])
pytestmark = pytest.mark.compiles


# --- the convention


def test_the_gradient_convention():
    """df/dx - i df/dy, for a function that is not holomorphic."""

    def f(z):
        return np.sum(np.abs(z) ** 3 + np.real(z) * np.imag(z) ** 2)

    x, y = Z.real, Z.imag
    dx = 3 * np.abs(Z) * x + y**2
    dy = 3 * np.abs(Z) * y + 2 * x * y
    np.testing.assert_allclose(grad(f)(Z), dx - 1j * dy, rtol=1e-13)
    descended = Z - 1e-3 * np.conj(grad(f)(Z))
    assert f(descended) < f(Z)


def test_vjp_does_not_conjugate_and_agrees_with_jvp():
    def f(z):
        return np.exp(1j * z) * np.conj(z) + z.real

    ct, t = np.array([1 + 2j, -1j, 0.5]), np.array([0.1j, 2.0, 1 - 1j])
    out, pull = vjp(f, Z)
    np.testing.assert_allclose(out, f(Z), rtol=1e-14)
    _, pushed = jvp(f, (Z,), (t,))
    h = 1e-6
    np.testing.assert_allclose(pushed, (f(Z + h * t) - f(Z - h * t)) / (2 * h), 1e-8)
    (back,) = pull(ct)
    assert np.sum(ct * pushed).real == pytest.approx(np.sum(back * t).real, rel=1e-12)
    # Of a holomorphic function the cotangent is a product, nothing conjugated.
    _, pull = vjp(np.exp, Z)
    np.testing.assert_allclose(pull(ct)[0], ct * np.exp(Z), rtol=1e-13)


def test_real_arguments_have_real_gradients():
    def f(x):
        wave = np.exp(1j * x) * (x + 2j)
        return np.sum(np.abs(wave) ** 2 * np.angle(wave))

    gradient = grad(f)(X)
    assert gradient.dtype == np.float64
    h = 1e-6
    steps = h * np.eye(3)
    numeric = [(f(X + s) - f(X - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-8)


def test_mixed_arguments():
    def f(x, z):
        return np.sum(np.abs(x * z - 1j) ** 2)

    gx, gz = grad(f, argnums=(0, 1))(X, Z)
    assert gx.dtype == np.float64
    assert gz.dtype == np.complex128
    np.testing.assert_allclose(gx, 2 * (np.conj(X * Z - 1j) * Z).real, rtol=1e-13)
    np.testing.assert_allclose(gz, 2 * np.conj(X * Z - 1j) * X, rtol=1e-13)


# --- holomorphic


def test_holomorphic_derivatives():
    f = np.sin
    derivative = grad(f, holomorphic=True)(0.3 + 0.4j)
    assert derivative == pytest.approx(np.cos(0.3 + 0.4j), rel=1e-14)
    value, derivative = value_and_grad(lambda z: z**3, holomorphic=True)(1 + 2j)
    assert (value, derivative) == (pytest.approx((1 + 2j) ** 3), 3 * (1 + 2j) ** 2)
    np.testing.assert_allclose(
        elementwise_grad(np.exp, holomorphic=True)(Z), np.exp(Z), rtol=1e-14
    )
    second = grad(grad(np.exp, holomorphic=True), holomorphic=True)
    assert second(1j) == pytest.approx(np.exp(1j), rel=1e-14)


def test_holomorphic_is_taken_on_trust():
    """conj is not holomorphic; along the real axis its derivative is 1."""
    assert grad(np.conj, holomorphic=True)(0.3 + 0.4j) == 1


def raised(program, *args):
    with pytest.raises(DifferentiationError) as error:
        program(*args)
    return re.sub(r"^\S+:\d+ in \S+: ", "", str(error.value))


def test_a_complex_result_needs_holomorphic():
    def f(z):
        return np.sum(z * z)

    way_out = (
        "Pass holomorphic=True if the function is complex differentiable, return a "
        "real number, or use vjp or jvp."
    )
    for kind in (grad, value_and_grad, elementwise_grad):
        for z in (Z, X):
            g = kind(f if z is Z else lambda x: np.sum(x * 1j))
            name = "f" if z is Z else "<lambda>"
            assert raised(g, z) == (
                f"{kind.__name__}: {name} returned c128[], and the derivative of a "
                f"complex result is no gradient. {way_out}"
            )
    assert raised(grad(lambda z: z * z), 1j).startswith(
        "grad: <lambda> returned complex, and"
    )


def test_holomorphic_needs_complex_arguments_and_results():
    way_out = "Leave holomorphic=True away, or convert with .astype(complex)."
    assert raised(grad(lambda x: np.sum(x * 1j), holomorphic=True), X) == (
        "grad with holomorphic=True needs complex arguments and results, but <lambda> "
        f"has an argument f64[3]. {way_out}"
    )
    assert raised(grad(lambda z: np.sum(np.abs(z)), holomorphic=True), Z) == (
        "grad with holomorphic=True needs complex arguments and results, but <lambda> "
        f"has a result f64[]. {way_out}"
    )


# --- what goes in and out


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_arrays_scalars_and_constants(dtype):
    z = Z.astype(dtype)
    table = (Z * 2).astype(dtype)

    def f(z, s):
        return z * table + s, z.real, z.imag, z.conj(), np.sum(z), s * 2, abs(s)

    g = jit(f)
    for s in (1.5 - 2j, dtype(0.5 + 1j), 3.0):
        answers, expected = g(z, s), f(z, s)
        for a, e in zip(answers, expected, strict=True):
            assert type(a) is type(e)
            assert np.asarray(a).dtype == np.asarray(e).dtype
            tolerance = 1e-6 if dtype is np.complex64 else 1e-14
            np.testing.assert_allclose(a, e, rtol=tolerance)
    assert g.stats().traces == 3
    table[0] = 7j  # captured by reference
    np.testing.assert_allclose(g(z, 1j)[0], f(z, 1j)[0], rtol=1e-6)
    assert g.stats().traces == 3


def test_non_contiguous_arguments_and_captures():
    grid = np.arange(24.0).reshape(4, 6) * (1 + 0.5j)
    captured = grid[::2, 1::2]

    def f(z):
        return np.sum(np.abs(z * captured[:, ::-1]) ** 2)

    g = value_and_grad(f)
    for z in (grid[1::2, ::2], grid.T[::2, :2].T, np.asfortranarray(grid[:2, :3])):
        value, gradient = g(z)
        assert value == pytest.approx(f(z), rel=1e-13)
        expected = 2 * np.conj(z) * np.abs(captured[:, ::-1]) ** 2
        np.testing.assert_allclose(gradient, expected, rtol=1e-13)
    assert g.stats().traces == 1
    grid[0, 1] = 100.0
    assert g(grid[1::2, ::2])[0] == pytest.approx(f(grid[1::2, ::2]), rel=1e-13)


def test_zero_dimensional_and_empty_arrays():
    f = jit(lambda z: (z * 1j, z.real))
    out, real = f(np.array(2 + 1j))
    assert (out, real, type(out)) == (-1 + 2j, 2.0, np.complex128)
    out, real = f(np.zeros((0, 3), complex))
    assert out.shape == real.shape == (0, 3)
    assert out.dtype == np.complex128


def test_the_same_values_complex_and_as_pairs():
    """An output that is complex, and a real one of the same memory."""

    def f(z):
        w = np.exp(z)
        return w, np.stack([w.real, w.imag], axis=-1)

    w, pairs = jit(f)(Z)
    assert (w.dtype, pairs.dtype) == (np.complex128, np.float64)
    np.testing.assert_array_equal(pairs, np.stack([w.real, w.imag], axis=-1))
    assert not np.shares_memory(w, pairs)


def test_large_results_from_the_pool():
    z = np.linspace(0, 1, 1 << 18) * (1 + 1j)
    f = grad(lambda z: np.sum(np.abs(z) ** 2))
    for _ in range(3):
        gradient = f(z)
        np.testing.assert_allclose(gradient, 2 * np.conj(z), rtol=1e-13)
        del gradient


def test_promotion_is_numpys():
    small = X.astype(np.float32)
    f = jit(lambda x: (x * 1j, x + np.complex128(1), (x + 0j).real, x.astype("c8")))
    for x in (small, X, np.arange(3)):
        for a, e in zip(f(x), f.__wrapped__(x), strict=True):
            assert a.dtype == e.dtype


def test_a_conversion_to_real_warns():
    def f(z):
        return z.astype(float)

    text = "Casting complex values to real discards the imaginary part"
    with pytest.warns(np.exceptions.ComplexWarning, match=text) as seen:
        answer = jit(f)(Z)
    assert seen[0].filename == __file__
    np.testing.assert_array_equal(answer, Z.real)


# --- Python's complex numbers


def test_python_numbers():
    def f(z, x):
        return z * x + 1, z**2, z.conjugate(), z.real, z.imag, abs(z), x**0.5, z == x

    g = jit(f)
    for z, x in ((1 + 2j, 4.0), (0.5j, -9.0), (2 + 0j, 2.0)):
        for a, e in zip(g(z, x), f(z, x), strict=True):
            assert type(a) is type(e)
            assert a == pytest.approx(e, rel=1e-14)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (lambda z: z < 2, "'<' not supported between instances of 'complex' and 'int'"),
        (
            lambda z: z >= 2.0,
            "'>=' not supported between instances of 'complex' and 'float'",
        ),
        (lambda z: max(z, z * 2), "'>' not supported between instances of"),
        (lambda z: z.conj(), "'complex' object has no attribute 'conj'"),
    ],
)
def test_python_numbers_have_no_order(program, text):
    kind = AttributeError if "attribute" in text else TypeError
    with pytest.raises(kind, match=re.escape(text)):
        program(1j)
    with pytest.raises(kind, match=re.escape(text)):
        jit(program)(1j)


def test_division_by_zero_is_pythons():
    f = jit(lambda z: 1 / z)
    assert f(2j) == -0.5j
    with pytest.raises(ZeroDivisionError, match="complex division by zero"):
        f(0j)
    assert f.stats().traces == 1
    g = jit(lambda z: z ** (-1 + 0j))
    with pytest.raises(ZeroDivisionError):
        g(0j)
    assert g(2j) == pytest.approx(-0.5j)


# --- decisions and loops


def test_guards_on_equality():
    def f(z):
        if z[0] == 1j:
            return z * 2
        return z * 3

    g = jit(f)
    for first in (1j, 2.0, 1j, 1 + 1j):
        z = np.array([first, 1.0], complex)
        np.testing.assert_array_equal(g(z), f(z))
    assert g.stats().traces == 2


def test_truth_of_a_complex_number():
    f = jit(lambda z: z * 2 if z else z + 1)
    assert [f(z) for z in (1j, 0j, 2 + 0j)] == [2j, 1, 4]
    assert f.stats().traces == 2


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_arrays_have_numpys_order():
    f = jit(lambda a, b: (a < b, a >= b, np.maximum(a, b), np.minimum(a, b)))
    a = np.array([1 + 2j, 1 + 1j, np.nan, complex(1, np.nan), 0])
    b = np.array([1 + 1j, 2 + 0j, 1, 0, 0])
    for answer, expected in zip(f(a, b), f.__wrapped__(a, b), strict=True):
        np.testing.assert_array_equal(answer, expected)


def test_a_loop_with_complex_carries_rolls():
    def f(z, c):
        total = np.zeros(3)
        for k in range(1, 40):
            z = z * z * (0.5 + 0.1j) + c / k
            total = total + np.abs(z)
        return np.sum(total)

    g = value_and_grad(f, argnums=(0, 1))
    c = np.array([0.1j, 0.2, -0.3 + 0.1j])
    assert [i.prim.name for i in g.tape(Z * 0.3, c).instrs].count("loop") == 2
    value, _ = g(Z * 0.3, c)
    assert value == pytest.approx(f(Z * 0.3, c), rel=1e-13)
    check_grads(f, (Z * 0.3, c), order=1)


def test_escape_times():
    """The loop ends inside the kernel: one trace for all numbers of rounds."""

    def escape(c):
        z, n = 0 * c, 0.0 * c.real
        while abs(z) < 2.0:
            z = z * z + c
            n = n + 1.0
        return n, z

    f = jit(escape)
    points = [0.4 + 0.5j, 1.0 + 1.0j, 0.5 + 0.6j, -0.75 + 0.2j, 2.0 + 2.0j]
    for c in points:
        n, z = f(c)
        expected, z_expected = escape(c)
        assert n == expected
        assert z == pytest.approx(z_expected, rel=1e-9)
    assert f.stats().traces <= 2


def test_linear_algebra_of_products():
    rng = np.random.default_rng(3)

    def draw(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    a, b, v, x = draw(20, 30), draw(30, 12), draw(30), rng.normal(size=(30, 4))

    def f(a, b, v):
        return (
            a @ b,
            a @ v,
            a @ x,
            np.vdot(v, v * 1j),
            np.inner(v, v),
            np.einsum("ij,jk->ki", a, b),
            np.outer(v, v).sum(0),
            np.vecdot(v, 2j * v),
            np.linalg.norm(v),
        )

    for answer, expected in zip(jit(f)(a, b, v), f(a, b, v), strict=True):
        assert answer.dtype == expected.dtype
        np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)
    check_grads(lambda a, b: np.sum(np.abs(a @ b) ** 2), (a, b), order=1)
    check_grads(lambda v: np.vdot(v, v * (1 + 2j)), (v,), order=2)
    check_grads(lambda v: np.linalg.norm(v), (v,), order=2)


def test_reductions():
    z = np.array([[1 + 2j, 0.5 - 1j, 2j], [3.0, -1 + 1j, 0.1 + 0.2j]])

    def f(z):
        return (
            z.sum(0),
            z.prod(1),
            np.prod(z),
            z.mean(),
            np.cumsum(z, 1),
            np.cumprod(z, 0),
            z.var(1, ddof=1),
            z.std(),
            np.any(z, 0),
            np.count_nonzero(z),
        )

    for answer, expected in zip(jit(f)(z), f(z), strict=True):
        assert np.asarray(answer).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(answer, expected, rtol=1e-13)
    zero = z.copy()
    zero[0, 1] = 0
    for x in (z, zero):
        check_grads(lambda z: np.prod(z, 1), (x,))
        check_grads(lambda z: np.cumprod(z, 1), (x,))
        check_grads(lambda z: z.var(), (x,))


def test_jacobians():
    def size(z):
        return np.abs(z) ** 2

    for kind in (jacobian, jacrev):
        np.testing.assert_allclose(kind(size)(Z), np.diag(2 * np.conj(Z)), rtol=1e-13)

    def wave(x):
        return np.exp(1j * x[:2] * x[2])

    found = jacobian(wave)(X)
    np.testing.assert_allclose(found, jacfwd(wave)(X))
    h = 1e-6
    numeric = [(wave(X + s) - wave(X - s)) / (2 * h) for s in h * np.eye(3)]
    np.testing.assert_allclose(found, np.transpose(numeric), rtol=1e-8)
    for kind in (jacobian, jacfwd, jacrev):
        found = kind(np.sin, holomorphic=True)(Z)
        np.testing.assert_allclose(found, np.diag(np.cos(Z)), rtol=1e-13)


def test_jacobians_that_are_refused():
    assert raised(jacobian(np.sin), Z).startswith(
        "jacobian: sin returned c128[3], and the derivative of a complex result is no"
    )
    assert raised(jacrev(lambda x: x * 1j), X).startswith(
        "jacrev: <lambda> returned c128[3], and the derivative of a complex result is"
    )
    assert raised(jacfwd(np.abs), Z) == (
        "jacfwd: absolute takes c128[3], and a column for each input says nothing "
        "about imaginary directions. Use jacrev, or pass holomorphic=True if the "
        "function is complex differentiable."
    )
    assert raised(hessian(lambda z: np.sum(np.abs(z))), Z) == (
        "hessian: <lambda> takes or returns complex numbers. Write it as a function of "
        "the real and the imaginary part."
    )


def test_a_tape_with_complex_constants_reads_back():
    from tracejit.text import parse_tape, print_tape

    tape = jit(lambda z: z * (1 - 2j)).tape(Z)
    text = print_tape(tape, sources=False)
    assert "c128[] = complex(1.0, -2.0)" in text
    assert print_tape(parse_tape(text)) == text


def test_checked_calls(monkeypatch):
    """The kernel is compared with the interpreter, NaN in place."""
    monkeypatch.setattr(tracejit.config, "CHECK", True)
    f = jit(lambda z: np.log(z) * z)
    with np.errstate(all="ignore"):
        f(np.array([1j, 0.5, np.nan]))
