"""Rewriting: the `loop` instr that a proved run becomes.

Refs that are still wanted keep their numbers: a value of the last repetition is an
output of the loop, a value of another repetition is a row of a stacked output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...avals import Aval
from ...primitive import PRIMITIVES
from ...tape import Builder, Instr, Ref, const
from ..segments import checkpointed, is_checkpoint
from .exits import Ending
from .prove import MAX_LAG, Carried, Fixed, Local, Proof, Table

__all__ = ["Rolled", "rewrite"]

INT64 = np.dtype(np.int64)
#: Carries of a loop with a test.
_GO, _COUNT = ("go",), ("count",)


class Rolled(NamedTuple):
    """What comes in the place of a run.

    Attributes:
        instrs: the loop, behind what prepares its operands.
        stacks: for each (place, output) that is stacked, the ref of the stack.
        rows: for refs that are wanted of earlier repetitions, their stack and row.
    """

    instrs: list[Instr]
    stacks: dict[tuple[int, int], int]
    rows: dict[int, tuple[int, int]]


def rewrite(
    builder: Builder,
    proof: Proof,
    wanted: Mapping[int, tuple[int, int, int]],
    constant: Callable[[int], Instr | None],
    table: Callable[[np.ndarray], Ref],
    ending: Ending | None = None,
    stacked: Iterable[tuple[int, int]] = (),
) -> Rolled:
    """The loop for a proof's run; `builder.instrs` stay as they are.

    Args:
        wanted: those of the run's refs that somebody wants, and where they are made.
        constant: the instr that makes a constant, None for other refs.
        table: makes a hidden input of an array of per-iteration constants.
        ending: how it ends at run time.
        stacked: (place, output) of what is to be stacked in any case.
    """
    before, builder.instrs = builder.instrs, []
    try:
        work = _Rewrite(builder, proof, wanted, constant, table, ending)
        stacks, rows = work.run(stacked)
        return Rolled(builder.instrs, stacks, rows)
    finally:
        builder.instrs, builder.source = before, None


class _Rewrite:
    """One replacement under construction.

    Attributes:
        builder: its instrs are those of the replacement only.
        body: the builder of the body.
        fixed, carried, rows: the body's inputs so far, by what they stand for.
    """

    def __init__(
        self,
        builder: Builder,
        proof: Proof,
        wanted: Mapping[int, tuple[int, int, int]],
        constant: Callable[[int], Instr | None],
        table: Callable[[np.ndarray], Ref],
        ending: Ending | None,
    ) -> None:
        self.builder = builder
        self.ending = ending
        self.proof = proof
        self.table = table
        self.trip = proof.trip
        self.wanted = wanted
        self.constant = constant
        self.body = Builder("body")
        self.counter = self.body.input(Aval((), INT64))
        self.fixed: dict[int, Ref] = {}
        self.carried: dict[Any, Ref] = {}
        self.starts: dict[Any, int] = {}
        self.rows: dict[Any, Ref] = {}
        self.stacks: dict[Any, int] = {}
        self.made: dict[tuple[int, int], Ref] = {}

    def run(
        self, collected: Iterable[tuple[int, int]]
    ) -> tuple[dict[tuple[int, int], int], dict[int, tuple[int, int]]]:
        builder = self.builder
        builder.source = self.proof.body[0].source
        if self.ending is not None:
            self.begin_test(self.ending)
        for place in range(len(self.proof.body)):
            if place or self.ending is None:
                self.instr(place)
        self.latches()
        earlier = {
            (place, out)
            for rep, place, out in self.wanted.values()
            if rep != self.trip - 1 and self.ending is None
        }
        stacked = sorted(earlier.union(collected))
        body, carries = self.finish_body(stacked)
        args = [
            *self.fixed,
            *[self.starts[key] for key in carries],
            *self.stacks.values(),
        ]
        avals = [body.avals[r] for r in body.outputs]
        outs = []
        taken: set[int] = set()
        for key, aval in zip(carries, avals, strict=False):
            ref = self.last(key)
            if ref is None or ref not in self.wanted or ref in taken:
                ref = builder.new(aval).index
            taken.add(ref)
            outs.append(ref)
        rows_of: dict[tuple[int, int], int] = {}
        for spot, aval in zip(stacked, avals[len(carries) :], strict=True):
            ref = builder.new(Aval((self.trip, *aval.shape), aval.dtype)).index
            rows_of[spot] = ref
            outs.append(ref)
        params = {
            "body": body,
            "trip": self.trip,
            "consts": len(self.fixed),
            "carries": len(carries),
            "reverse": False,
        }
        if self.ending is not None:
            family = builder.new(Aval((), INT64)).index  # a number of its own
            params |= {"trip": self.ending.bound, "test": True}
            params["family"] = family
            if self.ending.most:
                params["most"] = self.ending.most
        if self.ending is None and is_checkpoint(body):
            self.in_segments(args, params, outs)
        else:
            self.append(PRIMITIVES["loop"], args, params, outs)
        row_of = {
            ref: (rows_of[place, out], rep)
            for ref, (rep, place, out) in self.wanted.items()
            if (place, out) in rows_of
        }
        return rows_of, row_of

    def in_segments(
        self, args: list[int], params: dict[str, Any], outs: list[int]
    ) -> None:
        """A loop over a checkpointed function keeps the starts of segments."""
        refs = [self.builder.ref(a) for a in args]
        found = checkpointed(self.builder, refs, params)
        for ref, out in zip(found, outs, strict=True):
            self.append(PRIMITIVES["copy"], [ref.index], {}, [out])

    # -- the body ----------------------------------------------------------------

    def instr(self, place: int) -> None:
        first = self.proof.body[place]
        varying = self.proof.varying[place]
        self.body.source = first.source
        name = first.prim.name
        if name == "slice" and varying:
            self.made[place, 0] = self.moving_slice(place)
            return
        if name == "const" and varying:
            self.made[place, 0] = self.changing_const(
                varying["value"].values, first.params["dtype"]
            )
            return
        args = [self.operand(o) for o in self.proof.operands[place]]
        if name == "update" and varying:
            self.made[place, 0] = self.moving_update(place, args)
            return
        if name == "guard" and self.ending is not None:
            # Which round it is does not matter: the recording that follows tells.
            self.body.emit(first.prim, args, first.params)
            return
        if name == "guard":
            exits = varying["exit"].values
            number = self.changing_const(tuple([e - exits[0] for e in exits]), INT64)
            if len(args) > 1:
                number = PRIMITIVES["add"](args[1], number)
            params = {**first.params, "exit": exits[0]}
            self.body.emit(first.prim, [args[0], number], params)
            return
        params = first.params
        if name == "loop" and varying:
            params = {**params, "trip": max(varying["trip"].values)}
        out = self.body.emit(first.prim, args, params)
        outs = (out,) if first.prim.n_out == 1 else tuple(out)
        for k, ref in enumerate(outs):
            self.made[place, k] = ref

    def operand(self, operand: Any) -> Ref:
        match operand:
            case Fixed(ref):
                return self.fixed_input(ref)
            case Local(place, out):
                return self.made[place, out]
            case Table(refs):
                return self.row_of_refs(refs)
            case Carried(place, out, lag, starts):
                return self.carried_input(place, out, lag, starts)
        raise AssertionError(operand)

    def fixed_input(self, ref: int) -> Ref:
        instr = self.constant(ref)
        if instr is not None:
            # A constant belongs into the body: the emitter hoists it anyway.
            key = ("const", repr(instr.params["value"]), instr.params["dtype"])
            if key not in self.rows:
                self.rows[key] = self.body.emit(const, (), instr.params)
            return self.rows[key]
        if ref not in self.fixed:
            self.fixed[ref] = self.body.new(self.builder.avals[ref])
        return self.fixed[ref]

    def carried_input(
        self, place: int, out: int, lag: int, starts: tuple[int, ...]
    ) -> Ref:
        """The value `lag` iterations old; older ones are handed on one by one."""
        key = (place, out, lag, starts)
        if key not in self.carried:
            self.carried[key] = self.body.new(self.builder.avals[starts[0]])
            self.starts[key] = starts[0]
            if lag > 1:
                self.carried_input(place, out, lag - 1, starts[1:])
        return self.carried[key]

    def row_of_refs(self, refs: tuple[int, ...]) -> Ref:
        if refs not in self.rows:
            self.rows[refs] = self.body.new(self.builder.avals[refs[0]])
            self.stacks[refs] = self.stack(refs)
        return self.rows[refs]

    def changing_const(self, values: Sequence[Any] | np.ndarray, dtype: Any) -> Ref:
        """A constant per iteration: computed from the counter if that is exact."""
        array = np.asarray(values)
        if dtype.kind in "iu" and array.dtype.kind in "iu" and _is_even(array):
            first, step = int(array[0]), int(array[1]) - int(array[0])
            moved = self.counter * step if step != 1 else self.counter
            moved = moved + first if first else moved
            return moved if dtype == INT64 else PRIMITIVES["cast"](moved, dtype=dtype)
        array = np.array(values, dtype)
        key = ("table", array.tobytes(), dtype)
        if key not in self.rows:
            self.rows[key] = self.body.new(Aval((), dtype))
            self.stacks[key] = self.table(array).index
        return self.rows[key]

    def moving_slice(self, place: int) -> Ref:
        """A slice whose start moves: rows of a strided slice where it moves evenly
        over a loop-invariant array, else a gather at computed positions."""
        first = self.proof.body[place]
        starts = np.array(self.proof.varying[place]["start"].values, np.int64)
        size, step = first.params["size"], first.params["step"]
        operand = self.proof.operands[place][0]
        moving = [k for k in range(len(size)) if (starts[:, k] != starts[0, k]).any()]
        out_shape = self.builder.avals[first.outs[0]].shape
        if isinstance(operand, Fixed) and len(moving) == 1 and _is_even(starts):
            (axis,) = moving
            pace = int(starts[1, axis] - starts[0, axis])
            if size[axis] == 1:
                return self.row_of_slice(operand.ref, first, axis, pace, out_shape)
        array = self.operand(operand)
        for k in range(len(size)):
            n = array.shape[k]
            if k in moving:
                first_at = self.changing_const(starts[:, k], INT64)
                params = {"shape": (size[k],), "axis": 0, "dtype": INT64}
                along = self.body.emit(PRIMITIVES["iota"], (), params)
                at = along * step[k] + first_at
                array = PRIMITIVES["gather"](array, at, axis=k)
            elif (int(starts[0, k]), size[k], step[k]) != (0, n, 1):
                whole = [(0, m, 1) for m in array.shape]
                whole[k] = (int(starts[0, k]), size[k], step[k])
                begin, length, stride = zip(*whole, strict=True)
                array = PRIMITIVES["slice"](
                    array, start=begin, size=length, step=stride
                )
        return array

    def moving_update(self, place: int, args: list[Ref]) -> Ref:
        """A write whose place moves: its start is computed in each iteration."""
        first = self.proof.body[place]
        starts = np.array(self.proof.varying[place]["start"].values, np.int64)
        params, (old, part, *at) = first.params, args
        start, axes = list(params["start"]), list(params["axes"])
        for k in range(starts.shape[1]):
            if (starts[:, k] == starts[0, k]).all():
                continue
            start[k] = 0
            moved = self.changing_const(starts[:, k], INT64)
            if k in axes:
                number = axes.index(k)
                at[number] = at[number] + moved
            else:
                axes.append(k)
                at.append(moved)
        params = {**params, "start": tuple(start), "axes": tuple(axes)}
        out: Ref = self.body.emit(first.prim, [old, part, *at], params)
        return out

    def row_of_slice(
        self, ref: int, first: Instr, axis: int, pace: int, out_shape: tuple[int, ...]
    ) -> Ref:
        start, size, step = (first.params[k] for k in ("start", "size", "step"))
        key = ("rows", ref, start, size, step, axis, pace)
        if key not in self.rows:
            size = (*size[:axis], self.trip, *size[axis + 1 :])
            step = (*step[:axis], pace, *step[axis + 1 :])
            rows = self.prepare(
                "slice", [ref], {"start": start, "size": size, "step": step}
            )
            if axis:
                perm = (axis, *[k for k in range(len(size)) if k != axis])
                rows = self.prepare("transpose", [rows], {"perm": perm})
            self.stacks[key] = rows
            shape = self.builder.avals[rows].shape[1:]
            self.rows[key] = self.body.new(Aval(shape, self.builder.avals[ref].dtype))
        row = self.rows[key]
        return (
            PRIMITIVES["reshape"](row, shape=out_shape)
            if row.shape != out_shape
            else row
        )

    def begin_test(self, ending: Ending) -> None:
        """The first two carries: whether the loop goes on, and its iterations."""
        tested = self.proof.operands[0][0]
        assert isinstance(tested, Carried)
        if ending.expected:
            self.carried_input(*tested)
        else:
            self.starts[_GO] = self.prepare("logical_not", [tested.starts[0]], {})
            self.carried[_GO] = self.body.new(self.builder.avals[tested.starts[0]])
        zero = self.prepare("const", [], {"value": 0, "dtype": INT64})
        self.starts[_COUNT] = zero
        self.carried[_COUNT] = self.body.new(self.builder.avals[zero])

    def latches(self) -> None:
        """Values of the last iteration that are wanted become carries, too."""
        if self.ending is not None:
            for (place, out, lag), starts in self.ending.starts.items():
                self.carried_input(place, out, lag, starts)
            return
        last = self.trip - 1
        known = {(k[0], k[1]) for k in self.carried if k[2] == 1}
        for rep, place, out in self.wanted.values():
            if rep == last and (place, out) not in known:
                known.add((place, out))
                ref = self.proof.body[place].outs[out]
                aval = self.builder.avals[ref]
                zero = self.prepare(
                    "const", [], {"value": _zero(aval), "dtype": aval.dtype}
                )
                if aval.shape:
                    zero = self.prepare("broadcast_to", [zero], {"shape": aval.shape})
                key = (place, out, 1, (zero,))
                self.carried[key] = self.body.new(aval)
                self.starts[key] = zero

    def finish_body(self, stacked: Sequence[tuple[int, int]]) -> tuple[Any, list[Any]]:
        carries = list(self.carried)
        new = []
        for key in carries:
            if key is _COUNT:
                new.append(self.carried[key] + 1)
                continue
            if key is _GO:
                tested = self.proof.operands[0][0]
                assert isinstance(tested, Carried)
                value = self.made[tested.place, tested.out]
                new.append(PRIMITIVES["logical_not"](value))
                continue
            place, out, lag, starts = key
            if lag == 1:
                new.append(self.made[place, out])
            else:
                new.append(self.carried[place, out, lag - 1, starts[1:]])
        self.body.inputs = [
            self.counter.index,
            *[r.index for r in self.fixed.values()],
            *[self.carried[key].index for key in carries],
            *[self.rows[key].index for key in self.stacks],
        ]
        self.body.source = None
        return self.body.finish([*new, *[self.made[s] for s in stacked]]), carries

    def last(self, key: Any) -> int | None:
        """The ref that a carry's final value has outside."""
        if key is _GO or key is _COUNT:
            return None
        place, out, lag, starts = key
        if self.ending is None and lag > 1:
            return None
        if self.ending and self.ending.starts.get((place, out, lag)) != starts:
            return None
        made = self.proof.places.made
        if lag > min(MAX_LAG, len(made)):
            return None
        return int(made[-lag, self.proof.places.column(place, out)])

    # -- outside --------------------------------------------------------------------

    def prepare(self, name: str, args: list[int], params: dict[str, Any]) -> int:
        """Emit an instr in front of the loop."""
        refs = [self.builder.ref(a) for a in args]
        out: Ref = self.builder.emit(PRIMITIVES[name], refs, params)
        return out.index

    def stack(self, refs: tuple[int, ...]) -> int:
        shape = self.builder.avals[refs[0]].shape
        rows = [self.prepare("reshape", [r], {"shape": (1, *shape)}) for r in refs]
        return self.prepare("concatenate", rows, {"axis": 0})

    def append(
        self, prim: Any, args: list[int], params: dict[str, Any], outs: list[int]
    ) -> None:
        builder = self.builder
        builder.append(
            prim, [builder.ref(a) for a in args], params, [builder.ref(o) for o in outs]
        )


def _is_even(values: np.ndarray) -> bool:
    """Whether the steps from each row to the next are equal."""
    return bool((np.diff(values, 2, axis=0) == 0).all())


def _zero(aval: Aval) -> Any:
    return aval.dtype.type(0).item()
