"""Discrete Fourier transforms: NumPy's, called in Python.

`fft(x){axes, inverse, norm}` is complex to complex over some axes; `rfft` and `irfft`
go between real and half-spectrum along one axis.  `norm` is NumPy's word.  All are
linear.  A cotangent is not conjugated (see `ops.complex`), and the matrix of the
transform is symmetric, so `fft` is its own transpose.  Those of the two others are
each other, up to the weights of the frequencies that stand for two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval, complex_of, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .complex import complex_, imag, real
from .logic import eq, logical_or, select
from .rows import REAL, same_dtype, sample
from .structural import iota

__all__ = ["fft", "irfft", "rfft"]

#: The norm with which the backward transform has the forward one's factor.
_DUAL = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _check(x: Aval, axes: tuple[int, ...], name: str, norm: str) -> None:
    good = axes and norm in _DUAL and all(0 <= a < x.ndim for a in axes)
    if not good or len(set(axes)) < len(axes):
        raise InvalidTapeError(f"{name} of {x!r} over axes {axes} with norm {norm!r}")


def _fft_aval(x: Aval, *, axes: tuple[int, ...], inverse: bool, norm: str) -> Aval:
    same_dtype((x,), "fft", "c")
    _check(x, axes, "fft", norm)
    return x


def _fft_reference(x: Any, *, axes: tuple[int, ...], inverse: bool, norm: Any) -> Any:
    transform = np.fft.ifft if inverse else np.fft.fft
    for axis in reversed(axes):
        x = transform(x, axis=axis, norm=norm)
    return x


def _fft_into(
    outs: Any, x: Any, *, axes: tuple[int, ...], inverse: bool, norm: Any
) -> None:
    transform = np.fft.ifft if inverse else np.fft.fft
    for axis in reversed(axes):
        # In place from the second axis on.
        x = transform(x, axis=axis, norm=norm, out=outs[0])


def _rfft_into(outs: Any, x: Any, *, axis: int, norm: Any) -> None:
    np.fft.rfft(x, axis=axis, norm=norm, out=outs[0])


def _irfft_into(outs: Any, z: Any, *, axis: int, n: int, norm: Any) -> None:
    np.fft.irfft(z, n, axis=axis, norm=norm, out=outs[0])


def _rfft_aval(x: Aval, *, axis: int, norm: str) -> Aval:
    same_dtype((x,), "rfft", "f")
    _check(x, (axis,), "rfft", norm)
    shape = (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :])
    return Aval(shape, complex_of(x.dtype))


def _irfft_aval(z: Aval, *, axis: int, n: int, norm: str) -> Aval:
    same_dtype((z,), "irfft", "c")
    _check(z, (axis,), "irfft", norm)
    if z.shape[axis] != n // 2 + 1:
        raise InvalidTapeError(f"irfft of {z!r} to {n} points along axis {axis}")
    return Aval((*z.shape[:axis], n, *z.shape[axis + 1 :]), real_of(z.dtype))


def _single(z: Any, axis: int, n: int) -> Any:
    """Whether a frequency stands for itself alone, over a half-spectrum's axis."""
    shape = [1] * z.ndim
    shape[axis] = z.shape[axis]
    params = {"shape": tuple(shape), "axis": axis, "dtype": np.dtype(np.int64)}
    k = z.builder.emit(iota, (), params)
    ends = eq(k, 0)
    return logical_or(ends, eq(k, n // 2)) if n % 2 == 0 else ends


def _weighted(z: Any, axis: int, n: int, double: float) -> Any:
    """conj(z), frequencies that stand for two taken `double` times."""
    one = select(_single(z, axis, n), 1.0, z.builder.const(double, real_of(z.dtype)))
    return complex_(real(z) * one, -(imag(z) * one))


def _rfft_vjp(ct: Any, y: Any, x: Any, *, axis: int, norm: str) -> tuple:
    n = x.shape[axis]
    return (irfft(_weighted(ct, axis, n, 0.5), axis=axis, n=n, norm=_DUAL[norm]),)


def _irfft_vjp(ct: Any, y: Any, z: Any, *, axis: int, n: int, norm: str) -> tuple:
    return (_weighted(rfft(ct, axis=axis, norm=_DUAL[norm]), axis, n, 2.0),)


def _row(
    name: str, reference: Any, into: Any, aval: Any, vjp: Any, batch: Any, samples: Any
) -> Primitive:
    return register(
        Primitive(
            name,
            "host",
            reference,
            aval,
            multilinear=(0,),
            vjp=vjp,
            batch=batch,
            host=True,
            into=into,
            samples=samples,
        )
    )


def _fft_samples() -> Any:
    return tuple(
        sample((shape, REAL, kind), axes=axes, inverse=inverse, norm=norm)
        for shape, kind, axes, inverse, norm in (
            ((5,), "c16", (0,), False, "backward"),
            ((2, 4), "c16", (1,), True, "backward"),
            ((3, 4), "c16", (0, 1), False, "ortho"),
            ((2, 3), "c8", (0,), True, "forward"),
        )
    )


def _half_samples(kinds: tuple[str, str], **extra: Any) -> Any:
    wide, narrow = kinds
    rows: Any = (
        ((5,), wide, 0, "backward"),
        ((2, 6), wide, 1, "ortho"),
        ((6, 2), wide, 0, "forward"),
        ((1,), wide, 0, "backward"),
        ((2, 4), narrow, 1, "backward"),
    )
    found = []
    for shape, kind, axis, norm in rows:
        params: dict[str, Any] = {"axis": axis, "norm": norm}
        if extra:
            n = shape[axis]
            params["n"] = n
            shape = (*shape[:axis], n // 2 + 1, *shape[axis + 1 :])
        found.append(sample((shape, REAL, kind), **params))
    return tuple(found)


fft: Primitive = _row(
    "fft",
    _fft_reference,
    _fft_into,
    _fft_aval,
    lambda ct, y, x, **params: (fft(ct, **params),),
    lambda args, batched, *, axes, inverse, norm: fft(
        args[0], axes=tuple(a + 1 for a in axes), inverse=inverse, norm=norm
    ),
    _fft_samples(),
)
rfft: Primitive = _row(
    "rfft",
    lambda x, *, axis, norm: np.fft.rfft(x, axis=axis, norm=norm),
    _rfft_into,
    _rfft_aval,
    _rfft_vjp,
    lambda args, batched, *, axis, norm: rfft(args[0], axis=axis + 1, norm=norm),
    _half_samples(("f8", "f4")),
)
irfft: Primitive = _row(
    "irfft",
    lambda z, *, axis, n, norm: np.fft.irfft(z, n, axis=axis, norm=norm),
    _irfft_into,
    _irfft_aval,
    _irfft_vjp,
    lambda args, batched, *, axis, n, norm: irfft(
        args[0], axis=axis + 1, n=n, norm=norm
    ),
    _half_samples(("c16", "c8"), n=True),
)
