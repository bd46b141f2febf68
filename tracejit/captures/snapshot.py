"""Snapshots: what cannot be traced is compared before a trace is used.

Arrays, settings and functions that the recorded function reached through an object
(`self.data`, `config.rate`) leave no mark on the tape.  A snapshot holds their state
at the time of the recording, arrays by content; `unchanged` compares.

Objects are opened `DEPTH` levels deep with all their attributes, and below that as far
as the recorded code mentions attributes of such a name.  For objects without readable
state identity counts.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, MappingView
from copy import copy
from enum import Enum
from functools import partial
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np

from ..errors import UnsupportedError, message
from .library import ANY_NAME, is_library, names_in, reachable_functions, user_classes
from .outside import consumed_error, is_consumable, position
from .values import (
    INSIDE,
    SCALARS,
    attribute_names,
    attribute_of,
    buffer_of,
    class_attribute_of,
    constant_of,
    constant_of_class,
    content_of,
    global_of,
    is_bound,
    is_generator,
    is_machinery,
    is_opaque,
    item_of,
    item_of_view,
    names_of,
    same,
    same_array,
)

__all__ = ["DEPTH", "Snapshot", "Snapshots"]

#: How many objects deep all attributes are followed, and not only those that the
#: recorded code mentions.
DEPTH = 3
#: So many objects are followed below that; more are an error.
DEEP_OBJECTS = 10_000


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
                return now is self.value and same_array(now, self.copy)
            case "sequence":
                return type(now) is type(self.value) and len(now) == self.copy
            case "mapping":
                return type(now) is type(self.value) and list(now) == self.copy
            case "equal":
                return type(now) is type(self.value) and now == self.copy
            case "buffer":
                return now is self.value and bytes(memoryview(now)) == self.copy
            case "object":
                return now is self.value and attribute_names(now) == self.copy
            case "parts":
                return type(now) is type(self.value)
        return now is self.value


class Snapshots:
    """Takes snapshots; knows which attribute names the recorded code mentions.

    Attributes:
        attributes: the names asked for by the code that was seen so far.
        any_name: whether code that runs may ask for names that it does not mention.
        on_generator: told about every random generator that is met.
    """

    def __init__(self, on_generator: Callable[[Any, str], None]) -> None:
        self.attributes: set[str] = set()
        self.any_name = False
        self.on_generator = on_generator
        self._seen: dict[int, int] = {}
        self._deep: list[tuple[Snapshot, int, set[str]]] = []
        self._iterators: list[tuple[Any, str, str | None, Any]] = []
        self._name: str | None = None
        self._classes: list[tuple[Snapshot, type, int, set[Any]]] = []
        self._modules: list[tuple[Snapshot, int]] = []

    def note_code(self, code: CodeType) -> None:
        """Code that runs asks for attributes."""
        names = names_in(code).attributes
        self.attributes |= names
        self.any_name = self.any_name or not ANY_NAME.isdisjoint(names)

    def complete(self, where: str = "") -> None:
        """Add what code that was seen only later may reach through earlier values."""
        try:
            self._complete()
        except RecursionError:
            raise self._too_deep("the captured names") from None
        for value, label, name, before in self._iterators:
            if name is not None and name not in self.attributes:
                continue
            if before is None or position(value) != before:
                raise consumed_error(label, type(value).__name__, where)

    def _complete(self) -> None:
        known = (-1, False)
        while known != (len(self.attributes), self.any_name):
            known = len(self.attributes), self.any_name
            for entry in list(self._classes):
                self._seen = {}
                self._add_methods(*entry)
            for module, depth in list(self._modules):
                self._seen = {}
                self._add_module_names(module, depth)
            for deep in list(self._deep):
                self._seen = {}
                self._add_mentioned(*deep)

    def take(self, value: Any, label: str) -> Snapshot:
        """The snapshot of one value."""
        self._seen, self._name = {}, None
        try:
            return self._take(value, label, DEPTH)
        except RecursionError:
            raise self._too_deep(label) from None

    def _mentions(self, name: str) -> bool:
        return self.any_name or name in self.attributes

    def _too_deep(self, label: str) -> UnsupportedError:
        return UnsupportedError(
            message(
                f"the objects behind {label[:80]} are too many to be compared at each "
                "call",
                way_out="Pass what the function needs of them as arguments",
            )
        )

    def _take(self, value: Any, label: str, depth: int) -> Snapshot:
        kind = type(value)
        if is_opaque(kind):
            return Snapshot("is", value, label)
        if kind in SCALARS or issubclass(kind, np.generic):
            return Snapshot("same", value, label)
        if self._seen.get(id(value), -1) >= max(depth, 0):
            return Snapshot("is", value, label)
        self._seen[id(value)] = max(depth, 0)
        if isinstance(value, np.ndarray):
            # Subclasses too: what they add to an ndarray is not compared.
            plain = np.asarray(value)
            return Snapshot("array", value, label, np.array(plain, order="C"))
        if isinstance(value, (list, tuple, deque)):
            return self._sequence(value, label, depth)
        if isinstance(value, (dict, MappingProxyType)):
            return self._mapping(value, label, depth)
        if isinstance(value, MappingView):
            return self._view(value, label, depth)
        if isinstance(value, (set, frozenset, bytearray, array)):
            return Snapshot("equal", value, label, copy(value))
        if is_generator(value):
            self.on_generator(value, label)
            return Snapshot("is", value, label)
        if is_consumable(value):
            self._iterators.append((value, label, self._name, position(value)))
            return Snapshot("is", value, label)
        if isinstance(value, FunctionType):
            if depth < 0:
                return Snapshot("is", value, label)
            return self._function(value, label, depth)
        if isinstance(value, MethodType):
            return self._parts(value, ("__self__", "__func__"), label, depth)
        if isinstance(value, type):
            return self._class(value, label, depth)
        if isinstance(value, partial):
            return self._parts(value, ("func", "args", "keywords"), label, depth)
        if isinstance(value, BuiltinFunctionType) and is_bound(value):
            return self._parts(value, ("__self__", "__name__"), label, depth)
        if (fetch := INSIDE.get(kind)) is not None:
            return self._inside(value, fetch, label, depth)
        if isinstance(value, Enum) or is_machinery(kind):
            return Snapshot("is", value, label)
        if isinstance(value, ModuleType):
            if depth <= 0:
                return Snapshot("is", value, label)
            return self._module(value, label, depth)
        return self._object(value, label, depth)

    def _sequence(self, value: Any, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("sequence", value, label, len(value))
        for i, item in enumerate(value):
            child = self._take(item, f"{label}[{i}]", depth)
            snapshot.children.append((item_of(i), child))
        return snapshot

    def _view(self, value: MappingView, label: str, depth: int) -> Snapshot:
        """`d.values()` and its like show a dict that has no other name here."""
        snapshot = Snapshot("sequence", value, label, len(value))
        for i, item in enumerate(value):  # type: ignore[var-annotated, arg-type]
            child = self._take(item, f"{label}[{i}]", depth)
            snapshot.children.append((item_of_view(i), child))
        return snapshot

    def _inside(
        self, value: Any, fetch: Callable[[Any], Any], label: str, depth: int
    ) -> Snapshot:
        """An object that gives its one content when it is asked."""
        snapshot = Snapshot("is", value, label)
        child = self._take(fetch(value), f"{label}'s content", depth)
        snapshot.children.append((fetch, child))
        return snapshot

    def _mapping(self, value: Any, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("mapping", value, label, list(value))
        for key, item in value.items():
            child = self._take(item, f"{label}[{key!r}]", depth)
            snapshot.children.append((item_of(key), child))
        return snapshot

    def _object(self, value: Any, label: str, depth: int) -> Snapshot:
        names = attribute_names(value)
        if not names and (content := buffer_of(value)) is not None:
            return Snapshot("buffer", value, label, content)
        snapshot = Snapshot("object", value, label, names)
        if depth > 0:
            for name in names:
                self._add_attribute(snapshot, name, depth)
        else:
            if len(self._deep) >= DEEP_OBJECTS:
                raise self._too_deep(label)
            deep = (snapshot, depth, set[str]())
            self._deep.append(deep)
            self._add_mentioned(*deep)
        self._add_class(snapshot, type(value), depth)
        return snapshot

    def _add_attribute(self, snapshot: Snapshot, name: str, depth: int) -> None:
        before, self._name = self._name, name
        item = getattr(snapshot.value, name)
        child = self._take(item, f"{snapshot.label}.{name}", depth - 1)
        snapshot.children.append((attribute_of(name), child))
        self._name = before

    def _add_mentioned(self, snapshot: Snapshot, depth: int, done: set[str]) -> None:
        """Of a deep object: the attributes that the code seen so far mentions."""
        for name in snapshot.copy:
            if name not in done and self._mentions(name):
                done.add(name)
                self._add_attribute(snapshot, name, depth)

    def _class(self, cls: type, label: str, depth: int) -> Snapshot:
        snapshot = Snapshot("is", cls, label)
        if depth > 0:
            self._add_class(snapshot, cls, depth)
        return snapshot

    def _add_class(self, snapshot: Snapshot, cls: type, depth: int) -> None:
        """Class attributes, and what methods read from their module."""
        for base in user_classes(cls):
            # A new attribute may hide one of another class.
            names = Snapshot("same", names_of(base), base.__name__)
            snapshot.children.append((constant_of_class(base), names))
            for name, item in list(vars(base).items()):
                if name.startswith("__") or callable(item) or hasattr(item, "__get__"):
                    continue
                if depth <= 0 and not self._mentions(name):
                    continue
                label = f"{base.__name__}.{name}"
                child = self._take(item, label, depth - 1)
                snapshot.children.append((class_attribute_of(base, name), child))
        entry = (snapshot, cls, depth, set[Any]())
        self._classes.append(entry)
        self._add_methods(*entry)

    def _add_methods(
        self, snapshot: Snapshot, cls: type, depth: int, done: set[Any]
    ) -> None:
        for function in reachable_functions(cls, self.attributes, depth <= 0):
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
            snapshot.children.append((attribute_of(name), child))
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
                snapshot.children.append((attribute_of(name), child))

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
            snapshot.children.append((content_of(cell), child))
        if cells_only:
            return
        names = names_in(code)
        self.attributes |= names.attributes
        for name in sorted(names.globals & function.__globals__.keys()):
            child = self._take(function.__globals__[name], name, depth)
            snapshot.children.append((global_of(function.__globals__, name), child))
        for item in (function.__defaults__, function.__kwdefaults__):
            if item:
                label = f"{function.__name__}'s defaults"
                snapshot.children.append(
                    (constant_of(item), self._take(item, label, depth))
                )
