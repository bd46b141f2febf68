"""Loops that traced values end: one loop on the tape for all numbers of rounds.

    while err > tol:             rounds go from one test to the next; the last of them
        if a < b: ...            ends where the loop is left
        if x > c: break

    for row in x:                rounds go from item to item
        s = s + row.sum()
        if s > c: break

Rounds that go on and rounds that leave the loop are ways through one tree (`forks`),
which `weave_left` makes a loop of.  Beside the conditions of `forks`:

1. What the code does when it has left the loop is decided by where it goes on
   (`purity.ways`) and by the untraced state there (`Leave`).  Each pair of these is a
   way to leave, and a guard behind the loop tells them apart.
2. The state at the head of a round tells how the loop is left there: by the test of a
   `while`, or because there are no more items.
3. A name that is read behind the loop and is not bound yet makes another state.
4. Python numbers that follow a `for` loop's variable are not read behind it.

Where a name must hold a result of the loop, and holds something else because the
rounds that were recorded did not bind it, it is bound to it (`bind`).
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any

import numpy as np

from ..passes.reroll import (
    APPENDED,
    Block,
    Departure,
    Differ,
    Round,
    guards_in,
    moved,
    weave_left,
)
from ..tape import Source
from .departures import Leave, bind, joined, missing, put_at
from .fixed import Fixed
from .forks import MODES, PEELED, Forks
from .memory import View, own_ref
from .mixing import arrays_in, mix
from .purity import Info, Rest, read_rest
from .purity.bytecode import Code, Loop, code_of
from .purity.counted import COUNTER
from .purity.values import Value, join
from .purity.ways import Landing, landing
from .remembered import State
from .watch import Describe, local_names, mark_of

__all__ = ["Turns"]

#: What a name holds that is not bound.
_UNBOUND = "not bound"


class Turns(Forks):
    """Watches one execution of a `for` loop that traced values may end.

    Attributes:
        limit: how many rounds there may be; 0 if nothing but traced values ends it.
        outcome: of a `while` loop's test if there is another round.
        last: the round that left the loop: where it ends, what names hold there, and
            the way; None if the loop was left at the head of a round.
    """

    outcome: bool | None = None
    where: Landing
    place = -1

    def __init__(self, rec: Any, kind: Value, numbers: range, takes_rows: bool) -> None:
        super().__init__(rec, kind, numbers, takes_rows)
        self.limit = len(numbers)
        self.last: tuple[int, dict[Any, int], Leave] | None = None
        self.frame_names: dict[str, Any] = {}
        self.begun: list[dict[Any, Any]] = []
        self.lead = 0

    # --- at each head -----------------------------------------------------------------

    def look(self, frame: FrameType) -> None:
        super().look(frame)
        if not self.heads:
            return
        begins = self.head is None
        if begins:
            self.head = Source(frame.f_code, frame.f_lasti)
        code, loop = self._place(frame)
        if begins:
            mark = mark_of(frame)
            if mark is not None:
                mark.turns[self.rec.exits.watch.serial, loop.head] = self
        names = local_names(frame)
        self._note_begun(names)
        if any(i != loop.head for i in code.ways_out(loop)):
            self._note_unbound(code, loop, names)

    def _note_begun(self, names: dict[str, Any]) -> None:
        """Note the arrays that names hold at first."""
        if len(self.begun) <= PEELED:
            arrays = arrays_in(type(self.rec).tracer_class(), names)
            self.begun.append({var: weakref.ref(x) for var, x in arrays.items()})

    def _note_unbound(self, code: Code, loop: Loop, names: dict[str, Any]) -> None:
        """Note names that the code behind the loop may look for in vain."""
        state = dict(self.heads[-1].state)
        for name in set(loop.rebound) - names.keys() - self._dead(code, loop):
            if code.reads_behind(loop, name):
                state[name] = self.seen.kind(name, _UNBOUND, None)
        self.heads[-1] = self.heads[-1]._replace(state=state)
        if self.reason:
            self.active = False

    def _place(self, frame: FrameType) -> tuple[Code, Loop]:
        assert self.head is not None
        code = code_of(frame.f_code)
        head = code.index(self.head.lasti)
        return code, next(loop for loop in code.loops if loop.head == head)

    def _dead(self, code: Code, loop: Loop) -> frozenset[str]:
        return code.overwritten(loop)

    def _out(self, code: Code, loop: Loop) -> Landing:
        """Where the code goes on that leaves the loop at the head of a round."""
        target = code.ops[loop.head].target
        assert target is not None
        return landing(code, target)

    # --- when it is left --------------------------------------------------------------

    def leave(self, frame: FrameType, place: int, at: int) -> None:
        """Put a loop on the tape when a guard has left it.

        Args:
            place: of the guard.
            at: the instruction with which the code goes on.
        """
        if not self.heads or not self.hopeful:
            return
        self.hopeful = False
        code, loop = self._place(frame)
        if code.uses_locals:
            return
        try:
            if not self.active:
                raise Differ(self.reason)
            self.frame_names = local_names(frame)
            if self.outcome is None or place != self.place:
                self._end(code, loop, at)
            self._weave(frame, code, loop)
        except Differ as differ:
            self.active = False
            if self._has_forks():
                kept = "branches"
            elif self.limit and len(self.heads) > 2:
                kept = "number of rounds"
            else:
                return  # `reroll` has its say
            self.rec.exits.note(f"the loop at {self.head} keeps its {kept}: {differ}")

    def _has_forks(self) -> bool:
        """Whether rounds took different ways."""
        instrs = self.rec.instrs
        ways = set()
        for a, b in zip(self.heads, self.heads[1:], strict=False):
            guards = guards_in(instrs[a.at : b.at])
            ways.add(tuple([(g.source, g.params["expected"]) for g in guards]))
        return len(ways) > 1

    def _end(self, code: Code, loop: Loop, at: int) -> None:
        """Note the round that leaves the loop."""
        where = landing(code, at)
        self._check_landing(code, loop, where)
        describe = Describe(type(self.rec).tracer_class(), self.seen.look)
        after: dict[Any, int] = self.seen.inside()
        state: State = []
        names = self.frame_names
        for name in sorted({*names, *loop.rebound}):
            value = names.get(name)
            traced = type(value) is describe.traced
            if name not in loop.rebound and not traced:
                continue
            what: Any = _UNBOUND
            if name in names:
                what, seen = self.seen.described(describe, value)
                for place, one in enumerate(seen):
                    after[name, place] = one.ref
            if name not in loop.rebound or not code.reads_from([where.at], name):
                continue
            if not traced and not self._is_settled(name, what):
                raise Differ(f"{name} is read behind the loop and is untraced")
            state.append((name, what))
        self.last = len(self.rec.instrs), after, Leave(where.key, state)
        self.where = where

    def _is_settled(self, name: str, what: Any) -> bool:
        """Whether an untraced value behind the loop is that of each such round."""
        kind = self.heads[-1].state.get(name)
        return kind is not None and self.seen.kinds[name][kind][0] == what

    def _check_landing(self, code: Code, loop: Loop, where: Landing) -> None:
        if code.depths.get(where.at, 1 << 30) > code.depths[loop.head]:
            raise Differ("the loop is left in the middle of an expression")

    def finish(self, frame: FrameType) -> None:
        self.frame_names = local_names(frame)
        super().finish(frame)

    def _default(self, code: Code, loop: Loop, states: list[Any]) -> Any:
        """How the loop is left at the head of a round, by mode."""
        where = self._out(code, loop)
        dead = self._dead(code, loop)
        found: dict[int, Any] = {}

        def of(mode: int) -> Any:
            if mode not in found:
                state = self._state_behind(code, loop, where, dead, dict(states[mode]))
                found[mode] = object() if state is None else Leave(where.key, state)
            return found[mode]

        return of

    def _state_behind(
        self,
        code: Code,
        loop: Loop,
        where: Landing,
        dead: frozenset[str],
        state: dict[str, Any],
    ) -> State | None:
        found: State = []
        for name in sorted(loop.rebound):
            if not code.reads_from([where.at], name):
                continue
            if name in dead:
                what, traced = self.seen.mixed.get(name, (None, False))
                if not traced:
                    return None
                found.append((name, what))
            else:
                found.append((name, state.get(name, _UNBOUND)))
        return found

    # --- the loop ---------------------------------------------------------------------

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
        if self._is_plain_for():
            self.states = self._states(first)
            super()._united(frame, loop, rounds, tree, formulas, fixes, first)
            return
        memory, outside = self.rec.memory, fixes.outside
        key = self._key(frame, loop)
        states = self.states = self._states(first)
        own = {m: put_at(b, (m,)) for m, b in (tree.modes or {0: tree}).items()}
        if self._is_empty():
            own = {}
        whole = dict(own)
        if memory is not None:
            for mode, part in own.items():
                whole[mode] = memory.united(key, part, states, mode, outside, MODES)
            for mode in missing(whole):
                found = memory.tree(key, states, mode, outside, MODES)
                if found is not None:
                    whole[mode] = found
        made = own
        for parts in (whole, own):
            together = joined(parts)
            if together is None or not self._is_worth(together):
                continue
            try:
                self._put(rounds, together, formulas, fixes, first)
            except Differ:
                if parts is own:
                    raise
            else:
                made = parts
                break
        if memory is None:
            return
        for mode, part in made.items():
            portable = fixes.portable(moved(part, 0, part.way[:0], states.__getitem__))
            memory.add(key, states[mode], outside, portable, len(part.way))

    def _is_empty(self) -> bool:
        """Whether the loop was left before its first round."""
        return len(self.heads) == 1 and self.last is None

    def _tree(self, rounds: list[Round], fixes: Fixed, first: int) -> Block:
        if self._is_empty():
            return Block(())
        return super()._tree(rounds, fixes, first)

    def _rounds(self, peeled: int) -> list[Round]:
        heads = self.heads[peeled:]
        numbers, _ = self._modes(peeled)
        lists = self.seen.grown(peeled)
        rounds = [
            self._round(a, b, m, n, lists)._replace(stop=b.at - self.lead)
            for a, b, m, n in zip(heads, heads[1:], numbers, numbers[1:], strict=False)
        ]
        if self.last is not None:
            stop, after, leave = self.last
            start, mode = heads[-1], numbers[-1]
            rounds.append(Round(start.at, stop, start.before, after, mode, mode, leave))
        if not rounds:
            (one,) = heads
            rounds.append(Round(one.at, one.at, one.before, one.after))
        return rounds

    def _modes(self, peeled: int) -> tuple[list[int], list[dict[str, int]]]:
        """For each head the number of its untraced state, and what these are."""
        heads = self.heads[peeled:]
        kinds: dict[str, set[int]] = {}
        for head in heads:
            for name, kind in head.state.items():
                kinds.setdefault(name, set()).add(kind)
        several = sorted(name for name, found in kinds.items() if len(found) > 1)
        modes: dict[Any, int] = {}
        states: list[dict[str, int]] = []
        numbers = []
        for head in heads:
            state = tuple([head.state.get(name, -1) for name in several])
            number = modes.setdefault(state, len(modes))
            numbers.append(number)
            if number == len(states):
                states.append(dict(head.state))
            known = states[number]
            states[number] = {n: k for n, k in known.items() if n in head.state}
        if len(modes) > MODES:
            raise Differ(f"the untraced value of {several[0]} changes in the loop")
        return numbers, states

    def _states(self, first: int) -> list[State]:
        _, states = self._modes(first)
        return [self._state(first, state) for state in states]

    def _most_peeled(self) -> int:
        if self._is_plain_for():
            return super()._most_peeled()
        rounds = len(self.heads) - 1 + (self.last is not None)
        return max(0, min(PEELED, rounds - 2))

    def _is_plain_for(self) -> bool:
        return self.last is None and self.outcome is None and self.limit > 0

    def _is_worth(self, tree: Block) -> bool:
        if self._is_plain_for():
            return super()._is_worth(tree)
        # What rounds do in a state that none began with is not known.
        known = set(tree.modes) or {0}
        following = {b.next for b in tree.walk() if b.is_leaf and b.exit is None}
        return bool(following) and following <= known

    def _put(
        self, rounds: list[Round], tree: Block, formulas: Any, fixes: Fixed, first: int
    ) -> None:
        leaves = [b for b in tree.walk() if b.is_leaf]
        if self._is_plain_for() and all(leaf.exit is None for leaf in leaves):
            super()._put(rounds, tree, formulas, fixes, first)
            self._mix(leaves, first)
            return
        rec = self.rec
        if any(leaf.written for leaf in leaves):
            raise Differ("an array is written in place")
        code, loop = self._place(self.frame)
        default = self._default(code, loop, self.states)
        names: Mapping[Any, int]
        if self.last is not None:
            where = self.where
            _, names, actual = self.last
        else:
            where = self._out(code, loop)
            names, actual = self.heads[-1].after, default(rounds[-1].next)
            self._check_landing(code, loop, where)
        self._check_views(rounds, names)
        start = rounds[0].start - self.lead
        recorded = rec.instrs[start:]
        own = set(guards_in(recorded))
        exit = min(i.params["exit"] for i in own)
        source = self._source(code, loop)
        departure = Departure(
            start,
            self.outcome,
            self.limit,
            len(rounds),
            default,
            actual,
            names,
            lambda var: code.reads_from([where.at], var[0]),
            self._may_be_bound,
            [{n for n, what in state if what != _UNBOUND} for state in self.states],
            source,
        )
        left = weave_left(
            rec, rounds, tree, rec.table, formulas, fixes, exit, first, departure
        )
        more = [(rec.ref(ref), expected, source) for ref, expected in left.more]
        rec.exits.keep(exit, left.guards, own, more)
        rec.exits.bounded(exit + len(left.guards), left.limit)
        for ref, expected in left.more:
            rec.values[ref] = np.bool_(expected)
        self._mix(leaves, first)
        self._bind(names, left.bound)
        ways = frozenset([b.way for b in leaves])
        rec.forks.add((source, ways, len(left.more)))
        rec.forget(recorded, start)

    def _source(self, code: Code, loop: Loop) -> Source:
        """Of the guards behind the loop; no place of a test."""
        assert self.head is not None
        return self.head

    def _may_be_bound(self, var: tuple[str, int]) -> bool:
        """Whether a name can be bound to another value instead of the one it holds."""
        name, _ = var
        value: Any = self.frame_names.get(name)
        code = self.frame.f_code
        if name in code.co_cellvars or name in code.co_freevars:
            return False
        if type(value) is not type(self.rec).tracer_class() or value.shared:
            return False
        return value.memory is None or not value.ref.shape

    def _bind(self, names: Any, bound: dict[Any, int]) -> None:
        rec = self.rec
        fresh = {}
        for (name, _), ref in bound.items():
            old = self.frame_names[name]
            rec.values[ref] = rec.value(old.ref)
            fresh[name] = rec.tracer(rec.ref(ref), old.weak)
        if fresh:
            bind(self.frame, fresh)

    def _mix(self, leaves: list[Block], first: int) -> None:
        """Note which arrays the loop may leave sharing memory, or not."""
        # An array that is written into stays the same one.
        kept = frozenset().union(*[leaf.written for leaf in leaves])
        rules = [
            {
                var: what
                for var, what in leaf.after.items()
                if what and var not in kept and not var[0].endswith(APPENDED)
            }
            for leaf in leaves
        ]
        held = arrays_in(type(self.rec).tracer_class(), self.frame_names)
        before = self.heads[first].before
        begun = self.begun[first] if first < len(self.begun) else {}
        mix(held, begun, before, rules)

    def _check_views(self, rounds: list[Round], names: Any) -> None:
        """No array that is read behind the loop is part of one that no name holds."""
        rec = self.rec
        made = {
            out
            for instr in rec.instrs[rounds[0].start : rounds[-1].stop]
            for out in instr.outs
        }
        held = set(names.values())
        traced = type(rec).tracer_class()
        for value in self.frame_names.values():
            if type(value) is not traced or type(value.memory) is not View:
                continue
            owner = own_ref(value.memory.base)
            if owner is None or (owner.index in made and owner.index not in held):
                raise Differ("an array is part of one that no name holds")

    # --- the code ---------------------------------------------------------------------

    def _weave(self, frame: FrameType, code: Code, loop: Loop) -> None:
        self.frame = frame
        try:
            super()._weave(frame, code, loop)
        finally:
            del self.frame

    def _rest(self, frame: FrameType, code: Code, loop: Loop) -> Rest:
        assert self.head is not None
        info = self._info(frame, code, loop)
        growing = self._growing() if self._is_plain_for() else ()
        rest = read_rest(info, self.head.lasti, self.kind, growing)
        if not isinstance(rest, Rest):
            raise Differ(rest)
        if self.takes_rows:
            row = "index", ("sub", COUNTER.formula, ("int", self.numbers.start))
            rest = rest._replace(positions=rest.positions | {row})
        return rest

    def _info(self, frame: FrameType, code: Code, loop: Loop) -> Info:
        """What the names hold at the heads of rounds."""
        dead = self._dead(code, loop)
        names = {
            n: v
            for n, v in local_names(frame).items()
            if n not in dead and n not in self.seen.kinds
        }
        info = Info.of(frame, type(self.rec).tracer_class(), names)
        for name, kinds in self.seen.kinds.items():
            values = [value for what, value in kinds if what is not _UNBOUND]
            if values:
                info.names[name] = functools.reduce(join, values)
        return info

    def _check_in_place(self, frame: FrameType, first: int) -> None:
        if self._is_plain_for():
            return
        if any(head.together for head in self.heads[first:]):
            raise Differ("an array that has several names is written in place")
        traced = type(self.rec).tracer_class()
        for value in local_names(frame).values():
            if type(value) is not traced:
                continue
            if value.memory is not None and own_ref(value) is None:
                raise Differ("an array is written in place")
            if value.ref.shape and (value.memory is not None or value.shared):
                raise Differ("an array is written in place")

    def _check_exit(self, code: Code, loop: Loop) -> None:
        if self._is_plain_for():
            super()._check_exit(code, loop)
