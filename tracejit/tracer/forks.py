"""Rounds of a `for` loop that take different sides of an `if`: a loop with branches.

    for u in us:                     x = x * 2     u > 0 is True
        if u > 0: x = x * 2    ->    x = x + 1     u > 0 is False
        else:     x = x + 1

The iterator of the loop (`rounds`) is asked for each item, so it sees the frame at the
head of each round and behind the last one.  From what the names hold there, and what
the rounds left on the tape, `passes.reroll.branches` makes a tree of the rounds, and
`weave` a loop.  That other sequences of outcomes would do what this loop does holds
under these conditions, which are all checked; else each sequence stays a path.

1. Untraced state at the head of each round is one of a few (`MODES`), but for names
   that each round binds before it reads them.  Which one it is the loop carries.
2. The code of a round only computes (`purity`).  So what a round puts on the tape, and
   the state behind it, is decided by the state, by the outcomes of its guards, and by
   the loop's variable.
3. Python numbers that the variable decides are known by formula.
4. A name that is read behind the loop holds a traced value, or the loop's last item.
5. Nothing is written in place into arrays that have other owners.
6. The code behind the loop does not ask which of its names are one object.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from ..passes.reroll import (
    Block,
    Differ,
    Round,
    Step,
    forks,
    guards_in,
    moved,
    read_rounds,
    weave,
)
from ..tape import Source
from .differing import in_all_rounds
from .fixed import Fixed
from .purity import Info, Rest, read_rest
from .purity.bytecode import Code, Loop, code_of
from .purity.counted import COUNTER
from .purity.values import Value, abstract, join
from .remembered import State
from .watch import Describe, local_names

__all__ = ["FEW", "MODES", "PEELED", "Forks", "Head", "loop_of"]

#: First rounds that may differ.
PEELED = 3
#: So many kinds of values one name may hold, and so many states there may be.
_KINDS, MODES = 6, 4
#: A loop without a guard in so many rounds is not watched any longer.
_PATIENCE = 8
#: Fewer rounds than this stay as they are.
FEW = 4

Var = tuple[str, int]


class Head(NamedTuple):
    """What there was at the head of a round.

    Attributes:
        at: how many instrs there were.
        before: refs in names that the round may read.
        after: refs in all names.
        state: for each name that may be read, the number of what it holds (`_kind`).
        alias: for each traced value, where it came first.
    """

    at: int
    before: Mapping[Var, int]
    after: Mapping[Var, int]
    state: Mapping[str, int]
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
        self.heads: list[Head] = []
        self.kinds: dict[str, list[tuple[Any, Value]]] = {}
        self.reason = ""
        self.mixed: dict[str, Any] = {}
        self.fixed: State = []
        self.inside: dict[Var, int] = {}
        self.active = self.hopeful = True
        self.behind: Callable[[Var], bool] = lambda var: True
        self.head: Source | None = None

    # --- at each head -----------------------------------------------------------------

    def look(self, frame: FrameType) -> None:
        """Note what the names hold."""
        code = code_of(frame.f_code)
        loop = loop_of(code, frame)
        if loop is None:
            self.active = self.hopeful = False
            return
        rec, number = self.rec, len(self.heads)
        if len(rec.guards) > self.guards and self._may_have_loops(code, loop):
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
        names = local_names(frame)
        if not number:
            self._note_fixed(code, loop, names, describe, seen)
        before: dict[Var, int] = dict(self.inside)
        after: dict[Var, int] = dict(self.inside)
        state: dict[str, int] = {}
        for name, value in names.items():
            if name not in loop.rebound and type(value) is not describe.traced:
                continue
            seen.clear()
            what = describe(value)
            for place, tracer in enumerate(seen):
                after[name, place] = tracer.ref.index
            if name in dead:
                self._note_dead(name, what, type(value) is describe.traced)
                continue
            state[name] = self._kind(name, what, value)
            for place, tracer in enumerate(seen):
                before[name, place] = tracer.ref.index
        alias = tuple(describe.alias)
        self.heads.append(Head(len(rec.instrs), before, after, state, alias))

    def _note_fixed(
        self,
        code: Code,
        loop: Loop,
        names: dict[str, Any],
        describe: Describe,
        seen: list[Any],
    ) -> None:
        """Note untraced names that the loop leaves alone, and traced values in them."""
        shared = {*code.code.co_cellvars, *code.code.co_freevars}
        read = shared.union(*[code.ops[i].read for i in loop.body])
        for name in sorted(read & names.keys()):
            if name in loop.rebound or type(names[name]) is describe.traced:
                continue
            seen.clear()
            self.fixed.append((name, describe(names[name])))
            for place, tracer in enumerate(seen):
                self.inside[name, place] = tracer.ref.index

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

    def _kind(self, name: str, what: Any, value: Any) -> int:
        """The number of what a name holds, apart from traced data."""
        known = self.kinds.setdefault(name, [])
        for number, (other, _) in enumerate(known):
            if other == what:
                return number
        if len(known) == _KINDS:
            self.active = False
            self.reason = f"the untraced value of {name} changes in the loop"
        known.append((what, abstract(value, type(self.rec).tracer_class())))
        return len(known) - 1

    # --- behind the loop --------------------------------------------------------------

    def finish(self, frame: FrameType) -> None:
        """Put a loop on the tape, if the rounds are one."""
        code = code_of(frame.f_code)
        loop = loop_of(code, frame)
        self.head = Source(code.code, frame.f_lasti)
        if self.active:
            self.look(frame)
        if loop is None or not self.heads:
            return
        if not any(guards_in(self.rec.instrs[self.heads[0].at :])):
            return
        try:
            if not self.active:
                raise Differ(self.reason)
            self._weave(frame, code, loop)
        except Differ as differ:
            self.rec.exits.note(f"the loop at {self.head} keeps its branches: {differ}")

    def _rounds(self, peeled: int) -> list[Round]:
        """The rounds, but for the first ones; untraced states are numbered as modes."""
        heads = self.heads[peeled:]
        kinds: dict[str, set[int]] = {}
        for head in heads:
            for name, kind in head.state.items():
                kinds.setdefault(name, set()).add(kind)
        # A name that was not bound yet cannot have been read.
        several = sorted(name for name, found in kinds.items() if len(found) > 1)
        modes: dict[Any, int] = {}
        numbers = []
        for head in heads:
            state = tuple([head.state.get(name, -1) for name in several])
            numbers.append(modes.setdefault(state, len(modes)))
        if len(modes) > MODES:
            raise Differ(f"the untraced value of {several[0]} changes in the loop")
        return [
            Round(a.at, b.at, a.before, b.after, m, n)
            for a, b, m, n in zip(heads, heads[1:], numbers, numbers[1:], strict=False)
        ]

    def _weave(self, frame: FrameType, code: Code, loop: Loop) -> None:
        if code.tells_apart_behind(loop):
            raise Differ("`is` behind the loop may tell what its rounds did")
        rest = self._rest(frame, code, loop)
        for name in sorted(rest.counted & self.kinds.keys()):
            raise Differ(f"{name} may hold a number that the round decides")
        self._check_exit(code, loop)
        self.behind = lambda var: code.reads_behind(loop, var[0])
        fixes, formulas = self._knowledge(rest)
        last = self._most_peeled()
        for peeled in range(last + 1):
            try:
                if rest.in_place:
                    self._check_memory(frame, peeled)
                rounds = self._rounds(peeled)
                tree = self._tree(rounds, fixes, peeled)
                self._united(frame, loop, rounds, tree, formulas, fixes, peeled)
                return
            except Differ:
                if peeled == last:
                    raise

    def _tree(self, rounds: list[Round], fixes: Fixed, first: int) -> Block:
        return read_rounds(self.rec, rounds, fixes, first)

    def _knowledge(self, rest: Rest) -> tuple[Fixed, Any]:
        """What is known about values from before the loop, and about numbers."""
        rec = self.rec
        assert self.head is not None
        fixes = Fixed(rec, self.head, not rest.heap)
        others = in_all_rounds(rest, self.numbers)

        def formulas(step: Step, seen: dict[int, Any]) -> Any:
            if step.param == "start" and fixes.is_item(step.instr):
                (_, *place), *_ = seen.values()
                if any(start != (k, *place) for k, start in seen.items()):
                    return None
                return [(k, *place) for k in range(len(self.numbers))]
            return others(step, seen)

        return fixes, formulas

    def _most_peeled(self) -> int:
        return min(PEELED, len(self.heads) - 1 - FEW)

    def _key(self, frame: FrameType, loop: Loop) -> Any:
        """What loop it is to other recordings."""
        place = frame.f_code, loop.head, self.kind, self.takes_rows
        return *place, self.numbers.start, self.numbers.step

    def _is_worth(self, tree: Block) -> bool:
        """Whether a loop is to be made of the tree."""
        return forks(tree) > 0

    def _united(
        self,
        frame: FrameType,
        loop: Loop,
        rounds: list[Round],
        tree: Block,
        formulas: Any,
        fixes: Fixed,
        first: int,
    ) -> None:
        """Put the loop on the tape, with the sides that are known from elsewhere."""
        memory, outside = self.rec.memory, fixes.outside
        key = self._key(frame, loop)
        states = self._states(first)
        whole = tree
        if memory is not None:
            parts = {
                mode: memory.united(key, part, states, mode, outside)
                for mode, part in (tree.modes or {0: tree}).items()
            }
            whole = Block((), modes=parts) if tree.modes else parts[0]
        try:
            if self._is_worth(whole):
                self._put(rounds, whole, formulas, fixes, first)
        except Differ:
            if not self._is_worth(tree):
                return
            self._put(rounds, tree, formulas, fixes, first)
            whole = tree
        if memory is None:
            return
        for mode, part in (whole.modes or {0: whole}).items():
            portable = fixes.portable(moved(part, 0, part.way[:0], states.__getitem__))
            memory.add(key, states[mode], outside, portable, len(part.way))

    def _states(self, first: int) -> list[State]:
        """What the names hold in each mode of the rounds from `first` on."""
        rounds = self._rounds(first)
        modes = [*[r.mode for r in rounds], rounds[-1].next]
        found: dict[int, dict[str, int]] = {}
        for mode, head in zip(modes, self.heads[first:], strict=True):
            known = found.setdefault(mode, dict(head.state))
            found[mode] = {n: k for n, k in known.items() if n in head.state}
        return [
            [*self.fixed, *[(n, self.kinds[n][k][0]) for n, k in sorted(state.items())]]
            for _, state in sorted(found.items())
        ]

    def _put(
        self, rounds: list[Round], tree: Block, formulas: Any, fixes: Fixed, first: int
    ) -> None:
        rec = self.rec
        start = rounds[0].start
        recorded = rec.instrs[start:]
        own = set(guards_in(recorded))
        exit = min(i.params["exit"] for i in guards_in(recorded))
        woven = weave(
            rec,
            rounds,
            tree,
            rec.alive(),
            rec.table,
            formulas,
            fixes,
            exit,
            first,
            self.behind,
        )
        more = []
        if woven.mode is not None:
            (end,) = rec.instrs[-1:]
            more.append((rec.ref(woven.mode), end.params["expected"], end.source))
        rec.exits.keep(exit, woven.guards, own, more)
        ways = frozenset([b.way for b in tree.walk() if b.is_leaf])
        rec.forks.add((recorded[0].source, ways))
        rec.forget(recorded, start)

    def _rest(self, frame: FrameType, code: Code, loop: Loop) -> Rest:
        dead = code.overwritten(loop)
        names = {n: v for n, v in local_names(frame).items() if n not in dead}
        info = Info.of(frame, type(self.rec).tracer_class(), names)
        for name, kinds in self.kinds.items():
            if len(kinds) == 1:
                continue
            info.names[name] = functools.reduce(join, [value for _, value in kinds])
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
        if len({head.alias for head in self.heads[first:]}) > 1:
            raise Differ("an array that has several names is written in place")
        traced = type(self.rec).tracer_class()
        for value in local_names(frame).values():
            if type(value) is not traced or not value.ref.shape:
                continue
            if getattr(value, "memory", None) is not None or value.shared:
                raise Differ("an array is written in place")


def loop_of(code: Code, frame: FrameType) -> Loop | None:
    """The `for` loop of which a frame asks for the next item, if it can be read."""
    head = code.index(frame.f_lasti)
    if code.ops[head].name != "FOR_ITER" or not code.is_plain or code.uses_locals:
        return None
    return next((loop for loop in code.loops if loop.head == head), None)
