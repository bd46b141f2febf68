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
    has_error_state,
    refuse,
    user_frame,
)
from .history import Constant, GradFn, Storage, camel
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
_NOTHING: dict[str, Any] = {}


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
    value: Any,
    template: Template,
    args: tuple,
    versions: tuple,
    level: int,
    label: str,
    numbers: tuple = (),
) -> Variable:
    """The result of a recorded call."""
    frame = user_frame()
    out = _new(Variable)
    out.known = value
    out.kind = template.kind
    out.level = level
    fn = out.fn = GradFn(
        template, args, versions, (frame.f_code, frame.f_lasti), label, numbers, value
    )
    out.storage = None
    out.seen = 0
    out.extra = None
    out.mark = None
    if value is None:
        for arg in args:
            if type(arg) is Variable:
                if arg.storage is None:
                    arg.storage = Storage()
                arg.storage.add_user(fn)
    return out


# --- ufuncs ---------------------------------------------------------------------------


def combine(ufunc: np.ufunc, compute: Callable[..., Any], *inputs: Any) -> Any:
    """`ufunc(*inputs)`, at least one of them a variable; the values by `compute`.

    One pass over the operands, written out, because this is what recording costs.
    """
    mode = LOCAL.mode
    level = 0
    key: list[Any] = [ufunc]
    args: list[Any] = []
    versions: list[int] = []
    numbers: tuple = ()
    copies = False
    for x in inputs:
        kind = type(x)
        if kind is Variable:
            key.append(x.kind)
            made = x.fn
            seen = 0
            if 0 < x.level <= mode:
                if level != 1:
                    level = x.level
                if made is None:
                    made = x
                    if x.storage is not None:
                        seen = x.storage.count
                elif x.storage is not None:
                    require_fresh(x)
            else:
                made = x.detach() if x.level else x
                if x.storage is not None:
                    seen = x.storage.count
            args.append(made)
            versions.append(seen)
            continue
        if kind is float or kind is int:
            if ufunc in _ARITHMETIC and (kind is float or -_EXACT < x < _EXACT):
                key.append(_NUMBER)
                numbers = (*numbers, float(x))
            else:
                key.append((kind, repr(x)))  # it has a say in the template
            continue
        if kind is Tracer:
            refuse_tracer()
        if kind is bool:
            key.append((kind, repr(x)))
            continue
        if kind is not np.ndarray and not isinstance(x, np.generic):
            x = np.asarray(x)
        copies = True
        key.append(kind_of(x))
        args.append(x)
        versions.append(0)
    found = tuple(key)
    plan = _plans.get(found) if level else None
    if plan is None or has_error_state() or not plan.template.lazy:
        values = [x.value if type(x) is Variable else x for x in inputs]
        out = call_noisy(ufunc.__name__, compute, values, _NOTHING)
        if not level:
            return wrapped(out)
        if type(out) is tuple:
            return _several(ufunc, inputs)
        if out.dtype.kind != "f":
            return wrapped(out)
        if plan is None:
            plan = _make_plan(ufunc, found, values)
    else:
        out = None
    if copies:
        args = [held(a) for a in args]
    return recorded(
        out, plan.template, tuple(args), tuple(versions), level, plan.label, numbers
    )


def held(x: Any) -> Any:
    """An operand as the history keeps it: arrays as copies."""
    if isinstance(x, (np.ndarray, np.generic)):
        return Constant(np.array(x)[()])
    return x


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
    if np.may_share_memory(value, x.value):
        value = np.array(value)
    if np.shape(value) != x.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {_show(x.shape)} doesn't "
            f"match the broadcast shape {_show(np.shape(value))}"
        )
    if tracks and new.dtype != x.dtype:
        new = new.astype(x.dtype)
    if not tracks and x.fn is not None and x.level and LOCAL.mode >= x.level:
        new = None  # a constant takes the place of a recorded result
    x.known = np.asarray(x.value)
    touch(x)
    np.copyto(x.known, value, casting="same_kind")
    if tracks:
        x.fn, x.level = new.fn, new.level
    elif new is None:
        x.fn, x.level = None, 0
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
    key = None
    if type(args[0]) is Variable and "out" not in kwargs:
        arrays: list[Any] = []
        key = _quick_key(identity, args, kwargs, arrays)
        if key is not None:
            template = _quick.get(key)
            if template is not None:
                return _quick_call(original, template, name, args, kwargs, arrays)
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
    if key is not None and found.fixed and type(found.result) is Template:
        if len(_quick) >= _MOST:
            _quick.clear()
        _quick[key] = found.result
    kept = [operand(x) if type(x) is Variable else held(x) for x in operands]
    versions = [version(x) if type(x) is Variable else 0 for x in kept]
    levels = {x.level for x, flag in zip(operands, flags, strict=True) if flag}
    if type(found.result) is Template and isinstance(out, np.ndarray):
        found.result.view |= any(
            _in_memory(out, x.value) for x in operands[:1] if type(x) is Variable
        )
    call = _Call(
        (*kept, *map(Constant, made)),
        (*versions, *[0] * len(made)),
        1 if 1 in levels else 2,
        camel(name),
        operands,
    )
    return call.result(out, found.result)


def _quick_call(
    original: Callable[..., Any],
    template: Template,
    name: str,
    args: tuple,
    kwargs: dict[str, Any],
    arrays: list[Any],
) -> Variable:
    """A call on one variable that was seen before."""
    x = args[0]
    tracks = 0 < x.level <= LOCAL.mode
    value = None
    wait = tracks and template.lazy and not has_error_state()
    if wait and template.view:
        wait = x.known is None  # else a view costs nothing
    if not wait or not template.check([None, *arrays]):
        value = call_noisy(name, original, (x.value, *args[1:]), kwargs)
    if not tracks:
        return _wrap_result(value, (x,))
    arg: Any = operand(x)
    entries: tuple = (arg,)
    seens: tuple[int, ...] = (version(arg) if type(arg) is Variable else 0,)
    if arrays:
        entries += tuple([Constant(np.array(a)) for a in arrays])
        seens += (0,) * len(arrays)
    out = recorded(value, template, entries, seens, x.level, camel(name))
    if template.view:
        out.storage = shared_storage(x)
        out.seen = out.storage.count
        if value is not None and out.fn is not None:
            out.storage.add_alias(out.fn)
    elif value is not None:
        share(out, (x,))
    return out


#: Templates of calls on one variable, by what stands beside it.
_quick: dict[tuple, Template] = {}
_SIMPLE = frozenset((int, bool, str, type(None), np.dtype, type))


def _quick_key(
    identity: tuple, args: tuple, kwargs: dict[str, Any], arrays: list[Any]
) -> tuple | None:
    """The key of a call on one variable with plain options; None for all others.

    Arrays among the options are appended to `arrays`.
    """
    words: list[Any] = [identity, args[0].kind]
    for x in args[1:]:
        if not _spell(x, words, arrays):
            return None
    for name, x in kwargs.items():
        words.append(name)
        if not _spell(x, words, arrays):
            return None
    return tuple(words)


def _spell(x: Any, words: list[Any], arrays: list[Any]) -> bool:
    kind = type(x)
    if kind in _SIMPLE:
        words += (kind, x)
        return True
    if kind is tuple:
        words += (tuple, len(x))
        return all(_spell(item, words, arrays) for item in x)
    if kind is slice:
        words.append(slice)
        parts = (x.start, x.stop, x.step)
        return all(_spell(item, words, arrays) for item in parts)
    if kind is np.ndarray and x.dtype != object:
        words += (np.ndarray, kind_of(x))
        arrays.append(x)
        return True
    return False


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
        if _in_memory(value, x.value):
            out.storage = shared_storage(x)
            out.seen = out.storage.count
            if out.fn is not None:
                out.storage.add_alias(out.fn)
            return


def _in_memory(value: Any, x: Any) -> bool:
    """Whether a result is a view of an operand, or the operand itself."""
    return value is x or (value.base is not None and np.may_share_memory(value, x))


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
