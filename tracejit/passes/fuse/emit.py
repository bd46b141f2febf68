"""Emitting: placed roots become statements.

Elements are memoised per scope and made in the outermost scope that has all they depend
on, so what does not change in a loop stands in front of it.  A loop is cut where a
pieced operand changes its part or a shorter root ends; a part of length one is no loop.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ...primitive import PRIMITIVES
from ...program import (
    Accumulate,
    Accumulator,
    Affine,
    Buffer,
    Call,
    Check,
    Const,
    Counter,
    Exit,
    For,
    Let,
    Load,
    Program,
    Read,
    Statement,
    Store,
)
from ...tape import Instr
from .access import DYNAMIC, VIEWS, ZERO_INDEX, is_general_reshape, pieces
from .place import Level, Loop, flat_axes
from .roots import Analysis, Root
from .storage import plan

__all__ = ["emit"]

INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
#: The value of padding: no statement, and absorbed by what it is added to.
ZERO = -1
PASS_THROUGH = frozenset(("copy", "stop_gradient", "barrier"))
#: Exponents written as multiplications (at most 2 ulp from pow).
POWERS = frozenset(range(-4, 9))


class Scope:
    """One block of statements under construction, with what is known in it."""

    def __init__(self, var: int | None, body: list[Statement]) -> None:
        self.var = var
        self.body = body
        self.memo: dict[Any, int] = {}


def emit(analysis: Analysis, roots: list[Root], level: Level, captures: int) -> Program:
    """Write the program for placed roots."""
    return Emitter(analysis, roots, captures).run(level)


class Emitter:
    def __init__(self, analysis: Analysis, roots: list[Root], captures: int) -> None:
        self.analysis = analysis
        self.avals = analysis.avals
        tape = analysis.tape
        self.program = Program(tape.name, captures=captures)
        self.args: dict[int, Buffer] = {}
        for number, ref in enumerate(tape.inputs):
            aval = self.avals[ref]
            buffer = Buffer("arg", number, aval.shape, aval.dtype)
            self.program.args.append(buffer)
            self.args[ref] = buffer
        self.memory = plan(analysis, roots, self.program)
        self.views: dict[int, Buffer] = {}
        self.scopes = [Scope(None, self.program.body)]
        self.depth_of_var: dict[int, int] = {}
        self.depth_of_value: list[int] = []
        self.range_of: dict[int, tuple[int, int]] = {}
        self.binding: dict[Root, dict[int, Affine]] = {r: {} for r in roots}
        self.accs = 0
        self.vars = 0
        # (root, kept flat indices) -> accumulator numbers
        self.open_accs: dict[Any, tuple[int, ...]] = {}

    def run(self, level: Level) -> Program:
        self.level(level, None)
        seen: dict[int, Buffer | int] = {}
        for ref in self.analysis.tape.outputs:
            if ref not in seen:
                if ref in self.args and self.avals[ref].shape != ():
                    seen[ref] = self.args[ref]
                elif self.avals[ref].shape == ():
                    seen[ref] = self.element(ref, ())
                else:
                    seen[ref] = self.memory[ref].buffer
            self.program.outputs.append(seen[ref])
        return self.program

    # -- levels and loops --------------------------------------------------------

    def level(self, level: Level, active: set[Root] | None) -> None:
        for position, ahead in enumerate(level.before):
            for root in ahead:
                if active is None or root in active:
                    self.on_spot(root)
            if position == len(level.items):
                break
            item = level.items[position]
            if isinstance(item, Loop):
                self.loop(item, active)
            elif item.kind == "guard":
                assert item.instr is not None
                value = self.element(item.instr.args[0], ())
                params = item.instr.params
                self.body.append(Exit(value, params["expected"], params["exit"]))
            else:
                self.call(item)

    @property
    def body(self) -> list[Statement]:
        return self.scopes[-1].body

    def loop(self, loop: Loop, active: set[Root] | None) -> None:
        entries = [r for r in loop.axis if active is None or r in active]
        if not entries:
            return
        opened = [r for r in entries if self.is_opened_by(r, loop)]
        for root in opened:
            self.open(root, loop)
        cuts = {0, loop.size}
        for root in entries:
            axis = loop.axis[root]
            cuts.add(root.space[axis])
            cuts.update(at for a, at in root.cuts if a == axis)
        edges = sorted(cuts)
        for lo, hi in zip(edges, edges[1:], strict=False):
            inside = {r for r in entries if r.space[loop.axis[r]] >= hi}
            if hi - lo == 1:
                for root in inside:
                    self.binding[root][loop.axis[root]] = Affine(None, 0, lo)
                self.level(loop.level, inside)
                continue
            var = self.vars
            self.vars += 1
            self.depth_of_var[var] = len(self.scopes)
            self.range_of[var] = (lo, hi)
            for root in inside:
                self.binding[root][loop.axis[root]] = Affine(var, 1, 0)
            self.scopes.append(Scope(var, []))
            self.level(loop.level, inside)
            scope = self.scopes.pop()
            self.body.append(For(var, lo, hi, scope.body))
        for root in entries:
            del self.binding[root][loop.axis[root]]
        for root in opened:
            self.close(root)

    def on_spot(self, root: Root) -> None:
        if root.kind == "scalar":
            self.element(root.ref, ())
            return
        flat = flat_axes(root)
        fresh = root.kind in ("reduce", "arg", "scan", "scatter") and not (
            self.is_opened(root)
        )
        put_zero = root.kind == "put" and self.is_first_put(root) and not root.path
        if fresh or put_zero:
            self.open(root, None)
        for point in product(*[range(root.space[a]) for a in flat]):
            bound = dict(zip(flat, point, strict=True))
            index = []
            for axis, n in enumerate(root.space):
                if n == 1:
                    index.append(ZERO_INDEX)
                elif axis in bound:
                    index.append(Affine(None, 0, bound[axis]))
                else:
                    index.append(self.binding[root][axis])
            self.visit(root, tuple(index))
        if fresh:
            self.close(root)

    # -- what a root does at one point of its space --------------------------------

    def visit(self, root: Root, index: tuple[Affine, ...]) -> None:
        result = self.result_index(root, index)
        if root.kind == "store":
            value = self.compute(root.ref, index)
            self.remember((root.ref, result), value)
            self.save(root.ref, result, value)
        elif root.kind == "put":
            value = self.element(*self.need(root, 0, index))
            target = tuple(_bind(entry, index) for entry in root.target)
            self.store(self.memory[root.ref].buffer, target, value)
        elif root.kind == "scatter":
            value = self.element(*self.need(root, 0, index))
            position = self.element(*self.need(root, 1, index))
            assert root.instr is not None
            axis = root.instr.params["axis"]
            ndim = self.avals[root.instr.args[1]].ndim
            target = (*index[:axis], position, *index[axis + ndim :])
            self.store(self.memory[root.ref].buffer, target, value, add=True)
        elif root.kind == "reduce":
            self.reduce(root, index, result)
        elif root.kind == "scan":
            assert root.instr is not None
            kind = "sum" if root.instr.prim.name == "cumsum" else "prod"
            (acc,) = self.acc_of(root, index)
            value = self.real(self.element(*self.need(root, 0, index)), root)
            self.body.append(Accumulate(acc, kind, value))
            value = self.read(acc, self.avals[root.ref].dtype)
            self.remember((root.ref, result), value)
            self.save(root.ref, result, value)
        else:
            self.best(root, index)

    def reduce(
        self, root: Root, index: tuple[Affine, ...], result: tuple[Affine, ...]
    ) -> None:
        assert root.instr is not None
        kind = root.instr.prim.name
        value = self.element(*self.need(root, 0, index))
        if value == ZERO and kind == "sum":
            return
        value = self.real(value, root)
        if self.accumulates_in_memory(root):
            memory = self.memory[root.ref]
            target = tuple(result[j] for j in memory.axes)
            if kind == "sum":
                self.store(memory.buffer, target, value, add=True)
            else:
                old = self.load(memory.buffer, target, len(self.scopes) - 1)
                new = self.let(_COMBINE[kind], (old, value), self.program.dtypes[old])
                self.store(memory.buffer, target, new)
            return
        (acc,) = self.acc_of(root, index)
        self.body.append(Accumulate(acc, kind, value))

    def best(self, root: Root, index: tuple[Affine, ...]) -> None:
        """One step of argmax or argmin: strictly better, or the first NaN, wins."""
        assert root.instr is not None
        best, where = self.acc_of(root, index)
        dtype = self.avals[root.instr.args[0]].dtype
        value = self.real(self.element(*self.need(root, 0, index)), root, dtype)
        old, old_at = self.read(best, dtype), self.read(where, INT64)
        here = self.counter(index[root.instr.params["axis"]])
        better = "gt" if root.instr.prim.name == "argmax" else "lt"
        wins = self.let(better, (value, old), BOOL)
        start = self.let("eq", (old_at, self.constant(-1, INT64)), BOOL)
        wins = self.let("logical_or", (wins, start), BOOL)
        if dtype.kind == "f":
            nan = self.let("isnan", (value,), BOOL)
            old_number = self.let(
                "logical_not", (self.let("isnan", (old,), BOOL),), BOOL
            )
            first = self.let("logical_and", (nan, old_number), BOOL)
            wins = self.let("logical_or", (wins, first), BOOL)
        new = self.let("select", (wins, value, old), dtype)
        new_at = self.let("select", (wins, here, old_at), INT64)
        self.body.append(Accumulate(best, "set", new))
        self.body.append(Accumulate(where, "set", new_at))

    # -- accumulators --------------------------------------------------------------

    def is_opened_by(self, root: Root, loop: Loop) -> bool:
        """Whether this is the outermost loop whose end completes the root."""
        if root.kind in ("scatter", "put"):
            opens = root.path[0][0] is loop
            return opens and (root.kind == "scatter" or self.is_first_put(root))
        if root.kind not in ("reduce", "arg", "scan"):
            return False
        for outer, axis in root.path:
            if self.is_reduced(root, axis):
                return outer is loop
        return False

    def is_opened(self, root: Root) -> bool:
        if root.kind == "scatter":
            return bool(root.path)
        return any(self.is_reduced(root, axis) for _, axis in root.path)

    def is_reduced(self, root: Root, axis: int) -> bool:
        if root.kind == "scan":
            assert root.instr is not None
            return axis == root.instr.params["axis"]
        return axis not in root.kept

    def is_first_put(self, root: Root) -> bool:
        """Whether the root has to clear its buffer (an unslice, a diag_embed)."""
        assert root.instr is not None
        return root.instr.prim.name != "concatenate"

    def accumulates_in_memory(self, root: Root) -> bool:
        first = next(
            (d for d, (_, a) in enumerate(root.path) if a not in root.kept), None
        )
        if first is None:
            return False
        return any(a in root.kept for _, a in root.path[first:])

    def kept_flat(self, root: Root) -> list[int]:
        return [a for a in flat_axes(root) if not self.is_reduced(root, a)]

    def open(self, root: Root, loop: Loop | None) -> None:
        assert root.instr is not None
        dtype = self.avals[root.ref].dtype
        if root.kind in ("scatter", "put"):
            self.fill(self.memory[root.ref].buffer, (), self.constant(0, dtype))
            return
        if self.accumulates_in_memory(root):
            memory = self.memory[root.ref]
            start = self.constant(_start(root.instr.prim.name, dtype), dtype)
            fixed: list[Affine | None] = []
            for j in memory.axes:
                k = root.kept[j]
                if k is None:
                    fixed.append(ZERO_INDEX)
                else:
                    fixed.append(self.binding[root].get(k))
            self.fill(memory.buffer, tuple(fixed), start)
            return
        flat = self.kept_flat(root)
        for point in product(*[range(root.space[a]) for a in flat]):
            if root.kind == "arg":
                of = self.avals[root.instr.args[0]].dtype
                accs = (
                    self.accumulator(of, 0),
                    self.accumulator(INT64, -1),
                )
            elif root.kind == "scan":
                sums = root.instr.prim.name == "cumsum"
                accs = (self.accumulator(dtype, 0 if sums else 1),)
            else:
                accs = (self.accumulator(dtype, _start(root.instr.prim.name, dtype)),)
            self.open_accs[root, point] = accs

    def accumulator(self, dtype: np.dtype, start: Any) -> int:
        acc = self.accs
        self.accs += 1
        value = self.constant(start, dtype)
        self.body.append(Accumulator(acc, dtype, value))
        return acc

    def acc_of(self, root: Root, index: tuple[Affine, ...]) -> tuple[int, ...]:
        point = tuple(index[a].offset for a in self.kept_flat(root))
        return self.open_accs[root, point]

    def close(self, root: Root) -> None:
        if root.kind in ("scatter", "put", "scan") or self.accumulates_in_memory(root):
            return
        flat = self.kept_flat(root)
        dtype = self.avals[root.ref].dtype
        for point in product(*[range(root.space[a]) for a in flat]):
            accs = self.open_accs.pop((root, point))
            bound = dict(zip(flat, point, strict=True))
            result = []
            for k in root.kept:
                if k is None:
                    result.append(ZERO_INDEX)
                elif k in bound:
                    result.append(Affine(None, 0, bound[k]))
                else:
                    result.append(self.binding[root][k])
            value = self.read(accs[-1], dtype)
            self.remember((root.ref, tuple(result)), value)
            self.save(root.ref, tuple(result), value)

    def fill(
        self, buffer: Buffer, fixed: tuple[Affine | None, ...], value: int
    ) -> None:
        """Set a buffer, or the part of it that `fixed` indices select, to a value."""
        fixed = fixed or (None,) * len(buffer.shape)
        index: list[Affine] = []
        bodies: list[list[Statement]] = [self.body]
        fors: list[For] = []
        for n, entry in zip(buffer.shape, fixed, strict=True):
            if entry is not None:
                index.append(entry)
            elif n == 1:
                index.append(ZERO_INDEX)
            else:
                var = self.vars
                self.vars += 1
                index.append(Affine(var, 1, 0))
                fors.append(For(var, 0, n, []))
                bodies.append(fors[-1].body)
        bodies[-1].append(Store(buffer, tuple(index), value))
        for outer, loop in zip(bodies, fors, strict=False):
            outer.append(loop)

    # -- elements --------------------------------------------------------------------

    def need(
        self, root: Root, which: int, index: tuple[Affine, ...]
    ) -> tuple[int, tuple[Affine, ...]]:
        ref, pattern = root.needs[which]
        return ref, tuple(_bind(entry, index) for entry in pattern)

    def result_index(self, root: Root, index: tuple[Affine, ...]) -> tuple[Affine, ...]:
        return tuple(ZERO_INDEX if k is None else index[k] for k in root.kept)

    def element(self, ref: int, index: tuple[Any, ...]) -> int:
        """The scalar value of `ref` at `index` (loop variables or constants)."""
        key = (ref, index)
        for scope in reversed(self.scopes):
            if key in scope.memo:
                return scope.memo[key]
        if ref in self.args:
            value = self.load(self.args[ref], index)
        elif ref in self.memory:
            memory = self.memory[ref]
            # A row of scratch memory changes in loops that its own index lacks.
            depth = max((self.depth_of_entry(e) for e in index), default=0)
            inner = tuple(index[j] for j in memory.axes)
            value = self.load(memory.buffer, inner, depth)
        else:
            value = self.compute(ref, index)
        if value != ZERO:
            self.remember(key, value)
        return value

    def remember(self, key: tuple[int, tuple[Any, ...]], value: int) -> None:
        if value == ZERO:
            return
        depth = self.depth_of_value[value]
        self.scopes[depth].memo[key] = value

    def compute(self, ref: int, index: tuple[Any, ...]) -> int:
        instr = self.analysis.instr_of[ref]
        name = instr.prim.name
        if name == "const":
            return self.constant(instr.params["value"], instr.params["dtype"])
        if name == "reshape" and is_general_reshape(
            instr, self.avals[instr.args[0]].shape
        ):
            return self.load(self.view(ref), index)
        if name in VIEWS or name in PASS_THROUGH:
            ((operand, inner),) = self.analysis.operands(instr, index)
            return self.element(operand, inner)
        if name == "iota":
            value = self.counter(index[instr.params["axis"]])
            dtype = self.avals[ref].dtype
            return value if dtype == INT64 else self.let("cast", (value,), dtype)
        if name in ("concatenate", "unslice"):
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
                base = self.real(self.element(*operands[0]), None, dtype)
                return self.let("powi", (base,), dtype, {"n": n})
        values = [self.element(*o) for o in operands]
        if ZERO in values:
            folded = self.fold_zero(name, values, dtype)
            if folded is not None:
                return folded
            values = [
                self.constant(0, self.avals[a].dtype) if v == ZERO else v
                for v, a in zip(values, instr.args, strict=True)
            ]
        return self.let(name, tuple(values), dtype, instr.params)

    def fold_zero(self, name: str, values: list[int], dtype: np.dtype) -> int | None:
        """Arithmetic with padding (exact up to the sign of a zero)."""
        if name == "add":
            return values[1] if values[0] == ZERO else values[0]
        if name == "sub":
            if values[1] == ZERO:
                return values[0]
            return self.let("neg", (values[1],), dtype)
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
        if array in self.args:
            return self.load(self.args[array], full)
        return self.load(self.memory[array].buffer, full)

    def triangle(self, instr: Instr, index: tuple[Any, ...]) -> int:
        (operand,) = instr.args
        value = self.element(operand, index)
        if value == ZERO:
            return ZERO
        row, column = self.counter(index[-2]), self.counter(index[-1])
        k = self.constant(instr.params["k"], INT64)
        shifted = self.let("sub", (column, row), INT64)
        test = "le" if instr.prim.name == "tril" else "ge"
        keep = self.let(test, (shifted, k), BOOL)
        dtype = self.avals[operand].dtype
        return self.let("select", (keep, value, self.constant(0, dtype)), dtype)

    def wrapped(self, instr: Instr, index: tuple[Any, ...]) -> int:
        ((operand, inner),) = self.analysis.operands(instr, index)
        value = self.real(self.element(operand, inner), None, INT64)
        dtype = self.avals[instr.outs[0]].dtype
        n, zero = self.constant(instr.params["n"], dtype), self.constant(0, dtype)
        if dtype.kind == "u":
            self.append(
                Check(self.let("lt", (value, n), BOOL)), self.depth_of_value[value]
            )
            return value
        negative = self.let("lt", (value, zero), BOOL)
        turned = self.let("add", (value, n), dtype)
        out = self.let("select", (negative, turned, value), dtype)
        low = self.let("ge", (out, zero), BOOL)
        high = self.let("lt", (out, n), BOOL)
        good = self.let("logical_and", (low, high), BOOL)
        self.append(Check(good), self.depth_of_value[good])
        return out

    def view(self, ref: int) -> Buffer:
        """A general reshape: the operand's memory with the result's shape."""
        if ref not in self.views:
            (operand,) = self.analysis.instr_of[ref].args
            self.views[ref] = self.whole(operand, self.avals[ref].shape)
        return self.views[ref]

    def whole(self, ref: int, shape: tuple[int, ...] | None = None) -> Buffer:
        """The memory that holds all of `ref`, seen with `shape`."""
        buffer = self.args[ref] if ref in self.args else self.memory[ref].buffer
        if shape is None or shape == buffer.shape:
            return buffer
        return Buffer(
            buffer.kind, buffer.number, shape, buffer.dtype, buffer.of or buffer
        )

    # -- statements --------------------------------------------------------------------

    def call(self, root: Root) -> None:
        assert root.instr is not None
        instr = root.instr
        name = instr.prim.name
        outs = tuple(self.memory[r].buffer for r in instr.outs)
        ins = tuple(self.whole(a) for a in instr.args)
        params = instr.params
        if name == "dot":
            (a_axes, b_axes), rank = params["contract"], self.avals[instr.args[0]].ndim
            name = "gemm"
            params = {"ta": a_axes == (rank - 2,), "tb": b_axes == (rank - 1,)}
        self.body.append(Call(name, ins, outs, dict(params)))

    def save(self, ref: int, result: tuple[Affine, ...], value: int) -> None:
        memory = self.memory.get(ref)
        if memory is not None:
            self.store(memory.buffer, tuple(result[j] for j in memory.axes), value)

    def store(
        self, buffer: Buffer, index: tuple[Any, ...], value: int, add: bool = False
    ) -> None:
        if value == ZERO:
            if add:
                return
            value = self.constant(0, buffer.dtype)
        self.body.append(Store(buffer, index, value, add))

    def load(
        self, buffer: Buffer, index: tuple[Any, ...], depth: int | None = None
    ) -> int:
        if depth is None:
            depth = max((self.depth_of_entry(e) for e in index), default=0)
        out = self.new_value(buffer.dtype, depth)
        self.scopes[depth].body.append(Load(out, buffer, index))
        return out

    def depth_of_entry(self, entry: Affine | int) -> int:
        if isinstance(entry, int):
            return self.depth_of_value[entry]
        return 0 if entry.var is None else self.depth_of_var[entry.var]

    def counter(self, entry: Affine) -> int:
        key = ("counter", entry)
        depth = 0 if entry.var is None else self.depth_of_var[entry.var]
        memo = self.scopes[depth].memo
        if key not in memo:
            memo[key] = self.new_value(INT64, depth)
            self.scopes[depth].body.append(Counter(memo[key], entry))
        return memo[key]

    def constant(self, value: Any, dtype: np.dtype) -> int:
        key = ("const", repr(value), dtype)
        memo = self.scopes[0].memo
        if key not in memo:
            memo[key] = self.new_value(dtype, 0)
            # Constants stand in front of everything, in order of first use.
            self.scopes[0].body.append(Const(memo[key], value))
        return memo[key]

    def let(
        self,
        name: str,
        args: tuple[int, ...],
        dtype: np.dtype,
        params: dict[str, Any] | None = None,
    ) -> int:
        """A scalar operation, in the outermost scope that has all operands."""
        if name != "powi" and name not in PRIMITIVES:
            raise KeyError(name)
        depth = max((self.depth_of_value[a] for a in args), default=0)
        out = self.new_value(dtype, depth)
        self.scopes[depth].body.append(Let(out, name, args, params or {}))
        return out

    def real(self, value: int, root: Root | None, dtype: np.dtype | None = None) -> int:
        """The value, or a constant zero if it is padding."""
        if value != ZERO:
            return value
        return self.constant(0, dtype or self.avals[root.ref].dtype)  # type: ignore[union-attr]

    def read(self, acc: int, dtype: np.dtype) -> int:
        depth = len(self.scopes) - 1
        out = self.new_value(dtype, depth)
        self.scopes[depth].body.append(Read(out, acc))
        return out

    def append(self, statement: Statement, depth: int) -> None:
        self.scopes[depth].body.append(statement)

    def new_value(self, dtype: np.dtype, depth: int) -> int:
        self.program.dtypes.append(dtype)
        self.depth_of_value.append(depth)
        return len(self.program.dtypes) - 1


_COMBINE = {
    "prod": "mul",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}


def _start(kind: str, dtype: np.dtype) -> Any:
    if kind in ("sum", "any"):
        return 0
    if kind in ("prod", "all"):
        return 1
    if dtype.kind == "f":
        return -np.inf if kind == "max" else np.inf
    if dtype.kind == "b":
        return kind == "min"
    info = np.iinfo(dtype)
    return int(info.min if kind == "max" else info.max)


def _bind(entry: Any, index: tuple[Affine, ...]) -> Any:
    """Put the point `index` of an iteration space into an index in its axes."""
    if entry is DYNAMIC or entry.var is None:
        return entry
    bound = index[entry.var]
    return Affine(
        bound.var, bound.step * entry.step, bound.offset * entry.step + entry.offset
    )
