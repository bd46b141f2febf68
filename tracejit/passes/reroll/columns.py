"""Columns: a stretch of a tape as flat arrays, so that rolling compares arrays.

A tape that was recorded from a long loop has hundreds of thousands of instrs, and all
that rolling asks of most of them is whether they are equal to the one a period earlier.
So each attribute is read off the instrs once, by iterators that run in C, and from then
on only arrays are compared: words (which instrs may be iterations of each other) to
find periods, operands and results to prove them.

1. Two words are equal if and only if `Tokens` gives the two instrs equal numbers; it
   stays the definition, and `tests/passes/reroll/test_columns.py` compares the two.
2. Objects are told apart by their ids.  Those that are equal without being the same
   (shapes, the places of a specialised instruction) are joined afterwards, among the
   distinct ones only; a recorder has one object for each source and for each aval.
3. Reading goes block by block: what an instr consists of is scattered over memory, and
   fetching it costs more than all that is done with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from ...avals import Aval
from ...primitive import PRIMITIVES
from ...tape import Instr, Source, const, guard
from .find import IDLE, Run, Tokens, starts_of

__all__ = ["Columns", "Matrices"]

_ARGS, _OUTS = attrgetter("args"), attrgetter("outs")
_PRIM, _SOURCE = attrgetter("prim"), attrgetter("source")
_CODE, _LASTI = attrgetter("code"), attrgetter("lasti")

_BLOCK = 2048
#: Of shorter stretches the words are made one by one: an array costs some 5 µs.
_SHORT = 150
#: Params of these follow from the result's aval, as far as words are concerned.
_TOLD = ("const", "reshape", "broadcast_to", "cast")
#: Odd numbers that spread what they multiply over 64 bits.
_SPREAD = (
    0x9E3779B97F4A7C15,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0xD6E8FEB86659FD93,
)


class Matrices(NamedTuple):
    """The refs of a run, by repetition and column."""

    made: np.ndarray
    taken: np.ndarray


class Columns:
    """The instrs of a tape from `first` on.

    Attributes:
        made, taken: refs of all results and of all operands, one after the other.
        makes, takes: where those of each instr begin, and where the last ends.
        prims: the ids of the primitives.
    """

    def __init__(self, instrs: list[Instr], first: int = 0) -> None:
        self.instrs, self.first = instrs, first
        made, taken, prims = _Flat(), _Flat(), []
        for at in range(0, len(instrs), _BLOCK):
            block = instrs[at : at + _BLOCK]
            made.add(list(map(_OUTS, block)))
            taken.add(list(map(_ARGS, block)))
            prims.append(_ids(map(_PRIM, block)))
        self.made, self.makes = made.finish()
        self.taken, self.takes = taken.finish()
        self.prims = _joined(prims)

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

    @cached_property
    def constants(self) -> dict[int, Instr]:
        """The instrs that make constants, by ref."""
        places = np.flatnonzero(self.prims == id(const)).tolist()
        found = [self.instrs[k] for k in places]
        return {instr.outs[0]: instr for instr in found}

    @cached_property
    def makers(self) -> dict[int, int]:
        """Which instr makes a ref, counted from the first one."""
        places = np.repeat(np.arange(len(self.instrs)), np.diff(self.makes))
        return dict(zip(self.made.tolist(), places.tolist(), strict=True))

    # --- words ------------------------------------------------------------------------

    def words(self, tokens: Tokens) -> tuple[np.ndarray, set[int]]:
        """A number for each instr, equal for possible iterations of each other.

        Returns:
            The words, and those of instrs that are not worth a loop by themselves.
        """
        if len(self.instrs) < _SHORT:
            words = np.array([tokens.of(i) for i in self.instrs], np.int64)
            return words, tokens.idle
        avals, sources, results, fixed = tokens.avals, [], [], []
        several: dict[Hashable, int] = {}
        numbers: dict[Hashable, int] = {}
        told = {id(PRIMITIVES[name]) for name in _TOLD}
        for at in range(0, len(self.instrs), _BLOCK):
            block = self.instrs[at : at + _BLOCK]
            ends = self.makes[at : at + len(block) + 1]
            sources.append(_ids(map(_SOURCE, block)))
            outs = self.made[ends[0] : ends[-1]].tolist()
            results.append(_results(outs, np.diff(ends), avals, several))
            fixed.append(
                _params(block, self.prims[at : at + _BLOCK], told, tokens, numbers)
            )
        parts = self.prims, _joined(sources), _joined(results), _joined(fixed)
        firsts, classes = _numbered(parts)
        few = [self.instrs[k] for k in firsts.tolist()]
        prims, _, result, params = (part[firsts] for part in parts)
        places = _places([i.source for i in few])
        shapes = _shapes(result, few, avals)
        _, joined = _numbered((prims, places, shapes, params))
        idle = np.array([i.prim.name in IDLE for i in few])
        return joined[classes], set(joined[idle].tolist())


class _Flat:
    """Refs of many instrs in one array, and where those of each begin."""

    def __init__(self) -> None:
        self.flat: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []

    def add(self, refs: list[tuple[int, ...]]) -> None:
        self.counts.append(np.fromiter(map(len, refs), np.int64, len(refs)))
        self.flat.append(np.fromiter(chain.from_iterable(refs), np.int64))

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        counts = _joined(self.counts)
        ends = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=ends[1:])
        return _joined(self.flat), ends


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _ids(objects: Iterable[Any]) -> np.ndarray:
    return np.fromiter(map(id, objects), np.int64)


def _numbered(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that are equal where all parts are, and one position for each number."""
    mixed = np.zeros(len(parts[0]), np.uint64)
    for part, odd in zip(parts, _SPREAD, strict=True):
        mixed += part.astype(np.uint64) * np.uint64(odd)
    _, firsts, numbers = np.unique(mixed, return_index=True, return_inverse=True)
    if any((part[firsts][numbers] != part).any() for part in parts):
        # Different parts have one sum: once in some thousand years.
        stacked = np.stack(parts)
        _, firsts, numbers = np.unique(
            stacked, axis=1, return_index=True, return_inverse=True
        )
    return firsts, numbers.ravel()


def _results(
    outs: list[int],
    counts: np.ndarray,
    avals: Sequence[Aval],
    several: dict[Hashable, int],
) -> np.ndarray:
    """The ids of the avals of results; below 0 where there is not exactly one."""
    ids = _ids(map(avals.__getitem__, outs))
    single = counts == 1
    if single.all():
        return ids
    found = np.empty(len(counts), np.int64)
    starts = np.cumsum(counts) - counts
    found[single] = ids[starts[single]]
    for k in np.flatnonzero(~single).tolist():
        refs = outs[starts[k] : starts[k] + counts[k]]
        key = tuple([(avals[r].shape, avals[r].dtype) for r in refs])
        found[k] = -1 - several.setdefault(key, len(several))
    return found


def _params(
    block: list[Instr],
    prims: np.ndarray,
    told: set[int],
    tokens: Tokens,
    numbers: dict[Hashable, int],
) -> np.ndarray:
    """A number for what each instr's params must not change; 0 if there is nothing."""
    found = np.zeros(len(block), np.int64)
    open_ = np.ones(len(block), bool)
    for prim in told:
        open_ &= prims != prim
    for k in np.flatnonzero(open_).tolist():
        instr = block[k]
        params = instr.params
        if not params:
            continue
        name = instr.prim.name
        key: Hashable = name, tokens.fixed(name, params)
        found[k] = numbers.setdefault(key, len(numbers) + 1)
    return found


def _shapes(
    results: np.ndarray, instrs: list[Instr], avals: Sequence[Aval]
) -> np.ndarray:
    """A number for the shapes and dtypes of the results of instrs."""
    known: dict[Hashable, int] = {}
    found = results.copy()
    for k in np.flatnonzero(results >= 0).tolist():
        aval = avals[instrs[k].outs[0]]
        found[k] = known.setdefault((aval.shape, aval.dtype), len(known))
    return found


def _places(sources: list[Any]) -> np.ndarray:
    """A number for the user's instruction that each instr comes from."""
    found = np.empty(len(sources), np.int64)
    plain = [k for k, source in enumerate(sources) if type(source) is Source]
    if len(plain) < len(sources):
        others: dict[Hashable, int] = {}
        for k in set(range(len(sources))).difference(plain):
            found[k] = -1 - others.setdefault(sources[k], len(others))
        sources = [sources[k] for k in plain]
    if not plain:
        return found
    lastis = np.fromiter(map(_LASTI, sources), np.int64, len(sources))
    ids = _ids(map(_CODE, sources))
    _, firsts, codes = np.unique(ids, return_index=True, return_inverse=True)
    for number, first in enumerate(firsts.tolist()):
        mine = codes == number
        starts = starts_of(sources[first].code)
        at = lastis[mine] // 2
        known = np.minimum(at, len(starts) - 1)
        lastis[mine] = np.where(at < len(starts), starts[known], lastis[mine])
    found[plain] = (codes.astype(np.int64) << 32) + lastis
    return found
