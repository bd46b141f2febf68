"""Roots: what a program must do, each with its iteration space.

A root is a reduction, a scan, a store of a value that has to be in memory, a scalar, a
guard or a library call.  All other instrs are virtual: they are computed inside the
loops of the roots that demand them, as often as they are demanded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ...avals import Aval
from ...program import STATIC_LIMIT, Affine
from ...tape import Instr, Tape
from .access import (
    DYNAMIC,
    PIECED,
    VIEWS,
    ZERO_INDEX,
    aligned,
    cost_of,
    is_general_reshape,
    pieces,
    through_view,
)
from .in_place import InPlace, Sides
from .sizes import labelled

__all__ = ["CALLS", "INNER", "Analysis", "Root", "is_call", "is_flat"]

CALLS = frozenset(
    "dot cholesky cholesky_vjp triangular_solve solve inv det slogdet lu lu_solve"
    " lu_inv argsort mask_indices".split()
)
REDUCTIONS = frozenset("sum prod max min any all".split())
ARG_REDUCTIONS = frozenset(("argmax", "argmin"))
SCANS = frozenset(("cumsum", "cumprod"))
#: Primitives with tapes in them; their operands are in memory, like those of calls.
INNER = ("loop", "branch")

#: More parts than this are written part by part instead of chosen per element.
MAX_PIECES = 4
#: A value this far from memory is stored, which bounds a loop body's size.
MAX_DEPTH = 120
#: An iteration space of at most this many static points is written out.
FLAT_LIMIT = 16


@dataclass(eq=False)
class Root:
    """One thing to do.

    Attributes:
        kind: reduce, arg, scan, scatter, store, put, write, scalar, or a step that
            stands alone: guard, call, loop, branch.
        ref: the result (-1 for a guard; the first output of a call or loop, -1 for a
            loop that holds nothing but guards).
        space: sizes of the iteration space.
        order: its axes of length other than 1, outermost first.
        kept: for each result axis, the space axis it is (None: length 1 or none).
        needs: operands with the index at which the space's point reads them.
        target: put and write, the result index that the space's point writes; an
            entry `(need, entry)` adds the scalar value of a need to an entry or None.
        demands: placed values read, with index, filled by `Analysis.explore`.
        cuts: (axis, position) where a pieced operand changes its part.
        alone: whether a write stands alone: it changes what is there.
        path: the loops around it, with the axis each one counts (filled by place).
    """

    kind: str
    instr: Instr | None
    ref: int
    space: tuple[int, ...]
    order: list[int]
    kept: tuple[int | None, ...] = ()
    needs: list[tuple[int, tuple[Any, ...]]] = field(default_factory=list)
    target: tuple[Any, ...] = ()
    demands: dict[tuple[int, tuple[Any, ...]], None] = field(default_factory=dict)
    cuts: set[tuple[int, int]] = field(default_factory=set)
    path: list[tuple[Any, int]] = field(default_factory=list)
    alone: bool = False

    @property
    def is_step(self) -> bool:
        return self.alone or self.kind in ("guard", "call", *INNER)


def is_call(instr: Instr) -> bool:
    """Whether a library, or the row's reference in Python, does it on whole arrays."""
    return instr.prim.host or instr.prim.name in CALLS


def identity(space: Sequence[int]) -> tuple[Affine, ...]:
    return tuple(ZERO_INDEX if n == 1 else Affine(k, 1, 0) for k, n in enumerate(space))


def long_axes(space: Sequence[int]) -> list[int]:
    return [k for k, n in enumerate(space) if n != 1]


def is_flat(sizes: Sequence[int]) -> bool:
    """Whether a space is so small and static that it is written out."""
    return all(n <= STATIC_LIMIT for n in sizes) and prod(sizes) <= FLAT_LIMIT


class Analysis:
    """The roots of a tape for a given choice of stored values.

    `stored` starts with what must be in memory; `fuse` adds to it what is not worth
    recomputing and analyses again.
    """

    def __init__(self, tape: Tape, unit: int = 0, known: InPlace | None = None) -> None:
        self.tape = tape
        self.unit = unit
        self.avals: Sequence[Aval] = labelled(tape, unit)
        self.instr_of: dict[int, Instr] = {
            out: instr for instr in tape.instrs for out in instr.outs
        }
        self.inputs = set(tape.inputs)
        self.stored: set[int] = set() if known is None else set(known.stored)
        #: Results of `update` that are written part by part, into a copy.
        self.written: set[int] = set()
        #: Results of writes that have the memory of an input, see `in_place`.
        self.memory: Mapping[int, int] = {} if known is None else known.memory
        #: Sides of branches that write in place.
        self.sides: Mapping[int, Sides] = {} if known is None else known.sides
        self.placed: set[int] = set()
        #: Operands of loops and branches, which have memory of their own shape.
        self.rows = {a for i in tape.instrs if i.prim.name in INNER for a in i.args}
        self._choose_stored()

    # -- what has to be in memory ---------------------------------------------

    def _choose_stored(self) -> None:
        depth: dict[int, int] = {}
        for instr in self.tape.instrs:
            self.stored.update(self.whole_operands(instr))
            name = instr.prim.name
            if (
                name == "diag_embed"
                or (name == "unslice" and any(s != 1 for s in instr.params["step"]))
                or (name == "concatenate" and self._has_many_pieces(instr))
                or self.is_write(instr)
            ):
                self.stored.add(instr.outs[0])
            for out in instr.outs:
                here = 1 + max((depth.get(a, 0) for a in instr.args), default=0)
                if not self.is_virtual(out) or out in self.stored:
                    here = 0
                elif here > MAX_DEPTH:
                    self.stored.add(out)
                    here = 0
                depth[out] = here
        self.stored.update(o for o in self.tape.outputs if self.avals[o].shape != ())
        self.stored -= self.inputs

    def _has_many_pieces(self, instr: Instr) -> bool:
        flat = is_flat(self.avals[instr.outs[0]].shape)
        return len(instr.args) > MAX_PIECES and not flat

    def whole_operands(self, instr: Instr) -> list[int]:
        """The refs that have to be in memory as a whole for this instr."""
        name, args = instr.prim.name, instr.args
        if is_call(instr):
            return [self.under(a) for a in args if self.avals[a].shape != ()]
        if name in INNER:
            # Not a view: its rows are rows of the memory.
            return [a for a in args if self.avals[a].shape != ()]
        if name == "gather" or (
            name == "reshape" and is_general_reshape(instr, self.avals[args[0]].shape)
        ):
            return [self.under(args[0])]
        return []

    def is_write(self, instr: Instr) -> bool:
        """Whether elements are put into memory one by one, over what is there."""
        params = instr.params
        if instr.prim.name in INNER:
            return False
        if instr.outs[:1] and instr.outs[0] in self.memory:
            return True
        if instr.prim.name == "update":
            moves = bool(params["axes"]) or any(s != 1 for s in params["step"])
            return moves or params["add"] or instr.outs[0] in self.written
        return instr.prim.name == "scatter"

    def under(self, ref: int) -> int:
        """The array whose memory a reshape is another view of."""
        instr = self.instr_of.get(ref)
        while (
            instr is not None
            and ref not in self.rows
            and instr.prim.name == "reshape"
            and self.avals[instr.args[0]].shape != ()
        ):
            (ref,) = instr.args
            instr = self.instr_of.get(ref)
        return ref

    def is_virtual(self, ref: int) -> bool:
        """Whether elements of `ref` are computed where they are demanded."""
        instr = self.instr_of.get(ref)
        if instr is None:
            return False
        name, family = instr.prim.name, instr.prim.family
        if is_call(instr) or name in ("scatter_add", *INNER) or family == "reduction":
            return False
        return not (family == "elementwise" and self.avals[ref].shape == ())

    # -- the roots -------------------------------------------------------------

    def roots(self) -> list[Root]:
        found: list[Root] = []
        self.placed = set()
        for instr in self.tape.instrs:
            found.extend(self._roots_of(instr))
        for root in found:
            if root.ref >= 0 and root.instr is not None:
                self.placed.update(root.instr.outs)
        return found

    def _roots_of(self, instr: Instr) -> list[Root]:
        name, avals = instr.prim.name, self.avals
        if name == "const":
            return []
        if name == "guard":
            needs = [(a, ()) for a in instr.args]
            return [Root("guard", instr, -1, (), [], needs=needs)]
        if is_call(instr):
            needs = [(a, (DYNAMIC,) * avals[a].ndim) for a in instr.args]
            return [Root("call", instr, instr.outs[0], (), [], needs=needs)]
        if name in INNER:
            needs = [(a, (DYNAMIC,) * avals[a].ndim) for a in instr.args]
            first = instr.outs[0] if instr.outs else -1  # a loop of guards alone
            return [Root(name, instr, first, (), [], needs=needs)]
        (ref,) = instr.outs
        if name in REDUCTIONS:
            return [self._reduction(instr, "reduce", instr.params["axes"])]
        if name in ARG_REDUCTIONS:
            return [self._reduction(instr, "arg", (instr.params["axis"],))]
        if name in SCANS:
            space = avals[ref].shape
            axis = instr.params["axis"]
            order = [a for a in long_axes(space) if a != axis]
            order += [axis] if space[axis] != 1 else []
            index = identity(space)
            kept = tuple(i.var for i in index)
            return [
                Root("scan", instr, ref, space, order, kept, [(instr.args[0], index)])
            ]
        if name == "scatter_add":
            return [self._scatter(instr)]
        if not self.is_virtual(ref):
            return [Root("scalar", instr, ref, (), [], needs=[(ref, ())])]
        if ref not in self.stored:
            return []
        if self.is_write(instr):
            return self._writes(instr)
        if name == "concatenate" or name in ("unslice", "diag_embed"):
            return self._puts(instr)
        space = avals[ref].shape
        index = identity(space)
        kept = tuple(i.var for i in index)
        return [
            Root("store", instr, ref, space, long_axes(space), kept, [(ref, index)])
        ]

    def _reduction(self, instr: Instr, kind: str, axes: tuple[int, ...]) -> Root:
        (operand,) = instr.args
        space = self.avals[operand].shape
        index = identity(space)
        kept = tuple(index[k].var for k in range(len(space)) if k not in axes)
        order = long_axes(space)
        if kind == "arg":
            order = [a for a in order if a in kept] + [a for a in order if a in axes]
        return Root(kind, instr, instr.outs[0], space, order, kept, [(operand, index)])

    def _scatter(self, instr: Instr) -> Root:
        updates, positions = instr.args
        space = self.avals[updates].shape
        index = identity(space)
        axis, ndim = instr.params["axis"], self.avals[positions].ndim
        where = index[axis : axis + ndim]
        kept = (None,) * self.avals[instr.outs[0]].ndim
        needs = [(updates, index), (positions, where)]
        return Root(
            "scatter", instr, instr.outs[0], space, long_axes(space), kept, needs
        )

    def _writes(self, instr: Instr) -> list[Root]:
        """A copy of the old value, and what is written over it."""
        (ref,), (old, part, *at) = instr.outs, instr.args
        whole, space = self.avals[ref].shape, self.avals[part].shape
        identical, index = identity(whole), identity(space)
        kept = (None,) * len(whole)
        needs: list[tuple[int, tuple[Any, ...]]] = [(part, index)]
        if instr.prim.name == "update":
            params = instr.params
            target: list[Any] = [
                Affine(i.var, i.step * step, start)
                for i, start, step in zip(
                    index, params["start"], params["step"], strict=True
                )
            ]
            for number, axis in enumerate(params["axes"], 1):
                target[axis] = (number, target[axis])
            needs += [(a, ()) for a in at]
        else:
            axis, ndim = instr.params["axis"], self.avals[at[0]].ndim
            target = [*index[:axis], (1, None), *index[axis + ndim :]]
            needs.append((at[0], index[axis : axis + ndim]))
        if ref in self.memory:
            write = Root(
                "write", instr, ref, space, long_axes(space), kept, needs, tuple(target)
            )
            write.alone = True
            return [write]
        copy = Root(
            "put",
            instr,
            ref,
            whole,
            long_axes(whole),
            kept,
            [(old, identical)],
            identical,
        )
        write = Root(
            "write", instr, ref, space, long_axes(space), kept, needs, tuple(target)
        )
        return [copy, write]

    def _puts(self, instr: Instr) -> list[Root]:
        (ref,) = instr.outs
        kept = (None,) * self.avals[ref].ndim
        found = []
        at = 0
        for operand in instr.args:
            space = self.avals[operand].shape
            index = identity(space)
            target = list(index)
            if instr.prim.name == "concatenate":
                axis = instr.params["axis"]
                target[axis] = index[axis]._replace(offset=at)
                at += space[axis]
            elif instr.prim.name == "unslice":
                target = [
                    Affine(i.var, i.step * step, start)
                    for i, start, step in zip(
                        index, instr.params["start"], instr.params["step"], strict=True
                    )
                ]
            else:
                offset = instr.params["offset"]
                last = index[-1]
                target[-1:] = [
                    last._replace(offset=max(-offset, 0)),
                    last._replace(offset=max(offset, 0)),
                ]
            needs = [(operand, index)]
            found.append(
                Root(
                    "put",
                    instr,
                    ref,
                    space,
                    long_axes(space),
                    kept,
                    needs,
                    tuple(target),
                )
            )
        return found

    # -- what a root demands -----------------------------------------------------

    def operands(
        self, instr: Instr, index: tuple[Any, ...]
    ) -> list[tuple[int, tuple[Any, ...]]]:
        """The operands of a virtual value, with the indices its element reads."""
        name, avals = instr.prim.name, self.avals
        if name == "reshape" and is_general_reshape(instr, avals[instr.args[0]].shape):
            (arg,) = instr.args
            return [(arg, (DYNAMIC,) * avals[arg].ndim)]
        if name in VIEWS:
            (arg,) = instr.args
            return [(arg, through_view(instr, avals[arg].shape, index))]
        if name == "gather":
            array, positions = instr.args
            axis, ndim = instr.params["axis"], avals[positions].ndim
            inner = (*index[:axis], DYNAMIC, *index[axis + ndim :])
            where = index[axis : axis + ndim]
            fixed = aligned(inner, avals[array].shape)
            inner = (*fixed[:axis], DYNAMIC, *fixed[axis + 1 :])
            return [
                (array, inner),
                (positions, aligned(where, avals[positions].shape)),
            ]
        if name in PIECED:
            found = []
            for piece in pieces(instr, avals):
                shifted = list(index)
                for axis, lo, _ in piece.box:
                    entry = shifted[axis]
                    if entry is not DYNAMIC:
                        shifted[axis] = entry._replace(offset=entry.offset - lo)
                assert piece.operand is not None
                shape = avals[piece.operand].shape
                found.append((piece.operand, aligned(shifted, shape)))
            return found
        if name in ("tril", "triu"):
            return [(instr.args[0], index)]
        return [(a, aligned(index, avals[a].shape)) for a in instr.args]

    def explore(
        self, root: Root
    ) -> tuple[dict[int, set[tuple[Any, ...]]], dict[int, set[int]], set[int]]:
        """Fill `root.demands` and `root.cuts`.

        Returns the virtual values visited with the indices they are visited at, the
        direct consumers of each (-1 is the root itself), and the pieced values that
        are read at an index which does not tell the part at compile time.
        """
        root.demands.clear()
        root.cuts.clear()
        if root.kind == "write" and not root.alone:
            # Behind the copy that it writes over.
            root.demands[root.ref, (DYNAMIC,) * self.avals[root.ref].ndim] = None
        visited: dict[int, set[tuple[Any, ...]]] = {}
        consumers: dict[int, set[int]] = {}
        unclear: set[int] = set()
        stack: list[tuple[int, tuple[Any, ...], int]] = []
        for ref, index in root.needs:
            own = root.kind in ("store", "scalar") and ref == root.ref
            if own:
                assert root.instr is not None
                self._cut(root, root.instr, index, unclear)
                for operand, inner in self.operands(root.instr, index):
                    stack.append((operand, inner, -1))
            else:
                stack.append((ref, index, -1))
        while stack:
            ref, index, consumer = stack.pop()
            if ref in self.placed or ref in self.inputs:
                if ref in self.placed:
                    root.demands[ref, index] = None
                continue
            consumers.setdefault(ref, set()).add(consumer)
            seen = visited.setdefault(ref, set())
            if index in seen:
                continue
            seen.add(index)
            instr = self.instr_of[ref]
            self._cut(root, instr, index, unclear)
            for operand, inner in self.operands(instr, index):
                stack.append((operand, inner, ref))
        return visited, consumers, unclear

    def _cut(
        self, root: Root, instr: Instr, index: tuple[Any, ...], unclear: set[int]
    ) -> None:
        if instr.prim.name not in PIECED:
            return
        for piece in pieces(instr, self.avals):
            for axis, lo, hi in piece.box:
                entry = index[axis]
                if entry is DYNAMIC or (entry.var is not None and entry.step != 1):
                    unclear.add(instr.outs[0])
                elif entry.var is not None:
                    n = root.space[entry.var]
                    for at in (lo - entry.offset, hi - entry.offset):
                        if 0 < at < n:
                            root.cuts.add((entry.var, at))

    def cost(self, ref: int, known: dict[int, int]) -> int:
        """Rough cost of one element of a virtual value, down to memory."""
        stack = [ref]
        while stack:
            top = stack[-1]
            if top in known:
                stack.pop()
                continue
            instr = self.instr_of.get(top)
            if instr is None or top in self.placed:
                known[top] = 0
                continue
            missing = [a for a in instr.args if a not in known]
            if missing:
                stack.extend(missing)
                continue
            own = cost_of(instr) if instr.prim.family == "elementwise" else 0
            known[top] = min(own + sum(known[a] for a in instr.args), 10_000)
        return known[ref]
