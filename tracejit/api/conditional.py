"""Recording both sides of an explicit branch (`cond`).

Each side runs once on the recorder, also the one that these arguments do not take.  The
instrs that it leaves there are cut off again and become a side of a `branch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, TracejitError, message
from ..numpy_api.table import as_tracer
from ..ops.branch import branch
from ..primitive import PRIMITIVES
from ..signature import caller, flatten, unflatten
from ..tape import Builder, Ref, Tape
from ..tracer import Recorder, Tracer
from .bodies import Marks
from .leaves import cast, shape_text

__all__ = ["record_cond"]

_BOOL = np.dtype(np.bool_)
#: What a side may raise because the values are those of the other one.
_ERRORS = (ArithmeticError, LookupError, ValueError)


class _Side:
    """One side as it was recorded.

    Attributes:
        leaves: of the result; refs: the same on the tape.
        instrs: what the side left on the tape.
    """

    def __init__(self, rec: Recorder, fun: Callable, operands: tuple) -> None:
        marks = Marks(rec)
        self.leaves, self.spec = flatten(fun(*operands))
        self.refs = [as_tracer(rec, leaf).ref for leaf in self.leaves]
        self.weak = [_weak(leaf) for leaf in self.leaves]
        rec.roll(marks.instrs, self.refs)
        self.instrs = rec.instrs[marks.instrs :]
        rec.replace(marks.instrs, [])
        marks.require_no_writes(
            "a side of a cond", "Return the new array from both sides"
        )

    def free(self) -> list[int]:
        """The refs that it reads from outside."""
        made: set[int] = set()
        found: dict[int, None] = {}
        for instr in self.instrs:
            found.update(dict.fromkeys(a for a in instr.args if a not in made))
            made.update(instr.outs)
        outs = [ref.index for ref in self.refs if ref.index not in made]
        return [*found, *outs]

    def tape(
        self, rec: Recorder, name: str, free: Sequence[int], dtypes: Sequence[Any]
    ) -> Tape:
        builder = Builder(name)
        env = {index: builder.input(rec.avals[index]) for index in free}
        for instr in self.instrs:
            builder.copy(instr, env, rec.avals)
        builder.source = None
        pairs = zip(self.refs, dtypes, strict=True)
        return builder.finish([cast(env[r.index], dtype) for r, dtype in pairs])


def record_cond(
    rec: Recorder, pred: Any, funs: tuple[Callable, Callable], operands: tuple
) -> Any:
    """Record both functions as a `branch`; its results.

    Args:
        pred: a traced number of shape ().
        funs: for true and for false.
    """
    test = _flag(rec, pred)
    taken = bool(rec.value(test))
    marks = Marks(rec)
    sides = {}
    for outcome in (taken, not taken):
        try:
            with np.errstate(all=None if outcome is taken else "ignore"):
                sides[outcome] = _Side(rec, funs[not outcome], operands)
        except TracejitError:
            raise
        except _ERRORS:
            if outcome is taken or not rec.python_rules:
                raise
            # These values cannot be had on the other side, so it is another path.
            marks.undo()
            rec.guard(test, taken)
            return funs[not taken](*operands)
    yes, no = sides[True], sides[False]
    dtypes, weak = _unified(yes, no)
    free = list(dict.fromkeys([*yes.free(), *no.free()]))
    params = {
        "yes": yes.tape(rec, "yes", free, dtypes),
        "no": no.tape(rec, "no", free, dtypes),
    }
    outs = rec.apply(branch, [test, *[rec.ref(index) for index in free]], params)
    marks.forget()
    pairs = zip(outs, weak, strict=True)
    return unflatten(yes.spec, [rec.tracer(out, kind) for out, kind in pairs])


def _flag(rec: Recorder, pred: Tracer) -> Ref:
    ref = pred.ref
    if ref.shape:
        raise ArgumentError(
            message(
                f"cond on {shape_text(pred)}",
                where=caller(),
                way_out="Give it one truth: np.any(pred) or np.all(pred)",
            )
        )
    if ref.dtype == _BOOL:
        return ref
    zero = rec.constant(0, ref.dtype)
    found: Ref = rec.apply(PRIMITIVES["ne"], (ref, zero), {})
    return found


def _weak(leaf: Any) -> type | None:
    if type(leaf) is Tracer:
        return leaf.weak
    return type(leaf) if type(leaf) in _RANK else None


_RANK: dict[type | None, int] = {bool: 0, int: 1, float: 2, complex: 3}


def _unified(yes: _Side, no: _Side) -> tuple[list[np.dtype], list[type | None]]:
    """The dtype of each result, and the Python number that it is, if it is one."""
    if yes.spec != no.spec:
        _refuse(f"the structure {yes.spec}", f"{no.spec}")
    dtypes: list[np.dtype] = []
    kinds: list[type | None] = []
    for k, (a, b) in enumerate(zip(yes.refs, no.refs, strict=True)):
        one, other = yes.weak[k], no.weak[k]
        if a.shape != b.shape or (not one and not other and a.dtype != b.dtype):
            _refuse(repr(a.aval), repr(b.aval))
        if one and other:
            kinds.append(max(one, other, key=_RANK.__getitem__))
            dtypes.append(np.result_type(a.dtype, b.dtype))
        else:
            kinds.append(None)
            # A Python number takes the dtype of what it meets.
            parts = [w(0) if w else r.dtype for w, r in ((one, a), (other, b))]
            dtypes.append(np.result_type(*parts))
    return dtypes, kinds


def _refuse(yes: str, no: str) -> None:
    raise ArgumentError(
        message(
            f"cond: true_fun returns {yes}, false_fun {no}",
            where=caller(),
            way_out="Return the same structure, shapes and dtypes from both",
        )
    )
