"""A program as readable Python, which is also what its structural key is made of.

`print_program` gives a module text with one function:

    kernel(*args, *array_outputs, *works, ints, floats) -> (status, outcome, *scalars)

The args are the tape's inputs (inputs of shape () as scalars, captures as arrays),
array_outputs and works are arrays that it fills, `ints` (int64) and `floats` (float64)
hold the parameters.  status is 0, or k + 1 if the guard with exit k failed, or -1 where
NumPy would raise; scalars are the distinct outputs of shape ().

The text depends on nothing but the structure: values, loops and parameters are
numbered in order of appearance, sizes and constants are parameters (`slots`).  It runs
in plain Python and under `numba.njit(error_model="numpy")`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..avals import dtype_name
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
)
from .expressions import evaluate
from .helpers import header
from .python_text import Text, TextBackend, scalar_type
from .slots import Slots

__all__ = [
    "Printed",
    "array_outputs",
    "print_program",
    "print_together",
    "scalar_outputs",
]


_INT_LINE = re.compile(r"    n\d+ = ints")
_CONST_LINE = re.compile(r"    c\d+ = ")


@dataclass
class Printed:
    """A printed program.

    Attributes:
        text: the canonical text, input of the structural key.
        slots: the parameters.
        helpers: names of the helper functions that the text calls.
        ints, floats: the parameters, as the function takes them.
    """

    text: str
    slots: Slots
    helpers: set[str]
    ints: np.ndarray
    floats: np.ndarray

    def module(self, title: str = "") -> str:
        """A Python module that defines `kernel`."""
        note = "\n".join(f"# {line}" for line in title.splitlines())
        parts = [note] if note else []
        parts.append(header(self.helpers, self.text))
        return "\n".join(parts) + "\n\n" + self._with_values()

    def _with_values(self) -> str:
        """The text, with the parameters' values as comments."""
        ints, consts = iter(self.slots.ints), iter(self.slots.consts)
        lines = self.text.splitlines()
        for k, line in enumerate(lines):
            if _INT_LINE.match(line):
                lines[k] += f"  # {next(ints)}"
            elif _CONST_LINE.match(line):
                dtype, bits = next(consts)
                if dtype.kind == "f":
                    value: Any = np.array(bits).view(np.float64).astype(dtype)
                else:
                    value = np.array(bits).astype(dtype)
                lines[k] += f"  # {value}"
        return "\n".join(lines) + "\n"


def array_outputs(program: Program) -> list[Buffer]:
    """The distinct outputs of kind `out`, in order."""
    found: dict[int, Buffer] = {}
    for output in program.outputs:
        if isinstance(output, Buffer) and output.kind == "out":
            found[id(output)] = output
    return list(found.values())


def scalar_outputs(program: Program) -> list[int]:
    """The distinct scalar values among the outputs, in order."""
    return list(dict.fromkeys(o for o in program.outputs if isinstance(o, int)))


def print_together(programs: Sequence[Program]) -> tuple[str, Slots]:
    """The texts of programs that share their parameters, and these."""
    slots = Slots()
    text = "\n".join(_Printer(program, slots).function() for program in programs)
    slots.freeze()
    return text, slots


def print_program(program: Program) -> Printed:
    """Print `program`; see the module's docstring."""
    slots = Slots()
    printer = _Printer(program, slots)
    text = printer.function()
    slots.freeze()
    ints = list(slots.ints)
    ints += [bits for dtype, bits in slots.consts if dtype.kind != "f"]
    floats = np.array([b for d, b in slots.consts if d.kind == "f"], np.int64)
    return Printed(
        text,
        slots,
        printer.helpers,
        np.array(ints, np.int64),
        floats.view(np.float64),
    )


class _Printer:
    def __init__(self, program: Program, slots: Slots) -> None:
        self.program = program
        self.slots = slots
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self.depth = 1
        self.values: dict[int, str] = {}
        self.loops: dict[int, str] = {}
        self.accs: dict[int, str] = {}
        self.buffers: dict[int, str] = {}
        self.templates: dict[Any, str] = {}
        self.defined = 0
        self.arrays = array_outputs(program)
        self.scalars = scalar_outputs(program)
        leaves = len(program.args) - program.captures
        self.leaves = {id(b) for b in program.args[:leaves] if not b.shape}
        groups = (program.args, self.arrays, program.works, program.locals)
        for name, group in zip(("arg", "out", "work", "local"), groups, strict=True):
            for k, buffer in enumerate(group):
                self.buffers[id(buffer)] = f"{name}{k}"

    # --- the frame

    def function(self) -> str:
        """The whole text: signature as comments, parameters, body, result."""
        program = self.program
        head = []
        captured = len(program.args) - program.captures
        for group, note in (
            (program.args[:captured], ""),
            (program.args[captured:], "  captured"),
            (self.arrays, ""),
            (program.works, ""),
        ):
            head += [f"# {self.name(b)}: {self.aval(b)}{note}" for b in group]
        for buffer in (*program.args, *self.arrays):
            if buffer.complex:
                kind = "scalar" if len(buffer.shape) == 1 else "array"
                head.append(f"# {self.name(buffer)}: the parts of a complex {kind}")
        for buffer in program.locals:
            made = f"np.empty({self.shape(buffer)}, {scalar_type(buffer.dtype)})"
            self.line(f"{self.name(buffer)} = {made}")
        self.statements(program.body)
        results = [self.value(s) for s in self.scalars]
        self.line(f"return {', '.join(['0', 'np.int64(0)', *results])}")
        outputs = ", ".join(
            self.name(o) if isinstance(o, Buffer) else self.value(o)
            for o in program.outputs
        )
        head.append(f"# outputs: {outputs}")
        buffers = [*program.args, *self.arrays, *program.works]
        names = [*map(self.name, buffers), "ints", "floats"]
        define = [f"def kernel({', '.join(names)}):"]
        if len(define[0]) > 88:
            wrapped = textwrap.wrap(", ".join(names) + ",", 84)
            define = ["def kernel(", *(f"    {line}" for line in wrapped), "):"]
        return "\n".join([*head, *define, *self.parameters(), *self.lines, ""])

    def parameters(self) -> list[str]:
        count = len(self.slots.ints)
        lines = [f"    n{k} = ints[{k}]" for k in range(count)]
        ints, floats = count, 0
        for k, (dtype, _) in enumerate(self.slots.consts):
            if dtype.kind == "f":
                text, floats = f"floats[{floats}]", floats + 1
            else:
                text, ints = f"ints[{ints}]", ints + 1
            if dtype not in (np.dtype("f8"), np.dtype("i8")):
                text = f"{scalar_type(dtype)}({text})"
            lines.append(f"    c{k} = {text}")
        return lines

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self, buffer: Buffer) -> str:
        """An array: the buffer's name, or a view of the buffer it belongs to."""
        base = buffer.of
        if base is None:
            return self.buffers[id(buffer)]
        text, shape = self.name(base), base.shape[len(buffer.at) :]
        indices = [self.entry(i) for i in buffer.at]
        if indices and not shape:
            # One element, but as an array.
            indices[-1] = f"{indices[-1]}:{indices[-1]} + 1"
            shape = (1,)
        if indices:
            text += f"[{', '.join(indices)}]"
        if buffer.shape != shape:
            text += f".reshape({self.shape(buffer)})"
        return text

    def shape(self, buffer: Buffer) -> str:
        parts = list(map(self.slots.int_text, buffer.shape))
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def aval(self, buffer: Buffer) -> str:
        shape = ",".join(map(self.slots.int_text, buffer.shape))
        return f"{dtype_name(buffer.dtype)}[{shape}]"

    def value(self, number: int) -> str:
        return self.values[number]

    def define(self, number: int, text: str) -> None:
        """A new value: one line."""
        name = f"v{self.defined}"
        self.defined += 1
        self.values[number] = name
        self.line(f"{name} = {text}")

    # --- statements

    def statements(self, body: list[Any]) -> None:
        for statement in body:
            _PRINT[type(statement)](self, statement)

    def const(self, s: Const) -> None:
        slot = self.slots.const_slot(self.program.dtypes[s.out], s.value)
        self.values[s.out] = f"c{slot}"

    def let(self, s: Let) -> None:
        dtypes = self.program.dtypes
        out = dtypes[s.out]
        key = (s.prim, s.params.get("n"), out, *[dtypes[a] for a in s.args])
        template = self.templates.get(key)
        if template is None:
            template = self.templates[key] = self.template(s)
        self.define(s.out, template.format(*[self.values[a] for a in s.args]))

    def template(self, s: Let) -> str:
        dtypes = self.program.dtypes
        out = dtypes[s.out]
        operands = [Text(dtypes[a], f"{{{k}}}") for k, a in enumerate(s.args)]
        backend = TextBackend(out, self.helpers)
        if s.prim == "cast":
            result = backend.cast(operands[0], out)
        elif s.prim == "powi":
            result = backend.power(operands[0], s.params["n"])
        else:
            result = backend.typed(evaluate(_lower(s.prim), operands, backend))
        return backend.finish(result, out)

    def counter(self, s: Counter) -> None:
        self.define(s.out, self.affine(s.index, as_value=True))

    def load(self, s: Load) -> None:
        if id(s.buffer) in self.leaves:
            self.values[s.out] = self.name(s.buffer)
        else:
            self.define(s.out, self.element(s.buffer, s.index))

    def store(self, s: Store) -> None:
        word = "+=" if s.add else "="
        self.line(f"{self.element(s.buffer, s.index)} {word} {self.value(s.value)}")

    def accumulator(self, s: Accumulator) -> None:
        name = self.accs[s.acc] = f"s{len(self.accs)}"
        self.line(f"{name} = {self.value(s.start)}")

    def accumulate(self, s: Accumulate) -> None:
        acc, value = self.accs[s.acc], self.value(s.value)
        text = {
            "set": "{1}",
            "sum": "{0} + {1}",
            "prod": "{0} * {1}",
            "max": "np.maximum({0}, {1})",
            "min": "np.minimum({0}, {1})",
            "any": "{0} or {1}",
            "all": "{0} and {1}",
        }[s.kind].format(acc, value)
        dtype = self.program.dtypes[s.value]
        if dtype.kind in "iu" and dtype.itemsize < 8 and s.kind in ("sum", "prod"):
            text = f"{scalar_type(dtype)}({text})"
        self.line(f"{acc} = {text}")

    def read(self, s: Read) -> None:
        self.define(s.out, self.accs[s.acc])

    def loop(self, s: For) -> None:
        name = self.loops[s.var] = f"i{len(self.loops)}"
        lo, hi = self.slots.int_text(s.lo), self.slots.int_text(s.hi)
        if s.count is not None:
            hi = self.value(s.count)
        self.line(f"for {name} in range({lo}, {hi}):")
        self.block(s.body)

    def branch(self, s: If) -> None:
        self.line(f"if {self.value(s.value)}:")
        self.block(s.yes)
        if s.no:
            self.line("else:")
            self.block(s.no)

    def block(self, body: list[Any]) -> None:
        self.depth += 1
        before = len(self.lines)
        self.statements(body)
        if len(self.lines) == before:
            self.line("pass")
        self.depth -= 1

    def leave_loop(self, s: Break) -> None:
        self.line(f"if not {self.value(s.value)}:")
        self.line("    break")

    def exit(self, s: Exit) -> None:
        value = self.value(s.value)
        self.line(f"if {value} != {self.value(s.expected)}:")
        self.leave(self.value(s.status), f"np.int64({value})")

    def check(self, s: Check) -> None:
        self.line(f"if not {self.value(s.value)}:")
        self.leave("-1", "np.int64(0)")

    def leave(self, status: str, outcome: str) -> None:
        nothing = [f"{scalar_type(self.program.dtypes[v])}(0)" for v in self.scalars]
        self.line("    return " + ", ".join([status, outcome, *nothing]))

    def call(self, s: Call) -> None:
        params = dict(s.params)
        args = [self.name(b) for b in (*s.ins, *s.outs)]
        if s.name == "host":
            outs = [self.name(b) for b in s.outs]
            args = [str(params.pop("number")), *outs, *args[: len(s.ins)]]
        elif s.name == "argsort":
            shape = s.ins[0].shape
            axis = params.pop("axis")
            for part in (shape[:axis], shape[axis : axis + 1], shape[axis + 1 :]):
                args.append(" * ".join(map(self.slots.int_text, part)) or "1")
        elif s.name == "mask_indices":
            params = {}
        args += [repr(params[key]) for key in sorted(params)]
        self.helpers.add(s.name)
        text = f"{s.name}({', '.join(args)})"
        # What a routine is made for depends on its operands' shapes: say them.
        shapes = ", ".join(self.aval(b) for b in (*s.ins, *s.outs))
        self.line(f"if not {text}:  # {shapes}")
        self.leave("-1", "np.int64(0)")

    def swap(self, s: Swap) -> None:
        a, b = self.name(s.a), self.name(s.b)
        self.line(f"{a}, {b} = {b}, {a}")

    # --- indices

    def affine(self, index: Affine, as_value: bool = False) -> str:
        var, step, offset = index
        text = self.slots.int_text
        if var is None or step == 0:
            return f"np.int64({text(offset)})" if as_value else text(offset)
        name = self.loops[var]
        result = name if step == 1 else f"{text(step)} * {name}"
        if offset:
            result += f" - {text(-offset)}" if offset < 0 else f" + {text(offset)}"
        return f"np.int64({result})" if as_value else result

    def entry(self, index: Affine | int) -> str:
        return self.affine(index) if isinstance(index, Affine) else self.value(index)

    def element(self, buffer: Buffer, index: Index) -> str:
        base = buffer.of
        if base is not None and buffer.shape == base.shape[len(buffer.at) :]:
            return self.element(base, (*buffer.at, *index))
        parts = [self.entry(i) for i in index]
        return f"{self.name(buffer)}[{', '.join(parts) or '()'}]"


def _lower(prim: str) -> str:
    text = PRIMITIVES[prim].lower
    if not text:
        raise ValueError(f"{prim} is no elementwise primitive with a lowering")
    return text


_PRINT: dict[type, Callable[[_Printer, Any], None]] = {
    Const: _Printer.const,
    Let: _Printer.let,
    Counter: _Printer.counter,
    Load: _Printer.load,
    Store: _Printer.store,
    Accumulator: _Printer.accumulator,
    Accumulate: _Printer.accumulate,
    Read: _Printer.read,
    For: _Printer.loop,
    If: _Printer.branch,
    Break: _Printer.leave_loop,
    Exit: _Printer.exit,
    Check: _Printer.check,
    Call: _Printer.call,
    Swap: _Printer.swap,
}
