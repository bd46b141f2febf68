"""What calls and attributes of known values give, if they only compute."""

from __future__ import annotations

import abc
import functools
import inspect
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from .bytecode import Code, code_of
from .instructions import Impure, Shared
from .known import (
    ATTRIBUTES,
    BUILTINS,
    HIGHER,
    MUTATORS,
    READERS,
    TRANSFORMS,
    is_ours,
    numpy_name,
    refusal,
)  # fmt: skip # isort: skip
from .library import OWN_KINDS, Library
from .steps import Refused, State, Steps
from .values import (
    DATA,
    FRESH,
    ITERATOR,
    SCALAR,
    TOP,
    TRACED,
    Growing,
    Items,
    Known,
    Made,
    Method,
    Seq,
    Space,
    Value,
    is_data,
    is_namedtuple,
    join,
)  # fmt: skip # isort: skip

__all__ = ["Calls"]

#: More instructions than this are not read for one loop.
LIMIT = 50_000
_DEPTH = 16
#: Classes of classes whose attributes are found without code of the user's.
_PLAIN_CLASSES: tuple[type, ...] = (type, abc.ABCMeta)


class Calls(Library):
    """What is known about functions; one for each loop that is read.

    Attributes:
        called: the user's functions that each call was seen to call, by its offset;
            None among them stands for anything else.
        root: the cells of the function that the loop is in.
    """

    def __init__(self, traced: type, root: dict[str, Value]) -> None:
        super().__init__(traced)
        self.root = root
        self.called: dict[tuple[CodeType, int], set[CodeType | None]] = {}
        self._steps = 0
        self._running: list[Any] = []
        self._memo: dict[Any, Value] = {}

    def count(self, code: Code, i: int) -> None:
        self._steps += 1
        if self._steps > LIMIT:
            raise Refused(code, i, "the loop is too long to be understood")

    def note(self, code: CodeType, offset: int, function: Value) -> None:
        """Remember which function a call calls."""
        obj = function.obj if type(function) is Known else function
        while type(obj) is functools.partial:
            obj = obj.func
        obj = obj.__func__ if type(obj) is MethodType else obj
        target = obj.code if type(obj) is Made else getattr(obj, "__code__", None)
        is_function = type(obj) in (Made, FunctionType) and not numpy_name(obj)
        self.called.setdefault((code, offset), set()).add(
            target if is_function and not is_ours(obj) else None
        )

    # --- attributes ---

    def attribute(self, owner: Value, name: str) -> Value:
        if type(owner) is Items and name in owner.fields:
            return owner.items[owner.fields.index(name)]
        if type(owner) is Known and not is_data(owner):
            return self._static(owner.obj, name)
        if owner == ITERATOR:
            raise Impure("an iterator is consumed in the loop")
        if type(owner) is Growing and name == "append":
            return Method(owner, name)
        if not is_data(owner):
            raise Impure(f"nothing is known about the attribute {name!r}")
        if name in ATTRIBUTES:
            if name == "shape":
                return Seq(SCALAR)
            if name not in ("T", "mT", "real", "imag"):
                return SCALAR
            return owner if owner in OWN_KINDS else DATA
        if name in READERS or name in MUTATORS:
            return Method(owner, name)
        raise Impure(f"nothing is known about the attribute {name!r}")

    def _static(self, obj: Any, name: str) -> Value:
        """An attribute that is found without running code of the user's."""
        if "random" in type(obj).__module__:
            return Method(Known(obj), name)
        if isinstance(obj, ModuleType):
            for module in (obj, *vars(obj).get("__captures__", ())[1:2]):
                if name in vars(module):
                    return self.of(vars(module)[name])
        elif type(obj).__module__ == "numpy" or is_ours(obj):
            if isinstance(obj, type) or is_ours(obj):
                return self.of(getattr(obj, name))
            return Method(Known(obj), name)
        elif isinstance(obj, type):
            if type(obj) in _PLAIN_CLASSES:
                self.heap = True
                for base in obj.__mro__:
                    if name in vars(base):
                        return self._bind(vars(base)[name], None, obj)
        elif _lookup(type(obj)) is _lookup(object):
            self.heap = True
            found = inspect.getattr_static(type(obj), name, None)
            own = getattr(obj, "__dict__", {})
            if name in own and not hasattr(type(found), "__set__"):
                return self.of(own[name])
            if found is not None:
                return self._bind(found, obj, type(obj))
        if isinstance(obj, BuiltinFunctionType | FunctionType | MethodType):
            raise Impure(f"the attribute {name!r} of a function is asked for")
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
        if obj == getattr and len(args) == 2 and type(args[1]) is Known:
            return self.attribute(args[0], args[1].obj)
        if isinstance(obj, type) and is_namedtuple(obj):
            fields: tuple[str, ...] = obj._fields  # type: ignore[attr-defined]
            values = dict(zip(fields, args, strict=False)) | named
            if set(values) == set(fields):
                return Items(tuple([values[f] for f in fields]), fields)
        owner = getattr(obj, "__self__", None)
        is_bound = type(obj) is BuiltinFunctionType and owner is not None
        if is_bound and is_data(self.of(owner)):
            return self._method(self.of(owner), obj.__name__, args, named)
        method = vars(type(obj)).get("__call__")
        if type(method) is FunctionType:
            return self.call(self.of(method), [function, *args], named)
        raise Impure(refusal(obj))

    def _function(
        self, f: FunctionType, args: list[Value], named: dict[str, Value]
    ) -> Value:
        module = dict.get(f.__globals__, "__name__", "")
        if module.partition(".")[0] in ("numpy", "scipy", "numba"):
            raise Impure(refusal(f))
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
        key: Any = (
            made.code,
            space,
            *sorted(cells.items()),
            None,
            *sorted(bound.items()),
        )
        try:
            if key in self._memo:
                return self._memo[key]
        except TypeError:
            key = None  # a value that has no hash
        if made.code in self._running or len(self._running) > _DEPTH:
            raise Impure("a function calls itself")
        code = code_of(made.code)
        own = frozenset(made.code.co_cellvars)
        cells |= {name: bound.pop(name) for name in own & bound.keys()}
        steps = Steps(code, space, self, cells, own)
        self._running.append(made.code)
        try:
            steps.run({0: State((), bound)}, None)
        finally:
            self._running.pop()
        for i in range(len(code.ops)):
            if (handler := code.catches(i)) is not None:
                raise Refused(code, handler, "an exception is handled in the loop")
        if made.code.co_flags & inspect.CO_GENERATOR:
            result: Value = Seq(SCALAR if steps.yielded is None else steps.yielded)
        else:
            result = SCALAR if steps.returned is None else steps.returned
        if key is not None:
            self._memo[key] = result
        return result

    def _ours(self, obj: Any, args: list[Value], named: dict[str, Value]) -> Value:
        """A function of tracejit; what it puts on a user's function is read too."""
        if type(obj).__name__ == "primitive":
            # Called in every round as it is, and never recorded.
            self._all_data(obj.name, [*args, *named.values()])
            return DATA
        wrapped = getattr(obj, "__wrapped__", None)
        if wrapped is not None:
            self.call(self.of(wrapped), args, named)
            return TOP if _gives_functions(obj) else DATA
        name = getattr(obj, "__name__", "")
        if name in TRANSFORMS and args:
            return Method(args[0], "tracejit")
        self._all_data(name, [*args, *named.values()])
        return SCALAR if all(a in (TRACED, SCALAR) for a in args) else DATA


def _lookup(kind: type) -> Any:
    return kind.__getattribute__


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
