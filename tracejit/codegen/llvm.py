"""A program as LLVM assembly: loops, loads and stores, guards.

The kernel's body is one function of C calling convention,

    i64 NAME_body(params, workspace, results, args..., array outputs...)

where args of shape () come by value, all other args and outputs as pointers to their
data.  It returns the status; `results` receives outcome, the outcome's kind, and the
scalar outputs, eight bytes each.

What makes LLVM vectorise: 64-bit counters without wraparound, `inbounds` addresses,
one alias scope per buffer that is written, so that there are no run-time overlap
checks, and sums that may be reassociated.  Accumulators and small static arrays are
stack slots, which LLVM turns into registers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, NamedTuple

from ..primitive import PRIMITIVES
from ..program import (
    Accumulate,
    Accumulator,
    Affine,
    Break,
    Buffer,
    Call,
    Check,
    Const,
    Counter,
    Exit,
    For,
    If,
    Index,
    Let,
    Load,
    Program,
    Read,
    Store,
    Swap,
    walk,
)
from .contraction import summed_products
from .expressions import evaluate
from .host import emit_host
from .ir import BOOL, F64, I64, Loop, Module, Value, Writer, literal, memory_type
from .ir import register_type as register
from .layout import FIRST, Layout
from .linalg import emit_call
from .scalars import Scalars

__all__ = ["OUTCOME_KINDS", "REALIGN", "ExitNumbers", "emit_body"]

#: What `results[1]` says about the outcome in `results[0]`.
OUTCOME_KINDS = {"b": 1, "i": 2, "u": 3, "f": 4}
#: Vectors that are spilled to an unaligned stack cost twice the time.
REALIGN = " alignstack(64)" if platform.machine() in ("x86_64", "AMD64") else ""
#: More buffers than this share alias scopes.
_MAX_SCOPES = 200
_SUM = {"sum": "fadd reassoc nsz contract", "prod": "fmul reassoc nsz"}
_INT_SUM = {"sum": "add", "prod": "mul"}


def emit_body(module: Module, layout: Layout, name: str, inlined: bool = False) -> None:
    """Define the function `name` in the module; `inlined` into its callers there."""
    module.functions[name] = Emitter(module, layout).function(name, inlined)


class ExitNumbers(NamedTuple):
    """What exits name, for an inlined body.

    There it stands in the code, so that LLVM sees where an example goes on behind an
    exit.  The exits are numbered anew: their status depends on what was recorded in
    front of them, trip counts included, and the code must not.

    Attributes:
        literals: scalar values and what they are now.
        status: for each old status the new one.
    """

    literals: dict[int, Any]
    status: dict[int, int]

    @classmethod
    def of(cls, program: Program) -> ExitNumbers:
        """The numbers of a program's exits, in its order."""
        statements = list(walk(program.body))
        value = {s.out: s.value for s in statements if isinstance(s, Const)}
        numbers = cls({}, {})
        for s in statements:
            if not isinstance(s, Exit):
                continue
            # In a loop the status may be computed; then it stays as it is, and what
            # goes on behind another exit of that number finds that its guards fail.
            if s.status in value:
                new = len(numbers.status) + 1
                new = numbers.status.setdefault(value[s.status], new)
                numbers.literals[s.status] = new
            if s.expected in value:
                numbers.literals[s.expected] = value[s.expected]
        return numbers


class Emitter:
    """Walks one program; `linalg` uses it too."""

    def __init__(self, module: Module, layout: Layout) -> None:
        self.module = module
        self.layout = layout
        self.program = layout.program
        self.writer = Writer(module)
        self.scalars = Scalars(self.writer)
        self.values: dict[int, Value] = {}
        self.loops: dict[int, Value] = {}
        self.open: list[Loop] = []
        self.accs: dict[int, str] = {}
        self.params: dict[int, Value] = {}
        self.pointers: dict[int, str] = {}
        self.leaves: dict[int, Value] = {}
        self.scopes: dict[int, str] = {}
        self.swaps = [
            (s.a, s.b) for s in walk(self.program.body) if isinstance(s, Swap)
        ]
        self.swapped: set[int] = set()
        #: Constants that are no parameters, see `ExitNumbers`.
        self.literals: dict[int, Any] = {}
        self.summed = summed_products(self.program)

    # --- the frame

    def function(self, name: str, inlined: bool = False) -> str:
        if inlined:
            self.literals = ExitNumbers.of(self.program).literals
        heads = self.bind()
        self.make_scopes()
        self.movable()
        self.statements(self.program.body)
        for k, number in enumerate(self.layout.scalars):
            self.result(2 + k, self.values[number])
        self.writer.raw("ret i64 0")
        linkage, inline = ("internal ", "alwaysinline") if inlined else ("", "noinline")
        head = f"define {linkage}i64 @{name}({', '.join(heads)}) {inline} nounwind"
        return self.writer.finish(head + REALIGN)

    def bind(self) -> list[str]:
        """Name the parameters of the function."""
        heads = ["ptr noalias %params", "ptr noalias %work", "ptr noalias %results"]
        for k, buffer in enumerate(self.program.args):
            if k < len(self.layout.leaves) and not buffer.shape:
                self.leaves[id(buffer)] = Value(buffer.dtype, f"%arg{k}")
                heads.append(f"{register(buffer.dtype)} %arg{k}")
            else:
                self.pointers[id(buffer)] = f"%arg{k}"
                heads.append(f"ptr %arg{k}")
        for k, buffer in enumerate(self.layout.arrays):
            self.pointers[id(buffer)] = f"%out{k}"
            heads.append(f"ptr noalias %out{k}")
        for k, buffer in enumerate(self.program.works):
            offset = self.param(self.layout.work_base + k)
            text = f"getelementptr inbounds i8, ptr %work, i64 {offset.text}"
            self.pointers[id(buffer)] = self.writer.first(I64, text).text
        for buffer in self.program.locals:
            kind = memory_type(buffer.dtype)
            text = f"alloca [{max(buffer.size, 1)} x {kind}], align 64"
            self.pointers[id(buffer)] = self.writer.first(I64, text).text
        return heads

    def movable(self) -> None:
        """Keep the addresses of buffers that exchange memory in stack slots."""
        for buffer in {id(b): b for pair in self.swaps for b in pair}.values():
            cell = self.writer.cell("ptr")
            self.writer.raw(
                f"store ptr {self.pointers[id(buffer)]}, ptr {cell}, align 8"
            )
            self.pointers[id(buffer)] = cell
            self.swapped.add(id(buffer))

    def make_scopes(self) -> None:
        """One alias scope for all args, one for each buffer that is written."""
        module, layout = self.module, self.layout
        domain = module.node("!{SELF}", distinct=True)
        written = [*layout.arrays, *self.program.works]
        count = min(len(written), _MAX_SCOPES)
        nodes = [
            module.node(f"!{{SELF, {domain}}}", distinct=True) for _ in range(count + 1)
        ]
        suffixes = []
        for k, node in enumerate(nodes):
            others = ", ".join(nodes[:k] + nodes[k + 1 :])
            own = module.node(f"!{{{node}}}")
            text = f", !alias.scope {own}"
            if others:
                text += f", !noalias {module.node(f'!{{{others}}}')}"
            suffixes.append(text)
        for buffer in self.program.args:
            self.scopes[id(buffer)] = suffixes[0]
        for k, buffer in enumerate(written):
            self.scopes[id(buffer)] = suffixes[1 + k % count]
        # What exchanges its memory shares a scope, or none if one is on the stack.
        for a, b in self.swaps:
            shared = self.scopes.get(id(a), ""), self.scopes.get(id(b), "")
            for buffer in (*written, *self.program.locals):
                if self.scopes.get(id(buffer), "") in shared:
                    self.scopes[id(buffer)] = shared[0] and shared[1] and shared[0]

    def param(self, slot: int) -> Value:
        """A 64-bit slot of the parameter block, read once in the entry block."""
        value = self.params.get(slot)
        if value is None:
            address = self.writer.first(
                I64, f"getelementptr inbounds i64, ptr %params, i64 {slot}"
            )
            text = f"load i64, ptr {address.text}, align 8, !invariant.load !0"
            value = self.params[slot] = self.writer.first(I64, text)
        return value

    def integer(self, value: int) -> Value:
        """An integer of the program: literal or parameter."""
        slot = self.layout.slots.int_slot(value)
        if slot is None:
            return literal(I64, value)
        parameter = self.param(FIRST + slot)
        if value > 0:
            return parameter
        key = -1 - slot
        if key not in self.params:
            text = f"sub nsw i64 0, {parameter.text}"
            self.params[key] = self.writer.first(I64, text)
        return self.params[key]

    def pointer(self, buffer: Buffer) -> str:
        """The address of a buffer's first element."""
        base = buffer.of
        if base is not None:
            return self.address(base, (*buffer.at, *_zeros(base, len(buffer.at))))
        pointer = self.pointers[id(buffer)]
        if id(buffer) in self.swapped:
            return self.writer.op(I64, f"load ptr, ptr {pointer}, align 8").text
        return pointer

    def scope(self, buffer: Buffer) -> str:
        """The alias metadata of its loads and stores."""
        return self.scopes.get(id(buffer.of or buffer), "")

    def result(self, slot: int, value: Value) -> None:
        """Store into `results`."""
        address = self.writer.op(
            I64, f"getelementptr inbounds i64, ptr %results, i64 {slot}"
        )
        self.store_scalar(value, address.text, "")

    # --- statements

    def statements(self, body: list[Any]) -> None:
        for statement in body:
            _EMIT[type(statement)](self, statement)

    def const(self, s: Const) -> None:
        if s.out in self.literals:
            number = self.literals[s.out]
            self.values[s.out] = literal(self.program.dtypes[s.out], number)
            return
        self.values[s.out] = self.constant(self.program.dtypes[s.out], s.value)

    def constant(self, dtype: Any, value: Any) -> Value:
        slot = self.layout.slots.const_slot(dtype, value)
        bits = self.param(self.layout.const_base + slot)
        key = -(10**6) - slot
        if key not in self.params:
            first = self.writer.first
            kind = register(dtype)
            if dtype.kind == "f":
                result = first(dtype, f"bitcast i64 {bits.text} to double")
                if dtype.itemsize == 4:
                    result = first(dtype, f"fptrunc double {result.text} to float")
            elif dtype.kind == "b" or dtype.itemsize < 8:
                result = first(dtype, f"trunc i64 {bits.text} to {kind}")
            else:
                result = Value(dtype, bits.text)
            self.params[key] = result
        return self.params[key]

    def let(self, s: Let) -> None:
        out = self.program.dtypes[s.out]
        args = [self.values[a] for a in s.args]
        self.scalars.default = out
        self.scalars.contract = s.out in self.summed
        if s.prim == "cast":
            result = args[0]
        elif s.prim == "powi":
            result = self.scalars.power(args[0], s.params["n"])
        else:
            result = self.scalars.typed(
                evaluate(PRIMITIVES[s.prim].lower, args, self.scalars)
            )
        self.scalars.contract = False
        self.values[s.out] = self.scalars.cast(result, out)

    def counter(self, s: Counter) -> None:
        self.values[s.out] = self.affine(s.index)

    def load(self, s: Load) -> None:
        leaf = self.leaves.get(id(s.buffer))
        if leaf is not None:
            self.values[s.out] = leaf
            return
        address = self.address(s.buffer, s.index)
        self.values[s.out] = self.load_element(s.buffer, address)

    def load_element(self, buffer: Buffer, address: str) -> Value:
        dtype = buffer.dtype
        text = f"load {memory_type(dtype)}, ptr {address}, align {dtype.itemsize}"
        value = self.writer.op(dtype, text + self.scope(buffer))
        if dtype.kind == "b":
            return self.writer.op(BOOL, f"icmp ne i8 {value.text}, 0")
        return value

    def store(self, s: Store) -> None:
        address = self.address(s.buffer, s.index)
        value = self.scalars.cast(self.values[s.value], s.buffer.dtype)
        if s.add:
            old = self.load_element(s.buffer, address)
            self.scalars.default = s.buffer.dtype
            self.scalars.contract = True
            value = self.scalars.binary("+", old, value)
            self.scalars.contract = False
        self.store_scalar(value, address, self.scope(s.buffer))

    def store_scalar(self, value: Value, address: str, suffix: str) -> None:
        dtype = value.dtype
        if dtype.kind == "b":
            text = self.writer.op(dtype, f"zext i1 {value.text} to i8").text
        else:
            text = value.text
        kind = memory_type(dtype)
        self.writer.raw(
            f"store {kind} {text}, ptr {address}, align {dtype.itemsize}{suffix}"
        )

    def accumulator(self, s: Accumulator) -> None:
        kind = register(s.dtype)
        if s.acc not in self.accs:
            self.accs[s.acc] = self.writer.first(I64, f"alloca {kind}").text
        start = self.scalars.cast(self.values[s.start], s.dtype)
        self.writer.raw(f"store {kind} {start.text}, ptr {self.accs[s.acc]}")

    def read(self, s: Read) -> None:
        self.values[s.out] = self.acc_value(s.acc, self.program.dtypes[s.out])

    def acc_value(self, acc: int, dtype: Any) -> Value:
        return self.writer.op(dtype, f"load {register(dtype)}, ptr {self.accs[acc]}")

    def accumulate(self, s: Accumulate) -> None:
        value = self.values[s.value]
        dtype = value.dtype
        kind = register(dtype)
        if s.kind != "set":
            value = self.combine(s.kind, self.acc_value(s.acc, dtype), value)
        self.writer.raw(f"store {kind} {value.text}, ptr {self.accs[s.acc]}")

    def combine(self, how: str, old: Value, value: Value) -> Value:
        """One step of a reduction."""
        dtype = value.dtype
        kind = register(dtype)
        if how in ("any", "all"):
            return self.scalars.logical("or" if how == "any" else "and", old, value)
        if how in ("max", "min"):
            self.scalars.default = dtype
            if dtype.kind == "b":
                return self.scalars.logical("or" if how == "max" else "and", old, value)
            return self.scalars.call(f"np{how}", [old, value])
        if dtype.kind == "b":
            return self.scalars.logical("or" if how == "sum" else "and", old, value)
        word = (_SUM if dtype.kind == "f" else _INT_SUM)[how]
        return self.writer.op(dtype, f"{word} {kind} {old.text}, {value.text}")

    def loop(self, s: For) -> None:
        if s.lo >= s.hi and self.literal(s.lo) and self.literal(s.hi):
            return
        lo, hi = self.integer(s.lo), self.integer(s.hi)
        known = self.literal(s.lo) and s.lo < s.hi
        if s.count is not None:
            hi, known = self.values[s.count], False
        with_loop = Loop(self.writer, lo, hi, known)
        self.loops[s.var] = with_loop.enter()
        self.open.append(with_loop)
        self.statements(s.body)
        self.open.pop()
        with_loop.leave()

    def branch(self, s: If) -> None:
        writer = self.writer
        yes, no, done = (writer.label(name) for name in ("yes", "no", "done"))
        writer.branch(self.values[s.value], yes, no)
        for label, body in ((yes, s.yes), (no, s.no)):
            writer.start(label)
            self.statements(body)
            writer.jump(done)
        writer.start(done)

    def leave_loop(self, s: Break) -> None:
        stay = self.writer.label("stay")
        self.writer.branch(self.values[s.value], stay, self.open[-1].exit)
        self.writer.start(stay)

    def literal(self, value: int) -> bool:
        return self.layout.slots.int_slot(value) is None

    def exit(self, s: Exit) -> None:
        value, expected = self.values[s.value], self.values[s.expected]
        holds = self.scalars.compare("==", value, expected)
        self.leave_unless(holds, self.values[s.status], value)

    def check(self, s: Check) -> None:
        self.leave_unless(self.values[s.value], literal(I64, -1))

    def leave_unless(
        self, holds: Value, status: Value, outcome: Value | None = None
    ) -> None:
        """Return `status` unless `holds`."""
        writer = self.writer
        stay, leave = writer.label("stay"), writer.label("leave")
        writer.raw(f"br i1 {holds.text}, label %{stay}, label %{leave}, !prof !1")
        writer.start(leave)
        if outcome is not None:
            dtype = outcome.dtype
            wide = F64 if dtype.kind == "f" else I64
            self.result(0, self.scalars.cast(outcome, wide))
            self.result(1, literal(I64, OUTCOME_KINDS[dtype.kind]))
        writer.raw(f"ret i64 {status.text}")
        writer.start(stay)

    def call(self, s: Call) -> None:
        if s.name == "host":
            slot = self.layout.host_base + s.params["number"]
            emit_host(self, s, self.param(slot).text)
        else:
            emit_call(self, s)

    def swap(self, s: Swap) -> None:
        for buffer, other in ((s.a, self.pointer(s.b)), (s.b, self.pointer(s.a))):
            cell = self.pointers[id(buffer)]
            self.writer.raw(f"store ptr {other}, ptr {cell}, align 8")

    # --- addresses

    def affine(self, index: Affine) -> Value:
        var, step, offset = index
        if var is None or step == 0:
            return self.integer(offset)
        result = self.loops[var]
        if step != 1:
            result = self.nsw("mul", result, self.integer(step))
        if offset:
            result = self.nsw("add", result, self.integer(offset))
        return result

    def nsw(self, word: str, x: Value, y: Value) -> Value:
        return self.writer.op(I64, f"{word} nsw i64 {x.text}, {y.text}")

    def address(self, buffer: Buffer, index: Index) -> str:
        """The address of an element, row-major."""
        linear: Value | None = None
        for size, part in zip(buffer.shape, index, strict=True):
            if linear is not None:
                linear = self.nsw("mul", linear, self.integer(size))
            if isinstance(part, Affine):
                if (part.var is None or part.step == 0) and part.offset == 0:
                    continue
                value = self.affine(part)
            else:
                value = self.scalars.cast(self.values[part], I64)
            linear = value if linear is None else self.nsw("add", linear, value)
        return self.element(buffer, linear)

    def element(self, buffer: Buffer, linear: Value | None) -> str:
        pointer = self.pointer(buffer)
        if linear is None:
            return pointer
        kind = memory_type(buffer.dtype)
        text = f"getelementptr inbounds {kind}, ptr {pointer}, i64 {linear.text}"
        return self.writer.op(I64, text).text


def _zeros(buffer: Buffer, start: int) -> Index:
    """The first element along the axes from `start`."""
    return (Affine(None, 0, 0),) * (len(buffer.shape) - start)


_EMIT: dict[type, Callable[[Emitter, Any], None]] = {
    Const: Emitter.const,
    Let: Emitter.let,
    Counter: Emitter.counter,
    Load: Emitter.load,
    Store: Emitter.store,
    Accumulator: Emitter.accumulator,
    Accumulate: Emitter.accumulate,
    Read: Emitter.read,
    For: Emitter.loop,
    If: Emitter.branch,
    Break: Emitter.leave_loop,
    Exit: Emitter.exit,
    Check: Emitter.check,
    Call: Emitter.call,
    Swap: Emitter.swap,
}
