"""Rounds that need not be recorded: a `for` loop whose rounds all do the same.

    for i in range(10_000):         rounds 0 to 4 run, then the last one, 9,999; the
        x = x + dt * f(x, us[i])    tape has a loop of 10,000 iterations

The recorded code gets an iterator made here in place of that of `range`, `enumerate`,
`zip` and of traced arrays.  It is asked for each item, so it sees the frame between two
rounds, and can leave rounds out.  That is right under these conditions, which are all
checked; else the loop is recorded round by round.

1. Several rounds in a row put isomorphic instrs on the tape (`reroll.attempt`), without
   a guard.
2. Untraced state is the same before the last two of them (`watch`), and the code only
   computes (`purity`).  So every further round puts the same instrs on the tape, apart
   from Python numbers that the loop's variable decides; these are known by formula.
3. Each name holds, before each of the rounds, what the same instr of the round before
   made (or of two, three, four rounds before), or one and the same value from before
   the loop.  What operands are in further rounds follows.  No other traced value that
   the rounds made is alive, so there is no name that is not seen, apart from lists.
4. A list that nothing but one name holds, and of which the code knows `append` alone,
   may grow: what the rounds that were left out append are rows of the loop's outputs.

The last round does run, as the variable keeps its last item, and because the values of
that round may be held by anybody.  Its instrs must fit, too.  Then the loop goes on the
tape, with its true number of rounds.  Values that depend on rounds that were left out
are computed when somebody asks for them (a kernel does), and within the last round that
ends the attempt: the function is recorded again, with all rounds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from ..passes.reroll import Formula, Proof, prove_rounds, stretch
from .differing import differing
from .forks import FEW, RecordAgain
from .grown import Grown, grown_list
from .memory import own_ref
from .purity import Info, Rest, read_rest
from .purity.bytecode import Loop, code_of
from .purity.counted import COUNTER
from .purity.values import Value
from .turns import Turns
from .watch import Describe, local_names

__all__ = ["ROUNDS", "RecordAgain", "Rounds"]

#: So many rounds must be isomorphic, and so many may differ in front of them.
ROUNDS, _PEELED = 5, 4
#: Who holds a list that has one name: the frame, the table of its names, the question.
_HOLDERS = 3
#: With so many instrs that the rounds have put on the tape, loops are made of them.
MANY = 500_000
#: Leaving out fewer instrs than this is not worth the reading.
MIN_SAVED = 1000


class _Visit(NamedTuple):
    """What there was before a round.

    Attributes:
        at, guards: how many instrs and guards there were.
        made: how many refs, which inner loops do not take away.
        names: name -> description, refs, and identities of traced values in it.
        dead: refs in names that each round binds anew before it reads them.
        lists: name -> identity and length.
    """

    at: int
    guards: int
    made: int
    names: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]]
    dead: frozenset[int]
    lists: dict[str, tuple[int, int]]


class _Plan(NamedTuple):
    """How the rounds from `first` on become a loop.

    Attributes:
        start: where they start on the tape; period: how many instrs each has.
        proof: that the recorded ones are isomorphic.
        handed: refs that names hold, which are other ones after each round.
        formulas: of params that differ, by place and name.
        grown: the lists that grow.
    """

    first: int
    start: int
    period: int
    proof: Proof
    handed: frozenset[int]
    formulas: dict[tuple[int, str], Formula]
    grown: list[Grown]


class Rounds:
    """The iterator of one execution of a `for` loop.

    Args:
        rec: the recorder.
        count: how many items there are.
        item: the k-th of them.
        kind: what is known about them.
        numbers: what `COUNTER` is in each round.
        takes_rows: whether items are (parts of) the k-th rows of arrays.
    """

    def __init__(
        self,
        rec: Any,
        count: int,
        item: Callable[[int], Any],
        kind: Value,
        numbers: range,
        takes_rows: bool = False,
    ) -> None:
        self.rec, self.count, self.item = rec, count, item
        self.kind, self.numbers, self.takes_rows = kind, numbers, takes_rows
        self.done = 0
        self.visits: list[_Visit] = []
        self.plan: _Plan | None = None
        self.watching = rec.may_skip and count > ROUNDS + 2
        self.begin, self.guards = len(rec.instrs), len(rec.guards)
        self.full = self.begin + MANY
        self.forks: Turns | None = None
        if rec.may_fork and count >= FEW:
            self.forks = Turns(rec, kind, numbers, takes_rows)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.done == self.count:
            if self.plan is not None:
                plan, self.plan = self.plan, None
                self._finish(plan)
            elif self.forks is not None and self.forks.hopeful:
                forks, self.forks = self.forks, None
                forks.finish(sys._getframe(1))
            raise StopIteration
        if self.watching:
            self._look(sys._getframe(1))
            if self.plan is not None:
                self.forks = None
        if self.forks is not None and self.forks.active:
            self.forks.look(sys._getframe(1))
        if len(self.rec.instrs) > self.full:
            self._roll()
        self.done += 1
        return self.item(self.done - 1)

    def _roll(self) -> None:
        """Roll what many rounds have put on the tape, so that it does not grow on."""
        rec, forks = self.rec, self.forks
        self.full = len(rec.instrs) + MANY
        noted = self.watching or self.plan or (forks is not None and forks.active)
        if noted or not rec.may_skip:  # places on the tape, which rolling would change
            return
        if len(rec.guards) == self.guards:
            rec.roll(self.begin)
        self.begin, self.guards = len(rec.instrs), len(rec.guards)
        self.full = self.begin + MANY

    def __length_hint__(self) -> int:
        return self.count - self.done

    # --- between two rounds -----------------------------------------------------------

    def _look(self, frame: FrameType) -> None:
        """Note what there is, and leave out all but the last round if that is right."""
        loop = _loop_at(frame)
        if loop is None:
            self.watching = False
            return
        code = code_of(frame.f_code)
        dead = code.overwritten(loop)
        names = local_names(frame)
        if self.visits and self.visits[-1].guards == len(self.rec.guards):
            self.rec.roll(self.visits[-1].at)  # loops inside the round
        self.visits.append(self._visit(loop, names, dead))
        done = self.done
        if done == 1 and self._saved() < MIN_SAVED:
            self.watching = False
        elif done >= ROUNDS:
            plan = self._planned(frame, names, dead)
            if plan is not None:
                self.plan, self.watching = plan, False
                self.rec.skips += 1
                self.rec.holes |= plan.handed
                self.rec.defer(plan.handed)
                for grown in plan.grown:
                    grown.hide(self.rec)
                self.done = self.count - 1
            elif done == ROUNDS + _PEELED:
                self.watching = False
                self.visits.clear()

    def _visit(self, loop: Loop, names: dict[str, Any], dead: frozenset[str]) -> _Visit:
        rec = self.rec
        traced = type(rec).tracer_class()
        seen: list[Any] = []

        def look(value: Any) -> Any:
            if own_ref(value) is None:
                # A view whose owner was written to: the owner's value tells its own.
                return value.memory.steps, id(value.memory.base)
            seen.append(value)
            return value.ref.aval, value.weak

        describe = Describe(traced, look)
        found = {}
        for name, value in names.items():
            if name in dead or not (name in loop.rebound or type(value) is traced):
                continue
            seen.clear()
            what = describe(value)
            refs = tuple([t.ref.index for t in seen])
            found[name] = what, refs, tuple(map(id, seen))
        seen.clear()
        for name in dead & names.keys():
            describe(names[name])
        gone = frozenset([t.ref.index for t in seen])
        counts = len(rec.instrs), len(rec.guards), len(rec.avals)
        lists = {
            name: (id(value), len(value))
            for name, value in names.items()
            if type(value) is list and name not in loop.rebound
        }
        return _Visit(*counts, found, gone, lists)

    def _saved(self) -> int:
        """How many values all further rounds but the last would make."""
        made = self.visits[-1].made - self.visits[-2].made
        return made * (self.count - self.done - 1)

    def _planned(
        self, frame: FrameType, names: dict[str, Any], dead: frozenset[str]
    ) -> _Plan | None:
        rec, done = self.rec, self.done
        first = done - ROUNDS
        visits = self.visits[first:]
        period = visits[-1].at - visits[-2].at
        starts = [visit.at for visit in visits]
        if starts != [starts[0] + n * period for n in range(ROUNDS + 1)]:
            return None
        if self._saved() < MIN_SAVED:
            return None
        if visits[0].guards != len(rec.guards) or not _same_state(visits):
            return None
        modes = {*np.geterr().values()}
        if not modes <= {"warn", "ignore"}:
            return None
        proof = prove_rounds(rec, starts[0], period, ROUNDS)
        if proof is None:
            return None
        handed = _handed(visits, proof)
        if handed is None:
            return None
        traced = type(rec).tracer_class()
        grown = []
        for name in visits[-1].lists:
            history = [visit.lists.get(name) for visit in self.visits]
            if len({*history[first:]}) > 1:
                if sys.getrefcount(names[name]) > _HOLDERS:
                    return None
                found = grown_list(name, names[name], history, proof, traced)
                if found is None:
                    return None
                grown.append(found)
        seen = handed.union(visits[-1].dead, *[g.refs() for g in grown])
        if not proof.places.among(rec.alive()).keys() <= seen:
            return None
        known = {name: value for name, value in names.items() if name not in dead}
        info = Info.of(frame, traced, known)
        growing = [g.name for g in grown]
        rest = read_rest(info, frame.f_lasti, self.kind, growing)
        if not isinstance(rest, Rest):
            return None
        if rest.in_place and any(_has_views(v, traced) for v in names.values()):
            return None
        if self.takes_rows:
            row = "index", ("sub", COUNTER.formula, ("int", self.numbers.start))
            rest = rest._replace(positions=rest.positions | {row})
        formulas = differing(rec.avals, proof, rest, self.numbers, first)
        if formulas is None:
            return None
        return _Plan(first, starts[0], period, proof, handed, formulas, grown)

    # --- after the last round ---------------------------------------------------------

    def _finish(self, plan: _Plan) -> None:
        """Put the loop on the tape."""
        rec = self.rec
        rec.holes -= plan.handed
        rec.roll(self.visits[-1].at)
        end = plan.start + plan.period * (ROUNDS + 1)
        if len(rec.instrs) != end or len(rec.guards) != self.visits[-1].guards:
            raise RecordAgain
        # Rounds in front that were not asked about may be the same on the tape.
        for first in range(plan.first + 1):
            period, reps = plan.period, plan.first - first + ROUNDS + 1
            proof = prove_rounds(rec, end - period * reps, period, reps)
            formulas = {key: f[first:] for key, f in plan.formulas.items()}
            if (
                proof is not None
                and proof.run.start == self.visits[first].at
                and stretch(proof, self.count - first, formulas)
            ):
                break
        else:
            raise RecordAgain
        # What was appended is of the round that appended it; names hold later values.
        if not all(grown.look(rec, proof) for grown in plan.grown):
            raise RecordAgain
        alive = proof.places.among(rec.alive())
        last = self.count - first - 1
        if not {r for r, (rep, *_) in alive.items() if rep < last} <= plan.handed:
            raise RecordAgain
        stacks = rec.put_loop(proof, {spot for g in plan.grown for spot in g.spots()})
        for grown in plan.grown:
            grown.fill(rec, stacks, range(plan.first + ROUNDS - first, last))


# --- the conditions -------------------------------------------------------------------


def _same_state(visits: list[_Visit]) -> bool:
    """Whether untraced state has not changed since the second visit.

    A name that was not bound yet cannot have been read.
    """
    now = visits[-1].names
    if any(visit.names.keys() - now.keys() for visit in visits):
        return False
    if visits[-2].names.keys() != now.keys():
        return False
    for visit in visits:
        for name, (what, _, _) in visit.names.items():
            if what != now[name][0]:
                return False
    return _aliases(visits[-1]) == _aliases(visits[-2])


def _has_views(value: Any, traced: Any) -> bool:
    """Whether a write in place into a traced array may be a write into another one."""
    if type(value) is not traced or value.memory is None:
        return False
    owner = value.memory
    if not hasattr(owner, "views"):  # it is a view itself
        return True
    return any(view() is not None for view in (*owner.views, *owner.uncertain))


def _aliases(visit: _Visit) -> list[int]:
    """For each traced value, by names in order, where it came first."""
    first: dict[int, int] = {}
    ids = [one for name in sorted(visit.names) for one in visit.names[name][2]]
    return [first.setdefault(one, len(first)) for one in ids]


def _handed(visits: list[_Visit], proof: Proof) -> frozenset[int] | None:
    """The refs that the names hold now and that the rounds made.

    None if a name holds now what a round made and now what another one made.
    """
    handed: set[int] = set()
    for name, (_, refs, _) in visits[-1].names.items():
        history = [v.names[name][1] for v in visits if name in v.names]
        missing = len(visits) - len(history)
        for place, ref in enumerate(refs):
            past = [held[place] for held in history]
            made = proof.places.get(ref)
            if made is None:
                if set(past) != {ref}:
                    return None
                continue
            rep, *spot = made
            lag = len(visits) - 1 - rep
            for j, old in enumerate(past, missing):
                found = proof.places.get(old)
                if found != ((j - lag, *spot) if j >= lag else None):
                    return None
            if len(visits) - max(lag, missing) < 3:
                return None
            handed.add(ref)
    return frozenset(handed)


# --- where loops are ------------------------------------------------------------------


def _loop_at(frame: FrameType) -> Loop | None:
    """The `for` loop of which a frame asks for the next item, if it can be read."""
    code = code_of(frame.f_code)
    head = code.index(frame.f_lasti)
    if code.ops[head].name != "FOR_ITER" or not code.is_plain or code.uses_locals:
        return None
    return next((loop for loop in code.loops if loop.head == head), None)
