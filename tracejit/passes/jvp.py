"""Forward mode: append to a tape the instrs that push tangents forward.

    %1 = sin %0                  %1 = sin %0
    return %1            ->      %3 = cos %0              (%2: tangent of %0)
                                 %4 = mul %2 %3
                                 return %1 %4

The tangents follow the whole primal program instead of being interleaved with it: the
order of instrs is the fuser's business, and the primal part stays what it was.

1. A zero tangent is None and costs nothing.
2. Elementwise and multilinear rows need no rule of their own (see `primitive`).
3. A tangent has the aval of its primal: broadcast where an operand was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..avals import is_float
from ..errors import InvalidTapeError
from ..ops.branch import branch
from ..ops.host import host_call
from ..ops.loop import loop
from ..ops.rows import zeros
from ..ops.structural import broadcast_to
from ..tape import Builder, Instr, Ref
from .branches import push_branch
from .loops import push_loop
from .vjp import vjp

__all__ = ["jvp"]


def jvp(
    builder: Builder,
    start: int,
    primals: Sequence[Ref],
    tangents: Sequence[Ref | None],
    outs: Sequence[Ref],
) -> list[Ref | None]:
    """Emit the tangents of `outs`, given those of `primals`.

    Args:
        builder: holds the primal instrs; the new ones are appended.
        start: the first instr that may depend on `primals`.
        primals: refs that move, and `tangents`: how, None for not at all.
        outs: the refs whose tangents are asked for.

    Returns:
        One ref per out, None where the tangent is zero everywhere.
    """
    env: dict[int, Ref] = {
        p.index: t for p, t in zip(primals, tangents, strict=True) if t is not None
    }
    saved = builder.source
    try:
        for instr in needed(builder.instrs[start:], outs):
            if any(arg in env for arg in instr.args):
                builder.source = instr.source
                env.update(_push(builder, instr, env))
    finally:
        builder.source = saved
    return [env.get(out.index) for out in outs]


def needed(instrs: Sequence[Instr], outs: Sequence[Ref]) -> list[Instr]:
    """The instrs that `outs` depend on, in order."""
    live = {out.index for out in outs}
    found = []
    for instr in reversed(instrs):
        if not live.isdisjoint(instr.outs):
            live.update(instr.args)
            found.append(instr)
    return found[::-1]


def _push(builder: Builder, instr: Instr, env: dict[int, Ref]) -> dict[int, Ref]:
    """The tangents of one instr's outputs."""
    prim = instr.prim
    if prim is loop or prim is branch:
        rule = push_loop if prim is loop else push_branch
        moves = rule(builder, instr, [env.get(a) for a in instr.args], _push_all)
        # An extended one has more outputs than before.
        pairs = zip(instr.outs, moves, strict=False)
        return {out: move for out, move in pairs if move is not None}
    args = [builder.ref(a) for a in instr.args]
    outs = [builder.ref(o) for o in instr.outs]
    tangents = [env.get(a) for a in instr.args]
    if not prim.differentiable or not any(is_float(out.aval) for out in outs):
        return {}
    if prim.partials is not None:
        found: Sequence[Ref | None] = [_elementwise(instr, outs[0], args, tangents)]
    elif prim.expand is not None:
        start = len(builder.instrs)
        out = prim.expand(*args, **instr.params)
        inner = [out] if prim.n_out == 1 else list(out)
        found = jvp(builder, start, args, tangents, inner)
    elif prim.multilinear:
        found = [_multilinear(instr, args, tangents)]
    elif prim is host_call and not hasattr(instr.params["rule"], "jvp"):
        found = _transposed(builder, instr, outs, args, tangents)
    elif prim.n_out == 1:
        assert prim.jvp is not None
        found = [prim.jvp(tuple(tangents), outs[0], *args, **instr.params)]
    else:
        assert prim.jvp is not None
        found = prim.jvp(tuple(tangents), tuple(outs), *args, **instr.params)
    result = {}
    for out, tangent in zip(outs, found, strict=True):
        if tangent is None:
            continue
        if prim.family == "elementwise" and tangent.shape != out.shape:
            tangent = broadcast_to(tangent, shape=out.shape)
        if tangent.aval != out.aval:
            text = f"the jvp of {prim.name} gives {tangent.aval!r} for {out.aval!r}."
            raise InvalidTapeError(text)
        result[out.index] = tangent
    return result


def _transposed(
    builder: Builder,
    instr: Instr,
    outs: list[Ref],
    args: list[Ref],
    tangents: list[Ref | None],
) -> list[Ref | None]:
    """Forward mode through a reverse rule: it is linear in the cotangents, so its
    transpose at any of them, such as zero, is the forward rule."""
    cts = [zeros(out) if is_float(out.aval) else None for out in outs]
    start = len(builder.instrs)
    parts = instr.params["rule"].vjp(builder, list(cts), outs, args)
    pairs = []
    for part, tangent in zip(parts, tangents, strict=True):
        found = part() if callable(part) and tangent is not None else part
        if found is not None and tangent is not None:
            pairs.append((found, tangent))
    wrt = [ct for ct in cts if ct is not None]
    pulled = iter(
        vjp(builder, [p for p, _ in pairs], [t for _, t in pairs], wrt, start)
    )
    return [None if ct is None else next(pulled) for ct in cts]


def _push_all(
    builder: Builder,
    primals: Sequence[Ref],
    tangents: Sequence[Ref | None],
    outs: Sequence[Ref],
) -> list[Ref | None]:
    return jvp(builder, 0, primals, tangents, outs)


def _elementwise(
    instr: Instr, out: Ref, args: list[Ref], tangents: list[Ref | None]
) -> Ref | None:
    assert instr.prim.partials is not None
    total: Any = None
    partials = instr.prim.partials(out, *args, **instr.params)
    for tangent, partial in zip(tangents, partials, strict=True):
        if tangent is None or partial is None:
            continue
        total = _plus(total, tangent, partial() if callable(partial) else partial)
    return total


def _plus(total: Any, tangent: Any, partial: Any) -> Any:
    """total + tangent * partial, without an instr for what is 1 or absent."""
    if not isinstance(partial, Ref) and partial in (1, -1):
        if total is None:
            return tangent if partial == 1 else -tangent
        return total + tangent if partial == 1 else total - tangent
    term = tangent * partial
    return term if total is None else total + term


def _multilinear(
    instr: Instr, args: list[Ref], tangents: list[Ref | None]
) -> Ref | None:
    total: Any = None
    for i in instr.prim.multilinear:
        if tangents[i] is not None:
            moved = [*args[:i], tangents[i], *args[i + 1 :]]
            term = instr.prim(*moved, **instr.params)
            total = term if total is None else total + term
    return total
