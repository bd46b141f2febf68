"""What changes by being read: iterators, generators, open files.

A kernel would repeat what the recording took from them, so the clone sees a stand-in
for each that refuses to give anything.  Inside objects, where the clone sees the real
thing, they are refused if the recorded code asks for the attribute that holds them.
"""

from __future__ import annotations

import io
import itertools
import operator
from types import BuiltinFunctionType, FunctionType, MethodWrapperType
from typing import Any, NoReturn

from ..errors import UnsupportedError, message
from ..signature import caller
from .library import user_classes

__all__ = ["StandIn", "consumed_error", "is_consumable", "position"]

#: Of a file: what takes nothing from it.
_HARMLESS = frozenset(
    {"close", "closed", "encoding", "fileno", "flush", "isatty", "mode", "name"}
    | {"write", "writelines"}
)
_BOUND = (BuiltinFunctionType, MethodWrapperType)


def is_consumable(value: Any) -> bool:
    """Whether reading changes it in a way that no snapshot shows."""
    kind = type(value)
    if kind in _BOUND:  # `counter.__next__`, `lines.send`
        owner = value.__self__
        return owner is not None and is_consumable(owner)
    if issubclass(kind, io.IOBase):
        try:
            return bool(value.readable())
        except (ValueError, AttributeError):  # closed
            return False
    if kind.__module__ in ("_queue", "multiprocessing.queues"):
        return True
    if not hasattr(kind, "__next__"):
        return False
    # An iterator of user code keeps its state in attributes, which are compared.
    own = [vars(base).get("__next__") for base in user_classes(kind)]
    return not any(isinstance(found, FunctionType) for found in own)


def position(value: Any) -> Any:
    """How far an iterator or file is, where that can be told; else None."""
    if isinstance(value, itertools.count):
        return repr(value)
    if isinstance(value, io.IOBase):
        try:
            return value.tell()
        except (OSError, ValueError):
            return None
    if hasattr(value, "__len__"):  # of all, not of the rest
        return None
    left = operator.length_hint(value, -1)
    return left if left >= 0 else None


def consumed_error(label: str, kind: str, where: str) -> UnsupportedError:
    """The refusal; `label` is the value as the user writes it."""
    return UnsupportedError(
        message(
            f"the function takes values from {label}, a {kind} from outside, while it "
            "is recorded; a compiled call would repeat them",
            where=where,
            way_out="Take the value outside (next, list, read) and pass it as an "
            "argument",
        )
    )


class StandIn:
    """An iterator from outside, as the clone sees it: to pass on, not to read.

    Args:
        real: the iterator.
        label: what the user calls it.
        refused: the refusals of this recording, which nobody may swallow.
    """

    __slots__ = ("_label", "_real", "_refused")

    def __init__(self, real: Any, label: str, refused: list[UnsupportedError]) -> None:
        self._real = real
        self._label = label
        self._refused = refused

    def _refuse(self) -> NoReturn:
        error = consumed_error(self._label, type(self._real).__name__, caller())
        self._refused.append(error)
        raise error

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._real)

    def __iter__(self) -> StandIn:
        return self

    def __next__(self) -> NoReturn:
        self._refuse()

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    def __getitem__(self, key: Any) -> NoReturn:  # ndarray.flat
        self._refuse()

    def __len__(self) -> NoReturn:
        self._refuse()

    def __bool__(self) -> bool:
        return True

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _HARMLESS and isinstance(self._real, io.IOBase):
            return getattr(self._real, name)
        return self._refuse()
