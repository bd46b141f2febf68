"""Reverse mode: golden texts, and what must not be emitted."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from tracejit.avals import Aval
from tracejit.errors import InvalidTapeError
from tracejit.interpret import interpret, verify
from tracejit.ops import elementwise as ew
from tracejit.ops.contraction import dot
from tracejit.ops.logic import gt, select, stop_gradient
from tracejit.ops.reduction import sum_
from tracejit.ops.structural import reshape, slice_, transpose
from tracejit.passes.jvp import jvp
from tracejit.passes.vjp import vjp
from tracejit.primitive import Primitive
from tracejit.tape import Builder, Source
from tracejit.text import parse_tape

F8 = np.dtype("f8")


def builder_of(text):
    """A builder that holds a tape's instrs, and the tape's inputs and outputs."""
    tape = parse_tape(dedent(text))
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    return builder, [env[r] for r in tape.inputs], [env[r] for r in tape.outputs]


def pulled(text, n_ct=1):
    """The text of the vjp; the last `n_ct` inputs are the outputs' cotangents."""
    builder, ins, outs = builder_of(text)
    wrt, cts = ins[:-n_ct], ins[-n_ct:]
    found = vjp(builder, outs, cts, wrt)
    tape = verify(builder.finish([*outs, *[g for g in found if g is not None]]))
    return tape, found


def golden(before, after):
    tape, _ = pulled(before)
    assert repr(tape) == dedent(after).strip()


def test_chain():
    golden(
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = sin %0
          %3: f64[3] = exp %2
          return %3
        """,
        """
        tape f(%0: f64[3], %1: f64[3]):
          %2: f64[3] = sin %0
          %3: f64[3] = exp %2
          %4: f64[3] = mul %1 %3
          %5: f64[3] = cos %0
          %6: f64[3] = mul %4 %5
          return %3 %6
        """,
    )


def test_partials_that_are_one_emit_no_product():
    golden(
        """
        tape f(%0: f64[3], %1: f64[3], %2: f64[3]):
          %3: f64[3] = sub %0 %1
          return %3
        """,
        """
        tape f(%0: f64[3], %1: f64[3], %2: f64[3]):
          %3: f64[3] = sub %0 %1
          %4: f64[3] = neg %2
          return %3 %2 %4
        """,
    )


def test_broadcast_operands_are_summed():
    golden(
        """
        tape f(%0: f64[], %1: f64[2,1], %2: f64[2,3], %3: f64[2,3]):
          %4: f64[2,1] = mul %0 %1
          %5: f64[2,3] = add %4 %2
          return %5
        """,
        """
        tape f(%0: f64[], %1: f64[2,1], %2: f64[2,3], %3: f64[2,3]):
          %4: f64[2,1] = mul %0 %1
          %5: f64[2,3] = add %4 %2
          %6: f64[2] = sum %3 {axes=(1,)}
          %7: f64[2,1] = reshape %6 {shape=(2, 1)}
          %8: f64[2,1] = mul %7 %1
          %9: f64[] = sum %8 {axes=(0, 1)}
          %10: f64[2,1] = mul %7 %0
          return %5 %9 %10 %3
        """,
    )


def test_contributions_of_several_uses_are_added():
    golden(
        """
        tape f(%0: f64[3], %1: f64[]):
          %2: f64[3] = square %0
          %3: f64[3] = mul %2 %0
          %4: f64[] = sum %3 {axes=(0,)}
          return %4
        """,
        """
        tape f(%0: f64[3], %1: f64[]):
          %2: f64[3] = square %0
          %3: f64[3] = mul %2 %0
          %4: f64[] = sum %3 {axes=(0,)}
          %5: f64[3] = broadcast_to %1 {shape=(3,)}
          %6: f64[3] = mul %5 %0
          %7: f64[3] = mul %5 %2
          %8: f64[] = 2.0
          %9: f64[3] = mul %8 %0
          %10: f64[3] = mul %6 %9
          %11: f64[3] = add %7 %10
          return %4 %11
        """,
    )


def test_masked_cotangents_use_mulz_until_a_sum():
    golden(
        """
        tape f(%0: f64[3], %1: f64[], %2: bool[3], %3: f64[3]):
          %4: f64[3] = log %0
          %5: f64[3] = mul %4 %1
          %6: f64[3] = select %2 %5 %0
          return %6
        """,
        """
        tape f(%0: f64[3], %1: f64[], %2: bool[3], %3: f64[3]):
          %4: f64[3] = log %0
          %5: f64[3] = mul %4 %1
          %6: f64[3] = select %2 %5 %0
          %7: f64[] = 0.0
          %8: f64[3] = select %2 %3 %7
          %9: f64[] = 0.0
          %10: f64[3] = select %2 %9 %3
          %11: f64[3] = mulz %8 %1
          %12: f64[3] = mulz %8 %4
          %13: f64[] = sum %12 {axes=(0,)}
          %14: f64[] = 1.0
          %15: f64[3] = div %14 %0
          %16: f64[3] = mulz %11 %15
          %17: f64[3] = add %10 %16
          return %6 %17 %13
        """,
    )


# --- zeros and paths


def names(builder, start):
    return [i.prim.name for i in builder.instrs[start:]]


def test_what_no_wrt_reaches_is_not_touched():
    builder = Builder()
    x, y = (builder.input(Aval((3,), F8)) for _ in range(2))
    out = ew.exp(y) * x
    ct = builder.input(out.aval)
    start = len(builder.instrs)
    vjp(builder, [out], [ct], [x])
    assert names(builder, start) == ["mul"]


def test_zero_is_none():
    builder = Builder()
    x = builder.input(Aval((), F8))
    ct = builder.input(x.aval)
    flag = gt(x, 0)
    y = select(flag, stop_gradient(x), ew.floor(x))
    start = len(builder.instrs)
    assert vjp(builder, [y], [ct], [x]) == [None]
    assert vjp(builder, [x * x], [None], [x]) == [None]
    assert "mul" not in names(builder, start + 1)


def test_the_output_may_be_the_input():
    builder = Builder()
    x = builder.input(Aval((), F8))
    ct = builder.input(x.aval)
    assert vjp(builder, [x], [ct], [x]) == [ct]


def test_intermediate_values():
    """wrt may hold a value and one that it is made from; both get their cotangent."""
    builder = Builder()
    x = builder.input(Aval((), F8))
    y = 3.0 * x
    z = y * y
    by_y, by_x = vjp(builder, [z], [builder.const(1, F8)], [y, x])
    found = interpret(builder.finish([by_y, by_x]), [np.float64(2.0)])
    assert found == [12.0, 36.0]


def test_instrs_carry_the_line_of_their_primal():
    builder = Builder()
    x = builder.input(Aval((), F8))
    builder.source = line = Source(test_chain.__code__, 0)
    y = ew.sin(x)
    builder.source = None
    ct = builder.input(y.aval)
    vjp(builder, [y], [ct], [x])
    assert [i.source for i in builder.instrs] == [line] * 3
    assert builder.source is None


def test_a_rule_of_the_wrong_shape_is_named():
    wrong = Primitive(
        "wrong",
        "structural",
        np.negative,
        lambda a: a,
        vjp=lambda ct, y, x: (sum_(ct, axes=(0,)),),
    )
    builder = Builder()
    x = builder.input(Aval((3,), F8))
    y = wrong(x)
    with pytest.raises(InvalidTapeError) as error:
        vjp(builder, [y], [builder.input(y.aval)], [x])
    assert str(error.value) == ("the vjp of wrong gives f64[] for an operand f64[3].")


# --- dot: no transpose where one of the orders needs none


@pytest.mark.parametrize(
    ("a", "b", "contract", "batch"),
    [
        ((2, 3), (3, 4), ((1,), (0,)), ((), ())),
        ((2, 3), (4, 3), ((1,), (1,)), ((), ())),
        ((3, 2), (3, 4), ((0,), (0,)), ((), ())),
        ((3, 2), (4, 3), ((0,), (1,)), ((), ())),
        ((2, 3), (3,), ((1,), (0,)), ((), ())),
        ((3,), (3, 2), ((0,), (0,)), ((), ())),
        ((3,), (3,), ((0,), (0,)), ((), ())),
        ((5, 2, 3), (5, 3, 4), ((2,), (1,)), ((0,), (0,))),
        ((2, 3, 4), (4, 5), ((2,), (0,)), ((), ())),
    ],
)
def test_dot_needs_no_transpose(a, b, contract, batch):
    builder = Builder()
    x, y = builder.input(Aval(a, F8)), builder.input(Aval(b, F8))
    out = dot(x, y, contract=contract, batch=batch)
    ct = builder.input(out.aval)
    gradient = vjp(builder, [out], [ct], [x, y])
    assert names(builder, 0) == ["dot", "dot", "dot"]
    assert [g.shape for g in gradient] == [a, b]
    for instr in builder.instrs[1:]:
        assert ct.index in instr.args


def test_dot_transposes_where_it_must():
    builder = Builder()
    x, y = builder.input(Aval((2, 3, 4), F8)), builder.input(Aval((3, 5), F8))
    out = dot(x, y, contract=((1,), (0,)), batch=((), ()))
    vjp(builder, [out], [builder.input(out.aval)], [x])
    assert names(builder, 0) == ["dot", "dot", "transpose"]
    assert transpose.name == "transpose"


# --- orders


def test_the_vjp_of_a_vjp_and_the_jvp_of_a_vjp_agree():
    """Third derivative of x**2 * exp(x), three ways."""

    def gradient(builder, y, x):
        (g,) = vjp(builder, [y], [builder.const(1, F8)], [x])
        return g

    def tangent(builder, y, x):
        (t,) = jvp(builder, 0, [x], [builder.const(1, F8)], [y])
        return t

    for ways in [(gradient,) * 3, (gradient, tangent, gradient), (tangent,) * 3]:
        builder = Builder()
        x = builder.input(Aval((), F8))
        y = ew.square(x) * ew.exp(x)
        for way in ways:
            y = way(builder, y, x)
        (found,) = interpret(verify(builder.finish([y])), [np.float64(0.7)])
        expected = (0.7**2 + 6 * 0.7 + 6) * np.exp(0.7)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


# --- slices of one value


def windows_of(shape, *windows):
    """The tape of the vjp of slices `(start, size)`, and its reference result."""
    builder = Builder()
    x = builder.input(Aval(shape, F8))
    outs = [
        slice_(x, start=start, size=size, step=(1,) * len(shape))
        for start, size in windows
    ]
    cts = [builder.input(out.aval) for out in outs]
    begin = len(builder.instrs)
    (g,) = vjp(builder, outs, cts, [x])
    tape = verify(builder.finish([g]))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=ct.shape) for ct in cts]
    expected = np.zeros(shape)
    for (start, size), value in zip(windows, values, strict=True):
        index = [slice(a, a + n) for a, n in zip(start, size, strict=True)]
        expected[tuple(index)] += value
    (found,) = interpret(tape, [np.zeros(shape), *values])
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    return names(builder, begin)


def test_elements_are_concatenated():
    found = windows_of((3,), ((0,), (1,)), ((2,), (1,)), ((1,), (1,)))
    assert found == ["concatenate"]


def test_gaps_are_zeros_and_equal_slices_are_added():
    found = windows_of((9,), ((7,), (1,)), ((2,), (3,)), ((7,), (1,)))
    assert found == ["add", *["const", "broadcast_to"] * 3, "concatenate"]


def test_elements_of_a_matrix():
    places = [((i, j), (1, 1)) for i in range(2) for j in range(3)]
    assert windows_of((2, 3), *places) == ["concatenate"] * 3


def test_overlapping_slices_are_padded_and_added():
    assert windows_of((5,), ((0,), (4,)), ((1,), (4,))) == ["unslice", "unslice", "add"]


def test_a_single_slice():
    assert windows_of((5, 2), ((1, 0), (2, 2))) == ["unslice"]
    assert windows_of((5, 2), ((0, 0), (5, 2))) == []


def test_slices_in_steps():
    builder = Builder()
    x = builder.input(Aval((5,), F8))
    odd = slice_(x, start=(1,), size=(2,), step=(2,))
    back = slice_(x, start=(4,), size=(5,), step=(-1,))
    first = slice_(x, start=(0,), size=(1,), step=(1,))
    cts = [builder.input(out.aval) for out in (odd, back, first)]
    (g,) = vjp(builder, [odd, back, first], cts, [x])
    values = [np.array([10.0, 20.0]), np.arange(5.0), np.array([100.0])]
    (found,) = interpret(verify(builder.finish([g])), [np.zeros(5), *values])
    np.testing.assert_array_equal(found, [104, 13, 2, 21, 0])


def test_a_loop_over_elements_stays_linear():
    builder = Builder()
    x = builder.input(Aval((200,), F8))
    total = builder.const(0, F8)
    for i in range(200):
        e = slice_(x, start=(i,), size=(1,), step=(1,))
        total = total + reshape(e, shape=()) ** 2.0
    vjp(builder, [total], [builder.const(1, F8)], [x])
    pieces = [i for i in builder.instrs if i.prim.name in ("unslice", "concatenate")]
    assert len(pieces) == 1
