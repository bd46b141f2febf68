"""The explicit expression: built before there is data, compiled once.

    a, b = var("a"), var("b")
    c = 2 * a + b                 an expression; nothing is computed
    c.eval(a=..., b=...)          `jit` of it
    c.grad("a", a=..., b=...)     `grad` of it

An expression is a function of the values of its names, written down by operators and
NumPy's functions.  `jit` and `grad` record it like any other function, so another call
with values of the same shapes and dtypes runs the kernel.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..api import Transform, grad, jit
from ..avals import Aval, aval_of
from ..errors import ArgumentError, TracejitError, message
from ..numpy_api import protocols
from ..signature import caller
from .variable import Variable

__all__ = ["Bound", "Expression", "var"]


def _error(what: str, way_out: str) -> ArgumentError:
    return ArgumentError(message(what, where=caller(), way_out=way_out))


class Expression:
    """A name, or a function of other expressions and constants.

    Attributes:
        name: of a variable; None for what is computed.
        declared: shape and dtype that a variable has to have, None where any will do.
    """

    __slots__ = (
        "_args",
        "_compiled",
        "_function",
        "_kwargs",
        "_order",
        "_text",
        "declared",
        "name",
    )

    def __init__(
        self,
        function: Callable[..., Any] | None,
        args: tuple,
        kwargs: Mapping[str, Any],
        text: str,
        name: str | None = None,
        declared: tuple[Any, Any] = (None, None),
    ) -> None:
        self.name = name
        self.declared = declared
        self._function = function
        self._args = args
        self._kwargs = dict(kwargs)
        self._text = text
        self._order: list[Expression] | None = None
        self._compiled: dict[str, Transform] = {}

    def __repr__(self) -> str:
        return self._text

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise _error(
            f"the expression {self} has no value to decide on",
            "Use np.where, or write a function for @grad",
        )

    def __iter__(self) -> Any:
        raise _error(
            f"the expression {self} has no length yet", "Index it, or use a function"
        )

    def __neg__(self) -> Any:
        return _build(operator.neg, (self,), {}, f"-{_short(self, True)}")

    def __getitem__(self, key: Any) -> Any:
        text = f"{_short(self, True)}[{_short(key)}]"
        return _build(operator.getitem, (self, key), {}, text)

    @property
    def T(self) -> Any:
        """The transpose."""
        return _build(np.transpose, (self,), {}, f"{_short(self, True)}.T")

    # --- structure --------------------------------------------------------------------

    @property
    def variables(self) -> dict[str, Expression]:
        """The variables that it depends on, by name, in the order of their use."""
        found: dict[str, Expression] = {}
        for part in self._parts():
            if part.name is None:
                continue
            other = found.setdefault(part.name, part)
            if other is not part and other.declared != part.declared:
                raise _error(
                    f"two variables are called {part.name!r} and differ in shape or "
                    "dtype",
                    "Give them different names",
                )
        return found

    def _parts(self) -> list[Expression]:
        """All expressions in this one, operands first; without recursion."""
        if self._order is None:
            order: list[Expression] = []
            done: set[int] = set()
            stack: list[tuple[Expression, bool]] = [(self, False)]
            while stack:
                part, ready = stack.pop()
                if id(part) in done:
                    continue
                if ready:
                    done.add(id(part))
                    order.append(part)
                    continue
                stack.append((part, True))
                inner = _expressions((part._args, tuple(part._kwargs.values())))
                stack += [(other, False) for other in reversed(inner)]
            self._order = order
        return self._order

    def _run(self, values: Mapping[str, Any]) -> Any:
        """The value for these values of the names."""
        env: dict[int, Any] = {}
        for part in self._parts():
            if part.name is not None:
                env[id(part)] = values[part.name]
            else:
                assert part._function is not None
                args = _filled(part._args, env)
                kwargs = {k: _filled(v, env) for k, v in part._kwargs.items()}
                env[id(part)] = part._function(*args, **kwargs)
        return env[id(self)]

    # --- use --------------------------------------------------------------------------

    def bind(self, **values: Any) -> Bound:
        """Give values to all names, and check that they fit.

        Raises:
            ArgumentError: an unknown name, a missing one, a shape or dtype that the
                variable or the expression does not take.
        """
        return Bound(self, self._checked(values))

    def eval(self, **values: Any) -> Any:
        """The value, from a kernel."""
        return self._transform("")(self._checked(values))

    def grad(self, name: str, **values: Any) -> Any:
        """The gradient with respect to one name, of a scalar expression."""
        self._require_name(name)
        checked = self._checked(values)
        given = checked.pop(name)
        return self._transform(name)(given, checked)

    def _transform(self, name: str) -> Transform:
        found = self._compiled.get(name)
        if found is None:
            # Not a bound method: `self` would be an argument of the call.
            found = grad(self._of(name)) if name else jit(self._all())
            self._compiled[name] = found
        return found

    def _all(self) -> Callable[..., Any]:
        """The expression as a function of a dict of values."""

        def function(values: dict[str, Any]) -> Any:
            return self._run(values)

        return function

    def _of(self, name: str) -> Callable[..., Any]:
        """The expression as a function of one name and a dict of the others."""

        def function(x: Any, rest: dict[str, Any]) -> Any:
            return self._run({**rest, name: x})

        return function

    def stats(self) -> dict[str, Any]:
        """The counters of `eval` (under "value") and of `grad`, by name."""
        return {k or "value": t.stats() for k, t in self._compiled.items()}

    def _require_name(self, name: str) -> None:
        known = self.variables
        if name not in known:
            raise _error(
                f"the expression {self} has no variable {name!r}",
                f"It has {', '.join(known) or 'none'}",
            )

    def _checked(self, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            self._require_name(name)
        known = self.variables
        missing = [name for name in known if name not in values]
        if missing:
            raise _error(
                f"the expression {self} has no value for {', '.join(missing)}",
                f"Give one: {missing[0]}=...",
            )
        return {name: _value(known[name], values[name]) for name in known}


def _value(variable: Expression, given: Any) -> Any:
    """A value as an array (or number), of the declared shape and dtype."""
    value = given.value if isinstance(given, Variable) else given
    if not isinstance(value, (int, float, np.ndarray, np.generic)):
        value = np.asarray(value)
    shape, dtype = variable.declared
    if shape is not None and np.shape(value) != shape:
        raise _error(
            f"{variable} was declared with shape {shape}, and given shape "
            f"{np.shape(value)}",
            "Give an array of the declared shape",
        )
    if dtype is not None and np.asarray(value).dtype != dtype:
        raise _error(
            f"{variable} was declared as {dtype}, and given {np.asarray(value).dtype}",
            f"Convert it with .astype({dtype})",
        )
    return value


class Bound:
    """An expression with values for all its names.

    Attributes:
        avals: shape and dtype of each name.
        aval: shape and dtype of the result.
    """

    def __init__(self, expression: Expression, values: dict[str, Any]) -> None:
        self.expression = expression
        self.values = values
        self.avals: dict[str, Aval] = {k: aval_of(v) for k, v in values.items()}
        try:
            with np.errstate(all="ignore"):
                self.aval = aval_of(expression._run(values))
        except TracejitError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            kinds = ", ".join(f"{k}: {aval!r}" for k, aval in self.avals.items())
            raise _error(
                f"the expression {expression} does not take {kinds} ({error})",
                "Give arrays whose shapes and dtypes fit together",
            ) from None

    def eval(self, **values: Any) -> Any:
        """The value; some names may be given other values of the same kind."""
        return self.expression.eval(**self._updated(values))

    def grad(self, name: str, **values: Any) -> Any:
        """The gradient with respect to one name."""
        return self.expression.grad(name, **self._updated(values))

    def _updated(self, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            self.expression._require_name(name)
            aval = aval_of(value.value if isinstance(value, Variable) else value)
            if aval != self.avals[name]:
                raise _error(
                    f"{name} was bound as {self.avals[name]!r}, and given {aval!r}",
                    "Bind the expression anew",
                )
        return {**self.values, **values}

    def __repr__(self) -> str:
        kinds = ", ".join(f"{k}: {aval!r}" for k, aval in self.avals.items())
        return f"<{self.expression} bound to {kinds}>"


def var(
    name: str, shape: tuple[int, ...] | int | None = None, dtype: Any = None
) -> Expression:
    """A named variable of an expression.

    Args:
        name: by which it gets its value; an identifier.
        shape: the only shape that it takes, or None.
        dtype: the only dtype that it takes, or None.

    Example:
        >>> a, b = var("a"), var("b")
        >>> c = 2 * a + b
        >>> c
        2 * a + b
        >>> c.eval(a=3.0, b=1.0)
        7.0
        >>> c.grad("a", a=3.0, b=1.0)
        np.float64(2.0)
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise _error(f"{name!r} is no name", "Use a Python identifier")
    if isinstance(shape, int):
        shape = (shape,)
    declared = (shape, None if dtype is None else np.dtype(dtype))
    return Expression(None, (), {}, name, name, declared)


# --- building -------------------------------------------------------------------------


def _expressions(x: Any) -> list[Expression]:
    """The expressions in nested lists and tuples, in order."""
    if isinstance(x, Expression):
        return [x]
    if isinstance(x, (list, tuple)):
        return [found for item in x for found in _expressions(item)]
    return []


def _filled(x: Any, env: dict[int, Any]) -> Any:
    if isinstance(x, Expression):
        return env[id(x)]
    if type(x) in (list, tuple):
        return type(x)(_filled(item, env) for item in x)
    return x


def _kept(x: Any) -> Any:
    """A constant of an expression: arrays are copied, variables detached."""
    if isinstance(x, Variable):
        x = np.array(x.value)
    if isinstance(x, np.ndarray):
        return x.copy()
    if type(x) in (list, tuple):
        return type(x)(_kept(item) for item in x)
    return x


def _build(function: Callable[..., Any], args: tuple, kwargs: Any, text: str) -> Any:
    kept = tuple([_kept(a) for a in args])
    return Expression(function, kept, {k: _kept(v) for k, v in kwargs.items()}, text)


def _short(x: Any, inside: bool = False) -> str:
    """The text of an operand."""
    text = repr(x) if not isinstance(x, (np.ndarray, Variable)) else "array"
    if len(text) > 60:
        text = "..."
    return f"({text})" if inside and " " in text and text[0] != "(" else text


def _called(name: str, args: tuple, kwargs: Mapping[str, Any]) -> str:
    words = [_short(a) for a in args] + [f"{k}={_short(v)}" for k, v in kwargs.items()]
    return f"{name}({', '.join(words)})"


def _ufunc(
    self: Expression, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
) -> Any:
    if kwargs.get("out") is not None:
        raise _error("an expression cannot be written with out=", "Use the result")
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    symbol = _SYMBOLS.get(ufunc.__name__)
    if symbol and method == "__call__" and not kwargs and len(inputs) == 2:
        return _build(function, inputs, kwargs, _infix(symbol, *inputs))
    return _build(function, inputs, kwargs, _called(ufunc.__name__, inputs, kwargs))


def _function(
    self: Expression, func: Any, types: Any, args: tuple, kwargs: dict[str, Any]
) -> Any:
    return _build(func, args, kwargs, _called(func.__name__, args, kwargs))


protocols.serve(Expression, _ufunc, _function)


def _infix(symbol: str, a: Any, b: Any) -> str:
    tight = symbol not in "+"
    return f"{_short(a, tight and ' ' in _short(a) and symbol != '-')} {symbol} " + (
        _short(b, tight or symbol == "-")
    )


_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}
_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%",
    "pow": "**", "matmul": "@", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "eq": "==", "ne": "!=",
}  # fmt: skip
_METHODS = (
    "all", "any", "argmax", "argmin", "astype", "clip", "cumprod", "cumsum",
    "diagonal", "dot", "flatten", "max", "mean", "min", "prod", "ravel", "repeat",
    "reshape", "round", "squeeze", "std", "sum", "swapaxes", "take", "trace",
    "transpose", "var",
)  # fmt: skip


def _operator(name: str, symbol: str, reflected: bool) -> Callable[..., Any]:
    function = getattr(operator, name)

    def method(self: Expression, other: Any) -> Any:
        a, b = (other, self) if reflected else (self, other)
        return _build(function, (a, b), {}, _infix(symbol, a, b))

    return method


def _method(name: str) -> Callable[..., Any]:
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, name)(*args, **kwargs)

    def method(self: Expression, *args: Any, **kwargs: Any) -> Any:
        text = f"{_short(self, True)}.{_called(name, args, kwargs)}"
        return _build(call, (self, *args), kwargs, text)

    return method


for _name, _symbol in _OPERATORS.items():
    setattr(Expression, f"__{_name}__", _operator(_name, _symbol, False))
    if _symbol[0] not in "<>=!":
        setattr(Expression, f"__r{_name}__", _operator(_name, _symbol, True))
for _name in _METHODS:
    setattr(Expression, _name, _method(_name))
