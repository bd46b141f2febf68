"""The two domains of the walk: arrays (the oracle) and avals (the verifier)."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.errors import InvalidTapeError
from tracejit.interpret import GuardFailed, interpret, verify
from tracejit.text import parse_tape


def tape_of(text):
    return parse_tape(dedent(text))


SQUARES = tape_of(
    """
    tape f(%0: f64[3]):
      %1: f64[3] = square %0
      %2: f64[] = sum %1 {axes=(0,)}
      return %1 %2 %1
    """
)


def test_outputs_are_arrays_and_scalars():
    squares, total, again = interpret(SQUARES, [np.array([1.0, 2.0, 3.0])])
    np.testing.assert_array_equal(squares, [1, 4, 9])
    assert isinstance(total, np.float64)
    assert total == 14.0
    assert again is not squares
    np.testing.assert_array_equal(again, squares)


def test_outputs_share_no_memory_with_inputs():
    tape = tape_of(
        """
        tape f(%0: f64[2,3]):
          %1: f64[6] = reshape %0 {shape=(6,)}
          %2: f64[3,2] = transpose %0 {perm=(1, 0)}
          %3: f64[4,2,3] = broadcast_to %0 {shape=(4, 2, 3)}
          return %0 %1 %2 %3
        """
    )
    x = np.arange(6.0).reshape(2, 3)
    outputs = interpret(tape, [x])
    for out in outputs:
        assert not np.shares_memory(out, x)
        assert out.flags.c_contiguous
        out[...] = -1.0
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(2, 3))


def test_python_numbers_take_the_inputs_dtype():
    tape = tape_of(
        """
        tape f(%0: f32[]):
          %1: f32[] = add %0 %0
          return %1
        """
    )
    (found,) = interpret(tape, [0.1])
    assert found == np.float32(0.1) * 2
    assert found.dtype == np.float32


def test_an_input_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="input") as error:
        interpret(SQUARES, [np.zeros(4)])
    assert str(error.value) == "input 0 is f64[4], the tape has f64[3]"


def test_numpy_warnings_are_the_recordings_business():
    tape = tape_of(
        """
        tape f(%0: f64[]):
          %1: f64[] = log %0
          return %1
        """
    )
    assert interpret(tape, [np.float64(0.0)]) == [-np.inf]


GUARDED = tape_of(
    """
    tape f(%0: f64[], %1: i64[]):
      %2: f64[] = 0.0
      %3: bool[] = gt %0 %2
      guard %3 is True -> exit 0
      guard %1 is 3 -> exit 1
      return %0
    """
)


def test_guards_that_hold():
    assert interpret(GUARDED, [1.0, 3]) == [1.0]


@pytest.mark.parametrize(
    ("inputs", "exit", "outcome"),
    [((-1.0, 3), 0, False), ((1.0, 4), 1, 4), ((-1.0, 4), 0, False)],
)
def test_the_first_guard_that_fails(inputs, exit, outcome):
    with pytest.raises(GuardFailed) as failed:
        interpret(GUARDED, inputs)
    assert (failed.value.exit, failed.value.outcome) == (exit, outcome)
    assert type(failed.value.outcome) is type(outcome)


# --- the verifier


INVALID = {
    "%1: f64[3] = add %0 %7": "%7 is used before its definition",
    "%0: f64[3] = neg %0": "%0 is defined twice",
    "%1: f64[] = neg %0": ("the outputs are (f64[],), by the abstract rule (f64[3],)"),
    "%1: f64[2] = 1.0": "the outputs are (f64[2],), by the abstract rule (f64[],)",
    "%1: f64[2] = reshape %0 {shape=(2,)}": "reshape of f64[3] to (2,)",
    "%1: f64[2,3] = broadcast_to %0 {shape=(3, 2)}": (
        "broadcast_to of f64[3] to (3, 2)"
    ),
    "%1: bool[3] = logical_not %0": "logical_not has no f64 form; cast first",
    "%1: f64[1] = slice %0 {start=(3,), size=(1,), step=(1,)}": (
        "slice of f64[3]: start (3,) size (1,) step (1,)"
    ),
    "%1: f64[] = sum %0 {axes=(1,)}": "sum of f64[3] over axes (1,)",
    "%1: f64[3] = inv %0": "inv of f64[3], which is not a stack of squares",
}


@pytest.mark.parametrize(("body", "message"), INVALID.items())
def test_the_verifier_says_what_and_where(body, message):
    lines = ["tape f(%0: f64[3]):", body + "  ; m.py:2", "%7: f64[] = 0.0", "return %0"]
    with pytest.raises(InvalidTapeError) as error:
        verify(parse_tape("\n".join(lines)))
    assert str(error.value) == f"m.py:2: {message}\n    {body}."


def test_dtypes_must_be_equal():
    tape = tape_of(
        """
        tape f(%0: f64[3], %1: f32[]):
          %2: f64[3] = add %0 %1
          return %2
        """
    )
    with pytest.raises(InvalidTapeError) as error:
        verify(tape)
    assert str(error.value) == (
        "add of different dtypes f64 and f32; cast first\n    %2: f64[3] = add %0 %1."
    )


def test_undefined_outputs_and_repeated_inputs():
    with pytest.raises(InvalidTapeError, match=r"^the output %3 is not defined$"):
        verify(parse_tape("tape f(%0: f64[]):\n  return %3"))
    with pytest.raises(InvalidTapeError, match=r"^%0 is an input twice$"):
        verify(parse_tape("tape f(%0: f64[], %0: f64[]):\n  return %0"))


def test_a_valid_tape_is_returned():
    assert verify(SQUARES) is SQUARES


def test_verify_looks_into_loops():
    text = """
    tape f(%0: f64[]):
      %1: f64[] = loop %0 {trip=9, consts=0, carries=1, reverse=False}
        body: tape step(%0: i64[], %1: f64[]):
          %2: f64[] = mul %1 %3
          %3: f64[] = sin %2
          return %3
      return %1
    """
    with pytest.raises(InvalidTapeError) as caught:
        verify(parse_tape(text))
    assert str(caught.value) == (
        "%3 is used before its definition\n    %2: f64[] = mul %1 %3.\n"
        "  in the tape step of\n    %1: f64[] = loop %0 "
        "{trip=9, consts=0, carries=1, reverse=False}."
    )
