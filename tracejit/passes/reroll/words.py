"""Words: which instrs may be iterations of each other, told by numbers in an array.

A tape that was recorded from a long loop has hundreds of thousands of instrs, and all
that rolling asks of most of them is whether they are equal to the one a period earlier.

1. Two words are equal if and only if `Tokens` gives the two instrs equal numbers; it
   stays the definition, and `tests/passes/reroll/test_columns.py` compares the two.
2. Objects are told apart by their ids.  Those that are equal without being the same
   (shapes, the places of a specialised instruction) are joined afterwards, among the
   distinct ones only; a recorder has one object for each source and for each aval.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ...avals import Aval
from ...primitive import PRIMITIVES
from ...tape import Instr, Source
from .find import IDLE, Tokens, starts_of

__all__ = ["Words", "among", "ids_of"]

_SOURCE, _CODE, _LASTI = map(attrgetter, ("source", "code", "lasti"))

_SLICE = PRIMITIVES["slice"]
_BLOCK = 2048
#: The code of what comes from no code.
_NO_CODE = compile("", "", "exec")
#: Params of these follow from the result's aval, as far as words are concerned.
_TOLD = ("const", "reshape", "broadcast_to", "cast")
#: Odd numbers that spread what they multiply over 64 bits.
_SPREAD = (
    0x9E3779B97F4A7C15,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0xD6E8FEB86659FD93,
)


class Words:
    """The words of a stretch of instrs, which come block by block."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.told = {id(PRIMITIVES[name]) for name in _TOLD}
        self.several: dict[Hashable, int] = {}
        self.numbers: dict[Hashable, int] = {}
        self.parts: list[tuple[np.ndarray, ...]] = []

    def add(
        self, block: list[Instr], prims: np.ndarray, counts: np.ndarray, outs: list[int]
    ) -> None:
        """The next instrs.

        Args:
            prims: the ids of their primitives.
            counts, outs: how many results each has, and all of these.
        """
        results = _results(outs, counts, self.tokens.avals, self.several)
        params = _params(block, prims, self.told, self.tokens, self.numbers)
        self.parts.append((prims, ids_of(map(_SOURCE, block)), results, params))

    def finish(self, instrs: list[Instr]) -> tuple[np.ndarray, set[int]]:
        """A number for each instr, equal for possible iterations of each other.

        Returns:
            The words, and those of instrs that are not worth a loop by themselves.
        """
        parts = [np.concatenate(part) for part in zip(*self.parts, strict=True)]
        firsts, classes = _numbered(parts)
        few = [instrs[k] for k in firsts.tolist()]
        places = _places(few)
        if len(np.unique(places)) == len(instrs):
            return classes, set()  # no place occurs twice: there is nothing to find
        prims, _, results, params = (part[firsts] for part in parts)
        shapes = _shapes(results, few, self.tokens.avals)
        _, joined = _numbered((prims, places, shapes, params))
        idle = among(prims, [id(PRIMITIVES[name]) for name in IDLE])
        return joined[classes], set(joined[idle].tolist())


def ids_of(objects: Iterable[Any]) -> np.ndarray:
    return np.fromiter(map(id, objects), np.int64)


def among(values: np.ndarray, few: Iterable[int]) -> np.ndarray:
    """Where values are among some few."""
    found = np.zeros(len(values), bool)
    for one in few:
        found |= values == one
    return found


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
    ids = ids_of(map(avals.__getitem__, outs))
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
    places = np.flatnonzero(~among(prims, told)).tolist()
    params = [block[k].params for k in places]
    for k, own in zip(places, params, strict=True):
        if own:
            prim = block[k].prim
            # That a slice has the same size is told by its result.
            fixed = own["step"] if prim is _SLICE else tokens.fixed(prim.name, own)
            key: Hashable = prim, fixed
            found[k] = numbers.setdefault(key, len(numbers) + 1)
    return found


def _shapes(
    results: np.ndarray, instrs: list[Instr], avals: Sequence[Aval]
) -> np.ndarray:
    """A number for the shapes and dtypes of the results of instrs."""
    known: dict[Hashable, int] = {}
    few, firsts, numbers = np.unique(results, return_index=True, return_inverse=True)
    for k, first in enumerate(firsts.tolist()):
        if few[k] >= 0:
            aval = avals[instrs[first].outs[0]]
            few[k] = known.setdefault((aval.shape, aval.dtype), len(known))
    found: np.ndarray = few[numbers]
    return found


def _places(instrs: list[Instr]) -> np.ndarray:
    """A number for the user's instruction that each instr comes from."""
    lastis, owners = np.empty((2, len(instrs)), np.int64)
    codes: dict[int, Any] = {}
    others: dict[Hashable, int] = {}
    for at in range(0, len(instrs), _BLOCK):
        sources = list(map(_SOURCE, instrs[at : at + _BLOCK]))
        if set(map(type, sources)) != {Source}:
            sources = [
                s
                if type(s) is Source
                else Source(_NO_CODE, -1 - others.setdefault(s, len(others)))
                for s in sources
            ]
        here = slice(at, at + len(sources))
        held = list(map(_CODE, sources))
        lastis[here] = np.fromiter(map(_LASTI, sources), np.int64, len(sources))
        owners[here] = ids_of(held)
        codes.update(zip(owners[here].tolist(), held, strict=True))
    for number, (own, code) in enumerate(codes.items()):
        mine = owners == own
        starts = starts_of(code)
        at = lastis[mine] // 2
        inside = (at >= 0) & (at < len(starts))
        begin = starts[np.where(inside, at, 0)]
        lastis[mine] = np.where(inside, begin, lastis[mine]) + (number << 32)
    return lastis
