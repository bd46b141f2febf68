"""Activity: which values a derivative flows through, loops looked into."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple, TypeVar

from ...avals import Aval, is_float
from ...ops.branch import branch
from ...ops.loop import loop
from ...tape import Instr

__all__ = [
    "Operands",
    "activated",
    "bound_parts",
    "branch_activity",
    "count_of",
    "is_dynamic",
    "loop_activity",
    "operands",
    "results",
]

T = TypeVar("T")


class Operands(NamedTuple):
    """Something for each operand of a loop, by their roles."""

    consts: list[Any]
    carries: list[Any]
    xs: list[Any]


def operands(params: dict[str, Any], values: Sequence[Any]) -> Operands:
    """Take apart what belongs to the operands: refs, avals, flags, ..."""
    consts, both = params["consts"], params["consts"] + params["carries"]
    return Operands(
        list(values[:consts]), list(values[consts:both]), list(values[both:])
    )


def is_dynamic(params: dict[str, Any]) -> bool:
    """Whether only the run tells how many iterations the loop has."""
    return params.get("test", False) or params.get("counted", False)


def count_of(instr: Instr) -> int | None:
    """The ref that tells how many iterations a dynamic loop had."""
    if instr.params.get("test"):
        return instr.outs[1]
    return instr.args[0] if instr.params.get("counted") else None


def bound_parts(params: dict[str, Any]) -> tuple[int, int]:
    """How many of the first consts and carries say how often the loop runs."""
    return int(params.get("counted", False)), 2 * int(params.get("test", False))


def results(params: dict[str, Any], values: Sequence[T]) -> tuple[list[T], list[T]]:
    """Take apart what belongs to the results: final carries, stacks."""
    return list(values[: params["carries"]]), list(values[params["carries"] :])


def activated(instr: Instr, active: Set[int], avals: Sequence[Aval]) -> list[int]:
    """The outputs through which a derivative with respect to `active` flows."""
    if active.isdisjoint(instr.args):
        return []
    if instr.prim is loop:
        flags = [a in active for a in instr.args]
        found = loop_activity(instr.params, flags)
        return [out for out, flag in zip(instr.outs, found, strict=True) if flag]
    if instr.prim is branch:
        found = branch_activity(instr.params, [a in active for a in instr.args[1:]])
        return [out for out, flag in zip(instr.outs, found, strict=True) if flag]
    if not instr.prim.differentiable:
        return []
    return [out for out in instr.outs if is_float(avals[out])]


def branch_activity(params: dict[str, Any], flags: Sequence[bool]) -> list[bool]:
    """For each result of a branch whether it depends on the flagged operands."""
    found = [False] * len(params["yes"].outputs)
    for side in (params["yes"], params["no"]):
        active = {ref for ref, flag in zip(side.inputs, flags, strict=True) if flag}
        for instr in side.instrs:
            active.update(activated(instr, active, side.avals))
        pairs = zip(found, side.outputs, strict=True)
        found = [known or out in active for known, out in pairs]
    return found


def loop_activity(params: dict[str, Any], flags: Sequence[bool]) -> list[bool]:
    """For each result of a loop whether it depends on the flagged operands.

    A carry is active if its start is, or if the body makes it so in any iteration.
    """
    body = params["body"]
    consts, carries, xs = operands(params, flags)
    while True:
        inputs = zip(body.inputs[1:], [*consts, *carries, *xs], strict=True)
        active = {ref for ref, flag in inputs if flag}
        for instr in body.instrs:
            active.update(activated(instr, active, body.avals))
        found = [out in active for out in body.outputs]
        state, stacks = results(params, found)
        state = [a or b for a, b in zip(carries, state, strict=True)]
        if state == carries:
            return [*state, *stacks]
        carries = state
