"""Every error that tracejit raises, and the one form in which all are worded.

A message has three parts: the user's file and line, what went wrong with names,
shapes and dtypes, and one concrete way out.  `message` puts them in that order.
Each class also subclasses what a NumPy user would expect to catch.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "AutogradError",
    "CheckError",
    "ConcretizationError",
    "DifferentiationError",
    "InvalidTapeError",
    "RandomDrawError",
    "TracejitError",
    "UnknownPathError",
    "UnsupportedError",
    "message",
]


class TracejitError(Exception):
    """Base class of all errors that tracejit itself raises."""


class UnsupportedError(TracejitError, TypeError):
    """A function, dtype or use that cannot be recorded."""


class ConcretizationError(TracejitError, TypeError):
    """A traced value would have become an untraced one (`float(x)`, `math.sin(x)`)."""


class ArgumentError(TracejitError, TypeError, ValueError):
    """A transform was called with arguments it cannot use."""


class DifferentiationError(TracejitError, TypeError):
    """A derivative was asked for where there is none (integers, comparisons)."""


class RandomDrawError(TracejitError, RuntimeError):
    """The function drew random numbers while it was recorded."""


class AutogradError(TracejitError, RuntimeError):
    """A variable of `tracejit.autograd` was used against the rules of its history."""


class InvalidTapeError(TracejitError, ValueError):
    """The verifier found a tape that breaks the rules of the IR."""


class UnknownPathError(TracejitError, RuntimeError):
    """Compiled code took a path that was not recorded (`f.njit`)."""


class CheckError(TracejitError, AssertionError):
    """A kernel's answer differs from the interpreter's (`TRACEJIT_CHECK=1`)."""


def message(what: str, *, where: str = "", way_out: str = "") -> str:
    """Return `where: what. way_out`, the form of every message.

    Args:
        what: the mistake, one sentence without the final full stop.
        where: the user's position, `file.py:12 in loss`; empty if there is none.
        way_out: one thing to write instead, a full sentence without full stop.

    Example:
        >>> message("no rule for 'fft'", where="m.py:3 in f", way_out="Write dot")
        "m.py:3 in f: no rule for 'fft'. Write dot."
    """
    head = f"{where}: " if where else ""
    tail = f" {way_out}." if way_out else ""
    return f"{head}{what}.{tail}"
