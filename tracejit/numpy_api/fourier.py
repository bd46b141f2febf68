"""`numpy.fft`: all transforms are `fft`, `rfft` and `irfft` on resized operands."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import complex_of
from ..tracer import Tracer
from .complex import conjugated
from .reductions import axis_of
from .shape import roll, window
from .table import as_tracer, cast, emit, implements, of
from .ufuncs import F64

__all__: list[str] = []

_SWAPPED = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _norm(norm: Any) -> str:
    norm = "backward" if norm is None else norm
    if norm not in _SWAPPED:
        raise ValueError(
            f'Invalid norm value {norm}; should be "backward","ortho" or "forward".'
        )
    return norm


def _operand(a: Any) -> Tracer:
    x = of(a)
    return x if x.dtype.kind in "fc" else cast(x, F64)


def _complex(x: Tracer) -> Tracer:
    return x if x.dtype.kind == "c" else cast(x, complex_of(x.dtype))


def _real(x: Tracer) -> Tracer:
    if x.dtype.kind == "c":
        np.fft.rfft(x.concrete)  # raises, in NumPy's words
    return x


def _resized(x: Tracer, axis: int, n: Any) -> Tracer:
    """The first `n` elements along an axis, zeros behind its end."""
    size = x.shape[axis]
    n = size if n is None else operator.index(n)
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    if n < size:
        return window(x, axis, 0, n)
    if n == size:
        return x
    shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
    return emit("unslice", x, start=(0,) * x.ndim, step=(1,) * x.ndim, shape=shape)


# --- along one axis -------------------------------------------------------------------


def _along(x: Tracer, n: Any, axis: Any, norm: Any, inverse: bool) -> Tracer:
    norm = _norm(norm)
    axis = axis_of(axis, x.ndim)
    x = _resized(_complex(x), axis, n)
    return emit("fft", x, axes=(axis,), inverse=inverse, norm=norm)


def _forward_half(x: Tracer, n: Any, axis: Any, norm: Any) -> Tracer:
    norm = _norm(norm)
    axis = axis_of(axis, x.ndim)
    return emit("rfft", _resized(_real(x), axis, n), axis=axis, norm=norm)


def _backward_half(x: Tracer, n: Any, axis: Any, norm: Any) -> Tracer:
    norm = _norm(norm)
    axis = axis_of(axis, x.ndim)
    n = 2 * (x.shape[axis] - 1) if n is None else operator.index(n)
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    z = _resized(_complex(x), axis, n // 2 + 1)
    return emit("irfft", z, axis=axis, n=n, norm=norm)


def _hermitian(x: Tracer, n: Any, axis: Any, norm: Any) -> Tracer:
    return _backward_half(conjugated(_complex(x)), n, axis, _SWAPPED[_norm(norm)])


def _from_hermitian(x: Tracer, n: Any, axis: Any, norm: Any) -> Tracer:
    return conjugated(_forward_half(x, n, axis, _SWAPPED[_norm(norm)]))


def _one(function: Callable[..., Any], transform: Callable[..., Tracer]) -> None:
    @implements(function, host=True)
    def implementation(
        a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None
    ) -> Any:
        return transform(_operand(a), n, axis, norm)


_one(np.fft.fft, lambda x, n, axis, norm: _along(x, n, axis, norm, False))
_one(np.fft.ifft, lambda x, n, axis, norm: _along(x, n, axis, norm, True))
_one(np.fft.rfft, _forward_half)
_one(np.fft.irfft, _backward_half)
_one(np.fft.hfft, _hermitian)
_one(np.fft.ihfft, _from_hermitian)


# --- over several axes ----------------------------------------------------------------


def _sizes(
    x: Tracer, s: Any, axes: Any, halved: bool
) -> tuple[list[int | None], list[int]]:
    """Lengths and axes as NumPy has them; None for the axis's own length.

    Args:
        halved: whether the last axis holds half a spectrum.
    """
    if s is None:
        chosen = range(x.ndim) if axes is None else axes
        sizes: list[Any] = [None] * len(chosen)
    else:
        sizes = [None if n is None or n == -1 else operator.index(n) for n in s]
        if axes is None:
            # NumPy's own deprecation, and the error of what is too long.
            np.fft.fftn(np.zeros((1,) * x.ndim), s=[1] * len(sizes))
        chosen = range(-len(sizes), 0) if axes is None else axes
    if len(sizes) != len(chosen):
        raise ValueError("Shape and axes have different lengths.")
    found = [axis_of(a, x.ndim) for a in chosen]
    if halved and found and (s is None or s[-1] == -1):
        sizes[-1] = 2 * (x.shape[found[-1]] - 1)
    return sizes, found


def _over(x: Tracer, sizes: Any, axes: list[int], norm: Any, inverse: bool) -> Tracer:
    """Complex transforms over several axes, the last one first."""
    norm = _norm(norm)
    x = _complex(x)
    if len(set(axes)) < len(axes):
        for n, axis in reversed(list(zip(sizes, axes, strict=True))):
            x = _along(x, n, axis, norm, inverse)
        return x
    for n, axis in zip(sizes, axes, strict=True):
        x = _resized(x, axis, n)
    return emit("fft", x, axes=tuple(axes), inverse=inverse, norm=norm) if axes else x


def _rfftn(x: Tracer, s: Any, axes: Any, norm: Any) -> Tracer:
    sizes, found = _sizes(x, s, axes, False)
    half = _forward_half(x, sizes[-1], found[-1], norm)
    return _over(half, sizes[:-1], found[:-1], norm, False)


def _irfftn(x: Tracer, s: Any, axes: Any, norm: Any) -> Tracer:
    sizes, found = _sizes(x, s, axes, True)
    full = _over(x, sizes[:-1], found[:-1], norm, True)
    return _backward_half(full, sizes[-1], found[-1], norm)


def _fftn(x: Tracer, s: Any, axes: Any, norm: Any) -> Tracer:
    return _over(x, *_sizes(x, s, axes, False), norm, False)


def _ifftn(x: Tracer, s: Any, axes: Any, norm: Any) -> Tracer:
    return _over(x, *_sizes(x, s, axes, False), norm, True)


def _many(
    function: Callable[..., Any], transform: Callable[..., Tracer], default: Any
) -> None:
    @implements(function, host=True)
    def implementation(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        return transform(_operand(a), s, axes, norm)


for _names, _transform in (
    (("fftn", "fft2"), _fftn),
    (("ifftn", "ifft2"), _ifftn),
    (("rfftn", "rfft2"), _rfftn),
    (("irfftn", "irfft2"), _irfftn),
):
    _many(getattr(np.fft, _names[0]), _transform, None)
    _many(getattr(np.fft, _names[1]), _transform, (-2, -1))


# --- shifts ---------------------------------------------------------------------------


def _shift(function: Callable[..., Any], direction: int) -> None:
    @implements(function)
    def implementation(x: Any, axes: Any = None) -> Any:
        t = as_tracer(of(x).rec, x)
        if axes is None:
            axes = tuple(range(t.ndim))
        elif not isinstance(axes, (tuple, list)):
            axes = (operator.index(axes),)
        half = [direction * (t.shape[axis_of(a, t.ndim)] // 2) for a in axes]
        return roll(t, tuple(half), tuple(axes))


_shift(np.fft.fftshift, 1)
_shift(np.fft.ifftshift, -1)
