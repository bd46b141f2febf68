"""Python's operators, ndarray's methods and the in-place forms, on variables.

Each method is the tracer's method of the same name for the history, and the ndarray's
for the value; so whatever `numpy_api` can record, variables have.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..numpy_api import protocols
from ..tracer import Tracer, call_noisy, has_error_state
from .calls import array_function, array_ufunc, combine, pair, single
from .functions import function_call
from .modes import LOCAL
from .storage import touch
from .variable import Variable, constant
from .writing import is_recorded_write, require_writable, set_items, snapshot, write

__all__: list[str] = []

protocols.serve(Variable, array_ufunc, array_function)

_OPERANDS = (Variable, np.ndarray, np.generic, bool, int, float, complex, list, tuple)
_REFLECTED = (*_OPERANDS, Tracer)
_QUICK = frozenset((Variable, float, int, np.ndarray))

_BINARY: dict[str, tuple[np.ufunc, Callable[..., Any], str]] = {
    "add": (np.add, np.add, "+"),
    "sub": (np.subtract, np.subtract, "-"),
    "mul": (np.multiply, np.multiply, "*"),
    "truediv": (np.divide, np.divide, "/"),
    "floordiv": (np.floor_divide, np.floor_divide, "//"),
    "mod": (np.remainder, np.remainder, "%"),
    "divmod": (np.divmod, np.divmod, ""),
    # ndarray's own operator is faster for squares and roots.
    "pow": (np.power, operator.pow, "**"),
    "matmul": (np.matmul, np.matmul, "@"),
    "and": (np.bitwise_and, np.bitwise_and, "&"),
    "or": (np.bitwise_or, np.bitwise_or, "|"),
    "xor": (np.bitwise_xor, np.bitwise_xor, "^"),
    "lshift": (np.left_shift, np.left_shift, "<<"),
    "rshift": (np.right_shift, np.right_shift, ">>"),
}
_COMPARE: dict[str, np.ufunc] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
_UNARY: dict[str, np.ufunc] = {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
}


def _plain(ufunc: np.ufunc, compute: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Variable, other: Any) -> Any:
        if type(other) in _QUICK or isinstance(other, _OPERANDS):
            return pair(ufunc, compute, self, other)
        return NotImplemented

    return method


def _reflected(ufunc: np.ufunc, compute: Callable[..., Any]) -> Callable[..., Any]:
    name = ufunc.__name__
    #: By a factor of 1 at most nothing overflows: there is nothing to warn of.
    quiet = ufunc is np.multiply

    def method(self: Variable, other: Any) -> Any:
        if type(other) is float and not LOCAL.mode:
            # `rate * x.grad`: nothing to record, nothing to look up.
            if quiet and 1e-6 <= other <= 1.0 and not has_error_state():
                return constant(ufunc(other, self.value))
            return constant(call_noisy(name, compute, (other, self.value), {}))
        if type(other) in _QUICK or isinstance(other, _REFLECTED):
            return combine(ufunc, compute, other, self)
        return NotImplemented

    return method


def _equality(ufunc: np.ufunc, different: bool) -> Callable[..., Any]:
    def method(self: Variable, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return combine(ufunc, ufunc, self, other)
        if other is None or isinstance(other, (str, bytes)):
            return np.full(self.shape, different)[()]
        return NotImplemented

    return method


def _in_place(
    symbol: str, ufunc: np.ufunc, compute: Callable[..., Any]
) -> Callable[..., Any]:
    def method(self: Variable, other: Any) -> Any:
        value = self.known
        quick = self.fn is None and type(value) is np.ndarray and not LOCAL.mode
        if quick and type(other) is Variable:
            # `x -= rate * x.grad`, written out.
            touch(self)
            ufunc(value, other.value if other.known is None else other.known, value)
            return self
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return _change(self, ufunc, compute, other, f"x {symbol}= y")

    return method


def _change(
    x: Variable, ufunc: np.ufunc, compute: Callable[..., Any], other: Any, what: str
) -> Variable:
    """`x` combined with `other`, in the memory of `x`."""
    if not is_recorded_write(x, other):
        x.known = np.asarray(x.value)
        touch(x)
        ufunc(x.known, other.value if type(other) is Variable else other, out=x.known)
        return x
    require_writable(x, what)
    return write(x, combine(ufunc, compute, snapshot(x), other), what)


for _name, (_ufunc, _compute, _symbol) in _BINARY.items():
    setattr(Variable, f"__{_name}__", _plain(_ufunc, _compute))
    setattr(Variable, f"__r{_name}__", _reflected(_ufunc, _compute))
    if _symbol:
        setattr(Variable, f"__i{_name}__", _in_place(_symbol, _ufunc, _compute))
for _name, _ufunc in _COMPARE.items():
    setattr(Variable, f"__{_name}__", _plain(_ufunc, _ufunc))
for _name, _ufunc in _UNARY.items():
    setattr(
        Variable,
        f"__{_name}__",
        lambda self, ufunc=_ufunc: single(ufunc, ufunc, self),
    )
Variable.__eq__ = _equality(np.equal, False)  # type: ignore[method-assign]
Variable.__ne__ = _equality(np.not_equal, True)  # type: ignore[method-assign]


# --- methods --------------------------------------------------------------------------

# fmt: off
_METHODS = (
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumprod",
    "cumsum", "diagonal", "dot", "flatten", "max", "mean", "min", "nonzero", "prod",
    "ravel", "repeat", "reshape", "round", "squeeze", "std", "sum", "swapaxes", "take",
    "trace", "transpose", "var",
)
#: Functions that are methods in PyTorch.
_UFUNC_METHODS = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "tanh": np.tanh, "abs": np.absolute, "square": np.square,
    "pow": np.power, "matmul": np.matmul, "mul": np.multiply, "add": np.add,
    "sub": np.subtract, "div": np.divide, "neg": np.negative,
    "maximum": np.maximum, "minimum": np.minimum,
}
# fmt: on


def _method(name: str) -> Callable[..., Any]:
    original, serve = getattr(np.ndarray, name), getattr(Tracer, name)
    identity = (np.ndarray, name)

    def compute(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, np.ndarray):
            return original(value, *args, **kwargs)
        return getattr(value, name)(*args, **kwargs)  # a NumPy scalar

    def method(self: Variable, *args: Any, **kwargs: Any) -> Any:
        return function_call(compute, serve, name, (self, *args), kwargs, identity)

    method.__name__ = name
    method.__doc__ = f"`numpy.ndarray.{name}`, recorded."
    return method


def _property(name: str) -> property:
    def compute(value: Any) -> Any:
        return getattr(value, name)

    def get(self: Variable) -> Any:
        return function_call(compute, compute, name, (self,), {}, (np.ndarray, name))

    return property(get, doc=f"`numpy.ndarray.{name}`, recorded.")


def _ufunc_method(name: str, ufunc: np.ufunc) -> Callable[..., Any]:
    def method(self: Variable, *others: Any) -> Any:
        return combine(ufunc, ufunc, self, *others)

    method.__name__ = name
    method.__doc__ = f"`numpy.{ufunc.__name__}`, recorded."
    return method


for _name in _METHODS:
    setattr(Variable, _name, _method(_name))
for _name in ("T", "mT", "real", "imag"):
    setattr(Variable, _name, _property(_name))
for _name, _ufunc in _UFUNC_METHODS.items():
    setattr(Variable, _name, _ufunc_method(_name, _ufunc))


def _norm(self: Variable, ord: Any = None, axis: Any = None, **kwargs: Any) -> Any:
    """`numpy.linalg.norm`, recorded."""
    return np.linalg.norm(self, ord, axis, **kwargs)


def _getitem(self: Variable, key: Any) -> Any:
    return function_call(
        operator.getitem,
        Tracer.__getitem__,
        "getitem",
        (self, key),
        {},
        (np.ndarray, "[]"),
    )


Variable.norm = _norm  # type: ignore[attr-defined]
Variable.__getitem__ = _getitem  # type: ignore[method-assign]


# --- writing in place -----------------------------------------------------------------


def _setitem(self: Variable, key: Any, new: Any) -> None:
    """`x[key] = new`."""
    if not is_recorded_write(self, new):
        value = self.value
        if not isinstance(value, np.ndarray):
            value = self.known = np.asarray(value)
        key = _plain_key(key)
        touch(self)
        value[key] = new.value if type(new) is Variable else new
    elif not _is_there(self, key, new):
        set_items(self, key, new, "x[key] = value")


def _is_there(x: Variable, key: Any, new: Any) -> bool:
    """Whether `new` is `x[key]` itself: Python writes `x[key] += y` back."""
    if type(new) is not Variable or new.storage is None or new.storage is not x.storage:
        return False
    part = x.value[_plain_key(key)]
    if not isinstance(part, np.ndarray) or part.base is None:
        return False
    return bool(part.__array_interface__ == new.value.__array_interface__)


def _plain_key(key: Any) -> Any:
    if type(key) is tuple:
        return tuple([_plain_key(k) for k in key])
    return key.value if type(key) is Variable else key


Variable.__setitem__ = _setitem  # type: ignore[method-assign]


def _filled(name: str, make: Callable[..., Any]) -> None:
    def method(self: Variable, *args: Any) -> Variable:
        return write(self, make(self, *args), f"x.{name}()")

    method.__name__ = name
    setattr(Variable, name, method)


def _broadcast(x: Variable, value: Any) -> Any:
    """A value in the shape of `x`."""
    if type(value) is Variable:
        return np.broadcast_to(value, x.shape)
    return np.broadcast_to(np.asarray(value, x.dtype), x.shape)


def _zero(self: Variable) -> Variable:
    """Fill with zeros, in place."""
    value = self.known
    extra = self.extra
    plain = not self.level and (extra is None or extra.view is None)
    if type(value) is np.ndarray and (plain or not is_recorded_write(self)):
        touch(self)
        value.fill(0)
        return self
    return write(self, np.zeros(self.shape, self.dtype), "x.zero_()")


Variable.zero_ = _zero  # type: ignore[method-assign]
_filled("fill_", _broadcast)
_filled("copy_", _broadcast)
for _name in ("add", "sub", "mul", "truediv", "pow"):
    _ufunc, _compute, _symbol = _BINARY[_name]
    _short = {"truediv": "div"}.get(_name, _name) + "_"

    def _named(
        self: Variable,
        other: Any,
        ufunc: np.ufunc = _ufunc,
        compute: Callable[..., Any] = _compute,
        what: str = f"x.{_short}(y)",
    ) -> Variable:
        return _change(self, ufunc, compute, other, what)

    _named.__name__ = _short
    setattr(Variable, _short, _named)
