"""Finding runs: stretches of a sequence of words that repeat with some period."""

from __future__ import annotations

import dis
from collections.abc import Callable, Hashable, Sequence
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ...tape import Instr, Source, Tape
from ...text import body_text

__all__ = ["IDLE", "MIN_REPS", "Run", "Tokens", "find", "starts_of"]

#: Fewer repetitions than this stay as they are.
MIN_REPS = 4
#: At most this many distances are tried as periods, the shortest ones.
CANDIDATES = 64
#: Runs of only these do no work worth a loop.
IDLE = frozenset(("reshape", "slice", "const", "transpose", "broadcast_to", "cast"))

#: Bits for a place in a sequence of words.
_PLACE = 32
_CACHE, _CALL = dis.opmap["CACHE"], dis.opmap["CALL"]
_PRECALL = dis.opmap.get("PRECALL")


class Run(NamedTuple):
    """`reps` repetitions of `period` instrs, from `start` on."""

    start: int
    period: int
    reps: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.reps


class Tokens:
    """Numbers instrs so that those that may be iterations of each other are equal.

    What an iteration may change is left out: the value of a constant, where a slice
    starts, the number of a guard's exit, the bound of an inner loop.
    """

    def __init__(self, avals: Sequence[Any]) -> None:
        self.avals = avals
        self.numbers: dict[Hashable, int] = {}
        self.quick: dict[Hashable, int] = {}
        self.idle: set[int] = set()
        self.starts: dict[int, list[int]] = {}
        self.codes: list[CodeType] = []
        self.texts: dict[Tape, str] = {}

    def of(self, instr: Instr) -> int:
        prim, params, source, outs = instr.prim, instr.params, instr.source, instr.outs
        fixed: Hashable = self.fixed(prim.name, params) if params else ()
        avals = self.avals
        # Seen before at this very place: the usual case, once for every instr.
        quick: Hashable
        if type(source) is Source and len(outs) == 1:
            aval = avals[outs[0]]
            code, lasti = source
            quick = prim, fixed, aval.shape, aval.dtype, id(code), lasti
            number = self.quick.get(quick)
            if number is not None:
                return number
        shape = tuple([(avals[r].shape, avals[r].dtype) for r in outs])
        key = (prim.name, fixed, shape, self.position(source))
        number = self.numbers.setdefault(key, len(self.numbers))
        if type(source) is Source and len(outs) == 1:
            self.quick[quick] = number
        if prim.name in IDLE:
            self.idle.add(number)
        return number

    def fixed(self, name: str, params: dict[str, Any]) -> Hashable:
        """What of an instr's params must not change between iterations."""
        if name == "const":
            return params["dtype"]
        if name == "slice":
            return params["size"], params["step"]
        if name == "update":
            return params["step"], params["axes"], params["add"]
        if name == "guard":
            return params["expected"]
        if name == "loop":
            # Loops with a test have families, and bounds, of their own.
            own = ("body", "family", "trip") if "test" in params else ("body",)
            return self.text(params["body"]), *_but(params, *own)
        # A rule says of itself what must be equal.
        return tuple([v.alike() if hasattr(v, "alike") else v for v in params.values()])

    def text(self, body: Tape) -> str:
        """`body_text`, made once."""
        if body not in self.texts:
            self.texts[body] = body_text(body)
        return self.texts[body]

    def position(self, source: Source | None) -> Hashable:
        """The user's instruction, by number."""
        if not isinstance(source, Source):
            return source
        code = source.code
        starts = self.starts.get(id(code))
        if starts is None:
            self.codes.append(code)  # so that the id stays its own
            starts = self.starts[id(code)] = starts_of(code).tolist()
        at = source.lasti // 2
        return id(code), starts[at] if at < len(starts) else source.lasti


def starts_of(code: CodeType) -> np.ndarray:
    """Where the instruction begins that each unit of two bytes of a code belongs to.

    A specialised instruction may report the place of its inline cache, which belongs
    to the instruction in front.  Python 3.11 calls in two instructions, the first of
    which does the work of both once it is specialised (`range` is).
    """
    numbers = np.frombuffer(code.co_code, np.uint8)[::2]
    units = np.arange(len(numbers))
    begins = numbers != _CACHE
    if _PRECALL is not None:
        before = np.maximum.accumulate(np.where(begins, units, 0))[:-1]
        pairs = (numbers[1:] == _CALL) & (numbers[before] == _PRECALL)
        begins[1:] &= ~pairs
    return 2 * np.maximum.accumulate(np.where(begins, units, 0))


def _but(params: dict[str, Any], *left_out: str) -> tuple:
    return tuple(v for k, v in params.items() if k not in left_out)


def find(
    words: Sequence[int] | np.ndarray,
    idle: set[int],
    refused: Callable[[Run], bool] = lambda run: False,
) -> list[Run]:
    """The disjoint runs of a sequence, in order; short periods go first.

    The distances between neighbouring places of equal words are candidate periods: in
    every loop some word occurs once an iteration.  Where the sequence equals itself
    moved by a candidate, for long enough, there is a run.

    Args:
        words: the sequence.
        idle: words of instrs that are not worth a loop by themselves.
        refused: runs that are known not to be loops.
    """
    left = np.array(words, np.int64)
    runs: list[Run] = []
    if len(left) < MIN_REPS:
        return runs
    for period in _periods(left):
        same = np.flatnonzero(left[period:] != left[:-period])
        # Stretches between places that differ, at least MIN_REPS - 1 periods long.
        edges = np.concatenate(([-1], same, [len(left) - period]))
        gaps = np.diff(edges) - 1
        end = 0
        for k in np.flatnonzero(gaps >= period * (MIN_REPS - 1)):
            # Of two runs side by side the second begins in the last round of the first.
            start = max(int(edges[k]) + 1, end)
            reps = (int(edges[k + 1]) - start) // period + 1
            if reps < MIN_REPS:
                continue
            run = Run(start, period, reps)
            body = left[start : start + period]
            if set(body.tolist()) <= idle or refused(run):
                continue
            runs.append(run)
            end = start + reps * period
            # Nothing is equal to what is taken.
            left[start:end] = -np.arange(start + 1, end + 1)
    return sorted(runs)


def _periods(words: np.ndarray) -> list[int]:
    # Sorted by word and then by place: one sort of numbers made of both.
    spread = np.sort((words << _PLACE) + np.arange(len(words)))
    near = np.diff(spread)[np.diff(spread >> _PLACE) == 0]
    counts = np.bincount(near)
    found: list[int] = np.flatnonzero(counts >= MIN_REPS - 1)[:CANDIDATES].tolist()
    return found
