"""`scipy.signal` for recorded functions: convolution and linear filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal as _scipy

from ..numpy_api.table import emit
from ..tracer import Tracer
from .linalg import _common, _traced

__all__ = ["convolve", "fftconvolve", "lfilter"]


def _centered(full: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """The middle of the full convolution."""
    index: list[Any] = [slice(None)] * full.ndim
    for axis in axes:
        start = (full.shape[axis] - shape[axis]) // 2
        index[axis] = slice(start, start + shape[axis])
    return full[tuple(index)]


def _part(full: Any, a: Any, b: Any, mode: str, axes: tuple[int, ...]) -> Any:
    if mode == "full":
        return full
    if mode == "same":
        return _centered(full, a.shape, axes)
    if mode == "valid":
        one = all(a.shape[i] >= b.shape[i] for i in axes)
        if not one and not all(b.shape[i] >= a.shape[i] for i in axes):
            raise ValueError(
                "For 'valid' mode, one must be at least as large as the other in every "
                "dimension"
            )
        sizes = list(full.shape)
        for i in axes:
            sizes[i] = abs(a.shape[i] - b.shape[i]) + 1
        return _centered(full, tuple(sizes), axes)
    raise ValueError("acceptable mode flags are 'valid', 'same', or 'full'")


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolution along axes, by the fast Fourier transform.

    Args:
        in1, in2: arrays of the same rank; axes that are not convolved broadcast.
        mode: "full", "same" (as `in1`) or "valid".
        axes: which axes, all by default.

    Example:
        >>> fftconvolve(np.array([1.0, 2.0]), np.array([1.0, 1.0])).round(12)
        array([1., 3., 2.])
    """
    if not _traced(in1, in2):
        return _scipy.fftconvolve(in1, in2, mode, axes)
    a, b = _common(in1, in2)
    if a.ndim != b.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if axes is None:
        axes = tuple(range(a.ndim))
    axes = tuple(i % a.ndim for i in np.atleast_1d(axes))
    sizes = [a.shape[i] + b.shape[i] - 1 for i in axes]
    if not axes:
        return a * b
    if a.dtype.kind == "c":
        product = np.fft.fftn(a, sizes, axes) * np.fft.fftn(b, sizes, axes)
        return _part(np.fft.ifftn(product, sizes, axes), a, b, mode, axes)
    product = np.fft.rfftn(a, sizes, axes) * np.fft.rfftn(b, sizes, axes)
    return _part(np.fft.irfftn(product, sizes, axes), a, b, mode, axes)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolution of two arrays of the same rank.

    Args:
        in1, in2: arrays.
        mode: "full", "same" (as `in1`) or "valid".
        method: "direct" or "fft"; for traced arrays vectors are convolved directly and
            all others by the Fourier transform, unless "fft" says so.

    Example:
        >>> convolve(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
        array([1., 3., 2.])
    """
    if not _traced(in1, in2):
        return _scipy.convolve(in1, in2, mode, method)
    if method not in ("auto", "direct", "fft"):
        raise ValueError("Acceptable method flags are 'auto', 'direct', or 'fft'.")
    a, b = _common(in1, in2)
    if a.ndim != 1 or b.ndim != 1 or method == "fft":
        return fftconvolve(a, b, mode)
    return _part(np.convolve(a, b, "full"), a, b, mode, (0,))


def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter along an axis with a recursive filter.

    Args:
        b, a: numerator and denominator, vectors; divided by `a[0]`.
        x: the signal.
        axis: along which axis.
        zi: the filter's state at the beginning, `(..., max(len(a), len(b)) - 1)` along
            that axis; then the state at the end is returned too.

    Returns:
        The filtered signal, of the shape of `x`; with `zi` a pair.

    Example:
        >>> lfilter([1.0], [1.0, -0.5], np.array([1.0, 0.0, 0.0]))
        array([1.  , 0.5 , 0.25])
    """
    if not _traced(b, a, x, zi):
        return _scipy.lfilter(b, a, x, axis, zi)
    given = [b, a, x] if zi is None else [b, a, x, zi]
    parts = _common(*[np.asarray(p) if type(p) is not Tracer else p for p in given])
    b, a, x = (np.atleast_1d(p) for p in parts[:3])
    b, a = b / a[0], a[1:] / a[0]
    x = np.moveaxis(x, axis, -1)
    n, order = x.shape[-1], max(a.shape[0] + 1, b.shape[0]) - 1
    fixed = [(0, 0)] * (x.ndim - 1)
    fed = b[0] * x
    for k in range(1, b.shape[0]):
        width = max(n - k, 0)
        fed = fed + b[k] * np.pad(x[..., :width], [*fixed, (n - width, 0)])
    if zi is None:
        return np.moveaxis(emit("all_pole", a, fed), -1, axis)
    given_state: Any = parts[3]
    state = np.moveaxis(given_state, axis, -1)
    fed = fed + np.pad(state[..., :n], [*fixed, (0, max(n - order, 0))])
    y = emit("all_pole", a, fed)
    return np.moveaxis(y, -1, axis), np.moveaxis(_state(b, a, x, y, state), -1, axis)


def _state(b: Any, a: Any, x: Any, y: Any, start: Any) -> Any:
    """The state after the last sample, of the transposed direct form II."""
    order, n = start.shape[-1], x.shape[-1]
    columns = []
    for k in range(order):
        # z_k after n steps: what later outputs get from the inputs and outputs so far.
        total = start[..., k + n] if k + n < order else 0.0 * x[..., 0]
        for j in range(min(n, order - k)):
            lag = k + 1 + j
            if lag < b.shape[0]:
                total = total + b[lag] * x[..., n - 1 - j]
            if lag <= a.shape[0]:
                total = total - a[lag - 1] * y[..., n - 1 - j]
        columns.append(total)
    return np.stack(columns, axis=-1)
