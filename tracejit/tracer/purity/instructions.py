"""What CPython's instructions do, with descriptions in place of values.

Unknown instructions are refused by `steps`, which finds them missing in `METHODS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .bytecode import Code
from .counted import counted, counted_slice, positions
from .values import (
    ARRAY,
    FRESH,
    NULL,
    SCALAR,
    TOP,
    TRACED,
    Cell,
    Counted,
    Items,
    Known,
    Made,
    Seq,
    Space,
    Value,
    content,
    is_array,
    is_data,
    is_scalar,
    join,
    kind_name,
)  # fmt: skip # isort: skip

__all__ = [
    "IN_PLACE", "METHODS", "Impure", "Instructions", "Shared", "never_none",
    "truth_of", "widen",
]  # fmt: skip

#: Operands of BINARY_OP: the first operator in place, the remainders, the last one.
IN_PLACE, _REMAINDER, _LAST_OPERATOR = 13, (6, 19), 25
_NUMERIC = (TRACED, SCALAR, ARRAY)
#: Operators by the argument of BINARY_OP that numbers may be counted with, also in
#: place.
OPERATORS = {
    i + j: name
    for i, name in ((0, "add"), (2, "floordiv"), (5, "mul"), (6, "mod"), (10, "sub"),
                    (11, "truediv"))
    for j in (0, IN_PLACE)
}  # fmt: skip

_BEFORE_313 = sys.version_info < (3, 13)


class Impure(Exception):
    """An operation that is not known to be free of side effects."""


class Instructions:
    """What each instruction does to the stack and the local names.

    Args:
        calls: what is known about functions, methods and attributes.
        cells: what the variables hold that inner functions share; they are not
            followed in order, so they hold what fits all assignments.
        own: names of the cells that belong to this very function.
    """

    def __init__(
        self,
        code: Code,
        space: Space,
        calls: Any,
        cells: dict[str, Value],
        own: frozenset[str],
    ) -> None:
        self.code, self.space, self.calls = code, space, calls
        self.cells, self.own = cells, own
        self.changed = False
        self.returned: Value | None = None
        self.yielded: Value | None = None
        self.stack: list[Value] = []
        self.names: dict[str, Value] = {}
        self.keywords: tuple[str, ...] = ()

    # --- the stack --------------------------------------------------------------------

    def pop(self, count: int) -> list[Value]:
        if count == 0:
            return []
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def data(self, count: int, what: str) -> list[Value]:
        """Pop operands that must be data."""
        values = self.pop(count)
        for value in values:
            if not is_data(value):
                raise Impure(f"{what} of a {kind_name(value)} may run any code")
        return values

    def load(self, name: str) -> None:
        if name in self.cells:
            self.push(Cell(name))
        else:
            self.push(self.names.get(name, TOP))

    def store(self, name: str) -> None:
        (value,) = self.pop(1)
        self.names[name] = value

    # --- instructions -----------------------------------------------------------------

    def nothing(self, op: Any) -> None: ...

    def load_fast(self, op: Any) -> None:
        names = op.argval if isinstance(op.argval, tuple) else (op.argval,)
        for name in names:
            self.load(name)

    def load_and_clear(self, op: Any) -> None:
        self.push(self.names.pop(op.argval, NULL))

    def store_fast(self, op: Any) -> None:
        self.store(op.argval)

    def store_load(self, op: Any) -> None:
        self.store(op.argval[0])
        self.load(op.argval[1])

    def store_store(self, op: Any) -> None:
        for name in op.argval:
            self.store(name)

    def load_const(self, op: Any) -> None:
        self.push(Known(op.argval))

    def load_global(self, op: Any) -> None:
        try:
            value = self.calls.of(self.space.find(op.argval))
        except KeyError:
            raise Impure(f"the name {op.argval} is not defined") from None
        pair = [NULL] if op.arg & 1 else []
        self.stack += [*pair, value] if _BEFORE_313 else [value, *pair]

    def load_deref(self, op: Any) -> None:
        self.push(self.cells.get(op.argval, TOP))

    def load_closure(self, op: Any) -> None:
        self.push(Cell(op.argval))

    def store_deref(self, op: Any) -> None:
        (value,) = self.pop(1)
        if op.argval not in self.own:
            raise Impure("a variable of an enclosing function is set in the loop")
        before = self.cells.get(op.argval)
        after = value if before is None else join(before, value)
        if after != before:
            self.cells[op.argval] = after
            self.changed = True

    def push_null(self, op: Any) -> None:
        self.push(NULL)

    def pop_top(self, op: Any) -> None:
        self.pop(1)

    def end_for(self, op: Any) -> None:
        self.pop(2 if _BEFORE_313 else 1)

    def copy(self, op: Any) -> None:
        self.push(self.stack[-op.arg])

    def swap(self, op: Any) -> None:
        s = self.stack
        s[-1], s[-op.arg] = s[-op.arg], s[-1]

    def returns(self, op: Any) -> None:
        value = self.pop(1)[0] if op.name == "RETURN_VALUE" else Known(op.argval)
        self.returned = value if self.returned is None else join(self.returned, value)

    def yields(self, op: Any) -> None:
        (value,) = self.pop(1)
        self.yielded = value if self.yielded is None else join(self.yielded, value)
        self.push(Known(None))

    def unary(self, op: Any) -> None:
        if type(self.stack[-1]) is Counted and op.name == "UNARY_NEGATIVE":
            self.push(Counted(("neg", self.pop(1)[0].formula)))  # type: ignore
            return
        (x,) = self.data(1, "an operator")
        self.push(widen([x]))

    def truth(self, op: Any) -> None:
        (x,) = self.pop(1)
        truth = truth_of(x)
        if truth is not None:
            self.push(Known(truth ^ (op.name == "UNARY_NOT")))
            return
        if not is_data(x):
            raise Impure(f"the truth of a {kind_name(x)} is asked")
        self.push(SCALAR)

    def binary(self, op: Any) -> None:
        found = counted(OPERATORS.get(op.arg, ""), *self.stack[-2:])
        formulas = [
            ("number", x.formula) for x in self.stack[-2:] if type(x) is Counted
        ]
        self.calls.place(self.code.code, op.offset, frozenset(formulas))
        if found is not None or Counted in map(type, self.stack[-2:]):
            self._count(op, found)
            return
        a, b = self.data(2, "an operator")
        if op.arg > _LAST_OPERATOR:
            raise Impure("the operator is not known to be free of side effects")
        if op.arg in _REMAINDER and not _is_number(a) and a not in _NUMERIC:
            raise Impure("text may be made of values in the loop")
        if op.arg >= IN_PLACE:
            self.calls.write(a)
        self.push(widen([a, b]))

    def _count(self, op: Any, found: Value | None) -> None:
        """An operator of numbers that are known, or that the loop's variable decides.

        Args:
            found: the result if all operands are such numbers.
        """
        a, b = self.pop(2)
        name = OPERATORS.get(op.arg, "")
        if found is not None:
            self.push(found)
            return
        number, other = (a, b) if type(a) is Counted else (b, a)
        divides = name == "truediv" and number is a
        if other != TRACED or not (divides or name in ("add", "sub", "mul")):
            raise Impure("a number that changes in the loop decides something")
        self.calls.numbers.add(number.formula)  # type: ignore[union-attr]
        if op.arg >= IN_PLACE:
            self.calls.write(a)
        self.push(TRACED)

    def compare(self, op: Any) -> None:
        operands = self.data(2, "a comparison")
        asks = not _BEFORE_313 and op.arg & 16
        if asks and not any(x in _NUMERIC or _is_number(x) for x in operands):
            # It asks for the truth of each pair of items, all at this one place.
            raise Impure("containers are compared")
        self.push(widen(operands))

    def contains(self, op: Any) -> None:
        self.data(2, "`in`")
        self.push(SCALAR)

    def identity(self, op: Any) -> None:
        a, b = self.pop(2)
        if type(a) is not Known and type(b) is not Known:
            raise Impure("the identity of values that are made in the loop is asked")
        for x, y in ((a, b), (b, a)):
            if type(x) is Known and x.obj is None and never_none(y):
                self.push(Known(op.arg == 1))
                return
        if type(a) is type(b) is Known and not (is_scalar(a.obj) and is_scalar(b.obj)):
            self.push(Known((a.obj is b.obj) ^ op.arg))
            return
        self.push(SCALAR)

    def subscript(self, op: Any) -> None:
        count = 3 if op.name == "BINARY_SLICE" else 2
        owner, *keys = self.stack[-count:]
        found = positions(keys, op.name == "BINARY_SLICE")
        self.calls.place(self.code.code, op.offset, frozenset(found))
        if found:
            if owner != TRACED:
                raise Impure("a number that changes in the loop is an index")
            self.calls.positions |= found
            self.pop(count)
            self.push(TRACED)
            return
        key = self.data(2 if op.name == "BINARY_SLICE" else 1, "an index")
        (owner,) = self.pop(1)
        self.push(self.calls.item(owner, key[0] if len(key) == 1 else None))

    def store_item(self, op: Any) -> None:
        count = 3 if op.name == "STORE_SLICE" else 2
        owner, *keys = self.stack[-count:]
        found = positions(keys, op.name == "STORE_SLICE")
        self.calls.place(self.code.code, op.offset, frozenset(found))
        if found:
            if owner != TRACED:
                raise Impure("a number that changes in the loop is an index")
            self.calls.positions |= found
            self.pop(count)
        else:
            self.data(count - 1, "an index")
            self.pop(1)
        self.data(1, "an item")
        self.calls.write(owner)

    def attribute(self, op: Any) -> None:
        (owner,) = self.pop(1)
        value = self.calls.attribute(owner, op.argval)
        with_null = op.name == "LOAD_METHOD" or (
            op.name == "LOAD_ATTR" and sys.version_info >= (3, 12) and op.arg & 1
        )
        pair = [NULL] if with_null else []
        self.stack += [*pair, value] if _BEFORE_313 else [value, *pair]

    def refuse_attribute(self, op: Any) -> None:
        what = "deleted" if op.name.startswith("DELETE") else "set"
        raise Impure(f"an attribute is {what} in the loop")

    def refuse_global(self, op: Any) -> None:
        raise Impure("a global variable is set in the loop")

    def refuse_delete(self, op: Any) -> None:
        raise Impure("something is deleted in the loop")

    def refuse_import(self, op: Any) -> None:
        raise Impure("a module is imported in the loop")

    def refuse_with(self, op: Any) -> None:
        raise Impure("a `with` statement may do anything")

    def refuse_text(self, op: Any) -> None:
        raise Impure("text is made of values in the loop")

    # --- containers and iteration -----------------------------------------------------

    def build_tuple(self, op: Any) -> None:
        self.push(Items(tuple(self.pop(op.arg))))

    def build(self, op: Any) -> None:
        count = op.arg * 2 if op.name == "BUILD_MAP" else op.arg
        count += op.name == "BUILD_CONST_KEY_MAP"
        values = self.pop(count)
        self.push(FRESH if all(map(is_data, values)) else TOP)

    def build_slice(self, op: Any) -> None:
        if Counted in map(type, self.stack[-op.arg :]):
            self.push(counted_slice(self.pop(op.arg)))
            return
        self.data(op.arg, "an index")
        self.push(SCALAR)

    def add(self, op: Any) -> None:
        """LIST_APPEND and the like: a container that is being built."""
        values = self.pop(2 if op.name == "MAP_ADD" else 1)
        whole = op.name in ("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE")
        for value in values:
            item = content(value, self.calls.traced) if whole else value
            if not is_data(item) or not is_data(value):
                raise Impure(f"a {kind_name(value)} is put into a container")
        if self.stack[-op.arg] != FRESH:
            raise Impure("a container changes in the loop")

    def to_tuple(self, op: Any) -> None:
        if op.name == "CALL_INTRINSIC_1" and op.arg not in (5, 6):
            raise Impure("this is not known to be free of side effects")
        (x,) = self.data(1, "an operator")
        self.push(widen([x]) if op.name == "CALL_INTRINSIC_1" and op.arg == 5 else x)

    def iterate(self, op: Any) -> None:
        (x,) = self.pop(1)
        self.push(x if type(x) is Seq else Seq(self.calls.iterate(x)))

    def unpack(self, op: Any) -> None:
        (x,) = self.pop(1)
        if type(x) is Items and len(x.items) == op.arg:
            self.stack += reversed(x.items)
        else:
            self.stack += [self.calls.iterate(x)] * op.arg

    def unpack_rest(self, op: Any) -> None:
        (x,) = self.pop(1)
        item = self.calls.iterate(x)
        before, after = op.arg & 0xFF, op.arg >> 8
        self.stack += [item] * after
        self.push(FRESH if is_data(item) else TOP)
        self.stack += [item] * before

    # --- functions --------------------------------------------------------------------

    def make_function(self, op: Any) -> None:
        (code,) = self.pop(1)
        assert isinstance(code, Known)
        made = Made(code.obj, self.space)
        self.push(made)
        if _BEFORE_313:
            function = self.pop(1)[0]
            for flag in (8, 4, 2, 1):
                if op.arg & flag:
                    function = self._equip(function, flag, self.pop(1)[0])
            self.push(function)

    def set_function_attribute(self, op: Any) -> None:
        extra, function = self.pop(2)
        self.push(self._equip(function, op.arg, extra))

    def _equip(self, function: Value, flag: int, extra: Value) -> Value:
        if type(function) is not Made or flag == 2:
            return TOP
        if flag == 1 and type(extra) is Known and type(extra.obj) is tuple:
            extra = Items(tuple([Known(v) for v in extra.obj]))
        if flag == 1:
            return function._replace(defaults=extra.items)  # type: ignore[union-attr]
        if flag == 8:
            names = function.code.co_freevars
            cells = [
                (name, Shared(self.cells, item.name) if type(item) is Cell else item)
                for name, item in zip(names, extra.items, strict=True)  # type: ignore[union-attr]
            ]
            return function._replace(cells=tuple(cells))
        return function

    def kw_names(self, op: Any) -> None:
        self.keywords = self.code.code.co_consts[op.arg]

    def call(self, op: Any) -> None:
        keywords, self.keywords = self.keywords, ()
        if op.name == "CALL_KW":
            (names,) = self.pop(1)
            keywords = names.obj  # type: ignore[union-attr]
        arguments = self.pop(op.arg)
        first, second = self.pop(2)
        if first == NULL:
            function = second
        else:
            function = first
            arguments = arguments if second == NULL else [second, *arguments]
        cut = len(arguments) - len(keywords)
        named = dict(zip(keywords, arguments[cut:], strict=True))
        self.calls.note(self.code.code, op.offset, function)
        self.push(self.calls.call(function, arguments[:cut], named))

    def call_spread(self, op: Any) -> None:
        if op.arg & 1:
            raise Impure("a call with ** is not followed")
        (arguments,) = self.pop(1)
        first, second = self.pop(2)
        if type(arguments) is Known and type(arguments.obj) is tuple:
            arguments = self.calls.of(arguments.obj)
        if type(arguments) is not Items:
            raise Impure("a call with * is not followed")
        function = second if first == NULL else first
        self.calls.note(self.code.code, op.offset, function)
        self.push(self.calls.call(function, list(arguments.items), {}))


class Shared:
    """A cell of a function that is being read, as its inner functions see it."""

    def __init__(self, table: dict[str, Value], name: str) -> None:
        self.table, self.name = table, name

    def __eq__(self, other: object) -> bool:
        if type(other) is not Shared:
            return False
        return other.table is self.table and other.name == self.name

    def __hash__(self) -> int:
        return hash((id(self.table), self.name))


def widen(operands: list[Value]) -> Value:
    """What an operator gives: never an object that was there before."""
    if all(x in (TRACED, SCALAR) or _is_number(x) for x in operands):
        return TRACED if TRACED in operands else SCALAR
    arrays = (x in _NUMERIC or _is_number(x) or _is_array(x) for x in operands)
    return ARRAY if all(arrays) else FRESH


def _is_number(x: Value) -> bool:
    return type(x) is Known and is_scalar(x.obj) and not isinstance(x.obj, str | bytes)


def _is_array(x: Value) -> bool:
    return type(x) is Known and is_array(type(x.obj))


def truth_of(x: Value) -> bool | None:
    if type(x) is Known and is_scalar(x.obj):
        return bool(x.obj)
    if type(x) is Made or (type(x) is Known and callable(x.obj) and _simple(x.obj)):
        return True
    return bool(x.items) if type(x) is Items else None


def _simple(obj: Any) -> bool:
    return not hasattr(type(obj), "__bool__") and not hasattr(type(obj), "__len__")


def never_none(x: Value) -> bool:
    return x == TRACED or type(x) in (Items, Made, Seq)


_TABLE = """
nothing       NOP RESUME CACHE EXTENDED_ARG PRECALL MAKE_CELL COPY_FREE_VARS
nothing       JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT
nothing       RAISE_VARARGS RERAISE
load_fast     LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_LOAD_FAST
load_and_clear LOAD_FAST_AND_CLEAR
store_fast    STORE_FAST
store_load    STORE_FAST_LOAD_FAST
store_store   STORE_FAST_STORE_FAST
load_const    LOAD_CONST
load_global   LOAD_GLOBAL
load_deref    LOAD_DEREF
load_closure  LOAD_CLOSURE
store_deref   STORE_DEREF
push_null     PUSH_NULL RETURN_GENERATOR LOAD_ASSERTION_ERROR
pop_top       POP_TOP
end_for       END_FOR
copy          COPY
swap          SWAP
returns       RETURN_VALUE RETURN_CONST
yields        YIELD_VALUE
unary         UNARY_NEGATIVE UNARY_POSITIVE UNARY_INVERT
truth         UNARY_NOT TO_BOOL
binary        BINARY_OP
compare       COMPARE_OP
contains      CONTAINS_OP
identity      IS_OP
subscript     BINARY_SUBSCR BINARY_SLICE
store_item    STORE_SUBSCR STORE_SLICE
attribute     LOAD_ATTR LOAD_METHOD
build_tuple   BUILD_TUPLE
build         BUILD_LIST BUILD_SET BUILD_MAP BUILD_CONST_KEY_MAP
build_slice   BUILD_SLICE
add           LIST_APPEND SET_ADD MAP_ADD LIST_EXTEND SET_UPDATE DICT_UPDATE DICT_MERGE
to_tuple      LIST_TO_TUPLE CALL_INTRINSIC_1
iterate       GET_ITER
unpack        UNPACK_SEQUENCE
unpack_rest   UNPACK_EX
make_function MAKE_FUNCTION
set_function_attribute SET_FUNCTION_ATTRIBUTE
kw_names      KW_NAMES
call          CALL CALL_KW
call_spread   CALL_FUNCTION_EX
refuse_attribute STORE_ATTR DELETE_ATTR
refuse_global STORE_GLOBAL DELETE_GLOBAL STORE_NAME DELETE_NAME
refuse_delete DELETE_FAST DELETE_DEREF DELETE_SUBSCR
refuse_import IMPORT_NAME IMPORT_FROM IMPORT_STAR
refuse_with   BEFORE_WITH BEFORE_ASYNC_WITH
refuse_text   FORMAT_VALUE FORMAT_SIMPLE FORMAT_WITH_SPEC CONVERT_VALUE BUILD_STRING
"""
METHODS: dict[str, Callable[[Any, Any], None]] = {
    name: getattr(Instructions, line.split()[0])
    for line in _TABLE.strip().splitlines()
    for name in line.split()[1:]
}
