"""`while` loops that traced values end, seen from guard to guard (`turns`)."""

from __future__ import annotations

from types import FrameType
from typing import Any

from ..passes.reroll import TEST, Differ
from ..tape import Source
from .heads import Heads
from .purity import Rest, check
from .purity.bytecode import Code, Loop
from .purity.values import TOP
from .purity.ways import Landing, goes_to, landing, overwritten_from, twins
from .turns import Turns
from .watch import local_names

__all__ = ["Whiles"]


class Whiles(Turns):
    """Watches one execution of a `while` loop, from guard to guard.

    Args:
        code, loop: where it is, with its entry test.
        place: the guard, a place that each round passes.
        outcome: of the guard if there is another round; None: it leaves no loop.
    """

    def __init__(
        self, rec: Any, code: Code, loop: Loop, place: int, outcome: bool | None
    ) -> None:
        super().__init__(rec, TOP, range(0), False)
        self.seen = Heads(rec, follows_writes=False)
        self.heads = self.seen.all
        self.code, self.loop, self.place = code, loop, place
        self.outcome = outcome
        self.lead = 0 if outcome is None else 1
        self.head = Source(code.code, code.ops[place].offset)
        dead = overwritten_from(code, loop, place)
        self.dead = frozenset(n for n in dead if not code.reads_behind(loop, n))

    def look(self, frame: FrameType) -> None:
        rec, names = self.rec, local_names(frame)
        test = {TEST: rec.instrs[-1].args[0]}
        at = len(rec.instrs) - 1 + self.lead
        self.seen.add(self.code, self.loop, names, self.dead)
        head = self.heads[-1]
        before, after = {**head.before, **test}, {**head.after, **test}
        self.heads[-1] = head._replace(at=at, before=before, after=after)
        self._note_begun(names)
        self._note_unbound(self.code, self.loop, names)

    def _place(self, frame: FrameType) -> tuple[Code, Loop]:
        return self.code, self.loop

    def leave(self, frame: FrameType, place: int, at: int) -> None:
        # What the entry test put on the tape is what each round's test puts there.
        code, instrs = self.code, self.rec.instrs
        inner = code.loop_at(self.place)
        copies = twins(code, inner) if inner is not None and self.heads else {}
        start = self.heads[0].at - self.lead if copies else len(instrs)
        for instr in instrs[start:]:
            source = instr.source
            if isinstance(source, Source) and source.code is code.code:
                copy = copies.get(code.index(source.lasti))
                if copy is not None:
                    instr.source = Source(code.code, code.ops[copy].offset)
        super().leave(frame, place, at)

    def _dead(self, code: Code, loop: Loop) -> frozenset[str]:
        return self.dead

    def _out(self, code: Code, loop: Loop) -> Landing:
        target = None
        if self.outcome is not None:
            target = goes_to(code, self.place, not self.outcome)
        return (
            Landing(object(), self.place) if target is None else landing(code, target)
        )

    def _default(self, code: Code, loop: Loop, states: list[Any]) -> Any:
        if self.outcome is None:
            return lambda mode: None
        return super()._default(code, loop, states)

    def _is_settled(self, name: str, what: Any) -> bool:
        return True

    def _rest(self, frame: FrameType, code: Code, loop: Loop) -> Rest:
        assert self.head is not None
        verdict = check(self._info(frame, code, loop), self.head.lasti)
        if not verdict.ok:
            raise Differ(verdict.reason)
        nothing: frozenset[tuple] = frozenset()
        return Rest(nothing, nothing, verdict.in_place, verdict.heap)

    def _source(self, code: Code, loop: Loop) -> Source:
        op = code.ops[self.place]
        same = (i for i in sorted(loop.body) if code.ops[i].line == op.line)
        at = next((i for i in same if code.place(i) == i != self.place), self.place)
        return Source(code.code, code.ops[at].offset)
