"""What happened to one function: counters, and a sentence for each new trace."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..tape import Source
from ..tracer import GuardInfo, Recorder

__all__ = ["Counters", "Events", "Stats", "guard_text", "position"]

#: So many sentences `explain()` remembers.
_REMEMBERED = 1000


@dataclass
class Stats:
    """Counters of one function, as `stats()` gives them.

    Attributes:
        signatures: kinds of arguments seen (structure, dtypes, shapes, static values).
        traces: recordings kept; each ran the Python function once.
        guard_failures: times that a known path did not fit the values of a call.
        kernels_compiled: kernels that were compiled.
        kernels_reused: traces that found their kernel compiled already.
        hits: calls answered by a kernel without running the Python function.
        interpreted: calls answered by NumPy on the tape.
        host_calls: places in the traces' kernels where they call back into Python.
        record_seconds: time spent in recording and in the passes.
        compile_seconds: time spent in compiling.
    """

    signatures: int = 0
    traces: int = 0
    guard_failures: int = 0
    kernels_compiled: int = 0
    kernels_reused: int = 0
    hits: int = 0
    interpreted: int = 0
    host_calls: int = 0
    record_seconds: float = 0.0
    compile_seconds: float = 0.0

    def __str__(self) -> str:
        rows = []
        for field in fields(self):
            value = getattr(self, field.name)
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            rows.append(f"{field.name:<17}{shown:>8}")
        return "\n".join(rows)


class Counters(Stats):
    """The counters of a dispatcher at work.

    Attributes:
        native: one word, in which kernels count the hits of the fast path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.native = np.zeros(1, np.int64)

    def snapshot(self) -> Stats:
        """The counters of this moment."""
        counts = {field.name: getattr(self, field.name) for field in fields(Stats)}
        counts["hits"] += int(self.native[0])
        return Stats(**counts)


class Events:
    """The sentences of `explain()`, oldest first."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_REMEMBERED)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def __str__(self) -> str:
        return "\n".join(self.lines)


# --- guards in words -----------------------------------------------------------------

_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
_KEYWORDS = ("if ", "elif ", "while ", "assert ", "return ")


def position(fun: Callable) -> str:
    """Where a function is defined, `model.py:12`."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    if code is None:
        return "?"
    return f"{code.co_filename.rpartition('/')[2]}:{code.co_firstlineno}"


def source_line(source: Source | None) -> str:
    """The user's line, without indentation."""
    if source is None:
        return ""
    return linecache.getline(source.file, source.line).strip()


def guard_text(recorder: Recorder, guard: GuardInfo, was: Any) -> str:
    """What a guard decided: `m.py:13  if r > 0: was True, now False (r = -0.25)`."""
    line = source_line(guard.source).rstrip(":") or "a decision"
    operand = _operand(recorder, guard)
    tail = f" ({operand})" if operand else ""
    return f"{guard.source}  {line}: was {was}, now {guard.expected}{tail}"


def _operand(recorder: Recorder, guard: GuardInfo) -> str:
    """`r = -0.25`, if the guard tests a comparison and the source tells its names."""
    instr = recorder.producers[guard.ref.index]
    if instr is None or instr.prim.name not in _COMPARISONS:
        return ""
    value = recorder.value(recorder.ref(instr.args[0]))
    other = recorder.producers[instr.args[1]]
    if other is None or other.prim.name != "const" or np.ndim(value):
        return ""
    name = _left_side(guard.source)
    return f"{name} = {_number(value)}" if name else ""


def _number(value: Any) -> str:
    return format(float(value), ".6g") if value.dtype.kind == "f" else str(value)


def _left_side(source: Source | None) -> str:
    """The text left of the comparison in the instruction's piece of the source."""
    text = _segment(source)
    if not text:
        return ""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return ""
    if isinstance(tree, ast.UnaryOp):
        tree = tree.operand
    if isinstance(tree, ast.Compare):
        # `0 < r`: the tape may have turned the comparison round.
        sides = [tree.left, tree.comparators[0]]
        named = [s for s in sides if not isinstance(s, ast.Constant)]
        return ast.unparse(named[0]) if len(named) == 1 else ast.unparse(tree.left)
    if isinstance(tree, (ast.Name, ast.Attribute, ast.Subscript)):
        return ast.unparse(tree)
    return ""


def _segment(source: Source | None) -> str:
    if source is None:
        return ""
    positions = list(source.code.co_positions())
    index = source.lasti // 2
    if not 0 <= index < len(positions):
        return ""
    first, last, start, stop = positions[index]
    if first is None or first != last or start is None or stop is None:
        return ""
    line = linecache.getline(source.file, first)
    return line.encode()[start:stop].decode(errors="replace").strip()
