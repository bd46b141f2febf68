"""Rolling: what becomes a loop, what does not, and that nothing changes its value."""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejit import grad, jit, value_and_grad
from tracejit.interpret import interpret, verify
from tracejit.passes.reroll import reroll_tape
from tracejit.passes.reroll.find import Run, Tokens, find
from tracejit.tape import Source, Tape
from tracejit.text import print_tape
from tracejit.tracer import Recorder, recording


def record(fun: Callable, *args: Any) -> tuple[Tape, list[Any]]:
    """The unrolled tape of a function, and the values of its inputs."""
    recorder = Recorder(fun.__name__)
    with recording(recorder):
        out = fun(*[recorder.input_tracer(a) for a in args])
        outs = out if isinstance(out, tuple) else (out,)
    tape = recorder.finish_trace([o.ref for o in outs])
    return tape, [*args, *recorder.captures]


def rolled(fun: Callable, *args: Any) -> Tape:
    """The rolled tape, checked against the unrolled one."""
    tape, values = record(fun, *args)
    new, tables = reroll_tape(tape)
    verify(new)
    expected = interpret(tape, values)
    for a, b in zip(interpret(new, [*values, *tables]), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    return new


def trips(tape: Tape) -> list[Any]:
    """The trip counts on a tape, nested as the loops are."""
    found: list[Any] = []
    for instr in tape.instrs:
        if instr.prim.name == "loop":
            inner = trips(instr.params["body"])
            trip = instr.params["trip"]
            found.append((trip, inner) if inner else trip)
    return found


def test_golden_scalar_loop() -> None:
    def f(x: Any, p: Any) -> Any:
        for _ in range(20):
            x = x + 0.1 * np.sin(x * p)
        return x

    text = print_tape(rolled(f, 0.3, 2.0), sources=False)
    assert text == (
        "tape f(%0: f64[], %1: f64[]):\n"
        "  %101: f64[] = loop %1 %0 {trip=20, consts=1, carries=1, reverse=False}\n"
        "    body: tape body(%0: i64[], %2: f64[], %1: f64[]):\n"
        "      %3: f64[] = mul %1 %2\n"
        "      %4: f64[] = sin %3\n"
        "      %5: f64[] = 0.1\n"
        "      %6: f64[] = mul %5 %4\n"
        "      %7: f64[] = add %1 %6\n"
        "      return %7\n"
        "  return %101"
    )


def test_carried_from_several_iterations_back() -> None:
    def fibonacci(a: Any, b: Any) -> Any:
        for _ in range(12):
            a, b = b, a + b
        return a, b

    assert trips(rolled(fibonacci, 1.0, 1.0)) == [12]

    def delayed(x: Any) -> Any:
        history = [x, 2 * x, 3 * x]
        for _ in range(15):
            history.append(history[-3] * 0.5 + np.sin(history[-1]))
        return history[-1]

    assert trips(rolled(delayed, 0.7)) == [15]


def test_affine_and_table_constants() -> None:
    def f(x: Any) -> Any:
        s = x[0]
        for i in range(len(x)):
            s = s + x[i] * x[len(x) - 1 - i] * (i + 0.5) ** 2
        return s

    tape = rolled(f, np.arange(12.0))
    assert trips(tape) == [12]
    # The squares are a table: a hidden input of the tape, one number an iteration.
    assert [tape.avals[r].shape for r in tape.inputs] == [(12,), (12,)]


def test_windows_that_move() -> None:
    def f(x: Any) -> Any:
        s = np.sum(x) * 0.0
        for i in range(10):
            s = s + np.sum(x[i : i + 3] ** 2)
        return s

    assert trips(rolled(f, np.arange(12.0))) == [10]


def test_rows_layers_and_stacked_results() -> None:
    def f(rows: Any, w: Any) -> Any:
        h = w[0]
        states = []
        for row in rows:
            h = np.tanh(h @ w + row)
            states.append(h)
        return np.sum(np.stack(states) ** 2)

    rng = np.random.default_rng(0)
    tape = rolled(f, rng.normal(size=(10, 3)), rng.normal(size=(3, 3)))
    assert trips(tape) == [10]
    # The collected states are the stacked output itself, not ten rows put together.
    assert not any(i.prim.name == "concatenate" for i in tape.instrs)

    def layers(x: Any, *weights: Any) -> Any:
        for w in weights:
            x = np.tanh(x @ w)
        return np.sum(x)

    ws = [rng.normal(size=(3, 3)) for _ in range(6)]
    assert trips(rolled(layers, rng.normal(size=(2, 3)), *ws)) == [6]


def test_nested_loops_roll_inside_out() -> None:
    def f(x: Any) -> Any:
        s = x[0]
        for i in range(6):
            t = x[i]
            for j in range(5):
                t = np.sin(t) * (j + 0.5)
            s = s + t * i
        return s

    assert trips(rolled(f, np.arange(6.0))) == [5, (5, [5])] or trips(
        rolled(f, np.arange(6.0))
    ) == [(6, [5])]


def test_helper_functions_called_in_the_loop() -> None:
    def rhs(y: Any, p: Any) -> Any:
        return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - y[1]])

    def f(y: Any, p: Any) -> Any:
        for _ in range(30):
            k1 = rhs(y, p)
            k2 = rhs(y + 0.005 * k1, p)
            k3 = rhs(y + 0.005 * k2, p)
            k4 = rhs(y + 0.01 * k3, p)
            y = y + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y

    tape = rolled(f, np.array([1.0, 0.5]), np.array([1.1, 0.4, 0.1]))
    assert trips(tape) == [30]
    assert len(tape.instrs) == 1


def test_guards_roll_and_keep_their_numbers() -> None:
    def newton(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-9:
            x = 0.5 * (x + a / x)
        return x

    tape, values = record(newton, 1e6)
    new, tables = reroll_tape(tape)
    from tracejit.interpret import GuardFailed

    for start in (4.0, 9e7, 1e6):
        outcomes = []
        for candidate, given_ in ((tape, values), (new, [*values, *tables])):
            try:
                interpret(candidate, [np.float64(start), *given_[1:]])
                outcomes.append(None)
            except GuardFailed as failed:
                outcomes.append((failed.exit, failed.outcome))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "fun",
    [
        # Shapes that change.
        lambda x: sum(np.sum(x[i:]) for i in range(1, 8)),
        # Another function in every iteration.
        lambda x: [
            x := f(x)
            for f in (np.sin, np.cos, np.tanh, np.exp, np.sqrt, np.abs, np.square)
        ][-1],
        # Another axis, that is another program.
        lambda x: sum(np.sum(np.roll(x, k % 2)) ** (1 + k % 3) for k in range(7)),
    ],
)
def test_what_must_not_roll(fun: Callable) -> None:
    tape, values = record(fun, np.linspace(0.5, 1.5, 9))
    new, tables = reroll_tape(tape)
    expected = interpret(tape, values)
    np.testing.assert_array_equal(interpret(new, [*values, *tables])[0], expected[0])


def test_find_prefers_the_shortest_period() -> None:
    assert find([1, 2, 1, 2, 1, 2, 1, 2], set()) == [Run(0, 2, 4)]
    assert find([7, 1, 1, 1, 1, 1, 8], set()) == [Run(1, 1, 5)]
    assert find([1, 1, 1], set()) == []
    assert find([5, 5, 5, 5], {5}) == []
    assert find([1, 2, 3] * 4, set(), lambda run: True) == []


def program(seed: int) -> Callable:
    """A random function with loops, some nested, some collecting, some branching."""

    def f(x: Any, y: Any) -> Any:
        rng = np.random.default_rng(seed)
        kinds = [str(k) for k in rng.choice(list("abcdefg"), size=3)]
        numbers = rng.uniform(0.2, 0.9, size=4)
        collected = []
        state = y
        for i in range(int(rng.integers(1, 9))):
            for kind in kinds:
                if kind == "a":
                    y = np.tanh(y * numbers[0] + x[i])
                elif kind == "b":
                    state, y = y, y + state * numbers[1]
                elif kind == "c":
                    for j in range(5):
                        y = np.sin(y + x[j] * numbers[2])
                elif kind == "d":
                    collected.append(y * x)
                elif kind == "e":
                    y = y * (0.5 + 0.1 * i * i)
                elif kind == "f":
                    if y > 0.3:
                        y = y - numbers[3] * x[1]
                else:
                    x = np.tanh(x * y)
        total = np.sum(x) + y + state
        return total + np.sum(np.array(collected)) if collected else total

    return f


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_random_loops_keep_their_value(seed: int) -> None:
    rolled(program(seed), np.linspace(-0.5, 0.8, 9), 0.3)


@pytest.mark.parametrize("seed", range(12))
def test_gradients_of_random_loops(seed: int) -> None:
    f = program(seed)
    x, y = np.linspace(-0.5, 0.8, 9), 0.371
    gx, gy = grad(f, argnums=(0, 1))(x, y)
    step = 1e-5
    num = (f(x, y + step) - f(x, y - step)) / (2 * step)
    np.testing.assert_allclose(gy, num, rtol=1e-6, atol=1e-8)
    for k in (0, 4):
        e = step * np.eye(9)[k]
        num = (f(x + e, y) - f(x - e, y)) / (2 * step)
        np.testing.assert_allclose(gx[k], num, rtol=1e-6, atol=1e-8)


def test_another_trip_count_compiles_nothing() -> None:
    def f(x: Any, steps: int) -> Any:
        for _ in range(steps):
            x = x + 0.01 * np.cos(x)
        return np.sum(x * x)

    g = value_and_grad(f, static_argnames="steps")
    for steps in (12, 40, 300):
        value, _ = g(np.array([0.1, 0.2]), steps=steps)
        np.testing.assert_allclose(value, f(np.array([0.1, 0.2]), steps), rtol=1e-12)
    stats = g.stats()
    assert (stats.traces, stats.kernels_compiled, stats.kernels_reused) == (3, 1, 2)


def test_while_loops_of_other_lengths_reuse_the_kernel() -> None:
    @jit
    def double(a: Any) -> Any:
        b = a * 2
        while np.linalg.norm(b) < 1000:
            b = b * 2
        return b

    for size in (1.0, 0.11, 2e-3, 3e-4, 0.7):
        a = np.array([size, size])
        np.testing.assert_array_equal(double(a), double.__wrapped__(a))
    stats = double.stats()
    assert stats.kernels_compiled <= 2
    assert stats.traces <= 5


def test_a_value_from_before_the_loop_is_used_after_it() -> None:
    @grad
    def f(x: Any) -> Any:
        y = np.sin(x)
        z = y
        for _ in range(9):
            z = z * y + 0.1
        return z + y**2

    x, step = 0.7, 1e-6

    def plain(x: float) -> float:
        y = np.sin(x)
        z = y
        for _ in range(9):
            z = z * y + 0.1
        return z + y**2

    expected = (plain(x + step) - plain(x - step)) / (2 * step)
    np.testing.assert_allclose(f(x), expected, rtol=1e-7)


def test_runs_side_by_side_do_not_overlap() -> None:
    words = [1, 2, 3] * 6 + [1, 2, 4] * 6
    runs = find(words, set())
    ends = [run.start + run.period * run.reps for run in runs]
    assert len(runs) == 2
    assert ends[0] <= runs[1].start
    assert ends[1] <= len(words)


def test_a_specialised_call_is_at_the_same_place():
    """Python 3.11 calls `range` in PRECALL once it has specialised it, before in CALL;
    an outer loop's first iterations would differ from the others."""
    code = (lambda n: range(n)).__code__
    at = {i.opname: i.offset for i in dis.get_instructions(code)}
    place = Tokens([]).position
    assert place(Source(code, at["CALL"])) == place(
        Source(code, at.get("PRECALL", at["CALL"]))
    )
    load = next(name for name in at if name.startswith("LOAD_FAST"))
    assert place(Source(code, at["CALL"])) != place(Source(code, at[load]))


def test_operands_in_another_number_do_not_roll():
    """One line that concatenates two or three parts to the same length."""

    def ragged(x):
        total = x[0]
        for i in range(8):
            parts = [x[:1], x[1:]] if i % 4 else [x[:1], x[1:2], x[2:]]
            total = total + np.concatenate(parts)[0]
        return total

    tape = rolled(ragged, np.arange(3.0))
    assert all(i.prim.name != "loop" or i.params["trip"] < 8 for i in tape.instrs)


def test_what_is_carried_starts_with_its_shape() -> None:
    def f(x: Any) -> Any:
        v = np.array([x, 2 * x])
        return sum([v] * 10).sum()

    tape = rolled(f, np.float64(0.5))
    assert trips(tape) == [9]
    assert grad(f)(0.5) == 30.0


def test_operands_of_other_shapes_are_no_table():
    """An array and then numbers at one place in the code: no iterations of one loop."""

    def f(x, c, d, e):
        return functools.reduce(lambda a, b: a - b, [x, x * 2, c, d, e])

    x = np.linspace(-1.0, 2.0, 30)
    np.testing.assert_allclose(jit(f)(x, 1.0, 2.0, 3.0), f(x, 1.0, 2.0, 3.0))
