"""Simplify, for loops: what need not be in a loop, or not loop at all.

    loop, consts c, carries s, k:           t = exp c
      t = exp c                             loop, consts t, carries s:
      s, k = s * t, k                 ->      s = s * t
      stacks s, t                             stacks s

1. No iteration: the starts.  One: the body itself.
2. An operand that is a constant, or one row repeated, comes to be inside; of equal
   operands one is left.
3. A carry that never changes is a constant of the loop.
4. What is the same in every iteration is computed once, in front of the loop, unless
   it is a mere view, or might raise (the loop may leave at a guard before it), or is
   cheap and larger than what it is made of.
5. A stacked result that is a constant or one of the rows run over is no result of the
   loop.

Bit-exact: the same primitives are applied to the same operands.  It ends because each
change leaves fewer operands, results or instrs in the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...avals import Aval
from ...ops.loop import loop
from ...ops.structural import broadcast_to, iota, reshape
from ...primitive import Primitive
from ...tape import Builder, Instr, Ref, Tape, const
from .activity import is_dynamic, operands, results
from .residuals import is_cheap, is_movable

__all__ = ["reduce_loop"]

_VIEWS = frozenset("reshape transpose broadcast_to slice diagonal iota".split())


class Rewriter(Protocol):
    """What this needs of the walk that simplifies the tape around the loop."""

    counts: Counter[str]
    made: dict[int, Instr]

    def emit(self, prim: Primitive, args: Any, params: dict[str, Any]) -> Any: ...
    def unite(self, prim: Primitive, args: Any, params: dict[str, Any]) -> Any: ...


def reduce_loop(
    rewriter: Rewriter,
    args: Sequence[Ref],
    params: dict[str, Any],
    simplify: Callable[[Tape], Tape],
) -> tuple[Ref, ...]:
    """Emit the simplest equal of a loop.

    Args:
        simplify: the pass, for the body.

    Returns:
        A ref for each result of the loop; it may have been made elsewhere.
    """
    if is_dynamic(params):
        # Its operands stay as they are: some of them tell how often it runs.
        return rewriter.unite(loop, args, {**params, "body": simplify(params["body"])})
    if params["trip"] == 0:
        rewriter.counts["loop-never"] += 1
        return _never(rewriter, args, params)
    if params["trip"] == 1:
        rewriter.counts["loop-once"] += 1
        return _once(rewriter, args, params)
    return _Loop(rewriter, args, params, simplify).emit()


def _never(
    rewriter: Rewriter, args: Sequence[Ref], params: dict[str, Any]
) -> tuple[Ref, ...]:
    body = params["body"]
    rows = [body.avals[ref] for ref in results(params, body.outputs)[1]]
    empty = [
        rewriter.emit(
            broadcast_to,
            [
                rewriter.emit(
                    const, [], {"value": a.dtype.type(0).item(), "dtype": a.dtype}
                )
            ],
            {"shape": (0, *a.shape)},
        )
        for a in rows
    ]
    return (*operands(params, args).carries, *empty)


def _once(
    rewriter: Rewriter, args: Sequence[Ref], params: dict[str, Any]
) -> tuple[Ref, ...]:
    body: Tape = params["body"]
    given = operands(params, args)
    counter = body.avals[body.inputs[0]].dtype
    inputs = [
        rewriter.emit(const, [], {"value": 0, "dtype": counter}),
        *given.consts,
        *given.carries,
        *(rewriter.emit(reshape, [x], {"shape": x.shape[1:]}) for x in given.xs),
    ]
    env = dict(zip(body.inputs, inputs, strict=True))
    for instr in body.instrs:
        out = rewriter.emit(instr.prim, [env[a] for a in instr.args], instr.params)
        outs = (out,) if isinstance(out, Ref) else tuple(out)
        env.update(zip(instr.outs, outs, strict=True))
    state, rows = results(params, [env[ref] for ref in body.outputs])
    stacks = [rewriter.emit(reshape, [r], {"shape": (1, *r.shape)}) for r in rows]
    return (*state, *stacks)


class _Loop:
    """A loop of at least two iterations on its way to the simplest form.

    Attributes:
        consts, carries, xs: the operands, on the rewriter.
        body: simplified; its inputs stand for the counter and these operands.
    """

    def __init__(
        self,
        rewriter: Rewriter,
        args: Sequence[Ref],
        params: dict[str, Any],
        simplify: Callable[[Tape], Tape],
    ) -> None:
        self.rewriter = rewriter
        self.params = params
        self.simplify = simplify
        self.trip: int = params["trip"]
        given = operands(params, args)
        roots: dict[int, Ref] = {}
        for c in given.consts:
            self._root(c, roots)
        rows = [self._repeated(x) for x in given.xs]
        for row in rows:
            if row is not None:
                self._root(row, roots)
        self.consts = list(roots.values())
        self.carries = given.carries
        alone = zip(given.xs, rows, strict=True)
        self.xs = list({x.index: x for x, row in alone if row is None}.values())

        body: Tape = params["body"]
        inner = Builder(body.name)
        first = inner.input(body.avals[body.inputs[0]])
        inside = {c.index: inner.input(c.aval) for c in self.consts}
        state = [inner.input(s.aval) for s in self.carries]
        lines = {x.index: inner.input(_row(x)) for x in self.xs}
        fixed = [self._inside(inner, c, inside) for c in given.consts]
        xs = [
            lines[x.index]
            if row is None
            else _shaped(self._inside(inner, row, inside), _row(x))
            for x, row in zip(given.xs, rows, strict=True)
        ]
        merged = len(given.consts) + len(given.xs) - len(self.consts) - len(self.xs)
        rewriter.counts["loop-operand"] += max(merged, 0)
        env = dict(zip(body.inputs, [first, *fixed, *state, *xs], strict=True))
        for instr in body.instrs:
            inner.copy(instr, env, body.avals)
        self.body = simplify(inner.finish([env[ref] for ref in body.outputs]))

    # --- operands

    def _root(self, ref: Ref, roots: dict[int, Ref]) -> None:
        """Note the operand by which `ref` is known inside."""
        instr = self.rewriter.made.get(ref.index)
        if instr is not None and instr.prim is broadcast_to:
            self._root(ref.builder.ref(instr.args[0]), roots)
        elif instr is None or instr.prim is not const:
            roots[ref.index] = ref

    def _inside(self, inner: Builder, ref: Ref, inside: dict[int, Ref]) -> Ref:
        """What an invariant operand is in the body."""
        instr = self.rewriter.made.get(ref.index)
        if ref.index in inside or instr is None:
            return inside[ref.index]
        if instr.prim is const:
            return inner.emit(const, (), instr.params)
        operand = self._inside(inner, ref.builder.ref(instr.args[0]), inside)
        return _shaped(operand, ref.aval)

    def _repeated(self, x: Ref) -> Ref | None:
        """If all rows of `x` are the same: what they are made of by broadcasting."""
        instr = self.rewriter.made.get(x.index)
        if instr is None or instr.prim is not broadcast_to:
            return None
        operand = x.builder.ref(instr.args[0])
        if operand.ndim < x.ndim:
            return operand
        if operand.shape[0] != 1:
            return None
        return self.rewriter.emit(reshape, [operand], {"shape": operand.shape[1:]})

    # --- invariants

    def _hoist(self, fixed: set[int]) -> _Outside:
        """Compute outside what does not change, the carries `fixed` being such."""
        inputs = operands(
            {"consts": len(self.consts), "carries": len(self.carries)},
            self.body.inputs[1:],
        )
        known = dict(zip(inputs.consts, self.consts, strict=True))
        known |= {inputs.carries[j]: self.carries[j] for j in fixed}
        outside = _Outside(self.rewriter, known)
        for instr in self.body.instrs:
            if is_movable(instr) and outside.knows(instr.args):
                outside.add(instr, self.body.avals)
        return outside

    def _outside(self) -> tuple[_Outside, set[int]]:
        """What is known outside, and the carries that never change."""
        body = self.body
        before = body.inputs[1 + len(self.consts) :]
        after = body.outputs[: len(self.carries)]
        fixed = {j for j, ref in enumerate(after) if ref == before[j]}
        while True:
            outside = self._hoist(fixed)
            more = {
                j
                for j, ref in enumerate(after)
                if j not in fixed
                and outside.knows([ref])
                and outside.value(ref).index == self.carries[j].index
            }
            if not more:
                return outside, fixed
            fixed |= more

    # --- the result

    def emit(self) -> tuple[Ref, ...]:
        rewriter, body = self.rewriter, self.body
        outside, fixed = self._outside()
        counts = {"consts": len(self.consts), "carries": len(self.carries)}
        inputs = operands(counts, body.inputs[1:])
        state, rows = results(counts, body.outputs)
        moving = [j for j in range(len(state)) if j not in fixed]
        known = dict(zip(inputs.xs, self.xs, strict=True))
        maker = {out: i for i in body.instrs for out in i.outs}
        stacked: dict[int, None] = {}
        smalls = [_small(ref, maker) for ref in rows]
        for ref in smalls:
            if not outside.knows([ref]) and ref not in known and ref != body.inputs[0]:
                stacked[ref] = None
        instrs = [
            i for i in body.instrs if i.outs[:1] == () or i.outs[0] not in outside.done
        ]
        rewriter.counts["loop-invariant"] += len(body.instrs) - len(instrs)
        rewriter.counts["loop-carry"] += len(fixed)
        rewriter.counts["loop-result"] += len(rows) - len(stacked)

        wanted = [state[j] for j in moving] + list(stacked)
        used = {a for i in instrs for a in i.args} | set(wanted)
        consts = {r: v for r, v in outside.done.items() if r in used}
        xs = {r: x for r, x in known.items() if r in used}
        inner = Builder(body.name)
        order = [body.inputs[0], *consts, *(inputs.carries[j] for j in moving), *xs]
        env = {ref: inner.input(body.avals[ref]) for ref in order}
        for instr in instrs:
            inner.copy(instr, env, body.avals)
        params = {
            **self.params,
            "body": inner.finish([env[ref] for ref in wanted]),
            "consts": len(consts),
            "carries": len(moving),
        }
        args = [*consts.values(), *(self.carries[j] for j in moving), *xs.values()]
        outs: Any = ()
        if fixed:
            # More may be known now: a carry that is always 0, say.
            outs = reduce_loop(rewriter, args, params, self.simplify)
        elif wanted or instrs:
            outs = rewriter.unite(loop, args, params)
        made = dict(zip(stacked, outs[len(moving) :], strict=True))
        final = dict(zip(moving, outs, strict=False))
        finals = [final.get(j, self.carries[j]) for j in range(len(state))]
        stacks = []
        for ref, small in zip(rows, smalls, strict=True):
            whole = (self.trip, *body.avals[ref].shape)
            if outside.knows([small]):
                value = outside.value(small)
                stacks.append(rewriter.emit(broadcast_to, [value], {"shape": whole}))
                continue
            if small == body.inputs[0]:
                shape, dtype = (self.trip,), body.avals[small].dtype
                made[small] = rewriter.emit(
                    iota, [], {"shape": shape, "axis": 0, "dtype": dtype}
                )
            stacks.append(self._spread(known.get(small) or made[small], whole))
        return (*finals, *stacks)

    def _spread(self, stack: Ref, whole: tuple[int, ...]) -> Ref:
        """The stack of repeated rows, from the stack of what they repeat."""
        if stack.shape == whole:
            return stack
        ones = (1,) * (len(whole) - stack.ndim)
        shape = (self.trip, *ones, *stack.shape[1:])
        stack = self.rewriter.emit(reshape, [stack], {"shape": shape})
        return self.rewriter.emit(broadcast_to, [stack], {"shape": whole})


class _Outside:
    """Values of the body that are the same in every iteration.

    Attributes:
        done: those computed in front of the loop, by ref of the body.
    """

    def __init__(self, rewriter: Rewriter, known: dict[int, Ref]) -> None:
        self.rewriter = rewriter
        self.done = known
        self.views: dict[int, Instr] = {}
        self._viewed: dict[int, Ref] = {}

    def knows(self, refs: Sequence[int]) -> bool:
        return all(ref in self.done or ref in self.views for ref in refs)

    def add(self, instr: Instr, avals: Sequence[Aval]) -> None:
        """Compute an instr, or leave it inside as what is had for nothing there."""
        if instr.prim is const or instr.prim.name in _VIEWS or _grows(instr, avals):
            self.views[instr.outs[0]] = instr
        else:
            self._emit(instr, self.done)

    def value(self, ref: int) -> Ref:
        """The value outside, views included."""
        if ref in self.done:
            return self.done[ref]
        if ref not in self._viewed:
            self._emit(self.views[ref], self._viewed)
        return self._viewed[ref]

    def _emit(self, instr: Instr, found: dict[int, Ref]) -> None:
        args = [self.value(a) for a in instr.args]
        out = self.rewriter.emit(instr.prim, args, instr.params)
        outs = (out,) if isinstance(out, Ref) else tuple(out)
        found.update(zip(instr.outs, outs, strict=True))


def _grows(instr: Instr, avals: Sequence[Aval]) -> bool:
    """Whether it is cheap and larger than each of its operands."""
    if instr.prim.family != "elementwise" or not is_cheap(instr):
        return False
    return avals[instr.outs[0]].size > max(avals[a].size for a in instr.args)


def _row(x: Ref) -> Aval:
    return Aval(x.shape[1:], x.dtype)


def _shaped(ref: Ref, aval: Aval) -> Ref:
    return ref if ref.shape == aval.shape else broadcast_to(ref, shape=aval.shape)


def _small(ref: int, maker: dict[int, Instr]) -> int:
    """What a row is made of by broadcasting."""
    instr = maker.get(ref)
    while instr is not None and instr.prim is broadcast_to:
        (ref,) = instr.args
        instr = maker.get(ref)
    return ref
