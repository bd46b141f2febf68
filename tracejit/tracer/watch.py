"""Watching the user's local names while a loop is recorded.

`Watch.visit` is called at every guard with the user's frame.  If the frame, or one of
those that called it, is inside a loop, the untraced state that the code can see there is
described and compared with the visit before:

    a tracer                 its shape, dtype and kind of number; never the tracer itself
    a number, string, None   its type and value
    tuple, list, dict        the same of its items
    ordinary array           dtype, shape, contents
    function                 its code, and the same of its closure and defaults
    any other object         the object

The loop is steady since the first visit from which nothing changed.

The last descriptions live on the frame itself, as its `f_trace`, which Python asks for
only while a debugger traces: so they die with the frame, and a later call of the same
function, which may well get the same memory, is seen to be another one.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

from .purity import Info, Verdict, check
from .purity.bytecode import Code, Loop, code_of
from .purity.values import is_array, is_scalar

__all__ = ["Watch"]

#: Frames further up than this are not looked at.
_FRAMES = 8
#: Runs of visits that are remembered for each place.
_RUNS = 512
#: Ordinary arrays and containers larger than this are not compared: they count as new.
_BYTES, _ITEMS = 1 << 16, 256
_UNIQUE = object()


class _Place(NamedTuple):
    """Where a guard is: the loop's code, and the instruction in it."""

    code: Code
    at: int
    loop: Loop


class _Run:
    """The visits of one guard during one execution of its loop.

    Attributes:
        first, last: exit numbers of the first and the last visit.
        since: exit number of the visit from which nothing has changed.
        count: visits since then.
        reason, line: what changed last.
        left: rounds that a range had left at `since`, this one included.
    """

    __slots__ = (
        "alias", "aliased_since", "before", "count", "counter", "first", "info", "last",
        "line", "place", "reason", "round", "since", "verdict",
    )  # fmt: skip

    def __init__(self, place: _Place, number: int) -> None:
        self.place = place
        self.first = self.last = self.since = self.aliased_since = number
        self.count = 0
        self.reason, self.line = "", 0
        self.before: dict[str, Any] | None = None
        self.alias: tuple[int, ...] = ()
        self.counter: int | None = None
        self.round = 0
        self.info: Info | None = None
        self.verdict: Verdict | None = None


class _Mark:
    """What is remembered about a frame, kept as its `f_trace`."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: dict[Any, _Run] = {}

    def __call__(self, *event: Any) -> None:
        """Do nothing: a debugger that starts meanwhile may call its `f_trace`."""


class Watch:
    """What happened to untraced state at the guards of one recording.

    Args:
        traced: the class of traced values.
        look: what a traced value is apart from its data.
        foreign: whether a frame is not the user's; the user's frames behind it are not
            looked at.
    """

    def __init__(
        self,
        traced: type,
        look: Callable[[Any], Any] = lambda t: (t.ref.aval, t.weak),
        foreign: Callable[[FrameType], bool] = lambda frame: False,
    ) -> None:
        self.traced, self.look, self.foreign = traced, look, foreign
        self.number = -1
        self._runs: dict[tuple[CodeType, int], deque[_Run]] = {}
        self._refused: dict[tuple[CodeType, int], tuple[str, int]] = {}

    # --- while recording --------------------------------------------------------------

    def visit(self, frame: FrameType) -> None:
        """Note the state at a guard; guards are numbered in the order of the calls."""
        self.number += 1
        where = code_of(frame.f_code)
        at = where.place(where.index(frame.f_lasti))
        source = frame.f_code, at
        names: list[tuple[str, Any]] = []
        chain: list[Any] = []
        code, here, depth = where, at, 0
        while True:
            if code.uses_locals or not code.is_plain:
                what = "`locals()` and its kin" if code.uses_locals else "a generator"
                self._refused[source] = f"the guard is inside {what}", code.ops[here].line
                return
            loop = code.loop_at(here)
            chain.append((code.code, here))
            if loop is not None:
                break
            names += _locals(frame).items()
            caller = frame.f_back
            if caller is None or depth == _FRAMES or self.foreign(caller):
                self._refused.setdefault(
                    source, ("the guard is in no loop", where.ops[at].line)
                )
                return
            frame, depth = caller, depth + 1
            code = code_of(frame.f_code)
            here = code.place(code.index(frame.f_lasti))
        self._note(frame, _Place(code, here, loop), tuple(chain), source, names)

    def _note(
        self,
        frame: FrameType,
        place: _Place,
        chain: tuple,
        source: tuple[CodeType, int],
        inner: list[tuple[str, Any]],
    ) -> None:
        mark = frame.f_trace
        if type(mark) is not _Mark:
            if mark is not None:  # a debugger's
                self._refused[source] = "the code is being debugged", 0
                return
            mark = frame.f_trace = _Mark()
        visible = _locals(frame)
        key = id(self), chain
        run = mark.runs.get(key)
        counter = visible.get(place.loop.counter) if place.loop.counter else None
        if run is None or not _follows(run.counter, counter, place):
            run = mark.runs[key] = _Run(place, self.number)
            self._runs.setdefault(source, deque(maxlen=_RUNS)).append(run)
        run.counter = counter if type(counter) is int else None
        run.last = self.number
        state = {
            name: visible[name]
            for name in place.loop.rebound
            if name in visible and name != place.loop.counter
        }
        for name in place.code.code.co_freevars + place.code.code.co_cellvars:
            if name in visible:
                state[name] = visible[name]
        for i, (name, value) in enumerate(inner):
            state[f"{i} {name}"] = value
        self._compare(run, state)
        run.count += 1
        if run.count == 2 and run.info is None:
            run.info = Info.of(frame, self.traced, visible)

    def _compare(self, run: _Run, state: dict[str, Any]) -> None:
        describe = _Describe(self.traced, self.look)
        now = {name: describe(value) for name, value in state.items()}
        before, run.before = run.before, now
        alias, run.alias = run.alias, tuple(describe.alias)
        if before is None:
            return
        if alias != run.alias:
            run.aliased_since = self.number
        if now == before:
            return
        run.since, run.count, run.info = self.number, 0, None
        for name in (*now, *before):
            if name not in now or name not in before or now[name] != before[name]:
                run.reason, run.line = _changed(run.place, name, state.get(name))
                break

    # --- afterwards -------------------------------------------------------------------

    def verdict(
        self, code: CodeType, offset: int, exits: tuple[int, int] | None = None
    ) -> Verdict:
        """Whether the loop around a guard may get a run-time exit test.

        Args:
            code, offset: the guard's source.
            exits: numbers of the first and the last guard, at this place, of the one
                execution of the loop that is asked about; None asks about all.

        Returns:
            The verdict.  Its `bound` counts the visits that may follow the first of
            `exits`, itself included, if the loop is a `for` over a range.
        """
        known = code_of(code)
        at = known.place(known.index(offset))
        source = code, at
        if source in self._refused:
            reason, line = self._refused[source]
            return Verdict(False, reason, line)
        runs = list(self._runs.get(source, ()))
        if exits is not None:
            runs = [r for r in runs if r.first <= exits[0] and exits[1] <= r.last]
        if not runs:
            line = known.ops[at].line
            return Verdict(False, "the loop was not watched", line)
        verdicts = [self._of(run, exits[0] if exits else None) for run in runs]
        return next((v for v in verdicts if not v.ok), verdicts[0])

    def _of(self, run: _Run, first: int | None) -> Verdict:
        if run.since > (run.first if first is None else first):
            return Verdict(False, run.reason, run.line)
        if run.info is None:
            text = "the loop was left before a second round"
            return Verdict(False, text, run.place.code.ops[run.place.at].line)
        if run.verdict is None:
            offset = run.place.code.ops[run.place.at].offset
            run.verdict = check(run.info, offset)
        found = run.verdict
        start = run.first if first is None else first
        if found.in_place and run.aliased_since > start:
            line = run.place.code.ops[run.place.at].line
            text = "an array that has several names is written in place"
            return Verdict(False, text, line)
        return found
