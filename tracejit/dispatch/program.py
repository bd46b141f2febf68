"""A program: what is recorded.  The user's function and the transform put on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..captures import Captures
from ..errors import TracejitError, message
from ..signature import Statics
from ..tape import Ref
from ..tracer import SERVED, Recorder, Tracer, where

__all__ = ["Program", "Session", "session_function"]


@dataclass(frozen=True, eq=False)
class Program:
    """A transform applied to a function.

    Attributes:
        fun: the user's function.
        inline: `inline(fun, args, kwargs)` runs the transformed function on the active
            recorder; `fun` is the clone that the recording uses.
        name: how tapes, logs and errors call it.
        statics: which arguments are static.
        writes_back: whether writes into arguments reach the caller's arrays.
    """

    fun: Callable
    inline: Callable[[Callable, tuple, dict[str, Any]], Any]
    name: str
    statics: Statics
    writes_back: bool = False


@functools.cache
def _served() -> dict[int, Callable]:
    """What NumPy's module holds during a recording, by the id of the original.

    For those who wrote `from numpy import array`.
    """
    return {id(inspect.unwrap(served)): served for served in SERVED.values()}


class Session(Recorder):
    """A recorder that also notes what the function takes from outside."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.slots: list[int] = []
        self.level = 0
        self._released = False
        self.outside = Captures(self._trace, self._is_traced, _served())

    def value(self, ref: Ref) -> Any:
        if self._released:
            raise TracejitError(
                message(
                    f"a traced value of {self.name!r} was used after its recording",
                    where=where(),
                    way_out="Return the value from the function instead of storing it",
                )
            )
        return super().value(ref)

    def release(self) -> None:
        """Let go of all arrays at once: recordings are full of reference cycles."""
        self._released = True
        self.values.clear()
        self._captured.clear()
        self.captures = []

    def _trace(self, array: Any) -> Tracer:
        # A view is an object of its own: the same array reached through an object's
        # attribute must not share the hidden input of a name that may be rebound.
        self.slots.append(len(self.captures))
        return self.tracer(self.capture(array.view()), shared=True)

    def _is_traced(self, value: Any) -> bool:
        return type(value) is Tracer


def session_function(recorder: Recorder, fun: Callable) -> Callable:
    """The clone of a function that a nested transform is to run."""
    if isinstance(recorder, Session):
        return recorder.outside.function(fun)
    return fun
