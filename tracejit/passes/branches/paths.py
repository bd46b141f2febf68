"""Paths of one function become one tape: a branch at each guard where they part.

    a path                          another                 the tape
    %2 = gt %0 0                    %2 = gt %0 0            %2 = gt %0 0
    guard %2 is True                guard %2 is False       %3 = branch %2 %0
    %3 = sqrt %0                    %3 = neg %0               yes: sqrt   no: neg

A function that was recorded several times puts the same instrs on the tape up to the
first guard that came out another way, since nothing else decides what its code does.
So paths are put into a tree, and the tree is written as branches in branches.

1. Instrs are the same if primitive, params and operands are.  Operands are told by
   where they come from: an input, a place on the path, or outside of it.
2. A path that is not the same up to a guard that both have (a loop was rolled in one
   and is too short in the other) begins a tree of its own.  What comes to an outcome
   that a tree does not know goes on at the beginning of the next tree.
3. An outcome that no tree knows stays a guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...avals import Aval
from ...ops.branch import branch
from ...ops.logic import cast, eq
from ...tape import Builder, Instr, Ref, Tape, const, guard, has_guard

__all__ = ["Path", "Step", "Trees", "alike", "numbered"]

#: What an operand is: ("row", n) of the inputs, ("spot", step, output), ("out", ref),
#: ("const", its text, its dtype).
Key = tuple[Any, ...]
#: Params of a loop that differ between recordings of the same code.
_LOOSE = frozenset({"exit", "family", "trip"})


class Step(NamedTuple):
    """An instr of a path.

    Attributes:
        operands: what they are.
        decides: whether another outcome of this guard is another path.
    """

    instr: Instr
    operands: tuple[Key, ...]
    decides: bool

    def is_like(self, other: Step) -> bool:
        """Whether both do the same, apart from an outcome."""
        if self.operands != other.operands:
            return False
        if self.decides or other.decides:
            return self.decides and other.decides
        return alike(self.instr, other.instr)


class Path(NamedTuple):
    """One recording: what it did, and which of it are the results.

    Attributes:
        constants: params of the constants that it reads.
    """

    steps: list[Step]
    outs: tuple[Key, ...]
    constants: dict[Key, dict[str, Any]]

    @classmethod
    def of(
        cls,
        instrs: Sequence[Instr],
        rows: Sequence[int],
        outs: Sequence[int],
        outside: Callable[[int], Instr | None],
        decides: Callable[[Instr], bool],
    ) -> Path:
        """Of instrs that read `rows` and give `outs`, refs of one builder.

        Args:
            outside: what made a ref that they did not make, if it is known.
        """
        keys: dict[int, Key] = {ref: ("row", n) for n, ref in enumerate(rows)}
        constants: dict[Key, dict[str, Any]] = {}

        def constant(ref: int, instr: Instr) -> None:
            key = "const", repr(instr.params["value"]), str(instr.params["dtype"])
            keys[ref], constants[key] = key, instr.params

        def key(ref: int) -> Key:
            if ref not in keys:
                made = outside(ref)
                if made is not None and made.prim is const:
                    constant(ref, made)
            return keys.get(ref, ("out", ref))

        steps: list[Step] = []
        for instr in instrs:
            if instr.prim is const:
                constant(instr.outs[0], instr)
                continue
            operands = tuple([key(a) for a in instr.args])
            for n, ref in enumerate(instr.outs):
                keys[ref] = "spot", len(steps), n
            steps.append(Step(instr, operands, decides(instr)))
        return cls(steps, tuple([key(ref) for ref in outs]), constants)

    @property
    def outcomes(self) -> tuple[Any, ...]:
        return tuple([s.instr.params["expected"] for s in self.steps if s.decides])


class _Block:
    """Steps up to a guard, and what comes behind each of its outcomes.

    Attributes:
        tree: the number of its tree.
        at: the place of the first step.
        test: the guard; None at the end of a path, which has `outs`.
    """

    def __init__(self, path: Path, tree: int, at: int) -> None:
        self.tree, self.at = tree, at
        self.steps: list[Step] = []
        self.test: Step | None = None
        self.outs: tuple[Key, ...] = ()
        self.sides: dict[Any, _Block] = {}
        for place in range(at, len(path.steps)):
            step = path.steps[place]
            if step.decides:
                self.test = step
                self.sides[step.instr.params["expected"]] = _Block(
                    path, tree, place + 1
                )
                return
            self.steps.append(step)
        self.outs = path.outs

    def key(self, key: Key) -> Key:
        """An operand of its steps, as something of the tape."""
        return (*key, self.tree) if key[0] == "spot" else key

    def add(self, path: Path) -> bool:
        """Put a path into the tree; whether that can be."""
        end = self.at + len(self.steps)
        own = path.steps[self.at : end]
        if len(own) < len(self.steps) or not all(map(Step.is_like, self.steps, own)):
            return False
        if self.test is None:
            return len(path.steps) == end and path.outs == self.outs
        if len(path.steps) == end or not self.test.is_like(path.steps[end]):
            return False
        outcome = path.steps[end].instr.params["expected"]
        side = self.sides.get(outcome)
        if side is not None:
            return side.add(path)
        self.sides[outcome] = _Block(path, self.tree, end + 1)
        return True


class _Scope:
    """The body, or a side of a branch, under construction."""

    def __init__(self, trees: Trees, name: str, parent: _Scope | None) -> None:
        self.trees, self.parent = trees, parent
        self.builder = Builder(name)
        self.env: dict[Key, Ref] = {}
        self.inputs: dict[Key, Ref] = {}

    def get(self, key: Key) -> Ref:
        """The ref of an operand, which becomes an input if it is from outside."""
        found = self.env.get(key)
        if found is not None:
            return found
        if key[0] == "const":
            found = self.builder.const(**self.trees.constants[key])
        else:
            aval = self.parent.get(key).aval if self.parent else self.trees.aval(key)
            found = self.inputs[key] = self.builder.new(aval)
        self.env[key] = found
        return found

    def side(self, outs: Sequence[Ref], keys: Sequence[Key]) -> Tape:
        for key in keys:
            self.get(key)
        self.builder.inputs = [self.inputs[key].index for key in keys]
        return self.builder.finish(outs)


class Trees:
    """The paths that are known.

    Args:
        rows: the avals of the inputs.
        outside: the builder that has what the paths read from outside.
    """

    def __init__(self, rows: Sequence[Aval], outside: Builder) -> None:
        self.rows, self.outside = rows, outside
        self.constants: dict[Key, dict[str, Any]] = {}
        self.roots: list[_Block] = []
        self.paths: list[Path] = []
        self._guards: list[Instr] = []
        self._first = 0

    def add(self, path: Path) -> bool:
        """Put a path into a tree; False if it is a new tree beside others."""
        self.paths.append(path)
        self.constants |= path.constants
        if any(root.add(path) for root in self.roots):
            return True
        self.roots.append(_Block(path, len(self.roots), 0))
        return len(self.roots) == 1

    def aval(self, key: Key) -> Aval:
        """Of an input of the body."""
        return self.rows[key[1]] if key[0] == "row" else self.outside.avals[key[1]]

    def body(
        self, name: str, dtypes: Sequence[np.dtype], first: int
    ) -> tuple[Tape, list[int], list[Instr]]:
        """The tape of all paths, as a body of a loop.

        Its inputs are a counter, the refs from outside, and the rows.

        Args:
            dtypes: of the results.
            first: the number of its first guard.

        Returns:
            The tape, the refs from outside, and the guards left in it, in order.
        """
        self._guards, self._first = [], first
        self._dtypes = dtypes
        root = _Scope(self, name, None)
        counter = root.builder.new(Aval((), np.dtype(np.int64)))
        rows = [root.get(("row", n)) for n in range(len(self.rows))]
        outs = self._block(self.roots[0], root, self.roots[1:])
        outside = [key for key in root.inputs if key[0] == "out"]
        refs = [counter, *[root.inputs[key] for key in outside], *rows]
        root.builder.inputs = [ref.index for ref in refs]
        root.builder.source = None
        return root.builder.finish(outs), [key[1] for key in outside], self._guards

    def _block(self, block: _Block, scope: _Scope, rest: list[_Block]) -> list[Ref]:
        for place, step in enumerate(block.steps, block.at):
            args = [scope.get(block.key(o)) for o in step.operands]
            for n, ref in enumerate(self._step(step.instr, args, scope)):
                scope.env[block.key(("spot", place, n))] = ref
        if block.test is None:
            refs = [scope.get(block.key(key)) for key in block.outs]
            scope.builder.source = None
            return [
                ref if ref.dtype == dtype else cast(ref, dtype=dtype)
                for ref, dtype in zip(refs, self._dtypes, strict=True)
            ]
        return self._decide(block, list(block.sides.items()), scope, rest)

    def _decide(
        self,
        head: _Block,
        sides: list[tuple[Any, _Block]],
        scope: _Scope,
        rest: list[_Block],
    ) -> list[Ref]:
        """A branch on the first outcome, and on the others in its other side."""
        assert head.test is not None
        test = head.test.instr
        scope.builder.source = test.source
        value = scope.get(head.key(head.test.operands[0]))
        (outcome, block), *others = sides
        known = dict(sides)

        if not others and not rest:
            params = {"expected": outcome, "exit": self._new_exit(test)}
            scope.builder.emit(guard, [value], params)
            return self._block(block, scope, rest)

        def either(yes: Any, inner: _Scope) -> list[Ref]:
            if yes in known:
                return self._block(known[yes], inner, rest)
            return self._block(rest[0], inner, rest[1:])

        def one(yes: bool, inner: _Scope) -> list[Ref]:
            if yes or not others:
                return either(outcome if yes else None, inner)
            return self._decide(head, others, inner, rest)

        if value.dtype == np.bool_:
            return self._fork(value, scope, test, either)
        return self._fork(eq(value, outcome), scope, test, one)

    def _fork(
        self,
        pred: Ref,
        scope: _Scope,
        test: Instr,
        side: Callable[[bool, _Scope], list[Ref]],
    ) -> list[Ref]:
        scopes = {name: _Scope(self, name, scope) for name in ("yes", "no")}
        outs = {name: side(name == "yes", inner) for name, inner in scopes.items()}
        keys = list(dict.fromkeys(k for s in scopes.values() for k in s.inputs))
        sides = {name: s.side(outs[name], keys) for name, s in scopes.items()}
        scope.builder.source = test.source
        args = [pred, *[scope.get(key) for key in keys]]
        return list(scope.builder.emit(branch, args, sides))

    def _step(self, instr: Instr, args: list[Ref], scope: _Scope) -> Sequence[Ref]:
        scope.builder.source = instr.source
        params = instr.params
        if has_guard(instr):
            params = numbered(instr, self._new_exit)
        out = scope.builder.emit(instr.prim, args, params)
        return (out,) if instr.prim.n_out == 1 else tuple(out)

    def _new_exit(self, instr: Instr) -> int:
        self._guards.append(instr)
        return self._first + len(self._guards) - 1


def numbered(instr: Instr, new_exit: Callable[[Instr], int]) -> dict[str, Any]:
    """The params of an instr with its guard, or those inside, numbered anew."""
    if instr.prim is guard:
        return {**instr.params, "exit": new_exit(instr)}

    def walk(tape: Tape) -> Tape:
        instrs = []
        for i in tape.instrs:
            params = numbered(i, new_exit) if has_guard(i) else i.params
            # One exit for all rounds, where there was one for each.
            args = i.args[:1] if i.prim is guard else i.args
            instrs.append(Instr(i.prim, args, params, i.outs, i.source))
        return Tape(tape.inputs, tuple(instrs), tape.outputs, tape.avals, tape.name)

    return {k: walk(v) if isinstance(v, Tape) else v for k, v in instr.params.items()}


def alike(one: Instr, other: Instr) -> bool:
    """Whether two instrs do the same with their operands."""
    return one.prim is other.prim and _params(one) == _params(other)


def _params(instr: Instr) -> list[tuple[str, Any]]:
    """What is compared of an instr's params."""
    loose = _LOOSE if instr.params.get("test") else {"exit"}
    return [
        (name, _tape(value) if isinstance(value, Tape) else repr(value))
        for name, value in sorted(instr.params.items())
        if name not in loose
    ]


def _tape(tape: Tape) -> Any:
    """A tape without sources and numbers of exits."""
    steps = [(i.prim.name, i.args, i.outs, _params(i)) for i in tape.instrs]
    return tape.inputs, tape.outputs, tape.avals, steps
