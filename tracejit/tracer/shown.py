"""Whether the text of a traced value is only shown to people.

What is printed, logged, or said by an error is not part of the computation.  Any other
text may decide something (`if len(f"{x}") > 5`), and what it says has to be guarded.
The user's bytecode tells where a text goes: each instruction has its piece of the
source, and the one that consumes a value comes later and has a piece around the
value's.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import logging
import sys
import warnings
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import numpy as np

from .frames import is_inside

__all__ = ["is_shown"]

#: Modules whose own code may make text, and whose functions show it.
_SHOWING = {logging.__name__, warnings.__name__}

#: Functions that make text of values or of text.
_TEXTS = (str, repr, ascii, format, np.array_repr, np.array_str, np.array2string)

#: Instructions that make text of values or of text.
_TEXT_OPCODES = {
    "FORMAT_VALUE",
    "FORMAT_SIMPLE",
    "FORMAT_WITH_SPEC",
    "CONVERT_VALUE",
    "BUILD_STRING",
    "BUILD_TUPLE",
    "BINARY_OP",
}
_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}

Span = tuple[int, int, int, int]


def is_shown() -> bool:
    """Whether the text that is being made is printed, logged, raised or dropped."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_inside(frame):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") in _SHOWING:
        return True
    raised = False
    for instruction, offset in _consumers(frame.f_code, frame.f_lasti):
        name = instruction.opname
        if name in ("POP_TOP", "RAISE_VARARGS"):
            return name == "POP_TOP" or raised
        if name in _CALLS:
            called = _called(frame, offset)
            if called is print or getattr(called, "__module__", "") in _SHOWING:
                return True
            raised = isinstance(called, type) and issubclass(called, BaseException)
            if not raised and called not in _TEXTS:
                return False
        elif name not in _TEXT_OPCODES:
            return False
    return False


def _consumers(code: CodeType, lasti: int) -> Iterator[tuple[dis.Instruction, int]]:
    """What an instruction's value goes through, from itself outwards."""
    spans = list(code.co_positions())
    inner = _span(spans[lasti // 2])
    for instruction in dis.get_instructions(code):
        offset = instruction.offset
        name = instruction.opname
        silent = name.startswith("LOAD_") or name in ("PRECALL", "KW_NAMES", "CACHE")
        if offset < lasti or silent or inner is None:
            continue
        span = _span(spans[offset // 2])
        if span is not None and span[:2] <= inner[:2] and span[2:] >= inner[2:]:
            yield instruction, offset
            inner = span
        elif offset == lasti:
            return


def _span(position: tuple) -> Span | None:
    """Start and end of a piece of source, as lines and columns."""
    first, last, left, right = position
    return None if None in position else (first, left, last, right)


def _called(frame: FrameType, offset: int) -> Any:
    """What the call at an offset calls, as far as names and attributes tell."""
    code = frame.f_code
    spans = list(code.co_positions())
    whole = _span(spans[offset // 2])
    assert whole is not None
    found: Any = None
    for instruction in dis.get_instructions(code):
        span = _span(spans[instruction.offset // 2])
        if instruction.offset >= offset:
            break
        if span is None or span[:2] != whole[:2]:
            continue
        name, value = instruction.opname, instruction.argval
        if name in ("LOAD_ATTR", "LOAD_METHOD"):
            found = _attribute(found, value)
        elif name == "LOAD_ASSERTION_ERROR":
            found = AssertionError
        elif name == "LOAD_CONST":
            found = value
        elif name.startswith("LOAD_") and isinstance(value, str):
            names = {**vars(builtins), **frame.f_globals, **frame.f_locals}
            found = names.get(value)
    return found


def _attribute(owner: Any, name: str) -> Any:
    """An attribute, found without running code of the user's; None if it is not."""
    if isinstance(owner, str):
        return str if name in ("format", "join") else None
    return inspect.getattr_static(owner, name, None)
