"""Placing: which roots share which loops.

Roots come in program order.  At each level a root either is done on the spot (nothing
left to loop over) or joins a loop over its next axis: the earliest loop of its length
that comes late enough for its demands.  A demand may be met inside a loop that both
share, if it is read at just the element that the same iteration makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...program import Affine, Size
from ...tape import has_guard
from .roots import Root, is_flat

__all__ = ["Level", "Loop", "flat_axes", "place", "shared_depth"]

#: Loops whose lengths differ by at most this much may be one (the rest is cut off).
NEAR = 2


@dataclass(eq=False)
class Loop:
    """A loop and the roots in it, with the axis of each that it counts."""

    size: int
    axis: dict[Root, int] = field(default_factory=dict)
    level: Level = field(default_factory=lambda: Level())


@dataclass(eq=False)
class Level:
    """A sequence: `before[k]` are done on the spot ahead of `items[k]`."""

    items: list[Loop | Root] = field(default_factory=list)
    before: list[list[Root]] = field(default_factory=lambda: [[]])

    def append(self, item: Loop | Root) -> None:
        self.items.append(item)
        self.before.append([])


def flat_axes(root: Root) -> list[int]:
    """The axes that no loop counts; they are written out."""
    return root.order[len(root.path) :]


def place(roots: list[Root]) -> Level:
    """Arrange all roots; sets every root's `path`."""
    for root in roots:
        root.path = []
    return _place(roots, 0)


def _place(roots: list[Root], depth: int) -> Level:
    level = Level()
    # ref -> where its roots are at this level: (position, root, inside an item)
    home: dict[int, list[tuple[int, Root, bool]]] = {}
    floor = 0
    for root in roots:
        rest = root.order[depth:]
        on_spot = is_flat([root.space[a] for a in rest])
        axis = None if on_spot else rest[0]
        low = floor
        for ref, index in root.demands:
            for position, producer, inside in home.get(ref, ()):
                if inside and not _joinable(level, position, producer, index, axis):
                    position += 1
                low = max(low, position)
        if root.is_step:
            position = len(level.items)
            level.append(root)
            if _may_leave(root):
                floor = position + 1
        elif axis is None:
            position = low
            level.before[position].append(root)
        else:
            position = _join(level, low, root, axis)
        inside = root.is_step or axis is not None
        refs = root.instr.outs if root.is_step and root.instr else (root.ref,)
        for ref in refs:
            home.setdefault(ref, []).append((position, root, inside))
    for item in level.items:
        if isinstance(item, Loop):
            for root, axis in item.axis.items():
                root.path.append((item, axis))
            item.level = _place(list(item.axis), depth + 1)
    return level


def _may_leave(root: Root) -> bool:
    """Whether what follows relies on a guard here: nothing may move in front of it."""
    return root.instr is not None and has_guard(root.instr)


def _joinable(
    level: Level,
    position: int,
    producer: Root,
    index: tuple[Any, ...],
    axis: int | None,
) -> bool:
    """Whether a root looping over `axis` may read `producer` inside its loop."""
    item = level.items[position]
    if axis is None or not isinstance(item, Loop):
        return False
    counted = item.axis[producer]
    for entry, kept in zip(index, producer.kept, strict=True):
        if kept == counted:
            return entry == Affine(axis, 1, 0)
    return False


def _join(level: Level, low: int, root: Root, axis: int) -> int:
    size = root.space[axis]
    for position in range(low, len(level.items)):
        item = level.items[position]
        if isinstance(item, Loop) and _alike(item.size, size):
            item.size = item.size if item.size >= size else size
            item.axis[root] = axis
            return position
    level.append(Loop(size, {root: axis}))
    return len(level.items) - 1


def _alike(a: int, b: int) -> bool:
    """Whether two lengths are equal, or nearly so, on purpose."""
    if isinstance(a, Size) and isinstance(b, Size):
        return a.label[0] == b.label[0] and abs(a - b) <= NEAR
    return a == b and not isinstance(a, Size) and not isinstance(b, Size)


def shared_depth(producer: Root, consumer: Root, index: tuple[Any, ...]) -> int:
    """How many outer loops both share with the same element in the same iteration."""
    depth = 0
    for (loop, counted), (other, axis) in zip(
        producer.path, consumer.path, strict=False
    ):
        if loop is not other or counted not in producer.kept:
            break
        entry = index[producer.kept.index(counted)]
        if entry != Affine(axis, 1, 0):
            break
        depth += 1
    return depth
