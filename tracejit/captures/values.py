"""Values from outside: how to compare them, and how to ask them for what they hold."""

from __future__ import annotations

import math
import random
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from itertools import islice
from operator import is_
from types import ModuleType
from typing import Any

import numpy as np

from .library import is_library

__all__ = [
    "INSIDE",
    "SCALARS",
    "attribute_names",
    "attribute_of",
    "buffer_of",
    "class_attribute_of",
    "constant_of",
    "constant_of_class",
    "content_of",
    "global_of",
    "is_bound",
    "is_generator",
    "is_machinery",
    "is_opaque",
    "item_of",
    "item_of_view",
    "names_of",
    "random_state",
    "same",
    "same_array",
    "same_items",
]

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


def is_bound(function: Any) -> bool:
    """Whether a builtin is a method of an object: `items.append`, not `math.sin`."""
    owner = function.__self__
    return owner is not None and not isinstance(owner, (ModuleType, type))


#: Classes of the standard library whose instances hold the user's settings.
_DATA_MODULES = frozenset(
    {"__main__", "argparse", "builtins", "collections", "configparser"}
    | {"contextvars", "dataclasses", "functools", "queue", "types", "weakref"}
)


def is_machinery(kind: type) -> bool:
    """Loggers, locks, files and the like: what they do is no result."""
    module = kind.__module__
    return (
        is_library(module)
        and module.partition(".")[0] in sys.stdlib_module_names
        and module not in _DATA_MODULES
    )


def same_array(now: np.ndarray, copy: np.ndarray) -> bool:
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
        found = [found] if isinstance(found, str) else found
        names += [_mangled(cls, name) for name in found]
    return [n for n in names if n not in ("__dict__", "__weakref__")]


def _mangled(cls: type, name: str) -> str:
    private = name.startswith("__") and not name.endswith("__")
    return f"_{cls.__name__.lstrip('_')}{name}" if private else name


def attribute_names(value: Any) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    return names + [n for n in _slots(value) if hasattr(value, n)]


def item_of(key: Any) -> Callable[[Any], Any]:
    return lambda container: container[key]


def attribute_of(name: str) -> Callable[[Any], Any]:
    return lambda owner: getattr(owner, name)


def constant_of(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def buffer_of(value: Any) -> bytes | None:
    """What a memoryview, a ctypes object or a mapped file holds."""
    try:
        return bytes(memoryview(value))
    except (TypeError, ValueError):
        return None


def item_of_view(index: int) -> Callable[[Any], Any]:
    return lambda view: next(islice(view, index, None))


def _context_value(variable: ContextVar) -> Any:
    try:
        return variable.get()
    except LookupError:
        return None


#: How to ask an object for its one content.
INSIDE: dict[type, Callable[[Any], Any]] = {
    ContextVar: _context_value,
    threading.local: vars,
    weakref.ref: weakref.ref.__call__,
}


def names_of(cls: type) -> tuple[str, ...]:
    """The attributes that a class itself has, but for Python's own."""
    return tuple([name for name in vars(cls) if not name.startswith("__")])


def constant_of_class(cls: type) -> Callable[[Any], Any]:
    return lambda _: names_of(cls)


def class_attribute_of(cls: type, name: str) -> Callable[[Any], Any]:
    return lambda _: vars(cls)[name]


def content_of(cell: Any) -> Callable[[Any], Any]:
    return lambda _: cell.cell_contents


def global_of(namespace: dict, name: str) -> Callable[[Any], Any]:
    return lambda _: namespace[name]
