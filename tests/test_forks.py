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

from tracejit import grad, jit, value_and_grad

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
    untraced_behind, the_variable_behind, largest, remembers, in_place, turns,
    python_division, tail_decides,
]  # fmt: skip


@pytest.mark.parametrize("f", HARD, ids=lambda f: f.__name__)
def test_the_answer_is_that_of_a_fresh_recording(f: Callable[..., Any]) -> None:
    compiled = jit(f)
    for us in inputs(25, 16):
        x = RNG.uniform(0.1, 0.9)
        np.testing.assert_allclose(
            np.array(compiled(x, us)), np.array(f(x, us)), rtol=1e-9, atol=1e-12
        )
    if f is not untraced_behind:
        slope = grad(f, argnums=1)
        for us in inputs(8, 16):
            want = grad(f, argnums=1)(0.4, us)
            np.testing.assert_allclose(slope(0.4, us), want, rtol=1e-9)
