"""What a recorder knows about its guards: where they stood, and what names held there.

The numbers of guards change when loops get run-time exits; `watch` knows each visit by
the number that it had when it was recorded.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from types import FrameType
from typing import Any

from ..passes.reroll import Judgement
from ..tape import Instr, Source
from .frames import is_inside
from .purity.bytecode import code_of
from .watch import Watch

__all__ = ["GuardExits"]


class GuardExits:
    """The exits of one recording; see `passes.reroll.exits.Exits`.

    Args:
        guards: the recorder's guards, `GuardInfo`; changed in place.
        traced: the class of traced values.
        inputs, hidden: the recorder's lists of its inputs.

    Attributes:
        watch: what the names held at each guard.
        reasons: why loops kept their number of rounds, sentences for people.
    """

    def __init__(
        self, guards: list[Any], traced: type, inputs: list[int], hidden: list[int]
    ) -> None:
        self.guards = guards
        self._inputs, self._hidden = inputs, hidden
        self.reasons: list[str] = []
        self.watch = Watch(traced, self._look, is_inside)
        self._seen: list[int] = []
        self._visits: list[int] = []
        self._leaves: list[bool | None] = []
        self._held: list[tuple[int, ...]] = []

    def _look(self, value: Any) -> Any:
        self._seen.append(value.ref.index)
        return value.ref.aval, value.weak

    def visit(self, frame: FrameType, outcome: Any) -> None:
        """Note what there is at a guard that is about to be recorded."""
        self._seen = []
        self._leaves.append(self.watch.visit(frame, outcome=outcome))
        self._visits.append(self.watch.number)
        self._held.append(tuple(self._seen))

    # --- for reroll -------------------------------------------------------------------

    def place(self, source: Source) -> Hashable:
        known = code_of(source.code)
        return id(source.code), known.place(known.index(source.lasti))

    def verdict(self, first: int, last: int) -> Judgement:
        source = self.guards[last].source
        visits = self._visits[first], self._visits[last]
        found = self.watch.verdict(source.code, source.lasti, visits)
        rounds = None if found.rounds is None else len(found.rounds)
        ok = found.ok or rounds is not None
        return Judgement(ok, found.reason, rounds, found.in_place)

    def leaves(self, exit: int) -> bool:
        return self._leaves[exit] is True

    def may_stay(self, exit: int) -> bool:
        return self._leaves[exit] is not True

    def held(self, exit: int) -> Sequence[int]:
        return self._held[exit]

    def is_input(self, ref: int) -> bool:
        return ref in self._inputs or ref in self._hidden

    def refuse(self, exit: int, reason: str) -> None:
        source = self.guards[exit].source
        self.note(f"the loop at {source} keeps its number of rounds: {reason}")

    def note(self, text: str) -> None:
        if text not in self.reasons:
            self.reasons.append(text)

    def bounded(self, exit: int, bound: int) -> None:
        self.guards[exit] = self.guards[exit]._replace(bound=bound)

    def keep(
        self,
        start: int,
        instrs: Sequence[Instr],
        own: Container[Instr],
        more: Sequence[Any] = (),
    ) -> None:
        """Put these guards, numbered from `start` on, in the place of all behind it.

        Args:
            own: those of this recording.
            more: guards behind them, which no code of the user's made: what they test,
                what is expected, and the place.
        """
        old = {info.exit: info for info in self.guards[start:]}
        guards, visits, held = [], [], []
        leaves: list[bool | None] = []
        like = next(iter(old.values()))._replace(note="", bound=0)
        for number, instr in enumerate(instrs, start):
            before = instr.params["exit"]
            if instr not in own:
                expected = instr.params["expected"]
                info = like._replace(
                    exit=number, expected=expected, source=instr.source
                )
                guards.append(info)
                visits.append(self.watch.number)
                held.append(())
                leaves.append(None)
                continue
            guards.append(old[before]._replace(exit=number))
            visits.append(self._visits[before])
            held.append(self._held[before])
            leaves.append(self._leaves[before])
        for ref, expected, source in more:
            number = start + len(guards)
            guards.append(
                like._replace(exit=number, ref=ref, expected=expected, source=source)
            )
        self.guards[start:] = guards
        self._visits[start:] = visits + [self.watch.number] * len(more)
        self._held[start:] = held + [()] * len(more)
        self._leaves[start:] = leaves + [None] * len(more)

    def drop(self, ranges: Sequence[tuple[int, int]]) -> None:
        for lo, hi in reversed(ranges):
            for kept in (self.guards, self._visits, self._held, self._leaves):
                del kept[lo:hi]
        for number, info in enumerate(self.guards):
            if info.exit != number:
                self.guards[number] = info._replace(exit=number)
