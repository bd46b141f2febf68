"""From an optimised tape to a program: complex values split, then fused."""

from __future__ import annotations

from ..program import Buffer, Program
from ..tape import Tape
from .fuse import fuse
from .split import split

__all__ = ["lower"]


def lower(tape: Tape, captures: int = 0) -> Program:
    """The program of a simplified tape whose last `captures` inputs are captured."""
    real = split(tape)
    program = fuse(real.tape, captures)
    for k in real.inputs:
        program.args[k].complex = True
    for k in real.outputs:
        output = program.outputs[k]
        assert isinstance(output, Buffer)
        output.complex = True
    return program
