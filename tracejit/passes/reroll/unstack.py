"""Rows of stacks: what is read of earlier iterations of a loop, behind the loop.

%8 = reshape %5 {shape=(1,)}                  %8 = copy %7
%9 = reshape %6 {shape=(1,)}            ->
%10 = concatenate %8 %9 {axis=0}              (%5, %6: rows 0 and 1 of the stack %7)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

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


def join_rows(
    builder: Builder,
    instrs: list[Instr],
    row_of: Mapping[int, tuple[int, int]],
    live: Set[int],
) -> list[Instr]:
    """The instrs with rows that are concatenated taken in one piece."""
    # Rows with an axis of length 1 in front, as np.stack and np.array make them.
    lifted: dict[int, tuple[int, int]] = {}
    rest: list[Instr] = []
    for instr in instrs:
        name = instr.prim.name
        if name == "reshape" and instr.args[0] in row_of:
            shape = builder.avals[instr.args[0]].shape
            if instr.params["shape"] == (1, *shape):
                lifted[instr.outs[0]] = row_of[instr.args[0]]
        elif name == "concatenate" and instr.params["axis"] == 0:
            parts = _join(instr.args, lifted)
            if len(parts) < len(instr.args):
                args = [
                    p if isinstance(p, int) else _rows(builder, rest, *p) for p in parts
                ]
                prim, params = instr.prim, instr.params
                if len(args) == 1:
                    prim, params = PRIMITIVES["copy"], {}
                rest.append(Instr(prim, tuple(args), params, instr.outs, instr.source))
                continue
        rest.append(instr)
    return _used(rest, lifted, live)


def _used(
    instrs: list[Instr], lifted: Mapping[int, tuple[int, int]], live: Set[int]
) -> list[Instr]:
    """The instrs without lifted rows that nobody reads any more."""
    used = {a for i in instrs for a in i.args} | live
    return [
        i for i in instrs if not i.outs or i.outs[0] not in lifted or i.outs[0] in used
    ]


def _join(
    args: tuple[int, ...], reshaped: Mapping[int, tuple[int, int]]
) -> list[int | tuple[int, int, int]]:
    """Operands of a concatenate with consecutive rows of one stack put together."""
    parts: list[int | tuple[int, int, int]] = []
    for a in args:
        if a not in reshaped:
            parts.append(a)
            continue
        stack, rep = reshaped[a]
        if parts and isinstance(parts[-1], tuple):
            known, lo, hi = parts[-1]
            if known == stack and hi == rep:
                parts[-1] = (stack, lo, rep + 1)
                continue
        parts.append((stack, rep, rep + 1))
    return parts


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
