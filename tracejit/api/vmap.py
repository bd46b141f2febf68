"""`vmap`: a function of one example, for all examples of a batch.

Two ways, and the function decides by what it does:

one kernel    No Python decision depends on the example.  The function is recorded once,
              and `passes.batching` puts an axis in front of what differs: wide loops
              and large matrix products instead of a loop over small ones.
paths         An `if` or `while` depends on it.  Each example takes its own path, with
              its own trip counts (`dispatch.examples`).  Inside another transform,
              where one tape holds all examples, they are a loop with branches (`each`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..dispatch import (
    MISS,
    Dispatcher,
    Examples,
    Mapped,
    Program,
    Result,
    session_function,
)
from ..errors import ArgumentError, UnsupportedError, message
from ..numpy_api.table import as_tracer, fresh, in_dtype
from ..ops.structural import broadcast_to, reshape
from ..passes.batching import BatchedDecisionError, batch
from ..signature import (
    Statics,
    caller,
    flatten,
    read_call,
    unflatten,
)
from ..tape import Ref, Tape
from ..tracer import Recorder, Tracer, active_recorder
from .axes import Axes, InAxes, flat, moved
from .blocks import block_size, in_blocks
from .bodies import Marks
from .each import ManyPathsError, record_each
from .gradients import jit, recorder
from .leaves import function_name
from .transform import Transform, decorator

__all__ = ["vmap"]


class _DecidesError(Exception):
    """The function decides on its example; not for the user."""


class _Outer(threading.local):
    """Whether what is being recorded is a `vmap` of a `vmap` and nothing else."""

    is_vmap = False


_OUTER = _Outer()


def vmap(fun: Callable | None = None, in_axes: Axes = 0, out_axes: Axes = 0) -> Any:
    """Map a function over an axis of its arguments.

    Args:
        fun: takes one example; any function, also with `if` and `while`, which each
            example then decides for itself.
        in_axes: the axis of every array that runs over the examples, None for what
            they share; for each argument, or for parts of one that is a container.
            Keyword arguments are mapped over axis 0.
        out_axes: where the axis goes in the results, likewise; None for a result that
            is the same for all examples.

    Returns:
        A function of arrays with that axis; it returns arrays with that axis.

    Raises:
        ArgumentError: axes of different length or out of bounds, a number where an
            array is to be mapped, or paths that return different shapes.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> def payoff(x):
        ...     return x**2 if x > 0 else 0.0
        >>> vmap(grad(payoff))(np.array([-1.0, 2.0, 3.0]))
        array([0., 4., 6.])
        >>> vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
        array([3., 4.])
    """

    def make(fun: Callable, shift: int = 0) -> Vmap:
        return Vmap(fun, in_axes, out_axes, lambda: make(fun, 1), shift)

    return decorator(make, fun)


class Vmap(Transform):
    """What `vmap` returns."""

    def __init__(
        self,
        fun: Callable,
        in_axes: Axes,
        out_axes: Axes,
        as_method: Callable[[], Transform],
        shift: int,
    ) -> None:
        axes = (repr(in_axes), repr(out_axes), shift)
        super().__init__(fun, "vmap", self._batched, axes, as_method=as_method)
        self.out_axes = out_axes
        self._axes = InAxes(self._program.fun, in_axes, shift)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        dispatcher = self._found or self._dispatcher
        if dispatcher.blocks and active_recorder() is None:
            key = self._key_of(args, kwargs)
            if size := dispatcher.blocks.get(key, 0):
                try:
                    return self._in_blocks(args, kwargs, size)
                except _DecidesError:  # what the examples share has changed
                    dispatcher.blocks.pop(key, None)
                    dispatcher.by_path.add(key)
        if not kwargs:
            answer = dispatcher.fast(*args)
            if answer is not MISS:
                return answer
        rec = active_recorder()
        program = self._program
        if rec is not None:
            fun = session_function(rec, program.fun)
            return self._nested(fun, args, kwargs)
        by_path = dispatcher.by_path
        if by_path and self._key_of(args, kwargs) in by_path:
            return self._by_example(args, kwargs)
        before = dispatcher.stats.traces
        try:
            answer = dispatcher.call(args, kwargs)
        except _DecidesError:
            by_path.add(self._key_of(args, kwargs))
            return self._by_example(args, kwargs)
        if dispatcher.stats.traces > before:
            trace, count = dispatcher.traces[-1], self._axes.map(args, kwargs).size
            if size := block_size(trace.tape, len(trace.constants), count):
                dispatcher.blocks[self._key_of(args, kwargs)] = size
        return answer

    def _key_of(self, args: tuple, kwargs: dict[str, Any]) -> tuple:
        program = self._program
        return read_call(args, kwargs, program.statics, program.fun).key

    # Compiled code has all examples on one tape, as another transform has.

    def tape(self, *args: Any, **kwargs: Any) -> Tape:
        """See `Transform.tape`; each example's decisions are branches in a loop."""
        try:
            return super().tape(*args, **kwargs)
        except _DecidesError:
            return self._inside.tape(*args, **kwargs)

    def njit(self, *example: Any, **options: Any) -> Any:
        """See `Transform.njit`; each example takes its own path there too."""
        try:
            return super().njit(*example, **options)
        except _DecidesError:
            return self._inside.njit(*example, **options)

    def cfunc(self, *example: Any, **options: Any) -> Any:
        """See `Transform.cfunc`; each example takes its own path there too."""
        try:
            return super().cfunc(*example, **options)
        except _DecidesError:
            return self._inside.cfunc(*example, **options)

    @property
    def _inside(self) -> Transform:
        """This as a function that another transform runs."""
        inside: Transform = jit(self._method or self)
        return inside

    # --- one kernel

    def _batched(self, fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """On a recorder, for all examples at once, if that can be."""
        rec = recorder()
        mapped = self._axes.map(args, kwargs)
        before, _OUTER.is_vmap = _OUTER.is_vmap, isinstance(self._program.fun, Vmap)
        try:
            found = self._first(rec, fun, mapped)
        finally:
            _OUTER.is_vmap = before
        if found is None:
            raise _DecidesError
        return self._placed(found)

    def _nested(self, fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Inside another transform."""
        rec = recorder()
        mapped = self._axes.map(args, kwargs)
        instrs, guards = len(rec.instrs), len(rec.guards)
        found = self._first(rec, fun, mapped)
        if found is not None:
            return self._placed(found)
        if _OUTER.is_vmap:  # all pairs of examples are one batch for the driver
            raise _DecidesError
        rec.replace(instrs, [])
        rec.exits.drop([(guards, len(rec.guards))])
        innermost, mapped, levels = self._flat(mapped)
        one = session_function(rec, innermost._program.fun)
        fronts = [
            as_tracer(rec, leaf) if flag else leaf
            for leaf, flag in zip(mapped.leaves, mapped.mapped, strict=True)
        ]
        places = [k for k, flag in enumerate(mapped.mapped) if flag]

        def run(rows: list[Tracer]) -> Any:
            leaves = list(fronts)
            for k, row in zip(places, rows, strict=True):
                leaves[k] = row
            args, kwargs = mapped.build(leaves)
            results, spec = flatten(one(*args, **kwargs))
            return unflatten(spec, [_strong(rec, x, innermost) for x in results])

        given = [fronts[k] for k in places]
        name = function_name(innermost._program.fun)
        key = name, tuple(front.ref.aval for front in given)
        try:
            stacks, spec = record_each(rec, run, given, name, key)
        except ManyPathsError:
            stacks, spec = self._one_by_one(rec, run, given, innermost)
        return self._unflat(stacks, spec, levels)

    def _one_by_one(
        self, rec: Recorder, run: Callable, fronts: list[Tracer], owner: Vmap
    ) -> tuple[list[Tracer], Any]:
        """Record example after example; what repeats is rolled afterwards."""
        results: list[list[Any]] = []
        first: Any = None
        for k in range(len(fronts[0])):
            leaves, spec = flatten(run([fresh(front[k]) for front in fronts]))
            first = spec if first is None else first
            if spec != first:
                raise ArgumentError(_differ(owner, first, spec))
            results.append(leaves)
        columns = zip(*results, strict=True)
        stacks: list[Any] = [
            np.stack([as_tracer(rec, x) for x in column]) for column in columns
        ]
        return stacks, first

    def _first(self, rec: Recorder, fun: Callable, mapped: Mapped) -> _Joint | None:
        """Record the first example and batch what it did; None if it decides.

        What the first example did stays on the tape: its guards on what all examples
        share hold, and the rest is dead or the first row.
        """
        pairs = list(zip(mapped.leaves, mapped.mapped, strict=True))
        fronts = [as_tracer(rec, leaf) if flag else leaf for leaf, flag in pairs]
        mapped = mapped._replace(leaves=fronts)
        ones = [
            fresh(f[0]) if flag else f
            for f, flag in zip(fronts, mapped.mapped, strict=True)
        ]
        args, kwargs = mapped.build(ones)
        given = [getattr(one, "ref", None) for one in ones]
        marks = Marks(rec)
        start = len(rec.instrs)
        leaves, spec = flatten(fun(*args, **kwargs))
        own = [one for one, flag in zip(ones, mapped.mapped, strict=True) if flag]
        marks.require_no_writes(
            "a function under vmap", "Return the value instead", own
        )
        rec.roll(start)
        env: dict[int, Ref] = {}
        for ref, (front, flag) in zip(given, pairs, strict=True):
            if flag and ref is not None:
                env[ref.index] = front.ref
        differing = set(env)
        fragment = []
        for instr in rec.instrs[start:]:
            if not differing.isdisjoint(instr.args):
                fragment.append(instr)
                differing.update(instr.outs)
        for instr in fragment:
            for a in instr.args:
                if a not in differing:
                    env[a] = rec.ref(a)
        end = len(rec.instrs)
        try:
            env, batched = batch(rec, fragment, env, differing & set(env))
        except BatchedDecisionError:
            del rec.instrs[end:]
            return None
        outs = []
        for leaf in leaves:
            x = as_tracer(rec, leaf)
            if x.ref.index in batched:
                outs.append(rec.tracer(env[x.ref.index]))
            else:
                shape = (mapped.size, *x.shape)
                row = reshape(x.ref, shape=(1, *x.shape))
                outs.append(rec.tracer(broadcast_to(row, shape=shape)))
        ones = [as_tracer(rec, x) for x in leaves]
        return _Joint(outs, spec, ones, [x.ref.index not in batched for x in ones])

    # --- paths

    def _by_example(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Each example on its own path; an inner `vmap` makes more examples."""
        innermost, mapped, levels = self._flat(self._axes.map(args, kwargs))
        arrays, spec = self._examples(innermost).call(mapped)
        return self._unflat(arrays, spec, levels)

    def _flat(self, mapped: Mapped) -> tuple[Vmap, Mapped, list[tuple[Vmap, int]]]:
        """The examples of all levels of nested `vmap`s, and the levels."""
        innermost, levels = self, [(self, mapped.size)]
        while isinstance(inner := innermost._program.fun, Vmap):
            mapped, count = flat(inner._axes, mapped)
            innermost = inner
            levels.append((inner, count))
        return innermost, mapped, levels

    def _unflat(self, arrays: Any, spec: Any, levels: list[tuple[Vmap, int]]) -> Any:
        """The results with the axes of all levels in place."""
        counts = tuple(count for _, count in levels)
        stacks: list[Any] = [a.reshape((*counts, *a.shape[1:])) for a in arrays]
        for depth in range(len(levels) - 1, -1, -1):
            stacks, spec = moved(levels[depth][0].out_axes, stacks, spec, depth)
        return unflatten(spec, stacks)

    def _examples(self, innermost: Vmap) -> Examples:
        """The path trees of single examples of what the innermost `vmap` maps."""
        main = self._dispatcher
        if main.examples is None:
            result = Result()

            def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
                leaves, result.spec = flatten(fun(*args, **kwargs))
                found = [_strong(recorder(), leaf, innermost) for leaf in leaves]
                dtypes = result.dtypes.get(result.spec)
                if dtypes is None:
                    return tuple(found)
                pairs = zip(found, dtypes, strict=True)
                return tuple(in_dtype(x, np.result_type(x.dtype, d)) for x, d in pairs)

            program = innermost._program
            one = Program(program.fun, inline, program.name, Statics(program.fun))
            dispatcher = Dispatcher(one)
            dispatcher.stats, dispatcher.events = main.stats, main.events
            main.examples = Examples(dispatcher, result)
        return main.examples

    # --- blocks

    def _in_blocks(self, args: tuple, kwargs: dict[str, Any], size: int) -> Any:
        """So many examples at a time, by the driver, which has several threads."""
        whole = self._axes.map(args, kwargs)
        blocks = self._blocks(whole.mapped)
        arrays, spec = in_blocks(blocks, whole, size)
        ones, shared = [a[0] for a in arrays], [True] * len(arrays)
        stacks, spec = moved(self.out_axes, arrays, spec, 0, ones, shared)
        return unflatten(spec, stacks)

    def _blocks(self, flags: list[bool]) -> Examples:
        """The path trees of blocks, which are one kernel each."""
        main = self._dispatcher
        known: Examples | None = main.block_paths.get(tuple(flags))
        if known is not None:
            return known
        result = Result()

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            leaves, spec = flatten((args, kwargs))
            pairs = zip(leaves, flags, strict=True)
            size = next(len(leaf) for leaf, flag in pairs if flag)
            block = Mapped(leaves, flags, size, lambda ls: unflatten(spec, ls))
            found = self._first(recorder(), fun, block)
            if found is None:
                raise _DecidesError
            self._placed(found)  # refuses a None in `out_axes` where results differ
            result.spec = found.spec
            return tuple(recorder().tracer(x.ref) for x in found.stacks)

        program = self._program
        one = Program(program.fun, inline, program.name, Statics(program.fun))
        dispatcher = Dispatcher(one)
        dispatcher.stats, dispatcher.events = main.stats, main.events
        main.block_paths[tuple(flags)] = Examples(dispatcher, result)
        return main.block_paths[tuple(flags)]

    # --- the results

    def _placed(self, found: _Joint) -> Any:
        """The results with their axes in place."""
        stacks, spec, ones, shared = found
        stacks, spec = moved(self.out_axes, stacks, spec, 0, ones, shared)
        return unflatten(spec, stacks)


class _Joint(NamedTuple):
    """The results of all examples, as one kernel has them.

    Attributes:
        ones: those of the first example.
        shared: which of them are the same for all.
    """

    stacks: list[Tracer]
    spec: Any
    ones: list[Tracer]
    shared: list[bool]


def _strong(rec: Recorder, leaf: Any, owner: Vmap) -> Tracer:
    """A result of one example as a value of the tape, with a dtype of its own."""
    if type(leaf) is Tracer:
        return rec.tracer(leaf.ref)
    if isinstance(leaf, (bool, int, float, complex, np.generic, np.ndarray)):
        return rec.tracer(as_tracer(rec, leaf).ref)
    raise UnsupportedError(
        message(
            f"vmap: {function_name(owner._program.fun)} returned a "
            f"{type(leaf).__name__}, which cannot be stacked",
            where=caller(),
            way_out="Return arrays, numbers and containers of them",
        )
    )


def _differ(owner: Vmap, one: Any, other: Any) -> str:
    return message(
        f"{function_name(owner._program.fun)} returns {one} for one example of the "
        f"batch and {other} for another",
        where=caller(),
        way_out="Return the same structure and shapes on every path",
    )
