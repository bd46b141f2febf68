"""From a tape to something that runs: `compile_tape` gives an `Executable`.

A tape becomes a program (`passes.lower`), the program a canonical text
(`codegen.source`), and the text, with all that generated code depends on, a structural
key.  A kernel of that key from this process or from disk is used again; else the
program is compiled.  A kernel knows no sizes and constants: each trace has a parameter
block of its own, and its `run` is a built-in function around kernel and block.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np

from . import config
from .codegen import assembly, engine, entry, store, symbols, vector_math
from .codegen.entry import Check, Row, Table, Where
from .codegen.host import Descriptor, descriptors, names_of
from .codegen.layout import ALIGNMENT, RELEASE, WORKSPACE, Layout
from .codegen.pool import LARGE, Pool
from .codegen.source import Printed, print_program
from .passes.lower import lower
from .program import Call, For, If, Program, Statement, walk
from .tape import Tape

__all__ = [
    "Check",
    "Executable",
    "Kernel",
    "Row",
    "Where",
    "compile_program",
    "compile_tape",
    "fresh",
    "load_code",
    "structural_key",
    "work_of",
]

#: Calls that do at least so many scalar operations release the GIL.
_RELEASE_WORK = 50_000
#: Programs of more loops are compiled with fewer optimisations.
_MANY_LOOPS = 24


class Kernel:
    """One compiled kernel, shared by all traces of one structural key.

    Attributes:
        key: the structural key, a hash.
        tape: the tape it was first compiled for; None for a bare program.
        program: the fused program of that tape.
        stats: `compile_seconds` (to get it, from wherever), `from_disk`, and of its
            program `statements`, `loops`, `calls` (of libraries); `code_bytes`.
    """

    def __init__(
        self, key: str, tape: Tape | None, program: Program, printed: Printed
    ) -> None:
        self.key = key
        self.tape = tape
        self.program = program
        self._printed = printed
        self._method: Any = None
        everything = list(walk(program.body))
        self.stats: dict[str, Any] = {
            "compile_seconds": 0.0,
            "from_disk": False,
            "statements": len(everything),
            "loops": sum(isinstance(s, For) for s in everything),
            "calls": sum(isinstance(s, Call) for s in everything) - len(program.hosts),
            "code_bytes": 0,
        }

    def __repr__(self) -> str:
        return f"<kernel {self.key[:12]} of {self.program.name}>"

    @property
    def name(self) -> str:
        """The symbol; names of kernels never collide."""
        return f"tracejit_{self.key[:40]}"

    @property
    def source(self) -> str:
        """The kernel as a module of readable Python; see `codegen.source`."""
        args = ", ".join(f"{b.dtype}{list(b.shape)}" for b in self.program.args)
        return self._printed.module(
            f"{self.program.name}({args})\nkernel {self.key[:16]}"
        )

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """`ints` and `floats` of `source` for the tape it was compiled for."""
        return self._printed.ints, self._printed.floats

    @property
    def assembly(self) -> str:
        """The LLVM assembly before optimisation."""
        return assembly(self.program, self._printed.slots, self.name)

    @property
    def method(self) -> Any:
        return self._method

    def load(self) -> None:
        """Get the machine code: from disk, or by compiling."""
        start = time.perf_counter()
        quick = self.stats["loops"] > _MANY_LOOPS
        size, from_disk = load_code(self.key, lambda: self.assembly, quick=quick)
        self._method = engine.method(self.name, engine.address(self.name))
        self.stats["code_bytes"] = size
        self.stats["from_disk"] = from_disk
        self.stats["compile_seconds"] = time.perf_counter() - start


class Block(np.ndarray):
    """A parameter block; keeps alive what its slots point to."""

    keep: tuple[Any, ...]


class Executable:
    """A kernel bound to one trace: `run(*leaves)` -> `(status, outcome, outputs)`.

    `call(*leaves)` is the same with less to unpack: the tuple of the outputs, or else
    the list `[status, outcome]`.  `entry` makes functions that check what they get.

    `leaves` are the tape's inputs without the captures: C-contiguous arrays of exactly
    the tape's dtypes and shapes; inputs of shape () come as Python or NumPy scalars.
    status 0: outputs is a tuple, fresh arrays, NumPy scalars for shape ();
    status k > 0: the guard with exit k - 1 failed, `outcome` is the actual value;
    status -1: NumPy would have raised (index out of range, singular matrix): record
    again, so that NumPy raises at the user's line.
    `compiled` is True when this call compiled new code (else the kernel was reused,
    in this process or from disk).  `hosts` names what the kernel calls in Python,
    `natives` what Numba compiled.
    """

    call: Callable[..., tuple | list[Any]]

    def __init__(
        self,
        kernel: Kernel,
        layout: Layout,
        captures: list[np.ndarray],
        compiled: bool,
    ) -> None:
        self.kernel = kernel
        self.tape = kernel.tape
        self.captures = captures
        self.compiled = compiled
        mirrors = [_mirror(array) for array in captures]
        hosts = descriptors(layout.program)
        self.hosts, self.natives = names_of([layout.program], [hosts])
        self._block = _block(kernel, layout, mirrors, hosts)
        self._bare = engine.make_function(kernel.method, self._block)
        moved = [
            (mirror, array)
            for mirror, array in zip(mirrors, captures, strict=True)
            if mirror is not array
        ]
        self.call = _runner(self._bare, layout, moved)

    def run(self, *leaves: Any) -> tuple[int, Any, tuple | None]:
        answer = self.call(*leaves)
        if isinstance(answer, tuple):
            return 0, None, answer
        status, outcome = answer
        return status, outcome, None

    def entry(self, rows: Sequence[Row], **table: Any) -> Callable[..., Any]:
        """A function that calls the kernel if `rows` hold; see `codegen.entry`.

        Its arguments are those that the rows name.  For `table` see `Table.make`.
        """
        native = self.call is self._bare
        made = Table.make(
            rows,
            self.kernel.method.function if native else 0,
            self._block if native else self.call,
            **table,
        )
        return engine.make_function(_entry(), made)


def compile_tape(tape: Tape, captures: list[np.ndarray]) -> Executable:
    """Compile `tape`, whose last `len(captures)` inputs are captured arrays."""
    return compile_program(lower(tape, len(captures)), captures, tape)


def compile_program(
    program: Program, captures: list[np.ndarray], tape: Tape | None = None
) -> Executable:
    """Compile a fused program, or find the kernel of its structure."""
    printed = print_program(program)
    key = structural_key(printed.text)
    layout = Layout(program, printed.slots)
    kernel = _KERNELS.get(key)
    compiled = False
    if kernel is None:
        with _LOCK:
            kernel = _KERNELS.get(key)
            if kernel is None:
                kernel = Kernel(key, tape, program, printed)
                kernel.load()
                compiled = not kernel.stats["from_disk"]
                _KERNELS[key] = kernel
    executable = Executable(kernel, layout, captures, compiled)
    executable.tape = tape
    return executable


def fresh(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of undefined content for a result."""
    size = dtype.itemsize
    for n in shape:
        size *= n
    if config.POOL_BYTES > 0 and size >= LARGE:
        return _POOL.take(shape, dtype)
    return np.empty(shape, dtype)


def structural_key(text: str) -> str:
    """The hash of a canonical text and of all that its code depends on."""
    return hashlib.sha256(f"{_identity()}\n{text}".encode()).hexdigest()


_KERNELS: dict[str, Kernel] = {}
_LOCK = threading.RLock()
_POOL = Pool(config.POOL_BYTES)


@cache
def _identity() -> str:
    """Versions, machine and code generator, in one line."""
    # The generator's own sources, so that a changed one never meets its old kernels.
    sources = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "codegen").glob("*.py")):
        sources.update(path.read_bytes())
    parts = (
        sources.hexdigest(),
        metadata.version("numba"),
        llvmlite.__version__,
        np.__version__,
        sys.implementation.cache_tag,
        sys.platform,
        platform.machine(),
        *engine.cpu(),
        vector_math.identity(),
    )
    return " ".join(map(str, parts))


def load_code(
    key: str, assembly: Callable[[], str], **options: Any
) -> tuple[int, bool]:
    """Load the code of this key from disk, or compile it; its size, if from disk."""
    folder = config.cache_dir()
    found = store.read(folder, key) if folder is not None else None
    if found is not None:
        engine.load_object(found[1], found[0])
        return len(found[1]), True
    text = assembly()
    needed = symbols.needed(text)
    code = engine.compile_assembly(text, **options)
    engine.load_object(code, needed)
    if folder is not None:
        store.write(folder, key, needed, code)
    return len(code), False


@cache
def _entry_method() -> Any:
    key = structural_key(entry.assembly("entry"))
    name = f"tracejit_entry_{key[:40]}"
    load_code(key, lambda: entry.assembly(name), level=0)
    return engine.method("tracejit", engine.address(name))


def _entry() -> Any:
    """The checked entry, loaded once."""
    with _LOCK:
        return _entry_method()


# --- one trace's function


def _mirror(array: np.ndarray) -> np.ndarray:
    """The array itself, or memory for a contiguous copy of it if it is not so."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.empty(array.shape, array.dtype.newbyteorder("="))


def _block(
    kernel: Kernel,
    layout: Layout,
    captures: list[np.ndarray],
    hosts: list[Descriptor],
) -> Block:
    """The parameter block of one trace."""
    params = np.array(layout.values(captures, list(hosts)), np.int64).view(Block)
    kept: list[Any] = [kernel, captures, layout.scalar_dtypes, hosts]
    total = layout.workspace()[1]
    if total:
        memory = np.empty(total + ALIGNMENT, np.uint8)
        params[WORKSPACE] = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
        kept.append(memory)
    params[RELEASE] = work_of(layout.program.body) >= _RELEASE_WORK
    params.keep = tuple(kept)
    return params


def work_of(body: list[Statement]) -> int:
    """Roughly the number of scalar operations."""
    total = 0
    for s in body:
        if isinstance(s, For):
            total += max(s.hi - s.lo, 0) * work_of(s.body)
        elif isinstance(s, If):
            total += 1 + max(work_of(s.yes), work_of(s.no))
        elif isinstance(s, Call):
            total += 1 + sum(b.size for b in (*s.ins, *s.outs)) * 8
        else:
            total += 1
    return total


def _runner(
    call: Callable, layout: Layout, moved: list[tuple[np.ndarray, np.ndarray]]
) -> Callable:
    """`call` itself, or a function that prepares what the kernel cannot."""
    sizes = [b.size * b.dtype.itemsize for b in layout.fresh]
    pooled = config.POOL_BYTES > 0 and any(n >= LARGE for n in sizes)
    if not pooled and not moved:
        return call
    names = [f"x{k}" for k in range(len(layout.leaves))]
    scope: dict[str, Any] = {"call": call, "copyto": np.copyto}
    lines = [f"def run({', '.join(names)}):"]
    for k, pair in enumerate(moved):
        scope[f"to{k}"], scope[f"from{k}"] = pair
        lines.append(f"    copyto(to{k}, from{k})")
    given = []
    if pooled:
        scope["take"], scope["empty"] = _POOL.take, np.empty
        for k, (buffer, size) in enumerate(zip(layout.fresh, sizes, strict=True)):
            scope[f"shape{k}"] = buffer.outer_shape
            scope[f"dtype{k}"] = buffer.outer_dtype
            made = "take" if size >= LARGE else "empty"
            given.append(f"{made}(shape{k}, dtype{k})")
    lines.append(f"    return call({', '.join(names + given)})")
    exec("\n".join(lines), scope)
    return scope["run"]
