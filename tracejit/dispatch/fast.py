"""The fast path: one function that checks the arguments and calls the kernel.

For the trace that answered last, the whole way from arguments to answer is prepared,
with no pytree work and no signature lookup.  Where all arguments are arrays, numbers
and objects that are compared by identity, and what was captured is a name in a
namespace or a closure, that is the checked entry of `codegen.entry` itself, a built-in
function.  Else it is written out as straight-line Python around it:

    def fast(*args):
        if len(args) != 2: return MISS
        x0, x1, = args
        try:
            if not (type(x1) is dict and len(x1) == 1): return MISS
            y1 = x1['w']
            t0 = g0['rates']
            if type(t0) is not k0 or not same_items(t0, v0): return MISS
        except (LookupError, AttributeError, ValueError, TypeError): return MISS
        o = run(x0, y1)
        if type(o) is not tuple: return MISS if o is MISS else side_exit(o, args)
        return {'w': o[0]}

Whatever it does not recognise is a miss; the general path decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from types import CellType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..captures import Checks, define
from ..kernel import Check, Row, Where
from ..signature import canonical, compares_by_identity
from .stats import Counters
from .trace import Trace

__all__ = ["MISS", "RECORDINGS", "Fast", "build", "never"]

#: Stands for "not answered".
MISS = object()

#: One entry per recording that is going on, in any thread.
RECORDINGS: list[Any] = []


def never(*args: Any) -> Any:
    """The fast path of a function that has none yet."""
    return MISS


class Fast(NamedTuple):
    """A fast path, `call(*args)` -> answer or `MISS`, and its rows about captures."""

    call: Callable[..., Any]
    captured: list[Row]

    def holds(self) -> bool:
        """Whether the names it knows still stand for the very same objects."""
        return all(row.holds() for row in self.captured)


class _Ineligible(Exception):
    """Arguments of a kind that only the general path understands."""


class _Writer:
    """Sorts the arguments into rows of the checked entry and lines of Python.

    Attributes:
        given: what the entry is called with; row i is about the i-th of these.
        operands: how many of them go to the kernel, in optree's order of the leaves.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.env: dict[str, Any] = {}
        self.given: list[str] = []
        self.rows: list[Row] = []
        self.operands = 0
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, value: Any) -> str:
        name = self.name("a")
        self.env[name] = value
        return name

    def require(self, condition: str) -> None:
        self.lines.append(f"if not ({condition}): return MISS")

    def same(self, var: str, value: Any) -> None:
        """`var` must be this very object."""
        number = len(self.given)
        self.given.append(var)
        self.rows.append(Row(Where.ARGUMENT, number, Check.IS, value))

    def leaf(
        self, var: str, check: Check, expected: Any, shape: tuple[int, ...] = ()
    ) -> None:
        number = len(self.given)
        self.given.append(var)
        row = Row(Where.ARGUMENT, number, check, expected, None, shape, self.operands)
        self.rows.append(row)
        self.operands += 1

    def array(self, var: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.leaf(var, Check.ARRAY, canonical(dtype), shape)

    def visit(self, var: str, value: Any) -> None:
        kind = type(value)
        if kind is np.ndarray and value.ndim and canonical(value.dtype) is not None:
            self.array(var, value.dtype, value.shape)
        elif kind is float or kind is complex:
            self.leaf(var, Check.TYPE, kind)
        elif kind is int:
            self.leaf(var, Check.INTEGER, int)
        elif kind in (bool, type(None)):
            self.same(var, value)
        elif kind is str:
            self.require(f"type({var}) is str and {var} == {value!r}")
        elif isinstance(value, np.generic):
            self.leaf(var, Check.TYPE, kind)
        elif kind in (list, tuple):
            self.require(
                f"type({var}) is {kind.__name__} and len({var}) == {len(value)}"
            )
            for i, item in enumerate(value):
                self.descend(f"{var}[{i}]", item)
        elif kind is dict:
            self.mapping(var, value)
        elif compares_by_identity(kind):
            self.same(var, value)
        else:
            raise _Ineligible

    def static(self, var: str, value: Any) -> None:
        if type(value) in (int, str):
            known, kind = self.constant(value), type(value).__name__
            self.require(
                f"{var} is {known} or type({var}) is {kind} and {var} == {known}"
            )
        else:
            self.same(var, value)

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
    stats: Counters,
    side_exit: Callable[[list[Any], tuple], Any],
    static: Collection[int] = (),
    identical: bool = True,
) -> Fast | None:
    """The fast path of `trace` for arguments like `args`; None if there is none.

    Args:
        side_exit: answers, given `[status, outcome]` of the kernel and the arguments.
        static: the numbers of static arguments.
        identical: try to compare captured values by identity only.
    """
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
    captured = _captured(checks, needed, writer.operands) if identical else None
    lines = list(writer.lines)
    if captured is None:
        captured = []
        lines += checks.lines("return MISS")
        for i in needed:
            aval = checks.checks[i].value
            writer.array(f"t{i}", aval.dtype, aval.shape)
    direct = not lines and writer.given == names and trace.form is not None
    run = executable.entry(
        [*writer.rows, *captured],
        busy=RECORDINGS,
        refused=MISS,
        left=side_exit if direct else None,
        single=direct and trace.form == "one",
        hits=stats.native,
    )
    if direct:
        return Fast(run, captured)
    head = f"if len(args) != {len(args)}: return MISS"
    unpack = f"{', '.join(names)}, = args" if names else "pass"
    body = "".join(f"    {line}\n" for line in lines or ["pass"])
    source = (
        f"def fast(*args):\n  {head}\n  {unpack}\n"
        f"  try:\n{body}"
        "  except (LookupError, AttributeError, ValueError, TypeError): return MISS\n"
        f"  o = run({', '.join(writer.given)})\n"
        "  if type(o) is not tuple: return MISS if o is MISS else side_exit(o, args)\n"
        f"  return {'o' if trace.form == 'all' else 'assemble(o)'}\n"
    )
    namespace = {
        **checks.env,
        **writer.env,
        "MISS": MISS,
        "assemble": trace.assemble,
        "run": run,
        "side_exit": side_exit,
    }
    return Fast(define(source, "fast", namespace), captured)


# --- what was captured, as rows

_CONSTANT = re.compile(r"(g\d+)")
_ITEM = re.compile(r"(g\d+)\['(\w+)'\]")
_CELL = re.compile(r"(g\d+)\.cell_contents")
_ATTRIBUTE = re.compile(r"(g\d+)\.(\w+)")


def _captured(checks: Checks, needed: list[int], first: int) -> list[Row] | None:
    """Rows for all that was captured; None if one of them says more than `is`.

    Args:
        needed: the checks of the arrays that go to the kernel, in its order.
        first: the number of the first of them among the kernel's operands.
    """
    rows = []
    for i, check in enumerate(checks.checks):
        if check.kind == "array":
            if i not in needed:
                return None
            expected, shape = canonical(check.value.dtype), check.value.shape
            kind, operand = Check.ARRAY, first + needed.index(i)
            if not shape:
                return None
        elif check.kind in ("is", "same"):
            kind, expected, shape, operand = Check.IS, check.value, (), -1
        else:
            return None
        if found := _CONSTANT.fullmatch(check.fetch):
            if kind is Check.IS and checks.env[found[1]] is expected:
                continue
            return None
        place = _place(check.fetch, checks.env)
        if place is None:
            return None
        where, container, key = place
        rows.append(Row(where, container, kind, expected, key, shape, operand))
    return rows


def _place(fetch: str, env: dict[str, Any]) -> tuple[Where, Any, str | None] | None:
    """Where an expression looks, if it is a name in a namespace or a closure."""
    if (found := _ITEM.fullmatch(fetch)) and type(env[found[1]]) is dict:
        return Where.ITEM, env[found[1]], found[2]
    if (found := _CELL.fullmatch(fetch)) and type(env[found[1]]) is CellType:
        return Where.CELL, env[found[1]], None
    if (found := _ATTRIBUTE.fullmatch(fetch)) and type(env[found[1]]) is ModuleType:
        namespace = vars(env[found[1]])
        if found[2] in namespace:  # else the module's __getattr__ made it
            return Where.ITEM, namespace, found[2]
    return None
