"""Random loops with random branches: what they become, against plain recordings."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejit import config, grad, hessian, value_and_grad
from tracejit.tracer.forks import Forks

VALUES = (
    "0.9 * {a} + u", "{a} - 0.3 * {b}", "np.sin({a} + {b})", "{a} * u", "-{a}", "{b}",
    "np.tanh({a}) + us[i]", "{a} + 0.1 * i", "p * {a}", "0.5", "max({a}, {b})",
    "{a} if u > 0.2 else {b}", "np.sqrt(abs({a}) + 1)", "{a} / (1 + {b} * {b})",
)  # fmt: skip
TESTS = (
    "u > 0.1", "{a} > {b}", "{a} < u and u < 0.6", "us[i] * {a} > 0.05",
    "not {a} > 0.3", "u < -0.4 or {b} < 0", "flag", "i % 2",
)  # fmt: skip


class Program:
    """The source of a random function, and the function."""

    count = 0

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        lines = ["def f(x, y, p, us):", "    z, flag = x * y, True"]
        lines += ["    for i in range(len(us)):", "        u = us[i]"]
        lines += self.block(2, 2)
        lines += ["    return x + 2 * y - z"]
        self.source = "\n".join(lines) + "\n"
        Program.count += 1
        name = f"<random fork {Program.count}>"
        linecache.cache[name] = len(self.source), None, lines, name
        space: dict[str, Any] = {"np": np}
        exec(compile(self.source, name, "exec"), space)
        self.f: Callable[..., Any] = space["f"]

    def pick(self, texts: tuple[str, ...]) -> str:
        names = self.rng.permutation(["x", "y", "z"])
        text = texts[int(self.rng.integers(len(texts)))]
        return text.format(a=names[0], b=names[1])

    def block(self, depth: int, indent: int) -> list[str]:
        pad, lines = "    " * indent, []
        for _ in range(int(self.rng.integers(1, 4))):
            kind = self.rng.random()
            if depth and kind < 0.5:
                lines += [
                    f"{pad}if {self.pick(TESTS)}:",
                    *self.block(depth - 1, indent + 1),
                ]
                if self.rng.random() < 0.6:
                    lines += [f"{pad}else:", *self.block(depth - 1, indent + 1)]
            elif kind < 0.55:
                lines.append(f"{pad}flag = not flag")
            elif depth < 2 and kind < 0.6:
                lines.append(f"{pad}continue")
            else:
                target = str(self.rng.choice(["x", "y", "z"]))
                lines.append(f"{pad}{target} = {self.pick(VALUES)}")
        return lines


@contextmanager
def interpreted(forks: bool) -> Iterator[None]:
    """No kernels; and perhaps no loops with branches."""
    eager, finish = config.MAX_EAGER_PATHS, Forks.finish
    config.MAX_EAGER_PATHS = 0
    if not forks:
        Forks.finish = lambda self, frame: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        config.MAX_EAGER_PATHS = eager
        Forks.finish = finish  # type: ignore[method-assign]


@given(st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_random_programs(seed: int) -> None:
    program = Program(seed)
    rng = np.random.default_rng(seed)
    ours = value_and_grad(program.f, argnums=(0, 1, 2, 3))
    for _ in range(5):
        x, y, p = map(np.float64, rng.uniform(0.2, 0.9, size=3))
        args = x, y, p, rng.uniform(-1, 1, size=10)
        with interpreted(forks=True):
            ours(*args)  # what is recorded now
            value, slopes = ours(*args)  # and what that gives
        with interpreted(forks=False):
            want, moves = value_and_grad(program.f, argnums=(0, 1, 2, 3))(*args)
        np.testing.assert_allclose(value, program.f(*args), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
        for mine, theirs in zip(slopes, moves, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@given(st.integers(0, 10**9))
@settings(max_examples=8, deadline=None)
def test_second_derivatives(seed: int) -> None:
    program = Program(seed)
    rng = np.random.default_rng(seed)
    x, y, p = map(np.float64, rng.uniform(0.2, 0.9, size=3))
    us = rng.uniform(-1, 1, size=8)
    ours = hessian(program.f, argnums=3)
    with interpreted(forks=True):
        ours(x, y, p, us)
        got = ours(x, y, p, us)
        mixed = grad(lambda q: np.sum(grad(program.f, argnums=3)(x, y, q, us)))(p)
    with interpreted(forks=False):
        want = hessian(program.f, argnums=3)(x, y, p, us)
        other = grad(lambda q: np.sum(grad(program.f, argnums=3)(x, y, q, us)))(p)
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(mixed, other, rtol=1e-8, atol=1e-9)


def test_many_of_them_have_branches() -> None:
    """The comparison would be idle without."""
    found = 0
    rng = np.random.default_rng(0)
    for seed in range(30):
        program = Program(seed)
        ours = value_and_grad(program.f)
        with interpreted(forks=True):
            us = rng.uniform(-1, 1, size=16)
            tape = ours.tape(*map(np.float64, (0.4, 0.7, 0.5)), us)
        found += "branch" in repr(tape)
    assert found >= 5
