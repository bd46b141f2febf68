"""Emitting: placed roots become statements.

Elements are memoised per scope and made in the outermost scope that has all they depend
on, so what does not change in a loop stands in front of it.  A loop is cut where a
pieced operand changes its part or a shorter root ends; a part of length one is no loop.
"""

from __future__ import annotations

import functools
from itertools import pairwise, product
from typing import Any

import numpy as np

from ...interpret import evaluate
from ...ops.host import checked, host_call
from ...program import (
    STATIC_LIMIT,
    Accumulate,
    Affine,
    Buffer,
    Call,
    Exit,
    Host,
    Program,
    Size,
)
from ...tape import Instr, Tape
from ...text import rule_name
from .access import DYNAMIC, ZERO_INDEX
from .arrange import arrange
from .branched import Branches
from .place import Level, Loop, flat_axes
from .roots import Analysis, Root, is_flat
from .storage import Memory, new_buffer, plan
from .writer import BOOL, INT64, ZERO, Writer

__all__ = ["emit"]


def emit(tape: Tape, captures: int) -> Program:
    """Write the program of a whole tape."""
    program = Program(tape.name, captures=captures)
    analysis, roots, level = arrange(tape)
    emitter = Emitter(analysis, roots, Writer(program))
    for number, ref in enumerate(tape.inputs):
        aval = analysis.avals[ref]
        emitter.args[ref] = Buffer("arg", number, aval.shape, aval.dtype)
        emitter.steady[ref] = 0
        program.args.append(emitter.args[ref])
    outputs: dict[int, Buffer] = {}
    for number, ref in enumerate(tape.outputs):
        aval = analysis.avals[ref]
        if aval.shape != () and ref not in emitter.args and ref not in outputs:
            outputs[ref] = Buffer("out", number, aval.shape, aval.dtype)
    emitter.run(level, outputs)
    for ref in tape.outputs:
        if tape.avals[ref].shape == ():
            program.outputs.append(emitter.element(ref, ()))
        else:
            program.outputs.append(outputs.get(ref) or emitter.args[ref])
    return program


class Emitter(Branches):
    """Writes one tape's roots.

    Attributes:
        binding: for each root, what its axes are bound to at the moment.
        open_accs: (root, constants of its flat axes) -> its accumulators.
    """

    def __init__(self, analysis: Analysis, roots: list[Root], out: Writer) -> None:
        super().__init__(analysis, roots, out)
        self.binding: dict[Root, dict[int, Affine]] = {r: {} for r in roots}
        self.open_accs: dict[Any, tuple[int, ...]] = {}

    def run(self, level: Level, outputs: dict[int, Buffer]) -> None:
        """Write everything; `outputs` says where array outputs have to be."""
        program = self.out.program
        self.memory = plan(self.analysis, self.roots, program, outputs)
        self.hand_over(outputs)
        for ref, source in self.analysis.memory.items():
            buffer = self.args[source]
            self.memory[ref] = Memory(buffer, tuple(range(len(buffer.shape))))
        self.level(level, None)

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
                self.guard(item.instr)
            elif item.kind == "call":
                self.call(item)
            elif item.kind == "branch":
                self.branched(item)
            elif item.kind == "write":
                self.in_place(item)
            else:
                self.rolled(item)

    def guard(self, instr: Instr) -> None:
        value, *number = [self.element(a, ()) for a in instr.args]
        expected, exit = instr.params["expected"], instr.params["exit"]
        dtype = self.out.program.dtypes[value]
        # Labels: that two guards expect the same, or the number of one, is chance.
        wanted = self.out.constant(Size(expected, ("expected", exit)), dtype)
        status = self.out.constant(Size(exit + 1, ("exit", exit)), INT64)
        if number:
            status = self.out.let("add", (status, *number), INT64)
        self.out.body.append(Exit(value, wanted, status))

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
        edges = [_edge(at, loop.size) for at in sorted(cuts)]
        for lo, hi in pairwise(edges):
            inside = {r for r in entries if r.space[loop.axis[r]] >= hi}
            if hi - lo == 1:
                for root in inside:
                    self.binding[root][loop.axis[root]] = Affine(None, 0, lo)
                self.level(loop.level, inside)
                continue
            var = self.out.enter()
            self.range_of[var] = (lo, hi)
            for root in inside:
                self.binding[root][loop.axis[root]] = Affine(var, 1, 0)
            self.level(loop.level, inside)
            self.out.leave(var, lo, hi)
        for root in entries:
            # A loop over nothing has bound nothing.
            self.binding[root].pop(loop.axis[root], None)
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
            self.remember(root.ref, result, value)
            self.save(root.ref, result, value)
        elif root.kind == "put":
            value = self.element(*self.need(root, 0, index))
            target = tuple(_bind(entry, index) for entry in root.target)
            self.out.store(self.memory[root.ref].buffer, target, value)
        elif root.kind == "write":
            self.write(root, index)
        elif root.kind == "scatter":
            value = self.element(*self.need(root, 0, index))
            position = self.element(*self.need(root, 1, index))
            assert root.instr is not None
            axis = root.instr.params["axis"]
            ndim = self.avals[root.instr.args[1]].ndim
            target = (*index[:axis], position, *index[axis + ndim :])
            self.out.store(self.memory[root.ref].buffer, target, value, add=True)
        elif root.kind == "reduce":
            self.reduce(root, index, result)
        elif root.kind == "scan":
            assert root.instr is not None
            kind = "sum" if root.instr.prim.name == "cumsum" else "prod"
            (acc,) = self.acc_of(root, index)
            value = self.element(*self.need(root, 0, index))
            value = self.real(value, self.avals[root.ref].dtype)
            self.out.body.append(Accumulate(acc, kind, value))
            value = self.out.read(acc, self.avals[root.ref].dtype)
            self.remember(root.ref, result, value)
            self.save(root.ref, result, value)
        else:
            self.best(root, index)

    def in_place(self, root: Root) -> None:
        """A write that stands alone, over memory that is read elsewhere, too."""
        if is_flat([root.space[a] for a in root.order]):
            self.on_spot(root)
            return
        index = [ZERO_INDEX] * len(root.space)
        for axis in root.order:
            var = self.out.enter()
            self.range_of[var] = (0, root.space[axis])
            index[axis] = Affine(var, 1, 0)
        self.visit(root, tuple(index))
        for axis in reversed(root.order):
            inner = index[axis].var
            assert inner is not None
            self.out.leave(inner, 0, root.space[axis])

    def write(self, root: Root, index: tuple[Affine, ...]) -> None:
        assert root.instr is not None
        value = self.element(*self.need(root, 0, index))
        target: list[Any] = []
        for entry in root.target:
            if isinstance(entry, Affine):
                target.append(_bind(entry, index))
                continue
            number, inner = entry
            place = self.element(*self.need(root, number, index))
            if inner is not None and inner != ZERO_INDEX:
                inner = self.out.counter(_bind(inner, index))
                place = self.out.let("add", (place, inner), INT64)
            target.append(place)
        added = root.instr.params["add"]
        self.out.store(self.memory[root.ref].buffer, tuple(target), value, add=added)

    def reduce(
        self, root: Root, index: tuple[Affine, ...], result: tuple[Affine, ...]
    ) -> None:
        assert root.instr is not None
        kind = root.instr.prim.name
        value = self.element(*self.need(root, 0, index))
        if value == ZERO and kind == "sum":
            return
        value = self.real(value, self.avals[root.ref].dtype)
        if self.accumulates_in_memory(root):
            memory = self.memory[root.ref]
            target = tuple(result[j] for j in memory.axes)
            if kind == "sum":
                self.out.store(memory.buffer, target, value, add=True)
            else:
                old = self.out.load(memory.buffer, target, self.out.depth)
                new = self.out.let(
                    _COMBINE[kind], (old, value), self.out.program.dtypes[old]
                )
                self.out.store(memory.buffer, target, new)
            return
        (acc,) = self.acc_of(root, index)
        self.out.body.append(Accumulate(acc, kind, value))

    def best(self, root: Root, index: tuple[Affine, ...]) -> None:
        """One step of argmax or argmin: strictly better, or the first NaN, wins."""
        assert root.instr is not None
        best, where = self.acc_of(root, index)
        dtype = self.avals[root.instr.args[0]].dtype
        value = self.real(self.element(*self.need(root, 0, index)), dtype)
        old, old_at = self.out.read(best, dtype), self.out.read(where, INT64)
        here = self.out.counter(index[root.instr.params["axis"]])
        better = "gt" if root.instr.prim.name == "argmax" else "lt"
        wins = self.out.let(better, (value, old), BOOL)
        start = self.out.let("eq", (old_at, self.out.constant(-1, INT64)), BOOL)
        wins = self.out.let("logical_or", (wins, start), BOOL)
        if dtype.kind == "f":
            nan = self.out.let("isnan", (value,), BOOL)
            old_number = self.out.let(
                "logical_not", (self.out.let("isnan", (old,), BOOL),), BOOL
            )
            first = self.out.let("logical_and", (nan, old_number), BOOL)
            wins = self.out.let("logical_or", (wins, first), BOOL)
        new = self.out.let("select", (wins, value, old), dtype)
        new_at = self.out.let("select", (wins, here, old_at), INT64)
        self.out.body.append(Accumulate(best, "set", new))
        self.out.body.append(Accumulate(where, "set", new_at))

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
        return root.instr.prim.name in ("unslice", "diag_embed")

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
            self.out.fill(self.memory[root.ref].buffer, (), self.out.constant(0, dtype))
            return
        if self.accumulates_in_memory(root):
            memory = self.memory[root.ref]
            start = self.out.constant(_start(root.instr.prim.name, dtype), dtype)
            fixed: list[Affine | None] = []
            for j in memory.axes:
                k = root.kept[j]
                if k is None:
                    fixed.append(ZERO_INDEX)
                else:
                    fixed.append(self.binding[root].get(k))
            self.out.fill(memory.buffer, tuple(fixed), start)
            return
        flat = self.kept_flat(root)
        for point in product(*[range(root.space[a]) for a in flat]):
            accs: tuple[int, ...]
            if root.kind == "arg":
                of = self.avals[root.instr.args[0]].dtype
                accs = (
                    self.out.accumulator(of, 0),
                    self.out.accumulator(INT64, -1),
                )
            elif root.kind == "scan":
                sums = root.instr.prim.name == "cumsum"
                accs = (self.out.accumulator(dtype, 0 if sums else 1),)
            else:
                accs = (
                    self.out.accumulator(dtype, _start(root.instr.prim.name, dtype)),
                )
            self.open_accs[root, point] = accs

    def acc_of(self, root: Root, index: tuple[Affine, ...]) -> tuple[int, ...]:
        point = tuple(index[a].offset for a in self.kept_flat(root))
        return self.open_accs[root, point]

    def close(self, root: Root) -> None:
        if root.kind in (
            "scatter",
            "put",
            "write",
            "scan",
        ) or self.accumulates_in_memory(root):
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
            value = self.out.read(accs[-1], dtype)
            self.remember(root.ref, tuple(result), value)
            self.save(root.ref, tuple(result), value)

    # -- elements --------------------------------------------------------------------

    def need(
        self, root: Root, which: int, index: tuple[Affine, ...]
    ) -> tuple[int, tuple[Affine, ...]]:
        ref, pattern = root.needs[which]
        return ref, tuple(_bind(entry, index) for entry in pattern)

    def result_index(self, root: Root, index: tuple[Affine, ...]) -> tuple[Affine, ...]:
        return tuple(ZERO_INDEX if k is None else index[k] for k in root.kept)

    # -- statements --------------------------------------------------------------------

    def call(self, root: Root) -> None:
        assert root.instr is not None
        instr = root.instr
        name = instr.prim.name
        outs = tuple(self.memory[r].buffer for r in instr.outs)
        ins = tuple(self.in_memory(a) for a in instr.args)
        params = instr.params
        if instr.prim.host:
            hosts = self.out.program.hosts
            name, params = "host", {"number": len(hosts)}
            hosts.append(_host(instr))
        if name == "dot":
            (a_axes, b_axes), rank = params["contract"], self.avals[instr.args[0]].ndim
            name = "gemm"
            params = {"ta": a_axes == (rank - 2,), "tb": b_axes == (rank - 1,)}
        self.out.body.append(Call(name, ins, outs, dict(params)))

    def in_memory(self, ref: int) -> Buffer:
        """All of `ref` in memory: a scalar is put there."""
        aval = self.avals[ref]
        if aval.shape != ():
            return self.whole(ref)
        cell = new_buffer(self.out.program, (), aval.dtype)
        self.out.store(cell, (), self.real(self.element(ref, ()), aval.dtype))
        return cell

    def save(self, ref: int, result: tuple[Affine, ...], value: int) -> None:
        memory = self.memory.get(ref)
        if memory is not None:
            self.out.store(memory.buffer, tuple(result[j] for j in memory.axes), value)


def _host(instr: Instr) -> Host:
    """What a kernel calls for an instr of a host row."""
    rule = instr.params.get("rule")
    name = instr.prim.name if rule is None else rule_name(rule)
    prim, params = instr.prim, instr.params
    if prim is host_call:
        where = str(instr.source) if instr.source is not None else ""
        run = checked(rule, params["outs"], where)
        native = getattr(rule, "native", None)
        trusted, into = getattr(rule, "trusted", False), getattr(rule, "into", None)
        return Host(name, run, trusted, native, into)
    into = prim.into
    return Host(
        name,
        lambda *arrays: evaluate(prim, list(arrays), params),
        trusted=True,
        into=None if into is None else functools.partial(into, **params),
    )


def _edge(at: int, size: int) -> int:
    """A cut of a loop, counted from its end if it is near that."""
    if at == size:
        return size
    if at > STATIC_LIMIT and isinstance(size, Size) and size - at <= STATIC_LIMIT:
        root, offset = size.label
        return Size(at, (root, offset + at - size))
    return at


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
