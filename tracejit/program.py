"""The fused program: loops over buffers and scalars, what a kernel does.

`passes/fuse` makes it from a tape, `codegen` prints it as Python and emits it as
LLVM.  It is a small imperative language.  A scalar value has a number and is assigned
once (`dtypes[value]`); a buffer is a C-contiguous array; an accumulator is the one
thing that changes.  All integers in it (trip counts, offsets, shapes) are the concrete
ones of the trace; `codegen.source` abstracts those above `STATIC_LIMIT`, by their
labels (`Size`), and all scalar constants into parameters when it prints, and the
printed text is the structural key.
So whatever was decided on a concrete size is visible in the text, or does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .avals import complex_of

__all__ = [
    "STATIC_LIMIT",
    "Accumulate",
    "Accumulator",
    "Affine",
    "Break",
    "Buffer",
    "Call",
    "Check",
    "Const",
    "Counter",
    "Exit",
    "For",
    "Host",
    "If",
    "Let",
    "Load",
    "Native",
    "Program",
    "Read",
    "Size",
    "Statement",
    "Store",
    "Swap",
    "walk",
]

#: Integers of at most this absolute value stay literal in the code.
STATIC_LIMIT = 8


class Size(int):
    """An integer with the symbol that it is: only equal labels share a parameter.

    Two lengths may be equal by chance, and code must not depend on that.
    """

    label: Any

    def __new__(cls, value: int, label: Any) -> Size:
        size = super().__new__(cls, value)
        size.label = label
        return size


class Affine(NamedTuple):
    """An index: `step * var + offset`; var is a loop variable or None."""

    var: int | None
    step: int
    offset: int


@dataclass(eq=False)
class Buffer:
    """An array the program reads or writes.

    kind: `arg` (an input of the tape; number counts all inputs, captures last),
    `out` (an array output; number is its position among all outputs), `work`
    (part of the workspace) or `local` (small and static: a stack slot).
    complex: whether it is an array of complex numbers to the caller, whose parts are
    the last axis, of length two.
    of: the buffer whose memory this is, seen with another shape of equal size, or of
    which it is the row at the leading indices `at`; None for a buffer of its own.
    `of` never has an `of` itself.
    """

    kind: str
    number: int
    shape: tuple[int, ...]
    dtype: np.dtype
    of: Buffer | None = None
    at: tuple[Affine | int, ...] = ()
    complex: bool = False

    @property
    def outer_shape(self) -> tuple[int, ...]:
        """The shape of the caller's array."""
        return self.shape[:-1] if self.complex else self.shape

    @property
    def outer_dtype(self) -> np.dtype:
        """The dtype of the caller's array."""
        return complex_of(self.dtype) if self.complex else self.dtype

    @property
    def name(self) -> str:
        return f"{self.kind}{self.number}"

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size


#: One index per axis of a buffer: affine in a loop variable, or a scalar value
#: (its number) for gathered access.
Index = tuple[Affine | int, ...]


@dataclass(slots=True, eq=False)
class Const:
    """`out = value` of dtype `dtypes[out]`."""

    out: int
    value: Any


@dataclass(slots=True, eq=False)
class Let:
    """`out = prim(*args)` on scalars.

    prim is the name of an elementwise primitive with its `params` (`cast` converts to
    `dtypes[out]`; `wrap_index` is expanded by fuse and never occurs here), or `powi`
    with params {"n": n}: the integer power, by multiplication.
    """

    out: int
    prim: str
    args: tuple[int, ...]
    params: dict[str, Any]


@dataclass(slots=True, eq=False)
class Counter:
    """`out = index`, an int64 (`iota`, `tril`)."""

    out: int
    index: Affine


@dataclass(slots=True, eq=False)
class Load:
    """`out = buffer[index]`; a scalar input is a buffer of shape ()."""

    out: int
    buffer: Buffer
    index: Index


@dataclass(slots=True, eq=False)
class Store:
    """`buffer[index] = value`, or `+= value`."""

    buffer: Buffer
    index: Index
    value: int
    add: bool = False


@dataclass(slots=True, eq=False)
class Accumulator:
    """Declare accumulator number `acc` with its start value (a scalar value)."""

    acc: int
    dtype: np.dtype
    start: int


@dataclass(slots=True, eq=False)
class Accumulate:
    """Update `acc` with a value.

    kind: `set`, `sum`, `prod`, `max`, `min` (NaN wins), `any`, `all`.  Sums and
    products may be reassociated.
    """

    acc: int
    kind: str
    value: int


@dataclass(slots=True, eq=False)
class Read:
    """`out = acc`."""

    out: int
    acc: int


@dataclass(slots=True, eq=False)
class For:
    """`for var in range(lo, hi)`: counts upwards by one.

    count: a scalar value, int64, at most hi, that stands for hi; None if it is hi.
    """

    var: int
    lo: int
    hi: int
    body: list[Statement]
    count: int | None = None


@dataclass(slots=True, eq=False)
class If:
    """Run `yes` if the bool value is true, else `no`."""

    value: int
    yes: list[Statement]
    no: list[Statement]


@dataclass(slots=True, eq=False)
class Break:
    """Leave the innermost For unless the bool value is true."""

    value: int


@dataclass(slots=True, eq=False)
class Exit:
    """A guard: unless scalar `value` equals `expected`, leave with `status` and it.

    All three are scalar values, status an int64 above 0: what is expected, and the
    number of the exit, are parameters, so that other paths may share the code.
    """

    value: int
    expected: int
    status: int


@dataclass(slots=True, eq=False)
class Check:
    """Leave with status -1 (NumPy would raise) unless the bool value is true."""

    value: int


@dataclass(slots=True, eq=False)
class Call:
    """A library routine or serial algorithm on whole buffers.

    name and params:
      gemm {ta, tb}        outs[0][..., m, n] = op(a)[..., m, k] @ op(b)[..., k, n],
                           leading axes equal; op transposes the last two axes
      cholesky             lower factor of a, upper triangle zeroed; Check inside
      triangular_solve {lower, trans}, solve, inv, det, slogdet, cholesky_vjp,
      lu, lu_solve {trans}, lu_inv   as the primitives
      argsort {axis}       stable, NaN last
      mask_indices         positions of true entries of the flattened mask
      host {number}        the function `Program.hosts[number]`, in Python
    """

    name: str
    ins: tuple[Buffer, ...]
    outs: tuple[Buffer, ...]
    params: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Native:
    """How compiled code calls a function that Numba compiled.

    Attributes:
        fun: Numba's dispatcher.
        call: the call as an expression of `fun`, the operands `a0`, `a1`, ... and the
            names in `static`.
        results: the results as expressions of the call's value `r`.
        static: values of all other names.
        copies: whether it takes arrays that may be written, so that it gets copies.
        pairs: which of results and operands, in this order, are complex numbers, whose
            parts are the last axis of the buffers; none if it is empty.
    """

    fun: Any
    call: str
    results: tuple[str, ...]
    static: dict[str, Any]
    copies: bool
    pairs: tuple[bool, ...] = ()


@dataclass(frozen=True, eq=False)
class Host:
    """A function that a kernel calls back in Python.

    `run(*arrays)` gives a tuple of arrays of the avals of the call's `outs`; it is part
    of a trace and not of the kernel.  trusted: it is one of the tables' references,
    which keep no operand.  native: how it is called without Python.  into: the same
    function, `into(outs, *arrays)`, for one that can write its results in place.
    """

    name: str
    run: Callable[..., tuple]
    trusted: bool
    native: Native | None = None
    into: Callable[..., None] | None = None


@dataclass(slots=True, eq=False)
class Swap:
    """Exchange the memory of two equal buffers (a loop's state, old and new)."""

    a: Buffer
    b: Buffer


Statement = (
    Const
    | Let
    | Counter
    | Load
    | Store
    | Accumulator
    | Accumulate
    | Read
    | For
    | If
    | Break
    | Exit
    | Check
    | Call
    | Swap
)


@dataclass(eq=False)
class Program:
    """A kernel's whole work.

    Attributes:
        name: the recorded function.
        args: one buffer per tape input, captures last (shape () = passed by value).
        captures: how many of the last args are captured arrays.
        outputs: per tape output either a buffer of kind `out`, a scalar value number,
            or an `arg` buffer (the output is that input itself; the caller copies).
            An output that equals an earlier output has the same object again.
        works, locals: the other buffers.
        body: the statements.
        dtypes: dtype of every scalar value.
        hosts: what `Call`s of the name `host` call.
    """

    name: str
    args: list[Buffer] = field(default_factory=list)
    captures: int = 0
    outputs: list[Buffer | int] = field(default_factory=list)
    works: list[Buffer] = field(default_factory=list)
    locals: list[Buffer] = field(default_factory=list)
    body: list[Statement] = field(default_factory=list)
    dtypes: list[np.dtype] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)


def walk(body: list[Statement]) -> Iterator[Statement]:
    """All statements, in program order, loops and Ifs before what they contain."""
    for statement in body:
        yield statement
        if isinstance(statement, For):
            yield from walk(statement.body)
        elif isinstance(statement, If):
            yield from walk(statement.yes)
            yield from walk(statement.no)
