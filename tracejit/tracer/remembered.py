"""Trees of rounds that former executions of a loop took, for the next one.

A loop that is recorded once shows the sides that its rounds happened to take.  What is
remembered of it gives the next recording, or the next execution in the same recording,
the others, if it is the same loop in the same untraced state:

1. the same code over the same items;
2. the names that the loop may read hold the same, apart from traced data (`State`);
3. what was taken from outside then is taken now, too, and is the same (`Portable`).
   So the checks of the recording that uses a side are those of the side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from ..passes.reroll import Block, Differ, moved, united

__all__ = ["Memory", "State"]

#: So many trees are kept for one loop, and so many loops.
_TREES, _LOOPS = 16, 256

#: Names and what they hold; compared with `==`, as parts of it have no hash.
State = list[tuple[str, Any]]


class _Entry(NamedTuple):
    state: State
    outside: Any
    tree: Block


class Memory:
    """What is remembered for one signature, by loop.

    Attributes:
        arrays: arrays that get traced values in a loop: its code, its place, and the
            name.  They are traced ones from the beginning of the loop on.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, list[_Entry]] = {}
        self._rows: dict[Hashable, list[list[Any]]] = {}
        self.arrays: set[Hashable] = set()
        self._may_begin_traced = True

    def begin_traced(self, arrays: set[Hashable]) -> bool:
        """Add to `arrays`; whether something is new."""
        new = arrays - self.arrays
        if not new or not self._may_begin_traced:
            return False
        self.arrays |= new
        return True

    def give_up_arrays(self) -> None:
        """Leave all arrays as they are until they get traced values."""
        self.arrays.clear()
        self._may_begin_traced = False

    def rows(self, call: Hashable) -> list[list[Any]]:
        """Examples of the paths that a batch took: a list to be added to."""
        if call not in self._rows and len(self._rows) == _LOOPS:
            self._rows.clear()
        return self._rows.setdefault(call, [])

    def add(
        self, loop: Hashable, state: State, outside: Any, tree: Block, way: int
    ) -> None:
        """Remember the tree of the rounds that began in a state.

        Args:
            tree: the `next` of its leaves are states.
            way: how long the way to it is.
        """
        if loop not in self._entries and len(self._entries) == _LOOPS:
            self._entries.clear()
        entries = self._entries.setdefault(loop, [])
        fresh = _Entry(state, outside, moved(tree, way, (), lambda next: next))
        entries[:] = [
            e for e in entries if e.state != state or not _covers(outside, e.outside)
        ]
        entries.insert(0, fresh)
        del entries[_TREES:]

    def united(
        self,
        loop: Hashable,
        tree: Block,
        states: list[State],
        number: int,
        outside: Any,
        most: int = 0,
    ) -> Block:
        """The tree of the rounds of one state, with the sides that are remembered.

        Args:
            states: of the present recording; those that sides lead to are added as
                long as there are fewer than `most`.
            number: which of them the rounds began in.
        """
        way = tree.way
        number_of = _numbers(states, most)
        for entry in self._entries.get(loop, ()):
            if entry.state != states[number] or not _covers(outside, entry.outside):
                continue
            try:
                tree = united(tree, moved(entry.tree, 0, way, number_of))
            except Differ:
                continue
        return tree

    def tree(
        self, loop: Hashable, states: list[State], number: int, outside: Any, most: int
    ) -> Block | None:
        """What is remembered of the rounds that begin in a state, if anything."""
        for entry in self._entries.get(loop, ()):
            if entry.state == states[number] and _covers(outside, entry.outside):
                try:
                    first = moved(entry.tree, 0, (number,), _numbers(states, most))
                except Differ:
                    continue
                return self.united(loop, first, states, number, outside, most)
        return None


def _numbers(states: list[State], most: int) -> Callable[[Any], int | None]:
    """Finds the number of a state."""

    def number_of(state: Any) -> int | None:
        for number, known in enumerate(states):
            if known == state:
                return number
        if len(states) >= most:
            return None
        states.append(state)
        return len(states) - 1

    return number_of


def _covers(now: Any, then: Any) -> bool:
    if now is None or then is None:
        return now is then
    found: bool = now.includes(then)
    return found
