"""Rolling: repetitions on a tape become one `loop` instr with a body tape.

    %3 = mul %0 %1                %5: f64[] = loop %1 %0 {trip=3, consts=1, carries=1}
    %4 = mul %3 %1         ->       tape body(%0: i64[], %1: f64[], %2: f64[]):
    %5 = mul %4 %1                    %3: f64[] = mul %2 %1
                                      return %3

A Python loop leaves the same instrs from the same lines again and again.  `find` looks
for such runs, `prove` shows that the repetitions of one are isomorphic, and `rewrite`
replaces them.  What is found depends on source positions; what is done does not: a
rewrite only re-expresses this tape, so it is right whatever the user's code was.

Why on the tape and not on the user's source: helpers, comprehensions, recursion and
`while` all leave the same pattern, and nothing has to be parsed or assumed.

1. Every operand of every repetition is one of: loop-invariant, of the same iteration,
   carried from a fixed number of iterations back, or from a table of per-iteration
   values (`prove.Operand`).  Anything else, and the run is left alone.
2. The smallest period goes first, so nested loops roll inside out; a rolled loop is one
   instr of the next round.
3. First repetitions that differ are peeled: the run starts where the pattern holds.
4. Every round makes the tape shorter, so this ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...avals import aval_of
from ...tape import Builder, Instr, Ref, Tape, const
from .branches import (
    APPENDED,
    Block,
    Differ,
    Formulas,
    Outer,
    Round,
    Step,
    Var,
    forks,
    guards_in,
    read_rounds,
)
from .columns import Columns
from .exits import (
    Ending,
    Exits,
    Judgement,
    ending,
    ending_of,
    renumber,
    short_runs,
    turned,
)
from .find import Run, Tokens, find
from .left import TEST, Departure, Left, weave_left
from .prove import Proof, prove
from .reads import Reads
from .rewrite import Rolled, rewrite
from .stretch import Formula, prove_rounds, stretch
from .unite import moved, united
from .unstack import join_rows, unstack
from .weave import weave

__all__ = [
    "APPENDED", "TEST", "Block", "Departure", "Differ", "Exits", "Formula", "Formulas",
    "Judgement", "Left", "Outer", "Proof", "Round", "Step", "Var", "forks", "guards_in",
    "join_rows", "moved", "prove_rounds", "read_rounds", "reroll", "reroll_tape",
    "rewrite", "stretch", "united", "unstack", "weave", "weave_left",
]  # fmt: skip

MAX_ROUNDS = 8
#: Fewer instrs are no run: one round of two, and the test behind it.
LEAST = 3


def reroll(
    builder: Builder,
    start: int,
    live: Iterable[int],
    table: Callable[[np.ndarray], Ref],
    exits: Exits | None = None,
    producers: Sequence[Instr | None] | None = None,
) -> int:
    """Roll the loops in `builder.instrs[start:]`, in place.

    Args:
        builder: a tape under construction.
        start: where to begin.
        live: refs that are still wanted by somebody; all others that were made by
            repeated instrs may disappear.
        table: makes a hidden input of an array of per-iteration constants.
        exits: what is known about the guards; None: loops keep their number of rounds.
        producers: of each ref the instr that makes it, for who knows them.

    Returns:
        How many loops were rolled.
    """
    rolling = _Rolling(builder, start, set(live), _once(table), exits, producers)
    for _ in range(MAX_ROUNDS):
        if not rolling.round():
            break
    return rolling.done


class _Rolling:
    """The rounds of one `reroll`.

    Attributes:
        done: how many loops there are so far.
        hopeless: runs that are no loops, by their first instrs and periods.
    """

    def __init__(
        self,
        builder: Builder,
        start: int,
        live: set[int],
        table: Callable[[np.ndarray], Ref],
        exits: Exits | None,
        producers: Sequence[Instr | None] | None,
    ) -> None:
        self.builder, self.start, self.live = builder, start, live
        self.tokens = Tokens(builder.avals)
        self.table, self.exits, self.producers = table, exits, producers
        self.done = 0
        self.hopeless: set[tuple[Instr, int]] = set()
        self.columns = self.recorded = Columns(
            builder.instrs[start:], start, self.tokens
        )
        self.reads = Reads(self.columns, 0, ())
        self.loops: list[tuple[int, Rolled]] = []
        self.dropped: list[tuple[int, int]] = []
        self.bodies: dict[Hashable, Tape] = {}

    def round(self) -> bool:
        """Replace the innermost runs; whether there were any."""
        builder, start, exits = self.builder, self.start, self.exits
        words = self.columns.words
        runs = find(words, self.columns.idle, self.is_hopeless)
        short: set[Run] = set()
        if exits is not None:
            found = short_runs(builder, self.columns, exits)
            short = {run for run in found if not self.is_hopeless(run)}
            runs, short = _disjoint(runs, short)
        both = sorted([*runs, *short])
        if not both:
            return False
        self.loops, self.dropped = [], []
        self.reads = Reads(self.columns, len(builder.avals), self.live)
        ends = [start, *(start + _end(run, short) for run in both)]
        # From the end, so that positions in front stay valid.
        for run, lo in zip(reversed(both), ends[-2::-1], strict=True):
            at = run._replace(start=run.start + start)
            if not self.roll(at, lo, run in short):
                self.hopeless.add(self.key(run))
        if not self.loops:
            return True
        self.done += len(self.loops)
        first = min(at for at, _ in self.loops)
        rest = builder.instrs[first:]
        loops = [loop for _, loop in self.loops]
        joined = unstack(builder, rest, loops, self.live)
        if joined is not rest:
            builder.replace(first, joined)
        if exits is not None and self.dropped:
            renumber(builder, start, self.dropped)
            exits.drop(sorted(self.dropped))
        left = builder.instrs[start:]
        if len(left) < LEAST:
            return False
        self.columns = Columns(left, start, self.tokens)
        return True

    def key(self, run: Run) -> tuple[Instr, int]:
        return self.columns.instrs[run.start], run.period

    def is_hopeless(self, run: Run) -> bool:
        return self.key(run) in self.hopeless

    def roll(self, run: Run, lo: int, is_short: bool) -> bool:
        """Replace a run, or leave it for the next round; False if it is no loop.

        Args:
            lo: where what may belong to it begins.
            is_short: whether it is one only if it has a run-time exit.
        """
        builder, exits = self.builder, self.exits
        found = None
        if exits is not None and is_short:
            found = ending_of(builder, run, self, exits)
        elif exits is not None:
            at = turned(builder, run, lo, self.tokens, exits)
            if at is not None and at.end >= self.reads.kept_up_to:
                return True
            if at is not None:
                found = ending(builder, at, self, exits)
        if found is not None:
            self.dropped += found.dropped
            self.put(found.proof, found)
            return True
        proof = None if is_short else prove(builder, run, self.columns)
        if proof is None:
            return False
        self.put(proof)
        return True

    def put(self, proof: Proof, ending: Ending | None = None) -> None:
        """Put the loop of a proof in the place of its run."""
        start, end = proof.run.start, proof.run.end
        read = self.reads.back_to(end).among(proof.places.made.ravel())
        wanted = proof.places.among(read.tolist())
        builder = self.builder
        rolled = rewrite(builder, proof, wanted, self.constant, self.table, ending)
        self.share_body(rolled.instrs[-1])
        builder.replace(start, rolled.instrs, end)
        self.reads.replaced(start, rolled.instrs)
        self.loops.append((start, rolled))

    def share_body(self, instr: Instr) -> None:
        """Give equal bodies one tape: an inner loop's in every repetition."""
        body = instr.params.get("body")
        if body is not None and (key := _key(body)) is not None:
            instr.params["body"] = self.bodies.setdefault(key, body)

    def constant(self, ref: int) -> Instr | None:
        """The instr that makes a constant, None for other refs."""
        if self.producers is None:
            return self.columns.constant(ref) or self.front.constant(ref)
        instr = self.producers[ref]
        return instr if instr is not None and instr.prim is const else None

    def is_made(self, ref: int, before: int) -> bool:
        """Whether an instr in front of a position makes a ref."""
        at = self.columns.maker(ref)
        if at is not None:
            return at < before
        if self.producers is None:
            return self.front.maker(ref) is not None
        # What was removed in the last rounds has its producer still.
        return self.recorded.maker(ref) is None and self.producers[ref] is not None

    @cached_property
    def front(self) -> Columns:
        """What is in front of all that is rolled."""
        return Columns(self.builder.instrs[: self.start])


def _key(body: Tape) -> Hashable:
    """Equal for bodies that are equal in all; None if that cannot be told."""
    found: list[Hashable] = [body.inputs, body.outputs]
    for instr in body.instrs:
        params = [(name, type(v), _exact(v)) for name, v in instr.params.items()]
        found.append((instr.prim, instr.args, instr.outs, instr.source, *params))
    avals = [(aval.shape, aval.dtype) for aval in body.avals]
    try:
        key = (*found, *avals)
        hash(key)
    except TypeError:
        return None
    return key


def _exact(value: Any) -> Any:
    # Zeros may differ in their sign, and True is equal to 1.
    return repr(value) if isinstance(value, (float, complex, tuple)) else value


def _end(run: Run, short: set[Run]) -> int:
    # The test behind a short one belongs to it.
    return run.end + (run in short)


def _disjoint(runs: list[Run], short: set[Run]) -> tuple[list[Run], set[Run]]:
    """Of runs that overlap the one with the shorter period: loops roll inside out."""
    merged = sorted([*runs, *short], key=lambda run: (run.period, run.start))
    taken: list[tuple[int, int]] = []
    kept: list[Run] = []
    for run in merged:
        first, last = run.start, _end(run, short)
        at = bisect_left(taken, (first, last))
        if at and taken[at - 1][1] > first:
            continue
        if at < len(taken) and taken[at][0] < last:
            continue
        taken.insert(at, (first, last))
        kept.append(run)
    return [r for r in kept if r not in short], {r for r in kept if r in short}


def _once(table: Callable[[np.ndarray], Ref]) -> Callable[[np.ndarray], Ref]:
    """Equal tables are one input: an inner loop's is the same in every repetition."""
    known: dict[tuple, Ref] = {}

    def shared(array: np.ndarray) -> Ref:
        key = (array.dtype, array.shape, array.tobytes())
        if key not in known:
            known[key] = table(array)
        return known[key]

    return shared


def reroll_tape(tape: Tape) -> tuple[Tape, list[np.ndarray]]:
    """A tape with its loops rolled, and the tables that are its last inputs now."""
    builder = Builder(tape.name)
    builder.inputs = list(tape.inputs)
    builder.avals = list(tape.avals)
    builder.instrs = list(tape.instrs)
    tables: list[np.ndarray] = []

    def table(array: np.ndarray) -> Ref:
        tables.append(array)
        return builder.input(aval_of(array))

    reroll(builder, 0, tape.outputs, table)
    return builder.finish([builder.ref(r) for r in tape.outputs]), tables
