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
from typing import Any, NamedTuple

import numpy as np

from .. import config
from ..captures import describe
from ..errors import CheckError, message
from ..signature import (
    Call,
    caller,
    describe_call,
    describe_change,
    leaf_names,
    parameter_names,
    read_call,
)
from ..tape import Tape
from ..tracer import Memory, Owner, RecordAgain, recording
from .effects import effects_of
from .fast import MISS, RECORDINGS, Fast, build, never
from .frames import hide_frames
from .outputs import Outputs
from .program import Program, Session
from .stats import Counters, Events, guard_text, position
from .trace import RECORD_AGAIN, Trace, normal

__all__ = ["Dispatcher"]


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


class Dispatcher:
    """Everything known about one program.

    Attributes:
        fast: the fast path of the trace that answered last, `fast(*args)` -> answer or
            `MISS`.
        stats, events: what happened so far.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.stats = Counters()
        self.events = Events()
        self.fast: Callable[..., Any] = never
        self.entries: dict[tuple, Entry] = {}
        #: Of `vmap`: the path trees of single examples, and signatures that need them.
        self.examples: Any = None
        self.by_path: set[tuple] = set()
        self._last_key: tuple | None = None
        self._memories: dict[tuple, Memory] = {}
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
            trace, captured = _first_valid([*candidates, *entry.roots], tried)
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

    def record(self, call: Call, may_skip: bool = True) -> tuple[Session, Outputs, Any]:
        """Run the function on tracers; everything is put back if it raises.

        Args:
            may_skip: whether rounds of loops may be left out (`tracer.rounds`).
        """
        session = Session(self.program.name)
        session.may_skip, session.may_fork = may_skip, True
        session.memory = self._memory(call.key)
        try:
            outputs, checks = self._run(call, session)
        except RecordAgain:
            return self.record(call, may_skip=False)
        except Exception:
            # It may be about values that are those of another round.
            if session.skips:
                return self.record(call, may_skip=False)
            raise
        return session, outputs, checks

    def _memory(self, key: tuple) -> Memory:
        """What is remembered of the loops of a signature."""
        if key not in self._memories:
            while len(self._memories) >= config.MAX_SIGNATURES:
                del self._memories[next(iter(self._memories))]
            self._memories[key] = Memory()
        return self._memories[key]

    def _run(self, call: Call, session: Session) -> tuple[Outputs, Any]:
        tracers = [
            session.input_tracer(value, _WEAK.get(kind[0]))
            for value, kind in zip(call.values, _traced_kinds(call), strict=True)
        ]
        for number, tracer in enumerate(tracers):
            if tracer.shape:
                tracer.memory = Owner(argument=number)
        RECORDINGS.append(session)
        try:
            with recording(session):
                function = session.outside.function(self.program.fun)
                args, kwargs = self._arguments(call, session, tracers)
                result = self.program.inline(function, args, kwargs)
                if session.holes:  # a loop was left in its last round
                    raise RecordAgain
                if session.refusals:  # the user's code caught it and went on
                    raise session.refusals[0]
                outputs = Outputs(session, result)
                delivers = self.program.writes_back
                session.effects = effects_of(session, tracers, call.raw, delivers)
                if session.effects is not None:
                    outputs.add([tracers[i].ref for i in session.effects.delivered])
                session.roll(0, outputs.refs)
        finally:
            RECORDINGS.remove(session)
        checks = session.outside.close()
        if session.effects is not None:
            session.effects.check(session.captures, call, self.program.fun)
        return outputs, checks

    def _arguments(
        self, call: Call, session: Session, tracers: list[Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """The arguments as the recording sees them."""
        outside, fun = session.outside, self.program.fun
        names = leaf_names(call.spec, fun) if call.objects else []
        args, kwargs = call.rebuild(
            tracers, lambda i, value: outside.argument(value, names[i])
        )
        positional = parameter_names(fun, len(args))
        fresh = list(args)
        for i, value in enumerate(args):
            if i in call.static_args:
                fresh[i] = outside.argument(value, positional[i])
            else:
                outside.watched.add_tree(value, positional[i])
        for name, value in kwargs.items():
            if name in call.static_kwargs:
                kwargs[name] = outside.argument(value, name)
            else:
                outside.watched.add_tree(value, name)
        return tuple(fresh), kwargs

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
        session, outputs, checks = self.record(call, may_skip)
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
            values = self.recorded_values(call, session, outputs)
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
            results = self.recorded_values(call, session, outputs)
        if session.skips and not all(map(_is_finite, results)):
            # NumPy may have something to say about the rounds that were left out.
            self.record(call, may_skip=False)
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

    def recorded_values(
        self, call: Call, session: Session, outputs: Outputs
    ) -> tuple[Any, ...]:
        """What the kernel would return, by the values of the recording itself."""
        try:
            values = [session.value(ref) for ref in outputs.refs]
        except (RecordAgain, Exception):
            if not session.skips:
                raise
            # So that NumPy raises at the user's line.
            session, outputs, _ = self.record(call, may_skip=False)
            values = [session.value(ref) for ref in outputs.refs]
        return tuple(
            [
                np.array(v, order="C") if np.ndim(v) else np.asarray(v)[()]
                for v in values
            ]
        )

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
            session, outputs, _ = self.record(call, may_skip=False)
            fresh = [session.value(ref) for ref in outputs.refs]
            if found.trace is None or found.outputs is None:
                values = self.recorded_values(call, session, outputs)
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
            self._compare(found.outputs, expected, "the interpreter")
            self._compare(found.outputs, fresh, "a fresh recording")
            return self._finish(found, call)

    def _compare(self, got: Sequence[Any], expected: Sequence[Any], of: str) -> None:
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            if not _close(np.asarray(a), np.asarray(b)):
                raise CheckError(
                    message(
                        f"{self.program.name}: output {i} of the kernel differs from "
                        f"{of}'s: {a} and {b}",
                        where=caller(),
                        way_out="This is a bug in tracejit: please report the tape",
                    )
                )


_WEAK: dict[str, type] = {"float": float, "int": int, "complex": complex}


def _traced_kinds(call: Call) -> list[tuple]:
    kinds = call.key[1]
    return [kinds[i] for i in call.traced]


def _is_finite(value: Any) -> bool:
    return bool(np.isfinite(value).all())


def _first_valid(
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


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a kernel's result is the expected one up to rounding."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    eps = np.finfo(a.dtype).eps
    finite = b[np.isfinite(b)]
    scale = np.abs(finite).max(initial=0.0)
    tolerance = 1e4 * eps
    return bool(
        np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    )
