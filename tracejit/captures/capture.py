"""Recording what the user's function takes from closures and globals.

The recording does not run the user's function itself but a clone of it: the same code
over a namespace that reads through to the real one and notes each name read.

    name of ...              the clone sees             before a trace is used again
    ndarray                  a tracer (hidden input)    same dtype and shape; the array
                                                        found now enters the kernel
    list, tuple, dict        a copy, items as here      same type, length, keys; items
    int, float, str, ...     the value                  equal, of the same type
    function of user code    a clone                    the same object
    module of user code      a proxy that notes         the same object; what was read
    other function, module   the object                 the same object
    iterator, open file      a stand-in that refuses    the same object
    any other object         the object                 unchanged snapshot

Why a clone and not an analysis of the bytecode: it sees exactly what this path reads,
in whatever function, and it can hand out tracers, so that an array in a closure is
data of the kernel and not a constant.  CPython looks up a function's globals through
`__getitem__` if they are a dict subclass, in all versions that we support; a test
holds it to that.

What the clone writes (`global`, `nonlocal`, appending to a captured list) is refused:
a kernel would not repeat it.  Not seen: names read through `eval` of the real
namespace, and the world outside Python.
"""

from __future__ import annotations

import builtins
import functools
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from types import (
    CellType,
    FrameType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np

from ..avals import DTYPE_NAMES, Aval
from ..errors import RandomDrawError, UnsupportedError, message
from ..signature import caller
from .checks import Check, Checks
from .library import is_library, names_in, unwrap
from .outside import StandIn, is_consumable
from .portable import Portable
from .snapshot import Snapshots
from .values import SCALARS, is_opaque, random_state
from .written import Watched

__all__ = ["Captures"]

_TAPE_DTYPES = frozenset(DTYPE_NAMES.values())
_SCALAR_SET = frozenset(SCALARS)
#: Physically present in a clone's namespace: C code looks there without asking.
_MODULE_NAMES = ("__name__", "__package__", "__spec__", "__path__", "__file__")
#: Where Python notes which warnings of a module it has shown.
_REGISTRY = "__warningregistry__"

#: Stands for nothing at all.
_EMPTY = object()


class _Namespace(dict):
    """The globals of a clone: reads through to the real ones and notes it."""

    captures: Captures
    place: str
    real: dict[str, Any]
    seen: dict[str, Any]
    physical: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        seen = self.seen
        if name in seen:
            return seen[name]
        if dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        if name not in self.real and name in self.captures.loops:
            found = self.captures.loops[name](sys._getframe(1))
            if found is not None:
                return found
        value = self.real[name]  # KeyError: Python goes on to the builtins
        seen[name] = self.captures.wrap(value, f"{self.place}[{name!r}]", name)
        return seen[name]

    def prefill(self, names: Iterable[str]) -> None:
        """Put names where C code finds them that asks for no `__getitem__`."""
        for name in names:
            if name in self.real and name not in self.physical:
                self.physical[name] = self[name]
                dict.__setitem__(self, name, self.physical[name])

    def written(self) -> str | None:
        """A name that the clone has assigned or deleted."""
        now = dict(dict.items(self))
        for name in (now.keys() | self.physical.keys()) - {_REGISTRY}:
            if now.get(name, _EMPTY) is not self.physical.get(name, _EMPTY):
                return name
        return None

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.real


class _Module(ModuleType):
    """A proxy of a module of user code."""

    def __getattr__(self, name: str) -> Any:
        captures, real, place, label = self.__dict__["__captures__"]
        value = getattr(real, name)
        if not name.startswith("__"):
            value = captures.wrap(value, f"{place}.{name}", f"{label}.{name}")
            self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        raise _write_error(f"sets {self.__dict__['__captures__'][3]}.{name}")


def _write_error(what: str, where: str = "") -> UnsupportedError:
    return UnsupportedError(
        message(
            f"the function {what} while it is recorded; a compiled call would not "
            "repeat that",
            where=where or caller(),
            way_out="Return the value instead",
        )
    )


class Captures:
    """Everything that one recording took from outside its arguments.

    Args:
        trace: makes the tracer of a captured array.
        is_traced: whether a value was made by this recording.
        served: by id of a library function, what the clone gets in its place.
        loops: by name of a builtin, what gives the clone's frame that asks for it
            something in its place, or None.

    Attributes:
        arrays: the captured arrays that have a tracer, in order of their checks.
    """

    def __init__(
        self,
        trace: Callable[[np.ndarray], Any],
        is_traced: Callable[[Any], bool],
        served: Mapping[int, Callable] = MappingProxyType({}),
        loops: Mapping[str, Callable[[FrameType], Any]] = MappingProxyType({}),
    ) -> None:
        self.served, self.loops = served, loops
        self.trace = trace
        self.is_traced = is_traced
        self.arrays: list[np.ndarray] = []
        self._checks: list[Check] = []
        self._env: dict[str, Any] = {}
        self._where = ""
        self._places: dict[int, str] = {}
        self._known: dict[int, tuple[Any, int, Any]] = {}
        self._clones: dict[int, tuple[Any, Any]] = {}
        self._namespaces: dict[int, _Namespace] = {}
        self.watched = Watched()
        self._refused: list[UnsupportedError] = []
        self._cells: list[tuple[str, CellType, Any]] = []
        self._generators: dict[int, tuple[str, Any, bytes]] = {}
        self._snapshots = Snapshots(self._note_generator)
        # The hidden generators that the functions of both modules are methods of.
        hidden: tuple[tuple[Any, str], ...] = (
            (np.random.get_state, "np.random"),
            (random.getstate, "random"),
        )
        for method, label in hidden:
            self._note_generator(method.__self__, label)
        self._builtins = dict(vars(builtins), __import__=self._import)

    # --- what the recording asks for --------------------------------------------------

    def function(self, function: Callable) -> Callable:
        """The clone of a callable that is known by identity already."""
        self._where = self._where or _position(function)
        return self.wrap(function, self._place(function), _name_of(function), root=True)

    def argument(self, value: Any, label: str) -> Any:
        """A static argument that is known by identity but may hold or read more."""
        return self.wrap(value, self._place(value), label, root=True)

    def wrap(self, value: Any, fetch: str, label: str, root: bool = False) -> Any:
        """What the clone sees in place of `value`, which `fetch` finds again."""
        if self.is_traced(value):
            return value
        kind = type(value)
        if kind in _SCALAR_SET or issubclass(kind, np.generic):
            self._note(fetch, label, "same", value)
            return value
        known = self._known.get(id(value))
        if known is not None:
            if not root:
                self._note(fetch, label, "alias", known[1])
            return known[2]
        number = len(self._checks)
        self._known[id(value)] = value, number, value
        wrapped = self._wrap_new(value, kind, fetch, label)
        self._known[id(value)] = value, number, wrapped
        return wrapped

    def _wrap_new(self, value: Any, kind: type, fetch: str, label: str) -> Any:
        if kind is np.ndarray:
            return self._array(value, fetch, label)
        if kind in (list, dict, tuple) or _is_namedtuple(kind):
            return self._container(value, kind, fetch, label)
        if kind is FunctionType:
            return self._function(value, fetch, label)
        if kind is functools.partial:
            return self._partial(value, fetch, label)
        if kind is MethodType:
            return self._method(value, fetch, label)
        if issubclass(kind, ModuleType):
            return self._module(value, fetch, label)
        if is_consumable(value):
            self._note(fetch, label, "is", value)
            return StandIn(value, label, self._refused)
        self._snapshot(value, fetch, label)
        return self.served.get(id(value), value)

    # --- one kind of value each -------------------------------------------------------

    def _note(self, fetch: str, label: str, kind: str, value: Any) -> str:
        self._checks.append(Check(fetch, label, kind, value))
        return f"t{len(self._checks) - 1}"

    def portable(self) -> Portable:
        """What was taken so far, in words of another recording."""
        return Portable(self._checks, self._env)

    def _place(self, value: Any) -> str:
        """A name in the environment of the checks for an object."""
        name = self._places.get(id(value))
        if name is None:
            name = self._places[id(value)] = f"g{len(self._places)}"
            self._env[name] = value
        return name

    def _note_generator(self, generator: Any, label: str) -> None:
        if id(generator) not in self._generators:
            state = random_state(generator)
            self._generators[id(generator)] = label, generator, state

    def _snapshot(self, value: Any, fetch: str, label: str) -> None:
        if is_opaque(type(value)):
            self._note(fetch, label, "is", value)
        else:
            here = self._note(fetch, label, "snapshot", None)
            self._checks[int(here[1:])].value = self._snapshots.take(value, label)

    def _array(self, array: np.ndarray, fetch: str, label: str) -> Any:
        if array.dtype not in _TAPE_DTYPES:
            self._snapshot(array, fetch, label)
            return array
        self._note(fetch, label, "array", Aval(array.shape, array.dtype))
        self.arrays.append(array)
        return self.trace(array)

    def _container(self, value: Any, kind: type, fetch: str, label: str) -> Any:
        if kind is dict:
            here = self._note(fetch, label, "mapping", (kind, list(value)))
            copy: Any = {
                key: self.wrap(item, self._item(here, key), f"{label}[{key!r}]")
                for key, item in value.items()
            }
            self.watched.add(copy, label)
            return copy
        if len(value) > 4 and all(type(item) in _SCALAR_SET for item in value):
            self._note(fetch, label, "items", (kind, tuple(value)))
            items = list(value)
        else:
            here = self._note(fetch, label, "sequence", (kind, len(value)))
            items = [
                self.wrap(item, f"{here}[{i}]", f"{label}[{i}]")
                for i, item in enumerate(value)
            ]
        if kind is list:
            self.watched.add(items, label)
            return items
        if kind is tuple:
            return tuple(items)
        return kind._make(items)  # type: ignore[attr-defined]

    def _item(self, container: str, key: Any) -> str:
        if type(key) in (str, int):
            return f"{container}[{key!r}]"
        return f"{container}[{self._place(key)}]"

    def _function(self, function: FunctionType, fetch: str, label: str) -> Any:
        if isinstance(function.__globals__, _Namespace):
            return function  # made by a clone: it reads the clone's names
        if is_library(function.__globals__.get("__name__")):
            self._snapshot(function, fetch, label)
            return self.served.get(id(function), function)
        self._note(fetch, label, "is", function)
        return self._clone(function)

    def _clone(self, function: FunctionType) -> FunctionType:
        known = self._clones.get(id(function))
        if known is not None:
            return known[1]
        cells = tuple(CellType() for _ in function.__closure__ or ())
        clone = FunctionType(
            function.__code__,
            self._namespace(function.__globals__),
            function.__name__,
            None,
            cells,
        )
        self._clones[id(function)] = function, clone
        self._known[id(function)] = function, self._known_at(function), clone
        self._snapshots.note_code(function.__code__)
        clone.__dict__.update(function.__dict__)
        clone.__qualname__ = function.__qualname__
        clone.__module__ = function.__module__
        clone.__doc__ = function.__doc__
        self._fill_cells(function, cells)
        clone.__globals__.prefill(names_in(function.__code__).loose)  # type: ignore
        place = self._place(function)
        name = function.__name__
        if function.__defaults__:
            clone.__defaults__ = self.wrap(
                function.__defaults__, f"{place}.__defaults__", f"{name}'s defaults"
            )
        if function.__kwdefaults__:
            clone.__kwdefaults__ = self.wrap(
                function.__kwdefaults__, f"{place}.__kwdefaults__", f"{name}'s defaults"
            )
        return clone

    def _known_at(self, value: Any) -> int:
        known = self._known.get(id(value))
        return known[1] if known is not None else -1

    def _fill_cells(self, function: FunctionType, cells: tuple[CellType, ...]) -> None:
        names = function.__code__.co_freevars
        for name, cell, mine in zip(
            names, function.__closure__ or (), cells, strict=True
        ):
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                self._cells.append((name, mine, _EMPTY))
                continue
            fetch = f"{self._place(cell)}.cell_contents"
            mine.cell_contents = self.wrap(value, fetch, name)
            self._cells.append((name, mine, mine.cell_contents))

    def _namespace(self, real: dict[str, Any]) -> _Namespace:
        found = self._namespaces.get(id(real))
        if found is None:
            found = self._namespaces[id(real)] = _Namespace()
            found.captures, found.real, found.seen = self, real, {}
            found.place = self._place(real)
            found.physical = {n: real[n] for n in _MODULE_NAMES if n in real}
            found.physical["__builtins__"] = self._builtins
            # Which warnings were shown already: the clone's are the user's.
            found.physical[_REGISTRY] = real.setdefault(_REGISTRY, {})
            dict.update(found, found.physical)
        return found

    def _partial(self, value: functools.partial, fetch: str, label: str) -> Any:
        here = self._note(fetch, label, "parts", type(value))
        func = self.wrap(value.func, f"{here}.func", label)
        args = self.wrap(value.args, f"{here}.args", f"{label}.args")
        keywords = self.wrap(value.keywords, f"{here}.keywords", f"{label}.keywords")
        return functools.partial(func, *args, **keywords)

    def _method(self, value: MethodType, fetch: str, label: str) -> Any:
        here = self._note(fetch, label, "parts", type(value))
        owner = label.rpartition(".")[0] or "self"
        function = self.wrap(value.__func__, f"{here}.__func__", label)
        bound_to = self.wrap(value.__self__, f"{here}.__self__", owner)
        return MethodType(function, bound_to)

    def _module(self, module: ModuleType, fetch: str, label: str) -> Any:
        self._note(fetch, label, "is", module)
        if is_library(module.__name__):
            return module
        proxy = _Module(module.__name__)
        facts = (self, module, self._place(module), label)
        proxy.__dict__["__captures__"] = facts
        return proxy

    def _import(self, *args: Any, **kwargs: Any) -> Any:
        """`import` inside a clone: the module is wrapped like any other value."""
        module = builtins.__import__(*args, **kwargs)
        if is_library(module.__name__):
            return module
        return self.wrap(module, self._place(module), module.__name__, root=True)

    # --- the end of the recording -----------------------------------------------------

    def close(self) -> Checks:
        """Refuse writes and random draws; return what must hold from now on."""
        if self._refused:  # the user's code caught it and went on
            raise self._refused[0]
        self._snapshots.complete(self._where)
        self._refuse_draws()
        self._refuse_writes()
        for check in self._checks:
            if check.kind == "snapshot" and check.value.is_identity:
                check.kind, check.value = "is", check.value.value
        checks = Checks(self._checks, self._env)
        if (changed := checks.change()) is not None:
            raise _write_error(f"changes {changed[0].label}", self._where)
        return checks

    def _refuse_draws(self) -> None:
        for label, generator, before in self._generators.values():
            if random_state(generator) != before:
                raise RandomDrawError(
                    message(
                        f"the function drew random numbers from {label} while it was "
                        "recorded; a compiled call would repeat them",
                        where=self._where,
                        way_out="Draw outside and pass the numbers as an argument",
                    )
                )

    def _refuse_writes(self) -> None:
        for namespace in self._namespaces.values():
            if (name := namespace.written()) is not None:
                raise _write_error(f"assigns the global {name!r}", self._where)
        for name, cell, before in self._cells:
            if _contents(cell) is not before:
                raise _write_error(f"assigns the nonlocal {name!r}", self._where)
        if (label := self.watched.changed()) is not None:
            raise _write_error(f"changes {label}", self._where)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_make")


def _position(function: Callable) -> str:
    """Where a function is defined, as errors print it."""
    code = getattr(unwrap(function), "__code__", None)
    if code is None:
        return _name_of(function)
    name = code.co_filename.rpartition("/")[2]
    return f"{name}:{code.co_firstlineno} in {code.co_name}"


def _name_of(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)
