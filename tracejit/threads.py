"""A pool of threads for drivers (`codegen.driver`), which need no interpreter.

The threads are Python's, so that it knows of them, but each has gone into compiled
code for good and holds no lock of the interpreter (`codegen.workers`): a batch of some
hundred microseconds is worth sharing.  Callers at the same time are harmless, the
second one works alone; a forked process starts anew; where the system has no POSIX
threads the caller does all work.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any, NamedTuple

import numpy as np

from . import config
from .codegen import engine, workers
from .kernel import load_code, structural_key

__all__ = ["Job", "in_parallel"]

#: Chunks per thread at most, so that one that is late leaves little to wait for.
_CHUNKS = 16


class Job:
    """Examples for a driver.

    Args:
        address: of the driver.
        operands: addresses of its parameters, its table, its index (or 0), and the
            room for examples that got no answer.
        count: of the examples.
        space: bytes of a workspace, a multiple of `alignment`, and `alignment`.
        chunks: so many at most.
    """

    def __init__(
        self,
        address: int,
        operands: tuple[int, int, int, int],
        count: int,
        space: tuple[int, int],
        chunks: int,
    ) -> None:
        self.threads = max(1, min(config.THREADS, chunks))
        wanted = 1 if self.threads == 1 else min(chunks, _CHUNKS * self.threads)
        self.size = -(-count // max(1, wanted))
        self.chunks = -(-count // self.size)
        self.misses = np.zeros(self.chunks, np.int64)
        size, alignment = space
        self._memory = np.empty(size * self.threads + alignment, np.uint8)
        start = -(-self._memory.ctypes.data // alignment) * alignment
        fields = {
            **dict(zip(("params", "table", "index", "left"), operands, strict=True)),
            "function": address,
            "count": count,
            "size": self.size,
            "chunks": self.chunks,
            "next": 0,
            "misses": self.misses.ctypes.data,
            "work": start,
            "bytes": size,
            "came": 0,
            "threads": self.threads,
        }
        self._words = np.array([fields[name] for name in workers.JOB], np.int64)
        self.address: int = self._words.ctypes.data

    def missed(self) -> list[tuple[int, int]]:
        """Where in the room misses stand: first row and number, in order."""
        found = np.flatnonzero(self.misses)
        return [(int(c) * self.size, int(self.misses[c])) for c in found]


class _Code(NamedTuple):
    """What `codegen.workers` defines; the last two are None without threads."""

    work: Any
    run: Any
    worker: Any


class _Pool:
    """Threads, and the memory by which they are told of a job."""

    def __init__(self) -> None:
        # Never given back: threads sleep in it to the end.
        words = ctypes.create_string_buffer(8 * workers.POOL_WORDS + 64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(words))
        self.address = -(-ctypes.addressof(words) // 64) * 64
        workers.initialise(self.address)
        self.count = 0

    def grow(self, wanted: int, worker: Any) -> None:
        """Have so many threads beside the caller's."""
        while self.count < wanted:
            name = f"tracejit-{self.count}"
            thread = threading.Thread(
                target=worker, args=(self.address,), name=name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # no more threads: fewer do as well
                return
            self.count += 1


_lock = threading.Lock()
_pool: _Pool | None = None
_code: _Code | None = None


def in_parallel(job: Job) -> None:
    """Do a job, at the same time on as many threads as it may have.

    Compiled code only: the driver must not call back into Python.
    """
    global _code, _pool
    with _lock:
        code = _code = _code or _load()
        if job.threads > 1 and code.run is not None:
            pool = _pool = _pool or _Pool()
            pool.grow(job.threads - 1, code.worker)
        else:
            pool = None
    if pool is None:
        code.work(job.address)
    else:
        code.run(pool.address, job.address)


def _load() -> _Code:
    system = workers.functions()
    shared = system is not None
    engine.name_symbols(system or {})
    key = structural_key(workers.assembly("workers", shared))
    name = f"tracejit_workers_{key[:40]}"
    load_code(key, lambda: workers.assembly(name, shared), level=1)
    one = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    two = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    work = one(engine.address(f"{name}_work"))
    if not shared:
        return _Code(work, None, None)
    run, worker = engine.address(f"{name}_run"), engine.address(f"{name}_worker")
    return _Code(work, two(run), one(worker))


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
