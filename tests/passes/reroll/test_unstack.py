"""What a loop collected is its stacked output, however it is put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.test_reroll import rolled, trips
from tracejit import grad


def collecting(join: Callable) -> Callable:
    def f(x: Any) -> Any:
        seen, y = [], x[:3]
        for _ in range(6):
            y = np.sin(y) * x[3]
            seen.append(y)
        return join(seen)

    return f


def last_axis(rows: list) -> Any:
    return np.stack(rows, axis=-1)


def as_columns(rows: list) -> Any:
    return np.concatenate([row.reshape(-1, 1) for row in rows], axis=1)


def some(rows: list) -> Any:
    return np.concatenate(rows[1:5])


@pytest.mark.parametrize(
    ("join", "between"),
    [
        (lambda rows: np.array(rows), []),
        (np.stack, []),
        (np.vstack, []),
        (np.concatenate, ["reshape"]),
        (np.hstack, ["reshape"]),
        (some, ["slice", "reshape"]),
        (last_axis, ["reshape", "transpose", "reshape"]),
        (np.column_stack, ["reshape", "transpose", "reshape"]),
        (as_columns, ["reshape", "transpose", "reshape"]),
        (np.dstack, ["reshape", "transpose", "reshape"]),
    ],
)
def test_rows_are_joined_in_one_piece(join: Callable, between: list[str]) -> None:
    tape = rolled(collecting(join), np.linspace(0.1, 0.9, 4))
    names = [instr.prim.name for instr in tape.instrs]
    assert [n for n in names[names.index("loop") + 1 :] if n != "copy"] == between


def test_rows_among_other_operands() -> None:
    def f(x: Any) -> Any:
        rows = [x[:3]]
        for _ in range(6):
            rows.append(np.sin(rows[-1]) * x[3])
        return np.concatenate([rows[0], *rows[2:5], x, *rows[4:], rows[0]])

    tape = rolled(f, np.linspace(0.1, 0.9, 4))
    (joined,) = [i for i in tape.instrs if i.prim.name == "concatenate"]
    assert len(joined.args) == 5


def test_gradients_through_joined_columns() -> None:
    def f(x: Any) -> Any:
        rows = collecting(lambda rows: rows)(x)
        weights = np.arange(18.0).reshape(3, 6)
        return np.sum(np.column_stack(rows) * weights) + np.sum(np.hstack(rows)[4:])

    x, step = np.linspace(0.1, 0.9, 4), 1e-6
    found = grad(f)(x)
    for k, e in enumerate(step * np.eye(4)):
        slope = (f(x + e) - f(x - e)) / (2 * step)
        np.testing.assert_allclose(found[k], slope, rtol=1e-7)


@pytest.mark.parametrize("lag", [5, 8, 16])
def test_values_from_many_iterations_back(lag: int) -> None:
    def f(x: Any) -> Any:
        history = [x * (1 + 0.1 * k) for k in range(lag)]
        for _ in range(24):
            history.append(history[-lag] * 0.5 + np.sin(history[-1]))
        return history[-1] + history[-lag]

    assert trips(rolled(f, 0.7))[-1] == 24


def test_values_from_too_many_iterations_back() -> None:
    def f(x: Any) -> Any:
        history = [x * (1 + 0.1 * k) for k in range(17)]
        for _ in range(24):
            history.append(history[-17] * 0.5 + np.sin(history[-1]))
        return history[-1]

    assert 24 not in trips(rolled(f, 0.7))
