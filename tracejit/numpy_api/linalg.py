"""`np.linalg`: on the last two axes, stacked, as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .complex import squared_size
from .products import matmul
from .reductions import axis_of, reduce
from .reductions import sum as sum_
from .shape import swapaxes
from .table import as_tracer, cast, common, emit, emit_view, implements, recorder_of
from .ufuncs import F64, call

__all__ = ["solve"]


def _float(a: Any) -> Tracer:
    """An array as floats: integers become f64."""
    x = as_tracer(recorder_of(a), a)
    return x if x.dtype.kind in "fc" else cast(x, F64)


def _squares(x: Tracer) -> Tracer:
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    if x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return x


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    x = _squares(_float(a))
    if not upper:
        return emit("cholesky", x)
    return swapaxes(emit("cholesky", swapaxes(x, -1, -2)), -1, -2)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    return emit("inv", _squares(_float(a)))


@implements(np.linalg.det)
def det(a: Any) -> Any:
    return emit("det", _squares(_float(a)))


#: NumPy's own named tuple has no public name.
_Slogdet: Any = type(np.linalg.slogdet(np.eye(1)))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    return _Slogdet(*emit("slogdet", _squares(_float(a))))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    rec = recorder_of(a, b)
    x, y = common([_float_of(rec, a), _float_of(rec, b)])
    _squares(x)
    vector = y.ndim == 1
    if vector:
        y = emit_view("reshape", y, shape=(*y.shape, 1))
    if y.shape[-2] != x.shape[-1]:
        np.linalg.solve(x.value, y.value[..., 0] if vector else y.value)
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
    made_by = rec.producers[a.ref.index]
    name = made_by.prim.name if made_by is not None else ""
    if name == "cholesky":
        return emit("triangular_solve", a, b, lower=True, trans=False)
    if made_by is not None and name == "transpose":
        perm = made_by.params["perm"]
        source = rec.producers[made_by.args[0]]
        n = len(perm)
        swapped = perm == (*range(n - 2), n - 1, n - 2)
        if swapped and source is not None and source.prim.name == "cholesky":
            factor = rec.tracer(rec.ref(source.outs[0]))
            return emit("triangular_solve", factor, b, lower=True, trans=True)
    return emit("solve", a, b)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    x = _squares(as_tracer(recorder_of(a), a))
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
    rec = recorder_of(*arrays)
    first, *rest = [as_tracer(rec, a) for a in arrays]
    for x in rest:
        first = matmul(first, x)
    return first


# --- norms ----------------------------------------------------------------------------


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = _float(x)
    if axis is None:
        if ord is None or (ord == 2 and x.ndim == 1) or (ord == "fro" and x.ndim == 2):
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
        return reduce("max", size, axis, keepdims)
    if ord == -np.inf:
        return reduce("min", size, axis, keepdims)
    if ord == 0:
        return sum_(cast(x != 0, size.dtype), axis, keepdims=keepdims)
    if ord == 1:
        return sum_(size, axis, keepdims=keepdims)
    return sum_(size**ord, axis, keepdims=keepdims) ** size.dtype.type(1 / ord)


def _matrix_norm(x: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    row, column = axes
    if row == column:
        raise ValueError("Duplicate axes given.")
    if ord is None or ord == "fro":
        return call(np.sqrt, sum_(squared_size(x), axes, keepdims=keepdims))
    if ord not in (1, -1, np.inf, -np.inf):
        refuse(
            f"np.linalg.norm of matrices with ord={ord!r}",
            "Use ord 'fro', 1, -1, inf or -inf",
        )
    summed, other = (row, column) if ord in (1, -1) else (column, row)
    total = sum_(call(np.absolute, x), summed, keepdims=True)
    out = reduce("max" if ord > 0 else "min", total, other, True)
    if keepdims:
        return out
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return emit("reshape", out, shape=shape)


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
        refuse("np.linalg.vector_norm over several axes", "Use np.linalg.norm")
    return _vector_norm(x, ord, axis_of(axis, x.ndim), keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    x = _float(x)
    return _matrix_norm(x, ord, (x.ndim - 2, x.ndim - 1), keepdims)
