"""What the tests of loops have in common: derivatives, comparisons, small loops."""

from __future__ import annotations

from textwrap import dedent

import numpy as np

from tests.passes.evaluate import evaluate
from tracejit.avals import is_float
from tracejit.interpret import interpret, verify
from tracejit.passes.contract import contract
from tracejit.passes.fuse import fuse
from tracejit.passes.jvp import jvp
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Instr, Ref, Tape
from tracejit.text import parse_tape


def opened(tape: Tape) -> tuple[Builder, list[Ref], list[Ref]]:
    """A builder that holds a tape's instrs, and the tape's inputs and outputs."""
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    return builder, [env[r] for r in tape.inputs], [env[r] for r in tape.outputs]


def filled(found: list[Ref | None], like: list[Ref]) -> list[Ref]:
    return [x * 0.0 if f is None else f for f, x in zip(found, like, strict=True)]


def pulled(tape: Tape, outputs: list[int] | None = None) -> Tape:
    """The tape with its gradients; further inputs are the cotangents of `outputs`."""
    builder, ins, outs = opened(tape)
    wrt = [x for x in ins if is_float(x.aval)]
    chosen = [outs[k] for k in outputs or range(len(outs))]
    cts = [builder.input(out.aval) for out in chosen]
    found = vjp(builder, chosen, cts, wrt)
    return verify(builder.finish([*outs, *filled(found, wrt)]))


def pushed(tape: Tape) -> Tape:
    """The tape with its tangents; further inputs are the tangents of its inputs."""
    builder, ins, outs = opened(tape)
    wrt = [x for x in ins if is_float(x.aval)]
    moves = [builder.input(x.aval) for x in wrt]
    found = jvp(builder, 0, wrt, moves, outs)
    return verify(builder.finish([*outs, *filled(found, outs)]))


def same(a: Tape, b: Tape, arrays: list[np.ndarray], seed: int = 0) -> None:
    """Both tapes give the same for the arrays and for further random inputs."""
    rng = np.random.default_rng(seed)
    more = [a.avals[r] for r in a.inputs[len(arrays) :]]
    values = [*arrays, *(rng.normal(size=m.shape) for m in more)]
    for mine, theirs in zip(interpret(a, values), interpret(b, values), strict=True):
        assert np.all(np.isfinite(theirs))
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


def agree(tape: Tape, arrays: list[np.ndarray], seed: int = 0) -> None:
    """The tape gives the same simplified, twice simplified, and fused."""
    rng = np.random.default_rng(seed)
    more = [tape.avals[r] for r in tape.inputs[len(arrays) :]]
    values = [*arrays, *(rng.normal(size=m.shape) for m in more)]
    expected = interpret(tape, values)
    simple = verify(simplify(tape))
    for mine, theirs in zip(interpret(simple, values), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert repr(simplify(simple)) == repr(simple)
    got = evaluate(fuse(contract(simple)), values)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)


def stacks(tape: Tape) -> list[int]:
    """How many elements each loop of the tape stacks."""
    found = []
    for instr in loops_of(tape):
        rows = instr.outs[instr.params["carries"] :]
        found.append(sum(tape.avals[r].size for r in rows))
    return found


def loops_of(tape: Tape) -> list[Instr]:
    return [i for i in tape.instrs if i.prim is P["loop"]]


def looped(body: str, operands: str, trip: int = 5, consts: int = 1) -> Tape:
    """A tape `f(operands)` that is one loop with one carry over `body`."""
    head, *lines = dedent(body).strip().splitlines()
    refs = [word.partition(":")[0] for word in operands.split(", ")]
    inner = parse_tape("\n".join([f"tape step({head}):", *lines]))
    builder = Builder("f")
    given = parse_tape(f"tape f({operands}):\n  return {refs[0]}")
    args = [builder.input(given.avals[r]) for r in given.inputs]
    params = {"body": inner, "trip": trip, "consts": consts, "carries": 1}
    outs = builder.emit(P["loop"], args, {**params, "reverse": False})
    return verify(builder.finish(outs))
