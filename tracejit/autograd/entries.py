"""Entries of the history: what a recorded call keeps, and what it gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tracer import is_inside
from .failure import fail
from .history import SERIAL, Constant, GradFn
from .modes import LOCAL
from .storage import Storage, require_fresh, shared_storage
from .templates import Template, kind_of
from .variable import Variable, constant
from .views import Step, note_view

__all__ = [
    "as_constant",
    "held",
    "in_memory",
    "lies_in",
    "like",
    "operand",
    "recorded",
    "refuse_tracer",
    "share",
    "tracked",
    "wrap_result",
    "wrapped",
]

_new = object.__new__


def tracked(x: Variable) -> bool:
    """Whether an operation on `x` is recorded now."""
    return 0 < x.level <= LOCAL.mode


def operand(x: Variable) -> Any:
    """What the history keeps of a variable that takes part in a recorded call."""
    if 0 < x.level <= LOCAL.mode:
        if x.storage is not None:
            require_fresh(x)
        return x if x.fn is None else x.fn
    return as_constant(x)


def as_constant(x: Variable) -> Variable:
    """The same memory as a variable that stays a constant, whatever `x` becomes."""
    extra = x.extra
    if extra is None:
        extra = x.more()
    twin = extra.twin
    if twin is None or twin.known is not x.value:
        twin = extra.twin = x.detach()
    return twin


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
    # This function, its caller and the variable's method are no user's code.
    frame = sys._getframe(3)
    while is_inside(frame) and frame.f_back is not None:
        frame = frame.f_back
    # Written out, for both objects: a call of a class costs as much as all this.
    fn = _new(GradFn)
    fn.known = value
    fn.template = template
    fn.args = args
    fn.versions = versions
    fn.where = (frame.f_code, frame.f_lasti)
    fn.label = label
    fn.numbers = numbers
    fn.serial = next(SERIAL)
    fn.freed = False
    fn.extra = fn.mark = None
    out = _new(Variable)
    out.known = value
    out.kind = template.kind
    out.level = level
    out.fn = fn
    out.seen = 0
    out.storage = out.extra = out.mark = None
    if value is None and versions:
        for arg in args:
            if type(arg) is Variable:
                if arg.storage is None:
                    arg.storage = Storage()
                arg.storage.add_user(fn)
    return out


def held(x: Any) -> Any:
    """An operand as the history keeps it: arrays as copies."""
    if type(x) is np.ndarray and x.ndim:
        return Constant(x.copy(), kind_of(x))
    if isinstance(x, (np.ndarray, np.generic)):
        return Constant(np.array(x)[()], kind_of(x))
    return x


def share(out: Variable, operands: Sequence[Any], step: Step | None = None) -> None:
    """Note whose memory a result is a view of, and by which call if that is known."""
    value = out.value
    if not isinstance(value, np.ndarray):
        return
    for x in operands:
        if type(x) is not Variable or not isinstance(x.value, np.ndarray):
            continue
        if in_memory(value, x.value):
            lies_in(out, x, step)
            return


def lies_in(out: Variable, x: Variable, step: Step | None) -> None:
    """Note that a result lies in the memory of `x`."""
    storage = out.storage = shared_storage(x)
    out.seen = storage.count
    if out.fn is not None and out.known is not None:
        storage.add_alias(out.fn)
    # What `no_grad` took from something recorded stays a constant.
    if out.fn is not None or not x.level:
        note_view(out, x, step)


def in_memory(value: Any, x: Any) -> bool:
    """Whether a result is a view of an operand, or the operand itself."""
    return value is x or (value.base is not None and np.may_share_memory(value, x))


def wrapped(out: Any) -> Any:
    """A result of NumPy that is not recorded, as constants."""
    if isinstance(out, (np.ndarray, np.generic)):
        return constant(out)
    return tuple([wrapped(o) for o in out]) if type(out) is tuple else out


def wrap_result(out: Any, operands: Sequence[Any], step: Step | None = None) -> Any:
    """What is not recorded, as constants that know whose memory they are."""
    if isinstance(out, (np.ndarray, np.generic)):
        made = constant(out)
        share(made, operands, step)
        return made
    if type(out) in (list, tuple) or hasattr(out, "_fields"):
        return like(out, [wrap_result(o, operands) for o in out])
    return out


def like(container: Any, items: list[Any]) -> Any:
    if hasattr(container, "_fields"):
        return type(container)(*items)
    return tuple(items) if isinstance(container, tuple) else items


def refuse_tracer() -> None:
    """A variable in a function that is being recorded."""
    raise fail(
        "a variable of tracejit.autograd met a traced value",
        "Pass x.detach().numpy() to the function as an argument",
    )
