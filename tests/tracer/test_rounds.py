"""Rounds that are left out: which loops, and that the tape is that of all rounds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tracejit import grad, jit, value_and_grad
from tracejit.api.transform import Transform
from tracejit.passes.simplify import simplify
from tracejit.signature import read_call
from tracejit.text import print_tape
from tracejit.tracer import Recorder, rounds

T = 40
ROWS = np.linspace(0.0, 1.0, T)
WIDE = np.outer(ROWS, [1.0, 2.0, 3.0])
COEFFICIENTS = [0.1 * math.sin(i) for i in range(T)]
DT = 0.01


@pytest.fixture(autouse=True)
def short_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops as short as those here are worth it."""
    monkeypatch.setattr(rounds, "MIN_SAVED", 1)


class Recorded(NamedTuple):
    skips: int
    text: str
    values: list[Any]


def recorded(transform: Transform, *args: Any, may_skip: bool) -> Recorded:
    """One recording: loops with rounds left out, the tape's text, the results."""
    dispatcher = transform._dispatcher
    program = dispatcher.program
    call = read_call(args, {}, program.statics, program.fun)
    session, outputs, _ = dispatcher.recordings.record(call, may_skip)
    tape = simplify(session.finish_trace(outputs.refs))
    values = [session.value(ref) for ref in outputs.refs]
    return Recorded(session.skips, print_tape(tape, sources=False), values)


def skips(function: Callable, *args: Any) -> int:
    """How many loops had rounds left out; the gradient is that of all rounds."""
    args = args or (0.7, 1.3)
    transform = value_and_grad(function, argnums=tuple(range(len(args))))
    found = recorded(transform, *args, may_skip=True)
    plain = recorded(transform, *args, may_skip=False)
    assert found.text == plain.text
    for a, b in zip(found.values, plain.values, strict=True):
        np.testing.assert_array_equal(a, b)
    assert plain.skips == 0
    return found.skips


# --- loops whose rounds all do the same -----------------------------------------------


def unread(x, p):
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
    return x


def counter(x, p):
    for i in range(T):
        x = x + 0.1 * np.sin(x * p * i)
    return x


def steps(x, p):
    for i in range(60, 60 - 2 * T, -2):
        x = np.tanh(x * p + i)
    return x


def clock(x, p):
    for i in range(T):
        t = 0.5 + i * DT
        x = x + DT * np.sin(p * t + x)
    return x


def row(x, p):
    for i in range(T):
        x = np.tanh(x * p + ROWS[i])
    return x


def reversed_row(x, p):
    for i in range(T):
        x = np.tanh(x * p + ROWS[T - 1 - i])
    return x


def wrapped_row(x, p):
    for i in range(T):
        x = np.tanh(x * p + ROWS[i - 3])
    return x


def cyclic_row(x, p):
    for i in range(T):
        x = np.tanh(x * p + ROWS[i % 3])
    return x


def wide_row(x, p):
    h = np.zeros(3)
    for i in range(T):
        h = np.tanh(h * p + WIDE[i, :] * x + WIDE[i, 0])
    return h.sum()


def window(x, p):
    for i in range(2, T - 2):
        x = np.tanh(x * p + np.sum(ROWS[i - 2 : i + 3]))
    return x


def items(x, p):
    for u in ROWS:
        x = np.tanh(x * p + u)
    return x


def numbered(x, p):
    for i, u in enumerate(ROWS, 1):
        x = np.tanh(x * p + u / 2 * i)
    return x


def pairs(x, p):
    for u, v in zip(ROWS, WIDE, strict=False):
        x = np.tanh(x * p + u * v.sum())
    return x


def before(x, p):
    old = x
    for _ in range(T):
        x, old = 0.5 * np.tanh(x * p) + 0.1 * old, x
    return x + old


def used_after(x, p):
    for i in range(T):  # noqa: B007
        y = x
        x = x + 0.1 * np.sin(x * p)
    return x * i + y


def kept(x, p):
    first = None
    for _ in range(T):
        if first is None:
            first = x
        x = x + 0.1 * np.sin(x * p)
    return x * first


def from_before(x, p):
    y = 3 * x
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p * y)
    return x * y


def nested(x, p):
    for _ in range(T):
        for _ in range(12):
            x = x + 0.01 * np.sin(x * p)
        x = x * 0.99
    return x


def pair(x, p):
    state = x, p
    for _ in range(T):
        state = state[0] + 0.1 * np.sin(state[0] * state[1]), state[1] * 0.999
    return state[0] * state[1]


def helper(x, p):
    def slope(x, i):
        return 0.1 * np.sin(x * p * i)

    for i in range(T):
        x = x + slope(x, i)
    return x


def listed(x, p):
    for _ in range(T):
        x = x + sum([0.1 * np.sin(x * p * k) for k in range(3)])
    return x


def in_place(x, p):
    v = np.array([x, p])
    w = v
    for _ in range(T):
        v += 0.1 * np.sin(v * p)
    return v.sum() + w.sum()


def with_else(x, p):
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
    else:
        x = 2 * x
    return x


def decided_after(x, p):
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
    y = 1.0 if x > 1.0 else 2.0
    for _ in range(T):
        x = x + 0.1 * np.sin(x * y)
    return x


def collected(x, p):
    seen = []
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
        seen.append(x)
    return np.sum(np.array(seen)) * len(seen)


def collected_vectors(x, p):
    seen = [np.zeros(3)]
    h = x * np.ones(3)
    for _ in range(T):
        h = np.tanh(h * p)
        seen.append(h)
    return np.sum(np.stack(seen) ** 2) + sum(seen).sum()


SAME = {
    unread: 1, counter: 1, steps: 1, clock: 1, row: 1, reversed_row: 1,
    wrapped_row: 1, cyclic_row: 1, wide_row: 1, window: 1, items: 1, numbered: 1,
    pairs: 1, before: 1, used_after: 1, kept: 1, from_before: 1, pair: 1, helper: 1,
    listed: 1, in_place: 1, with_else: 1, decided_after: 2,
    collected: 1, collected_vectors: 1,
}  # fmt: skip


@pytest.mark.parametrize("function", SAME, ids=lambda f: f.__name__)
def test_rounds_that_do_the_same_are_left_out(function: Callable) -> None:
    assert skips(function) == SAME[function]


def test_inner_loops_are_rolled_between_the_rounds() -> None:
    assert skips(nested) >= 1


# --- loops whose rounds do not --------------------------------------------------------


def changes(x, p):
    for i in range(T):
        if i == 30:
            x = 2 * x
        x = x + 0.1 * np.sin(x * p)
    return x


def changes_late(x, p):
    for i in range(T):
        x = np.tanh(x * p + i // 30)
    return x


def changes_row_late(x, p):
    for i in range(T):
        x = np.tanh(x * p + ROWS[i // 30])
    return x


def from_the_middle(x, p):
    middle = 0.0
    for i in range(T):
        x = x + 0.1 * np.sin(x * p)
        if i == 20:
            middle = x
    return x * middle


def counted(x, p):
    n = 0
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
        n += 1
    return x * n


def stopped(x, p):
    for i in range(T):
        x = x + 0.1 * np.sin(x * p)
        if i == 30:
            break
    return x * i


def stopped_by_value(x, p):
    for i in range(T):  # noqa: B007
        x = x + 0.1 * np.sin(x * p)
        if x > 1.5:
            break
    return x * i


def from_a_list(x, p):
    for i in range(T):
        x = np.tanh(x * p + COEFFICIENTS[i])
    return x


def by_math(x, p):
    for i in range(T):
        x = np.tanh(x * p + math.sin(i))
    return x


def by_builtin(x, p):
    for i in range(T):
        x = np.tanh(x * p + min(i, 30))
    return x


def handed_on(x, p):
    a = b = c = d = e = f = 2 * x
    for _ in range(T):
        a, b, c, d, e, f = np.tanh(a * p), a, b, c, d, e
    return a + f


def handed_on_late(x, p):
    a, b, c, d, e, f, g, h = (x * k for k in range(8))
    for _ in range(T):
        a, b, c, d, e, f, g, h = b, c, d, e, f, g, h, np.tanh(a * p)
    return a


def attribute(x, p):
    class State:
        value = x

    for _ in range(T):
        State.value = State.value + 0.1 * np.sin(State.value * p)
    return State.value


def in_a_dict(x, p):
    state = {"x": x}
    for _ in range(T):
        state["x"] = state["x"] + 0.1 * np.sin(state["x"] * p)
    return state["x"]


def in_a_cell(x, p):
    def step():
        nonlocal x
        x = x + 0.1 * np.sin(x * p)

    for _ in range(T):
        step()
    return x


def counted_in_a_cell(x, p):
    n = 0

    def step(x):
        nonlocal n
        n += 1
        return x + 0.1 * np.sin(x * p) * n

    for _ in range(T):
        x = step(x)
    return x


def handled(x, p):
    for i in range(T):
        try:
            x = x + 0.1 * np.sin(x * p)
            if i == 30:
                raise ValueError
        except ValueError:
            x = 2 * x
    return x


def generated(x, p):
    def values(x):
        for _ in range(T):
            x = x + 0.1 * np.sin(x * p)
            yield x

    for y in values(x):
        x = y
    return x


def consumed(x, p):
    given = iter(range(T))
    for _ in range(T):
        x = np.tanh(x * p + next(given))
    return x


def shrinks(x, p):
    v = np.zeros(2 * T) + x
    for _ in range(T):
        v = v[1:] * p
    return v.sum()


def collected_and_read(x, p):
    seen = [x]
    for _ in range(T):
        seen.append(seen[-1] + 0.1 * np.sin(seen[-1] * p))
    return seen[-1]


def collected_twice(x, p):
    seen = []
    other = seen
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p * len(other))
        seen.append(x)
    return x


def collected_in_place(x, p):
    seen = []
    v = np.array([x, p])
    for _ in range(T):
        v += 0.1 * np.sin(v)
        seen.append(v)
    return sum(seen).sum()


DIFFERENT = [
    changes, changes_late, changes_row_late, from_the_middle, counted,
    collected_and_read, collected_twice, collected_in_place,
    stopped, stopped_by_value, from_a_list, by_math, by_builtin, handed_on,
    handed_on_late, attribute, in_a_dict, in_a_cell, counted_in_a_cell, handled,
    generated, consumed, shrinks,
]  # fmt: skip


@pytest.mark.parametrize("function", DIFFERENT, ids=lambda f: f.__name__)
def test_rounds_that_may_differ_are_recorded(function: Callable) -> None:
    assert skips(function) == 0


def collected_before(x, p):
    seen = []
    for _ in range(T):
        seen.append(x)
        x = x + 0.1 * np.sin(x * p)
    return x * seen[3] + np.sum(np.array(seen) ** 2) * seen[-1] * len(seen)


def collected_pairs(x, p):
    seen = []
    for _ in range(T):
        seen.append(x)
        x = x + 0.1 * np.sin(x * p)
        seen.append(2 * x)
    return sum(seen) * seen[T]


def returned(x, p):
    seen = []
    for _ in range(T):
        x = x + 0.1 * np.sin(x * p)
        seen.append(x)
    return seen


@pytest.mark.parametrize("function", [collected_before, collected_pairs, returned])
def test_lists_have_what_each_round_appended(function: Callable) -> None:
    found = recorded(jit(function), 0.7, 1.3, may_skip=True)
    assert found.skips == 1
    expected = function(0.7, 1.3)
    if isinstance(expected, list):
        assert len(found.values) == T
    np.testing.assert_allclose(found.values, np.ravel(expected), rtol=1e-14)
    if function is not returned:
        slopes = recorded(grad(function, (0, 1)), 0.7, 1.3, may_skip=True)
        plain = recorded(grad(function, (0, 1)), 0.7, 1.3, may_skip=False)
        assert (slopes.skips, plain.skips) == (1, 0)
        np.testing.assert_allclose(slopes.values, plain.values, rtol=1e-12)


def test_short_loops_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MIN_SAVED", 1000)
    assert skips(unread) == 0


def test_a_shadowed_range_is_the_users() -> None:
    def range(n):
        return [1.0] * n

    def f(x):
        for k in range(T):
            x = np.tanh(x + k)
        return x

    assert skips(f, 0.5) == 0


# --- what must be as if all rounds had run --------------------------------------------


def test_a_decision_in_the_last_round_records_all() -> None:
    def f(x):
        for i in range(T):
            x = x + 0.1 * np.sin(x)
            if i == T - 1 and x > 0.0:
                x = 2 * x
        return x

    assert skips(f, 0.5) == 0


def test_an_error_of_a_round_that_was_left_out_is_numpys() -> None:
    def f(x):
        for i in range(3 * T):
            x = x + ROWS[i]
        return x

    with pytest.raises(IndexError, match=r"index 40 is out of bounds .* size 40"):
        jit(f)(1.0)


def test_a_singular_matrix_in_between_is_numpys_error() -> None:
    def f(x):
        for i in range(T):
            x = x + np.linalg.inv(np.array([[i - 20.0 + 0 * x]]))[0, 0]
        return x

    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        f(0.0)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        jit(f)(0.0)


def test_warnings_of_rounds_that_were_left_out_come() -> None:
    def f(x):
        for _ in range(T):
            x = x * np.exp(x)
        return x

    with pytest.warns(RuntimeWarning, match="overflow encountered in (exp|multiply)"):
        assert jit(f)(1.0) == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            jit(lambda x: f(x))(1.0)


def test_errstate_raise_records_all() -> None:
    def f(x):
        for _ in range(T):
            x = x * np.exp(x)
        return x

    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        jit(f)(1.0)


def test_values_after_the_loop_decide() -> None:
    def f(x, p):
        for _ in range(T):
            x = x + 0.1 * np.sin(x * p)
        return 2 * x if x > 1.5 else -x

    g = jit(f)
    for x in (-1.0, 1.0, 2.0):
        assert g(x, 1.3) == pytest.approx(f(x, 1.3), rel=1e-14)
    assert g.stats().traces == 2


def test_a_long_loop_that_decides_is_run_by_a_kernel() -> None:
    def f(x):
        while x < 2.0:
            for _ in range(6000):
                x = x + 1e-5 * np.sin(x)
            x = 1.3 * x
        return x

    g = grad(f)
    exact = (f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6
    assert g(0.7) == pytest.approx(exact, rel=1e-6)
    assert g.stats().traces == 1


def test_very_many_recorded_rounds_are_rolled_on_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def f(x, p):
        n = 0
        for _ in range(1000):
            x = x + 0.01 * np.sin(x * p)
            n += 1
        return x * n

    transform = value_and_grad(f, argnums=(0, 1))
    plain = recorded(transform, 0.7, 1.3, may_skip=True)
    lengths = []
    roll = Recorder.roll

    def noted(self: Recorder, start: int, wanted: Any = ()) -> None:
        lengths.append(len(self.instrs) - start)
        roll(self, start, wanted)

    monkeypatch.setattr(Recorder, "roll", noted)
    monkeypatch.setattr(rounds, "MANY", 500)
    found = recorded(transform, 0.7, 1.3, may_skip=True)
    assert max(lengths) < 600
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-13)


def test_a_million_rounds_take_no_memory() -> None:
    import tracemalloc

    def f(x, p):
        for i in range(10**6):
            x = x + 1e-6 * np.sin(x * p + i)
        return x

    transform = value_and_grad(f)
    tracemalloc.start()
    try:
        program = transform._dispatcher.program
        call = read_call((0.5, 1.3), {}, program.statics, program.fun)
        session, _, _ = transform._dispatcher.recordings.record(call)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert session.skips == 1
    # A table of the counter as floats is 8 MB; the instrs would be 2 GB.
    assert peak < 100e6
    assert len(session.instrs) < 30
