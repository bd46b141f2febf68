"""Refs and their values: kept, let go of, and computed again when asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..avals import Aval
from ..ops.loop import loop
from ..primitive import Primitive
from ..tape import Builder, Instr, Ref
from .forks import RecordAgain
from .noting import Noting

__all__ = ["LARGE", "Computed", "Valued"]

#: From this many bytes on, a value is kept only by its refs.  A chain of operations on
#: large arrays then needs the memory that NumPy needs; what a nested transform asks
#: for again is computed again.
LARGE = 1 << 18


class Computed(Ref):
    """A ref that keeps its value alive, for as long as the user's code can see it."""

    __slots__ = ("value",)

    def __init__(self, rec: Builder, index: int, aval: Aval, value: Any) -> None:
        self.builder = rec
        self.index = index
        self.aval = aval
        self.value = value


class Valued(Builder):
    """A builder that knows the values of its refs.

    Attributes:
        values: by ref; None or a dead reference is computed when it is asked for.
        producers: by ref, the instr that makes it.
        holes: refs whose values are those of a round that was left out.
        noting: what takes notes while a call is recorded, see `snippets`.
    """

    def __init__(self, name: str = "tape") -> None:
        super().__init__(name)
        self.values: list[Any] = []
        self.producers: list[Instr | None] = []
        self.holes: set[int] = set()
        self.noting: Noting | None = None
        self._deferred: set[int] = set()

    def new(self, aval: Aval) -> Ref:
        self.values.append(None)
        self.producers.append(None)
        self.avals.append(aval)
        return Ref(self, len(self.avals) - 1, aval)

    def append(
        self,
        prim: Primitive,
        refs: Sequence[Ref],
        params: dict[str, Any],
        outs: Sequence[Ref],
    ) -> None:
        super().append(prim, refs, params, outs)
        instr = self.instrs[-1]
        for out in outs:
            self.producers[out.index] = instr

    def extend(
        self, instr: Instr, params: dict[str, Any], avals: Sequence[Aval]
    ) -> tuple[Ref, ...]:
        refs = super().extend(instr, params, avals)
        for ref in refs:
            self.producers[ref.index] = instr
        return refs

    def defer(self, refs: Iterable[int]) -> None:
        """Forget the values of refs, and compute what depends on them when asked."""
        for index in refs:
            self.values[index] = None
            self._deferred.add(index)

    def replace(self, start: int, instrs: list[Instr], stop: int | None = None) -> None:
        super().replace(start, instrs, stop)
        for instr in instrs:
            for out in instr.outs:
                self.producers[out] = instr

    def producer(self, index: int) -> Instr | None:
        """The instr that made a ref; None of an input."""
        if self.noting is not None and index < self.noting.first:
            self.noting.pure = False
        return self.producers[index]

    # --- values -----------------------------------------------------------------------

    def value(self, ref: Ref) -> Any:
        """The NumPy value of a ref; what transforms emitted is computed now."""
        if self.noting is not None:
            self.noting.looks.append(ref.index)
        found = self._known(ref.index)
        if found is None:
            with np.errstate(all="ignore"):
                found = self.values[ref.index] = self._compute(ref.index)
        return found

    def _known(self, index: int) -> Any:
        """The value of a ref if it was computed and is still there, else None."""
        found = self.values[index]
        return found() if type(found) is weakref.ref else found

    def _compute(self, wanted: int) -> Any:
        """Compute `wanted` and what it needs, without recursion: chains are long."""
        done: dict[int, Any] = {}
        stack = [wanted]
        while stack:
            index = stack[-1]
            if index not in done and (known := self._known(index)) is not None:
                done[index] = known
            if index in done:
                stack.pop()
                continue
            instr = self.producers[index]
            if index in self.holes:
                raise RecordAgain
            assert instr is not None, "inputs have values"
            missing = [a for a in instr.args if a not in done]
            if missing:
                stack.extend(missing)
                continue
            args = [done[a] for a in instr.args]
            if instr.prim is loop:
                out = self.run_loop(instr, args)
            else:
                out = instr.prim.reference(*args, **instr.params)
            outs = (out,) if instr.prim.n_out == 1 else out
            for i, value in zip(instr.outs, outs, strict=True):
                done[i] = value
                if value.nbytes < LARGE:
                    self.values[i] = value
        return done[wanted]

    def run_loop(self, instr: Instr, args: list[Any]) -> Any:
        """The values of a loop's outputs."""
        return loop.reference(*args, **instr.params)
