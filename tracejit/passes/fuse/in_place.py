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

In the loop of a derivative, cotangents of elements that were read are added:
`add(ct, scatter_add(...))` becomes a write that adds, in place too.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from ...primitive import PRIMITIVES
from ...tape import Instr, Tape

__all__ = ["InPlace", "in_place"]

_WRITES = ("update", "scatter")


class InPlace(NamedTuple):
    """A body whose writes may take place in the memory of its carries.

    Attributes:
        body: the same, in an order that allows it.
        memory: result of a write -> the carry's input whose memory it has.
        stored: results that must be computed where they stand.
    """

    body: Tape
    memory: dict[int, int]
    stored: frozenset[int]


def in_place(body: Tape, consts: int, carries: int) -> InPlace:
    """Find what the body of a loop may write in place."""
    body = _adding(body)
    maker = {out: i for i in body.instrs for out in i.outs}
    state = body.inputs[1 + consts : 1 + consts + carries]
    memory: dict[int, int] = {}
    stored: set[int] = set()
    for before, after in zip(state, body.outputs, strict=False):
        chain = _chain(body, maker, before, after)
        if not chain:
            continue
        readers = _readers(body, chain, before)
        order = _ordered(body.instrs, chain, readers)
        if order is None:
            continue
        body = Tape(body.inputs, tuple(order), body.outputs, body.avals, body.name)
        for write in chain:
            memory[write.outs[0]] = before
            part = write.args[1]
            if body.avals[part].size > 1 and not _is_constant(maker.get(part), maker):
                stored.add(part)
        for found in readers:
            for reader in found:
                stored.update(reader.outs)
    return InPlace(body, memory, frozenset(stored))


def _is_constant(instr: Instr | None, maker: dict[int, Instr]) -> bool:
    while instr is not None and instr.prim.name == "broadcast_to":
        instr = maker.get(instr.args[0])
    return instr is not None and instr.prim.name == "const"


def _chain(body: Tape, maker: dict[int, Instr], before: int, after: int) -> list[Instr]:
    """The writes from what goes in to what comes out, in order; or none."""
    if before == after or body.outputs.count(after) > 1:
        return []
    chain: list[Instr] = []
    ref, written = after, 0
    while ref != before:
        instr = maker.get(ref)
        if instr is None or instr.prim.name not in _WRITES:
            return []
        chain.append(instr)
        written += body.avals[instr.args[1]].size
        ref = instr.args[0]
        if ref in body.outputs:
            return []
    return chain[::-1] if 2 * written <= body.avals[before].size else []


def _readers(body: Tape, chain: list[Instr], before: int) -> list[list[Instr]]:
    """For each write, those who read what it writes over."""
    found = []
    old = before
    for write in chain:
        users: list[Instr] = []
        # A reshape is the same memory: who reads it reads this.
        views = {old}
        for instr in body.instrs:
            if instr is write:
                if not views.isdisjoint(instr.args[1:]):
                    users.append(write)  # reads itself: no order will do
            elif not views.isdisjoint(instr.args):
                users.append(instr)
                if instr.prim.name == "reshape":
                    views.update(instr.outs)
        found.append(users)
        old = write.outs[0]
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
