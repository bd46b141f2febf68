"""Rolled loops: a `loop` instr becomes its body's program inside a For.

The body is arranged and written like any tape, by an emitter of its own, which is told
where the body's inputs are and where its results have to go.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...program import (
    STATIC_LIMIT,
    Accumulate,
    Affine,
    Break,
    Buffer,
    Size,
    Swap,
)
from ...tape import Instr
from .arrange import arrange
from .elements import Elements
from .in_place import in_place
from .place import Level
from .roots import Analysis, Root
from .storage import new_buffer
from .writer import BOOL, INT64, Writer

__all__ = ["RolledLoops"]


class RolledLoops(Elements):
    """Writes `loop` instrs; the emitter of the body is of the same class."""

    def __init__(self, analysis: Analysis, roots: list[Root], out: Writer) -> None:
        super().__init__(analysis, out)
        self.roots = roots
        #: Where loops hold what they carry, by their results; else new buffers.
        self.places: dict[int, Buffer] = {}

    if TYPE_CHECKING:
        # `emit.Emitter` writes the rest of a tape.
        def run(self, level: Level, outputs: dict[int, Buffer]) -> None: ...

    def rolled(self, root: Root) -> None:
        """A `loop`: its body's program inside a For, its state beside it.

        A scalar that is carried is an accumulator.  A carried array is two buffers,
        old and new, that change places at the end of each iteration; small ones are
        copied, so that they can stay in registers.  The old one is where the result
        has to be, or where the start is if nobody needs that any more (`hand_over`).
        One that is written in place (`in_place`) is one buffer.
        """
        instr = root.instr
        assert instr is not None
        params, out = instr.params, self.out
        n_fixed, n_state = params["consts"], params["carries"]
        known = in_place(params["body"], n_fixed, n_state)
        body = known.body
        unit = out.new_unit()
        analysis, roots, level = arrange(body, unit, known)
        trip = self.trip(instr, unit)
        fixed, start, xs = _split(instr.args, n_fixed, n_state)
        counter, fixed_in, state_in, xs_in = (
            body.inputs[0],
            *_split(body.inputs[1:], n_fixed, n_state),
        )
        operands = {a: self.operand(a) for a in instr.args}
        state: dict[int, int | Buffer] = {}
        for ref, inner, result in zip(start, state_in, instr.outs, strict=False):
            given = operands[ref]
            aval = analysis.avals[inner]
            if isinstance(given, int):
                state[inner] = out.new_accumulator(aval.dtype, given)
                continue
            held = self.places.get(result)
            if held is None:
                held = new_buffer(out.program, aval.shape, aval.dtype)
            if held is not given:
                out.copy(held, given)
            state[inner] = held
        var = out.enter()
        count: int | None = None
        if params.get("test"):
            first = state[state_in[0]]
            assert isinstance(first, int)
            out.body.append(Break(out.read(first, BOOL)))
        if params.get("counted"):
            given = operands[fixed[0]]
            assert isinstance(given, int)
            count = given
        upwards = Affine(var, 1, 0)
        step: Affine | int = upwards
        if params["reverse"] and count is not None:
            last = out.let("sub", (count, out.constant(1, INT64)), INT64)
            now = step = out.let("sub", (last, out.counter(upwards)), INT64)
        else:
            step = Affine(var, -1, _less(trip)) if params["reverse"] else upwards
            now = out.counter(step)
        inner = type(self)(analysis, roots, out)
        inner.remember(counter, (), now)
        for ref, given in zip(fixed_in, fixed, strict=True):
            inner.take(ref, operands[given])
            inner.steady[ref] = self.steady.get(given, self.base)
        for ref, place in state.items():
            if isinstance(place, int):
                inner.remember(ref, (), out.read(place, body.avals[ref].dtype))
            else:
                inner.args[ref] = place
        for ref, given in zip(xs_in, xs, strict=True):
            stack = operands[given]
            assert isinstance(stack, Buffer)
            row = _row(stack, step)
            if row.shape == ():
                inner.remember(ref, (), out.load(row, (), out.depth))
            else:
                inner.args[ref] = row
        targets: list[Buffer | None] = []
        for ref in body.outputs[:n_state]:
            aval = analysis.avals[ref]
            kept = ref in known.memory or not aval.shape
            targets.append(
                None if kept else new_buffer(out.program, aval.shape, aval.dtype)
            )
        for ref in instr.outs[n_state:]:
            targets.append(_row(self.memory[ref].buffer, step))
        places: dict[int, Buffer] = {}
        for ref, target in zip(body.outputs, targets, strict=True):
            if target is not None and ref not in inner.args and body.avals[ref].shape:
                places.setdefault(ref, target)
        inner.run(level, places)
        # All new values first: a carry may be another carry's old value.
        new = [
            inner.element(r, ()) if body.avals[r].shape == () else None
            for r in body.outputs
        ]
        for ref, target, value in zip(body.outputs, targets, new, strict=True):
            if target is not None and value is not None:
                out.store(target, (), value)
            elif target is not None and places.get(ref) is not target:
                out.copy(target, places.get(ref) or inner.args[ref])
        for old, target, value in zip(state.values(), targets, new, strict=False):
            if isinstance(old, int):
                assert value is not None
                out.body.append(Accumulate(old, "set", value))
            elif target is not None:
                if old.kind == "local":
                    out.copy(old, target)
                else:
                    out.body.append(Swap(old, target))
        out.leave(var, 0, trip, count)
        for ref, final in zip(instr.outs, state.values(), strict=False):
            if isinstance(final, int):
                self.remember(ref, (), out.read(final, self.avals[ref].dtype))
            elif ref in self.memory and self.memory[ref].buffer is not final:
                out.copy(self.memory[ref].buffer, final)

    def hand_over(self, outputs: dict[int, Buffer]) -> None:
        """Choose where loops hold what they carry, so that less is copied.

        What a loop carries may change its memory for that of another buffer, so it is
        never that of an output.
        """
        tape, memory = self.analysis.tape, self.memory
        reads = Counter(a for i in tape.instrs for a in i.args)

        def is_own(ref: int) -> bool:
            found = memory.get(ref)
            if found is None or ref in outputs or ref in tape.outputs:
                return False
            return found.buffer.kind == "work" and found.buffer.of is None

        # From the end, so that the result of a loop may be the start of the next.
        for instr in reversed([i for i in tape.instrs if i.prim.name == "loop"]):
            starts = instr.args[instr.params["consts"] :]
            for start, result in zip(
                starts[: instr.params["carries"]], instr.outs, strict=False
            ):
                given = is_own(start) and reads[start] == 1
                if is_own(result):
                    self.places[result] = memory[result].buffer
                    if given:
                        self.drop(memory[start].buffer)
                        memory[start] = memory[result]
                elif given:
                    self.places[result] = memory[start].buffer

    def drop(self, buffer: Buffer) -> None:
        """Do without a buffer that was just planned."""
        works = self.out.program.works
        works.remove(buffer)
        for number, other in enumerate(works):
            other.number = number

    def trip(self, instr: Instr, unit: int) -> int:
        """The trip count, as the length that it is of stacks, else as one of its own.

        So it is no length that it equals by chance, and may be another one next time.
        """
        trip: int = instr.params["trip"]
        if trip <= STATIC_LIMIT:
            return trip
        both = instr.params["consts"] + instr.params["carries"]
        stacks = [*instr.args[both:], *instr.outs[instr.params["carries"] :]]
        for ref in stacks:
            return self.avals[ref].shape[0]
        return Size(trip, ((unit, "trip"), 0))

    def operand(self, ref: int) -> int | Buffer:
        """What a loop is given: a scalar value, or the memory of an array."""
        return self.element(ref, ()) if self.avals[ref].shape == () else self.whole(ref)

    def take(self, ref: int, given: int | Buffer) -> None:
        if isinstance(given, int):
            self.remember(ref, (), given)
        else:
            self.args[ref] = given


def _split(items: tuple, first: int, second: int) -> tuple[tuple, tuple, tuple]:
    end = first + second
    return items[:first], items[first:end], items[end:]


def _less(trip: int) -> int:
    if isinstance(trip, Size):
        root, offset = trip.label
        return Size(trip - 1, (root, offset - 1))
    return trip - 1


def _row(stack: Buffer, step: Affine | int) -> Buffer:
    """The row of a stack that an iteration reads or writes."""
    base = stack.of or stack
    shape = stack.shape[1:]
    return Buffer(base.kind, base.number, shape, base.dtype, base, (*stack.at, step))
