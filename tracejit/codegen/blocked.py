"""Algorithms by blocks of rows: Cholesky's reverse, and shared factors (`lu`).

All matrices here are row-major and inside of larger ones (`Matrix`); `_multiply` swaps
operands for Fortran.  Nearly all arithmetic is in `gemm`, which does three times as
many operations a second as `trsm` or `potri` with triangles: so the triangles of
diagonal blocks are inverted, which is small work and (unlike a recursion for the whole
inverse that saves a third of its arithmetic, and loses all digits) stable.

`lu` first asks whether a matrix looks positive definite; if so, Cholesky's factor
costs half of LU's, and its inverse too.  See `ops.factorised` for what the results are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .factorisations import factor, solve_left, transpose, vector_solve
from .ir import BOOL, I64, Value, literal
from .routine import ONE, ZERO, Routine

__all__ = ["BLOCKED"]

#: Rows of a block.  24 to 32 are fastest for 300 rows, and not slower for 1000.
_BLOCK = literal(I64, 32)
_STRIP = literal(I64, 8)
_I32 = np.dtype(np.int32)


class Matrix(NamedTuple):
    """A row-major matrix: its first element and the distance of rows."""

    start: str
    step: Value


def _part(r: Routine, a: Matrix, i: Value, j: Value) -> Matrix:
    """The part of a matrix from row i and column j on."""
    return Matrix(r.element(a.start, r.plus(r.times(i, a.step), j)), a.step)


def _element(r: Routine, a: Matrix, i: Value, j: Value) -> str:
    return _part(r, a, i, j).start


def _multiply(
    r: Routine,
    c: Matrix,
    a: Matrix,
    b: Matrix,
    sizes: tuple[Value, Value, Value],
    *,
    ta: bool = False,
    tb: bool = False,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """c = alpha op(a) op(b) + beta c; sizes: rows of c, columns of c, the inner one."""
    m, n, k = map(r.integer, sizes)
    r.fortran(
        "blas",
        "gemm",
        *(r.letter("T" if tb else "N"), r.letter("T" if ta else "N"), n, m, k),
        *(r.number(alpha), b.start, r.integer(b.step), a.start, r.integer(a.step)),
        *(r.number(beta), c.start, r.integer(c.step)),
    )


def _triangle(
    r: Routine, target: list[Matrix], source: Matrix, n: Value, lower: bool
) -> None:
    """Copies of a triangle, with zeros beside it."""
    with r.loop(n) as i, r.loop(n) as j:
        inside = r.scalars.compare("<=", *((j, i) if lower else (i, j)))
        value = r.load(_element(r, source, i, j))
        value = r.scalars.select(inside, value, literal(r.dtype, 0.0))
        for matrix in target:
            r.store(value, _element(r, matrix, i, j))


def _invert(r: Routine, a: Matrix, n: Value, lower: bool, bad: str) -> None:
    """Invert a triangle in place."""
    info = r.writer.cell("i32")
    letters = r.letter("U" if lower else "L"), r.letter("N")
    order, step = r.integer(n), r.integer(a.step)
    r.fortran("lapack", "trtri", *letters, order, a.start, step, info)
    r.note(info, bad)


def _last_block(r: Routine, n: Value, k: Value) -> tuple[Value, Value, Value, Value]:
    """The k-th block from the end: start, end, rows of it and below it."""
    start = r.times(r.minus(r.minus(r.strips(n, _BLOCK), ONE), k), _BLOCK)
    end = r.smaller(r.plus(start, _BLOCK), n)
    return start, end, r.minus(end, start), r.minus(n, end)


# --- cholesky_vjp


def _cholesky_vjp(r: Routine) -> None:
    """Murray's blocked algorithm, as `ops.linalg` has it, in place in the output."""
    (y, ct), out = r.call.ins, r.call.outs[0]
    n = r.size(y, -1)
    bad = r.flag(False)
    square = r.times(_BLOCK, _BLOCK)
    small = [Matrix(r.scratch(square), _BLOCK) for _ in range(3)]
    tall = Matrix(r.scratch(r.times(r.larger(n, _BLOCK), _BLOCK)), _BLOCK)
    with r.stack(y, ct, out) as (factor_, cotangent, result):
        f, bar = Matrix(factor_, n), Matrix(result, n)
        _triangle(r, [bar], Matrix(cotangent, n), n, lower=True)
        with r.loop(r.strips(n, _BLOCK)) as k:
            _pull_block(r, f, bar, _last_block(r, n, k), (*small, tall), bad)
    r.free()
    r.leave_if(bad)


def _pull_block(
    r: Routine,
    y: Matrix,
    bar: Matrix,
    block: tuple[Value, Value, Value, Value],
    scratch: tuple[Matrix, ...],
    bad: str,
) -> None:
    start, end, b, below = block
    d, v, p, tall = scratch
    own, left = _part(r, bar, start, start), _part(r, bar, start, ZERO)
    y_left = _part(r, y, start, ZERO)
    _triangle(r, [d, v], _part(r, y, start, start), b, lower=True)
    _invert(r, v, b, True, bad)
    with r.when(r.scalars.compare(">", below, ZERO)):
        c, y_below = _part(r, bar, end, start), _part(r, y, end, ZERO)
        with r.loop(below) as i, r.loop(b) as j:
            value = r.load(_element(r, c, i, j))
            r.store(value, _element(r, tall, i, j))
        _multiply(r, c, tall, v, (below, b, b))
        y_own = _part(r, y, end, start)
        _multiply(r, own, c, y_own, (b, b, below), ta=True, alpha=-1.0, beta=1.0)
        target = _part(r, bar, end, ZERO)
        _multiply(r, target, c, y_left, (below, start, b), alpha=-1.0, beta=1.0)
        sizes = (b, start, below)
        _multiply(r, left, c, y_below, sizes, ta=True, alpha=-1.0, beta=1.0)
    # p = d^-T phi(d^T bar) d^-1, then p + p^T.
    _triangle(r, [own], own, b, lower=True)
    _multiply(r, p, d, own, (b, b, b), ta=True)
    _triangle(r, [p], p, b, lower=True)
    with r.loop(b) as i:
        _halve(r, p, i)
    _multiply(r, tall, v, p, (b, b, b), ta=True)
    _multiply(r, p, tall, v, (b, b, b))
    with r.loop(b) as i:
        with r.loop(r.plus(i, ONE)) as j:
            here, mirror = _element(r, p, i, j), _element(r, p, j, i)
            value = r.scalars.binary("+", r.load(here), r.load(mirror))
            for place in (here, mirror, _element(r, own, i, j)):
                r.store(value, place)
        _halve(r, own, i)
    _multiply(r, left, p, y_left, (b, start, b), alpha=-1.0, beta=1.0)


def _halve(r: Routine, a: Matrix, i: Value) -> None:
    address = _element(r, a, i, i)
    half = r.scalars.binary("*", r.load(address), literal(r.dtype, 0.5))
    r.store(half, address)


# --- factors as values


def _lu(r: Routine) -> None:
    a, (factors, pivots) = r.call.ins[0], r.call.outs
    n, square = r.size(a, -1), r.product(a.shape[-2:])
    info = r.writer.cell("i32")
    open_ = r.flag(True)
    with r.stack(a, factors, pivots) as (x, f, p):
        r.copy(f, x, square)
        r.set(open_, literal(BOOL, True))
        order, ld = r.integer(n), r.integer(r.at_least_one(n))
        with r.when(_looks_definite(r, Matrix(x, n), n)):
            r.fortran("lapack", "potrf", r.letter("L"), order, f, ld, info)
            r.set(open_, r.failed(info))
            with r.when(r.is_set(open_)):
                r.copy(f, x, square)
            with r.loop(n) as i:
                r.store(literal(_I32, 0), r.element(p, i, "i32"))
        with r.when(r.is_set(open_)):
            factor(r, n, f, p, info)


def _looks_definite(r: Routine, a: Matrix, n: Value) -> Value:
    """Whether a matrix is symmetric but for rounding, its diagonal positive."""
    good = r.flag(True)
    tolerance = literal(r.dtype, 4 * np.finfo(r.dtype).eps)
    r.scalars.default = r.dtype

    def size(x: Value) -> Value:
        return r.scalars.call("fabs", [x])

    def demand(holds: Value) -> None:
        r.set(good, r.scalars.logical("and", r.is_set(good), holds))

    with r.loop(n) as i:
        demand(r.scalars.compare(">", r.load(_element(r, a, i, i)), 0.0))
    # In strips of the elements of a cache line; most matrices fail in the first.
    with r.loop(r.strips(n, _STRIP)) as k, r.when(r.is_set(good)):
        lo = r.times(k, _STRIP)
        hi = r.smaller(r.plus(lo, _STRIP), n)
        with r.loop(hi) as j, r.loop(hi, r.larger(lo, j)) as i:
            x, y = r.load(_element(r, a, i, j)), r.load(_element(r, a, j, i))
            gap = size(r.scalars.binary("-", x, y))
            both = r.scalars.binary("+", size(x), size(y))
            limit = r.scalars.binary("*", tolerance, both)
            demand(r.scalars.compare("<=", gap, limit))
    return r.is_set(good)


def _by_kind(r: Routine, pivots: str, n: Value) -> tuple[Value, Value]:
    """Whether the factors are Cholesky's, and whether LU's; neither if empty."""
    some = r.scalars.compare(">", n, ZERO)
    marked = r.flag(False)
    with r.when(some):
        first = r.scalars.cast(r.load(pivots, _I32), I64)
        r.set(marked, r.scalars.compare("==", first, ZERO))
    definite = r.is_set(marked)
    other = r.scalars.logical("and", some, r.scalars.logical_not(definite))
    return definite, other


def _note_singular(r: Routine, factors: str, n: Value, bad: str) -> None:
    """LAPACK does not look for zeros when it solves."""
    with r.loop(n) as i:
        u = r.load(r.element(factors, r.times(i, r.plus(n, ONE))))
        zero = r.scalars.compare("==", u, 0.0)
        r.set(bad, r.scalars.logical("or", r.is_set(bad), zero))


def _lu_solve(r: Routine) -> None:
    (factors, pivots, b), out = r.call.ins, r.call.outs[0]
    n, m = r.size(b, -2), r.size(b, -1)
    info, bad = r.information()
    single = b.shape[-1] == 1
    columns = None if single else r.scratch(r.times(n, m))
    # The factors are of A transposed, so its transpose is asked for.
    trans = "N" if r.call.params["trans"] else "T"
    with r.stack(factors, pivots, b, out) as (f, p, y, z):
        definite, other = _by_kind(r, p, n)
        with r.when(definite):
            r.copy(z, y, r.times(n, m))
            if single:
                vector_solve(r, "L", "N", n, f, z)
                vector_solve(r, "L", "T", n, f, z)
            else:
                solve_left(r, f, z, n, m, lower=False, trans=True)
                solve_left(r, f, z, n, m, lower=False, trans=False)
        with r.when(other):
            _note_singular(r, f, n, bad)
            target = columns or z
            if columns is None:
                r.copy(z, y, n)
            else:
                transpose(r, y, columns, n, m)
            order, ld = r.integer(n), r.integer(r.at_least_one(n))
            r.fortran(
                "lapack",
                "getrs",
                *(r.letter(trans), order, r.integer(m), f, ld, p, target, ld, info),
            )
            if columns is not None:
                transpose(r, columns, z, m, n)
    r.free()
    r.leave_if(bad)


def _lu_inv(r: Routine) -> None:
    (factors, pivots), out = r.call.ins, r.call.outs[0]
    n = r.size(factors, -1)
    info, bad = r.information()
    rows = r.times(r.larger(n, _BLOCK), _BLOCK)
    memory, block = r.scratch(rows), r.scratch(r.times(_BLOCK, _BLOCK))
    with r.stack(factors, pivots, out) as (f, p, z):
        definite, other = _by_kind(r, p, n)
        with r.when(definite):
            _invert_definite(
                r, Matrix(f, n), Matrix(z, n), n, memory, Matrix(block, _BLOCK), bad
            )
        with r.when(other):
            r.copy(z, f, r.times(n, n))
            order, length = r.integer(n), r.integer(rows)
            r.fortran("lapack", "getri", order, z, order, p, memory, length, info)
            r.note(info, bad)
    r.free()
    r.leave_if(bad)


def _invert_definite(
    r: Routine, u: Matrix, z: Matrix, n: Value, memory: str, block: Matrix, bad: str
) -> None:
    """(U^T U)^-1 = V V^T with V = U^-1, first in the upper triangle of z."""
    wide = Matrix(memory, r.at_least_one(n))
    _triangle(r, [z], u, n, lower=False)
    with r.loop(r.strips(n, _BLOCK)) as k:
        start, end, b, right = _last_block(r, n, k)
        own = _part(r, z, start, start)
        _invert(r, own, b, False, bad)
        with r.when(r.scalars.compare(">", right, ZERO)):
            target, known = _part(r, z, start, end), _part(r, z, end, end)
            _multiply(r, wide, target, known, (b, right, right))
            _multiply(r, target, own, wide, (b, right, b), alpha=-1.0)
    # From above, a block of rows of the lower triangle needs the upper one from its
    # own columns on, which is still V.
    with r.loop(r.strips(n, _BLOCK)) as k:
        start = r.times(k, _BLOCK)
        end = r.smaller(r.plus(start, _BLOCK), n)
        b, right = r.minus(end, start), r.minus(n, start)
        own, above = _part(r, z, start, start), _part(r, z, ZERO, start)
        target = _part(r, z, start, ZERO)
        _multiply(r, target, own, above, (b, start, right), tb=True)
        _multiply(r, block, own, own, (b, b, right), tb=True)
        with r.loop(b) as i, r.loop(b) as j:
            value = r.load(_element(r, block, i, j))
            r.store(value, _element(r, own, i, j))
    with r.loop(r.strips(n, _STRIP)) as k:
        lo = r.times(k, _STRIP)
        hi = r.smaller(r.plus(lo, _STRIP), n)
        with r.loop(hi) as j, r.loop(hi, r.larger(lo, j)) as i:
            r.store(r.load(_element(r, z, i, j)), _element(r, z, j, i))


BLOCKED: dict[str, Callable[[Routine], None]] = {
    "cholesky_vjp": _cholesky_vjp,
    "lu": _lu,
    "lu_solve": _lu_solve,
    "lu_inv": _lu_inv,
}
