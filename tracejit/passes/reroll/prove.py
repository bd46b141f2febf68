"""Proving: the repetitions of a run are iterations of one loop.

Each operand of the body is classified over all repetitions at once.  The proof is the
classification; `rewrite` only writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...tape import Builder, Instr
from .find import IDLE, MIN_REPS, Run, body_text

__all__ = [
    "MAX_PEEL", "Carried", "Fixed", "Local", "Proof", "Table", "Varying", "attempt",
    "prove",
]  # fmt: skip

#: A value may be carried over at most this many iterations.
MAX_LAG = 4
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
    """A param that differs between iterations: its value in each."""

    values: tuple[Any, ...]


Operand = Fixed | Local | Carried | Table


@dataclass
class Proof:
    """A run and what its operands are.

    Attributes:
        run: start, period and repetitions, after peeling.
        body: the instrs of the first repetition.
        operands: for each of them, its operands.
        varying: for each of them, the params that differ, by name.
        place_of: ref made in the run -> (repetition, place in the body, output).
    """

    run: Run
    body: list[Instr]
    operands: list[list[Operand]] = field(default_factory=list)
    varying: list[dict[str, Varying]] = field(default_factory=list)
    place_of: dict[int, tuple[int, int, int]] = field(default_factory=dict)


def prove(builder: Builder, run: Run) -> Proof | None:
    """The proof that a run is a loop, perhaps without its first repetitions."""
    for peeled in range(MAX_PEEL + 1):
        reps = run.reps - peeled
        if reps < MIN_REPS:
            return None
        at = Run(run.start + peeled * run.period, run.period, reps)
        proof = attempt(builder, at)
        if proof is not None:
            return proof
    return None


def attempt(builder: Builder, run: Run) -> Proof | None:
    """The proof that all repetitions of a run are iterations of one loop."""
    instrs = builder.instrs[run.start : run.start + run.period * run.reps]
    body = instrs[: run.period]
    if all(i.prim.name in IDLE for i in body):
        return None
    proof = Proof(run, body)
    for n, instr in enumerate(instrs):
        rep, place = divmod(n, run.period)
        for out, ref in enumerate(instr.outs):
            proof.place_of[ref] = (rep, place, out)
    for place, first in enumerate(body):
        same = instrs[place :: run.period]
        varying = _varying(first, same)
        if varying is None:
            return None
        proof.varying.append(varying)
        operands: list[Operand] = []
        for refs in zip(*[i.args for i in same], strict=True):
            operand = _classify(refs, proof.place_of, run.reps)
            if operand is None:
                return None
            operands.append(operand)
        proof.operands.append(operands)
    return proof


def _varying(first: Instr, same: list[Instr]) -> dict[str, Varying] | None:
    """The params that differ; None if one differs that must not."""
    name = first.prim.name
    if name == "const":
        values = tuple([i.params["value"] for i in same])
        return {"value": Varying(values)} if _differ(values) else {}
    if name == "slice":
        starts = tuple([i.params["start"] for i in same])
        return {"start": Varying(starts)} if _differ(starts) else {}
    if name == "guard":
        return {"exit": Varying(tuple([i.params["exit"] for i in same]))}
    if name == "loop":
        text = body_text(first.params["body"])
        bodies = {id(i.params["body"]): i.params["body"] for i in same}
        return {} if all(body_text(b) == text for b in bodies.values()) else None
    return {}


def _differ(values: tuple) -> bool:
    first = repr(values[0])
    return any(repr(v) != first for v in values)


def _classify(
    refs: tuple[int, ...], place_of: dict[int, tuple[int, int, int]], reps: int
) -> Operand | None:
    last = place_of.get(refs[-1])
    if last is None:
        if any(r in place_of for r in refs):
            return None
        if refs.count(refs[0]) == reps:
            return Fixed(refs[0])
        return Table(refs)
    rep, place, out = last
    lag = reps - 1 - rep
    if lag > MAX_LAG:
        return None
    starts = refs[:lag]
    if any(r in place_of for r in starts):
        return None
    for n in range(lag, reps):
        if place_of.get(refs[n]) != (n - lag, place, out):
            return None
    return Carried(place, out, lag, starts) if lag else Local(place, out)
