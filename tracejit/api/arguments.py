"""The arguments of a function with a rule of its own, taken apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..avals import Aval
from ..errors import ArgumentError, message
from ..signature import caller, flatten, unflatten
from ..tape import Ref
from ..tracer import Recorder, Tracer
from .leaves import fresh_copy, function_name, watch

__all__ = ["Arguments", "Leaves", "positional"]


class Arguments:
    """The arguments of one call, taken apart: traced leaves, and all the rest.

    Traced leaves get refs of their own, so that a use of the same value that does not
    go through the arguments is told apart.
    """

    def __init__(self, rec: Recorder, nondiff: frozenset[int], args: tuple) -> None:
        self.nondiff = [args[i] for i in sorted(nondiff) if i < len(args)]
        self.numbers = [i for i in range(len(args)) if i not in nondiff]
        given = Leaves([args[i] for i in self.numbers])
        fresh = given.rebuild(rec, [fresh_copy(rec, ref) for ref in given.refs])
        self.leaves = Leaves(fresh)
        self.args = list(args)
        for i, value in zip(self.numbers, fresh, strict=True):
            self.args[i] = value
            watch(rec, value, f"argument {i}")

    def alike(self) -> Hashable:
        """Equal for calls that differ in their traced values only."""
        return self.leaves.alike(), *[(type(x), _content(x)) for x in self.nondiff]


class _Traced(NamedTuple):
    """What is remembered of a traced leaf, which need not stay alive for it."""

    ref: Ref
    weak: type | None


class Leaves:
    """A pytree, taken apart: which leaves are traced, and their refs."""

    def __init__(self, tree: Any) -> None:
        leaves, self.spec = flatten(tree)
        self.all = [
            _Traced(leaf.ref, leaf.weak) if type(leaf) is Tracer else leaf
            for leaf in leaves
        ]
        found = enumerate(self.all)
        self.traced = [i for i, leaf in found if type(leaf) is _Traced]
        self.refs: list[Ref] = [self.all[i].ref for i in self.traced]
        self.avals: list[Aval] = [ref.aval for ref in self.refs]
        self._kept: list[Any] | None = None

    def values(self) -> list[Any]:
        """What the traced leaves were at the recording."""
        if self._kept is not None:
            return self._kept
        return [ref.builder.value(ref) for ref in self.refs]  # type: ignore[attr-defined]

    def keep(self) -> None:
        """Keep the values: their refs go from the recording."""
        self._kept = self.values()

    def alike(self) -> Hashable:
        """Equal for trees that differ in their traced values only."""
        return self.spec, *[
            leaf.weak if type(leaf) is _Traced else (type(leaf), _content(leaf))
            for leaf in self.all
        ]

    def rebuild(self, rec: Recorder, refs: Sequence[Ref]) -> Any:
        """The tree with tracers of `rec` for the traced leaves."""
        leaves = list(self.all)
        for i, ref in zip(self.traced, refs, strict=True):
            leaves[i] = rec.tracer(ref, leaves[i].weak)
        return unflatten(self.spec, leaves)

    def directions(self, rec: Recorder, refs: Sequence[Ref | None]) -> Any:
        """The tree with tangents or cotangents, zeros where there are none."""
        leaves = []
        given = dict(zip(self.traced, refs, strict=True))
        for i, leaf in enumerate(self.all):
            ref = given.get(i)
            if ref is not None:
                leaves.append(rec.tracer(ref))
            elif type(leaf) is _Traced:
                leaves.append(np.zeros(leaf.ref.shape, leaf.ref.dtype)[()])
            else:
                leaves.append(np.zeros_like(np.asarray(leaf))[()])
        return unflatten(self.spec, leaves)


#: Arrays of more bytes are equal only if they are the same object.
_SMALL = 1 << 10


def _content(leaf: Any) -> Hashable:
    """Equal for untraced leaves that a rule cannot tell apart."""
    if type(leaf) in (int, float, complex, bool, str, type(None)):
        return repr(leaf)
    if type(leaf) is np.ndarray and leaf.nbytes <= _SMALL and leaf.dtype.kind in "biuf":
        return leaf.dtype.str, leaf.shape, leaf.tobytes()
    return id(leaf)


def positional(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Keyword arguments in their places, defaults filled in."""
    if not kwargs:
        return args
    bound = inspect.signature(fun).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        name = next(iter(bound.kwargs))
        raise ArgumentError(
            message(
                f"{function_name(fun)} has a custom rule and a keyword-only argument "
                f"{name!r}",
                where=caller(),
                way_out="Make it a positional one",
            )
        )
    return bound.args
