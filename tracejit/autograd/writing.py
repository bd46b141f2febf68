"""Writing in place: what is recorded of it, what is refused.

Where nothing is recorded a write is NumPy's, and raises the version of the memory.  A
recorded write is NumPy's too, so all who see the memory see it; and the variable gets
the history of its new value, see `views`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import UnsupportedError, message
from ..tracer import check_dtype, where
from .entries import held, operand, recorded, tracked
from .failure import fail
from .functions import Arguments, recording
from .history import Constant, GradFn
from .modes import LOCAL
from .storage import require_fresh, shared_storage, touch, version
from .templates import Template, kind_of
from .variable import Variable
from .views import root_of

__all__ = ["is_recorded_write", "require_writable", "set_items", "snapshot", "write"]


def is_recorded_write(x: Variable, *others: Any) -> bool:
    """Whether a write to `x` of what is made of `others` has to be recorded."""
    if not LOCAL.mode or x.dtype.kind not in "fc":
        return False
    if tracked(x) or any(type(o) is Variable and tracked(o) for o in others):
        return True
    root = root_of(x)
    return root is not x and tracked(root)  # type: ignore[arg-type]


def require_writable(x: Variable, what: str) -> None:
    """Refuse a recorded write to a leaf, and to what is out of date."""
    root = root_of(x)
    if root.fn is None and root.level and root.level <= LOCAL.mode:
        view = "a view of " if root is not x else ""
        raise fail(
            f"{what} on {view}a leaf that requires a gradient would change it under "
            "its history",
            "Write inside `with autograd.no_grad():`",
        )
    for variable in (root, x):
        if variable.fn is not None and variable.storage is not None:
            require_fresh(variable)


def snapshot(x: Any) -> Any:
    """An operand that is about to be written to, if it is no recorded one."""
    if type(x) is Variable and not tracked(x):
        return Variable(np.array(x.value))
    return x


def write(x: Variable, new: Any, what: str) -> Variable:
    """Give `x` the value of `new`, in its own memory."""
    value = new.value if type(new) is Variable else new
    if np.shape(value) != x.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {_show(x.shape)} doesn't "
            f"match the broadcast shape {_show(np.shape(value))}"
        )
    recorded_write = is_recorded_write(x, new)
    if recorded_write:
        require_writable(x, what)
        if root_of(x) is not x or not (type(new) is Variable and tracked(new)):
            set_items(x, Ellipsis, new, what)
            return x
        if new.dtype != x.dtype:
            new = new.astype(x.dtype)  # type: ignore[attr-defined]
            value = new.value
    if np.may_share_memory(value, x.value):
        value = np.array(value)
    x.known = np.asarray(x.value)
    touch(x)
    np.copyto(x.known, value, casting="same_kind")
    if recorded_write:
        assert x.storage is not None
        before, x.fn, x.level = x.fn, new.fn, new.level
        _settled(x, before)
    return x


def set_items(x: Variable, key: Any, new: Any, what: str) -> None:
    """`x[key] = new`, recorded."""
    require_writable(x, what)
    view = None if x.extra is None else x.extra.view
    root: Any = root_of(x)
    if not isinstance(new, (Variable, np.ndarray)):
        new = np.asarray(new)
        check_dtype(new.dtype)
    taken = Arguments((root, key, new), {})
    operands = taken.operands
    values = [o.value if type(o) is Variable else o for o in operands]
    values[0] = np.asarray(values[0])

    def serve(target: Any, key: Any, new: Any) -> Any:
        whole = target.copy()
        before = whole.ref
        part = whole if view is None else view.apply(whole)
        part[key] = new
        if whole.ref is before:
            raise UnsupportedError(
                message(
                    f"{what} through a view of memory in another order than C",
                    where=where(),
                    way_out="Write to the array itself, or make it by .copy() first",
                )
            )
        return whole

    steps = () if view is None else view.key()
    found = recording(
        taken, values, [True] * len(values), serve, "setitem", ("write", steps)
    )
    assert type(found.result) is Template
    levels = [o.level for o in operands if type(o) is Variable and tracked(o)]
    level = 1 if 1 in levels else 2
    if tracked(root):
        first: Any = operand(root)
    else:
        first = Constant(np.array(root.value)[()], root.kind)
    rest = [operand(o) if type(o) is Variable else held(o) for o in operands[1:]]
    made = [Constant(a, kind_of(a)) for a in found.made]
    args = (first, *rest, *made)
    versions = tuple([version(a) if type(a) is Variable else 0 for a in args])
    # The entry first: it is given the old values, which the write takes from others.
    result = recorded(None, found.result, args, versions, level, "Setitem")
    new_value = new.value if type(new) is Variable else new
    plain = _plain(key)
    root.known = np.asarray(root.value)
    target = x.value
    _drop(first)
    touch(root)
    target[plain] = new_value
    before, root.fn, root.level = root.fn, result.fn, level
    _settled(root, before)


def _drop(before: Any) -> None:
    """Let go of the value before a write if nobody will ask for it.

    Many writes to one array would leave as many copies of it.  Held are: by the
    variable, by the new entry, by `first` and here, twice.
    """
    ours = type(before) is GradFn and before.label == "Setitem"
    if not ours or before.extra is not None or sys.getrefcount(before) > 5:
        return
    pairs = list(zip(before.args, before.versions, strict=True))
    variables = [(a, seen) for a, seen in pairs if type(a) is Variable]
    if pairs and all(version(a) == seen for a, seen in variables):
        before.known = None  # computed again if need be, before these change
        for a, _ in variables:
            shared_storage(a).add_user(before)


def _settled(root: Variable, before: GradFn | None) -> None:
    """The root of a recorded write has its history; its views will ask for theirs."""
    storage = root.storage
    assert storage is not None
    assert root.fn is not None
    root.seen = storage.count
    root.fn.known = root.known
    storage.add_alias(root.fn)
    for ref in storage.views:
        variable = ref()
        if variable is None or root_of(variable) is not root:
            continue
        variable.level = root.level
        if variable.fn is None:
            variable.fn = root.fn  # in the place of its own: it is out of date
            variable.seen = -1
        _keep_retaining(variable, variable.fn)
    _keep_retaining(root, before)


def _keep_retaining(x: Variable, before: GradFn | None) -> None:
    """`.grad` of a result that retains it is the gradient of its present value."""
    if x.retains_grad:
        if before is not None and before.extra is not None:
            before.extra.retains = None
        x.retain_grad()


def _plain(key: Any) -> Any:
    if type(key) is tuple:
        return tuple([_plain(k) for k in key])
    return key.value if type(key) is Variable else key


def _show(shape: tuple[int, ...]) -> str:
    return str(tuple(shape)).replace(" ", "")
