"""Library routines and serial algorithms on whole buffers; `routine` says how.

Factorisations are in `factorisations` and `blocked`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..program import Call
from .blocked import BLOCKED
from .factorisations import FACTORISATIONS
from .ir import I64, Value, literal, memory_type
from .routine import ONE, ZERO, Emitter, Routine
from .sorting import argsort_function

__all__ = ["Emitter", "emit_call"]


def emit_call(emitter: Emitter, call: Call) -> None:
    """Emit one `Call` statement."""
    _ROUTINES[call.name](Routine(emitter, call))


# --- contractions


def _gemm(r: Routine) -> None:
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
    r: Routine,
    trans: str,
    rows: Value,
    cols: Value,
    matrix: str,
    x: str,
    y: str,
    one: str,
    zero: str,
) -> None:
    step = r.integer(ONE)
    r.fortran(
        "blas",
        "gemv",
        *(r.letter(trans), r.integer(rows), r.integer(cols), one),
        *(matrix, r.integer(r.at_least_one(rows)), x, step, zero, y, step),
    )


def _plain_product(r: Routine, ta: bool, tb: bool) -> None:
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


# --- serial algorithms


def _argsort(r: Routine) -> None:
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


def _mask_indices(r: Routine) -> None:
    mask, out = r.call.ins[0], r.call.outs[0]
    writer, count = r.writer, r.size(out, 0)
    source, target = r.emitter.pointer(mask), r.emitter.pointer(out)
    found = writer.cell("i64")
    r.store(ZERO, found)
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
    complete = r.scalars.compare("==", r.load(found, I64), count)
    r.emitter.leave_unless(complete, literal(I64, -1))


_ROUTINES: dict[str, Callable[[Routine], None]] = {
    "gemm": _gemm,
    **FACTORISATIONS,
    **BLOCKED,
    "argsort": _argsort,
    "mask_indices": _mask_indices,
}
