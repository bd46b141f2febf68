"""`scan`, `fori_loop`, `cond`: loops and branches for those who want them explicit.

A plain Python loop is found again by `reroll`, so none of these is needed for speed.
They record the body once instead of once per iteration: the instrs that it leaves on
the recorder are cut off again and become the body of a `loop`; what does not depend
on the iteration stays in front of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..avals import Aval
from ..dispatch import session_function
from ..errors import ArgumentError, UnsupportedError, message
from ..numpy_api.table import as_tracer
from ..ops.loop import loop
from ..passes.segments import checkpointed, is_checkpoint
from ..signature import caller, flatten, unflatten
from ..tape import Builder, Instr, Ref, Tape, guard
from ..tracer import Recorder, Tracer, active_recorder, where
from .leaves import cast, function_name, shape_text

__all__ = ["cond", "fori_loop", "scan"]

_I64 = np.dtype(np.int64)


def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Run `carry, y = f(carry, x)` over the rows of `xs`; stack the y.

    Args:
        f: takes the carry and a row of `xs` (of every leaf), returns a pair: the next
            carry, of the same structure, shapes and dtypes, and anything.
        init: the first carry, any pytree.
        xs: pytree of arrays with the same first axis; None to run `length` times.
        length: the number of iterations, where `xs` does not tell.
        reverse: from the last row to the first; the y stand where their row does.

    Returns:
        The last carry, and the y with a new first axis.  If `f` is a `checkpoint`ed
        function, the backward pass needs memory for the square root of the iterations
        only and computes the rest again.

    Raises:
        ArgumentError: lengths differ, or the carry changes its shape or dtype.
        UnsupportedError: Python code in `f` decides on a value of the iteration.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> def step(total, x):
        ...     total = total + x
        ...     return total, total * x
        >>> scan(step, 0.0, np.array([1.0, 2.0, 3.0]))
        (np.float64(6.0), array([ 1.,  6., 18.]))
        >>> grad(lambda x: scan(step, 0.0, x)[0] ** 2)(np.array([1.0, 2.0]))
        array([6., 6.])
    """
    rows, spec = flatten(xs)
    trip = _length(rows, length)
    rec = active_recorder()
    if rec is None:
        return _scan_now(f, init, rows, spec, trip, reverse)
    fun = session_function(rec, f)

    def step(counter: Any, carry: Any, x: list[Any]) -> tuple[Any, Any]:
        out = fun(carry, unflatten(spec, x))
        _require_pair(f, out)
        return out

    return _record(rec, f"scan of {function_name(f)}", step, init, rows, trip, reverse)


def fori_loop(lower: int, upper: int, body_fun: Callable, init_val: Any) -> Any:
    """Run `value = body_fun(i, value)` for i from `lower` up to `upper`.

    Args:
        lower, upper: the bounds, `upper` not included.
        body_fun: takes the counter and the value, returns the next value, of the same
            structure, shapes and dtypes.
        init_val: the first value, any pytree.

    Example:
        >>> from tracejit import grad
        >>> fori_loop(1, 5, lambda i, product: product * i, 1)
        24
        >>> grad(lambda x: fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
        np.float64(12.0)
    """
    lower, upper = operator.index(lower), operator.index(upper)
    rec = active_recorder()
    if rec is None or upper <= lower:
        value = _own(init_val)
        for i in range(lower, upper):
            value = body_fun(i, value)
        return value
    fun = session_function(rec, body_fun)

    def step(counter: Any, value: Any, x: list[Any]) -> tuple[Any, Any]:
        return fun(counter + lower if lower else counter, value), None

    name = f"fori_loop of {function_name(body_fun)}"
    return _record(rec, name, step, init_val, [], upper - lower, False)[0]


def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any) -> Any:
    """`true_fun(*operands)` if `pred` else `false_fun(*operands)`.

    Like a Python `if`: the side taken is recorded, and another outcome of `pred` is
    another path.

    Example:
        >>> import numpy as np
        >>> cond(True, np.sin, np.cos, 0.0)
        np.float64(0.0)
    """
    return true_fun(*operands) if pred else false_fun(*operands)


# --- without a recording


def _length(rows: Sequence[Any], length: int | None) -> int:
    found = {np.shape(x)[0] if np.ndim(x) else None for x in rows}
    if length is not None:
        found.add(operator.index(length))
    known = [n for n in found if n is not None]
    if len(known) == len(found) == 1:
        return known[0]
    got = ", ".join(shape_text(x) for x in rows) or "no arrays"
    given = "" if length is None else f" and length={length}"
    raise ArgumentError(
        message(
            f"scan over {got}{given}",
            where=caller(),
            way_out="Give arrays of one length, or length=",
        )
    )


def _require_pair(f: Callable, out: Any) -> None:
    if not (isinstance(out, tuple) and len(out) == 2):
        raise ArgumentError(
            message(
                f"scan: {function_name(f)} returned {shape_text(out)}",
                where=caller(),
                way_out="Return a pair (carry, y); y may be None",
            )
        )


def _own(carry: Any) -> Any:
    """The carry in containers that the body may write to, as in a recording."""
    leaves, spec = flatten(carry)
    return unflatten(spec, leaves)


def _scan_now(
    f: Callable, carry: Any, rows: list[Any], spec: Any, trip: int, reverse: bool
) -> tuple[Any, Any]:
    carry = _own(carry)
    found: list[Any] = [None] * trip
    shape: Any = flatten(None)[1]
    for i in range(trip - 1, -1, -1) if reverse else range(trip):
        out = f(carry, unflatten(spec, [x[i] for x in rows]))
        _require_pair(f, out)
        carry = out[0]
        found[i], shape = flatten(out[1])
    if not trip:
        # What there would be in an iteration tells the shapes.
        with np.errstate(all="ignore"):
            zeros = [np.zeros(np.shape(x)[1:], np.asarray(x).dtype)[()] for x in rows]
            leaves, shape = flatten(f(carry, unflatten(spec, zeros))[1])
        return carry, unflatten(shape, [np.asarray(y)[None][:0] for y in leaves])
    return carry, unflatten(shape, map(np.stack, zip(*found, strict=True)))


# --- recording


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


def _record(
    rec: Recorder,
    what: str,
    step: Callable[[Any, Any, list[Any]], tuple[Any, Any]],
    init: Any,
    xs: list[Any],
    trip: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """Record `carry, y = step(counter, carry, row)` once, as a loop."""
    leaves, spec = flatten(init)
    state = [_leaf(rec, leaf) for leaf in leaves]
    stacks = [as_tracer(rec, x).ref for x in xs]
    marks = _Marks(rec)
    first = max(trip - 1, 0) if reverse else 0
    while True:
        run = _run(rec, step, state, spec, stacks, first, trip)
        wanted = _promoted(rec, what, state, leaves, spec, run, marks)
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
    if is_checkpoint(body):
        outs = checkpointed(rec, args, params)
    else:
        outs = rec.apply(loop, args, params)
    marks.forget()
    final = [rec.tracer(o, leaf.weak) for o, leaf in zip(outs, state, strict=False)]
    stacked = [rec.tracer(o) for o in outs[len(state) :]]
    return unflatten(spec, final), unflatten(run.ys_spec, stacked)


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
) -> _Run:
    """Run the body with the values of the first iteration."""
    counter = _given(rec, np.int64(first))
    before = [_given(rec, rec.value(leaf.ref)) for leaf in state]
    rows = []
    for x in stacks:
        empty = np.zeros(x.shape[1:], x.dtype)[()]
        rows.append(_given(rec, rec.value(x)[first] if trip else empty))
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


def _given(rec: Recorder, value: Any) -> Ref:
    """A ref of the body alone, with a value."""
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
    marks: _Marks,
) -> list[_Leaf] | None:
    """None if the carry came out as it went in; else the carry to start again with.

    A Python number takes the dtype of what it meets, so it may start as a 0.0 and
    come out as a float32.
    """
    if run.after_spec != spec:
        _refuse_carry(what, f"the structure {spec}", f"{run.after_spec}")
    pairs = list(zip(state, run.after, strict=True))
    for leaf, (before, after) in zip(leaves, pairs, strict=True):
        same = before.ref.dtype == after.ref.dtype or before.weak
        if before.ref.shape != after.ref.shape or not same:
            _refuse_carry(what, shape_text(leaf), repr(after.ref.aval))
    if all(b.weak == a.weak and b.ref.dtype == a.ref.dtype for b, a in pairs):
        return None
    marks.undo()
    return [_Leaf(cast(b.ref, a.ref.dtype), a.weak) for b, a in pairs]


def _refuse_carry(what: str, before: str, after: str) -> NoReturn:
    raise ArgumentError(
        message(
            f"{what}: the carry goes in as {before} and comes out as {after}",
            where=caller(),
            way_out="Return a carry of the structure, shapes and dtypes that it has at "
            "the start",
        )
    )


class _Marks:
    """Where the recorder stood before the body was recorded."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec
        self.instrs, self.guards = len(rec.instrs), len(rec.guards)
        alive = [t for found in rec.tracers if (t := found()) is not None]
        self.before = [(t, t.ref.index) for t in alive]
        self.known = {id(t) for t in alive}

    def undo(self) -> None:
        """Forget a run of the body."""
        self.rec.replace(self.instrs, [])
        del self.rec.guards[self.guards :]

    def cut(self, what: str, inputs: list[Ref]) -> list[Instr]:
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
            if instr.prim is guard:
                raise UnsupportedError(
                    message(
                        f"Python code in a {what} decides on a value that differs "
                        "between iterations",
                        where=where(instr.source),
                        way_out="Write np.where(condition, a, b) instead of if, or a "
                        "Python loop instead of the scan",
                    )
                )
        if any(t.ref.index != old and t.ref.index in varying for t, old in self.before):
            raise UnsupportedError(
                message(
                    f"the body of a {what} writes to an array from outside",
                    where=caller(),
                    way_out="Make the array part of the carry",
                )
            )
        rec.replace(self.instrs, outside)
        return inside

    def forget(self) -> None:
        """Values of the body that somebody kept mean nothing outside."""
        gone = Recorder("the body of a loop")
        gone.closed = True
        for found in self.rec.tracers:
            tracer = found()
            if tracer is not None and id(tracer) not in self.known:
                tracer.rec = gone


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
