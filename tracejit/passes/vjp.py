"""Reverse mode: append to a tape the instrs that pull cotangents back.

    %1 = sin %0                  %1 = sin %0
    return %1            ->      %3 = cos %0              (%2: cotangent of %1)
                                 %4 = mul %2 %3
                                 return %1 %4

The tape is straight-line, so one walk backwards over the instrs between `wrt` and
`outs` suffices; a closure per operation, as in define-by-run systems, would only hide
the program from the passes that follow.

1. The result is instrs of the same builder: forward and backward part fuse later.
2. A zero cotangent is None and costs nothing; so does an operand that no `wrt` reaches.
3. Rules emit differentiable primitives only, so the vjp of a vjp is this function.
4. An absolute zero stays zero.  Where a `select` or `maximum` did not choose an
   operand, its cotangent is exactly 0 and is marked `masked`; the product of a masked
   cotangent with a partial is `mulz`, which is 0 even if the partial is infinite.  So
   where(x > 0, log(x), 0) has no NaN gradient.  The mark is kept where elements keep
   their identity and dropped at sums and contractions.
5. Slices of one value are transposed together: see `windows`.
6. Every instr is visited at most once: linear in the length of the tape.
7. A loop is pulled back through a loop, a branch through a branch; see `loops` and
   `branches`.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..avals import is_float
from ..errors import InvalidTapeError
from ..ops.branch import branch
from ..ops.control import custom_jvp
from ..ops.host import host_call
from ..ops.logic import mulz
from ..ops.loop import loop
from ..ops.rows import unbroadcast, zeros
from ..ops.structural import slice_
from ..tape import Builder, Instr, Ref, const
from .branches import pull_branch
from .loops import Cotangent, activated, pull_loop
from .windows import Window, assemble

__all__ = ["vjp"]

_MASKING = {"select", "maximum", "minimum", "fmax", "fmin", "mulz", "max", "min"}
_DROPPING = {"sum", "prod", "cumsum", "cumprod", "broadcast_to", "gather"}


def vjp(
    builder: Builder,
    outs: Sequence[Ref],
    cts: Sequence[Ref | None],
    wrt: Sequence[Ref],
    start: int = 0,
) -> list[Ref | None]:
    """Emit the cotangents of `wrt`, given the cotangents of `outs`.

    Args:
        builder: holds the primal instrs; the new ones are appended.
        outs: refs to differentiate, and `cts`: their cotangents, None for zero.
        wrt: refs to differentiate with respect to; of float dtype.
        start: instrs before this one do not depend on `wrt`.

    Returns:
        One ref per `wrt`, None where the derivative is zero everywhere.
    """
    given = [None if ct is None else Cotangent(ct, False) for ct in cts]
    found = _pull(builder, outs, given, wrt, start)
    return [None if ct is None else ct.ref for ct in found]


def _pull(
    builder: Builder,
    outs: Sequence[Ref],
    cts: Sequence[Cotangent | None],
    wrt: Sequence[Ref],
    start: int = 0,
) -> list[Cotangent | None]:
    """`vjp` of cotangents that are known to be masked or not."""
    walk = _Walk(builder, wrt, builder.instrs[start:])
    for out, ct in zip(outs, cts, strict=True):
        if ct is not None:
            walk.add(out.index, ct.ref, ct.masked)
    saved = builder.source
    try:
        walk.run()
        found = [(ref.index, walk.total(ref.index)) for ref in wrt]
    finally:
        builder.source = saved
    return [
        None if ct is None else Cotangent(ct, index in walk.masked)
        for index, ct in found
    ]


class _Walk:
    """The state of one reverse walk: cotangents so far, and which are masked."""

    def __init__(
        self, builder: Builder, wrt: Iterable[Ref], instrs: list[Instr]
    ) -> None:
        self.builder = builder
        self.cts: dict[int, Ref] = {}
        self.windows: dict[int, list[Window]] = {}
        self.masked: set[int] = set()
        self.active = {ref.index for ref in wrt}
        self.path = [instr for instr in instrs if self._activate(instr)]
        self.finite = {
            i.outs[0]
            for i in builder.instrs
            if i.prim is const and cmath.isfinite(i.params["value"])
        }

    def _activate(self, instr: Instr) -> bool:
        """Whether a derivative flows through `instr`; if so its outputs are active."""
        outs = activated(instr, self.active, self.builder.avals)
        self.active.update(outs)
        return bool(outs)

    def add(self, index: int, ct: Any, masked: bool) -> None:
        """Add a contribution to the cotangent of ref `index`."""
        old = self.cts.get(index)
        self.cts[index] = ct if old is None else old + ct
        if masked:
            self.masked.add(index)

    def total(self, index: int) -> Ref | None:
        """The cotangent of ref `index`, all contributions being known."""
        if windows := self.windows.pop(index, None):
            self.add(index, assemble(windows, self.builder.avals[index].shape), False)
        return self.cts.get(index)

    def run(self) -> None:
        for instr in reversed(self.path):
            cts = [self.total(out) for out in instr.outs]
            if any(ct is not None for ct in cts):
                self.builder.source = instr.source
                self.pull(instr, cts)

    def pull(self, instr: Instr, cts: list[Ref | None]) -> None:
        """Add the contributions of one instr to the cotangents of its operands."""
        prim, name = instr.prim, instr.prim.name
        if prim is slice_:
            self._note_window(instr, cts[0])
            return
        if prim is loop or prim is branch:
            self._pull_inner(instr, cts)
            return
        args = [self.builder.ref(a) for a in instr.args]
        outs = [self.builder.ref(o) for o in instr.outs]
        masked = not self.masked.isdisjoint(instr.outs)
        if prim.partials is not None:
            parts: Sequence[Any] = self._elementwise(
                instr, cts[0], outs[0], args, masked
            )
        elif prim.expand is not None:
            parts = self._expanded(instr, cts, args)
        elif prim is custom_jvp and not hasattr(instr.params["rule"], "vjp"):
            n = instr.params["n"]
            push = instr.params["rule"].jvp
            parts = (None,) * n + self._transposed(
                lambda tangents: push(self.builder, tangents, args[n:]), cts, args[n:]
            )
        elif prim is host_call and not hasattr(instr.params["rule"], "vjp"):
            push = instr.params["rule"].jvp
            parts = self._transposed(
                lambda tangents: push(self.builder, tangents, outs, args), cts, args
            )
        elif prim.n_out == 1:
            parts = prim.vjp(cts[0], outs[0], *args, **instr.params)  # type: ignore
            if name == "mulz" and masked:
                parts = (lambda: mulz(cts[0], args[1]), parts[1])
        else:
            parts = prim.vjp(tuple(cts), tuple(outs), *args, **instr.params)  # type: ignore
        keeps = prim.family in ("elementwise", "structural", "control")
        masked = name in _MASKING or (masked and keeps and name not in _DROPPING)
        for arg, part in zip(args, parts, strict=True):
            if part is None or arg.index not in self.active:
                continue
            ct = part() if callable(part) else part
            if ct is None:
                continue
            if prim.family == "elementwise":
                ct = unbroadcast(ct, arg.shape)
            if ct.aval != arg.aval:
                raise InvalidTapeError(
                    f"the vjp of {name} gives {ct.aval!r} for an operand {arg.aval!r}."
                )
            self.add(arg.index, ct, masked)

    def _pull_inner(self, instr: Instr, cts: list[Ref | None]) -> None:
        """A loop or a branch, through the tapes in it."""
        given = [
            None if ct is None else Cotangent(ct, out in self.masked)
            for ct, out in zip(cts, instr.outs, strict=True)
        ]
        active = [arg in self.active for arg in instr.args]
        rule = pull_loop if instr.prim is loop else pull_branch
        found = rule(self.builder, instr, given, active, _pull)
        for arg, part in zip(instr.args, found, strict=True):
            if part is not None:
                self.add(arg, part.ref, part.masked)

    def _note_window(self, instr: Instr, ct: Any) -> None:
        (index,) = instr.args
        window = Window(instr.params["start"], instr.params["step"], ct)
        self.windows.setdefault(index, []).append(window)
        if not self.masked.isdisjoint(instr.outs):
            self.masked.add(index)

    def _elementwise(
        self, instr: Instr, ct: Any, out: Ref, args: list[Ref], masked: bool
    ) -> list[Any]:
        assert instr.prim.partials is not None
        partials = instr.prim.partials(out, *args, **instr.params)
        return [
            None
            if partial is None
            else lambda partial=partial: self.product(ct, partial, masked)
            for partial in partials
        ]

    def product(self, ct: Any, partial: Any, masked: bool) -> Any:
        """ct times a partial, without an instr where the partial is 1."""
        if callable(partial):
            partial = partial()
        if not isinstance(partial, Ref):
            if partial in (1, -1):
                return ct if partial == 1 else -ct
            return ct * partial
        if masked and partial.index not in self.finite:
            return mulz(ct, partial)
        return ct * partial

    def _expanded(
        self, instr: Instr, cts: list[Ref | None], args: list[Ref]
    ) -> Sequence[Any]:
        """Through the composition that a special routine stands for."""
        assert instr.prim.expand is not None
        start = len(self.builder.instrs)
        out = instr.prim.expand(*args, **instr.params)
        outs = [out] if instr.prim.n_out == 1 else list(out)
        wrt = [arg for arg in args if arg.index in self.active]
        found = iter(vjp(self.builder, outs, cts, wrt, start))
        return [next(found) if arg.index in self.active else None for arg in args]

    def _transposed(
        self,
        push: Callable[[list[Ref | None]], Sequence[Ref | None]],
        cts: list[Ref | None],
        xs: list[Ref],
    ) -> tuple:
        """Reverse mode through a forward rule: run it once at zero tangents, which is
        as good as anywhere since it is linear in them, and transpose what it emits."""
        tangents = [
            zeros(x) if is_float(x.aval) and x.index in self.active else None
            for x in xs
        ]
        start = len(self.builder.instrs)
        outs = push(list(tangents))
        pairs = [
            (out, ct)
            for out, ct in zip(outs, cts, strict=True)
            if out is not None and ct is not None
        ]
        wrt = [t for t in tangents if t is not None]
        found = iter(
            vjp(self.builder, [o for o, _ in pairs], [c for _, c in pairs], wrt, start)
        )
        return tuple(None if t is None else next(found) for t in tangents)
