"""Pytrees: containers opened into leaves, and put together again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import optree

__all__ = ["NAMESPACE", "flatten", "structure", "unflatten"]

#: Containers registered with optree under this name (or globally) are opened.
NAMESPACE = "tracejit"


def flatten(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    """The leaves of a pytree and its structure."""
    return optree.tree_flatten(tree, namespace=NAMESPACE)


def unflatten(spec: optree.PyTreeSpec, leaves: Iterable[Any]) -> Any:
    """The pytree of this structure with these leaves."""
    return optree.tree_unflatten(spec, leaves)


def structure(tree: Any) -> optree.PyTreeSpec:
    """The structure of a pytree."""
    return optree.tree_structure(tree, namespace=NAMESPACE)
