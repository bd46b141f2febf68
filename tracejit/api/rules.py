"""`stop_gradient`, `custom_vjp`, `custom_jvp`, `checkpoint`.

A function with a rule is recorded like any other; then one identity instr goes on the
tape that carries the rule, and the passes ask it when they come by:

    %3 = ...the function's own instrs...
    %4 = custom_vjp %3 %0 {rule=f, n=1}
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..avals import is_float
from ..dispatch import Session, session_function
from ..errors import ArgumentError, DifferentiationError, UnsupportedError, message
from ..ops import control
from ..ops.rows import zeros
from ..passes.vjp import vjp as emit_vjp
from ..primitive import PRIMITIVES
from ..signature import caller, flatten, unflatten
from ..tape import Builder, Instr, Ref, guard
from ..tracer import Recorder, Tracer, active_recorder, recording
from .leaves import cast, shape_text

__all__ = ["checkpoint", "custom_jvp", "custom_vjp", "detach", "stop_gradient"]


def stop_gradient(x: Any) -> Any:
    """The same value, without derivative; containers leaf by leaf.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> grad(lambda x: np.sum(stop_gradient(x * x) * x))(np.array([2.0, 3.0]))
        array([4., 9.])
    """
    leaves, spec = flatten(x)
    return unflatten(spec, [_stopped(leaf) for leaf in leaves])


def _stopped(leaf: Any) -> Any:
    if type(leaf) is not Tracer:
        return leaf
    ref = leaf.rec.apply(PRIMITIVES["stop_gradient"], (leaf.ref,), {})
    return leaf.rec.tracer(ref, leaf.weak)


detach = stop_gradient


class _Split:
    """Arguments taken apart: traced leaves, and all the rest."""

    def __init__(self, fun: Callable, nondiff: frozenset[int], args: tuple) -> None:
        self.nondiff = [args[i] for i in sorted(nondiff) if i < len(args)]
        self.numbers = [i for i in range(len(args)) if i not in nondiff]
        self.args = args
        self.leaves, self.spec = flatten([args[i] for i in self.numbers])
        self.traced = [i for i, v in enumerate(self.leaves) if type(v) is Tracer]
        self.weak = [self.leaves[i].weak for i in self.traced]
        self.xs = [self.leaves[i].ref for i in self.traced]

    def rebuild(self, rec: Recorder, xs: Sequence[Ref]) -> list[Any]:
        """The differentiable arguments with tracers for `xs`."""
        leaves = list(self.leaves)
        for i, weak, x in zip(self.traced, self.weak, xs, strict=True):
            leaves[i] = rec.tracer(x, weak)
        return unflatten(self.spec, leaves)

    def full(self, diff: Sequence[Any]) -> list[Any]:
        """All arguments, given the differentiable ones."""
        args = list(self.args)
        for i, value in zip(self.numbers, diff, strict=True):
            args[i] = value
        return args


def _positional(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Keyword arguments in their places, defaults filled in."""
    if not kwargs:
        return args
    bound = inspect.signature(fun).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        name = next(iter(bound.kwargs))
        raise ArgumentError(
            message(
                f"{_name(fun)} has a custom rule and a keyword-only argument {name!r}",
                where=caller(),
                way_out="Make it a positional one",
            )
        )
    return bound.args


def _name(fun: Callable) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


class _Ruled:
    """A function with a derivative rule of its own; a decorator."""

    __wrapped__: Callable

    def __init__(
        self, fun: Callable, nondiff_argnums: int | Sequence[int] = ()
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        numbers = (
            (nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums
        )
        self.nondiff = frozenset(numbers)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fun = self.__wrapped__
        rec = active_recorder()
        if rec is None:
            return fun(*args, **kwargs)
        self._require_rule()
        args = _positional(fun, args, kwargs)
        split = _Split(fun, self.nondiff, args)
        start = len(rec.instrs)
        out = session_function(rec, fun)(*args)
        leaves, spec = flatten(out)
        traced = [i for i, leaf in enumerate(leaves) if type(leaf) is Tracer]
        if not traced:
            return out
        self._refuse_closures(rec, split, start)
        if not split.xs:
            return out
        rule = self._rule(split, leaves, spec, traced)
        ys = [leaves[i].ref for i in traced]
        params = {"rule": rule, "n": len(ys)}
        outs = rec.emit(self._primitive, (*ys, *split.xs), params)
        for i, ref in zip(traced, outs, strict=True):
            leaves[i] = rec.tracer(ref, leaves[i].weak)
        return unflatten(spec, leaves)

    _primitive: Any

    def _require_rule(self) -> None:
        raise NotImplementedError

    def _rule(
        self, split: _Split, leaves: list[Any], spec: Any, traced: list[int]
    ) -> _Rule:
        raise NotImplementedError

    def _refuse_closures(self, rec: Recorder, split: _Split, start: int) -> None:
        """A rule knows its arguments only: the rest would silently count as constant."""
        free = _free(rec, rec.instrs[start:]) - {x.index for x in split.xs}
        if not free:
            return
        depends = set(rec.inputs)
        for instr in rec.instrs[:start]:
            if instr.prim.differentiable and not depends.isdisjoint(instr.args):
                depends.update(instr.outs)
        for index in sorted(free & depends):
            if is_float(rec.avals[index]):
                raise UnsupportedError(
                    message(
                        f"{_name(self.__wrapped__)} has a custom rule and uses a "
                        f"traced value ({rec.avals[index]!r}) from outside its "
                        "arguments",
                        where=caller(),
                        way_out="Pass the value as an argument",
                    )
                )


def _free(rec: Recorder, instrs: Sequence[Instr]) -> set[int]:
    """What instrs use and do not define."""
    defined: set[int] = set()
    free: set[int] = set()
    for instr in instrs:
        free.update(a for a in instr.args if a not in defined)
        defined.update(instr.outs)
    return free


class _Rule:
    """A user's rule, bound to the arguments of one call; stands on the tape."""

    def __init__(
        self,
        ruled: Any,
        split: _Split,
        leaves: list[Any],
        spec: Any,
        traced: list[int],
    ) -> None:
        self.ruled = ruled
        self.name = _name(ruled.__wrapped__)
        self.split = split
        self.out_leaves = leaves
        self.out_spec = spec
        self.traced = traced
        self.out_avals = [leaves[i].ref.aval for i in traced]

    def __repr__(self) -> str:
        return self.name

    def on_recorder(
        self,
        builder: Builder,
        refs: Sequence[Ref],
        body: Callable[[Recorder, list[Ref]], list[Ref | None]],
    ) -> list[Ref | None]:
        """Run `body`, which runs the user's rule, so that its instrs go to `builder`.

        A builder that is no recorder has no values to run Python on: a session of its
        own stands in, with the values of the recorded call and ones for the rest.
        """
        if isinstance(builder, Recorder):
            return body(builder, list(refs))
        session = Session(self.name)
        known = [leaf.value for leaf in self._tracers()]
        extra = len(refs) - len(known)
        values = [np.ones(r.shape, r.dtype)[()] for r in refs[:extra]] + known
        inner = [session.input_value(np.asarray(v)[()]) for v in values]
        with recording(session):
            results = body(session, inner)
        if session.guards or session.hidden:
            raise UnsupportedError(
                message(
                    f"the rule of {self.name} decides on values, or uses arrays from "
                    "outside, where it is applied to a batch",
                    where=caller(),
                    way_out="Use np.where in the rule, and pass arrays as arguments",
                )
            )
        env = dict(zip([ref.index for ref in inner], refs, strict=True))
        for instr in session.instrs:
            builder.replay(instr, env)
        return [None if r is None else env[r.index] for r in results]

    def _tracers(self) -> list[Tracer]:
        return [self.split.leaves[i] for i in self.split.traced]

    def _ref(self, rec: Recorder, leaf: Any, x: Ref) -> Ref | None:
        if leaf is None or not is_float(x.aval):
            return None
        if np.shape(leaf) != x.shape:
            raise ArgumentError(
                message(
                    f"the rule of {self.name} returned {shape_text(leaf)} for "
                    f"{x.aval!r}",
                    where=caller(),
                    way_out="Derivatives have the shape of what they belong to",
                )
            )
        if type(leaf) is Tracer:
            return cast(leaf.ref, x.dtype)
        array = np.asarray(leaf, x.dtype)
        return rec.capture(array) if array.ndim else rec.const(array[()], x.dtype)


class _VjpRule(_Rule):
    def vjp(
        self, builder: Builder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        def body(rec: Recorder, refs: list[Ref]) -> list[Ref | None]:
            given = iter(refs[: len(refs) - len(xs)])
            mine = [None if ct is None else next(given) for ct in cts]
            return self._pull(rec, mine, refs[len(refs) - len(xs) :])

        return self.on_recorder(
            builder, [*(c for c in cts if c is not None), *xs], body
        )

    def _pull(
        self, rec: Recorder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        split, ruled = self.split, self.ruled
        diff = split.rebuild(rec, xs)
        pair = session_function(rec, ruled.fwd)(*split.full(diff))
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ArgumentError(
                message(
                    f"the forward rule of {self.name} returned {shape_text(pair)}",
                    where=caller(),
                    way_out="Return (output, residuals)",
                )
            )
        ct = self._cotangent(rec, cts)
        bwd = session_function(rec, ruled.bwd)
        found = bwd(*split.nondiff, pair[1], ct)
        return self._checked(rec, found, xs)

    def _cotangent(self, rec: Recorder, cts: list[Ref | None]) -> Any:
        leaves = list(self.out_leaves)
        given = dict(zip(self.traced, cts, strict=True))
        avals = dict(zip(self.traced, self.out_avals, strict=True))
        for i, leaf in enumerate(leaves):
            ref = given.get(i)
            if ref is not None:
                leaves[i] = rec.tracer(ref)
            elif i in avals:
                leaves[i] = np.zeros(avals[i].shape, avals[i].dtype)[()]
            else:
                leaves[i] = np.zeros_like(leaf)
        return unflatten(self.out_spec, leaves)

    def _checked(self, rec: Recorder, found: Any, xs: list[Ref]) -> list[Ref | None]:
        """The rule's answer as one cotangent per traced leaf."""
        split = self.split
        wanted = len(split.numbers)
        if not isinstance(found, (tuple, list)) or len(found) != wanted:
            got = f"{len(found)}" if isinstance(found, (tuple, list)) else "one"
            raise ArgumentError(
                message(
                    f"the backward rule of {self.name} returned {got} cotangents for "
                    f"{wanted} arguments",
                    where=caller(),
                    way_out="Return a tuple with one cotangent per argument, None for "
                    "zero",
                )
            )
        flat: list[Any] = []
        for child, part in zip(split.spec.children(), found, strict=True):
            leaves, spec = flatten(part)
            if part is None:
                leaves = [None] * child.num_leaves
            elif spec != child:
                raise ArgumentError(
                    message(
                        f"the backward rule of {self.name} returned a cotangent of the "
                        f"structure {spec} for an argument of {child}",
                        where=caller(),
                        way_out="Give a cotangent the structure of its argument",
                    )
                )
            flat += leaves
        chosen = [flat[i] for i in split.traced]
        return [self._ref(rec, c, x) for c, x in zip(chosen, xs, strict=True)]


class custom_vjp(_Ruled):
    """A function with a reverse rule of its own.

    `f.defvjp(fwd, bwd)`: `fwd(*args)` returns `(output, residuals)`, and
    `bwd(residuals, ct)` a tuple of cotangents, one per argument, None for zero.
    Arguments `nondiff_argnums` come first in `bwd`.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> @custom_vjp
        ... def clipped(x):
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1, 1),))
        >>> grad(lambda x: np.sum(clipped(x) ** 2))(np.array([0.1, 5.0]))
        array([0.2, 1. ])
    """

    _primitive = control.custom_vjp
    fwd: Callable | None = None
    bwd: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Set the rule."""
        self.fwd, self.bwd = fwd, bwd

    def _require_rule(self) -> None:
        if self.fwd is None:
            raise DifferentiationError(_no_rule(self, "defvjp(fwd, bwd)"))

    def _rule(
        self, split: _Split, leaves: list[Any], spec: Any, traced: list[int]
    ) -> _Rule:
        return _VjpRule(self, split, leaves, spec, traced)


class _JvpRule(_Rule):
    """Has no `vjp`, so that the vjp pass transposes what `jvp` emits."""

    def jvp(
        self, builder: Builder, tangents: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        def body(rec: Recorder, refs: list[Ref]) -> list[Ref | None]:
            given = iter(refs[: len(refs) - len(xs)])
            moves = [None if t is None else next(given) for t in tangents]
            return self._push(rec, moves, refs[len(refs) - len(xs) :])

        known = [t for t in tangents if t is not None]
        return self.on_recorder(builder, [*known, *xs], body)

    def _push(
        self, rec: Recorder, tangents: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        split = self.split
        diff = split.rebuild(rec, xs)
        full = [zeros(x) if t is None else t for t, x in zip(tangents, xs, strict=True)]
        dots_of = [
            None if type(leaf) is Tracer else np.zeros_like(np.asarray(leaf))
            for leaf in split.leaves
        ]
        for i, ref in zip(split.traced, full, strict=True):
            dots_of[i] = rec.tracer(ref)
        dots = unflatten(split.spec, dots_of)
        rule = session_function(rec, self.ruled.rule)
        pair = rule(*split.nondiff, tuple(diff), tuple(dots))
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise ArgumentError(
                message(
                    f"the rule of {self.name} returned {shape_text(pair)}",
                    where=caller(),
                    way_out="Return (output, tangent)",
                )
            )
        found, spec = flatten(pair[1])
        if spec != self.out_spec:
            raise ArgumentError(
                message(
                    f"the rule of {self.name} returned a tangent of the structure "
                    f"{spec} for an output of {self.out_spec}",
                    where=caller(),
                    way_out="Give the tangent the structure of the output",
                )
            )
        outs = [self.out_leaves[i].ref for i in self.traced]
        chosen = [found[i] for i in self.traced]
        return [self._ref(rec, c, y) for c, y in zip(chosen, outs, strict=True)]


class custom_jvp(_Ruled):
    """A function with a forward rule of its own, from which reverse mode follows.

    `f.defjvp(rule)`: `rule(primals, tangents)` returns `(output, tangent)`; it must be
    linear in the tangents.  Arguments `nondiff_argnums` come first.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> @custom_jvp
        ... def root(x):
        ...     return np.sqrt(x)
        >>> @root.defjvp
        ... def rule(primals, tangents):
        ...     y = root(*primals)
        ...     return y, tangents[0] / (2 * y)
        >>> grad(root)(4.0)
        np.float64(0.25)
    """

    _primitive = control.custom_jvp
    rule: Callable | None = None

    def defjvp(self, rule: Callable) -> Callable:
        """Set the rule."""
        self.rule = rule
        return rule

    def _require_rule(self) -> None:
        if self.rule is None:
            raise DifferentiationError(_no_rule(self, "defjvp(rule)"))

    def _rule(
        self, split: _Split, leaves: list[Any], spec: Any, traced: list[int]
    ) -> _Rule:
        return _JvpRule(self, split, leaves, spec, traced)


def _no_rule(ruled: _Ruled, call: str) -> str:
    name = _name(ruled.__wrapped__)
    return message(
        f"{name} was declared to have a custom rule, but has none",
        where=caller(),
        way_out=f"Call {name}.{call} first",
    )


# --- checkpoint ----------------------------------------------------------------------


class _CheckpointRule:
    """Computes the body again, behind barriers, and pulls back through that."""

    def __init__(
        self, name: str, body: list[Instr], ys: list[Ref], xs: list[Ref]
    ) -> None:
        self.name = name
        self.body = [instr for instr in body if instr.prim is not guard]
        self.ys = [y.index for y in ys]
        self.xs = [x.index for x in xs]

    def __repr__(self) -> str:
        return self.name

    def vjp(
        self, builder: Builder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        again = [PRIMITIVES["barrier"](x) for x in xs]
        env = dict(zip(self.xs, again, strict=True))
        start = len(builder.instrs)
        for instr in self.body:
            builder.replay(instr, env)
        outs = [env[y] for y in self.ys]
        moving = [x for x in again if is_float(x.aval)]
        found = iter(emit_vjp(builder, outs, cts, moving, start))
        return [next(found) if is_float(x.aval) else None for x in again]


class _Checkpointed:
    """A function whose results are not kept for the backward pass."""

    __wrapped__: Callable

    def __init__(self, fun: Callable) -> None:
        functools.update_wrapper(self, fun, updated=())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fun = self.__wrapped__
        rec = active_recorder()
        if rec is None:
            return fun(*args, **kwargs)
        start = len(rec.instrs)
        out = session_function(rec, fun)(*args, **kwargs)
        body = rec.instrs[start:]
        made = {ref for instr in body for ref in instr.outs}
        leaves, spec = flatten(out)
        # What the body only hands through has nothing to be computed again.
        computed = [
            i
            for i, leaf in enumerate(leaves)
            if type(leaf) is Tracer and leaf.ref.index in made
        ]
        xs = [rec.ref(i) for i in sorted(_free(rec, body))]
        if not xs or not computed:
            return out
        ys = [leaves[i].ref for i in computed]
        params = {"rule": _CheckpointRule(_name(fun), body, ys, xs), "n": len(ys)}
        outs = rec.emit(control.checkpoint, (*ys, *xs), params)
        for i, ref in zip(computed, outs, strict=True):
            leaves[i] = rec.tracer(ref, leaves[i].weak)
        return unflatten(spec, leaves)


def checkpoint(fun: Callable | None = None) -> Callable:
    """Keep nothing of this function for the backward pass; compute it again there.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> grad(lambda x: checkpoint(np.sin)(x) ** 2)(0.5)
        np.float64(0.84...)
    """
    return checkpoint if fun is None else _Checkpointed(fun)
