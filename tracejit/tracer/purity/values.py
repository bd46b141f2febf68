"""What is known about a value in user code that is read but not run (`purity`).

    Known(obj)        this very object, which no traced value is part of
    Items(a, b)       a tuple of which each item is known this well
    TRACED            a tracer
    SCALAR            a tracer or an immutable number, string, None, dtype, slice
    ARRAY             one of those, or an array made in this round
    FRESH             data made in this round, so that writing into it changes nothing
                      that was there before: an array, list, dict, tracer, ...
    DATA              data: arrays, containers of data, numbers, tracers
    Seq(a)            an iterable made in this round, with such items (`zip`, `range`)
    Made(code, ...)   a function made in this round
    Method(a, name)   a method of data
    Growing(a)        a list of this frame alone that each round appends to
    Counted(f)        a Python number that depends on the round of a `for` loop
    ITERATOR          an iterator from outside
    TOP               anything

Each is a special case of those below it where that makes sense (`join`).
"""

from __future__ import annotations

import builtins as builtins_module
import functools
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

__all__ = [
    "ARRAY", "DATA", "FRESH", "ITERATOR", "NULL", "SCALAR", "TOP", "TRACED", "Cell",
    "Counted", "Growing", "Items", "Kind", "Known", "Made", "Method", "Seq", "Space",
    "Value", "abstract", "content", "has_contents", "is_array", "is_data",
    "is_iterator", "is_namedtuple", "is_scalar", "join", "kind_name",
]  # fmt: skip


class Known:
    """One object, equal to another `Known` if it is the same (or an equal scalar)."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def _key(self) -> Any:
        obj = self.obj
        if type(obj) in _NUMBERS or type(obj) is str:
            return type(obj), repr(obj)
        return id(obj)

    def __eq__(self, other: object) -> bool:
        return type(other) is Known and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Known({self.obj!r})"


class Kind(NamedTuple):
    """A value of which only the kind is known."""

    name: str


class Items(NamedTuple):
    """A tuple; `fields` are the names of a named tuple's items."""

    items: tuple[Any, ...]
    fields: tuple[str, ...] = ()


class Seq(NamedTuple):
    item: Any


class Cell(NamedTuple):
    """A variable that inner functions share; `values` is the frame's own table."""

    name: str


class Space:
    """Where a function's global names are looked up."""

    __slots__ = ("builtins", "names")

    def __init__(self, names: Any, builtins: dict[str, Any] | None = None) -> None:
        self.names = names
        found = dict.get(names, "__builtins__") if builtins is None else builtins
        self.builtins = found if isinstance(found, dict) else vars(builtins_module)

    def __eq__(self, other: object) -> bool:
        return type(other) is Space and self.names is other.names

    def __hash__(self) -> int:
        return id(self.names)

    def find(self, name: str) -> Any:
        """What a global name is; raises KeyError.

        The namespace of a clone (`captures`) notes what is read from it, and this
        read is no part of the user's program: it goes to the tables behind it.
        """
        names = self.names
        for table in (getattr(names, "seen", None), names):
            if table is not None and dict.__contains__(table, name):
                return dict.__getitem__(table, name)
        real = getattr(names, "real", None)
        if real is not None and name in real:
            return real[name]
        return self.builtins[name]


class Counted(NamedTuple):
    """A number that a known formula makes of a loop's variable (`counted`).

    It is no data: whatever is not known to keep the formula refuses it.
    """

    formula: tuple[Any, ...]


class Growing(NamedTuple):
    """A list that only grows; it is no data, so nothing reads it."""

    name: str


class Made(NamedTuple):
    """A function; `cells` holds what its free variables are."""

    code: Any
    space: Space
    defaults: tuple[Any, ...] = ()
    kwdefaults: tuple[tuple[str, Any], ...] = ()
    cells: tuple[tuple[str, Any], ...] = ()


class Method(NamedTuple):
    owner: Any
    name: str


Value = Known | Kind | Items | Seq | Cell | Counted | Growing | Made | Method

TRACED = Kind("traced")
SCALAR = Kind("scalar")
ARRAY = Kind("array")
FRESH = Kind("fresh")
DATA = Kind("data")
ITERATOR = Kind("iterator")
TOP = Kind("anything")
NULL = Kind("null")
_ORDER = [TRACED, SCALAR, ARRAY, FRESH, DATA]

_NUMBERS = (int, float, bool, complex)
_IMMUTABLE = (*_NUMBERS, str, bytes, type(None), type(...), slice, range)
_CONTAINERS = (tuple, list, dict, set, frozenset)
#: Containers with more items than this are not looked through.
_MANY = 1024


def is_namedtuple(kind: type) -> bool:
    """Whether a class is a plain `collections.namedtuple` or `typing.NamedTuple`."""
    if not issubclass(kind, tuple) or kind.__bases__ != (tuple,):
        return False
    new = kind.__new__ if "__new__" in vars(kind) else None
    made = isinstance(new, FunctionType) and new.__code__.co_filename.startswith("<")
    return hasattr(kind, "_fields") and made and "__getattribute__" not in vars(kind)


def _of_numpy(kind: type, *names: str) -> bool:
    return kind.__module__ == "numpy" and (
        kind.__name__ in names or any(b.__name__ in names for b in kind.__mro__)
    )


def is_scalar(obj: Any) -> bool:
    """Whether an object is immutable and has no parts of its own."""
    kind = type(obj)
    return kind in _IMMUTABLE or _of_numpy(kind, "generic", "dtype")


def is_array(kind: type) -> bool:
    """Whether values of a class are ordinary arrays, or stand in for one."""
    module, name = kind.__module__, kind.__name__
    if name == "Buffer":
        return module.startswith("tracejit.")
    return module == "numpy" and name == "ndarray"


def is_iterator(obj: Any) -> bool:
    return hasattr(type(obj), "__next__")


def _plain(obj: Any, depth: int = 4) -> bool:
    """Whether an object is data whose operators run no code of the user's."""
    kind = type(obj)
    if is_scalar(obj):
        return True
    if is_array(kind):
        return obj.dtype.kind != "O"
    if kind not in _CONTAINERS and not is_namedtuple(kind):
        return False
    if depth == 0 or len(obj) > _MANY:
        return False
    parts = [*obj, *obj.values()] if kind is dict else obj
    return all(_plain(part, depth - 1) for part in parts)


def is_data(value: Value) -> bool:
    """Whether operators and NumPy's functions may have this value as an operand."""
    if type(value) is Kind:
        return value in _ORDER
    if type(value) is Items:
        return all(is_data(item) for item in value.items)
    if type(value) is Seq:
        return is_data(value.item)
    return type(value) is Known and _plain(value.obj)


def abstract(obj: Any, traced: type, depth: int = 4) -> Value:
    """What an object is; nothing that is returned holds a tracer.

    Args:
        traced: the class of traced values.
    """
    kind = type(obj)
    if kind is traced:
        return TRACED
    if kind in (tuple, list, dict) or is_namedtuple(kind):
        parts = list(obj.values()) if kind is dict else obj
        if depth == 0 or len(parts) > _MANY:
            return TOP
        items = tuple([abstract(part, traced, depth - 1) for part in parts])
        if issubclass(kind, tuple):
            return Items(items, getattr(kind, "_fields", ()))
        if all(type(item) is Known for item in items):
            return Known(obj)
        plain = kind is list or all(is_scalar(key) for key in obj)
        return DATA if plain and all(is_data(item) for item in items) else TOP
    if kind is slice and traced in map(type, (obj.start, obj.stop, obj.step)):
        return SCALAR
    if is_iterator(obj):
        return ITERATOR
    if kind is FunctionType and obj.__closure__ and depth and not _is_served(obj):
        return _function(obj, traced, depth)
    return Known(obj)


def _is_served(obj: FunctionType) -> bool:
    """Whether a function is ours under the name of one of NumPy's."""
    numpy = (obj.__module__ or "").partition(".")[0] == "numpy"
    return numpy and hasattr(obj, "__wrapped__")


def _function(obj: FunctionType, traced: type, depth: int) -> Value:
    """A function; not held itself if tracers are in its closure or its defaults."""
    cells = []
    for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:
            return TOP
        same = contents is obj
        cells.append((name, TOP if same else abstract(contents, traced, depth - 1)))
    defaults = [abstract(d, traced, depth - 1) for d in obj.__defaults__ or ()]
    if all(type(v) is Known for v in (*dict(cells).values(), *defaults)):
        return Known(obj)
    if obj.__kwdefaults__:
        return TOP
    space = Space(obj.__globals__)
    return Made(obj.__code__, space, tuple(defaults), (), tuple(cells))


def content(value: Value, traced: type) -> Value:
    """What the items of an iterable are, TOP if nothing is known of them."""
    if value in (TRACED, SCALAR):
        return value
    if value in (ARRAY, FRESH, DATA):
        return DATA
    if type(value) is Seq:
        return value.item
    if type(value) is Items:
        return functools.reduce(join, value.items) if value.items else SCALAR
    if type(value) is not Known:
        return TOP
    obj = value.obj
    if type(obj) in (range, str, bytes):
        return SCALAR
    if is_array(type(obj)):
        return DATA if obj.dtype.kind != "O" else TOP
    if type(obj) not in _CONTAINERS or len(obj) > _MANY:
        return TOP
    items = [abstract(item, traced) for item in obj]
    return functools.reduce(join, items) if items else SCALAR


def has_contents(value: Value) -> bool:
    """Whether what is known depends on contents that may be changed."""
    if type(value) is Items:
        return any(map(has_contents, value.items))
    if type(value) is Known:
        kind = type(value.obj)
        closure = kind is FunctionType and bool(value.obj.__closure__)
        return kind in (list, dict, set) or closure
    return value == DATA or type(value) is Made


def join(a: Value, b: Value) -> Value:
    """The most precise description that fits both."""
    if a == b:
        return a
    if type(a) is Items and type(b) is Items and _alike(a, b):
        pairs = zip(a.items, b.items, strict=True)
        return Items(tuple([join(x, y) for x, y in pairs]), a.fields)
    if type(a) is Method and type(b) is Method and a.name == b.name:
        return Method(join(a.owner, b.owner), a.name)
    if type(a) is Seq and type(b) is Seq:
        return Seq(join(a.item, b.item))
    if type(a) is Seq or type(b) is Seq:
        return TOP
    ranks = _rank(a), _rank(b)
    if ranks[0] is None or ranks[1] is None:
        return TOP
    return _ORDER[max(ranks[0], ranks[1])]


def _alike(a: Items, b: Items) -> bool:
    return len(a.items) == len(b.items) and a.fields == b.fields


def _rank(value: Value) -> int | None:
    if type(value) is Kind:
        return _ORDER.index(value) if value in _ORDER else None
    if not is_data(value):
        return None
    if type(value) is Known:
        # Text that is known only as some text could be a format: TOP.
        if type(value.obj) in (str, bytes):
            return None
        return 1 if is_scalar(value.obj) else 4
    return 3 if type(value) is Items else None


def kind_name(value: Value) -> str:
    """What a value is, for people: `list`, `ordinary array`, `Model object`."""
    if type(value) is Counted:
        return "number that changes in the loop"
    if type(value) is Growing:
        return "list"
    if type(value) is not Known:
        return "value"
    kind = type(value.obj)
    if is_array(kind):
        return "ordinary array"
    if isinstance(value.obj, ModuleType):
        return "module"
    if kind in _NUMBERS:
        return "Python number"
    return kind.__name__ if kind in _CONTAINERS else f"{kind.__name__} object"
