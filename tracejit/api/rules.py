"""`stop_gradient` and `checkpoint`: functions that only derivatives notice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from ..avals import is_float
from ..dispatch import session_function
from ..numpy_api.protocols import Remembering
from ..ops import control
from ..passes.vjp import vjp as emit_vjp
from ..primitive import PRIMITIVES
from ..signature import flatten, unflatten
from ..tape import Builder, Instr, Ref, Tape, guard
from ..text import body_text
from ..tracer import Tracer, active_recorder
from .leaves import function_name

__all__ = ["checkpoint", "detach", "free_refs", "stop_gradient"]


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
    if isinstance(leaf, Remembering):
        return leaf.detach()
    if type(leaf) is not Tracer:
        return leaf
    ref = leaf.rec.apply(PRIMITIVES["stop_gradient"], (leaf.ref,), {})
    return leaf.rec.tracer(ref, leaf.weak)


detach = stop_gradient


def free_refs(instrs: Sequence[Instr]) -> set[int]:
    """What instrs use and do not define."""
    defined: set[int] = set()
    free: set[int] = set()
    for instr in instrs:
        free.update(a for a in instr.args if a not in defined)
        defined.update(instr.outs)
    return free


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

    @functools.cached_property
    def _alike(self) -> Hashable:
        numbers: dict[int, int] = {}
        for ref in self.xs:
            numbers.setdefault(ref, len(numbers))
        found: list[Hashable] = [self.name, len(self.xs)]
        for instr in self.body:
            args = tuple(numbers[a] for a in instr.args)
            for out in instr.outs:
                numbers.setdefault(out, len(numbers))
            found.append((instr.prim.name, args, len(instr.outs), *_said(instr)))
        return *found, *[numbers[y] for y in self.ys]

    def alike(self) -> Hashable:
        """Equal for rules that do the same: one of them stands for all in a loop."""
        return self._alike

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


def _said(instr: Instr) -> Iterator[Hashable]:
    """The params of an instr; NaN and -0.0 are told apart by their text."""
    for key, value in instr.params.items():
        if isinstance(value, Tape):
            yield key, body_text(value)
        elif key == "rule":
            yield key, value.alike() if hasattr(value, "alike") else id(value)
        elif key != "family":
            yield key, type(value), repr(value) if type(value) is float else value


class _Checkpointed:
    """A function whose results are not kept for the backward pass."""

    __wrapped__: Callable

    def __init__(self, fun: Callable) -> None:
        functools.update_wrapper(self, fun, updated=())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__  # type: ignore[attr-defined]

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
        xs = [rec.ref(i) for i in sorted(free_refs(body))]
        if not xs or not computed:
            return out
        ys = [leaves[i].ref for i in computed]
        params = {
            "rule": _CheckpointRule(function_name(fun), body, ys, xs),
            "n": len(ys),
        }
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
