"""What names held at the visits of a loop's test, and what follows for more rounds.

The Python code of the loop does the same in every round (`Exits.verdict`), so a name
gets its value in a round from what is made there or from what one certain name held
before.  That is enough to say what a name will hold after any number of rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...tape import Builder, Instr, guard
from .find import Run
from .prove import Carried, Fixed, Local, Places, Proof, Varying

__all__ = ["first_values", "single", "stay"]


def first_values(
    proof: Proof, visits: Sequence[Sequence[int]], ref: int, lag: int
) -> set[tuple[int, ...]]:
    """What the names that hold a ref at the last visit held at the first `lag` visits.

    A name gets its value in a round from what is made there or from what one certain
    name held before.  So a name that holds what was made `lag` rounds ago, at each
    visit from number `lag` on, does so for any number of rounds.
    """
    spot = proof.places.get(ref)
    assert spot is not None
    _, place, out = spot
    found = set()
    for name in [k for k, held in enumerate(visits[-1]) if held == ref]:
        first = tuple(held[name] for held in visits[:lag])
        later = [proof.places.get(held[name]) for held in visits[lag:]]
        steady = later == [(k, place, out) for k in range(len(later))]
        known = any(proof.places.get(old) is not None for old in first)
        if lag > 1 and (known or not steady):
            return set()
        found.add(first)
    return found


def single(
    builder: Builder,
    run: Run,
    behind: Instr,
    visits: Sequence[Sequence[int]],
    is_given: Callable[[int], bool],
) -> Proof | None:
    """The proof of a run of one round, by what names held before and after it.

    The round read a ref from before the loop by a name that held it.  If all such names
    hold it afterwards, no round will change that; if all hold the same value that the
    round has made, the next round will read that.

    Args:
        behind: the guard behind the round.
        visits: what the names held at both guards.
        is_given: whether a ref is an input or a constant.
    """
    body = builder.instrs[run.start : run.start + run.period]
    spots = [(p, out) for p, instr in enumerate(body) for out in range(len(instr.outs))]
    refs = [ref for instr in body for ref in instr.outs]
    places = Places(np.array([refs], np.int64), spots)
    if len(visits[0]) != len(visits[1]):
        return None
    made = places.get(behind.args[0])
    if made is None:
        return None
    operands: list[list[Any]] = [[Carried(*made[1:], 1, body[0].args)]]
    for instr in body[1:]:
        operands.append([])
        for ref in instr.args:
            if (here := places.get(ref)) is not None:
                operands[-1].append(Local(*here[1:]))
                continue
            later = {b for a, b in zip(*visits, strict=True) if a == ref}
            if later == {ref} or (not later and is_given(ref)):
                operands[-1].append(Fixed(ref))
            elif len(later) == 1 and (made := places.get(min(later))):
                operands[-1].append(Carried(*made[1:], 1, (ref,)))
            else:
                return None
    exit = Varying((body[0].params["exit"],))
    varying = [{"exit": exit} if i.prim is guard else {} for i in body]
    return Proof(run, body, places, operands, varying)


def stay(visits: Sequence[Sequence[int]], read: set[int], fixed: set[int]) -> bool:
    """Whether refs from before the loop are held by the same names for good.

    A name gets its value in a round from one certain name.  So if all names that held a
    ref at each visit but the last do so at the last, too, they will after any number of
    rounds; and no other name may hold it in the end, since it does not after fewer.

    Args:
        read: refs that are read after the loop, by names or otherwise.
        fixed: refs that every round reads.
    """
    always, almost = _always(visits), _always(visits[:-1])
    last = visits[-1]
    for name, ref in enumerate(last):
        if (ref in read or ref in fixed) and always.get(name) != ref:
            return False
    named = fixed | read.intersection(last)
    return all(always.get(name) == ref for name, ref in almost.items() if ref in named)


def _always(visits: Sequence[Sequence[int]]) -> dict[int, int]:
    """The names that hold one ref at all visits."""
    first, *others = visits
    return {
        name: ref
        for name, ref in enumerate(first)
        if all(held[name] == ref for held in others)
    }
