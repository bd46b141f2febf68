"""The driver of a kernel: its body for each example of a batch, one after the other.

    i64 NAME(params, work, table, index, lo, hi, left)

For k from lo up to hi the example is i = index[k], or k where `index` is null.  The
table says for every arg of the body and then for every product where it is: address and
bytes from one example to the next, 0 for what all examples share.  A product is what a
body leaves behind: an array output, a scalar output, an arg that is an output itself.
It returns how many examples left with a status that is not 0; their products are
undefined, and `left`, a list of four numbers each, says: example, status, bits of the
outcome, kind of the outcome.

The body is inlined, so that what depends on no example moves out of the loop, and
scalars stay in registers.  Nothing here knows of Python: several threads may run a
driver at once, each with a workspace of its own.
"""

from __future__ import annotations

from ..program import Buffer
from .ir import I64, Loop, Module, Value, Writer, memory_type
from .ir import register_type as register
from .layout import Layout

__all__ = ["emit_driver", "products"]


def products(layout: Layout) -> list[tuple[object, tuple[int, ...], str]]:
    """What a body leaves behind, in the order of the table.

    The key is what stands in `program.outputs`: a buffer's id or a value's number.
    """
    dtypes = layout.program.dtypes
    found: list[tuple[object, tuple[int, ...], str]] = []
    found += [(id(b), b.shape, b.dtype.str) for b in layout.arrays]
    found += [(v, (), dtypes[v].str) for v in layout.scalars]
    found += [(id(b), b.shape, b.dtype.str) for b in layout.copies]
    return found


def emit_driver(module: Module, layout: Layout, name: str, body: str) -> None:
    """Define the function `name`, which calls `body`."""
    module.functions[name] = _Driver(module, layout).function(name, body)


class _Driver:
    def __init__(self, module: Module, layout: Layout) -> None:
        self.module = module
        self.layout = layout
        self.writer = Writer(module)

    def function(self, name: str, body: str) -> str:
        writer, layout = self.writer, self.layout
        args = layout.program.args
        size = 2 + len(layout.scalars)
        results = writer.first(I64, f"alloca [{size} x i64], align 8").text
        self.count = writer.first(I64, "alloca i64, align 8").text
        writer.raw(f"store i64 0, ptr {self.count}")
        entries = [self.entry(k) for k in range(len(args) + len(products(layout)))]
        loop = Loop(writer, Value(I64, "%lo"), Value(I64, "%hi"))
        k = loop.enter()
        example = self.example(k)
        at = [self.at(base, stride, example) for base, stride in entries]
        status = self.run(body, results, at)
        self.note(example, status, results)
        self.collect(results, at)
        loop.leave()
        writer.raw(f"ret i64 {writer.op(I64, f'load i64, ptr {self.count}').text}")
        head = (
            f"define i64 @{name}(ptr noalias %params, ptr noalias %work, "
            "ptr noalias %table, ptr noalias %index, i64 %lo, i64 %hi, "
            "ptr noalias %left) nounwind"
        )
        return writer.finish(head)

    def entry(self, k: int) -> tuple[str, str]:
        """Address and stride of the k-th row of the table."""
        first = self.writer.first
        row = first(I64, f"getelementptr inbounds i64, ptr %table, i64 {2 * k}").text
        next_ = first(I64, f"getelementptr inbounds i64, ptr {row}, i64 1").text
        base = first(I64, f"load ptr, ptr {row}, align 8").text
        return base, first(I64, f"load i64, ptr {next_}, align 8").text

    def example(self, k: Value) -> Value:
        """The number of the example."""
        writer = self.writer
        none = writer.op(I64, "icmp eq ptr %index, null")
        listed, known = writer.label("listed"), writer.label("known")
        before = writer.block
        writer.branch(none, known, listed)
        writer.start(listed)
        place = writer.op(I64, f"getelementptr inbounds i64, ptr %index, i64 {k.text}")
        found = writer.op(I64, f"load i64, ptr {place.text}, align 8")
        writer.jump(known)
        writer.start(known)
        return writer.op(
            I64, f"phi i64 [ {k.text}, %{before} ], [ {found.text}, %{listed} ]"
        )

    def at(self, base: str, stride: str, example: Value) -> str:
        """Where this example's part of an array is."""
        offset = self.writer.op(I64, f"mul nsw i64 {stride}, {example.text}").text
        text = f"getelementptr inbounds i8, ptr {base}, i64 {offset}"
        return self.writer.op(I64, text).text

    def run(self, body: str, results: str, at: list[str]) -> str:
        layout, writer = self.layout, self.writer
        given = ["ptr %params", "ptr %work", f"ptr {results}"]
        for k, buffer in enumerate(layout.program.args):
            if k >= len(layout.leaves) or buffer.shape:
                given.append(f"ptr {at[k]}")
                continue
            given.append(f"{register(buffer.dtype)} {self.scalar(buffer, at[k])}")
        first = len(layout.program.args)
        given += [f"ptr {at[first + k]}" for k in range(len(layout.arrays))]
        return writer.call("i64", f"@{body}", *given)

    def scalar(self, buffer: Buffer, address: str) -> str:
        """An input of shape () as a value."""
        kind = memory_type(buffer.dtype)
        size = buffer.dtype.itemsize
        value = self.writer.op(I64, f"load {kind}, ptr {address}, align {size}").text
        if buffer.dtype.kind == "b":
            return self.writer.op(I64, f"icmp ne i8 {value}, 0").text
        return value

    def note(self, example: Value, status: str, results: str) -> None:
        """Write down an example that did not get an answer."""
        writer = self.writer
        left, go_on = writer.label("left"), writer.label("noted")
        writer.branch(writer.op(I64, f"icmp ne i64 {status}, 0"), left, go_on)
        writer.start(left)
        count = writer.op(I64, f"load i64, ptr {self.count}").text
        first = writer.op(I64, f"shl nsw i64 {count}, 2").text
        words = [
            writer.op(I64, f"getelementptr inbounds i64, ptr {results}, i64 {j}").text
            for j in range(2)
        ]
        bits, kind = (writer.op(I64, f"load i64, ptr {word}").text for word in words)
        for j, value in enumerate((example.text, status, bits, kind)):
            slot = writer.op(I64, f"add nsw i64 {first}, {j}").text
            to = writer.op(I64, f"getelementptr inbounds i64, ptr %left, i64 {slot}")
            writer.raw(f"store i64 {value}, ptr {to.text}, align 8")
        more = writer.op(I64, f"add nsw i64 {count}, 1").text
        writer.raw(f"store i64 {more}, ptr {self.count}")
        writer.jump(go_on)
        writer.start(go_on)

    def collect(self, results: str, at: list[str]) -> None:
        """Copy the scalar outputs, and the args that are outputs, to their places."""
        layout, writer = self.layout, self.writer
        args = layout.program.args
        place = len(args) + len(layout.arrays)
        for k, value in enumerate(layout.scalars):
            kind = memory_type(layout.program.dtypes[value])
            word = writer.op(
                I64, f"getelementptr inbounds i64, ptr {results}, i64 {2 + k}"
            ).text
            self.move(kind, word, at[place + k])
        place += len(layout.scalars)
        number = {id(buffer): k for k, buffer in enumerate(args)}
        for k, buffer in enumerate(layout.copies):
            source, to = at[number[id(buffer)]], at[place + k]
            if not buffer.shape:
                self.move(memory_type(buffer.dtype), source, to)
                continue
            name = "llvm.memcpy.p0.p0.i64"
            self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
            size = self.size(len(args) + len(products(layout)) + k)
            writer.raw(
                f"call void @{name}(ptr {to}, ptr {source}, i64 {size}, i1 false)"
            )

    def size(self, row: int) -> str:
        """A number of bytes, which stands behind the table's other rows."""
        return self.entry(row)[1]

    def move(self, kind: str, source: str, to: str) -> None:
        value = self.writer.op(I64, f"load {kind}, ptr {source}").text
        self.writer.raw(f"store {kind} {value}, ptr {to}")
