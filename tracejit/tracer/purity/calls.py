"""What calls, attributes and items of known values give, if they only compute."""

from __future__ import annotations

import abc
import functools
import inspect
import operator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from .bytecode import Code, code_of
from .known import (
    ATTRIBUTES,
    BUILTINS,
    HIGHER,
    MUTATORS,
    READERS,
    TRANSFORMS,
    TUPLES,
    VIEWS,
    is_ours,
    numpy_name,
    out_position,
    refusal,
)  # fmt: skip
from .steps import Impure, Refused, Shared, State, Steps, widen
from .values import (
    ARRAY,
    DATA,
    FRESH,
    SCALAR,
    TOP,
    TRACED,
    Items,
    Kind,
    Known,
    Made,
    Method,
    Seq,
    Space,
    Value,
    abstract,
    content,
    is_array,
    is_data,
    is_iterator,
    is_namedtuple,
    is_scalar,
    join,
    kind_name,
)  # fmt: skip

__all__ = ["Calls"]

#: More instructions than this are not read for one loop.
LIMIT = 50_000
_DEPTH = 16
_OWN_KINDS = (TRACED, SCALAR, ARRAY, FRESH)


class Calls:
    """What is known about functions; one for each loop that is read.

    Attributes:
        in_place: whether a traced value may be written in place.
        root: the cells of the function that the loop is in.
    """

    def __init__(self, traced: type, root: dict[str, Value]) -> None:
        self.traced, self.root = traced, root
        self.in_place = False
        self._steps = 0
        self._running: list[Any] = []
        self._memo: dict[Any, Value] = {}

    def count(self, code: Code, i: int) -> None:
        self._steps += 1
        if self._steps > LIMIT:
            raise Refused(code, i, "the loop is too long to be understood")

    def of(self, obj: Any) -> Value:
        return abstract(obj, self.traced)

    # --- writing ----------------------------------------------------------------------

    def write(self, owner: Value) -> None:
        """An operation that changes its operand, if that can be changed at all."""
        if owner in (TRACED, SCALAR, ARRAY, FRESH):
            self.in_place = True
        elif type(owner) is Known and is_scalar(owner.obj):
            pass
        elif type(owner) is not Items:
            name = kind_name(owner)
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
        if type(owner) is Items and type(index) in (int, slice):
            try:
                found = owner.items[index]
            except IndexError:
                raise Impure("the index is out of range") from None
            return Items(found) if type(index) is slice else found
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
        if type(x) is Known and is_iterator(x.obj):
            raise Impure("an iterator is consumed in the loop")
        item = content(x, self.traced)
        looked_into = type(x) is Known and type(x.obj) in (list, tuple, dict, set)
        if item == TOP and not looked_into and type(x) not in (Items, Seq):
            raise Impure(f"iterating over a {kind_name(x)} may run any code")
        return item

    def attribute(self, owner: Value, name: str) -> Value:
        if type(owner) is Items and name in owner.fields:
            return owner.items[owner.fields.index(name)]
        if type(owner) is Known and not is_data(owner):
            return self._static(owner.obj, name)
        if not is_data(owner):
            raise Impure(f"nothing is known about the attribute {name!r}")
        if name in ATTRIBUTES:
            if name == "shape":
                return Seq(SCALAR)
            if name not in ("T", "mT", "real", "imag"):
                return SCALAR
            return owner if owner in _OWN_KINDS else DATA
        if name in READERS or name in MUTATORS:
            return Method(owner, name)
        raise Impure(f"nothing is known about the attribute {name!r}")

    def _static(self, obj: Any, name: str) -> Value:
        """An attribute that is found without running code of the user's."""
        if isinstance(obj, ModuleType):
            for module in (obj, *vars(obj).get("__captures__", ())[1:2]):
                if name in vars(module):
                    return self.of(vars(module)[name])
        elif type(obj).__module__ == "numpy" or is_ours(obj):
            if isinstance(obj, type) or is_ours(obj):
                return self.of(getattr(obj, name))
            return Method(Known(obj), name)
        elif isinstance(obj, type):
            if type(obj) in (type, abc.ABCMeta):
                for base in obj.__mro__:
                    if name in vars(base):
                        return self._bind(vars(base)[name], None, obj)
        elif type(obj).__getattribute__ is object.__getattribute__:
            found = inspect.getattr_static(type(obj), name, None)
            own = getattr(obj, "__dict__", {})
            if name in own and not hasattr(type(found), "__set__"):
                return self.of(own[name])
            if found is not None:
                return self._bind(found, obj, type(obj))
        if isinstance(obj, BuiltinFunctionType | FunctionType | MethodType):
            raise Impure(f"the attribute {name!r} of a function is asked for")
        if is_iterator(obj) or "random" in type(obj).__module__:
            return Method(Known(obj), name)
        raise Impure(f"the attribute {name!r} of a {type(obj).__name__} object")

    def _bind(self, found: Any, obj: Any, cls: type) -> Value:
        kind = type(found)
        if kind is property and obj is not None:
            return self.call(self.of(found.fget), [Known(obj)], {})
        if kind is FunctionType:
            return self.of(found) if obj is None else Known(MethodType(found, obj))
        if kind is staticmethod:
            return self.of(found.__func__)
        if kind is classmethod:
            return Known(MethodType(found.__func__, cls))
        if inspect.ismemberdescriptor(found) and obj is not None:
            return self.of(found.__get__(obj, cls))
        if hasattr(kind, "__get__"):
            raise Impure(f"an attribute of a {cls.__name__} object may run any code")
        return self.of(found)

    # --- calls ------------------------------------------------------------------------

    def call(
        self, function: Value, args: list[Value], named: dict[str, Value]
    ) -> Value:
        if type(function) is Made:
            return self._python(function, args, named)
        if type(function) is Method:
            return self._method(function.owner, function.name, args, named)
        if type(function) is not Known:
            raise Impure("which function is called is not known")
        obj = function.obj
        if type(obj) is functools.partial:
            bound = [self.of(a) for a in obj.args]
            names = {k: self.of(v) for k, v in obj.keywords.items()}
            return self.call(self.of(obj.func), [*bound, *args], {**names, **named})
        if name := numpy_name(obj):
            return self._numpy(obj, name, args, named)
        if isinstance(obj, BuiltinFunctionType | type) and obj in BUILTINS:
            return self._builtin(obj, args, named)
        if isinstance(obj, BuiltinFunctionType | type) and obj in HIGHER:
            return self._higher(obj, args)
        if is_ours(obj):
            return self._ours(obj, args, named)
        if isinstance(obj, MethodType) and type(obj.__func__) is FunctionType:
            return self.call(
                self.of(obj.__func__), [self.of(obj.__self__), *args], named
            )
        if type(obj) is FunctionType:
            return self._function(obj, args, named)
        if obj is getattr and len(args) == 2 and type(args[1]) is Known:
            return self.attribute(args[0], args[1].obj)
        if isinstance(obj, type) and is_namedtuple(obj):
            fields: tuple[str, ...] = obj._fields  # type: ignore[attr-defined]
            values = dict(zip(fields, args, strict=False)) | named
            if set(values) == set(fields):
                return Items(tuple([values[f] for f in fields]), fields)
        owner = getattr(obj, "__self__", None)
        if type(obj) is BuiltinFunctionType and is_data(self.of(owner)):
            if not isinstance(owner, ModuleType) and owner is not None:
                return self._method(self.of(owner), obj.__name__, args, named)
        method = vars(type(obj)).get("__call__")
        if type(method) is FunctionType:
            return self.call(self.of(method), [function, *args], named)
        raise Impure(refusal(obj))

    def _function(
        self, f: FunctionType, args: list[Value], named: dict[str, Value]
    ) -> Value:
        cells = []
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                cells.append((name, self.of(cell.cell_contents)))
            except ValueError:
                cells.append((name, TOP))
        defaults = tuple([self.of(d) for d in f.__defaults__ or ()])
        names = tuple([(k, self.of(v)) for k, v in (f.__kwdefaults__ or {}).items()])
        space = Space(f.__globals__)
        made = Made(f.__code__, space, defaults, names, tuple(cells))
        return self._python(made, args, named)

    def _python(self, made: Made, args: list[Value], named: dict[str, Value]) -> Value:
        """What a function of the user gives; it is read as a whole."""
        cells = {}
        for name, value in made.cells:
            if type(value) is Shared:
                value = value.table.get(value.name, TOP)
            elif name in self.root and value != self.root[name]:
                value = join(value, self.root[name])
            cells[name] = value
        bound = _bind_arguments(made, args, named)
        space = made.space
        key = (made.code, space, *sorted(cells.items()), None, *sorted(bound.items()))
        try:
            if key in self._memo:
                return self._memo[key]
        except TypeError:
            key = None  # a value that has no hash
        if made.code in self._running or len(self._running) > _DEPTH:
            raise Impure("a function calls itself")
        code = code_of(made.code)
        for i in range(len(code.ops)):
            if (handler := code.catches(i)) is not None:
                raise Refused(code, handler, "an exception is handled in the loop")
        own = frozenset(made.code.co_cellvars)
        cells |= {name: bound.pop(name) for name in own & bound.keys()}
        steps = Steps(code, space, self, cells, own)
        self._running.append(made.code)
        try:
            steps.run({0: State((), bound)}, None)
        finally:
            self._running.pop()
        if made.code.co_flags & inspect.CO_GENERATOR:
            result: Value = Seq(SCALAR if steps.yielded is None else steps.yielded)
        else:
            result = SCALAR if steps.returned is None else steps.returned
        if key is not None:
            self._memo[key] = result
        return result

    def _all_data(self, function: str, args: list[Value]) -> None:
        for value in args:
            if type(value) is Known and is_iterator(value.obj):
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
        if name in VIEWS and not (args and args[0] in _OWN_KINDS):
            return DATA
        return ARRAY

    def _ours(self, obj: Any, args: list[Value], named: dict[str, Value]) -> Value:
        """A function of tracejit; what it puts on a user's function is read too."""
        wrapped = getattr(obj, "__wrapped__", None)
        if wrapped is not None:
            self.call(self.of(wrapped), args, named)
            return TOP if _gives_functions(obj) else DATA
        name = getattr(obj, "__name__", "")
        if name in TRANSFORMS and args:
            return Method(args[0], "tracejit")
        self._all_data(name, [*args, *named.values()])
        return SCALAR if all(a in (TRACED, SCALAR) for a in args) else DATA

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
        if type(owner) is Known and not is_data(owner):
            kind = type(owner.obj)
            ufunc = kind.__module__ == "numpy" and kind.__name__ == "ufunc"
            if ufunc and name in ("reduce", "accumulate", "outer", "reduceat"):
                if "out" not in named and numpy_name(owner.obj) and len(args) < 4:
                    self._all_data(name, [*args, *named.values()])
                    return ARRAY
            raise Impure(refusal(getattr(owner.obj, name, None)))
        self._all_data(f".{name}()", [*args, *named.values()])
        if name in MUTATORS:
            self.write(owner)
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


def _gives_functions(obj: Any) -> bool:
    return "vjp" in type(obj).__name__.lower()


def _bind_arguments(
    made: Made, args: list[Value], named: dict[str, Value]
) -> dict[str, Value]:
    """The parameters of a function, by name."""
    code = made.code
    count, names = code.co_argcount, code.co_varnames
    has_rest = bool(code.co_flags & inspect.CO_VARARGS)
    has_names = bool(code.co_flags & inspect.CO_VARKEYWORDS)
    bound = dict(zip(names[:count], args, strict=False))
    last = count + code.co_kwonlyargcount
    if len(args) > count and not has_rest:
        raise Impure("the call does not fit the function")
    if has_rest:
        bound[names[last]] = Items(tuple(args[count:]))
    extra = {k: v for k, v in named.items() if k not in names[:last]}
    bound |= {k: v for k, v in named.items() if k in names[:last]}
    if has_names:
        bound[names[last + has_rest]] = (
            FRESH if all(map(is_data, extra.values())) else TOP
        )
    elif extra:
        raise Impure("the call does not fit the function")
    defaults = zip(names[:count][::-1], made.defaults[::-1], strict=False)
    for name, value in (*defaults, *made.kwdefaults):
        bound.setdefault(name, value)
    return bound
