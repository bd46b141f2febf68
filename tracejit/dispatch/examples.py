"""Each example of a batch on its own path.

The paths of a path tree are compiled into one driver (`batches.Chain`), which takes
each example down the tree.  Where that ends, the first example left over is recorded,
and the rest goes on with a driver that knows the new path as well: one recording per
path, and nothing of a side that an example does not take is computed.

    all ──► chain of trace 1 ──► answered
                  └─ 4,012 left: record one ──► chain of traces 1, 2 ──► answered
                                                        └─ 310 left: record one ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .. import config
from ..avals import Aval
from ..batches import Chain, Operand, Path
from ..captures import describe
from ..errors import ArgumentError, UnsupportedError, message
from ..kernel import fresh
from ..signature import Call, caller, read_call
from ..tracer import Tracer
from .dispatcher import Dispatcher
from .entries import Entry, Failure
from .frames import hide_frames
from .program import Session
from .stats import guard_text
from .trace import Trace

__all__ = ["Examples", "Mapped", "Result"]

#: Of fewer examples on many paths each is answered by NumPy on the tape.
_WORTH_COMPILING = 200
#: So many drivers are kept.
_MAX_CHAINS = 64


#: Makes an array of undefined content, of a shape and dtype.
Room = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class Mapped(NamedTuple):
    """The arguments of a batch.

    Attributes:
        leaves: arrays whose first axis runs over the examples, and other values.
        mapped: which of the leaves have that axis.
        size: its length.
        build: puts one example's leaves together to `(args, kwargs)`.
    """

    leaves: list[Any]
    mapped: list[bool]
    size: int
    build: Callable[[list[Any]], tuple[tuple, dict[str, Any]]]

    def example(self, k: int) -> tuple[tuple, dict[str, Any]]:
        """The arguments of the k-th example."""
        pairs = zip(self.leaves, self.mapped, strict=True)
        return self.build([_row(leaf, k) if mapped else leaf for leaf, mapped in pairs])


def _row(leaf: Any, k: int) -> Any:
    """A row; of a traced array a copy, as the function may write into it."""
    row = leaf[k]
    return row.copy() if type(row) is Tracer and row.shape else row


class _Wider(Exception):
    """A path gives another dtype than those before; not for the user."""


class Result(threading.local):
    """What a recording of one example noted beside its outputs.

    Attributes:
        spec: the structure of the result.
        dtypes: what its leaves are to be converted to, by structure.
    """

    spec: Any = None
    dtypes: Mapping[Any, list[np.dtype]] = MappingProxyType({})


class _Answers:
    """The outputs of all examples, filled path by path."""

    def __init__(self, count: int, name: str, room: Room) -> None:
        self.count = count
        self.name = name
        self.room = room
        self.spec: Any = None
        self.arrays: list[np.ndarray] = []

    def accept(self, spec: Any, avals: Sequence[Any]) -> None:
        """Make room for a path's outputs; other paths must give the same shapes."""
        if self.spec is None:
            self.spec = spec
            self.arrays = [self.room((self.count, *a.shape), a.dtype) for a in avals]
        elif not self.fits(spec, avals):
            shapes = [a.shape[1:] for a in self.arrays]
            one = _text(self.spec, shapes)
            other = _text(spec, [a.shape for a in avals])
            raise ArgumentError(
                message(
                    f"{self.name} returns {one} for one example of the batch and "
                    f"{other} for another",
                    where=caller(),
                    way_out="Return the same structure and shapes on every path",
                )
            )

        elif [a.dtype for a in self.arrays] != [a.dtype for a in avals]:
            raise _Wider  # another thread has met a path with other dtypes

    def fits(self, spec: Any, avals: Sequence[Any]) -> bool:
        """Whether a path gives what those before gave."""
        if self.spec is None:
            return True
        shapes = [a.shape[1:] for a in self.arrays]
        return spec == self.spec and shapes == [a.shape for a in avals]

    def put(self, k: int, outputs: Sequence[Any]) -> None:
        """Write the outputs of one example."""
        for array, output in zip(self.arrays, outputs, strict=True):
            array[k] = output


def _text(spec: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    if spec.is_leaf():
        return f"shape {shapes[0]}"
    return f"{spec.type.__name__} of shapes {', '.join(map(str, shapes))}"


class _Known:
    """What is known about the examples of one signature.

    Attributes:
        specs: the structure of the result, by trace.
        dtypes: of the leaves of the result by its structure, wide enough for all paths.
        chains: by their traces and which of their arrays are the same.
    """

    def __init__(self) -> None:
        self.specs: dict[Trace, Any] = {}
        self.dtypes: dict[Any, list[np.dtype]] = {}
        self.chains: dict[tuple, Chain] = {}

    def shape_of(self, trace: Trace) -> tuple[Any, list[Aval]]:
        """The structure of a trace's result, and its leaves."""
        tape = trace.tape
        return self.specs[trace], [tape.avals[ref] for ref in tape.outputs]


class Examples:
    """The path trees of a function, for batches of its examples.

    Args:
        dispatcher: records single examples; its program returns a flat tuple of arrays.
        result: where the program notes the structure, and finds the dtypes.
    """

    def __init__(self, dispatcher: Dispatcher, result: Result) -> None:
        self.dispatcher = dispatcher
        self._result = result
        self._known: dict[tuple, _Known] = {}
        self._lock = threading.RLock()

    def call(self, mapped: Mapped, room: Room = fresh) -> tuple[list[np.ndarray], Any]:
        """The stacked outputs of all examples, and the structure of one's result.

        Args:
            room: makes the arrays for the outputs.
        """
        try:
            while True:
                try:
                    return self._call(mapped, room)
                except _Wider:
                    continue  # with dtypes that hold what every path gives
        except Exception as error:
            hide_frames(error)
            raise

    def _call(self, mapped: Mapped, room: Room) -> tuple[list[np.ndarray], Any]:
        dispatcher = self.dispatcher
        first = self._read(mapped, 0)
        operands = _operands(first, mapped)
        entry = dispatcher.entry(first.key)
        known = self._known.setdefault(first.key, _Known())
        answers = _Answers(mapped.size, dispatcher.program.name, room)
        tried: set[tuple] = set()
        pending: np.ndarray | None = None
        while True:
            for tree in _trees(entry, known):
                # A loop that made room for more rounds has another tape.
                members = tuple((trace, trace.tape) for trace in tree)
                if members in tried:
                    continue
                tried.add(members)
                if not answers.fits(*known.shape_of(next(iter(tree)))):
                    continue  # who takes it all the same is told so below
                many = len(entry.by_path) > config.MAX_EAGER_PATHS
                few = pending is not None and len(pending) < _WORTH_COMPILING
                if many and few:
                    continue
                pending = self._run(tree, operands, pending, mapped, answers, known)
                if not len(pending):
                    return answers.arrays, answers.spec
            if pending is None:
                pending = np.arange(mapped.size)
            self._one(mapped, int(pending[0]), answers, entry, known)
            pending = pending[1:]
            if not len(pending):
                return answers.arrays, answers.spec

    def _read(self, mapped: Mapped, k: int) -> Call:
        program = self.dispatcher.program
        return read_call(*mapped.example(k), program.statics, program.fun)

    # --- known paths

    def _run(
        self,
        tree: dict[Trace, list[Any]],
        operands: list[Operand],
        pending: np.ndarray | None,
        mapped: Mapped,
        answers: _Answers,
        known: _Known,
    ) -> np.ndarray:
        """Answer what these paths can; the examples that are left over."""
        own = [array for arrays in tree.values() for array in arrays]
        distinct = list({id(array): array for array in own}.values())
        number = {id(array): k for k, array in enumerate(distinct)}
        rows = [tuple(number[id(a)] for a in arrays) for arrays in tree.values()]
        chain = self._chain(tuple(tree), rows, len(operands), len(distinct), known)
        first = answers.spec is None
        for trace in tree:
            answers.accept(*known.shape_of(trace))
        given = [*operands, *[Operand(np.asarray(a), False) for a in distinct]]
        count = mapped.size if pending is None else len(pending)
        left = chain.run(given, answers.arrays, pending, count)
        if first and len(left) == count:
            answers.spec = None
        self.dispatcher.stats.hits += count - len(left)
        self.dispatcher.stats.guard_failures += len(left) > 0
        return np.ascontiguousarray(left[:, 0])

    def _chain(
        self,
        traces: tuple[Trace, ...],
        rows: list[tuple[int, ...]],
        leaves: int,
        arrays: int,
        known: _Known,
    ) -> Chain:
        key = (traces, tuple(trace.tape for trace in traces), tuple(rows))
        with self._lock:
            chain = known.chains.get(key)
            if chain is None:
                paths = [
                    Path(trace.tape, trace.constants, own, _exits(trace, traces))
                    for trace, own in zip(traces, rows, strict=True)
                ]
                chain = Chain(paths, leaves, arrays)
                stats = self.dispatcher.stats
                stats.compile_seconds += chain.seconds
                stats.kernels_compiled += chain.compiled
                stats.kernels_reused += not chain.compiled
                who = f"{len(paths)} path{'s' * (len(paths) != 1)} of examples"
                self.dispatcher.note_calls(who, chain.hosts, chain.natives)
                while len(known.chains) >= _MAX_CHAINS:
                    del known.chains[next(iter(known.chains))]
                known.chains[key] = chain
            return chain

    # --- one example

    def _one(
        self, mapped: Mapped, k: int, answers: _Answers, entry: Entry, known: _Known
    ) -> None:
        """Answer one example by NumPy, and record its path if it is a new one."""
        dispatcher = self.dispatcher
        stats = dispatcher.stats
        with self._lock:
            call = self._read(mapped, k)
            found = dispatcher.search(call, None)
            if found.trace is not None and found.outputs is not None:
                stats.interpreted += 1
                answers.accept(*known.shape_of(found.trace))
                answers.put(k, found.outputs)
                return
            started = time.perf_counter()
            result = self._result
            result.dtypes = known.dtypes
            session, outputs, checks = dispatcher.recordings.record(call)
            _require_own(session, call, mapped)
            found_values = dispatcher.recordings.values(call, session, outputs)
            values = [np.asarray(value) for value in found_values]
            dtypes = [value.dtype for value in values]
            before = known.dtypes.get(result.spec)
            known.dtypes[result.spec] = dtypes
            if before not in (None, dtypes):
                entry.clear()
                raise _Wider
            answers.accept(result.spec, values)
            answers.put(k, values)
            trace = Trace(stats.traces + 1, session, outputs, checks)
            stats.record_seconds += time.perf_counter() - started
            if entry.twin(trace) is None:
                dispatcher.events.add(
                    f"trace {trace.number}: example {k}"
                    + _cause(session, found.failure, entry)
                )
                known.specs[trace] = result.spec
                entry.insert(trace, found.failure)
                stats.traces += 1
            else:  # on the border of a comparison, which a kernel rounds another way
                stats.interpreted += 1
            session.release()


def _require_own(session: Session, call: Call, mapped: Mapped) -> None:
    """Refuse writes into what all examples share: each would see those before it."""
    written = session.effects.leaves if session.effects is not None else ()
    if not all(mapped.mapped[call.traced[i]] for i in written):
        raise UnsupportedError(
            message(
                "a function under vmap writes to an array from outside",
                where=caller(),
                way_out="Return the value instead",
            )
        )


def _cause(session: Any, failure: Failure | None, entry: Entry) -> str:
    """Why the example had to be recorded."""
    if failure is not None and failure.guard < len(session.guards):
        was = failure.trace.path[failure.guard]
        return ": " + guard_text(session, session.guards[failure.guard], was)
    for root in entry.roots:
        if (changed := root.checks.change()) is not None:
            return ": " + describe(*changed)
    return ""


def _trees(entry: Entry, known: _Known) -> list[dict[Trace, list[Any]]]:
    """The traces that share a driver, with what they captured.

    Each is a part of a path tree, its root first; their results have one shape.
    """
    traces = {trace for same in entry.by_path.values() for trace in same}
    trees: list[dict[Trace, list[Any]]] = []
    home: dict[Trace, dict[Trace, list[Any]]] = {}
    for trace in sorted(traces, key=lambda trace: trace.number):
        captured = trace.captured()
        if captured is None:
            continue
        tree = home.get(trace.parent) if trace.parent is not None else None
        if (
            tree is None
            or len(tree) >= config.MAX_EAGER_PATHS
            or known.shape_of(next(iter(tree))) != known.shape_of(trace)
        ):
            tree = {}
            trees.append(tree)
        tree[trace] = captured
        home[trace] = tree
    return trees


def _exits(trace: Trace, traces: tuple[Trace, ...]) -> list[tuple[int, Any, int]]:
    """Where examples go on that leave a trace at a guard."""
    exits = []
    for (guard, outcome), children in trace.children.items():
        for child in children:
            if child in traces:
                exits.append((guard + 1, outcome, traces.index(child)))
                break
    return exits


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
