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

__all__ = [
    "Form",
    "Segment",
    "leading",
    "reachable",
    "require_unfreed",
    "require_version",
]


class Segment:
    """A stretch of history between its roots and where the gradient goes.

    Attributes:
        roots: entries with a cotangent.
        order: the entries, in the order of recording.
        inputs: leaves, cuts and constants, in the order of their first use.
        wrt: those of them that are differentiated.
        changed: places of variables that were written to since they were used.
        key: the form, as ints.
    """

    __slots__ = ("changed", "inputs", "key", "order", "roots", "wrt")

    key: tuple[tuple[int, ...], ...]

    def __init__(
        self,
        roots: Sequence[GradFn],
        order: list[GradFn],
        inputs: list[Any],
        wrt: Sequence[int],
        changed: list[int],
    ) -> None:
        self.roots = roots
        self.order = order
        self.inputs = inputs
        self.wrt = [inputs[i] for i in wrt]
        self.changed = changed

    @classmethod
    def read(cls, roots: Sequence[GradFn]) -> Segment:
        """The segment behind the roots, with its key."""
        with _marking:
            return cls._number(roots, reachable(roots))

    @classmethod
    def _number(cls, roots: Sequence[GradFn], order: list[GradFn]) -> Segment:
        """Number entries and inputs; inputs are -1, -2, ..."""
        mark = order[0].mark
        key: list[int] = []
        inputs: list[Any] = []
        changed: list[int] = []
        add = key.append
        for number, fn in enumerate(order):
            fn.place = number
            add(fn.template.number)  # type: ignore[union-attr]
            for arg in fn.args:
                if arg.mark is not mark:
                    arg.mark = mark
                    inputs.append(arg)
                    arg.place = -len(inputs)
                add(arg.place)
            if fn.versions:
                changed += [-1 - arg.place for arg in _changed(fn)]
        wrt = tuple([i for i, arg in enumerate(inputs) if arg.level])
        found = cls(roots, order, inputs, wrt, changed)
        found.key = (
            tuple(key),
            tuple([root.place for root in roots]),
            tuple([arg.kind for arg in inputs]),
            wrt,
        )
        return found

    @property
    def numbers(self) -> list[float]:
        """Python numbers, in order."""
        return [number for fn in self.order if fn.numbers for number in fn.numbers]

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


class Form:
    """What a segment of one root looked like, to recognise the next one.

    A training step takes the same form again and again.  To follow what is known and
    compare takes half as long as to number and spell.  Two places of a form may turn
    out to be one object: their cotangents are added, as ever.
    """

    __slots__ = ("_entries", "_kinds", "_levels", "_wrt")

    def __init__(self, segment: Segment) -> None:
        words = iter(segment.key[0])
        #: Number, template and the places of the arguments, the root first.
        self._entries: list[tuple[int, Any, tuple[int, ...]]] = []
        for number, fn in enumerate(segment.order):
            next(words)
            places = tuple([next(words) for _ in fn.args])
            self._entries.append((number, fn.template, places))
        self._entries.reverse()
        self._kinds = segment.key[2]
        self._levels = [bool(arg.level) for arg in segment.inputs]
        self._wrt = segment.key[3]

    def match(self, root: GradFn) -> Segment | None:
        """The segment behind `root` if it has this form."""
        order: list[Any] = [None] * len(self._entries)
        inputs: list[Any] = [None] * len(self._kinds)
        order[-1] = root
        touched: list[GradFn] = []
        for number, template, places in self._entries:
            fn = order[number]
            if fn.template is not template or fn.freed:
                return None
            args = fn.args
            for i, place in enumerate(places):
                arg = args[i]
                if place >= 0:
                    if order[place] is not arg:
                        if order[place] is not None:
                            return None
                        if type(arg) is not GradFn or arg.extra is not None:
                            return None
                        order[place] = arg
                elif inputs[-1 - place] is not arg:
                    if inputs[-1 - place] is not None:
                        return None
                    if type(arg) is GradFn and arg.extra is None:
                        return None
                    if arg.kind != self._kinds[-1 - place]:
                        return None
                    if (arg.level > 0) is not self._levels[-1 - place]:
                        return None
                    inputs[-1 - place] = arg
            if fn.versions:
                touched.append(fn)
        changed = []
        for fn in touched:
            for arg in _changed(fn):
                changed += [i for i, x in enumerate(inputs) if x is arg]
        return Segment((root,), order, inputs, self._wrt, changed)


def _changed(fn: GradFn) -> list[Variable]:
    """The variables that were written to since the entry was given them."""
    return [
        arg
        for arg, seen in zip(fn.args, fn.versions, strict=True)
        if type(arg) is Variable
        and arg.storage is not None
        and arg.storage.count != seen
    ]


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


def leading(roots: Sequence[Any], wanted: set[int]) -> set[int]:
    """The ids of entries behind the roots that lead to one of `wanted`, also by id."""
    seen: dict[int, GradFn] = {}
    stack = [root for root in roots if isinstance(root, GradFn)]
    while stack:
        fn = stack.pop()
        if id(fn) not in seen:
            seen[id(fn)] = fn
            stack += [arg for arg in fn.args if isinstance(arg, GradFn)]
    found: set[int] = set()
    for fn in sorted(seen.values(), key=_serial):
        if any(id(arg) in wanted or id(arg) in found for arg in fn.args):
            found.add(id(fn))
    return found


def require_unfreed(fn: GradFn) -> None:
    """Refuse an entry that a backward pass went through for the last time."""
    if fn.freed:
        raise fail(
            "backward() through a history that an earlier backward() has freed",
            "Call the earlier one with retain_graph=True",
        )


_serial = operator.attrgetter("serial")
