"""Threads for work that is done without the interpreter.

The threads are Python's own: what they run lets go of the GIL at once, and a call of
some hundred microseconds does not notice the handing over.  So no threading layer has
to be chosen, nested and concurrent use are harmless, and a forked process starts anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from . import config

__all__ = ["in_parallel"]

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def in_parallel(work: Callable[[int, int], object], count: int, chunks: int) -> None:
    """Call `work(lo, hi)` for ranges that make up `range(count)`, at the same time.

    The first range is done by the calling thread.  An error of any is raised.
    """
    chunks = max(1, min(chunks, count, config.THREADS))
    if chunks == 1:
        work(0, count)
        return
    bounds = [count * i // chunks for i in range(chunks + 1)]
    pool = _threads()
    others = [pool.submit(work, bounds[i], bounds[i + 1]) for i in range(1, chunks)]
    try:
        work(bounds[0], bounds[1])
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(config.THREADS - 1, 1), "tracejit")
        return _pool


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
