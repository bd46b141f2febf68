"""A slow evaluator of fused programs: the meaning of every statement in a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.primitive import PRIMITIVES
from tracejit.program import (
    Accumulate,
    Accumulator,
    Break,
    Buffer,
    Call,
    Check,
    Const,
    Counter,
    Exit,
    For,
    If,
    Let,
    Load,
    Program,
    Read,
    Statement,
    Store,
    Swap,
)

COMBINE = {
    "set": lambda old, new: new,
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


class Broken(Exception):
    """The program left the innermost loop."""


class Left(Exception):
    """The program left early with a status (and an outcome)."""

    def __init__(self, status: int, outcome: Any = None) -> None:
        self.status, self.outcome = status, outcome


def evaluate(program: Program, inputs: list[Any]) -> list[Any]:
    """Run a program on arrays; raises Left where a kernel would leave early."""
    arrays: dict[Any, np.ndarray] = {}
    for buffer, value in zip(program.args, inputs, strict=True):
        arrays[buffer.kind, buffer.number] = np.ascontiguousarray(value).astype(
            buffer.dtype
        )
    for output in program.outputs:
        if isinstance(output, Buffer) and output.kind == "out":
            arrays["out", output.number] = _garbage(output)
    for buffer in [*program.works, *program.locals]:
        arrays[buffer.kind, buffer.number] = _garbage(buffer)

    def array(buffer: Buffer) -> np.ndarray:
        whole = arrays[buffer.kind, buffer.number]
        if buffer.at:
            whole = whole[(*at(buffer.at), ...)]
        return whole.reshape(buffer.shape)

    values: dict[int, Any] = {}
    accs: dict[int, Any] = {}
    counts: dict[int, int] = {}

    def at(index: tuple[Any, ...]) -> tuple[int, ...]:
        found = []
        for entry in index:
            if isinstance(entry, int):
                found.append(int(values[entry]))
            else:
                var = counts[entry.var] if entry.var is not None else 0
                found.append(entry.step * var + entry.offset)
        assert all(k >= 0 for k in found), found
        return tuple(found)

    def point(s: Load | Store) -> tuple[int, ...]:
        assert len(s.index) == len(s.buffer.shape)
        return at(s.index)

    def run(body: list[Statement]) -> None:
        for s in body:
            match s:
                case Const():
                    values[s.out] = program.dtypes[s.out].type(s.value)
                case Let():
                    values[s.out] = _let(s, values, program.dtypes[s.out])
                case Counter():
                    values[s.out] = np.int64(at((s.index,))[0])
                case Load():
                    values[s.out] = array(s.buffer)[point(s)]
                case Store():
                    if s.add:
                        array(s.buffer)[point(s)] += values[s.value]
                    else:
                        array(s.buffer)[point(s)] = values[s.value]
                case Accumulator():
                    accs[s.acc] = s.dtype.type(values[s.start])
                case Accumulate():
                    accs[s.acc] = COMBINE[s.kind](accs[s.acc], values[s.value])
                case Read():
                    values[s.out] = accs[s.acc]
                case For():
                    hi = s.hi if s.count is None else int(values[s.count])
                    assert hi <= s.hi
                    for k in range(s.lo, hi):
                        counts[s.var] = k
                        try:
                            run(s.body)
                        except Broken:
                            break
                case If():
                    run(s.yes if values[s.value] else s.no)
                case Break():
                    if not values[s.value]:
                        raise Broken
                case Exit():
                    if values[s.value] != values[s.expected]:
                        raise Left(int(values[s.status]), values[s.value])
                case Check():
                    if not values[s.value]:
                        raise Left(-1)
                case Swap():
                    a, b = (s.a.kind, s.a.number), (s.b.kind, s.b.number)
                    arrays[a], arrays[b] = arrays[b], arrays[a]
                case Call():
                    ins = [array(b) for b in s.ins]
                    outs = _call(s, ins)
                    for buffer, result in zip(s.outs, outs, strict=True):
                        array(buffer)[...] = result

    with np.errstate(all="ignore"):
        run(program.body)
    return [
        values[o] if isinstance(o, int) else array(o).copy() for o in program.outputs
    ]


def _garbage(buffer: Buffer) -> np.ndarray:
    fill = 77 if buffer.dtype.kind != "b" else True
    return np.full(buffer.shape, fill, buffer.dtype)


def _let(s: Let, values: dict[int, Any], dtype: np.dtype) -> Any:
    args = [values[a] for a in s.args]
    if s.prim == "powi":
        return args[0] ** dtype.type(s.params["n"])
    if s.prim == "cast":
        return dtype.type(args[0])
    return PRIMITIVES[s.prim].reference(*args, **s.params)


def _call(s: Call, ins: list[np.ndarray]) -> list[Any]:
    if s.name == "gemm":
        a, b = ins
        a = a.swapaxes(-1, -2) if s.params["ta"] else a
        b = b.swapaxes(-1, -2) if s.params["tb"] else b
        return [a @ b]
    if s.name == "mask_indices":
        return [np.flatnonzero(ins[0])]
    out = PRIMITIVES[s.name].reference(*ins, **s.params)
    return list(out) if isinstance(out, tuple) else [out]
