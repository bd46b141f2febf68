"""Raising the bound of a loop that only the run ends: room for more residuals.

    loop {trip=64, test=True, family=7}        loop {trip=1024, test=True, family=7}
    guard %3 is False -> exit 0           ->   guard %3 is False -> exit 0
    loop {trip=64, counted=True, family=7}     loop {trip=1024, counted=True, family=7}

A loop with a test stacks what its derivatives need, `trip` rows of it.  An input that
needs more rounds leaves at the guard behind the loop.  The same program with more rows
is the same kernel with other numbers, so nothing is recorded and nothing compiled.

1. All loops of one family get the same bound, wherever they stand.
2. Avals are derived anew.  A tape whose instrs or outputs have the old bound in them in
   another way is refused, and the caller records again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...avals import Aval
from ...errors import InvalidTapeError
from ...ops.branch import branch
from ...ops.loop import loop
from ...tape import Builder, Instr, Ref, Tape, guard, inner_tapes
from .activity import results

__all__ = ["UNLIMITED", "first_bound", "grown"]

#: The least bound of a loop; else a power of two, at least twice what was seen.
LEAST = 64

#: A bound becomes at least so many times what it was,
FACTOR = 4
#: or what fits into so many bytes, which are used only as far as rounds go.
BYTES = 1 << 20
#: What a loop gets that stacks nothing.
UNLIMITED = 1 << 60


def first_bound(rounds: int) -> int:
    """The bound of a loop that was seen to run for so many rounds."""
    return max(LEAST, 1 << (2 * rounds - 1).bit_length()) if rounds else LEAST


def grown(tape: Tape, exit: int, limit: int) -> Tape | None:
    """The tape with more room for the loop behind which a guard failed.

    Args:
        tape: an optimised tape.
        exit: the guard's.
        limit: bytes that the stacks of one family may have.

    Returns:
        None if the guard does not stand behind such a loop, or if that has its limit
        already, or if the tape cannot be told so.

    Raises:
        MemoryError: more bytes would be needed.
    """
    families = {
        instr.params["family"]: instr.params.get("most", 0)
        for instr in _ended_by(tape, exit)
        if instr.params.get("family")
    }
    bounds: dict[int, int] = {}
    for family, most in families.items():
        old = max(p["trip"] for p in _loops(tape) if p.get("family") == family)
        row = _row_bytes(tape, family, {})
        bound = max(FACTOR * old, BYTES // row) if row else UNLIMITED
        bound = min(bound, most or UNLIMITED)
        if row and bound > old:
            bound = min(bound, limit // row)
            if bound <= old:
                raise MemoryError(f"{old} rows of {row} bytes")
        if bound > old:
            bounds[family] = bound
    if not bounds:
        return None
    try:
        larger = _with_bounds(tape, bounds, [tape.avals[ref] for ref in tape.inputs])
    except (InvalidTapeError, ValueError, IndexError):
        return None
    same = [larger.avals[ref] for ref in larger.outputs] == [
        tape.avals[ref] for ref in tape.outputs
    ]
    return larger if same else None


def _ended_by(tape: Tape, exit: int) -> Iterator[Instr]:
    """The loops with a test behind which a guard of this exit stands.

    Inside another loop a guard may have a number of exits, one for each iteration.
    """
    maker = {out: instr for instr in tape.instrs for out in instr.outs}
    for instr in tape.instrs:
        for inner in inner_tapes(instr):
            yield from _ended_by(inner, exit)
        if instr.prim is not guard:
            continue
        first = instr.params["exit"]
        if first != exit and (len(instr.args) == 1 or first > exit):
            continue
        made = maker.get(instr.args[0])
        while made is not None and made.prim.name == "logical_not":
            made = maker.get(made.args[0])
        if made is not None and made.prim is loop and made.params.get("test"):
            yield made


def _loops(tape: Tape) -> Iterator[dict[str, Any]]:
    for instr in tape.instrs:
        if instr.prim is loop:
            yield instr.params
        for inner in inner_tapes(instr):
            yield from _loops(inner)


def _row_bytes(tape: Tape, family: int, times: dict[int, int]) -> int:
    """Bytes that one more round of a family needs.

    Args:
        times: how many of them there are of refs that are rows of an outer stack.
    """
    total = 0
    for instr in tape.instrs:
        if instr.prim is branch:
            for side in inner_tapes(instr):
                rows_of = zip(side.outputs, instr.outs, strict=True)
                inner = {ref: times.get(out, 1) for ref, out in rows_of}
                total += _row_bytes(side, family, inner)
        if instr.prim is not loop:
            continue
        params = instr.params
        body: Tape = params["body"]
        outs = results(params, instr.outs)[1]
        rows = results(params, body.outputs)[1]
        if params.get("family") == family:
            for out, ref in zip(outs, rows, strict=True):
                aval = body.avals[ref]
                total += aval.size * aval.dtype.itemsize * times.get(out, 1)
        pairs = zip(outs, rows, strict=True)
        inner = {ref: params["trip"] * times.get(out, 1) for out, ref in pairs}
        total += _row_bytes(body, family, inner)
    return total


def _with_bounds(tape: Tape, bounds: dict[int, int], inputs: Sequence[Aval]) -> Tape:
    """The tape with other bounds, for inputs of these avals."""
    builder = Builder(tape.name)
    env = {
        ref: builder.input(aval) for ref, aval in zip(tape.inputs, inputs, strict=True)
    }
    for instr in tape.instrs:
        if inner_tapes(instr):
            args = [env[a] for a in instr.args]
            given = _branch_params if instr.prim is branch else _loop_params
            params = given(instr.params, bounds, args)
            instr = Instr(instr.prim, instr.args, params, instr.outs, instr.source)
        builder.replay(instr, env)
    return builder.finish([env[ref] for ref in tape.outputs])


def _loop_params(
    params: dict[str, Any], bounds: dict[int, int], args: Sequence[Ref]
) -> dict[str, Any]:
    trip = bounds.get(params.get("family", 0), params["trip"])
    body: Tape = params["body"]
    both = params["consts"] + params["carries"]
    given = [a.aval for a in args[:both]]
    given += [Aval(a.shape[1:], a.dtype) for a in args[both:]]
    inner = _with_bounds(body, bounds, [body.avals[body.inputs[0]], *given])
    return {**params, "trip": trip, "body": inner}


def _branch_params(
    params: dict[str, Any], bounds: dict[int, int], args: Sequence[Ref]
) -> dict[str, Any]:
    given = [a.aval for a in args[1:]]
    return {k: _with_bounds(params[k], bounds, given) for k in ("yes", "no")}
