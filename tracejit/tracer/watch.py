"""Watching the user's local names while a loop is recorded.

`Watch.visit` is called at every guard with the user's frame.  If the frame, or one of
those that called it, is inside a loop, the untraced state that the code can see there
is described and compared with the visit before:

    a tracer                 its shape, dtype and kind of number, not the tracer itself
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

import inspect
import itertools
import struct
from collections import deque
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

from .purity import FIXED, Info, Verdict, check
from .purity.bytecode import Code, Loop, code_of
from .purity.values import is_array, is_scalar
from .purity.ways import goes_to

__all__ = ["Describe", "Watch", "local_names", "mark_of"]

#: Frames further up than this are not looked at.
_FRAMES = 8
#: Runs of visits that are remembered for each place.
_RUNS = 512
#: Ordinary arrays and containers larger than this are not compared: they count as new.
_BYTES, _ITEMS = 1 << 18, 256
#: So many executions of one loop are read if they may differ.
_JUDGED = 128
_serials = itertools.count()


class _Spot:
    """An instruction that leads to guards.

    Attributes:
        loop: the innermost loop around it.
        odd: why the frames of this code are not looked at, if they are not.
        source: for guards that are here themselves.
        key: the same, quickly compared.
    """

    __slots__ = ("at", "code", "key", "loop", "odd", "source")

    def __init__(self, code: Code, at: int) -> None:
        self.code, self.at = code, at
        self.loop = code.loop_at(at)
        self.odd = _odd(code)
        self.source = code.code, at
        self.key = id(code.code), at


class _Run:
    """The visits of one guard during one execution of its loop.

    Attributes:
        first, last: exit numbers of the first and the last visit.
        since: exit number of the visit from which nothing has changed.
        count: visits since then.
        reason, line: what changed last.
        counters: what the variable of the `for` loop was at `first`, `since`, `last`.
        step: how much it changes from one visit to the next.
    """

    __slots__ = (
        "alias", "aliased_since", "at", "before", "chain", "code", "count", "counters",
        "first", "glance", "last", "line", "loop", "reason", "since", "step",
        "verdict",
    )  # fmt: skip

    def __init__(self, chain: tuple[_Spot, ...], loop: Loop, number: int) -> None:
        self.chain, self.loop = chain, loop
        self.code, self.at = chain[-1].code, chain[-1].at
        self.first = self.last = self.since = self.aliased_since = number
        self.count = 0
        self.reason, self.line = "", 0
        self.before: dict[str, Any] | None = None
        self.alias: tuple[int, ...] = ()
        self.counters: list[Any] = []
        self.step = 0
        self.glance: Info | None = None
        self.verdict: Verdict | None = None

    def goes_on(self, counter: Any) -> bool:
        """Whether a visit with this loop variable is of the next round."""
        if not self.counters:
            return True
        if type(counter) is not int:
            return False
        step = counter - self.counters[2]
        goes_on = step == self.step if self.step else step != 0
        if goes_on:
            self.step, self.counters[2] = step, counter
        return goes_on

    def rounds(self, whole: range, first: int) -> range | None:
        """The part of a range that was left at visit `first`, if that is known."""
        for number, counter in zip(
            (self.first, self.since), self.counters, strict=False
        ):
            if number == first and counter in whole and self.step in (0, whole.step):
                return whole[whole.index(counter) :]
        return None


class _Mark:
    """What is remembered about a frame, kept as its `f_trace`."""

    __slots__ = ("runs", "turns")

    def __init__(self) -> None:
        self.runs: dict[Any, _Run] = {}
        self.turns: dict[Any, Any] = {}  # of `leaving`

    def __call__(self, *event: Any) -> None:
        """Do nothing: a debugger that starts meanwhile may call its `f_trace`."""


def mark_of(frame: FrameType) -> _Mark | None:
    """What is remembered about a frame; None if a debugger has the place."""
    mark = frame.f_trace
    if mark is None:
        mark = frame.f_trace = _Mark()
    return mark if type(mark) is _Mark else None


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
        self.serial = next(_serials)
        self._runs: dict[tuple[CodeType, int], deque[_Run]] = {}
        self._judged: dict[Any, list[tuple[Info, Verdict]]] = {}
        self._spots: dict[tuple[int, int], _Spot] = {}
        self._refused: dict[tuple[CodeType, int], tuple[str, int]] = {}
        self._decided: set[tuple[CodeType, int]] = set()

    # --- while recording --------------------------------------------------------------

    def visit(
        self, frame: FrameType, number: int | None = None, outcome: Any = None
    ) -> bool | None:
        """Note the state at a guard.

        Args:
            frame: the user's, `frames.user_frame()`.
            number: of the guard's exit; without it, guards are counted.
            outcome: of the guard.

        Returns:
            Whether it leaves the loop around it; None if that is not known.
        """
        self.number = self.number + 1 if number is None else number
        self._look_around(frame)
        return self._leave(frame, outcome) if type(outcome) is bool else None

    def _leave(self, frame: FrameType, outcome: bool) -> bool | None:
        """See which loops of a frame a guard leaves: they will begin anew."""
        code = code_of(frame.f_code)
        at = code.decision(code.index(frame.f_lasti))
        after = None if at is None else goes_to(code, at, outcome)
        if at is None or after is None:
            return None
        self._decided.add((code.code, code.place(at)))
        mark = frame.f_trace
        if type(mark) is _Mark:
            for key, run in list(mark.runs.items()):
                own = key[0] == self.serial and run.code is code
                if own and after not in code.whole(run.loop).body:
                    del mark.runs[key]
        loop = code.loop_at(code.place(at))
        return loop is not None and after not in code.whole(loop).body

    def _look_around(self, frame: FrameType) -> None:
        first = spot = self._spot(frame)
        names: list[tuple[str, Any]] = []
        chain = [spot]
        while spot.odd is None and spot.loop is None:
            names += local_names(frame).items()
            caller = frame.f_back
            if caller is None or len(chain) == _FRAMES or self.foreign(caller):
                reason = "the guard is in no loop", first.code.ops[first.at].line
                self._refused.setdefault(first.source, reason)
                return
            frame = caller
            spot = self._spot(frame)
            chain.append(spot)
        if spot.odd is not None:
            self._refused[first.source] = spot.odd, spot.code.ops[spot.at].line
            return
        self._note(frame, tuple(chain), names)

    def _spot(self, frame: FrameType) -> _Spot:
        key = id(frame.f_code), frame.f_lasti
        found = self._spots.get(key)
        if found is None:
            code = code_of(frame.f_code)
            at = code.place(code.index(frame.f_lasti))
            found = self._spots[key] = _Spot(code, at)
        return found

    def _note(
        self,
        frame: FrameType,
        chain: tuple[_Spot, ...],
        inner: list[tuple[str, Any]],
    ) -> None:
        mark = mark_of(frame)
        if mark is None:
            self._refused[chain[0].source] = "the code is being debugged", 0
            return
        visible = local_names(frame)
        loop = chain[-1].loop
        assert loop is not None
        key = self.serial, *[spot.key for spot in chain]
        run = mark.runs.get(key)
        counter = visible.get(loop.counter)
        if run is None or not run.goes_on(counter):
            run = mark.runs[key] = _Run(chain, loop, self.number)
            run.counters = [counter] * 3 if type(counter) is int else []
            self._runs.setdefault(chain[0].source, deque(maxlen=_RUNS)).append(run)
        run.last = self.number
        state = {
            name: visible[name]
            for name in loop.rebound
            if name in visible and name != loop.counter
        }
        for i, (name, value) in enumerate(inner):
            state[f"{i} {name}"] = value
        self._compare(run, state, visible)
        run.count += 1
        if run.count == 2:
            run.glance = Info.of(frame, self.traced, visible)
            run.verdict = self._judge(run, key, run.glance)
        elif run.glance is None and run.last != run.first:
            run.glance = Info.of(frame, self.traced, visible)

    def _judge(self, run: _Run, key: Any, info: Info) -> Verdict:
        """Read the code now: what lists and objects hold is not the same later."""
        for known, verdict in self._judged.setdefault(key, []):
            same = known.names == info.names and known.space == info.space
            if same and not verdict.heap:
                return verdict
        if len(self._judged[key]) == _JUDGED:
            line = run.code.ops[run.at].line
            return Verdict(False, "the loop begins too often to be judged", line)
        verdict = self._check(run, info)
        self._judged[key].append((info, verdict))
        return verdict

    def _compare(
        self, run: _Run, state: dict[str, Any], visible: dict[str, Any]
    ) -> None:
        describe = Describe(self.traced, self.look)
        now = {name: describe(value) for name, value in state.items()}
        for value in visible.values():
            if type(value) is self.traced:
                describe(value)  # the names that the loop leaves alone may be aliases
        before, run.before = run.before, now
        alias, run.alias = run.alias, tuple(describe.alias)
        if before is None:
            return
        if alias != run.alias:
            run.aliased_since = self.number
        if now == before:
            return
        # A name that was not bound yet cannot have been read.
        run.before = {**before, **now}
        for name in now.keys() & before.keys():
            if now[name] != before[name]:
                run.since, run.count, run.verdict = self.number, 0, None
                run.counters[1:2] = run.counters[2:]
                traced = type(state[name]) is self.traced
                run.reason, run.line = _changed(run, name, state[name], traced)
                break

    # --- afterwards -------------------------------------------------------------------

    def verdict(
        self, code: CodeType, offset: int, exits: tuple[int, int] | None = None
    ) -> Verdict:
        """Whether the loop around a guard may get a run-time exit test.

        Args:
            code, offset: the guard's source.
            exits: numbers of the first and the last guard, at this place, of the one
                execution of the loop that is asked about; None asks about all, each
                from the visit on (`Verdict.since`) after which nothing changed.

        Returns:
            The verdict.  If the loop is a `for` over a range, its `rounds` are those
            from the first of `exits` on, itself included.
        """
        known = code_of(code)
        at = known.place(known.index(offset))
        source = code, at
        runs = list(self._runs.get(source, ()))
        if exits is not None:
            runs = [r for r in runs if r.first <= exits[0] and exits[1] <= r.last]
        else:
            runs = [r for r in runs if r.first < r.last] or runs
        if source in self._refused and not (runs and exits):
            return Verdict(False, *self._refused[source])
        if not runs:
            return Verdict(False, "the loop was not watched", known.ops[at].line)
        verdicts = [self._of(run, exits[0] if exits else None) for run in runs]
        return next((v for v in verdicts if not v.ok), verdicts[0])

    def _of(self, run: _Run, first: int | None) -> Verdict:
        start = run.since if first is None else first
        if run.since > start or (run.reason and run.count < 2):
            # What the code does explains more than that something has changed.
            found = self._check(run, run.glance) if run.glance else None
            if found is None or found.ok or found.reason.endswith(FIXED):
                return Verdict(False, run.reason, run.line)
            return found
        found = run.verdict
        line = run.code.ops[run.at].line
        if not self.is_one(run.code, run.code.whole(run.loop), bool(run.counters)):
            text = "the loop begins again, and may be left in a way that is not traced"
            return Verdict(False, text, line)
        if run.code.tells_apart_behind(run.code.whole(run.loop)):
            text = "`is` behind the loop may tell what its rounds did"
            return Verdict(False, text, line)
        if found is None:
            return Verdict(False, "the loop was left before a second round", line)
        if found.in_place and run.aliased_since > start:
            text = "an array that has several names is written in place"
            return Verdict(False, text, line)
        if found.rounds is not None:
            found = found._replace(rounds=run.rounds(found.rounds, start))
        return found._replace(since=run.since)

    def is_one(self, code: Code, loop: Loop, counted: bool = False) -> bool:
        """Whether visits are known to be of one execution of a loop.

        Args:
            counted: whether that it begins anew is seen in other ways.
        """
        if not code.is_inner(loop):
            return True
        ways = {code.place(i) for i in code.ways_out(loop)}
        if counted:
            ways.discard(loop.head)
        return all((code.code, way) in self._decided for way in ways)

    @staticmethod
    def _check(run: _Run, info: Info) -> Verdict:
        inner = tuple(
            (spot.code.code, spot.code.ops[spot.at].offset)
            for spot in run.chain[-2::-1]
        )
        return check(info, run.code.ops[run.at].offset, inner)


def _odd(code: Code) -> str | None:
    """Why frames of this code are not looked at, if they are not."""
    if code.is_plain and not code.uses_locals:
        return None
    if code.uses_locals:
        return "the function may look at its names (`locals`, `eval`, ...)"
    if code.code.co_flags & inspect.CO_OPTIMIZED:
        return "the guard is inside a generator"
    return "the guard is not inside a function"


def local_names(frame: FrameType) -> dict[str, Any]:
    """The local names of a frame, cells included.

    Before Python 3.13 the frame keeps the dict that it gives, and with it what the
    names held; so it is emptied.  Who asks for it next gets it filled again.
    """
    found = frame.f_locals
    copy = dict(found)
    if type(found) is dict:
        found.clear()
    return copy


def _changed(run: _Run, name: str, value: Any, traced: bool) -> tuple[str, int]:
    """What changed, for people, and its line."""
    code = run.code
    stores = (i for i in sorted(run.loop.body) if name in code.ops[i].stored)
    store = next(stores, None)
    at = run.at if store is None else store
    line = code.ops[at].line
    text = name.rpartition(" ")[2] if store is None else code.text(store)
    kind = type(value)
    if traced:
        what = "its shape, dtype or kind changes in the loop"
    elif kind in (int, float, complex, bool):
        what = "an untraced Python number changes in the loop"
    elif is_array(kind):
        what = "an ordinary array changes in the loop"
    elif kind in (list, dict, set, tuple):
        what = f"a {kind.__name__} changes in the loop"
    else:
        what = f"an untraced {kind.__name__} changes in the loop"
    return f"`{text}`, line {line}: {what}", line


class _Same:
    """An object, equal to nothing but itself."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def __eq__(self, other: object) -> bool:
        return type(other) is _Same and self.obj is other.obj

    __hash__ = None  # type: ignore[assignment]


class Describe:
    """Descriptions of values; equal ones look the same to code that only computes.

    Attributes:
        alias: for each traced value, in order, where it came first.
    """

    __slots__ = ("alias", "look", "seen", "traced")

    def __init__(self, traced: type, look: Callable[[Any], Any]) -> None:
        self.traced, self.look = traced, look
        self.alias: list[int] = []
        self.seen: dict[int, int] = {}

    def __call__(self, value: Any, depth: int = 6) -> Any:
        kind = type(value)
        if kind is self.traced:
            self.alias.append(self.seen.setdefault(id(value), len(self.seen)))
            return self.look(value)
        if kind is int or kind is str or kind is bool or value is None:
            return kind, value
        if kind is float:
            return kind, struct.pack("d", value)
        if kind is complex:
            return kind, struct.pack("dd", value.real, value.imag)
        if kind is slice:
            return kind, *[self(part) for part in (value.start, value.stop, value.step)]
        if depth == 0:
            return _Same(object())
        if isinstance(value, tuple | list | dict):
            return self._container(value, kind, depth - 1)
        if kind is set or kind is frozenset:
            items = value if len(value) <= _ITEMS else (object(),)
            return kind, frozenset([(type(item), item) for item in items])
        if is_array(kind):
            if value.dtype.kind == "O" or value.nbytes > _BYTES:
                return _Same(object())
            return value.dtype.str, value.shape, value.tobytes()
        if kind is FunctionType:
            return self._function(value, depth - 1)
        if is_scalar(value):
            whole = value.tobytes() if hasattr(kind, "tobytes") else value
            return kind, whole
        return _Same(value)

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        if len(value) > _ITEMS:
            return _Same(object())
        if issubclass(kind, dict):
            keys = [self(key, depth) for key in value]
            return kind, keys, [self(item, depth) for item in value.values()]
        return kind, [self(item, depth) for item in value]

    def _function(self, f: FunctionType, depth: int) -> Any:
        if f.__kwdefaults__:
            return _Same(f)
        cells = []
        for cell in f.__closure__ or ():
            try:
                contents = cell.cell_contents
            except ValueError:
                return _Same(f)
            cells.append("itself" if contents is f else self(contents, depth))
        defaults = [self(d, depth) for d in f.__defaults__ or ()]
        return _Same(f.__code__), _Same(f.__globals__), cells, defaults
