"""Run-time exits: a loop that ended on a guard gets its test into the kernel.

    %2 = lt %1 %0                       %5, %6, %7 = loop %0 %2 %3 %1 {test=True}
    guard %2 is True -> exit 0            body: %4 = mul %2 2; %5 = lt %4 %0; ...
    %4 = mul %1 2                 ->    guard %5 is False -> exit 0
    %5 = lt %4 %0
    guard %5 is True -> exit 1
    ...
    guard %9 is False -> exit 4

Rolling only says again what was recorded; this says what would have been recorded with
another number of rounds, so it needs more than the tape: a verdict from the recorder
that the Python code does the same in every round (`Exits.verdict`), and which values
its names hold at each visit of the test (`Exits.held`).

1. The run is turned so that a round goes from one visit of the test to the next.  The
   test's value is then an ordinary carry, and the guard that ended the loop stays where
   it is: it fails if the loop went up to its bound.
2. All that the loop reads is invariant or carried: tables and rows of arrays would need
   further rows for further rounds.
3. What is read after the loop is what a name held at the last visit.  The same name at
   the first visit tells the value for no round at all.  If it is another one for two
   names that are the same at the end, the first round is peeled.  And names that hold
   values from before the loop must not hand them on: it may take any number of rounds
   until something else arrives.
4. Other guards in a round stay in the loop, each with one exit for all rounds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...ops.loop import loop
from ...tape import Builder, Instr, Source, Tape, guard
from ..loops import first_bound
from .columns import Columns
from .find import MIN_REPS, Run, Tokens
from .names import first_values, single, stay
from .prove import MAX_LAG, MAX_PEEL, Carried, Fixed, Proof, Table, attempt
from .reads import Reads

__all__ = [
    "Around", "Ending", "Exits", "Judgement", "ending", "ending_of", "renumber",
    "short_runs", "turned",
]  # fmt: skip

_BOOL = np.dtype(np.bool_)


class Judgement(NamedTuple):
    """Whether the Python code of a loop does the same in every round.

    Attributes:
        reason: why not, for people.
        rounds: how many visits there may be at most; None if there is no limit.
        in_place: whether traced values are written in place.
    """

    ok: bool
    reason: str = ""
    rounds: int | None = None
    in_place: bool = False


class Exits(Protocol):
    """What the recorder knows about its guards, which are given by number of exit."""

    def place(self, source: Source) -> Hashable:
        """The test of the user's code that a guard stands for."""

    def verdict(self, first: int, last: int) -> Judgement:
        """Whether the code between two visits of one test does the same each time."""

    def leaves(self, exit: int) -> bool:
        """Whether a guard's outcome is known to leave the loop around it."""

    def may_stay(self, exit: int) -> bool:
        """Whether a guard's outcome may stay in the loop around it."""

    def held(self, exit: int) -> Sequence[int]:
        """Refs that the names had at a visit, in an order that is always the same."""

    def is_input(self, ref: int) -> bool:
        """Whether a ref is an input of the tape."""

    def refuse(self, exit: int, reason: str) -> None:
        """Note why a loop keeps its number of rounds."""

    def bounded(self, exit: int, bound: int) -> None:
        """Note that a guard stands for a loop of any number of rounds up to a bound."""

    def drop(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Forget guards, given as ranges (first, behind the last); others move up."""


class Around(Protocol):
    """What is known about the stretch of the tape that a run is in.

    Attributes:
        columns: its instrs.
        reads: what is read behind the run.
    """

    columns: Columns
    reads: Reads
    tokens: Tokens

    def constant(self, ref: int) -> Instr | None:
        """The instr that makes a constant, None for other refs."""

    def is_made(self, ref: int, before: int) -> bool:
        """Whether an instr in front of a position makes a ref."""


class Ending(NamedTuple):
    """A run that gets a run-time exit.

    Attributes:
        proof: each repetition starts with the guard.
        expected: its outcome while the loop goes on.
        starts: for what is read after the loop, (place, out, lag): output `out` of
            the body's instr `place`, made `lag - 1` repetitions before the last one;
            the refs that it is after no repetition, one, ... `lag - 1` of them.
        bound: of the number of repetitions, for a start.
        most: no bound is higher; 0 if there is no limit.
        dropped: ranges of exits that go, as `Exits.drop` takes them.
    """

    proof: Proof
    expected: bool
    starts: dict[tuple[int, int, int], tuple[int, ...]]
    bound: int
    most: int
    dropped: list[tuple[int, int]]


def ending(builder: Builder, run: Run, around: Around, exits: Exits) -> Ending | None:
    """How a run ends at run time, if it does; it is one that `turned` gave."""
    pair = builder.instrs[run.start], builder.instrs[run.end]
    if not _is_end(builder, *pair, exits):
        return None
    return ending_of(builder, run, around, exits)


def ending_of(
    builder: Builder, run: Run, around: Around, exits: Exits
) -> Ending | None:
    """How a run ends at run time that goes from test to test."""
    instrs = builder.instrs
    behind = instrs[run.end]
    last = behind.params["exit"]
    around.reads.back_to(run.end + 1)

    def is_given(ref: int) -> bool:
        return exits.is_input(ref) or around.constant(ref) is not None

    reason = "its rounds differ"
    for peeled in range(MAX_PEEL + 1):
        start = run.start + peeled * run.period
        at = run._replace(start=start, reps=run.reps - peeled)
        if at.reps < min(run.reps, 2):
            break
        if at.reps == 1:
            guards = instrs[at.start], behind
            visits = [exits.held(i.params["exit"]) for i in guards]
            proof = single(builder, at, behind, visits, is_given)
        else:
            proof = attempt(builder, at, around.columns)
        if proof is None or not _is_plain(proof):
            continue
        found = _ending(builder, proof, behind, around, peeled, exits)
        if isinstance(found, Ending):
            exits.bounded(last, found.bound)
            return found
        reason = found
    if run.reps > 1:
        exits.refuse(last, reason)
    return None


def short_runs(builder: Builder, columns: Columns, exits: Exits) -> list[Run]:
    """Runs from test to test that are too short for `find`, in order, disjoint.

    That rounds are alike is known from the code of a loop with a run-time exit, so one
    is enough; another recording for each number of rounds would cost far more.

    Args:
        columns: the stretch of the tape that the runs are in.
    """
    instrs, start = builder.instrs, columns.first
    visits: dict[Any, list[int]] = {}
    runs: list[Run] = []
    for at in columns.guards:
        instr = instrs[at]
        if type(instr.source) is not Source:
            continue
        known = visits.setdefault(exits.place(instr.source), [])
        ends = _is_end(builder, instrs[known[-1]], instr, exits) if known else False
        if ends:
            run = _backwards(builder, known, at, start, columns.words)
            if run is not None and (not runs or runs[-1].end < run.start):
                runs.append(run)
            known.clear()
        known.append(at)
    return runs


def _backwards(
    builder: Builder, known: list[int], end: int, start: int, words: np.ndarray
) -> Run | None:
    """The run of fewer than MIN_REPS rounds in front of the last visit of a test."""
    instrs = builder.instrs
    expected = instrs[known[-1]].params["expected"]
    period, reps = end - known[-1], 1
    body = words[known[-1] + 1 - start : end - start]
    for at in reversed(known[:-1]):
        round_ = words[at + 1 - start : at + period - start]
        same_words = np.array_equal(round_, body)
        same = instrs[at].params["expected"] is expected and same_words
        if at != end - (reps + 1) * period or not same:
            break
        reps += 1
    if reps >= MIN_REPS:
        return None
    return Run(end - reps * period - start, period, reps)


def turned(
    builder: Builder, run: Run, lo: int, tokens: Tokens, exits: Exits
) -> Run | None:
    """The run from test to test, if the same test with another outcome is behind it.

    Args:
        lo: where what may belong to it begins.
    """
    instrs, (start, period, reps) = builder.instrs, run
    end = start + period * reps
    for at in range(period):
        if end + at >= len(instrs):
            return None
        one, other = instrs[start + at], instrs[end + at]
        if _is_opposite(builder, one, other):
            if not _same(one, other, exits):
                return None
            break
        if tokens.of(one) != tokens.of(other):
            return None
    else:
        return None
    turned = Run(start + at, period, reps)
    # Python compiles the test in front of the first round a second time.
    before = turned.start - period
    if before < lo:
        return turned
    first = instrs[before]
    if not _is_opposite(builder, first, other) or not _same(first, one, exits):
        return turned
    for k in range(before + 1, turned.start):
        if tokens.of(instrs[k]) != tokens.of(instrs[k + period]):
            return turned
    return Run(before, period, reps + 1)


def _same(a: Instr, b: Instr, exits: Exits) -> bool:
    """Whether two guards are the same test of the user's code."""
    if not isinstance(a.source, Source) or not isinstance(b.source, Source):
        return False
    return exits.place(a.source) == exits.place(b.source)


def _is_end(builder: Builder, one: Instr, other: Instr, exits: Exits) -> bool:
    """Whether a guard goes on with its loop and another one does not."""
    return _is_opposite(builder, one, other) and exits.may_stay(one.params["exit"])


def _is_opposite(builder: Builder, one: Instr, other: Instr) -> bool:
    """Whether the instrs are guards of a bool with different outcomes."""
    if one.prim is not guard or other.prim is not guard:
        return False
    wanted = one.params["expected"], other.params["expected"]
    avals = [builder.avals[i.args[0]] for i in (one, other)]
    return (
        len(one.args) == len(other.args) == 1
        and all(type(w) is bool for w in wanted)
        and wanted[0] is not wanted[1]
        and all(a.shape == () and a.dtype == _BOOL for a in avals)
    )


def _has_guard(instr: Instr) -> bool:
    if instr.prim is loop:
        return any(map(_has_guard, instr.params["body"].instrs))
    return instr.prim is guard


def _is_plain(proof: Proof) -> bool:
    """Whether nothing but the carries makes one repetition differ from another."""
    if any(v.keys() - {"exit", "trip"} for v in proof.varying):
        return False
    if any(isinstance(o, Table) for operands in proof.operands for o in operands):
        return False
    tested = proof.operands[0][0]
    return isinstance(tested, Carried) and tested.lag == 1


def _ending(
    builder: Builder,
    proof: Proof,
    behind: Instr,
    around: Around,
    peeled: int,
    exits: Exits,
) -> Ending | str:
    """The ending, or why there is none."""
    instrs, (start, period, reps) = builder.instrs, proof.run
    first, last = instrs[start].params["exit"], behind.params["exit"]
    judgement = exits.verdict(first, last)
    if judgement.in_place and peeled:
        judgement = exits.verdict(instrs[start - period].params["exit"], last)
    if not judgement.ok:
        return judgement.reason
    guards = instrs[start : start + period * reps : period]
    visits = [exits.held(i.params["exit"]) for i in guards]
    visits.append(exits.held(last))
    if any(len(held) != len(visits[-1]) for held in visits):
        return "a name is bound in the loop only"
    fixed = {o.ref for part in proof.operands for o in part if isinstance(o, Fixed)}
    named = np.array(visits[-1], np.int64)
    read = set(around.reads.among(np.append(proof.places.made.ravel(), named)).tolist())
    places = proof.places.among(read)
    if not stay(visits, read - places.keys(), fixed):
        return "names exchange values from before the loop"
    starts: dict[tuple[int, int, int], tuple[int, ...]] = {}
    olds: set[tuple[int, ...]]
    for ref in sorted(read & places.keys()):
        rep, place, out = places[ref]
        lag = reps - rep
        if judgement.in_place:
            if not peeled or lag > 1:
                return "an array is written in place"
            olds = {(instrs[start - period + place].outs[out],)}
        elif lag > MAX_LAG or reps <= lag > 1:
            return "a value of an earlier round is read after the loop"
        else:
            olds = first_values(proof, visits, ref, lag)
        if len(olds) != 1:
            return "it is not known which value is read after the loop"
        (firsts,) = olds
        if any(builder.avals[old] != builder.avals[ref] for old in firsts):
            return "a value that is read after the loop has another type at first"
        starts[place, out, lag] = firsts
    if not _are_there(proof, chain.from_iterable(starts.values()), around, exits):
        return "a value from before the loop that is needed was not kept"
    tested = proof.operands[0][0]
    assert isinstance(tested, Carried)
    where = tested.place, tested.out, 1
    if starts.setdefault(where, tested.starts) != tested.starts:
        return "the tested value is another one at first"
    bound = first_bound(reps)
    most = 0
    if judgement.rounds is not None:
        # What is left of the range is another number of rounds after fewer.
        if not exits.leaves(last):
            return "the range of a `for` loop goes on behind it"
        most = judgement.rounds - 1
        bound = min(bound, most)
        if bound < reps:
            return "the number of rounds is not known"
    expected = instrs[start].params["expected"]
    each = sum(i.prim is guard for i in proof.body)
    dropped = [(first, first + 1), (first + each, first + each * reps)]
    return Ending(proof, expected, starts, bound, most, dropped)


def _are_there(proof: Proof, refs: Iterable[int], around: Around, exits: Exits) -> bool:
    """Whether refs are still on the tape: names may have held what rolling removed."""
    operands = [o for part in proof.operands for o in part if isinstance(o, Carried)]
    known = {ref for operand in operands for ref in operand.starts}
    start = proof.run.start
    return all(
        ref in known or exits.is_input(ref) or around.is_made(ref, start)
        for ref in refs
    )


# --- the numbers of the exits


def renumber(builder: Builder, start: int, dropped: Sequence[tuple[int, int]]) -> None:
    """Number the exits of `builder.instrs[start:]` anew, without the dropped ones."""
    if not dropped:
        return
    ends = [hi for _, hi in sorted(dropped)]
    less = [0, *accumulate(hi - lo for lo, hi in sorted(dropped))]

    def new(exit: int) -> int:
        return exit - less[bisect_right(ends, exit)]

    for instr in builder.instrs[start:]:
        _renumber(instr, new)


def _renumber(instr: Instr, new: Callable[[int], int]) -> None:
    if instr.prim is guard:
        instr.params = {**instr.params, "exit": new(instr.params["exit"])}
    elif instr.prim is loop and _has_guard(instr):
        body: Tape = instr.params["body"]
        copies = []
        for i in body.instrs:
            copies.append(Instr(i.prim, i.args, i.params, i.outs, i.source))
            _renumber(copies[-1], new)
        tape = Tape(body.inputs, tuple(copies), body.outputs, body.avals, body.name)
        instr.params = {**instr.params, "body": tape}
