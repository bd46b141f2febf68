"""Batching: replay instrs with a further axis in front of some of the values.

    %1: f64[3] = sin %0          %1: f64[8,3] = sin %0
    %2: f64[] = sum %1    ->     %2: f64[8] = sum %1 {axes=(1,)}
     {axes=(0,)}

One batched program does the arithmetic of many runs in wide loops and large matrix
products; a loop around the program would pay for every small instr again.

1. A value that depends on no batched one stays unbatched and is computed once.
2. The batch axis is always the first; elementwise operands of lower rank get axes of
   length one behind it, so that NumPy's broadcasting lines them up.
3. A guard on a batched value has no single outcome: that is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import UnsupportedError, message
from ..ops.branch import branch
from ..ops.control import checkpoint, custom_jvp, custom_vjp
from ..ops.host import host_call
from ..ops.loop import loop
from ..ops.structural import reshape, stacked
from ..tape import Builder, Instr, Ref, guard
from ..text import rule_name
from .branches import batch_branch
from .loops import BatchedDecisionError, batch_loop

__all__ = ["BatchedDecisionError", "BatchedRule", "batch"]


def batch(
    builder: Builder, instrs: Iterable[Instr], env: dict[int, Ref], batched: set[int]
) -> tuple[dict[int, Ref], set[int]]:
    """Replay `instrs` onto `builder`.

    Args:
        builder: takes the new instrs.
        instrs: of any tape or of the same builder, in program order.
        env: the ref that stands for each operand of theirs that is defined before.
        batched: keys of `env` whose ref has a batch axis in front, all of one length.

    Returns:
        `env` and `batched`, both extended by the outputs of `instrs` (new objects).

    Raises:
        UnsupportedError: a guard or a primitive without batching rule is batched.
    """
    env, batched = dict(env), set(batched)
    saved = builder.source
    try:
        for instr in instrs:
            if batched.isdisjoint(instr.args):
                builder.replay(instr, env)
                continue
            builder.source = instr.source
            if instr.prim is loop or instr.prim is branch:
                args, flags = (
                    [env[a] for a in instr.args],
                    [a in batched for a in instr.args],
                )
                rule = batch_loop if instr.prim is loop else batch_branch
                found, which = rule(builder, instr.params, args, flags, batch)
                env.update(zip(instr.outs, found, strict=True))
                pairs = zip(instr.outs, which, strict=True)
                batched.update(out for out, flag in pairs if flag)
                continue
            outs = _batch_one(builder, instr, env, batched)
            env.update(zip(instr.outs, outs, strict=True))
            batched.update(instr.outs)
    finally:
        builder.source = saved
    return env, batched


def _batch_one(
    builder: Builder, instr: Instr, env: dict[int, Ref], batched: set[int]
) -> tuple[Ref, ...]:
    """The batched outputs of an instr with at least one batched operand."""
    prim = instr.prim
    args = [env[a] for a in instr.args]
    flags = tuple(a in batched for a in instr.args)
    if prim.batch is not None:
        out = prim.batch(args, flags, **instr.params)
    elif prim.family == "elementwise":
        out = prim(*_aligned(args, flags), **instr.params)
    elif prim in (custom_vjp, custom_jvp, checkpoint):
        params = {**instr.params, "rule": BatchedRule(instr.params["rule"])}
        out = builder.emit(prim, stacked(args, flags), params)
    elif prim is host_call:
        out = _batch_host(builder, instr, args, flags)
    else:
        kind = BatchedDecisionError if prim is guard else UnsupportedError
        raise kind(_why_not(instr))
    return (out,) if prim.n_out == 1 else tuple(out)


def _batch_host(
    builder: Builder, instr: Instr, args: list[Ref], flags: tuple[bool, ...]
) -> Any:
    """A function that knows no batches: a loop that calls it for every entry."""
    pairs = list(zip(args, flags, strict=True))
    size = next(a.shape[0] for a, flag in pairs if flag)
    fixed = [a for a, flag in pairs if not flag]
    rows = [a for a, flag in pairs if flag]
    body = Builder("entry")
    body.source = instr.source
    body.input(Aval((), np.dtype(np.int64)))
    given = iter([body.input(a.aval) for a in fixed])
    entries = iter([body.input(Aval(a.shape[1:], a.dtype)) for a in rows])
    inner = [next(entries if flag else given) for flag in flags]
    outs = body.emit(host_call, inner, instr.params)
    params = {
        "body": body.finish(outs),
        "trip": size,
        "consts": len(fixed),
        "carries": 0,
        "reverse": False,
    }
    return builder.emit(loop, [*fixed, *rows], params)


def _aligned(args: list[Ref], flags: tuple[bool, ...]) -> list[Ref]:
    """Operands of one rank behind the batch axis."""
    rank = max(a.ndim - b for a, b in zip(args, flags, strict=True))
    return [
        reshape(a, shape=(a.shape[0], *[1] * (rank + 1 - a.ndim), *a.shape[1:]))
        if b and a.ndim <= rank
        else a
        for a, b in zip(args, flags, strict=True)
    ]


def _why_not(instr: Instr) -> str:
    where = str(instr.source) if instr.source else ""
    if instr.prim is guard:
        return message(
            "Python code decides on a value that differs between the batch's entries",
            where=where,
            way_out="Write np.where(condition, a, b) instead of if",
        )
    return message(
        f"{instr.prim.name} has no batching rule",
        where=where,
        way_out="Loop over the batch in Python instead",
    )


class BatchedRule:
    """A rule of `custom_vjp` and its kin, applied to every entry of a batch.

    The inner rule is run once on refs without the batch axis, on a builder of its own;
    what it emits is then batched onto the outer builder.
    """

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        if hasattr(rule, "vjp"):
            self.vjp = self._vjp
        if hasattr(rule, "jvp"):
            self.jvp = self._jvp

    @property
    def name(self) -> str:
        return f"batched_{rule_name(self.rule)}"

    def _vjp(
        self, builder: Builder, cts: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        return self._run(self.rule.vjp, builder, cts, xs)

    def _jvp(
        self, builder: Builder, tangents: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        return self._run(self.rule.jvp, builder, tangents, xs)

    def _run(
        self, rule: Any, builder: Builder, moves: list[Ref | None], xs: list[Ref]
    ) -> list[Ref | None]:
        inner = Builder(self.name)
        outer = [ref for ref in (*moves, *xs) if ref is not None]
        small = iter([inner.input(_entry(ref)) for ref in outer])
        inner_moves = [None if m is None else next(small) for m in moves]
        outs = rule(inner, inner_moves, [next(small) for _ in xs])
        env = dict(zip(inner.inputs, outer, strict=True))
        env, batched = batch(builder, inner.instrs, env, set(inner.inputs))
        return [None if out is None else _full(env, batched, out, xs) for out in outs]


def _entry(ref: Ref) -> Any:
    """The aval of one entry of a batch."""
    aval = ref.aval
    return type(aval)(aval.shape[1:], aval.dtype)


def _full(env: dict[int, Ref], batched: set[int], out: Ref, xs: list[Ref]) -> Ref:
    """The batched ref for `out`, repeated if it turned out not to depend on any."""
    ref = env[out.index]
    if out.index in batched:
        return ref
    return stacked((ref, xs[0]), (False, True))[0]
