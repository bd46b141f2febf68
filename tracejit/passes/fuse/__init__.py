"""Fusion: from a tape to the fused program of loops that a kernel runs.

    %2 = mul %0 %0                    acc = 0
    %3 = exp %1                       for i in range(n):
    %4 = mul %2 %3            ->          v = x[i]; e = exp(v)
    %5 = sum %4 {axes=(0,)}               acc += v * v * e
    ...backward...                        g[i] = (2 * v + v * v) * e

Why demand-driven loops and not pairwise merging of one loop per instr: what an expert
writes is determined by the few things that must be *done* (reductions, results in
memory, library calls), so these roots are placed and everything else is computed where
it is demanded, at the index it is demanded at.  Views, slices, broadcasts and padding
cost nothing then, forward and backward share loops without a special rule, and a
neighbour's value (`x[i-1]`) is recomputed when that is cheaper than memory.

What must hold, and where it is seen to:

1. An element is read only after it was made: `place` puts a root behind what it
   demands, or in the same iteration if it demands just that iteration's element.
2. Nothing behind a guard runs before it: guards are barriers in `place`.
3. Expensive values are computed once: a virtual value whose recomputation costs more
   than a trip through memory becomes stored, and the roots are placed again
   (`arrange`).
4. A loop body has no branch on the index: where a padded or concatenated operand
   changes its part, the loop is cut (`emit`).
"""

from __future__ import annotations

from ...program import Program
from ...tape import Tape
from ..contract import contract
from .emit import emit

__all__ = ["fuse"]


def fuse(tape: Tape, captures: int = 0) -> Program:
    """Fuse a simplified tape whose last `captures` inputs are captured arrays."""
    return emit(contract(tape), captures)
