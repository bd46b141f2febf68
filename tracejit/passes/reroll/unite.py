"""Uniting: the blocks of one recording of a loop, and those of others that it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .branches import Block, Differ, Operand, Outer, Spot, Way

__all__ = ["moved", "united"]


def united(here: Block, other: Block) -> Block:
    """The blocks of this recording, and those of another one that it lacks.

    Where both have a block, its operands are what fits both.

    Raises:
        Differ: blocks at the same place are not the same.
    """
    ends = (here.next, here.exit), (other.next, other.exit)
    if here.modes or other.modes or ends[0] != ends[1]:
        raise Differ("untraced state changes")
    if [s.word for s in here.steps] != [s.word for s in other.steps]:
        raise Differ("its rounds differ")
    found = Block(here.way, word=here.word, instr=here.instr)
    found.next, found.exit = here.next, here.exit
    for mine, theirs in zip(here.steps, other.steps, strict=True):
        pairs = zip(mine.operands, theirs.operands, strict=True)
        operands = [_both(a, b) for a, b in pairs]
        found.steps.append(replace(mine, operands=operands))
    if (here.test is None) != (other.test is None) or here.word != other.word:
        raise Differ("its rounds differ")
    if here.test is not None and other.test is not None:
        found.test = _both(here.test, other.test)
    for outcome in (True, False):
        mine_, theirs_ = here.sides.get(outcome), other.sides.get(outcome)
        if mine_ is not None and theirs_ is not None:
            found.sides[outcome] = united(mine_, theirs_)
        elif mine_ is not None or theirs_ is not None:
            found.sides[outcome] = mine_ or theirs_  # type: ignore[assignment]
    found.written = here.written | other.written
    found.rebound = here.rebound | other.rebound
    found.together = here.together | other.together
    for var in here.after.keys() | other.after.keys():
        a, b = here.after.get(var), other.after.get(var)
        found.after[var] = _maybe_both(a, b)
    return found


def moved(block: Block, drop: int, put: Way, number: Callable[[Any], Any]) -> Block:
    """A copy of a tree at another place.

    Args:
        drop: how many outcomes at the beginning of its way go, and `put`: what comes.
        number: the `next` of a leaf in other words; None: the leaf goes.

    Raises:
        Differ: nothing is left.
    """

    def way(old: Way) -> Way:
        return (*put, *old[drop:])

    def operand(old: Any) -> Any:
        return old._replace(way=way(old.way)) if isinstance(old, Spot) else old

    def copy(old: Block) -> Block | None:
        new = Block(way(old.way), word=old.word, instr=old.instr)
        for step in old.steps:
            operands = [operand(o) for o in step.operands]
            new.steps.append(replace(step, operands=operands))
        if old.is_leaf:
            new.after = {var: operand(o) for var, o in old.after.items()}
            new.next, new.exit = number(old.next), old.exit
            new.written, new.rebound = old.written, old.rebound
            new.together = old.together
            return None if new.next is None else new
        new.test = operand(old.test)
        for outcome, side in old.sides.items():
            if (kept := copy(side)) is not None:
                new.sides[outcome] = kept
        return new if new.sides else None

    found = copy(block)
    if found is None:
        raise Differ("its rounds differ")
    return found


def _both(a: Operand, b: Operand) -> Operand:
    found = _maybe_both(a, b)
    if found is None:
        raise Differ("its rounds differ")
    return found


def _maybe_both(a: Operand | None, b: Operand | None) -> Operand | None:
    if isinstance(a, Outer) and isinstance(b, Outer):
        if not b.names and b.fixed is not None and b.fixed[0] == "own":
            return a  # what the other execution knew does not say anything here
        found = a.also(b)
        return found if found.names or found.fixed is not None else None
    return a if a == b else None
