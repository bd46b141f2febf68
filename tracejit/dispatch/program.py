"""A program: what is recorded.  The user's function and the transform put on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..captures import Captures, Portable
from ..errors import TracejitError, message
from ..kernel import compile_tape
from ..passes import optimise
from ..signature import Statics
from ..tape import Instr, Ref, Tape
from ..tracer import LOOPS, SERVED, RecordAgain, Recorder, Tracer, served, where
from .effects import Effects

#: A loop of so many instrs, all its iterations counted, is worth a kernel.
_LONG = 20_000

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
    return {id(inspect.unwrap(wrapper)): wrapper for wrapper in SERVED.values()}


class Session(Recorder):
    """A recorder that also notes what the function takes from outside."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.slots: list[int] = []
        self.effects: Effects | None = None
        self.level = 0
        self._released = False
        loops = {name: functools.partial(served, self, name) for name in LOOPS}
        self.outside = Captures(self._trace, self._is_traced, _served(), loops)

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

    def run_loop(self, instr: Instr, args: list[Any]) -> Any:
        """The values of a loop's outputs, from a kernel if it is long."""
        body, trip = instr.params["body"], instr.params["trip"]
        if len(body.instrs) * trip < _LONG:
            return super().run_loop(instr, args)
        n = len(args)
        avals = [self.avals[a] for a in (*instr.args, *instr.outs)]
        inputs, outputs = tuple(range(n)), tuple(range(n, len(avals)))
        alone = Instr(instr.prim, inputs, instr.params, outputs, instr.source)
        tape = optimise(Tape(inputs, (alone,), outputs, tuple(avals), "loop"))
        status, _, values = compile_tape(tape, []).run(*map(_contiguous, args))
        if status != 0:
            raise RecordAgain
        return values

    def release(self) -> None:
        """Let go of all arrays at once: recordings are full of reference cycles."""
        self._released = True
        self.values.clear()
        self._captured.clear()
        self.captures = []

    def outside_state(self) -> Portable:
        return self.outside.portable()

    def _trace(self, array: Any) -> Tracer:
        # A view is an object of its own: the same array reached through an object's
        # attribute must not share the hidden input of a name that may be rebound.
        self.slots.append(len(self.captures))
        return self.tracer(self.capture(array.view()), shared=True)

    def _is_traced(self, value: Any) -> bool:
        return type(value) is Tracer


def _contiguous(value: Any) -> Any:
    """A value as a kernel takes it."""
    return np.ascontiguousarray(value) if np.ndim(value) else value[()]


def session_function(recorder: Recorder, fun: Callable) -> Callable:
    """The clone of a function that a nested transform is to run."""
    if isinstance(recorder, Session):
        return recorder.outside.function(fun)
    return fun
