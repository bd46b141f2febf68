"""What a function does to its arguments: which it writes into, and where that goes.

A recording has arguments of its own, so nothing that it does reaches the caller by
itself.  What `jit` compiles does to the caller's arrays what the function does: the
kernel returns what became of them, and it is copied into them after a run that
succeeded.  Transforms that differentiate or batch evaluate the function on copies.

Where two arrays of a call share memory, plain Python would see a write into one of them
in the other, and the recording would not.  Such calls are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..errors import UnsupportedError, message
from ..signature import Call, caller, leaf_names
from ..tracer import Recorder

__all__ = ["Effects", "effects_of"]


class Effects:
    """The writes of one trace.

    Attributes:
        leaves: numbers of the traced leaves that are written into.
        delivered: those whose new contents the kernel returns, behind its results.
    """

    def __init__(self, leaves: Sequence[int], delivered: Sequence[int]) -> None:
        self.leaves = tuple(leaves)
        self.delivered = tuple(delivered)

    def check(self, captured: Sequence[Any], call: Call, fun: Callable) -> None:
        """Refuse arrays that see each other's memory."""
        raw = call.raw
        for i in self.leaves:
            for k, other in zip(count(), [*raw, *captured], strict=False):
                if k == i or not _share(raw[i], other):
                    continue
                names = leaf_names(call.spec, fun)
                known = names[call.traced[k]] if k < len(raw) else "a captured array"
                raise UnsupportedError(
                    message(
                        f"the function writes into the argument "
                        f"{names[call.traced[i]]}, which shares memory with {known}",
                        where=caller(),
                        way_out="Pass a copy of one of the two",
                    )
                )

    def deliver(self, raw: Sequence[Any], outputs: tuple) -> tuple:
        """Copy into the caller's arrays what became of them; gives the results."""
        if not self.delivered:
            return outputs
        first = len(outputs) - len(self.delivered)
        for i, value in zip(self.delivered, outputs[first:], strict=True):
            np.copyto(raw[i], value)
        return outputs[:first]


def _share(a: Any, b: Any) -> bool:
    arrays = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return arrays and bool(np.may_share_memory(a, b))


def effects_of(
    session: Recorder, tracers: Sequence[Any], raw: Sequence[Any], delivers: bool
) -> Effects | None:
    """What a recording did to its arguments; None if it did nothing to them.

    Args:
        tracers: those of the arguments' leaves.
        raw: the same as the caller gave them.
        delivers: whether the caller's arrays are to see it.
    """
    if not session.written:
        return None
    changed: list[int] = []
    if delivers:
        inputs = enumerate(session.inputs)
        changed = [i for i, ref in inputs if tracers[i].ref.index != ref]
    for i in changed:
        if not raw[i].flags.writeable:
            raise ValueError("assignment destination is read-only")
    return Effects(sorted(session.written), changed)
