"""The tape's syntax: golden text, exact inverse, errors."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.avals import Aval
from tracejit.ops.logic import cast, gt
from tracejit.ops.reduction import sum_
from tracejit.primitive import PRIMITIVES
from tracejit.tape import Builder, Source
from tracejit.text import parse_tape, print_tape

GOLDEN = """\
tape loss(%0: f64[3], %1: f32[], %2: i64[2,2]):
  %3: f64[] = -0.0
  %4: f64[3] = mul %0 %3                        ; model.py:12
  %5: f64[] = sum %4 {axes=(0,)}
  %6: bool[] = gt %5 %3                         ; model.py:13
  guard %6 is True -> exit 1                    ; model.py:13  if r > 0: # (-> 1)
  %7: f64[] = cast %1 {dtype=f64}
  %8: i64[2] = slice %2 {start=(0, 1), size=(2, 0), step=(1, -1)}
  %9: f64[], %10: f64[] = slogdet %2
  return %5 %5 %1"""


def test_golden_text_parses_and_prints():
    assert print_tape(parse_tape(GOLDEN)) == GOLDEN


def test_without_sources():
    lines = print_tape(parse_tape(GOLDEN), sources=False).splitlines()
    assert lines[2] == "  %4: f64[3] = mul %0 %3"
    assert lines[5] == "  guard %6 is True -> exit 1"


def test_what_is_parsed():
    tape = parse_tape(GOLDEN)
    assert tape.name == "loss"
    assert tape.inputs == (0, 1, 2)
    assert tape.outputs == (5, 5, 1)
    assert tape.avals[2] == Aval((2, 2), np.dtype("i8"))
    zero, mul, total = tape.instrs[:3]
    assert math.copysign(1, zero.params["value"]) == -1
    assert zero.params["dtype"] == np.dtype("f8")
    assert mul.prim is PRIMITIVES["mul"]
    assert (mul.source.file, mul.source.line) == ("model.py", 12)
    assert total.params == {"axes": (0,)}
    guard = tape.instrs[4]
    assert guard.params == {"expected": True, "exit": 1}
    assert guard.params["expected"] is True
    assert tape.instrs[5].params == {"dtype": np.dtype("f8")}


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.0, "f8", "1.0"),
        (-0.0, "f8", "-0.0"),
        (0.1, "f4", "0.10000000149011612"),
        (1e300, "f8", "1e+300"),
        (5e-324, "f8", "5e-324"),
        (math.inf, "f8", "inf"),
        (-math.inf, "f8", "-inf"),
        (math.nan, "f8", "nan"),
        (-7, "i8", "-7"),
        (2**64 - 1, "u8", "18446744073709551615"),
        (True, "?", "True"),
    ],
)
def test_constants(value, dtype, text):
    builder = Builder()
    tape = builder.finish([builder.const(value, np.dtype(dtype))])
    line = print_tape(tape).splitlines()[1]
    assert line.endswith(f"= {text}")
    params = parse_tape(print_tape(tape)).instrs[0].params
    assert repr(params) == repr(tape.instrs[0].params)


def test_source_lines_of_a_recording():
    def function(x):
        return x

    here = function.__code__.co_firstlineno
    builder = Builder()
    x = builder.input(Aval((), np.dtype("f8")))
    builder.source = Source(function.__code__, 0)
    flag = gt(x, x)
    builder.emit(PRIMITIVES["guard"], (flag,), {"expected": False, "exit": 0})
    lines = print_tape(builder.finish([x])).splitlines()
    name = pathlib.Path(__file__).name
    assert lines[1].endswith(f"; {name}:{here}")
    assert lines[2].endswith(f"; {name}:{here}  def function(x):")
    assert print_tape(parse_tape("\n".join(lines))) == "\n".join(lines)


def test_repr_is_the_text():
    builder = Builder("total")
    x = builder.input(Aval((3,), np.dtype("f4")))
    tape = builder.finish([sum_(cast(x, dtype=np.dtype("f8")), axes=(0,))])
    assert repr(tape) == print_tape(tape)
    assert repr(tape).splitlines()[1] == "  %1: f64[3] = cast %0 {dtype=f64}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss(%0: f64[])\n  return", "not the head of a tape: 'loss(%0: f64[])'"),
        (
            "tape f():\n  %1: f64[] = frobnicate %0\n  return",
            "not an instruction: '%1: f64[] = frobnicate %0'",
        ),
        ("tape f():\n  stop", "not an instruction: 'stop'"),
        (
            "tape f():\n  %0: f64[] = 1.0",
            "a tape ends with return, not with '  %0: f64[] = 1.0'",
        ),
    ],
)
def test_errors(text, message):
    with pytest.raises(ValueError, match=r"tape|instruction") as error:
        parse_tape(text)
    assert str(error.value) == message


LOOPS = """\
tape f(%0: f64[], %1: f64[9]):
  %2: f64[], %3: f64[9] = loop %0 %1 {trip=9, consts=0, carries=1, reverse=True}; m.py:3
    body: tape outer(%0: i64[], %1: f64[], %2: f64[]):
      %3: f64[] = loop %2 %1 {trip=2, consts=1, carries=1, reverse=False}
        body: tape inner(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = mul %1 %2                 ; model.py:5
          return %3
      %4: f64[] = sin %3
      return %4 %2
  %4: f64[] = sum %3 {axes=(0,)}
  return %2 %4"""


def test_loops_print_nested_and_parse():
    tape = parse_tape(LOOPS)
    assert print_tape(tape) == LOOPS
    outer, total = tape.instrs
    assert total.prim is PRIMITIVES["sum"]
    body = outer.params["body"]
    assert body.name == "outer"
    assert body.instrs[0].params["body"].instrs[0].source.line == 5


@pytest.mark.parametrize("cut", [9, 10])
def test_a_body_without_return(cut):
    lines = LOOPS.splitlines()
    with pytest.raises(ValueError, match="a tape ends with return"):
        parse_tape("\n".join(lines[: cut - 1]))
