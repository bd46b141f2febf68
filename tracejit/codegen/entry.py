"""The checked entry to a kernel: one C function, in LLVM, that serves all of them.

A table of 64-bit words says what a call must look like.  The function compares the
arguments, and what is now in globals and closure cells, with the table's rows, calls
the kernel and counts the hit.  Types are compared by address, so nothing that it reads
of an array is read before it is known to be one; and whatever it does not recognise it
refuses, by returning a constant of the caller's.  That takes some 20 ns, in Python the
same takes ten times as long.

    rows of      def f(x, n): return helper(x) * rate * n      for f(x, 3)

    where      container  key       check    expected             operand
    argument   0                    array    float64, 1, (4,)     0
    argument   1                    integer                       1
    item       globals    'helper'  is       <function helper>    -1
    cell       <cell>               is       0.5                  -1
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from .entry_text import TEXT
from .layout import HEAD

__all__ = ["SYMBOLS", "Check", "Row", "Table", "Where", "assembly", "probe"]

SYMBOLS = (
    "PyDict_GetItemWithError",
    "PyErr_Clear",
    "PyLong_AsLongLongAndOverflow",
    "PyObject_Vectorcall",
    "PyTuple_New",
    "PyTuple_SetItem",
    "Py_DecRef",
    "Py_IncRef",
)

#: Words in front of the rows.
(
    BUSY,  # a list; nothing is answered unless it is empty
    REFUSED,  # what is returned then
    COUNT,  # arguments
    OPERANDS,  # of the kernel
    ROWS,
    KERNEL,  # address of the C function, or 0
    OWNER,  # its self, or a callable that stands for it
    LEFT,  # what answers when a guard fails: `left(exit, args)`; 0: return the exit
    SINGLE,  # nonzero: return the only output without its tuple
    HITS,  # address of the counter
    TUPLE,  # the type
    NDARRAY,  # the type
    FIRST,
) = range(13)
_WIDTH = 8

#: Fields of an ndarray, from the object's address.
_DATA, _NDIM, _SHAPE, _DTYPE, _FLAGS = (HEAD + n for n in (0, 8, 16, 40, 48))
_TYPE = HEAD - 8
_ITEM = tuple.__basicsize__
#: The flags that a kernel needs: C-contiguous and aligned.
_READY = 0x0101


class Where(IntEnum):
    """Where a value is found."""

    ARGUMENT = 0  # container: its number
    ITEM = 1  # container: a dict
    CELL = 2  # container: the cell of a closure


class Check(IntEnum):
    """What a value must be."""

    IS = 0  # this object
    TYPE = 1  # of exactly this type
    INTEGER = 2  # of exactly this type, int, and of at most 64 bits
    ARRAY = 3  # an ndarray of this dtype and shape, contiguous


class Row(NamedTuple):
    """One value, and what it must be."""

    where: Where
    container: Any
    check: Check
    expected: Any = None
    key: str | None = None
    shape: tuple[int, ...] = ()
    operand: int = -1

    def holds(self) -> bool:
        """Whether what the row names outside the arguments is still the same."""
        if self.check is not Check.IS or self.where is Where.ARGUMENT:
            return True
        try:
            if self.where is Where.ITEM:
                return self.container.get(self.key) is self.expected
            return self.container.cell_contents is self.expected
        except ValueError:  # an empty cell
            return False


class Table(np.ndarray):
    """The words of one entry; keeps alive what they point to."""

    keep: tuple[Any, ...]

    @classmethod
    def make(
        cls,
        rows: Sequence[Row],
        kernel: int,
        owner: Any,
        *,
        busy: list[Any],
        refused: Any,
        left: Callable[[list[Any], tuple], Any] | None,
        single: bool,
        hits: np.ndarray,
    ) -> Table:
        end = FIRST + _WIDTH * len(rows)
        table = np.zeros(end + sum(len(r.shape) for r in rows), np.int64).view(cls)
        table[:FIRST] = [
            id(busy),
            id(refused),
            sum(r.where is Where.ARGUMENT for r in rows),
            sum(r.operand >= 0 for r in rows),
            len(rows),
            kernel,
            id(owner),
            0 if left is None else id(left),
            single,
            hits.ctypes.data,
            id(tuple),
            id(np.ndarray),
        ]
        keys = []
        for k, r in enumerate(rows):
            key = sys.intern(r.key or "")
            keys.append(key)
            argument = r.where is Where.ARGUMENT
            first = FIRST + _WIDTH * k
            table[first : first + _WIDTH] = [
                r.where,
                r.container if argument else id(r.container),
                id(key),
                r.check,
                id(r.expected),
                len(r.shape),
                table.ctypes.data + 8 * end,
                r.operand,
            ]
            table[end : end + len(r.shape)] = r.shape
            end += len(r.shape)
        table.flags.writeable = False
        table.keep = (tuple(rows), keys, owner, busy, refused, left, hits)
        return table


def probe() -> bool:
    """Whether the objects of this Python and NumPy look as the entry assumes."""

    def word(value: Any, offset: int, kind: Any = ctypes.c_ssize_t) -> int:
        return kind.from_address(id(value) + offset).value

    array = np.zeros((2, 3, 5), np.float32)
    turned = array.T
    shape = (ctypes.c_ssize_t * 3).from_address(word(array, _SHAPE))
    cell = (lambda: array).__closure__[0]  # type: ignore[index]
    return (
        word(array, _TYPE) == id(np.ndarray)
        and word(array, _DATA) == array.ctypes.data
        and word(array, _NDIM, ctypes.c_int) == 3
        and tuple(shape) == (2, 3, 5)
        and word(array, _DTYPE) == id(array.dtype)
        and word(array, _FLAGS, ctypes.c_int) & _READY == _READY
        and word(turned, _FLAGS, ctypes.c_int) & _READY == 0x0100
        and word([1, 2, 3], HEAD) == 3
        and word((array, cell), _ITEM) == id(array)
        and word(cell, HEAD) == id(array)
        and word(cell, _TYPE) == id(type(cell))
    )


_SLOTS = {
    "BUSY": BUSY, "REFUSED": REFUSED, "COUNT": COUNT, "OPERANDS": OPERANDS,
    "ROWS": ROWS, "KERNEL": KERNEL, "OWNER": OWNER, "LEFT": LEFT, "SINGLE": SINGLE,
    "HITS": HITS, "TUPLE": TUPLE, "NDARRAY": NDARRAY, "FIRST": FIRST, "WIDTH": _WIDTH,
}  # fmt: skip


def assembly(name: str) -> str:
    """The LLVM module that defines the entry as `name`."""
    words = {"TYPE": _TYPE, "HEAD": HEAD, "NDIM": _NDIM, "SHAPE": _SHAPE}
    words |= {"DTYPE": _DTYPE, "FLAGS": _FLAGS, "READY": _READY, "ITEM": _ITEM}
    words |= {f"W_{key}": n for key, n in _SLOTS.items()}
    text = TEXT
    for key in sorted(words, key=len, reverse=True):
        text = text.replace(f"${key}", str(words[key]))
    return text.replace("$NAME", name)
