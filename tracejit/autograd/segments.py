"""A stretch of history, and its form as a tuple of ints."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from typing import Any

from ..errors import AutogradError
from .failure import fail
from .history import GradFn
from .storage import version
from .variable import Variable

__all__ = ["Segment", "reachable", "require_unfreed", "require_version"]


class Segment:
    """A stretch of history between its roots and where the gradient goes.

    Attributes:
        roots: entries with a cotangent.
        order: the entries, in the order of recording.
        inputs: leaves, cuts and constants, in the order of their first use.
        wrt: those of them that are differentiated.
        numbers: Python numbers.
        changed: places of variables that were written to since they were used.
        key: the form, as ints.
    """

    def __init__(self, roots: Sequence[GradFn]) -> None:
        self.roots = roots
        with _marking:
            self.order = reachable(roots)
            self._read()

    def _read(self) -> None:
        """Number entries and inputs; inputs are -1, -2, ..."""
        mark = self.order[0].mark
        key: list[int] = []
        inputs: list[Any] = []
        numbers: list[float] = []
        changed: list[int] = []
        add = key.append
        for number, fn in enumerate(self.order):
            fn.place = number
            add(fn.template.number)  # type: ignore[union-attr]
            versions = fn.versions
            for k, arg in enumerate(fn.args):
                if arg.mark is not mark:
                    arg.mark = mark
                    inputs.append(arg)
                    arg.place = -len(inputs)
                if type(arg) is Variable:
                    storage = arg.storage
                    if storage is not None and storage.count != versions[k]:
                        changed.append(-1 - arg.place)
                add(arg.place)
            if fn.numbers:
                numbers += fn.numbers
        self.inputs = inputs
        self.numbers = numbers
        self.changed = changed
        wrt = [i for i, arg in enumerate(inputs) if arg.level]
        self.wrt = [inputs[i] for i in wrt]
        self.key = (
            tuple(key),
            tuple([root.place for root in self.roots]),
            tuple([arg.kind for arg in inputs]),
            tuple(wrt),
        )

    def values(self, used: Sequence[bool]) -> list[Any]:
        """The values of the inputs; raises if one that is used was changed in place."""
        for i in self.changed:
            if used[i]:
                raise changed_error(self.inputs[i])
        found = []
        for arg, needed in zip(self.inputs, used, strict=True):
            if isinstance(arg, GradFn):
                extra = arg.extra
                assert extra is not None
                if needed:
                    require_version(extra.value, extra.version)
                found.append(extra.value.value)
            else:
                found.append(arg.value)
        return found


def require_version(x: Variable, seen: int) -> None:
    """Refuse a variable that was written to since it was used."""
    if version(x) != seen:
        raise changed_error(x)


def changed_error(x: Variable) -> AutogradError:
    """The error for a change in place that spoils a gradient."""
    return fail(
        f"an array of shape {list(x.shape)} that the gradient needs was changed in "
        "place after it was used",
        "Change it after backward(), or use a copy: x.clone()",
    )


#: Held while entries and inputs are marked and numbered.
_marking = threading.RLock()


def reachable(roots: Sequence[GradFn], through: bool = False) -> list[GradFn]:
    """The entries behind the roots, in the order of recording, with a common mark.

    Args:
        through: whether to go on behind cuts.
    """
    mark = object()
    found: list[GradFn] = []
    stack = list(roots)
    while stack:
        fn = stack.pop()
        if fn.mark is mark:
            continue
        if fn.freed:
            require_unfreed(fn)
        fn.mark = mark
        found.append(fn)
        for arg in fn.args:
            if type(arg) is GradFn:
                if arg.mark is not mark and (through or arg.extra is None):
                    stack.append(arg)
            elif through and isinstance(arg, GradFn):
                stack.append(arg)
    found.sort(key=_serial)
    return found


def require_unfreed(fn: GradFn) -> None:
    """Refuse an entry that a backward pass went through for the last time."""
    if fn.freed:
        raise fail(
            "backward() through a history that an earlier backward() has freed",
            "Call the earlier one with retain_graph=True",
        )


_serial = operator.attrgetter("serial")
