"""Calls that were recorded before: their instrs are put on the tape again.

A NumPy function that is no primitive is a composition of dozens of operations, each of
which asks for shapes, dtypes and axes anew.  What it comes to depends on no value in
most cases: on the shapes and dtypes of the operands, on the other arguments, and on
what the composition asked of values on its way (how many elements a mask has).  So the
second call of a kind is noted, and the third one is its instrs, computed one by one on
the new operands.  The tape is the same in all three cases, instr by instr.

A snippet is left aside, and the call recorded in full, where

* a value that the composition looked at is another one than then;
* NumPy warns or raises, which it is to do in its own words and at the user's line;
* an operand is large: its intermediate results are let go of as early as possible.

What cannot be a snippet at all: calls that write into their operands, that are given
functions, or arrays of more than a few elements; and what looks at how an operand was
made, or how it lies in memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ..avals import Aval
from ..primitive import PRIMITIVES
from ..tape import Instr, Ref, const, guard
from .frames import user_frame
from .kinds import BYTES, describe, pattern
from .noting import Noting
from .recorder import SMALL_PART, Recorder
from .results import Impure, Results, filled
from .values import LARGE
from .warn import goes_quietly

__all__ = ["stamped"]

#: So many kinds of calls are remembered, and so many outcomes of one kind.
_KINDS, _OUTCOMES = 4096, 8

_SLICE = PRIMITIVES["slice"]

#: kind of call -> snippets, by outcome; None: it cannot be one; (): it was seen once.
_known: dict[Any, Any] = {}


def stamped(serve: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """`serve(*args, **kwargs)`, a function of tracers, from a snippet if there is one.

    Args:
        serve: what the call is known by; it asks nothing but its arguments.
    """
    leaves: list[Any] = []
    parts: list[Any] = [serve]
    rec = describe(args, parts, leaves, None)
    if kwargs and rec is not False:
        for name, value in kwargs.items():
            parts.append(name)
            rec = describe((value,), parts, leaves, rec)
            if rec is False:
                break
    if not rec or rec.noting is not None or rec.closed:
        return serve(*args, **kwargs)
    if len(leaves) > 1:
        parts.append(pattern(leaves))
    if not rec.python_rules:
        parts.append(False)
    key = tuple(parts)
    found = _known.get(key, _known)
    if found is None:
        return serve(*args, **kwargs)
    if found is _known:
        if len(_known) >= _KINDS:
            _known.clear()
        _known[key] = ()
        return serve(*args, **kwargs)
    for snippet in found:
        result = snippet.stamp(rec, leaves)
        if result is not _MISS:
            return result
    if len(found) == _OUTCOMES:
        return serve(*args, **kwargs)
    noting = rec.noting = Noting(rec, leaves)
    try:
        result = serve(*args, **kwargs)
    finally:
        rec.noting = None
    snippet = _made(rec, noting, result)
    if snippet is not None:
        _known[key] = (*found, snippet)
    elif not found:
        _known[key] = None
    return result


def _made(rec: Recorder, noting: Noting, result: Any) -> Snippet | None:
    try:
        return Snippet(rec, noting, result) if noting.pure else None
    except Impure:
        return None


# --- snippets -------------------------------------------------------------------------


class _Captured:
    """An ordinary array among the operands.

    Attributes:
        leaf: which of the arguments it is; -1 if the composition made it.
        value: what the composition made.
    """

    __slots__ = ("leaf", "value")

    def __init__(self, array: np.ndarray, leaves: list[Any]) -> None:
        self.value: Any = None
        self.leaf = next((k for k, x in enumerate(leaves) if x is array), -1)
        if self.leaf >= 0:
            return
        ordinary = [x for x in leaves if type(x) is np.ndarray]
        if array.nbytes > BYTES or any(np.may_share_memory(array, x) for x in ordinary):
            raise Impure
        self.value = array.copy()

    def ref(self, rec: Recorder, leaves: list[Any]) -> Ref:
        if self.leaf >= 0:
            return rec.capture(leaves[self.leaf])
        return rec.capture(self.value.copy())


class Snippet:
    """The instrs of one call, on places: its operands first, then what it makes.

    Attributes:
        operands: for each operand the leaf that it is, or a `_Captured`.
        steps: (reference, what takes its arguments, params, whether it has one output,
            whether that is to be copied) of each instr; None and the value of a
            constant.
        instrs: (primitive, what takes its arguments, params, the same of the outputs).
        avals: of the outputs.
        looks: (place, bytes) of what the call looked at.
        guards: (before which instr, place, expected, note).
        tracers: how to make the tracers of the result, see `Results`.
        result: what the call gives, their numbers in place of the tracers.
    """

    __slots__ = (
        "avals", "guards", "instrs", "looks", "operands", "result", "steps", "tracers",
    )  # fmt: skip

    def __init__(self, rec: Recorder, noting: Noting, result: Any) -> None:
        places: dict[int, int] = {}
        leaves = noting.leaves
        self.operands: list[Any] = []
        for k, leaf in enumerate(leaves):
            if type(leaf) is not np.ndarray and leaf.ref.index not in places:
                places[leaf.ref.index] = len(self.operands)
                self.operands.append(k)
        for index, array in noting.captures:
            if index not in places:
                places[index] = len(self.operands)
                self.operands.append(_Captured(array, leaves))
        self.avals: list[Aval] = []
        self.instrs: list[Any] = []
        self.steps: list[Any] = []
        self.guards: list[tuple[int, int, Any, str]] = []
        guards = iter(noting.guards)
        for instr in rec.instrs[noting.start :]:
            if any(a not in places for a in instr.args):
                raise Impure
            args = tuple([places[a] for a in instr.args])
            if instr.prim is guard:
                self.guards.append((len(self.instrs), args[0], *next(guards)))
                continue
            for out in instr.outs:
                places[out] = len(self.operands) + len(self.avals)
                self.avals.append(rec.avals[out])
            outs = [places[o] for o in instr.outs]
            self.instrs.append((instr.prim, _taking(args), instr.params, _taking(outs)))
            self.steps.append(_step(rec, instr, args))
        if any(a.size * a.dtype.itemsize >= LARGE for a in self.avals):
            raise Impure
        if not places.keys() >= set(noting.looks):
            raise Impure
        self.looks = [
            (places[index], rec.value(Ref(rec, index, rec.avals[index])).tobytes())
            for index in dict.fromkeys(noting.looks)
        ]
        if any(len(data) > BYTES for _, data in self.looks):
            raise Impure
        results = Results(noting.leaves, places)
        self.result = results.form(result)
        self.tracers = results.tracers

    def stamp(self, rec: Recorder, leaves: list[Any]) -> Any:
        """What the call gives, its instrs on the tape; `_MISS` if it is another one."""
        values = []
        known = rec.values
        for operand in self.operands:
            if type(operand) is int:
                value = known[leaves[operand].ref.index]
                if value is None or type(value) is weakref.ref:
                    return _MISS
            elif operand.leaf >= 0:
                value = rec.value(rec.capture(leaves[operand.leaf]))
            else:
                value = operand.value[()]
            values.append(value)
        if not goes_quietly(rec.error_states, self._compute, values):
            return _MISS
        for place, data in self.looks:
            if values[place].tobytes() != data:
                return _MISS
        return self._put(rec, leaves, values)

    def _compute(self, values: list[Any]) -> None:
        for reference, args, params, single, part in self.steps:
            if reference is None:
                values.append(params)
                continue
            out = reference(*args(values), **params)
            if part:
                out = out.copy()
            if single:
                values.append(out)
            else:
                values += out

    def _put(self, rec: Recorder, leaves: list[Any], values: list[Any]) -> Any:
        source = rec.source = rec.source_at(user_frame())
        places = [
            leaves[o].ref.index if type(o) is int else o.ref(rec, leaves).index
            for o in self.operands
        ]
        count = len(places)
        first = len(rec.values)
        places += range(first, first + len(self.avals))
        rec.values += values[count:]
        rec.avals += self.avals
        instrs = [
            Instr(prim, args(places), params, outs(places), source)
            for prim, args, params, outs in self.instrs
        ]
        if len(instrs) == len(self.avals):
            rec.producers += instrs
        else:
            rec.producers += [instr for instr in instrs for _ in instr.outs]
        done = 0
        for at, place, expected, note in self.guards:
            rec.instrs += instrs[done:at]
            done = at
            rec.guard(rec.ref(places[place]), expected, note)
        rec.instrs += instrs[done:] if done else instrs
        made: list[Any] = []
        for tracer in self.tracers:
            made.append(tracer.make(rec, leaves, places, values, made))
        return filled(self.result, made, leaves)


_MISS = object()


def _step(rec: Recorder, instr: Instr, args: tuple[int, ...]) -> tuple[Any, ...]:
    prim = instr.prim
    part = False
    if prim is _SLICE:
        out, whole = (rec.avals[k].size for k in (*instr.outs, *instr.args))
        part = out * SMALL_PART < whole
    if prim is const:
        return None, args, rec.values[instr.outs[0]], True, False
    return prim.reference, _taking(args), instr.params, prim.n_out == 1, part


def _taking(places: Sequence[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """What takes the items at some places out of a list."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda items: ()
    (place,) = places
    return lambda items: (items[place],)
