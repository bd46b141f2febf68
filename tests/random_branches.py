"""Random branches over random sides, and the same programs without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.random_loops import loop_over, mean, unroll
from tests.random_tapes import random_tape
from tracejit.avals import Aval
from tracejit.interpret import evaluate
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Instr, Ref, Tape

F64 = np.dtype(np.float64)


def random_branch(seed: int, depth: int = 1) -> tuple[Tape, list[np.ndarray]]:
    """A tape with a branch, in each of its sides `depth` - 1 further ones."""
    tape, arrays = random_tape(seed, 8)
    rng = np.random.default_rng(seed + 10_000)
    for level in range(depth):
        other, _ = random_tape(seed, 5 + 6 * level)
        pair = [tape, other] if rng.random() < 0.5 else [other, tape]
        tape = branch_over(*pair, rng)
    return tape, arrays


def branch_over(yes: Tape, no: Tape, rng: np.random.Generator) -> Tape:
    """A branch between two tapes over the same inputs, on a value of one of them."""
    builder = Builder("branched")
    avals = [yes.avals[r] for r in yes.inputs]
    given = [builder.input(a) for a in avals]
    pred = P["gt"](mean(given[int(rng.integers(len(given)))]), float(rng.normal() / 50))
    # What is computed in front of a branch may be needed on one side only.
    args = [P["tanh"](g) if rng.random() < 0.5 else g for g in given]
    likes = [int(k) for k in rng.integers(len(avals), size=3)]
    kinds = rng.random(2)
    sides = {"yes": _side(yes, likes, kinds[0]), "no": _side(no, likes, kinds[1])}
    outs = builder.emit(P["branch"], [pred, *args], sides)
    after = mean(outs[0]) * mean(given[0]) + mean(outs[1])
    return builder.finish([after, *outs])


def _side(tape: Tape, likes: Sequence[int], kind: float) -> Tape:
    """The tape with a scalar result and results like some of its inputs."""
    builder = Builder(tape.name)
    given = [builder.input(tape.avals[r]) for r in tape.inputs]
    env = dict(zip(tape.inputs, given, strict=True))
    for instr in tape.instrs:
        builder.replay(instr, env)
    found = [env[r] for r in tape.outputs]
    outs = [P["tanh"](given[k] + mean(found[0])) for k in likes]
    if kind < 0.3:
        outs[0] = given[likes[0]]
    elif kind < 0.5:
        zero = builder.const(0.25, F64)
        outs[0] = P["broadcast_to"](zero, shape=outs[0].shape) if outs[0].ndim else zero
    elif kind < 0.7 and outs[0].aval == outs[1].aval:
        outs[1] = outs[0]
    return builder.finish([mean(found[-1]), *outs])


def looped_branch(seed: int, trip: int = 5) -> tuple[Tape, list[np.ndarray]]:
    """A loop with branches in its body."""
    tape, arrays = random_branch(seed, 1 + seed % 2)
    rng = np.random.default_rng(seed)
    return loop_over(tape, arrays, rng, trip, "looped")


def straight(tape: Tape, arrays: list[np.ndarray]) -> Tape:
    """The same program for these inputs, without loops and branches."""
    tape = unroll(tape)
    builder = Builder(tape.name)
    env: dict[int, Ref] = {}
    values: dict[int, np.ndarray] = {}
    for ref, array in zip(tape.inputs, arrays, strict=True):
        env[ref] = builder.input(Aval(np.shape(array), tape.avals[ref].dtype))
        values[env[ref].index] = array
    with np.errstate(all="ignore"):
        _straight(builder, tape.instrs, env, values)
    return builder.finish([env[r] for r in tape.outputs])


def _straight(
    builder: Builder,
    instrs: tuple[Instr, ...],
    env: dict[int, Ref],
    values: dict[int, np.ndarray],
) -> None:
    for instr in instrs:
        args = [values[env[a].index] for a in instr.args]
        if instr.prim.name != "branch":
            outs = builder.replay(instr, env)
            found = evaluate(instr.prim, args, instr.params)
            values.update(zip([o.index for o in outs], found, strict=True))
            continue
        side = unroll(instr.params["yes" if args[0] else "no"])
        inner = dict(zip(side.inputs, [env[a] for a in instr.args[1:]], strict=True))
        _straight(builder, side.instrs, inner, values)
        env.update(zip(instr.outs, [inner[r] for r in side.outputs], strict=True))
