"""From a tape to something that runs: `compile_tape` gives an `Executable`.

INTERIM: interprets the tape; the interface below is the final one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tape import Tape

__all__ = ["Executable", "Kernel", "compile_tape"]


class Kernel:
    """One compiled kernel, shared by all traces of one structural key.

    Attributes: key (str), tape (the tape it was first compiled for), source (readable
    Python), stats (dict: compile_seconds, from_disk, instrs, loops, ...).
    """

    def __init__(self, tape: Tape) -> None:
        self.key = "interim"
        self.tape = tape
        self.source = ""
        self.stats: dict[str, Any] = {"compile_seconds": 0.0, "from_disk": False}


class Executable:
    """A kernel bound to one trace: `run(*leaves)` -> `(status, outcome, outputs)`.

    `leaves` are the tape's inputs without the captures: C-contiguous arrays of exactly
    the tape's dtypes and shapes; inputs of shape () come as Python or NumPy scalars.
    status 0: outputs is a tuple, fresh arrays, NumPy scalars for shape ();
    status k > 0: the guard with exit k - 1 failed, `outcome` is the actual value;
    status -1: NumPy would have raised (index out of range, singular matrix): record
    again, so that NumPy raises at the user's line.
    `compiled` is True when this call compiled new code (else the kernel was reused).
    """

    def __init__(self, kernel: Kernel, tape: Tape, captures: list[np.ndarray]) -> None:
        self.kernel = kernel
        self.tape = tape
        self.captures = captures
        self.compiled = True

    def run(self, *leaves: Any) -> tuple[int, Any, tuple | None]:
        from .interpret import GuardFailed, interpret

        try:
            outputs = interpret(self.tape, [*leaves, *self.captures])
        except GuardFailed as failed:
            return failed.exit + 1, failed.outcome, None
        return 0, None, tuple(outputs)


def compile_tape(tape: Tape, captures: list[np.ndarray]) -> Executable:
    """Compile `tape`, whose last `len(captures)` inputs are captured arrays."""
    return Executable(Kernel(tape), tape, captures)
