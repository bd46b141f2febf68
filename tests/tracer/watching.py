"""Recording a function with a `Watch` at its guards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import tracejit
from tracejit.tracer import Recorder, recording
from tracejit.tracer.purity import Verdict
from tracejit.tracer.watch import Watch


class Watched(Recorder):
    """A recorder whose watch is at hand."""

    @property
    def watch(self) -> Watch:
        return self.exits.watch


def record(function: Callable, *args: Any) -> Watched:
    """Record `function` with all `args` traced."""
    rec = Watched("watched")
    with recording(rec):
        function(*[rec.input_tracer(arg) for arg in args])
    return rec


# The recorder's own frames count as tracejit's by their file; so must this one.
record.__code__ = record.__code__.replace(co_filename=tracejit.__file__)


def last_verdict(rec: Watched) -> Verdict:
    """The verdict on the place of the last guard, over all visits."""
    source = rec.guards[-1].source
    assert source is not None
    return rec.watch.verdict(source.code, source.lasti)


def verdict(function: Callable, *args: Any) -> Verdict:
    return last_verdict(record(function, *(args or (1.5,))))


def line_of(function: Callable, text: str) -> int:
    """The line of the first line of a function that contains `text`."""
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)
