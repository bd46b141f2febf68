"""Tapes that run for each example of a batch: `Chain`.

The same programs as for single calls (`kernel`), of several paths at once, inlined into
a driver that goes through the examples (`codegen.driver`).  The structural key is made
of the programs' texts, so paths with other sizes and constants find it compiled.
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
from .codegen.driver import LEFT, Link
from .codegen.host import descriptors, names_of
from .codegen.layout import ALIGNMENT, Layout
from .codegen.llvm import ExitNumbers
from .codegen.source import print_together
from .kernel import load_code, structural_key, work_of
from .passes.lower import lower
from .program import For, If, Let, Statement
from .tape import Tape
from .threads import Job, in_parallel

__all__ = ["Chain", "Operand", "Path"]

_SIGNATURE = (
    ctypes.c_int64,
    *[ctypes.c_void_p] * 4,
    *[ctypes.c_int64] * 2,
    ctypes.c_void_p,
)


class Operand(NamedTuple):
    """An input: one array for all examples, or a row of it for each."""

    array: np.ndarray
    mapped: bool


class Path(NamedTuple):
    """A member of a chain.

    Attributes:
        tape: its inputs are the common ones, arrays of its own, and constants.
        constants: the constants.
        rows: for each of its own arrays, which of the chain's it is.
        exits: status and outcome, and the number of the path that goes on then.
    """

    tape: Tape
    constants: list[np.ndarray]
    rows: tuple[int, ...]
    exits: list[tuple[int, Any, int]]


class Chain:
    """Paths of one function that share a driver.

    Args:
        paths: path 0 is where all examples begin.
        leaves: how many inputs all tapes have in common, at their beginning.
        arrays: how many arrays of their own they have in all.

    Attributes:
        compiled: whether the driver had to be compiled for this object.
        hosts, natives: see `kernel.Executable`.
        seconds: what that took.
    """

    def __init__(self, paths: Sequence[Path], leaves: int, arrays: int) -> None:
        started = time.perf_counter()
        programs = [lower(path.tape, len(path.constants)) for path in paths]
        for program in programs:
            _pair(program.body)
        text, slots = print_together(programs)
        self._originals = [array for path in paths for array in path.constants]
        self._constants = [
            np.require(a, requirements=("C", "A")) for a in self._originals
        ]
        self._hosts = [list(descriptors(program)) for program in programs]
        links: list[Link] = []
        block: list[int] = []
        constants = leaves + arrays
        for path, program, hosts in zip(paths, programs, self._hosts, strict=True):
            layout = Layout(program, slots, len(block))
            block += layout.section(path.constants, hosts)
            rows = [*range(leaves), *[leaves + row for row in path.rows]]
            rows += range(constants, constants := constants + len(path.constants))
            new = ExitNumbers.of(program).status
            exits = [(new[s], int(o), to) for s, o, to in path.exits if s in new]
            links.append(Link(layout, tuple(rows), tuple(exits)))
        head = links[0].layout.values([], [])[: links[0].layout.capture_base]
        self._params = np.array([*head, *block], np.int64)
        self._inputs = constants
        self._bytes = max(link.layout.workspace()[1] for link in links)
        self._sizes = [
            0 if isinstance(output, int) else output.size * output.dtype.itemsize
            for program in programs
            for output in program.outputs
        ]
        self._work = max(work_of(program.body) for program in programs)
        self._alone = any(self._hosts)
        self.hosts, self.natives = names_of(programs, self._hosts)
        shape = [
            (link.rows, link.exits, ExitNumbers.of(link.layout.program).literals)
            for link in links
        ]
        key = structural_key(f"driver {self._inputs} {shape}\n{text}")
        self.compiled, address = _load(key, links, self._inputs)
        self._address = address
        self._call = ctypes.PYFUNCTYPE(*_SIGNATURE)(address)
        self.seconds = time.perf_counter() - started

    def run(
        self,
        operands: Sequence[Operand],
        outs: Sequence[np.ndarray],
        index: np.ndarray | None,
        count: int,
    ) -> np.ndarray:
        """Run `count` examples: those of `index`, or the first ones.

        Args:
            operands: the common inputs, then the paths' own arrays: contiguous, of the
                tapes' dtypes, shape () included; those that are mapped have an axis
                more in front, over all examples.
            outs: for each output of a tape an array with an axis in front, over all
                examples; the same for all paths.

        Returns:
            A row for each example that got no answer: its number and its status.
        """
        for mirror, array in zip(self._constants, self._originals, strict=True):
            if mirror is not array:
                np.copyto(mirror, array)
        table = self._table(operands, outs)
        left = np.empty((count, LEFT), np.int64)
        listed = 0 if index is None else index.ctypes.data
        given = self._params.ctypes.data, table.ctypes.data, listed, left.ctypes.data
        space = -(-self._bytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT
        if self._alone:  # calls of Python: with its lock, on this thread
            memory = np.empty(space[0] + ALIGNMENT, np.uint8)
            work = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
            params, *rest, room = given
            return left[: self._call(params, work, *rest, 0, count, room)]
        chunks = count * self._work // config.PARALLEL_WORK
        job = Job(self._address, given, count, space, chunks)
        in_parallel(job)
        parts = [left[first : first + n] for first, n in job.missed()]
        return np.concatenate(parts) if parts else left[:0]

    def _table(
        self, operands: Sequence[Operand], outs: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Addresses and strides; see `codegen.driver`."""
        rows = [
            (array.ctypes.data, array.strides[0] if mapped else 0)
            for array, mapped in operands
        ]
        rows += [(array.ctypes.data, 0) for array in self._constants]
        assert len(rows) == self._inputs
        paths = len(self._sizes) // max(len(outs), 1)
        rows += [(array.ctypes.data, array.strides[0]) for array in outs] * paths
        rows += [(0, size) for size in self._sizes]
        return np.array(rows, np.int64)


_PAIR = {"sin": "cos", "cos": "sin"}


def _pair(body: list[Statement]) -> None:
    """Put sine and cosine of one value side by side.

    One call gives both, if LLVM sees them without a guard in between; the derivative
    of one is the other, and stands far behind it.
    """
    first: dict[tuple[str, tuple[int, ...]], int] = {}
    moved: list[Statement] = []
    for statement in body:
        if isinstance(statement, For):
            _pair(statement.body)
        elif isinstance(statement, If):
            _pair(statement.yes)
            _pair(statement.no)
        elif isinstance(statement, Let) and statement.prim in _PAIR:
            other = first.get((_PAIR[statement.prim], statement.args))
            if other is not None:
                moved.insert(other + 1, statement)
                first = {k: at + (at > other) for k, at in first.items()}
                continue
            first.setdefault((statement.prim, statement.args), len(moved))
        moved.append(statement)
    body[:] = moved


_DRIVERS: dict[str, int] = {}
_LOCK = threading.RLock()


def _load(key: str, links: list[Link], inputs: int) -> tuple[bool, int]:
    """Whether it had to be compiled, and the driver's address."""
    with _LOCK:
        address = _DRIVERS.get(key)
        if address is not None:
            return False, address
        name = f"tracejit_batch_{key[:40]}"
        _, from_disk = load_code(key, lambda: driver_assembly(links, inputs, name))
        address = _DRIVERS[key] = engine.address(name)
        return not from_disk, address
