"""Columns: a stretch of a tape as flat arrays, so that rolling compares arrays.

Each attribute is read off the instrs once, by iterators that run in C; periods and
proofs then come from comparing arrays.  Reading goes block by block: what an instr
consists of is scattered over memory, and fetching it costs more than all that is done
with it.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from ...tape import Instr, const, guard
from .find import Run, Tokens
from .words import Words, ids_of

__all__ = ["Columns", "Matrices"]

_ARGS, _OUTS, _PRIM = map(attrgetter, ("args", "outs", "prim"))

_BLOCK = 2048
#: Of shorter stretches the words are made one by one: each array costs some 5 µs.
_SHORT = 1000


class Matrices(NamedTuple):
    """The refs of a run, by repetition and column."""

    made: np.ndarray
    taken: np.ndarray


class Columns:
    """The instrs of a tape from `first` on.

    Args:
        tokens: if there are to be words.

    Attributes:
        made, taken: refs of all results and of all operands, one after the other.
        makes, takes: where those of each instr begin, and where the last ends.
        prims: the ids of the primitives.
        words: numbers that are equal for possible iterations of each other.
        idle: words of instrs that are not worth a loop by themselves.
    """

    def __init__(
        self, instrs: list[Instr], first: int = 0, tokens: Tokens | None = None
    ) -> None:
        self.instrs, self.first = instrs, first
        self.words, self.idle = np.zeros(0, np.int64), set[int]()
        made, taken, prims = _Flat(), _Flat(), [np.zeros(0, np.int64)]
        long = len(instrs) >= _SHORT
        words = Words(tokens) if tokens is not None and long else None
        for at in range(0, len(instrs), _BLOCK):
            block = instrs[at : at + _BLOCK]
            made.add(list(map(_OUTS, block)))
            taken.add(list(map(_ARGS, block)))
            prims.append(ids_of(map(_PRIM, block)))
            if words is not None:
                outs = made.flat[-1].tolist()
                words.add(block, prims[-1], made.counts[-1], outs)
        self.made, self.makes = made.finish()
        self.taken, self.takes = taken.finish()
        self.prims = np.concatenate(prims)
        if words is not None:
            self.words, self.idle = words.finish(instrs)
        elif tokens is not None:
            self.words = np.array([tokens.of(i) for i in instrs], np.int64)
            self.idle = tokens.idle

    def matrices(self, run: Run) -> Matrices | None:
        """The refs of a run; None if repetitions have them in other places."""
        lo = run.start - self.first
        hi = lo + run.period * run.reps
        found = []
        for flat, ends in ((self.made, self.makes), (self.taken, self.takes)):
            widths = np.diff(ends[lo : hi + 1]).reshape(run.reps, run.period)
            if (widths != widths[0]).any():
                return None
            found.append(flat[ends[lo] : ends[hi]].reshape(run.reps, -1))
        return Matrices(*found)

    @cached_property
    def guards(self) -> list[int]:
        """The positions of guards, in order."""
        found: list[int] = np.flatnonzero(self.prims == id(guard)).tolist()
        return [self.first + k for k in found]

    def maker(self, ref: int) -> int | None:
        """The position of the instr that makes a ref, None if none of these does."""
        base, makers = self._makers
        if not 0 <= ref - base < len(makers) or makers[ref - base] < 0:
            return None
        return self.first + int(makers[ref - base])

    def constant(self, ref: int) -> Instr | None:
        """The instr that makes a constant, None if none of these does."""
        at = self.maker(ref)
        instr = None if at is None else self.instrs[at - self.first]
        return instr if instr is not None and instr.prim is const else None

    @cached_property
    def _makers(self) -> tuple[int, np.ndarray]:
        if not self.made.size:
            return 0, self.made
        base = int(self.made.min())
        makers = np.full(int(self.made.max()) - base + 1, -1)
        counts = np.diff(self.makes)
        makers[self.made - base] = np.repeat(np.arange(len(counts)), counts)
        return base, makers


class _Flat:
    """Refs of many instrs in one array, and where those of each begin."""

    def __init__(self) -> None:
        self.flat = [np.zeros(0, np.int64)]
        self.counts = [np.zeros(0, np.int64)]

    def add(self, refs: list[tuple[int, ...]]) -> None:
        self.counts.append(np.fromiter(map(len, refs), np.int64, len(refs)))
        self.flat.append(np.fromiter(chain.from_iterable(refs), np.int64))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        counts = np.concatenate(self.counts)
        ends = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=ends[1:])
        return np.concatenate(self.flat), ends
