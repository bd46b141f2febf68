"""`primitive` with `defvjp` and `defjvp`: functions that kernels call as they are."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numba import njit

import tracejit as tj
from tracejit import defjvp, defvjp, grad, hessian, jit, jvp, primitive, value_and_grad
from tracejit.testing import check_grads

pytestmark = pytest.mark.compiles

X = np.linspace(0.2, 2.0, 7)


def make_smooth():
    """A moving mean, which is its own transpose; `n` is static."""

    @primitive
    def smooth(x, n):
        smooth.calls += 1
        assert type(x) is np.ndarray
        assert type(n) is int
        return np.convolve(x, np.ones(n) / n, "same")

    smooth.calls = 0
    smooth.defvjp(lambda ans, x, n: lambda g: smooth(g, n))
    return smooth


def matrix(n, size):
    return np.array(
        [np.convolve(row, np.ones(n) / n, "same") for row in np.eye(size)]
    ).T


def test_value_and_gradient():
    smooth = make_smooth()

    def loss(x):
        return np.sum(np.sin(smooth(2.0 * x, 3)))

    step = value_and_grad(loss)
    m = matrix(3, 7)
    for x in (X, X + 1, X - 3):
        value, gradient = step(x)
        assert np.isclose(value, np.sum(np.sin(m @ (2 * x))))
        assert np.allclose(gradient, 2 * m.T @ np.cos(m @ (2 * x)), rtol=1e-13)
    stats = step.stats()
    assert (stats.traces, stats.kernels_compiled, stats.hits) == (1, 1, 2)
    assert stats.host_calls == 2
    assert step.explain().splitlines() == [
        "trace 1: first call (x: f64[7])",
        "trace 1: calls smooth in Python",
    ]


def test_it_runs_once_while_recording_and_once_per_kernel_call():
    smooth = make_smooth()
    fun = jit(lambda x: smooth(x, 3) + 1.0)
    fun(X)
    assert smooth.calls == 2
    fun(X)
    assert smooth.calls == 3


def test_outside_of_a_recording_it_is_the_function():
    smooth = make_smooth()
    assert np.allclose(smooth(X, 3), matrix(3, 7) @ X)
    assert repr(smooth) == "<primitive smooth>"
    assert smooth.__name__ == "smooth"


def test_all_transforms():
    smooth = make_smooth()

    def loss(x):
        return np.sum(smooth(x * x, 3) ** 2)

    m = matrix(3, 7)
    check_grads(loss, (X,), order=2)
    q = m.T @ m
    expected = 2 * np.diag(2 * q @ X**2) + 8 * np.outer(X, X) * q
    assert np.allclose(hessian(loss)(X), expected, rtol=1e-12)
    _, tangent = jvp(loss, (X,), (np.ones(7),))
    assert np.isclose(tangent, grad(loss)(X).sum())
    assert np.allclose(tj.jacrev(lambda x: smooth(x, 3))(X), m)
    assert np.allclose(tj.jacfwd(lambda x: smooth(x, 3))(X), m)


def test_in_a_loop_it_is_one_instr():
    smooth = make_smooth()

    def loss(x):
        for _ in range(50):
            x = x + 0.1 * smooth(np.sin(x), 3)
        return x.sum()

    slope = grad(loss)
    x, jac, m = X, np.eye(7), matrix(3, 7)
    for _ in range(50):
        jac = jac + 0.1 * m @ np.diag(np.cos(x)) @ jac
        x = x + 0.1 * m @ np.sin(x)
    assert np.allclose(slope(X), jac.sum(0), rtol=1e-12)
    assert slope.stats().host_calls == 2


# --- rules ---------------------------------------------------------------------------


def make_parts():
    """Several arguments and results, with forward rules only."""

    @primitive
    def parts(x, y, *, scale=1.0):
        return {"product": scale * x * y, "sum": (x + y,)}

    parts.defjvp(
        lambda g, ans, x, y, scale=1.0: {"product": scale * g * y, "sum": (g,)},
        lambda g, ans, x, y, scale=1.0: {"product": scale * g * x, "sum": (g,)},
    )
    return parts


def test_forward_rules_are_transposed():
    parts = make_parts()

    def loss(x, y):
        found = parts(x, y, scale=3.0)
        return np.sum(found["product"] * found["sum"][0])

    y = np.cos(X)
    gx, gy = grad(loss, argnums=(0, 1))(X, y)
    assert np.allclose(gx, 3 * (2 * X * y + y * y), rtol=1e-13)
    assert np.allclose(gy, 3 * (2 * X * y + X * X), rtol=1e-13)
    _, tangent = jvp(loss, (X, y), (np.ones(7), np.ones(7)))
    assert np.isclose(tangent, gx.sum() + gy.sum())


def test_both_rules_are_used_in_their_mode():
    @primitive
    def f(x):
        return x * x

    f.defvjp(lambda ans, x: lambda g: 20.0 * g * x)
    f.defjvp(lambda g, ans, x: 200.0 * g * x)
    assert grad(f)(1.5) == 30.0
    assert jvp(f, (1.5,), (1.0,))[1] == 300.0


def test_the_answer_reaches_the_rule_and_is_not_computed_again():
    calls = []

    @primitive
    def root(x):
        calls.append(float(x))
        return math.sqrt(x)

    root.defvjp(lambda ans, x: lambda g: g / (2.0 * ans))
    slope = value_and_grad(lambda x: 3.0 * root(x))
    slope(4.0)
    calls.clear()
    assert slope(9.0) == (9.0, 0.5)
    assert calls == [9.0]
    assert np.isclose(grad(grad(root))(4.0), -1 / 32)


def test_rules_by_argnums_and_none():
    @primitive
    def power(x, n, offset):
        return x**n + offset

    defvjp(power, lambda ans, x, n, offset: lambda g: g * n * x ** (n - 1.0), None)
    defvjp(power, lambda ans, x, n, offset: lambda g: g, argnums=(2,))
    found = grad(lambda *a: power(*a), argnums=(0, 1, 2))(2.0, 3.0, 1.0)
    assert found == (12.0, 0.0, 1.0)
    defjvp(make_parts(), None, None)


def test_an_argument_may_be_a_container():
    @primitive
    def dense(params, x):
        return params["w"] @ x + params["b"]

    dense.defvjp(
        lambda ans, p, x: lambda g: {"w": np.outer(g, x), "b": g},
        lambda ans, p, x: lambda g: g @ p["w"],
    )
    params = {"w": np.arange(6.0).reshape(2, 3), "b": np.ones(2)}
    x = np.array([1.0, -1.0, 2.0])
    found = grad(lambda p, x: np.sum(dense(p, x) ** 2))(params, x)
    y = params["w"] @ x + params["b"]
    assert np.allclose(found["w"], 2 * np.outer(y, x), rtol=1e-14)
    assert np.allclose(found["b"], 2 * y, rtol=1e-14)


def test_static_arguments_are_part_of_the_trace():
    smooth = make_smooth()
    fun = jit(lambda x, n: smooth(x, n), static_argnums=1)
    assert np.allclose(fun(X, 3), matrix(3, 7) @ X)
    assert np.allclose(fun(X, 5), matrix(5, 7) @ X)
    assert fun.stats().traces == 2


def test_state_outside_is_read_at_each_call():
    table = {"scale": 2.0}

    @primitive
    def scaled(x):
        return x * table["scale"]

    fun = jit(lambda x: scaled(x) + 1)
    assert fun(3.0) == 7.0
    table["scale"] = 10.0
    assert fun(3.0) == 31.0
    assert fun.stats().traces == 1


def test_a_function_that_returns_its_own_buffer():
    buffer = np.zeros(7)

    @primitive
    def into(x):
        np.cos(x, out=buffer)
        return buffer

    fun = jit(lambda x: into(x) + into(2.0 * x))
    for x in (X, X + 1):
        assert np.allclose(fun(x), np.cos(x) + np.cos(2 * x), rtol=1e-14)


def test_a_function_may_use_compiled_functions():
    inner = value_and_grad(lambda x: np.sum(x**3))

    @primitive
    def both(x):
        value, slope = inner(x)
        return value, slope

    fun = jit(lambda x: both(2.0 * x)[1])
    for x in (X, X + 1):
        assert np.allclose(fun(x), 12 * x * x, rtol=1e-13)
    assert inner.stats().traces == 1


def test_examples_of_a_batch_take_their_own_paths():
    smooth = make_smooth()

    def loss(x):
        y = smooth(x, 3)
        if y[0] > 0.5:
            return np.sum(smooth(np.sin(y), 5))
        return np.sum(y * y)

    rows = np.random.default_rng(0).random((40, 7))
    step = tj.vmap(grad(loss))
    single = grad(loss)
    expected = np.array([single(row) for row in rows])
    step(rows)
    smooth.calls = 0
    assert np.allclose(step(rows), expected, rtol=1e-13)
    high = int(np.sum((rows[:, 0] + rows[:, 1]) / 3 > 0.5))
    assert 0 < high < 40
    # Forward and back; behind the `if`, one more of each.  What the first path
    # computed in front of the `if` may be computed again by the second.
    assert 40 * 2 + high <= smooth.calls <= 40 * 2 + high * 3
    assert step.stats().traces == 2


def test_an_error_in_a_batch():
    @primitive
    def f(x):
        if x > 0.9:
            raise KeyError("too large")
        return x

    step = tj.vmap(jit(lambda x: f(x) * 2.0 if x > 0.2 else x))
    rows = np.linspace(0.0, 0.8, 100)
    assert np.allclose(step(rows), np.where(rows > 0.2, 2 * rows, rows))
    rows[50] = 1.0
    with pytest.raises(KeyError, match="too large"):
        step(rows)


def test_a_while_is_one_trace():
    smooth = make_smooth()

    @jit
    def grown(x):
        while np.sum(x) < 100.0:
            x = x + smooth(x, 3)
        return x

    def plain(x):
        while np.sum(x) < 100.0:
            x = x + matrix(3, 7) @ x
        return x

    for scale in (0.01, 1.0, 10.0):
        assert np.allclose(grown(scale * X), plain(scale * X), rtol=1e-12)
    assert grown.stats().traces == 1


def test_scan_and_batches():
    smooth = make_smooth()

    def step(x, _):
        return x + 0.1 * smooth(x * x, 3), None

    def scanned(x):
        return tj.scan(step, x, None, length=10)[0].sum()

    def plain(x):
        for _ in range(10):
            x = x + 0.1 * (matrix(3, 7) @ (x * x))
        return x.sum()

    assert np.allclose(grad(scanned)(0.3 * X), grad(plain)(0.3 * X), rtol=1e-12)


# --- errors --------------------------------------------------------------------------


SHAPES = ". Derivatives have the shape of what they belong to, and are real."
STRUCTURE = "Give it the structure of its argument."
FORM = "Write it as lambda ans, *args: lambda g: ...."


def broken(rule):
    @primitive
    def f(x, y):
        return x * y

    f.defvjp(rule, None)
    return grad(lambda x: f(x, 2.0).sum())


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda ans, x, y: lambda g: g[:3], "f64[3] for f64[7]" + SHAPES),
        (lambda *_: lambda g: np.ones(7) > 0, "bool[7] for f64[7]" + SHAPES),
        (lambda *_: lambda g: np.ones(7) * 1j, "c128[7] for f64[7]" + SHAPES),
        (lambda *_: lambda g: (g, g), "(*, *) for an array. " + STRUCTURE),
        (lambda ans, x, y: ans, "f64[7] instead of a function. " + FORM),
    ],
)
def test_wrong_gradients(rule, text):
    with pytest.raises(tj.ArgumentError) as caught:
        broken(rule)(X)
    what = "the vjp rule of f for argument 0 returned "
    assert str(caught.value).partition(": ")[2] == what + text


def test_missing_rules():
    @primitive
    def f(x, y=1.0, *, z=1.0):
        return x * y * z

    def text_of(function, *args):
        with pytest.raises(tj.DifferentiationError) as caught:
            function(*args)
        return str(caught.value).partition(": ")[2]

    assert text_of(grad(f), 1.0) == (
        "f is differentiated with respect to its argument 0, for which it has no vjp "
        "rule. Call f.defvjp(rule, argnums=(0,)) first."
    )
    g = primitive(f.__wrapped__)
    g.defvjp(lambda ans, x, y=1.0, z=1.0: lambda ct: ct)
    assert grad(g)(1.0) == 1.0
    assert text_of(grad(lambda x: g(1.0, x)), 1.0) == (
        "f is differentiated with respect to its argument 1, for which it has no vjp "
        "rule. Call f.defvjp(rule, argnums=(1,)) first."
    )
    assert text_of(grad(lambda x: g(1.0, z=x)), 1.0) == (
        "f is differentiated with respect to a keyword argument, which has no rule. "
        "Pass it by position."
    )


def test_wrong_declarations():
    @primitive
    def f(x):
        return x

    with pytest.raises(tj.ArgumentError) as caught:
        f.defvjp(lambda ans, x: lambda g: g, argnums=(0, 1))
    assert str(caught.value).endswith(
        "f.defvjp was given 1 rules for 2 arguments. Give one rule for each of argnums."
    )
    f.defvjp(lambda ans, x: lambda g: g)
    grad(f)(1.0)
    with pytest.raises(tj.ArgumentError) as caught:
        f.defvjp(lambda ans, x: lambda g: 2 * g)
    assert str(caught.value).endswith(
        "f.defvjp comes after f was recorded, and kernels may hold its former rules. "
        "Set all rules of f before it is used."
    )
    with pytest.raises(tj.ArgumentError) as caught:
        primitive(3)
    assert str(caught.value).endswith(
        "primitive is put on functions, not on a int. Write primitive(function)."
    )


def test_results_that_are_no_arrays():
    @primitive
    def f(x):
        return "text"

    with pytest.raises(tj.UnsupportedError) as caught:
        jit(lambda x: f(x))(1.0)
    assert str(caught.value).endswith(
        "the primitive f returned a str. Return arrays and numbers, in tuples, lists "
        "or dicts."
    )


def test_another_structure_than_recorded_is_an_error():
    @primitive
    def f(x):
        return (x, x) if x < 2 else [x, x]

    fun = jit(lambda x: f(x)[0])
    assert fun(1.0) == 1.0
    with pytest.raises(tj.UnsupportedError) as caught:
        fun(3.0)
    assert str(caught.value) == (
        "f returned [*, *], and (*, *) when it was recorded. Let the structure of the "
        "result depend on static arguments only."
    )


def test_an_error_while_recording_and_later():
    @primitive
    def f(x):
        if x > 2:
            raise KeyError("too large")
        return x

    fun = jit(lambda x: f(x) + 1)
    for _ in range(2):
        with pytest.raises(KeyError, match="too large"):
            fun(3.0)
        assert fun(1.0) == 2.0


# --- functions that Numba compiled ---------------------------------------------------


@njit
def filtered(x, a, n):
    y = x.copy()
    for _ in range(n):
        for i in range(1, y.size):
            y[i] += a * y[i - 1]
    return y


@njit
def filtered_back(g, a, y, n):
    """Of one round only."""
    back, slope = g.copy(), 0.0
    for i in range(g.size - 1, 0, -1):
        slope += back[i] * y[i - 1]
        back[i - 1] += a * back[i]
    return back, slope


def make_filter():
    forward, backward = primitive(filtered), primitive(filtered_back)
    forward.defvjp(
        lambda ans, x, a, n: lambda g: backward(g, a, ans, n)[0],
        lambda ans, x, a, n: lambda g: backward(g, a, ans, n)[1],
    )
    return forward


def test_a_numba_function_is_called_without_python(monkeypatch):
    forward = make_filter()

    def loss(x, a):
        return np.sum(np.sin(forward(x, a, 1)))

    slope = grad(loss, argnums=(0, 1))
    gx, ga = slope(X, 0.5)
    stats = slope.stats()
    assert (stats.host_calls, stats.traces) == (0, 1)
    assert slope.explain().splitlines()[1] == (
        "trace 1: calls filtered, filtered_back of Numba"
    )
    h = 1e-6
    plain = lambda x, a: np.sum(np.sin(filtered(x, a, 1)))  # noqa: E731
    assert np.isclose(ga, (plain(X, 0.5 + h) - plain(X, 0.5 - h)) / (2 * h), rtol=1e-8)
    for i in range(7):
        e = h * np.eye(7)[i]
        assert np.isclose(
            gx[i], (plain(X + e, 0.5) - plain(X - e, 0.5)) / (2 * h), rtol=1e-7
        )


def test_a_numba_function_in_a_loop():
    @primitive
    @njit
    def cube(x):
        return x * x * x

    cube.defvjp(lambda ans, x: lambda g: 3.0 * g * x * x)

    def looped(f):
        def fun(x):
            for _ in range(100):
                x = x - 0.01 * f(x)
            return x

        return fun

    slope = grad(looped(cube))
    assert np.isclose(slope(0.8), grad(looped(lambda x: x**3))(0.8), rtol=1e-12)
    assert slope.stats().host_calls == 0


def test_an_error_of_a_numba_function_is_its_own():
    @primitive
    @njit
    def checked(x):
        if x[0] > 2.0:
            raise ValueError("too large")
        return x[:2] if x[0] > 1.0 else x[:1]

    fun = jit(lambda x: checked(x) * 2.0)
    assert np.array_equal(fun(np.array([0.5, 1.0, 3.0])), [1.0])
    assert fun.stats().host_calls == 0
    with pytest.raises(ValueError, match="too large"):
        fun(np.array([2.5, 1.0, 3.0]))
    with pytest.raises(
        tj.UnsupportedError, match=r"py:\d+: checked returned f64\[2\], and f64"
    ):
        fun(np.array([1.5, 1.0, 3.0]))


def test_a_numba_function_with_a_fixed_signature_gets_copies():
    @primitive
    @njit("float64[:](float64[:])")
    def reversed_(x):
        x[0] = 100.0
        return x[::-1].copy()

    fun = jit(lambda x: reversed_(x + 1.0) + x)
    x = np.array([1.0, 2.0, 3.0])
    for _ in range(2):
        assert np.array_equal(fun(x), [5.0, 5.0, 103.0])
    assert np.array_equal(x, [1.0, 2.0, 3.0])


def test_complex_operands_and_results():
    def turned(z, k):
        return z * 1j * k, np.abs(z)

    for function in (turned, njit(turned)):
        f = primitive(function)
        fun = jit(lambda z, f=f: f(2.0 * z, 3.0)[0] + f(z, 1.0)[1])
        for z in (np.arange(3.0) + 1j, np.complex128(2 - 1j)):
            assert np.allclose(fun(z), 6j * z + np.abs(z), rtol=1e-14)
        assert fun.stats().host_calls == (4 if function is turned else 0)


def test_a_numba_function_of_lists_is_called_in_python():
    @primitive
    @njit
    def total(xs):
        return xs[0] + xs[1]

    fun = jit(lambda x: total((x, 2.0 * x)))
    assert fun(1.5) == 4.5
    assert fun.stats().host_calls == 0
    listed = primitive(functools.partial(lambda f, xs: f(xs[0], xs[1]), max))
    fun = jit(lambda x: listed([x, 2.0 * x]))
    assert fun(1.5) == 3.0
    assert fun.stats().host_calls == 1
