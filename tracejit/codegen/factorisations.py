"""LAPACK's factorisations and triangular systems, one matrix after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .ir import I64, Value, literal
from .routine import ONE, Routine

__all__ = ["FACTORISATIONS", "factor", "solve_left", "transpose", "vector_solve"]


def _cholesky(r: Routine) -> None:
    a, out = r.call.ins[0], r.call.outs[0]
    n = r.size(a, -1)
    info, bad = r.information()
    with r.stack(a, out) as (x, y):
        # NumPy reads the lower triangle.  OpenBLAS is a quarter faster on the one
        # that is upper in a row-major matrix, so it gets the transposed matrix.
        _flip(r, x, y, n)
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        r.fortran("lapack", "potrf", r.letter("L"), order, y, ld, info)
        r.note(info, bad)
        _flip(r, y, y, n, clear=True)
    r.leave_if(bad)


def _flip(r: Routine, x: str, y: str, n: Value, clear: bool = False) -> None:
    """The lower triangle of x becomes the upper one of y; `clear`: the reverse.

    In strips of eight, the elements of a cache line.  `clear` zeroes the upper
    triangle; x may be y.
    """
    eight = literal(I64, 8)
    with r.loop(r.strips(n, eight)) as strip:
        lo = r.times(strip, eight)
        hi = r.smaller(r.plus(lo, eight), n)
        with r.loop(hi) as j, r.loop(hi, r.larger(lo, j)) as i:
            below = r.plus(r.times(i, n), j)
            above = r.plus(r.times(j, n), i)
            source, target = (above, below) if clear else (below, above)
            value = r.load(r.element(x, source))
            r.store(value, r.element(y, target))
    if clear:
        with r.loop(n) as i, r.loop(n, r.plus(i, ONE)) as j:
            r.store(literal(r.dtype, 0.0), r.element(y, r.plus(r.times(i, n), j)))


def _triangular_solve(r: Routine) -> None:
    (a, b), out = r.call.ins, r.call.outs[0]
    lower, trans = r.call.params["lower"], r.call.params["trans"]
    n, m = r.size(b, -2), r.size(b, -1)
    r.copy(r.emitter.pointer(out), r.emitter.pointer(b), r.product(b.shape))
    with r.stack(a, out) as (x, y):
        if b.shape[-1] == 1:
            # The triangle is the other one, and transposed, in Fortran's eyes.
            uplo, flipped = "U" if lower else "L", "N" if trans else "T"
            vector_solve(r, uplo, flipped, n, x, y)
        else:
            solve_left(r, x, y, n, m, lower=lower, trans=trans)


def solve_left(
    r: Routine, a: str, b: str, n: Value, m: Value, *, lower: bool, trans: bool
) -> None:
    """Solve op(a) x = b in place, for row-major n x n and n x m."""
    r.fortran(
        "blas",
        "trsm",
        *(r.letter("R"), r.letter("U" if lower else "L")),
        *(r.letter("T" if trans else "N"), r.letter("N")),
        *(r.integer(m), r.integer(n), r.number(1.0)),
        *(a, r.integer(r.at_least_one(n)), b, r.integer(r.at_least_one(m))),
    )


def vector_solve(r: Routine, uplo: str, trans: str, n: Value, a: str, x: str) -> None:
    """Solve op(a) x = b in place, in Fortran's terms."""
    r.fortran(
        "blas",
        "trsv",
        *(r.letter(uplo), r.letter(trans), r.letter("N"), r.integer(n)),
        *(a, r.integer(r.at_least_one(n)), x, r.integer(ONE)),
    )


def factor(r: Routine, n: Value, matrix: str, pivots: str, info: str) -> None:
    order, ld = r.integer(n), r.integer(r.at_least_one(n))
    r.fortran("lapack", "getrf", order, order, matrix, ld, pivots, info)


def _solve(r: Routine) -> None:
    (a, b), out = r.call.ins, r.call.outs[0]
    n, m = r.size(b, -2), r.size(b, -1)
    info, bad = r.information()
    square = r.times(n, n)
    factors, pivots = r.scratch(square), r.scratch(n, 4)
    columns = None if b.shape[-1] == 1 else r.scratch(r.times(n, m))
    with r.stack(a, b, out) as (x, y, z):
        r.copy(factors, x, square)
        factor(r, n, factors, pivots, info)
        r.note(info, bad)
        target = columns or z
        if columns is None:
            r.copy(z, y, n)
        else:
            transpose(r, y, columns, n, m)
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        # The factors are of A transposed, so its transpose is asked for.
        r.fortran(
            "lapack",
            "getrs",
            *(r.letter("T"), order, r.integer(m), factors, ld, pivots),
            *(target, ld, info),
        )
        if columns is not None:
            transpose(r, columns, z, m, n)
    r.free()
    r.leave_if(bad)


def transpose(r: Routine, source: str, target: str, rows: Value, cols: Value) -> None:
    with r.loop(rows) as i, r.loop(cols) as j:
        value = r.load(r.element(source, r.plus(r.times(i, cols), j)))
        r.store(value, r.element(target, r.plus(r.times(j, rows), i)))


def _inv(r: Routine) -> None:
    a, out = r.call.ins[0], r.call.outs[0]
    n = r.size(a, -1)
    info, bad = r.information()
    length = r.times(r.at_least_one(n), literal(I64, 32))
    pivots, work = r.scratch(n, 4), r.scratch(length)
    r.copy(r.emitter.pointer(out), r.emitter.pointer(a), r.product(a.shape))
    with r.stack(out) as (x,):
        factor(r, n, x, pivots, info)
        r.note(info, bad)
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        r.fortran(
            "lapack", "getri", order, x, ld, pivots, work, r.integer(length), info
        )
        r.note(info, bad)
    r.free()
    r.leave_if(bad)


def _determinant(r: Routine) -> None:
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
        factor(r, n, factors, pivots, info)
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
    r: Routine, factors: str, pivots: str, n: Value, i: Value, cells: list[str]
) -> None:
    """Multiply the running result by one element of the diagonal."""
    u = r.load(r.element(factors, r.plus(r.times(i, n), i)))
    row = r.load(r.element(pivots, i, "i32"), np.dtype(np.int32))
    place = r.plus(i, ONE)
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


FACTORISATIONS: dict[str, Callable[[Routine], None]] = {
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "solve": _solve,
    "inv": _inv,
    "det": _determinant,
    "slogdet": _determinant,
}
