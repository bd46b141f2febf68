"""Ufuncs on variables, and what NumPy's protocols come to.

The first call of a kind lets NumPy compute the result from the values, so that errors
and warnings are NumPy's, at the user's line, and makes the call's template.  Later ones
note their operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
)
from .entries import as_constant, held, recorded, refuse_tracer, tracked, wrapped
from .failure import fail
from .functions import function_call
from .history import camel
from .modes import LOCAL
from .storage import require_fresh, version
from .templates import Template, kind_of, record_ufunc
from .variable import Variable
from .writing import snapshot, write

__all__ = ["array_function", "array_ufunc", "combine", "pair", "single"]

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

_NOTHING: dict[str, Any] = {}


class _Plan:
    """What is known about a ufunc of given kinds."""

    __slots__ = ("label", "template")

    def __init__(self, template: Template, label: str) -> None:
        self.template = template
        self.label = label


_plans: dict[tuple, _Plan] = {}
_MOST = 4096


# --- ufuncs ---------------------------------------------------------------------------


def single(ufunc: np.ufunc, compute: Callable[..., Any], x: Variable) -> Any:
    """`combine` of one operand, written out for a recorded one: what it costs."""
    if 0 < x.level <= LOCAL.mode and x.fn is not None and x.storage is None:
        plan = _plans.get((ufunc, x.kind))
        if plan is not None and plan.template.lazy and not has_error_state():
            return recorded(None, plan.template, (x.fn,), (), x.level, plan.label)
    return combine(ufunc, compute, x)


def pair(ufunc: np.ufunc, compute: Callable[..., Any], x: Any, y: Any) -> Any:
    """`combine` of two operands, written out for recorded ones and leaves."""
    if type(x) is Variable and type(y) is Variable:
        level = x.level
        if level == y.level and 0 < level <= LOCAL.mode:
            a: Any = x.fn
            b: Any = y.fn
            seens: tuple[int, ...] = ()
            if a is None or b is None:
                seens = (version(x) if a is None else 0, version(y) if b is None else 0)
            plan = _plans.get((ufunc, x.kind, y.kind))
            fresh = (a is None or x.storage is None) and (
                b is None or y.storage is None
            )
            if fresh and plan is not None and plan.template.lazy:
                args = (x if a is None else a, y if b is None else b)
                if not has_error_state():
                    template, label = plan.template, plan.label
                    return recorded(None, template, args, seens, level, label)
    return combine(ufunc, compute, x, y)


def combine(ufunc: np.ufunc, compute: Callable[..., Any], *inputs: Any) -> Any:
    """`ufunc(*inputs)`, at least one of them a variable; the values by `compute`.

    One pass over the operands, written out, because this is what recording costs.
    """
    mode = LOCAL.mode
    if not mode:
        return _unrecorded(ufunc, compute, inputs)
    level = 0
    key: list[Any] = [ufunc]
    args: list[Any] = []
    versions: list[int] = []
    numbers: tuple = ()
    copies = variables = False
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
                    variables = True
                    if x.storage is not None:
                        seen = x.storage.count
                elif x.storage is not None:
                    require_fresh(x)
                    made = x.fn
                    if made is None:
                        return combine(ufunc, compute, *inputs)  # a constant by now
            else:
                made = as_constant(x)
                variables = True
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
        if kind is bool or kind is complex:
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
        if out.dtype.kind not in "fc":
            return wrapped(out)
        if plan is None:
            plan = _make_plan(ufunc, found, values)
    else:
        out = None
    if copies:
        args = [held(a) for a in args]
    seens = tuple(versions) if variables else ()
    return recorded(out, plan.template, tuple(args), seens, level, plan.label, numbers)


def _unrecorded(
    ufunc: np.ufunc, compute: Callable[..., Any], inputs: tuple[Any, ...]
) -> Any:
    values = []
    for x in inputs:
        if type(x) is Variable:
            x = x.value
        elif type(x) is Tracer:
            refuse_tracer()
        values.append(x)
    return wrapped(call_noisy(ufunc.__name__, compute, values, _NOTHING))


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
        if len(inputs) == 1:
            return single(ufunc, ufunc, inputs[0])
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
    inputs = tuple([snapshot(x) if x is target else x for x in inputs])
    return write(target, combine(ufunc, ufunc, *inputs), what)


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
