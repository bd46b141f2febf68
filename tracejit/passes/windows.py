"""The cotangent of a value that was read through many slices.

    %1 = slice %0 {[0:1]}                 %7 = concatenate %5 %6
    %2 = slice %0 {[1:2]}          ->
    ...cotangents %5 of %1, %6 of %2

The transpose of each slice alone is an array of zeros around the slice's cotangent;
a Python loop over the n elements of an array would add n such arrays.  Slices that do
not overlap are concatenated instead, axis by axis, with zeros where there is a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..ops.structural import broadcast_to, concatenate, unslice
from ..tape import Ref

__all__ = ["Window", "assemble"]

Shape = tuple[int, ...]


class Window(NamedTuple):
    """The cotangent of `x[start : start + ct.shape]`, in steps."""

    start: Shape
    step: Shape
    ct: Any


def assemble(windows: Sequence[Window], shape: Shape) -> Ref:
    """The sum of the transposes of all slices, an array of `shape`."""
    total: Any = None
    dense = []
    for w in windows:
        if all(step == 1 for step in w.step):
            dense.append(w)
        else:
            total = _plus(total, unslice(w.ct, start=w.start, step=w.step, shape=shape))
    return _plus(total, _merge(dense, shape, 0)) if dense else total


def _plus(a: Any, b: Any) -> Any:
    return b if a is None else a + b


def _merge(windows: list[Window], shape: Shape, axis: int) -> Any:
    """Windows that agree on the axes before `axis`, as one that is whole from there."""
    if axis == len(shape):
        total: Any = None
        for w in windows:
            total = _plus(total, w.ct)
        return total
    groups: dict[tuple[int, int], list[Window]] = {}
    for w in windows:
        groups.setdefault((w.start[axis], w.ct.shape[axis]), []).append(w)
    spans = sorted(groups)
    blocks = [_merge(groups[span], shape, axis + 1) for span in spans]
    ends = [start + size for start, size in spans]
    apart = all(end <= start for end, (start, _) in zip(ends, spans[1:], strict=False))
    if len(blocks) > 1 and apart:
        return _row(blocks, spans, shape[axis], axis)
    total = None
    for block, (start, size) in zip(blocks, spans, strict=True):
        total = _plus(total, _padded(block, axis, start, size, shape[axis]))
    return total


def _padded(block: Any, axis: int, start: int, size: int, n: int) -> Any:
    if size == n:
        return block
    starts = tuple(start if i == axis else 0 for i in range(block.ndim))
    shape = tuple(n if i == axis else m for i, m in enumerate(block.shape))
    return unslice(block, start=starts, step=(1,) * block.ndim, shape=shape)


def _row(blocks: list[Any], spans: list[tuple[int, int]], n: int, axis: int) -> Any:
    """The blocks side by side, zeros in the gaps."""
    pieces, at = [], 0
    for block, (start, size) in zip(blocks, spans, strict=True):
        pieces += _gap(block, axis, start - at)
        pieces.append(block)
        at = start + size
    pieces += _gap(blocks[0], axis, n - at)
    return concatenate(*pieces, axis=axis)


def _gap(like: Any, axis: int, size: int) -> list[Any]:
    if not size:
        return []
    shape = tuple(size if i == axis else m for i, m in enumerate(like.shape))
    return [broadcast_to(like.builder.const(0, like.dtype), shape=shape)]
