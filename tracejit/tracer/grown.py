"""Lists that a loop appends to, when rounds of the loop are left out.

What the rounds that ran appended is held by the list and, perhaps, by names.  A name
holds what the next round will read, so its value becomes that of the last round but
one; the list holds what it was given.  So the list gets traced values of its own, which
become rows of what the loop stacks, as do those of the rounds that were left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..passes.reroll import Proof

__all__ = ["Grown", "grown_list"]

Spot = tuple[int, int]


class _Item(NamedTuple):
    """What each round appends: place in the body and output, made so many rounds ago.

    `weak`, `shared` and `aval` are those of the traced value.
    """

    spot: Spot
    lag: int
    weak: type | None
    shared: bool
    aval: Any


@dataclass
class Grown:
    """A list.

    Attributes:
        name: of the list.
        items: the list itself.
        base, size: its lengths before the first round and when rounds were left out.
        traced: the class of traced values.
        each: the items that a round appends.
        hidden: the list's own traced values, and the refs that they stand for.
        rows: those that become rows: iteration of the loop, place and output.
    """

    name: str
    items: list[Any]
    base: int
    size: int
    traced: Any
    each: list[_Item]
    hidden: list[tuple[Any, int]] = field(default_factory=list)
    rows: list[tuple[Any, int, Spot]] = field(default_factory=list)

    def refs(self) -> set[int]:
        """The refs that the rounds appended."""
        items = self.items[self.base :]
        return {item.ref.index for item in items if type(item) is self.traced}

    def hide(self, rec: Any) -> None:
        """Give the list traced values of its own; nobody reads them before `fill`."""
        ref = rec.new(self.each[0].aval)
        rec.holes.add(ref.index)
        for i in range(self.base, self.size):
            item = self.items[i]
            if type(item) is self.traced:
                self.items[i] = own = rec.tracer(ref, item.weak, shared=item.shared)
                self.hidden.append((own, item.ref.index))

    def look(self, rec: Any, proof: Proof) -> bool:
        """Find out what the items are; whether the last round appended what it must."""
        if not self.hidden:
            return False
        rec.holes.discard(self.hidden[0][0].ref.index)
        for own, ref in self.hidden:
            made = proof.places.get(ref)
            if made is None:
                own.ref = rec.ref(ref)
            else:
                rep, place, out = made
                self.rows.append((own, rep - proof.places.later, (place, out)))
        last = self.items[self.size :]
        if len(last) != len(self.each):
            return False
        for item, one in zip(last, self.each, strict=True):
            if type(item) is not self.traced:
                return False
            at = proof.trip - 1 - one.lag
            if proof.places.get(item.ref.index) != (at, *one.spot):
                return False
        return True

    def spots(self) -> set[Spot]:
        """What the loop must stack."""
        return {one.spot for one in self.each} | {spot for *_, spot in self.rows}

    def fill(self, rec: Any, stacks: Mapping[Spot, int], rounds: range) -> None:
        """Put in what the rounds that were left out appended.

        Args:
            stacks: the refs of the stacks.
            rounds: the iterations of the loop that were left out.
        """
        for own, rep, spot in self.rows:
            own.ref = rec.row(stacks[spot], rep)
        for item, one in zip(self.items[self.size :], self.each, strict=True):
            rec.is_row(item.ref.index, stacks[one.spot], rounds.stop - one.lag)
        self.items[self.size : self.size] = [
            rec.tracer(
                rec.row(stacks[one.spot], k - one.lag), one.weak, shared=one.shared
            )
            for k in rounds
            for one in self.each
        ]


def grown_list(
    name: str,
    items: list[Any],
    history: Sequence[tuple[int, int] | None],
    proof: Proof,
    traced: type,
) -> Grown | None:
    """The list, if each round appends results of the same instrs.

    Args:
        history: before each round, identity and length of the list.
        proof: of the last of these rounds.
    """
    reps = proof.run.reps
    known = [visit for visit in history if visit is not None]
    window = history[-reps - 1 :]
    if len({visit[0] for visit in known}) > 1 or None in window:
        return None
    sizes = [visit[1] for visit in known[-reps - 1 :]]
    count = sizes[1] - sizes[0]
    if count < 1 or sizes != [*range(sizes[0], sizes[-1] + 1, count)]:
        return None
    each = []
    for k in range(count):
        appended = [items[size + k] for size in sizes[:-1]]
        found = _same(appended, proof, traced)
        if found is None:
            return None
        each.append(found)
    return Grown(name, items, known[0][1], sizes[-1], traced, each)


def _same(appended: list[Any], proof: Proof, traced: type) -> _Item | None:
    """What items of consecutive rounds are, if they are the same in each."""
    if any(type(item) is not traced for item in appended):
        return None
    model = appended[-1]
    last = proof.places.get(model.ref.index)
    if last is None:
        return None
    rep, place, out = last
    lag = len(appended) - 1 - rep
    for k, item in enumerate(appended):
        expected = (k - lag, place, out) if k >= lag else None
        if proof.places.get(item.ref.index) != expected:
            return None
        if (item.weak, item.shared) != (model.weak, model.shared):
            return None
    if len(appended) - lag < 3:
        return None
    return _Item((place, out), lag, model.weak, model.shared, model.ref.aval)
