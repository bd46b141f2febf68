"""Library routines and serial algorithms on whole buffers.

BLAS and LAPACK are SciPy's, called by symbol (`symbols` finds the addresses).  They
see column-major matrices: a row-major A is their A transposed, so C = A B is asked
for as C' = B' A', with the operands swapped and nothing copied.  Leading axes are a
loop over single matrices.  Where NumPy would raise, the kernel leaves with status -1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from ..program import Buffer, Call
from .ir import (
    BOOL,
    I64,
    Loop,
    Module,
    Value,
    Writer,
    literal,
    memory_type,
    register_type,
)
from .scalars import Scalars
from .sorting import argsort_function

__all__ = ["Emitter", "emit_call"]

_ONE, _ZERO = literal(I64, 1), literal(I64, 0)


class Emitter(Protocol):
    """What routines need of the program's emitter (`llvm.Emitter`)."""

    module: Module
    writer: Writer
    scalars: Scalars

    def integer(self, value: int) -> Value: ...
    def pointer(self, buffer: Buffer) -> str: ...
    def nsw(self, word: str, x: Value, y: Value) -> Value: ...
    def load_element(self, buffer: Buffer, address: str) -> Value: ...
    def store_scalar(self, value: Value, address: str, suffix: str) -> None: ...
    def leave_unless(
        self, holds: Value, status: int, outcome: Value | None = None
    ) -> None: ...


def emit_call(emitter: Emitter, call: Call) -> None:
    """Emit one `Call` statement."""
    _ROUTINES[call.name](_Routine(emitter, call))


class _Routine:
    """What all routines need: sizes, Fortran arguments, loops over the stack."""

    def __init__(self, emitter: Emitter, call: Call) -> None:
        self.emitter, self.call = emitter, call
        self.writer, self.scalars = emitter.writer, emitter.scalars
        self.module = emitter.module
        self.dtype = call.outs[0].dtype
        self.kind = register_type(self.dtype)
        self.owned: list[str] = []

    # --- integers and addresses

    def size(self, buffer: Buffer, axis: int) -> Value:
        return self.emitter.integer(buffer.shape[axis])

    def product(self, sizes: tuple[int, ...] | list[int]) -> Value:
        result = _ONE
        for n in sizes:
            value = self.emitter.integer(n)
            result = value if result is _ONE else self.times(result, value)
        return result

    def times(self, x: Value, y: Value) -> Value:
        return self.emitter.nsw("mul", x, y)

    def plus(self, x: Value, y: Value) -> Value:
        return self.emitter.nsw("add", x, y)

    def at_least_one(self, x: Value) -> Value:
        some = self.scalars.compare(">", x, _ONE)
        return self.scalars.select(some, x, _ONE)

    def element(self, pointer: str, index: Value, kind: str | None = None) -> str:
        text = f"getelementptr inbounds {kind or self.kind}, ptr {pointer},"
        return self.writer.op(I64, f"{text} i64 {index.text}").text

    def load(self, pointer: str, dtype: np.dtype | None = None) -> Value:
        dtype = dtype or self.dtype
        kind = memory_type(dtype)
        return self.writer.op(
            dtype, f"load {kind}, ptr {pointer}, align {dtype.itemsize}"
        )

    def store(self, value: Value, pointer: str) -> None:
        self.emitter.store_scalar(value, pointer, "")

    @contextmanager
    def loop(self, count: Value, start: Value = _ZERO) -> Iterator[Value]:
        loop = Loop(self.writer, start, count)
        yield loop.enter()
        loop.leave()

    @contextmanager
    def stack(self, *buffers: Buffer) -> Iterator[list[str]]:
        """The addresses of one matrix of each buffer, for all leading indices."""
        lead = buffers[0].shape[:-2]
        pointers = [self.emitter.pointer(b) for b in buffers]
        if not lead:
            yield pointers
            return
        with self.loop(self.product(lead)) as i:
            yield [
                self.element(p, self.times(i, self.product(b.shape[len(lead) :])))
                for p, b in zip(pointers, buffers, strict=True)
            ]

    # --- memory

    def copy(self, target: str, source: str, count: Value) -> None:
        name = "llvm.memcpy.p0.p0.i64"
        self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
        size = self.times(count, literal(I64, self.dtype.itemsize))
        self.writer.raw(
            f"call void @{name}(ptr {target}, ptr {source}, i64 {size.text}, i1 false)"
        )

    def scratch(self, count: Value, itemsize: int | None = None) -> str:
        """Memory that `free` gives back."""
        self.module.declare("malloc", "ptr", "i64")
        bytes_ = self.times(count, literal(I64, itemsize or self.dtype.itemsize))
        bytes_ = self.plus(bytes_, literal(I64, 8))
        memory = self.writer.op(I64, f"call ptr @malloc(i64 {bytes_.text})").text
        self.owned.append(memory)
        return memory

    def free(self) -> None:
        self.module.declare("free", "void", "ptr")
        for memory in self.owned:
            self.writer.raw(f"call void @free(ptr {memory})")

    # --- Fortran calls

    def integer(self, value: Value) -> str:
        """The address of a 32-bit integer."""
        cell = self.writer.cell("i32")
        narrow = self.writer.op(I64, f"trunc i64 {value.text} to i32").text
        self.writer.raw(f"store i32 {narrow}, ptr {cell}, align 4")
        return cell

    def letter(self, value: str) -> str:
        cell = self.writer.cell("i8")
        self.writer.raw(f"store i8 {ord(value)}, ptr {cell}, align 1")
        return cell

    def number(self, value: float) -> str:
        cell = self.writer.cell(self.kind)
        self.store(literal(self.dtype, value), cell)
        return cell

    def fortran(self, library: str, name: str, *args: str) -> None:
        """Call a routine; arguments are addresses."""
        letter = "s" if self.dtype.itemsize == 4 else "d"
        symbol = f"tracejit_{library}_{letter}{name}"
        self.module.declare(symbol, "void", *["ptr"] * len(args))
        operands = ", ".join(f"ptr {a}" for a in args)
        self.writer.raw(f"call void @{symbol}({operands})")

    def information(self) -> tuple[str, str]:
        """Cells: LAPACK's info of one call, and whether any was not zero."""
        info, bad = self.writer.cell("i32"), self.writer.cell("i1")
        self.writer.raw(f"store i1 false, ptr {bad}")
        return info, bad

    def failed(self, info: str) -> Value:
        value = self.writer.op(I64, f"load i32, ptr {info}, align 4").text
        return self.writer.op(BOOL, f"icmp ne i32 {value}, 0")

    def note(self, info: str, bad: str) -> None:
        """Remember a failure until scratch memory is given back."""
        before = self.writer.op(BOOL, f"load i1, ptr {bad}")
        now = self.scalars.logical("or", before, self.failed(info))
        self.writer.raw(f"store i1 {now.text}, ptr {bad}")

    def leave_if(self, bad: str) -> None:
        flag = self.writer.op(BOOL, f"load i1, ptr {bad}")
        self.emitter.leave_unless(self.scalars.logical_not(flag), -1)


# --- contractions


def _gemm(r: _Routine) -> None:
    (a, b), c = r.call.ins, r.call.outs[0]
    ta, tb = bool(r.call.params.get("ta")), bool(r.call.params.get("tb"))
    if r.dtype.kind != "f":
        _plain_product(r, ta, tb)
        return
    m, n = r.size(c, -2), r.size(c, -1)
    k = r.size(a, -2 if ta else -1)
    one, zero = r.number(1.0), r.number(0.0)
    inner = a.shape[-2 if ta else -1]
    vector = inner != 0 and 0 not in c.shape[-2:] and 1 in c.shape[-2:]
    with r.stack(a, b, c) as (x, y, z):
        if vector and c.shape[-1] == 1:
            # A column: its matrix is a, row-major m x k or, transposed, k x m.
            rows, cols = (m, k) if ta else (k, m)
            _gemv(r, "N" if ta else "T", rows, cols, x, y, z, one, zero)
        elif vector:
            rows, cols = (k, n) if tb else (n, k)
            _gemv(r, "T" if tb else "N", rows, cols, y, x, z, one, zero)
        else:
            ldb, lda = r.at_least_one(k if tb else n), r.at_least_one(m if ta else k)
            r.fortran(
                "blas",
                "gemm",
                *(r.letter("T" if tb else "N"), r.letter("T" if ta else "N")),
                *(r.integer(n), r.integer(m), r.integer(k), one),
                *(y, r.integer(ldb), x, r.integer(lda), zero),
                *(z, r.integer(r.at_least_one(n))),
            )


def _gemv(
    r: _Routine,
    trans: str,
    rows: Value,
    cols: Value,
    matrix: str,
    x: str,
    y: str,
    one: str,
    zero: str,
) -> None:
    step = r.integer(_ONE)
    r.fortran(
        "blas",
        "gemv",
        *(r.letter(trans), r.integer(rows), r.integer(cols), one),
        *(matrix, r.integer(r.at_least_one(rows)), x, step, zero, y, step),
    )


def _plain_product(r: _Routine, ta: bool, tb: bool) -> None:
    """Integers and bools: three loops."""
    (a, b), c = r.call.ins, r.call.outs[0]
    m, n = r.size(c, -2), r.size(c, -1)
    k = r.size(a, -2 if ta else -1)
    total = r.writer.cell(r.kind)
    r.scalars.default = r.dtype
    # Bytes in memory even for bool.
    memory = memory_type(r.dtype)
    with r.stack(a, b, c) as (x, y, z), r.loop(m) as i, r.loop(n) as j:
        zero = literal(r.dtype, 0).text
        r.writer.raw(f"store {r.kind} {zero}, ptr {total}")
        with r.loop(k) as p:
            ai = r.plus(r.times(p, m), i) if ta else r.plus(r.times(i, k), p)
            bi = r.plus(r.times(j, k), p) if tb else r.plus(r.times(p, n), j)
            u = r.emitter.load_element(a, r.element(x, ai, memory))
            v = r.emitter.load_element(b, r.element(y, bi, memory))
            old = r.writer.op(r.dtype, f"load {r.kind}, ptr {total}")
            new = r.scalars.binary("+", old, r.scalars.binary("*", u, v))
            r.writer.raw(f"store {r.kind} {new.text}, ptr {total}")
        result = r.writer.op(r.dtype, f"load {r.kind}, ptr {total}")
        r.store(result, r.element(z, r.plus(r.times(i, n), j), memory))


# --- factorisations


def _cholesky(r: _Routine) -> None:
    a, out = r.call.ins[0], r.call.outs[0]
    n = r.size(a, -1)
    info, bad = r.information()
    r.copy(r.emitter.pointer(out), r.emitter.pointer(a), r.product(a.shape))
    with r.stack(out) as (x,):
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        # The lower triangle, row-major, is LAPACK's upper one.
        r.fortran("lapack", "potrf", r.letter("U"), order, x, ld, info)
        r.note(info, bad)
        with r.loop(n) as i, r.loop(n, r.plus(i, _ONE)) as j:
            address = r.element(x, r.plus(r.times(i, n), j))
            r.store(literal(r.dtype, 0.0), address)
    r.leave_if(bad)


def _triangular_solve(r: _Routine) -> None:
    (a, b), out = r.call.ins, r.call.outs[0]
    lower, trans = r.call.params["lower"], r.call.params["trans"]
    n, m = r.size(b, -2), r.size(b, -1)
    r.copy(r.emitter.pointer(out), r.emitter.pointer(b), r.product(b.shape))
    with r.stack(a, out) as (x, y):
        r.fortran(
            "blas",
            "trsm",
            *(r.letter("R"), r.letter("U" if lower else "L")),
            *(r.letter("T" if trans else "N"), r.letter("N")),
            *(r.integer(m), r.integer(n), r.number(1.0)),
            *(x, r.integer(r.at_least_one(n)), y, r.integer(r.at_least_one(m))),
        )


def _factor(r: _Routine, n: Value, matrix: str, pivots: str, info: str) -> None:
    order, ld = r.integer(n), r.integer(r.at_least_one(n))
    r.fortran("lapack", "getrf", order, order, matrix, ld, pivots, info)


def _solve(r: _Routine) -> None:
    (a, b), out = r.call.ins, r.call.outs[0]
    n, m = r.size(b, -2), r.size(b, -1)
    info, bad = r.information()
    square = r.times(n, n)
    factors, pivots = r.scratch(square), r.scratch(n, 4)
    columns = None if b.shape[-1] == 1 else r.scratch(r.times(n, m))
    with r.stack(a, b, out) as (x, y, z):
        r.copy(factors, x, square)
        _factor(r, n, factors, pivots, info)
        r.note(info, bad)
        target = columns or z
        if columns is None:
            r.copy(z, y, n)
        else:
            _transpose(r, y, columns, n, m)
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        # The factors are of A transposed, so its transpose is asked for.
        r.fortran(
            "lapack",
            "getrs",
            *(r.letter("T"), order, r.integer(m), factors, ld, pivots),
            *(target, ld, info),
        )
        if columns is not None:
            _transpose(r, columns, z, m, n)
    r.free()
    r.leave_if(bad)


def _transpose(r: _Routine, source: str, target: str, rows: Value, cols: Value) -> None:
    with r.loop(rows) as i, r.loop(cols) as j:
        value = r.load(r.element(source, r.plus(r.times(i, cols), j)))
        r.store(value, r.element(target, r.plus(r.times(j, rows), i)))


def _inv(r: _Routine) -> None:
    a, out = r.call.ins[0], r.call.outs[0]
    n = r.size(a, -1)
    info, bad = r.information()
    length = r.times(r.at_least_one(n), literal(I64, 32))
    pivots, work = r.scratch(n, 4), r.scratch(length)
    r.copy(r.emitter.pointer(out), r.emitter.pointer(a), r.product(a.shape))
    with r.stack(out) as (x,):
        _factor(r, n, x, pivots, info)
        r.note(info, bad)
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        r.fortran(
            "lapack", "getri", order, x, ld, pivots, work, r.integer(length), info
        )
        r.note(info, bad)
    r.free()
    r.leave_if(bad)


def _determinant(r: _Routine) -> None:
    """det and slogdet: the product, or signs and logarithms, of U's diagonal."""
    a, logs = r.call.ins[0], r.call.name == "slogdet"
    n = r.size(a, -1)
    square = r.times(n, n)
    info, _ = r.information()
    factors, pivots = r.scratch(square), r.scratch(n, 4)
    cells = [r.writer.cell(r.kind) for _ in r.call.outs]
    outs = [r.emitter.pointer(b) for b in r.call.outs]
    r.scalars.default = r.dtype
    with r.loop(r.product(a.shape[:-2])) as s:
        r.copy(factors, r.element(r.emitter.pointer(a), r.times(s, square)), square)
        _factor(r, n, factors, pivots, info)
        r.store(literal(r.dtype, 1.0), cells[0])
        if logs:
            r.store(literal(r.dtype, 0.0), cells[1])
        with r.loop(n) as i:
            _diagonal_step(r, factors, pivots, n, i, cells)
        singular = r.failed(info)
        nothing = (0.0, -np.inf) if logs else (0.0,)
        for cell, out, value in zip(cells, outs, nothing, strict=True):
            result = r.scalars.select(singular, literal(r.dtype, value), r.load(cell))
            r.store(result, r.element(out, s))
    r.free()


def _diagonal_step(
    r: _Routine, factors: str, pivots: str, n: Value, i: Value, cells: list[str]
) -> None:
    """Multiply the running result by one element of the diagonal."""
    u = r.load(r.element(factors, r.plus(r.times(i, n), i)))
    row = r.load(r.element(pivots, i, "i32"), np.dtype(np.int32))
    place = r.plus(i, _ONE)
    swapped = r.scalars.compare("!=", r.scalars.cast(row, I64), place)
    factor = u
    if len(cells) == 2:
        positive = r.scalars.compare(">", u, 0.0)
        negative = r.scalars.compare("<", u, 0.0)
        minus = r.scalars.select(negative, literal(r.dtype, -1.0), u)
        factor = r.scalars.select(positive, literal(r.dtype, 1.0), minus)
        size = r.scalars.call("log", [r.scalars.call("fabs", [u])])
        r.store(r.scalars.binary("+", r.load(cells[1]), size), cells[1])
    factor = r.scalars.select(swapped, r.scalars.negative(factor), factor)
    r.store(r.scalars.binary("*", r.load(cells[0]), factor), cells[0])


# --- serial algorithms


def _argsort(r: _Routine) -> None:
    x, out = r.call.ins[0], r.call.outs[0]
    axis = r.call.params["axis"]
    axis += len(x.shape) if axis < 0 else 0
    name = argsort_function(r.module, x.dtype)
    n, inner = r.size(x, axis), r.product(x.shape[axis + 1 :])
    scratch = r.scratch(r.times(n, literal(I64, 2)), 8)
    source, target = r.emitter.pointer(x), r.emitter.pointer(out)
    kind = memory_type(x.dtype)
    with r.loop(r.product(x.shape[:axis])) as i, r.loop(inner) as j:
        start = r.plus(r.times(r.times(i, n), inner), j)
        first, place = r.element(source, start, kind), r.element(target, start, "i64")
        r.writer.raw(
            f"call void @{name}(ptr {first}, i64 {inner.text}, ptr {place},"
            f" i64 {n.text}, ptr {scratch})"
        )
    r.free()


def _mask_indices(r: _Routine) -> None:
    mask, out = r.call.ins[0], r.call.outs[0]
    writer, count = r.writer, r.size(out, 0)
    source, target = r.emitter.pointer(mask), r.emitter.pointer(out)
    found = writer.cell("i64")
    r.store(_ZERO, found)
    with r.loop(r.product(mask.shape)) as i:
        value = r.emitter.load_element(mask, r.element(source, i, "i8"))
        k = r.load(found, I64)
        fits = r.scalars.logical("and", value, r.scalars.compare("<", k, count))
        put, go_on = writer.label("put"), writer.label("next")
        writer.branch(fits, put, go_on)
        writer.start(put)
        r.store(i, r.element(target, k, "i64"))
        writer.jump(go_on)
        writer.start(go_on)
        r.store(r.plus(k, r.scalars.cast(value, I64)), found)
    r.emitter.leave_unless(r.scalars.compare("==", r.load(found, I64), count), -1)


_ROUTINES: dict[str, Callable[[_Routine], None]] = {
    "gemm": _gemm,
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "solve": _solve,
    "inv": _inv,
    "det": _determinant,
    "slogdet": _determinant,
    "argsort": _argsort,
    "mask_indices": _mask_indices,
}
