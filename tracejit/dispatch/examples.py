"""Each example of a batch on its own path.

All examples start at the root of the path tree.  A trace runs for all of them at once
(`batches`); those that leave it go on in groups, by guard and outcome.  Where a group
finds no trace, its first example is recorded, and the group goes on with the new one:
one recording per path, and nothing of a side that an example does not take is computed.

    all ──► trace 1 ──► answered
               └─ guard 0 was False: 4,012 examples ──► trace 2 ──► answered
                                                           └─ guard 1 was True: ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import config
from ..batches import Batch, Left, Operand, compile_batch
from ..captures import describe
from ..errors import ArgumentError, message
from ..signature import Call, caller, read_call
from .dispatcher import Dispatcher, Entry, Failure
from .frames import hide_frames
from .stats import guard_text
from .trace import RECORD_AGAIN, Trace, normal

__all__ = ["Examples", "Mapped"]

#: From so many examples on, a path is compiled even if there are many paths.
_WORTH_COMPILING = 200


class Mapped(NamedTuple):
    """The arguments of a batch.

    Attributes:
        leaves: arrays whose first axis runs over the examples, and other values.
        mapped: which of the leaves have that axis.
        count: its length.
        build: puts one example's leaves together to `(args, kwargs)`.
    """

    leaves: list[Any]
    mapped: list[bool]
    count: int
    build: Callable[[list[Any]], tuple[tuple, dict[str, Any]]]

    def example(self, k: int) -> tuple[tuple, dict[str, Any]]:
        """The arguments of the k-th example."""
        pairs = zip(self.leaves, self.mapped, strict=True)
        return self.build([leaf[k] if mapped else leaf for leaf, mapped in pairs])


class _Group(NamedTuple):
    """Examples that are on the same way; `index` is None for all of them."""

    index: np.ndarray | None
    candidates: list[Trace]
    tried: frozenset[Trace]
    failure: Failure | None


class _Answers:
    """The outputs of all examples, filled path by path."""

    def __init__(self, count: int, name: str) -> None:
        self.count = count
        self.name = name
        self.spec: Any = None
        self.arrays: list[np.ndarray] | None = None

    def accept(self, spec: Any, avals: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        """Make room for a trace's outputs; other paths must give the same shapes."""
        if self.arrays is None:
            self.spec = spec
            self.arrays = [np.empty((self.count, *s), d) for s, d in avals]
            return
        shapes = [a.shape[1:] for a in self.arrays]
        if spec != self.spec or shapes != [shape for shape, _ in avals]:
            one = _text(self.spec, shapes)
            other = _text(spec, [shape for shape, _ in avals])
            raise ArgumentError(
                message(
                    f"{self.name} returns {one} for one example of the batch and "
                    f"{other} for another",
                    where=caller(),
                    way_out="Return the same structure and shapes on every path",
                )
            )
        for i, (_, dtype) in enumerate(avals):
            wide = np.result_type(self.arrays[i].dtype, dtype)
            self.arrays[i] = self.arrays[i].astype(wide, copy=False)

    def put(self, index: Any, outputs: Sequence[Any]) -> None:
        """Write the outputs of some examples."""
        assert self.arrays is not None
        for array, output in zip(self.arrays, outputs, strict=True):
            array[index] = output


def _text(spec: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    if spec.is_leaf():
        return f"shape {shapes[0]}"
    return f"{spec.type.__name__} of shapes {', '.join(map(str, shapes))}"


class Examples:
    """The path trees of a function, for batches of its examples.

    Args:
        dispatcher: records single examples; its program returns a flat tuple of arrays
            and notes the structure of the result in `specs`, by thread.
    """

    def __init__(self, dispatcher: Dispatcher, specs: threading.local) -> None:
        self.dispatcher = dispatcher
        self._specs = specs
        self._lock = threading.RLock()

    def call(self, mapped: Mapped) -> tuple[list[np.ndarray], Any]:
        """The stacked outputs of all examples, and the structure of one's result."""
        try:
            return self._call(mapped)
        except Exception as error:
            hide_frames(error)
            raise

    def _call(self, mapped: Mapped) -> tuple[list[np.ndarray], Any]:
        program = self.dispatcher.program
        first = read_call(*mapped.example(0), program.statics, program.fun)
        operands = _operands(first, mapped)
        entry = self.dispatcher.entry(first.key)
        answers = _Answers(mapped.count, program.name)
        groups = [_Group(None, [], frozenset(), None)]
        while groups:
            group = groups.pop()
            trace, captured = _first([*group.candidates, *entry.roots], group.tried)
            if trace is None:
                k = 0 if group.index is None else int(group.index[0])
                trace, captured, group = self._record(mapped, k, group, entry, answers)
                if trace is None:
                    groups += [group] if group.index is None or len(group.index) else []
                    continue
            given = [*operands, *[Operand(np.asarray(a), False) for a in captured]]
            many = len(entry.by_path) > config.MAX_EAGER_PATHS
            groups += self._go_on(
                self._run(trace, given, group.index, mapped, answers, many),
                trace, group, mapped, answers, entry,
            )  # fmt: skip
        assert answers.arrays is not None
        return answers.arrays, answers.spec

    def _go_on(
        self,
        left: list[Left],
        trace: Trace,
        group: _Group,
        mapped: Mapped,
        answers: _Answers,
        entry: Entry,
    ) -> list[_Group]:
        """Where those go on that a trace did not answer."""
        stats = self.dispatcher.stats
        count = mapped.count if group.index is None else len(group.index)
        stats.hits += count - sum(len(rest) for rest, _, _ in left)
        groups = []
        for rest, status, outcome in left:
            if status == RECORD_AGAIN:
                for k in rest:
                    self._alone(mapped, int(k), answers, entry)
                continue
            stats.guard_failures += 1
            failure = Failure(trace, status - 1, normal(outcome))
            further = trace.next_traces(failure.guard, failure.outcome)
            if group.failure is not None and group.failure.guard >= failure.guard:
                failure = group.failure
            groups.append(_Group(rest, further, group.tried | {trace}, failure))
        return groups

    # --- one path

    def _run(
        self,
        trace: Trace,
        operands: list[Operand],
        index: np.ndarray | None,
        mapped: Mapped,
        answers: _Answers,
        many: bool,
    ) -> list[Left]:
        """Run the examples of `index` on a path, one of `many` or not."""
        count = mapped.count if index is None else len(index)
        batch: Batch | None = trace.batch
        avals = [trace.tape.avals[ref] for ref in trace.tape.outputs]
        answers.accept(trace.spec, [(a.shape, a.dtype) for a in avals])
        if batch is None and many and count < _WORTH_COMPILING:
            return self._interpret(trace, operands, index, mapped, answers)
        if batch is None:
            batch = self._compile(trace)
        assert answers.arrays is not None
        places: list[np.ndarray | None] = [None] * len(batch.shapes)
        for array, k in zip(answers.arrays, batch.outputs, strict=True):
            if places[k] is None and array.dtype == batch.shapes[k][1]:
                places[k] = array
        outs = [
            np.empty((mapped.count, *shape), dtype) if place is None else place
            for place, (shape, dtype) in zip(places, batch.shapes, strict=True)
        ]
        left = batch.run(operands, outs, index, count)
        for array, k in zip(answers.arrays, batch.outputs, strict=True):
            if array is not outs[k]:
                done = np.ones(mapped.count, bool)
                if index is not None:
                    done = ~done
                    done[index] = True
                for rest, _, _ in left:
                    done[rest] = False
                array[done] = outs[k][done]
        return left

    def _compile(self, trace: Trace) -> Batch:
        with self._lock:
            batch: Batch | None = trace.batch
            if batch is None:
                stats = self.dispatcher.stats
                batch = compile_batch(trace.tape, trace.constants)
                stats.compile_seconds += batch.seconds
                if batch.compiled:
                    stats.kernels_compiled += 1
                else:
                    stats.kernels_reused += 1
                trace.batch = batch
            return batch

    def _interpret(
        self,
        trace: Trace,
        operands: list[Operand],
        index: np.ndarray | None,
        mapped: Mapped,
        answers: _Answers,
    ) -> list[Left]:
        """A path of few examples, by NumPy on the tape."""
        left: dict[tuple, list[int]] = {}
        for k in range(mapped.count) if index is None else index:
            values = [a[k] if m else a[()] for a, m in operands]
            status, outcome, outputs = trace.interpret(values)
            if outputs is None:
                left.setdefault((status, normal(outcome)), []).append(int(k))
                continue
            self.dispatcher.stats.interpreted += 1
            answers.put(int(k), outputs)
        return [Left(np.array(rest), *why) for why, rest in left.items()]

    # --- new paths

    def _record(
        self, mapped: Mapped, k: int, group: _Group, entry: Entry, answers: _Answers
    ) -> tuple[Trace | None, list[Any], _Group]:
        """The path of example k, for its group; None if only k itself is answered."""
        with self._lock:
            # Another thread may have recorded this path in the meantime.
            trace, captured = _first([*group.candidates, *entry.roots], group.tried)
            if trace is not None:
                return trace, captured, group
            trace = self._alone(mapped, k, answers, entry, group.failure)
            if trace is not None:
                known = trace.captured()
                assert known is not None
                # This one has its answer, whatever its kernel says about it.
                return trace, known, group
            every = np.arange(mapped.count) if group.index is None else group.index
            return None, [], group._replace(index=every[every != k])

    def _alone(
        self,
        mapped: Mapped,
        k: int,
        answers: _Answers,
        entry: Entry,
        failure: Failure | None = None,
    ) -> Trace | None:
        """Record example k and write down its answer; the trace if it is a new one."""
        dispatcher = self.dispatcher
        program = dispatcher.program
        started = time.perf_counter()
        call = read_call(*mapped.example(k), program.statics, program.fun)
        session, outputs, checks = dispatcher.record(call)
        spec = self._specs.spec
        values = [np.asarray(session.value(ref)) for ref in outputs.refs]
        answers.accept(spec, [(v.shape, v.dtype) for v in values])
        answers.put(k, values)
        trace = Trace(dispatcher.stats.traces + 1, session, outputs, checks)
        dispatcher.stats.record_seconds += time.perf_counter() - started
        if entry.twin(trace) is not None:
            # On the border of a comparison, where the kernel rounds another way.
            dispatcher.stats.interpreted += 1
            session.release()
            return None
        cause = f"first example ({program.name})"
        if failure is not None and failure.guard < len(session.guards):
            was = failure.trace.path[failure.guard]
            cause = guard_text(session, session.guards[failure.guard], was)
        elif entry.roots and (changed := entry.roots[0].checks.change()) is not None:
            cause = describe(*changed)
        entry.insert(trace, failure)
        dispatcher.stats.traces += 1
        trace.spec = spec
        dispatcher.events.add(f"trace {trace.number}: example {k}: {cause}")
        session.release()
        return trace


def _first(
    candidates: Sequence[Trace], tried: frozenset[Trace]
) -> tuple[Trace | None, list[Any]]:
    """The first new trace whose captures hold, with its captured arrays."""
    for trace in candidates:
        if trace not in tried and (captured := trace.captured()) is not None:
            return trace, captured
    return None, []


def _operands(call: Call, mapped: Mapped) -> list[Operand]:
    """The traced leaves of all examples."""
    operands = []
    for position, value in zip(call.traced, call.values, strict=True):
        leaf = mapped.leaves[position]
        if mapped.mapped[position]:
            operands.append(Operand(leaf, True))
        else:
            operands.append(Operand(np.asarray(value), False))
    return operands
