"""Rounds that take different sides of an `if`: a loop with branches in its body.

    x = x + a        guard p is True     x = x * b             round 1
    x = x + a        guard p is False    x = x - c             round 2
    ...
      ->
    loop: t = x + a; x = branch p (yes: t * b, no: t - c)

Each round is a straight line of instrs from one visit of the loop's head to the next.
Rounds are laid upon each other: they are equal up to a guard, behind which those with
one outcome go on, and those with the other.  So they form a tree of blocks, with guards
as forks, and a way through it for each sequence of outcomes that a round had.

What makes this a program, and not only a description of what was recorded, is that it
is known which names hold which value at the head of each round.  A value from outside
of a round is an operand because some name held it, or because it is one and the same
value from before the loop.

1. An operand of a block is made in the round, at one place in all rounds that pass the
   block; or it is held by a name, the same in all of them; or it is fixed.  Where that
   leaves a choice between names that do not always hold the same, nothing is done.
2. What a name holds behind a round follows from the round in the same way.
3. Params that differ (constants, where slices start) are those of the round's number.
   In front of the first fork all rounds tell; behind it only some do, and there it has
   to be known what they are in the others (`Formulas`).
4. A guard with one outcome stays a guard, with one exit for all rounds.
5. Blocks do not depend on this recording but for refs, so blocks of former recordings
   of the same loop can be put to these (`united`).

That the untraced state is the same at the head of all rounds is the recorder's to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...avals import Aval
from ...tape import Builder, Instr, Source, Tape, guard, has_guard, inner_tapes
from ...text import body_text
from .find import Tokens

__all__ = [
    "APPENDED", "Block", "Differ", "Fixes", "Formulas", "Outer", "Round", "Spot",
    "Step", "Var", "forks", "guards_in", "read_rounds",
]  # fmt: skip

#: A name, and which of the traced values in it.
Var = tuple[str, int]
#: Behind the name of a list: what a round appends to it, in `Round.after`.
APPENDED = ".append"
#: The outcomes on the way to a block; in front of them the mode if there are several.
Way = tuple[bool | int, ...]
#: (a step, the value of its param by round) -> its values in all rounds, None if they
#: are not known.
Formulas = Callable[["Step", dict[int, Any]], Sequence[Any] | None]
_BOOL = Aval((), np.dtype(np.bool_))


class Differ(Exception):
    """The rounds are not one loop; the text says why."""


class Fixes(Protocol):
    """What is known about values from before the loop.

    Attributes:
        by_name: whether code can only reach a value through the names that hold it, if
            there are any, or if it was taken from outside.
    """

    by_name: bool

    def name(self, ref: int) -> tuple[Any, ...]:
        """A name for the value that means the same in another recording.

        It begins with a word: `input`, `own` for what no other recording has, ...
        """

    def ref(self, name: Any) -> int | None:
        """The value of that name here, if there is one."""

    def constant(self, ref: int) -> Instr | None:
        """The instr that makes it if that is a constant."""

    def is_item(self, instr: Instr) -> bool:
        """Whether the loop's iterator made the instr, which keeps what it runs over."""


class Round(NamedTuple):
    """Instrs from `start` to `stop`, and the refs that names hold before and after.

    `before` are the names that may be read; `after` all of them.  `mode` numbers the
    untraced state at the head, which decides what the round does; `next` that behind.
    `exit` says where a round that leaves the loop goes on (see `left`).

    An array is an object, which several names may refer to: `written` are those that
    the round writes into, `rebound` those that are other ones behind it, `together`
    those behind it that are one.
    """

    start: int
    stop: int
    before: Mapping[Var, int]
    after: Mapping[Var, int]
    mode: int = 0
    next: int = 0
    exit: Hashable = None
    written: frozenset[Var] = frozenset()
    rebound: frozenset[Var] = frozenset()
    together: frozenset[frozenset[Var]] = frozenset()


class Spot(NamedTuple):
    """A value that the round makes: output `out` of step `place` of the block `way`."""

    way: Way
    place: int
    out: int


class Outer(NamedTuple):
    """A value from outside of the round.

    Attributes:
        names: each of which may be what holds it at the head of the round.
        fixed: the value itself, if it is the same in all rounds (see `Fixes`).
    """

    names: frozenset[Var]
    fixed: tuple[Any, ...] | None = None

    def also(self, other: Outer) -> Outer:
        """What fits both."""
        fixed = self.fixed if self.fixed == other.fixed else None
        return Outer(self.names & other.names, fixed)


Operand = Spot | Outer


@dataclass(eq=False)
class Step:
    """One instr of a block.

    Attributes:
        instr: as it was in one of the rounds.
        avals: of its outputs; given: of its operands.
        word: what it has in common with the same step of another round.
        values: of the param that may differ, by the number of the round.
    """

    instr: Instr
    avals: tuple[Aval, ...]
    word: Hashable
    operands: list[Operand]
    given: tuple[Aval, ...] = ()
    values: dict[int, Any] = field(default_factory=dict)

    @property
    def param(self) -> str:
        """The param that may differ between rounds, if there is one."""
        return _DIFFERENT.get(self.instr.prim.name, "")


_DIFFERENT = {"const": "value", "slice": "start", "update": "start"}


@dataclass(eq=False)
class Block:
    """Steps without a fork, and what follows them.

    Attributes:
        test: what decides where to go on; None at the end of the round.
        sides: the blocks behind it; an outcome that was never seen is missing.
        modes: the block that a round begins with, by its mode, if there are several.
        place: the word of the fork's guard, its instr: as for steps.
        after: at the end of the round, what each name holds; None if that differs.
        next: at the end of the round, the mode of the next one.
        written, rebound, together: at the end of the round, as of a `Round`.
        exit: at the end of a round that leaves the loop, where it goes on.
    """

    way: Way
    steps: list[Step] = field(default_factory=list)
    test: Operand | None = None
    word: Hashable = None
    instr: Instr | None = None
    sides: dict[bool, Block] = field(default_factory=dict)
    modes: dict[int, Block] = field(default_factory=dict)
    after: dict[Var, Operand | None] = field(default_factory=dict)
    next: Any = 0
    exit: Hashable = None
    written: frozenset[Var] = frozenset()
    rebound: frozenset[Var] = frozenset()
    together: frozenset[frozenset[Var]] = frozenset()

    def walk(self) -> Iterator[Block]:
        """This block and all behind it."""
        yield self
        for side in (*self.modes.values(), *self.sides.values()):
            yield from side.walk()

    @property
    def is_leaf(self) -> bool:
        return self.test is None and not self.modes


def guards_in(instrs: Iterable[Instr]) -> Iterator[Instr]:
    """The guards among instrs, and those in tapes inside of them."""
    for instr in instrs:
        if instr.prim is guard:
            yield instr
        for tape in inner_tapes(instr):
            yield from guards_in(tape.instrs)


def forks(block: Block) -> int:
    """How many guards of a tree have both outcomes."""
    return sum(len(b.sides) == 2 for b in block.walk())


# --- reading


class _Reader:
    """Lays rounds upon each other.

    Args:
        first: the number of the first of them.
    """

    def __init__(
        self,
        builder: Builder,
        rounds: Sequence[Round],
        fixes: Fixes,
        first: int,
    ) -> None:
        self.builder, self.rounds = builder, rounds
        self.fixes, self.first = fixes, first
        self.tokens = Tokens(builder.avals)
        first = rounds[0].start
        made = builder.instrs[first : rounds[-1].stop]
        self.made = {out for instr in made for out in instr.outs}
        self.where: list[dict[int, Spot]] = [{} for _ in rounds]
        self.held: list[dict[int, set[Var]]] = []
        for one in rounds:
            names: dict[int, set[Var]] = {}
            for var, ref in one.before.items():
                names.setdefault(ref, set()).add(var)
            self.held.append(names)

    def read(self) -> Block:
        starts = {k: r.start for k, r in enumerate(self.rounds)}
        modes = sorted({r.mode for r in self.rounds})
        if len({*modes, *[r.next for r in self.rounds]}) == 1:
            return self.block((), starts)
        found = Block(())
        for mode in modes:
            some = {k: at for k, at in starts.items() if self.rounds[k].mode == mode}
            found.modes[mode] = self.block((mode,), some)
        return found

    def block(self, way: Way, at: dict[int, int]) -> Block:
        """The block of rounds that go on at these instrs."""
        instrs, found = self.builder.instrs, Block(way)
        offset = 0
        while True:
            over = {k for k in at if at[k] + offset == self.rounds[k].stop}
            if over:
                if len(over) < len(at):
                    raise Differ("its rounds differ")
                found.after = self.afterwards(at)
                following = {(self.rounds[k].next, self.rounds[k].exit) for k in at}
                if len(following) > 1:
                    raise Differ("untraced state differs behind equal rounds")
                ((found.next, found.exit),) = following
                ends = [self.rounds[k] for k in at]
                found.written = frozenset().union(*[r.written for r in ends])
                found.rebound = frozenset().union(*[r.rebound for r in ends])
                found.together = frozenset().union(*[r.together for r in ends])
                return found
            here = {k: instrs[start + offset] for k, start in at.items()}
            offset += 1
            if len({self.word(i) for i in here.values()}) > 1:
                raise Differ("its rounds differ")
            first = next(iter(here.values()))
            if first.prim is guard:
                outcomes = {k: i.params["expected"] for k, i in here.items()}
                distinct = {(type(o), o) for o in outcomes.values()}
                if self.is_fork(first):
                    self.fork(
                        found, here, outcomes, {k: s + offset for k, s in at.items()}
                    )
                    return found
                if len(distinct) > 1:
                    raise Differ("a number that the values decide differs")
            self.step(found, here)

    def is_fork(self, instr: Instr) -> bool:
        return (
            len(instr.args) == 1
            and type(instr.params["expected"]) is bool
            and self.builder.avals[instr.args[0]] == _BOOL
        )

    def word(self, instr: Instr) -> Hashable:
        if instr.prim is guard:
            fixed: Hashable = None
            if not self.is_fork(instr):
                fixed = instr.params["expected"], len(instr.args)
            return "guard", fixed, self.tokens.position(instr.source)
        if has_guard(instr):
            return self.portable(instr)
        return self.tokens.of(instr)

    def portable(self, instr: Instr) -> Hashable:
        """A word that means the same in another recording."""
        avals = tuple(self.builder.avals[o] for o in instr.outs)
        fixed: Hashable = ()
        if has_guard(instr) and instr.prim is not guard:
            fixed = _without_exits(instr)
        elif instr.prim is not guard:
            fixed = self.tokens.fixed(instr.prim.name, instr.params)
        elif not self.is_fork(instr):
            fixed = instr.params["expected"]
        source = instr.source
        place = (source.code, source.lasti) if isinstance(source, Source) else source
        return instr.prim.name, fixed, avals, place

    def step(self, block: Block, here: dict[int, Instr]) -> None:
        first = next(iter(here.values()))
        columns = range(len(first.args))
        if any(len(i.args) != len(first.args) for i in here.values()):
            raise Differ("its rounds differ")
        item = self.fixes.is_item(first)
        operands = [
            self.operand({k: i.args[c] for k, i in here.items()}, item) for c in columns
        ]
        avals = tuple(self.builder.avals[o] for o in first.outs)
        given = tuple(self.builder.avals[a] for a in first.args)
        step = Step(first, avals, self.portable(first), operands, given)
        if step.param:
            step.values = {
                k + self.first: i.params[step.param] for k, i in here.items()
            }
        place = len(block.steps)
        for k, instr in here.items():
            for out, ref in enumerate(instr.outs):
                self.where[k][ref] = Spot(block.way, place, out)
        block.steps.append(step)

    def fork(
        self,
        block: Block,
        here: dict[int, Instr],
        outcomes: dict[int, bool],
        at: dict[int, int],
    ) -> None:
        first = next(iter(here.values()))
        block.test = self.operand({k: i.args[0] for k, i in here.items()})
        block.word, block.instr = self.portable(first), first
        for outcome in (True, False):
            some = {k: start for k, start in at.items() if outcomes[k] is outcome}
            if some:
                block.sides[outcome] = self.block((*block.way, outcome), some)

    def operand(self, refs: dict[int, int], item: bool = False) -> Operand:
        found = self.known(refs, item)
        if found is None:
            raise Differ("a value of an earlier round is read that no name holds")
        return found

    def known(self, refs: dict[int, int], item: bool = False) -> Operand | None:
        """What these refs of the rounds have in common, None if nothing."""
        spots = {self.where[k].get(ref) for k, ref in refs.items()}
        if spots != {None}:
            (spot, *others) = spots
            return None if others else spot
        names: set[Var] | None = None
        for k, ref in refs.items():
            held = self.held[k].get(ref, set())
            names = set(held) if names is None else names & held
        distinct = set(refs.values())
        fixed: tuple[Any, ...] | None = None
        if len(distinct) == 1 and not distinct & self.made:
            fixed = self.fixes.name(*distinct)
            if item:
                names = None
            elif names and self.fixes.by_name and fixed[0] in ("input", "own"):
                fixed = None
        return Outer(frozenset(names or ()), fixed) if names or fixed else None

    def afterwards(self, at: Iterable[int]) -> dict[Var, Operand | None]:
        rounds = {k: self.rounds[k] for k in at}
        names = {var for one in rounds.values() for var in one.after}
        found: dict[Var, Operand | None] = {}
        for var in names:
            refs = {k: one.after.get(var) for k, one in rounds.items()}
            known = {k: ref for k, ref in refs.items() if ref is not None}
            found[var] = self.known(known) if len(known) == len(refs) else None
        return found


def _without_exits(instr: Instr) -> Hashable:
    """The params of a loop or branch, all numbers of exits left out."""
    parts = []
    for key, value in instr.params.items():
        text = body_text(value) if isinstance(value, Tape) else value
        if isinstance(value, Tape) and " + %" in text:
            raise Differ("a loop inside of it has an exit for each of its rounds")
        parts.append((key, _EXIT.sub("exit", text) if text is not value else value))
    return tuple(parts)


_EXIT = re.compile(r"exit \d+")


def read_rounds(
    builder: Builder, rounds: Sequence[Round], fixes: Fixes, first: int = 0
) -> Block:
    """The tree of rounds that stand one behind the other in `builder.instrs`.

    Args:
        first: the number of the first of them, in the loop.

    Raises:
        Differ: they are not rounds of one loop.
    """
    return _Reader(builder, rounds, fixes, first).read()
