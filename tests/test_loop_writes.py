"""Loops with branches that fill lists and write into arrays: one path, one kernel.

Whatever it is, the answer is that of the plain function, for every input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracejit import config, grad, hessian, jit, value_and_grad

RNG = np.random.default_rng(2)


# --- lists


def collected(x, us):
    seen = []
    for u in us:
        x = x * 0.9 + u if u > 0 else x - 0.1 * u
        seen.append(x)
    return np.sum(np.array(seen) ** 2)


def on_both_sides(x, us):
    seen = []
    for u in us:
        if u > 0:
            x = x * 0.9 + u
            seen.append(x)
        else:
            seen.append(np.sin(x))
    return np.sum(np.stack(seen) ** 2)


def from_a_start(x, us):
    seen = [x]
    for i in range(len(us)):
        if us[i] > x:
            x = 0.5 * (x + us[i])
        seen.append(x * us[i])
    found = np.array(seen)
    return np.sum(found[1:] * found[:-1])


def two_lists(x, us):
    first, second = [], []
    for u in us:
        if u > 0:
            first.append(x * u)
            second.append(u)
        elif u > -0.5:
            first.append(x)
            second.append(x * x)
        else:
            first.append(u + x)
            second.append(u * u)
            continue
        if u < x:
            x = x * 0.99
    return np.sum(np.array(first) * np.array(second)) + first[3] * second[-1]


def rows(x, us):
    seen = []
    v = x * np.arange(1.0, 4.0)
    for u in us:
        v = 0.9 * v + u if u > v[1] else np.tanh(v)
        seen.append(v)
    return np.sum(np.stack(seen) * np.arange(3.0)) + v[0]


# --- arrays


def both_sides(x, us):
    y = np.zeros(len(us))
    for i in range(len(us)):
        if us[i] > 0:
            y[i] = x * us[i]
        else:
            y[i] = np.sin(x)
    return np.sum(y * y)


def one_side(x, us):
    y = np.zeros(len(us))
    for i in range(len(us)):
        if us[i] > 0:
            y[i] = x * us[i]
    return np.sum(y * y)


def behind_the_if(x, us):
    y = np.zeros(len(us))
    for i in range(len(us)):
        x = 0.9 * x + us[i] if us[i] > 0 else x - 0.1
        y[i] = x
    return np.sum(y * y)


def reads_what_it_wrote(x, us):
    y = np.ones(len(us)) * x
    for i in range(1, len(us)):
        if us[i] > 0:
            y[i] += y[i - 1] * us[i]
        else:
            y[i] *= 0.5
    return np.sum(y * y)


def table(x, us):
    y = np.zeros((len(us), 2))
    for i, u in enumerate(us):
        if u > 0.5:
            y[i, 0] = x * u
        elif u > -0.2:
            y[i, 1] = u * u
        else:
            y[i] = x
    return np.sum(y * y)


def bins(x, us):
    y = np.zeros(4)
    for i in range(len(us)):
        if us[i] > 0:
            y[i % 4] += x * us[i]
        else:
            y[0] = x
    return np.sum(y * y)


def bubbles(x, us):
    y = us * x
    for i in range(len(us) - 1):
        if y[i] > y[i + 1]:
            t = y[i] * 1.0
            y[i] = y[i + 1]
            y[i + 1] = t
    return np.sum(y * np.arange(len(us)))


def through_a_view(x, us):
    y = np.zeros(len(us))
    last = y[-3:]
    for u in us:
        if u > 0:
            last[1] = x * u
        else:
            last[0] = last[0] + u
            y[-1] += last[1]
    return np.sum(y * np.arange(len(us))) + last[2]


def by_two_names(x, us):
    y = us * x
    z = y
    for i in range(len(us)):
        if us[i] > 0:
            z[i] = x
        elif y[i] < -0.1:
            y[i] *= x
    return np.sum(y * y) + z[3]


def in_a_helper(x, us):
    def put(y, i, v):
        if v > 0:
            y[i] = v
        return v * v

    y = np.zeros(len(us))
    total = 0.0 * x
    for i in range(len(us)):
        total = total + put(y, i, us[i] * x)
    return total + np.sum(y)


def into_an_argument(x, us):
    for i in range(len(us)):
        if us[i] > 0:
            us[i] = us[i] * x
    return np.sum(us * us)


def array_and_list(x, us):
    y, seen = np.zeros(4), []
    for u in us:
        if u > 0.2:
            y[1] += u
            seen.append(y[1] * x)
        elif u > -0.2:
            y[2] = x
            seen.append(u)
        else:
            seen.append(x * u)
    return np.sum(y * y) + np.sum(np.array(seen) * np.arange(len(seen)))


ONE = {
    collected: 2,
    on_both_sides: 1,
    from_a_start: 2,
    two_lists: 2,
    rows: 2,
    both_sides: 1,
    one_side: 1,
    behind_the_if: 1,
    reads_what_it_wrote: 1,
    table: 2,
    bins: 1,
    bubbles: 2,
    through_a_view: 2,
    by_two_names: 3,
    in_a_helper: 2,
    into_an_argument: 2,
    array_and_list: 2,
}


@pytest.mark.parametrize("f", ONE, ids=lambda f: f.__name__)
def test_one_path_for_many_sequences(f: Callable[..., Any]) -> None:
    both = value_and_grad(f, argnums=(0, 1))
    for _ in range(10):
        x, us = RNG.uniform(0.2, 0.9), RNG.uniform(-1, 1, size=24)
        value, slopes = both(x, us)
        assert np.isclose(value, f(x, us.copy()), rtol=1e-12)
        move, m = 1e-6, np.cos(np.arange(len(us)))
        ahead, behind = (f(x + s, us + s * m) for s in (move, -move))
        want = slopes[0] + slopes[1] @ m
        assert abs((ahead - behind) / (2 * move) - want) < 1e-6 * (1 + abs(want))
    stats = both.stats()
    assert stats.traces <= ONE[f], both.explain()
    assert len(both.kernels()) <= ONE[f]


@pytest.mark.parametrize("f", [collected, one_side, reads_what_it_wrote, rows])
def test_a_thousand_sequences(f: Callable[..., Any]) -> None:
    both = value_and_grad(f)
    for _ in range(1000):
        x, us = RNG.uniform(0.2, 0.9), RNG.uniform(-1, 1, size=200)
        value, _slope = both(x, us)
        assert np.isclose(value, f(x, us), rtol=1e-11)
    assert both.stats().traces <= 5
    assert len({kernel.source for kernel in both.kernels()}) <= 3


@pytest.mark.parametrize("f", [on_both_sides, reads_what_it_wrote, bins])
def test_second_derivatives(f: Callable[..., Any]) -> None:
    curvature, slope = hessian(f, argnums=1), grad(f, argnums=1)
    for _ in range(2):
        us = RNG.uniform(-1, 1, size=9)
        want = [
            (slope(0.4, us + e) - slope(0.4, us - e)) / 2e-5 for e in 1e-5 * np.eye(9)
        ]
        np.testing.assert_allclose(curvature(0.4, us), want, atol=1e-6)


def test_nothing_leaks_from_the_side_not_taken() -> None:
    def roots(us):
        y, seen = np.zeros(len(us)), []
        for i in range(len(us)):
            if us[i] > 0:
                y[i] = np.log(us[i])
                seen.append(np.sqrt(us[i]))
            else:
                y[i] = np.sqrt(-us[i])
                seen.append(np.log1p(-us[i]))
        return np.sum(y) + np.sum(np.array(seen))

    slope = grad(roots)
    with np.errstate(all="raise"):
        for _ in range(5):
            us = RNG.uniform(-3, 3, size=20)
            plus = np.abs(us)
            want = np.where(
                us > 0,
                1 / plus + 0.5 / np.sqrt(plus),
                -0.5 / np.sqrt(plus) - 1 / (1 - us),
            )
            np.testing.assert_allclose(slope(us), want, rtol=1e-12)
    assert slope.stats().traces == 1


@pytest.mark.parametrize("f", [one_side, both_sides, bins])
def test_writes_copy_nothing(f: Callable[..., Any]) -> None:
    """No loop over the array is inside of the loop."""
    for compiled in (jit(f), grad(f, argnums=1)):
        for _ in range(3):
            compiled(0.5, RNG.uniform(-1, 1, size=24))
        kernel = compiled.kernels()[-1]
        assert " if " in kernel.source
        assert not re.search(r"\n {8,}for ", kernel.source)


def test_the_callers_array_is_written() -> None:
    def clipped(us):
        for i in range(len(us)):
            if us[i] > 0.5:
                us[i] = 0.5

    ours = jit(clipped)
    for _ in range(4):
        us = RNG.uniform(-1, 1, size=16)
        want = np.minimum(us, 0.5)
        ours(us)
        np.testing.assert_array_equal(us, want)
    calm = RNG.uniform(-1, 0, size=16)  # nothing is written
    want = calm.copy()
    ours(calm)
    np.testing.assert_array_equal(calm, want)
    assert ours.stats().traces == 1


# --- what is not one path, and right all the same


def appends_one_side(x, us):
    seen = []
    for u in us:
        if u > 0:
            seen.append(u * x)
        x = x * 0.99
    return np.sum(np.array(seen)) + x * len(seen)


def keeps_the_array(x, us):
    seen, y = [], us * x
    for i in range(len(us)):
        if us[i] > 0:
            y[i] = x
        seen.append(y)  # the same array again and again
    return np.sum(seen[0] * seen[3])


def keeps_copies(x, us):
    seen, y = [], us * x
    for i in range(len(us)):
        if us[i] > 0:
            y[i] = x
        seen.append(y.copy())
        seen[-1][0] = x
    return np.sum(seen[0] * seen[3])


def bound_anew(x, us):
    y = us * x
    z = y
    for i in range(len(us)):
        if us[i] > 0:
            y = y + 0.1
        else:
            y[i] = x
    return np.sum(y * z)


def swapped(x, us):
    a, b = us * x, us + x
    for i in range(len(us)):
        if us[i] > 0:
            a, b = b, a
        else:
            a[i] = x
    return np.sum(a * a) - np.sum(b)


def two_buffers(x, us):
    a, b = np.zeros(len(us)), np.ones(len(us))
    target = a
    for i in range(len(us)):
        if us[i] > 0:
            target[i] = x * us[i]
        if us[i] > 0.8:
            target = b
    return np.sum(a * us) - np.sum(b * b)


def row_by_row(x, us):
    y = np.outer(us, np.ones(3))
    for row in y:
        if row[0] > 0:
            row[1] = x * row[2]
    return np.sum(y * y)


def number_or_value(x, us):
    seen = []
    for u in us:
        if u > 0:
            seen.append(u * x)
        else:
            seen.append(0.0)
    return np.sum(np.array(seen) ** 2)


def list_is_read(x, us):
    seen = [x]
    for u in us:
        seen.append(0.9 * seen[-1] + u if u > 0 else 0.5 * seen[-1])
    return np.sum(np.array(seen))


def list_by_two_names(x, us):
    seen = []
    other = seen
    for u in us:
        if u > 0:
            x = x * 0.9 + u
        seen.append(x)
    other.append(x)
    return np.sum(np.array(seen)) * len(other)


def untouched_is_a_number(x, us):
    y = np.zeros(4)
    for u in us:
        if u > 0.99:
            y[0] = x * u
    return x * float(y[1]) if us[0] > 2 else x * np.sum(us * y[0])


def through_an_object(x, us):
    class Box:
        pass

    box = Box()
    box.y = us * x
    for i in range(len(us)):
        if us[i] > 0:
            box.y[i] = x
    return np.sum(box.y * us)


def array_from_outside_of_a_helper(x, us):
    y = us * x
    view = y[2:]

    def fill(y):
        for i in range(len(us)):
            if us[i] > 0:
                y[i] = x
        return y

    fill(y)
    return np.sum(view * view)


@pytest.mark.parametrize(
    "f",
    [
        appends_one_side, keeps_the_array, keeps_copies, bound_anew, swapped,
        two_buffers, row_by_row, number_or_value, list_is_read, list_by_two_names,
        untouched_is_a_number, through_an_object, array_from_outside_of_a_helper,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_right_all_the_same(
    f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_EAGER_PATHS", 0)
    both = value_and_grad(f, argnums=(0, 1))
    for k in range(8):
        x, us = RNG.uniform(0.2, 0.9), RNG.uniform(-1, 1, size=12)
        us[5] = 0.995 if k % 2 else -0.2
        for _ in range(2):
            value, slopes = both(x, us)
            assert np.isclose(value, f(x, us.copy()), rtol=1e-12)
        move, m = 1e-6, np.cos(np.arange(len(us)))
        ahead, behind = (f(x + s, us + s * m) for s in (move, -move))
        want = slopes[0] + slopes[1] @ m
        assert abs((ahead - behind) / (2 * move) - want) < 1e-6 * (1 + abs(want))
