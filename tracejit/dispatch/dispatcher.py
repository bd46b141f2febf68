"""The dispatcher: from a call to an answer.

    signature -> path tree -> kernel -> guards hold -> answer
                     |           '----> guard fails -> next trace, or
                     '----------------> record, insert, answer

Reading needs no lock: traces are inserted by replacing lists.  Recording is done
under a lock per function, and looks again first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import config
from ..captures import describe
from ..errors import CheckError, message
from ..signature import (
    Call,
    caller,
    describe_call,
    describe_change,
    read_call,
)
from ..tape import Tape
from .check import compare
from .entries import Entry, Failure, Found, first_valid
from .fast import MISS, Fast, build, never
from .frames import hide_frames
from .program import Program, Session
from .recordings import Recordings
from .stats import Counters, Events, guard_text, position
from .trace import RECORD_AGAIN, Trace, normal

__all__ = ["Dispatcher"]


class Dispatcher:
    """Everything known about one program.

    Attributes:
        fast: the fast path of the trace that answered last, `fast(*args)` -> answer or
            `MISS`.
        stats, events: what happened so far.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.recordings = Recordings(program)
        self.stats = Counters()
        self.events = Events()
        self.fast: Callable[..., Any] = never
        self.entries: dict[tuple, Entry] = {}
        #: Of `vmap`: the path trees of single examples, and signatures that need them.
        self.examples: Any = None
        self.by_path: set[tuple] = set()
        #: And signatures of large batches without decisions: the examples of a block,
        #: and the path trees of blocks by which of the arguments are mapped.
        self.blocks: dict[tuple, int] = {}
        self.block_paths: dict[tuple, Any] = {}
        self._last_key: tuple | None = None
        self._lock = threading.RLock()

    # --- calls ------------------------------------------------------------------------

    def call(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Answer a call that the fast path did not."""
        try:
            return self._call(args, kwargs, None)
        except Exception as error:
            hide_frames(error)
            raise

    def _call(self, args: tuple, kwargs: dict[str, Any], start: Failure | None) -> Any:
        program = self.program
        call = read_call(args, kwargs, program.statics, program.fun)
        if config.CHECK:
            return self._checked(call)
        found = self.search(call, start)
        if found.trace is None:
            with self._lock:
                # Another thread may have recorded this path in the meantime.
                found = self.search(call, start)
                self.stats.guard_failures += found.failures
                if found.trace is None:
                    answer = self._by_numpy(call)
                    if answer is MISS:
                        answer = self._record(call, found.failure)
                    return answer
        else:
            self.stats.guard_failures += found.failures
        answer = self._finish(found, call)
        self._use_fast(found.trace, args, kwargs)
        return answer

    def search(self, call: Call, start: Failure | None) -> Found:
        """Walk down the path tree with these values."""
        entry = self.entries.get(call.key)
        if entry is None:
            return Found(None, (), None, None, 0)
        failure = start
        candidates = entry.roots
        tried: set[Trace] = set()
        failures = 0
        if start is not None:
            failures = 1
            tried.add(start.trace)
            candidates = start.trace.next_traces(start.guard, start.outcome)
        while True:
            trace, captured = first_valid([*candidates, *entry.roots], tried)
            if trace is None:
                return Found(None, (), None, failure, failures)
            tried.add(trace)
            values = [*call.values, *captured]
            status, outcome, outputs = trace.run(values)
            if status == 0:
                return Found(trace, values, outputs, None, failures)
            if status == RECORD_AGAIN:
                return Found(None, (), None, failure, failures)
            failures += 1
            here = Failure(trace, status - 1, normal(outcome))
            candidates = trace.next_traces(here.guard, here.outcome)
            # A new path is hung where the longest part of it is known.
            if failure is None or here.guard > failure.guard:
                failure = here

    def _by_numpy(self, call: Call) -> Any:
        """The answer of a path that NumPy takes and no kernel does; else `MISS`.

        Recording again would do the same operations in the same order on the same
        values, and find this path.
        """
        entry = self.entries.get(call.key)
        for trace in entry.borders if entry is not None else ():
            captured = trace.captured()
            if captured is None:
                continue
            status, _, outputs = trace.interpret([*call.values, *captured])
            if status == 0 and outputs is not None:
                self.stats.interpreted += 1
                return self._answer(trace, outputs, call, captured)
        return MISS

    def _answer(
        self, trace: Trace, outputs: tuple, call: Call, captured: Sequence[Any]
    ) -> Any:
        """The result of a run that succeeded; the arguments see what it wrote."""
        effects = trace.effects
        if effects is not None:
            effects.check(captured, call, self.program.fun)
            outputs = effects.deliver(call.raw, outputs)
        return trace.assemble(outputs)

    def _finish(self, found: Found, call: Call) -> Any:
        """Turn a kernel's outputs into the answer; compile a path that came back."""
        trace = found.trace
        assert trace is not None
        assert found.outputs is not None
        captured = found.values[len(call.values) :]
        if trace.executable is None:
            self._compile(trace)
            _, _, outputs = trace.run(found.values)
            if outputs is not None:
                self.stats.hits += 1
                return self._answer(trace, outputs, call, captured)
            self.stats.interpreted += 1
        else:
            self.stats.hits += 1
        return self._answer(trace, found.outputs, call, captured)

    def _use_fast(self, trace: Trace, args: tuple, kwargs: dict[str, Any]) -> None:
        if kwargs or trace.fast_refused:
            return
        fast: Fast | None = trace.fast
        # Equal values that are other objects all the time: compare them in Python.
        if fast is None or not fast.holds():

            def side_exit(left: list[Any], args: tuple) -> Any:
                return self._side_exit(trace, args, *left)

            static = self.program.statics.positions
            fast = build(trace, args, self.stats, side_exit, static, fast is None)
            if fast is None:
                trace.fast_refused = True
                return
            trace.fast = fast
        self.fast = fast.call

    def _side_exit(self, trace: Trace, args: tuple, status: int, outcome: Any) -> Any:
        """A kernel that the fast path ran did not answer."""
        start = None
        if status != RECORD_AGAIN and not trace.grow(status - 1):
            start = Failure(trace, status - 1, normal(outcome))
        try:
            return self._call(args, {}, start)
        except Exception as error:
            hide_frames(error)
            raise

    # --- recording --------------------------------------------------------------------

    def _record(
        self,
        call: Call,
        failure: Failure | None,
        may_skip: bool = True,
        asked: bool = True,
    ) -> Any:
        """Record this call's path, keep it, and answer.

        Args:
            may_skip: see `record`.
            asked: whether it is a call of the user's; else no argument is written to.
        """
        started = time.perf_counter()
        session, outputs, checks = self.recordings.record(call, may_skip)
        trace = Trace(self.stats.traces + 1, session, outputs, checks)
        seconds = time.perf_counter() - started
        self.stats.record_seconds += seconds
        entry = self.entry(call.key)
        if (twin := entry.twin(trace)) is not None:
            # A value on the border of a comparison, which the kernel and NumPy round
            # to different sides; or an error that NumPy did not raise after all; or
            # the traces on the way to the twin captured what has changed since.
            if twin not in entry.roots:
                entry.roots = [twin, *entry.roots[: config.MAX_VARIANTS - 1]]
            entry.on_border(twin)
            self.stats.interpreted += 1
            values = self.recordings.values(call, session, outputs)
            return self._answer(trace, values, call, ()) if asked else None
        cause = self._cause(call, session, failure, entry)
        entry.insert(trace, failure)
        self.stats.traces += 1
        self.events.add(f"trace {trace.number}: {cause}")
        for reason in session.exits.reasons:
            self.events.add(f"trace {trace.number}: {reason}")
        results: tuple | None = None
        how = "interpreted"
        if len(entry.by_path) <= config.MAX_EAGER_PATHS:
            how = self._compile(trace)
            captured = trace.captured()
            assert captured is not None
            _, _, results = trace.run([*call.values, *captured])
            if results is None:
                entry.on_border(trace)
        if results is None:
            self.stats.interpreted += 1
            results = self.recordings.values(call, session, outputs)
        if session.skips and not all(map(_is_finite, results)):
            # NumPy may have something to say about the rounds that were left out.
            self.recordings.record(call, may_skip=False)
        self._log(trace, session, how, time.perf_counter() - started)
        session.release()
        return self._answer(trace, results, call, ()) if asked else None

    def entry(self, key: tuple) -> Entry:
        """The path trees of a signature."""
        entry = self.entries.get(key)
        if entry is None:
            entry = Entry(key)
            self.entries = {**self._room_for(entry), key: entry}
            self.stats.signatures += 1
        return entry

    def _room_for(self, entry: Entry) -> dict[tuple, Entry]:
        """The entries that are kept when another one comes."""
        kept = dict(self.entries)
        if entry.names_object:
            objects = [key for key, other in kept.items() if other.names_object]
            for key in objects[: len(objects) + 1 - config.MAX_OBJECTS]:
                del kept[key]
        while len(kept) >= config.MAX_SIGNATURES:
            del kept[next(iter(kept))]
        return kept

    def _compile(self, trace: Trace) -> str:
        started = time.perf_counter()
        if not trace.compile():
            return "kernel reused"
        self.stats.compile_seconds += time.perf_counter() - started
        assert trace.executable is not None
        executable = trace.executable
        self.note_calls(f"trace {trace.number}", executable.hosts, executable.natives)
        if trace.executable.compiled:
            self.stats.kernels_compiled += 1
            return "kernel compiled"
        self.stats.kernels_reused += 1
        return "kernel reused"

    def note_calls(self, who: str, hosts: list[str], natives: list[str]) -> None:
        """Count and explain what a kernel calls that was not compiled with it."""
        self.stats.host_calls += len(hosts)
        for names, where in ((hosts, "in Python"), (natives, "of Numba")):
            if names:
                self.events.add(
                    f"{who}: calls {', '.join(dict.fromkeys(names))} {where}"
                )

    # --- words ------------------------------------------------------------------------

    def _cause(
        self, call: Call, session: Session, failure: Failure | None, entry: Entry
    ) -> str:
        """Why this trace had to be recorded."""
        last, self._last_key = self._last_key, call.key
        fun = self.program.fun
        if failure is not None:
            if failure.guard < len(session.guards):
                was = failure.trace.path[failure.guard]
                return guard_text(session, session.guards[failure.guard], was)
            return "the function took another path"
        for root in entry.roots:
            changed = root.checks.change()
            if changed is not None:
                return describe(*changed)
        if last is None or last == call.key:
            return f"first call ({describe_call(call.key, fun)})"
        return describe_change(last, call.key, fun)

    def _log(self, trace: Trace, session: Session, how: str, seconds: float) -> None:
        if not config.LOG:
            return
        guards = len(session.guards)
        branch, place = "", position(self.program.fun)
        if trace.parent is not None:
            branch = f" ({trace.parent.number}/exit {trace.at})"
            if trace.at < guards:
                place = str(session.guards[trace.at].source)
        config.log(
            f"[trace {trace.number} {self.program.name}{branch} {place}]  "
            f"{len(trace.tape.instrs)} instrs, {guards} guard{'s' * (guards != 1)}, "
            f"{how}  {seconds:.3f} s"
        )

    # --- inspection -------------------------------------------------------------------

    def trace_for(self, args: tuple, kwargs: dict[str, Any]) -> Trace:
        """The trace that these arguments take; recorded if it is not known."""
        program = self.program
        call = read_call(args, kwargs, program.statics, program.fun)
        found = self.search(call, None)
        if found.trace is None:
            with self._lock:
                self._record(call, found.failure, asked=False)
                found = self.search(call, None)
        return found.trace if found.trace is not None else self.traces[-1]

    @property
    def traces(self) -> list[Trace]:
        """The traces that are kept, in the order of their recording."""
        entries = self.entries.values()
        paths = [same for entry in entries for same in entry.by_path.values()]
        return sorted({t for same in paths for t in same}, key=lambda t: t.number)

    def tape(self, args: tuple, kwargs: dict[str, Any]) -> Tape:
        """The optimised tape of the path that these arguments take."""
        return self.trace_for(args, kwargs).tape

    def kernels(self) -> list[Any]:
        """The compiled kernels, each once."""
        found: dict[int, Any] = {}
        for trace in self.traces:
            if trace.executable is not None:
                found[id(trace.executable.kernel)] = trace.executable.kernel
        return list(found.values())

    # --- TRACEJIT_CHECK=1 -------------------------------------------------------------

    def _checked(self, call: Call) -> Any:
        """Answer, and compare with the interpreter and with a fresh recording."""
        with self._lock:
            found = self.search(call, None)
            self.stats.guard_failures += found.failures
            if found.trace is None:
                self._record(call, found.failure, asked=False)
                found = self.search(call, None)
            session, outputs, _ = self.recordings.record(call, may_skip=False)
            fresh = [session.value(ref) for ref in outputs.refs]
            if found.trace is None or found.outputs is None:
                values = self.recordings.values(call, session, outputs)
                if session.effects is not None:
                    values = session.effects.deliver(call.raw, values)
                return outputs.assemble(values)
            status, outcome, expected = found.trace.interpret(found.values)
            if status != 0 or expected is None:
                raise CheckError(
                    message(
                        f"{self.program.name}: the interpreter leaves at exit "
                        f"{status - 1} (outcome {outcome}), the kernel does not",
                        where=caller(),
                    )
                )
            name = self.program.name
            compare(name, found.outputs, expected, "the interpreter")
            compare(name, found.outputs, fresh, "a fresh recording")
            return self._finish(found, call)


def _is_finite(value: Any) -> bool:
    return bool(np.isfinite(value).all())
