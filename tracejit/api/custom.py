"""`custom_vjp` and `custom_jvp`: functions with derivative rules of their own.

Under differentiation an identity instr goes on the tape that carries the rule; the
passes ask it when they come by:

    %3 = ...                                  (what `fwd` does: output and residuals)
    %5 = custom_vjp %3 %0 %4 {rule=f, n=1}    (output, arguments, residuals)

Levels.  `grad(grad(f))` differentiates twice on one tape.  As in JAX, the rule belongs
to the innermost differentiation; the outer one differentiates what `fwd` and `bwd`
do.  So a recorder counts the differentiations that are under way (`level`), `fwd` runs
one level further out, and a level that is done takes its rules off the tape
(`close_level`).  If `fwd` calls f again, the outer level meets a rule of its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..avals import Aval, is_float
from ..dispatch import session_function
from ..errors import ArgumentError, DifferentiationError, UnsupportedError, message
from ..numpy_api.protocols import Remembering
from ..ops import control
from ..ops.rows import zeros
from ..signature import caller, flatten
from ..tape import Builder, Ref
from ..tracer import Recorder, Tracer, active_recorder
from .arguments import Arguments, Leaves, positional
from .leaves import (
    at_level,
    cast,
    function_name,
    level_of,
    shape_text,
)
from .rules import free_refs
from .run_rule import Body, on_recorder

__all__ = ["custom_jvp", "custom_vjp"]


class _Ruled:
    """What `custom_vjp` and `custom_jvp` share: a decorated function."""

    __wrapped__: Callable

    def __init__(
        self,
        fun: Callable,
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        self.name = function_name(fun)
        numbers = (
            (nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums
        )
        names = (
            (nondiff_argnames,)
            if isinstance(nondiff_argnames, str)
            else nondiff_argnames
        )
        positions = list(inspect.signature(fun).parameters) if names else []
        self.nondiff = frozenset((*numbers, *map(positions.index, names)))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fun = self.__wrapped__
        rec = active_recorder()
        if rec is None:
            self._refuse_remembering((*args, *kwargs.values()))
            return fun(*args, **kwargs)
        level = level_of(rec)
        if level == 0:
            return session_function(rec, fun)(*args, **kwargs)
        self.require_rule()
        arguments = Arguments(rec, self.nondiff, positional(fun, args, kwargs))
        start = len(rec.instrs)
        out, extra, rule = self.record(rec, arguments, level)
        outputs = Leaves(out)
        if not arguments.leaves.refs or not outputs.refs:
            return out
        self._refuse_closures(rec, arguments.leaves, start)
        rule.outputs = outputs
        rule.level = level
        arguments.args = []  # so that nobody holds traced values
        params = {"rule": rule, "n": len(outputs.refs)}
        operands = (*outputs.refs, *arguments.leaves.refs, *extra)
        refs = rec.emit(self.primitive, operands, params)
        return outputs.rebuild(rec, refs)

    primitive: Any

    def require_rule(self) -> None:
        raise NotImplementedError

    def record(
        self, rec: Recorder, arguments: Arguments, level: int
    ) -> tuple[Any, list[Ref], _Rule]:
        """Run the function; its output, further operands for the rule, the rule."""
        raise NotImplementedError

    def _refuse_closures(self, rec: Recorder, inputs: Leaves, start: int) -> None:
        """A rule knows its arguments only; the rest would silently be a constant."""
        free = free_refs(rec.instrs[start:]) - {x.index for x in inputs.refs}
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
                        f"{self.name} has a custom rule and uses a traced value "
                        f"({rec.avals[index]!r}) from outside its arguments",
                        where=caller(),
                        way_out="Pass the value as an argument",
                    )
                )

    def _refuse_remembering(self, args: Sequence[Any]) -> None:
        """Variables record what they go through, and would not see the rule."""
        if any(isinstance(a, Remembering) and a.requires_grad for a in args):
            raise UnsupportedError(
                message(
                    f"{self.name} has a custom rule, which variables of "
                    "tracejit.autograd do not follow",
                    where=caller(),
                    way_out="Write the rule as an autograd.Function, which works here "
                    "and in grad",
                )
            )

    def missing(self, call: str) -> DifferentiationError:
        return DifferentiationError(
            message(
                f"{self.name} was declared to have a custom rule, but has none",
                where=caller(),
                way_out=f"Call {self.name}.{call} first",
            )
        )


def _refuse_symbolic(symbolic_zeros: bool) -> None:
    if symbolic_zeros:
        raise UnsupportedError(
            message(
                "symbolic_zeros=True: zeros are arrays here",
                where=caller(),
                way_out="Leave it away; what a rule does with zeros is simplified, and "
                "a rule may return None for zero",
            )
        )


def _pair(name: str, rule: str, value: Any, parts: str) -> tuple[Any, Any]:
    if isinstance(value, tuple) and len(value) == 2:
        return value
    raise ArgumentError(
        message(
            f"the {rule} of {name} returned {shape_text(value)}",
            where=caller(),
            way_out=f"Return ({parts})",
        )
    )


class _Rule:
    """A user's rule, bound to one call; stands on the tape as a param."""

    outputs: Leaves
    level: int

    def __init__(self, ruled: Any, arguments: Arguments) -> None:
        self.ruled = ruled
        self.name: str = ruled.name
        self.arguments = arguments

    def __repr__(self) -> str:
        return self.name

    @property
    def trees(self) -> list[Leaves]:
        """What the operands behind the outputs are."""
        return [self.arguments.leaves]

    def alike(self) -> Hashable:
        """Equal for rules that do the same: one of them stands for all in a loop."""
        shapes = [tree.alike() for tree in (*self.trees, self.outputs)]
        return (
            type(self).__name__,
            id(self.ruled),
            self.level,
            self.arguments.alike(),
            *shapes,
        )

    def keep(self) -> None:
        """Keep the values of the recorded call, whose refs go."""
        for tree in self.trees:
            tree.keep()

    def known_values(self) -> list[Any]:
        """What the operands behind the outputs were at the recording."""
        return [value for tree in self.trees for value in tree.values()]

    def on_recorder(
        self,
        builder: Builder,
        moves: Sequence[Ref | None],
        xs: list[Ref],
        body: Body,
    ) -> list[Ref | None]:
        known = self.known_values()
        return on_recorder(self.name, known, builder, moves, xs, body)

    def as_ref(self, rec: Recorder, leaf: Any, aval: Aval) -> Ref | None:
        """One leaf of what the rule returned, of the aval it has to have."""
        if leaf is None or not is_float(aval):
            return None
        if np.shape(leaf) != aval.shape:
            raise ArgumentError(
                message(
                    f"the rule of {self.name} returned {shape_text(leaf)} for {aval!r}",
                    where=caller(),
                    way_out="Derivatives have the shape of what they belong to",
                )
            )
        if type(leaf) is Tracer:
            return cast(leaf.ref, aval.dtype)
        array = np.asarray(leaf, aval.dtype)
        return rec.capture(array) if array.ndim else rec.const(array[()], aval.dtype)


class _VjpRule(_Rule):
    def __init__(self, ruled: Any, arguments: Arguments, residuals: Any) -> None:
        super().__init__(ruled, arguments)
        self.residuals = Leaves(residuals)

    @property
    def trees(self) -> list[Leaves]:
        return [self.arguments.leaves, self.residuals]

    def vjp(
        self, builder: Builder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        return self.on_recorder(builder, cts, xs, self._pull)

    def _pull(
        self, rec: Recorder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        inputs = self.arguments.leaves
        residuals = self.residuals.rebuild(rec, xs[len(inputs.refs) :])
        ct = self.outputs.directions(rec, cts)
        bwd = session_function(rec, self.ruled.bwd)
        with at_level(rec, self.level - 1):
            found = bwd(*self.arguments.nondiff, residuals, ct)
        leaves = self._leaves(found)
        chosen = [leaves[i] for i in inputs.traced]
        refs = [
            self.as_ref(rec, leaf, aval)
            for leaf, aval in zip(chosen, inputs.avals, strict=True)
        ]
        return refs + [None] * len(self.residuals.refs)

    def _leaves(self, found: Any) -> list[Any]:
        """The rule's answer, one cotangent or None per leaf of the arguments."""
        spec = self.arguments.leaves.spec
        wanted = len(self.arguments.numbers)
        if not isinstance(found, (tuple, list)) or len(found) != wanted:
            several = isinstance(found, (tuple, list))
            got = f"{len(found)} cotangents" if several else shape_text(found)
            raise ArgumentError(
                message(
                    f"the backward rule of {self.name} returned {got} for {wanted} "
                    f"argument{'s' * (wanted != 1)}",
                    where=caller(),
                    way_out="Return a tuple with one cotangent per argument, None for "
                    "zero",
                )
            )
        flat: list[Any] = []
        for child, part in zip(spec.children(), found, strict=True):
            leaves, part_spec = flatten(part)
            if part is None:
                leaves = [None] * child.num_leaves
            elif part_spec != child:
                raise ArgumentError(
                    message(
                        f"the backward rule of {self.name} returned a cotangent of the "
                        f"structure {part_spec} for an argument of {child}",
                        where=caller(),
                        way_out="Give a cotangent the structure of its argument",
                    )
                )
            flat += leaves
        return flat


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

    primitive = control.custom_vjp
    fwd: Callable | None = None
    bwd: Callable | None = None

    def defvjp(
        self, fwd: Callable, bwd: Callable, *, symbolic_zeros: bool = False
    ) -> None:
        """Set the rule."""
        _refuse_symbolic(symbolic_zeros)
        self.fwd, self.bwd = fwd, bwd

    def require_rule(self) -> None:
        if self.fwd is None:
            raise self.missing("defvjp(fwd, bwd)")

    def record(
        self, rec: Recorder, arguments: Arguments, level: int
    ) -> tuple[Any, list[Ref], _Rule]:
        assert self.fwd is not None
        with at_level(rec, level - 1):
            pair = session_function(rec, self.fwd)(*arguments.args)
        out, residuals = _pair(self.name, "forward rule", pair, "output, residuals")
        rule = _VjpRule(self, arguments, residuals)
        return out, rule.residuals.refs, rule


class _JvpRule(_Rule):
    """Has no `vjp`, so that the vjp pass transposes what `jvp` emits."""

    def jvp(
        self, builder: Builder, tangents: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        return self.on_recorder(builder, tangents, xs, self._push)

    def _push(
        self, rec: Recorder, tangents: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        inputs = self.arguments.leaves
        full = [zeros(x) if t is None else t for t, x in zip(tangents, xs, strict=True)]
        primals = tuple(inputs.rebuild(rec, xs))
        moves = tuple(inputs.directions(rec, full))
        rule = session_function(rec, self.ruled.rule)
        with at_level(rec, self.level - 1):
            pair = rule(*self.arguments.nondiff, primals, moves)
        _, tangent = _pair(self.name, "rule", pair, "output, tangent")
        found, spec = flatten(tangent)
        outputs = self.outputs
        if spec != outputs.spec:
            raise ArgumentError(
                message(
                    f"the rule of {self.name} returned a tangent of the structure "
                    f"{spec} for an output of {outputs.spec}",
                    where=caller(),
                    way_out="Give the tangent the structure of the output",
                )
            )
        return [
            self.as_ref(rec, found[i], aval)
            for i, aval in zip(outputs.traced, outputs.avals, strict=True)
        ]


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

    primitive = control.custom_jvp
    rule: Callable | None = None

    def defjvp(self, rule: Callable, *, symbolic_zeros: bool = False) -> Callable:
        """Set the rule."""
        _refuse_symbolic(symbolic_zeros)
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable | None) -> None:
        """Set one rule for each argument: `rule(tangent, output, *args)`.

        It returns the output's tangent; None stands for a derivative of zero.
        """

        def rule(*given: Any) -> Any:
            primals, tangents = given[-2:]
            out = self(*primals)
            total = None
            for push, tangent in zip(rules, tangents, strict=True):
                if push is not None:
                    part = push(tangent, out, *primals)
                    total = part if total is None else total + part
            return out, total

        if self.nondiff:
            raise ArgumentError(
                message(
                    f"{self.name}.defjvps goes with all arguments, and {self.name} has "
                    "nondiff_argnums",
                    where=caller(),
                    way_out=f"Use {self.name}.defjvp",
                )
            )
        self.rule = rule

    def require_rule(self) -> None:
        if self.rule is None:
            raise self.missing("defjvp(rule)")

    def record(
        self, rec: Recorder, arguments: Arguments, level: int
    ) -> tuple[Any, list[Ref], _Rule]:
        out = session_function(rec, self.__wrapped__)(*arguments.args)
        return out, [], _JvpRule(self, arguments)
