"""Where the examples are: `in_axes` and `out_axes` of `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import optree

from ..dispatch import Mapped
from ..errors import ArgumentError, message
from ..signature import NAMESPACE, caller, flatten, leaf_names, prepare, unflatten
from ..tracer import Tracer
from .leaves import function_name, shape_text

__all__ = ["Axes", "InAxes", "flat", "moved"]

Axes = Any  #: an int, None, or a container of these; a prefix of the tree it is for


@dataclass(frozen=True)
class InAxes:
    """The axes of the arguments.

    Attributes:
        fun: the function of one example.
        axes: what the user gave.
        shift: so many arguments in front have none (`self`).
    """

    fun: Callable
    axes: Axes
    shift: int

    def map(self, args: tuple, kwargs: dict[str, Any]) -> Mapped:
        """The arguments, mapped axes in front."""
        axes = self.of(args, kwargs)
        leaves, spec = flatten((args, kwargs))
        counts: dict[int, int] = {}
        fronts, mapped = [], []
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
            array = isinstance(leaf, (np.ndarray, Tracer)) and leaf.ndim > 0
            if axis is None or not (array or (np.ndim(leaf) == 0 and _number(leaf))):
                fronts.append(leaf)
                mapped.append(False)
                continue
            if not array:
                way_out = "Set its in_axes to None if all examples share it"
                self._refuse_leaf(leaf, spec, i, axis, way_out)
            if not -leaf.ndim <= axis < leaf.ndim:
                way_out = f"Its axes are 0 to {leaf.ndim - 1}"
                self._refuse_leaf(leaf, spec, i, axis, way_out)
            front = np.moveaxis(leaf, axis, 0) if axis else leaf
            fronts.append(front if type(front) is Tracer else prepare(front))
            mapped.append(True)
            counts.setdefault(leaf.shape[axis], i)
        return Mapped(fronts, mapped, self._count(counts, spec), _builder(spec))

    def _refuse_leaf(
        self, leaf: Any, spec: Any, i: int, axis: int, way_out: str
    ) -> NoReturn:
        what = f"argument {leaf_names(spec, self.fun)[i]} is {shape_text(leaf)}"
        raise ArgumentError(
            message(
                f"vmap: {what} and has no axis {axis}", where=caller(), way_out=way_out
            )
        )

    def of(self, args: tuple, kwargs: dict[str, Any]) -> list[int | None]:
        """The axis of each leaf."""
        axes = self.axes
        if axes is None or _integer(axes):
            axes = (axes,) * (len(args) - self.shift)
        wrong = not isinstance(axes, (tuple, list))
        if wrong or len(axes) != len(args) - self.shift:
            raise ArgumentError(
                message(
                    f"vmap: in_axes={self.axes!r}, but "
                    f"{function_name(self.fun)} was called with "
                    f"{len(args) - self.shift} positional arguments",
                    where=caller(),
                    way_out="Give an int, None, or one of these for each argument",
                )
            )
        axes = (*(None,) * self.shift, *axes)
        found: list[int | None] = []
        for prefix, arg in zip(axes, args, strict=True):
            found += _spread(prefix, arg, "in_axes", self.axes)
        return found + _spread(0, kwargs, "in_axes", self.axes)

    def _count(self, counts: dict[int, int], spec: Any) -> int:
        if len(counts) == 1 and (count := next(iter(counts))) > 0:
            return count
        if not counts:
            what, way_out = (
                "no argument is mapped",
                "Set in_axes of at least one of them",
            )
        elif len(counts) > 1:
            names = leaf_names(spec, self.fun)
            (n, one), (m, other) = list(counts.items())[:2]
            what = f"{names[one]} has {n} examples and {names[other]} has {m}"
            way_out = "Mapped axes must have one length"
        else:
            what, way_out = "there are no examples", "Call it with at least one"
        raise ArgumentError(message(f"vmap: {what}", where=caller(), way_out=way_out))


def flat(inner: InAxes, outer: Mapped) -> tuple[Mapped, int]:
    """One batch of all pairs of an outer and an inner example; the inner count."""
    mapped = inner.map(*outer.example(0))
    axes = inner.of(*outer.example(0))
    fronts = []
    for k, leaf in enumerate(outer.leaves):
        both = (outer.size, mapped.size)
        if outer.mapped[k] and mapped.mapped[k]:
            axis = axes[k] or 0
            rank = leaf.ndim - 1
            leaf = np.moveaxis(leaf, axis % rank + 1, 1)
        elif outer.mapped[k]:
            leaf = np.broadcast_to(leaf[:, None], (*both, *leaf.shape[1:]))
        elif mapped.mapped[k]:
            leaf = np.broadcast_to(
                mapped.leaves[k], (outer.size, *mapped.leaves[k].shape)
            )
        else:
            fronts.append(leaf)
            continue
        leaf = leaf.reshape((both[0] * both[1], *leaf.shape[2:]))
        fronts.append(leaf if type(leaf) is Tracer else prepare(leaf))
    flags = [a or b for a, b in zip(outer.mapped, mapped.mapped, strict=True)]
    pairs = Mapped(fronts, flags, outer.size * mapped.size, outer.build)
    return pairs, mapped.size


def moved(
    out_axes: Axes,
    stacks: list[Any],
    spec: Any,
    depth: int,
    ones: Sequence[Any] = (),
    shared: Sequence[bool] = (),
) -> tuple[list[Any], Any]:
    """The axis `depth` of each result moved to where `out_axes` says.

    Args:
        ones: the results of one example, where they are known.
        shared: whether they are the same for all.
    """
    axes = _spread(out_axes, unflatten(spec, stacks), "out_axes", out_axes)
    found = []
    for i, (stack, axis) in enumerate(zip(stacks, axes, strict=True)):
        if axis is None:
            if not shared or not shared[i]:
                what = (
                    " for a result that differs between the examples"
                    if shared
                    else ", but the function decides on its example, so that each has "
                    "a result of its own"
                )
                raise ArgumentError(
                    message(
                        f"vmap: out_axes is None{what}",
                        where=caller(),
                        way_out="Give the axis that runs over the examples",
                    )
                )
            found.append(ones[i])
            continue
        rank = stack.ndim - depth
        if not -rank <= axis < rank:
            raise ArgumentError(
                message(
                    f"vmap: out_axes={out_axes!r}, but a result has {rank} axes",
                    where=caller(),
                    way_out=f"Give an axis from {-rank} to {rank - 1}",
                )
            )
        to = axis % rank + depth
        found.append(np.moveaxis(stack, depth, to) if to != depth else stack)
    return found, spec


def _builder(spec: Any) -> Callable[[list[Any]], tuple[tuple, dict[str, Any]]]:
    return lambda leaves: unflatten(spec, leaves)


def _integer(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _number(leaf: Any) -> bool:
    return isinstance(leaf, (int, float, complex, np.generic, np.ndarray, Tracer))


def _spread(prefix: Axes, tree: Any, name: str, whole: Axes) -> list[int | None]:
    """The axis of each leaf of `tree`."""
    if prefix is None or _integer(prefix):
        return [prefix] * len(flatten(tree)[0])
    one = optree.tree_flatten_one_level
    try:
        parts, _, keys, _ = one(prefix, none_is_leaf=True, namespace=NAMESPACE)
        children, _, entries, _ = one(tree, none_is_leaf=True, namespace=NAMESPACE)
    except ValueError:
        parts, keys, children, entries = [], (), [], (None,)
    if tuple(keys) != tuple(entries):
        raise ArgumentError(
            message(
                f"vmap: {name}={whole!r} has not the structure of what it is for",
                where=caller(),
                way_out="Give an int or None, or containers of them as in the "
                + ("arguments" if name == "in_axes" else "results"),
            )
        )
    found: list[int | None] = []
    for part, child in zip(parts, children, strict=True):
        found += _spread(part, child, name, whole)
    return found
