"""Which names are one: those that hold the same at the head of every round.

A class of names that hold one value from before the loop, and keep it in all blocks, is
that value; the others are what the loop carries.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from typing import Any

from .branches import Block, Fixes, Outer, Round, Var

__all__ = ["Classes", "Key"]

#: What a value is to the body: a spot of the round, a carry, a fixed ref, a parameter.
Key = tuple[str, Any]


class Classes:
    """Names that always hold the same are one.

    Attributes:
        names: of each class that is carried, `("class", number)`.
    """

    def __init__(
        self,
        rounds: Sequence[Round],
        leaves: Sequence[Block],
        made: Container[int],
        fixes: Fixes,
    ) -> None:
        self.leaves, self.made, self.fixes = leaves, made, fixes
        every = sorted({v for r in rounds for v in (*r.before, *r.after)})
        groups: dict[Hashable, list[Var]] = {}
        for var in every:
            held = [r.before.get(var, -1) for r in rounds]
            held += [r.after.get(var, -1) for r in rounds]
            groups.setdefault(tuple(held), []).append(var)
        self.key_of: dict[Var, Key] = {}
        self.names: dict[Key, list[Var]] = {}
        parts = list(groups.items())
        while True:
            self._number(parts)
            finer = [
                (held, part) for held, names in parts for part in self._split(names)
            ]
            if len(finer) == len(parts):
                break
            parts = finer

    def _number(self, parts: Sequence[tuple[Any, list[Var]]]) -> None:
        self.names, self.key_of = {}, {}
        for number, (held, names) in enumerate(parts):
            same = set(held)
            key: Key = ("class", number)
            if len(same) == 1 and held[0] not in self.made and self._stays(names):
                key = ("fixed", held[0])
            else:
                self.names[key] = names
            self.key_of |= dict.fromkeys(names, key)

    def _stays(self, names: Sequence[Var]) -> bool:
        """Whether blocks of other recordings leave the names alone, too."""
        for leaf in self.leaves:
            for name in names:
                after = leaf.after.get(name)
                if not isinstance(after, Outer) or name not in after.names:
                    return False
        return True

    def _split(self, names: list[Var]) -> list[list[Var]]:
        """Parts of a class that hold the same behind all rounds, too."""
        found: dict[Hashable, list[Var]] = {}
        for name in names:
            rules: list[Hashable] = []
            for leaf in self.leaves:
                after = leaf.after.get(name)
                if isinstance(after, Outer):
                    rules.append(("outer", frozenset(self.candidates(after))))
                else:
                    rules.append(("spot", after))
            found.setdefault(tuple(rules), []).append(name)
        return list(found.values())

    def of(self, name: Var) -> Key:
        return self.key_of[name]

    def candidates(self, operand: Outer) -> set[Key]:
        found = {self.key_of[n] for n in operand.names if n in self.key_of}
        if operand.fixed is not None:
            ref = self.fixes.ref(operand.fixed)
            if ref is not None:
                found.add(("fixed", ref))
        return found
