"""Split: complex values become pairs of real ones, and the tape a real tape.

    tape f(%0: c128[3]):              tape f(%0: f64[3,2]):
      %1: c128[3] = square %0           %1, %2 = the parts of %0
      return %1                ->       %5 = mul %1 %1;  %6 = mul %2 %2; ...
                                        return %11 (f64[3,2]: the parts side by side)

Everything behind, fusion and code generation, knows real numbers only.  Why here and
not in the code generator: a product of complex numbers is six real operations that
fuse, vectorise and simplify like all others, and no emitter needs a second form.

1. Every complex primitive has a formula on pairs (`formulas`), or works on each part
   by itself (what moves, repeats or adds elements).
2. Complex inputs and outputs keep NumPy's memory: the parts side by side along a last
   axis of length two.  `Split` says which they are.
3. Loops and branches are split inside; a complex carry becomes two.
4. What has no formula (Fourier transforms, factorisations, sorting) is a host call of
   its NumPy reference, on the parts side by side, which is NumPy's own memory.
5. A tape without complex values is returned as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...avals import Aval, real_of
from ...ops.branch import branch
from ...ops.control import barrier
from ...ops.loop import loop
from ...tape import Builder, Instr, Ref, Tape, const
from ..simplify import simplify
from .formulas import Pair
from .rules import apart, joined, split_instr

__all__ = ["Split", "split"]


@dataclass(frozen=True)
class Split:
    """A real tape, and which of its inputs and outputs hold pairs.

    Attributes:
        tape: no aval of it is complex.
        inputs, outputs: positions; the last axis, of length two, holds the parts.
    """

    tape: Tape
    inputs: frozenset[int]
    outputs: frozenset[int]


def split(tape: Tape) -> Split:
    """Rewrite `tape` on real values."""
    if not _is_complex(tape):
        return Split(tape, frozenset(), frozenset())
    walk = _Walk(tape)
    for ref in tape.inputs:
        walk.enter(ref)
    walk.run()
    outs = [walk.joined(ref) for ref in tape.outputs]
    real = simplify(walk.builder.finish(outs))
    outputs = _positions(tape, tape.outputs)
    return Split(_apart(real, outputs), _positions(tape, tape.inputs), outputs)


def _is_complex(tape: Tape) -> bool:
    if any(aval.dtype.kind == "c" for aval in tape.avals):
        return True
    inner = [v for i in tape.instrs for v in i.params.values() if isinstance(v, Tape)]
    return any(map(_is_complex, inner))


def _positions(tape: Tape, refs: Iterable[int]) -> frozenset[int]:
    found = [k for k, ref in enumerate(refs) if tape.avals[ref].dtype.kind == "c"]
    return frozenset(found)


def _apart(tape: Tape, pairs: frozenset[int]) -> Tape:
    """See that no output is a pair at one position and a real array at another."""
    plain = {ref for k, ref in enumerate(tape.outputs) if k not in pairs}
    if not any(tape.outputs[k] in plain for k in pairs):
        return tape
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    outs = []
    copies: dict[int, Ref] = {}
    for k, ref in enumerate(tape.outputs):
        if k in pairs and ref in plain:
            copies.setdefault(ref, barrier(env[ref]))
            outs.append(copies[ref])
        else:
            outs.append(env[ref])
    return builder.finish(outs)


class _Walk:
    """One walk over a tape: what each of its refs became."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.builder = Builder(tape.name)
        self.env: dict[int, Any] = {}
        #: Complex values as they lie in memory, where that is known.
        self.whole: dict[int, Ref] = {}

    def enter(self, ref: int) -> None:
        """An input as it lies in memory."""
        aval = self.tape.avals[ref]
        if aval.dtype.kind != "c":
            self.env[ref] = self.builder.input(aval)
            return
        both = self.builder.input(Aval((*aval.shape, 2), real_of(aval.dtype)))
        self.env[ref] = apart(both)

    def joined(self, ref: int) -> Ref:
        """A value as it lies in memory."""
        value = self.env[ref]
        if not isinstance(value, Pair):
            return value
        if ref not in self.whole:
            self.whole[ref] = value.both if value.both is not None else joined(value)
        return self.whole[ref]

    def run(self) -> None:
        for instr in self.tape.instrs:
            self.builder.source = instr.source
            if instr.prim is loop:
                self.loop(instr)
            elif instr.prim is branch:
                self.branch(instr)
            elif instr.prim is const and instr.params["dtype"].kind == "c":
                value = instr.params["value"]
                dtype = real_of(instr.params["dtype"])
                parts = (value.real, value.imag)
                re, im = [self.builder.const(part, dtype) for part in parts]
                flat = repr(value.imag) == "0.0"
                self.env[instr.outs[0]] = Pair(re, im, flat, value)
            elif self.is_complex(instr):
                args = [self.env[a] for a in instr.args]
                avals = [self.tape.avals[ref] for ref in instr.outs]
                outs = split_instr(self.builder, instr, args, avals)
                self.env.update(zip(instr.outs, outs, strict=True))
            else:
                self.builder.replay(instr, self.env)

    def is_complex(self, instr: Instr) -> bool:
        refs = (*instr.args, *instr.outs)
        return any(self.tape.avals[ref].dtype.kind == "c" for ref in refs)

    def loop(self, instr: Instr) -> None:
        """A loop over pairs; parts follow each other in all its lists."""
        params = instr.params
        consts, carries = params["consts"], params["carries"]
        args = [self.env[a] for a in instr.args]
        params = {
            **params,
            "body": _in_parts(params["body"]),
            "consts": sum(len(_parts(a)) for a in args[:consts]),
            "carries": sum(len(_parts(a)) for a in args[consts : consts + carries]),
        }
        self.emit(instr, args, params)

    def branch(self, instr: Instr) -> None:
        """Both sides take and give pairs."""
        sides = {side: _in_parts(instr.params[side]) for side in ("yes", "no")}
        args = [self.env[a] for a in instr.args]
        self.emit(instr, args, {**instr.params, **sides})

    def emit(self, instr: Instr, args: list[Any], params: dict[str, Any]) -> None:
        """An instr whose operands and outputs are parts, one after the other."""
        flat = [part for arg in args for part in _parts(arg)]
        results = iter(self.builder.emit(instr.prim, flat, params))
        for out in instr.outs:
            if self.tape.avals[out].dtype.kind == "c":
                self.env[out] = Pair(next(results), next(results))
            else:
                self.env[out] = next(results)


def _in_parts(tape: Tape) -> Tape:
    """A tape within an instr: inputs and outputs are parts, one after the other."""
    inner = _Walk(tape)
    for ref in tape.inputs:
        aval = tape.avals[ref]
        if aval.dtype.kind == "c":
            part = Aval(aval.shape, real_of(aval.dtype))
            inner.env[ref] = Pair(inner.builder.input(part), inner.builder.input(part))
        else:
            inner.env[ref] = inner.builder.input(aval)
    inner.run()
    outs = [part for ref in tape.outputs for part in _parts(inner.env[ref])]
    return inner.builder.finish(outs)


def _parts(value: Any) -> tuple[Ref, ...]:
    return value[:2] if isinstance(value, Pair) else (value,)
