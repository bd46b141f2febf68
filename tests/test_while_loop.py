"""while_loop: recorded once, the plain `while` for any number of rounds."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj
from tracejit import config, grad, hessian, jacobian, jit, value_and_grad, while_loop
from tracejit.errors import ArgumentError, UnsupportedError

START = {"a": np.array([0.5, 0.2]), "n": 0.0}


def is_small(state):
    return np.linalg.norm(state["a"]) < 100.0


def step(state, r):
    a = state["a"]
    return {"a": a * r + 0.1 * np.cos(a), "n": state["n"] + a[0]}


def plain(test, body, value):
    while test(value):
        value = body(value)
    return value


def looped(loop, a, r):
    out = loop(is_small, lambda s: step(s, r), {"a": a, "n": 0.0})
    # The start is used after the loop, too.
    return np.sum(out["a"] * a) + out["n"] ** 2


def check(run, mine, theirs, *args):
    got, want = run(mine)(*args), run(theirs)(*args)
    for g, w in zip(np.atleast_1d(got), np.atleast_1d(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9)


def both(run, *args):
    check(run, lambda *a: looped(while_loop, *a), lambda *a: looped(plain, *a), *args)


RATES = (2.0, 1.3, 1.1)


@pytest.mark.parametrize("rate", RATES)
def test_values_and_derivatives_are_the_plain_loops(rate):
    a = np.array([0.5, 0.2])
    both(lambda f: f, a, rate)
    both(jit, a, rate)
    for argnums in (0, 1):
        both(lambda f, k=argnums: grad(f, argnums=k), a, rate)
    both(lambda f: jacobian(f), a, rate)
    both(lambda f: lambda a, r: tj.jvp(f, (a, r), (a, 1.0))[1], a, rate)
    both(lambda f: lambda a, r: hessian(f)(a, r).ravel(), a, rate)


@pytest.mark.compiles
def test_any_number_of_rounds_is_one_recording_and_one_kernel():
    f = value_and_grad(lambda a, r: looped(while_loop, a, r), argnums=1)
    g = lambda a, r: looped(plain, a, r)  # noqa: E731
    a = np.array([0.5, 0.2])
    f(a, 2.0)
    for rate in (1.3, 1.25, 1.0999, 1.8):
        value, slope = f(a, rate)
        np.testing.assert_allclose(value, g(a, rate), rtol=1e-9)
        h = 1e-6
        wanted = (g(a, rate + h) - g(a, rate - h)) / (2 * h)
        np.testing.assert_allclose(slope, wanted, rtol=1e-4)
    stats = f.stats()
    assert (stats.traces, stats.interpreted, len(f.kernels())) == (1, 0, 1)


@pytest.mark.compiles
def test_no_round():
    f = value_and_grad(lambda a, r: looped(while_loop, a, r))
    far = np.array([300.0, 1.0])
    for a in (far, np.array([0.5, 0.2]), far, np.array([99.0, 1.0])):
        value, slope = f(a, 1.5)
        np.testing.assert_allclose(value, looped(plain, a, 1.5))
        np.testing.assert_allclose(
            slope, grad(lambda a: looped(plain, a, 1.5))(a), rtol=1e-9
        )
    # A first call without a round knows nothing of the body.
    assert f.stats().traces == 2
    # With one, no round is nothing new.
    g = value_and_grad(lambda a, r: looped(while_loop, a, r))
    g(np.array([0.5, 0.2]), 1.5)
    np.testing.assert_allclose(g(far, 1.5)[1], f(far, 1.5)[1])
    assert g.stats().traces == 1


def settled(x):
    return while_loop(lambda x: x.sum() < 5.0, lambda x: x * 1.5 + 0.1, x)


def settled_plain(x):
    return plain(lambda x: x.sum() < 5.0, lambda x: x * 1.5 + 0.1, x)


def in_fori(inner):
    return lambda x: tj.fori_loop(0, 6, lambda i, x: inner(x * 0.01), x).sum()


def in_scan(inner):
    def loss(x):
        xs = np.array([0.1, 0.5, 2.0, 0.01])
        carry, ys = tj.scan(lambda c, v: (inner(c * 0.01 + v), c.sum()), x, xs)
        return carry.sum() + np.sum(ys**2)

    return loss


def in_python(inner):
    def loss(x):
        for _ in range(6):
            x = inner(x * 0.01)
        return x.sum()

    return loss


def in_while(inner):
    def loss(x):
        outer = while_loop if inner is settled else plain
        scaled = outer(
            lambda s: s[1] < 40.0, lambda s: (inner(s[0] * 0.1), s[1] + s[0].sum()),
            (x, x.sum()),
        )  # fmt: skip
        return scaled[0].sum() * scaled[1]

    return loss


@pytest.mark.compiles
@pytest.mark.parametrize("around", [in_fori, in_scan, in_python, in_while])
def test_inside_other_loops(around):
    f = value_and_grad(around(settled))
    for scale in (1.0, 1e-2, 30.0, 1e-3):
        x = scale * np.array([0.3, 0.7])
        plain_loss = around(settled_plain)
        value, slope = f(x)
        np.testing.assert_allclose(value, plain_loss(x), rtol=1e-9)
        for k, h in enumerate(1e-3 * x):  # affine between the changes of count
            dx = h * np.eye(2)[k]
            wanted = (plain_loss(x + dx) - plain_loss(x - dx)) / (2 * h)
            np.testing.assert_allclose(slope[k], wanted, rtol=1e-5, atol=1e-5)
    assert f.stats().traces == 1, f.explain()


@pytest.mark.compiles
def test_an_inner_loop_grows_with_the_outer_one():
    def loss(x, factor):
        def one(i, x):
            return while_loop(lambda x: x < 3.0, lambda x: x * factor, x * 0.3)

        return tj.fori_loop(0, 12, one, x)

    def wanted(x, factor):
        for _ in range(12):
            x = x * 0.3
            while x < 3.0:
                x = x * factor
        return x

    f = value_and_grad(loss)
    f(1.0, 2.0)
    for factor in (1.2, 1.001, 1.5):
        got, slope = f(1.0, factor)
        np.testing.assert_allclose(got, wanted(1.0, factor), rtol=1e-9)
        np.testing.assert_allclose(slope, wanted(1.0, factor), rtol=1e-9)
    assert f.stats().traces == 1
    assert len(f.kernels()) == 1


def test_what_the_functions_close_over_is_differentiated():
    def root(a):
        return while_loop(
            lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a
        )

    for a in (2.0, 9.0, 0.3):
        np.testing.assert_allclose(root(a), np.sqrt(a))
        np.testing.assert_allclose(grad(root)(a), 0.5 / np.sqrt(a), rtol=1e-9)
        np.testing.assert_allclose(grad(grad(root))(a), -0.25 * a**-1.5, rtol=1e-6)


def test_entries_of_a_batch_have_their_own_rounds():
    def root(a):
        return while_loop(
            lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), a
        )

    many = np.array([2.0, 9.0, 1e4, 0.3])
    np.testing.assert_allclose(tj.vmap(root)(many), np.sqrt(many))
    np.testing.assert_allclose(tj.vmap(grad(root))(many), 0.5 / np.sqrt(many))


def test_a_number_takes_the_dtype_it_meets():
    x = np.full(3, 1.5, np.float32)
    f = jit(lambda x: while_loop(lambda s: s < 10.0, lambda s: s + x.sum(), 0))
    assert f(x).dtype == np.float32
    assert f(x) == 13.5


# --- errors


def refused(kind, fun, *args):
    with pytest.raises(kind) as caught:
        jit(fun)(*args)
    return str(caught.value).partition(": ")[2]


WAY_OUT = "Return a carry of the structure, shapes and dtypes that it has at the start."


def test_a_value_of_another_shape_is_named():
    def grows(s):
        return {"a": s["a"] * 1.5, "b": np.ones(2) * s["a"]}

    text = refused(
        ArgumentError,
        lambda x: while_loop(lambda s: s["a"] < 3, grows, {"a": x, "b": x}),
        1.0,
    )
    what = "carry['b'] goes in as float and comes out as f64[2]"
    assert text == f"while_loop of grows: {what}. {WAY_OUT}"


def test_a_value_of_another_structure():
    def pairs(s):
        return (s["a"],)

    text = refused(
        ArgumentError,
        lambda x: while_loop(lambda s: s["a"] < 3, pairs, {"a": x}),
        1.0,
    )
    what = (
        "the carry goes in as the structure PyTreeSpec({'a': *}) and comes out as "
        "PyTreeSpec((*,))"
    )
    assert text == f"while_loop of pairs: {what}. {WAY_OUT}"


@pytest.mark.parametrize(("value", "kind"), [(1.0, "float"), (np.ones(3), "f64[3]")])
@pytest.mark.parametrize("wrap", [jit, lambda f: f])
def test_a_test_that_is_no_bool(value, kind, wrap):
    def test(x):
        return x

    with pytest.raises(ArgumentError) as caught:
        wrap(lambda x: while_loop(test, lambda x: x, x))(value)
    assert str(caught.value).endswith(
        f"while_loop: test returned {kind}. Return a bool, like x < 3 or np.any(x < 3)."
    )


def test_a_branch_in_the_body():
    def body(x):
        return x + 1 if x < 2 else x + 2

    text = refused(
        UnsupportedError, lambda x: while_loop(lambda x: x < 3, body, x), 1.0
    )
    assert "decides on a value that differs between iterations" in text


@pytest.mark.compiles
def test_a_loop_that_never_ends_says_so(monkeypatch):
    g = value_and_grad(lambda x: while_loop(lambda y: y < 9, lambda y: y * x, 1.0))
    g(2.0)
    monkeypatch.setattr(config, "RESIDUAL_BYTES", 1 << 20)
    with pytest.raises(MemoryError) as caught:
        g(1.0)
    assert "has so many rounds that there is no memory" in str(caught.value)
    assert "test_while_loop.py" in str(caught.value)
    assert g(3.0) == (9.0, 6.0)
