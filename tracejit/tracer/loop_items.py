"""Iterators of `for` loops, made by the recorder in place of Python's own.

Where the recorded code calls `range`, `enumerate` or `zip` right for a `for` loop, and
where a loop runs over a traced array, the iterator is one of `rounds`.  Everywhere else
the code sees the builtin.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from .frames import user_frame
from .purity.bytecode import Code, code_of
from .purity.counted import COUNTER
from .purity.values import TRACED, Items, Value
from .rounds import ROUNDS, Rounds

__all__ = ["LOOPS", "rows", "served"]

_sites: dict[tuple[int, int], tuple[Any, bool]] = {}


def _is_site(frame: FrameType, fits: Callable[[Code, int], bool]) -> bool:
    key = id(frame.f_code), frame.f_lasti
    found = _sites.get(key)
    if found is None or found[0] is not frame.f_code:
        code = code_of(frame.f_code)
        if len(_sites) > 4096:
            _sites.clear()
        fine = code.is_plain and fits(code, code.index(frame.f_lasti))
        found = _sites[key] = frame.f_code, fine
    return found[1]


def _goes_into_loop(code: Code, i: int) -> bool:
    """Whether what is on the stack before instruction i is what a loop runs over."""
    names = [op.name for op in code.ops[i : i + 6]]
    kept = [name for name in names if name not in ("NOP", "EXTENDED_ARG", "CACHE")]
    return kept[:2] == ["GET_ITER", "FOR_ITER"]


def _is_called_for_loop(code: Code, i: int) -> bool:
    """Whether the name loaded at i is called, and a loop runs over the result."""
    op = code.ops[i]
    if op.name != "LOAD_GLOBAL" or not op.arg & 1 or i not in code.depths:
        return False
    for k in range(i + 1, len(code.ops) - 1):
        op = code.ops[k]
        if op.target is not None or k + 1 not in code.depths:
            return False
        if op.name == "CALL" and code.depths[k + 1] == code.depths[i] + 1:
            return _goes_into_loop(code, k + 1)
    return False


def rows(tracer: Any) -> Rounds | None:
    """The iterator over a traced array, if it is a loop's that may leave rounds out."""
    rec = tracer.rec
    count = tracer.ref.aval.shape[0]
    if not rec.may_fork and (not rec.may_skip or count <= ROUNDS + 2):
        return None
    if not _is_site(user_frame(), _goes_into_loop):
        return None
    return Rounds(rec, count, tracer.__getitem__, TRACED, range(count), True)


def _parts(rec: Any, x: Any) -> tuple[int, Callable[[int], Any], Value, range] | None:
    """The items of a range or a traced array: number, the k-th, what is known."""
    if type(x) is range:
        return len(x), x.__getitem__, COUNTER, x
    if type(x) is type(rec).tracer_class() and x.rec is rec and x.ref.aval.shape:
        count = x.ref.aval.shape[0]
        return count, x.__getitem__, TRACED, range(count)
    return None


def _range(rec: Any, *args: Any) -> Any:
    found = range(*args)
    return Rounds(rec, len(found), found.__getitem__, COUNTER, found)


def _enumerate(rec: Any, iterable: Any, start: int = 0) -> Any:
    parts = _parts(rec, iterable)
    if parts is None or type(start) is not int:
        return enumerate(iterable, start)
    count, item, kind, _ = parts
    if kind == COUNTER:
        return enumerate(iterable, start)
    numbers = range(start, start + count)
    kind = Items((COUNTER, kind))
    return Rounds(rec, count, lambda k: (start + k, item(k)), kind, numbers, True)


def _zip(rec: Any, *args: Any, **kwargs: Any) -> Any:
    parts = [_parts(rec, x) for x in args]
    known = [part for part in parts if part is not None]
    counters = [part[3] for part in known if part[2] == COUNTER]
    equal = len({part[0] for part in known}) == 1
    other = kwargs.keys() - {"strict"}
    if other or len(known) < len(parts) or counters or not equal:
        return zip(*args, **kwargs)  # noqa: B905
    takes = [part[1] for part in known]

    def item(k: int) -> tuple:
        return tuple([take(k) for take in takes])

    kind = Items(tuple([part[2] for part in known]))
    return Rounds(rec, known[0][0], item, kind, known[0][3], True)


class Served:
    """What a loop calls in place of a builtin: it sees who is recording."""

    def __init__(self, rec: Any, make: Callable[..., Any]) -> None:
        self.rec, self.make = rec, make

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.make(self.rec, *args, **kwargs)


#: Builtin -> what makes the iterator of a loop in its place.
LOOPS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "enumerate": _enumerate,
    "zip": _zip,
}


def served(rec: Any, name: str, frame: FrameType) -> Served | None:
    """What the recorded code gets for a builtin's name, if not the builtin."""
    if (rec.may_skip or rec.may_fork) and _is_site(frame, _is_called_for_loop):
        return Served(rec, LOOPS[name])
    return None
