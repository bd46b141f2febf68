"""Snapshots: what cannot be traced is compared before a trace is used.

Arrays, settings and functions that the recorded function reached through an object
(`self.data`, `config.rate`) leave no mark on the tape.  A snapshot holds their state
at the time of the recording, arrays by content; `unchanged` compares.

A change that only a deeper object shows is not seen: objects are opened `DEPTH`
levels deep.  Below that, and for objects without readable attributes, identity counts.
"""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections import deque
from collections.abc import Callable
from copy import copy
from enum import Enum
from functools import partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .library import is_library, names_in, reachable_functions, user_classes

__all__ = [
    "DEPTH",
    "SCALARS",
    "Snapshot",
    "Snapshots",
    "is_generator",
    "is_opaque",
    "random_state",
    "same",
    "same_items",
]

#: How many objects deep attributes are followed.
DEPTH = 3
#: Immutable values, compared by type and value.
SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice)


def same(a: Any, b: Any) -> bool:
    """Whether two immutable values are the same to every program (0.0 is not -0.0)."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (float, np.floating)):
        if a == b:
            return math.copysign(1, a) == math.copysign(1, b)
        return bool(a != a and b != b)
    return bool(a == b)


def same_items(a: Any, b: Any) -> bool:
    """Whether two sequences of immutable values are the same; `b` is the snapshot."""
    return len(a) == len(b) and (all(map(is_, a, b)) or all(map(same, a, b)))


_GENERATORS = (
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)


def is_opaque(kind: type) -> bool:
    """Whether values of a class are compared by identity: ufuncs, dtypes, tracers."""
    return issubclass(kind, _OPAQUE) or kind.__module__.partition(".")[0] == "tracejit"


def is_generator(value: Any) -> bool:
    """Whether drawing from this object changes it."""
    return isinstance(value, _GENERATORS)


def random_state(generator: Any) -> Any:
    """The state of a random generator, comparable."""
    if isinstance(generator, np.random.Generator):
        state = generator.bit_generator.state
    elif isinstance(generator, np.random.RandomState):
        state = generator.get_state(legacy=False)
    elif isinstance(generator, np.random.BitGenerator):
        state = generator.state
    else:
        return generator.getstate()
    return _frozen(state)


def _frozen(state: Any) -> Any:
    """Nested dicts with arrays, as NumPy's states are, in a form that compares."""
    if isinstance(state, dict):
        return [(key, _frozen(value)) for key, value in state.items()]
    return state.tobytes() if isinstance(state, np.ndarray) else state


#: Without state of the user's; NumPy's functions are objects of the last class.
_OPAQUE = (np.ufunc, np.dtype, type(np.sum))


class Snapshot:
    """The state of one value; `unchanged(now)` compares, `label` says where it was."""

    __slots__ = ("children", "copy", "kind", "label", "value")

    def __init__(self, kind: str, value: Any, label: str, copy: Any = None) -> None:
        self.kind = kind
        self.value = value
        self.label = label
        self.copy = copy
        self.children: list[tuple[Callable[[Any], Any], Snapshot]] = []

    @property
    def is_identity(self) -> bool:
        """Whether nothing but the object itself is compared."""
        return self.kind == "is" and not self.children

    def unchanged(self, now: Any) -> bool:
        return self.change(now) is None

    def change(self, now: Any) -> tuple[Snapshot, Any] | None:
        """The innermost snapshot that no longer holds, with what is there now."""
        if not self._holds(now):
            return self, now
        for fetch, child in self.children:
            try:
                inner = fetch(now)
            except (LookupError, AttributeError, ValueError):
                return self, now
            if (found := child.change(inner)) is not None:
                return found
        return None

    def _holds(self, now: Any) -> bool:
        match self.kind:
            case "same":
                return same(now, self.value)
            case "array":
                return now is self.value and _same_array(now, self.copy)
            case "sequence":
                return type(now) is type(self.value) and len(now) == self.copy
            case "mapping":
                return type(now) is type(self.value) and list(now) == self.copy
            case "equal":
                return type(now) is type(self.value) and now == self.copy
            case "object":
                return now is self.value and _attribute_names(now) == self.copy
            case "parts":
                return type(now) is type(self.value)
        return now is self.value


def _is_bound(function: Any) -> bool:
    """Whether a builtin is a method of an object: `items.append`, not `math.sin`."""
    owner = function.__self__
    return owner is not None and not isinstance(owner, (ModuleType, type))


#: Classes of the standard library whose instances hold the user's settings.
_DATA_MODULES = frozenset(
    {"__main__", "argparse", "builtins", "collections", "dataclasses", "functools"}
    | {"types"}
)


def _is_machinery(kind: type) -> bool:
    """Loggers, locks, files and the like: what they do is no result."""
    module = kind.__module__
    return (
        is_library(module)
        and module.partition(".")[0] in sys.stdlib_module_names
        and module not in _DATA_MODULES
    )


def _same_array(now: np.ndarray, copy: np.ndarray) -> bool:
    if now.dtype != copy.dtype or now.shape != copy.shape:
        return False
    if now.dtype.hasobject:
        return all(map(same, now.ravel(), copy.ravel()))
    # Bits, not values: NaN is equal to itself and -0.0 is not 0.0.
    flat = np.ascontiguousarray(now).reshape(-1).view(np.uint8)
    return np.array_equal(flat, copy.reshape(-1).view(np.uint8))


def _slots(value: Any) -> list[str]:
    names: list[str] = []
    for cls in type(value).__mro__:
        found = cls.__dict__.get("__slots__", ())
        names += [found] if isinstance(found, str) else list(found)
    return [n for n in names if n not in ("__dict__", "__weakref__")]


def _attribute_names(value: Any) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    return names + [n for n in _slots(value) if hasattr(value, n)]


def _item(key: Any) -> Callable[[Any], Any]:
    return lambda container: container[key]


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda owner: getattr(owner, name)


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


class Snapshots:
    """Takes snapshots; knows which attribute names the recorded code mentions.

    Attributes:
        attributes: the names asked for by the code that was seen so far.
        on_generator: told about every random generator that is met.
    """

    def __init__(self, on_generator: Callable[[Any, str], None]) -> None:
        self.attributes: set[str] = set()
        self.on_generator = on_generator
        self._seen: set[int] = set()
        self._classes: list[tuple[Snapshot, type, int, set[Any]]] = []
        self._modules: list[tuple[Snapshot, int]] = []

    def complete(self) -> None:
        """Add what code that was seen only later may reach through earlier values."""
        known = -1
        while known != len(self.attributes):
            known = len(self.attributes)
            for entry in list(self._classes):
                self._seen = set()
                self._add_methods(*entry)
            for module, depth in list(self._modules):
                self._seen = set()
                self._add_module_names(module, depth)

    def take(self, value: Any, label: str) -> Snapshot:
        """The snapshot of one value."""
        self._seen = set()
        return self._take(value, label, DEPTH)

    def _take(self, value: Any, label: str, depth: int) -> Snapshot:
        kind = type(value)
        if is_opaque(kind):
            return Snapshot("is", value, label)
        if kind in SCALARS or issubclass(kind, np.generic):
            return Snapshot("same", value, label)
        if id(value) in self._seen:
            return Snapshot("is", value, label)
        self._seen.add(id(value))
        if isinstance(value, np.ndarray):
            # Subclasses too: what they add to an ndarray is not compared.
            plain = np.asarray(value)
            return Snapshot("array", value, label, np.array(plain, order="C"))
        if isinstance(value, (list, tuple, deque)):
            return self._sequence(value, label, depth)
        if isinstance(value, dict):
            return self._mapping(value, label, depth)
        if isinstance(value, (set, frozenset, bytearray, array)):
            return Snapshot("equal", value, label, copy(value))
        if is_generator(value):
            self.on_generator(value, label)
            return Snapshot("is", value, label)
        if isinstance(value, FunctionType):
            return self._function(value, label, depth)
        if isinstance(value, MethodType):
            return self._parts(value, ("__self__", "__func__"), label, depth)
        if isinstance(value, type):
            return self._class(value, label, depth)
        if isinstance(value, partial):
            return self._parts(value, ("func", "args", "keywords"), label, depth)
        if isinstance(value, BuiltinFunctionType) and _is_bound(value):
            return self._parts(value, ("__self__", "__name__"), label, depth)
        if depth <= 0 or isinstance(value, Enum) or _is_machinery(kind):
            return Snapshot("is", value, label)
        if isinstance(value, ModuleType):
            return self._module(value, label, depth)
        return self._object(value, label, depth)

    def _sequence(self, value: Any, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("sequence", value, label, len(value))
        for i, item in enumerate(value):
            child = self._take(item, f"{label}[{i}]", depth)
            snapshot.children.append((_item(i), child))
        return snapshot

    def _mapping(self, value: dict, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("mapping", value, label, list(value))
        for key, item in value.items():
            child = self._take(item, f"{label}[{key!r}]", depth)
            snapshot.children.append((_item(key), child))
        return snapshot

    def _object(self, value: Any, label: str, depth: int) -> Snapshot:
        names = _attribute_names(value)
        snapshot = Snapshot("object", value, label, names)
        for name in names:
            child = self._take(getattr(value, name), f"{label}.{name}", depth - 1)
            snapshot.children.append((_attribute(name), child))
        self._add_class(snapshot, type(value), depth)
        return snapshot

    def _class(self, cls: type, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("is", cls, label)
        if depth > 0:
            self._add_class(snapshot, cls, depth)
        return snapshot

    def _add_class(self, snapshot: Snapshot, cls: type, depth: int) -> None:
        """Class attributes, and what methods read from their module."""
        for base in user_classes(cls):
            for name, item in list(vars(base).items()):
                if name.startswith("__") or callable(item) or hasattr(item, "__get__"):
                    continue
                label = f"{base.__name__}.{name}"
                child = self._take(item, label, depth - 1)
                snapshot.children.append((_class_attribute(base, name), child))
        entry = (snapshot, cls, depth, set[Any]())
        self._classes.append(entry)
        self._add_methods(*entry)

    def _add_methods(
        self, snapshot: Snapshot, cls: type, depth: int, done: set[Any]
    ) -> None:
        for function in reachable_functions(cls, self.attributes):
            if function not in done:
                done.add(function)
                self._add_reads(snapshot, function, depth)

    def _parts(
        self, value: Any, names: tuple[str, ...], label: str, depth: int
    ) -> Snapshot:
        """What is made anew at each access, like methods: compare the parts."""
        snapshot = Snapshot("parts", value, label)
        for name in names:
            child = self._take(getattr(value, name), f"{label}.{name}", depth)
            snapshot.children.append((_attribute(name), child))
        return snapshot

    def _module(self, value: ModuleType, label: str, depth: int) -> Snapshot:
        """A module of user code: what the code seen so far may ask it for."""
        snapshot = Snapshot("is", value, label)
        if not is_library(value.__name__):
            self._modules.append((snapshot, depth))
            self._add_module_names(snapshot, depth)
        return snapshot

    def _add_module_names(self, snapshot: Snapshot, depth: int) -> None:
        module = snapshot.value
        known = {child.label for _, child in snapshot.children}
        for name in sorted(self.attributes & vars(module).keys()):
            label = f"{snapshot.label}.{name}"
            if label not in known:
                child = self._take(vars(module)[name], label, depth - 1)
                snapshot.children.append((_attribute(name), child))

    def _function(self, value: FunctionType, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("is", value, label)
        library = is_library(value.__globals__.get("__name__"))
        self._add_reads(snapshot, value, depth, cells_only=library)
        return snapshot

    def _add_reads(
        self,
        snapshot: Snapshot,
        function: FunctionType,
        depth: int,
        cells_only: bool = False,
    ) -> None:
        """What code that runs unseen may read: globals, closure, defaults."""
        code = function.__code__
        for name, cell in zip(
            code.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                child = self._take(cell.cell_contents, name, depth)
            except ValueError:
                continue
            snapshot.children.append((_constant_cell(cell), child))
        if cells_only:
            return
        names = names_in(code)
        self.attributes |= names.attributes
        for name in sorted(names.globals & function.__globals__.keys()):
            child = self._take(function.__globals__[name], name, depth)
            snapshot.children.append((_global(function.__globals__, name), child))
        for item in (function.__defaults__, function.__kwdefaults__):
            if item:
                label = f"{function.__name__}'s defaults"
                snapshot.children.append(
                    (_constant(item), self._take(item, label, depth))
                )


def _class_attribute(cls: type, name: str) -> Callable[[Any], Any]:
    return lambda _: vars(cls)[name]


def _constant_cell(cell: Any) -> Callable[[Any], Any]:
    return lambda _: cell.cell_contents


def _global(namespace: dict, name: str) -> Callable[[Any], Any]:
    return lambda _: namespace[name]
