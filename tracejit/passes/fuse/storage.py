"""Where results live: in a register, in a row of scratch memory or in a full buffer.

A result needs memory for the axes that its consumers do not share with it.  If every
consumer reads it in the same iteration of all its loops it needs none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...program import STATIC_LIMIT, Affine, Buffer, Program
from .place import flat_axes, shared_depth
from .roots import INNER, Analysis, Root

__all__ = ["Memory", "new_buffer", "plan"]

#: Static buffers of at most this many elements are stack slots.
LOCAL_LIMIT = 64


@dataclass(eq=False)
class Memory:
    """A buffer and the result axes it spans (the others are one element at a time)."""

    buffer: Buffer
    axes: tuple[int, ...]


def plan(
    analysis: Analysis, roots: list[Root], program: Program, outputs: dict[int, Buffer]
) -> dict[int, Memory]:
    """Give every result that needs one a buffer, by ref; `outputs` have theirs."""
    producers: dict[int, list[Root]] = {}
    for root in roots:
        if root.instr is not None and root.ref >= 0:
            for ref in root.instr.outs:
                producers.setdefault(ref, []).append(root)
    full = {a for i in analysis.tape.instrs for a in analysis.whole_operands(i)}
    depths: dict[int, int] = {}
    spilled: set[int] = set()
    for consumer in roots:
        for ref, index in consumer.demands:
            for producer in producers[ref]:
                shared = shared_depth(producer, consumer, index)
                depths[ref] = min(depths.get(ref, shared), shared)
                if shared < _first_reduced(producer) or not _in_register(
                    producer, consumer, index
                ):
                    spilled.add(ref)
    memory: dict[int, Memory] = {}
    for ref, makers in producers.items():
        if ref in analysis.memory:
            continue
        root = makers[0]
        shape = analysis.avals[ref].shape
        alone = root.is_step or root.kind in ("put", "write", "scatter")
        whole = alone or ref in outputs or ref in full
        if whole:
            axes = tuple(range(len(shape)))
        elif ref in spilled or _accumulates_in_memory(root):
            depth = depths.get(ref, 0)
            if _accumulates_in_memory(root):
                depth = min(depth, _first_reduced(root))
            outer = {axis for _, axis in root.path[:depth]}
            axes = tuple(
                j for j, k in enumerate(root.kept) if k is None or k not in outer
            )
        else:
            continue
        if root.kind in ("scalar", "guard") or (root.kind in INNER and shape == ()):
            continue
        buffer = outputs.get(ref) or new_buffer(
            program, tuple(shape[j] for j in axes), analysis.avals[ref].dtype
        )
        memory[ref] = Memory(buffer, axes)
    return memory


def new_buffer(program: Program, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
    """A stack slot if small and static, else a part of the workspace."""
    size = 1
    for n in shape:
        size *= n
    if all(n <= STATIC_LIMIT for n in shape) and size <= LOCAL_LIMIT:
        buffer = Buffer("local", len(program.locals), shape, dtype)
        program.locals.append(buffer)
    else:
        buffer = Buffer("work", len(program.works), shape, dtype)
        program.works.append(buffer)
    return buffer


def _first_reduced(root: Root) -> int:
    """The depth of the first loop that the result does not have as an axis."""
    for depth, (_, axis) in enumerate(root.path):
        if axis not in root.kept:
            return depth
    return len(root.path)


def _accumulates_in_memory(root: Root) -> bool:
    """Whether a reduction keeps an axis inside one that it reduces."""
    if root.kind not in ("reduce", "arg"):
        return False
    inner = root.path[_first_reduced(root) :]
    return any(axis in root.kept for _, axis in inner)


def _in_register(producer: Root, consumer: Root, index: tuple) -> bool:
    """Whether the axes that no loop counts are read at constants, in all-flat code."""
    if producer.is_step or producer.kind in ("put", "write", "scatter"):
        return False
    if _accumulates_in_memory(producer):
        return False
    flat = set(flat_axes(producer))
    consumer_flat = set(flat_axes(consumer))
    for entry, kept in zip(index, producer.kept, strict=True):
        if kept in flat or kept is None:
            if not isinstance(entry, Affine):
                return False
            if entry.var is not None and entry.var not in consumer_flat:
                return False
    return True
