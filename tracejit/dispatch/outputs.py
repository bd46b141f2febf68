"""What a trace returns: the leaves that come from the kernel, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from ..captures import define
from ..errors import UnsupportedError, message
from ..numpy_api.buffers import Buffer
from ..signature import caller, flatten, unflatten
from ..tape import Ref
from ..tracer import Recorder, Tracer

__all__ = ["Outputs", "StaticOutput"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice)


class StaticOutput:
    """Base of what tracejit itself passes through a trace as a constant."""


class Outputs:
    """The result of a recording, opened.

    Attributes:
        refs: the refs that the kernel is to return.
        assemble: puts the kernel's outputs in their places.
        form: "all" if the result is just the tuple of the outputs, "one" if it is the
            only output, else None.
    """

    def __init__(self, recorder: Recorder, result: Any) -> None:
        self.refs: list[Ref] = []
        leaves, spec = flatten(result)
        self._weak: list[type | None] = []
        self._constants: list[Any] = []
        #: The objects that the refs belong to: one object returned twice is one array.
        self.objects: list[Any] = []
        places = [self._place(recorder, leaf) for leaf in leaves]
        containers: list[Any] = []
        result_text = _expression(spec, iter(places), containers)
        self.form = _form(result_text, len(self.refs))
        namespace = {"c": self._constants, "k": containers, "unflatten": unflatten}
        source = f"def assemble(o):\n    return {result_text}"
        #: The result as an expression of the kernel's outputs `o` and constants `c`.
        self.text, self.constants = result_text, self._constants
        self.assemble: Callable[[tuple], Any] = define(source, "assemble", namespace)

    def add(self, refs: list[Ref]) -> None:
        """Have the kernel return more, behind the results."""
        if refs:
            self.refs += refs
            self.objects += refs
            self.form = None

    def _place(self, recorder: Recorder, leaf: Any) -> str:
        """Where this leaf comes from, as an expression over the kernel's outputs."""
        if isinstance(leaf, Buffer):
            leaf = leaf.constant(recorder)
        traced = type(leaf) is Tracer
        if not traced and isinstance(leaf, np.ndarray):
            if leaf.dtype == object:
                leaf = np.stack(list(leaf.ravel())).reshape(leaf.shape)
            else:
                # The caller may write into what he gets: each call gives its own.
                leaf = recorder.tracer(recorder.capture(leaf))
        if type(leaf) is Tracer:
            self.refs.append(leaf.ref)
            self.objects.append(leaf)
            place = f"o[{len(self.refs) - 1}]"
            if leaf.weak is None:
                return place
            return f"{leaf.weak.__name__}({place})"
        self._refuse_opaque(recorder, leaf)
        self._constants.append(leaf)
        return f"c[{len(self._constants) - 1}]"

    def _refuse_opaque(self, recorder: Recorder, leaf: Any) -> None:
        allowed = (*_PLAIN, np.generic, np.dtype, type, Enum, StaticOutput)
        if isinstance(leaf, allowed):
            return
        name = type(leaf).__name__
        raise UnsupportedError(
            message(
                f"{recorder.name} returned a {name}, which cannot be opened",
                where=caller(),
                way_out="Return arrays, numbers and containers of them, or register "
                f"{name} with optree.register_pytree_node(..., namespace='tracejit')",
            )
        )


def _form(expression: str, count: int) -> str | None:
    """Whether there is nothing to assemble."""
    if expression == f"({''.join(f'o[{i}], ' for i in range(count))})":
        return "all"
    return "one" if expression == "o[0]" and count == 1 else None


def _expression(spec: Any, places: Any, containers: list[Any]) -> str:
    """Plain containers become displays, all others go through optree."""
    if spec.is_leaf():
        return next(places)
    if spec.type is type(None):
        return "None"
    parts = [_expression(child, places, containers) for child in spec.children()]
    if spec.type is tuple:
        return f"({''.join(part + ', ' for part in parts)})"
    if spec.type is list:
        return f"[{', '.join(parts)}]"
    one_level = spec.one_level()
    if spec.type is dict:
        # Leaves are in the order of the sorted keys, the dict in its own.
        order = unflatten(one_level, range(len(parts)))
        if all(type(key) in (str, int) for key in order):
            items = [f"{key!r}: {parts[i]}" for key, i in order.items()]
            return f"{{{', '.join(items)}}}"
    containers.append(one_level)
    return f"unflatten(k[{len(containers) - 1}], [{', '.join(parts)}])"
