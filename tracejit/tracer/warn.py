"""NumPy's floating-point warnings, issued at the user's line.

NumPy would blame the line that calls it, which is ours.  So while a primitive runs,
what NumPy would warn about calls back here instead; what the user asked for with
`np.errstate` (ignore, raise, a callback of their own) stays as it is.
"""

from __future__ import annotations

import contextvars
import threading
import warnings
from typing import Any, NoReturn

import numpy as np

from ..errors import UnsupportedError, message
from ..primitive import Primitive
from .frames import user_frame, where

__all__ = [
    "ErrorStates",
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


#: What `np.errstate` may be told that makes a floating-point error an event.
_EVENTS = {"raise", "call", "print", "log"}


class ErrorStates:
    """What floating-point errors do during one recording.

    A kernel notices none of them.  So a function whose own code makes them raise, or
    collects warnings, may not compute under that: it is refused.  What holds where the
    function is called is the caller's affair (docs/pitfalls.md).

    Attributes:
        ours: the user's error states, each with ours, which calls back.
        users: that of the caller.
    """

    def __init__(self) -> None:
        self.ours: dict[Any, Any] = {}
        self.users, self.modes = _error_state.get(None), dict(np.geterr())
        self.filters, self.first = warnings.filters, _first_filter()
        self.shows = _shows()

    def of(self, users: Any) -> Any:
        """Our error state for one of the user's that is new."""
        for kind, mode in np.geterr().items():
            if mode in _EVENTS and mode != self.modes[kind]:
                self._refuse(f"np.errstate({kind}={mode!r})")
        ours = self.ours[users] = _calling_back()
        return ours

    def check_filters(self) -> None:
        """Refuse what turns warnings into errors, or collects them."""
        if _shows() != self.shows:
            self._refuse("warnings.catch_warnings(record=True)")
        first = _first_filter()
        if first is None or first is self.first:
            return
        action, _, category, *_ = first
        if action == "error" and issubclass(RuntimeWarning, category):
            self._refuse("warnings.simplefilter('error')")

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedError(
            message(
                f"floating-point errors under {what} cannot be recorded: compiled code "
                "does not notice them",
                where=where(),
                way_out="Test the values, with np.isfinite for example",
            )
        )


def _first_filter() -> Any:
    return warnings.filters[0] if warnings.filters else None


def _shows() -> tuple:
    """What warnings are shown by; `catch_warnings(record=True)` exchanges it."""
    return warnings.showwarning, getattr(warnings, "_showwarnmsg_impl", None)


def run_noisy(
    prim: Primitive, args: list[Any], params: dict[str, Any], states: ErrorStates
) -> Any:
    """Compute a primitive, its warnings pointing at the user's line."""
    if warnings.filters is not states.filters or states.first is not _first_filter():
        states.check_filters()
    users = _error_state.get(None)
    ours = states.ours.get(users)
    if ours is None:
        ours = states.of(users)
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


def goes_quietly(states: ErrorStates, function: Any, *args: Any) -> bool:
    """Call a function; whether it neither raised nor would have warned the user.

    False, too, where the user is called back, or has changed what errors do since the
    last primitive was computed: then `run_noisy` is to look at it.
    """
    users = _error_state.get(None)
    if users is not states.users and users not in states.ours:
        return False
    if warnings.filters is not states.filters or states.first is not _first_filter():
        return False
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
