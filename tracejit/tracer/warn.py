"""NumPy's floating-point warnings, issued at the user's line.

NumPy would blame the line that calls it, which is ours.  So while a primitive runs,
what NumPy would warn about calls back here instead; what the user asked for with
`np.errstate` (ignore, raise, a callback of their own) stays as it is.
"""

from __future__ import annotations

import contextvars
import threading
import warnings
from typing import Any

import numpy as np

from ..primitive import Primitive
from .frames import user_frame

__all__ = [
    "call_noisy",
    "call_silent",
    "goes_quietly",
    "has_error_state",
    "run_noisy",
    "warn",
]

#: NumPy's word for a primitive in its warnings, where it is not the primitive's name.
_NUMPY_WORDS = {
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "pow": "power",
    "abs": "absolute",
    "modulus": "absolute",
    "neg": "negative",
    "mod": "remainder",
    "sum": "reduce",
    "prod": "reduce",
    "cumsum": "accumulate",
    "cumprod": "accumulate",
    "dot": "matmul",
}


def _find_error_state() -> contextvars.ContextVar[Any]:
    """The context variable that `np.errstate` sets.

    It has no public name, but every context lists it.  Setting it to a state that
    `np.errstate` made before takes 0.15 µs; entering `np.errstate` anew takes 2 µs,
    and this is done for every instr that is recorded.
    """
    with np.errstate(divide="ignore"):
        inside = contextvars.copy_context()
    outside = contextvars.copy_context()
    return next(v for v in inside if inside[v] is not outside.get(v))


_error_state = _find_error_state()

#: What runs in this thread, by the name that NumPy's text has for it.
_running = threading.local()


class _Callback:
    """NumPy's error callback: warns for us, and passes on what the user asked for."""

    def __init__(self, modes: dict[str, Any], users: Any) -> None:
        self.modes = modes
        self.users = users

    def __call__(self, kind: str, flag: int) -> None:
        if self.modes[_MODES[kind]] == "call":
            self.users(kind, flag)
        else:
            name = _running.name
            warn(f"{kind} encountered in {_NUMPY_WORDS.get(name, name)}")

    def write(self, text: str) -> None:
        """What the mode `log` calls."""
        self.users.write(text)


_MODES = {
    "divide by zero": "divide",
    "overflow": "over",
    "underflow": "under",
    "invalid value": "invalid",
}


def _calling_back() -> Any:
    """The user's error state, with a callback for what it would warn about."""
    modes: dict[str, Any] = dict(np.geterr())
    if "warn" not in modes.values():
        return _error_state.get()
    ours: dict[str, Any] = {k: "call" if m == "warn" else m for k, m in modes.items()}
    with np.errstate(call=_Callback(modes, np.geterrcall()), **ours):
        return _error_state.get()


def run_noisy(
    prim: Primitive, args: list[Any], params: dict[str, Any], states: dict[Any, Any]
) -> Any:
    """Compute a primitive, its warnings pointing at the user's line.

    Args:
        states: a memo from the user's error states to ours, kept for one recording.
    """
    users = _error_state.get(None)
    ours = states.get(users)
    if ours is None:
        ours = states[users] = _calling_back()
    _running.name = prim.name
    token = _error_state.set(ours)
    try:
        return prim.reference(*args, **params)
    finally:
        _error_state.reset(token)


#: The same memo for calls that belong to no recording; it is emptied when it grows.
_states: dict[Any, Any] = {}


def call_noisy(name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a NumPy function, its warnings pointing at the user's line.

    Args:
        name: how the warning's text calls the function.
    """
    users = _error_state.get(None)
    ours = _states.get(users)
    if ours is None:
        if len(_states) > 64:
            _states.clear()
        ours = _states[users] = _calling_back()
    _running.name = name
    token = _error_state.set(ours)
    try:
        return function(*args, **kwargs)
    finally:
        _error_state.reset(token)


def _silent_state() -> Any:
    with np.errstate(all="ignore"):
        return _error_state.get()


_SILENT = _silent_state()


def call_silent(function: Any, *args: Any) -> Any:
    """Call a function with NumPy's warnings off."""
    token = _error_state.set(_SILENT)
    try:
        return function(*args)
    finally:
        _error_state.reset(token)


#: The user's error states -> ours for `goes_quietly`; None where that cannot tell.
_quiet: dict[Any, Any] = {}


def _note_warning(kind: str, flag: int) -> None:
    _running.warned = True


def _noting_state() -> Any:
    """The user's error state, with a note where it would warn."""
    modes: dict[str, Any] = dict(np.geterr())
    if not {"warn", "ignore", "raise"}.issuperset(modes.values()):
        return None
    ours: dict[str, Any] = {k: "call" if m == "warn" else m for k, m in modes.items()}
    with np.errstate(call=_note_warning, **ours):
        return _error_state.get()


def goes_quietly(function: Any, *args: Any) -> bool:
    """Call a function; whether it neither raised nor would have warned the user.

    False, too, where the user wants to be called back.
    """
    users = _error_state.get(None)
    if users not in _quiet:
        if len(_quiet) > 64:
            _quiet.clear()
        _quiet[users] = _noting_state()
    ours = _quiet[users]
    if ours is None:
        return False
    _running.warned = False
    token = _error_state.set(ours)
    try:
        function(*args)
    except Exception:
        return False
    finally:
        _error_state.reset(token)
    return not _running.warned


def has_error_state() -> bool:
    """Whether the user's code runs inside `np.errstate`."""
    return _error_state.get(None) is not None


def warn(text: str, category: type[Warning] = RuntimeWarning) -> None:
    """Issue a warning at the user's line."""
    frame = user_frame()
    warnings.warn_explicit(
        text,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        # Python drops a warning whose module is None.
        module=frame.f_globals.get("__name__") or frame.f_code.co_filename,
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
