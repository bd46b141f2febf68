"""Reductions and scans.  Reduced axes disappear; `keepdims` is a reshape.

`axes` is a sorted tuple of non-negative ints; the dtype of the operand is kept (NumPy's
promotion of small integers happens before the tape).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .logic import cast, eq, select
from .rows import NONZ, REAL, Domain, sample
from .structural import (
    BOOL,
    INT64,
    broadcast_to,
    concatenate,
    flip,
    reshape,
    shift,
    transpose,
    window,
)

Axes = tuple[int, ...]


def _reduced(x: Aval, axes: Axes, name: str, dtype: np.dtype | None = None) -> Aval:
    if axes and not (axes[0] >= 0 and axes[-1] < x.ndim):
        raise InvalidTapeError(f"{name} of {x!r} over axes {axes}")
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return Aval(shape, x.dtype if dtype is None else dtype)


def expand(y: Any, axes: Axes, shape: tuple[int, ...]) -> Any:
    """Give a reduction's result the reduced axes back, repeating it along them."""
    if y.shape == shape:
        return y
    if axes != tuple(range(len(axes))):
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        y = reshape(y, shape=kept)
    return broadcast_to(y, shape=shape)


def _axes_samples(domain: Domain, kind: str = "f8") -> tuple[Callable, ...]:
    return (
        sample(((2, 3), domain, kind), axes=(0, 1)),
        sample(((2, 3, 4), domain, kind), axes=(1,)),
        sample(((2, 3), domain, "f4" if kind == "f8" else kind), axes=(0,)),
        sample(((3,), domain, kind), axes=()),
        sample(((), domain, kind), axes=()),
    )


def _next_axes(args: Any, batched: Any, axes: Axes, row: Primitive) -> Any:
    return row(args[0], axes=tuple(a + 1 for a in axes))


def _reduction(
    name: str,
    reference: Callable[..., Any],
    samples: tuple[Callable, ...],
    dtype: np.dtype | None = None,
    **rules: Any,
) -> Primitive:
    row: Primitive = Primitive(
        name,
        "reduction",
        reference,
        lambda x, *, axes: _reduced(x, axes, name, dtype),
        batch=lambda args, batched, *, axes: _next_axes(args, batched, axes, row),
        samples=samples,
        **rules,
    )
    return register(row)


# --- sum


sum_ = _reduction(
    "sum",
    lambda x, *, axes: np.add.reduce(x, axes, x.dtype),
    (
        *_axes_samples(REAL),
        sample(((0, 3), REAL), axes=(0,)),
        sample(((2, 3), REAL, "i8"), axes=(0,)),
    ),
    multilinear=(0,),
    vjp=lambda ct, y, x, *, axes: (expand(ct, axes, x.shape),),
)


# --- prod, cumsum, cumprod
#
# prod / x would be wrong at zeros.  The products of all other factors come from two
# exclusive scans, and the derivative of a scan is the linear recurrence below.


def _scan_row(
    name: str, reference: Callable[..., Any], domain: Domain, **rules: Any
) -> Primitive:
    row: Primitive = Primitive(
        name,
        "reduction",
        reference,
        lambda x, *, axis: x,
        batch=lambda args, batched, *, axis: row(args[0], axis=axis + 1),
        samples=(
            sample(((4,), domain), axis=0),
            sample(((2, 3), domain, "f4"), axis=1),
            sample(((3, 2), domain), axis=0),
            sample(((1,), domain), axis=0),
            sample(((0,), domain), axis=0),
        ),
        **rules,
    )
    return register(row)


def recurrence(c: Any, m: Any, axis: int) -> Any:
    """h[i] = c[i] + m[i] * h[i - 1], by doubling: log2(n) elementwise steps."""
    step = 1
    while step < c.shape[axis]:
        c = c + m * shift(c, axis, step)
        m = m * shift(m, axis, step)
        step *= 2
    return c


def _after(x: Any, axis: int) -> Any:
    """x[i + 1] at i, and 0 at the end."""
    return shift(x, axis, -1)


def exclusive(x: Any, axis: int) -> Any:
    """out[i] = product of x[:i]."""
    n = x.shape[axis]
    if not n:
        return x
    one = x.builder.const(1, x.dtype)
    head = list(x.shape)
    head[axis] = 1
    ones = broadcast_to(one, shape=tuple(head))
    if n == 1:
        return ones
    before = cumprod(window(x, axis, 0, n - 1), axis=axis)
    return concatenate(ones, before, axis=axis)


def _cumprod_vjp(ct: Any, y: Any, x: Any, *, axis: int) -> tuple:
    # d y[k] / d x[i] = prod x[:i] * prod x[i+1 : k+1] for k >= i.
    back = flip(recurrence(flip(ct, axis), flip(_after(x, axis), axis), axis), axis)
    return (exclusive(x, axis) * back,)


def _cumprod_jvp(tangents: Any, y: Any, x: Any, *, axis: int) -> Any:
    return recurrence(exclusive(x, axis) * tangents[0], x, axis)


def _others(x: Any, axes: Axes) -> Any:
    """For each element, the product of all others that `prod` multiplies it with."""
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    perm = (*kept, *axes)
    shape = tuple(x.shape[i] for i in perm)
    size = 1
    for i in axes:
        size *= x.shape[i]
    flat = reshape(transpose(x, perm=perm), shape=(*shape[: len(kept)], size))
    axis = len(kept)
    left = exclusive(flat, axis)
    right = flip(exclusive(flip(flat, axis), axis), axis)
    back = tuple(sorted(range(x.ndim), key=perm.__getitem__))
    return transpose(reshape(left * right, shape=shape), perm=back)


def _prod_vjp(ct: Any, y: Any, x: Any, *, axes: Axes) -> tuple:
    return (expand(ct, axes, x.shape) * _others(x, axes),)


def _prod_jvp(tangents: Any, y: Any, x: Any, *, axes: Axes) -> Any:
    return sum_(tangents[0] * _others(x, axes), axes=axes)


_ZEROS = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]])

prod = _reduction(
    "prod",
    lambda x, *, axes: np.multiply.reduce(x, axes, x.dtype),
    (
        *_axes_samples(NONZ),
        sample(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]]), axes=(1,)),
    ),
    vjp=_prod_vjp,
    jvp=_prod_jvp,
)
cumsum: Primitive = _scan_row(
    "cumsum",
    lambda x, *, axis: x.cumsum(axis, x.dtype),
    REAL,
    multilinear=(0,),
    vjp=lambda ct, y, x, *, axis: (flip(cumsum(flip(ct, axis), axis=axis), axis),),
)
cumprod = _scan_row(
    "cumprod",
    lambda x, *, axis: x.cumprod(axis, x.dtype),
    NONZ,
    vjp=_cumprod_vjp,
    jvp=_cumprod_jvp,
)


# --- extrema: equal ones share the cotangent equally


def _shares(y: Any, x: Any, axes: Axes) -> tuple[Any, Any]:
    """Where x is extremal, and how many share each result."""
    hit = eq(x, expand(y, axes, x.shape))
    return hit, sum_(cast(hit, dtype=x.dtype), axes=axes)


def _extremum_vjp(ct: Any, y: Any, x: Any, *, axes: Axes) -> tuple:
    hit, count = _shares(y, x, axes)
    return (select(hit, expand(ct / count, axes, x.shape), 0),)


def _extremum_jvp(tangents: Any, y: Any, x: Any, *, axes: Axes) -> Any:
    hit, count = _shares(y, x, axes)
    return sum_(select(hit, tangents[0], 0), axes=axes) / count


_EXTREMUM: dict[str, Any] = {"vjp": _extremum_vjp, "jvp": _extremum_jvp}
_ANY = (*_axes_samples(REAL, "?"), sample(((0, 2), REAL, "?"), axes=(0,)))
_NUMS = (*_axes_samples(REAL), sample(((2, 3), REAL, "i8"), axes=(1,)))


def _reduce(ufunc: np.ufunc) -> Callable[..., Any]:
    """A ufunc's `reduce`; NumPy's functions around it take longer than small arrays."""
    reduce = ufunc.reduce
    return lambda x, *, axes: reduce(x, axes)


max_ = _reduction("max", _reduce(np.maximum), _NUMS, **_EXTREMUM)
min_ = _reduction("min", _reduce(np.minimum), _NUMS, **_EXTREMUM)
any_ = _reduction("any", _reduce(np.logical_or), _ANY, BOOL)
all_ = _reduction("all", _reduce(np.logical_and), _ANY, BOOL)


# --- positions


def _position(name: str, reference: Callable[..., Any], keeps_axis: bool) -> Primitive:
    def aval(x: Aval, *, axis: int) -> Aval:
        if not 0 <= axis < x.ndim:
            raise InvalidTapeError(f"{name} of {x!r} along axis {axis}")
        return Aval(x.shape, INT64) if keeps_axis else _reduced(x, (axis,), name, INT64)

    row: Primitive = Primitive(
        name,
        "reduction",
        reference,
        aval,
        batch=lambda args, batched, *, axis: row(args[0], axis=axis + 1),
        samples=(
            sample(((4,), REAL), axis=0),
            sample(((2, 3), REAL, "f4"), axis=1),
            sample(((3, 2), REAL, "i8"), axis=0),
        ),
    )
    return register(row)


def _argsort_reference(x: Any, *, axis: int) -> Any:
    return x.argsort(axis, "stable")


argmax = _position("argmax", lambda x, *, axis: x.argmax(axis), keeps_axis=False)
argmin = _position("argmin", lambda x, *, axis: x.argmin(axis), keeps_axis=False)
argsort = _position("argsort", _argsort_reference, keeps_axis=True)
