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
5. An array that is written in place has the same names all the time, and a list that
   grows has one; each round appends equally much to it.
6. The code behind the loop does not ask which of its names are one object.
"""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Container, Iterable, Mapping
from types import FrameType
from typing import Any

from ..passes.reroll import (
    APPENDED,
    Block,
    Differ,
    Round,
    Step,
    Var,
    forks,
    guards_in,
    moved,
    read_rounds,
    weave,
)
from ..tape import Source
from .differing import in_all_rounds
from .fixed import Fixed
from .heads import Head, Heads, buffers
from .memory import note_written, replaced
from .purity import Info, Rest, read_rest
from .purity.bytecode import Code, Loop, code_of
from .purity.counted import COUNTER
from .purity.values import Known, Value, join
from .remembered import State
from .watch import local_names

__all__ = [
    "FEW", "MODES", "PEELED", "Forks", "Promoted", "RecordAgain",
    "loop_of",
]  # fmt: skip

#: First rounds that may differ.
PEELED = 3
#: So many states there may be.
MODES = 4
#: Who holds a list that has one name: the frame, two tables of names, the question.
_HOLDERS = 4
#: A loop without a guard in so many rounds is not watched any longer.
_PATIENCE = 8
#: Fewer rounds than this stay as they are.
FEW = 4


class RecordAgain(BaseException):
    """What was done about loops does not fit what followed; record without.

    Args:
        ends: whether loops may still have run-time exits and branches.
    """

    def __init__(self, ends: bool = True) -> None:
        super().__init__()
        self.ends = ends


class Promoted(RecordAgain):
    """An array is known to get traced values; record with that."""


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
        self.seen = Heads(rec)
        self.heads = self.seen.all
        self.buffers: dict[str, weakref.ref] = {}
        self.active = self.hopeful = True
        self.behind: Callable[[Var], bool] = lambda var: True
        self.names: dict[str, Any] = {}
        self.head: Source | None = None

    @property
    def reason(self) -> str:
        return self.seen.reason

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
        names = local_names(frame)
        if not number:
            rec.watching.append(weakref.ref(self))
            self.buffers = self._prepared(frame, loop, names)
        self.seen.add(code, loop, names, code.overwritten(loop))
        if self.reason:
            self.active = False

    def _prepared(
        self, frame: FrameType, loop: Loop, names: dict[str, Any]
    ) -> dict[str, weakref.ref]:
        """Arrays without traced values; not those that are known to get some here."""
        found = buffers(names)
        memory = self.rec.memory
        for name in list(found) if memory is not None else ():
            if (frame.f_code, loop.head, name) in memory.arrays:
                if name in buffers(names):  # not yet by another name
                    names[name].promote()
                self.rec.promoted = True
                del found[name]
        return found

    def _may_have_loops(self, code: Code, loop: Loop) -> bool:
        inner = any(o is not loop and o.head in loop.body for o in code.loops)
        return inner or len(self.rec.instrs) - self.heads[-1].at >= 64

    # --- behind the loop --------------------------------------------------------------

    def finish(self, frame: FrameType) -> None:
        """Put a loop on the tape, if the rounds are one."""
        code = code_of(frame.f_code)
        loop = loop_of(code, frame)
        self.head = Source(code.code, frame.f_lasti)
        if self.active:
            self.look(frame)
        heads = self.heads
        if loop is None or not heads:
            return
        if not any(guards_in(self.rec.instrs[heads[0].at :])):
            return
        self.names = local_names(frame)
        try:
            self._begin_traced(frame, loop)
            if not self.active:
                raise Differ(self.reason)
            self._weave(frame, code, loop)
        except Differ as differ:
            self.rec.exits.note(f"the loop at {self.head} keeps its branches: {differ}")
        finally:
            self.names = {}

    def _begin_traced(self, frame: FrameType, loop: Loop) -> None:
        """Record again if an array has become a traced one in one of the rounds.

        It is one from the beginning then, so that rounds do not differ in that.
        """
        memory, traced = self.rec.memory, type(self.rec).tracer_class()
        sites = {
            (frame.f_code, loop.head, name)
            for name, known in self.buffers.items()
            if type(known()) is traced
        }
        if sites and memory is not None and memory.begin_traced(sites):
            raise Promoted

    def _rounds(self, peeled: int) -> list[Round]:
        """The rounds, but for the first ones; untraced states are numbered as modes."""
        heads = self.heads[peeled:]
        lists = self.seen.grown(peeled)
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
            self._round(a, b, m, n, lists)
            for a, b, m, n in zip(heads, heads[1:], numbers, numbers[1:], strict=False)
        ]

    def _round(
        self, head: Head, end: Head, mode: int, following: int, lists: Container[str]
    ) -> Round:
        """The round from one head to the next.

        Args:
            lists: those that grow; what they held before is not read.
        """
        before, after = (
            {var: ref for var, ref in held.items() if var[0] not in lists}
            for held in (head.before, end.after)
        )
        found = Round(head.at, end.at, before, after, mode, following)
        return found._replace(
            written=end.written, rebound=end.rebound, together=end.together
        )

    def _weave(self, frame: FrameType, code: Code, loop: Loop) -> None:
        if code.tells_apart_behind(loop):
            raise Differ("`is` behind the loop may tell what its rounds did")
        rest = self._rest(frame, code, loop)
        for name in sorted(rest.counted & self.seen.kinds.keys()):
            raise Differ(f"{name} may hold a number that the round decides")
        self._check_exit(code, loop)
        self.behind = lambda var: code.reads_behind(loop, var[0])
        fixes, formulas = self._knowledge(rest)
        last = self._most_peeled()
        for peeled in range(last + 1):
            try:
                if rest.in_place:
                    self._check_in_place(frame, peeled)
                rounds = self._rounds(peeled)
                tree = self._tree(rounds, fixes, peeled)
                self._united(frame, loop, rounds, tree, formulas, fixes, peeled)
                return
            except Differ:
                if peeled == last:
                    raise

    def _check_in_place(self, frame: FrameType, first: int) -> None:
        """Refuse writes in place that `_check_memory` cannot judge."""

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
        has_guards = any(guards_in(self.rec.instrs[rounds[0].start :]))
        inside = has_guards and self._is_inside()
        whole = tree
        if memory is not None:
            parts = {
                mode: memory.united(key, part, states, mode, outside)
                for mode, part in (tree.modes or {0: tree}).items()
            }
            whole = Block((), modes=parts) if tree.modes else parts[0]
        try:
            if self._is_worth(whole) or inside:
                self._put(rounds, whole, formulas, fixes, first)
        except Differ:
            if not self._is_worth(tree) and not inside:
                return
            self._put(rounds, tree, formulas, fixes, first)
            whole = tree
        if memory is None:
            return
        for mode, part in (whole.modes or {0: whole}).items():
            portable = fixes.portable(moved(part, 0, part.way[:0], states.__getitem__))
            memory.add(key, states[mode], outside, portable, len(part.way))

    def _is_inside(self) -> bool:
        """Whether a round of another loop runs, which may be one with branches."""
        alive = [known() for known in self.rec.watching]
        return any(one is not None and one is not self and one.active for one in alive)

    def _states(self, first: int) -> list[State]:
        """What the names hold in each mode of the rounds from `first` on."""
        rounds = self._rounds(first)
        modes = [*[r.mode for r in rounds], rounds[-1].next]
        found: dict[int, dict[str, int]] = {}
        for mode, head in zip(modes, self.heads[first:], strict=True):
            known = found.setdefault(mode, dict(head.state))
            found[mode] = {n: k for n, k in known.items() if n in head.state}
        return [self._state(first, state) for _, state in sorted(found.items())]

    def _state(self, first: int, state: Mapping[str, int]) -> State:
        """What there is in a mode; lists, and names that each round binds, included."""
        seen = self.seen
        lists = seen.grown(first)
        fixed = [pair for pair in seen.fixed if pair[0] not in lists]
        behind = sorted(n for n in seen.mixed if self.behind((n, 0)))
        return [
            *fixed,
            (APPENDED, sorted(seen.items.items())),
            ("", [(n, seen.mixed[n]) for n in behind]),
            *[(n, seen.kinds[n][k][0]) for n, k in sorted(state.items())],
        ]

    def _put(
        self, rounds: list[Round], tree: Block, formulas: Any, fixes: Fixed, first: int
    ) -> None:
        rec = self.rec
        self._check_memory(tree, first)
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
        self._own_memory(woven.memory)
        self._fill(woven.stacks, first)
        rec.forget(recorded, start)

    def _own_memory(self, memory: Mapping[Var, int]) -> None:
        """Give arrays that the loop may write into what it makes of them."""
        rec = self.rec
        for var, base in self.seen.owners(memory).items():
            before, ref = base.ref, rec.ref(memory[var])
            if before.index != ref.index:
                rec.values[ref.index] = rec.value(before)
                replaced(base, ref)
            elif base.memory is not None:
                note_written(base)

    def _fill(self, stacks: Mapping[Var, int], first: int) -> None:
        """Have lists hold rows of what the loop stacks."""
        rec, heads = self.rec, self.heads[first:]
        for (name, place), stack in stacks.items():
            items = self.names[name.removesuffix(APPENDED)]
            for k, head in enumerate(heads[:-1]):
                at = head.lists[name.removesuffix(APPENDED)] + place
                row = rec.row(stack, k)
                given = rec.ref(heads[k + 1].after[name, place])
                rec.values[row.index] = rec.value(given)
                if row.aval.shape:
                    items[at].ref = row
                else:
                    _, weak, *_ = self.seen.items[name, place]
                    items[at] = rec.tracer(row, weak)
        rec.mixed_floats = rec.mixed_floats or self.seen.mixed_floats

    def _rest(self, frame: FrameType, code: Code, loop: Loop) -> Rest:
        dead = code.overwritten(loop)
        names = {n: v for n, v in local_names(frame).items() if n not in dead}
        lists = self._growing()
        info = Info.of(frame, type(self.rec).tracer_class(), names)
        for name, kinds in self.seen.kinds.items():
            if len(kinds) == 1:
                continue
            info.names[name] = functools.reduce(join, [value for _, value in kinds])
        rest = read_rest(info, frame.f_lasti, self.kind, lists)
        if not isinstance(rest, Rest):
            raise Differ(rest)
        if self.takes_rows:
            row = "index", ("sub", COUNTER.formula, ("int", self.numbers.start))
            rest = rest._replace(positions=rest.positions | {row})
        return rest

    def _growing(self) -> list[str]:
        """The lists that grow, of which nobody else has one."""
        lists = self.seen.grown(0)
        for name in lists:
            more = sys.getrefcount(self.names[name]) - _HOLDERS
            if more > 0:
                holders = gc.get_referrers(self.names[name])
                more -= sum(type(holder) is Known for holder in holders)
            if more > 0:
                raise Differ(f"the list {name} may have other names")
        return lists

    def _check_exit(self, code: Code, loop: Loop) -> None:
        """What is read behind the loop follows from the last round's outcomes."""
        items = code.items(loop)
        for name, (_, traced) in self.seen.mixed.items():
            if not traced and name not in items and code.reads_behind(loop, name):
                raise Differ(f"{name} is read behind the loop and may be untraced")

    def _check_memory(self, tree: Block, first: int) -> None:
        """An array that is written into is one object all the time, by the same names.

        Else which object that is, in another sequence, would not be known.
        """
        leaves = [block for block in tree.walk() if block.is_leaf]
        written = frozenset().union(*[leaf.written for leaf in leaves])
        for leaf in leaves:
            if not written.isdisjoint(leaf.rebound):
                raise Differ("an array is written in place, and bound anew")
        begin = self.heads[first]
        if not written <= begin.memory.keys():
            raise Differ("an array is written in place that the loop has made")

        def shared(groups: Iterable[frozenset[Var]]) -> set[frozenset[Var]]:
            return {group for group in groups if not written.isdisjoint(group)}

        for leaf in leaves:
            if shared(leaf.together) != shared(begin.together):
                raise Differ("an array that has several names is written in place")


def loop_of(code: Code, frame: FrameType) -> Loop | None:
    """The `for` loop of which a frame asks for the next item, if it can be read."""
    head = code.index(frame.f_lasti)
    if code.ops[head].name != "FOR_ITER" or not code.is_plain or code.uses_locals:
        return None
    return next((loop for loop in code.loops if loop.head == head), None)
