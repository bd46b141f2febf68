"""scan, fori_loop, cond: recorded once, like the plain loop they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import (
    checkpoint,
    cond,
    fori_loop,
    grad,
    hessian,
    jit,
    scan,
    value_and_grad,
    while_loop,
)
from tracejit.errors import ArgumentError, TracejitError, UnsupportedError


def step(carry, x):
    a, b = carry["a"], carry["b"]
    a = np.tanh(a * x + b)
    return {"a": a, "b": b + 0.1 * a.sum()}, (a, x * b)


XS = np.linspace(-1.0, 1.0, 7)[:, None] * np.ones(3)
INIT = {"a": np.array([0.1, 0.2, 0.3]), "b": 0.5}


def plain(f, carry, xs, reverse=False):
    ys = [None] * len(xs)
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[i] = f(carry, xs[i])
    return carry, tuple(np.stack(y) for y in zip(*ys, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_scan_is_the_loop(reverse, wrap):
    expected = plain(step, INIT, XS, reverse)
    carry, ys = wrap(lambda init, xs: scan(step, init, xs, reverse=reverse))(INIT, XS)
    np.testing.assert_allclose(carry["a"], expected[0]["a"], rtol=1e-12)
    np.testing.assert_allclose(carry["b"], expected[0]["b"], rtol=1e-12)
    for mine, theirs in zip(ys, expected[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("body", [step, checkpoint(step)])
def test_gradients(body):
    def loss(run, init, xs):
        carry, (a, b) = run(body, init, xs)
        # The start is used after the loop too.
        return np.sum(carry["a"] * init["a"]) + np.sum(a * b) + carry["b"] ** 2

    got = value_and_grad(lambda i, x: loss(scan, i, x), argnums=(0, 1))(INIT, XS)
    want = value_and_grad(lambda i, x: loss(plain, i, x), argnums=(0, 1))(INIT, XS)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
    np.testing.assert_allclose(got[1][0]["a"], want[1][0]["a"], rtol=1e-10)
    np.testing.assert_allclose(got[1][0]["b"], want[1][0]["b"], rtol=1e-10)
    np.testing.assert_allclose(got[1][1], want[1][1], rtol=1e-10)


def test_what_the_body_closes_over_is_differentiated():
    w = np.array([[0.2, -0.1], [0.4, 0.3]])

    def loss(run, w, xs):
        return np.sum(
            run(lambda h, x: ((h2 := np.tanh(w @ h + x)), (h2,)), xs[0], xs)[1][0]
        )

    xs = np.arange(8.0).reshape(4, 2) / 8
    got = grad(lambda w: loss(scan, w, xs))(w)
    np.testing.assert_allclose(got, grad(lambda w: loss(plain, w, xs))(w), rtol=1e-10)


TABLE = np.array([1.0, 2.0, 3.0])
FIRST_INSIDE = {
    "cond": lambda a: cond(a > 0, lambda a: a * np.sum(TABLE), lambda a: a, a),
    "scan": lambda a: scan(
        lambda c, x: (c * np.sum(TABLE) * x, None), a, np.array([0.5, 0.5])
    )[0],
    "while": lambda a: while_loop(lambda c: c < 50, lambda c: c * np.sum(TABLE), a),
}


@pytest.mark.parametrize("name", FIRST_INSIDE)
def test_a_captured_array_may_be_met_in_a_body_first(name):
    inside = FIRST_INSIDE[name]
    f = value_and_grad(lambda a: inside(a) + np.sum(TABLE * a))
    factor = {"cond": 6.0, "scan": 9.0, "while": 36.0}[name]
    assert f(2.0) == (2 * factor + 12.0, factor + 6.0)


def test_second_order():
    def f(x):
        return scan(lambda c, s: (np.sin(c * x[0] + s * x[1]), None), x[0], XS[:, 0])[0]

    def g(x):
        c = x[0]
        for s in XS[:, 0]:
            c = np.sin(c * x[0] + s * x[1])
        return c

    x = np.array([0.3, 0.8])
    np.testing.assert_allclose(hessian(f)(x), hessian(g)(x), rtol=1e-9)


def test_fori_loop():
    def power(x, n):
        return fori_loop(0, n, lambda i, y: y * x + i, 1.0)

    def by_hand(x, n):
        y = 1.0
        for i in range(n):
            y = y * x + i
        return y

    for n in (0, 1, 5):
        assert power(1.5, n) == by_hand(1.5, n)
        f = value_and_grad(power, static_argnums=1) if n else None
        if f is not None:
            got, want = f(1.5, n), value_and_grad(by_hand, static_argnums=1)(1.5, n)
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_fori_loop_from_another_bound_reads_rows():
    x = np.arange(6.0)
    f = grad(lambda x: fori_loop(2, 5, lambda i, s: s + x[i] ** 2, 0.0))
    np.testing.assert_allclose(f(x), [0, 0, 4, 6, 8, 0])


def test_the_body_is_recorded_once_whatever_the_length():
    f = grad(lambda x: scan(lambda c, v: (np.sin(c) * v, None), 1.0, x)[0])
    texts = [repr(f.tape(np.ones(n))) for n in (5, 50)]
    assert (
        texts[0].replace("f64[5]", "f64[50]").replace("trip=5", "trip=50") == texts[1]
    )
    assert texts[0].count(" = loop ") == 2
    assert texts[0].count(" = sin ") == 1


def test_a_number_takes_the_dtype_it_meets():
    x = np.ones(3, np.float32)
    out = jit(lambda x: scan(lambda c, v: (c + v, None), 0, x)[0])(x)
    assert out.dtype == np.float32
    assert out == 3


def test_no_iterations():
    carry, y = jit(lambda x: scan(lambda c, v: (c + v, v * 2), 1.5, x))(
        np.zeros((0, 2)).sum(1)
    )
    assert carry == 1.5
    assert y.shape == (0,)
    carry, y = scan(lambda c, v: (c + v, v * 2), 1.5, np.zeros(0))
    assert y.shape == (0,)


def test_cond():
    f = grad(lambda x: cond(x > 0, lambda x: x**2, lambda x: -x, x))
    assert f(3.0) == 6.0
    assert f(-3.0) == -1.0


# --- errors


def test_a_carry_of_another_shape():
    with pytest.raises(ArgumentError) as caught:
        jit(lambda x: scan(lambda c, v: (c * np.ones(2), None), 0.0, x))(XS)
    assert "the carry goes in as float and comes out as f64[2]" in str(caught.value)
    assert "Return a carry of the structure, shapes and dtypes" in str(caught.value)


def test_a_carry_of_another_structure():
    with pytest.raises(ArgumentError, match="the carry goes in as the structure"):
        jit(lambda x: scan(lambda c, v: ((c, c), None), 0.0, x))(XS)


def test_not_a_pair():
    for wrap in (jit, lambda f: f):
        with pytest.raises(ArgumentError, match=r"Return a pair \(carry, y\)"):
            wrap(lambda x: scan(lambda c, v: c + v.sum(), 0.0, x))(XS)


def test_lengths_that_differ():
    with pytest.raises(ArgumentError) as caught:
        scan(step, INIT, (XS, XS[1:]))
    assert "scan over f64[7,3], f64[6,3]. Give arrays of one length" in str(
        caught.value
    )
    with pytest.raises(ArgumentError, match="no arrays"):
        scan(step, INIT)


def test_a_branch_in_the_body():
    def body(c, v):
        return (c + v if v > 0 else c - v), None

    with pytest.raises(UnsupportedError) as caught:
        jit(lambda x: scan(body, 0.0, x)[0])(XS[:, 0])
    assert "decides on a value that differs between iterations" in str(caught.value)
    assert "test_control.py" in str(caught.value)


def test_a_value_that_leaves_the_body():
    def f(x):
        kept = []

        def body(c, v):
            kept.append(v * 2)
            return c + v, None

        return scan(body, 0.0, x)[0] + kept[0]

    with pytest.raises((TracejitError, ValueError)):
        jit(f)(XS[:, 0])


def test_writing_to_an_array_from_outside():
    def f(x):
        out = np.zeros_like(x)

        def body(c, v):
            mine = out
            mine += v
            return c + v, None

        return scan(body, 0.0, x)[0] + np.sum(out)

    with pytest.raises(UnsupportedError, match="Make the array part of the carry"):
        jit(f)(XS[:, 0])


@pytest.mark.compiles
def test_an_inner_loop_reads_what_the_outer_one_carries():
    """An element of a carried array is another one in each round."""

    def f(x):
        for _ in range(5):
            s = 0.0
            for _ in range(6):
                s = s + np.sin(x[0] * s) + x[1]
            x = x * s * 0.1
        return x

    x = np.array([1.0, 2.0, 0.3])
    np.testing.assert_allclose(jit(f)(x), f(x), rtol=1e-9)
