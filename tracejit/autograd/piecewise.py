"""The gradient of a segment entry by entry, from the values that its entries have.

    y = x + k;  z = y * y;  k[0] = 5.0;  z.sum().backward()

A kernel computes y from x and k once more, and k is not what it was.  But y was
computed before k changed, and the derivative of the product needs y only.  So each
entry is pulled back by the reverse rule of its own template, and what is refused is a
change of a value that such a rule reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .history import GradFn
from .segments import Segment, require_version
from .storage import version
from .templates import KINDS, Template, pullback
from .variable import Variable

__all__ = ["pull_back", "versions_of"]


def pull_back(segment: Segment, given: Sequence[Any]) -> list[Any]:
    """The cotangents of `segment.wrt`.

    Args:
        given: the cotangents of the roots, None for ones.
    """
    cts: dict[int, Any] = {}

    def add(target: Any, ct: Any) -> None:
        old = cts.get(id(target))
        cts[id(target)] = ct if old is None else old + ct

    for root, ct in zip(segment.roots, given, strict=True):
        add(root, np.ones(np.shape(root.value)) if ct is None else ct)
    inner = set(map(id, segment.order))
    for fn in reversed(segment.order):
        ct = cts.pop(id(fn), None)
        if ct is None:
            continue
        assert fn.template is not None
        numbers = [np.float64(number) for number in fn.numbers]
        values = [_value(arg, id(arg) in inner) for arg in fn.args]
        active = tuple([bool(arg.level) for arg in fn.args])
        ct = np.asarray(ct, KINDS[fn.template.kind].dtype)[()]
        for arg, template in zip(fn.args, pullback(fn.template, active), strict=True):
            if template is not None:
                _require_unchanged(fn, template)
                add(arg, template.evaluate([*values, ct, *numbers]))
    return [
        np.zeros(KINDS[x.kind].shape, KINDS[x.kind].dtype) if ct is None else ct
        for x in segment.wrt
        for ct in [cts.get(id(x))]
    ]


def _value(arg: Any, inside: bool) -> Any:
    """What an entry was given, or what is there now."""
    if isinstance(arg, GradFn) and not inside:
        assert arg.extra is not None
        require_version(arg.extra.value, arg.extra.version)
        return np.asarray(arg.extra.value.value)[()]
    return np.asarray(arg.value)[()]


def _require_unchanged(fn: GradFn, template: Template) -> None:
    """Refuse a change of what a reverse rule reads."""
    for place, (arg, seen) in enumerate(zip(fn.args, versions_of(fn), strict=True)):
        if type(arg) is Variable and version(arg) != seen and template.reads(place):
            require_version(arg, seen)


def versions_of(fn: GradFn) -> tuple[int, ...]:
    """The versions of an entry's arguments, one for each."""
    return fn.versions or (0,) * len(fn.args)
