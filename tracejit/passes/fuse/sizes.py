"""Sizes: which axes have the same length because of what the program does.

A kernel must not depend on two lengths being equal by chance: a batch of 64 examples
with 64 features is the same code as a batch of 32.  So every length above the static
limit is a symbol plus an offset; operations unify the symbols of axes that they pair.
`x[1:]` has the length of `x` less one; anything further away is a symbol of its own.

The symbols are found by union and find with offsets.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...avals import Aval
from ...program import STATIC_LIMIT, Size
from ...tape import Instr, Tape
from .access import axis_map

__all__ = ["labelled"]

#: A length this close to another one is counted from it.
NEAR = 8


def labelled(tape: Tape, unit: int = 0) -> list[Aval]:
    """The avals of a tape, their shapes made of `Size` with labels.

    Args:
        unit: a number of its own for each tape of one program, part of all labels.
    """
    sizes = _Sizes(tape, unit)
    for instr in tape.instrs:
        sizes.visit(instr)
    return [
        Aval(tuple(sizes.size(ref, k) for k in range(len(a.shape))), a.dtype)
        for ref, a in enumerate(tape.avals)
    ]


class _Sizes:
    """The forest: parent of each symbol, and the offset to it."""

    def __init__(self, tape: Tape, unit: int) -> None:
        self.avals = tape.avals
        self.unit = unit
        self.parent: list[tuple[int, int]] = []
        self.symbol: dict[tuple[int, int], int] = {}

    def of(self, ref: int, axis: int) -> tuple[int, int]:
        """Root symbol and offset of an axis."""
        key = (ref, axis)
        if key not in self.symbol:
            self.symbol[key] = len(self.parent)
            self.parent.append((len(self.parent), 0))
        return self.find(self.symbol[key])

    def find(self, symbol: int) -> tuple[int, int]:
        path, offset = [], 0
        while self.parent[symbol][0] != symbol:
            path.append(symbol)
            symbol = self.parent[symbol][0]
        for s in reversed(path):
            offset += self.parent[s][1]
            self.parent[s] = (symbol, offset)
        return symbol, offset

    def size(self, ref: int, axis: int) -> int:
        n = self.avals[ref].shape[axis]
        if n <= STATIC_LIMIT:
            return n
        symbol, offset = self.of(ref, axis)
        return Size(n, ((self.unit, symbol), offset))

    def tie(self, a: tuple[int, int], b: tuple[int, int]) -> None:
        """Two axes whose lengths are equal, or differ by a little on purpose."""
        difference = self.avals[b[0]].shape[b[1]] - self.avals[a[0]].shape[a[1]]
        lengths = [self.avals[r].shape[k] for r, k in (a, b)]
        if min(lengths) <= STATIC_LIMIT or abs(difference) > NEAR:
            return
        (root_a, off_a), (root_b, off_b) = self.of(*a), self.of(*b)
        if root_a != root_b:
            # value(b) = value(a) + difference, value(x) = value(root) + offset
            self.parent[root_b] = (root_a, off_a + difference - off_b)

    def visit(self, instr: Instr) -> None:
        name, family = instr.prim.name, instr.prim.family
        if not instr.outs or not instr.args or instr.prim.host:
            return
        out = instr.outs[0]
        rank = len(self.avals[out].shape)
        ranks = [len(self.avals[a].shape) for a in instr.args]
        if name == "reshape":
            old, new = self.avals[instr.args[0]].shape, self.avals[out].shape
            for k, axis in enumerate(axis_map(old, new) or _leading(old, new)):
                if axis is not None:
                    self.tie((instr.args[0], k), (out, axis))
        elif name == "transpose":
            for k, axis in enumerate(instr.params["perm"]):
                self.tie((instr.args[0], axis), (out, k))
        elif name == "branch":
            pass  # its operands have nothing to do with each other
        elif name == "loop":
            self.loop(instr)
        elif name == "dot":
            self.dot(instr)
        elif name in ("gather", "scatter_add"):
            self.gather(instr)
        elif name in ("update", "scatter"):
            self.write(instr)
        elif name in ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"):
            axes = instr.params.get("axes") or (instr.params.get("axis"),)
            kept = [k for k in range(ranks[0]) if k not in axes]
            for k, axis in enumerate(kept):
                self.tie((instr.args[0], axis), (out, k))
        elif name in ("diagonal", "diag_embed", "mask_indices"):
            return
        elif name in ("solve", "triangular_solve", "cholesky_vjp", "lu_solve"):
            a, b = instr.args[0], instr.args[-1]
            ranks = [ranks[0], ranks[-1]]
            self.tie((a, ranks[0] - 2), (a, ranks[0] - 1))
            self.tie((a, ranks[0] - 1), (b, ranks[1] - 2))
            for k in range(rank):
                self.tie((b, k), (out, k))
        elif name in ("cholesky", "inv", "det", "slogdet", "lu", "lu_inv"):
            a = instr.args[0]
            self.tie((a, ranks[0] - 2), (a, ranks[0] - 1))
            for k in range(rank):
                self.tie((a, k), (out, k))
        elif name == "concatenate":
            for k in range(rank):
                parts = [self.avals[a].shape[k] for a in instr.args]
                if k != instr.params["axis"]:
                    for a in instr.args:
                        self.tie((a, k), (out, k))
                else:
                    large = [i for i, n in enumerate(parts) if n > STATIC_LIMIT]
                    if len(large) == 1:
                        self.tie((instr.args[large[0]], k), (out, k))
        elif name in ("slice", "unslice"):
            for k, step in enumerate(instr.params["step"]):
                if abs(step) == 1:
                    self.tie((instr.args[0], k), (out, k))
        elif family == "elementwise" or all(r <= rank for r in ranks):
            # Broadcasting, views and scans: axes are aligned from the right.
            for a, r in zip(instr.args, ranks, strict=True):
                for k in range(r):
                    if self.avals[a].shape[k] == self.avals[out].shape[rank - r + k]:
                        self.tie((a, k), (out, rank - r + k))

    def dot(self, instr: Instr) -> None:
        a, b = instr.args
        (a_con, b_con), (a_bat, b_bat) = instr.params["contract"], instr.params["batch"]
        for i, j in zip((*a_con, *a_bat), (*b_con, *b_bat), strict=True):
            self.tie((a, i), (b, j))
        sources = [(a, k) for k in a_bat]
        for ref, con, bat in ((a, a_con, a_bat), (b, b_con, b_bat)):
            sources += [
                (ref, k)
                for k in range(len(self.avals[ref].shape))
                if k not in con and k not in bat
            ]
        for k, source in enumerate(sources):
            self.tie(source, (instr.outs[0], k))

    def gather(self, instr: Instr) -> None:
        array, positions = instr.args
        out = instr.outs[0]
        axis, n = instr.params["axis"], len(self.avals[positions].shape)
        # scatter_add is the transpose: what comes out of one goes into the other.
        long, short = (out, array) if instr.prim.name == "gather" else (array, out)
        for k in range(axis):
            self.tie((short, k), (long, k))
        for k in range(n):
            self.tie((positions, k), (long, axis + k))
        for k in range(axis + 1, len(self.avals[short].shape)):
            self.tie((short, k), (long, k - 1 + n))

    def write(self, instr: Instr) -> None:
        old, part, *at = instr.args
        rank = len(self.avals[old].shape)
        for k in range(rank):
            self.tie((old, k), (instr.outs[0], k))
        if instr.prim.name == "update":
            for k, step in enumerate(instr.params["step"]):
                if abs(step) == 1 and k not in instr.params["axes"]:
                    self.tie((old, k), (part, k))
            return
        axis, n = instr.params["axis"], len(self.avals[at[0]].shape)
        for k in range(rank):
            if k != axis:
                self.tie((old, k), (part, k if k < axis else k - 1 + n))
        for k in range(n):
            self.tie((at[0], k), (part, axis + k))

    def loop(self, instr: Instr) -> None:
        consts, carries = instr.params["consts"], instr.params["carries"]
        starts = instr.args[consts : consts + carries]
        for start, out in zip(starts, instr.outs, strict=False):
            for k in range(len(self.avals[out].shape)):
                self.tie((start, k), (out, k))
        stacks = [*instr.args[consts + carries :], *instr.outs[carries:]]
        for stack in stacks[1:]:
            self.tie((stacks[0], 0), (stack, 0))


def _leading(old: Sequence[int], new: Sequence[int]) -> list[int | None]:
    """The axes that a general reshape leaves alone: equal ones in front and behind."""
    found: list[int | None] = [None] * len(old)
    for k, (m, n) in enumerate(zip(old, new, strict=False)):
        if m != n:
            break
        found[k] = k
    return found
