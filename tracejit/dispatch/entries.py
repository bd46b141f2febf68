"""The traces of one signature, and where a search among them ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import config
from .trace import Trace

__all__ = ["Entry", "Failure", "Found", "first_valid"]


class Failure(NamedTuple):
    """Guard number `guard` of a trace had another outcome."""

    trace: Trace
    guard: int
    outcome: Any


class Entry:
    """All traces of one signature: the roots of its path trees."""

    def __init__(self, key: tuple) -> None:
        self.key = key
        self.roots: list[Trace] = []
        self.by_path: dict[tuple, list[Trace]] = {}
        self.borders: list[Trace] = []
        self.count = 0
        self.names_object = any(leaf[0] == "object" for leaf in key[1])

    def twin(self, trace: Trace) -> Trace | None:
        """A known trace of the same path whose captures still hold."""
        for other in self.by_path.get(trace.path, ()):
            if other.captured() is not None:
                return other
        return None

    def on_border(self, trace: Trace) -> None:
        """Note that NumPy takes this path with values that the kernel leaves it with.

        Rounding on the border of a comparison; or an error that NumPy does not raise.
        """
        if trace not in self.borders:
            self.borders = [trace, *self.borders[: config.MAX_VARIANTS - 1]]

    def clear(self) -> None:
        """Forget all traces."""
        self.roots, self.by_path, self.borders, self.count = [], {}, [], 0

    def insert(self, trace: Trace, failure: Failure | None) -> None:
        """Add a trace where the search for it ended."""
        self.count += 1
        if self.count > config.MAX_TRACES:
            self.clear()
            failure, self.count = None, 1
        if failure is not None and not failure.trace.leads_to(trace, failure.guard):
            failure = None
        if failure is None:
            self.roots = [trace, *self.roots[: config.MAX_VARIANTS - 1]]
        else:
            failure.trace.add_child(failure.guard, failure.outcome, trace)
        same_path = self.by_path.get(trace.path, [])
        self.by_path[trace.path] = [trace, *same_path[: config.MAX_VARIANTS - 1]]


class Found(NamedTuple):
    """A search's end: the trace that answered, or where recording goes on."""

    trace: Trace | None
    values: Sequence[Any]
    outputs: tuple | None
    failure: Failure | None
    failures: int


def first_valid(
    candidates: list[Trace], tried: set[Trace]
) -> tuple[Trace | None, list[Any]]:
    """The first new trace whose captures hold, with its captured arrays."""
    for trace in candidates:
        if trace in tried:
            continue
        captured = trace.captured()
        if captured is not None:
            return trace, captured
    return None, []
