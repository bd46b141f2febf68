"""Params of instrs that the round of a loop decides: their values in all rounds.

What the rounds that ran have is compared with the formulas (`purity.counted`) of the
numbers that met traced values: a param follows the one formula that fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..passes.reroll import Formula, Formulas, Proof
from ..tape import Source
from .purity import Rest
from .purity.bytecode import code_of
from .purity.counted import evaluate

__all__ = ["differing", "in_all_rounds"]


def differing(
    avals: Any, proof: Proof, rest: Rest, numbers: range, first: int
) -> dict[tuple[int, str], Formula] | None:
    """What makes the params that differ, by place; None if one is not known.

    Args:
        avals: of all refs.
        numbers: the loop's variable in all rounds.
        first: the round with which the proof begins.
    """
    part = slice(first, first + proof.run.reps)
    found: dict[tuple[int, str], Formula] = {}
    if not (rest.numbers or rest.positions):
        return None if any(proof.varying) else found
    items = np.array(numbers, np.int64)
    values = {f: evaluate(f, items) for f in rest.numbers}
    indices = {(kind, *f): evaluate(f[0], items) for kind, *f in rest.positions if f}
    if any(v is None for v in (*values.values(), *indices.values())):
        return None
    if ("unknown",) in rest.positions:
        return None
    for key, numbers_of in indices.items():
        if key[0] == "bound" and not _is_even(numbers_of):
            return None
    for known in (*values.values(), *indices.values()):
        assert known is not None
        # What has not changed yet must not change later (`xs[i // 100]`).
        if _is_constant(known[part]) and not _is_constant(known):
            return None
    for place, varying in enumerate(proof.varying):
        for name, differing in varying.items():
            instr = proof.body[place]
            if name == "value":
                made = _numbers(instr, differing.values, values.values(), part)
            elif name == "start":
                shape = avals[instr.args[0]].shape
                sizes = avals[instr.args[1 if instr.prim.name == "update" else 0]]
                size = instr.params.get("size", sizes.shape)
                made = _starts(instr, differing.values, shape, size, indices, part)
            else:
                return None
            if made is None:
                return None
            found[place, name] = made
    return found


def in_all_rounds(rest: Rest, numbers: range) -> Formulas:
    """What params are in rounds that did not run the instr.

    The code says which formulas there are at the instr's place; if there is none, the
    param is one and the same.  Where that leaves a choice, the rounds that ran it have
    to tell.
    """
    items = np.array(numbers, np.int64)
    values = [evaluate(f, items) for f in rest.numbers]
    pairs = [(kind, evaluate(f[0], items)) for kind, *f in rest.positions if f]
    known = all(v is not None for v in (*values, *[v for _, v in pairs]))
    known = known and ("unknown",) not in rest.positions
    known = known and all(_is_even(v) for kind, v in pairs if kind == "bound")

    def found(step: Any, seen: dict[int, Any]) -> list[Any] | None:
        if not known:
            return None
        part = np.array([*seen])
        here = _at_place(rest, step.instr.source)
        if step.param == "value":
            dtype = step.instr.params["dtype"]
            own = list(values)
            if here is not None:
                own = [evaluate(f[0], items) for kind, *f in here if kind == "number"]
            fit = [v.astype(dtype) for v in own if v is not None and _fits(v, dtype)]
            observed = np.array([*seen.values()], dtype)
            if here is not None and own:
                column = _one(fit, observed, part)
            else:
                column = _only(fit, observed, part, len(items))
            return None if column is None else column.tolist()
        return _all_starts(step, seen, part, pairs, here, items)

    return found


def _at_place(rest: Rest, source: Any) -> frozenset[Any] | None:
    """The formulas at an instruction; None if that is not known."""
    if not isinstance(source, Source):
        return None
    code = code_of(source.code)
    offset = code.ops[code.index(source.lasti)].offset
    found = rest.places.get((source.code, offset), set())
    return next(iter(found)) if len(found) == 1 else None


def _all_starts(
    step: Any,
    seen: dict[int, Any],
    part: np.ndarray,
    pairs: list[tuple[str, Any]],
    here: frozenset[Any] | None,
    items: np.ndarray,
) -> list[Any] | None:
    """Where a slice or an update starts in all rounds."""
    params, shape = step.instr.params, step.given[0].shape
    starts = np.array([*seen.values()], np.int64).reshape(len(seen), -1)
    sizes = params["size"] if "size" in params else step.given[1].shape
    own = None
    if here is not None:
        own = [(kind, evaluate(f[0], items)) for kind, *f in here if kind != "number"]
    columns = []
    for axis, n in enumerate(shape):
        observed, pace = starts[:, axis], params["step"][axis]
        column = None
        if own is not None:
            column = _column(own, observed, part, pace, len(shape), len(items))
        if column is None:
            fit = []
            for kind, v in pairs:
                if v is None or v.dtype.kind != "i":
                    continue
                if kind != "bound" or (v[0] < 0) == (v[-1] < 0):
                    fit.append(np.where(v < 0, v + n, v))
            fit = [at for at in fit if _is_inside(at, sizes[axis], pace, n)]
            column = _only(fit, observed, part, len(items))
        if column is None or not _is_inside(column, sizes[axis], pace, n):
            return None
        columns.append(column)
    return list(zip(*[c.tolist() for c in columns], strict=True))


def _is_inside(starts: np.ndarray, size: int, pace: int, n: int) -> bool:
    ends = starts, starts + (size - 1) * pace
    return all(e.min() >= 0 and e.max() < n for e in ends)


def _column(
    own: list[tuple[str, Any]],
    observed: np.ndarray,
    part: np.ndarray,
    pace: int,
    ndim: int,
    count: int,
) -> np.ndarray | None:
    """Starts along one axis, from the formulas in the index; None if it is open.

    The array may be seen through views, so a start is a multiple of a formula and an
    offset; the step of the write tells the multiple of an index.
    """
    if not own:
        constant = np.full(count, observed[0], np.int64)
        return constant if (observed == observed[0]).all() else None
    for _, v in own:
        if v is None or v.dtype.kind != "i" or (v.min() < 0) != (v.max() < 0):
            return None  # it counts from the end in some rounds
    if ndim == 1 and len(own) == 1 and own[0][0] == "index":
        v = own[0][1]
        column = observed[0] + pace * (v - v[part[0]])
    elif len(part) > 1 and all(_is_even(v) for _, v in own):
        # What is counted evenly is known by two of its values.
        rise, rest = divmod(int(observed[-1] - observed[0]), int(part[-1] - part[0]))
        column = observed[0] + rise * (np.arange(count) - part[0])
        if rest:
            return None
    else:
        return None
    return column if (column[part] == observed).all() else None


def _only(
    candidates: list[np.ndarray], observed: np.ndarray, part: np.ndarray, count: int
) -> np.ndarray | None:
    """The one sequence that is what was observed: a candidate, or a constant."""
    if part.max() >= count:
        return None  # a round of a longer loop, which another call had
    if observed.tobytes() == np.full_like(observed, observed[0]).tobytes():
        constant = np.full(count, observed[0], observed.dtype)
        candidates = [*candidates, constant]
    return _one(candidates, observed, part)


def _is_constant(values: Any) -> bool:
    return bool((values == values[0]).all())


def _is_even(values: Any) -> bool:
    steps = np.diff(values)
    return values.dtype.kind == "i" and (
        len(steps) < 2 or bool((steps == steps[0]).all())
    )


def _one(
    candidates: list[np.ndarray], observed: np.ndarray, part: Any
) -> np.ndarray | None:
    """The candidate of which a part is what was observed, if there is just one such."""
    fit = [c for c in candidates if c[part].tobytes() == observed.tobytes()]
    if not fit or any(c.tobytes() != fit[0].tobytes() for c in fit):
        return None
    return fit[0]


def _numbers(instr: Any, observed: Any, values: Any, part: slice) -> Formula | None:
    """The values of a constant in all rounds."""
    dtype = instr.params["dtype"]
    candidates = [v.astype(dtype) for v in values if _fits(v, dtype)]
    return _one(candidates, np.array(observed, dtype), part)


def _fits(values: np.ndarray, dtype: np.dtype) -> bool:
    """Whether Python numbers may become a dtype without another value or an error."""
    if dtype.kind == "f":
        return True
    if dtype.kind not in "iu" or values.dtype.kind != "i":
        return False
    info = np.iinfo(dtype)
    return info.min <= values.min() and values.max() <= info.max


def _starts(
    instr: Any,
    observed: Any,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    indices: dict[Any, Any],
    part: slice,
) -> Formula | None:
    """The starts of a slice or an update in all rounds, one column an axis."""
    first = np.array(observed, np.int64)
    step = instr.params["step"]
    columns = []
    length = len(next(iter(indices.values()), first))
    for axis, n in enumerate(shape):
        here = first[:, axis]
        if _is_constant(here):
            columns.append(np.full(length, here[0]))
            continue
        candidates = []
        for (kind, _), values in indices.items():
            if values.dtype.kind != "i":
                continue
            at = np.where(values < 0, values + n, values)
            if kind == "bound" and (values[0] < 0) != (values[-1] < 0):
                continue
            last = at + (size[axis] - 1) * step[axis]
            if min(at.min(), last.min()) >= 0 and max(at.max(), last.max()) < n:
                candidates.append(at)
        column = _one(candidates, here, part)
        if column is None:
            return None
        columns.append(column)
    return np.stack(columns, axis=1)
