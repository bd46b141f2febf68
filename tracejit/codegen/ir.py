"""LLVM assembly as text: a module, a function under construction, typed values.

LLVM reads its own textual form in a few milliseconds, and text takes a fraction of the
time that building the same instructions as Python objects does; it also has room for
the metadata and attributes that vectorisation needs.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "I64",
    "Loop",
    "Module",
    "Value",
    "Writer",
    "literal",
    "memory_type",
    "register_type",
]

BOOL, I64 = np.dtype(np.bool_), np.dtype(np.int64)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


class Value(NamedTuple):
    """An operand of an instruction: its dtype and its name or literal."""

    dtype: np.dtype
    text: str


def register_type(dtype: np.dtype) -> str:
    """The LLVM type of a scalar of this dtype: `i1` for bool."""
    if dtype.kind == "f":
        return "float" if dtype.itemsize == 4 else "double"
    return "i1" if dtype.kind == "b" else f"i{8 * dtype.itemsize}"


def memory_type(dtype: np.dtype) -> str:
    """The LLVM type of an array element of this dtype: `i8` for bool."""
    return "i8" if dtype.kind == "b" else register_type(dtype)


def literal(dtype: np.dtype, value: Any) -> Value:
    """A number as an operand."""
    if dtype.kind == "f":
        bits = struct.unpack("<Q", struct.pack("<d", float(dtype.type(value))))[0]
        return Value(dtype, f"0x{bits:016X}")
    if dtype.kind == "b":
        return Value(dtype, "true" if value else "false")
    return Value(dtype, str(int(value)))


class Module:
    """Everything outside of functions: declarations, metadata, whole functions.

    Metadata node `!0` is the empty one, `!1` says that a branch is nearly always taken.
    """

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self.declarations: dict[str, str] = {}
        self.metadata: list[str] = [
            "!0 = !{}",
            '!1 = !{!"branch_weights", i32 2000, i32 1}',
        ]
        #: Vector functions that calls name in their attributes.
        self.vectors: dict[str, str] = {}
        self.attributes: dict[str, int] = {}

    def declare(self, name: str, result: str, *args: str, attributes: str = "") -> str:
        """Declare an external function; return its name as it stands in a call."""
        text = f"declare {result} @{name}({', '.join(args)}) {attributes}".rstrip()
        self.declarations.setdefault(name, text)
        return f"@{name}"

    def attribute(self, text: str) -> str:
        """The reference `#n` to a group of call attributes."""
        return f"#{self.attributes.setdefault(text, len(self.attributes))}"

    def node(self, text: str, *, distinct: bool = False) -> str:
        """Add a metadata node; `SELF` in the text stands for the node itself."""
        name = f"!{len(self.metadata)}"
        body = text.replace("SELF", name)
        self.metadata.append(f"{name} = {'distinct ' if distinct else ''}{body}")
        return name

    def __str__(self) -> str:
        parts = [t for n, t in self.declarations.items() if n not in self.functions]
        parts += self.vectors.values()
        if self.vectors:
            # What nothing names is dropped before the vectoriser could use it.
            used = ", ".join(f"ptr @{name}" for name in self.vectors)
            parts.append(
                f"@llvm.compiler.used = appending global [{len(self.vectors)} x ptr]"
                f' [{used}], section "llvm.metadata"'
            )
        parts += self.functions.values()
        parts += [f"attributes #{i} = {{ {t} }}" for t, i in self.attributes.items()]
        parts += self.metadata
        return "\n".join(parts) + "\n"


class Writer:
    """One function: instructions are appended, `entry` stays in front of them."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.block = "entry"
        self._names = 0

    def name(self, prefix: str = "%v") -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def raw(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append("  " + text)

    def op(self, dtype: np.dtype, text: str) -> Value:
        """An instruction with a result."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return Value(dtype, name)

    def first(self, dtype: np.dtype, text: str) -> Value:
        """An instruction of the entry block."""
        name = self.name("%e")
        self.entry.append(f"  {name} = {text}")
        return Value(dtype, name)

    def label(self, prefix: str) -> str:
        """A fresh name for a block."""
        return self.name(prefix)

    def start(self, label: str) -> None:
        """Begin the block of this name."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.raw(f"br label %{label}")

    def branch(self, condition: Value, yes: str, no: str) -> None:
        self.raw(f"br i1 {condition.text}, label %{yes}, label %{no}")

    def call(self, result: str, name: str, *args: str, suffix: str = "") -> str:
        """Call a declared function; the result's name, or '' of a void one."""
        text = f"call {result} {name}({', '.join(args)}) {suffix}".rstrip()
        if result == "void":
            self.raw(text)
            return ""
        return self.op(I64, text).text

    def cell(self, kind: str, count: int = 1) -> str:
        """A stack slot."""
        size = f", i64 {count}" if count != 1 else ""
        return self.first(I64, f"alloca {kind}{size}, align 8").text

    def finish(self, head: str) -> str:
        """The whole function; `head` is its `define` line."""
        return "\n".join([head + " {", "entry:", *self.entry, *self.lines, "}"])


class Loop:
    """A counted loop: `enter` gives the counter, `leave` closes it."""

    def __init__(
        self, writer: Writer, lo: Value, hi: Value, nonempty: bool = False
    ) -> None:
        self.writer, self.lo, self.hi, self.nonempty = writer, lo, hi, nonempty

    def enter(self) -> Value:
        writer = self.writer
        self.head, self.exit = writer.label("loop"), writer.label("done")
        self.before = writer.block
        if self.nonempty:
            writer.jump(self.head)
        else:
            some = writer.op(BOOL, f"icmp slt i64 {self.lo.text}, {self.hi.text}")
            writer.branch(some, self.head, self.exit)
        writer.start(self.head)
        self.counter, self.next = Value(I64, writer.name("%i")), writer.name("%j")
        self.phi = len(writer.lines)
        writer.raw("")
        return self.counter

    def leave(self) -> None:
        writer = self.writer
        writer.raw(f"{self.next} = add nuw nsw i64 {self.counter.text}, 1")
        more = writer.op(BOOL, f"icmp slt i64 {self.next}, {self.hi.text}")
        # Only now is it known which block the next round comes from.
        writer.lines[self.phi] = (
            f"  {self.counter.text} = phi i64 [ {self.lo.text}, %{self.before} ],"
            f" [ {self.next}, %{writer.block} ]"
        )
        writer.branch(more, self.head, self.exit)
        writer.start(self.exit)
