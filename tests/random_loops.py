"""Random loops over random bodies, and the same programs without loops."""

from __future__ import annotations

import numpy as np

from tests.random_tapes import random_tape
from tracejit.avals import Aval
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Instr, Ref, Tape

F64, I64 = np.dtype(np.float64), np.dtype(np.int64)


def random_loop(
    seed: int, depth: int = 1, length: int | None = None
) -> tuple[Tape, list[np.ndarray]]:
    """A tape with a loop, in it `depth` - 1 further ones."""
    rng = np.random.default_rng(seed)
    tape, arrays = random_tape(seed, length or int(rng.integers(3, 16)))
    for level in range(depth):
        trips = [1, 2, 3] if depth > 1 else [0, 1, 3, 7]
        tape, arrays = loop_over(tape, arrays, rng, int(rng.choice(trips)), f"l{level}")
    return tape, arrays


def loop_over(
    body: Tape, arrays: list[np.ndarray], rng: np.random.Generator, trip: int, name: str
) -> tuple[Tape, list[np.ndarray]]:
    """A loop with `body` in it: two constants, two carries, rows and stacks."""
    avals = [body.avals[r] for r in body.inputs]
    builder, inner = Builder(f"{name}_outer"), Builder(name)
    counter = inner.input(Aval((), I64))
    roles = [int(k) for k in rng.permutation(len(avals))]
    fixed, state, xs = roles[:2], roles[2:4], roles[4:]
    refs: dict[int, Ref] = {}
    outer: list[Ref] = []
    given: list[np.ndarray] = []
    for k in roles:
        refs[k] = inner.input(avals[k])
        shape = (trip, *avals[k].shape) if k in xs else avals[k].shape
        outer.append(builder.input(Aval(shape, avals[k].dtype)))
        given.append(rng.uniform(-1, 1, size=shape) if k in xs else arrays[k])
    env = {r: refs[k] for k, r in enumerate(body.inputs)}
    for instr in body.instrs:
        inner.replay(instr, env)
    outs = [env[r] for r in body.outputs]
    # New state: old state moved by what the body made.
    change = mean(outs[0])
    new = [P["tanh"](refs[k] + change) for k in state]
    kind = rng.random()
    if kind < 0.3 and avals[state[0]] == avals[state[1]]:
        new = new[::-1]
    elif kind < 0.4:
        new[0] = refs[state[0]]
    elif kind < 0.6:
        new[1] = new[1] * P["cast"](counter, dtype=F64) * 0.2
    if kind > 0.8:
        new[0] = new[0] * P["exp"](mean(refs[fixed[0]]))
    ys = [outs[-1], refs[xs[0]], outs[-1], new[0], refs[state[1]]]
    tape = inner.finish([*new, *ys])
    params = {"body": tape, "trip": trip, "consts": 2, "carries": 2}
    params["reverse"] = bool(rng.random() < 0.5)
    results = builder.emit(P["loop"], outer, params)
    # The constant and the start are used after the loop too.
    after = mean(outer[0]) * mean(results[0]) + mean(outer[2])
    return builder.finish([after, *results]), given


def mean(x: Ref) -> Ref:
    return P["sum"](x, axes=tuple(range(x.ndim))) * (0.5 / max(x.aval.size, 1))


def unroll(tape: Tape) -> Tape:
    """The same program without loops."""
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    _unroll(builder, tape.instrs, env)
    return builder.finish([env[ref] for ref in tape.outputs])


def _unroll(builder: Builder, instrs: tuple[Instr, ...], env: dict[int, Ref]) -> None:
    for instr in instrs:
        if instr.prim.name != "loop":
            builder.replay(instr, env)
            continue
        args = [env[a] for a in instr.args]
        outs = _run(builder, args, **instr.params)
        env.update(zip(instr.outs, outs, strict=True))


def _run(
    builder: Builder,
    args: list[Ref],
    body: Tape,
    trip: int,
    consts: int,
    carries: int,
    reverse: bool,
) -> list[Ref]:
    fixed, state = args[:consts], args[consts : consts + carries]
    xs = args[consts + carries :]
    avals = [body.avals[r] for r in body.outputs[carries:]]
    rows: list[dict[int, Ref]] = [{} for _ in avals]
    for i in range(trip - 1, -1, -1) if reverse else range(trip):
        inputs = [builder.const(i, I64), *fixed, *state, *(row(x, i) for x in xs)]
        env = dict(zip(body.inputs, inputs, strict=True))
        _unroll(builder, body.instrs, env)
        outs = [env[r] for r in body.outputs]
        state = outs[:carries]
        for found, out in zip(rows, outs[carries:], strict=True):
            found[i] = P["reshape"](out, shape=(1, *out.shape))
    return [*state, *(stack(builder, r, a) for r, a in zip(rows, avals, strict=True))]


def row(x: Ref, i: int) -> Ref:
    start = (i, *[0] * (x.ndim - 1))
    size, step = (1, *x.shape[1:]), (1,) * x.ndim
    part = P["slice"](x, start=start, size=size, step=step)
    return P["reshape"](part, shape=x.shape[1:])


def stack(builder: Builder, rows: dict[int, Ref], aval: Aval) -> Ref:
    if not rows:
        zero = builder.const(0, aval.dtype)
        return P["broadcast_to"](zero, shape=(0, *aval.shape))
    return builder.emit(
        P["concatenate"], [rows[i] for i in range(len(rows))], {"axis": 0}
    )
