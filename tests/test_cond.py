"""cond: both sides are recorded, one of them runs."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import (
    cond,
    fori_loop,
    grad,
    hessian,
    jit,
    jvp,
    scan,
    value_and_grad,
    vmap,
    while_loop,
)
from tracejit.errors import ArgumentError, UnsupportedError


def logarithm(x):
    return cond(x > 0, np.log, lambda x: 2 * x, x)


def test_both_sides_are_one_path():
    slope = grad(logarithm)
    for x, want in ((4.0, 0.25), (-1.0, 2.0), (0.0, 2.0), (0.5, 2.0)):
        assert slope(x) == want
    stats = slope.stats()
    assert (stats.traces, stats.kernels_compiled, stats.guard_failures) == (1, 1, 0)


def test_without_a_recording_it_is_an_if():
    assert cond(True, lambda: 1, lambda: 1 / 0) == 1
    assert cond(np.array(0.0), lambda: 1 / 0, lambda: 2) == 2


def test_an_ordinary_truth_while_recording_is_an_if():
    f = jit(lambda x, flag: cond(flag, lambda: x, lambda: x[1:]), static_argnums=1)
    assert f(np.ones(3), True).shape == (3,)
    assert f(np.ones(3), False).shape == (2,)


def walk(cs, x):
    def step(c, v):
        return cond(c > v, lambda: c * v, lambda: c + np.sin(v)), c

    c, path = scan(step, cs, x)
    return c + np.sum(path**2)


def plain_walk(c, x):
    path = []
    for v in x:
        path.append(c)
        c = c * v if c > v else c + np.sin(v)
    return c + np.sum(np.array(path) ** 2)


def test_in_a_scan():
    both = value_and_grad(walk, argnums=(0, 1))
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.uniform(-1, 1, size=9)
        value, (dc, dx) = both(0.3, x)
        np.testing.assert_allclose(value, plain_walk(0.3, x), rtol=1e-12)
        want = grad(plain_walk, argnums=(0, 1))(0.3, x)
        np.testing.assert_allclose(dc, want[0], rtol=1e-10)
        np.testing.assert_allclose(dx, want[1], rtol=1e-10)
    assert both.stats().traces == 1


def test_higher_derivatives():
    x = np.linspace(-0.5, 1.0, 6)
    got = hessian(lambda x: walk(0.3, x))(x)
    np.testing.assert_allclose(got, hessian(lambda x: plain_walk(0.3, x))(x), rtol=1e-9)
    _, moved = jvp(lambda x: walk(0.3, x), (x,), (np.ones(6),))
    want = np.sum(grad(lambda x: plain_walk(0.3, x))(x))
    np.testing.assert_allclose(moved, want, rtol=1e-10)


def test_a_batch_takes_both_sides():
    x = np.array([1.0, -1.0, 2.0, 0.0])
    np.testing.assert_allclose(vmap(logarithm)(x), [logarithm(v) for v in x])
    np.testing.assert_array_equal(vmap(grad(logarithm))(x), [1.0, 2.0, 0.5, 2.0])


def test_in_other_loops():
    def f(x):
        x = fori_loop(
            0, 5, lambda i, x: cond(x > 1, lambda: x / 3, lambda: x * (i + 2)), x
        )
        return while_loop(
            lambda x: x < 50, lambda x: cond(x > 7, lambda: x * 5, lambda: x + 1), x
        )

    def plain(x):
        for i in range(5):
            x = x / 3 if x > 1 else x * (i + 2)
        while x < 50:
            x = x * 5 if x > 7 else x + 1
        return x

    both = value_and_grad(f)
    for x in (0.2, 0.9, 3.3):
        value, slope = both(x)
        np.testing.assert_allclose(value, plain(x), rtol=1e-12)
        want = (plain(x + 1e-6) - plain(x - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope, want, rtol=1e-6)
    assert both.stats().traces == 1


def test_a_loop_and_a_guard_in_a_side():
    def f(x, y):
        def side():
            z = x
            for _ in range(20):
                z = z + 0.1 * np.sin(z)
            return z if y > 0 else -z

        return cond(x > 0, side, lambda: y)

    def plain(x, y):
        if x <= 0:
            return y
        for _ in range(20):
            x = x + 0.1 * np.sin(x)
        return x if y > 0 else -x

    both = jit(f)
    tape = both.tape(1.0, 2.0)
    (side,) = [i.params["yes"] for i in tape.instrs if i.prim.name == "branch"]
    assert [i.params["trip"] for i in side.instrs if i.prim.name == "loop"] == [20]
    for x, y in ((1.0, 2.0), (-1.0, 2.0), (-1.0, -2.0), (1.0, -2.0), (1.0, 3.0)):
        np.testing.assert_allclose(both(x, y), plain(x, y), rtol=1e-12)
    # The guard counts on its own side only.
    assert both.stats().traces == 2


def test_a_side_that_these_values_do_not_stand_is_another_path():
    def f(a):
        return cond(
            np.min(a) > 0,
            lambda: np.sum(np.linalg.cholesky(np.diag(a))),
            lambda: np.sum(a),
        )

    both = jit(f)
    assert both(np.array([-1.0, 4.0])) == 3.0
    assert both(np.array([1.0, 4.0])) == 3.0
    assert both(np.array([1.0, 9.0])) == 4.0
    assert both(np.array([-2.0, 9.0])) == 7.0
    assert both.stats().traces == 2


@pytest.mark.filterwarnings("error")
def test_no_warning_of_the_other_side():
    assert jit(logarithm)(-1.0) == -2.0


def test_python_numbers_take_the_dtype_of_the_other_side():
    x = np.float32(2.0)
    f = jit(lambda x: cond(x > 0, lambda: 1, lambda: x))
    assert f(x).dtype == np.float32
    assert f(-x) == -2.0
    assert f.stats().traces == 1


def refused(f):
    with pytest.raises((ArgumentError, UnsupportedError)) as raised:
        jit(f)(np.array([1.0, 2.0, 3.0]))
    place = f"test_cond.py:{f.__code__.co_firstlineno} in <lambda>: "
    return type(raised.value), str(raised.value).removeprefix(place)


def test_sides_that_differ_are_refused():
    same = "Return the same structure, shapes and dtypes from both."
    assert refused(lambda x: cond(x[0] > 0, lambda: x, lambda: x[1:])) == (
        ArgumentError,
        f"cond: true_fun returns f64[3], false_fun f64[2]. {same}",
    )
    assert refused(lambda x: cond(x[0] > 0, lambda: (x, x), lambda: x)) == (
        ArgumentError,
        (
            "cond: true_fun returns the structure PyTreeSpec((*, *)), false_fun "
            f"PyTreeSpec(*). {same}"
        ),
    )


def test_an_array_is_no_truth():
    assert refused(lambda x: cond(x > 0, lambda: x, lambda: x)) == (
        ArgumentError,
        "cond on bool[3]. Give it one truth: np.any(pred) or np.all(pred).",
    )


def test_an_if_in_a_scan_names_cond():
    assert refused(
        lambda x: scan(lambda c, v: (c * v if c > v else c, None), 0.3, x)[0]
    ) == (
        UnsupportedError,
        (
            "Python code in a scan of <lambda> decides on a value that differs between "
            "iterations. Write cond(condition, f, g) or np.where(condition, a, b) "
            "instead of if, or a Python loop instead of the scan."
        ),
    )


def test_complex_numbers():
    f = jit(lambda x: cond(x > 0, lambda: x * 1j, lambda: x + 2j))
    assert (f(1.0), f(-1.0), f.stats().traces) == (1j, -1.0 + 2j, 1)
