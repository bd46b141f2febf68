"""Loops in place of repetitions, on a tape that is being recorded."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..avals import Aval
from ..passes.reroll import Proof, join_rows, reroll, rewrite, unstack
from ..primitive import PRIMITIVES
from ..tape import Instr, Ref, const, inner_tapes
from .memory import own_ref
from .values import Valued

__all__ = ["Rolling"]

#: The aval of refs that loops made superfluous.
_DROPPED = Aval((), np.dtype(np.bool_))


class Rolling(Valued):
    """A builder whose last instrs can be turned into loops.

    Attributes:
        tracers: weak references to those that there are.
        exits: what is known of the guards; `may_end`: whether loops may be ended by
            them.
    """

    exits: Any
    may_end: bool

    def __init__(self, name: str = "tape") -> None:
        super().__init__(name)
        self.tracers: list[weakref.ref] = []
        self._row_of: dict[int, tuple[int, int]] = {}

    def table(self, array: np.ndarray) -> Ref:
        """The input that stands for numbers of the rounds of a loop."""
        raise NotImplementedError

    def roll(self, start: int, wanted: Iterable[Ref] = ()) -> None:
        """Turn repetitions recorded since instr `start` into loops.

        Values that somebody still holds a tracer of, and `wanted`, keep their refs.
        """
        live = self.alive()
        live.update(ref.index for ref in wanted)
        self._join(start, live)
        recorded = self.instrs[start:]
        exits = self.exits if self.may_end else None
        if reroll(self, start, live, self.table, exits, self.producers):
            self._drop(recorded, start)
            self._join(start, live)

    def alive(self) -> set[int]:
        """The refs that somebody holds a tracer of."""
        self.tracers = [alive for alive in self.tracers if alive() is not None]
        refs = [own_ref(alive()) for alive in self.tracers]
        return {ref.index for ref in refs if ref is not None}

    def put_loop(
        self, proof: Proof, stacked: Iterable[tuple[int, int]] = ()
    ) -> dict[tuple[int, int], int]:
        """Replace the last instrs, rounds of a loop, by the loop (see `rounds`).

        Args:
            stacked: (place, output) of what is to be stacked.

        Returns:
            For each of these, the ref of the stack.
        """
        start = proof.run.start
        recorded = self.instrs[start:]
        live = self.alive()
        wanted = proof.places.among(live)
        rolled = rewrite(
            self, proof, wanted, self.constant_at, self.table, None, stacked
        )
        self.replace(start, unstack(self, rolled.instrs, [rolled], live))
        self._drop(recorded, start)
        self.defer(out for instr in self.instrs[start:] for out in instr.outs)
        return rolled.stacks

    def constant_at(self, ref: int) -> Instr | None:
        """The instr that makes a constant, None for other refs."""
        instr = self.producers[ref]
        return instr if instr is not None and instr.prim is const else None

    def row(self, stack: int, at: int) -> Ref:
        """One row of a stack."""
        size = (1, *self.avals[stack].shape[1:])
        params = {
            "start": (at, *[0] * (len(size) - 1)),
            "size": size,
            "step": (1,) * len(size),
        }
        cut = self.emit(PRIMITIVES["slice"], (self.ref(stack),), params)
        row: Ref = self.emit(PRIMITIVES["reshape"], (cut,), {"shape": size[1:]})
        self.defer((cut.index, row.index))
        self.is_row(row.index, stack, at)
        return row

    def is_row(self, ref: int, stack: int, at: int) -> None:
        """Note that a ref is a row of a stack, for when rows are put together."""
        self._row_of[ref] = stack, at

    def _join(self, start: int, live: set[int]) -> None:
        """Take rows that are put together in one piece, and drop those unread."""
        if not self._row_of:
            return
        instrs = join_rows(self, self.instrs[start:], self._row_of, live)
        # First rows that nobody reads, then the slices that they were made of.
        for name, made in (("reshape", self._row_of), ("slice", self._deferred)):
            used = {a for i in instrs for a in i.args} | live
            instrs = [
                i
                for i in instrs
                if i.prim.name != name or i.outs[0] in used or i.outs[0] not in made
            ]
        self.replace(start, instrs)

    def _drop(self, recorded: list[Instr], start: int) -> None:
        """Forget what instrs that are no longer on the tape computed.

        At once, by reference counts: the recorder is part of cycles, and what waits
        for the garbage collector makes everything else slow.
        """
        _keep(self.instrs[start:])
        made = {out for instr in self.instrs[start:] for out in instr.outs}
        values, producers, avals = self.values, self.producers, self.avals
        for instr in recorded:
            for out in instr.outs:
                if out not in made:
                    values[out] = producers[out] = None
                    avals[out] = _DROPPED

    def forget(self, recorded: list[Instr], start: int) -> None:
        """Forget what instrs computed that stood behind instr `start` and are gone."""
        self._drop(recorded, start)


def _keep(instrs: Iterable[Instr]) -> None:
    """Have rules in loops keep the values that are about to be forgotten."""
    for instr in instrs:
        for body in inner_tapes(instr):
            _keep(body.instrs)
        keep = getattr(instr.params.get("rule"), "keep", None)
        if keep is not None:
            keep()
