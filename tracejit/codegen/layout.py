"""The parameter block: what a kernel reads besides its arrays.

One block of 64-bit slots belongs to each trace (`Executable`); the kernel's code
knows the slots by number only, so it serves every trace of its structure:

    0      nonzero: release the GIL while computing
    1      address of the free workspace, 0 while a call uses it
    2      bytes of the workspace
    3..5   addresses of None, of the type ndarray, unused
    then   ints, constants, captured arrays (addresses of the Python objects),
           offsets of the work buffers in the workspace, shapes of the arrays to be
           returned, addresses of the dtypes of the scalars to be returned, addresses
           of the descriptors of host calls
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..program import Buffer, Program
from .slots import Slots
from .source import array_outputs, scalar_outputs

__all__ = ["ALIGNMENT", "FIRST", "HEAD", "Layout"]

#: Bytes in front of every Python object's own fields; in an ndarray the first of
#: these is the data pointer.
HEAD = object.__basicsize__

RELEASE, WORKSPACE, WORK_BYTES, NONE, NDARRAY, FIRST = 0, 1, 2, 3, 4, 6
ALIGNMENT = 64


@dataclass
class Layout:
    """Slot numbers and the order of everything that goes in and out of a kernel."""

    program: Program
    slots: Slots
    #: Slots that the programs in front of this one take, if several share a block.
    shift: int = 0

    @cached_property
    def leaves(self) -> list[Buffer]:
        """Inputs that are passed at each call."""
        count = len(self.program.args) - self.program.captures
        return self.program.args[:count]

    @cached_property
    def captures(self) -> list[Buffer]:
        return self.program.args[len(self.leaves) :]

    @cached_property
    def arrays(self) -> list[Buffer]:
        """Array outputs that the body fills."""
        return array_outputs(self.program)

    @cached_property
    def copies(self) -> list[Buffer]:
        """Inputs that are outputs."""
        found = {
            id(o): o
            for o in self.program.outputs
            if isinstance(o, Buffer) and o.kind == "arg"
        }
        return list(found.values())

    @cached_property
    def scalars(self) -> list[int]:
        """Scalar values that are outputs."""
        return scalar_outputs(self.program)

    @cached_property
    def fresh(self) -> list[Buffer]:
        """Arrays to allocate for each call: the outputs, then copies of inputs."""
        return self.arrays + [b for b in self.copies if b.shape]

    @cached_property
    def scalar_dtypes(self) -> list[np.dtype]:
        """Dtypes of all scalars to return: the values, then copies of inputs."""
        values = [self.program.dtypes[v] for v in self.scalars]
        return values + [b.dtype for b in self.copies if not b.shape]

    @cached_property
    def const_base(self) -> int:
        return FIRST + len(self.slots.ints)

    @cached_property
    def capture_base(self) -> int:
        return self.const_base + len(self.slots.consts) + self.shift

    @cached_property
    def work_base(self) -> int:
        return self.capture_base + len(self.captures)

    @cached_property
    def shape_base(self) -> int:
        return self.work_base + len(self.program.works)

    def shape_slot(self, k: int) -> int:
        """Where the shape of `fresh[k]` begins."""
        return self.shape_base + sum(len(b.shape) for b in self.fresh[:k])

    @cached_property
    def dtype_base(self) -> int:
        return self.shape_slot(len(self.fresh))

    @cached_property
    def host_base(self) -> int:
        return self.dtype_base + len(self.scalar_dtypes)

    @cached_property
    def size(self) -> int:
        return self.host_base + len(self.program.hosts)

    def workspace(self) -> tuple[list[int], int]:
        """Offsets of the work buffers, and bytes in all."""
        offsets, end = [], 0
        for buffer in self.program.works:
            offsets.append(end)
            end += -(-buffer.size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return offsets, end

    def values(
        self, captured: Sequence[np.ndarray], hosts: Sequence[np.ndarray]
    ) -> list[int]:
        """The block's content for this trace, workspace address still 0."""
        head = [0, 0, self.workspace()[1], id(None), id(np.ndarray), 0]
        return [*head, *self.slots.values(), *self.section(captured, hosts)]

    def section(
        self, captured: Sequence[np.ndarray], hosts: Sequence[np.ndarray]
    ) -> list[int]:
        """What comes behind ints and constants, which several programs may share."""
        return [
            *map(id, captured),
            *self.workspace()[0],
            *[n for b in self.fresh for n in b.shape],
            *[id(dtype) for dtype in self.scalar_dtypes],
            *[host.ctypes.data for host in hosts],
        ]
