"""Branches: every pass gives what the side that is taken gives, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.evaluate import Left, evaluate
from tests.passes.loop_checks import agree, pulled, pushed, same
from tests.random_branches import looped_branch, random_branch, straight
from tests.test_random_kernels import agree as kernel_agrees
from tests.test_random_kernels import with_gradient
from tracejit.avals import Aval
from tracejit.interpret import GuardFailed, interpret, verify
from tracejit.passes.batching import batch
from tracejit.passes.contract import contract
from tracejit.passes.fuse import fuse
from tracejit.passes.simplify import simplify
from tracejit.program import Let
from tracejit.tape import Builder
from tracejit.text import parse_tape, print_tape

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make", [random_branch, lambda s: random_branch(s, 2)])
def test_derivatives_are_those_of_the_side(make, seed):
    tape, arrays = make(seed)
    plain = straight(tape, arrays)
    same(pushed(tape), pushed(plain), arrays, seed)
    same(pulled(tape), pulled(plain), arrays, seed)
    agree(pulled(tape), arrays, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_second_derivatives(seed):
    tape, arrays = random_branch(seed)
    plain = straight(tape, arrays)
    same(pushed(pulled(tape)), pushed(pulled(plain)), arrays, seed)
    same(pulled(pulled(tape)), pulled(pulled(plain)), arrays, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_loop(seed):
    tape, arrays = looped_branch(seed)
    plain = straight(tape, arrays)
    same(pushed(tape), pushed(plain), arrays, seed)
    same(pulled(tape), pulled(plain), arrays, seed)
    agree(pulled(tape), arrays, seed)


def batched(tape, axis_size):
    """The tape over a batch of all its inputs."""
    builder = Builder(tape.name)
    env = {}
    for ref in tape.inputs:
        aval = tape.avals[ref]
        env[ref] = builder.input(Aval((axis_size, *aval.shape), aval.dtype))
    env, marks = batch(builder, tape.instrs, env, set(tape.inputs))
    return verify(builder.finish([env[r] for r in tape.outputs])), [
        r in marks for r in tape.outputs
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make", [random_branch, looped_branch])
def test_a_batch_is_a_python_loop(seed, make):
    tape, arrays = make(seed)
    rng = np.random.default_rng(seed)
    many = [rng.uniform(-1, 1, size=(4, *np.shape(a))) for a in arrays]
    whole, marks = batched(pulled(tape), 4)
    more = [whole.avals[r].shape for r in whole.inputs[len(many) :]]
    many += [rng.normal(size=shape) for shape in more]
    found = interpret(whole, many)
    for k in range(4):
        one = interpret(pulled(tape), [np.asarray(a[k])[()] for a in many])
        for got, want, mark in zip(found, one, marks, strict=True):
            np.testing.assert_allclose(
                got[k] if mark else got, want, rtol=1e-9, atol=1e-11
            )


SIDES = """
tape f(%0: f64[], %1: f64[3]):
  %2: f64[] = 0.0
  %3: bool[] = gt %0 %2
  %4: f64[], %5: f64[3] = branch %3 %0 %1
    yes: tape yes(%0: f64[], %1: f64[3]):
      %2: f64[] = log %0
      %3: f64[3] = mul %1 %2
      return %2 %3
    no: tape no(%0: f64[], %1: f64[3]):
      return %0 %1
  return %4 %5
"""


def test_text_is_read_back():
    tape = verify(parse_tape(SIDES))
    assert print_tape(parse_tape(print_tape(tape))) == print_tape(tape)


def test_what_is_kept_for_the_derivative_is_zero_on_the_other_side():
    tape = simplify(pulled(parse_tape(SIDES)))
    first, second = [i for i in tape.instrs if i.prim.name == "branch"]
    assert len(first.outs) == 2  # the logarithm is a result anyway
    assert len(second.args) == 1 + 5


@pytest.mark.parametrize(("x", "want"), [(2.0, 0.5), (0.0, 1.0), (-1.0, 1.0)])
def test_no_nan_of_the_other_side(x, want):
    tape = pulled(parse_tape(SIDES), [0])
    values = [np.float64(x), np.zeros(3), np.float64(1.0)]
    assert interpret(tape, values)[2] == want
    assert evaluate(fuse(contract(simplify(tape))), values)[2] == want


def test_what_was_computed_in_front_for_one_side_makes_no_nan():
    tape = parse_tape("""
    tape f(%0: f64[]):
      %1: f64[] = log %0
      %2: f64[] = 0.0
      %3: bool[] = gt %0 %2
      %4: f64[] = branch %3 %0 %1
        yes: tape yes(%0: f64[], %1: f64[]):
          return %1
        no: tape no(%0: f64[], %1: f64[]):
          return %0
      return %4
    """)
    for x, want in ((2.0, 0.5), (0.0, 1.0)):
        got = interpret(pulled(tape), [np.float64(x), np.float64(1.0)])
        assert got[1] == want


def test_a_guard_counts_only_on_its_side():
    tape = parse_tape("""
    tape f(%0: f64[], %1: bool[]):
      %2: f64[] = 0.0
      %3: bool[] = gt %0 %2
      %4: f64[] = branch %3 %0 %1
        yes: tape yes(%0: f64[], %1: bool[]):
          guard %1 is True -> exit 3
          %2: f64[] = neg %0
          return %2
        no: tape no(%0: f64[], %1: bool[]):
          return %0
      return %4
    """)
    program = fuse(simplify(tape))
    true, false = np.bool_(True), np.bool_(False)
    for run in (lambda v: interpret(tape, v), lambda v: evaluate(program, v)):
        assert run([np.float64(-1.0), false]) == [-1.0]
        assert run([np.float64(2.0), true]) == [-2.0]
    with pytest.raises(GuardFailed) as failed:
        interpret(tape, [np.float64(2.0), false])
    assert failed.value.exit == 3
    with pytest.raises(Left) as left:
        evaluate(program, [np.float64(2.0), false])
    assert left.value.status == 4


def test_nothing_of_a_side_stands_in_front_of_it():
    program = fuse(simplify(parse_tape(SIDES)))
    outside = [s for s in program.body if isinstance(s, Let)]
    assert [s.prim for s in outside] == ["gt"]


REDUCED = {
    "known": (
        """
        tape f(%0: f64[]):
          %1: bool[] = True
          %2: f64[] = branch %1 %0
            yes: tape yes(%0: f64[]):
              %1: f64[] = sin %0
              return %1
            no: tape no(%0: f64[]):
              return %0
          return %2
        """,
        """
        tape f(%0: f64[]):
          %1: f64[] = sin %0
          return %1
        """,
    ),
    "not, constant inside, equal results, unused operand": (
        """
        tape f(%0: f64[], %1: bool[]):
          %2: f64[] = 2.0
          %3: bool[] = logical_not %1
          %4: f64[] = exp %0
          %5: f64[], %6: f64[], %7: f64[], %8: f64[] = branch %3 %0 %2 %4 %3
            yes: tape yes(%0: f64[], %1: f64[], %2: f64[], %3: bool[]):
              %4: f64[] = mul %0 %1
              %5: f64[] = select %3 %4 %2
              return %5 %5 %0 %1
            no: tape no(%0: f64[], %1: f64[], %2: f64[], %3: bool[]):
              return %0 %0 %0 %1
          return %5 %6 %7 %8
        """,
        """
        tape f(%0: f64[], %1: bool[]):
          %2: f64[] = 2.0
          %3: f64[] = branch %1 %0
            yes: tape no(%0: f64[]):
              return %0
            no: tape yes(%0: f64[]):
              %1: f64[] = 2.0
              %2: f64[] = mul %0 %1
              return %2
          return %3 %3 %0 %2
        """,
    ),
    "alike": (
        """
        tape f(%0: f64[], %1: bool[]):
          %2: f64[] = branch %1 %0
            yes: tape yes(%0: f64[]):
              %1: f64[] = sin %0
              return %1
            no: tape no(%0: f64[]):
              %1: f64[] = copy %0
              %2: f64[] = sin %1
              return %2
          return %2
        """,
        """
        tape f(%0: f64[], %1: bool[]):
          %2: f64[] = sin %0
          return %2
        """,
    ),
}


@pytest.mark.parametrize("name", REDUCED)
def test_simplified(name):
    before, after = map(parse_tape, REDUCED[name])
    got = verify(simplify(verify(before)))
    assert print_tape(got).split() == print_tape(after).split()


@pytest.mark.compiles
@pytest.mark.parametrize("seed", range(6))
def test_kernels(seed):
    for make in (random_branch, looped_branch):
        tape, arrays = make(seed)
        kernel_agrees(with_gradient(tape), arrays)
