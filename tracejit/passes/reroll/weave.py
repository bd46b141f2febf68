"""Weaving: a tree of blocks (`branches`) becomes one loop with branches in its body.

Blocks with two sides behind them end in a `branch`, whose results are what the carries
of the loop are behind the round.  What a side reads from outside of it is an operand of
the branch; so a side that is not taken asks for nothing, and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...avals import Aval
from ...ops.branch import branch
from ...ops.logic import eq
from ...ops.loop import loop
from ...ops.structural import broadcast_to
from ...tape import Builder, Instr, Ref, guard, has_guard
from ..branches.paths import numbered
from .branches import (
    APPENDED,
    Block,
    Differ,
    Fixes,
    Formulas,
    Operand,
    Round,
    Spot,
    Step,
    Var,
)  # fmt: skip
from .classes import Classes, Key
from .moving import Moving
from .scope import Scope

__all__ = ["Weaver", "Woven", "weave"]

_I64 = np.dtype(np.int64)
_MODE = ("mode", None)


class Woven(NamedTuple):
    """A loop in place of rounds.

    Attributes:
        guards: the guards left in its body, in order of their new numbers.
        mode: the ref of the mode behind the loop, on which a guard stands, the next by
            number; None if there is but one mode.
        memory: for each array that is written in place, what it is behind the loop.
        stacks: of what each round appends to lists.
    """

    guards: list[Instr]
    mode: int | None
    memory: dict[Var, int]
    stacks: dict[Var, int]


def weave(
    builder: Builder,
    rounds: Sequence[Round],
    tree: Block,
    live: set[int],
    table: Callable[[np.ndarray], Ref],
    formulas: Formulas,
    fixes: Fixes,
    exit: int,
    first: int = 0,
    behind: Callable[[Var], bool] = lambda var: True,
) -> Woven:
    """Replace rounds, the last instrs of the builder, by a loop.

    Args:
        tree: of these rounds, and perhaps of others.
        live: refs that are wanted by somebody.
        table: makes a hidden input of an array of per-round constants.
        formulas: params that differ in all rounds; counted from the loop's first one.
        exit: the number of the first guard in the rounds; those left are counted on.
        first: the number of the first of the rounds.
        behind: whether what a name holds may be read behind the loop.

    Raises:
        Differ: it cannot be done; nothing has changed.
    """
    return Weaver(
        builder, rounds, tree, live, table, formulas, fixes, exit, first, behind
    ).weave()


class Weaver(Moving):
    """One replacement under construction."""

    def __init__(
        self,
        builder: Builder,
        rounds: Sequence[Round],
        tree: Block,
        live: set[int],
        table: Callable[[np.ndarray], Ref],
        formulas: Formulas,
        fixes: Fixes,
        exit: int,
        first: int,
        behind: Callable[[Var], bool],
    ) -> None:
        super().__init__(first, len(rounds))
        self.builder, self.rounds, self.tree = builder, rounds, tree
        self.live, self.table, self.formulas = live, table, formulas
        self.fixes, self.exit = fixes, exit
        self.behind = behind
        self.start = rounds[0].start
        made = builder.instrs[self.start : rounds[-1].stop]
        self.made = {out for instr in made for out in instr.outs}
        self.leaves = [b for b in tree.walk() if b.is_leaf]
        self.bound = self.bound_names()
        self.classes = Classes(rounds, self.leaves, self.made, fixes)
        self.written: set[Var] = set().union(*[b.written for b in self.leaves])
        self.appended = self.growth()
        self.guards: list[Instr] = []

    # -- what there is ----------------------------------------------------------------

    def key(self, operand: Operand) -> Key:
        """The one thing that an operand is."""
        if isinstance(operand, Spot):
            return "spot", operand
        found = self.classes.candidates(operand)
        if len(found) != 1:
            raise Differ("it is not known which of equal values is meant")
        return next(iter(found))

    def constant(self, ref: int) -> Instr | None:
        return self.fixes.constant(ref)

    def bound_names(self) -> dict[int, set[Var]]:
        """The names that are bound whenever a round of a mode begins."""
        found: dict[int, set[Var]] = {}
        for one in self.rounds:
            known = found.setdefault(one.mode, set(one.before))
            known &= one.before.keys()
        last = self.rounds[-1]
        found.setdefault(last.next, set(last.after))
        return found

    def growth(self) -> list[Var]:
        """What each round appends to lists."""
        found = [{v for v in b.after if v[0].endswith(APPENDED)} for b in self.leaves]
        if any(names != found[0] for names in found):
            raise Differ("the length of a list depends on traced values")
        return sorted(found[0])

    def rule(self, leaf: Block, names: Sequence[Var], is_read: bool = True) -> Key:
        """What some equal names hold behind a round."""
        goes_on = is_read or leaf.next != self.rounds[-1].next
        if goes_on and self.bound[leaf.next].isdisjoint(names):
            return self.classes.of(names[0])  # nobody reads it until it is bound
        for name in names:
            operand = leaf.after.get(name)
            if operand is not None:
                return self.key(operand)
        raise Differ("a name is bound on one side only")

    def item(self, leaf: Block, var: Var) -> Operand:
        """What a round appends to a list."""
        found = leaf.after[var]
        if found is None:
            raise Differ("what is appended to a list differs")
        return found

    # -- the whole --------------------------------------------------------------------

    def weave(self) -> Woven:
        wanted = self.wanted()
        self.settle_params()
        carries = self.carries(wanted)
        root = self.root = Scope(self, "body", None)
        self.counter = root.builder.input(Aval((), _I64))
        self.carried: dict[Key, Ref] = {}
        for key, (names, _) in carries.items():
            ref = root.builder.new(self.aval(names))
            self.carried[key] = root.env[key] = ref
        if self.tree.modes:
            ref = root.builder.new(Aval((), _I64))
            self.carried[_MODE] = root.env[_MODE] = ref
        outs = self.block(self.tree, root, carries)
        root.builder.source = None
        return self.replace(root.builder, outs, carries, wanted)

    def wanted(self) -> dict[int, Key]:
        """Refs that are read after the loop, and the names that hold them."""
        last = self.rounds[-1].after
        found: dict[int, Key] = {}
        items = {one.after[var] for one in self.rounds for var in self.appended}
        held = {v: r for v, r in last.items() if v not in self.appended}
        for var, ref in held.items():
            if var in self.written:
                continue
            fixed = self.classes.of(var) == ("fixed", ref)
            if ref not in self.made and not fixed and self.behind(var):
                raise Differ("a name may keep its value from before the loop")
        for ref in sorted(self.live & self.made):
            names = [var for var, known in held.items() if known == ref]
            if not names and ref not in items:
                raise Differ("a value is kept that no name holds")
            names = [v for v in names if self.behind(v) or v in self.written]
            if not names:
                continue
            keys = {self.classes.of(n) for n in names}
            rules = {
                tuple(self.rule(leaf, [n], False) for leaf in self.leaves)
                for n in names
            }
            if len(keys) > 1 and len(rules) > 1:
                raise Differ("two names hold the same value behind the loop")
            found[ref] = min(keys, key=repr)
        return found

    def carries(self, wanted: Mapping[int, Key]) -> dict[Key, tuple[list[Var], bool]]:
        """The classes that are carried: their names, and whether rounds read them."""
        read: dict[Key, None] = {}
        for block in self.tree.walk():
            operands = [o for step in block.steps for o in step.operands]
            operands += [block.test] if block.test is not None else []
            if block.is_leaf:
                operands += [self.item(block, var) for var in self.appended]
            for operand in operands:
                key = self.key(operand)
                if key[0] == "class":
                    read[key] = None
        found: dict[Key, tuple[list[Var], bool]] = {}
        waiting = [(key, True) for key in read]
        waiting += [(key, key in read) for key in wanted.values()]
        waiting += [(k, k in read) for k in map(self.classes.of, sorted(self.written))]
        while waiting:
            key, is_read = waiting.pop()
            if key in found:
                continue
            names = self.classes.names[key]
            found[key] = names, is_read
            for leaf in self.leaves:
                after = self.rule(leaf, names, is_read)
                if after[0] == "class":
                    waiting.append((after, True))
        for names, is_read in found.values():
            for one in self.rounds:
                bound = not one.before.keys().isdisjoint(names)
                if is_read and bound and self.bound[one.mode].isdisjoint(names):
                    raise Differ("a name is bound in the loop only")
        return dict(sorted(found.items(), key=lambda item: repr(item[1][0])))

    def aval(self, names: Sequence[Var]) -> Aval:
        avals = {
            self.builder.avals[one.after[n]]
            for one in self.rounds
            for n in names
            if n in one.after
        }
        avals |= {
            self.builder.avals[self.rounds[0].before[n]]
            for n in names
            if n in self.rounds[0].before
        }
        if len(avals) != 1:
            raise Differ("a name holds values of different types")
        return next(iter(avals))

    # -- the body ---------------------------------------------------------------------

    def block(
        self, block: Block, scope: Scope, carries: Mapping[Key, Any]
    ) -> list[Ref]:
        """Write a block and what follows it; what the carries are then."""
        for place, step in enumerate(block.steps):
            scope.builder.source = step.instr.source
            for out, ref in enumerate(self.step(step, scope)):
                scope.env["spot", Spot(block.way, place, out)] = ref
        if block.modes:
            return self.by_mode(list(block.modes.items()), scope, carries)
        if block.test is None:
            return self.ends(block, scope, carries)
        assert block.instr is not None
        scope.builder.source = block.instr.source
        test = scope.get(self.key(block.test))
        if len(block.sides) == 1:
            ((outcome, side),) = block.sides.items()
            params = {"expected": outcome, "exit": self.new_exit(block.instr)}
            scope.builder.emit(guard, [test], params)
            return self.block(side, scope, carries)
        source = block.instr.source
        return self.fork(
            test,
            scope,
            source,
            lambda outcome, inner: self.block(block.sides[outcome], inner, carries),
        )

    def ends(self, block: Block, scope: Scope, carries: Mapping[Key, Any]) -> list[Ref]:
        """What the carries are behind a round."""
        found = [
            scope.get(self.rule(block, names, is_read))
            for names, is_read in carries.values()
        ]
        if self.tree.modes:
            scope.builder.source = None
            found.append(scope.builder.const(block.next, _I64))
        items = [self.item(block, var) for var in self.appended]
        return found + [scope.get(self.key(o)) for o in items]

    def by_mode(
        self, modes: list[tuple[int, Block]], scope: Scope, carries: Mapping[Key, Any]
    ) -> list[Ref]:
        """The blocks of rounds that begin with different untraced state."""
        (mode, block), *others = modes
        test = None
        if others or any(leaf.next not in self.tree.modes for leaf in self.leaves):
            test = eq(scope.get(_MODE), mode)
        if not others:
            if test is not None:
                # What a round does in this state was never seen.
                params = {"expected": True, "exit": -1}
                exit = self.new_exit(Instr(guard, (), params, ()))
                scope.builder.emit(guard, [test], {**params, "exit": exit})
            return self.block(block, scope, carries)
        assert test is not None

        def side(outcome: bool, inner: Scope) -> list[Ref]:
            if outcome:
                return self.block(block, inner, carries)
            return self.by_mode(others, inner, carries)

        return self.fork(test, scope, None, side)

    def fork(
        self,
        test: Ref,
        scope: Scope,
        source: Any,
        side: Callable[[bool, Scope], list[Ref]],
    ) -> list[Ref]:
        sides = {}
        for outcome, name in ((True, "yes"), (False, "no")):
            inner = Scope(self, name, scope)
            sides[name] = inner, side(outcome, inner)
        keys = list(
            dict.fromkeys(k for inner, _ in sides.values() for k in inner.imports)
        )
        tapes = {name: inner.side(outs, keys) for name, (inner, outs) in sides.items()}
        scope.builder.source = source
        args = [test, *[scope.get(key) for key in keys]]
        return list(scope.builder.emit(branch, args, tapes))

    def new_exit(self, instr: Instr) -> int:
        self.guards.append(instr)
        return self.exit + len(self.guards) - 1

    def step(self, step: Step, scope: Scope) -> Sequence[Ref]:
        instr, builder = step.instr, scope.builder
        params = instr.params
        if step.param:
            values = self.values[id(step)]
            differ = any(repr(v) != repr(values[0]) for v in values)
            if differ and step.param == "value":
                dtype = params["dtype"]
                return [scope.get(("number", (id(step), tuple(values), dtype)))]
            if differ and instr.prim.name == "update":
                return [self.moving_update(step, values, scope)]
            if differ:
                return [self.moving_slice(step, values, scope)]
            params = {**params, step.param: values[0]}
        args = [scope.get(self.key(o)) for o in step.operands]
        if instr.prim is guard:
            params = {**params, "exit": self.new_exit(instr)}
        elif has_guard(instr):
            params = numbered(instr, self.new_exit)
        out = builder.emit(instr.prim, args, params)
        return (out,) if instr.prim.n_out == 1 else tuple(out)

    # -- the loop ---------------------------------------------------------------------

    def replace(
        self,
        body: Builder,
        outs: list[Ref],
        carries: Mapping[Key, tuple[list[Var], bool]],
        wanted: Mapping[int, Key],
    ) -> Woven:
        body.inputs = [
            self.counter.index,
            *[ref.index for ref in self.fixed.values()],
            *[ref.index for ref in self.carried.values()],
            *[ref.index for ref, _ in self.rows.values()],
        ]
        tape = body.finish(outs)
        builder, begin = self.builder, self.start
        recorded = builder.instrs[begin:]
        del builder.instrs[begin:]
        saved, builder.source = builder.source, recorded[0].source
        xs = [make() for _, make in self.rows.values()]
        starts = [self.begin(names) for names, _ in carries.values()]
        refs: list[int] = []
        for key in carries:
            same = [ref for ref, k in wanted.items() if k == key and ref not in refs]
            fresh = builder.new(self.aval(carries[key][0])).index if not same else 0
            refs.append(same[0] if same else fresh)
        if self.tree.modes:
            starts.append(builder.const(self.rounds[0].mode, _I64).index)
            refs.append(builder.new(Aval((), _I64)).index)
        params = {
            "body": tape,
            "trip": self.trip,
            "consts": len(self.fixed),
            "carries": len(refs),
            "reverse": False,
        }
        args = [builder.ref(r) for r in (*self.fixed, *starts, *xs)]
        stacks = {}
        for var in self.appended:
            aval = self.aval([var])
            stacked = Aval((self.trip, *aval.shape), aval.dtype)
            stacks[var] = builder.new(stacked).index
        outs = [builder.ref(r) for r in (*refs, *stacks.values())]
        builder.append(loop, args, params, outs)
        if self.tree.modes:
            # What follows was recorded with the untraced state of this mode.
            number = self.exit + len(self.guards)
            expected = {"expected": self.rounds[-1].next, "exit": number}
            builder.append(guard, [builder.ref(refs[-1])], expected, [])
        builder.source = saved
        builder.replace(begin, builder.instrs[begin:])
        place = dict(zip(carries, refs, strict=False))
        memory = {var: place[self.classes.of(var)] for var in self.written}
        mode = refs[-1] if self.tree.modes else None
        return Woven(self.guards, mode, memory, stacks)

    def begin(self, names: Sequence[Var]) -> int:
        """What names hold in front of the loop; zeros if nobody reads it."""
        before = self.rounds[0].before
        found = {before[n] for n in names if n in before}
        if found:
            return found.pop()
        aval = self.aval(names)
        zero = self.builder.const(0, aval.dtype)
        if aval.shape:
            from_zero = {"shape": aval.shape}
            zero = self.builder.emit(broadcast_to, [zero], from_zero)
        return zero.index
