"""The numbers of a program that become run-time parameters of its kernel.

Integers above `STATIC_LIMIT` in absolute value and all scalar constants are slots,
named n0, n1, ... and c0, c1, ... in order of first appearance.  Equal constants share
one, and integers of equal value and label (`Size`); that two lengths are equal by
chance must not show.  Code may depend on a number only through its slot or, if it is
small, as itself.  So every n-slot is above the limit, and a large negative integer is
written as -n.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ..program import STATIC_LIMIT

__all__ = ["Slots", "const_bits"]


def const_bits(dtype: np.dtype, value: Any) -> int:
    """A scalar of any dtype as the signed 64-bit integer that stands in a slot.

    Floats of both widths are stored as doubles.
    """
    if dtype.kind == "f":
        return struct.unpack("<q", struct.pack("<d", float(dtype.type(value))))[0]
    number = int(value) & (2**64 - 1)
    return number - 2**64 if number >= 2**63 else number


class Slots:
    """The parameters of one program, in order."""

    def __init__(self) -> None:
        self._ints: dict[tuple[int, Any], int] = {}
        self._consts: dict[tuple[str, int, Any], int] = {}
        self._dtypes: list[np.dtype] = []
        self._frozen = False

    def freeze(self) -> None:
        """From now on a number without a slot, unseen in the text, is an error."""
        self._frozen = True

    @property
    def ints(self) -> list[int]:
        return [value for value, _ in self._ints]

    @property
    def consts(self) -> list[tuple[np.dtype, int]]:
        """Dtype and bits of every constant."""
        pairs = zip(self._dtypes, self._consts, strict=True)
        return [(dtype, bits) for dtype, (_, bits, _) in pairs]

    def int_slot(self, value: int) -> int | None:
        """The slot of |value|, or None if it stays literal."""
        if -STATIC_LIMIT <= value <= STATIC_LIMIT:
            return None
        key = (abs(int(value)), getattr(value, "label", None))
        if key not in self._ints and self._frozen:
            raise ValueError(f"{value} does not occur in the printed program")
        return self._ints.setdefault(key, len(self._ints))

    def int_text(self, value: int) -> str:
        slot = self.int_slot(value)
        if slot is None:
            return str(value)
        return f"n{slot}" if value > 0 else f"-n{slot}"

    def const_slot(self, dtype: np.dtype, value: Any) -> int:
        label = getattr(value, "label", None)
        key = (dtype.str, const_bits(dtype, value), label)
        slot = self._consts.get(key)
        if slot is None:
            if self._frozen:
                raise ValueError(f"{value!r} does not occur in the printed program")
            slot = self._consts[key] = len(self._consts)
            self._dtypes.append(dtype)
        return slot

    def values(self) -> list[int]:
        """What the kernel's parameter block holds: the ints, then the constants."""
        return [*self.ints, *(bits for _, bits, _ in self._consts)]
