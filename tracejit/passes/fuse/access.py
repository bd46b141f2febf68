"""How an element of a value is made from elements of its operands.

Views (reshape, transpose, slice, ...) are not computed, they change the index.  An
index has one entry per axis: an `Affine` in a loop variable, or `DYNAMIC` where it is
known at run time only.  Variables are whatever the caller counts: axes of an iteration
space while placing, loop variables while emitting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...program import Affine
from ...tape import Instr

__all__ = [
    "DYNAMIC",
    "PIECED",
    "ZERO_INDEX",
    "Piece",
    "aligned",
    "axis_map",
    "cost_of",
    "is_general_reshape",
    "pieces",
    "through_view",
]

#: The entry of an index that is known at run time only.
DYNAMIC: Any = "dynamic"
ZERO_INDEX = Affine(None, 0, 0)

#: Their elements come from one operand or another, as the index tells.
PIECED = frozenset(("concatenate", "unslice", "update"))

VIEWS = {"reshape", "transpose", "broadcast_to", "slice", "diagonal"}

#: Rough cycles per element, by which recomputing is weighed against storing.
_COST = {
    "copy": 0,
    "stop_gradient": 0,
    "barrier": 0,
    "cast": 1,
    "div": 4,
    "sqrt": 4,
    "reciprocal": 4,
    "mod": 12,
    "fmod": 12,
    "floor_divide": 12,
}
_CHEAP = frozenset(
    "add sub mul mulz neg abs sign square maximum minimum fmax fmin select lt le gt ge "
    "eq ne logical_and logical_or logical_xor logical_not bit_and bit_or bit_xor "
    "invert left_shift right_shift floor ceil trunc rint isnan isfinite isinf signbit "
    "copysign heaviside wrap_index".split()
)


def cost_of(instr: Instr) -> int:
    """Rough cost of one element of an elementwise instr."""
    name = instr.prim.name
    if name in _COST:
        return _COST[name]
    return 1 if name in _CHEAP else 16


def aligned(index: Sequence[Any], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The index into an operand of `shape`, broadcast to where `index` points."""
    tail = index[len(index) - len(shape) :] if shape else ()
    return tuple(
        ZERO_INDEX if n == 1 else entry for n, entry in zip(shape, tail, strict=True)
    )


def axis_map(old: tuple[int, ...], new: tuple[int, ...]) -> list[int | None] | None:
    """For each old axis the new axis it becomes, if a reshape only moves axes of
    length 1 about; None if it does more than that."""
    new_axes = [k for k, n in enumerate(new) if n != 1]
    if [n for n in old if n != 1] != [new[k] for k in new_axes]:
        return None
    rest = iter(new_axes)
    return [None if n == 1 else next(rest) for n in old]


def is_general_reshape(instr: Instr, shape: tuple[int, ...]) -> bool:
    """Whether the reshape of an operand of `shape` needs it in memory."""
    return (
        instr.prim.name == "reshape" and axis_map(shape, instr.params["shape"]) is None
    )


def scaled(entry: Any, step: int, start: int) -> Any:
    if entry is DYNAMIC:
        return DYNAMIC
    return Affine(entry.var, entry.step * step, entry.offset * step + start)


def through_view(
    instr: Instr, shape: tuple[int, ...], index: tuple[Any, ...]
) -> tuple[Any, ...]:
    """The operand's index (operand of `shape`) for the view's `index`."""
    name, params = instr.prim.name, instr.params
    if name == "reshape":
        axes = axis_map(shape, params["shape"])
        assert axes is not None
        return tuple(ZERO_INDEX if k is None else index[k] for k in axes)
    if name == "transpose":
        out: list[Any] = [None] * len(shape)
        for k, axis in enumerate(params["perm"]):
            out[axis] = index[k]
        return tuple(out)
    if name == "broadcast_to":
        return aligned(index, shape)
    if name == "slice":
        return tuple(
            ZERO_INDEX if n == 1 else scaled(entry, step, start)
            for n, entry, start, step in zip(
                shape, index, params["start"], params["step"], strict=True
            )
        )
    assert name == "diagonal"
    offset = params["offset"]
    last = index[-1]
    row = scaled(last, 1, max(-offset, 0))
    column = scaled(last, 1, max(offset, 0))
    return (*index[:-1], row, column)


class Piece(NamedTuple):
    """A part of a pieced value: where `lo <= index[axis] - 0 < hi` on every listed
    axis, it is the operand (None: zero) at an index shifted by `-lo`."""

    operand: int | None
    box: tuple[tuple[int, int, int], ...]  # (axis, lo, hi)


def pieces(instr: Instr, avals: Sequence[Any]) -> list[Piece]:
    """The parts of a concatenate, or of an unslice or update with unit steps.

    The first part that an index is in counts: behind what an update writes comes what
    it leaves alone.
    """
    if instr.prim.name == "concatenate":
        axis, at, found = instr.params["axis"], 0, []
        for ref in instr.args:
            n = avals[ref].shape[axis]
            if n:
                found.append(Piece(ref, ((axis, at, at + n),)))
            at += n
        return found
    if instr.prim.name == "update":
        old, ref = instr.args
        whole, rest = avals[old].shape, [Piece(old, ())]
    else:
        assert instr.prim.name == "unslice"
        (ref,), rest = instr.args, []
        whole = instr.params["shape"]
    box = tuple(
        (axis, start, start + n)
        for axis, (start, n, length) in enumerate(
            zip(instr.params["start"], avals[ref].shape, whole, strict=True)
        )
        if n != length
    )
    return [Piece(ref, box), *rest]
