"""Which loops a guard is in, goes on with, or leaves (`turns`)."""

from __future__ import annotations

from types import FrameType
from typing import Any

from .purity.bytecode import Code, Loop, code_of
from .purity.ways import always, goes_to
from .watch import mark_of
from .whiles import Whiles

__all__ = ["note_guard"]

#: (code, place) -> the loop that its guard may stand for, and at which outcome that
#: goes on.
_places: dict[tuple[int, int], tuple[Code, Loop | None, bool | None]] = {}


def note_guard(rec: Any, frame: FrameType, outcome: bool) -> None:
    """Note a guard, the last instr of the recorder, that stands in this frame."""
    code = code_of(frame.f_code)
    at = code.decision(code.index(frame.f_lasti))
    if at is None or not code.is_plain or code.uses_locals:
        return
    place = code.place(at)
    loops = [loop for loop in code.loops if place in loop.body]
    mark = mark_of(frame) if loops else None
    if mark is None:
        return
    serial = rec.exits.watch.serial
    _, loop, goes_on = _stands_for(code, place)
    if loop is not None:
        turns = mark.turns.get((serial, loop.head))
        if turns is None:
            turns = Whiles(rec, code, loop, place, goes_on)
            mark.turns[serial, loop.head] = turns
        if turns.place == place and turns.active:
            turns.look(frame)
    after = goes_to(code, place, outcome)
    if after is None:
        return
    for loop in loops:
        whole = code.whole(loop)
        if after in whole.body:
            continue
        turns = mark.turns.pop((serial, whole.head), None)
        if turns is not None and rec.exits.watch.is_one(code, whole):
            turns.leave(frame, place, after)


def _stands_for(code: Code, place: int) -> tuple[Code, Loop | None, bool | None]:
    """The `while` loop whose rounds may be told by the guard at a place."""
    key = id(code), place
    found = _places.get(key)
    if found is None or found[0] is not code:
        if len(_places) > 4096:
            _places.clear()
        found = _places[key] = code, *_read(code, place)
    return found


def _read(code: Code, place: int) -> tuple[Loop | None, bool | None]:
    inner = code.loop_at(place)
    if inner is None:
        return None, None
    loop = code.whole(inner)
    base = code.depths[loop.head]
    settled = (
        code.depths.get(place + 1) == base and "_OR_POP" not in code.ops[place].name
    )
    if code.ops[loop.head].name == "FOR_ITER" or not settled:
        return None, None
    if not always(code, loop, place):
        return None, None
    stays = [goes_to(code, place, outcome) in loop.body for outcome in (False, True)]
    if all(stays):
        return loop, None
    return loop, stays[1]
