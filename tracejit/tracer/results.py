"""What a call gives, for `snippets`: how to make it of new values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kinds import STATIC
from .memory import Owner, View, base_of, link, note_uncertain, steps_of
from .recorder import Recorder, _tracer_class
from .values import Computed

__all__ = ["Impure", "Results", "filled"]


class Impure(Exception):
    """A call cannot be a snippet."""


class _Number:
    """In a result: the tracer of this number, or the leaf."""

    __slots__ = ("is_leaf", "number")

    def __init__(self, number: int, is_leaf: bool) -> None:
        self.number, self.is_leaf = number, is_leaf


class _Many:
    """In a result: a tuple, named tuple or list."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: type, parts: list[Any]) -> None:
        self.kind, self.parts = kind, parts


def filled(form: Any, made: list[Any], leaves: list[Any]) -> Any:
    kind = type(form)
    if kind is _Number:
        return (leaves if form.is_leaf else made)[form.number]
    if kind is not _Many:
        return form
    parts = [filled(part, made, leaves) for part in form.parts]
    if form.kind is list:
        return parts
    return tuple(parts) if form.kind is tuple else form.kind(*parts)


class _NewTracer:
    """How to make one tracer.

    Attributes:
        place: of its value.
        weak, contiguous: of the tracer, and of its memory, if it has any.
        shared: whether somebody outside has its memory.
        uncertain: leaves that may share memory with it.
        base: the leaf, or the number of the tracer before it, that it is a view of.
    """

    __slots__ = (
        "base", "contiguous", "is_leaf", "place", "shared", "steps", "uncertain",
        "weak",
    )  # fmt: skip

    def __init__(self, place: int, tracer: Any) -> None:
        self.place = place
        self.weak, self.shared = tracer.weak, tracer.shared
        self.contiguous: bool | None = None
        self.uncertain: list[int] = []
        self.base: int | None = None
        self.is_leaf = False
        self.steps: tuple[Any, ...] = ()

    def make(
        self,
        rec: Recorder,
        leaves: list[Any],
        places: list[int],
        values: list[Any],
        made: list[Any],
    ) -> Any:
        index = places[self.place]
        ref = Computed(rec, index, rec.avals[index], values[self.place])
        tracer = rec.tracer(ref, self.weak, shared=self.shared)
        if self.contiguous is not None:
            tracer.memory = Owner(self.contiguous)
            for leaf in self.uncertain:
                note_uncertain(leaves[leaf], tracer)
        elif self.base is not None:
            link(tracer, (leaves if self.is_leaf else made)[self.base], *self.steps)
        return tracer


class Results:
    """Reads off a result how to make it from the places."""

    def __init__(self, leaves: list[Any], places: dict[int, int]) -> None:
        self.leaves, self.places = leaves, places
        self.tracers: list[_NewTracer] = []
        self._numbers: dict[int, int] = {}

    def form(self, result: Any) -> Any:
        kind = type(result)
        if kind is _tracer_class[0]:
            for k, leaf in enumerate(self.leaves):
                if leaf is result:
                    return _Number(k, True)
            return _Number(self._number(result), False)
        if kind is tuple or kind is list or hasattr(kind, "_fields"):
            return _Many(kind, [self.form(part) for part in result])
        if kind in STATIC or kind is float or kind is complex:
            return result
        raise Impure

    def _number(self, tracer: Any) -> int:
        number = self._numbers.get(id(tracer))
        if number is not None:
            return number
        index = tracer.ref.index
        if index not in self.places:
            raise Impure
        made = _NewTracer(self.places[index], tracer)
        memory = tracer.memory
        if type(memory) is Owner:
            made.contiguous = memory.contiguous
            others = [known() for known in memory.uncertain]
            made.uncertain = [self._leaf_of(x) for x in others if x is not None]
            if memory.argument is not None:
                raise Impure
        elif type(memory) is View:
            self._view(made, memory)
        elif memory is not None:
            raise Impure
        number = self._numbers[id(tracer)] = len(self.tracers)
        self.tracers.append(made)
        return number

    def _view(self, made: _NewTracer, memory: View) -> None:
        of_leaves = [k for k, x in self._of(memory.base)]
        before: tuple[Any, ...] = ()
        if not of_leaves:
            made.base = self._number(memory.base)
        else:
            made.base, made.is_leaf = self._leaf_of(memory.base), True
            before = steps_of(self.leaves[made.base])
        if memory.steps[: len(before)] != before:
            raise Impure
        made.steps = memory.steps[len(before) :]

    def _of(self, base: Any) -> list[tuple[int, Any]]:
        tracers = [
            (k, x) for k, x in enumerate(self.leaves) if type(x) is not np.ndarray
        ]
        return [(k, x) for k, x in tracers if base_of(x) is base]

    def _leaf_of(self, other: Any) -> int:
        """The one leaf whose memory something is."""
        found = self._of(base_of(other))
        if len(found) != 1:
            raise Impure
        return found[0][0]
