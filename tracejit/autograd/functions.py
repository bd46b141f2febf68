"""Calls of NumPy's functions and methods on variables.

The arguments are taken apart into operands (variables and arrays) and the rest, which
spells the call's kind.  A call on one variable with plain options, as most methods are,
has a shorter way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..tracer import Tracer, call_noisy, has_error_state
from .entries import (
    held,
    in_memory,
    lies_in,
    like,
    operand,
    recorded,
    refuse_tracer,
    share,
    tracked,
    wrap_result,
)
from .failure import fail
from .history import Constant, camel
from .modes import LOCAL
from .storage import version
from .templates import Recorded, Template, kind_of, record_call
from .variable import Variable
from .views import Step

__all__ = ["Arguments", "function_call", "recording"]

_MOST = 4096


class Arguments:
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
        if kind is Variable or (kind is np.ndarray and not x.dtype.hasobject):
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
                rest = original, serve, name, args, kwargs
                return _quick_call(template, key, arrays, *rest)
    taken = Arguments(args, kwargs)
    operands = taken.operands
    values = [x.value if type(x) is Variable else x for x in operands]
    flags = [type(x) is Variable and tracked(x) for x in operands]
    plain_args, plain_kwargs = taken.rebuild(values)
    if "out" in kwargs and kwargs["out"] is not None:
        raise fail(
            f"{name} with out= on variables would lose its history",
            "Assign the result to a name",
        )
    if original is np.nan_to_num and not (*args[1:2], kwargs.get("copy", True))[0]:
        raise fail(
            "np.nan_to_num(x, copy=False) would change a variable unrecorded",
            "Write x[...] = np.nan_to_num(x)",
        )
    out = call_noisy(name, original, plain_args, plain_kwargs)
    step = None
    if key is not None and not arrays:
        step = Step(serve, args[1:], kwargs, key)
    if not any(flags):
        return wrap_result(out, operands, step)
    found = recording(taken, values, flags, serve, name, identity)
    made = found.made
    if type(found.result) is Template and isinstance(out, np.ndarray):
        first = operands[0]
        if type(first) is Variable and in_memory(out, first.value):
            found = found._replace(result=found.result.as_view())
    if key is not None and found.fixed and _is_always_so(found.result):
        if len(_quick) >= _MOST:
            _quick.clear()
        _quick[key] = found.result
    kept = [operand(x) if type(x) is Variable else held(x) for x in operands]
    versions = [version(x) if type(x) is Variable else 0 for x in kept]
    levels = {x.level for x, flag in zip(operands, flags, strict=True) if flag}
    call = _Call(
        (*kept, *[Constant(a, kind_of(a)) for a in made]),
        (*versions, *[0] * len(made)),
        1 if 1 in levels else 2,
        camel(name),
        operands,
        step,
    )
    return call.result(out, found.result)


def _is_always_so(template: Any) -> bool:
    """Whether the next call of the kind gives a copy, or a view, as this one did.

    What lies in another order makes a copy of a reshape.
    """
    if type(template) is not Template:
        return False
    return template.view or template.name not in ("ravel", "reshape")


def _quick_call(
    template: Template,
    key: tuple,
    arrays: list[Any],
    original: Callable[..., Any],
    serve: Callable[..., Any],
    name: str,
    args: tuple,
    kwargs: dict[str, Any],
) -> Variable:
    """A call on one variable that was seen before."""
    x = args[0]
    tracks = 0 < x.level <= LOCAL.mode
    value = None
    wait = tracks and template.lazy and not has_error_state()
    if wait and template.view:
        # A view of what is known costs nothing; and whether a reshape is one depends
        # on the memory of its operand.
        wait = x.known is None and template.name not in ("ravel", "reshape")
    if not wait or (arrays and not template.check([None, *arrays])):
        value = call_noisy(name, original, (x.value, *args[1:]), kwargs)
    is_view = template.view and (value is None or in_memory(value, x.value))
    if template.view and not is_view:
        template = template.copying
    if not tracks:
        step = None if arrays else Step(serve, args[1:], kwargs, key)
        return wrap_result(value, (x,), step)
    if value is None and x.storage is None and x.fn is not None and not template.view:
        held_args = (x.fn, *[held(a) for a in arrays]) if arrays else (x.fn,)
        return recorded(None, template, held_args, (), x.level, camel(name))
    arg: Any = operand(x)
    entries: tuple = (arg,)
    seens: tuple[int, ...] = (version(arg),) if type(arg) is Variable else ()
    if arrays:
        entries += tuple([held(a) for a in arrays])
        if seens:
            seens += (0,) * len(arrays)
    out = recorded(value, template, entries, seens, x.level, camel(name))
    if is_view or value is not None:
        step = None if arrays else Step(serve, args[1:], kwargs, key)
        if is_view:
            lies_in(out, x, step)
        else:
            share(out, (x,), step)
    return out


#: Templates of calls on one variable, by what stands beside it.
_quick: dict[tuple, Template] = {}
_SIMPLE = frozenset(
    (int, bool, str, type(None), type(...), np.dtype, type, np.int64, np.int32)
)


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
        kind = type(x)
        if kind in _SIMPLE:
            words += (kind, x)
        elif not _spell(x, words, arrays):
            return None
    return tuple(words)


def _spell(x: Any, words: list[Any], arrays: list[Any]) -> bool:
    kind = type(x)
    if kind in _SIMPLE:
        words += (kind, x)
        return True
    if kind is np.ndarray and not x.dtype.hasobject:
        words += (np.ndarray, kind_of(x))
        arrays.append(x)
        return True
    if kind is tuple:
        words += (tuple, len(x))
        for item in x:
            if not _spell(item, words, arrays):
                break
        else:
            return True
        return False
    if kind is slice:
        words.append(slice)
        parts = (x.start, x.stop, x.step)
        return all(_spell(item, words, arrays) for item in parts)
    return False


def recording(
    taken: Arguments,
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
        step: Step | None,
    ) -> None:
        self.step = step
        self.args = args
        self.versions = versions
        self.level = level
        self.label = label
        self.operands = operands

    def result(self, out: Any, template: Any) -> Any:
        """The result with variables in the places of arrays."""
        if isinstance(template, list):
            self.step = None
            items = [self.result(o, t) for o, t in zip(out, template, strict=True)]
            return like(out, items)
        if not isinstance(template, Template) or out.dtype.kind not in "fc":
            return wrap_result(out, self.operands, self.step)
        made = recorded(out, template, self.args, self.versions, self.level, self.label)
        share(made, self.operands, self.step)
        return made
