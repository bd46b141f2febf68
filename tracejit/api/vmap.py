"""`vmap`: a function of one example, for all examples of a batch.

Two ways, and the function decides by what it does:

one kernel    No Python decision depends on the example.  The function is recorded once,
              and `passes.batching` puts an axis in front of what differs: wide loops
              and large matrix products instead of a loop over small ones.
paths         An `if` or `while` depends on it.  Each example takes its own path, with
              its own trip counts (`dispatch.examples`).  Inside another transform,
              where one tape holds all examples, they are recorded one after the other
              and rolled into a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from ..tape import Ref
from ..tracer import Recorder, Tracer, active_recorder
from .axes import Axes, InAxes, flat, moved
from .bodies import Marks
from .gradients import recorder
from .leaves import function_name
from .transform import Transform, decorator

__all__ = ["vmap"]


class _DecidesError(Exception):
    """The function decides on its example; not for the user."""


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
        if by_path:
            key = read_call(args, kwargs, program.statics, program.fun).key
            if key in by_path:
                return self._by_example(args, kwargs)
        try:
            return dispatcher.call(args, kwargs)
        except _DecidesError:
            key = read_call(args, kwargs, program.statics, program.fun).key
            by_path.add(key)
        return self._by_example(args, kwargs)

    def njit(self, *example: Any, **options: Any) -> Any:
        """See `Transform.njit`; the function must not decide on its example."""
        try:
            return super().njit(*example, **options)
        except _DecidesError:
            raise UnsupportedError(
                message(
                    f"njit: {self._program.name} decides on its example, so that there "
                    "is no one path for a batch",
                    where=caller(),
                    way_out="Use njit of the function without vmap, in a loop",
                )
            ) from None

    # --- one kernel

    def _batched(self, fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """On a recorder, for all examples at once, if that can be."""
        rec = recorder()
        mapped = self._axes.map(args, kwargs)
        found = self._first(rec, fun, mapped)
        if isinstance(found, _One):
            raise _DecidesError
        return found

    def _nested(self, fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Inside another transform."""
        rec = recorder()
        mapped = self._axes.map(args, kwargs)
        found = self._first(rec, fun, mapped)
        if not isinstance(found, _One):
            return found
        results: list[list[Any]] = [found.leaves]
        for k in range(1, mapped.size):
            out = fun(*(given := mapped.example(k))[0], **given[1])
            leaves, spec = flatten(out)
            if spec != found.spec:
                raise ArgumentError(_differ(self, found.spec, spec))
            results.append(leaves)
        columns = zip(*results, strict=True)
        stacks: list[Any] = [
            np.stack([as_tracer(rec, x) for x in column]) for column in columns
        ]
        return self._placed(stacks, found.spec)

    def _first(self, rec: Recorder, fun: Callable, mapped: Mapped) -> Any:
        """Record the first example; batch what it did, or give its result, a `_One`.

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
        marks.require_no_writes(
            "a function under vmap", "Return the value instead", ones
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
            return _One(leaves, spec)
        outs = []
        for leaf in leaves:
            x = as_tracer(rec, leaf)
            if x.ref.index in batched:
                outs.append(rec.tracer(env[x.ref.index]))
            else:
                shape = (mapped.size, *x.shape)
                row = reshape(x.ref, shape=(1, *x.shape))
                outs.append(rec.tracer(broadcast_to(row, shape=shape)))
        return self._placed(outs, spec, [as_tracer(rec, x) for x in leaves], batched)

    # --- paths

    def _by_example(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Each example on its own path; an inner `vmap` makes more examples."""
        innermost, mapped = self, self._axes.map(args, kwargs)
        levels = [(self, mapped.size)]
        while isinstance(inner := innermost._program.fun, Vmap):
            mapped, count = flat(inner._axes, mapped)
            innermost = inner
            levels.append((inner, count))
        arrays, spec = self._examples(innermost).call(mapped)
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
                if result.dtypes is None or len(result.dtypes) != len(found):
                    return tuple(found)
                pairs = zip(found, result.dtypes, strict=True)
                return tuple(in_dtype(x, np.result_type(x.dtype, d)) for x, d in pairs)

            program = innermost._program
            one = Program(program.fun, inline, program.name, Statics(program.fun))
            dispatcher = Dispatcher(one)
            dispatcher.stats, dispatcher.events = main.stats, main.events
            main.examples = Examples(dispatcher, result)
        return main.examples

    # --- the results

    def _placed(
        self,
        stacks: list[Any],
        spec: Any,
        ones: Sequence[Any] = (),
        batched: set[int] | None = None,
    ) -> Any:
        """The results with their axes in place; `ones` are those of one example."""
        shared = [batched is not None and x.ref.index not in batched for x in ones]
        stacks, spec = moved(self.out_axes, stacks, spec, 0, list(ones), shared)
        return unflatten(spec, stacks)


class _One:
    """The result of one example, where no batched one can be had."""

    def __init__(self, leaves: list[Any], spec: Any) -> None:
        self.leaves, self.spec = leaves, spec


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
