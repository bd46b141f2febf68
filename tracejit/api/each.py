"""`vmap` inside another transform, of a function that decides on its example.

One tape holds all examples: a loop over them, in whose body a branch stands at each
decision (`passes.branches.paths`).  The function is recorded once for each path that
the examples take.  Who takes a path that is not known yet, the loop so far tells: it is
run for all examples, and who leaves it at a guard is recorded next.

    record the first ──► loop of one path ──► 4,012 left: record one ──► loop of two
    paths ──► 310 left ...

A path that no example takes stays a guard in the loop.  An input that fails there is
recorded anew; examples of the paths that were known before are kept in the recorder's
memory, and are recorded with it.  So the tape that comes out knows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..avals import Aval
from ..batches import Chain, Operand
from ..batches import Path as Link
from ..errors import ArgumentError, TracejitError, message
from ..interpret import GuardFailed, interpret
from ..numpy_api.table import as_tracer
from ..ops.loop import loop
from ..passes import optimise
from ..passes.branches.paths import Path, Trees, alike
from ..signature import caller, flatten
from ..tape import Instr, Ref, Tape, guard, has_guard
from ..tracer import Recorder, Tracer
from .bodies import Marks, given

__all__ = ["ManyPathsError", "record_each"]

#: More paths are not put into one loop, and so many trees of paths.
_PATHS, _TREES = 64, 4
#: From so many instrs for all examples on, the loop is compiled to find out.
_COMPILED = 20_000
#: So many examples are kept for the next recording of one call.
_KEPT = 32


#: What NumPy raises.
_ERRORS = (ArithmeticError, LookupError, ValueError)


class ManyPathsError(Exception):
    """There are too many paths for one loop; not for the user."""


class _Run(NamedTuple):
    """One example as it was recorded.

    Attributes:
        front: what it did before its first decision that depends on no example.
        values: its results.
    """

    front: list[Instr]
    path: Path
    avals: list[Aval]
    values: list[Any]
    spec: Any


def record_each(
    rec: Recorder,
    fun: Callable[[list[Tracer]], Any],
    fronts: Sequence[Tracer],
    name: str,
    key: Hashable,
) -> tuple[list[Tracer], Any]:
    """Record `fun` for all rows of `fronts`; the stacked leaves of its results.

    Args:
        fun: takes one row of each, gives any pytree of what can be stacked.
        fronts: arrays whose first axis runs over the examples.
        name: of the user's function.
        key: what tells the call from others in the same recording.

    Returns:
        The stacks, and the structure of one result.

    Raises:
        ArgumentError: paths that return different structures or shapes.
        ManyPathsError: nothing was recorded.
    """
    return _Each(rec, fun, fronts, name, key).record()


class _Each:
    def __init__(
        self,
        rec: Recorder,
        fun: Callable[[list[Tracer]], Any],
        fronts: Sequence[Tracer],
        name: str,
        key: Hashable,
    ) -> None:
        self.rec, self.fun, self.name = rec, fun, name
        self.refs = [front.ref for front in fronts]
        self.values = [rec.value(ref) for ref in self.refs]
        self.count = len(self.values[0])
        self.start, self.first = len(rec.instrs), len(rec.guards)
        self.kept = [] if rec.memory is None else rec.memory.rows(key)
        rows = [Aval(ref.shape[1:], ref.dtype) for ref in self.refs]
        self.trees = Trees(rows, rec)
        self.root: _Run | None = None
        self.arrays: list[np.ndarray] = []
        self.ways: dict[tuple, None] = {}
        self.rows: list[list[Any]] = []
        self.redo = False
        self.rolls = True

    def record(self) -> tuple[list[Tracer], Any]:
        rec = self.rec
        pending = np.arange(self.count)
        try:
            while True:
                k = int(pending[0])
                rows = [value[k] for value in self.values]
                self.add(rows)
                self.put(k)
                rest = np.arange(self.count) if self.redo else pending[1:]
                self.redo = False
                pending = self.left(rest)
                if not len(pending):
                    break
            self.add_kept()
            if self.redo and len(self.left(np.arange(self.count))):
                raise ManyPathsError
        except ManyPathsError:
            self.kept.clear()
            rec.replace(self.start, [])
            rec.exits.drop([(self.first, len(rec.guards))])
            raise
        return self.finish()

    # --- paths

    def add(self, rows: list[Any], known: bool = False) -> None:
        """Record one example, and put its path into the tree."""
        self.run = run = self.one(rows)
        if self.root is None:
            self.root = run
            self.spec = run.spec
            self.dtypes = [aval.dtype for aval in run.avals]
            self.shapes = [aval.shape for aval in run.avals]
            self.arrays = [np.empty((self.count, *a.shape), a.dtype) for a in run.avals]
        self.check(run)
        self.rows.append(rows)
        if not self.trees.add(run.path):
            self.again()
        if len(self.trees.paths) > _PATHS or len(self.trees.roots) > _TREES:
            raise ManyPathsError
        self.require(rows, run)
        if run.path.outcomes not in self.ways:
            self.ways[run.path.outcomes] = None
            if not known and len(self.kept) < _KEPT:
                self.kept.append([np.copy(row)[()] for row in rows])

    def again(self) -> None:
        """Record all paths once more, from the last one on.

        A loop of the function's knows now what its rounds do in the last example, and
        becomes the same for all.
        """
        self.redo = True
        self.trees = Trees(self.trees.rows, self.rec)
        self.root = None
        for rows in reversed(self.rows):
            run = self.one(rows)
            self.root = self.root or run
            self.check(run)
            self.trees.add(run.path)
        for rows in self.rows:
            self.require(rows, None)

    def require(self, rows: list[Any], run: _Run | None) -> None:
        """See that the loop so far does what was recorded for an example.

        Where rounds of a loop in it go the same way in one example and not in another,
        and the loop cannot have branches, its rounds become decisions of their own.
        """
        rec = self.rec
        body, outside, _ = self.body()
        shared = [rec.value(rec.ref(index)) for index in outside]
        try:
            outs = interpret(body, [np.int64(0), *shared, *rows])
        except GuardFailed:
            if not self.rolls:
                raise ManyPathsError from None
            self.rolls = False
            self.again()
            return
        for out, value in zip(outs, run.values if run else (), strict=run is not None):
            if not np.allclose(out, value, rtol=1e-6, equal_nan=True):
                raise ManyPathsError

    def one(self, rows: list[Any]) -> _Run:
        rec = self.rec
        at = len(rec.instrs)
        refs = [given(rec, row) for row in rows]
        ones = [rec.tracer(ref) for ref in refs]
        marks = Marks(rec)
        leaves, spec = flatten(self.fun(ones))
        outs = [as_tracer(rec, leaf).ref for leaf in leaves]
        marks.require_no_writes(
            "a function under vmap", "Return the value instead", ones
        )
        if self.rolls:
            rec.roll(at, outs)
        instrs = rec.instrs[at:]
        values = [rec.value(out) for out in outs]
        rec.replace(at, [])
        marks.forget()
        front, rest = self.split(instrs, {ref.index for ref in refs})
        path = Path.of(
            rest,
            [ref.index for ref in refs],
            [self.same.get(out.index, out.index) for out in outs],
            lambda ref: rec.producers[ref],
            self.decides,
        )
        return _Run(front, path, [out.aval for out in outs], values, spec)

    def split(
        self, instrs: list[Instr], varying: set[int]
    ) -> tuple[list[Instr], list[Instr]]:
        """What is the same for all examples, up to the first decision, and the rest.

        Later examples read what the first one computed there.
        """
        front: list[Instr] = []
        rest: list[Instr] = []
        same: dict[int, int] = {}
        decided = False
        for instr in instrs:
            fixed = varying.isdisjoint(instr.args)
            if not fixed:
                varying.update(instr.outs)
                decided = decided or has_guard(instr)
            (front if fixed and not decided else rest).append(instr)
        if self.root is not None:
            if len(front) != len(self.root.front):
                raise ManyPathsError
            for instr, other in zip(front, self.root.front, strict=True):
                args = tuple([same.get(a, a) for a in instr.args])
                if args != other.args or not alike(instr, other):
                    raise ManyPathsError
                same.update(zip(instr.outs, other.outs, strict=True))
        self.same = same
        rest = [
            Instr(i.prim, tuple([same.get(a, a) for a in i.args]), i.params, i.outs,
                  i.source)
            for i in rest
        ]  # fmt: skip
        return front, rest

    def decides(self, instr: Instr) -> bool:
        """Whether an instr is a guard with another path behind it."""
        if instr.prim is not guard or len(instr.args) > 1:
            return False
        info = self.rec.guards[instr.params["exit"]]
        aval = self.rec.avals[instr.args[0]]
        return not info.bound and not aval.shape and aval.dtype.kind in "biu"

    def check(self, run: _Run) -> None:
        """Refuse other structures and shapes; widen the dtypes."""
        shapes = [aval.shape for aval in run.avals]
        if run.spec != self.spec or shapes != self.shapes:
            one, other = _text(self.spec, self.shapes), _text(run.spec, shapes)
            raise ArgumentError(
                message(
                    f"{self.name} returns {one} for one example of the batch and "
                    f"{other} for another",
                    where=caller(),
                    way_out="Return the same structure and shapes on every path",
                )
            )
        for n, aval in enumerate(run.avals):
            wide = np.result_type(self.dtypes[n], aval.dtype)
            if wide != self.dtypes[n]:
                self.dtypes[n] = wide
                self.arrays[n] = self.arrays[n].astype(wide)

    def add_kept(self) -> None:
        """Record the paths that are remembered and that no example here takes."""
        rec = self.rec
        for rows in list(self.kept):
            body, outside, _ = self.body()
            inputs = [np.int64(0), *[rec.value(rec.ref(o)) for o in outside], *rows]
            try:
                interpret(body, inputs)
                continue
            except _ERRORS:
                continue  # its path is known; here it would raise
            except GuardFailed:
                pass
            at, guards = len(rec.instrs), len(rec.guards)
            try:
                with np.errstate(all="ignore"):
                    self.add(rows, True)
            except (TracejitError, *_ERRORS):
                # Not with what is shared now.
                rec.replace(at, [])
                rec.exits.drop([(guards, len(rec.guards))])
                self.rows = [other for other in self.rows if other is not rows]
                self.again()
                self.kept[:] = [other for other in self.kept if other is not rows]

    # --- examples

    def put(self, k: int) -> None:
        """Note the results of the example that was recorded."""
        for array, value in zip(self.arrays, self.run.values, strict=True):
            array[k] = value

    def left(self, pending: np.ndarray) -> np.ndarray:
        """Run the loop for these examples; those whose path it does not know."""
        if not len(pending):
            return pending
        rec = self.rec
        body, outside, _ = self.body()
        shared = [rec.value(rec.ref(index)) for index in outside]
        if len(pending) * max(len(body.instrs), 1) >= _COMPILED:
            return self.compiled(body, shared, pending)
        for place, k in enumerate(pending):
            rows = [value[k] for value in self.values]
            try:
                outs = interpret(body, [np.int64(k), *shared, *rows])
            except (GuardFailed, *_ERRORS):
                return pending[place:]  # what NumPy raises comes from the user's line
            for array, value in zip(self.arrays, outs, strict=True):
                array[k] = value
        return pending[:0]

    def compiled(
        self, body: Tape, shared: list[Any], pending: np.ndarray
    ) -> np.ndarray:
        chain = Chain([Link(optimise(body), [], (), [])], len(body.inputs), 0)
        operands = [Operand(np.arange(self.count), True)]
        operands += [Operand(_whole(value), False) for value in shared]
        operands += [Operand(_whole(value), True) for value in self.values]
        left = chain.run(operands, self.arrays, pending, len(pending))
        return np.ascontiguousarray(left[:, 0])

    # --- the loop

    def body(self) -> tuple[Tape, list[int], list[Instr]]:
        assert self.root is not None
        own = sum(instr.prim is guard for instr in self.root.front)
        return self.trees.body(self.name, self.dtypes, self.first + own)

    def finish(self) -> tuple[list[Tracer], Any]:
        """Put the loop on the tape."""
        rec = self.rec
        assert self.root is not None
        body, outside, guards = self.body()
        front = [instr for instr in self.root.front if instr.prim is guard]
        if len(rec.guards) > self.first:
            rec.exits.keep(self.first, [*front, *guards], {*front, *guards})
        rec.replace(self.start, self.root.front)
        consts = [rec.ref(index) for index in outside]
        params = {
            "body": body,
            "trip": self.count,
            "consts": len(consts),
            "carries": 0,
            "reverse": False,
        }
        outs: Sequence[Ref] = rec.emit(loop, [*consts, *self.refs], params)
        for out, array in zip(outs, self.arrays, strict=True):
            rec.values[out.index] = array
        rec.forks.add((rec.source, frozenset(self.ways)))
        return [rec.tracer(out) for out in outs], self.spec


def _whole(value: Any) -> np.ndarray:
    return np.require(value, requirements=("C", "A"))


def _text(spec: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    if spec.is_leaf():
        return f"shape {shapes[0]}"
    return f"{spec.type.__name__} of shapes {', '.join(map(str, shapes))}"
