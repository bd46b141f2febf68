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
from collections.abc import Callable, Iterable

import numpy as np

from ...avals import aval_of
from ...tape import Builder, Instr, Ref, Tape
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
from .exits import Exits, Judgement, ending, ending_of, renumber, short_runs
from .find import Run, Tokens, find
from .prove import Proof, prove
from .rewrite import rewrite
from .stretch import Formula, prove_rounds, stretch
from .unite import moved, united
from .unstack import join_rows
from .weave import weave

__all__ = [
    "APPENDED", "Block", "Differ", "Exits", "Formula", "Formulas", "Judgement", "Outer",
    "Proof", "Round", "Step", "Var", "forks", "guards_in", "join_rows", "moved",
    "prove_rounds", "read_rounds", "reroll", "reroll_tape", "rewrite", "stretch",
    "united", "weave",
]  # fmt: skip

MAX_ROUNDS = 8


def reroll(
    builder: Builder,
    start: int,
    live: Iterable[int],
    table: Callable[[np.ndarray], Ref],
    exits: Exits | None = None,
) -> int:
    """Roll the loops in `builder.instrs[start:]`, in place.

    Args:
        builder: a tape under construction.
        start: where to begin.
        live: refs that are still wanted by somebody; all others that were made by
            repeated instrs may disappear.
        table: makes a hidden input of an array of per-iteration constants.
        exits: what is known about the guards; None: loops keep their number of rounds.

    Returns:
        How many loops were rolled.
    """
    table = _once(table)
    live = set(live)
    tokens = Tokens(builder.avals)
    rolled = 0
    hopeless: set[tuple[int, int]] = set()
    for _ in range(MAX_ROUNDS):
        instrs = builder.instrs
        words = [tokens.of(i) for i in instrs[start:]]

        def key(run: Run, instrs: list[Instr] = instrs) -> tuple[int, int]:
            return id(instrs[start + run.start]), run.period

        runs = find(words, tokens.idle, lambda run: key(run) in hopeless)
        short: set[Run] = set()
        if exits is not None:
            short = set(short_runs(builder, start, words, exits))
            short = {r for r in short if key(r) not in hopeless}
            runs, short = _disjoint(runs, short)
        done = 0
        dropped: list[tuple[int, int]] = []
        both = sorted([*runs, *short])
        ends = [start, *(start + _end(r, short) for r in both)]
        # From the end, so that positions in front stay valid.
        for run, lo in zip(reversed(both), ends[-2::-1], strict=True):
            here = run._replace(start=run.start + start)
            if exits is not None:
                if run in short:
                    found = ending_of(builder, here, live, exits)
                else:
                    found = ending(builder, here, lo, live, tokens, exits)
                if found is not None:
                    rewrite(builder, found.proof, live, table, found)
                    dropped += found.dropped
                    done += 1
                    continue
            proof = None if run in short else prove(builder, here)
            if proof is None:
                hopeless.add(key(run))
            else:
                rewrite(builder, proof, live, table)
                done += 1
        if exits is not None and dropped:
            renumber(builder, start, dropped)
            exits.drop(sorted(dropped))
        rolled += done
        if not both:
            break
    return rolled


def _end(run: Run, short: set[Run]) -> int:
    # The test behind a short one belongs to it.
    return run.start + run.period * run.reps + (run in short)


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
