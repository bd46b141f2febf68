"""Rules that the user brings: custom_vjp, custom_jvp, checkpoint; and barrier."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.avals import Aval
from tracejit.errors import DifferentiationError
from tracejit.interpret import interpret, verify
from tracejit.ops import elementwise as ew
from tracejit.ops.control import barrier, checkpoint, custom_jvp, custom_vjp
from tracejit.passes.batching import batch
from tracejit.passes.jvp import jvp
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.tape import Builder
from tracejit.text import parse_tape, print_tape

F8 = np.dtype("f8")
VECTOR = Aval((3,), F8)


class Reverse:
    """The derivative of x * y, on purpose tenfold."""

    name = "tenfold"

    def vjp(self, builder, cts, xs):
        (ct,) = cts
        _, y = xs
        return [10.0 * ct * y, None]


class Forward:
    name = "forward"

    def jvp(self, builder, tangents, xs):
        (x,) = xs
        (t,) = tangents
        return [None if t is None else t * (7.0 * x)]


class Replay:
    """checkpoint: sin(x) * x again, behind a barrier."""

    name = "replay"

    def vjp(self, builder, cts, xs):
        x = barrier(xs[0])
        start = len(builder.instrs)
        return vjp(builder, [ew.sin(x) * x], cts, [x], start)


def reverse_tape():
    builder = Builder("f")
    x, y, ct = (builder.input(VECTOR) for _ in range(3))
    (z,) = custom_vjp(x * y, x, y, rule=Reverse(), n=1)
    return builder, x, y, ct, z


def test_custom_vjp_uses_the_rule_and_nothing_else():
    builder, x, y, ct, z = reverse_tape()
    by_x, by_y = vjp(builder, [z], [ct], [x, y])
    assert by_y is None
    tape = verify(builder.finish([z, by_x]))
    value, gradient = interpret(tape, [np.ones(3), np.full(3, 2.0), np.full(3, 3.0)])
    np.testing.assert_array_equal(value, [2, 2, 2])
    np.testing.assert_array_equal(gradient, [60, 60, 60])


def test_custom_vjp_refuses_forward_mode():
    builder, x, _, t, z = reverse_tape()
    with pytest.raises(DifferentiationError) as error:
        jvp(builder, 0, [x], [t], [z])
    assert str(error.value) == (
        "tenfold has a custom reverse rule only, so forward mode cannot pass through"
        " it. Use grad, vjp or jacrev, or give it a custom_jvp rule."
    )


def test_a_rule_prints_and_parses_by_name():
    builder, _, _, _, z = reverse_tape()
    tape = builder.finish([z])
    text = print_tape(tape)
    assert "custom_vjp %3 %0 %1 {rule=<tenfold>, n=1}" in text
    rule = tape.instrs[-1].params["rule"]
    again = parse_tape(text, {"tenfold": rule})
    assert again.instrs[-1].params["rule"] is rule
    assert print_tape(again) == text


def test_simplify_replaces_the_identities_by_their_values():
    builder, x, _, _, z = reverse_tape()
    (w,) = checkpoint(z, x, rule=Replay(), n=1)
    (v,) = custom_jvp(w, x, rule=Forward(), n=1)
    assert [i.prim.name for i in simplify(builder.finish([v])).instrs] == ["mul"]


def test_custom_jvp_in_both_modes():
    builder = Builder("f")
    x, t, ct = (builder.input(VECTOR) for _ in range(3))
    (y,) = custom_jvp(ew.exp(x), x, rule=Forward(), n=1)
    (forward,) = jvp(builder, 0, [x], [t], [y])
    (backward,) = vjp(builder, [y], [ct], [x])
    tape = verify(simplify(verify(builder.finish([forward, backward]))))
    xs = np.array([1.0, 2.0, 3.0])
    found = interpret(tape, [xs, np.ones(3), np.full(3, 2.0)])
    np.testing.assert_array_equal(found, [7 * xs, 14 * xs])


def test_checkpoint_computes_again_and_goes_forward():
    builder = Builder("f")
    x, t = (builder.input(VECTOR) for _ in range(2))
    (y,) = checkpoint(ew.sin(x) * x, x, rule=Replay(), n=1)
    one = builder.const(1, F8) + 0 * x
    (backward,) = vjp(builder, [y], [one], [x])
    (forward,) = jvp(builder, 0, [x], [t], [y])
    tape = simplify(builder.finish([y, backward]))
    assert [i.prim.name for i in tape.instrs].count("sin") == 2
    tape = builder.finish([backward, forward])
    found = interpret(tape, [np.arange(3.0), np.ones(3)])
    expected = np.sin(np.arange(3.0)) + np.arange(3.0) * np.cos(np.arange(3.0))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-15)


def test_two_barriers_are_two_values():
    builder = Builder("f")
    x = builder.input(VECTOR)
    tape = simplify(builder.finish([barrier(x), barrier(x)]))
    assert len(tape.instrs) == 2


def batched(builder, out, x, size=2):
    """The vjp of a batched program: batch first, differentiate then."""
    outer = Builder("batched")
    xs = outer.input(Aval((size, *x.shape), F8))
    env, done = batch(outer, builder.instrs, {x.index: xs}, {x.index})
    assert out.index in done
    ys = env[out.index]
    ct = outer.input(ys.aval)
    (gradient,) = vjp(outer, [ys], [ct], [xs])
    return verify(outer.finish([ys, gradient]))


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_custom_rules_of_a_batch(kind):
    builder = Builder("f")
    x = builder.input(VECTOR)
    if kind == "vjp":
        (y,) = custom_vjp(x * x, x, x, rule=Reverse(), n=1)
        factor = 10.0
    else:
        (y,) = custom_jvp(x * x, x, rule=Forward(), n=1)
        factor = 7.0
    tape = batched(builder, y, x)
    xs = np.arange(6.0).reshape(2, 3)
    value, gradient = interpret(tape, [xs, np.ones((2, 3))])
    np.testing.assert_array_equal(value, xs * xs)
    np.testing.assert_array_equal(gradient, factor * xs)
