"""What there is at the head of each round of a `for` loop, for `forks`.

A name holds a traced value by a ref, and an array is an object, too: what is written
into it is seen by all that refer to its memory.  So for each array it is noted which
memory it is, and from one head to the next follows what the round has written, what it
has bound anew, and what it appended to lists.
"""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..passes.reroll import APPENDED, Var
from .memory import View, base_of, is_uncertain, make_stale, own_ref
from .purity.bytecode import Code, Loop
from .purity.instructions import IN_PLACE
from .purity.values import Value, abstract, is_array
from .remembered import State
from .watch import Describe

__all__ = ["Head", "Heads", "buffers"]

#: So many kinds of values one name may hold.
_KINDS = 6
#: So many values a round may append to a list.
_ITEMS = 16


class _Seen(NamedTuple):
    """A traced value: its ref, and what owns its memory."""

    value: Any
    ref: int
    base: Any
    stale: bool


class Head(NamedTuple):
    """What there was at the head of a round.

    Attributes:
        at: how many instrs there were.
        before: refs in names that the round may read.
        after: refs in all names, and in what the round in front appended to lists.
        state: for each name that may be read, the number of what it holds (`_kind`).
        memory: for each array that may be read, what owns its memory.
        together: the names of arrays with one memory.
        written, rebound: names of arrays that the round in front wrote into, and of
            those that are other ones now.
        lists: lengths of the lists that the loop does not bind.
    """

    at: int
    before: Mapping[Var, int]
    after: Mapping[Var, int]
    state: Mapping[str, int]
    memory: Mapping[Var, weakref.ref]
    together: frozenset[frozenset[Var]]
    written: frozenset[Var]
    rebound: frozenset[Var]
    lists: Mapping[str, int]


class Heads:
    """The heads of one execution of a loop so far.

    Args:
        follows_writes: whether the loop may write into arrays and append to lists.

    Attributes:
        kinds: what names held, apart from traced data.
        mixed: for each name that every round binds before it is read, what it holds
            behind a round, and whether that is always a traced value of one kind.
        fixed: what is untraced and left alone.
        items: kinds of what is appended to lists; None if that differs.
        mixed_floats: whether Python's floats and NumPy's are appended at one place.
        reason: why this is no loop with branches; "" if nothing speaks against it.
    """

    def __init__(self, rec: Any, follows_writes: bool = True) -> None:
        self.rec, self.follows_writes = rec, follows_writes
        self.all: list[Head] = []
        self.kinds: dict[str, list[tuple[Any, Value]]] = {}
        self.mixed: dict[str, Any] = {}
        self.fixed: State = []
        self.items: dict[Var, Any] = {}
        self.mixed_floats = False
        self.reason = ""
        self._inner: list[tuple[Var, weakref.ref]] = []
        self._lists: dict[str, int] = {}
        self._written_to: frozenset[str] | None = frozenset()
        self._seen: list[_Seen] = []
        self._apart: dict[str, Any] = {}

    def look(self, value: Any) -> Any:
        own, base = own_ref(value), base_of(value)
        stale = own is None
        ref = base.ref if own is None else own
        self._seen.append(_Seen(value, ref.index, base, stale))
        known = ref.aval, value.weak, value.shared
        if stale:
            return *known, value.memory.steps
        return *known, bool(ref.aval.shape) and is_uncertain(value)

    def described(self, describe: Describe, value: Any) -> tuple[Any, list[_Seen]]:
        self._seen = []
        return describe(value), self._seen

    def add(
        self, code: Code, loop: Loop, names: dict[str, Any], dead: Container[str]
    ) -> None:
        """Note what the names hold.

        Args:
            dead: names that each round binds before it reads them.
        """
        rec, first = self.rec, not self.all
        describe = Describe(type(rec).tracer_class(), self.look)
        if first and self.follows_writes:
            self._written_to = _written_to(code, loop)
        self._forget_views(names)
        if first:
            self._note_fixed(code, loop, names, describe)
        held: dict[Var, _Seen] = {}
        for var, known in self._inner:
            value = known()
            if value is not None:
                held[var] = self.described(describe, value)[1][0]
        before = {var: seen.ref for var, seen in held.items()}
        after = dict(before)
        state: dict[str, int] = {}
        gone: list[tuple[str, Any, list[_Seen], bool]] = []
        for name, value in names.items():
            traced = type(value) is describe.traced
            if name not in loop.rebound and not traced:
                continue
            what, seen = self.described(describe, value)
            if name in dead:
                gone.append((name, what, seen, traced))
                continue
            state[name] = self.kind(name, what, value)
            for place, one in enumerate(seen):
                before[name, place] = after[name, place] = one.ref
                held[name, place] = one
        groups = _groups(held)
        for name, what, seen, traced in gone:
            for place, one in enumerate(seen):
                if not one.stale:
                    after[name, place] = one.ref
            same = [groups.get(id(one.base)) for one in seen if one.base.ref.aval.shape]
            fine = traced and not any(one.stale for one in seen)
            fine = fine and self._apart.setdefault(name, same) == same
            self._note_dead(name, what, fine)
        lists = self._appended(describe, names, after, groups)
        memory = {
            var: weakref.ref(one.base)
            for var, one in held.items()
            if one.base.ref.aval.shape
        }
        written, rebound = self._changes(memory, before)
        together = frozenset([g for g in groups.values() if len(g) > 1])
        head = Head(
            len(rec.instrs),
            before,
            after,
            state,
            memory,
            together,
            written,
            rebound,
            lists,
        )
        self.all.append(head)
        self._seen = []  # nothing here keeps a traced value

    def _forget_views(self, names: Mapping[str, Any]) -> None:
        """Have views of what the loop writes into be taken anew in each round.

        Whether a view is older than the last write would be state of its own.
        """
        found = self._written_to
        if found is not None and not found:
            return
        traced = type(self.rec).tracer_class()
        values = [v for v in names.values() if type(v) is traced]
        values += [v for _, known in self._inner if (v := known()) is not None]
        bases = {
            id(base_of(v))
            for n, v in names.items()
            if type(v) is traced and (found is None or n in found)
        }
        for value in values:
            is_view = type(value.memory) is View and own_ref(value) is not None
            if is_view and (found is None or id(base_of(value)) in bases):
                make_stale(value)

    def _note_fixed(
        self, code: Code, loop: Loop, names: dict[str, Any], describe: Describe
    ) -> None:
        """Note untraced names that the loop leaves alone, and traced values in them."""
        shared = {*code.code.co_cellvars, *code.code.co_freevars}
        read = shared.union(*[code.ops[i].read for i in loop.body])
        for name in sorted(read & names.keys()):
            value = names[name]
            if name in loop.rebound or type(value) is describe.traced:
                continue
            what, seen = self.described(describe, value)
            self.fixed.append((name, what))
            for place, one in enumerate(seen):
                self._inner.append(((name, place), weakref.ref(one.value)))
            if type(value) is list and name not in shared and self.follows_writes:
                self._lists[name] = id(value)

    def _note_dead(self, name: str, what: Any, traced: bool) -> None:
        """Whether a name that is bound anew is always the same kind of traced value."""
        if not self.all:
            return
        known = self.mixed.setdefault(name, (what, traced))
        if known != (what, traced):
            self.mixed[name] = (None, False)

    def kind(self, name: str, what: Any, value: Any) -> int:
        """The number of what a name holds, apart from traced data."""
        known = self.kinds.setdefault(name, [])
        for number, (other, _) in enumerate(known):
            if other == what:
                return number
        if len(known) == _KINDS:
            self.reason = f"the untraced value of {name} changes in the loop"
        known.append((what, abstract(value, type(self.rec).tracer_class())))
        return len(known) - 1

    # --- what the round in front has done ---------------------------------------------

    def _changes(
        self, memory: Mapping[Var, weakref.ref], refs: Mapping[Var, int]
    ) -> tuple[frozenset[Var], frozenset[Var]]:
        if not self.all:
            return frozenset(), frozenset()
        before, was = self.all[-1].memory, self.all[-1].before
        same = {
            var
            for var, base in memory.items()
            if var in before and before[var]() is base()
        }
        written = [var for var in same if was[var] != refs[var]]
        return frozenset(written), frozenset({*before, *memory} - same)

    def _appended(
        self,
        describe: Describe,
        names: Mapping[str, Any],
        after: dict[Var, int],
        groups: dict[int, frozenset[Var]],
    ) -> dict[str, int]:
        """Note what the round appended to lists, in `after` and `groups`."""
        lengths: dict[str, int] = {}
        for name, number in self._lists.items():
            items = names[name]
            if id(items) != number:
                self.reason = f"the list {name} is another one"
                continue
            lengths[name] = len(items)
            if not self.all:
                continue
            grown = len(items) - self.all[-1].lists[name]
            if grown > _ITEMS or grown < 0:
                self.reason = f"the length of the list {name} changes in the loop"
                continue
            known = {id(base()) for base in self.all[-1].memory.values()}
            new = items[len(items) - grown :]
            for place, item in enumerate(new):
                var = name + APPENDED, place
                if type(item) is float:
                    ref = self.rec.constant(item, np.dtype(np.float64))
                    self._note_item(var, (ref.aval, float, False, False))
                    after[var] = ref.index
                    continue
                if type(item) is not describe.traced:
                    self.reason = f"an untraced value is appended to {name}"
                    continue
                what, (seen, *_) = self.described(describe, item)
                if seen.base.ref.aval.shape and what[0].shape:
                    number = id(seen.base)
                    if seen.base is not item or number in known:
                        self.reason = f"{name} gets an array that was there before"
                        continue
                    groups[number] = groups.get(number, frozenset()) | {var}
                self._note_item(var, what)
                after[var] = seen.ref
        return lengths

    def _note_item(self, var: Var, what: Any) -> None:
        """See that all that is appended here is of one kind, but for whose float."""
        known = self.items.setdefault(var, what)
        if known == what:
            return
        scalar = np.dtype(np.float64), ()
        both = [(k[0].dtype, k[0].shape) for k in (known, what)]
        weak = {known[1], what[1]}
        if both == [scalar] * 2 and weak == {None, float}:
            self.items[var] = (what[0], None, *what[2:])
            self.mixed_floats = True
            return
        self.reason = f"different kinds of values are appended to {var[0]}"

    def inside(self) -> dict[Var, int]:
        """Refs in what the loop leaves alone."""
        return {var: self.all[-1].before[var] for var, _ in self._inner}

    # --- afterwards -------------------------------------------------------------------

    def grown(self, first: int) -> list[str]:
        """The lists that rounds from `first` on have appended to."""
        start = self.all[first].lists
        end = self.all[-1].lists
        return [name for name in self._lists if end.get(name) != start.get(name)]

    def owners(self, names: Iterable[Var]) -> dict[Var, Any]:
        """What owns the memory of arrays."""
        memory = self.all[-1].memory
        return {var: memory[var]() for var in names if var in memory}


def _groups(held: Mapping[Var, _Seen]) -> dict[int, frozenset[Var]]:
    """The names of arrays, by what owns their memory."""
    found: dict[int, set[Var]] = {}
    for var, one in held.items():
        if one.base.ref.aval.shape:
            found.setdefault(id(one.base), set()).add(var)
    return {number: frozenset(names) for number, names in found.items()}


def _written_to(code: Code, loop: Loop) -> frozenset[str] | None:
    """The names that statements of a loop write into; None: what has no name, too."""
    found: set[str] = set()
    for i in loop.body:
        op = code.ops[i]
        if op.name in ("STORE_SUBSCR", "STORE_SLICE"):
            height = code.depths[i] - (2 if op.name == "STORE_SUBSCR" else 3)
        elif op.name == "BINARY_OP" and op.arg >= IN_PLACE:
            height = code.depths[i] - 2
        else:
            continue
        # What stands there was put by the last instruction that found so few below.
        at = max(k for k in range(i) if code.depths.get(k, height + 1) <= height)
        maker, place = code.ops[at], height - code.depths[at]
        if maker.name in ("COPY", "COPY_TOP", "DUP_TOP_TWO"):
            continue  # `y[i] += v` ends in a write into `y`
        names = maker.argval if isinstance(maker.argval, tuple) else (maker.argval,)
        if not maker.name.startswith("LOAD_FAST") or place >= len(names):
            return None
        found.add(names[place])
    return frozenset(found)


def buffers(names: Mapping[str, Any]) -> dict[str, weakref.ref]:
    """Names of arrays that the function made, and that have no traced values yet."""
    return {
        name: weakref.ref(value)
        for name, value in names.items()
        if type(value).__name__ == "Buffer" and is_array(type(value))
    }
