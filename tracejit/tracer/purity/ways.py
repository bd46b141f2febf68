"""Ways out of loops, in bytecode: where the code goes on, and what it reads there.

for x in xs:                  both ways lead to the same place: what follows is the
    if x > c: break           same code, whichever way was taken
return s
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from .bytecode import Code, Loop

__all__ = [
    "Landing",
    "always",
    "goes_to",
    "landing",
    "overwritten_from",
    "twins",
]

#: Instructions between the last decision and the code behind the loop: they drop what
#: the loop had on the stack.
_IDLE = frozenset("NOP EXTENDED_ARG POP_TOP END_FOR POP_ITER".split())
_JUMPS = frozenset("JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT".split())
_RETURNS = frozenset("RETURN_VALUE RETURN_CONST".split())
#: The compiler copies the end of a function if it is no longer than this.
_TAIL = 12


class Landing(NamedTuple):
    """Where the code goes on.

    Attributes:
        key: equal for copies of the same code.
        at: the instruction.
    """

    key: Hashable
    at: int


def landing(code: Code, i: int) -> Landing:
    """Where the code goes on that goes on at instruction i."""
    seen: set[int] = set()
    while i not in seen:
        seen.add(i)
        op = code.ops[i]
        if op.name in _JUMPS and op.target is not None:
            i = op.target
        elif op.name in _IDLE:
            i += 1
    tail = []
    for op in code.ops[i : i + _TAIL]:
        tail.append((op.name, op.arg, op.span))
        if op.target is not None:
            break
        if op.name in _RETURNS:
            return Landing(tuple(tail), i)
    return Landing(i, i)


def goes_to(code: Code, place: int, outcome: bool) -> int | None:
    """Where the code goes on behind a branch; of an entry test, behind its copy."""
    after = code.decided(code.place(place), outcome)
    return None if after is None else landing(code, after).at


def twins(code: Code, loop: Loop) -> dict[int, int]:
    """Instructions of an entry test, and their copies inside of the loop.

    Args:
        loop: without its entry test.
    """
    inside: dict[Hashable, list[int]] = {}
    for i in loop.body:
        op = code.ops[i]
        inside.setdefault((op.name, op.arg, op.span), []).append(i)
    found = {}
    for i, op in enumerate(code.ops):
        if i in loop.body or op.span[2] is None:
            continue
        if op.is_branch:
            if code.place(i) in loop.body:
                found[i] = code.place(i)
            continue
        same = inside.get((op.name, op.arg, op.span), [])
        if len(same) == 1:
            found[i] = same[0]
    return found


def always(code: Code, loop: Loop, at: int) -> bool:
    """Whether each full round of a loop passes instruction `at`, or its copy."""
    waiting, seen = [loop.head], {loop.head}
    if code.place(loop.head) == at:
        return True
    while waiting:
        for k in code.after(waiting.pop()):
            if code.place(k) == at or k not in loop.body:
                continue
            if k == loop.head:
                return False
            if k not in seen:
                seen.add(k)
                waiting.append(k)
    return True


def overwritten_from(code: Code, loop: Loop, at: int) -> frozenset[str]:
    """The local names that each round binds before it may read them.

    Args:
        at: where a round begins and ends, an instruction that each passes.
    """
    shared = {*code.code.co_cellvars, *code.code.co_freevars}
    names = [n for n in loop.rebound if n not in shared]
    return frozenset(n for n in names if not _stays(code, loop, at, n))


def _stays(code: Code, loop: Loop, at: int, name: str) -> bool:
    """Whether a round may read what the one before gave to a name, or keep it."""
    seen: set[int] = set()
    begins = [i for i in loop.body if code.place(i) == at]
    waiting = [k for i in begins for k in code.after(i) if k in loop.body]
    while waiting:
        i = waiting.pop()
        if i not in loop.body or name in code.ops[i].read:
            return True
        if code.place(i) == at:
            return True
        if i in seen:
            continue
        seen.add(i)
        op = code.ops[i]
        if name not in op.stored or op.name.startswith("DELETE"):
            waiting += code.edges(i)
    return False
