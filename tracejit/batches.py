"""A tape that runs for each example of a batch: `compile_batch` gives a `Batch`.

The same program as for one call (`kernel`), inlined into a driver that goes through
the examples (`codegen.driver`).  The structural key is the program's, so a path with
other sizes and constants finds its driver compiled.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import config
from .codegen import driver_assembly, engine
from .codegen.driver import products
from .codegen.layout import ALIGNMENT, Layout
from .codegen.source import print_program
from .kernel import load_code, structural_key, work_of
from .passes.fuse import fuse
from .program import Program
from .tape import Tape
from .threads import in_parallel

__all__ = ["Batch", "Left", "Operand", "compile_batch"]

_DRIVER = ctypes.CFUNCTYPE(
    ctypes.c_int64, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2, ctypes.c_void_p
)


class Operand(NamedTuple):
    """An input: one array for all examples, or a row of it for each."""

    array: np.ndarray
    mapped: bool


class Left(NamedTuple):
    """Examples that a path did not answer, for one reason.

    Attributes:
        index: which examples.
        status: see `Executable`.
        outcome: of the guard, a Python number.
    """

    index: np.ndarray
    status: int
    outcome: Any

    @classmethod
    def groups(cls, rows: np.ndarray) -> list[Left]:
        """Sort out what drivers wrote: example, status, bits and kind of outcome."""
        found = []
        while len(rows):
            _, status, bits, kind = rows[0]
            same = (rows[:, 1] == status) & (rows[:, 2] == bits)
            members = np.ascontiguousarray(rows[same, 0])
            found.append(cls(members, int(status), _outcome(bits, kind)))
            rows = rows[~same]
        return found


def _outcome(bits: np.int64, kind: np.int64) -> Any:
    if kind == 1:
        return bool(bits)
    if kind == 4:
        return float(bits.view(np.float64))
    return int(bits.view(np.uint64)) if kind == 3 else int(bits)


class Batch:
    """A driver bound to one trace.

    Attributes:
        compiled: whether this object's driver had to be compiled.
        seconds: what that took.
    """

    def __init__(self, program: Program, captures: Sequence[np.ndarray]) -> None:
        started = time.perf_counter()
        printed = print_program(program)
        self._layout = layout = Layout(program, printed.slots)
        key = structural_key("driver\n" + printed.text)
        name = f"tracejit_batch_{key[:40]}"
        with _LOCK:
            address = _DRIVERS.get(key)
            self.compiled = False
            if address is None:
                _, from_disk = load_code(
                    key, lambda: driver_assembly(program, printed.slots, name)
                )
                address = _DRIVERS[key] = engine.address(name)
                self.compiled = not from_disk
        self._call = _DRIVER(address)
        self._captures = [np.require(array, requirements="CA") for array in captures]
        self._originals = list(captures)
        self._params = np.array(layout.values(list(captures)), np.int64)
        self._bytes = layout.workspace()[1]
        self._products = products(layout)
        self._work = work_of(program.body)
        self.key = key
        self.seconds = time.perf_counter() - started

    @property
    def outputs(self) -> list[int]:
        """For each output of the tape, the number of its product."""
        number = {key: k for k, (key, _, _) in enumerate(self._products)}
        given = self._layout.program.outputs
        return [number[o if isinstance(o, int) else id(o)] for o in given]

    @property
    def shapes(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each product, for one example."""
        return [(shape, np.dtype(name)) for _, shape, name in self._products]

    def run(
        self,
        operands: Sequence[Operand],
        outs: Sequence[np.ndarray],
        index: np.ndarray | None,
        count: int,
    ) -> list[Left]:
        """Run `count` examples: those of `index`, or the first ones.

        Args:
            operands: the tape's inputs without captures: contiguous, of the tape's
                dtypes, shape () included; those that are mapped have an axis more in
                front, over all examples.
            outs: for each product an array with an axis in front, over all examples.
        """
        for mirror, array in zip(self._captures, self._originals, strict=True):
            if mirror is not array:
                np.copyto(mirror, array)
        table = self._table(operands, outs)
        left = np.empty((count, 4), np.int64)
        listed = None if index is None else index.ctypes.data
        parts: list[np.ndarray] = []

        def chunk(lo: int, hi: int) -> None:
            memory = np.empty(self._bytes + ALIGNMENT, np.uint8)
            start = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
            misses = self._call(
                self._params.ctypes.data, start, table.ctypes.data, listed,
                lo, hi, left[lo:].ctypes.data,
            )  # fmt: skip
            parts.append(left[lo : lo + misses])

        in_parallel(chunk, count, count * self._work // config.PARALLEL_WORK)
        parts.sort(key=lambda part: part.ctypes.data)
        return Left.groups(np.concatenate(parts))

    def _table(
        self, operands: Sequence[Operand], outs: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Addresses and strides; see `codegen.driver`."""
        rows = [
            (array.ctypes.data, array.strides[0] if mapped else 0)
            for array, mapped in operands
        ]
        rows += [(array.ctypes.data, 0) for array in self._captures]
        rows += [(array.ctypes.data, array.strides[0]) for array in outs]
        rows += [(0, b.size * b.dtype.itemsize) for b in self._layout.copies]
        return np.array(rows, np.int64)


def compile_batch(tape: Tape, captures: Sequence[np.ndarray]) -> Batch:
    """The driver of `tape`, whose last `len(captures)` inputs are captured arrays."""
    return Batch(fuse(tape, len(captures)), captures)


_DRIVERS: dict[str, int] = {}
_LOCK = threading.RLock()
