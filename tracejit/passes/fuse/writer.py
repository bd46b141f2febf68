"""The writer: blocks of statements under construction, and what is known in them.

A scalar value is written into the outermost block that has all it depends on, so what
does not change in a loop stands in front of it.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ...primitive import PRIMITIVES
from ...program import (
    STATIC_LIMIT,
    Accumulator,
    Affine,
    Buffer,
    Const,
    Counter,
    For,
    Let,
    Load,
    Program,
    Read,
    Statement,
    Store,
)
from .access import ZERO_INDEX

__all__ = ["BOOL", "INT64", "ZERO", "Scope", "Writer"]

INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
#: The value of padding: no statement, and absorbed by what it is added to.
ZERO = -1


class Scope:
    """One block, with the values that are known in it."""

    def __init__(self, body: list[Statement]) -> None:
        self.body = body
        self.memo: dict[Any, int] = {}


class Writer:
    """Appends statements; `scopes` are the open blocks, outermost first.

    Nothing but constants is written further out than `floor`: the side of a branch does
    no work, and checks nothing, if it is not taken.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.scopes = [Scope(program.body)]
        self.depth_of_var: dict[int, int] = {}
        self.depth_of_value: list[int] = []
        self.accs = 0
        self.vars = 0
        self.units = 0
        self.floor = 0

    @property
    def body(self) -> list[Statement]:
        return self.scopes[-1].body

    @property
    def depth(self) -> int:
        return len(self.scopes) - 1

    def enter(self) -> int:
        """Open the block of a loop; returns its variable."""
        var = self.new_var()
        self.depth_of_var[var] = len(self.scopes)
        self.scopes.append(Scope([]))
        return var

    def leave(self, var: int, lo: int, hi: int, count: int | None = None) -> None:
        """Close the block and write its loop."""
        scope = self.scopes.pop()
        self.body.append(For(var, lo, hi, scope.body, count))

    def new_unit(self) -> int:
        """A number for the body of a loop."""
        self.units += 1
        return self.units

    def enter_side(self) -> int:
        """Open the block of a side; returns what `leave_side` is to be given."""
        before, self.floor = self.floor, len(self.scopes)
        self.scopes.append(Scope([]))
        return before

    def leave_side(self, before: int) -> list[Statement]:
        """Close the block; returns its statements."""
        self.floor = before
        return self.scopes.pop().body

    def new_var(self) -> int:
        self.vars += 1
        return self.vars - 1

    def new_value(self, dtype: np.dtype, depth: int) -> int:
        self.program.dtypes.append(dtype)
        self.depth_of_value.append(depth)
        return len(self.program.dtypes) - 1

    def append(self, statement: Statement, depth: int) -> None:
        self.scopes[max(depth, self.floor)].body.append(statement)

    def accumulator(self, dtype: np.dtype, start: Any) -> int:
        return self.new_accumulator(dtype, self.constant(start, dtype))

    def new_accumulator(self, dtype: np.dtype, start: int) -> int:
        """Declare an accumulator that starts with a scalar value."""
        self.accs += 1
        self.body.append(Accumulator(self.accs - 1, dtype, start))
        return self.accs - 1

    def store(
        self, buffer: Buffer, index: tuple[Any, ...], value: int, add: bool = False
    ) -> None:
        if value == ZERO:
            if add:
                return
            value = self.constant(0, buffer.dtype)
        self.body.append(Store(buffer, index, value, add))

    def load(self, buffer: Buffer, index: tuple[Any, ...], depth: int) -> int:
        """Load in the block at `depth`, or deeper where a row of a stack changes."""
        depth = max(depth, self.floor)
        for entry in buffer.at:
            depth = max(depth, self.depth_of_entry(entry))
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
        depth = max(depth, self.floor)
        memo = self.scopes[depth].memo
        if key not in memo:
            memo[key] = self.new_value(INT64, depth)
            self.scopes[depth].body.append(Counter(memo[key], entry))
        return memo[key]

    def constant(self, value: Any, dtype: np.dtype) -> int:
        key = ("const", repr(value), getattr(value, "label", None), dtype)
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
        depth = max(depth, self.floor)
        out = self.new_value(dtype, depth)
        self.scopes[depth].body.append(Let(out, name, args, params or {}))
        return out

    def read(self, acc: int, dtype: np.dtype) -> int:
        depth = len(self.scopes) - 1
        out = self.new_value(dtype, depth)
        self.scopes[depth].body.append(Read(out, acc))
        return out

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
                var = self.new_var()
                index.append(Affine(var, 1, 0))
                fors.append(For(var, 0, n, []))
                bodies.append(fors[-1].body)
        bodies[-1].append(Store(buffer, tuple(index), value))
        for outer, loop in zip(bodies, fors, strict=False):
            outer.append(loop)

    def copy(self, target: Buffer, source: Buffer) -> None:
        """Write a loop nest, or plain statements if small, that copies a buffer."""
        axes = [k for k, n in enumerate(target.shape) if n != 1]
        if all(n <= STATIC_LIMIT for n in target.shape) and target.size <= 16:
            for point in product(*[range(n) for n in target.shape]):
                index = tuple(Affine(None, 0, k) for k in point)
                self.store(target, index, self.load(source, index, self.depth))
            return
        entries = {k: Affine(self.enter(), 1, 0) for k in axes}
        index = tuple(entries.get(k, ZERO_INDEX) for k in range(len(target.shape)))
        self.store(target, index, self.load(source, index, self.depth))
        for k in reversed(axes):
            var = entries[k].var
            assert var is not None
            self.leave(var, 0, target.shape[k])
