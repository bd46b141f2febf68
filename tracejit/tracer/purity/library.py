"""What NumPy's and Python's own functions and methods give, if they only compute."""

from __future__ import annotations

import abc
import functools
import operator
from typing import Any

from .instructions import Impure, widen
from .known import (
    BUILTINS,
    CONTAINERS,
    HIGHER,
    MUTATORS,
    READERS,
    TUPLES,
    VIEWS,
    numpy_name,
    out_position,
    refusal,
)  # fmt: skip # isort: skip
from .values import (
    ARRAY,
    DATA,
    FRESH,
    ITERATOR,
    SCALAR,
    TOP,
    TRACED,
    Growing,
    Items,
    Kind,
    Known,
    Seq,
    Value,
    abstract,
    content,
    has_contents,
    is_array,
    is_data,
    is_scalar,
    join,
    kind_name,
)  # fmt: skip # isort: skip

__all__ = ["OWN_KINDS", "Library"]

_UFUNC_METHODS = frozenset(("reduce", "accumulate", "outer", "reduceat"))
#: What a write into cannot be seen from outside, or is traced.
OWN_KINDS = (TRACED, SCALAR, ARRAY, FRESH)


class Library:
    """What is known about functions that are not the user's.

    Attributes:
        in_place: whether a traced value may be written in place.
        heap: whether what is known depends on contents that may be changed.
        numbers, positions: formulas of the numbers that depend on the round and met
            traced values, as operands and as indices.
        places: by code and offset of an operator or index, the formulas there: of an
            operand, or all in an index; empty if there is none.
    """

    def __init__(self, traced: type) -> None:
        self.traced = traced
        self.in_place = False
        self.heap = False
        self.numbers: set[tuple] = set()
        self.positions: set[tuple] = set()
        self.places: dict[tuple, set[Any]] = {}

    def place(self, code: Any, offset: int, found: Any) -> None:
        """Note what an instruction does with numbers that depend on the round."""
        self.places.setdefault((code, offset), set()).add(found)

    def call(
        self, function: Value, args: list[Value], named: dict[str, Value]
    ) -> Value:
        raise NotImplementedError

    def of(self, obj: Any) -> Value:
        found = abstract(obj, self.traced)
        self.heap = self.heap or has_contents(found)
        return found

    # --- writing ----------------------------------------------------------------------

    def write(self, owner: Value, name: str = "") -> None:
        """An operation that changes its operand, if that can be changed at all."""
        if owner in (TRACED, SCALAR, ARRAY, FRESH):
            self.in_place = True
        elif type(owner) is Known and is_scalar(owner.obj):
            pass
        elif type(owner) is not Items:
            name = name or kind_name(owner)
            article = "an" if name[0] in "aeiou" else "a"
            raise Impure(f"{article} {name} changes in the loop")

    # --- items and attributes ---------------------------------------------------------

    def item(self, owner: Value, key: Value | None) -> Value:
        """`owner[key]`; None stands for a slice."""
        if owner in (TRACED, SCALAR):
            return owner
        if type(owner) is Kind and is_data(owner):
            return DATA
        index = key.obj if type(key) is Known and is_scalar(key.obj) else None
        if type(owner) is Items and isinstance(index, int | slice):
            try:
                found: Any = owner.items[index]
            except IndexError:
                raise Impure("the index is out of range") from None
            return Items(found) if isinstance(index, slice) else found
        if type(owner) is Seq and type(index) is int:
            return owner.item
        if type(owner) is Known and type(owner.obj) in (dict, list, range, str):
            if index is not None and type(index) is not slice:
                try:
                    return self.of(owner.obj[index])
                except LookupError:
                    raise Impure("the item is not there") from None
        elif type(owner) is Known and not is_data(owner):
            raise Impure(f"an item of a {kind_name(owner)} may run any code")
        return DATA if is_data(owner) else TOP

    def iterate(self, x: Value) -> Value:
        """What an iterable gives; it must not be an iterator from outside."""
        if x == ITERATOR:
            raise Impure("an iterator is consumed in the loop")
        item = content(x, self.traced)
        looked_into = type(x) is Known and type(x.obj) in (list, tuple, dict, set)
        if item == TOP and not looked_into and type(x) not in (Items, Seq):
            raise Impure(f"iterating over a {kind_name(x)} may run any code")
        return item

    # --- functions ---

    def _all_data(self, function: str, args: list[Value]) -> None:
        for value in args:
            if value == ITERATOR:
                raise Impure("an iterator is consumed in the loop")
            if not is_data(value):
                raise Impure(f"a {kind_name(value)} is given to {function}")

    def _numpy(
        self, obj: Any, name: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        self._all_data(name, [*args, *named.values()])
        at = out_position(obj)
        outs = [named["out"]] if "out" in named else []
        outs += args[at:] if at is not None else []
        for out in outs:
            if out != Known(None):
                self.write(out)
                if type(out) is Items:
                    raise Impure("a tuple is given as out=")
        if outs and outs != [Known(None)] * len(outs):
            return DATA
        single = all(a in (TRACED, SCALAR) or _scalar(a) for a in args)
        if name in TUPLES:
            return Seq(SCALAR if single else DATA)
        if single:
            return SCALAR
        if name in VIEWS and not (args and args[0] in OWN_KINDS):
            return DATA
        return ARRAY

    def _higher(self, obj: Any, args: list[Value]) -> Value:
        name = HIGHER[obj]
        items = [self.iterate(x) for x in args[1:]]
        if name == "reduce":
            result = items[0] if len(items) == 1 else DATA
            given = self.call(args[0], [DATA, DATA], {})
            return join(result, given)
        if name == "starmap":
            raise Impure(refusal(obj))
        given = items[0] if args[0] == Known(None) else self.call(args[0], items, {})
        return Seq(items[0] if name == "filter" else given)

    def _builtin(self, obj: Any, args: list[Value], named: dict[str, Value]) -> Value:
        if obj in (isinstance, issubclass, callable):
            return self._asks_class(obj, args)
        if obj in (max, min, sorted) and "key" in named:
            self.call(named.pop("key"), [self.iterate(args[0])], {})
        self._all_data(obj.__name__, list(named.values()))
        if BUILTINS[obj] or obj in (list, tuple, len) or obj is operator.getitem:
            return self._iterable(obj, args)
        self._all_data(obj.__name__, args)
        if obj in (abs, pow, round) or obj.__module__ == "_operator":
            return widen(args)
        if obj in (max, min, sum):
            items = args if len(args) > 1 else [self.iterate(args[0])]
            if obj is sum:
                return widen([self.iterate(args[0]), *args[1:]])
            return functools.reduce(join, items)
        if obj is divmod:
            return Items((widen(args), widen(args)))
        return FRESH if obj in (dict, set, frozenset, sorted) else SCALAR

    def _asks_class(self, obj: Any, args: list[Value]) -> Value:
        for value in args[1:]:
            classes = value.items if type(value) is Items else (value,)
            for cls in classes:
                found = cls.obj if type(cls) is Known else None
                if type(found) not in (type, abc.ABCMeta):
                    raise Impure(f"{obj.__name__} of this may run any code")
        if obj is isinstance and all(type(a) is Known for a in args):
            first, second = (a.obj for a in args)  # type: ignore[union-attr]
            if "__class__" not in vars(type(first)):
                return Known(isinstance(first, second))
        return SCALAR

    def _iterable(self, obj: Any, args: list[Value]) -> Value:
        name = obj.__name__
        if obj is range:
            self._all_data(name, args)
            return Seq(SCALAR)
        if obj is operator.getitem:
            return self.item(args[0], args[1])
        if obj is len:
            if not (is_data(args[0]) or type(args[0]) in (Items, Seq)):
                self.iterate(args[0])
            known = type(args[0]) is Items
            return Known(len(args[0].items)) if known else SCALAR  # type: ignore[union-attr]
        items = [self.iterate(x) for x in args]
        if obj is enumerate:
            return Seq(Items((SCALAR, items[0])))
        if name in ("zip", "zip_longest", "product"):
            return Seq(Items(tuple(items)))
        if obj is reversed:
            return Seq(items[0])
        if obj is tuple and args and type(args[0]) is Items:
            return args[0]
        if not all(map(is_data, items)):
            return TOP if obj in (list, tuple) else Seq(TOP)
        return FRESH if obj in (list, tuple) else Seq(DATA)

    def _method(
        self, owner: Value, name: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        if name == "tracejit":
            self.call(owner, args, named)
            return DATA
        if type(owner) is Growing:
            self._all_data("append", args)
            return Known(None)
        if type(owner) is Known and not is_data(owner):
            simple = len(args) < 4 and "out" not in named
            if numpy_name(owner.obj) and name in _UFUNC_METHODS and simple:
                self._all_data(name, [*args, *named.values()])
                return ARRAY
            raise Impure(refusal(getattr(owner.obj, name, None)))
        self._all_data(f".{name}()", [*args, *named.values()])
        if name in MUTATORS:
            self.write(owner, CONTAINERS.get(name, ""))
            return DATA if name in ("pop", "popitem", "setdefault") else Known(None)
        if name not in READERS:
            raise Impure(f".{name}() is not known to be free of side effects")
        at = out_position(name)
        if at is not None and any(a != Known(None) for a in args[at:]):
            raise Impure("an array is given as out")
        if "out" in named and named["out"] != Known(None):
            self.write(named["out"])
        return self._read(owner, name)

    def _read(self, owner: Value, name: str) -> Value:
        if name in ("keys", "values", "items"):
            if type(owner) is not Known or type(owner.obj) is not dict:
                return Seq(DATA) if name != "items" else Seq(Items((DATA, DATA)))
            keys, values = (
                content(Known(list(found)), self.traced)
                for found in (owner.obj, owner.obj.values())
            )
            return Seq(
                {"keys": keys, "values": values}.get(name, Items((keys, values)))
            )
        if name == "nonzero":
            return Seq(DATA)
        if owner in (TRACED, SCALAR):
            return SCALAR
        if name in ("index", "count", "is_integer", "bit_length"):
            return SCALAR
        if name in VIEWS or name == "get":
            return ARRAY if owner == ARRAY and name != "get" else DATA
        if owner == ARRAY or (type(owner) is Known and is_array(type(owner.obj))):
            return ARRAY
        return FRESH


def _scalar(value: Value) -> bool:
    return type(value) is Known and is_scalar(value.obj)
