"""CPython's bytecode as a graph: instructions, successors, loops, stack depths.

    while norm(b) < 1000:           LOAD norm .. POP_JUMP_IF_FALSE      the entry test
        b = b * 2             ->    LOAD b .. STORE b                   head of the loop
                                    LOAD norm .. POP_JUMP_IF_TRUE       the same test

The compiler writes the test of a `while` twice.  Both copies stand at one place of the
source, and `Code.place` maps the first to the second, so that a visit of the one is a
visit of the other.

Nothing but the standard library is needed here.
"""

from __future__ import annotations

import dis
import inspect
import linecache
from collections.abc import Iterable, Iterator
from functools import cached_property
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["Code", "Loop", "Op", "code_of"]

#: Where guards are, apart from jumps.
_DECIDE = frozenset(
    "COMPARE_OP TO_BOOL UNARY_NOT CALL CALL_KW CALL_FUNCTION_EX".split()
)
_ENDS = frozenset("RETURN_VALUE RETURN_CONST RAISE_VARARGS RERAISE".split())
_JUMPS = frozenset("JUMP_FORWARD JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT".split())
_STORES = frozenset(
    "STORE_FAST STORE_DEREF STORE_FAST_LOAD_FAST STORE_FAST_STORE_FAST "
    "DELETE_FAST DELETE_DEREF LOAD_FAST_AND_CLEAR".split()
)
_READS = frozenset(
    "LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_AND_CLEAR LOAD_FAST_LOAD_FAST "
    "STORE_FAST_LOAD_FAST LOAD_DEREF LOAD_CLOSURE LOAD_CLASSDEREF "
    "LOAD_FROM_DICT_OR_DEREF".split()
)

#: Generators and coroutines; module and class bodies lack CO_OPTIMIZED.
_UNUSUAL = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

Span = tuple[int | None, int | None, int | None, int | None]


class Op(NamedTuple):
    """One instruction; `target` is the index of the instruction that it jumps to."""

    name: str
    opcode: int
    arg: int
    argval: Any
    target: int | None
    offset: int
    line: int
    span: Span

    @property
    def is_branch(self) -> bool:
        return self.target is not None and self.name not in _JUMPS

    @property
    def stored(self) -> tuple[str, ...]:
        """The local names that it binds or unbinds."""
        if self.name not in _STORES:
            return ()
        names = self.argval if isinstance(self.argval, tuple) else (self.argval,)
        return names[:1] if self.name == "STORE_FAST_LOAD_FAST" else names

    @property
    def read(self) -> tuple[str, ...]:
        """The local names that it reads."""
        if self.name not in _READS:
            return ()
        names = self.argval if isinstance(self.argval, tuple) else (self.argval,)
        return names[1:] if self.name == "STORE_FAST_LOAD_FAST" else names


class Loop(NamedTuple):
    """A natural loop: the indices of its instructions, `head` being the first to run.

    Attributes:
        rebound: local names that its instructions bind.
        counter: name of the variable of a `for` loop if nothing reads it, else "".
    """

    head: int
    body: frozenset[int]
    rebound: tuple[str, ...]
    counter: str


class Code:
    """What there is to know about one code object.

    Attributes:
        ops: its instructions, inline caches left out.
    """

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.is_plain = bool(
            code.co_flags & inspect.CO_OPTIMIZED and not code.co_flags & _UNUSUAL
        )
        self.ops = _ops(code)
        self.uses_locals = not {"locals", "vars", "eval", "exec", "dir"}.isdisjoint(
            code.co_names
        )
        self._starts: list[int] = []
        self._whole: dict[int, Loop] = {}
        self._overwritten: dict[int, frozenset[str]] = {}
        self._ways_out: dict[tuple[int, int], set[int]] = {}
        for i, op in enumerate(self.ops):
            self._starts += [max(i - 1, 0)] * (op.offset // 2 - len(self._starts))
            self._starts.append(i)
        self._starts += [len(self.ops) - 1] * (
            len(code.co_code) // 2 - len(self._starts)
        )

    def index(self, offset: int) -> int:
        """The instruction at `offset`; an inline cache belongs to the one in front."""
        at = offset // 2
        return self._starts[at] if 0 <= at < len(self._starts) else 0

    def after(self, i: int) -> tuple[int, ...]:
        """The instructions that may run next, exceptions left aside."""
        op = self.ops[i]
        if op.name in _ENDS:
            return ()
        if op.name in _JUMPS:
            return (op.target,) if op.target is not None else ()
        following = (i + 1,) if i + 1 < len(self.ops) else ()
        return following if op.target is None else (*following, op.target)

    @cached_property
    def handlers(self) -> list[tuple[int, int, int, int]]:
        """Exception handlers: first and last instruction covered, target, depth."""
        return [
            (
                self.index(e.start),
                self.index(max(e.end - 2, e.start)),
                self.index(e.target),
                e.depth + 1 + bool(e.lasti),
            )
            for e in dis.Bytecode(self.code).exception_entries  # type: ignore[attr-defined]
        ]

    def catches(self, i: int) -> int | None:
        """The code of a handler around i that goes on with the program, if any."""
        for first, last, target, _ in self.handlers:
            if first <= i <= last:
                reached = self._reach({target}, None)
                if any(self.ops[k].name == "POP_EXCEPT" for k in reached):
                    return min(target + 1, len(self.ops) - 1)
        return None

    def edges(self, i: int) -> Iterator[int]:
        yield from self.after(i)
        for first, last, target, _ in self.handlers:
            if first <= i <= last:
                yield target

    def _reach(self, start: set[int], stop: int | None) -> set[int]:
        seen, waiting = set(start), list(start)
        while waiting:
            for k in self.after(waiting.pop()):
                if k not in seen and k != stop:
                    seen.add(k)
                    waiting.append(k)
        return seen

    @cached_property
    def depths(self) -> dict[int, int]:
        """The height of the stack before each instruction that can run."""
        depth = {0: 0}
        waiting = [0]
        while waiting:
            i = waiting.pop()
            op = self.ops[i]
            ways = [
                (k, depth[i] + self._effect(op, k == op.target and k != i + 1))
                for k in self.after(i)
            ]
            ways += [(t, d) for a, b, t, d in self.handlers if a <= i <= b]
            for k, height in ways:
                if k not in depth:
                    depth[k] = height
                    waiting.append(k)
        return depth

    @staticmethod
    def _effect(op: Op, jump: bool) -> int:
        arg = op.arg if op.opcode >= dis.HAVE_ARGUMENT else None
        return dis.stack_effect(op.opcode, arg, jump=jump)

    # --- loops ------------------------------------------------------------------------

    @cached_property
    def loops(self) -> list[Loop]:
        """All natural loops, inner ones before the loops around them."""
        before: dict[int, set[int]] = {i: set() for i in range(len(self.ops))}
        for i in before:
            for k in self.edges(i):
                before[k].add(i)
        dominators = self._dominators(before)
        bodies: dict[int, set[int]] = {}
        for i, over in dominators.items():
            for head in self.edges(i):
                if not over >> head & 1:
                    continue
                body = bodies.setdefault(head, {head})
                waiting = [i]
                while waiting:
                    k = waiting.pop()
                    if k not in body:
                        body.add(k)
                        waiting += [b for b in before[k] if b in dominators]
        return sorted(
            (self._loop(head, frozenset(body)) for head, body in bodies.items()),
            key=lambda loop: len(loop.body),
        )

    def _dominators(self, before: dict[int, set[int]]) -> dict[int, int]:
        """For each instruction that can run, a bit set of those always run earlier."""
        reached, waiting = {0}, [0]
        while waiting:
            for k in self.edges(waiting.pop()):
                if k not in reached:
                    reached.add(k)
                    waiting.append(k)
        every = (1 << len(self.ops)) - 1
        over = dict.fromkeys(sorted(reached), every)
        over[0] = 1
        changed = True
        while changed:
            changed = False
            for i in over:
                if i == 0:
                    continue
                common = every
                for k in before[i]:
                    if k in over:
                        common &= over[k]
                common |= 1 << i
                if common != over[i]:
                    over[i] = common
                    changed = True
        return over

    def _loop(self, head: int, body: frozenset[int]) -> Loop:
        names: dict[str, None] = {}
        for i in sorted(body):
            names.update(dict.fromkeys(self.ops[i].stored))
        counter = ""
        if self.ops[head].name == "FOR_ITER" and head + 1 < len(self.ops):
            first = self.ops[head + 1]
            if first.name in ("STORE_FAST", "STORE_FAST_LOAD_FAST"):
                (name,) = first.stored
                counter = "" if self._is_read(head, name) else name
        return Loop(head, body, tuple(names), counter)

    def _is_read(self, head: int, name: str) -> bool:
        """Whether the value that a `for` loop gives to a name may be read."""
        if name in self.ops[head + 1].read:
            return True
        seen, waiting = set(), [head + 2, *self.after(head)]
        while waiting:
            i = waiting.pop()
            if i in seen or i >= len(self.ops):
                continue
            seen.add(i)
            if name in self.ops[i].read:
                return True
            if name not in self.ops[i].stored:
                waiting += self.edges(i)
        return False

    def overwritten(self, loop: Loop) -> frozenset[str]:
        """The local names that each full round binds before it may read them."""
        found = self._overwritten.get(loop.head)
        if found is None:
            shared = {*self.code.co_cellvars, *self.code.co_freevars}
            names = [n for n in loop.rebound if n not in shared]
            found = frozenset(n for n in names if not self._stays(loop, n))
            self._overwritten[loop.head] = found
        return found

    def _stays(self, loop: Loop, name: str) -> bool:
        """Whether a round may read what the one before gave to a name, or keep it."""
        seen: set[int] = set()
        waiting = [k for k in self.after(loop.head) if k in loop.body]
        while waiting:
            i = waiting.pop()
            if i == loop.head or i not in loop.body or name in self.ops[i].read:
                return True
            if i in seen:
                continue
            seen.add(i)
            op = self.ops[i]
            if name not in op.stored or op.name.startswith("DELETE"):
                waiting += self.edges(i)
        return False

    def items(self, loop: Loop) -> frozenset[str]:
        """The names that only the `for` itself binds in the loop."""
        if self.ops[loop.head].name != "FOR_ITER":
            return frozenset()
        found: dict[str, int] = {}
        i = loop.head + 1
        while self.ops[i].stored or self.ops[i].name.startswith("UNPACK"):
            for name in self.ops[i].stored:
                found[name] = found.get(name, 0) + 1
            i += 1
        stores = [name for k in loop.body for name in self.ops[k].stored]
        return frozenset(n for n, count in found.items() if stores.count(n) == count)

    def reads_behind(self, loop: Loop, name: str) -> bool:
        """Whether what a name holds when the loop is over may be read."""
        outside = (k for i in loop.body for k in self.edges(i) if k not in loop.body)
        return self.reads_from(outside, name)

    def reads_from(self, starts: Iterable[int], name: str) -> bool:
        """Whether what a name holds at some instructions may be read from there on."""
        if name in self.code.co_cellvars or name in self.code.co_freevars:
            return True
        seen: set[int] = set()
        waiting = [*starts]
        while waiting:
            i = waiting.pop()
            if i in seen:
                continue
            seen.add(i)
            if name in self.ops[i].read:
                return True
            if name not in self.ops[i].stored:
                waiting += self.edges(i)
        return False

    @cached_property
    def identities(self) -> frozenset[int]:
        """Where it may be asked whether two things are one (`a is b`, no constant)."""
        before = _READS | {"BINARY_SUBSCR", "LOAD_ATTR"}
        found = set()
        for i, op in enumerate(self.ops):
            if isinstance(op.argval, CodeType):  # a function that is made here
                if code_of(op.argval).identities:
                    found.add(i)
            elif op.name == "IS_OP" and self.ops[i - 1].name in before:
                found.add(i)
        return frozenset(found)

    def tells_apart_behind(self, loop: Loop) -> bool:
        """Whether the code behind a loop may ask whether two things are one."""
        if not self.identities:
            return False
        seen: set[int] = set()
        waiting = [k for i in loop.body for k in self.edges(i) if k not in loop.body]
        while waiting:
            i = waiting.pop()
            if i not in seen:
                seen.add(i)
                waiting += self.edges(i)
        return not seen.isdisjoint(self.identities)

    def loop_at(self, i: int) -> Loop | None:
        """The innermost loop around instruction i."""
        return next((loop for loop in self.loops if i in loop.body), None)

    def whole(self, loop: Loop) -> Loop:
        """The loop with its entry test, if the code goes on there (`continue`)."""
        found = self._whole.get(loop.head)
        if found is None:
            found = loop
            for other in self.loops:
                more = other.body - loop.body
                tests = [i for i in more if self.ops[i].is_branch]
                inside = loop.body < other.body and tests
                if inside and all(self.place(i) in loop.body for i in tests):
                    found = other
            self._whole[loop.head] = found
        return found

    def is_inner(self, loop: Loop) -> bool:
        """Whether a loop may run more than once in one frame."""
        return any(loop.body < other.body for other in self.loops)

    def decision(self, i: int) -> int | None:
        """The branch that a bool made by instruction i decides at once, if any."""
        if self.ops[i].is_branch:
            return i
        if self.ops[i].name not in ("TO_BOOL", "COMPARE_OP"):
            return None
        for k in range(i + 1, len(self.ops)):
            if self.ops[k].name != "EXTENDED_ARG":
                return k if self.ops[k].is_branch else None
        return None

    def decided(self, i: int, outcome: bool) -> int | None:
        """The instruction that runs next where branch i has an outcome."""
        op = self.ops[i]
        if "IF_TRUE" in op.name:
            return op.target if outcome else i + 1
        if "IF_FALSE" in op.name:
            return i + 1 if outcome else op.target
        return None

    def ways_out(self, loop: Loop) -> set[int]:
        """The instructions of a loop from which it is left, exceptions included."""
        key = loop.head, len(loop.body)
        ways = self._ways_out.get(key)
        if ways is None:
            body = loop.body
            ways = {i for i in body if any(k not in body for k in self.after(i))}
            for i in body:
                handler = self.catches(i)
                if handler is not None and handler not in body:
                    ways.add(i)
            self._ways_out[key] = ways
        return ways

    def always(self, loop: Loop, at: int) -> bool:
        """Whether each full round of a loop passes instruction `at`."""
        waiting, seen = [loop.head], {loop.head}
        while waiting:
            for k in self.after(waiting.pop()):
                if k == at or k not in loop.body:
                    continue
                if k == loop.head:
                    return False
                if k not in seen:
                    seen.add(k)
                    waiting.append(k)
        return True

    def stored_once(self, name: str) -> bool:
        """Whether a local name keeps what it is given first (a parameter: always)."""
        count = sum(name in op.stored for op in self.ops)
        parameters = self.code.co_argcount + self.code.co_kwonlyargcount
        return count <= (name not in self.code.co_varnames[:parameters])

    @cached_property
    def _copies(self) -> dict[int, int]:
        groups: dict[tuple, list[int]] = {}
        for i, op in enumerate(self.ops):
            if op.is_branch or op.name in _DECIDE:
                kind = "JUMP" if op.is_branch else op.name
                if op.name != "FOR_ITER" and op.span[2] is not None:
                    groups.setdefault((kind, op.span), []).append(i)
        copies = {}
        for group in groups.values():
            half, odd = divmod(len(group), 2)
            for entry, again in zip(group[:half], group[half:], strict=False):
                loop = self.loop_at(again)
                if odd or loop is None or entry in loop.body:
                    continue
                # The entry test stands right in front of the loop.
                if loop.head - len(loop.body) <= entry < loop.head:
                    copies[entry] = again
        return copies

    def place(self, i: int) -> int:
        """Instruction i, or its copy inside the loop if it is of an entry test."""
        return self._copies.get(i, i)

    # --- for people -------------------------------------------------------------------

    def text(self, i: int) -> str:
        """The user's text at an instruction: a call as it stands, else its line."""
        op = self.ops[i]
        first, last, left, right = op.span
        line = linecache.getline(self.code.co_filename, op.line)
        if not line.strip():
            return str(op.argval) if op.argval is not None else op.name
        if op.name.startswith("CALL") and first == last and left is not None:
            found = line.encode()[left:right].decode(errors="replace")
        else:
            found = line.partition("  #")[0].strip().removesuffix(":")
        return found if len(found) <= 60 else found[:57] + "..."


_codes: dict[int, Code] = {}


def code_of(code: CodeType) -> Code:
    """What is known about `code`, the same object each time.

    Code objects are kept, as a number of a dead one could come again.
    """
    found = _codes.get(id(code))
    if found is None:
        if len(_codes) >= 4096:
            _codes.clear()
        found = _codes[id(code)] = Code(code)
    return found


def _ops(code: CodeType) -> list[Op]:
    found = list(dis.get_instructions(code))
    at = {instruction.offset: i for i, instruction in enumerate(found)}
    ops = []
    line = code.co_firstlineno
    for one in found:
        span: Span = (None, None, None, None)
        if one.positions is not None:
            span = tuple(one.positions)  # type: ignore[assignment]
        line = span[0] or line
        jumps = one.opcode in dis.hasjrel or one.opcode in dis.hasjabs
        target = at[one.argval] if jumps else None
        arg = 0 if one.arg is None else one.arg
        ops.append(
            Op(one.opname, one.opcode, arg, one.argval, target, one.offset, line, span)
        )
    return ops
