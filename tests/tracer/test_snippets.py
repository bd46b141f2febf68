"""Calls that are put on the tape again leave the tape that they would have left."""

from __future__ import annotations

import warnings
import zlib
from typing import Any

import numpy as np
import pytest

import tracejit.numpy_api  # noqa: F401  (fills the tables)
from tests.numpy_api import sweep
from tests.numpy_api.check import flatten
from tests.numpy_api.texts import CONSTANT, SMOOTH
from tracejit import grad, jit
from tracejit.errors import UnsupportedError
from tracejit.tape import inner_tapes
from tracejit.tracer import Recorder, Tracer, View, recording, snippets
from tracejit.tracer.noting import Noting

TIMES = 5


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(snippets, "_known", {})


def recorded(function: Any, sets: Any, in_full: bool) -> tuple[Recorder, list[Any]]:
    """One recording that calls a function on several sets of arguments."""
    rec = Recorder()
    given = [[rec.input_tracer(a) for a in arrays] for arrays in sets]
    if in_full:
        rec.noting = Noting(rec, [])
    with recording(rec):
        # One line: the source position is the same in all recordings.
        leaves = [flatten(function(*tracers)) for tracers in given]
    return rec, [leaf for some in leaves for leaf in some]


def described(rec: Recorder, leaves: list[Any]) -> list[Any]:
    """A tape with its refs numbered by first appearance, values and results."""
    numbers: dict[int, Any] = {index: k for k, index in enumerate(rec.inputs)}
    for index in rec.hidden:
        value = np.asarray(rec.values[index])
        numbers[index] = value.dtype.str, value.shape, value.tobytes()
    lines: list[Any] = []
    for instr in rec.instrs:
        for out in instr.outs:
            numbers[out] = len(numbers)
        values = [np.asarray(rec.value(rec.ref(o))).tobytes() for o in instr.outs]
        params = {k: v for k, v in instr.params.items() if not inner_tapes(instr)}
        args = [numbers[a] for a in instr.args]
        outs = [(numbers[o], rec.avals[o]) for o in instr.outs]
        place = spot(instr.source)
        lines.append((instr.prim.name, args, repr(params), outs, values, place))
        for out in instr.outs:
            assert rec.producers[out] is instr
    for leaf in leaves:
        if type(leaf) is Tracer:
            lines.append((numbers[leaf.ref.index], leaf.weak, leaf.shared, lies(leaf)))
        else:
            lines.append((type(leaf), repr(leaf)))
    guards = [(numbers[g.ref.index], g.expected, g.note) for g in rec.guards]
    return [*lines, guards]


def spot(source: Any) -> Any:
    """A position; CPython's specialised instructions count their caches otherwise."""
    return source.code, list(source.code.co_positions())[source.lasti // 2]


def lies(leaf: Tracer) -> Any:
    """What is known about the memory of a tracer."""
    memory = leaf.memory
    if memory is None:
        return False, 0  # as of memory of which nothing is known
    if type(memory) is View:
        return repr(memory.steps), memory.base.ref.index in leaf.rec.inputs
    return memory.contiguous, len([w for w in memory.uncertain if w() is not None])


def varied(case: sweep.Case) -> list[list[np.ndarray]]:
    """Sets of arguments of the same shapes and dtypes."""
    sets = [case.arrays]
    for k in range(1, TIMES):
        sets.append([_other(a, k) for a in case.arrays])
    return sets


def _other(array: np.ndarray, k: int) -> np.ndarray:
    if array.dtype.kind == "f" and array.ndim != 2:
        return array * (1 + 0.001 * k)
    return array.copy()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", SMOOTH + CONSTANT)
def test_the_tape_is_that_of_calls_in_full(text):
    for seed in range(2):
        rng = np.random.default_rng([zlib.crc32(text.encode()), seed])
        case = sweep.draw(text, rng)
        sets = varied(case)
        try:
            full = described(*recorded(case.function, sets, True))
        except UnsupportedError:
            continue
        assert described(*recorded(case.function, sets, False)) == full


def same(function: Any, *sets: Any) -> None:
    """Hold calls, one after the other, against the same in full."""
    sets = [[np.asarray(a) if isinstance(a, list) else a for a in s] for s in sets]
    full = described(*recorded(function, sets, True))
    assert described(*recorded(function, sets, False)) == full


def stamps(monkeypatch: Any) -> list[int]:
    """The number of calls that were put on the tape again, as it grows."""
    seen = [0]
    stamp = snippets.Snippet.stamp

    def counting(self: Any, rec: Any, leaves: Any) -> Any:
        found = stamp(self, rec, leaves)
        seen[0] += found is not snippets._MISS
        return found

    monkeypatch.setattr(snippets.Snippet, "stamp", counting)
    return seen


def test_the_third_call_of_a_kind_is_a_snippet(monkeypatch):
    seen = stamps(monkeypatch)
    rec = Recorder()
    x, y = rec.input_tracer(np.arange(4.0)), rec.input_tracer(np.ones((2, 3)))
    with recording(rec):
        for count in (0, 0, 1, 2):
            np.std(x)
            assert seen == [count]
        np.std(y)  # another shape, another kind
        np.std(x, ddof=1)
        np.std(x, ddof=1)
        assert seen == [2]
        np.std(x, ddof=1)
        assert seen == [3]


def test_most_calls_of_the_sweep_can_be_snippets(monkeypatch):
    seen = stamps(monkeypatch)
    again = 0
    chosen = np.random.default_rng(2).permutation(SMOOTH)[:150].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in chosen:
            rng = np.random.default_rng([zlib.crc32(text.encode()), 0])
            case = sweep.draw(text, rng)
            before = seen[0]
            try:
                recorded(case.function, [case.arrays] * TIMES, False)
            except UnsupportedError:
                continue
            again += seen[0] > before
    assert again > 80


# --- what makes calls different -------------------------------------------------------


def test_numbers_that_are_equal_and_not_the_same():
    def f(x, fill):
        return np.nan_to_num(x, nan=fill), np.clip(x, fill, None)

    values = [0.0, -0.0, 0, False, np.float32(0), 0.0, -0.0, 0, False, np.float32(0)]
    for fill in values * 2:
        x = np.array([np.nan, 1.0])
        same(lambda x, fill=fill: f(x, fill), [x], [2 * x], [x], [3 * x])
    rec = Recorder()
    x = rec.input_tracer(np.array([np.nan, 1.0]))
    with recording(rec):
        found = [np.nan_to_num(x, nan=fill).concrete[0] for fill in [0.0, -0.0] * 4]
    assert [np.signbit(v) for v in found] == [False, True] * 4


def test_one_operand_twice_and_two_equal_ones():
    rec = Recorder()
    x, y = rec.input_tracer(np.arange(3.0)), rec.input_tracer(np.arange(3.0))
    tapes = []
    with recording(rec):
        for a, b in [(x, x), (x, y), (y, y), (y, x)] * 4:
            start = len(rec.instrs)
            np.interp(0.5, a, b * 1.0)
            np.cov(a, b)
            tapes.append([i.args for i in rec.instrs[start:]])
            reads = {r for args in tapes[-1] for r in args if r in rec.inputs}
            assert reads == {a.ref.index, b.ref.index}


def test_what_a_call_looks_at_is_looked_at_again():
    def f(x):
        return x[x > 0], np.nanmean(np.where(x > 5, np.nan, x)), np.unique(x)

    few, many = np.array([1.0, -1.0, -2.0]), np.array([1.0, 2.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(f, *[[few], [few + 0.5], [many], [few], [many], [9 + many], [few]] * 2)


def test_guards_are_guards_again():
    @jit
    def f(x):
        total = 0.0
        for k in range(6):
            total = total + np.sum((x * (k + 1))[x > k - 3.5])
        return total

    x = np.array([-3.0, -1.0, 2.0])
    expected = sum(np.sum((x * (k + 1))[x > k - 3.5]) for k in range(6))
    assert f(x) == pytest.approx(expected)
    assert f(x + 4.0) == pytest.approx(
        sum(np.sum(((x + 4) * (k + 1))[x + 4 > k - 3.5]) for k in range(6))
    )
    assert f.stats().traces == 2


# --- errors, warnings, memory ---------------------------------------------------------


def test_errors_are_numpys_at_the_users_line():
    rec = Recorder()
    x, at = rec.input_tracer(np.arange(4.0)), rec.input_tracer(np.array([0, 1]))
    with recording(rec):
        for _ in range(4):
            x[at + 0]
        before = len(rec.instrs)
        with pytest.raises(IndexError, match="index 4 is out of bounds for axis 0"):
            x[at + 3]
        x[at + 1]
    assert [i.prim.name for i in rec.instrs[before:]].count("gather") == 1


def test_warnings_come_each_time_at_the_users_line():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        rec = Recorder()
        x = rec.input_tracer(np.ones(3))
        with recording(rec):
            for _ in range(4):
                np.var(x)
            assert not seen
            for _ in range(2):
                np.var(1e200 * x * np.arange(3.0))
            for _ in range(4):
                np.std(x[:0])
    assert {w.filename for w in seen} == {__file__}
    texts = [str(w.message) for w in seen]
    assert texts.count("overflow encountered in square") == 2
    assert texts.count("Degrees of freedom <= 0 for slice") == 4


def test_what_floating_point_errors_do_is_looked_at_again():
    rec = Recorder()
    x = rec.input_tracer(np.array([1e200, 2e200, -1e200]))
    with recording(rec):
        for _ in range(4):
            np.var(x * 1e-200)
        with (
            np.errstate(over="raise"),
            pytest.raises(UnsupportedError, match="errstate"),
        ):
            np.var(x * 1e-200)
    with np.errstate(over="raise"):
        rec = Recorder()
        x = rec.input_tracer(np.array([1e200, 2e200, -1e200]))
        with recording(rec):
            for _ in range(4):
                np.var(x * 1e-200)
            with pytest.raises(FloatingPointError):
                np.var(x)


def test_a_callback_of_the_callers_is_called_once_each():
    seen: list[Any] = []
    with np.errstate(over="call", call=lambda *a: seen.append(a)):
        rec = Recorder()
        x = rec.input_tracer(np.array([1e200, 2e200, -1e200]))
        with recording(rec):
            for k in range(1, 5):
                np.var(x)
                assert len(seen) == k


def test_views_are_views_and_writes_are_seen():
    def f(x):
        y = x * 2.0
        parts = []
        for _ in range(5):
            a, b = np.split(y, 2)
            c = y[1:, None]
            a[0] = a[0] + b[0]
            c[0, 0] = 7.0
            parts += [a + 0.0, b * 1.0, c.sum(), y.reshape(2, 2)[1]]
        return [np.array(p) for p in parts]

    x = np.arange(4.0)
    for found, expected in zip(jit(f)(x), f(x), strict=True):
        assert np.array_equal(found, expected)


def test_a_captured_array_that_changes_is_noticed():
    weights = np.array([1.0, 2.0, 3.0])
    rec = Recorder()
    x = rec.input_tracer(np.arange(3.0))
    with recording(rec):
        for _ in range(4):
            np.average(x, weights=weights)
        assert len(rec.captures) == 1
        weights[0] = 5.0
        with pytest.raises(UnsupportedError, match="was written to afterwards"):
            np.average(x, weights=weights)


def test_a_solve_by_a_factor_knows_its_factor():
    def f(a, b):
        factor = np.linalg.cholesky(a)
        for _ in range(4):
            b = np.linalg.solve(factor, b)
            b = np.linalg.solve(factor + 0.0, b)
        return b

    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    rec, _ = recorded(f, [[a, np.ones(2)]], False)
    names = [i.prim.name for i in rec.instrs]
    assert (names.count("triangular_solve"), names.count("solve")) == (4, 4)


def test_a_loop_of_snippets_is_rolled():
    def f(x):
        for _ in range(40):
            x = x - 0.1 * np.var(x) + np.clip(np.std(x, ddof=1), 0.0, 2.0)
        return np.sum(x)

    x = np.array([1.0, 2.5, -1.0])
    slope = grad(f)
    h = 1e-6
    expected = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(slope(x), expected, rtol=1e-5)
    loops = [i for i in slope.tape(x).instrs if i.prim.name == "loop"]
    assert len(loops) == 2


# --- writes ---------------------------------------------------------------------------

WRITES = """
y[0] = x[1]
y[-1] = 2
y[1:] = x[0]
y[::-1] = x
y[1:3] += x[:2]
y[[0, 1]] = 1.5
y[[0, 0]] += x[:2]
y[at] = x[at]
y[at[0]] = x[1]
y[x > 1] = 0.0
y[x > 1] = x[x > 1]
y[...] = x
y[None, 1] = x[0]
y[:] = y[::-1]
np.put(y, [0, 1], [1.5, x[0]])
np.put(y, at, x, mode='clip')
np.place(y, x > 1, [1.5, 2.5])
np.putmask(y, x > 1, x * 2)
np.copyto(y, x, where=x > 1)
np.copyto(dst=y, src=x)
np.put_along_axis(y, at, 2.0, 0)
np.add.at(y, [0, 1, 0], 0.5)
np.multiply.at(y, at, x[0])
np.fill_diagonal(y.reshape(2, 2), x[0])
y.sort()
y.fill(x[0])
y.put([0, 1], x[:2])
np.add(x, 1.0, out=y)
""".strip().splitlines()


@pytest.mark.parametrize("start", ["x * 1.0", "np.zeros(4)", "(x * 1.0)[::-1]"])
@pytest.mark.parametrize("statement", WRITES)
def test_writes_leave_the_tape_of_writes_in_full(statement, start):
    names: dict[str, Any] = {"np": np}
    source = f"def f(x, at):\n y = {start}\n v = y[1:]\n {statement}\n"
    exec(f"{source} return y, v, y.sum(), v * 2.0, x + 0.0", names)
    x = np.array([2.0, 0.5, 1.5, 0.25])
    sets = [[x + 0.001 * k, np.array([1, 2])] for k in range(TIMES)]
    same(names["f"], *sets)
    _, leaves = recorded(names["f"], sets, False)
    plain = [
        leaf for arrays in sets for leaf in names["f"](*[a.copy() for a in arrays])
    ]
    for leaf, expected in zip(leaves, plain, strict=True):
        found = leaf.concrete if type(leaf) is Tracer else np.asarray(leaf)
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_an_array_that_cannot_be_written_to_is_refused_each_time():
    table = np.arange(3.0)

    def f(x):
        y = x * 1.0
        for _ in range(4):
            y[[0, 1]] = 0.5
        table[[0, 1]] = x[0]
        return y

    with pytest.raises(UnsupportedError, match="from outside of the function"):
        jit(f)(np.ones(3))
    rec = Recorder()
    x = rec.input_tracer(np.ones((2, 3)))
    with recording(rec):
        spread = np.broadcast_to(x, (2, 2, 3))
        for _ in range(4):
            (x * 1.0)[[0, 1]] = 0.5
            with pytest.raises(ValueError, match="read-only"):
                spread[[0, 1]] = 0.5
