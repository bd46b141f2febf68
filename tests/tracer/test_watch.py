"""What `Watch` sees of the user's frames, and what it leaves alone."""

from __future__ import annotations

# ruff: noqa: F841, SIM103
import gc
import itertools
import sys
import weakref

import numpy as np
import pytest

import tracejit
from tracejit.tracer import Recorder, Tracer, is_inside, user_frame
from tracejit.tracer.purity import Verdict
from tracejit.tracer.watch import Watch

from .watching import last_verdict, line_of, record, verdict


def exits_of(rec, function):
    """The numbers of the guards that stand in `function`."""
    code = function.__code__
    return [g.exit for g in rec.guards if g.source.code is code]


# --- what is compared -----------------------------------------------------------------


def changing(make):
    """A loop in which the name `seen` holds `make(k)` in round k."""

    def function(x):
        rounds = iter(range(100))
        while abs(x) < 1e3:
            x = x * 2
            seen = make(next(rounds), x)
        return x, seen

    return function


@pytest.mark.parametrize(
    "make",
    [
        lambda k, x: k,
        lambda k, x: float(k),
        lambda k, x: 0.0 if k < 2 else -0.0,
        lambda k, x: 1 if k < 2 else 1.0,
        lambda k, x: 1 if k < 2 else True,
        lambda k, x: "a" * k,
        lambda k, x: object(),
        lambda k, x: [k],
        lambda k, x: (x, k),
        lambda k, x: [x] * k,
        lambda k, x: {"a": x} if k < 2 else {"b": x},
        lambda k, x: {k},
        lambda k, x: np.full(3, k),
        lambda k, x: np.zeros(3, np.float32 if k < 2 else np.float64),
        lambda k, x: lambda: k,
        lambda k, x: slice(k),
        lambda k, x: np.float64(k),
        lambda k, x: None if k < 2 else x,
        lambda k, x: x if k < 2 else np.array([x, x]),
        lambda k, x: x if k < 2 else x > 0,
    ],
)
def test_changes_are_seen(make):
    rec = record(changing(make), 1.5)
    source = rec.guards[-1].source
    found = rec.watch.verdict(source.code, source.lasti, (1, rec.guards[-1].exit))
    runs = next(iter(rec.watch._runs.values()))
    assert not found.ok
    assert runs[0].since > 1


CONSTANT = object()


@pytest.mark.parametrize(
    "make",
    [
        lambda k, x: x,
        lambda k, x: 1.5,
        lambda k, x: float("nan"),
        lambda k, x: 10**30,
        lambda k, x: "ab",
        lambda k, x: CONSTANT,
        lambda k, x: [x, 2 * x, (x, None)],
        lambda k, x: {"a": [x]},
        lambda k, x: np.arange(3),
        lambda k, x: lambda y: x + y,
    ],
)
def test_what_stays_equal_is_no_change(make):
    rec = record(changing(make), 1.5)
    runs = next(iter(rec.watch._runs.values()))
    assert [run.since for run in runs] == [0]


def counted(x):
    n = 0
    while abs(x) < 1e3:
        x = x * 2
        n += 1
    return x


def test_the_line_is_named():
    line = line_of(counted, "n += 1")
    assert verdict(counted) == Verdict(
        False, f"`n += 1`, line {line}: an untraced Python number changes in the loop",
        line,
    )  # fmt: skip


def settles(x):
    n = 0
    while abs(x) < 1e3:
        x = x * 2
        n = min(n + 1, 3)
    return x


def test_steady_from_some_visit_on():
    rec = record(settles, 1.5)
    found = last_verdict(rec)
    last = rec.guards[-1].exit
    source = rec.guards[-1].source
    # Visits 0 to 3 see n = 0, 1, 2, 3.
    assert (found.ok, found.since) == (True, 3)
    assert rec.watch.verdict(source.code, source.lasti, (3, last)).ok
    assert not rec.watch.verdict(source.code, source.lasti, (2, last)).ok


def test_one_round_proves_nothing():
    found = verdict(counted, 1e6)
    assert (found.ok, found.reason) == (
        False,
        "the loop was left before a second round",
    )


def no_loop(x):
    return x if x > 0 else -x


def test_no_loop():
    assert verdict(no_loop).reason == "the guard is in no loop"


def looks_at_names(x):
    while abs(x) < 1e3:
        x = x * 2
    return sorted(locals())


def test_a_function_that_looks_at_its_names_is_left_alone():
    assert "may look at its names" in verdict(looks_at_names).reason


# --- frames ---------------------------------------------------------------------------


def shrink(x, k):
    while abs(x) > 1:
        x = x / k
    return x


def calls_with_other_numbers(x):
    for k in (2, 3, 5, 7):
        x = shrink(x + 1000, k)
    return x


def test_calls_of_one_function_do_not_mix():
    rec = record(calls_with_other_numbers, 1.5)
    (runs,) = rec.watch._runs.values()
    assert len(runs) == 4
    assert [run.since == run.first for run in runs] == [True] * 4
    assert all(a.last < b.first for a, b in itertools.pairwise(runs))
    assert last_verdict(rec).ok


def once(x):
    while abs(x) < 1e3:
        return x * 2
    return x


def calls_a_loop_of_one_round(x):
    for _ in range(4):
        x = once(x)
    return x


def test_one_round_in_each_call_is_no_loop():
    rec = record(calls_a_loop_of_one_round, 1.5)
    found = last_verdict(rec)
    # It is the caller's loop that goes on, and that one has a fixed number of rounds.
    assert not found.ok


def recursive(x, depth=3):
    while abs(x) > 1:
        x = x / 2
        if depth:
            x = recursive(x, depth - 1)
    return x


def test_recursion_does_not_mix_frames():
    rec = record(recursive, 1e3)
    runs = list(next(iter(rec.watch._runs.values())))
    assert len(runs) > 1
    assert all(run.since == run.first for run in runs)


def is_small(x):
    if abs(x) < 1e3:
        return True
    return False


def asks_helper(x):
    while is_small(x):
        x = x * 2
    return x


def asks_helper_with_number(x):
    n = 0
    while small_after(x, n):
        x, n = x * 2, n + 1
    return x


def small_after(x, n):
    if abs(x) < 1e3:
        return True
    return False


def asks_in_expression(x):
    n = 0
    while True:
        n = (n + 1) * (n := 1) * bool_of(x)
        x = x * 2
        if n > 8 or abs(x) > 1e6:
            break
    return x


def bool_of(x):
    if x < 1e3:
        return 1
    return 2


def asks_through_library(x):
    while max([x, x * 0.5, -x], key=bool_of) < 1e3:
        x = x * 2
    return x


def test_a_guard_in_a_helper_belongs_to_the_callers_loop():
    assert last_verdict(record(asks_helper, 1.5)).ok


def test_the_arguments_of_a_helper_are_state():
    assert not last_verdict(record(asks_helper_with_number, 1.5)).ok


@pytest.mark.parametrize("function", [asks_in_expression, asks_through_library])
def test_a_helper_that_is_called_in_an_expression(function):
    rec = record(function, 1.5)
    source = next(g.source for g in rec.guards if g.source.code is bool_of.__code__)
    assert not rec.watch.verdict(source.code, source.lasti).ok


def nested(x):
    for k in range(3):
        y = x * (k + 1)
        while abs(y) < 1e3:
            y = y * 2
        x = x + y
    return x


def test_the_inner_loop_is_the_one_that_counts():
    assert last_verdict(record(nested, 1.5)).ok


def twice(x):
    for _ in range(2):
        for _ in range(40):
            x = x * 1.5
            if abs(x) > 1e3:
                break
        x = x / 1e3
    return x


def test_executions_of_a_for_loop_are_told_apart():
    rec = record(twice, 1.5)
    runs = list(next(iter(rec.watch._runs.values())))
    assert len(runs) == 2
    source = rec.guards[-1].source
    for run in runs:
        exits = run.first, run.last
        found = rec.watch.verdict(source.code, source.lasti, exits)
        assert found.rounds == range(40)


def late(x):
    n = 0
    for _ in range(40):
        x = x * 1.5
        n = min(n + 1, 3)
        if abs(x) > 1e3:
            break
    return x


def test_rounds_are_counted_from_the_visit_asked_about():
    rec = record(late, 1.5)
    assert last_verdict(rec).since == 2
    assert last_verdict(rec).rounds == range(2, 40)


def flag_changed_afterwards(x):
    flags, out = [True], []

    def step(x):
        if flags[0]:
            out.append(1)
        return x * 2

    while abs(x) < 1e3:
        x = step(x)
    flags[0] = False
    return x * len(out)


def test_the_code_is_read_with_what_lists_hold_in_the_loop():
    rec = record(flag_changed_afterwards, 1.5)
    found = last_verdict(rec)
    line = line_of(flag_changed_afterwards, "out.append(1)")
    assert (found.ok, found.line) == (False, line)


def newton_with(x, f):
    while True:
        dx = f(x)
        x = x - dx
        if abs(dx) < 1e-6:
            return x


def halve(x):
    return x / 2


def many_steps(x):
    for _ in range(300):
        x = newton_with(x + 1, halve)
    return x


def test_a_loop_that_begins_often_is_read_once(monkeypatch):
    read = []
    check = Watch._check
    monkeypatch.setattr(
        Watch, "_check", staticmethod(lambda *args: read.append(1) or check(*args))
    )
    assert last_verdict(record(many_steps, 1.5)).ok
    assert len(read) == 1


def many_steps_with_closure(x):
    k = [2.0]
    for _ in range(140):
        x = newton_with(x + 1, lambda x: x / k[0])
    return x


def test_what_may_differ_is_read_again_but_not_for_ever():
    found = last_verdict(record(many_steps_with_closure, 1.5))
    assert found.reason == "the loop begins too often to be judged"


# --- what it leaves alone -------------------------------------------------------------


def test_traced_values_and_frames_die_as_they_would():
    dead = []

    def function(x):
        y = x * 3
        gone = weakref.ref(y)
        parts = [y]
        while abs(x) < 1e3:
            x = x * 2
            z = x + 1
            dead.append(weakref.ref(z))
        y = parts = None
        if x > 0:
            x = x + 1
        assert gone() is None
        return x

    rec = record(function, 1.5)
    gc.collect()
    assert len(dead) > 3
    # z is bound again in each round; all but the last are gone at once.
    assert all(ref() is None for ref in dead)
    assert rec.watch.number > 3


def test_locals_is_untouched():
    """The names of a frame, asked for after a visit, are all there."""
    frames = []

    def function(x):
        y = 5
        while abs(x) < 1e3:
            x = x * 2
            frames.append(dict(sys._getframe().f_locals))
        return y

    record(function, 1.5)
    assert all(f["y"] == 5 and "x" in f for f in frames)


def test_under_a_debugger():
    """A debugger keeps its own `f_trace`; the loop is not judged, nothing breaks."""

    def trace(frame, event, arg):
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        rec = record(counted, 1.5)
    finally:
        sys.settrace(before)
    assert not last_verdict(rec).ok


def test_two_recorders_do_not_mix():
    a, b = Watch(Tracer), Watch(Tracer)

    def function(x):
        n = 0
        while n < 5:
            n += 1
            if n % 2:
                a.visit(sys._getframe())
            b.visit(sys._getframe())

    function(1)
    assert (a.number, b.number) == (2, 4)
    runs = [list(w._runs.values())[-1][0] for w in (a, b)]
    assert [run.last for run in runs] == [2, 4]


def test_clones_of_the_users_functions(monkeypatch):
    """`jit` records a clone, whose names are looked up without being captured."""
    watches = []
    guard = Recorder.guard

    def watched(self, ref, expected, note=""):
        if not hasattr(self, "watch"):
            self.watch = Watch(Tracer, foreign=is_inside)
            watches.append(self.watch)
        guard(self, ref, expected, note)
        frame = user_frame()
        self.watch.visit(frame)
        self.watch.last = frame.f_code, frame.f_lasti

    watched.__code__ = watched.__code__.replace(co_filename=tracejit.__file__)
    monkeypatch.setattr(Recorder, "guard", watched)
    tracejit.jit(uses_globals)(1.5)
    assert len(watches) == 1
    found = watches[0].verdict(*watches[0].last)
    assert found.ok, found.reason


SCALE = [2.0, 0.5]
OFFSET = np.ones(2)


def scaled(x):
    return x * SCALE[0] + np.sum(OFFSET)


def never_called(x):
    return x


def uses_globals(x):
    while abs(x) < 1e3:
        x = scaled(x) if x > 0 else never_called(x)
    return x
