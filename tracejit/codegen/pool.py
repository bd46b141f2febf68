"""Memory of large results, taken back when the caller's last reference dies.

Fresh memory costs a page fault for every 4 KB, which is more than the arithmetic of
many kernels.  A large output array is a view of a `Lease`; the lease dies with the last
array that refers to it, never before, and its memory serves the next call.
Idle memory is bounded; what would exceed the bound goes back to the system.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

__all__ = ["LARGE", "Lease", "Pool"]

#: Arrays of at least so many bytes come from the pool.
LARGE = 256 * 1024
_ALIGNMENT = 64


class Lease:
    """Memory lent to one array and its views."""

    __slots__ = ("__array_interface__", "block", "pool")

    def __init__(
        self, pool: Pool, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.pool, self.block = pool, block
        address = -(-block.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self.__array_interface__: dict[str, Any] = {
            "data": (address, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self) -> None:
        self.pool.give(self.block)


class Pool:
    """Blocks of memory by size; `limit` bounds the idle bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.idle = 0
        self._blocks: dict[int, list[np.ndarray]] = {}
        # Reentrant: a lease may die, by garbage collection, inside `take`.
        self._lock = threading.RLock()

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of undefined content, whose memory comes back when it dies."""
        size = dtype.itemsize
        for n in shape:
            size *= n
        # Few sizes, so that arrays of nearly equal length share blocks.
        step = 1 << max(size.bit_length() - 4, 12)
        size = -(-size // step) * step
        with self._lock:
            blocks = self._blocks.get(size)
            block = blocks.pop() if blocks else None
            if block is not None:
                self.idle -= size
        if block is None:
            block = np.empty(size + _ALIGNMENT, np.uint8)
        return np.asarray(Lease(self, block, shape, dtype))

    def give(self, block: np.ndarray, alignment: int = _ALIGNMENT) -> None:
        """Take a block back, or let it go.

        `alignment` is a default, since at the interpreter's end globals are gone.
        """
        size = block.size - alignment
        with self._lock:
            if self.idle + size <= self.limit:
                self.idle += size
                self._blocks.setdefault(size, []).append(block)

    def clear(self) -> None:
        """Give all idle memory back to the system."""
        with self._lock:
            self._blocks.clear()
            self.idle = 0
