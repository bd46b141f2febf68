"""Containers that the recorded function got, and whether it wrote into them.

They are copies: what the function writes would not reach the caller's containers.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Watched"]

_LEAF = (bool, int, float, complex, str, bytes, type(None))


class Watched:
    """Containers, each with its label and what it held at first."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Any, list[Any]]] = {}

    def add(self, container: Any, label: str) -> None:
        """Watch one container, not what is in it."""
        self._known.setdefault(id(container), (label, container, _held(container)))

    def add_tree(self, tree: Any, label: str) -> None:
        """Watch all containers of a pytree."""
        kind = type(tree)
        if kind in _LEAF:
            return
        if isinstance(tree, dict):
            inner = [(f"{label}[{key!r}]", item) for key, item in tree.items()]
        elif kind in (list, tuple, deque) or isinstance(tree, tuple):
            inner = [(f"{label}[{i}]", item) for i, item in enumerate(tree)]
        else:
            return
        if not isinstance(tree, tuple):
            self.add(tree, label)
        for name, item in inner:
            self.add_tree(item, name)

    def add_object(self, value: Any, label: str) -> None:
        """Watch the attributes of an object that the caller does not see."""
        held = vars(value)
        self._known.setdefault(id(held), (label, held, _held(held)))

    def changed(self) -> str | None:
        """The label of a container that was written to."""
        for label, container, before in self._known.values():
            now = _held(container)
            if len(now) != len(before) or any(
                a is not b for a, b in zip(now, before, strict=True)
            ):
                return label
        return None


def _held(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [*container.keys(), *container.values()]
    return list(container)
