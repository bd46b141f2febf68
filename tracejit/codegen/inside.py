"""A function's known paths as one C function that compiled code can call or inline.

    i64 NAME(results, args..., array outputs...)

Args of shape () come by value; arrays, and complex numbers, as pointers to contiguous
data of the recorded shape.  The paths are tried one after the other; the first that
answers ends it, with status 0.  `results` gets the outputs of shape (), eight bytes
each.

Unlike a kernel's body it stands alone: parameters are constants of the module, so that
LLVM folds them into the code of whoever inlines it; addresses of captured arrays are
literals; the workspace is allocated at the first call and kept for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..avals import Aval
from ..passes.lower import lower
from ..program import Buffer, For, Program, walk
from ..tape import Tape
from .host import Descriptor, descriptors
from .ir import I64, Module, Writer, memory_type
from .ir import register_type as register
from .layout import ALIGNMENT, FIRST, Layout
from .llvm import REALIGN, emit_body
from .source import print_program

__all__ = ["Path", "inside_assembly"]


@dataclass(frozen=True, eq=False)
class Path:
    """One path: its tape, whose last inputs are the captured arrays."""

    tape: Tape
    captures: tuple[np.ndarray, ...]

    @cached_property
    def layout(self) -> Layout:
        program = lower(self.tape, len(self.captures))
        return Layout(program, print_program(program).slots)

    @property
    def program(self) -> Program:
        return self.layout.program

    @cached_property
    def hosts(self) -> list[Descriptor]:
        return descriptors(self.program)

    def parameters(self) -> list[int]:
        """The block's slots as far as a body reads them."""
        layout = self.layout
        values = [0] * FIRST + [*layout.slots.values(), *[0] * len(self.captures)]
        values += layout.workspace()[0]
        values += [0] * (layout.host_base - len(values))
        return values + [host.ctypes.data for host in self.hosts]


def inside_assembly(paths: list[Path], name: str) -> str:
    """The LLVM module that defines `NAME`; all paths have equal inputs and outputs."""
    module = Module()
    for k, path in enumerate(paths):
        emit_body(module, path.layout, f"{name}_body{k}", inlined=True)
    module.functions[name] = _Inside(module, paths, name).function()
    # By a global of such a name Numba knows code that must not go to disk: neither
    # this, which has addresses of this process, nor that of any caller, which would
    # still be there when the function is another one.
    mark = f"numba.dynamic.globals.{name}"
    module.vectors[mark] = f"@{mark} = linkonce_odr global i64 0, align 8"
    return str(module)


def _aval(output: Buffer | int, program: Program) -> Aval:
    """An output as it is in memory: complex numbers are their parts."""
    if isinstance(output, Buffer):
        return Aval(output.shape, output.dtype)
    return Aval((), program.dtypes[output])


class _Inside:
    def __init__(self, module: Module, paths: list[Path], name: str) -> None:
        self.module, self.paths, self.name = module, paths, name
        self.writer = Writer(module)
        self.avals = [_aval(o, paths[0].program) for o in paths[0].program.outputs]

    def op(self, text: str) -> str:
        return self.writer.op(I64, text).text

    def function(self) -> str:
        writer, leaves = self.writer, self.paths[0].layout.leaves
        heads = ["ptr noalias %results"]
        for k, buffer in enumerate(leaves):
            kind = "ptr" if buffer.shape else register(buffer.dtype)
            heads.append(f"{kind} %arg{k}")
        arrays = [j for j, aval in enumerate(self.avals) if aval.shape]
        heads += [f"ptr noalias %out{j}" for j in arrays]
        status = writer.cell("i64")
        work = self.take_workspace()
        for k, path in enumerate(self.paths):
            self.path(k, path, work, status)
        writer.start("end")
        self.give_workspace(work)
        writer.raw(f"ret i64 {self.op(f'load i64, ptr {status}')}")
        head = f"define i64 @{self.name}({', '.join(heads)}) nounwind"
        loops = any(
            isinstance(s, For) for p in self.paths for s in walk(p.program.body)
        )
        return writer.finish(head + (REALIGN if loops else ""))

    def path(self, k: int, path: Path, work: str, status: str) -> None:
        """Run body k; go to the end, or to the next body if it leaves."""
        writer, layout = self.writer, path.layout
        values = ", ".join(f"i64 {value}" for value in path.parameters())
        params = f"@{self.name}_params{k}"
        # Among the functions, since it is part of what they are.
        self.module.functions[params] = (
            f"{params} = private unnamed_addr constant "
            f"[{len(path.parameters())} x i64] [{values}], align 8"
        )
        results = writer.first(
            I64, f"alloca [{2 + len(layout.scalars)} x i64], align 8"
        ).text
        given = [f"ptr {params}", f"ptr {work}", f"ptr {results}"]
        for j, buffer in enumerate(layout.leaves):
            kind = "ptr" if buffer.shape else register(buffer.dtype)
            given.append(f"{kind} %arg{j}")
        for array in path.captures:
            given.append(f"ptr inttoptr (i64 {array.ctypes.data} to ptr)")
        target = self.targets(layout)
        given += [f"ptr %out{target[id(buffer)]}" for buffer in layout.arrays]
        found = writer.call("i64", f"@{self.name}_body{k}", *given)
        writer.raw(f"store i64 {found}, ptr {status}")
        last = k == len(self.paths) - 1
        good = self.op(f"icmp eq i64 {found}, 0")
        further = "end" if last else f"path{k + 1}"
        writer.raw(f"br i1 {good}, label %done{k}, label %{further}, !prof !1")
        writer.start(f"done{k}")
        self.collect(layout, results, target)
        writer.jump("end")
        if not last:
            writer.start(f"path{k + 1}")

    def targets(self, layout: Layout) -> dict[int, int]:
        """The output that each buffer is, the first if it is several."""
        found: dict[int, int] = {}
        for j, output in enumerate(layout.program.outputs):
            if isinstance(output, Buffer) and output.kind == "out":
                found.setdefault(id(output), j)
        return found

    def collect(self, layout: Layout, results: str, target: dict[int, int]) -> None:
        """Move scalars to `results`, and what is an input or an output twice."""
        writer, slot = self.writer, 0
        for j, (output, aval) in enumerate(
            zip(layout.program.outputs, self.avals, strict=True)
        ):
            if not aval.shape:
                to = self.op(f"getelementptr inbounds i64, ptr %results, i64 {slot}")
                slot += 1
                kind = memory_type(aval.dtype)
                writer.raw(
                    f"store {kind} {self.scalar(layout, results, output)}, ptr {to}"
                )
                continue
            assert isinstance(output, Buffer)
            if output.kind == "arg":
                number = [id(b) for b in layout.program.args].index(id(output))
                source = self.argument(layout, number)
            elif target[id(output)] == j:
                continue
            else:
                source = f"%out{target[id(output)]}"
            name = "llvm.memcpy.p0.p0.i64"
            self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
            size = aval.size * aval.dtype.itemsize
            writer.raw(
                f"call void @{name}(ptr %out{j}, ptr {source}, i64 {size}, i1 false)"
            )

    def argument(self, layout: Layout, number: int) -> str:
        if number < len(layout.leaves):
            return f"%arg{number}"
        array = self.path_of(layout).captures[number - len(layout.leaves)]
        return f"inttoptr (i64 {array.ctypes.data} to ptr)"

    def path_of(self, layout: Layout) -> Path:
        return next(path for path in self.paths if path.layout is layout)

    def scalar(self, layout: Layout, results: str, output: Buffer | int) -> str:
        """An output of shape (), as it stands in memory."""
        if not isinstance(output, Buffer):
            slot = 2 + layout.scalars.index(output)
            at = self.op(f"getelementptr inbounds i64, ptr {results}, i64 {slot}")
            kind = memory_type(layout.program.dtypes[output])
            return self.op(f"load {kind}, ptr {at}")
        number = [id(b) for b in layout.program.args].index(id(output))
        value, kind = self.argument(layout, number), memory_type(output.dtype)
        if number >= len(layout.leaves):
            return self.op(f"load {kind}, ptr {value}")
        if output.dtype.kind == "b":
            return self.op(f"zext i1 {value} to i8")
        return value

    # --- the workspace: one is kept, a call that finds it taken makes its own

    @property
    def bytes(self) -> int:
        return max(path.layout.workspace()[1] for path in self.paths)

    def take_workspace(self) -> str:
        if not self.bytes:
            return "null"
        free = f"@{self.name}_free"
        self.module.functions[free] = f"{free} = internal global i64 0, align 8"
        self.module.declare("aligned_alloc", "ptr", "i64", "i64")
        writer, cell = self.writer, self.writer.cell("ptr")
        known = self.op(f"atomicrmw xchg ptr {free}, i64 0 acquire, align 8")
        writer.raw(f"store ptr {self.op(f'inttoptr i64 {known} to ptr')}, ptr {cell}")
        none = self.op(f"icmp eq i64 {known}, 0")
        writer.raw(f"br i1 {none}, label %allocate, label %ready")
        writer.start("allocate")
        made = self.op(
            f"call ptr @aligned_alloc(i64 {ALIGNMENT}, i64 {self.bytes + ALIGNMENT})"
        )
        writer.raw(f"store ptr {made}, ptr {cell}")
        writer.jump("ready")
        writer.start("ready")
        return self.op(f"load ptr, ptr {cell}")

    def give_workspace(self, work: str) -> None:
        if not self.bytes:
            return
        self.module.declare("free", "void", "ptr")
        writer = self.writer
        number = self.op(f"ptrtoint ptr {work} to i64")
        before = self.op(
            f"atomicrmw xchg ptr @{self.name}_free, i64 {number} release, align 8"
        )
        writer.raw(f"call void @free(ptr {self.op(f'inttoptr i64 {before} to ptr')})")
