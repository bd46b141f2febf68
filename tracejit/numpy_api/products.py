"""Products of vectors and matrices: all are the one contraction `dot`."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .complex import conjugated
from .reductions import axis_of
from .reductions import sum as sum_
from .shape import moveaxis, permute
from .table import (
    as_tracer,
    common,
    emit,
    emit_view,
    filled,
    implements,
    no_keywords,
    recorder_of,
)
from .ufuncs import call, composed, loop_dtype

__all__ = ["contract", "matmul"]


def contract(
    a: Tracer,
    b: Tracer,
    axes_a: tuple[int, ...],
    axes_b: tuple[int, ...],
    batch_a: tuple[int, ...] = (),
    batch_b: tuple[int, ...] = (),
) -> Tracer:
    """Batch axes, then the free axes of `a`, then those of `b`."""
    return emit("dot", a, b, contract=(axes_a, axes_b), batch=(batch_a, batch_b))


def _pair(*operands: Any) -> list[Tracer]:
    """Operands as tracers of the dtype that arrays of theirs would have in common."""
    rec = recorder_of(*operands)
    return common([as_tracer(rec, x) for x in operands])


def _raise_like(function: Callable[..., Any], *operands: Tracer) -> None:
    """Let NumPy word the error that these operands are."""
    function(*[x.concrete for x in operands])


@composed(np.matmul)
def matmul(a: Any, b: Any) -> Any:
    dtype = loop_dtype(np.matmul, a, b)
    rec = recorder_of(a, b)
    x, y = as_tracer(rec, a, dtype), as_tracer(rec, b, dtype)
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        _raise_like(np.matmul, x, y)
    last = (x.ndim - 1,)
    if y.ndim <= 2:
        return contract(x, y, last, (0,))
    if x.ndim == 1:
        return contract(x, y, last, (y.ndim - 2,))
    if x.ndim == 2:
        out = contract(x, y, last, (y.ndim - 2,))  # rows of x come first
        perm = (*range(1, out.ndim - 1), 0, out.ndim - 1)
        return emit("transpose", out, perm=perm)
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = [
        t
        if t.shape[:-2] == stack
        else emit_view("broadcast_to", t, shape=(*stack, *t.shape[-2:]))
        for t in (x, y)
    ]
    batch = tuple(range(len(stack)))
    n = len(stack)
    return contract(x, y, (n + 1,), (n,), batch, batch)


@composed(np.vecdot)
def vecdot(a: Any, b: Any) -> Any:
    first = conjugated(as_tracer(recorder_of(a, b), a))
    product = call(np.multiply, first, b)
    return sum_(product, -1, product.dtype)


@composed(np.matvec)
def matvec(a: Any, b: Any) -> Any:
    rec = recorder_of(a, b)
    x = as_tracer(rec, b)
    return matmul(a, x[..., None])[..., 0]


@composed(np.vecmat)
def vecmat(a: Any, b: Any) -> Any:
    rec = recorder_of(a, b)
    x = conjugated(as_tracer(rec, a))
    return matmul(x[..., None, :], b)[..., 0, :]


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return matmul(x1, x2)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    rec = recorder_of(x1, x2)
    x, y = [moveaxis(as_tracer(rec, t), axis, -1) for t in (x1, x2)]
    return vecdot(x, y)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    no_keywords(np.dot, out=out)
    x, y = _pair(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return call(np.multiply, x, y)
    axis = builtins.max(y.ndim - 2, 0)
    if x.shape[-1] != y.shape[axis]:
        _raise_like(np.dot, x, y)
    return contract(x, y, (x.ndim - 1,), (axis,))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    x, y = _pair(a, b)
    if x.ndim == 0 or y.ndim == 0:
        return call(np.multiply, x, y)
    if x.shape[-1] != y.shape[-1]:
        _raise_like(np.inner, x, y)
    return contract(x, y, (x.ndim - 1,), (y.ndim - 1,))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    x, y = [_flat(t) for t in _pair(a, b)]
    if x.size != y.size:
        _raise_like(np.vdot, x, y)
    return contract(conjugated(x), y, (0,), (0,))


def _flat(x: Tracer) -> Tracer:
    return x if x.ndim == 1 else emit("reshape", x, shape=(x.size,))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    no_keywords(np.outer, out=out)
    x, y = _pair(a, b)
    return call(np.multiply, emit("reshape", x, shape=(x.size, 1)), _flat(y))


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    return outer(x1, x2)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    x, y = _pair(a, b)
    if isinstance(axes, (tuple, list)):
        first, second = axes
        first = first if isinstance(first, (tuple, list)) else (first,)
        second = second if isinstance(second, (tuple, list)) else (second,)
    else:
        n = operator.index(axes)
        first, second = range(x.ndim - n, x.ndim), range(n)
    try:
        left = tuple([axis_of(i, x.ndim) for i in first])
        right = tuple([axis_of(i, y.ndim) for i in second])
    except np.exceptions.AxisError:
        left, right = (), (0,)
    sizes = [x.shape[i] for i in left], [y.shape[i] for i in right]
    if sizes[0] != sizes[1]:
        raise ValueError("shape-mismatch for sum")
    return contract(x, y, left, right)


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    x, y = _pair(a, b)
    ndim = builtins.max(x.ndim, y.ndim)
    left = (1,) * (ndim - x.ndim) + x.shape
    right = (1,) * (ndim - y.ndim) + y.shape
    x = emit("reshape", x, shape=tuple(k for n in left for k in (n, 1)))
    y = emit("reshape", y, shape=tuple(k for n in right for k in (1, n)))
    out = call(np.multiply, x, y)
    return emit(
        "reshape", out, shape=tuple(n * m for n, m in zip(left, right, strict=True))
    )


@implements(np.cross)
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _pair(a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, but they are "
            f"{x.shape[-1]} and {y.shape[-1]} dimensional instead."
        )
    if x.shape[-1] == 2 or y.shape[-1] == 2:
        x.rec.warn(
            "Arrays of 2-dimensional vectors are deprecated. Use arrays of "
            "3-dimensional vectors instead. (deprecated in NumPy 2.0)",
            DeprecationWarning,
        )
        if x.shape[-1] == y.shape[-1]:
            return x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]
        x, y = _in_space(x), _in_space(y)
    return _cross(x, y, axisc)


def _in_space(x: Tracer) -> Tracer:
    """Vectors of a plane as vectors of space."""
    if x.shape[-1] == 3:
        return x
    zero = filled(x.rec, (*x.shape[:-1], 1), 0, x.dtype)
    return emit("concatenate", x, zero, axis=x.ndim - 1)


def _cross(x: Tracer, y: Tracer, axis: int) -> Tracer:
    out = x[..., [1, 2, 0]] * y[..., [2, 0, 1]] - x[..., [2, 0, 1]] * y[..., [1, 2, 0]]
    return moveaxis(out, -1, axis)


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x, y = _pair(x1, x2)
    if x.shape[axis] != 3 or y.shape[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, but they are "
            f"{x.shape[axis]} and {y.shape[axis]} dimensional instead."
        )
    return _cross(moveaxis(x, axis, -1), moveaxis(y, axis, -1), axis)


# --- diagonals ------------------------------------------------------------------------


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    x = as_tracer(recorder_of(a), a)
    if x.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    first, second = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    if first == second:
        raise ValueError("axis1 and axis2 cannot be the same")
    rest = [i for i in range(x.ndim) if i not in (first, second)]
    moved = permute(x, (*rest, first, second))
    return emit_view("diagonal", moved, offset=operator.index(offset))


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return diagonal(x, offset, -2, -1)


@implements(np.trace)
def trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    no_keywords(np.trace, out=out)
    return sum_(diagonal(a, offset, axis1, axis2), -1, dtype)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    x = as_tracer(recorder_of(v), v)
    if x.ndim == 1:
        n = x.size + builtins.abs(k)
        return emit("diag_embed", x, offset=operator.index(k), n=n, m=n)
    if x.ndim == 2:
        return diagonal(x, k)
    raise ValueError("Input must be 1- or 2-d.")


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(_flat(as_tracer(recorder_of(v), v)), k)


def _triangle(name: str, function: Callable[..., Any]) -> None:
    @implements(function)
    def triangle(m: Any, k: int = 0) -> Any:
        x = as_tracer(recorder_of(m), m)
        if x.ndim == 1:
            x = emit("broadcast_to", x, shape=(x.size, x.size))
        elif x.ndim == 0:
            refuse(f"np.{name} of a scalar")
        return emit(name, x, k=operator.index(k))


_triangle("tril", np.tril)
_triangle("triu", np.triu)
