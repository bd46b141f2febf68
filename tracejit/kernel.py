"""From a tape to something that runs: `compile_tape` gives an `Executable`."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import numpy as np

from .codegen import assembly, engine
from .codegen.layout import ALIGNMENT, RELEASE, WORKSPACE, Layout
from .codegen.source import Printed, print_program
from .program import For, Program, walk
from .tape import Tape

__all__ = ["Executable", "Kernel", "compile_program", "compile_tape"]


class Kernel:
    """One compiled kernel, shared by all traces of one structural key.

    Attributes:
        key: the structural key, a hash.
        tape: the tape it was first compiled for; None for a bare program.
        program: the fused program of that tape.
        stats: compile_seconds, from_disk, statements, loops.
    """

    def __init__(
        self, key: str, tape: Tape | None, program: Program, printed: Printed
    ) -> None:
        self.key = key
        self.tape = tape
        self.program = program
        self._printed = printed
        self.stats: dict[str, Any] = {
            "compile_seconds": 0.0,
            "from_disk": False,
            "statements": sum(1 for _ in walk(program.body)),
            "loops": sum(isinstance(s, For) for s in walk(program.body)),
        }
        self.name = f"tracejit_{key[:40]}"

    def load(self) -> None:
        start = time.perf_counter()
        text = assembly(self.program, self._printed.slots, self.name)
        engine.load_object(engine.compile_assembly(text))
        self.method = engine.method(self.name, engine.address(self.name))
        self.stats["compile_seconds"] = time.perf_counter() - start

    @property
    def source(self) -> str:
        return self._printed.module(f"{self.program.name}, kernel {self.key[:12]}")


_KERNELS: dict[str, Kernel] = {}
_LOCK = threading.RLock()


class Block(np.ndarray):
    """A parameter block; keeps alive what it points to."""

    keep: tuple[Any, ...]


class Executable:
    """A kernel bound to one trace: `run(*leaves)` -> `(status, outcome, outputs)`."""

    def __init__(
        self,
        kernel: Kernel,
        layout: Layout,
        captures: list[np.ndarray],
        compiled: bool,
    ) -> None:
        self.kernel = kernel
        self.captures = captures
        self.compiled = compiled
        params = np.array(layout.values(captures), np.int64).view(Block)
        total = layout.workspace()[1]
        memory = np.empty(total + ALIGNMENT, np.uint8)
        params[WORKSPACE] = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
        params[RELEASE] = 0
        params.keep = (memory, tuple(captures), tuple(layout.scalar_dtypes), kernel)
        self.run = engine.make_function(kernel.method, params)


def compile_program(
    program: Program, captures: list[np.ndarray], tape: Tape | None = None
) -> Executable:
    printed = print_program(program)
    key = hashlib.sha256(printed.text.encode()).hexdigest()
    with _LOCK:
        kernel = _KERNELS.get(key)
        compiled = kernel is None
        if kernel is None:
            kernel = Kernel(key, tape, program, printed)
            kernel.load()
            _KERNELS[key] = kernel
    return Executable(kernel, Layout(program, printed.slots), captures, compiled)


def compile_tape(tape: Tape, captures: list[np.ndarray]) -> Executable:
    """Compile `tape`, whose last `len(captures)` inputs are captured arrays."""
    from .passes.fuse import fuse

    return compile_program(fuse(tape, len(captures)), captures, tape)
