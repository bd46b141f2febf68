"""What a recording took from outside, in words that mean the same in another one.

A check finds its value by earlier ones (`t0['rate']`) and by places (`g0`), which are
numbered in the order of one recording.  Here they are written out, down to the objects
at which they begin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .checks import Check
from .values import same, same_items

__all__ = ["Portable"]

_NUMBERED = re.compile(r"\b([tg])(\d+)\b")


class Portable:
    """The values that were taken so far.

    Attributes:
        found: how each is compared, by the expression that finds it.
        arrays: the expressions of the traced arrays, in order.
        kept: the objects at which expressions begin, so that no other has their id.
    """

    def __init__(self, checks: Sequence[Check], env: Mapping[str, Any]) -> None:
        self.kept = dict(env)
        self.found: dict[str, tuple[str, Any]] = {}
        self.arrays: list[str] = []
        texts: list[str] = []

        def written(match: re.Match) -> str:
            if match[1] == "t":
                return f"({texts[int(match[2])]})"
            return f"<{id(env.get(match[0]))}>"

        for check in checks:
            text = _NUMBERED.sub(written, check.fetch)
            value = texts[check.value] if check.kind == "alias" else check.value
            texts.append(text)
            self.found[text] = check.kind, value
            if check.kind == "array":
                self.arrays.append(text)

    def includes(self, other: Portable) -> bool:
        """Whether all that the other one took was taken here, and is the same."""
        return all(
            text in self.found and _equal(self.found[text], known)
            for text, known in other.found.items()
        )


def _equal(a: tuple[str, Any], b: tuple[str, Any]) -> bool:
    (kind, value), (other, then) = a, b
    if kind != other:
        return False
    match kind:
        case "same":
            return same(value, then)
        case "items":
            return value[0] is then[0] and same_items(value[1], then[1])
        case "sequence" | "mapping" | "array" | "alias":
            return bool(value == then)
    return value is then
