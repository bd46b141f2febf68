"""Large batches without decisions: one kernel for blocks, which threads share."""

import numpy as np
import pytest

from tracejit import config, errors, grad, primitive, value_and_grad, vmap

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What is large here, and three threads."""
    monkeypatch.setattr(config, "PARALLEL_WORK", 500)
    monkeypatch.setattr(config, "THREADS", 3)


def loss(w, x):
    return np.sum(np.tanh(w * x) ** 2)


def by_hand(w, xs):
    t = np.tanh(w * xs)
    return np.sum(t * t, axis=1), 2 * t * (1 - t * t) * xs


@pytest.mark.parametrize("count", [400, 1000, 1001, 1037])
def test_blocks_and_what_is_left_over(count):
    f = vmap(value_and_grad(loss), in_axes=(None, 0))
    w, drawn = RNG.normal(size=3), RNG.normal(size=(count, 3))
    for xs in (drawn, drawn + 1.0, drawn * 0.5):
        values, slopes = f(w, xs)
        expected = by_hand(w, xs)
        np.testing.assert_allclose(values, expected[0], rtol=1e-13)
        np.testing.assert_allclose(slopes, expected[1], rtol=1e-12, atol=1e-14)
    # The whole batch once, and a block.
    assert f.stats().traces == 2
    assert [t for t in f.explain().splitlines() if "example 0" in t]
    assert f.stats().interpreted == 0


def test_small_batches_and_one_thread_stay_whole(monkeypatch):
    f = vmap(lambda x: np.sin(x) * x)
    f(np.ones(100)), f(np.ones(100))
    assert f.stats().traces == 1
    monkeypatch.setattr(config, "THREADS", 1)
    g = vmap(lambda x: np.cos(x) * x)
    g(np.ones(10_000)), g(np.ones(10_000))
    assert g.stats().traces == 1


def test_axes_containers_and_shared_results():
    def f(p, x):
        return {"a": np.exp(p["s"] * x), "b": (p["s"] * 2.0, np.cumsum(x))}

    g = vmap(
        f,
        in_axes=({"s": None, "t": 1}, -1),
        out_axes={"a": 1, "b": (None, 0)},
    )
    p = {"s": 0.5, "t": np.ones((2, 3001))}
    x = RNG.normal(size=(4, 3001))
    for _ in range(3):
        out = g(p, x)
        np.testing.assert_allclose(out["a"], np.exp(0.5 * x), rtol=1e-13)
        np.testing.assert_allclose(out["b"][1], np.cumsum(x, axis=0).T, rtol=1e-13)
        assert out["b"][0] == 1.0
        assert np.shape(out["b"][0]) == ()
    assert g.stats().traces == 2


def test_decisions_on_what_is_shared_are_guards():
    f = vmap(lambda x, p: np.sin(x) if p > 0 else np.cos(x), in_axes=(0, None))
    x = np.linspace(0.0, 1.0, 3000)
    for p in (1.0, -1.0, 1.0, -1.0, 1.0):
        np.testing.assert_allclose(f(x, p), np.sin(x) if p > 0 else np.cos(x))
    # The whole batch with one outcome, blocks with both.
    assert f.stats().traces == 3


def test_what_is_shared_may_bring_decisions_another_structure_or_other_results():
    x = np.linspace(-1.0, 1.0, 3000)

    def decides(x, p):
        if p > 0:
            return np.sin(x)
        return x if x > 0 else -2.0 * x

    f = vmap(decides, in_axes=(0, None))
    for p in (1.0, 1.0, -1.0, 1.0, -1.0):
        expected = np.sin(x) if p > 0 else np.where(x > 0, x, -2.0 * x)
        np.testing.assert_allclose(f(x, p), expected)

    g = vmap(
        lambda x, p: np.sin(x) if p > 0 else (np.cos(x), p * x),
        in_axes=(0, None),
    )
    for p in (1.0, 1.0, -1.0, 1.0, -2.0):
        expected = np.sin(x) if p > 0 else (np.cos(x), p * x)
        np.testing.assert_allclose(g(x, p), expected)

    h = vmap(
        lambda x, p: (np.sin(x), p if p > 0 else p * x),
        in_axes=(0, None),
        out_axes=(0, None),
    )
    assert [h(x, 2.0)[1] for _ in range(2)] == [2.0, 2.0]
    with pytest.raises(errors.ArgumentError, match="out_axes is None"):
        h(x, -1.0)
    assert h(x, 3.0)[1] == 3.0


def test_captured_arrays_are_seen_as_they_are():
    scale = np.array([1.0, 2.0])
    f = vmap(lambda x: np.sum(scale * x))
    x = RNG.normal(size=(2001, 2))
    for _ in range(3):
        np.testing.assert_allclose(f(x), x @ scale, rtol=1e-13, atol=1e-15)
        scale[:] = scale[::-1] + 1.0


def test_results_belong_to_the_caller():
    f = vmap(lambda x: x * 2.0)
    x = np.arange(50_001.0)
    f(x)
    one, other = f(x), f(x + 1.0)
    one[:] = 0.0
    np.testing.assert_array_equal(other, 2.0 * (x + 1.0))
    np.testing.assert_array_equal(x, np.arange(50_001.0))
    assert f(x).flags.c_contiguous


def test_libraries_and_python_functions_stay_whole():
    host = primitive(lambda x: np.floor(x) + 0.0)
    for f in (vmap(lambda a: np.linalg.inv(a)[0, 0]), vmap(lambda a: np.sum(host(a)))):
        a = np.eye(2) + 0.1 * RNG.uniform(size=(3000, 2, 2))
        np.testing.assert_allclose(f(a), f(a))
        assert f.stats().traces == 1


def test_integers_and_other_dtypes():
    f = vmap(lambda n, x: (n * 2, x + n))
    n, x = np.arange(4001), np.ones(4001, "f4")
    for _ in range(2):
        doubled, total = f(n, x)
        assert doubled.dtype == n.dtype
        np.testing.assert_array_equal(doubled, 2 * n)
        np.testing.assert_allclose(total, x + n)


def test_a_result_that_differs_has_an_axis():
    f = vmap(lambda x: x * x, out_axes=None)
    for _ in range(2):
        with pytest.raises(errors.ArgumentError, match="out_axes is None"):
            f(np.ones(5000))


def test_inside_another_transform_nothing_changes():
    f = vmap(lambda x: x * x)
    x = np.arange(5000.0)
    f(x), f(x)
    np.testing.assert_allclose(grad(lambda x: np.sum(f(x)))(x), 2 * x)
