"""Purity: may a Python loop run any number of rounds without being recorded again?

    while norm(b) < 1000:       f.explain(): exit test in the kernel
        b = b * 2

    while norm(b) < 1000:       f.explain(): "`n += 1`, line 3: an untraced Python
        b = b * 2                    number changes in the loop"
        n += 1

A recording shows what the user's code did in the rounds that it ran.  That it would do
the same in one more round follows from two facts.

1. At each visit of the guard, all untraced state that the code can see is the same
   (`watch` compares the local names while recording).
2. Between two visits the code only computes: no operation changes an untraced object,
   and none depends on anything but its operands (this module reads the bytecode).

Then a round is a function of traced values, whose outcomes guards hold, and of state
that is the same each time; so every untraced jump goes the same way each time too.

The code is not run but read, with what is known about each value in place of it
(`values`): the local names start as what they hold at the guard, global names are
looked up, functions of the user are read as a whole with what they are given.  An
operation passes if it is known to be free of side effects for such operands; all else,
unknown instructions of a future Python included, is refused with a reason.

It ends: what is known about a name only gets less precise, in a few steps, and the
number of instructions read is limited.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import CodeType, FrameType, MappingProxyType
from typing import Any, NamedTuple

from .bytecode import Code, Loop, code_of
from .calls import Calls
from .steps import Refused, State, Steps
from .values import (
    DATA,
    SCALAR,
    TOP,
    Growing,
    Known,
    Seq,
    Space,
    Value,
    abstract,
    has_contents,
    is_data,
)  # fmt: skip

__all__ = ["FIXED", "Info", "Rest", "Verdict", "check", "read_rest"]

FIXED = "the loop has a fixed number of rounds"

#: Instructions, apart from jumps, that ask a value for its truth.
TESTS = frozenset(("TO_BOOL", "UNARY_NOT", "COMPARE_OP"))


class Verdict(NamedTuple):
    """Whether a loop may get a run-time exit test.

    Attributes:
        reason: why not, for people.
        line: of the user's code that prevents it; 0 if there is none.
        rounds: if the only reason is that the loop is a `for` over a range whose
            variable nothing reads: this range, else None.
        in_place: whether traced values may be written in place.
        since: number of the visit from which on it holds (given by `Watch.verdict`).
        heap: whether the contents of a list, dict, object or closure decided: another
            execution of the same code may find others.
    """

    ok: bool
    reason: str = ""
    line: int = 0
    rounds: range | None = None
    in_place: bool = False
    since: int = 0
    heap: bool = False


class Info(NamedTuple):
    """What a frame holds, without the frame and without its traced values."""

    code: CodeType
    space: Space
    names: dict[str, Value]
    traced: type

    @classmethod
    def of(
        cls, frame: FrameType, traced: type, names: dict[str, Any] | None = None
    ) -> Info:
        """The state of a frame; `names` are its local names if they were read."""
        space = Space(frame.f_globals, frame.f_builtins)
        names = dict(frame.f_locals) if names is None else names
        found = {name: abstract(value, traced) for name, value in names.items()}
        return cls(frame.f_code, space, found, traced)


def check(
    info: Info, offset: int, inner: tuple[tuple[CodeType, int], ...] = ()
) -> Verdict:
    """Whether the loop around an instruction is free of untraced effects.

    Args:
        info: the frame at a visit of the guard.
        offset: of the instruction where the guard is, or of the call that leads to it.
        inner: if it is a call: the functions that it leads through to the guard, each
            with the offset in it.
    """
    code = code_of(info.code)
    at = code.place(code.index(offset))
    loop = code.loop_at(at)
    if loop is None:
        return Verdict(False, "the guard is in no loop", code.ops[at].line)
    try:
        calls = _read(info, code, at, loop, inner)
    except Refused as refused:
        return Verdict(False, str(refused), refused.line)
    verdict = Verdict(True, in_place=calls.in_place, heap=calls.heap)
    if code.ops[loop.head].name == "FOR_ITER":
        return _bounded(info, code, at, loop, verdict)
    return verdict


def _read(
    info: Info,
    code: Code,
    at: int,
    loop: Loop,
    inner: tuple[tuple[CodeType, int], ...],
) -> Calls:
    """Read one round from the guard back to it; raises Refused."""
    base = code.depths[loop.head]
    path = [(code, at, base)]
    for function, offset in inner:
        called = code_of(function)
        path.append((called, called.index(offset), 0))
    for k, (where, i, depth) in enumerate(path):
        _settled(where, i, depth, calls=k < len(path) - 1)
    shared = {*info.code.co_cellvars, *info.code.co_freevars}
    cells = {name: info.names.get(name, TOP) for name in shared}
    names = {name: v for name, v in info.names.items() if name not in shared}
    calls = Calls(info.traced, cells)
    steps = Steps(code, info.space, calls, cells, frozenset(info.code.co_cellvars))
    stack: tuple[Value, ...] = (TOP,) * base
    if code.ops[loop.head].name == "FOR_ITER":
        stack = (*stack[:-1], Seq(DATA))
    if not code.ops[at].is_branch:
        stack = (*stack, SCALAR)
    start = State(stack, names)
    first = [k for k in code.after(at) if k in loop.body]
    back = steps.run(dict.fromkeys(first, start), loop.body, at)
    if back is None:
        raise Refused(code, at, "the code does not come back to this place")
    for i in sorted(loop.body):
        if (handler := code.catches(i)) is not None:
            raise Refused(code, handler, "an exception is handled around the loop")
    result = steps.result_at(back, at) if inner else back.stack[-1]
    if not is_data(result):
        raise Refused(code, at, "nothing is known about the value that is tested")
    for (where, i, _), (called, _, _) in itertools.pairwise(path):
        if calls.called.get((where.code, where.ops[i].offset)) != {called.code}:
            raise Refused(where, i, "the outcome is decided inside an operation")
    calls.heap = calls.heap or any(map(has_contents, info.names.values()))
    return calls


class Rest(NamedTuple):
    """What the rounds of a `for` loop that are still to come do.

    Attributes:
        numbers, positions: formulas (`counted`) of the Python numbers that the round
            decides and that meet traced values as operands and as indices.
        in_place: whether traced values may be written in place.
        heap: whether attributes or contents of objects are read.
        places: what is where in the code (see `library`).
        counted: names that may hold, behind a round, what the number of the round
            decides.
    """

    numbers: frozenset[tuple]
    positions: frozenset[tuple]
    in_place: bool = False
    heap: bool = False
    places: Mapping[Any, set[Any]] = MappingProxyType({})
    counted: frozenset[str] = frozenset()


def read_rest(
    info: Info, offset: int, item: Value, growing: Iterable[str] = ()
) -> Rest | str:
    """Whether all further rounds of a `for` loop do the same; if not, why.

    Args:
        info: the frame when the loop asks for its next item, with what the names hold
            that it does not bind to the item.  The same must have been there one round
            earlier.
        offset: of the instruction that asks (`FOR_ITER`).
        item: what is known about the items.
        growing: names of lists that nothing else holds, and that rounds append to.
    """
    code = code_of(info.code)
    head = code.index(offset)
    loop = next((loop for loop in code.loops if loop.head == head), None)
    if loop is None:
        return "it is not a loop"
    shared = {*info.code.co_cellvars, *info.code.co_freevars}
    cells = {name: info.names.get(name, TOP) for name in shared}
    names = {name: v for name, v in info.names.items() if name not in shared}
    names |= {name: Growing(name) for name in growing if name not in shared}
    calls = Calls(info.traced, cells)
    steps = Steps(code, info.space, calls, cells, frozenset(info.code.co_cellvars))
    stack = (*[TOP] * (code.depths[head] - 1), Seq(item), item)
    try:
        back = steps.run({head + 1: State(stack, names)}, loop.body, head)
        if back is None:
            return "it has one round"
    except Refused as refused:
        return str(refused)
    if any(code.catches(i) is not None for i in loop.body):
        return "an exception is handled around the loop"
    numbers, positions = frozenset(calls.numbers), frozenset(calls.positions)
    held = {**back.names, **cells}
    counted = frozenset(
        name
        for name in loop.rebound
        if name in held and not (is_data(held[name]) or type(held[name]) is Known)
    )
    return Rest(numbers, positions, calls.in_place, calls.heap, calls.places, counted)


def _settled(code: Code, at: int, base: int, calls: bool) -> None:
    """Nothing but the outcome is on its way when the guard is visited.

    What an expression has on the stack cannot be seen in a frame, and an operation that
    asks several traced values (`max`, `in`) visits its place several times.
    """
    op = code.ops[at]
    fits = op.name.startswith("CALL") if calls else op.is_branch or op.name in TESTS
    if not fits or op.name == "FOR_ITER":
        raise Refused(code, at, "the outcome is decided inside an operation")
    pushed = 0 if op.is_branch else 1
    if "_OR_POP" in op.name or code.depths.get(at + 1, base) - pushed != base:
        raise Refused(code, at, "the outcome is decided inside an expression")


def _bounded(info: Info, code: Code, at: int, loop: Loop, verdict: Verdict) -> Verdict:
    """The verdict on a `for` loop, which ends by itself."""
    line = code.ops[loop.head].line
    reason = f"`{code.text(loop.head)}`, line {line}: {FIXED}"
    found = None
    if loop.counter and code.always(loop, at):
        found = _range_of(info, code, loop)
    return verdict._replace(ok=False, reason=reason, line=line, rounds=found)


def _range_of(info: Info, code: Code, loop: Loop) -> range | None:
    """The range that a `for` loop runs over, if its arguments cannot have changed."""
    i = loop.head - 1
    while i >= 0 and code.ops[i].name in ("GET_ITER", "EXTENDED_ARG", "NOP"):
        i -= 1
    if code.ops[i].name != "CALL":
        return None
    count = code.ops[i].arg
    arguments: list[int] = []
    while (i := i - 1) >= 0 and len(arguments) < count:
        op = code.ops[i]
        if op.name in ("PRECALL", "EXTENDED_ARG"):
            continue
        value: Any = None
        if op.name == "LOAD_CONST":
            value = op.argval
        elif op.name == "LOAD_GLOBAL":
            value = _global(info, op.argval)
        elif op.name == "LOAD_FAST" and code.stored_once(op.argval):
            known = info.names.get(op.argval)
            value = known.obj if type(known) is Known else None
        if type(value) is not int:
            return None
        arguments.insert(0, value)
    while i >= 0 and code.ops[i].name in ("EXTENDED_ARG", "PUSH_NULL"):
        i -= 1
    op = code.ops[i]
    if op.name != "LOAD_GLOBAL" or _global(info, op.argval) is not range:
        return None
    return range(*arguments) if 1 <= count <= 3 else None


def _global(info: Info, name: str) -> Any:
    try:
        return info.space.find(name)
    except KeyError:
        return None
