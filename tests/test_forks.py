"""Rounds that take different sides of a traced `if`: one path, or as many as needed.

Whatever it is, the answer is that of the plain function, for every input.
"""

# Statements, not expressions, are what is tested.
# ruff: noqa: SIM108

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit import config, grad, jit, value_and_grad, vmap

RNG = np.random.default_rng(1)


def inputs(count: int, length: int = 24) -> list[np.ndarray]:
    return [RNG.uniform(-1, 1, size=length) for _ in range(count)]


# --- what is one path


def two_sides(x, p, us):
    for u in us:
        if u < p:
            x = x + 0.5 * p
        else:
            x = x * np.cos(x) - 0.1
    return x * x


def one_side(x, p, us):
    for u in us:
        if u < p:
            x = np.sin(x) + u
    return x + p


def chain(x, p, us):
    for i in range(len(us)):
        if us[i] < -0.3:
            x = x * p
        elif us[i] < 0.3:
            x = x + us[i]
        else:
            x = 0.9 * x - p
    return x


def nested(x, p, us):
    for u in us:
        x = 0.9 * x
        if u < p:
            if x > 0.2:
                x = x - u
            else:
                x = x + u * u
        x = x + 0.1
    return x


def skips(x, p, us):
    for u in us:
        if u < -0.5:
            continue
        x = x + p * u
    return x


def expression(x, p, us):
    for u in us:
        x = x + (p if u > x else -0.5)
    return x


def python_numbers(x, p, us):
    for i in range(len(us)):
        if us[i] < p:
            step = 1.0
        else:
            step = -0.5
        x = x + step * us[i] * i
    return x


def extrema(x, p, us):
    for u in us:
        x = max(x * p, u) + abs(x - u)
    return 0.01 * x


def both_conditions(x, p, us):
    for u in us:
        if (u < p and x > 0) or u > 0.7:
            x = x - 0.3
        else:
            x = x + 0.4 * u
    return x


def helper(x, p, us):
    def step(x, u):
        if u > 0:
            return x * p
        return x + u

    for u in us:
        x = step(x, u) + 0.1
    return x


def two_ifs(x, p, us):
    y = x
    for u in us:
        if u > 0:
            x = x + y
        if x > p:
            y = y - 0.1 * x
            x = 0.5 * x
    return x + y


def swapped(x, p, us):
    a, b = x, 2 * x
    for u in us:
        if u > p:
            a, b = b, a
        else:
            a = a + 0.1 * b
    return a - 3 * b


def arrays(x, p, us):
    v = x * np.arange(1.0, 12.0)
    for u in us:
        v = np.tanh(v) + p if u > v[3] else v * u + v.mean()
    return np.sum(v * v)


def from_zero(x, p, us):
    total = 0.0
    for u in us:
        if u > 0:
            total = total + u * x
        else:
            total = total - p
    return total


def zipped(x, p, us):
    for u, v in zip(us, us[::-1], strict=True):
        x = x + u * p if u < v else x - v * p
    return x


def in_loops(x, p, us):
    for u in us[:6]:
        for v in us[6:12]:
            x = x + u * v if u > v else x * p
        x = 0.5 * x
    return x


def several(x, p, us):
    for u in us:
        if u > 0:
            for k in range(5):
                x = x + 0.01 * np.sin(x * k)
        else:
            x = x * p
    return x


def regime(x, p, us):
    """Untraced state that has two values, and decides what a round does."""
    calm = True
    for u in us:
        if u > 0.6:
            calm = not calm
        x = x * p + u if calm else x - 0.3 * u
    return x


ONE = {
    regime: 4,
    in_loops: 4,
    two_sides: 2,
    one_side: 2,
    chain: 2,
    nested: 3,
    skips: 2,
    expression: 2,
    python_numbers: 2,
    extrema: 3,
    both_conditions: 3,
    helper: 2,
    two_ifs: 3,
    swapped: 2,
    arrays: 1,
    from_zero: 3,
    zipped: 2,
    several: 2,
}


@pytest.mark.parametrize("f", ONE, ids=lambda f: f.__name__)
def test_one_path_for_many_sequences(f: Callable[..., Any]) -> None:
    both = value_and_grad(f, argnums=(0, 1, 2))
    for us in inputs(12):
        x, p = RNG.uniform(0.1, 0.9, size=2)
        value, slopes = both(x, p, us)
        np.testing.assert_allclose(value, f(x, p, us), rtol=1e-9)
        move, moves = 1e-6, (1.0, -0.7, np.cos(np.arange(len(us))))
        ahead, behind = (
            f(x + s * moves[0], p + s * moves[1], us + s * moves[2])
            for s in (move, -move)
        )
        want = sum(np.sum(s * m) for s, m in zip(slopes, moves, strict=True))
        scale = abs(want) + abs(value) + 1
        assert abs((ahead - behind) / (2 * move) - want) < 1e-6 * scale
    assert both.stats().traces <= ONE[f], both.explain()


# --- what is not, or not always


def counts_one_side(x, us):
    n = 0
    for u in us:
        if u > 0:
            n += 1
            x = x * 1.1
    return x + n


def appends_one_side(x, us):
    kept = []
    for u in us:
        if u > 0.3:
            kept.append(u)
            x = x + u
    return x * len(kept) + sum(kept)


def appends_always(x, us):
    path = []
    for u in us:
        x = x + u if u > 0 else 0.5 * x
        path.append(x)
    return np.sum(np.array(path) ** 2)


def rebinds_a_function(x, us):
    f = np.sin
    for u in us:
        if u > 0.5:
            f = np.cos
        x = f(x) + u
    return x


def rebinds_an_array(x, us):
    w = np.array([1.0, 2.0])
    for u in us:
        if u > 0.5:
            w = w + 1.0
        x = x + w[0] * u
    return x


def breaks(x, us):
    for u in us:
        if u > 0.9:
            break
        if u > 0:
            x = x + u
        else:
            x = x * 0.9
    return x


def breaks_in_a_side(x, us):
    for u in us:
        if u > 0:
            x = x + u
            if x > 3:
                break
        else:
            x = 0.5 * x
    else:
        x = x + 100
    return x


def divides(x, us):
    for u in us:
        x = 1 / u + x if abs(u) > 0.1 else x * 0.5
    return x


def logarithms(x, us):
    for u in us:
        if u > 0:
            x = x + np.log(u)
        else:
            x = x + np.sqrt(-u)
    return x


def shapes(x, us):
    v = np.ones(2) * x
    for u in us:
        v = v * u if u > 0 else np.concatenate([v, v])[:3]
    return np.sum(v)


def together(x, us):
    """Both Python numbers decide, and some pairs are rare."""
    for u in us:
        p = 1 if u > 0 else 0
        q = 1 if u * u > 0.8 else 0
        x = x * 0.9 + (2.0 if p and q else 1.0)
    return x


def counter_decides(x, us):
    for i in range(len(us)):
        if us[i] > 0:
            x = x + (1.0 if i < 10 else 3.0)
        else:
            x = 0.5 * x
    return x


def counter_divides(x, us):
    for i in range(len(us)):
        x = x + us[i // 3] if us[i] > 0 else x * us[len(us) - 1 - i] + i * 0.1
    return x


def bound_on_one_side(x, us):
    last = x
    for u in us:
        if u > 0.5:
            last = u
        x = x + last
    return x + last


def bound_in_the_loop_only(x, us):
    for u in us:
        if u > 0:
            found = 2 * u
            x = x + found
        else:
            found = 0.25
            x = x - found
    return x * found


def untraced_behind(x, us):
    for u in us:
        step = 1.0 if u > 0 else -2.0
        x = x + step * u
    return x, step


def the_variable_behind(x, us):
    for i, u in enumerate(us):  # noqa: B007
        x = x + u if u > 0 else x * 0.5
    return x + i + u


def largest(x, us):
    best = x
    for u in us:
        x = 0.5 * x + u
        if x > best:
            best = x
    return best * 2 + x


def remembers(x, us):
    before = us[0]
    for u in us:
        x = x + u if u > before else x - before
        before = u
    return x + before


def chooses_from_before(x, us):
    y, z = 2 * x, x + us[0]
    for u in us:
        x = z if u > 0.2 else y
    return x + 2 * y - z


def in_place(x, us):
    v = np.ones(3) * x
    w = v
    for u in us:
        if u > 0.3:
            w = v.copy()
        elif u < -0.3:
            w = v
        w += u
    return np.sum(v) + 2 * np.sum(w)


def turns(x, us):
    for i in range(len(us)):
        if i % 2 and us[i] > 0:
            x = x + us[i]
        elif not i % 3:
            x = x * 0.7
    return x


def python_division(x, us):
    for u in us:
        x = x + 1 if u > 0 else 1 / (x + 2)
    return x


def tail_decides(x, us):
    for u in us:
        flag = u > 0
        x = np.sin(x) if flag else x
        if flag and x > 0.5:
            x = x - 1
    return x


HARD = [
    counts_one_side, appends_one_side, appends_always, rebinds_a_function,
    rebinds_an_array, breaks, breaks_in_a_side, divides, logarithms, shapes, together,
    counter_decides, counter_divides, bound_on_one_side, bound_in_the_loop_only,
    untraced_behind, the_variable_behind, largest, remembers, chooses_from_before,
    in_place, turns,
    python_division, tail_decides,
]  # fmt: skip


def test_explain_says_why() -> None:
    reasons = {
        counts_one_side: "the untraced value of n changes in the loop",
        appends_one_side: "the length of a list depends on traced values",
        counter_decides: "a number that changes in the loop may run any code",
        untraced_behind: "step is read behind the loop and may be untraced",
    }
    for f, reason in reasons.items():
        compiled = jit(f)
        compiled(0.4, np.linspace(-0.9, 0.9, 16))
        (line,) = [w for w in str(compiled.explain()).splitlines() if "branches" in w]
        assert line.startswith("trace 1: the loop at test_forks.py:")
        assert line.endswith(reason)


@pytest.mark.parametrize("f", HARD, ids=lambda f: f.__name__)
def test_the_answer_is_that_of_a_fresh_recording(
    f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_EAGER_PATHS", 2)  # the others are interpreted
    compiled = jit(f)
    for us in inputs(20, 16):
        x = RNG.uniform(0.1, 0.9)
        np.testing.assert_allclose(
            np.array(compiled(x, us)), np.array(f(x, us)), rtol=1e-9, atol=1e-12
        )
    if f is not untraced_behind:
        slope = grad(f, argnums=1)
        for us in inputs(4, 16):
            want = grad(f, argnums=1)(0.4, us)
            np.testing.assert_allclose(slope(0.4, us), want, rtol=1e-9)


# --- sides that former recordings saw

SCALE = 2.0
NONE, RARE = np.full(12, 0.1), np.where(np.arange(12) == 5, 0.95, 0.1)


def rare(x, us):
    """A path of its own for the sign of x, and a side that few rounds take."""
    if x > 0:
        x = x + 1
    for u in us:
        x = x * u if u > 0.9 else x + u
    return x


def test_a_side_of_a_former_recording_is_known():
    f = jit(rare)
    for x, us in ((1.0, RARE), (-1.0, NONE), (-1.0, RARE), (1.0, NONE), (-2.0, RARE)):
        np.testing.assert_allclose(f(x, us), rare(x, us), rtol=1e-12)
    # The second recording saw one side only, and knows both.
    assert f.stats().traces == 2


def test_rare_sides_add_up():
    def many(x, us):
        for u in us:
            if u > 0.9:
                x = 2 * x
            if u < -0.9:
                x = x - 3
            if abs(u) < 0.05:
                x = x * x
            x = 0.5 * x + u
        return x

    f = jit(many)
    base = np.where(np.arange(12) % 2, 0.3, -0.4)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        us = base.copy()
        for value in rng.permutation([0.95, -0.95, 0.01])[: seed % 4]:
            us[rng.integers(12)] = value
        x = np.float64(rng.uniform(0.5, 1.0))
        np.testing.assert_allclose(f(x, us), many(x, us), rtol=1e-12)
    assert f.stats().traces <= 6


def test_a_name_of_the_module_that_a_side_reads_may_change(monkeypatch):
    def scaled(x, us):
        if x > 0:
            x = x + 1
        for u in us:
            x = x * SCALE if u > 0.9 else x + u
        return x

    f = jit(scaled)
    for x, us, scale in (
        (1.0, RARE, 2.0), (-1.0, NONE, 2.0), (-1.0, NONE, 3.0), (-1.0, RARE, 3.0),
        (-1.0, RARE, 5.0), (1.0, RARE, 5.0), (-1.0, NONE, 2.0), (-1.0, RARE, 7.0),
    ):  # fmt: skip
        monkeypatch.setitem(globals(), "SCALE", scale)
        np.testing.assert_allclose(f(x, us), scaled(x, us), rtol=1e-12)


def test_a_python_number_from_before_the_loop():
    def gained(x, us):
        gain = 2.0 if x > 0 else 3.0
        for u in us:
            x = x * gain if u > 0.9 else x + u
        return x

    f = jit(gained)
    for x, us in ((1.0, RARE), (-1.0, NONE), (-1.0, RARE), (1.0, NONE), (-2.0, RARE)):
        np.testing.assert_allclose(f(x, us), gained(x, us), rtol=1e-12)


def test_another_range_and_another_count():
    def counted(x, us, n):
        first = 0 if x > 0 else 2
        for i in range(first, n):
            x = x * us[i - first] + 0.1 * i if us[i] > 0.9 else x + us[i]
        return x

    f = jit(counted)
    for x, us, n in (
        (1.0, RARE, 12), (-1.0, NONE, 12), (-1.0, RARE, 12), (1.0, NONE, 9),
        (1.0, RARE, 9), (-1.0, RARE, 10), (1.0, RARE[::-1].copy(), 11),
    ):  # fmt: skip
        np.testing.assert_allclose(f(x, us, n), counted(x, us, n), rtol=1e-12)


def test_sides_that_only_a_longer_loop_has_taken():
    def f(x, us):
        total = 0.0
        for k in range(len(us)):
            total = total + 1.5 * x if us[k] > 0 else total - (k + 2.5) * x
        return total

    g = jit(f)
    late = np.ones(9)
    late[7] = -1.0
    for us in (late, np.ones(4), -np.ones(4), np.array([1.0, -1.0, 1.0, 1.0])):
        assert g(2.0, us) == pytest.approx(f(2.0, us))

    def counted(x):
        total = 0.0
        for _ in range(int(x * 3) + 4):
            total = total + 1.5 * x if x > 0 else total - 2.5 * x
        return total

    xs = np.array([0.9, 1.6, -0.2, 0.1, -0.9, 0.6])
    expected = [counted(x) for x in xs]
    np.testing.assert_allclose([jit(counted)(x) for x in xs], expected)
    np.testing.assert_allclose(jit(vmap(counted))(xs), expected)


def test_a_helper_that_is_made_in_each_call():
    weights = np.array([1.0, 2.0])

    def helped(x, p, us):
        power = 1 if x > 0 else 2

        def step(x, u):
            return x * p**power if u > 0.9 else x + u * weights[1]

        for u in us:
            x = step(x, u)
        return x

    f = jit(helped)
    for x, us in ((1.0, RARE), (-1.0, NONE), (-1.0, RARE), (1.0, NONE), (-2.0, RARE)):
        np.testing.assert_allclose(f(x, 1.7, us), helped(x, 1.7, us), rtol=1e-12)


def test_other_arrays_under_the_same_name():
    def read(x, us):
        w = us if x > 0 else us[::-1]
        both = [w, us]
        for i in range(12):
            x = x * w[i] - both[0][0] if us[i] > 0.9 else x + both[1][i]
        return x

    f = jit(read)
    for x, us in ((1.0, RARE), (-1.0, NONE), (-1.0, RARE), (1.0, NONE), (-2.0, RARE)):
        np.testing.assert_allclose(f(x, us), read(x, us), rtol=1e-12)


def test_inner_loops_get_the_sides_of_all():
    def grid(x, us):
        for u in us:
            for v in us[:6]:
                x = x + u * v if u + v > 0 else 0.9 * x
        return x

    f = jit(grid)
    for us in inputs(30, 8):
        x = np.float64(RNG.uniform())
        np.testing.assert_allclose(f(x, us), grid(x, us), rtol=1e-12)
    assert f.stats().traces <= 6, f.explain()


def position_of_the_largest(x):
    best = 0
    for i in range(6):
        if x[i] > x[best]:
            best = i
    return x[best] * best


def last_above(x):
    last = 5
    for i in range(6):
        if x[i] > 0.9:
            last = i
    return x[last] * last


@pytest.mark.compiles
@pytest.mark.parametrize("fun", [position_of_the_largest, last_above])
def test_a_name_that_keeps_the_number_of_some_round(fun) -> None:
    compiled = jit(fun)
    rng = np.random.default_rng(3)
    for _ in range(30):
        x = rng.normal(size=6)
        assert compiled(x) == fun(x)
