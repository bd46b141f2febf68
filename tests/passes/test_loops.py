"""Loops under every pass: the same as without loops, and no more work than needed."""

from __future__ import annotations

from collections import Counter
from textwrap import dedent

import numpy as np
import pytest

from tests.passes.evaluate import evaluate
from tests.random_loops import random_loop, row, unroll
from tracejit.avals import Aval, is_float
from tracejit.interpret import interpret, verify
from tracejit.passes.batching import batch
from tracejit.passes.contract import contract
from tracejit.passes.fuse import fuse
from tracejit.passes.jvp import jvp
from tracejit.passes.segments import checkpointed, is_checkpoint
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Ref, Tape
from tracejit.text import parse_tape

F8 = np.dtype("f8")


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


CASES = [(seed, 1) for seed in range(60)] + [(seed, 2) for seed in range(60, 85)]


@pytest.mark.parametrize(("seed", "depth"), CASES)
def test_vjp(seed: int, depth: int) -> None:
    tape, arrays = random_loop(seed, depth)
    same(pulled(tape), pulled(unroll(tape)), arrays)


@pytest.mark.parametrize("output", range(8))
def test_vjp_of_single_outputs(output: int) -> None:
    for seed in range(5):
        tape, arrays = random_loop(seed)
        same(pulled(tape, [output]), pulled(unroll(tape), [output]), arrays)


@pytest.mark.parametrize(("seed", "depth"), CASES)
def test_jvp(seed: int, depth: int) -> None:
    tape, arrays = random_loop(seed, depth)
    same(pushed(tape), pushed(unroll(tape)), arrays)


@pytest.mark.parametrize(("seed", "depth"), [(s, 1 + (s > 11)) for s in range(15)])
@pytest.mark.parametrize("first", [pulled, pushed])
@pytest.mark.parametrize("second", [pulled, pushed])
def test_second_order(seed: int, depth: int, first, second) -> None:
    tape, arrays = random_loop(seed, depth, length=6)
    same(second(first(tape)), second(first(unroll(tape))), arrays)


@pytest.mark.parametrize(("seed", "depth"), CASES)
def test_simplified_and_fused(seed: int, depth: int) -> None:
    tape, arrays = random_loop(seed, depth)
    agree(tape, arrays)


@pytest.mark.parametrize(("seed", "depth"), CASES[::3])
@pytest.mark.parametrize("derive", [pulled, pushed])
def test_derivatives_simplified_and_fused(seed: int, depth: int, derive) -> None:
    tape, arrays = random_loop(seed, depth)
    agree(derive(tape), arrays)


# --- vjp: what is kept


def loops_of(tape: Tape) -> list:
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


def test_vjp_golden():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
    )
    assert (
        repr(pulled(tape))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %3: f64[]):
          %2: f64[], %5: f64[5] = loop %0 %1 {trip=5, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[]):
              %3: f64[] = mul %1 %2
              %4: f64[] = sin %3
              return %4 %2
          %4: f64[] = 0.0
          %6: f64[], %7: f64[] = loop %0 %3 %4 %5 {trip=5, consts=1, carries=2, reverse=True}
            body: tape step_vjp(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %1 %4
              %6: f64[] = cos %5
              %7: f64[] = mul %2 %6
              %8: f64[] = mul %7 %4
              %9: f64[] = mul %7 %1
              %10: f64[] = add %3 %8
              return %9 %10
          return %2 %7 %6
        """).strip()
    )


def test_jvp_golden():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
    )
    assert (
        repr(pushed(tape))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %3: f64[], %4: f64[]):
          %2: f64[], %5: f64[5] = loop %0 %1 {trip=5, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[]):
              %3: f64[] = mul %1 %2
              %4: f64[] = sin %3
              return %4 %2
          %6: f64[] = loop %3 %0 %4 %5 {trip=5, consts=2, carries=1, reverse=False}
            body: tape step_jvp(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %2 %4
              %6: f64[] = mul %1 %4
              %7: f64[] = mul %3 %2
              %8: f64[] = add %6 %7
              %9: f64[] = cos %5
              %10: f64[] = mul %8 %9
              return %10
          return %2 %6
        """).strip()
    )


def stacks(tape: Tape) -> list[int]:
    """How many elements each loop of the tape stacks."""
    found = []
    for instr in loops_of(tape):
        rows = instr.outs[instr.params["carries"] :]
        found.append(sum(tape.avals[r].size for r in rows))
    return found


def test_products_and_sums_keep_the_carry_only():
    tape = looped(
        """
        %0: i64[], %1: f64[3], %2: f64[3]
          %3: f64[3] = mul %1 %2
          %4: f64[3] = mul %3 %2
          %5: f64[3] = add %4 %1
          %6: f64[3] = mul %5 %5
          %7: f64[3] = div %6 %1
          return %7
        """,
        "%0: f64[3], %1: f64[3]",
        trip=7,
    )
    assert stacks(pulled(tape)) == [7 * 3, 0]


def test_what_is_kept_anyway_makes_products_of_it_free():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = sin %2
          %4: f64[] = exp %2
          %5: f64[] = mul %3 %4
          %6: f64[] = mul %5 %5
          %7: f64[] = mul %6 %1
          return %7
        """,
        "%0: f64[], %1: f64[]",
    )
    assert stacks(pulled(tape)) == [5 * 3, 0]  # the carry, sin and exp


def test_linear_bodies_keep_nothing():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[3]
          %3: f64[] = 2.0
          %4: f64[3] = mul %2 %3
          %5: f64[3] = add %4 %1
          return %5
        """,
        "%0: f64[], %1: f64[3]",
    )
    assert stacks(pulled(tape)) == [0, 0]
    assert stacks(pushed(tape)) == [0, 0]


def test_a_part_of_a_large_carry_is_kept_instead_of_the_carry():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[1000]
          %3: f64[1] = slice %2 {start=(5,), size=(1,), step=(1,)}
          %4: f64[1] = mul %3 %3
          %5: f64[1000] = add %2 %4
          return %5
        """,
        "%0: f64[], %1: f64[1000]",
    )
    assert stacks(pulled(tape)) == [5, 0]


def test_what_does_not_change_is_computed_outside():
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = exp %1
          %4: f64[] = mul %2 %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
    )
    joint = pulled(tape)
    assert stacks(joint) == [5, 0]  # the carry, no exp
    assert [i.prim.name for i in joint.instrs].count("exp") == 1
    simple = simplify(joint)
    assert [i.prim.name for i in simple.instrs].count("exp") == 1
    assert "exp" not in repr([i.params["body"] for i in loops_of(simple)])
    same(joint, pulled(unroll(tape)), [np.float64(0.3), np.float64(1.2)])


def test_integer_and_untouched_carries_have_no_cotangent():
    builder, inner = Builder("f"), Builder("step")
    i = inner.input(Aval((), np.dtype("i8")))
    a, n, b = (inner.input(Aval((), np.dtype(t))) for t in ("f8", "i8", "f8"))
    tape = inner.finish([P["sin"](a), n + i, P["exp"](b)])
    args = [builder.input(x.aval) for x in (a, n, b)]
    params = {"body": tape, "trip": 4, "consts": 0, "carries": 3, "reverse": False}
    outs = builder.emit(P["loop"], args, params)
    (first, third) = vjp(builder, outs[:1], [builder.const(1, a.dtype)], [args[0], args[2]])
    assert first is not None
    assert third is None
    assert loops_of(builder.finish(outs))[1].params["carries"] == 1


def test_masked_zeros_stay_zero_in_all_iterations():
    """The root of 0 has an infinite derivative, which nobody asked for."""
    tape = looped(
        """
        %0: i64[], %1: f64[2]
          %2: f64[2] = sqrt %1
          return %2 %1
        """,
        "%0: f64[2]",
        trip=3,
        consts=0,
    )
    builder, (x,), (out, rows) = opened(tape)
    for y, slope in (out, 0.125), (row(rows, 2), 0.25):
        kept = P["select"](x > 0.0, y, x)
        (grad,) = vjp(builder, [kept], [builder.input(x.aval)], [x])
        assert grad is not None
        joint = builder.finish([grad])
        arrays = [np.array([0.0, 1.0])] + [np.ones(2)] * (len(joint.inputs) - 1)
        np.testing.assert_allclose(interpret(joint, arrays)[0], [1.0, slope])


class _Cube:
    """Pretends that the derivative of x is 3 x**2."""

    name = "cube"

    def vjp(self, builder, cts, xs):
        return [None if cts[0] is None else cts[0] * xs[0] * xs[0] * 3.0]


class _Push:
    name = "push"

    def jvp(self, builder, tangents, xs):
        return [tangents[0] * P["sin"](xs[0])]


@pytest.mark.parametrize(
    ("prim", "rule"), [("custom_vjp", _Cube()), ("custom_jvp", _Push())]
)
def test_custom_rules_inside(prim: str, rule) -> None:
    builder, inner = Builder("f"), Builder("step")
    inner.input(Aval((), np.dtype("i8")))
    c, s = inner.input(Aval((), F8)), inner.input(Aval((2,), F8))
    y = P["tanh"](s * c)
    (z,) = inner.emit(P[prim], [y, s], {"rule": rule, "n": 1})
    body = inner.finish([P["sin"](z) * s + P["stop_gradient"](P["exp"](s)), z])
    args = [builder.input(c.aval), builder.input(s.aval)]
    params = {"body": body, "trip": 3, "consts": 1, "carries": 1, "reverse": False}
    tape = builder.finish(builder.emit(P["loop"], args, params))
    arrays = [np.float64(0.7), np.array([0.2, -0.4])]
    same(pulled(tape), pulled(unroll(tape)), arrays)
    same(pulled(pulled(tape)), pulled(pulled(unroll(tape))), arrays)
    agree(pulled(tape), arrays)
    if prim == "custom_jvp":
        same(pushed(tape), pushed(unroll(tape)), arrays)
        same(pushed(pulled(tape)), pushed(pulled(unroll(tape))), arrays)


@pytest.mark.parametrize("trip", [0, 1, 2])
def test_few_iterations(trip: int) -> None:
    tape = looped(
        """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          return %4
        """,
        "%0: f64[], %1: f64[]",
        trip,
    )
    arrays = [np.float64(0.3), np.float64(1.2)]
    same(pulled(tape), pulled(unroll(tape)), arrays)
    agree(pulled(tape), arrays)
    assert (loops_of(simplify(pulled(tape))) == []) == (trip < 2)


# --- checkpoint


@pytest.mark.parametrize("seed", range(24))
def test_segments(seed: int) -> None:
    """The same in segments, left-over iterations and reversed loops included."""
    tape, arrays = random_loop(seed)
    builder = Builder("segments")
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        if instr.prim is P["loop"]:
            args = [env[a] for a in instr.args]
            outs = checkpointed(builder, args, instr.params, segment=1 + seed % 3)
            env.update(zip(instr.outs, outs, strict=True))
        else:
            builder.replay(instr, env)
    cut = verify(builder.finish([env[ref] for ref in tape.outputs]))
    same(cut, tape, arrays)
    same(pulled(cut), pulled(tape), arrays)
    same(pushed(cut), pushed(tape), arrays)
    agree(pulled(cut), arrays)


def test_memory_of_segments_grows_with_the_root():
    body = """
        %0: i64[], %1: f64[], %2: f64[]
          %3: f64[] = mul %1 %2
          %4: f64[] = sin %3
          %5: f64[] = tanh %4
          return %5
        """
    kept = {}
    for trip in (100, 10_000):
        tape = looped(body, "%0: f64[], %1: f64[]", trip)
        builder = Builder("f")
        args = [builder.input(tape.avals[r]) for r in tape.inputs]
        outs = checkpointed(builder, args, tape.instrs[0].params)
        joint = pulled(builder.finish(outs))
        inner = [stacks(i.params["body"]) for i in loops_of(joint)]
        kept[trip] = sum(stacks(joint)) + sum(map(sum, inner))
        assert sum(stacks(pulled(tape))) == 2 * trip
    assert kept[10_000] <= 11 * kept[100]
    assert kept[100] <= 30


def test_which_bodies_ask_for_segments():
    inner = Builder("step")
    inner.input(Aval((), np.dtype("i8")))
    s = inner.input(Aval((2,), F8))
    (z,) = inner.emit(P["checkpoint"], [P["sin"](s), s], {"rule": _Cube(), "n": 1})
    assert is_checkpoint(inner.finish([z, s]))
    assert not is_checkpoint(inner.finish([P["cos"](z)]))
    assert not is_checkpoint(Builder("step").finish([]))


# --- batching


@pytest.mark.parametrize(("seed", "depth"), CASES[::2])
@pytest.mark.parametrize("derive", [lambda tape: tape, pulled])
def test_batching(seed: int, depth: int, derive) -> None:
    tape, arrays = random_loop(seed, depth, length=8)
    tape = derive(tape)
    rng = np.random.default_rng(seed)
    more = [tape.avals[r] for r in tape.inputs[len(arrays) :]]
    arrays = [*arrays, *(rng.normal(size=m.shape) for m in more)]
    flags = rng.random(len(arrays)) < 0.4
    flags[int(rng.integers(len(arrays)))] = True
    size = 3
    builder, env, marked, given = Builder("b"), {}, set(), []
    for ref, array, flag in zip(tape.inputs, arrays, flags, strict=True):
        aval = tape.avals[ref]
        shape = (size, *aval.shape) if flag else aval.shape
        env[ref] = builder.input(Aval(shape, aval.dtype))
        if flag:
            marked.add(ref)
            factors = rng.uniform(0.8, 1.2, size=(size, *[1] * aval.ndim))
            given.append(array * factors)
        else:
            given.append(array)
    env, marked = batch(builder, tape.instrs, env, marked)
    outs = interpret(verify(builder.finish([env[r] for r in tape.outputs])), given)
    for k in range(size):
        one = [x[k] if flag else x for x, flag in zip(given, flags, strict=True)]
        for ref, mine, theirs in zip(tape.outputs, outs, interpret(tape, one), strict=True):
            mine = mine[k] if ref in marked else mine
            np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)


def test_batching_golden():
    """Only what differs gets a batch axis; a carry that comes to differ, from its start."""
    tape = parse_tape(
        dedent("""
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[9]):
          %4: f64[], %5: f64[], %6: f64[9] = loop %0 %1 %2 %3 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
              %5: f64[] = mul %1 %2
              %6: f64[] = mul %3 %4
              return %5 %6 %6
          return %4 %5 %6
        """)
    )
    builder = Builder("f")
    env = {r: builder.input(tape.avals[r]) for r in tape.inputs[:3]}
    env[3] = builder.input(Aval((8, 9), F8))
    env, marked = batch(builder, tape.instrs, env, {3})
    assert {r for r in tape.outputs if r in marked} == {5, 6}
    assert (
        repr(builder.finish([env[r] for r in tape.outputs]))
        == dedent("""
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[8,9]):
          %4: f64[8] = broadcast_to %2 {shape=(8,)}
          %5: f64[9,8] = transpose %3 {perm=(1, 0)}
          %6: f64[], %7: f64[8], %8: f64[9,8] = loop %0 %1 %4 %5 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[8], %4: f64[8]):
              %5: f64[] = mul %1 %2
              %6: f64[8] = mul %3 %4
              return %5 %6 %6
          %9: f64[8,9] = transpose %8 {perm=(1, 0)}
          return %6 %7 %9
        """).strip()
    )


# --- simplify


def simplified(before: str, after: str, **firings: int) -> None:
    counts: Counter[str] = Counter()
    tape = verify(parse_tape(dedent(before)))
    simple = verify(simplify(tape, counts))
    assert repr(simple) == dedent(after).strip()
    assert repr(simplify(simple)) == repr(simple)
    for name, times in firings.items():
        assert counts[name.replace("_", "-")] == times, counts


def test_results_carries_and_operands_without_readers_go():
    simplified(
        """
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[9], %5: f64[9]):
          %6: f64[], %7: f64[], %8: f64[], %9: f64[9] = loop %0 %1 %2 %3 %4 %5 {trip=9, consts=1, carries=3, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[], %5: f64[], %6: f64[]):
              %7: f64[] = mul %2 %5
              %8: f64[] = sin %3
              %9: f64[] = add %8 %1
              %10: f64[] = add %4 %7
              return %7 %9 %10 %9
          return %8
        """,
        """
        tape f(%0: f64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[9], %5: f64[9]):
          %6: f64[], %7: f64[] = loop %1 %3 %4 {trip=9, consts=0, carries=2, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[], %3: f64[]):
              %4: f64[] = mul %1 %3
              %5: f64[] = add %2 %4
              return %4 %5
          return %7
        """,
        loop_result=1,
        loop_operand=3,
    )


def test_what_does_not_change_leaves_the_loop():
    simplified(
        """
        tape f(%0: f64[3], %1: f64[], %2: f64[3]):
          %3: f64[], %4: f64[3], %5: f64[9,3] = loop %0 %1 %2 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[3], %2: f64[], %3: f64[3]):
              %4: f64[] = exp %2
              %5: f64[3] = mul %1 %4
              %6: f64[3] = mul %5 %3
              %7: f64[3] = add %1 %6
              return %2 %7 %5
          return %3 %4 %5
        """,
        """
        tape f(%0: f64[3], %1: f64[], %2: f64[3]):
          %3: f64[] = exp %1
          %4: f64[3] = mul %0 %3
          %5: f64[3] = loop %0 %4 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[3], %2: f64[3], %3: f64[3]):
              %4: f64[3] = mul %2 %3
              %5: f64[3] = add %1 %4
              return %5
          %6: f64[9,3] = broadcast_to %4 {shape=(9, 3)}
          return %1 %5 %6
        """,
        loop_invariant=2,
        loop_carry=1,
        loop_result=1,
    )


def test_a_carry_that_is_its_start_again_and_again():
    """Zero, say: what vjp carries where nothing flows."""
    simplified(
        """
        tape f(%0: f64[2], %1: f64[2]):
          %2: f64[] = 0.0
          %3: f64[2] = broadcast_to %2 {shape=(2,)}
          %4: f64[2], %5: f64[2], %6: f64[2] = loop %0 %1 %3 %3 {trip=9, consts=1, carries=3, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2], %4: f64[2]):
              %5: f64[2] = sin %2
              %6: f64[2] = add %5 %3
              %7: f64[2] = sub %6 %4
              %8: f64[] = 0.0
              %9: f64[2] = broadcast_to %8 {shape=(2,)}
              return %7 %9 %1
          return %4 %5
        """,
        """
        tape f(%0: f64[2], %1: f64[2]):
          %2: f64[] = 0.0
          %3: f64[2] = broadcast_to %2 {shape=(2,)}
          %4: f64[2], %5: f64[2] = loop %0 %1 %3 {trip=9, consts=1, carries=2, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2]):
              %4: f64[] = 0.0
              %5: f64[2] = sin %2
              %6: f64[2] = add %5 %4
              %7: f64[2] = sub %6 %3
              return %7 %1
          return %4 %3
        """,
    )


def test_constants_and_repeated_rows_come_inside_and_equal_operands_are_one():
    simplified(
        """
        tape f(%0: f64[2], %1: f64[2], %2: f64[9,2]):
          %3: f64[] = 1.0
          %4: f64[9,2] = broadcast_to %0 {shape=(9, 2)}
          %5: f64[2], %6: f64[9,2] = loop %3 %0 %1 %4 %2 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[], %2: f64[2], %3: f64[2], %4: f64[2], %5: f64[2], %6: f64[2]):
              %7: f64[2] = mul %3 %1
              %8: f64[2] = add %7 %4
              %9: f64[2] = mul %8 %5
              %10: f64[2] = mul %9 %6
              %11: f64[2] = add %10 %2
              return %11 %6
          return %5 %6
        """,
        """
        tape f(%0: f64[2], %1: f64[2], %2: f64[9,2]):
          %3: f64[2] = loop %0 %1 %2 {trip=9, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[2], %2: f64[2], %3: f64[2]):
              %4: f64[2] = add %2 %1
              %5: f64[2] = mul %4 %3
              %6: f64[2] = mul %5 %3
              %7: f64[2] = add %6 %1
              return %7
          return %3 %2
        """,
        times_one=1,
        loop_operand=3,
    )


def test_guards_stay_and_what_may_raise_stays_behind_them():
    text = """
        tape f(%0: f64[2,2], %1: f64[], %2: i64[]):
          %3: f64[] = loop %0 %1 {trip=9, consts=1, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[2,2], %2: f64[]):
              %3: f64[] = 0.0
              %4: bool[] = gt %2 %3
              guard %4 is True -> exit 0
              %5: f64[2,2] = cholesky %1
              %6: f64[] = sum %5 {axes=(0, 1)}
              %7: f64[] = mul %6 %2
              return %7
          return %2
        """
    counts: Counter[str] = Counter()
    tape = simplify(parse_tape(dedent(text)), counts)
    (instr,) = tape.instrs
    names = [i.prim.name for i in instr.params["body"].instrs]
    assert names == "const gt guard cholesky sum mul".split()
    assert counts["loop-invariant"] == 0


def test_a_cheap_large_product_of_small_ones_stays_inside():
    text = """
        tape f(%0: f64[9,1], %1: f64[9], %2: f64[9,9]):
          %3: f64[9,9] = loop %0 %1 %2 {trip=9, consts=2, carries=1, reverse=False}
            body: tape step(%0: i64[], %1: f64[9,1], %2: f64[9], %3: f64[9,9]):
              %4: f64[9,9] = mul %1 %2
              %5: f64[9,9] = mul %3 %4
              return %5
          return %3"""
    simplified(text, dedent(text), loop_invariant=0)


def test_one_iteration_is_the_body():
    simplified(
        """
        tape f(%0: f64[], %1: f64[1,2]):
          %2: f64[], %3: f64[1] = loop %0 %1 {trip=1, consts=0, carries=1, reverse=True}
            body: tape step(%0: i64[], %1: f64[], %2: f64[2]):
              %3: f64[] = cast %0 {dtype=f64}
              %4: f64[] = sum %2 {axes=(0,)}
              %5: f64[] = mul %4 %1
              %6: f64[] = sub %5 %3
              return %6 %4
          return %2 %3
        """,
        """
        tape f(%0: f64[], %1: f64[1,2]):
          %2: f64[2] = reshape %1 {shape=(2,)}
          %3: f64[] = sum %2 {axes=(0,)}
          %4: f64[] = mul %3 %0
          %5: f64[1] = reshape %3 {shape=(1,)}
          return %4 %5
        """,
        loop_once=1,
    )


def test_equal_loops_are_one():
    text = """
      %{a}: f64[] = loop %0 %1 {{trip=9, consts=1, carries=1, reverse=False}}
        body: tape step(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = {prim} %1 %2
          return %3"""
    head = "tape f(%0: f64[], %1: f64[]):"

    def count(*prims: str) -> int:
        blocks = [text.format(a=k, prim=p) for k, p in enumerate(prims, 2)]
        last = f"\n  return {' '.join(f'%{k}' for k in range(2, 2 + len(prims)))}"
        return len(simplify(parse_tape(head + "".join(blocks) + last)).instrs)

    assert count("mul", "mul") == 1
    assert count("mul", "add") == 2
