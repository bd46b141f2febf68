"""Weaving loops that are left on traced values: a test, branches, and ways out.

    while err > tol:                    loop: test %1
        if a < b: x = f(x)       ->       x = branch (a < b) (yes: f(x), no: g(x))
        else: x = g(x)                    test = err(x) > tol
        if x > c: break                   test = branch (x > c) (yes: False, no: test)

It is `weave` with more carries.  The test says whether there is another round; where
the loop may be left in more than one way that matters, a number says in which.

1. A round that leaves the loop is a leaf of the tree with `exit`, which says where the
   code goes on and what untraced state there is (`Departure`); it is compared only.
2. A `while` whose test comes first in a round is left at the head of a round, by the
   `default` of the round's mode; so is a `for` when there are no more items.
3. Behind the loop stand a guard that it has ended, which fails if there was not enough
   room (`loops.grow`), and guards for the way that it was left.
4. What is read behind the loop is what names hold there.  Where a name still holds what
   it held before the loop, or two names hold the same, the name has to be bound to what
   the loop gives (`Left.bound`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from ...avals import Aval
from ...ops.logic import eq, logical_not, lt
from ...ops.loop import loop
from ...tape import Builder, Instr, Ref, guard
from ..loops import first_bound
from .branches import Block, Differ, Fixes, Formulas, Round, Step, Var
from .classes import Key
from .scope import Scope
from .weave import Weaver

__all__ = ["TEST", "Departure", "Left", "weave_left"]

_BOOL, _I64 = np.dtype(np.bool_), np.dtype(np.int64)
#: What a `while` tests, as if a name held it.
TEST: Var = ("<test>", 0)
_MORE, _MODE = ("more", None), ("mode", None)


class Departure(NamedTuple):
    """How a loop goes on and ends.

    Attributes:
        start: the first instr that the loop replaces.
        outcome: of the test (`TEST`) at which there is another round; None for a `for`.
        most: how many rounds there are at most; 0 if there is no limit.
        seen: how many there were.
        default: for each mode, how the loop is left if it begins no further round;
            None if it does.
        actual: how it was left now.
        names: what names hold now.
        behind: whether what a name holds now may be read.
        free: whether a name can be bound to another value.
        bound: for each mode, the names that are bound when a round begins.
        source: of the guards behind the loop.
    """

    start: int
    outcome: bool | None
    most: int
    seen: int
    default: Callable[[int], Hashable]
    actual: Hashable
    names: Mapping[Var, int]
    behind: Callable[[Var], bool]
    free: Callable[[Var], bool]
    bound: Sequence[Set[str]]
    source: Any


class Left(NamedTuple):
    """A loop in place of rounds.

    Attributes:
        guards: the guards left in its body, in order of their new numbers.
        more: those behind it: what they test, and what is expected.
        limit: the bound of the loop, for the first of them.
        bound: refs that names have to be bound to.
    """

    guards: list[Instr]
    more: list[tuple[int, bool]]
    limit: int
    bound: dict[Var, int]


def weave_left(
    builder: Builder,
    rounds: Sequence[Round],
    tree: Block,
    table: Callable[[np.ndarray], Ref],
    formulas: Formulas,
    fixes: Fixes,
    exit: int,
    first: int,
    departure: Departure,
) -> Left:
    """Replace rounds, the last instrs of the builder, by a loop; see `weave`.

    Raises:
        Differ: it cannot be done; nothing has changed.
    """
    weaver = _Weaver(
        builder,
        rounds,
        tree,
        set(),
        table,
        formulas,
        fixes,
        exit,
        first,
        departure.behind,
    )
    return weaver.leave(departure)


class _Weaver(Weaver):
    def leave(self, departure: Departure) -> Left:
        self.departure = departure
        for mode, known in enumerate(departure.bound):
            if mode not in self.bound:
                every = self.classes.key_of
                self.bound[mode] = {var for var in every if var[0] in known}
                self.bound[mode].add(TEST)
        if departure.most:
            self.trip = departure.most - self.first
        exits = [departure.default(self.rounds[0].mode)]
        exits += [self.leaf_exit(leaf) for leaf in self.leaves]
        self.exits = [way for way in dict.fromkeys(exits) if way is not None]
        if departure.actual not in self.exits:
            raise Differ("the loop was left in a way that is not known")
        wanted, bind = self.names_behind()
        self.settle_params()
        carries = self.all_carries([*wanted.values(), *bind.values()])
        root = self.root = Scope(self, "body", None)
        self.counter = root.builder.input(Aval((), _I64))
        self.carried, self.fixed, self.rows = {}, {}, {}
        self.test = root.builder.new(Aval((), _BOOL))
        self.number_ref = root.builder.new(Aval((), _I64))
        for key, (names, _) in carries.items():
            ref = root.builder.new(self.aval(names))
            self.carried[key] = root.env[key] = ref
        if self.tree.modes:
            ref = root.builder.new(Aval((), _I64))
            self.carried[_MODE] = root.env[_MODE] = ref
        go, *outs = self.block(self.tree, root, carries)
        root.builder.source = None
        outs = [go, self.number_ref + 1, *outs]
        return self.put(root.builder, outs, carries, wanted, bind)

    def number_of(self, way: Hashable) -> int:
        return 0 if way is None else self.exits.index(way)

    def leaf_exit(self, leaf: Block) -> Hashable:
        if leaf.exit is not None:
            return leaf.exit
        return self.departure.default(leaf.next)

    # -- what there is ----------------------------------------------------------------

    def names_behind(self) -> tuple[dict[int, Key], dict[Var, Key]]:
        """What is read behind the loop: refs of the rounds, and names to bind."""
        wanted: dict[int, Key] = {}
        bind: dict[Var, Key] = {}
        for var, ref in sorted(self.departure.names.items()):
            if var == TEST or not self.departure.behind(var):
                continue
            key = self.classes.key_of.get(var)
            if key is None:
                raise Differ("a name is bound where the loop is left")
            if key[0] == "fixed":
                continue
            if ref in self.made and wanted.setdefault(ref, key) == key:
                continue
            if not self.departure.free(var):
                raise Differ("it is not known which of equal values is meant")
            bind[var] = key
        return wanted, bind

    def all_carries(self, wanted: Sequence[Key]) -> dict[Key, tuple[list[Var], bool]]:
        """The classes that are carried, those that the test needs too."""
        needed = dict(enumerate(wanted))
        while True:
            found = super().carries(needed)
            if self.departure.outcome is None:
                return found
            goes = [leaf for leaf in self.leaves if leaf.exit is None]
            keys = {self.rule(leaf, [TEST]) for leaf in goes}
            more = [k for k in keys if k[0] == "class" and k not in found]
            if not more:
                return found
            needed |= dict(enumerate(more, len(needed)))

    def rule(self, leaf: Block, names: Sequence[Var], is_read: bool = True) -> Key:
        if leaf.exit is None:
            return super().rule(leaf, names, is_read)
        asked = [name for name in names if self.departure.behind(name)]
        if leaf.exit != self.departure.actual or not asked:
            return self.classes.of(names[0])  # nobody reads it there
        for name in asked:
            operand = leaf.after.get(name)
            if operand is not None:
                return self.key(operand)
        raise Differ("a name is bound on one side only")

    def all_values(self, block: Block, step: Step) -> Sequence[Any]:
        if self.departure.most:
            found = self.formulas(step, step.values)
            if found is None:
                raise Differ("a number is not known for all rounds")
            return found[self.first : self.first + self.trip]
        values = list(step.values.values())
        if any(repr(v) != repr(values[0]) for v in values):
            raise Differ("a number is not known for all rounds")
        return values[:1]

    # -- the body ---------------------------------------------------------------------

    def ends(self, block: Block, scope: Scope, carries: Mapping[Key, Any]) -> list[Ref]:
        found = super().ends(block, scope, carries)
        scope.builder.source = None
        if block.exit is not None:
            go = scope.builder.const(False, _BOOL)
        elif self.departure.outcome is None and not self.departure.most:
            go = scope.builder.const(True, _BOOL)
        elif self.departure.outcome is None:
            go = scope.get(_MORE)
        else:
            go = scope.get(super().rule(block, [TEST]))
            if not self.departure.outcome:
                go = logical_not(go)
        if len(self.exits) > 1:
            which = self.number_of(self.leaf_exit(block))
            found.append(scope.builder.const(which, _I64))
        return [go, *found]

    def provide(self, key: Key) -> Ref:
        if key == _MORE:
            return lt(self.counter + 1, self.trip)
        return super().provide(key)

    # -- the loop ---------------------------------------------------------------------

    def put(
        self,
        body: Builder,
        outs: list[Ref],
        carries: Mapping[Key, tuple[list[Var], bool]],
        wanted: Mapping[int, Key],
        bind: Mapping[Var, Key],
    ) -> Left:
        found, builder = self.departure, self.builder
        several = len(self.exits) > 1
        which = [body.new(Aval((), _I64))] if several else []
        body.inputs = [
            self.counter.index,
            *[ref.index for ref in self.fixed.values()],
            self.test.index,
            self.number_ref.index,
            *[ref.index for ref in self.carried.values()],
            *[ref.index for ref in which],
            *[ref.index for ref, _ in self.rows.values()],
        ]
        tape = body.finish(outs)
        del builder.instrs[found.start :]
        saved, builder.source = builder.source, found.source
        starts = [self.first_test(), builder.const(0, _I64)]
        starts += [builder.ref(self.begin(names)) for names, _ in carries.values()]
        mode = self.rounds[0].mode
        if self.tree.modes:
            starts.append(builder.const(mode, _I64))
        if several:
            at_once = self.number_of(found.default(mode))
            starts.append(builder.const(at_once, _I64))
        by_key = {key: ref for ref, key in wanted.items()}
        refs = [builder.new(Aval((), _BOOL)), builder.new(Aval((), _I64))]
        for key, (names, _) in carries.items():
            known = by_key.get(key)
            aval = self.aval(names)
            refs.append(builder.new(aval) if known is None else builder.ref(known))
        results = dict(zip(carries, refs[2:], strict=True))
        refs += [builder.new(start.aval) for start in starts[len(refs) :]]
        limit = first_bound(found.seen)
        if found.most:
            # Rows are there for all rounds.
            limit = self.trip if self.rows else min(limit, self.trip)
        params = {
            "body": tape,
            "trip": limit,
            "consts": len(self.fixed),
            "carries": len(refs),
            "reverse": False,
            "test": True,
            "family": builder.new(Aval((), _I64)).index,  # a number of its own
        }
        if found.most:
            params["most"] = self.trip
        args = [builder.ref(ref) for ref in self.fixed]
        xs = [builder.ref(make()) for _, make in self.rows.values()]
        builder.append(loop, [*args, *starts, *xs], params, refs)
        more = [(refs[0], False)]
        if several:
            for number, way in enumerate(self.exits[:-1]):
                more.append((eq(refs[-1], number), way == found.actual))
                if way == found.actual:
                    break
        for number, (ref, expected) in enumerate(more, self.exit + len(self.guards)):
            builder.append(guard, [ref], {"expected": expected, "exit": number}, [])
        builder.source = saved
        builder.replace(found.start, builder.instrs[found.start :])
        bound = {var: results[key].index for var, key in bind.items()}
        behind = [(ref.index, expected) for ref, expected in more]
        return Left(self.guards, behind, limit, bound)

    def first_test(self) -> Ref:
        """Whether there is a first round."""
        if self.departure.outcome is None:
            return self.builder.const(True, _BOOL)
        found = self.builder.ref(self.rounds[0].before[TEST])
        return found if self.departure.outcome else logical_not(found)
