"""What happens besides instrs while a call is recorded, for `snippets`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .memory import View, base_of

__all__ = ["Noting"]


class Noting:
    """What one call does.

    Args:
        rec: the recorder.
        leaves: the tracers and ordinary arrays among the arguments.

    Attributes:
        first, start: the number of the next ref, and of the next instr, at its start.
        looks: refs whose values the call asked for.
        guards: (expected, note) of each guard.
        own: copies that the call writes into.
        captures: (ref, array) of ordinary arrays.
        pure: whether nothing happened that another call of the kind might not repeat.
    """

    __slots__ = (
        "captures",
        "first",
        "guards",
        "leaves",
        "looks",
        "own",
        "pure",
        "start",
    )

    def __init__(self, rec: Any, leaves: list[Any]) -> None:
        self.first, self.start = len(rec.avals), len(rec.instrs)
        self.leaves = leaves
        self.own: list[Any] = []
        self.looks: list[int] = []
        self.guards: list[tuple[Any, str]] = []
        self.captures: list[tuple[int, np.ndarray]] = []
        self.pure = True

    def writes_into(self, x: Any) -> None:
        """Note a write, which another call must repeat unless it is into a copy."""
        own = any(x is copy for copy in self.own)
        self.pure &= own or x.ref.index >= self.first

    def asks_for_layout(self, x: Any) -> None:
        """Note a question how `x` lies in memory: maybe as a view of others'."""
        if type(x.memory) is View:
            base = base_of(x)
            known = any(base is leaf for leaf in self.leaves)
            self.pure &= known or base.ref.index >= self.first
