"""Branches: a `branch` instr becomes the programs of its sides inside an If.

Each side is arranged and written like any tape, by an emitter of its own.  A scalar
result is an accumulator that both sides set; an array is memory that both write, or,
where `in_place` says so, that of an operand in which they write.
"""

from __future__ import annotations

from ...program import Accumulate, Buffer, If, Statement
from ...tape import Tape
from .arrange import arrange
from .in_place import InPlace
from .rolled import RolledLoops
from .roots import Root

__all__ = ["Branches"]


class Branches(RolledLoops):
    """Writes `branch` instrs; the emitter of a side is of the same class."""

    def branched(self, root: Root) -> None:
        """A `branch`: what the side that is not taken does is in its block alone."""
        instr = root.instr
        assert instr is not None
        out = self.out
        pred, *given = instr.args
        value = self.element(pred, ())
        operands = {a: self.operand(a) for a in given}
        cells: list[int | Buffer] = []
        for ref in instr.outs:
            aval = self.avals[ref]
            if aval.shape == ():
                cells.append(out.accumulator(aval.dtype, 0))
            else:
                cells.append(self.memory[ref].buffer)
        first = instr.outs[0] if instr.outs else -1
        writing = self.analysis.sides.get(first, (None, None))
        yes, no = (
            self._side(instr.params[name], given, operands, cells, known)
            for name, known in zip(("yes", "no"), writing, strict=True)
        )
        out.body.append(If(value, yes, no))
        for ref, cell in zip(instr.outs, cells, strict=True):
            if isinstance(cell, int):
                self.remember(ref, (), out.read(cell, self.avals[ref].dtype))

    def _side(
        self,
        side: Tape,
        given: list[int],
        operands: dict[int, int | Buffer],
        cells: list[int | Buffer],
        known: InPlace | None,
    ) -> list[Statement]:
        out = self.out
        before = out.enter_side()
        side = side if known is None else known.body
        analysis, roots, level = arrange(side, out.new_unit(), known)
        inner = type(self)(analysis, roots, out)
        for ref, outer in zip(side.inputs, given, strict=True):
            inner.take(ref, operands[outer])
            inner.steady[ref] = self.steady.get(outer, self.base)
        places: dict[int, Buffer] = {}
        for ref, cell in zip(side.outputs, cells, strict=True):
            if isinstance(cell, Buffer) and ref not in inner.args:
                places.setdefault(ref, cell)
        inner.run(level, places)
        for ref, cell in zip(side.outputs, cells, strict=True):
            if isinstance(cell, int):
                value = inner.real(inner.element(ref, ()), side.avals[ref].dtype)
                out.body.append(Accumulate(cell, "set", value))
            else:
                found = places.get(ref) or inner.args[ref]
                if found is not cell:
                    out.copy(cell, found)
        return out.leave_side(before)
