"""A table of reverse accumulation: each step with its numbers, for teaching.

For every instr of the tape of a small function: its value, the local derivatives with
respect to its operands, and the derivative of the result with respect to it, which
accumulates from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api import jit
from ..avals import is_float
from ..errors import ArgumentError, message
from ..interpret import interpret
from ..ops.rows import zeros
from ..ops.structural import broadcast_to
from ..passes.vjp import vjp
from ..signature import caller
from ..tape import Builder, Instr, Ref, Tape, const, guard
from ..text import print_instr
from .variable import Variable

__all__ = ["Step", "Steps", "steps"]

#: A table of more rows teaches nothing.
MOST = 200


@dataclass
class Step:
    """One row.

    Attributes:
        ref: the name of the value, `%3`.
        text: the instr, or `input`.
        value: of this step.
        local: derivative of this value with respect to each operand, by name.
        accumulated: derivative of the result with respect to this value.
    """

    ref: str
    text: str
    value: Any
    local: dict[str, Any]
    accumulated: Any


class Steps(list[Step]):
    """The rows; prints as a table."""

    def __repr__(self) -> str:
        head = ["step", "value", "local derivatives", "accumulated"]
        table = [head]
        for s in self:
            local = ", ".join(f"d{s.ref}/d{k} = {_show(v)}" for k, v in s.local.items())
            table.append(
                [f"{s.ref} = {s.text}", _show(s.value), local, _show(s.accumulated)]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
            for row in table
        ]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join(line.rstrip() for line in lines)


def _show(value: Any) -> str:
    if value is None:
        return ""
    if np.ndim(value) == 0:
        return f"{np.asarray(value)[()]:.6g}"
    return np.array2string(np.asarray(value), precision=5, threshold=8)


def steps(f: Callable[..., Any], *args: Any) -> Steps:
    """The steps of reverse accumulation of a scalar function, as a table.

    Args:
        f: plain NumPy; returns a number.
        args: numbers or small arrays.

    Returns:
        A list of `Step`, which prints as a table. The accumulated derivatives of the
        inputs, the first rows, are the gradient.

    Raises:
        ArgumentError: the result is no scalar, or there are too many steps.

    Example:
        >>> steps(lambda x, y: np.sin(x) * y, 0.0, 2.0)
        step            value  local derivatives         accumulated
        ------------------------------------------------------------
        %0 = input      0                                2
        %1 = input      2                                0
        %2 = sin %0     0      d%2/d%0 = 1               2
        %3 = mul %2 %1  0      d%3/d%2 = 2, d%3/d%1 = 0  1
    """
    values = [np.asarray(a.value if isinstance(a, Variable) else a) for a in args]
    values = [v.astype(np.float64) if v.dtype.kind in "iub" else v for v in values]
    given = [v[()] for v in values]
    tape = jit(f).tape(*given)
    known = [*given, *_captured(tape, len(given))]
    if len(tape.outputs) != 1 or tape.avals[tape.outputs[0]].shape:
        raise _error("steps() of a function that returns no scalar", "Return a sum")
    if len(tape.instrs) > MOST:
        raise _error(
            f"steps() of {len(tape.instrs)} steps, of {MOST} at most",
            "Take a smaller function, without long loops",
        )
    refs = [*tape.inputs, *[out for i in tape.instrs for out in i.outs]]
    everything = Tape(tape.inputs, tape.instrs, tuple(refs), tape.avals, tape.name)
    env = dict(zip(refs, interpret(everything, known), strict=True))
    accumulated = _accumulated(tape, env)
    rows = Steps()
    for ref in tape.inputs:
        rows.append(Step(f"%{ref}", "input", env[ref], {}, accumulated.get(ref)))
    for instr in tape.instrs:
        if instr.prim is guard:
            continue
        local = _local(tape, instr, env)
        text = print_instr(tape, instr).partition(" = ")[2]
        for out in instr.outs:
            rows.append(Step(f"%{out}", text, env[out], local, accumulated.get(out)))
    return rows


def _captured(tape: Tape, count: int) -> list[Any]:
    """Only the arguments may be inputs: what is captured has no value here."""
    if len(tape.inputs) > count:
        raise _error(
            "steps() of a function that takes arrays from outside",
            "Pass them as arguments",
        )
    return []


def _accumulated(tape: Tape, env: dict[int, Any]) -> dict[int, Any]:
    """The derivative of the result with respect to every value."""
    builder = Builder(tape.name)
    mine: dict[int, Ref] = {r: builder.input(tape.avals[r]) for r in tape.inputs}
    for instr in tape.instrs:
        if instr.prim is not guard:
            builder.copy(instr, mine, tape.avals)
    wanted = [
        ref
        for ref in mine
        if is_float(tape.avals[ref])
        and not any(i.prim is const and ref in i.outs for i in tape.instrs)
    ]
    out = mine[tape.outputs[0]]
    one = builder.const(1, out.dtype)
    found = vjp(builder, [out], [one], [mine[ref] for ref in wanted])
    filled = [
        zeros(mine[ref]) if ct is None else ct
        for ref, ct in zip(wanted, found, strict=True)
    ]
    results = interpret(builder.finish(filled), [env[r] for r in tape.inputs])
    return dict(zip(wanted, results, strict=True))


def _local(tape: Tape, instr: Instr, env: dict[int, Any]) -> dict[str, Any]:
    """The derivatives of one instr with respect to its operands."""
    operands = list(dict.fromkeys(instr.args))
    active = [a for a in operands if is_float(tape.avals[a])]
    if not active or not is_float(tape.avals[instr.outs[0]]):
        return {}
    builder = Builder(tape.name)
    mine: dict[int, Ref] = {a: builder.input(tape.avals[a]) for a in operands}
    builder.copy(instr, mine, tape.avals)
    out = mine[instr.outs[0]]
    one = builder.const(1, out.dtype)
    if out.shape:
        one = broadcast_to(one, shape=out.shape)
    found = vjp(builder, [out], [one], [mine[a] for a in active])
    kept = [
        zeros(mine[a]) if ct is None else ct
        for a, ct in zip(active, found, strict=True)
    ]
    results = interpret(builder.finish(kept), [env[a] for a in operands])
    return {f"%{a}": v for a, v in zip(active, results, strict=True)}


def _error(what: str, way_out: str) -> ArgumentError:
    return ArgumentError(message(what, where=caller(), way_out=way_out))
