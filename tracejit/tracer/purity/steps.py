"""Reading bytecode with what is known about each value in place of the value."""

from __future__ import annotations

import sys
from typing import NamedTuple

from .bytecode import Code
from .instructions import METHODS, Impure, Instructions, never_none, truth_of
from .values import NULL, Known, Seq, Value, is_data, join, kind_name

__all__ = ["Refused", "State", "Steps"]


class Refused(Exception):
    """An operation that is not known to be free of side effects."""

    def __init__(self, code: Code, i: int, why: str) -> None:
        self.line = code.ops[i].line
        super().__init__(f"`{code.text(i)}`, line {self.line}: {why}")


class State(NamedTuple):
    """The stack and the local names before an instruction."""

    stack: tuple[Value, ...]
    names: dict[str, Value]

    def join(self, other: State) -> State:
        """What holds whichever way the instruction was reached."""
        pairs = zip(self.stack, other.stack, strict=True)
        names = {
            name: join(self.names[name], other.names[name])
            for name in self.names.keys() & other.names.keys()
        }
        return State(tuple([_meet(a, b) for a, b in pairs]), names)


def _meet(a: Value, b: Value) -> Value:
    return a if a == b else join(a, b)


class Steps(Instructions):
    """Reads the instructions of one code object, along all ways through it."""

    def run(
        self, start: dict[int, State], body: frozenset[int] | None, stop: int = -1
    ) -> State | None:
        """Read all that can be reached from `start`, within `body` and up to `stop`.

        Returns the state before `stop`, None if it is not reached.
        """
        while True:
            self.changed = False
            states = self._run(start, body, stop)
            if not self.changed:
                return states.get(stop)

    def _run(
        self, start: dict[int, State], body: frozenset[int] | None, stop: int
    ) -> dict[int, State]:
        states = dict(start)
        waiting = list(start)
        while waiting:
            i = waiting.pop()
            if i == stop:
                continue
            self.calls.count(self.code, i)
            for k, state in self._step(i, states[i]):
                if body is not None and k not in body:
                    continue
                joined = states[k].join(state) if k in states else state
                if k not in states or joined != states[k]:
                    states[k] = joined
                    waiting.append(k)
        return states

    def result_at(self, state: State, i: int) -> Value:
        """What the instruction at i pushes."""
        ((_, after),) = self._step(i, state)
        return after.stack[-1]

    def _step(self, i: int, state: State) -> list[tuple[int, State]]:
        op = self.code.ops[i]
        self.stack, self.names = list(state.stack), dict(state.names)
        if op.name in _BRANCHES or op.name == "FOR_ITER":
            return self._branch(i)
        method = METHODS.get(op.name)
        try:
            if method is None:
                raise Impure(f"{op.name} is not known to be free of side effects")
            method(self, op)
        except Impure as impure:
            raise Refused(self.code, i, str(impure)) from None
        after = State(tuple(self.stack), self.names)
        return [(k, after) for k in self.code.after(i)]

    def _branch(self, i: int) -> list[tuple[int, State]]:
        op = self.code.ops[i]
        assert op.target is not None
        top = self.stack[-1]
        if op.name == "FOR_ITER":
            if type(top) is not Seq:
                raise Refused(self.code, i, "an iterator is consumed in the loop")
            more = State((*self.stack, top.item), self.names)
            rest = self.stack[:-1] if sys.version_info < (3, 12) else self.stack
            pushed = () if sys.version_info < (3, 12) else (NULL,)
            return [(i + 1, more), (op.target, State((*rest, *pushed), self.names))]
        wanted = _BRANCHES[op.name]
        unknown = wanted is not None and not is_data(top)
        if unknown and not (type(top) is Known and callable(top.obj)):
            raise Refused(self.code, i, f"the truth of a {kind_name(top)} is asked")
        popped = State(tuple(self.stack[:-1]), self.names)
        jumped = State(tuple(self.stack), self.names)
        if not op.name.endswith("_OR_POP"):
            jumped = popped
        truth = truth_of(top) if wanted is not None else _is_none(top, op.name)
        ways = [(i + 1, popped), (op.target, jumped)]
        if truth is None:
            return ways
        return [ways[truth if wanted is None else truth == wanted]]


def _is_none(x: Value, name: str) -> bool | None:
    """Whether a jump that asks for None is taken, if that is known."""
    if type(x) is Known:
        return (x.obj is None) ^ ("NOT_NONE" in name)
    return "NOT_NONE" in name if never_none(x) else None


#: Conditional jumps, and the truth at which they jump (None: they ask for None).
_BRANCHES: dict[str, bool | None] = {
    f"{start}{ask}": truth
    for ask, truth in (("TRUE", True), ("FALSE", False), ("NONE", None),
                       ("NOT_NONE", None))
    for start in ("POP_JUMP_IF_", "POP_JUMP_FORWARD_IF_", "POP_JUMP_BACKWARD_IF_")
} | {"JUMP_IF_TRUE_OR_POP": True, "JUMP_IF_FALSE_OR_POP": False}  # fmt: skip
