"""Elements: the scalar value of a ref at an index, made from its operands' elements.

What was made is remembered in the block it was written to, so that a block makes every
element once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...program import Affine, Buffer, Check
from ...tape import Instr
from .access import PIECED, VIEWS, is_general_reshape, pieces
from .roots import Analysis
from .storage import Memory
from .writer import BOOL, INT64, ZERO, Writer

__all__ = ["Elements"]

PASS_THROUGH = frozenset(("copy", "stop_gradient", "barrier"))
#: Exponents written as multiplications (at most 2 ulp from pow).
POWERS = frozenset(range(-4, 9))


class Elements:
    """Makes elements of a tape's values.

    Attributes:
        args: the buffer behind each input; scalar inputs of a loop's body have none,
            they are remembered values.
        memory: the buffer behind each result that needs one.
        base: the depth of the block that the tape's statements belong to; what its
            buffers hold changes there.
        steady: for inputs whose buffers do not change in that block, the depth of the
            outermost block in which they do not.
        range_of: the values that each loop variable takes.
    """

    def __init__(self, analysis: Analysis, out: Writer) -> None:
        self.analysis = analysis
        self.avals = analysis.avals
        self.out = out
        self.base = out.depth
        self.args: dict[int, Buffer] = {}
        self.steady: dict[int, int] = {}
        self.memory: dict[int, Memory] = {}
        self.views: dict[int, Buffer] = {}
        self.range_of: dict[int, tuple[int, int]] = {}

    def element(self, ref: int, index: tuple[Any, ...]) -> int:
        """The scalar value of `ref` at `index` (loop variables or constants)."""
        key = (self, ref, index)
        for scope in reversed(self.out.scopes):
            if key in scope.memo:
                return scope.memo[key]
        if ref in self.args:
            value = self.load(ref, self.args[ref], index)
        elif ref in self.memory:
            memory = self.memory[ref]
            inner = tuple(index[j] for j in memory.axes)
            # A row of scratch memory changes in loops that its own index lacks.
            value = self.load(ref, memory.buffer, inner, index)
        else:
            value = self.compute(ref, index)
        self.remember(ref, index, value)
        return value

    def load(
        self,
        ref: int,
        buffer: Buffer,
        index: tuple[Any, ...],
        depends: tuple[Any, ...] = (),
    ) -> int:
        """Load in the outermost block where the element is what it is here."""
        depth = self.steady.get(ref, self.base)
        for entry in (*index, *depends):
            depth = max(depth, self.out.depth_of_entry(entry))
        return self.out.load(buffer, index, depth)

    def remember(self, ref: int, index: tuple[Any, ...], value: int) -> None:
        if value != ZERO:
            depth = self.out.depth_of_value[value]
            self.out.scopes[depth].memo[self, ref, index] = value

    def compute(self, ref: int, index: tuple[Any, ...]) -> int:
        instr = self.analysis.instr_of[ref]
        name = instr.prim.name
        if name == "const":
            return self.out.constant(instr.params["value"], instr.params["dtype"])
        if name == "reshape" and is_general_reshape(
            instr, self.avals[instr.args[0]].shape
        ):
            return self.load(self.analysis.under(ref), self.view(ref), index)
        if name in VIEWS or name in PASS_THROUGH:
            ((operand, inner),) = self.analysis.operands(instr, index)
            return self.element(operand, inner)
        if name == "iota":
            value = self.out.counter(index[instr.params["axis"]])
            dtype = self.avals[ref].dtype
            return value if dtype == INT64 else self.out.let("cast", (value,), dtype)
        if name in PIECED:
            return self.pieced(instr, index)
        if name == "gather":
            return self.gathered(instr, index)
        if name in ("tril", "triu"):
            return self.triangle(instr, index)
        if name == "wrap_index":
            return self.wrapped(instr, index)
        return self.elementwise(instr, index)

    def elementwise(self, instr: Instr, index: tuple[Any, ...]) -> int:
        name = instr.prim.name
        (ref,) = instr.outs
        dtype = self.avals[ref].dtype
        operands = self.analysis.operands(instr, index)
        if name == "pow":
            n = self.small_power(operands[1][0])
            if n is not None:
                base = self.real(self.element(*operands[0]), dtype)
                return self.out.let("powi", (base,), dtype, {"n": n})
        values = [self.element(*o) for o in operands]
        if ZERO in values:
            folded = self.fold_zero(name, values, dtype)
            if folded is not None:
                return folded
            values = [
                self.out.constant(0, self.avals[a].dtype) if v == ZERO else v
                for v, a in zip(values, instr.args, strict=True)
            ]
        return self.out.let(name, tuple(values), dtype, instr.params)

    def fold_zero(self, name: str, values: list[int], dtype: np.dtype) -> int | None:
        """Arithmetic with padding (exact up to the sign of a zero)."""
        if name == "add":
            return values[1] if values[0] == ZERO else values[0]
        if name == "sub":
            if values[1] == ZERO:
                return values[0]
            return self.out.let("neg", (values[1],), dtype)
        if name in ("neg", "cast") or (name == "mulz" and values[0] == ZERO):
            return ZERO
        if name == "select" and values[1] == values[2] == ZERO:
            return ZERO
        return None

    def small_power(self, ref: int) -> int | None:
        instr = self.analysis.instr_of.get(ref)
        if instr is None or instr.prim.name != "const":
            return None
        value = instr.params["value"]
        if value != int(value) if np.isfinite(value) else True:
            return None
        n = int(value)
        if n not in POWERS or (n < 0 and instr.params["dtype"].kind != "f"):
            return None
        return n

    def pieced(self, instr: Instr, index: tuple[Any, ...]) -> int:
        operands = self.analysis.operands(instr, index)
        for piece, operand in zip(pieces(instr, self.avals), operands, strict=True):
            if all(self.within(index[axis], lo, hi) for axis, lo, hi in piece.box):
                return self.element(*operand)
        return ZERO

    def within(self, entry: Affine, lo: int, hi: int) -> bool:
        if entry.var is None:
            return lo <= entry.offset < hi
        first, end = self.range_of[entry.var]
        return lo <= first + entry.offset and end + entry.offset <= hi

    def gathered(self, instr: Instr, index: tuple[Any, ...]) -> int:
        (array, inner), (positions, where) = self.analysis.operands(instr, index)
        position = self.element(positions, where)
        axis = instr.params["axis"]
        full = (*inner[:axis], position, *inner[axis + 1 :])
        return self.load(self.analysis.under(array), self.whole(array), full)

    def triangle(self, instr: Instr, index: tuple[Any, ...]) -> int:
        (operand,) = instr.args
        value = self.element(operand, index)
        if value == ZERO:
            return ZERO
        row, column = self.out.counter(index[-2]), self.out.counter(index[-1])
        k = self.out.constant(instr.params["k"], INT64)
        shifted = self.out.let("sub", (column, row), INT64)
        test = "le" if instr.prim.name == "tril" else "ge"
        keep = self.out.let(test, (shifted, k), BOOL)
        dtype = self.avals[operand].dtype
        return self.out.let("select", (keep, value, self.out.constant(0, dtype)), dtype)

    def wrapped(self, instr: Instr, index: tuple[Any, ...]) -> int:
        ((operand, inner),) = self.analysis.operands(instr, index)
        value = self.real(self.element(operand, inner), INT64)
        dtype = self.avals[instr.outs[0]].dtype
        n, zero = (
            self.out.constant(instr.params["n"], dtype),
            self.out.constant(0, dtype),
        )
        if dtype.kind == "u":
            self.out.append(
                Check(self.out.let("lt", (value, n), BOOL)),
                self.out.depth_of_value[value],
            )
            return value
        negative = self.out.let("lt", (value, zero), BOOL)
        turned = self.out.let("add", (value, n), dtype)
        out = self.out.let("select", (negative, turned, value), dtype)
        low = self.out.let("ge", (out, zero), BOOL)
        high = self.out.let("lt", (out, n), BOOL)
        good = self.out.let("logical_and", (low, high), BOOL)
        self.check(good)
        return out

    def check(self, value: int) -> None:
        self.out.append(Check(value), self.out.depth_of_value[value])

    def view(self, ref: int) -> Buffer:
        """A general reshape: the operand's memory with the result's shape."""
        if ref not in self.views:
            (operand,) = self.analysis.instr_of[ref].args
            self.views[ref] = self.whole(operand, self.avals[ref].shape)
        return self.views[ref]

    def whole(self, ref: int, shape: tuple[int, ...] | None = None) -> Buffer:
        """The memory that holds all of `ref`, seen with `shape`."""
        shape = self.avals[ref].shape if shape is None else shape
        ref = self.analysis.under(ref)
        buffer = self.args[ref] if ref in self.args else self.memory[ref].buffer
        if shape == buffer.shape:
            return buffer
        base = buffer.of or buffer
        return Buffer(base.kind, base.number, shape, base.dtype, base, buffer.at)

    def real(self, value: int, dtype: np.dtype) -> int:
        """The value, or a constant zero if it is padding."""
        return self.out.constant(0, dtype) if value == ZERO else value
