"""The recording that is going on in a thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from ..errors import ConcretizationError

__all__ = ["SERVED", "active_recorder", "paused", "recording"]

_local = threading.local()

#: NumPy's functions as they look while anybody records, by module and name
#: (`numpy_api.creation` fills this): they serve tracers and pass all else through.
SERVED: dict[tuple[ModuleType, str], Callable[..., Any]] = {}

_lock = threading.Lock()
_recordings = 0
#: Whether the garbage collector was on when the first of them began.  A recording makes
#: nothing but objects that stay, a dozen an instr, so that the collector would go
#: through all of them again and again: most of the time of a long loop.
_collecting = False
_originals: dict[tuple[ModuleType, str], Callable[..., Any]] = {}


class paused:
    """Let this thread run code that is not recorded.

    Example:
        >>> from tracejit.tracer import Recorder
        >>> with recording(Recorder()), paused():
        ...     active_recorder() is None
        True
    """

    def __enter__(self) -> None:
        _local.__dict__.setdefault("stack", []).append(None)

    def __exit__(self, *_: object) -> None:
        _local.stack.pop()


def active_recorder() -> Any:
    """The recorder of this thread's innermost recording, if there is one."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


class recording:
    """Make `recorder` the active one of this thread; everything is put back on exit.

    Example:
        >>> from tracejit.tracer import Recorder
        >>> rec = Recorder()
        >>> with recording(rec):
        ...     active_recorder() is rec
        True
        >>> active_recorder() is None
        True
    """

    def __init__(self, recorder: Any) -> None:
        self.recorder = recorder

    def __enter__(self) -> Any:
        global _collecting, _recordings
        stack = _local.__dict__.setdefault("stack", [])
        with _lock:
            if _recordings == 0:
                _collecting = gc.isenabled()
                gc.disable()
                for (module, name), served in SERVED.items():
                    _originals[module, name] = getattr(module, name)
                    setattr(module, name, served)
            _recordings += 1
        stack.append(self.recorder)
        self.recorder.closed = False
        return self.recorder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _recordings
        _local.stack.pop()
        self.recorder.closed = self.recorder not in _local.stack
        with _lock:
            _recordings -= 1
            if _recordings == 0:
                for (module, name), original in _originals.items():
                    setattr(module, name, original)
                _originals.clear()
                if _collecting:
                    gc.enable()
        cause = getattr(error, "__cause__", None)
        if isinstance(error, ValueError) and isinstance(cause, ConcretizationError):
            # NumPy says "setting an array element with a sequence" about out[i] = t.
            raise cause.with_traceback(error.__traceback__) from None
