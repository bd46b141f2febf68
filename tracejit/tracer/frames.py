"""Where the user's code is: the first frame outside tracejit, NumPy and SciPy."""

from __future__ import annotations

import builtins
import dis
import linecache
import os.path
import re
import sys
from types import CodeType, FrameType, ModuleType

import numpy as np
import scipy

from ..tape import Source

__all__ = [
    "Concretized",
    "is_calling",
    "is_inside",
    "outermost_library_call",
    "user_frame",
    "user_source",
    "where",
]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = tuple(
    os.path.dirname(os.path.abspath(str(module.__file__))) + os.sep
    for module in (np, scipy)
)
_INSIDE = (_PACKAGE + os.sep, *_LIBRARIES)

#: file name -> whether it is ours, NumPy's or SciPy's; a string hashes once only.
_memo: dict[str, bool] = {}


def _inside(filename: str) -> bool:
    found = filename.startswith((*_INSIDE, "<__array_function__"))
    _memo[filename] = found
    return found


def is_inside(frame: FrameType) -> bool:
    """Whether a frame is tracejit's, NumPy's or SciPy's."""
    filename = frame.f_code.co_filename
    inside = _memo.get(filename)
    return _inside(filename) if inside is None else inside


def user_frame() -> FrameType:
    """The innermost frame of the user's code (the outermost frame if there is none)."""
    frame = sys._getframe(1)
    while True:
        filename = frame.f_code.co_filename
        inside = _memo.get(filename)
        if inside is None:
            inside = _inside(filename)
        if not inside:
            return frame
        caller = frame.f_back
        if caller is None:
            return frame
        frame = caller


def user_source() -> Source:
    """The source position that a new instr is stamped with."""
    frame = user_frame()
    return Source(frame.f_code, frame.f_lasti)


def where(source: Source | None = None) -> str:
    """The user's position as errors print it: `model.py:12 in loss`."""
    if source is None:
        source = user_source()
    return f"{source} in {source.function}"


def outermost_library_call() -> str:
    """The NumPy or SciPy function that the user called, if it is written in Python.

    Returns a dotted name such as `scipy.special.logsumexp`, or an empty string when
    no frame of NumPy or SciPy stands between the user and us.
    """
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None:
        code = frame.f_code
        if not is_inside(frame):
            break
        if code.co_filename.startswith(_LIBRARIES):
            name = _public_name(frame)
        frame = frame.f_back
    return name


#: Modules of NumPy whose functions have names that are also functions of `np`.
_OTHERS = ("numpy.polynomial", "numpy.ma", "numpy.testing", "numpy.matrixlib")


def _public_name(frame: FrameType) -> str:
    """The name by which the user knows a library's function (or its class)."""
    module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
    if name.startswith("__"):
        name = type(frame.f_locals.get("self")).__name__
        name = {"RClass": "r_", "CClass": "c_"}.get(name, name)
    of_np = module.startswith("numpy") and not module.startswith(_OTHERS)
    if of_np and hasattr(np, name):
        return f"np.{name}"
    public = [part for part in module.split(".") if not part.startswith("_")]
    return ".".join([*public, name])


_calls: dict[tuple[int, int], tuple[CodeType, str, str]] = {}


def is_calling(frame: FrameType, name: str, functions: tuple[object, ...]) -> bool:
    """Whether a frame's code itself is calling one of some functions.

    If it is not, it calls C code that does: a method of Cython's calls `np.empty` with
    no frame of its own.

    Args:
        name: of the functions, as an attribute.
        functions: any of them may be known by another name.
    """
    code = frame.f_code
    key = id(code), frame.f_lasti
    if key not in _calls or _calls[key][0] is not code:
        _calls[key] = (code, *_callee(code, frame.f_lasti))
    _, opcode, called = _calls[key]
    if "ATTR" in opcode or "METHOD" in opcode:
        return called == name
    spaces = (frame.f_locals, frame.f_globals) if called else ()
    for space in spaces:
        if called in space:
            return any(space[called] is f for f in functions)
    return False


def _callee(code: CodeType, lasti: int) -> tuple[str, str]:
    """The instruction that loads what is called, and its name; "" if unknown."""
    spans = list(code.co_positions())
    line, _, column, _ = whole = spans[lasti // 2]
    found = "", ""
    if None in whole:
        return found
    for instruction in dis.get_instructions(code):
        if instruction.offset >= lasti:
            break
        first, _, left, _ = spans[instruction.offset // 2]
        loads = instruction.opname.startswith("LOAD_")
        if loads and (first, left) == (line, column):
            found = instruction.opname, str(instruction.argval)
    return found


class Concretized:
    """What the user's code was doing when a traced value was asked for its number.

    Only for the wording of errors: C code (`math.sin`, item assignment) has no frame,
    so the instruction and the text of the user's line are all there is to see.

    Attributes:
        opcode: name of the user's current instruction (`CALL`, `STORE_SUBSCR`).
        called: the function that was called, `math.sin`; empty if none was.
    """

    def __init__(self) -> None:
        frame = user_frame()
        code, lasti = frame.f_code, frame.f_lasti
        self.opcode = dis.opname[code.co_code[lasti]] if lasti >= 0 else ""
        self.called = ""
        if self.opcode.startswith(("BINARY", "STORE", "COMPARE")) or lasti < 0:
            return
        positions = list(code.co_positions())[lasti // 2]
        first, last, left, right = positions
        if first is None or last is None:
            return
        # linecache is what tracebacks read too; it knows notebooks' cells.
        line = linecache.getline(code.co_filename, first, frame.f_globals)
        stop = right if first == last else None
        text = line.encode()[left:stop].decode(errors="replace")
        if match := re.match(r"([\w.]+)\(", text):
            self.called = _own_name(match[1], frame)


def _own_name(written: str, frame: FrameType) -> str:
    """The name of a function by its module, whatever the user calls it."""
    first, *rest = written.split(".")
    found: object = {**vars(builtins), **frame.f_globals, **frame.f_locals}.get(first)
    for name in rest:
        found = vars(found).get(name) if isinstance(found, ModuleType) else None
    module = getattr(found, "__module__", None)
    if not isinstance(module, str) or not hasattr(found, "__name__"):
        return written
    module = {"builtins": "", "numpy": "np"}.get(module, module.lstrip("_"))
    name = getattr(found, "__name__", written)
    return f"{module}.{name}" if module else name
