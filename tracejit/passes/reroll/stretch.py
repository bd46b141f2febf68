"""Loops of more rounds than were recorded.

Some rounds, and then the last one, stand on the tape one behind the other; the recorder
knows that all those between them are like them (`tracer.rounds`).  Their proof is that
of the recorded ones, with another number of rounds and with the params of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ops.loop import loop
from ...tape import Builder, Instr, const
from .find import Run, Tokens
from .prove import Proof, Table, Varying, attempt

__all__ = ["Formula", "prove_rounds", "stretch"]

#: The values of a param in all rounds; of the starts of a slice one row a round.
Formula = np.ndarray

#: Families of primitives that do the same in every round.
_FAMILIES = frozenset(
    ("elementwise", "reduction", "structural", "contraction", "linalg")
)


def prove_rounds(builder: Builder, start: int, period: int, reps: int) -> Proof | None:
    """The proof that a run of instrs is rounds of a loop that may have more of them."""
    instrs = builder.instrs[start : start + period * reps]
    if not period or not all(map(_is_repeatable, instrs)):
        return None
    tokens = Tokens(builder.avals)
    words = [tokens.of(instr) for instr in instrs]
    if words != words[:period] * reps:
        return None
    proof = attempt(builder, Run(start, period, reps))
    if proof is None:
        return None
    operands = (o for part in proof.operands for o in part)
    return None if any(isinstance(o, Table) for o in operands) else proof


def _is_repeatable(instr: Instr) -> bool:
    if instr.prim is loop:
        return all(map(_is_repeatable, instr.params["body"].instrs))
    return instr.prim is const or instr.prim.family in _FAMILIES


def stretch(
    proof: Proof, trip: int, formulas: Mapping[tuple[int, str], Formula]
) -> bool:
    """Make it the proof of a loop of `trip` rounds, the last of which was recorded.

    Args:
        formulas: of the params that differ, by place in the body and name.

    Returns:
        Whether the formulas fit what was recorded.
    """
    reps = proof.run.reps
    seen = [*range(reps - 1), trip - 1]
    for place, varying in enumerate(proof.varying):
        for name, differing in varying.items():
            values = formulas.get((place, name))
            if values is None or len(values) != trip:
                return False
            recorded = np.array(differing.values, values.dtype)
            if values[seen].tobytes() != recorded.tobytes():
                return False
            varying[name] = Varying(values)
    if any(name not in proof.varying[place] for place, name in formulas):
        return False
    proof.places.later = trip - reps
    proof.trip = trip
    return True
