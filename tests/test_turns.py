"""Loops that end on traced values and have branches: few recordings, exact answers.

Each program is called with inputs of many trip counts and sequences of sides, and each
answer compared with the plain function's.
"""

# Statements, not expressions, are what is tested.
# ruff: noqa: SIM108

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad

pytestmark = pytest.mark.compiles


def inputs(count: int, length: int = 8, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=length) for _ in range(count)]


# --- loops with a test and branches


def bisected(x):
    low, high = x[0], x[0] + 3.0
    n = 0.0 * x[1]
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        n = n + 1
        if np.sin(middle) > x[1]:
            high = middle
        else:
            low = middle
    return low + 0.1 * n * high


def adaptive(x):
    t, h, y = 0.0 * x[0], 0.1 + 0.0 * x[0], x[1]
    while t < 1.0:
        k1 = -y * x[2]
        k2 = -(y + h * k1) * x[2]
        if abs(h * (k2 - k1)) < 2e-2:
            t = t + h
            y = y + 0.5 * h * (k1 + k2)
            h = h * 1.5
        else:
            h = h * 0.5
    return y


def line_search(x):
    t, best = 1.0 + 0.0 * x[0], x[1]
    f = (x[0] - t) ** 2
    while f > 0.5 * x[2] ** 2 + 0.1:
        t = t * 0.7
        new = (x[0] - t) ** 2
        if new < f:
            best = new
        f = f * 0.9
        if best < 0.01:
            break
    return best + t


def negated(x):
    a = abs(x[0]) + 0.1
    while not a > 5:
        if a < 1:
            a = a * 2
        else:
            a = a + x[1] ** 2 + 0.3
    return a


def forever(x):
    a = abs(x[0]) + 0.1
    while True:
        if a < 1:
            a = a * 1.9
        else:
            a = a + 0.7
        if a > 5:
            break
    return a


def two_returns(x):
    a = abs(x[0]) + 0.1
    while True:
        a = a * 1.5
        if a > 5:
            return a
        if a > x[1] * 4:
            return -a


def continued(x):
    a = abs(x[0]) + 0.1
    c = 0 * a
    while a < 10:
        a = a * 1.3
        if a < x[1] + 2:
            continue
        c = c + a
    return c + a


def both_tests(x):
    a, b = abs(x[0]) + 0.1, abs(x[1]) + 0.1
    while a < 10 and b < 12:
        a = a * 1.5
        b = b * 1.3 + a * 0.1
    return a + b


def either_test(x):
    a, b = abs(x[0]) + 0.1, abs(x[1]) + 0.1
    while a < 3 or b < 4:
        a = a * 1.5
        b = b * 1.3
    return a - b


def between(x):
    a = x[0]
    while -2 < a < 2:
        a = a * 1.7 + 0.1
    return a


def with_else(x):
    a = abs(x[0]) + 0.1
    while a < 5:
        a = a * 1.4
        if a * x[1] > 2.5:
            break
    else:
        a = a - 100
    return a


def python_state(x):
    k, a = 1.0, abs(x[0]) + 0.1
    while a < 8:
        if a < 2:
            a = a * 1.5
            k = 2.0
        else:
            a = a + k
            k = 0.5
    return a * k


def inner(x):
    s = 0 * x[0]
    for u in x:
        v = abs(u) + 0.2
        while v < 2:
            if v < 1:
                v = v * 1.5
            else:
                v = v + 0.3
        s = s + v
    return s


def inner_may_not_begin(x):
    s = 0 * x[0]
    for u in x:
        v = u
        while v > 0.5:
            v = v * 0.7
        s = s + v
    return s


# --- `for` loops that are left


def rows(x):
    s = 0.0
    for u in x:
        s = s + abs(u)
        if s > 2.0:
            break
    return s * 2


def counted(x):
    s = x[0] * 0
    for i in range(len(x)):
        s = s + x[i] * x[i] * (i + 1)
        if s > 3:
            break
    return s


def counted_with_sides(x):
    s = p = x[0] * 0
    for i in range(len(x)):
        if x[i] > 0:
            s = s + x[i] * 0.5
        else:
            s = s - 0.1 * i * x[i]
            p = p + 1
        if s > 1.5:
            break
        s = s * 1.1
    return s + p


def numbered(x):
    s = x[0] * 0
    for i, u in enumerate(x):
        s = s + u * u * i
        if s > 5:
            break
    return s


def paired(x):
    s = x[0] * 0
    for a, b in zip(x, x[::-1], strict=True):
        s = s + a * b
        if s > 1:
            break
        if s < -1:
            break
    return s + a


def for_else(x):
    s = x[0] * 0
    for u in x:
        s = s + u * u
        if s > 4:
            break
    else:
        s = s * 10
    return s


def found(x):
    flag, s = False, 0 * x[0]
    for u in x:
        s = s + u
        if s > 1.5:
            flag = True
            break
    if flag:
        s = s * 100
    return s


def last_row(x):
    s = x[0] * 0
    for u in x:
        if u > 1.0:
            break
        s = s + u
    return s * u


FEW: dict[Callable, int] = {
    bisected: 3,
    adaptive: 3,
    line_search: 4,
    negated: 2,
    forever: 2,
    two_returns: 3,
    continued: 2,
    both_tests: 3,
    either_test: 2,
    between: 3,
    with_else: 3,
    python_state: 3,
    inner: 2,
    inner_may_not_begin: 3,
    rows: 2,
    counted: 2,
    counted_with_sides: 3,
    numbered: 2,
    paired: 3,
    for_else: 3,
    found: 3,
    last_row: 3,
}


def by_name(fun: Callable) -> str:
    return fun.__name__


@pytest.mark.parametrize("fun", FEW, ids=by_name)
def test_few_recordings(fun: Callable) -> None:
    f = jit(fun)
    for x in inputs(80):
        np.testing.assert_allclose(f(x), fun(x), rtol=1e-10, atol=1e-12)
    assert f.stats().traces <= FEW[fun], f.explain()
    assert f.stats().kernels_compiled <= 3


@pytest.mark.parametrize("fun", FEW, ids=by_name)
def test_gradients_are_those_of_a_fresh_recording(fun: Callable) -> None:
    kept = value_and_grad(fun)
    for x in inputs(5, seed=2):
        value, gradient = kept(x)
        fresh, want = value_and_grad(lambda x: fun(x))(x)
        assert value == pytest.approx(fun(x), rel=1e-10)
        assert fresh == pytest.approx(fun(x), rel=1e-10)
        np.testing.assert_allclose(gradient, want, rtol=1e-9, atol=1e-11)
        step = 1e-6 * np.random.default_rng(0).normal(size=x.shape)
        above, below = fun(x + step), fun(x - step)
        one_sided = (above - fun(x)) - (fun(x) - below)
        if abs(one_sided) < 1e-8:  # else a side changes within the step
            assert above - below == pytest.approx(2 * gradient @ step, abs=2e-8)


# --- what must stay a path, or be seen


def counter_after(x):
    s = x[0] * 0
    for i in range(len(x)):
        s = s + x[i] ** 2
        if s > 3:
            break
    return s * i


def number_of_the_counter_after(x):
    s, t = x[0] * 0, 0.0
    for i, u in enumerate(x):
        t = i * 0.5
        s = s + u * u
        if s > 3:
            break
    return s * t


def counter_decides(x):
    s = x[0] * 0
    for i in range(len(x)):
        s = s + x[i] ** 2
        if i > 4:
            s = s * 2
        if s > 5:
            break
    return s


def python_counter(x):
    n, a = 0, abs(x[0]) + 0.1
    while a < 10:
        if a < 2:
            a = a * 1.5
        else:
            a = a + 1.0
        n += 1
    return a * n


def listed(x):
    seen, s = [], x[0] * 0
    for u in x:
        s = s + u * u
        seen.append(s)
        if s > 3:
            break
    return sum(seen) + len(seen)


def iterator_taken(x):
    more = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    s = x[0] * 0
    for u in x:
        s = s + u * u * next(more)
        if s > 6:
            break
    return s + next(more)


def closure_counts(x):
    n = 0

    def step(a):
        nonlocal n
        n += 1
        return a * 1.5

    a = abs(x[0]) + 0.1
    while a < 9:
        a = step(a) if a < 3 else a + 1.0
    return a + n


def written(x):
    y, a = x * 1.0, abs(x[0]) + 0.1
    while a < 6:
        if a < 2:
            y[0] = a
        else:
            y[1] += a
        a = a * 1.4
    return a + y.sum()


def bound_on_one_side(x):
    a = abs(x[0])
    late = 0.0
    while a < 4:
        if a < 1:
            late = a * 3
        a = a * 1.5 + 0.1
    return a + late


def two_ways_out(x):
    k, a = 0, abs(x[0]) + 0.1
    while a < 20:
        a = a * 1.3 + 0.2
        if a > x[1] * 8 + 3:
            k = 1
            break
        if a > x[2] * 9 + 4:
            k = 2
            break
    return a * (k + 1)


def exchanged(x):
    a, b = abs(x[0]) + 0.1, abs(x[1]) + 0.2
    while a + b < 9:
        if a < b:
            a, b = b, a
        b = b * 1.3 + 0.1
    return a - b


def aliased(x):
    a = b = abs(x[0]) + 0.3
    while a < 4:
        a = a * 1.7
        if a > 2:
            b = a
    return a + 10 * b


def nested_outs(x):
    s, t = x[0] * 0, 0 * x[0]
    while t < 3:
        t = t + 1
        for u in x:
            s = s + u * u
            if s > 5:
                break
        if s > 12:
            break
    return s + t


def guarded_root(x):
    s, a = 0 * x[0], abs(x[0]) + 0.5
    while a > 0.01:
        if a > 0.3:
            s = s + np.sqrt(a - 0.3)
        else:
            s = s + 0.1
        a = a * 0.6
    return s


def zero_division(x):
    s, a = 0 * x[0], x[0]
    while a < 2:
        if a > 0:
            s = s + 1.0 / a
        a = a + 0.5
    return s


ADVERSARIAL = [
    counter_after,
    number_of_the_counter_after,
    counter_decides,
    python_counter,
    listed,
    iterator_taken,
    closure_counts,
    written,
    bound_on_one_side,
    two_ways_out,
    exchanged,
    aliased,
    nested_outs,
    guarded_root,
    zero_division,
]


@pytest.mark.parametrize("fun", ADVERSARIAL, ids=by_name)
def test_the_answer_is_that_of_plain_python(fun: Callable) -> None:
    f, slope = jit(fun), grad(fun)
    for number, x in enumerate(inputs(40, seed=3)):
        np.testing.assert_allclose(f(x), fun(x), rtol=1e-10, atol=1e-12)
        if number < 4:
            want = grad(lambda x: fun(x))(x)
            assert np.isfinite(want).all()
            np.testing.assert_allclose(slope(x), want, rtol=1e-9, atol=1e-11)


def test_a_name_that_is_not_bound_raises() -> None:
    def unbound(x):
        a = abs(x[0])
        while a < 4:
            if a < 1:
                z = a * 3
            else:
                z = a + 1
            a = a * 1.5 + 0.1
        return a + z

    f = jit(unbound)
    for scale in (0.1, 1.0, 9.0, 0.2, 8.0, 2.0):
        x = np.full(8, scale)
        if scale > 4:
            with pytest.raises(UnboundLocalError):
                f(x)
        else:
            assert f(x) == pytest.approx(unbound(x), rel=1e-12)


def test_an_unseen_side_is_a_side_exit() -> None:
    f = jit(lambda x: negated(x))
    low, high = np.full(8, 0.1), np.full(8, 2.0)
    assert f(high) == pytest.approx(negated(high))
    assert f.stats().traces == 1
    assert f(low) == pytest.approx(negated(low))
    assert f.stats().traces == 2
    for x in inputs(40):
        assert f(x) == pytest.approx(negated(x))
    assert f.stats().traces == 2


def test_more_rounds_than_there_is_room_for() -> None:
    def halved(x):
        while x > 1e-10:
            if x > 1.0:
                x = x * 0.5
            else:
                x = x * 0.9
        return x

    slope = grad(halved)
    for x in (2.0, 1e10, 1e-9, 1e300):
        assert slope(x) == pytest.approx(halved(x) / x, rel=1e-9)
    assert slope.stats().traces == 1


def kept_argument(a):
    b = a
    while b.sum() < 50:
        if b[0] > 3:
            b = b * 2
        else:
            b = b * 3
    b += 1
    return a.sum() * 1000 + b.sum()


def kept_name(a):
    b = a * 1.0
    c = b
    while c.sum() < 50:
        c = c * 2
    b += 1
    return b.sum() * 1000 + c.sum()


def best_so_far(a):
    x, best = a * 1.0, a * 2.0
    t = 0.0 * a[0]
    while t < 4:
        t = t + 1
        x = x * 0.9
        if np.sin(t * a[0]) > 0.5:
            best = x
    best[0] = 7.0
    return best.sum() + 10 * x.sum()


def window(a):
    y = a * 1.0
    v = y[:2]
    t = 0.0 * a[0]
    while t < 5:
        t = t + 1
        if a[0] > t:
            v = y[1:3]
    v[0] = 7.0
    return y.sum() + v[1]


def written_under_a_window(a):
    y = a * 1.0
    v = y[:2]
    t = 0.0 * a[0]
    while t < 5:
        t = t + 1
        if a[0] > t:
            v = y[1:3]
    y[2] = 9.0
    return v.sum()


def in_a_for(a):
    y, best = a * 1.0, a * 2.0
    for u in a:
        if u > 2:
            best = y
        y = y * 0.5
    best[1] = 5.0
    return y.sum() + best.sum()


@pytest.mark.parametrize(
    "fun",
    [kept_argument, kept_name, best_so_far, window, written_under_a_window, in_a_for],
    ids=by_name,
)
def test_writes_behind_a_loop_that_decides_who_shares_memory(fun: Callable) -> None:
    f = jit(fun)
    for scale in (100.0, 0.1, 3.0, 1.0, 5.0, 0.5, 30.0, 2.0, 0.01, 1.5):
        given = np.array([1.0, 2.0, 3.0, 4.0, 0.5]) * scale
        plain = given.copy()
        expected = fun(plain)
        assert f(given) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_array_equal(given, plain)


@pytest.mark.parametrize(
    ("fun", "reason"),
    [
        (
            python_counter,
            "branches: the untraced value of n changes in the loop",
        ),
        (
            listed,
            "number of rounds: `seen.append(s)`, line {}: a list changes in the loop",
        ),
        (
            counter_after,
            "number of rounds: i is read behind the loop and is untraced",
        ),
        (
            number_of_the_counter_after,
            "number of rounds: t is read behind the loop and is untraced",
        ),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_explain_says_why(fun: Callable, reason: str) -> None:
    f = jit(lambda x: fun(x))
    for scale in (0.2, 0.7):
        f(np.full(8, scale))
    line = fun.__code__.co_firstlineno + 4
    assert f"keeps its {reason.format(line)}" in str(f.explain())


def test_rows_that_no_round_took_have_no_gradient() -> None:
    slope = grad(lambda x: counted(x))
    full = slope(np.full(8, 0.1))
    np.testing.assert_allclose(full, 0.2 * np.arange(1, 9))
    for large in (3, 0, 6):
        x = np.full(8, 0.1)
        x[large] = 50.0
        got = slope(x)
        want = np.where(np.arange(8) <= large, 2 * x * np.arange(1, 9), 0.0)
        np.testing.assert_array_equal(got, want)


# --- `is` behind a loop


def one_after_no_round(x):
    a = x[0]
    b, i = a, 0.0 * a
    while i < 3 * x[1]:
        b, i = a * 1.1, i + 1
    return i + (a if a is b else 3 * b)


def one_after_some_sides(x):
    a, s = x[0], 0.0
    b = a
    for u in x:
        s = s + u
        if u > 0.8:
            b = u
    return s + (a if a is b else 3 * b)


def one_until_it_ends(x):
    best = x[0]
    for u in x:
        if u > best:
            best = u
        if u > 1.4:
            break
    return 5 * best if best is u else best


def one_of_some(x):
    a = b = x[0]
    held = [a]
    for u in x:
        if u > 0.8:
            b = u
    return a if any(b is one for one in held) else 3 * b


ONE = one_after_no_round, one_after_some_sides, one_until_it_ends, one_of_some


@pytest.mark.parametrize("fun", ONE, ids=by_name)
def test_which_names_are_one_is_that_of_the_rounds(fun: Callable) -> None:
    compiled, slope = jit(fun), value_and_grad(fun)
    for x in inputs(12):
        assert compiled(x) == pytest.approx(fun(x))
        value, gradient = slope(x)
        assert value == pytest.approx(fun(x))
        assert np.array_equal(gradient, grad(fun)(x))
