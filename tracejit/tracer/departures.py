"""Ways to leave a loop, trees of several states, names that are bound (`turns`)."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..passes.reroll import Block, moved
from .remembered import State

__all__ = ["Leave", "bind", "joined", "missing", "put_at"]


class Leave:
    """A way to leave a loop: where the code goes on, and the untraced state there."""

    __slots__ = ("key", "state")

    def __init__(self, key: Any, state: State) -> None:
        self.key, self.state = key, state

    def __eq__(self, other: object) -> bool:
        if type(other) is not Leave:
            return False
        return self.key == other.key and self.state == other.state

    def __hash__(self) -> int:
        return hash(self.key)


def put_at(tree: Block, way: tuple[int, ...]) -> Block:
    """The tree of a mode where there are several."""
    return moved(tree, len(tree.way), way, lambda next: next)


def missing(parts: dict[int, Block]) -> Iterator[int]:
    """The modes that rounds lead to and that have no tree, as parts grow."""
    asked = set(parts)
    if not parts:
        asked.add(0)
        yield 0
    while True:
        leaves = [b for part in parts.values() for b in part.walk() if b.is_leaf]
        more = {b.next for b in leaves if b.exit is None} - asked
        if not more:
            return
        for mode in sorted(more):
            asked.add(mode)
            yield mode


def joined(parts: dict[int, Block]) -> Block | None:
    """One tree of those of all modes."""
    if not parts:
        return None
    if len(parts) > 1:
        return Block((), modes=dict(sorted(parts.items())))
    ((mode, part),) = parts.items()
    if mode == 0 and all(b.next == mode for b in part.walk() if b.is_leaf):
        return put_at(part, ())
    return Block((), modes=parts)


def bind(frame: FrameType, values: dict[str, Any]) -> None:
    """Bind local names of a function that is running."""
    names = frame.f_locals
    for name, value in values.items():
        names[name] = value
    if sys.version_info < (3, 13):
        write = ctypes.pythonapi.PyFrame_LocalsToFast
        write(ctypes.py_object(frame), ctypes.c_int(0))
        names.clear()
