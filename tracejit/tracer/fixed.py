"""Values from before a loop, as the blocks of its rounds name them (`forks`)."""

from __future__ import annotations

from typing import Any

from ..avals import Aval
from ..passes.reroll import Block, Outer
from ..tape import Instr, Source, const

__all__ = ["Fixed"]

#: Values that their text is not.
_VALUES = {"True": True, "False": False}


class Fixed:
    """Values from before the loop, and their names.

    An argument is known by its number, a captured array by the expression that finds
    it, a constant and a table by what they are.  Everything else has a name that no
    other execution of a loop knows.
    """

    def __init__(self, rec: Any, head: Source, by_name: bool) -> None:
        self.rec, self.head, self.by_name = rec, head, by_name
        self.outside = rec.outside_state()
        self.serial = object()
        self.inputs = {ref: k for k, ref in enumerate(rec.inputs)}
        self.hidden: dict[int, tuple[Any, ...]] = {
            ref: ("table", k) for k, ref in rec.tables()
        }
        if self.outside is not None:
            pairs = zip(rec.slots, self.outside.arrays, strict=True)
            self.hidden |= {rec.hidden[slot]: ("name", text) for slot, text in pairs}
        self.known = {name: ref for ref, name in self.hidden.items()}

    def is_item(self, instr: Instr) -> bool:
        return instr.source == self.head

    def name(self, ref: int) -> tuple[Any, ...]:
        if ref in self.inputs:
            return "input", self.inputs[ref]
        if ref in self.hidden:
            return self.hidden[ref]
        made = self.constant(ref)
        if made is not None:
            name = "const", repr(made.params["value"]), made.params["dtype"]
            self.known.setdefault(name, ref)
            return name
        return "own", self.serial, ref

    def ref(self, name: Any) -> int | None:
        kind, what = name[:2]
        if kind == "input":
            ref: int = self.rec.inputs[what]
            return ref
        if kind == "const" and name not in self.known:
            self.known[name] = self._constant(*name[1:])
        if kind == "own":
            return name[2] if what is self.serial else None
        return self.known.get(name)

    def _constant(self, text: str, dtype: Any) -> int:
        """A constant that no instr of the tape has to make."""
        out = self.rec.new(Aval((), dtype))
        params = {"value": dtype.type(_VALUES.get(text, text)).item(), "dtype": dtype}
        self.rec.producers[out.index] = Instr(const, (), params, (out.index,))
        index: int = out.index
        return index

    def constant(self, ref: int) -> Instr | None:
        made: Instr | None = self.rec.producers[ref]
        return made if made is not None and made.prim is const else None

    def portable(self, tree: Block) -> Block:
        """The tree without what only this execution knows, where names tell as well."""

        def known(operand: Any) -> Any:
            if not isinstance(operand, Outer) or operand.fixed is None:
                return operand
            assert isinstance(operand.fixed, tuple)
            own = operand.fixed[0] == "own" and operand.names
            return operand._replace(fixed=None) if own else operand

        for block in tree.walk():
            for step in block.steps:
                step.operands = [known(o) for o in step.operands]
            block.test = known(block.test)
            block.after = {var: known(o) for var, o in block.after.items()}
        return tree
