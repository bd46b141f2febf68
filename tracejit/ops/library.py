"""Rows that are NumPy's own routines: a kernel calls them back in Python.

`searchsorted(a, v){side}` is stacked: every last axis of `a` is sorted, and that of
`v` is looked up in it.  `ldexp(x, n)` is x * 2**n, linear in x; with `exponent`, which
is frexp's, it takes a number apart and puts it together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .rows import REAL, broadcast_shape, same_dtype, sample
from .structural import INT64, stacked

__all__ = ["exponent", "ldexp", "searchsorted"]


def _row(
    name: str, reference: Any, aval: Any, samples: tuple[Callable, ...], **rules: Any
) -> Primitive:
    rules.setdefault("batch", lambda args, batched: row(*stacked(args, batched)))
    row: Primitive = Primitive(
        name, "host", reference, aval, samples=samples, host=True, **rules
    )
    return register(row)


# --- searchsorted


def _searchsorted_reference(a: Any, v: Any, *, side: Any) -> Any:
    if a.ndim == 1:
        return np.searchsorted(a, v, side)
    rows = zip(a.reshape(-1, a.shape[-1]), v.reshape(-1, v.shape[-1]), strict=True)
    found = [np.searchsorted(x, y, side) for x, y in rows]
    return np.array(found, INT64).reshape(v.shape)


def _searchsorted_aval(a: Aval, v: Aval, *, side: str) -> Aval:
    same_dtype((a, v), "searchsorted", "biuf")
    if a.ndim != v.ndim or a.ndim < 1 or a.shape[:-1] != v.shape[:-1]:
        raise InvalidTapeError(f"searchsorted of {v!r} in {a!r}")
    return Aval(v.shape, INT64)


def _sorted(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.sort(rng.normal(size=shape), axis=-1)


searchsorted: Primitive = _row(
    "searchsorted",
    _searchsorted_reference,
    _searchsorted_aval,
    (
        sample(((4,), _sorted), ((3,), REAL), side="left"),
        sample(((2, 4), _sorted), ((2, 3), REAL), side="right"),
        sample(((4,), _sorted, "f4"), ((3,), REAL, "f4"), side="left"),
        sample(np.array([1, 2, 2, 5]), np.array([2, 0, 9]), side="right"),
    ),
    batch=lambda args, batched, *, side: searchsorted(
        *stacked(args, batched), side=side
    ),
)


# --- elementwise, without a derivative


def _elementwise(
    name: str,
    ufunc: np.ufunc,
    kinds: str,
    samples: tuple[Callable, ...],
    out: np.dtype | None = None,
) -> Primitive:
    def aval(*avals: Aval) -> Aval:
        dtype = same_dtype(avals, name, kinds)
        return Aval(broadcast_shape(avals, name), dtype if out is None else out)

    return _row(name, ufunc, aval, samples)


_INTS = np.array([[6, -4, 9], [0, 15, 7]])

gcd = _elementwise("gcd", np.gcd, "iu", (sample(_INTS, _INTS[::-1]),))
lcm = _elementwise("lcm", np.lcm, "iu", (sample(_INTS, _INTS[::-1]),))
bitwise_count = _elementwise(
    "bitwise_count", np.bitwise_count, "iu", (sample(_INTS),), np.dtype(np.uint8)
)
spacing = _elementwise(
    "spacing", np.spacing, "f", (sample(((2, 3), REAL)), sample(((3,), REAL, "f4")))
)
nextafter = _elementwise(
    "nextafter",
    np.nextafter,
    "f",
    (
        sample(((2, 3), REAL), ((2, 3), REAL)),
        sample(((3,), REAL, "f4"), ((3,), REAL, "f4")),
    ),
)


# --- frexp, ldexp


def _exponent_aval(x: Aval) -> Aval:
    same_dtype((x,), "exponent", "f")
    return Aval(x.shape, np.dtype(np.int32))


def _ldexp_aval(x: Aval, n: Aval) -> Aval:
    if x.dtype.kind != "f" or n.dtype.kind != "i" or x.shape != n.shape:
        raise InvalidTapeError(f"ldexp of {x!r} and {n!r}")
    return x


exponent = _row(
    "exponent",
    lambda x: np.frexp(x)[1],
    _exponent_aval,
    (sample(((2, 3), REAL)), sample(((), REAL)), sample(((3,), REAL, "f4"))),
)
ldexp: Primitive = _row(
    "ldexp",
    np.ldexp,
    _ldexp_aval,
    (
        sample(((2, 3), REAL), _INTS),
        sample(((3,), REAL, "f4"), np.array([1, -2, 3], np.int32)),
    ),
    multilinear=(0,),
    vjp=lambda ct, y, x, n: (ldexp(ct, n), None),
)
