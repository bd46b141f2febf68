"""Proving: the repetitions of a run are iterations of one loop.

Each operand of the body is classified over all repetitions at once.  The proof is the
classification; `rewrite` only writes it down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ...tape import Builder, Instr
from ...text import body_text
from .columns import Columns
from .find import IDLE, MIN_REPS, Run

__all__ = [
    "MAX_LAG", "MAX_PEEL", "Carried", "Fixed", "Local", "Places", "Proof", "Table",
    "Varying", "attempt", "prove",
]  # fmt: skip

#: A value may be carried over at most this many iterations.
MAX_LAG = 16
#: First repetitions that are given up to make a pattern hold.
MAX_PEEL = 3


class Fixed(NamedTuple):
    """The same value, from before the loop, in every iteration."""

    ref: int


class Local(NamedTuple):
    """Made by output `out` of the body's instr `place` in the same iteration."""

    place: int
    out: int


class Carried(NamedTuple):
    """The same made `lag` iterations ago; `starts` are the first `lag` values."""

    place: int
    out: int
    lag: int
    starts: tuple[int, ...]


class Table(NamedTuple):
    """Another value from before the loop in every iteration."""

    refs: tuple[int, ...]


class Varying(NamedTuple):
    """A param that differs between iterations: its value in each, an array if all are
    integers or of one dtype and there are many."""

    values: Sequence[Any] | np.ndarray


Operand = Fixed | Local | Carried | Table


class Places:
    """Where the refs of a run are made: repetition, place in the body, output.

    Args:
        made: the refs, by repetition and column.
        spots: for each column, the place in the body and the output.

    Attributes:
        later: what is added to the number of a repetition.
    """

    def __init__(self, made: np.ndarray, spots: list[tuple[int, int]]) -> None:
        self.made, self.spots, self.later = made, spots, 0
        self._first = int(made.min(initial=0)) if made.size else 0
        size = int(made.max()) - self._first + 1 if made.size else 1
        self._at = np.full(size, -1)
        self._at[made.ravel() - self._first] = np.arange(made.size)
        self._columns = {spot: column for column, spot in enumerate(spots)}

    def positions(self, refs: np.ndarray) -> np.ndarray:
        """Where refs are made, counted through repetitions and columns; else -1."""
        at = refs - self._first
        inside = (at >= 0) & (at < len(self._at))
        return np.where(inside, self._at[np.where(inside, at, 0)], -1)

    def get(self, ref: int) -> tuple[int, int, int] | None:
        """The place of a ref, None if the run does not make it."""
        at = ref - self._first
        at = int(self._at[at]) if 0 <= at < len(self._at) else -1
        if at < 0:
            return None
        rep, column = divmod(at, len(self.spots))
        return rep + self.later, *self.spots[column]

    def column(self, place: int, out: int) -> int:
        """The column of an output of the body's instr `place`."""
        return self._columns[place, out]

    def among(self, refs: Iterable[int]) -> dict[int, tuple[int, int, int]]:
        """The places of those of the refs that the run makes."""
        found = ((ref, self.get(ref)) for ref in sorted(refs))
        return {ref: place for ref, place in found if place is not None}

    def last(self) -> dict[tuple[int, int], int]:
        """(place, output) -> the ref that the last repetition makes there."""
        return dict(zip(self.spots, self.made[-1].tolist(), strict=True))


@dataclass
class Proof:
    """A run and what its operands are.

    Attributes:
        run: start, period and repetitions, after peeling.
        body: the instrs of the first repetition.
        operands: for each of them, its operands.
        varying: for each of them, the params that differ, by name.
        places: where refs are made.
        trip: how many repetitions there are, also of those that were not recorded.
    """

    run: Run
    body: list[Instr]
    places: Places
    operands: list[list[Operand]] = field(default_factory=list)
    varying: list[dict[str, Varying]] = field(default_factory=list)
    trip: int = 0

    def __post_init__(self) -> None:
        self.trip = self.trip or self.run.reps


def prove(builder: Builder, run: Run, columns: Columns | None = None) -> Proof | None:
    """The proof that a run is a loop, perhaps without its first repetitions."""
    for peeled in range(MAX_PEEL + 1):
        reps = run.reps - peeled
        if reps < MIN_REPS:
            return None
        at = Run(run.start + peeled * run.period, run.period, reps)
        proof = attempt(builder, at, columns)
        if proof is not None:
            return proof
    return None


def attempt(builder: Builder, run: Run, columns: Columns | None = None) -> Proof | None:
    """The proof that all repetitions of a run are iterations of one loop.

    Args:
        run: its repetitions have equal words, but for guards at their beginnings.
        columns: a stretch of the tape that the run is in; None: it is read here.
    """
    instrs = builder.instrs[run.start : run.start + run.period * run.reps]
    body = instrs[: run.period]
    if all(i.prim.name in IDLE for i in body):
        return None
    matrices = (columns or Columns(instrs, run.start)).matrices(run)
    if matrices is None:
        return None
    spots = [(p, out) for p, instr in enumerate(body) for out in range(len(instr.outs))]
    places = Places(matrices.made, spots)
    classified = _classify(places, matrices.taken)
    if classified is None:
        return None
    proof = Proof(run, body, places)
    for place, first in enumerate(body):
        varying = _varying(first, instrs[place :: run.period])
        if varying is None:
            return None
        proof.varying.append(varying)
        proof.operands.append([next(classified) for _ in first.args])
    operands = chain.from_iterable(proof.operands)
    return proof if all(_alike(builder, body, o) for o in operands) else None


def _alike(builder: Builder, body: Sequence[Instr], operand: Operand) -> bool:
    """Whether an operand has one aval in all repetitions.

    What repetitions make has, since their words are equal.
    """
    avals = builder.avals
    if isinstance(operand, Carried):
        # In `sum(arrays)` the first sum is a scalar.
        aval = avals[body[operand.place].outs[operand.out]]
        return all(avals[start] == aval for start in operand.starts)
    if isinstance(operand, Table):
        first = avals[operand.refs[0]]
        return all(avals[ref] == first for ref in operand.refs)
    return True


def _varying(first: Instr, same: list[Instr]) -> dict[str, Varying] | None:
    """The params that differ; None if one differs that must not."""
    name = first.prim.name
    if name == "const":
        values = tuple([i.params["value"] for i in same])
        return {"value": Varying(values)} if _differ(values) else {}
    if name in ("slice", "update"):
        starts = tuple([i.params["start"] for i in same])
        return {"start": Varying(starts)} if _differ(starts) else {}
    if name == "guard":
        return {"exit": Varying(tuple([i.params["exit"] for i in same]))}
    if name == "loop":
        bodies = {i.params["body"] for i in same}
        if len(bodies) > 1 and len({body_text(body) for body in bodies}) > 1:
            return None
        trips = tuple([i.params["trip"] for i in same])
        return {"trip": Varying(trips)} if len(set(trips)) > 1 else {}
    return {}


def _differ(values: tuple) -> bool:
    if len(set(values)) == 1 and (values[0] != 0 or type(values[0]) is not float):
        return False
    # Zeros may differ in their sign, and NaN is equal to nothing.
    first = repr(values[0])
    return any(repr(v) != first for v in values)


def _classify(places: Places, taken: np.ndarray) -> Iterator[Operand] | None:
    """The operands, one for each column of `taken`; None if one is none of the kinds.

    Args:
        places: where refs are made.
        taken: the refs of operands, by repetition and column.
    """
    reps, width = places.made.shape
    spots = places.spots
    operands: list[Operand] = []
    for refs, origin in zip(taken.T, places.positions(taken).T, strict=True):
        last = int(origin[-1])
        if last < 0:
            if (origin >= 0).any():
                return None
            fixed = (refs == refs[0]).all()
            operands.append(Fixed(int(refs[0])) if fixed else Table(_tuple(refs)))
            continue
        rep, column = divmod(last, width)
        lag = reps - 1 - rep
        # The same column in every repetition from `lag` on, and nothing of it before.
        wanted = np.arange(column - lag * width, last + 1, width)
        inside = origin[lag:] == wanted[lag:]
        if lag > MAX_LAG or not inside.all() or (origin[:lag] >= 0).any():
            return None
        place, out = spots[column]
        if lag:
            operands.append(Carried(place, out, lag, _tuple(refs[:lag])))
        else:
            operands.append(Local(place, out))
    return iter(operands)


def _tuple(refs: np.ndarray) -> tuple[int, ...]:
    return tuple(refs.tolist())
