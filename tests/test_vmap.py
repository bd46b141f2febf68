"""vmap: equal to a Python loop over the examples, and only what it must compute."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejit import config, grad, hessian, jacobian, jit, value_and_grad, vmap
from tracejit.dispatch import Examples
from tracejit.errors import ArgumentError, UnsupportedError

RNG = np.random.default_rng(7)


def rows(fun, *args):
    """The same by a loop."""
    return np.stack([fun(*one) for one in zip(*args, strict=True)])


# --- one kernel -----------------------------------------------------------------------


def dense(w, x):
    return np.sum(np.tanh(w @ x) ** 2)


def test_one_kernel_where_nothing_is_decided():
    w, xs = RNG.normal(size=(3, 4)), RNG.normal(size=(10, 4))
    f = vmap(value_and_grad(dense), in_axes=(None, 0))
    values, gradients = f(w, xs)
    np.testing.assert_allclose(values, [dense(w, x) for x in xs])
    np.testing.assert_allclose(gradients, [grad(dense)(w, x) for x in xs])
    assert f.stats().traces == f.stats().kernels_compiled == 1
    more = RNG.normal(size=(31, 4))
    np.testing.assert_allclose(f(w, more)[0], [dense(w, x) for x in more])
    assert f.stats().kernels_compiled == 1


def test_axes_in_and_out():
    a, b = RNG.normal(size=(3, 5)), RNG.normal(size=(5, 3, 2))
    f = vmap(lambda p, q: {"dot": p @ q, "p": p}, (1, 0), {"dot": -1, "p": 0})
    got = f(a, b)
    np.testing.assert_allclose(got["dot"], np.einsum("in,nij->jn", a, b))
    np.testing.assert_array_equal(got["p"], a.T)


def test_containers_and_shared_parts():
    params = {"w": RNG.normal(size=(4, 3)), "b": 0.5}
    f = vmap(lambda p, x: p["w"] * x + p["b"], in_axes=({"w": 0, "b": None}, None))
    x = np.arange(3.0)
    np.testing.assert_allclose(f(params, x), params["w"] * x + 0.5)


def test_keywords_are_mapped_over_axis_0():
    f = vmap(lambda x, y: x * y)
    np.testing.assert_allclose(f(np.arange(3.0), y=np.arange(3.0)), [0.0, 1.0, 4.0])


def test_what_is_the_same_for_all_may_stay_so():
    f = vmap(lambda x, s: (x + s, s * 2), in_axes=(0, None), out_axes=(0, None))
    got = f(np.arange(3.0), 2.0)
    np.testing.assert_array_equal(got[0], [2.0, 3.0, 4.0])
    assert got[1] == 4.0
    assert np.ndim(got[1]) == 0
    repeated = vmap(lambda x, s: s * 2, in_axes=(0, None))(np.arange(3.0), 2.0)
    np.testing.assert_array_equal(repeated, [4.0, 4.0, 4.0])


def test_inside_grad_and_around_it():
    xs = RNG.normal(size=(6, 3))

    def total(w):
        return np.sum(vmap(lambda x: np.sin(x @ w))(xs))

    w = RNG.normal(size=3)
    np.testing.assert_allclose(grad(total)(w), np.cos(xs @ w) @ xs)
    second = vmap(hessian(lambda x: np.sum(x**3)))(xs)
    np.testing.assert_allclose(second, [np.diag(6 * x) for x in xs])
    np.testing.assert_allclose(
        jacobian(vmap(lambda x: x**2))(np.arange(3.0)), np.diag([0.0, 2.0, 4.0])
    )


def test_nested():
    a, b = RNG.normal(size=(3, 2)), RNG.normal(size=(4, 2))
    table = vmap(vmap(np.dot, (None, 0)), (0, None))
    np.testing.assert_allclose(table(a, b), a @ b.T)


def test_loops_stay_loops():
    def power(x, n=40):
        y = x
        for _ in range(n):
            y = y * x + 0.1
        return y

    xs = np.linspace(0.1, 0.9, 7)
    f = vmap(grad(power))
    np.testing.assert_allclose(f(xs), rows(grad(power), xs))
    assert f.stats().traces == 1


# --- paths ----------------------------------------------------------------------------


def branchy(x):
    if x > 1:
        return np.log(x)
    if x < -1:
        return np.sqrt(-x)
    return x * x


def test_each_example_on_its_own_path():
    xs = np.array([0.5, 2.0, -3.0, 0.1, 9.0, -1.5])
    f = vmap(value_and_grad(branchy))
    with np.errstate(all="raise"):
        values, gradients = f(xs)
    np.testing.assert_allclose(values, rows(branchy, xs))
    np.testing.assert_allclose(gradients, rows(grad(branchy), xs))
    assert f.stats().traces == 3
    more = np.linspace(-5, 5, 1001)
    before = f.stats()
    np.testing.assert_allclose(f(more)[1], rows(grad(branchy), more))
    assert f.stats().traces == 3
    assert f.stats().kernels_compiled == before.kernels_compiled
    assert f.stats().interpreted == before.interpreted


def test_own_trip_counts():
    def newton(a):
        x = a
        while abs(x * x - a) > 1e-10:
            x = 0.5 * (x + a / x)
        return x

    f = vmap(grad(newton))
    a = np.geomspace(0.3, 3000, 500)
    np.testing.assert_allclose(f(a), 0.5 / np.sqrt(a), rtol=1e-8)
    assert f.stats().traces <= 5
    known = f.stats().traces
    np.testing.assert_allclose(f(a[::-1]), 0.5 / np.sqrt(a[::-1]), rtol=1e-8)
    assert f.stats().traces == known


def test_arrays_in_and_out():
    def f(x, m):
        if x.sum() > 0:
            return {"y": m @ x, "x": x, "n": 1}
        return {"y": -(m.T @ x), "x": 2 * x, "n": 0}

    xs, m = RNG.normal(size=(20, 3)), RNG.normal(size=(3, 3))
    got = vmap(f, in_axes=(0, None))(xs, m)
    for name in ("y", "x", "n"):
        np.testing.assert_allclose(got[name], [f(x, m)[name] for x in xs])


def test_axes_with_paths():
    xs = RNG.normal(size=(3, 8))
    got = vmap(lambda x: x * 2 if x[0] > 0 else x, 1, 1)(xs)
    np.testing.assert_allclose(got, np.where(xs[0] > 0, xs * 2, xs))


def test_constants_of_other_dtypes_on_other_paths():
    f = vmap(lambda x: 0 if x < 0 else x)
    got = f(np.array([-1.0, 2.5]))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [0.0, 2.5])
    single = f(np.array([2.5, -1.0], np.float32))
    assert single.dtype == np.result_type(np.float32, np.int64)


def test_structures_that_depend_on_what_is_shared():
    def f(x, p):
        if p > 0:
            return x if x > 0 else 0
        return (x, 2 if x > 1 else p)

    g = vmap(f, in_axes=(0, None))
    xs = np.array([-1.0, 0.5, 2.0])
    for p in (1.0, -1.0, 2.0, -3.0):
        expected = [f(x, p) for x in xs]
        expected = np.array(expected) if p > 0 else np.array(expected).T
        np.testing.assert_array_equal(g(xs, p), expected)
    negative = g(-xs[:1], 1.0)
    assert negative.dtype == np.float64
    with pytest.raises(ArgumentError, match="another"):
        vmap(lambda x: x if x > 0 else (x, x))(xs)


def test_dtypes_that_another_thread_has_widened_meanwhile(monkeypatch):
    def f(x):
        if x > 1:
            return 2
        return 1 if x > 0 else 0.5

    g = vmap(f)
    np.testing.assert_array_equal(g(np.array([0.5, 0.7])), [1, 1])
    one = Examples._one

    def and_another(self, *given):
        monkeypatch.setattr(Examples, "_one", one)
        g(np.array([0.5, -1.0]))
        return one(self, *given)

    monkeypatch.setattr(Examples, "_one", and_another)
    for _ in range(2):
        np.testing.assert_array_equal(g(np.array([0.5, 2.0, 3.0])), [1, 2, 2])


def test_nested_with_paths():
    xs = RNG.normal(size=(4, 5)) * 2
    f = vmap(vmap(grad(branchy)))
    np.testing.assert_allclose(f(xs), [[grad(branchy)(x) for x in row] for row in xs])
    assert f.stats().traces == 3
    scale = vmap(vmap(lambda x, s: s * branchy(x), (0, None)), (None, 0))
    got = scale(xs[0], np.array([1.0, 2.0]))
    np.testing.assert_allclose(got, [rows(branchy, xs[0]) * s for s in (1, 2)])


def test_paths_inside_another_transform():
    def total(s):
        return np.sum(vmap(branchy)(s * np.array([-1.0, 0.2, 3.0])))

    expected = lambda s: -1 / (2 * np.sqrt(s)) * -1 + 2 * s * 0.04 + 1 / s  # noqa: E731
    for s in (1.5, 2.0):
        np.testing.assert_allclose(grad(total)(s), expected(s))


def test_captured_arrays_are_seen_as_they_are():
    weights = np.array([1.0, 2.0])

    def f(x):
        return x @ weights if x[0] > 0 else x[1]

    xs = np.array([[1.0, 1.0], [-1.0, 4.0]])
    g = vmap(f)
    np.testing.assert_array_equal(g(xs), [3.0, 4.0])
    weights[0] = 10.0
    np.testing.assert_array_equal(g(xs), [12.0, 4.0])
    assert g.stats().traces == 2
    weights = np.array([0.0, 1.0])
    np.testing.assert_array_equal(g(xs), [1.0, 4.0])


def test_many_paths_are_not_all_compiled():
    def digits(x):
        total = 0.0
        for k in range(5):
            total = total + (x[k] ** 2 if x[k] > 0 else x[k])
        return total

    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T * 0.5
    f = vmap(digits)
    np.testing.assert_allclose(f(signs), [digits(x) for x in signs])
    assert f.stats().traces <= 32
    again = f(signs[::-1])
    np.testing.assert_allclose(again, [digits(x) for x in signs[::-1]])


def test_threads_give_the_same(monkeypatch):
    xs = RNG.normal(size=4000) * 2
    f = vmap(grad(branchy))
    alone = f(xs)
    monkeypatch.setattr(config, "PARALLEL_WORK", 10)
    monkeypatch.setattr(config, "THREADS", 4)
    np.testing.assert_array_equal(f(xs), alone)
    found = []
    callers = [threading.Thread(target=lambda: found.append(f(xs))) for _ in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    for got in found:
        np.testing.assert_array_equal(got, alone)


def test_errors_come_from_the_line_of_the_example():
    def solve(a, b):
        return np.linalg.solve(a, b) if b[0] > 0 else b

    good = np.stack([np.eye(2)] * 3)
    f = vmap(solve)
    f(good, np.ones((3, 2)))
    good[1] = 0.0
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        f(good, np.ones((3, 2)))
    good[1] = np.eye(2)
    np.testing.assert_array_equal(f(good, np.ones((3, 2))), np.ones((3, 2)))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=12),
    st.lists(st.sampled_from(["if", "while", "where", "plain"]), max_size=3),
)
def test_random_programs(xs, parts):
    def f(x):
        y = x * 1.5
        for k, part in enumerate(parts):
            if part == "if":
                y = y + 1.0 if y > k else y * 0.5
            elif part == "while":
                while y * y > 2.0:
                    y = y / 2.0
            elif part == "where":
                y = np.where(y > 0, y, -y)
            else:
                y = np.sin(y) + k
        return y

    xs = np.array(xs)
    np.testing.assert_allclose(vmap(f)(xs), [f(x) for x in xs], rtol=1e-12)
    np.testing.assert_allclose(
        vmap(grad(f))(xs), [grad(f)(x) for x in xs], rtol=1e-12, atol=1e-14
    )


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: vmap(np.add)(np.ones(3), np.ones(4)),
            "vmap: x1 has 3 examples and x2 has 4. Mapped axes must have one length.",
        ),
        (
            lambda: vmap(lambda x, y: x)(np.ones(3), 2.0),
            (
                "vmap: argument y is float and has no axis 0. Set its in_axes to None "
                "if all examples share it."
            ),
        ),
        (
            lambda: vmap(lambda x: x, 2)(np.ones((3, 2))),
            "vmap: argument x is f64[3,2] and has no axis 2. Its axes are 0 to 1.",
        ),
        (
            lambda: vmap(lambda x: x, None)(np.ones(3)),
            "vmap: no argument is mapped. Set in_axes of at least one of them.",
        ),
        (
            lambda: vmap(lambda x: x)(np.ones((0, 2))),
            "vmap: there are no examples. Call it with at least one.",
        ),
        (
            lambda: vmap(lambda x, y: x, (0,))(np.ones(3), np.ones(3)),
            (
                "vmap: in_axes=(0,), but <lambda> was called with 2 positional "
                "arguments. Give an int, None, or one of these for each argument."
            ),
        ),
        (
            lambda: vmap(lambda p: p["a"], ({"b": 0},))({"a": np.ones(3)}),
            (
                "vmap: in_axes=({'b': 0},) has not the structure of what it is for. "
                "Give an int or None, or containers of them as in the arguments."
            ),
        ),
        (
            lambda: vmap(lambda x: x, 0, None)(np.ones(3)),
            (
                "vmap: out_axes is None for a result that differs between the "
                "examples. Give the axis that runs over the examples."
            ),
        ),
        (
            lambda: vmap(lambda x, p: (max(x, 0.0), p), (0, None), (0, None))(
                np.ones(3), 2.0
            ),
            (
                "vmap: out_axes is None, but the function decides on its example, so "
                "that each has a result of its own. Give the axis that runs over the "
                "examples."
            ),
        ),
        (
            lambda: vmap(lambda x: x, 0, 1)(np.ones(3)),
            "vmap: out_axes=1, but a result has 1 axes. Give an axis from -1 to 0.",
        ),
        (
            lambda: vmap(lambda x: x if x > 0 else (x, x))(np.array([1.0, -1.0])),
            (
                "<lambda> returns shape () for one example of the batch and tuple of "
                "shapes (), () for another. Return the same structure and shapes on "
                "every path."
            ),
        ),
    ],
)
def test_what_is_refused(call, text):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value).partition(": ")[2] == text


@pytest.mark.parametrize("decides", [False, True])
def test_what_is_shared_is_not_written_to(decides):
    def f(x, total):
        total[0] += x if not decides or x > 0 else 0.0
        return np.sum(total)

    g = vmap(f, in_axes=(0, None))
    xs, total = np.array([1.0, -2.0, 3.0]), np.ones(2)
    for call in (g, jit(g), lambda x, t: vmap(g, (0, None))(x[None], t)):
        with pytest.raises(UnsupportedError, match="writes to an array from outside"):
            call(xs, total)
        np.testing.assert_array_equal(total, [1.0, 1.0])
    np.testing.assert_array_equal(
        vmap(f)(xs, np.ones((3, 2))), [f(x, np.ones(2)) for x in xs]
    )


def test_text_cannot_be_stacked():
    with pytest.raises(UnsupportedError, match="returned a str, which cannot be"):
        vmap(lambda x: "a" if x > 0 else "b")(np.array([1.0, -1.0]))


def test_a_method_and_a_partial_batch():
    class Model:
        rate = 2.0

        @vmap
        def scaled(self, x):
            return self.rate * x if x > 0 else x

    np.testing.assert_array_equal(
        Model().scaled(np.array([1.0, -1.0])), np.array([2.0, -1.0])
    )


def test_under_jit():
    f = jit(lambda xs: vmap(branchy)(xs))
    xs = np.array([0.5, 2.0, -3.0])
    np.testing.assert_allclose(f(xs), rows(branchy, xs))


def test_rounds_beyond_all_seen_before():
    def power(x):
        y = x
        while y < 1000.0:
            y = y * x
        return y

    f = vmap(grad(power))
    xs = np.array([3.0, 2.0, 1.5])
    np.testing.assert_allclose(f(xs), [grad(power)(x) for x in xs])
    kernels = f.stats().kernels_compiled
    slow = np.array([1.5, 1.01, 1.001, 2.0])
    np.testing.assert_allclose(f(slow), [grad(power)(x) for x in slow], rtol=1e-9)
    assert f.stats().kernels_compiled <= kernels + 1
