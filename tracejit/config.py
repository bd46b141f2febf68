"""Settings: what the environment says, the limits, and the event log.

The only module that reads the environment.  A test that wants another setting sets
the attribute here (`config.CHECK`), or the variable before tracejit is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = [
    "CHECK",
    "FULL_TRACEBACK",
    "LOG",
    "MAX_EAGER_PATHS",
    "MAX_OBJECTS",
    "MAX_SIGNATURES",
    "MAX_TRACES",
    "MAX_VARIANTS",
    "PARALLEL_WORK",
    "POOL_BYTES",
    "RESIDUAL_BYTES",
    "THREADS",
    "cache_dir",
    "log",
]


def _flag(name: str) -> bool:
    return os.environ.get(name, "0").lower() not in ("", "0", "false", "no", "off")


#: `TRACEJIT_LOG=1`: one line on stderr per trace event.
LOG = _flag("TRACEJIT_LOG")
#: `TRACEJIT_CHECK=1`: compare every answer with the interpreter and a new recording.
CHECK = _flag("TRACEJIT_CHECK")
#: `TRACEJIT_TRACEBACK=1`: leave tracejit's own frames in the traceback of errors.
FULL_TRACEBACK = _flag("TRACEJIT_TRACEBACK")

#: So many idle bytes of large results are kept for the next call (`TRACEJIT_POOL=0`:
#: none, every result is fresh memory).
POOL_BYTES = 2**29 if os.environ.get("TRACEJIT_POOL", "1") != "0" else 0


def _threads() -> int:
    """`TRACEJIT_THREADS`, or as many as the process may use."""
    given = os.environ.get("TRACEJIT_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


#: So many threads share the examples of a batch.
THREADS = _threads()
#: What a thread takes at once is at least so many scalar operations, some ten to
#: hundred microseconds.
PARALLEL_WORK = 100_000


def _memory() -> int:
    """Bytes of the machine's memory, or a guess."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**33


#: What a loop that only the run ends keeps for its derivatives may grow to so many
#: bytes (`TRACEJIT_RESIDUALS`).
RESIDUAL_BYTES = int(os.environ.get("TRACEJIT_RESIDUALS", _memory() // 4))

#: So many paths of one signature are compiled at once; a further path is interpreted,
#: and compiled when it comes back.
MAX_EAGER_PATHS = 8
#: So many signatures are kept per function, the oldest goes first.
MAX_SIGNATURES = 512
#: Of those, so many that name an object (`self`), which they keep alive.
MAX_OBJECTS = 16
#: So many traces are kept that differ only in what they captured, the oldest goes.
MAX_VARIANTS = 32
#: A signature with so many traces starts again with none.
MAX_TRACES = 1024


def cache_dir() -> Path | None:
    """The folder of compiled kernels; None if nothing is to be kept on disk.

    `TRACEJIT_CACHE=0` says no; `TRACEJIT_CACHE_DIR` names another folder than the
    user's own cache folder.  Read anew at each call.
    """
    if os.environ.get("TRACEJIT_CACHE", "1").lower() in ("0", "false", "no", "off"):
        return None
    if chosen := os.environ.get("TRACEJIT_CACHE_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "tracejit"
    except RuntimeError:  # no home folder
        return None


def log(line: str) -> None:
    """Print one event, if the log is on."""
    if LOG:
        print(line, file=sys.stderr, flush=True)
