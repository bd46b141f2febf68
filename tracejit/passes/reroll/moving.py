"""Numbers that each round has of its own, in a loop that is being woven.

A constant that differs from round to round is counted, or a row of a table.  A slice
whose start differs is a row, or gathered at such numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...avals import Aval
from ...ops.indexing import gather
from ...ops.logic import cast
from ...ops.structural import iota, reshape, slice_, transpose
from ...tape import Builder, Ref
from .branches import Block, Differ, Formulas, Operand, Step
from .classes import Key
from .scope import Scope

__all__ = ["Moving"]

_I64 = np.dtype(np.int64)


class Moving:
    """What depends on the number of the round; `weave` writes the rest.

    Attributes:
        fixed: values from before the loop, by ref; they are inputs of the body.
        rows: inputs of the body that are rows of stacks, and what makes the stacks.
    """

    builder: Builder
    tree: Block
    formulas: Formulas
    table: Callable[[np.ndarray], Ref]
    root: Scope
    counter: Ref

    def __init__(self, first: int, trip: int) -> None:
        self.first, self.trip = first, trip
        self.values: dict[int, Sequence[Any]] = {}
        self.fixed: dict[int, Ref] = {}
        self.rows: dict[Key, tuple[Ref, Callable[[], int]]] = {}

    def key(self, operand: Operand) -> Key:
        raise NotImplementedError

    def settle_params(self) -> None:
        """The values of all params that may differ, for all rounds."""
        for block in self.tree.walk():
            for step in block.steps:
                if step.param:
                    self.values[id(step)] = self.all_values(block, step)

    def all_values(self, block: Block, step: Step) -> Sequence[Any]:
        rounds = range(self.first, self.first + self.trip)
        if not block.way:
            return [step.values[k] for k in rounds]
        found = self.formulas(step, step.values)
        if found is None:
            raise Differ("a number is not known for all rounds")
        return [found[k] for k in rounds]

    def provide(self, key: Key) -> Ref:
        """A value of the body that is made when somebody asks for it."""
        kind, what = key
        if kind == "fixed":
            if what not in self.fixed:
                self.fixed[what] = self.root.builder.new(self.builder.avals[what])
            return self.fixed[what]
        if kind == "number":
            _, values, dtype = what
            return self.number(key, values, dtype)
        if kind == "rows":
            return self.rows[key][0]
        raise Differ("a value is read that no name holds")

    def number(self, key: Key, values: tuple[Any, ...], dtype: np.dtype) -> Ref:
        """A number of the round: counted if that is exact, else from a table."""
        builder = self.root.builder
        saved, builder.source = builder.source, None
        if dtype.kind in "iu" and self.trip > 1:
            pace = values[1] - values[0]
            if all(v == values[0] + n * pace for n, v in enumerate(values)):
                moved = self.counter * pace if pace != 1 else self.counter
                moved = moved + values[0] if values[0] else moved
                builder.source = saved
                return moved if dtype == _I64 else cast(moved, dtype=dtype)
        builder.source = saved
        row = builder.new(Aval((), dtype))
        self.rows[key] = row, lambda: self.table(np.array(values, dtype)).index
        return row

    def moving_slice(
        self, step: Step, starts: Sequence[tuple[int, ...]], scope: Scope
    ) -> Ref:
        """A slice whose start moves: a row, or gathered at the positions."""
        size, stride = step.instr.params["size"], step.instr.params["step"]
        moving = [
            k for k in range(len(size)) if any(s[k] != starts[0][k] for s in starts)
        ]
        key = self.key(step.operands[0])
        if len(moving) == 1 and size[moving[0]] == 1 and key[0] == "fixed":
            (axis,) = moving
            pace = starts[1][axis] - starts[0][axis]
            even = all(
                s[axis] == starts[0][axis] + n * pace for n, s in enumerate(starts)
            )
            if even and pace:
                row = scope.get(self.row(key[1], starts[0], size, stride, axis, pace))
                return reshape(row, shape=step.avals[0].shape)
        array = scope.get(key)
        whole = [(0, m, 1) for m in array.shape]
        for k in range(len(size)):
            if k not in moving:
                whole[k] = starts[0][k], size[k], stride[k]
        begin, length, steps = zip(*whole, strict=True)
        if (length, begin) != (array.shape, (0,) * len(size)) or any(
            s != 1 for s in steps
        ):
            array = slice_(array, start=begin, size=length, step=steps)
        for k in moving:
            column = tuple(s[k] for s in starts)
            at = scope.get(("number", ((id(step), k), column, _I64)))
            params = {"shape": (size[k],), "axis": 0, "dtype": _I64}
            along = scope.builder.emit(iota, (), params)
            array = gather(array, along * stride[k] + at, axis=k)
        return array

    def moving_update(
        self, step: Step, starts: Sequence[tuple[int, ...]], scope: Scope
    ) -> Ref:
        """A write whose place moves: its start is computed in each round."""
        params = step.instr.params
        start, axes = list(params["start"]), list(params["axes"])
        old, part, *at = [scope.get(self.key(o)) for o in step.operands]
        for k in range(len(start)):
            column = tuple(s[k] for s in starts)
            start[k] = column[0]
            if all(at == column[0] for at in column):
                continue
            start[k] = 0
            moved = scope.get(("number", ((id(step), k), column, _I64)))
            if k in axes:
                number = axes.index(k)
                at[number] = at[number] + moved
            else:
                axes.append(k)
                at.append(moved)
        params = {**params, "start": tuple(start), "axes": tuple(axes)}
        out: Ref = scope.builder.emit(step.instr.prim, [old, part, *at], params)
        return out

    def row(
        self,
        ref: int,
        start: tuple[int, ...],
        size: tuple[int, ...],
        stride: tuple[int, ...],
        axis: int,
        pace: int,
    ) -> Key:
        """The row of a strided slice that belongs to a round."""
        key = ("rows", (ref, start, size, stride, axis, pace))
        if key not in self.rows:
            aval = self.builder.avals[ref]
            shape = (*size[:axis], *size[axis + 1 :])
            inner = self.root.builder.new(Aval(shape, aval.dtype))

            def make() -> int:
                whole = (*size[:axis], self.trip, *size[axis + 1 :])
                steps = (*stride[:axis], pace, *stride[axis + 1 :])
                rows = slice_(
                    self.builder.ref(ref), start=start, size=whole, step=steps
                )
                if axis:
                    perm = (axis, *[k for k in range(len(size)) if k != axis])
                    rows = transpose(rows, perm=perm)
                return rows.index

            self.rows[key] = inner, make
        return key
