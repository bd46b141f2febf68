"""Static arguments: what stands for a value in a signature."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Sequence
from enum import Enum
from types import FunctionType
from typing import Any

from ..errors import ArgumentError, message
from .frames import caller

__all__ = ["Identity", "Statics", "compares_by_identity", "typed"]

#: Whose `==` looks at all that there is.
_LIBRARIES = sys.stdlib_module_names - {"__main__"} | {"numpy", "tracejit"}


def compares_by_identity(kind: type) -> bool:
    """Whether a signature tells values of this class apart by `is`.

    An `==` of the user's own need not look at all that the function reads, and what it
    looks at may change; that of a frozen dataclass does, and may not.
    """
    equality: Any = kind.__eq__
    if equality is object.__eq__:
        return True
    parameters = getattr(kind, "__dataclass_params__", None)
    return (
        isinstance(equality, FunctionType)
        and kind.__hash__ is not None
        and not (parameters is not None and parameters.frozen)
        and not issubclass(kind, Enum)
        and kind.__module__.partition(".")[0] not in _LIBRARIES
    )


class Identity:
    """Stands for one object in a key; does not keep it alive where that is possible."""

    __slots__ = ("_hash", "ref", "type")

    def __init__(self, value: Any) -> None:
        self._hash = id(value)
        self.type = type(value)
        try:
            self.ref: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self.ref = lambda: value

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Identity):
            return NotImplemented
        mine = self.ref()
        return mine is not None and mine is other.ref()

    def __repr__(self) -> str:
        value = self.ref()
        name = getattr(value, "__qualname__", None)
        return name or f"<{self.type.__name__} object>"


def typed(value: Any) -> Any:
    """A hashable that is equal only for equal type and value (1, 1.0, True, -0.0)."""
    kind = type(value)
    if kind is float:
        return float, value.hex()
    if kind in (tuple, frozenset):
        return kind, kind(typed(item) for item in value)
    hash(value)
    return kind, value


class Statics:
    """Which arguments of a function its caller declared static."""

    def __init__(
        self,
        fun: Callable,
        argnums: int | Sequence[int] = (),
        argnames: str | Sequence[str] = (),
    ) -> None:
        self.positions = {argnums} if isinstance(argnums, int) else set(argnums)
        self.names = {argnames} if isinstance(argnames, str) else set(argnames)
        self.any = bool(self.positions or self.names)
        if self.any:
            self._complete(fun)

    def _complete(self, fun: Callable) -> None:
        """Add the names of the given positions, and the reverse."""
        try:
            parameters = list(inspect.signature(fun).parameters.values())
        except (TypeError, ValueError):
            return
        ordered = [
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        variadic = {p.kind for p in parameters}
        known = {p.name for p in parameters}
        unknown = sorted(self.names - known)
        if unknown and inspect.Parameter.VAR_KEYWORD not in variadic:
            raise ArgumentError(
                message(
                    f"static_argnames names {unknown[0]!r}, which is no parameter of "
                    f"{getattr(fun, '__name__', fun)}",
                    where=caller(),
                    way_out=f"Its parameters are {', '.join(known) or 'none'}",
                )
            )
        named = {i for i, name in enumerate(ordered) if name in self.names}
        self.names |= {
            ordered[i] for i in self.positions if -len(ordered) <= i < len(ordered)
        }
        self.positions = {i % len(ordered) if i < 0 else i for i in self.positions}
        self.positions |= named
