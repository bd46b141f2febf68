"""Arranging: which values are stored, decided together with where roots are placed.

A value that would be recomputed too often becomes stored, and the roots are placed
again.  Stored values only grow in number, so this ends.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from ...program import Affine
from ...tape import Tape
from .access import DYNAMIC, PIECED
from .in_place import InPlace
from .place import Level, flat_axes, place
from .roots import Analysis, Root

__all__ = ["Arranged", "arrange"]

#: Recomputing is worth this much (see `access.cost_of`): about a store and two loads.
RECOMPUTE_LIMIT = 10
MAX_ROUNDS = 12
#: A loop is cut into at most this many parts; else pieced operands are stored.
MAX_CUTS = 8


Arranged = tuple[Analysis, list[Root], Level]


def arrange(tape: Tape, unit: int = 0, known: InPlace | None = None) -> Arranged:
    """Choose what is stored and place the roots of a tape.

    Args:
        unit: the tape's number in its program; bodies of loops have others than 0.
        known: what is written in place.
    """
    analysis = Analysis(tape, unit, known)
    for attempt in count():
        roots = analysis.roots()
        visits = [(root, *analysis.explore(root)) for root in roots]
        more = set().union(*(v[3] for v in visits)) | _often_cut(analysis, visits)
        if not more:
            level = place(roots)
            if attempt < MAX_ROUNDS:
                more = _too_expensive(analysis, visits)
        if not more:
            return analysis, roots, level
        analysis.stored |= more
    raise AssertionError("unreachable")


Visit = tuple[Root, dict[int, set[tuple[Any, ...]]], dict[int, set[int]], set[int]]


def _often_cut(analysis: Analysis, visits: list[Visit]) -> set[int]:
    """The pieced values of roots whose loops would be cut into too many parts."""
    found: set[int] = set()
    for root, visited, _, _ in visits:
        if len(root.cuts) > MAX_CUTS:
            if root.kind == "store" and root.instr and root.instr.prim.name == "update":
                analysis.written.add(root.ref)
                found.add(root.ref)
            found.update(
                ref for ref in visited if analysis.instr_of[ref].prim.name in PIECED
            )
    return found


def _too_expensive(analysis: Analysis, visits: list[Visit]) -> set[int]:
    """Virtual values computed so often that storing them is cheaper."""
    contexts: dict[int, set[Any]] = {}
    consumers: dict[int, set[int]] = {}
    for root, visited, uses, _ in visits:
        counts = {axis: id(loop) for loop, axis in root.path}
        flat = set(flat_axes(root))
        for ref, indices in visited.items():
            here = contexts.setdefault(ref, set())
            for index in indices:
                here.add(tuple(_where(entry, counts, flat) for entry in index))
        for ref, users in uses.items():
            consumers.setdefault(ref, set()).update(users)
    known: dict[int, int] = {}
    dear = {
        ref
        for ref, here in contexts.items()
        if len(here) > 1
        and analysis.avals[ref].shape != ()
        and (len(here) - 1) * analysis.cost(ref, known) > RECOMPUTE_LIMIT
        and not _all_static(here)
    }
    # A value that only other dear values read is no longer read often once these
    # are stored.
    return {
        ref for ref in dear if not all(u in dear for u in consumers[ref] if u != ref)
    }


def _all_static(here: set[Any]) -> bool:
    """Whether every context is a constant index: each is computed once anyway."""
    return all(
        isinstance(entry, tuple) and entry[0] is None
        for index in here
        for entry in index
    )


def _where(entry: Any, counts: dict[int, int], flat: set[int]) -> Any:
    if entry is DYNAMIC:
        return DYNAMIC
    assert isinstance(entry, Affine)
    if entry.var is None:
        return (None, 0, entry.offset)
    if entry.var in flat:
        return ("flat", entry.step, entry.offset)
    return (counts[entry.var], entry.step, entry.offset)
