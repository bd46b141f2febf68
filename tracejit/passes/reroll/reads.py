"""Reads: which refs are still read behind a position that moves to the front of a tape.

Runs of one tape are replaced from the last to the first, and what of a run is wanted
is what is read behind it.  Going through all that is behind, again for each run, would
cost the square of the tape's length; going to the front, every operand is marked once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...tape import Instr
from .columns import Columns

__all__ = ["Reads"]


class Reads:
    """Refs that are read from position `at` on, or wanted whatever is read.

    Args:
        columns: the instrs as they were when all this began.
        refs: how many refs there are.
        live: refs that are wanted whatever the instrs read.

    Attributes:
        kept_up_to: where the instrs begin that came in the place of others.
    """

    def __init__(self, columns: Columns, refs: int, live: Iterable[int]) -> None:
        self.columns = columns
        self.at = columns.first + len(columns.instrs)
        self.kept_up_to = self.at
        self._read = np.zeros(refs, bool)
        self._read[list(live)] = True

    def back_to(self, position: int) -> Reads:
        """Also what is read from a position on that is in front of the last one."""
        if position >= self.at:
            return self
        columns = self.columns
        first = columns.takes[position - columns.first]
        last = columns.takes[self.at - columns.first]
        self._read[columns.taken[first:last]] = True
        self.at = position
        return self

    def replaced(self, position: int, instrs: Iterable[Instr]) -> None:
        """Instrs came in the place of those from a position on up to the last one."""
        refs = [a for i in instrs for a in i.args if a < len(self._read)]
        self._read[refs] = True
        self.at = self.kept_up_to = position

    def among(self, refs: np.ndarray) -> np.ndarray:
        """Those of the refs that are read, in order of their numbers."""
        return np.sort(refs[self._read[refs]])
