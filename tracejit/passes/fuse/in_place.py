"""Writes in the body of a loop that take place in the memory of a carry.

    body(%0: i64[], %1: f64[n]):             y' = y with one element replaced
      %2 = gather %1 ...                     one buffer for the whole loop
      ...
      %9 = update %1 %8 %0 {axes=(0,)}
      return %9

As a function, `update` is a new array, and each iteration would copy n elements.  Where
the old value is not read after the write, both may have one memory, and an iteration
costs what it writes.

1. A carry qualifies if what comes out of it is a chain of writes (`update`, `scatter`)
   that begins with what went in, and none of these values has another way out of the
   body.
2. Every reader of a value in the chain comes before the next write.  It is moved there
   if it does not depend on that write itself; else the carry does not qualify.
3. What readers read is read at once: their results are stored, not computed later.
   So is what is written, unless it is a few elements.
4. A chain that writes most of the array anyway is left alone: it fuses with its
   neighbours.
5. A branch belongs to a chain if each of its sides is such a chain, or hands the array
   on as it is.

In the loop of a derivative, cotangents of elements that were read are added:
`add(ct, scatter_add(...))` becomes a write that adds, in place too.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from ...primitive import PRIMITIVES
from ...tape import Instr, Tape

__all__ = ["InPlace", "Sides", "in_place"]

_WRITES = ("update", "scatter")


class InPlace(NamedTuple):
    """A body whose writes may take place in the memory of its carries.

    Attributes:
        body: the same, in an order that allows it.
        memory: result of a write -> the carry's input whose memory it has.
        stored: results that must be computed where they stand.
        sides: by the first result of a branch that writes, its sides.
    """

    body: Tape
    memory: dict[int, int]
    stored: frozenset[int]
    sides: dict[int, Sides]


#: What holds of the two sides of a branch.
Sides = tuple[InPlace, InPlace]


def in_place(body: Tape, consts: int, carries: int) -> InPlace:
    """Find what the body of a loop may write in place."""
    found = InPlace(_adding(body), {}, frozenset(), {})
    state = body.inputs[1 + consts : 1 + consts + carries]
    for before, after in zip(state, body.outputs, strict=False):
        if before != after:
            found = _with(found, before, after) or found
    return found


def _with(known: InPlace, before: int, after: int) -> InPlace | None:
    """The same with the writes that lead from an input to an output; None: not so.

    In a side of a branch there may be none of them.
    """
    body = known.body
    if body.outputs.count(after) > 1:
        return None
    if before == after:
        return known
    maker = {out: i for i in body.instrs for out in i.outs}
    chain = _chain(known, maker, before, after)
    if chain is None:
        return None
    readers = _readers(body, chain)
    order = _ordered(body.instrs, [link.instr for link in chain], readers)
    if order is None:
        return None
    memory, stored, sides = dict(known.memory), set(known.stored), dict(known.sides)
    for link in chain:
        memory[link.new] = before
        if link.sides is not None:
            sides[link.instr.outs[0]] = link.sides
            continue
        part = link.instr.args[1]
        if body.avals[part].size > 1 and not _is_constant(maker.get(part), maker):
            stored.add(part)
    for found in readers:
        for reader in found:
            stored.update(reader.outs)
    body = Tape(body.inputs, tuple(order), body.outputs, body.avals, body.name)
    return InPlace(body, memory, frozenset(stored), sides)


def _is_constant(instr: Instr | None, maker: dict[int, Instr]) -> bool:
    while instr is not None and instr.prim.name == "broadcast_to":
        instr = maker.get(instr.args[0])
    return instr is not None and instr.prim.name == "const"


class _Link(NamedTuple):
    """A write, or a branch with writes in its sides: from `old` it makes `new`."""

    instr: Instr
    old: int
    new: int
    sides: Sides | None = None


def _chain(
    known: InPlace, maker: dict[int, Instr], before: int, after: int
) -> list[_Link] | None:
    """The writes from what goes in to what comes out, in order; None: not only."""
    body = known.body
    chain: list[_Link] = []
    ref, written = after, 0
    while ref != before:
        instr = maker.get(ref)
        if instr is not None and instr.prim.name == "branch":
            link = _through(known, instr, ref)
        elif instr is not None and instr.prim.name in _WRITES:
            link = _Link(instr, instr.args[0], ref)
            written += body.avals[instr.args[1]].size
        else:
            link = None
        if link is None:
            return None
        chain.append(link)
        ref = link.old
        if ref in body.outputs:
            return None
    return chain[::-1] if 2 * written <= body.avals[before].size else None


def _through(known: InPlace, instr: Instr, ref: int) -> _Link | None:
    """A branch of which both sides do no more than write to one operand."""
    k = instr.outs.index(ref)
    yes, no = known.sides.get(instr.outs[0]) or _sides(instr)
    place = _origin(yes.body, yes.body.outputs[k])
    if place is None or place != _origin(no.body, no.body.outputs[k]):
        return None
    old = instr.args[1 + place]
    if instr.args.count(old) > 1:
        return None
    found = [
        _with(side, side.body.inputs[place], side.body.outputs[k]) for side in (yes, no)
    ]
    if found[0] is None or found[1] is None:
        return None
    return _Link(instr, old, ref, (found[0], found[1]))


def _sides(instr: Instr) -> Sides:
    yes, no = (
        InPlace(_adding(instr.params[name]), {}, frozenset(), {})
        for name in ("yes", "no")
    )
    return yes, no


def _origin(side: Tape, ref: int) -> int | None:
    """The number of the input that a result is made of by writes alone."""
    maker = {out: i for i in side.instrs for out in i.outs}
    while ref not in side.inputs:
        instr = maker[ref]
        if instr.prim.name in _WRITES:
            ref = instr.args[0]
        elif instr.prim.name == "branch":
            inner = instr.params["yes"]
            place = _origin(inner, inner.outputs[instr.outs.index(ref)])
            if place is None:
                return None
            ref = instr.args[1 + place]
        else:
            return None
    return side.inputs.index(ref)


def _readers(body: Tape, chain: list[_Link]) -> list[list[Instr]]:
    """For each write, those who read what it writes over."""
    found = []
    for link in chain:
        users: list[Instr] = []
        # A reshape is the same memory: who reads it reads this.
        views = {link.old}
        for instr in body.instrs:
            if instr is link.instr:
                given = list(instr.args)
                given.remove(link.old)
                if not views.isdisjoint(given):
                    users.append(instr)  # reads itself: no order will do
            elif not views.isdisjoint(instr.args):
                users.append(instr)
                if instr.prim.name == "reshape":
                    views.update(instr.outs)
        found.append(users)
    return found


def _ordered(
    instrs: Sequence[Instr], chain: list[Instr], readers: list[list[Instr]]
) -> list[Instr] | None:
    """The instrs with every reader before its write; None if that cannot be."""
    number = {id(instr): k for k, instr in enumerate(instrs)}
    maker = {out: k for k, instr in enumerate(instrs) for out in instr.outs}
    needs: list[set[int]] = [
        {maker[a] for a in instr.args if a in maker} for instr in instrs
    ]
    last = None
    for k, instr in enumerate(instrs):
        if instr.prim.family == "control" and instr.prim.name != "const":
            if last is not None:
                needs[k].add(last)  # guards, calls and loops stay in order
            last = k
    for write, found in zip(chain, readers, strict=True):
        needs[number[id(write)]].update(number[id(reader)] for reader in found)
    users: list[list[int]] = [[] for _ in instrs]
    for k, wanted in enumerate(needs):
        if k in wanted:
            return None
        for a in wanted:
            users[a].append(k)
    missing = [len(wanted) for wanted in needs]
    ready = [k for k, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        k = heapq.heappop(ready)
        order.append(instrs[k])
        for user in users[k]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order if len(order) == len(instrs) else None


def _adding(body: Tape) -> Tape:
    """Sums of an array and scattered elements as writes that add."""
    count: dict[int, int] = {}
    for instr in body.instrs:
        for a in instr.args:
            count[a] = count.get(a, 0) + 1
    for out in body.outputs:
        count[out] = count.get(out, 0) + 1
    made: dict[int, Instr] = {}
    owned = set(body.inputs)
    dropped: set[int] = set()
    instrs = []
    for instr in body.instrs:
        if instr.prim.name == "add":
            for a, b in (instr.args, instr.args[::-1]):
                part = made.get(b)
                if a in owned and part is not None and count[b] == 1:
                    new = _addition(body, instr, a, part)
                    if new is not instr:
                        dropped.add(b)
                    instr = new
                    break
        if instr.prim.name in _WRITES:
            owned.update(instr.outs)
        made.update(dict.fromkeys(instr.outs, instr))
        instrs.append(instr)
    instrs = [i for i in instrs if dropped.isdisjoint(i.outs)]
    return Tape(body.inputs, tuple(instrs), body.outputs, body.avals, body.name)


def _addition(body: Tape, instr: Instr, old: int, part: Instr) -> Instr:
    """`old + part`, where `part` is zero but at a few places."""
    avals, params = body.avals, part.params
    if avals[old].shape != avals[instr.outs[0]].shape:
        return instr
    if part.prim.name == "scatter_add":
        new = {"axis": params["axis"], "unique": False, "add": True}
        args = (old, *part.args)
        return Instr(PRIMITIVES["scatter"], args, new, instr.outs, instr.source)
    if part.prim.name == "unslice" and 2 * avals[part.args[0]].size <= avals[old].size:
        new = {k: params[k] for k in ("start", "step")}
        new |= {"axes": (), "add": True}
        args = (old, *part.args)
        return Instr(PRIMITIVES["update"], args, new, instr.outs, instr.source)
    return instr
