"""The passes, each a function on tapes; `optimise` is their ordered pipeline."""

from __future__ import annotations

from ..tape import Tape
from .factor import factor
from .simplify import simplify

__all__ = ["optimise"]


def optimise(tape: Tape) -> Tape:
    """All passes that a tape goes through before it is lowered."""
    return factor(simplify(tape))
