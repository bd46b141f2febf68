"""What every library routine's emission needs: sizes, memory, Fortran's arguments.

BLAS and LAPACK are SciPy's, called by symbol (`symbols` finds the addresses).  They
see column-major matrices: a row-major A is their A transposed, so C = A B is asked
for as C' = B' A', with the operands swapped and nothing copied.  Leading axes are a
loop over single matrices.  Where NumPy would raise, the kernel leaves with status -1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from ..program import Buffer, Call
from .ir import (
    BOOL,
    I64,
    Loop,
    Module,
    Value,
    Writer,
    literal,
    memory_type,
    register_type,
)
from .scalars import Scalars

__all__ = ["ONE", "ZERO", "Emitter", "Routine"]

ONE, ZERO = literal(I64, 1), literal(I64, 0)


class Emitter(Protocol):
    """What routines need of the program's emitter (`llvm.Emitter`)."""

    module: Module
    writer: Writer
    scalars: Scalars

    def integer(self, value: int) -> Value: ...
    def pointer(self, buffer: Buffer) -> str: ...
    def nsw(self, word: str, x: Value, y: Value) -> Value: ...
    def load_element(self, buffer: Buffer, address: str) -> Value: ...
    def store_scalar(self, value: Value, address: str, suffix: str) -> None: ...
    def leave_unless(
        self, holds: Value, status: Value, outcome: Value | None = None
    ) -> None: ...


class Routine:
    """What all routines need: sizes, Fortran arguments, loops over the stack."""

    def __init__(self, emitter: Emitter, call: Call) -> None:
        self.emitter, self.call = emitter, call
        self.writer, self.scalars = emitter.writer, emitter.scalars
        self.module = emitter.module
        self.dtype = call.outs[0].dtype
        self.kind = register_type(self.dtype)
        self.owned: list[str] = []

    # --- integers and addresses

    def size(self, buffer: Buffer, axis: int) -> Value:
        return self.emitter.integer(buffer.shape[axis])

    def product(self, sizes: tuple[int, ...] | list[int]) -> Value:
        result = ONE
        for n in sizes:
            value = self.emitter.integer(n)
            result = value if result is ONE else self.times(result, value)
        return result

    def times(self, x: Value, y: Value) -> Value:
        return self.emitter.nsw("mul", x, y)

    def plus(self, x: Value, y: Value) -> Value:
        return self.emitter.nsw("add", x, y)

    def minus(self, x: Value, y: Value) -> Value:
        return self.emitter.nsw("sub", x, y)

    def smaller(self, x: Value, y: Value) -> Value:
        return self.scalars.select(self.scalars.compare("<", x, y), x, y)

    def larger(self, x: Value, y: Value) -> Value:
        return self.scalars.select(self.scalars.compare(">", x, y), x, y)

    def strips(self, n: Value, width: Value) -> Value:
        """How many strips of some width cover n."""
        last = self.plus(n, self.minus(width, ONE))
        return self.writer.op(I64, f"sdiv i64 {last.text}, {width.text}")

    def at_least_one(self, x: Value) -> Value:
        return self.larger(x, ONE)

    def element(self, pointer: str, index: Value, kind: str | None = None) -> str:
        text = f"getelementptr inbounds {kind or self.kind}, ptr {pointer},"
        return self.writer.op(I64, f"{text} i64 {index.text}").text

    def load(self, pointer: str, dtype: np.dtype | None = None) -> Value:
        dtype = dtype or self.dtype
        kind = memory_type(dtype)
        return self.writer.op(
            dtype, f"load {kind}, ptr {pointer}, align {dtype.itemsize}"
        )

    def store(self, value: Value, pointer: str) -> None:
        self.emitter.store_scalar(value, pointer, "")

    @contextmanager
    def loop(self, count: Value, start: Value = ZERO) -> Iterator[Value]:
        loop = Loop(self.writer, start, count)
        yield loop.enter()
        loop.leave()

    @contextmanager
    def when(self, holds: Value) -> Iterator[None]:
        """What is emitted inside runs only if `holds`."""
        yes, go_on = self.writer.label("when"), self.writer.label("after")
        self.writer.branch(holds, yes, go_on)
        self.writer.start(yes)
        yield
        self.writer.jump(go_on)
        self.writer.start(go_on)

    def flag(self, value: bool) -> str:
        """A cell that holds a bool, so now."""
        cell = self.writer.cell("i1")
        self.writer.raw(f"store i1 {'true' if value else 'false'}, ptr {cell}")
        return cell

    def is_set(self, flag: str) -> Value:
        return self.writer.op(BOOL, f"load i1, ptr {flag}")

    def set(self, flag: str, value: Value) -> None:
        self.writer.raw(f"store i1 {value.text}, ptr {flag}")

    @contextmanager
    def stack(self, *buffers: Buffer) -> Iterator[list[str]]:
        """The addresses of one matrix of each buffer, for all leading indices."""
        lead = buffers[0].shape[:-2]
        pointers = [self.emitter.pointer(b) for b in buffers]
        if not lead:
            yield pointers
            return
        with self.loop(self.product(lead)) as i:
            yield [
                self.element(
                    p,
                    self.times(i, self.product(b.shape[len(lead) :])),
                    memory_type(b.dtype),
                )
                for p, b in zip(pointers, buffers, strict=True)
            ]

    # --- memory

    def copy(self, target: str, source: str, count: Value) -> None:
        name = "llvm.memcpy.p0.p0.i64"
        self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
        size = self.times(count, literal(I64, self.dtype.itemsize))
        self.writer.raw(
            f"call void @{name}(ptr {target}, ptr {source}, i64 {size.text}, i1 false)"
        )

    def scratch(self, count: Value, itemsize: int | None = None) -> str:
        """Memory that `free` gives back."""
        self.module.declare("malloc", "ptr", "i64")
        bytes_ = self.times(count, literal(I64, itemsize or self.dtype.itemsize))
        bytes_ = self.plus(bytes_, literal(I64, 8))
        memory = self.writer.op(I64, f"call ptr @malloc(i64 {bytes_.text})").text
        self.owned.append(memory)
        return memory

    def free(self) -> None:
        self.module.declare("free", "void", "ptr")
        for memory in self.owned:
            self.writer.raw(f"call void @free(ptr {memory})")

    # --- Fortran calls

    def integer(self, value: Value) -> str:
        """The address of a 32-bit integer."""
        cell = self.writer.cell("i32")
        narrow = self.writer.op(I64, f"trunc i64 {value.text} to i32").text
        self.writer.raw(f"store i32 {narrow}, ptr {cell}, align 4")
        return cell

    def letter(self, value: str) -> str:
        cell = self.writer.cell("i8")
        self.writer.raw(f"store i8 {ord(value)}, ptr {cell}, align 1")
        return cell

    def number(self, value: float) -> str:
        cell = self.writer.cell(self.kind)
        self.store(literal(self.dtype, value), cell)
        return cell

    def fortran(self, library: str, name: str, *args: str) -> None:
        """Call a routine; arguments are addresses."""
        letter = "s" if self.dtype.itemsize == 4 else "d"
        symbol = f"tracejit_{library}_{letter}{name}"
        self.module.declare(symbol, "void", *["ptr"] * len(args))
        operands = ", ".join(f"ptr {a}" for a in args)
        self.writer.raw(f"call void @{symbol}({operands})")

    def information(self) -> tuple[str, str]:
        """Cells: LAPACK's info of one call, and whether any was not zero."""
        return self.writer.cell("i32"), self.flag(False)

    def failed(self, info: str) -> Value:
        value = self.writer.op(I64, f"load i32, ptr {info}, align 4").text
        return self.writer.op(BOOL, f"icmp ne i32 {value}, 0")

    def note(self, info: str, bad: str) -> None:
        """Remember a failure until scratch memory is given back."""
        self.set(bad, self.scalars.logical("or", self.is_set(bad), self.failed(info)))

    def leave_if(self, bad: str) -> None:
        self.emitter.leave_unless(
            self.scalars.logical_not(self.is_set(bad)), literal(I64, -1)
        )
