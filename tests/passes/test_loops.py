"""Loops under every pass: the same as without loops, and no more work than needed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.loop_checks import (
    agree,
    looped,
    loops_of,
    opened,
    pulled,
    pushed,
    same,
    stacks,
)
from tests.random_loops import random_loop, row, unroll
from tracejit.avals import Aval
from tracejit.interpret import interpret, verify
from tracejit.passes.batching import batch
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder

F8 = np.dtype("f8")


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
    (first, third) = vjp(
        builder, outs[:1], [builder.const(1, a.dtype)], [args[0], args[2]]
    )
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
        for ref, mine, theirs in zip(
            tape.outputs, outs, interpret(tape, one), strict=True
        ):
            mine = mine[k] if ref in marked else mine
            np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)
