"""Which products may become part of a fused multiply-add.

A fused multiply-add rounds once where NumPy rounds twice.  In a sum, whose order is
free anyway, that is welcome.  Elsewhere it is not: fusion may compute one value in
several loops, LLVM may contract it in one of them only, and then `x == max(x)` holds
nowhere and `sqrt(a * a - b * b)` of equal numbers is NaN.  So a product is marked if
the one thing done with it is adding it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..program import (
    Accumulate,
    Accumulator,
    Check,
    Exit,
    Let,
    Load,
    Program,
    Statement,
    Store,
    walk,
)

__all__ = ["summed_products"]


def summed_products(program: Program) -> set[int]:
    """The values whose only use is to be added to an accumulator or an element."""
    uses: Counter[int] = Counter(o for o in program.outputs if isinstance(o, int))
    added: set[int] = set()
    for statement in walk(program.body):
        uses.update(_operands(statement))
        match statement:
            case Accumulate(kind="sum", value=value) | Store(value=value, add=True):
                added.add(value)
    return {value for value in added if uses[value] == 1}


def _operands(statement: Statement) -> Iterator[int]:
    match statement:
        case Let(args=args):
            yield from args
        case Load(index=index):
            yield from (part for part in index if isinstance(part, int))
        case Store(index=index, value=value):
            yield value
            yield from (part for part in index if isinstance(part, int))
        case Accumulator(start=value) | Accumulate(value=value):
            yield value
        case Exit(value=value, expected=expected, status=status):
            yield from (value, expected, status)
        case Check(value=value):
            yield value
