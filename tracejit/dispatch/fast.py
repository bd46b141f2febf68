"""The fast path: one compiled Python function that checks the arguments and calls.

For the trace that answered last, the whole way from arguments to answer is written out
as straight-line Python, with no pytree work and no signature lookup:

    def fast(args):
        if recordings or len(args) != 2: return MISS
        x0, x1 = args
        if type(x0) is not ndarray or x0.dtype is not d0 or ...: return MISS
        t0 = g0['rate']
        if t0 is not v0 and not same(t0, v0): return MISS
        status, outcome, o = run(x0, x1)
        if status: return side_exit(args, status, outcome)
        stats.hits += 1
        return (o[0], o[1])

Whatever it does not recognise is a miss; the general path decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ..captures import define
from ..signature import canonical, compares_by_identity
from .stats import Stats
from .trace import Trace

__all__ = ["MISS", "RECORDINGS", "build", "never"]

#: Stands for "not answered".
MISS = object()

#: One entry per recording that is going on, in any thread.
RECORDINGS: list[Any] = []

_INT64 = np.iinfo(np.int64)


def never(args: tuple) -> Any:
    """The fast path of a function that has none yet."""
    return MISS


class _Ineligible(Exception):
    """Arguments of a kind that only the general path understands."""


class _Writer:
    """Writes the checks of the arguments; collects the leaves in optree's order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.env: dict[str, Any] = {}
        self.leaves: list[str] = []
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, value: Any) -> str:
        name = self.name("k")
        self.env[name] = value
        return name

    def require(self, condition: str) -> None:
        self.lines.append(f"if not ({condition}): return MISS")

    def visit(self, var: str, value: Any) -> None:
        kind = type(value)
        if kind is np.ndarray and value.ndim and canonical(value.dtype) is value.dtype:
            dtype = self.constant(value.dtype)
            self.require(
                f"type({var}) is ndarray and {var}.dtype is {dtype} "
                f"and {var}.shape == {value.shape} and {var}.flags.carray"
            )
            self.leaves.append(var)
        elif kind is float:
            self.require(f"type({var}) is float")
            self.leaves.append(var)
        elif kind is int:
            low, high = _INT64.min, _INT64.max
            self.require(f"type({var}) is int and {low} <= {var} <= {high}")
            self.leaves.append(var)
        elif kind in (bool, str, type(None)):
            self.require(
                f"type({var}) is {kind.__name__} and {var} == {value!r}"
                if value is not None
                else f"{var} is None"
            )
        elif isinstance(value, np.generic):
            self.require(f"type({var}) is {self.constant(kind)}")
            self.leaves.append(var)
        elif kind in (list, tuple):
            self.require(
                f"type({var}) is {kind.__name__} and len({var}) == {len(value)}"
            )
            for i, item in enumerate(value):
                self.descend(f"{var}[{i}]", item)
        elif kind is dict:
            self.mapping(var, value)
        elif compares_by_identity(kind):
            self.require(f"{var} is {self.constant(value)}")
        else:
            raise _Ineligible

    def static(self, var: str, value: Any) -> None:
        known = self.constant(value)
        if type(value) in (bool, int, str):
            kind = type(value).__name__
            self.require(
                f"{var} is {known} or type({var}) is {kind} and {var} == {known}"
            )
        else:
            self.require(f"{var} is {known}")

    def mapping(self, var: str, value: dict) -> None:
        self.require(f"type({var}) is dict and len({var}) == {len(value)}")
        try:
            keys = sorted(value)
        except TypeError:
            raise _Ineligible from None
        for key in keys:  # the order in which optree gives the leaves
            text = repr(key) if type(key) in (str, int) else self.constant(key)
            self.descend(f"{var}[{text}]", value[key])

    def descend(self, expression: str, value: Any) -> None:
        name = self.name("y")
        self.lines.append(f"{name} = {expression}")
        self.visit(name, value)


def build(
    trace: Trace,
    args: tuple,
    stats: Stats,
    side_exit: Callable[[tuple, int, Any], Any],
    static: Collection[int] = (),
) -> Callable[[tuple], Any] | None:
    """The fast path of `trace` for arguments like `args`; None if there is none."""
    executable = trace.executable
    if executable is None:
        return None
    writer = _Writer()
    names = [f"x{i}" for i in range(len(args))]
    try:
        for i, (name, value) in enumerate(zip(names, args, strict=True)):
            if i in static:
                writer.static(name, value)
            else:
                writer.visit(name, value)
    except _Ineligible:
        return None
    checks = trace.checks
    needed = [checks.arrays[i] for i in trace.looked_up]
    captured = checks.lines(needed, "return MISS", strict=True)
    operands = [*writer.leaves, *[f"t{i}" for i in needed]]
    head = [f"if RECORDINGS or len(args) != {len(args)}: return MISS"]
    if names:
        head.append(f"{', '.join(names)}, = args")
    body = [*head, *writer.lines, *captured]
    source = "def fast(args):\n  try:\n"
    source += "".join(f"    {line}\n" for line in body)
    source += (
        "  except (LookupError, AttributeError, ValueError, TypeError): return MISS\n"
        f"  status, outcome, o = run({', '.join(operands)})\n"
        "  if status: return side_exit(args, status, outcome)\n"
        "  stats.hits += 1\n"
        "  return assemble(o)\n"
    )
    namespace = {
        **checks.env,
        **writer.env,
        "MISS": MISS,
        "RECORDINGS": RECORDINGS,
        "assemble": trace.assemble,
        "ndarray": np.ndarray,
        "run": executable.run,
        "side_exit": side_exit,
        "stats": stats,
    }
    return define(source, "fast", namespace)
