"""Calls on variables: NumPy computes, and the history notes.

`ufunc` is what `__array_ufunc__` and the operators come to, `function` all the rest.
Both first let NumPy compute the result from the values, so that errors and warnings are
NumPy's, at the user's line.  If a variable that is tracked takes part, the result gets
an entry of the history with the call's template.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..numpy_api.ufuncs import UFUNCS
from ..numpy_api.ufuncs import call as call_ufunc
from ..tracer import (
    FUNCTIONS,
    HINTS,
    UFUNC_METHODS,
    Tracer,
    call_noisy,
    full_name,
    refuse,
    user_frame,
)
from .history import GradFn, camel
from .modes import LOCAL
from .templates import Recorded, Template, kind_of, record_call, record_ufunc
from .variable import (
    Variable,
    constant,
    fail,
    require_fresh,
    shared_storage,
    touch,
    version,
)

__all__ = ["array_function", "array_ufunc", "combine", "operand", "recorded"]

#: In these a Python number is an input of the template, beside an array of floats.
_ARITHMETIC = {
    np.add,
    np.subtract,
    np.multiply,
    np.divide,
    np.maximum,
    np.minimum,
}
#: The kind of a Python number that is an input.
_NUMBER = -1
#: What no float holds exactly stays a constant of the template.
_EXACT = 2**53

_new = object.__new__


class _Plan:
    """What is known about a ufunc of given kinds."""

    __slots__ = ("label", "template")

    def __init__(self, template: Template, label: str) -> None:
        self.template = template
        self.label = label


_plans: dict[tuple, _Plan] = {}
_MOST = 4096


def tracked(x: Variable) -> bool:
    """Whether an operation on `x` is recorded now."""
    return 0 < x.level <= LOCAL.mode


def operand(x: Variable) -> Any:
    """What the history keeps of a variable that takes part in a recorded call."""
    if 0 < x.level <= LOCAL.mode:
        if x.fn is None:
            return x
        if x.storage is not None:
            require_fresh(x)
        return x.fn
    return x.detach() if x.level else x


def recorded(
    value: Any, template: Template, args: tuple, versions: tuple, level: int, label: str
) -> Variable:
    """The result of a recorded call."""
    frame = user_frame()
    out = _new(Variable)
    out.value = value
    out.kind = template.kind
    out.level = level
    out.fn = GradFn(template, args, versions, (frame.f_code, frame.f_lasti), label)
    out.storage = None
    out.seen = 0
    out.extra = None
    return out


# --- ufuncs ---------------------------------------------------------------------------


def combine(ufunc: np.ufunc, compute: Callable[..., Any], *inputs: Any) -> Any:
    """`ufunc(*inputs)`, at least one of them a variable; the values by `compute`."""
    mode = LOCAL.mode
    level = 0
    values = []
    for x in inputs:
        if type(x) is Variable:
            values.append(x.value)
            if 0 < x.level <= mode and level != 1:
                level = x.level
        else:
            if type(x) is Tracer:
                refuse_tracer()
            values.append(x)
    name = ufunc.__name__
    out = call_noisy(name, compute, values, {})
    if not level:
        return wrapped(out)
    if type(out) is tuple:
        return _several(ufunc, inputs)
    kinds: list[Any] = [ufunc]
    args: list[Any] = []
    versions = []
    for x in inputs:
        kind = type(x)
        if kind is Variable:
            kinds.append(x.kind)
            arg = operand(x)
            args.append(arg)
            versions.append(version(arg) if type(arg) is Variable else 0)
        elif (
            kind is float or (kind is int and -_EXACT < x < _EXACT)
        ) and ufunc in _ARITHMETIC:
            kinds.append(_NUMBER)
            args.append(float(x))
            versions.append(0)
        else:
            # A number with a say in the template, or an array, which is copied.
            number = kind is bool or kind is int or kind is float
            array = x if number else np.array(x)[()]
            kinds.append((kind, repr(x)) if number else kind_of(array))
            args.append(array)
            versions.append(0)
    key = tuple(kinds)
    plan = _plans.get(key)
    if plan is None:
        plan = _make_plan(ufunc, key, values)
    if any(type(k) is tuple for k in key):
        kept = [i for i, k in enumerate(key[1:]) if type(k) is not tuple]
        args = [args[i] for i in kept]
        versions = [versions[i] for i in kept]
    if out.dtype.kind != "f":
        return wrapped(out)
    return recorded(out, plan.template, tuple(args), tuple(versions), level, plan.label)


def _make_plan(ufunc: np.ufunc, key: tuple, values: Sequence[Any]) -> _Plan:
    name = UFUNCS.get(ufunc, ufunc.__name__)
    fixed = {
        i: v
        for i, (k, v) in enumerate(zip(key[1:], values, strict=True))
        if type(k) is tuple
    }

    def serve(*tracers: Any) -> Any:
        rest = iter(tracers)
        return call_ufunc(
            ufunc,
            *[fixed[i] if i in fixed else next(rest) for i in range(len(values))],
        )

    given = [
        (float(v) if k == _NUMBER else np.asarray(v)[()], k == _NUMBER)
        for k, v in zip(key[1:], values, strict=True)
        if type(k) is not tuple
    ]
    template = record_ufunc(
        name, serve, [value for value, _ in given], [weak for _, weak in given]
    )
    if len(_plans) >= _MOST:
        _plans.clear()
    plan = _plans[key] = _Plan(template, camel(name))
    return plan


def _several(ufunc: np.ufunc, inputs: tuple) -> Any:
    """A ufunc of several results (`np.divmod`, `np.modf`)."""
    return function_call(
        ufunc,
        lambda *tracers: call_ufunc(ufunc, *tracers),
        ufunc.__name__,
        inputs,
        {},
        (ufunc,),
    )


def array_ufunc(
    self: Variable, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
) -> Any:
    """What NumPy calls for `ufunc(...)` and its methods."""
    if method == "__call__" and not kwargs:
        return combine(ufunc, ufunc, *inputs)
    if "out" in kwargs and any(o is not None for o in kwargs["out"]):
        return _into(ufunc, method, inputs, kwargs)
    kwargs.pop("out", None)
    serve = UFUNC_METHODS.get(method)
    original = getattr(ufunc, method)

    def on_tracers(*args: Any, **kwargs: Any) -> Any:
        if serve is None:
            refuse(f"{full_name(ufunc)}.{method}")
        return serve(ufunc, args, kwargs)

    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}_{method}"
    return function_call(original, on_tracers, name, inputs, kwargs, (ufunc, method))


def _into(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    """A ufunc with `out=`."""
    (target,) = kwargs.pop("out")
    if method == "__call__" and not kwargs and type(target) is np.ndarray:
        symbol = f"{full_name(ufunc)}(..., out=a)"
        if any(type(x) is Variable and tracked(x) for x in inputs):
            raise fail(
                f"a recorded result would be written into an ordinary array ({symbol})",
                "Assign the result to a name, or use no_grad()",
            )
        plain = [x.value if type(x) is Variable else x for x in inputs]
        return ufunc(*plain, out=target)
    if type(target) is not Variable or method != "__call__" or kwargs:
        raise fail(
            f"{full_name(ufunc)} with out= and further options on variables",
            "Assign the result to a name",
        )
    what = f"{full_name(ufunc)}(..., out=x)"
    return write(target, combine(ufunc, ufunc, *inputs), what)


# --- writing in place -----------------------------------------------------------------


def write(x: Variable, new: Any, what: str) -> Variable:
    """Give `x` the value of `new`, in its own memory."""
    tracks = type(new) is Variable and tracked(new)
    if x.level and x.fn is None and LOCAL.mode >= x.level:
        raise fail(
            f"{what} on a leaf that requires a gradient would change it under its "
            "history",
            "Write inside `with autograd.no_grad():`",
        )
    value = new.value if type(new) is Variable else new
    if np.shape(value) != x.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {_show(x.shape)} doesn't "
            f"match the broadcast shape {_show(np.shape(value))}"
        )
    if tracks and new.dtype != x.dtype:
        new = new.astype(x.dtype)
    if not tracks and x.fn is not None and x.level and LOCAL.mode >= x.level:
        new = None  # a constant takes the place of a recorded result
    x.value = np.asarray(x.value)
    np.copyto(x.value, value, casting="same_kind")
    if tracks:
        x.fn, x.level = new.fn, new.level
    elif new is None:
        x.fn, x.level = None, 0
    touch(x)
    return x


def _show(shape: tuple[int, ...]) -> str:
    return str(tuple(shape)).replace(" ", "")


# --- functions ------------------------------------------------------------------------


class _Arguments:
    """A call's arguments, taken apart into operands and the rest.

    Attributes:
        operands: variables and arrays, in order.
        key: what else the call depends on; None where it cannot be told.
    """

    def __init__(self, args: tuple, kwargs: dict[str, Any]) -> None:
        self.operands: list[Any] = []
        words: list[Hashable] = []
        self._plain = True
        self._args = [self._take(a, words) for a in args]
        self._kwargs = {}
        for name, value in kwargs.items():
            words.append(name)
            self._kwargs[name] = self._take(value, words)
        self.key: tuple | None = tuple(words) if self._plain else None

    def _take(self, x: Any, words: list[Hashable]) -> Callable[[Any], Any] | Any:
        """A recipe for the argument: an index of an operand, or what it is."""
        kind = type(x)
        if kind is Variable or (kind is np.ndarray and x.dtype != object):
            words.append("array")
            self.operands.append(x)
            return _Place(len(self.operands) - 1)
        if kind is Tracer:
            refuse_tracer()
        if kind is np.ndarray:
            x, kind = x.tolist(), list
        if kind is list or kind is tuple:
            words.append((kind, len(x)))
            return _Items(kind, [self._take(item, words) for item in x])
        if kind is slice:
            parts = (x.start, x.stop, x.step)
            words.append(slice)
            return _Slice([self._take(part, words) for part in parts])
        if isinstance(x, np.generic) or kind in (int, float, bool, complex):
            words.append((kind, repr(x)))
            return x
        try:
            hash(x)
        except TypeError:
            self._plain = False
        words.append((kind, x) if self._plain else None)
        return x

    def rebuild(self, values: Sequence[Any]) -> tuple[tuple, dict[str, Any]]:
        """Arguments with `values` in the places of the operands."""
        args = tuple([_built(a, values) for a in self._args])
        return args, {k: _built(v, values) for k, v in self._kwargs.items()}


class _Place(int):
    """Stands for an operand, by number."""


class _Items:
    def __init__(self, kind: type, items: list[Any]) -> None:
        self.kind, self.items = kind, items


class _Slice:
    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts


def _built(x: Any, values: Sequence[Any]) -> Any:
    kind = type(x)
    if kind is _Place:
        return values[x]
    if kind is _Items:
        return x.kind([_built(item, values) for item in x.items])
    if kind is _Slice:
        return slice(*[_built(part, values) for part in x.parts])
    return x


_calls: dict[tuple, Recorded] = {}
#: Calls that have to be recorded each time.
_volatile: set[tuple] = set()


def array_function(
    self: Variable,
    func: Callable[..., Any],
    types: Any,
    args: tuple,
    kwargs: dict[str, Any],
) -> Any:
    """What NumPy calls for its other functions."""
    name = getattr(func, "__name__", "function")

    def on_tracers(*args: Any, **kwargs: Any) -> Any:
        found = FUNCTIONS.get(func)
        if found is None:
            full = full_name(func)
            way_out = "Write it with supported NumPy functions"
            refuse(full, HINTS.get(full, way_out))
        return found(*args, **kwargs)

    return function_call(func, on_tracers, name, args, kwargs, (func,))


def function_call(
    original: Callable[..., Any],
    serve: Callable[..., Any],
    name: str,
    args: tuple,
    kwargs: dict[str, Any],
    identity: tuple,
) -> Any:
    """Call `original` on the values, and record the call if it is tracked.

    Args:
        original: takes arrays.
        serve: the same for tracers.
        identity: stands for the function in keys.
    """
    taken = _Arguments(args, kwargs)
    operands = taken.operands
    values = [x.value if type(x) is Variable else x for x in operands]
    flags = [type(x) is Variable and tracked(x) for x in operands]
    plain_args, plain_kwargs = taken.rebuild(values)
    if "out" in kwargs and kwargs["out"] is not None:
        raise fail(
            f"{name} with out= on variables would lose its history",
            "Assign the result to a name",
        )
    out = call_noisy(name, original, plain_args, plain_kwargs)
    if not any(flags):
        return _wrap_result(out, operands)
    found = _recording(taken, values, flags, serve, name, identity)
    made = found.made
    held = [operand(x) if type(x) is Variable else np.array(x) for x in operands]
    versions = [version(x) if type(x) is Variable else 0 for x in held]
    levels = {x.level for x, flag in zip(operands, flags, strict=True) if flag}
    call = _Call(
        (*held, *made),
        (*versions, *[0] * len(made)),
        1 if 1 in levels else 2,
        camel(name),
        operands,
    )
    return call.result(out, found.result)


def _recording(
    taken: _Arguments,
    values: list[Any],
    flags: list[bool],
    serve: Callable[..., Any],
    name: str,
    identity: tuple,
) -> Recorded:
    key = None
    if taken.key is not None:
        kinds = tuple([kind_of(v) for v in values])
        key = (identity, taken.key, kinds)
        found = _calls.get(key)
        if found is not None:
            return found
    found = record_call(name, serve, values, flags, taken.rebuild)
    if key is not None and found.fixed:
        if len(_calls) >= _MOST:
            _calls.clear()
        _calls[key] = found
    return found


class _Call:
    """A recorded call on its way to results."""

    def __init__(
        self,
        args: tuple,
        versions: tuple[int, ...],
        level: int,
        label: str,
        operands: Sequence[Any],
    ) -> None:
        self.args = args
        self.versions = versions
        self.level = level
        self.label = label
        self.operands = operands

    def result(self, out: Any, template: Any) -> Any:
        """The result with variables in the places of arrays."""
        if isinstance(template, list):
            items = [self.result(o, t) for o, t in zip(out, template, strict=True)]
            return _like(out, items)
        if not isinstance(template, Template) or out.dtype.kind != "f":
            return _wrap_result(out, self.operands)
        made = recorded(out, template, self.args, self.versions, self.level, self.label)
        share(made, self.operands)
        return made


def _like(container: Any, items: list[Any]) -> Any:
    if hasattr(container, "_fields"):
        return type(container)(*items)
    return tuple(items) if isinstance(container, tuple) else items


def share(out: Variable, operands: Sequence[Any]) -> None:
    """Note whose memory a result is a view of."""
    value = out.value
    if not isinstance(value, np.ndarray):
        return
    for x in operands:
        if type(x) is not Variable or not isinstance(x.value, np.ndarray):
            continue
        if value is x.value or (
            value.base is not None and np.may_share_memory(value, x.value)
        ):
            out.storage = shared_storage(x)
            out.seen = out.storage[0]
            return


def wrapped(out: Any) -> Any:
    """A result of NumPy that is not recorded, as constants."""
    if isinstance(out, (np.ndarray, np.generic)):
        return constant(out)
    return tuple([wrapped(o) for o in out]) if type(out) is tuple else out


def _wrap_result(out: Any, operands: Sequence[Any]) -> Any:
    if isinstance(out, (np.ndarray, np.generic)):
        made = constant(out)
        share(made, operands)
        return made
    if type(out) in (list, tuple) or hasattr(out, "_fields"):
        return _like(out, [_wrap_result(o, operands) for o in out])
    return out


def refuse_tracer() -> None:
    """A variable in a function that is being recorded."""
    raise fail(
        "a variable of tracejit.autograd met a traced value",
        "Pass x.detach().numpy() to the function as an argument",
    )
