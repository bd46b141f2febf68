"""Writes in loops: one loop on the tape, one element an iteration in the kernel."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad

N = 60
INDEX = np.arange(N) * 7 % 20


def recursion(x):
    y = np.zeros(N)
    y[0] = x[0]
    for i in range(1, N):
        y[i] = np.sin(y[i - 1]) + 0.1 * x[1] * i
    return np.sum(y * y)


def two_back(x):
    y = np.empty(N)
    y[0], y[1] = x[0], x[1]
    for i in range(2, N):
        y[i] = 0.5 * y[i - 1] + 0.3 * np.cos(y[i - 2])
    return y[-1] + y.sum()


def backwards(x):
    y = np.zeros(N)
    for i in range(N - 2, -1, -1):
        y[i] = 0.5 * y[i + 1] + x[0] * x[1] + i
    return np.sum(y)


def histogram(x):
    h = np.zeros(20)
    for k in INDEX:
        h[k] += x[0] * x[1]
    return np.sum(np.sin(h) * np.arange(20.0))


def rows(x):
    a = np.zeros((N, 3))
    a[0] = x[:3]
    for i in range(1, N):
        a[i] = np.sin(a[i - 1]) + x[1]
        a[i, 0] *= x[0]
    return np.sum(a * a)


def swaps(x):
    y = np.linspace(0.0, 1.0, N) * x[0]
    for i in range(N - 1):
        y[i], y[i + 1] = y[i + 1], 0.9 * y[i] + x[1]
    return np.sum(y * np.arange(float(N)))


def columns(x):
    a = np.zeros((3, N))
    for j in range(N):
        a[:, j] = x[:3] * j
    return np.sum(np.cos(a))


def two_arrays(x):
    u, v = np.zeros(N), np.zeros(N)
    u[0], v[0] = x[0], x[1]
    for i in range(1, N):
        u[i] = u[i - 1] + 0.1 * v[i - 1]
        v[i] = v[i - 1] - 0.1 * np.sin(u[i])
    return np.sum(u * v)


def through_a_view(x):
    y = np.zeros(N + 1)
    v = y[1:]
    for i in range(N):
        v[i] = y[i] * 0.5 + x[0] * x[1]
    return np.sum(y)


def whole(x):
    u = np.zeros(40)
    u[0] = x[0]
    for _ in range(30):
        u[1:-1] += 0.2 * x[1] * (u[2:] - 2.0 * u[1:-1] + u[:-2])
        u[-1] = u[-2]
    return np.sum(u * u)


def of_old_and_new(x):
    y = np.zeros(N)
    for i in range(N - 1):
        before = y[i]
        y[i] = x[0] + i
        y[i + 1] = before + y[i] * x[1]
    return np.sum(y)


FUNCTIONS = [
    recursion, two_back, backwards, histogram, rows, swaps, columns, two_arrays,
    through_a_view, whole, of_old_and_new,
]  # fmt: skip
X = np.array([0.3, 0.7, -0.2])


def loops(tape):
    return [i.params["trip"] for i in tape.instrs if i.prim.name == "loop"]


def difference(f, x, h=1e-6):
    steps = np.eye(len(x)) * h
    five = [
        (f(x - 2 * s) - 8 * f(x - s) + 8 * f(x + s) - f(x + 2 * s)) / (12 * h)
        for s in steps * 1e2
    ]
    return np.array(five) / 1e2


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_values_and_gradients(f):
    value, gradient = value_and_grad(f)(X.copy())
    np.testing.assert_allclose(value, f(X.copy()), rtol=1e-11)
    np.testing.assert_allclose(gradient, difference(f, X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_one_loop_forward_and_one_back(f):
    most = 2 if f is through_a_view else 1
    assert 1 <= len(loops(jit(f).tape(X))) <= most
    assert len(loops(grad(f).tape(X))) <= 2 * most


def stores(kernel, name="for"):
    """The longest nest of loops in a kernel's text."""
    depth = [
        (len(line) - len(line.lstrip())) // 4
        for line in kernel.source.splitlines()
        if line.lstrip().startswith(name)
    ]
    return max(depth)


@pytest.mark.parametrize(
    "f",
    [recursion, two_back, backwards, histogram, swaps, two_arrays, through_a_view],
    ids=lambda f: f.__name__,
)
def test_an_iteration_costs_what_it_writes(f):
    for transform in (jit, grad):
        compiled = transform(f)
        compiled(X.copy())
        (kernel,) = compiled.kernels()
        assert stores(kernel) == 1, kernel.source  # no loop inside a loop


def test_another_length_compiles_nothing():
    def f(x, n):
        y = np.zeros(n)
        y[0] = x
        for i in range(1, n):
            y[i] = 0.5 * np.sin(y[i - 1]) + x
        return y.sum()

    slope = grad(f)
    for n in (30, 300, 3000):
        h = 1e-6
        expected = (f(0.4 + h, n) - f(0.4 - h, n)) / (2 * h)
        np.testing.assert_allclose(slope(0.4, n), expected, rtol=1e-6)
    stats = slope.stats()
    assert (stats.traces, stats.kernels_compiled, stats.kernels_reused) == (3, 1, 2)
