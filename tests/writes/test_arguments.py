"""Writes into arguments: who sees them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad, vmap
from tracejit.errors import UnsupportedError

A = np.ones(3)


def step(x, y):
    x[0] = y.sum()
    x *= 2
    return x.sum()


def test_jit_writes_into_the_callers_array():
    compiled = jit(step)
    mine, plain = np.ones(3), np.ones(3)
    y = np.arange(3.0)
    for _ in range(4):
        assert compiled(mine, y) == step(plain, y)
        np.testing.assert_array_equal(mine, plain)
    assert compiled.stats().traces == 1
    np.testing.assert_array_equal(y, np.arange(3.0))


def test_arrays_of_any_layout_are_written_to():
    compiled = jit(lambda x: x.__setitem__((0, slice(1, None)), 5.0))
    for make in (np.asfortranarray, lambda a: a, lambda a: np.zeros((4, 6))[::2, ::2]):
        x = make(np.zeros((2, 3)))
        compiled(x)
        np.testing.assert_array_equal(x, [[0, 5, 5], [0, 0, 0]])


def test_arrays_in_containers():
    def program(params):
        params["w"] += 1.0
        return params["w"].sum()

    params = {"w": np.zeros(2), "b": np.zeros(2)}
    assert jit(program)(params) == 2.0
    np.testing.assert_array_equal(params["w"], [1.0, 1.0])
    np.testing.assert_array_equal(params["b"], [0.0, 0.0])


def test_transforms_write_into_copies():
    x, y = np.ones(3), np.arange(3.0)
    for transform in (grad, value_and_grad):
        for argnum in (0, 1):
            transform(step, argnums=argnum)(x, y)
            np.testing.assert_array_equal(x, np.ones(3))
    np.testing.assert_allclose(grad(step)(x, y), [0.0, 2.0, 2.0])
    np.testing.assert_allclose(grad(step, argnums=1)(x, y), [2.0, 2.0, 2.0])
    np.testing.assert_allclose(vmap(step)(np.ones((2, 3)), np.ones((2, 3))), [10, 10])


def test_a_path_that_does_not_write():
    def program(x):
        if x.sum() > 0:
            x[:] = 0.0
        return x.sum()

    compiled = jit(program)
    for start in (1.0, -1.0, 2.0, -2.0):
        x = np.full(3, start)
        compiled(x)
        np.testing.assert_array_equal(x, np.full(3, min(start, 0.0)))
    assert compiled.stats().traces == 2


def test_asking_for_the_tape_writes_nothing():
    x = np.ones(3)
    jit(step).tape(x, np.ones(3))
    np.testing.assert_array_equal(x, np.ones(3))


def test_an_exception_writes_nothing():
    def program(x):
        x[0] = 5.0
        raise RuntimeError("no")

    x = np.ones(3)
    with pytest.raises(RuntimeError):
        jit(program)(x)
    np.testing.assert_array_equal(x, np.ones(3))


def total(x):
    x += A
    return x.sum()


def test_shared_memory_is_refused():
    base = np.arange(6.0)
    compiled = jit(step)
    compiled(base[:3], base[3:])
    for x, y in ((base, base), (base[:4], base[2:])):
        before = base.copy()
        with pytest.raises(UnsupportedError) as caught:
            compiled(x, y)
        assert str(caught.value).partition(": ")[2] == (
            "the function writes into the argument x, which shares memory with y. Pass "
            "a copy of one of the two."
        )
        np.testing.assert_array_equal(base, before)
    with pytest.raises(UnsupportedError, match="shares memory with y"):
        grad(step)(base, base)
    with pytest.raises(UnsupportedError, match="shares memory with a captured array"):
        jit(total)(A)


def test_nested_functions_share_the_array():
    inner = jit(step)

    def program(x):
        y = np.zeros(3)
        inner(y, x)
        inner(y, x)
        return y.sum()

    x = np.arange(3.0)
    assert jit(program)(x) == program(x)
    np.testing.assert_allclose(grad(program)(x), [2.0, 2.0, 2.0])


def test_other_threads_notice_nothing():
    zeros, stop, wrong = np.zeros, threading.Event(), []

    def watch():
        while not stop.is_set():
            made = np.zeros(3)
            if type(made) is not np.ndarray:
                wrong.append(made)

    watcher = threading.Thread(target=watch)
    watcher.start()

    def program(x):
        y = np.zeros(3)
        for i in range(3):
            y[i] = x[i] ** 2
        return y.sum()

    try:
        for n in range(20):
            assert grad(lambda x, n=n: program(x) + n)(np.ones(3))[0] == 2.0
    finally:
        stop.set()
        watcher.join()
    assert not wrong
    assert np.zeros is zeros


def test_two_threads_record_at_once():
    def program(x):
        y = np.zeros(3)
        v = y[1:]
        y[0] = x[0]
        v += x[1:]
        return (y * v[0]).sum()

    found = {}

    def run(k):
        f = jit(lambda x: program(x) + k)
        found[k] = [float(f(np.full(3, k + 1.0))) for _ in range(3)]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        assert found[k] == [3 * (k + 1.0) ** 2 + k] * 3


def test_partition_in_place():
    def program(x):
        y = x * 1.0
        y.partition(2)
        x.partition((0, 1), axis=0)
        return y[:, 2] + x[1]

    x = np.random.default_rng(8).normal(size=(3, 3))
    kept, ours = x.copy(), x.copy()
    expected = program(kept)
    np.testing.assert_allclose(jit(program)(ours), expected)
    np.testing.assert_array_equal(ours[:2], kept[:2])


def test_assigned_attributes():
    def program(x):
        z = x + 1j * x**2
        w = z[1:]
        z.real = 2.0
        w.imag[0] = x[0]
        w.imag *= 3.0
        y = x * 1.0
        y.real *= 2.0
        y.flat = x[:2]
        return z, w, y

    x = np.array([0.5, 1.5, -2.0])
    for found, expected in zip(jit(program)(x), program(x), strict=True):
        np.testing.assert_allclose(found, expected)
    with pytest.raises(TypeError, match="array does not have imaginary part to set"):
        jit(lambda x: setattr(x * 1.0, "imag", 1.0))(x)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shape", "Write a = a.reshape(shape)."),
        ("dtype", "Write a = a.astype(dtype)."),
    ],
)
def test_attributes_that_cannot_be_assigned(name, text):
    with pytest.raises(UnsupportedError) as caught:
        jit(lambda x: setattr(x * 1.0, name, (3, 1)))(np.ones(3))
    assert str(caught.value).endswith(
        f"assigning the attribute {name!r} of a traced array cannot be recorded. {text}"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flags", "Ask about the ordinary array outside the function."),
        ("view", "Use x.astype for another dtype, and x[...] for a view."),
        ("tobytes", "Return the array and write it outside the function."),
    ],
)
def test_attributes_that_cannot_be_read(name, text):
    with pytest.raises(UnsupportedError) as caught:
        jit(lambda x: getattr(x, name))(np.ones(3))
    assert str(caught.value).endswith(
        f"the attribute {name!r} of a traced array cannot be recorded. {text}"
    )


def test_nan_to_num_in_place():
    def f(x):
        a = x * 1.0
        b = np.nan_to_num(a, copy=False)
        b[0] = 5.0 * x[2]
        return a, b

    x = np.array([1.0, np.nan, 3.0])
    for got, wanted in zip(jit(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(got, wanted)
