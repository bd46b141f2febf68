"""Rounds of a `for` loop that take different sides of an `if`: a loop with branches.

    for u in us:                     x = x * 2     u > 0 is True
        if u > 0: x = x * 2    ->    x = x + 1     u > 0 is False
        else:     x = x + 1

The iterator of the loop (`rounds`) is asked for each item, so it sees the frame at the
head of each round and behind the last one.  From what the names hold there, and what
the rounds left on the tape, `passes.reroll.branches` makes a tree of the rounds, and
`weave` a loop.  That other sequences of outcomes would do what this loop does holds
under these conditions, which are all checked; else each sequence stays a path.

1. Untraced state is the same at the head of each round (`watch`), but for names that
   each round binds before it reads them.
2. The code of a round only computes (`purity`).  So what a round puts on the tape is
   decided by the outcomes of its guards, and by the loop's variable.
3. Python numbers that the variable decides are known by formula.
4. A name that is read behind the loop holds a traced value, or the loop's last item.
5. Nothing is written in place into arrays that have other owners.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from ..passes.reroll import Block, Differ, Round, forks, guards_in, read_rounds, weave
from ..tape import Instr, Source, const
from .differing import in_all_rounds
from .purity import Info, Rest, read_rest
from .purity.bytecode import Code, Loop, code_of
from .purity.counted import COUNTER
from .purity.values import Value
from .watch import Describe, local_names

__all__ = ["FEW", "Forks"]

#: First rounds that may differ.
_PEELED = 3
#: A loop without a guard in so many rounds is not watched any longer.
_PATIENCE = 8
#: Fewer rounds than this stay as they are.
FEW = 4

Var = tuple[str, int]


class _Head(NamedTuple):
    """What there was at the head of a round.

    Attributes:
        at: how many instrs there were.
        before: refs in names that the round may read.
        after: refs in all names.
        alias: for each traced value, where it came first.
    """

    at: int
    before: Mapping[Var, int]
    after: Mapping[Var, int]
    alias: tuple[int, ...]


class Forks:
    """Watches one execution of a `for` loop.

    Args:
        rec: the recorder.
        kind: what is known about the items.
        numbers: what `COUNTER` is in each round.
        takes_rows: whether items are (parts of) the k-th rows of arrays.
    """

    def __init__(self, rec: Any, kind: Value, numbers: range, takes_rows: bool) -> None:
        self.rec, self.kind, self.numbers = rec, kind, numbers
        self.takes_rows = takes_rows
        self.guards = len(rec.guards)
        self.heads: list[_Head] = []
        self.state: dict[str, Any] = {}
        self.since = 0
        self.reason = ""
        self.mixed: dict[str, Any] = {}
        self.active = self.hopeful = True

    # --- at each head -----------------------------------------------------------------

    def look(self, frame: FrameType) -> None:
        """Note what the names hold."""
        code = code_of(frame.f_code)
        loop = _loop_of(code, frame)
        if loop is None:
            self.active = self.hopeful = False
            return
        rec, number = self.rec, len(self.heads)
        if number and self._may_have_loops(code, loop):
            rec.roll(self.heads[-1].at)
        if number == _PATIENCE and len(rec.guards) == self.guards:
            self.active = self.hopeful = False
            return
        dead = code.overwritten(loop)
        seen: list[Any] = []

        def look(value: Any) -> Any:
            seen.append(value)
            return value.ref.aval, value.weak

        describe = Describe(type(rec).tracer_class(), look)
        before: dict[Var, int] = {}
        after: dict[Var, int] = {}
        state: dict[str, Any] = {}
        for name, value in local_names(frame).items():
            if name not in loop.rebound and type(value) is not describe.traced:
                continue
            seen.clear()
            what = describe(value)
            for place, tracer in enumerate(seen):
                after[name, place] = tracer.ref.index
            if name in dead:
                self._note_dead(name, what, type(value) is describe.traced)
                continue
            state[name] = what
            for place, tracer in enumerate(seen):
                before[name, place] = tracer.ref.index
        self._compare(state, number)
        alias = tuple(describe.alias)
        self.heads.append(_Head(len(rec.instrs), before, after, alias))

    def _may_have_loops(self, code: Code, loop: Loop) -> bool:
        inner = any(o is not loop and o.head in loop.body for o in code.loops)
        return inner or len(self.rec.instrs) - self.heads[-1].at >= 64

    def _note_dead(self, name: str, what: Any, traced: bool) -> None:
        """Whether a name that is bound anew is always the same kind of traced value."""
        if not self.heads:
            return
        known = self.mixed.setdefault(name, (what, traced))
        if known != (what, traced):
            self.mixed[name] = (None, False)

    def _compare(self, state: dict[str, Any], number: int) -> None:
        for name, what in self.state.items():
            if name not in state:
                self.since, self.reason = number, f"{name} is deleted in the loop"
            elif state[name] != what:
                self.since = number
                self.reason = f"the untraced value of {name} changes in the loop"
        self.state = state
        if self.since > _PEELED:
            self.active = False

    # --- behind the loop --------------------------------------------------------------

    def finish(self, frame: FrameType) -> None:
        """Put a loop on the tape, if the rounds are one."""
        code = code_of(frame.f_code)
        loop = _loop_of(code, frame)
        if self.active:
            self.look(frame)
        if loop is None or not self.heads:
            return
        first = min(self.since, _PEELED)
        count = len(self.heads) - 1
        start = self.heads[min(first, count)].at
        if not any(guards_in(self.rec.instrs[start:])) or count - first < FEW:
            return
        try:
            if not self.active:
                raise Differ(self.reason)
            self._weave(frame, code, loop, first)
        except Differ as differ:
            place = Source(code.code, frame.f_lasti)
            self.rec.exits.note(f"the loop at {place} keeps its branches: {differ}")

    def _weave(self, frame: FrameType, code: Code, loop: Loop, first: int) -> None:
        rec = self.rec
        rest = self._rest(frame, code, loop)
        self._check_exit(code, loop)
        if rest.in_place:
            self._check_memory(frame, first)
        pairs = zip(self.heads, self.heads[1:], strict=False)
        rounds = [Round(a.at, b.at, a.before, b.after) for a, b in pairs][first:]
        fixes = _Fixes(rec)
        formulas = in_all_rounds(rec.avals, rest, self.numbers)
        for peeled in range(min(_PEELED, len(rounds) - FEW) + 1):
            part = rounds[peeled:]
            try:
                tree = read_rounds(rec, part, fixes, first + peeled)
                if not forks(tree):
                    return
                self._put(part, tree, formulas, fixes, first + peeled)
                return
            except Differ:
                if peeled == min(_PEELED, len(rounds) - FEW):
                    raise

    def _put(
        self, rounds: list[Round], tree: Block, formulas: Any, fixes: _Fixes, first: int
    ) -> None:
        rec = self.rec
        start = rounds[0].start
        recorded = rec.instrs[start:]
        exit = min(i.params["exit"] for i in guards_in(recorded))
        woven = weave(
            rec, rounds, tree, rec.alive(), rec.capture, formulas, fixes, exit, first
        )
        rec.exits.keep(exit, woven.guards)
        rec.forget(recorded, start)

    def _rest(self, frame: FrameType, code: Code, loop: Loop) -> Rest:
        dead = code.overwritten(loop)
        names = {n: v for n, v in local_names(frame).items() if n not in dead}
        info = Info.of(frame, type(self.rec).tracer_class(), names)
        rest = read_rest(info, frame.f_lasti, self.kind)
        if not isinstance(rest, Rest):
            raise Differ(rest)
        if self.takes_rows:
            row = "index", ("sub", COUNTER.formula, ("int", self.numbers.start))
            rest = rest._replace(positions=rest.positions | {row})
        return rest

    def _check_exit(self, code: Code, loop: Loop) -> None:
        """What is read behind the loop follows from the last round's outcomes."""
        items = code.items(loop)
        for name, (_, traced) in self.mixed.items():
            if not traced and name not in items and code.reads_behind(loop, name):
                raise Differ(f"{name} is read behind the loop and may be untraced")

    def _check_memory(self, frame: FrameType, first: int) -> None:
        if len({head.alias for head in self.heads[first + 1 :]}) > 1:
            raise Differ("an array that has several names is written in place")
        traced = type(self.rec).tracer_class()
        for value in local_names(frame).values():
            if type(value) is not traced or not value.ref.shape:
                continue
            if getattr(value, "memory", None) is not None or value.shared:
                raise Differ("an array is written in place")


def _loop_of(code: Code, frame: FrameType) -> Loop | None:
    """The `for` loop of which a frame asks for the next item, if it can be read."""
    head = code.index(frame.f_lasti)
    if code.ops[head].name != "FOR_ITER" or not code.is_plain or code.uses_locals:
        return None
    return next((loop for loop in code.loops if loop.head == head), None)


class _Fixes:
    """Values from before the loop, by their refs."""

    def __init__(self, rec: Any) -> None:
        self.rec = rec

    def name(self, ref: int) -> Hashable:
        return "own", ref

    def ref(self, name: Hashable) -> int | None:
        assert isinstance(name, tuple)
        found: int = name[1]
        return found

    def constant(self, ref: int) -> Instr | None:
        made: Instr | None = self.rec.producers[ref]
        return made if made is not None and made.prim is const else None
