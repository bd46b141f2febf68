"""The driver: bodies of kernels for each example of a batch, one after the other.

    i64 NAME(params, work, table, index, lo, hi, left)

For k from lo up to hi the example is i = index[k], or k where `index` is null.  The
bodies are those of a path tree.  Each example begins with the first; where that leaves
at a guard behind which there is another body, it goes on there:

    example ──► body 0 ── 0 ──► outputs
                  ├─ exit 1 ──► body 1 ── 0 ──► outputs
                  │               └─ else ──► left
                  └─ else ──► left

All bodies are inlined and share one parameter block.  So what a path computes again
that was computed on the way to it is common code to LLVM and done once, what depends
on no example moves out of the loop, and scalars stay in registers.

A row of the table says where an array is: address, and bytes from one example to the
next, 0 for what all examples share.  First come the inputs, then for each link its
outputs, then the sizes of outputs that are copied.  The result is how many examples
got no answer; `left` says of each its number and its status.  Nothing here knows of
Python, except in host calls: several threads may run a driver at once, each with a
workspace of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..program import Buffer
from .host import FAILED
from .ir import I64, Loop, Module, Value, Writer, memory_type
from .ir import register_type as register
from .layout import Layout

__all__ = ["LEFT", "Link", "emit_driver"]

#: Numbers that `left` has for each example.
LEFT = 2


@dataclass(frozen=True)
class Link:
    """A body of the driver.

    Attributes:
        layout: of its program.
        rows: for each arg, its row of the table.
        exits: status, bits of the outcome, and the link where it goes on then.
    """

    layout: Layout
    rows: tuple[int, ...]
    exits: tuple[tuple[int, int, int], ...]


def emit_driver(
    module: Module, links: list[Link], inputs: int, name: str, bodies: list[str]
) -> None:
    """Define the function `name`; `inputs` rows of its table come first."""
    module.functions[name] = _Driver(module, links, inputs).function(name, bodies)


class _Driver:
    def __init__(self, module: Module, links: list[Link], inputs: int) -> None:
        self.module = module
        self.links = links
        self.inputs = inputs
        self.writer = Writer(module)
        self.scalars: dict[tuple[int, str], str] = {}

    def op(self, text: str) -> str:
        return self.writer.op(I64, text).text

    def function(self, name: str, bodies: list[str]) -> str:
        writer = self.writer
        self.count = writer.first(I64, "alloca i64, align 8").text
        writer.raw(f"store i64 0, ptr {self.count}")
        outputs = [len(link.layout.program.outputs) for link in self.links]
        entries = [self.entry(k) for k in range(self.inputs + sum(outputs))]
        loop = Loop(writer, Value(I64, "%lo"), Value(I64, "%hi"))
        example = self.example(loop.enter())
        at = [self.at(base, stride, example) for base, stride in entries]
        ins, outs = at[: self.inputs], at[self.inputs :]
        self.read_scalars(ins)
        for k, body in enumerate(bodies):
            mine, outs = outs[: outputs[k]], outs[outputs[k] :]
            if k:
                writer.start(f"link{k}")
            self.link(k, body, ins, mine, example)
        writer.start("next")
        loop.leave()
        writer.jump("end")
        writer.start("end")
        writer.raw(f"ret i64 {self.op(f'load i64, ptr {self.count}')}")
        head = (
            f"define i64 @{name}(ptr noalias %params, ptr noalias %work, "
            "ptr noalias %table, ptr noalias %index, i64 %lo, i64 %hi, "
            "ptr noalias %left) nounwind"
        )
        return writer.finish(head)

    # --- where things are

    def entry(self, k: int) -> tuple[str, str]:
        """Address and stride of the k-th row of the table."""
        first = self.writer.first
        row = first(I64, f"getelementptr inbounds i64, ptr %table, i64 {2 * k}").text
        next_ = first(I64, f"getelementptr inbounds i64, ptr {row}, i64 1").text
        base = first(I64, f"load ptr, ptr {row}, align 8").text
        return base, first(I64, f"load i64, ptr {next_}, align 8").text

    def example(self, k: Value) -> str:
        """The number of the example."""
        writer = self.writer
        none = writer.op(I64, "icmp eq ptr %index, null")
        listed, known = writer.label("listed"), writer.label("known")
        before = writer.block
        writer.branch(none, known, listed)
        writer.start(listed)
        place = self.op(f"getelementptr inbounds i64, ptr %index, i64 {k.text}")
        found = self.op(f"load i64, ptr {place}, align 8")
        writer.jump(known)
        writer.start(known)
        return self.op(f"phi i64 [ {k.text}, %{before} ], [ {found}, %{listed} ]")

    def at(self, base: str, stride: str, example: str) -> str:
        """Where this example's part of an array is."""
        offset = self.op(f"mul nsw i64 {stride}, {example}")
        return self.op(f"getelementptr inbounds i8, ptr {base}, i64 {offset}")

    def read_scalars(self, ins: list[str]) -> None:
        """Load the inputs of shape (), in front of all bodies."""
        for link in self.links:
            for row, buffer in zip(link.rows, link.layout.leaves, strict=False):
                key = (row, buffer.dtype.str)
                if buffer.shape or key in self.scalars:
                    continue
                kind, size = memory_type(buffer.dtype), buffer.dtype.itemsize
                value = self.op(f"load {kind}, ptr {ins[row]}, align {size}")
                if buffer.dtype.kind == "b":
                    value = self.op(f"icmp ne i8 {value}, 0")
                self.scalars[key] = value

    # --- one body

    def link(
        self, k: int, body: str, ins: list[str], outs: list[str], example: str
    ) -> None:
        """Run body k, and go where its status says."""
        writer, link = self.writer, self.links[k]
        layout = link.layout
        size = 2 + len(layout.scalars)
        results = writer.first(I64, f"alloca [{size} x i64], align 8").text
        target = self.targets(layout, outs)
        given = ["ptr %params", "ptr %work", f"ptr {results}"]
        for j, (row, buffer) in enumerate(
            zip(link.rows, layout.program.args, strict=True)
        ):
            if j < len(layout.leaves) and not buffer.shape:
                value = self.scalars[row, buffer.dtype.str]
                given.append(f"{register(buffer.dtype)} {value}")
            else:
                given.append(f"ptr {ins[row]}")
        given += [f"ptr {target[id(buffer)]}" for buffer in layout.arrays]
        status = writer.call("i64", f"@{body}", *given)
        cases = [f"i64 0, label %done{k}"]
        for code in dict.fromkeys(code for code, _, _ in link.exits):
            cases.append(f"i64 {code}, label %exit{k}.{code}")
        writer.raw(f"switch i64 {status}, label %left{k} [ {' '.join(cases)} ]")
        for code in dict.fromkeys(code for code, _, _ in link.exits):
            writer.start(f"exit{k}.{code}")
            ways = [(b, to) for c, b, to in link.exits if c == code]
            self.go_on(k, results, ways)
        writer.start(f"left{k}")
        self.note(example, status)
        writer.start(f"done{k}")
        self.collect(k, results, ins, outs)
        writer.jump("next")

    def targets(self, layout: Layout, outs: list[str]) -> dict[int, str]:
        """Where each array output is to be written: its first place."""
        found: dict[int, str] = {}
        for output, place in zip(layout.program.outputs, outs, strict=True):
            if isinstance(output, Buffer):
                found.setdefault(id(output), place)
        return found

    def go_on(self, k: int, results: str, ways: list[tuple[int, int]]) -> None:
        """Find the link by the outcome."""
        writer = self.writer
        bits = self.op(f"load i64, ptr {results}, align 8")
        cases = " ".join(f"i64 {value}, label %link{to}" for value, to in ways)
        writer.raw(f"switch i64 {bits}, label %left{k} [ {cases} ]")

    def note(self, example: str, status: str) -> None:
        """Write down an example that did not get an answer."""
        writer = self.writer
        count = self.op(f"load i64, ptr {self.count}")
        first = self.op(f"mul nsw i64 {count}, {LEFT}")
        for j, value in enumerate((example, status)):
            slot = self.op(f"add nsw i64 {first}, {j}")
            to = self.op(f"getelementptr inbounds i64, ptr %left, i64 {slot}")
            writer.raw(f"store i64 {value}, ptr {to}, align 8")
        more = self.op(f"add nsw i64 {count}, 1")
        writer.raw(f"store i64 {more}, ptr {self.count}")
        # An error is set: whoever called this finds it.
        failed = writer.op(I64, f"icmp eq i64 {status}, {FAILED}")
        writer.branch(failed, "end", "next")

    def collect(self, k: int, results: str, ins: list[str], outs: list[str]) -> None:
        """Write the outputs that the body did not write to their places itself."""
        layout = self.links[k].layout
        program = layout.program
        number = {id(buffer): j for j, buffer in enumerate(program.args)}
        target = self.targets(layout, outs)
        for j, (output, place) in enumerate(zip(program.outputs, outs, strict=True)):
            if not isinstance(output, Buffer):
                slot = 2 + layout.scalars.index(output)
                word = self.op(f"getelementptr inbounds i64, ptr {results}, i64 {slot}")
                self.move(memory_type(program.dtypes[output]), word, place)
                continue
            source: Any = target[id(output)]
            if output.kind == "arg":
                source = ins[self.links[k].rows[number[id(output)]]]
            if source == place:
                continue
            if not output.shape:
                self.move(memory_type(output.dtype), source, place)
                continue
            name = "llvm.memcpy.p0.p0.i64"
            self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
            size = self.size(k, j)
            self.writer.raw(
                f"call void @{name}(ptr {place}, ptr {source}, i64 {size}, i1 false)"
            )

    def size(self, k: int, output: int) -> str:
        """The bytes of an output: they stand behind the table's other rows."""
        outputs = [len(link.layout.program.outputs) for link in self.links]
        return self.entry(self.inputs + sum(outputs) + sum(outputs[:k]) + output)[1]

    def move(self, kind: str, source: str, to: str) -> None:
        value = self.op(f"load {kind}, ptr {source}")
        self.writer.raw(f"store {kind} {value}, ptr {to}")
