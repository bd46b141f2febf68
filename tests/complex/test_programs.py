"""Complex numbers through everything else: batches, loops, writes, rules, captures."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import (
    checkpoint,
    custom_jvp,
    fori_loop,
    grad,
    jit,
    scan,
    value_and_grad,
    vmap,
)

RNG = np.random.default_rng(2)
Z = RNG.normal(size=(6, 3)) + 1j * RNG.normal(size=(6, 3))
pytestmark = pytest.mark.compiles


def test_vmap():
    def f(z):
        return np.sum(np.abs(z) ** 2 * z.real)

    slope = grad(f)
    np.testing.assert_allclose(vmap(slope)(Z), [slope(z) for z in Z], rtol=1e-13)
    product, size = vmap(lambda z, w: (z * w, abs(z[0])), in_axes=(0, None))(Z, Z[0])
    np.testing.assert_allclose(product, Z * Z[0], rtol=1e-13)
    np.testing.assert_allclose(size, np.abs(Z[:, 0]), rtol=1e-13)


def test_every_example_has_its_own_number_of_rounds():
    def escape(c):
        z, n = 0 * c, 0.0 * c.real
        while abs(z) < 2.0 and n < 50:
            z = z * z + c
            n = n + 1.0
        return n, z

    points = np.array([0.4 + 0.5j, 1 + 1j, 2 + 2j, -0.7 + 0.3j, 0.1j])
    rounds, ends = vmap(escape)(points)
    expected = [escape(c) for c in points]
    np.testing.assert_array_equal(rounds, [n for n, _ in expected])
    np.testing.assert_allclose(ends, [z for _, z in expected], rtol=1e-6)


def test_loops_that_are_written_as_loops():
    def f(z):
        last, path = scan(lambda c, x: (c * x + 1j, c), z[0], z)
        end = fori_loop(0, 20, lambda i, c: c * (0.9 + 0.1j) + i, z[0])
        return np.sum(np.abs(last) + np.abs(path) ** 2) + np.sum(np.abs(end))

    def plain(z):
        last, path = z[0], []
        for x in z:
            path.append(last)
            last = last * x + 1j
        end = z[0]
        for i in range(20):
            end = end * (0.9 + 0.1j) + i
        return np.sum(np.abs(last) + np.abs(np.array(path)) ** 2) + np.sum(np.abs(end))

    value, gradient = value_and_grad(f)(Z)
    assert value == pytest.approx(plain(Z), rel=1e-12)
    np.testing.assert_allclose(gradient, grad(plain)(Z), rtol=1e-10)


def test_writes():
    def f(z):
        out = np.zeros(3, complex)
        out[1] = z[0] * 2
        out[2:] = z[1:2]
        out[0] += 1j
        z = z.copy()
        z[0] *= 2j
        return out, z

    for answer, expected in zip(jit(f)(Z[0]), f(Z[0]), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=1e-14)
    weights = np.array([1.0, 2j, -1.0])
    slope = grad(lambda z: np.sum(f(z)[0] * weights).real)(Z[0])
    np.testing.assert_allclose(slope, [4j, -1.0, 0.0])


def test_objects_and_numbers_from_outside():
    class Model:
        weights = Z[0]
        turn = 2j

    model = Model()
    f = jit(lambda x: x @ model.weights * model.turn)
    np.testing.assert_allclose(f(Z), Z @ Z[0] * 2j, rtol=1e-13)
    model.weights, model.turn = Z[1], 1 - 1j
    np.testing.assert_allclose(f(Z), Z @ Z[1] * (1 - 1j), rtol=1e-13)


def test_rules_of_the_user():
    def body(z):
        return np.exp(z) * z

    def size(fun):
        return grad(lambda z: np.sum(np.abs(fun(z))))(Z)

    np.testing.assert_allclose(size(checkpoint(body)), size(body), rtol=1e-13)

    @custom_jvp
    def cube(z):
        return z**3

    cube.defjvp(lambda p, t: (p[0] ** 3, 3 * p[0] ** 2 * t[0]))
    assert grad(cube, holomorphic=True)(1 + 1j) == pytest.approx(6j)
    np.testing.assert_allclose(size(cube), size(lambda z: z**3), rtol=1e-12)


def test_single_precision_and_byte_order():
    small = Z.astype(np.complex64)
    product = jit(lambda z: z @ z.T.conj())(small)
    assert product.dtype == np.complex64
    np.testing.assert_allclose(product, small @ small.T.conj(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(jit(lambda z: z * 2)(Z.astype(">c16")), Z * 2)


def test_orders_are_lexicographic():
    def f(z):
        return np.sort(z), np.argmax(z), np.max(z), np.argsort(z)

    z = np.array([1 + 2j, 1 + 1j, -1 + 5j, 2 + 0j])
    for answer, expected in zip(jit(f)(z), f(z), strict=True):
        np.testing.assert_array_equal(answer, expected)


def test_functions_for_compiled_code():
    f = jit(lambda z: z * z + 1j)
    assert f.njit(1j)(2j) == -4 + 1j
