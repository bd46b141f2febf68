"""Rows of stacks: what is read of earlier iterations of a loop, behind the loop.

%8 = reshape %5 {shape=(1,)}                  %8 = copy %7
%9 = reshape %6 {shape=(1,)}            ->
%10 = concatenate %8 %9 {axis=0}              (%5, %6: rows 0 and 1 of the stack %7)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from ...avals import Aval
from ...primitive import PRIMITIVES
from ...tape import Builder, Instr
from .rewrite import Rolled

__all__ = ["join_rows", "unstack"]


def unstack(
    builder: Builder, instrs: list[Instr], loops: Iterable[Rolled], live: Set[int]
) -> list[Instr]:
    """Instrs with loops among them, and with all that is read of earlier iterations.

    Rows that are put together again are taken from their stack in one piece.

    Args:
        loops: what came in the place of runs, anywhere among the instrs.
        live: refs that are wanted whatever the instrs read.
    """
    behind = {loop.instrs[-1]: loop for loop in loops if loop.rows}
    if not behind:
        return instrs
    row_of = {ref: row for loop in behind.values() for ref, row in loop.rows.items()}
    rest = join_rows(builder, instrs, row_of, live)
    used = {a for i in rest for a in i.args} | live
    found: list[Instr] = []
    for instr in rest:
        found.append(instr)
        if instr not in behind:
            continue
        loop = behind[instr]
        defined = {out for made in loop.instrs for out in made.outs}
        for ref, (stack, rep) in loop.rows.items():
            if ref in used and ref not in defined:
                row = _rows(builder, found, stack, rep, rep + 1)
                params = {"shape": builder.avals[ref].shape}
                prim = PRIMITIVES["reshape"]
                found.append(Instr(prim, (row,), params, (ref,), None))
    return found


class _Row(NamedTuple):
    """A row of a stack, perhaps with further axes of length 1, or rows side by side."""

    stack: int
    lo: int
    hi: int
    shape: tuple[int, ...]


def join_rows(
    builder: Builder,
    instrs: list[Instr],
    row_of: Mapping[int, tuple[int, int]],
    live: Set[int],
) -> list[Instr]:
    """The instrs with rows that are concatenated taken in one piece."""
    avals = builder.avals
    # Rows with an axis of length 1 more, as np.stack and np.array make them.
    lifted: dict[int, _Row] = {}
    rest: list[Instr] = []
    for instr in instrs:
        name = instr.prim.name
        if name == "reshape" and instr.args[0] in row_of:
            stack, at = row_of[instr.args[0]]
            lifted[instr.outs[0]] = _Row(stack, at, at + 1, avals[instr.outs[0]].shape)
        elif name == "concatenate":
            rows = [
                _Row(*row_of[a], row_of[a][1] + 1, avals[a].shape)
                if a in row_of
                else lifted.get(a)
                for a in instr.args
            ]
            parts = _join(instr.args, rows)
            if len(parts) < len(instr.args):
                axis = instr.params["axis"]
                args = [
                    p if isinstance(p, int) else _piece(builder, rest, p, axis)
                    for p in parts
                ]
                prim, params = instr.prim, instr.params
                if len(args) == 1:
                    prim, params = PRIMITIVES["copy"], {}
                rest.append(Instr(prim, tuple(args), params, instr.outs, instr.source))
                continue
        rest.append(instr)
    return _used(rest, lifted, live)


def _used(
    instrs: list[Instr], lifted: Mapping[int, _Row], live: Set[int]
) -> list[Instr]:
    """The instrs without lifted rows that nobody reads any more."""
    used = {a for i in instrs for a in i.args} | live
    return [
        i for i in instrs if not i.outs or i.outs[0] not in lifted or i.outs[0] in used
    ]


def _join(args: tuple[int, ...], rows: list[_Row | None]) -> list[int | _Row]:
    """Operands of a concatenate with consecutive rows of one stack put together."""
    parts: list[int | _Row] = []
    for a, row in zip(args, rows, strict=True):
        last = parts[-1] if parts else None
        if row is None:
            parts.append(a)
        elif isinstance(last, _Row) and _follows(row, last):
            parts[-1] = last._replace(hi=row.hi)
        else:
            parts.append(row)
    return parts


def _follows(row: _Row, last: _Row) -> bool:
    return (row.stack, row.lo, row.shape) == (last.stack, last.hi, last.shape)


def _piece(builder: Builder, into: list[Instr], rows: _Row, axis: int) -> int:
    """Rows of a stack side by side along an axis; what makes them goes to `into`."""
    found = _rows(builder, into, rows.stack, rows.lo, rows.hi)
    count, shape = rows.hi - rows.lo, rows.shape

    def emit(name: str, params: dict[str, Any], shape: tuple[int, ...]) -> int:
        if builder.avals[found].shape == shape and name == "reshape":
            return found
        out = builder.new(Aval(shape, builder.avals[found].dtype)).index
        into.append(Instr(PRIMITIVES[name], (found,), params, (out,), None))
        return out

    joined = (*shape[:axis], count * shape[axis], *shape[axis + 1 :])
    if axis and count > 1:
        found = emit("reshape", {"shape": (count, *shape)}, (count, *shape))
        # The axis of the rows goes in front of the one they are joined along.
        perm = (*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1))
        moved = tuple([(count, *shape)[k] for k in perm])
        found = emit("transpose", {"perm": perm}, moved)
    return emit("reshape", {"shape": joined}, joined)


def _rows(builder: Builder, into: list[Instr], stack: int, lo: int, hi: int) -> int:
    """Rows lo to hi of a stack; the instr that cuts them out goes to `into`."""
    aval = builder.avals[stack]
    if (lo, hi) == (0, aval.shape[0]):
        return stack
    out = builder.new(Aval((hi - lo, *aval.shape[1:]), aval.dtype)).index
    ndim = len(aval.shape)
    params = {
        "start": (lo, *[0] * (ndim - 1)),
        "size": (hi - lo, *aval.shape[1:]),
        "step": (1,) * ndim,
    }
    into.append(Instr(PRIMITIVES["slice"], (stack,), params, (out,), None))
    return out
