"""`np.linalg`: on the last two axes, stacked, as NumPy's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tracer import Tracer
from .complex import conjugated, squared_size
from .products import dot, matmul
from .reductions import axis_of, keep, reduce
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .shape import swapaxes
from .table import (
    as_tracer,
    cast,
    common,
    emit,
    emit_view,
    implements,
    no_keywords,
    recorder_of,
)
from .ufuncs import F64, call

__all__ = ["inv", "norm", "solve", "squares"]


def _float(a: Any) -> Tracer:
    """An array as floats: integers become f64."""
    x = as_tracer(recorder_of(a), a)
    return x if x.dtype.kind in "fc" else cast(x, F64)


def squares(x: Tracer) -> Tracer:
    """The operand, if it is a stack of square matrices."""
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    if x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return x


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    x = squares(_float(a))
    if not upper:
        return emit("cholesky", x)
    x = swapaxes(conjugated(x), -1, -2)
    return swapaxes(conjugated(emit("cholesky", x)), -1, -2)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    return emit("inv", squares(_float(a)))


@implements(np.linalg.det)
def det(a: Any) -> Any:
    return emit("det", squares(_float(a)))


#: NumPy's own named tuple has no public name.
_Slogdet: Any = type(np.linalg.slogdet(np.eye(1)))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    return _Slogdet(*emit("slogdet", squares(_float(a))))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    rec = recorder_of(a, b)
    x, y = common([_float_of(rec, a), _float_of(rec, b)])
    squares(x)
    vector = y.ndim == 1
    if vector:
        y = emit_view("reshape", y, shape=(*y.shape, 1))
    if y.shape[-2] != x.shape[-1]:
        np.linalg.solve(x.concrete, y.concrete[..., 0] if vector else y.concrete)
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = [
        t
        if t.shape[:-2] == stack
        else emit_view("broadcast_to", t, shape=(*stack, *t.shape[-2:]))
        for t in (x, y)
    ]
    out = _solved(x, y)
    return emit("reshape", out, shape=out.shape[:-1]) if vector else out


def _float_of(rec: Any, a: Any) -> Tracer:
    x = as_tracer(rec, a)
    return x if x.dtype.kind in "fc" else cast(x, F64)


def _solved(a: Tracer, b: Tracer) -> Tracer:
    """The solution; a Cholesky factor or its transpose is known to be triangular."""
    rec = a.rec
    made_by = rec.producer(a.ref.index)
    name = made_by.prim.name if made_by is not None else ""
    if name == "cholesky":
        return emit("triangular_solve", a, b, lower=True, trans=False)
    if made_by is not None and name == "transpose":
        perm = made_by.params["perm"]
        source = rec.producer(made_by.args[0])
        n = len(perm)
        swapped = perm == (*range(n - 2), n - 1, n - 2)
        if swapped and source is not None and source.prim.name == "cholesky":
            factor = rec.tracer(rec.ref(source.outs[0]))
            return emit("triangular_solve", factor, b, lower=True, trans=True)
    return emit("solve", a, b)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    x = squares(as_tracer(recorder_of(a), a))
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        eye = np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape)
        return as_tracer(x.rec, eye.copy())
    result: Any = None
    while n:
        if n & 1:
            result = x if result is None else matmul(result, x)
        n >>= 1
        x = matmul(x, x) if n else x
    return result


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    no_keywords(np.linalg.multi_dot, out=out)
    rec = recorder_of(*arrays)
    parts = [as_tracer(rec, a) for a in arrays]
    if len(parts) < 2:
        raise ValueError("Expecting at least two arrays.")
    row, column = parts[0].ndim == 1, parts[-1].ndim == 1
    if len(parts) > 2:
        parts[0] = parts[0][None] if row else parts[0]
        parts[-1] = parts[-1][:, None] if column else parts[-1]
        for x in parts:
            if x.ndim != 2:
                raise np.linalg.LinAlgError(
                    f"{x.ndim}-dimensional array given. Array must be two-dimensional"
                )
    else:
        return dot(*parts)
    found = _chain(parts)
    found = found[0] if row else found
    return found[..., 0] if column else found


def _chain(parts: list[Tracer]) -> Tracer:
    """The product in the order with the fewest multiplications.

    T. Cormen et al., "Introduction to Algorithms", matrix-chain multiplication.
    """
    sizes = [parts[0].shape[0], *[x.shape[1] for x in parts]]
    n = len(parts)
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min(
                (
                    best[i, k][0]
                    + best[k + 1, j][0]
                    + sizes[i] * sizes[k + 1] * sizes[j + 1],
                    k,
                )
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tracer:
        if i == j:
            return parts[i]
        k = best[i, j][1]
        return dot(product(i, k), product(k + 1, j))

    return product(0, n - 1)


# --- norms ----------------------------------------------------------------------------


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = _float(x)
    if axis is None:
        if (
            ord is None
            or (ord == 2 and x.ndim == 1)
            or (ord in ("f", "fro") and x.ndim == 2)
        ):
            flat = x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))
            if x.dtype.kind == "c":
                flat = emit(
                    "concatenate", emit("real", flat), emit("imag", flat), axis=0
                )
            total = emit("dot", flat, flat, contract=((0,), (0,)), batch=((), ()))
            root = call(np.sqrt, total)
            ones = (1,) * x.ndim
            return emit("reshape", root, shape=ones) if keepdims else root
        axis = tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple([axis_of(i, x.ndim) for i in axes])
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


def _vector_norm(x: Tracer, ord: Any, axis: int, keepdims: bool) -> Any:
    if ord is None or ord == 2:
        return call(np.sqrt, sum_(squared_size(x), axis, keepdims=keepdims))
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    size = call(np.absolute, x)
    if ord == np.inf:
        return max_(size, axis, keepdims=keepdims, initial=0)
    if ord == -np.inf:
        return reduce("min", size, axis, keepdims)
    if ord == 0:
        return sum_(cast(x != 0, size.dtype), axis, keepdims=keepdims)
    if ord == 1:
        return sum_(size, axis, keepdims=keepdims)
    total = sum_(call(np.power, size, ord), axis, keepdims=keepdims)
    return call(np.power, total, call_or_divide(ord, size.dtype))


def call_or_divide(ord: Any, dtype: np.dtype) -> Any:
    """1 / ord in a dtype, whether ord is traced or not."""
    if type(ord) is Tracer:
        return cast(1 / ord, dtype)
    return np.reciprocal(ord, dtype=dtype)


def _matrix_norm(x: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    row, column = axes
    if row == column:
        raise ValueError("Duplicate axes given.")
    if ord is None or ord in ("fro", "f"):
        return call(np.sqrt, sum_(squared_size(x), axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        return _spectral_norm(x, ord, axes, keepdims)
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError("Invalid norm order for matrices.")
    summed, other = (row, column) if ord in (1, -1) else (column, row)
    total = sum_(call(np.absolute, x), summed, keepdims=True)
    out = reduce("max" if ord > 0 else "min", total, other, True)
    if keepdims:
        return out
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return emit("reshape", out, shape=shape)


def _spectral_norm(x: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Of the singular values the largest, the least, or all together."""
    rest = [i for i in range(x.ndim) if i not in axes]
    s = emit("svdvals", emit("transpose", x, perm=(*rest, *axes)))
    if ord == "nuc":
        found = sum_(s, -1)
    else:
        found = max_(s, -1, initial=0) if ord == 2 else min_(s, -1)
    return keep(found, x.shape, axes) if keepdims else found


@implements(np.linalg.vector_norm)
def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> Any:
    x = _float(x)
    if axis is None:
        flat = emit("reshape", x, shape=(x.size,))
        out = _vector_norm(flat, ord, 0, False)
        return emit("reshape", out, shape=(1,) * x.ndim) if keepdims else out
    if isinstance(axis, tuple):
        axes = [axis_of(i, x.ndim) for i in axis]
        rest = [i for i in range(x.ndim) if i not in axes]
        moved = emit("transpose", x, perm=(*axes, *rest))
        left = tuple([x.shape[i] for i in rest])
        size = math.prod([x.shape[i] for i in axes])
        flat = emit("reshape", moved, shape=(size, *left))
        out = _vector_norm(flat, ord, 0, False)
        return keep(out, x.shape, axes) if keepdims else out
    return _vector_norm(x, ord, axis_of(axis, x.ndim), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    x = _float(x)
    return _matrix_norm(x, ord, (x.ndim - 2, x.ndim - 1), keepdims)
