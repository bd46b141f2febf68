"""Arrays of which a loop decides whether they share memory.

    b = a                         no round: `b` is `a`, and what is written into the one
    while b.sum() < 9:            is seen in the other; else it is not
        b = b * 2
    b += 1

A tape has no memory, so the write must not be recorded behind a loop of any number of
rounds: the function is recorded again, with the number of rounds on its path.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from ..passes.reroll import Outer
from .memory import View, note_mixed, own_ref
from .watch import Describe

__all__ = ["arrays_in", "mix"]

Var = tuple[str, int]


def arrays_in(traced: type, names: Mapping[str, Any]) -> dict[Var, Any]:
    """The traced arrays that names hold, by name and place."""
    seen: list[Any] = []
    describe = Describe(traced, seen.append)
    found = {}
    for name, value in names.items():
        seen.clear()
        describe(value)
        for place, x in enumerate(seen):
            own = own_ref(x)  # a view without one stays so
            if own is None or own.shape:
                found[name, place] = x
    return found


def mix(
    held: Mapping[Var, Any],
    begun: Mapping[Var, weakref.ref],
    before: Mapping[Var, int],
    rules: Sequence[Mapping[Var, Any]],
) -> None:
    """Note which arrays share memory after some rounds and not after others.

    Args:
        held: what names hold behind the loop.
        begun: what they held in front of it, and `before`: the refs of that.
        rules: what they hold behind each kind of round (`Block.after`).
    """
    if not held:
        return
    changed = {var for rule in rules for var, now in rule.items() if _moves(var, now)}
    for var in changed & held.keys():
        if type(held[var].memory) is View:
            note_mixed(held[var], held[var].memory.base)
    for group in _groups(before, rules):
        if group.isdisjoint(changed):
            continue
        now = [held[var] for var in sorted(group) if var in held]
        first = [known() for var, known in begun.items() if var in group]
        parties = {id(x): x for x in (*now, *first) if x is not None}
        for x in parties.values():
            if sum(x is y for y in now) > 1:
                note_mixed(x, x)
            for y in parties.values():
                if id(x) < id(y):
                    note_mixed(x, y)


def _moves(var: Var, now: Any) -> bool:
    return not (isinstance(now, Outer) and (var in now.names or not now.names))


def _groups(
    before: Mapping[Var, int], rules: Sequence[Mapping[Var, Any]]
) -> list[set[Var]]:
    """Names that may come to hold the same."""
    groups: list[set[Var]] = []

    def link(some: set[Var]) -> None:
        apart = [group for group in groups if group.isdisjoint(some)]
        together = [group for group in groups if not group.isdisjoint(some)]
        groups[:] = [*apart, some.union(*together)]

    tables: list[Mapping[Var, Any]] = [before, *rules]
    for table in tables:
        same: dict[Any, set[Var]] = {}
        for var, what in table.items():
            if isinstance(what, Outer):
                link({var, *what.names})
            else:
                same.setdefault(what, set()).add(var)
        for some in same.values():
            link(some)
    return groups
