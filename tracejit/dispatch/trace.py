"""A trace: one recorded path of a function, optimised, and compiled when it pays.

The traces of one signature form a tree.  A trace's guards have the outcomes `path`.
When guard k of a trace fails, its outcome tells which trace to try next: the first
k outcomes are those of the present trace, and k has the other one.

    root    path (True, True, False)
    child   path (True, False)          at 1: differs from its parent in guard 1

`next_traces` climbs to the ancestor that shares the first k outcomes.  Each step
fixes at least one more outcome of the input, so a search ends.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import config
from ..captures import Checks
from ..errors import message
from ..interpret import GuardFailed, interpret
from ..kernel import Executable, compile_tape
from ..ops.control import barrier
from ..passes import optimise
from ..passes.loops import UNLIMITED, grown
from ..tape import Instr, Tape
from ..tracer import GuardInfo
from .outputs import Outputs
from .program import Session

__all__ = ["RECORD_AGAIN", "Trace", "normal"]

#: The status by which a kernel says that NumPy would have raised.
RECORD_AGAIN = -1


def normal(outcome: Any) -> Any:
    """An outcome as a Python value: a kernel may give NumPy's."""
    if isinstance(outcome, np.ndarray):
        return outcome.item() if outcome.ndim == 0 else outcome.tobytes()
    return outcome.item() if isinstance(outcome, np.generic) else outcome


class Trace:
    """One path.

    Attributes:
        number: counts the traces of one function from 1.
        tape: the optimised tape; its inputs are the arguments' leaves, then captured
            arrays that are looked up at each call, then arrays that are not.
        path: the expected outcomes of its guards.
        checks: what it took from closures and globals.
        executable: the compiled kernel; None while the path is interpreted.
        assemble: rebuilds the result from the kernel's outputs.
        form: says if there is nothing to rebuild, see `Outputs`.
        effects: its writes into arguments, if there are any.
        result: what `assemble` does, as text, and the constants in it.
        parent, at: the trace it branched off, and at which guard.
    """

    def __init__(
        self,
        number: int,
        session: Session,
        outputs: Outputs,
        checks: Checks,
    ) -> None:
        self.number = number
        self.effects = session.effects
        self.checks = checks
        self.assemble = outputs.assemble
        self.form = outputs.form
        self.result = outputs.text, outputs.constants
        raw = session.finish_trace(outputs.refs)
        simple = _apart(optimise(raw), outputs.objects)
        tape, self.looked_up, self.constants = _bind(simple, session)
        self.tape = tape
        # A loop of any number of rounds is a step of its own on the path.
        self.path = tuple(
            ("loop", *_loop_step(tape, session, g)) if g.bound else normal(g.expected)
            for g in session.guards
        )
        if session.forks:
            # What branches a loop has is no outcome, but makes another program.
            self.path += (("forks", frozenset(session.forks)),)
        self.executable: Executable | None = None
        self.parent: Trace | None = None
        self.at = 0
        self.children: dict[tuple[int, Any], list[Trace]] = {}
        self.fast: Any = None  # the dispatcher's
        self.fast_refused = session.effects is not None
        self._lock = threading.Lock()

    def captured(self) -> list[Any] | None:
        """The captured arrays as they are now; None if the trace does not hold."""
        arrays = self.checks.run()
        if arrays is None:
            return None
        return [arrays[i] for i in self.looked_up]

    def compile(self) -> bool:
        """Compile, once; whether this call did it."""
        with self._lock:
            if self.executable is not None:
                return False
            self.executable = compile_tape(self.tape, self.constants)
            return True

    def run(self, values: Sequence[Any]) -> tuple[int, Any, tuple | None]:
        """Status, outcome and outputs, from the kernel or else from NumPy."""
        while True:
            if self.executable is not None:
                answer = self.executable.run(*values)
            else:
                answer = self.interpret(values)
            if answer[0] <= 0 or not self.grow(answer[0] - 1):
                return answer

    def grow(self, exit: int) -> bool:
        """Make room for more rounds of the loop behind which a guard failed.

        Returns:
            Whether there is some now, so that the same values are worth another run.

        Raises:
            MemoryError: there is no more; perhaps the loop never ends.
        """
        if exit >= len(self.path) or not isinstance(self.path[exit], tuple):
            return False
        with self._lock:
            try:
                larger = grown(self.tape, exit, config.RESIDUAL_BYTES)
                if larger is None:
                    return False
                if self.executable is not None:
                    self.executable = compile_tape(larger, self.constants)
            except MemoryError as error:
                raise MemoryError(self._too_long(exit)) from error
            self.tape = larger
            self.fast = None
            return True

    def _too_long(self, exit: int) -> str:
        guards = (i for i in self.tape.instrs if i.params.get("exit") == exit)
        return message(
            "a loop has so many rounds that there is no memory for what its "
            "derivatives need of each",
            where=next((str(i.source) for i in guards), self.tape.name),
            way_out="Does it end? Then find the end under stop_gradient, or go there "
            "in a counted loop over a function with checkpoint",
        )

    def interpret(self, values: Sequence[Any]) -> tuple[int, Any, tuple | None]:
        """The same by NumPy on the tape."""
        try:
            outputs = interpret(self.tape, [*values, *self.constants])
        except GuardFailed as failed:
            return failed.exit + 1, failed.outcome, None
        except (ArithmeticError, LookupError, ValueError, np.linalg.LinAlgError):
            return RECORD_AGAIN, None, None
        return 0, None, tuple(outputs)

    def next_traces(self, guard: int, outcome: Any) -> list[Trace]:
        """Where to go on when `guard` has another outcome than here."""
        trace = self
        while trace.parent is not None and guard < trace.at:
            trace = trace.parent
        if trace.parent is not None and guard == trace.at:
            trace = trace.parent
        further = trace.children.get((guard, outcome), [])
        if guard < len(trace.path) and trace.path[guard] == outcome:
            return [trace, *further]
        return further

    def leads_to(self, other: Trace, guard: int) -> bool:
        """Whether the other trace's path is this one's up to a guard.

        It is not if a loop of this one has a run-time exit in the other.
        """
        return self.path[:guard] == other.path[:guard]

    def add_child(self, guard: int, outcome: Any, child: Trace) -> None:
        """Hang a trace where the search for its path ends."""
        trace = self
        while trace.parent is not None and guard <= trace.at:
            trace = trace.parent
        child.parent, child.at = trace, guard
        siblings = trace.children.get((guard, outcome), [])
        trace.children[(guard, outcome)] = [child, *siblings]


def _loop_step(tape: Tape, session: Session, info: GuardInfo) -> tuple[Any, int]:
    """Which loop it is, and its bound if that cannot be raised."""
    assert info.source is not None
    fixed = grown(tape, info.exit, UNLIMITED) is None
    return session.exits.place(info.source), info.bound if fixed else 0


def _apart(tape: Tape, objects: Sequence[Any]) -> Tape:
    """Give each array that is returned its own memory.

    Results that turn out to be equal are one ref.  The caller may write into one of
    them; only what the function returned twice is the same array, as in NumPy.
    """
    owner: dict[int, Any] = {}
    instrs, outputs, avals = list(tape.instrs), list(tape.outputs), list(tape.avals)
    for k, (ref, found) in enumerate(zip(tape.outputs, objects, strict=True)):
        if owner.setdefault(ref, found) is found or not avals[ref].shape:
            continue
        outputs[k] = len(avals)
        instrs.append(Instr(barrier, (ref,), {}, (len(avals),), None))
        avals.append(avals[ref])
    if outputs == list(tape.outputs):
        return tape
    return Tape(tape.inputs, tuple(instrs), tuple(outputs), tuple(avals), tape.name)


def _bind(tape: Tape, session: Session) -> tuple[Tape, list[int], list[np.ndarray]]:
    """Sort the hidden inputs: looked up by name first, constants last, unused none."""
    arguments = tape.inputs[: len(session.inputs)]
    hidden = tape.inputs[len(session.inputs) :]
    used = {ref for instr in tape.instrs for ref in instr.args} | set(tape.outputs)
    check_of = {slot: i for i, slot in enumerate(session.slots)}
    looked_up, looked_refs, constants, constant_refs = [], [], [], []
    for slot, (ref, array) in enumerate(zip(hidden, session.captures, strict=True)):
        if ref not in used:
            continue
        if slot in check_of:
            looked_up.append(check_of[slot])
            looked_refs.append(ref)
        else:
            constants.append(array)
            constant_refs.append(ref)
    inputs = (*arguments, *looked_refs, *constant_refs)
    bound = Tape(inputs, tape.instrs, tape.outputs, tape.avals, tape.name)
    return bound, looked_up, constants
