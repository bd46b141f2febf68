"""Recording the body of an explicit loop, once.

The instrs that the body leaves on the recorder are cut off again and become the body of
a `loop`; what does not depend on the iteration stays in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..avals import Aval
from ..errors import ArgumentError, UnsupportedError, message
from ..interpret import GuardFailed, interpret
from ..numpy_api.table import as_tracer
from ..ops.branch import branch
from ..ops.loop import loop
from ..passes.loops import UNLIMITED, first_bound, grown, is_dynamic
from ..passes.segments import checkpointed, is_checkpoint
from ..signature import caller, flatten, structure, unflatten
from ..tape import Builder, Instr, Ref, Tape, guard, inner_tapes
from ..tracer import Recorder, Tracer, base_of, own_ref, where
from .leaves import cast, shape_text

__all__ = ["Marks", "given", "record_function", "record_loop", "require_structure"]


class _Leaf(NamedTuple):
    """One leaf of a carry: its start, and the Python number type it has, if any."""

    ref: Ref
    weak: type | None


class _Run(NamedTuple):
    """One run of the body on the recorder.

    Attributes:
        counter, state, rows: the refs it was given.
        after, ys: what it returned.
        after_spec, ys_spec: the structure of that.
    """

    counter: Ref
    state: list[Ref]
    rows: list[Ref]
    after: list[_Leaf]
    after_spec: Any
    ys: list[Ref]
    ys_spec: Any


class _Values(NamedTuple):
    """What an iteration is given: its number, the carry, a row of each array."""

    counter: int
    state: list[Any]
    rows: list[Any]


#: So often a body is recorded with the values of another iteration.
_ATTEMPTS = 16


def record_loop(
    rec: Recorder,
    what: str,
    step: Callable[[Any, Any, list[Any]], tuple[Any, Any]],
    init: Any,
    xs: list[Any],
    trip: int,
    reverse: bool,
    test: bool = False,
) -> tuple[Any, Any]:
    """Record `carry, y = step(counter, carry, row)` once, as a loop.

    Args:
        test: whether the carry begins with a bool that tells whether the loop goes on,
            and the number of its rounds; behind these comes the user's.
    """
    leaves, spec = flatten(init)
    state = [_leaf(rec, leaf) for leaf in leaves]
    stacks = [as_tracer(rec, x).ref for x in xs]
    marks = Marks(rec)
    first = max(trip - 1, 0) if reverse else 0
    values: _Values | None = None
    for attempt in range(_ATTEMPTS):
        while True:
            run = _run(rec, step, state, spec, stacks, first, trip, values)
            wanted = _promoted(rec, what, state, leaves, spec, run, marks, test)
            if wanted is None:
                break
            state = wanted
        inside = marks.cut(what, [run.counter, *run.state, *run.rows])
        body, consts = _body_tape(rec, what, run, inside)
        args = [*consts, *(leaf.ref for leaf in state), *stacks]
        params = {
            "body": body,
            "trip": trip,
            "consts": len(consts),
            "carries": len(state),
            "reverse": reverse,
        }
        if test:
            params |= {"test": True, "family": rec.new(run.counter.aval).index}
        try:
            outs = _apply(rec, args, params)
            break
        except GuardFailed:
            # A batch in the body takes paths there that its first iteration has not.
            values = _failing(rec, args, params)
            if values is None or attempt == _ATTEMPTS - 1:
                raise
            marks.undo()
    marks.forget()
    if test:
        _end(rec, outs[0], int(rec.value(outs[1])))
    final = [rec.tracer(o, leaf.weak) for o, leaf in zip(outs, state, strict=False)]
    stacked = [rec.tracer(o) for o in outs[len(state) :]]
    return unflatten(spec, final), unflatten(run.ys_spec, stacked)


def record_function(
    rec: Recorder, what: str, fun: Callable, x: Tracer
) -> tuple[Tape, list[Tracer]]:
    """A function of one array as a tape, with the traced values that it uses.

    Returns:
        The tape, its inputs an integer that means nothing, the values from outside and
        last `x`; and those values.
    """
    state = [_leaf(rec, x)]
    _, spec = flatten(x)
    marks = Marks(rec)
    run = _run(rec, lambda _, x, rows: (fun(x), ()), state, spec, [], 0, 1)
    inside = marks.cut(what, [run.counter, *run.state], "")
    tape, consts = _body_tape(rec, what, run, inside)
    marks.forget()
    return tape, [rec.tracer(ref) for ref in consts]


def _apply(rec: Recorder, args: list[Ref], params: dict[str, Any]) -> tuple[Ref, ...]:
    """Put the loop on the tape, with room for the rounds of all loops in it."""
    if is_checkpoint(params["body"]) and not is_dynamic(params):
        return checkpointed(rec, args, params)
    while True:
        try:
            outs: tuple[Ref, ...] = rec.apply(loop, args, params)
            return outs
        except GuardFailed as failed:
            body = grown(params["body"], failed.exit, UNLIMITED)
            if body is None:
                raise
            params = {**params, "body": body}


def _failing(rec: Recorder, args: list[Ref], params: dict[str, Any]) -> _Values | None:
    """What an iteration is given that leaves at a guard of the body; None if none."""
    first = params["consts"]
    behind = first + params["carries"]
    values = [rec.value(ref) for ref in args]
    consts, state, xs = values[:first], values[first:behind], values[behind:]
    order = range(params["trip"])
    for k in reversed(order) if params["reverse"] else order:
        if params.get("test") and not state[0]:
            break
        rows = [x[k] for x in xs]
        try:
            outs = interpret(params["body"], [np.int64(k), *consts, *state, *rows])
        except GuardFailed:
            return _Values(k, state, rows)
        state = outs[: params["carries"]]
    return None


def _end(rec: Recorder, go: Ref, rounds: int) -> None:
    """The guard behind a loop with a test, which was run without any bound."""
    made = rec.producers[go.index]
    assert made is not None
    bound = first_bound(rounds)
    made.params = {**made.params, "trip": bound}
    rec.guard(go, False)
    rec.guards[-1] = rec.guards[-1]._replace(bound=bound)


def _leaf(rec: Recorder, leaf: Any) -> _Leaf:
    if type(leaf) is Tracer:
        return _Leaf(as_tracer(rec, leaf).ref, leaf.weak)
    weak = type(leaf) if type(leaf) in (bool, int, float) else None
    return _Leaf(as_tracer(rec, leaf).ref, weak)


def _run(
    rec: Recorder,
    step: Callable,
    state: list[_Leaf],
    spec: Any,
    stacks: list[Ref],
    first: int,
    trip: int,
    values: _Values | None = None,
) -> _Run:
    """Run the body with these values, or those of the first iteration."""
    if values is None:
        empty = [np.zeros(x.shape[1:], x.dtype)[()] for x in stacks]
        begin = [rec.value(x)[first] for x in stacks] if trip else empty
        values = _Values(first, [rec.value(leaf.ref) for leaf in state], begin)
    counter = given(rec, np.int64(values.counter))
    before = [given(rec, value) for value in values.state]
    rows = [given(rec, row) for row in values.rows]
    tracers = [
        rec.tracer(ref, leaf.weak) for ref, leaf in zip(before, state, strict=True)
    ]
    outside, rec.python_rules = rec.python_rules, False
    try:
        carry, y = step(
            rec.tracer(counter, int),
            unflatten(spec, tracers),
            [rec.tracer(row) for row in rows],
        )
    finally:
        rec.python_rules = outside
    after, after_spec = flatten(carry)
    ys, ys_spec = flatten(y)
    return _Run(
        counter,
        before,
        rows,
        [_settled(_leaf(rec, a), b) for a, b in _beside(after, state)],
        after_spec,
        [as_tracer(rec, leaf).ref for leaf in ys],
        ys_spec,
    )


_RANK: dict[type | None, int] = {bool: 0, int: 1, float: 2, None: 3}


def _beside(after: list[Any], state: list[_Leaf]) -> list[tuple[Any, _Leaf | None]]:
    """What comes out beside what went in; a carry of another structure fails later."""
    return [(a, state[k] if k < len(state) else None) for k, a in enumerate(after)]


def _settled(after: _Leaf, before: _Leaf | None) -> _Leaf:
    """A Python number that comes out takes the dtype that went in."""
    if before is None or not after.weak or _RANK[before.weak] < _RANK[after.weak]:
        return after
    return _Leaf(cast(after.ref, before.ref.dtype), before.weak)


def given(rec: Recorder, value: Any) -> Ref:
    """A ref that no instr defines, of a body alone, with a value."""
    ref = rec.new(Aval(np.shape(value), value.dtype))
    rec.values[ref.index] = value
    return ref


def _promoted(
    rec: Recorder,
    what: str,
    state: list[_Leaf],
    leaves: list[Any],
    spec: Any,
    run: _Run,
    marks: Marks,
    rounds: bool,
) -> list[_Leaf] | None:
    """None if the carry came out as it went in; else the carry to start again with.

    A Python number takes the dtype of what it meets, so it may start as a 0.0 and
    come out as a float32.
    """
    if run.after_spec != spec:
        _refuse_carry(what, f"the structure {spec}", f"{run.after_spec}")
    pairs = list(zip(state, run.after, strict=True))
    for k, (leaf, (before, after)) in enumerate(zip(leaves, pairs, strict=True)):
        same = before.ref.dtype == after.ref.dtype or before.weak
        if before.ref.shape != after.ref.shape or not same:
            path = spec.accessors()[k][1 if rounds else 0 :].codify("")
            name = f"carry{path}" if path else "the carry"
            _refuse_carry(what, shape_text(leaf), repr(after.ref.aval), name)
    if all(b.weak == a.weak and b.ref.dtype == a.ref.dtype for b, a in pairs):
        return None
    marks.undo()
    return [_Leaf(cast(b.ref, a.ref.dtype), a.weak) for b, a in pairs]


def require_structure(what: str, before: Any, after: Any) -> None:
    """Refuse a carry that comes out with another structure."""
    old, new = structure(before), structure(after)
    if old != new:
        _refuse_carry(what, f"the structure {old}", f"{new}")


def _refuse_carry(
    what: str, before: str, after: str, name: str = "the carry"
) -> NoReturn:
    raise ArgumentError(
        message(
            f"{what}: {name} goes in as {before} and comes out as {after}",
            where=caller(),
            way_out="Return a carry of the structure, shapes and dtypes that it has at "
            "the start",
        )
    )


class Marks:
    """Where the recorder stood before the body was recorded."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec
        self.instrs, self.guards = len(rec.instrs), len(rec.guards)
        alive = [t for found in rec.tracers if (t := found()) is not None]
        self.before = [(t, type(t), own_ref(t)) for t in alive]
        self.known = {id(t) for t in alive}
        self.kept: set[int] = set()

    def undo(self) -> None:
        """Forget a run of the body."""
        self.rec.replace(self.instrs, [])
        self.rec.exits.drop([(self.guards, len(self.rec.guards))])

    def cut(
        self,
        what: str,
        inputs: list[Ref],
        otherwise: str = ", or a Python loop instead of the scan",
    ) -> list[Instr]:
        """Take off what depends on `inputs`; the rest stays, in front of the loop."""
        rec = self.rec
        varying = {ref.index for ref in inputs}
        inside, outside = [], []
        for instr in rec.instrs[self.instrs :]:
            if varying.isdisjoint(instr.args):
                outside.append(instr)
                continue
            varying.update(instr.outs)
            inside.append(instr)
            if _decides(rec, instr):
                raise UnsupportedError(
                    message(
                        f"Python code in a {what} decides on a value that differs "
                        "between iterations",
                        where=where(instr.source),
                        way_out="Write cond(condition, f, g) or np.where(condition, a,"
                        f" b) instead of if{otherwise}",
                    )
                )
        self.require_no_writes(
            f"the body of a {what}", "Make the array part of the carry"
        )
        rec.replace(self.instrs, outside)
        self.kept = {out for instr in outside for out in instr.outs}
        return inside

    def require_no_writes(
        self, what: str, way_out: str, own: Sequence[Any] = ()
    ) -> None:
        """Refuse writes into arrays that were there before.

        Args:
            own: those that may be written to.
        """
        free = {id(x) for x in own}
        for tracer, kind, ref in self.before:
            if id(tracer) in free or (
                type(tracer) is Tracer and id(base_of(tracer)) in free
            ):
                continue
            now = own_ref(tracer)
            # A view without a ref is one whose owner was written to.
            same = now is None if ref is None else now and now.index == ref.index
            if type(tracer) is not kind or (not same and ref is not None):
                raise UnsupportedError(
                    message(
                        f"{what} writes to an array from outside",
                        where=caller(),
                        way_out=way_out,
                    )
                )

    def forget(self) -> None:
        """Values of the body that somebody kept mean nothing outside."""
        gone = Recorder("the body of a loop")
        gone.closed = True
        # What does not depend on the iteration is still there: captured arrays, and
        # what stands in front of the loop.
        stays = self.kept | set(self.rec.hidden)
        for found in self.rec.tracers:
            tracer = found()
            if tracer is None or id(tracer) in self.known:
                continue
            ref = own_ref(tracer)
            if ref is None or ref.index not in stays:
                tracer.rec = gone


def _decides(rec: Recorder, instr: Instr) -> bool:
    """Whether a guard that stands for no loop is there, or in a side of a branch."""
    if instr.prim is guard:
        return not rec.guards[instr.params["exit"]].bound
    sides = inner_tapes(instr) if instr.prim is branch else []
    return any(_decides(rec, i) for side in sides for i in side.instrs)


def _body_tape(
    rec: Recorder, what: str, run: _Run, inside: list[Instr]
) -> tuple[Tape, list[Ref]]:
    """The body as a tape, and what it needs from outside."""
    outs = [leaf.ref.index for leaf in run.after] + [ref.index for ref in run.ys]
    defined = {ref.index for ref in (run.counter, *run.state, *run.rows)}
    free: dict[int, None] = {}
    for instr in inside:
        free.update(dict.fromkeys(a for a in instr.args if a not in defined))
        defined.update(instr.outs)
    free.update(dict.fromkeys(out for out in outs if out not in defined))
    consts = [rec.ref(index) for index in free]
    builder = Builder(what.rpartition(" ")[2])
    given = [run.counter, *consts, *run.state, *run.rows]
    env = {ref.index: builder.input(ref.aval) for ref in given}
    for instr in inside:
        builder.replay(instr, env)
    return builder.finish([env[out] for out in outs]), consts
