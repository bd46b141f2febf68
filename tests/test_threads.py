"""Several Python threads call one function at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np

import tracejit as tj


def together(n, work):
    """Run `work(i)` in n threads that start at the same moment."""
    barrier = Barrier(n)

    def run(i):
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


def test_one_path_is_recorded_once():
    f = tj.value_and_grad(lambda x: np.sum(np.sin(x) * x))
    x = np.linspace(0, 1, 50)
    expected = np.cos(x) * x + np.sin(x)
    for _, gradient in together(8, lambda i: f(x)):
        np.testing.assert_allclose(gradient, expected)
    assert f.stats().traces == 1
    assert f.stats().hits == 7


def test_many_paths_and_shapes():
    def plain(x):
        return (x * x).sum() if x[0] > 0 else (-x).sum()

    f = tj.grad(plain)

    def work(i):
        rng = np.random.default_rng(i)
        for _ in range(100):
            x = rng.normal(size=rng.integers(1, 4))
            expected = 2 * x if x[0] > 0 else -np.ones_like(x)
            np.testing.assert_allclose(f(x), expected)

    together(4, work)
    assert f.stats().signatures == 3
    assert f.stats().traces == 6
    assert f.stats().hits == 400 - 6


def test_large_arrays_do_not_share_workspaces():
    f = tj.value_and_grad(lambda x: np.sum(np.exp(x) @ np.exp(x).T))

    def work(i):
        x = np.full((60, 40), 0.01 * i)
        for _ in range(20):
            value, gradient = f(x)
            np.testing.assert_allclose(value, 60 * 60 * 40 * np.exp(0.02 * i))
            np.testing.assert_allclose(gradient, 2 * 60 * np.exp(0.02 * i))

    together(4, work)
    assert f.stats().traces == 1


def test_a_recording_in_one_thread_does_not_touch_another():
    started, finish = Event(), Event()

    @tj.jit
    def fast(x):
        return x + 1

    x = np.ones(3)
    fast(x), fast(x)

    def work(i):
        if i == 0:

            def slow(x):
                started.set()
                finish.wait(10)
                return x * 2

            return tj.jit(slow)(x)
        started.wait(10)
        answers = [fast(x) for _ in range(10)]
        plain = np.zeros(2) + np.ones(2)
        finish.set()
        assert type(plain) is np.ndarray
        return answers[-1]

    slow_answer, fast_answer = together(2, work)
    np.testing.assert_array_equal(slow_answer, 2 * x)
    np.testing.assert_array_equal(fast_answer, x + 1)
    assert fast.stats().traces == 1
    assert fast.stats().hits == 11
