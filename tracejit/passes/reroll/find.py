"""Finding runs: stretches of a sequence of words that repeat with some period."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from ...tape import Instr

__all__ = ["MIN_REPS", "Run", "Tokens", "find"]

#: Fewer repetitions than this stay as they are.
MIN_REPS = 4
#: How many earlier places of a word are tried as the start of a period.
CANDIDATES = 6
#: Runs of only these do no work worth a loop.
IDLE = frozenset(("reshape", "slice", "const", "transpose", "broadcast_to", "cast"))


class Run(NamedTuple):
    """`reps` repetitions of `period` instrs, from `start` on."""

    start: int
    period: int
    reps: int


class Tokens:
    """Numbers instrs so that those that may be iterations of each other are equal.

    What an iteration may change is left out: the value of a constant, where a slice
    starts, the number of a guard's exit, the tables of an inner loop.
    """

    def __init__(self, avals: Sequence[Any]) -> None:
        self.avals = avals
        self.numbers: dict[Hashable, int] = {}
        self.idle: set[int] = set()

    def of(self, instr: Instr) -> int:
        name, params = instr.prim.name, instr.params
        if name == "const":
            fixed: Hashable = params["dtype"]
        elif name == "slice":
            fixed = (params["size"], params["step"])
        elif name == "guard":
            fixed = params["expected"]
        elif name == "loop":
            fixed = (str_of_body(params["body"]), *_but(params, "body"))
        else:
            fixed = tuple(params.values())
        # Line and function, not the byte of code: a rolled loop has one source only.
        key = (
            instr.prim,
            fixed,
            tuple([self.avals[r] for r in instr.outs]),
            instr.source,
        )
        number = self.numbers.setdefault(key, len(self.numbers))
        if name in IDLE:
            self.idle.add(number)
        return number


def _but(params: dict[str, Any], left_out: str) -> tuple:
    return tuple(v for k, v in params.items() if k != left_out)


def str_of_body(body: Any) -> str:
    """A body's text without the user's positions."""
    from ...text import print_tape

    return print_tape(body, sources=False)


def find(words: Sequence[int], idle: frozenset[int] = frozenset()) -> list[Run]:
    """The runs of a sequence, disjoint, smallest periods first where they nest.

    For each word the distances to its last few earlier places are candidate periods;
    a candidate that has held long enough for `MIN_REPS` repetitions is a run, which is
    then followed to its end.  Linear, with a small factor.
    """
    runs: list[Run] = []
    recent: dict[int, list[int]] = {}
    held: dict[int, tuple[int, int]] = {}  # period -> (last place, length so far)
    n = len(words)
    i = 0
    while i < n:
        places = recent.setdefault(words[i], [])
        found = None
        for place in reversed(places):
            period = i - place
            last, length = held.get(period, (-2, 0))
            length = length + 1 if last == i - 1 else 1
            held[period] = (i, length)
            if length >= period * (MIN_REPS - 1) and found is None:
                found = (period, i + 1 - length - period)
        if found is None:
            places.append(i)
            if len(places) > CANDIDATES:
                del places[0]
            i += 1
            continue
        period, start = found
        end = i + 1
        while end < n and words[end] == words[end - period]:
            end += 1
        runs.append(Run(start, period, (end - start) // period))
        recent.clear()
        held.clear()
        i = end
    return runs
