"""Golden tapes: what each kind of operand of a repetition becomes, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from tests.passes.test_reroll import record, rolled
from tracejit import value_and_grad
from tracejit.text import print_tape


def two_back(a: Any, b: Any) -> Any:
    for _ in range(6):
        a, b = b, a + b
    return b


TWO_BACK = """
    tape two_back(%0: f64[], %1: f64[]):
      %8: f64[], %7: f64[] = loop %0 %1 {trip=6, consts=0, carries=2, reverse=False}
        body: tape body(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = add %1 %2
          return %2 %3
      return %7
"""


def rows(x: Any, s: Any) -> Any:
    for i in range(6):
        s = s * x[i]
    return s


ROWS = """
    tape rows(%0: f64[8], %1: f64[]):
      %20: f64[6] = slice %0 {start=(0,), size=(6,), step=(1,)}
      %19: f64[] = loop %1 %20 {trip=6, consts=0, carries=1, reverse=False}
        body: tape body(%0: i64[], %4: f64[], %1: f64[]):
          %2: f64[1] = reshape %1 {shape=(1,)}
          %3: f64[] = reshape %2 {shape=()}
          %5: f64[] = mul %4 %3
          return %5
      return %19
"""


def rows_from_the_end(x: Any, s: Any) -> Any:
    for i in range(6):
        s = s * x[len(x) - 1 - i]
    return s


ROWS_FROM_THE_END = """
    tape rows_from_the_end(%0: f64[8], %1: f64[]):
      %20: f64[6] = slice %0 {start=(7,), size=(6,), step=(-1,)}
      %19: f64[] = loop %1 %20 {trip=6, consts=0, carries=1, reverse=False}
        body: tape body(%0: i64[], %4: f64[], %1: f64[]):
          %2: f64[1] = reshape %1 {shape=(1,)}
          %3: f64[] = reshape %2 {shape=()}
          %5: f64[] = mul %4 %3
          return %5
      return %19
"""


def table(s: Any) -> Any:
    for k in range(6):
        s = s * (k + 0.5) ** 2
    return s


TABLE = """
    tape table(%0: f64[], %13: f64[6]):
      %12: f64[] = loop %0 %13 {trip=6, consts=0, carries=1, reverse=False}
        body: tape body(%0: i64[], %2: f64[], %1: f64[]):
          %3: f64[] = mul %2 %1
          return %3
      return %12
"""


def counter(s: Any) -> Any:
    for k in range(6):
        s = s + np.where(s > 3.5, 1, k)
    return s


COUNTER = """
    tape counter(%0: f64[]):
      %42: f64[] = loop %0 {trip=6, consts=0, carries=1, reverse=False}
        body: tape body(%0: i64[], %2: f64[]):
          %1: f64[] = 3.5
          %3: bool[] = gt %2 %1
          %4: i64[] = 1
          %5: i64[] = select %3 %4 %0
          %6: f64[] = cast %5 {dtype=f64}
          %7: f64[] = add %2 %6
          return %7
      return %42
"""


def layers(s: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    for w in (a, b, c, d):
        s = s * w
    return s


LAYERS = """
    tape layers(%0: f64[], %1: f64[], %2: f64[], %3: f64[], %4: f64[]):
      %9: f64[1] = reshape %1 {shape=(1,)}
      %10: f64[1] = reshape %2 {shape=(1,)}
      %11: f64[1] = reshape %3 {shape=(1,)}
      %12: f64[1] = reshape %4 {shape=(1,)}
      %13: f64[4] = concatenate %9 %10 %11 %12 {axis=0}
      %8: f64[] = loop %0 %13 {trip=4, consts=0, carries=1, reverse=False}
        body: tape body(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = mul %1 %2
          return %3
      return %8
"""


def collected(x: Any, s: Any) -> Any:
    found = []
    for _ in range(6):
        s = s * x
        found.append(s)
    return np.array(found)


COLLECTED = """
    tape collected(%0: f64[], %1: f64[]):
      %7: f64[], %15: f64[6] = loop %0 %1 {trip=6, consts=1, carries=1, reverse=False}
        body: tape body(%0: i64[], %2: f64[], %1: f64[]):
          %3: f64[] = mul %1 %2
          return %3 %3
      %14: f64[6] = copy %15
      return %14
"""


def first_differs(x: Any) -> Any:
    s = x
    for i in range(7):
        s = s * x if i else x + 1.0
    return s


FIRST_DIFFERS = """
    tape first_differs(%0: f64[]):
      %1: f64[] = 1.0
      %2: f64[] = add %0 %1
      %8: f64[] = loop %0 %2 {trip=6, consts=1, carries=1, reverse=False}
        body: tape body(%0: i64[], %2: f64[], %1: f64[]):
          %3: f64[] = mul %1 %2
          return %3
      return %8
"""


def nested(x: Any, s: Any) -> Any:
    for _ in range(6):
        for _ in range(5):
            s = s * x
        s = s + 1.0
    return s


NESTED = """
    tape nested(%0: f64[], %1: f64[]):
      %43: f64[] = loop %0 %1 {trip=6, consts=1, carries=1, reverse=False}
        body: tape body(%0: i64[], %1: f64[], %2: f64[]):
          %3: f64[] = loop %1 %2 {trip=5, consts=1, carries=1, reverse=False}
            body: tape body(%0: i64[], %2: f64[], %1: f64[]):
              %3: f64[] = mul %1 %2
              return %3
          %4: f64[] = 1.0
          %5: f64[] = add %3 %4
          return %5
      return %43
"""

X = np.arange(8.0) + 1.0
CASES = [
    (two_back, (1.0, 2.0), 6, TWO_BACK),
    (rows, (X, 1.0), 18, ROWS),
    (rows_from_the_end, (X, 1.0), 18, ROWS_FROM_THE_END),
    (table, (2.0,), 12, TABLE),
    (counter, (np.float64(2.0),), 42, COUNTER),
    (layers, (1.0, 2.0, 3.0, 4.0, 5.0), 4, LAYERS),
    (collected, (1.5, 2.0), 13, COLLECTED),
    (first_differs, (1.5,), 8, FIRST_DIFFERS),
    (nested, (1.5, 2.0), 42, NESTED),
]


@pytest.mark.parametrize(
    ("fun", "args", "before", "after"), CASES, ids=[c[0].__name__ for c in CASES]
)
def test_golden(fun: Callable, args: tuple, before: int, after: str) -> None:
    """One recorded tape, of so many instrs, and what rolling makes of it."""
    unrolled, _ = record(fun, *args)
    assert len(unrolled.instrs) == before
    assert all(i.prim.name != "loop" for i in unrolled.instrs)
    assert print_tape(rolled(fun, *args), sources=False) == dedent(after).strip()


@pytest.mark.compiles
def test_lengths_that_are_equal_by_chance_share_no_parameter() -> None:
    def loss(x, m, n):
        for _ in range(m):
            x = np.sin(x) * 1.1
        y = x
        for _ in range(n):
            y = y * 0.9 + 0.01
        return np.sum(y * x)

    f = value_and_grad(loss)
    for size, m, n in ((20, 20, 20), (20, 30, 20), (20, 20, 40), (50, 20, 40)):
        x = np.linspace(0.1, 1.0, size)
        value, _ = f(x, m, n)
        np.testing.assert_allclose(value, loss(x, m, n), rtol=1e-12)
    assert f.stats().traces == 4
    assert len(f.kernels()) == 1
