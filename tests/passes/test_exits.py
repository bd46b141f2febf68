"""Loops with a run-time exit test: all passes, against the plain loop of each count."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.evaluate import Left, evaluate
from tests.passes.loop_checks import agree, pulled, pushed
from tracejit.avals import Aval
from tracejit.errors import InvalidTapeError, UnsupportedError
from tracejit.interpret import GuardFailed, interpret, verify
from tracejit.kernel import compile_tape
from tracejit.passes import optimise
from tracejit.passes.batching import batch
from tracejit.passes.fuse import fuse
from tracejit.passes.simplify import simplify
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Tape
from tracejit.text import parse_tape, print_tape

pytestmark = pytest.mark.compiles

HEAD = """
tape f(%0: f64[], %1: f64[{n}]):
  %2: i64[] = 0
  %3: f64[] = 1000.0
  %4: bool[] = lt %0 %3
"""
BODY = """
      %9: i64[] = 1
      %10: i64[] = add %4 %9
      %11: f64[] = 2.0
      %12: f64[] = mul %5 %11
      %13: f64[] = sin %12
      %14: f64[] = add %12 %13
      %15: f64[{n}] = sin %6
      %16: f64[{n}] = mul %15 %1
      %17: f64[{n}] = add %16 %14
      %18: f64[] = 1000.0
      %19: bool[] = lt %14 %18
"""


def with_test(n: int = 5, trip: int = 64) -> Tape:
    """Doubles %0 until it is 1000, an array beside it."""
    params = f"{{{{trip={trip}, consts=1, carries=4, reverse=False, test=True}}}}"
    outs = "%5: bool[], %6: i64[], %7: f64[], %8: f64[{n}]"
    inputs = "%0: i64[], %1: f64[{n}], %3: bool[], %4: i64[], %5: f64[], %6: f64[{n}]"
    text = f"""{HEAD}
  {outs} = loop %1 %4 %2 %0 %1 {params}
    body: tape body({inputs}):
{BODY}
      return %19 %10 %14 %17
  guard %5 is False -> exit 0
  return %7 %8 %6
"""
    return verify(parse_tape(_numbered(text.format(n=n))))


def _numbered(text: str) -> str:
    """The body's refs as the parser wants them: inputs from 0."""
    head, _, rest = text.partition("    body:")
    inner, sep, tail = rest.partition("  guard %5")
    for k in range(3, 20):
        inner = inner.replace(f"%{k}:", f"%#{k - 1}:").replace(f"%{k} ", f"%#{k - 1} ")
        inner = inner.replace(f"%{k}\n", f"%#{k - 1}\n")
    return head + "    body:" + inner.replace("#", "") + sep + tail


def unrolled(count: int, n: int = 5) -> Tape:
    """The same for one count, without a loop."""
    b = Builder("f")
    x, y = (b.input(a) for a in [with_test(n).avals[0], with_test(n).avals[1]])
    s, v = x, y
    for _ in range(count):
        s = s * 2.0
        s = s + P["sin"](s)
        v = P["sin"](v) * y + s
    return b.finish([s, v, b.const(count, np.dtype(np.int64))])


def start(count: int) -> float:
    """A start with which the loop runs so often."""
    for x in np.linspace(0.4, 1500.0, 4000):
        if interpret(with_test(), [np.float64(x), np.ones(5)])[2] == count:
            return float(x)
    raise AssertionError(count)


STARTS = {count: start(count) for count in (0, 1, 2, 5, 9)}


def test_the_text_is_read_back() -> None:
    tape = with_test()
    assert "test=True" in print_tape(tape)
    assert print_tape(parse_tape(print_tape(tape))) == print_tape(tape)


@pytest.mark.parametrize("count", STARTS)
@pytest.mark.parametrize("n", [5, 40])
def test_values_and_derivatives_are_those_of_the_count(count: int, n: int) -> None:
    x, y = np.float64(STARTS[count]), np.linspace(0.5, 1.5, n)
    rng = np.random.default_rng(count)
    for how in (
        lambda t: t,
        lambda t: pulled(t, [0, 1]),
        pushed_floats,
        lambda t: pulled(pulled(t, [0, 1]), [-1, -2]),
        lambda t: pushed_floats(pulled(t, [0, 1])),
        lambda t: pulled(pushed_floats(t), [-1, -2]),
    ):
        mine, theirs = how(with_test(n)), how(unrolled(count, n))
        avals = [mine.avals[r] for r in mine.inputs[2:]]
        values = [x, y, *(rng.normal(size=a.shape) for a in avals)]
        expected = interpret(theirs, values)
        for tape in (mine, verify(simplify(mine)), verify(optimise(mine))):
            check(interpret(tape, values), expected)
        check(evaluate(fuse(optimise(mine)), values), expected)
        status, _, got = compile_tape(optimise(mine), []).run(*values)
        assert status == 0
        check(got, expected)


def pushed_floats(tape: Tape) -> Tape:
    return pushed(Tape(tape.inputs, tape.instrs, floats(tape), tape.avals, tape.name))


def floats(tape: Tape) -> tuple[int, ...]:
    return tuple(r for r in tape.outputs if tape.avals[r].dtype.kind == "f")


def check(got: object, expected: list[object]) -> None:
    for a, b in zip(got, expected, strict=True):  # type: ignore[call-overload]
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * (1 + np.max(np.abs(b))))


def test_one_kernel_for_all_bounds() -> None:
    kernels = {
        compile_tape(optimise(pulled(with_test(40, trip), [0, 1])), []).kernel
        for trip in (16, 64, 256)
    }
    assert len(kernels) == 1


def test_too_low_a_bound_is_seen_by_the_guard() -> None:
    tape = with_test(trip=9)
    values = [np.float64(0.4), np.ones(5)]
    with pytest.raises(GuardFailed) as failed:
        interpret(tape, values)
    assert (failed.value.exit, failed.value.outcome) == (0, True)
    with pytest.raises(Left) as left:
        evaluate(fuse(tape), values)
    assert (left.value.status, left.value.outcome) == (1, True)
    status, outcome, _ = compile_tape(tape, []).run(*values)
    assert (status, outcome) == (1, True)


def test_source_runs_as_python() -> None:
    tape = optimise(pulled(with_test(40), [0]))
    kernel = compile_tape(tape, []).kernel
    assert "break" in kernel.source
    scope: dict = {}
    exec(kernel.source, scope)


def test_a_batch_of_counts_is_refused() -> None:
    tape = with_test()
    builder = Builder("batched")
    x = builder.input(Aval((3,), np.dtype(float)))
    y = builder.input(tape.avals[1])
    with pytest.raises(UnsupportedError, match="number of iterations"):
        batch(builder, tape.instrs[:-1], {0: x, 1: y}, {0})


def test_a_batch_beside_the_test() -> None:
    tape = with_test()
    builder = Builder("batched")
    x = builder.input(tape.avals[0])
    y = builder.input(Aval((3, 5), np.dtype(float)))
    env, batched = batch(builder, tape.instrs[:-1], {0: x, 1: y}, {1})
    assert 8 in batched
    assert 7 not in batched
    many = verify(builder.finish([env[8]]))
    ys = np.random.default_rng(0).normal(size=(3, 5))
    (got,) = interpret(many, [np.float64(2.0), ys])
    for row, one in zip(got, ys, strict=True):
        np.testing.assert_array_equal(row, interpret(tape, [np.float64(2.0), one])[1])


def test_what_a_test_must_be() -> None:
    text = print_tape(with_test())
    with pytest.raises(InvalidTapeError, match="with a test carries"):
        verify(parse_tape(text.replace("reverse=False", "reverse=True")))
    with pytest.raises(InvalidTapeError, match="counted loop"):
        verify(parse_tape(text.replace("test=True", "test=False, counted=True")))


def test_agree() -> None:
    agree(with_test(40), [np.float64(2.0), np.linspace(0.5, 1.5, 40)])
