"""What counts as the user's code, and what the user's code names.

Functions of NumPy, SciPy, the standard library and tracejit are taken as they are:
they read nothing that the user changes between two calls.  All else is user code.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple

__all__ = [
    "ANY_NAME",
    "Names",
    "is_library",
    "names_in",
    "reachable_functions",
    "user_classes",
]

_LIBRARIES = frozenset(
    {"builtins", "llvmlite", "numba", "numpy", "optree", "scipy", "tracejit"}
    | {"_pytest", "pluggy", "pytest"}  # an `assert` under pytest names its module
) | (frozenset(sys.stdlib_module_names) - {"__main__", "this", "antigravity"})


def is_library(module: str | None) -> bool:
    """Whether a module, by its dotted name, is one whose code is taken as it is."""
    return module is not None and module.partition(".")[0] in _LIBRARIES


#: Code that mentions one of these may ask for attributes of any name.
ANY_NAME = frozenset(
    {"__dict__", "__getattribute__", "asdict", "astuple", "attrgetter", "deepcopy"}
    | {"eval", "exec", "getattr", "vars"}
)


class Names(NamedTuple):
    """The names that a piece of code mentions, nested code included.

    Attributes:
        globals: read, or looked up in class bodies.
        attributes: asked for with a dot, or by a string that could be such a name.
        loose: looked up in class bodies, whose instruction (`LOAD_NAME`) reads the
            namespace of the function past its `__getitem__`.
    """

    globals: frozenset[str]
    attributes: frozenset[str]
    loose: frozenset[str]


@functools.lru_cache(maxsize=2048)
def names_in(code: CodeType) -> Names:
    """The global names that `code` reads and the attributes that it asks for."""
    read, attributes, loose = set(), set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(instruction.argval)
            if instruction.opname == "LOAD_NAME":
                loose.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            attributes.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = names_in(constant)
            read |= inner.globals
            attributes |= inner.attributes
            loose |= inner.loose
        elif isinstance(constant, str) and constant.isidentifier():
            attributes.add(constant)
    attributes |= read & ANY_NAME
    return Names(frozenset(read), frozenset(attributes), frozenset(loose))


def user_classes(cls: type) -> Iterator[type]:
    """The classes of user code that `cls` inherits from, itself first."""
    return (base for base in cls.__mro__ if not is_library(base.__module__))


def _functions_of(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for base in user_classes(cls):
        for name, value in vars(base).items():
            if isinstance(value, property):
                found: tuple[Any, ...] = (value.fget, value.fset)
            else:
                value = getattr(value, "func", value)  # cached_property, partialmethod
                found = (getattr(value, "__func__", value),)
            for function in found:
                if isinstance(function, FunctionType):
                    yield name, function


def reachable_functions(
    cls: type, attributes: set[str], deep: bool = False
) -> list[FunctionType]:
    """The methods of `cls` that code which asks for `attributes` may run.

    Special methods always count: operators and calls name no attribute.  `attributes`
    grows by what those methods ask for in turn.
    """
    waiting = list(_functions_of(cls))
    reached: list[FunctionType] = []
    grew = True
    while grew:
        grew = False
        for name, function in list(waiting):
            special = name.startswith("__") and not (deep and name in _PLUMBING)
            if name in attributes or special:
                waiting.remove((name, function))
                reached.append(function)
                attributes |= names_in(function.__code__).attributes
                grew = True
    return reached


#: What operators, calls and `with` run; making, showing and copying read no settings.
_PLUMBING = frozenset(
    {"__class_getitem__", "__copy__", "__deepcopy__", "__del__", "__dir__"}
    | {"__format__", "__getstate__", "__init__", "__init_subclass__", "__new__"}
    | {"__post_init__", "__reduce__", "__reduce_ex__", "__repr__", "__set_name__"}
    | {"__setattr__", "__setstate__", "__sizeof__", "__str__", "__subclasshook__"}
)


def unwrap(function: Callable) -> Callable:
    """What a decorator that follows the convention was put on."""
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        function = inner
    return function
