"""Helpers that the rows of all families are made with.

A row's `samples` are callables `rng -> (arrays, params)`.  Domains say from which
numbers an operand is drawn, so that derivatives exist there and differences of
references are accurate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..avals import Aval, dtype_name
from ..errors import InvalidTapeError
from ..primitive import PRIMITIVES, Primitive, register

__all__ = [
    "ANY",
    "ANYC",
    "BOOL",
    "FIELD",
    "FLOAT",
    "GT1",
    "INSIDE",
    "INT",
    "NONZ",
    "NUM",
    "NUMC",
    "POS",
    "REAL",
    "SHAPES",
    "UNIT",
    "Domain",
    "broadcast_shape",
    "draw",
    "row1",
    "row2",
    "same_dtype",
    "sample",
    "unbroadcast",
    "zeros",
]

BOOL = np.dtype(np.bool_)
#: Kinds of dtypes that a row takes; c is complex.
FLOAT, NUM, INT, ANY = "f", "iuf", "biu", "biuf"
FIELD, NUMC, ANYC = "fc", "iufc", "biufc"
SHAPES = (
    ((2, 3), (2, 3), (2, 3)),
    ((), (), ()),
    ((2, 3), (3,), (2, 1)),
    ((2, 1), (1, 3), ()),
    ((), (2, 2), (2,)),
    ((0, 3), (3,), ()),
)
_KIND_SAMPLES = {"b": "?", "i": "i8", "u": "u4", "f": "f4"}

Domain = Callable[[np.random.Generator, tuple[int, ...]], Any]


def REAL(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Both signs, of order one."""
    return rng.normal(size=shape)


def POS(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(0.5, 3.0, size=shape)


def UNIT(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Well inside (-1, 1)."""
    return rng.uniform(-0.8, 0.8, size=shape)


def INSIDE(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Well inside (0, 1)."""
    return rng.uniform(0.1, 0.9, size=shape)


def GT1(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(1.2, 4.0, size=shape)


def NONZ(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Both signs, away from zero."""
    return rng.uniform(0.5, 2.0, size=shape) * rng.choice([-1.0, 1.0], size=shape)


def draw(
    domain: Domain, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """An array of any dtype that a tape may hold, floats from `domain`."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.asarray(domain(rng, shape)).astype(dtype)
    if dtype.kind == "c":
        real, imag = domain(rng, shape), rng.uniform(0.2, 0.9, size=shape)
        return np.asarray(real + 1j * imag).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, size=shape)).astype(dtype)
    low = 1 if domain is POS or dtype.kind == "u" else -4
    values = np.asarray(rng.integers(low, 5, size=shape))
    return np.where(values == 0, 3, values).astype(dtype)


def sample(
    *operands: tuple[Any, ...] | np.ndarray, **params: Any
) -> Callable[[np.random.Generator], tuple[list[np.ndarray], dict[str, Any]]]:
    """A sample from `(shape, domain)` or `(shape, domain, dtype)` and arrays."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, Any]]:
        arrays = []
        for operand in operands:
            if isinstance(operand, np.ndarray):
                arrays.append(operand)
            else:
                shape, domain, *dtype = operand
                arrays.append(draw(domain, rng, shape, *(dtype or ["f8"])))
        return arrays, params

    return make


def broadcast_shape(avals: Sequence[Aval], name: str) -> tuple[int, ...]:
    """NumPy's broadcast of the shapes; the common cases without NumPy."""
    shape = avals[0].shape
    for aval in avals[1:]:
        other = aval.shape
        if other == shape or not other:
            continue
        if shape:
            try:
                shape = np.broadcast_shapes(shape, other)
            except ValueError:
                text = f"{name} of shapes {shape} and {other}, which do not broadcast"
                raise InvalidTapeError(text) from None
        else:
            shape = other
    return shape


def same_dtype(avals: Sequence[Aval], name: str, kinds: str) -> np.dtype:
    """The one dtype of all operands, checked to be of an allowed kind."""
    dtype = avals[0].dtype
    for aval in avals[1:]:
        if aval.dtype != dtype:
            names = " and ".join(dtype_name(a.dtype) for a in avals)
            raise InvalidTapeError(f"{name} of different dtypes {names}; cast first")
    if dtype.kind not in kinds:
        raise InvalidTapeError(f"{name} has no {dtype_name(dtype)} form; cast first")
    return dtype


def unbroadcast(ct: Any, shape: tuple[int, ...]) -> Any:
    """Sum `ct` over the axes along which an operand of `shape` was stretched."""
    if ct.shape == shape:
        return ct
    lead = ct.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i
        for i, (n, m) in enumerate(zip(shape, ct.shape[lead:], strict=True))
        if n != m
    )
    # Rows of other families are found in the table, where all of them meet.
    ct = PRIMITIVES["sum"](ct, axes=axes)
    return ct if ct.shape == shape else PRIMITIVES["reshape"](ct, shape=shape)


def zeros(like: Any) -> Any:
    """Zeros of a ref's aval."""
    zero = like.builder.const(0, like.dtype)
    if not like.shape:
        return zero
    return PRIMITIVES["broadcast_to"](zero, shape=like.shape)


def _samples(domains: tuple[Domain, ...], kinds: str) -> tuple[Callable, ...]:
    """f64 over all combinations of shapes, every other kind once."""
    n = len(domains)
    shapes = {s[:n]: None for s in SHAPES} if "f" in kinds else {}
    floats = [sample(*zip(s, domains, strict=True)) for s in shapes]
    others = [
        sample(*[((2, 3), d, _KIND_SAMPLES[kind]) for d in domains])
        for kind in kinds
        if kind in _KIND_SAMPLES  # complex ones have a sweep of their own
    ]
    return (*floats, *others)


def _abstract(name: str, kinds: str, out: np.dtype | None) -> Callable[..., Aval]:
    def aval(*avals: Aval) -> Aval:
        dtype = same_dtype(avals, name, kinds)
        shape = broadcast_shape(avals, name)
        first = avals[0]
        if out is None and shape == first.shape:
            return first
        return Aval(shape, dtype if out is None else out)

    return aval


def _row(
    name: str,
    reference: Callable[..., Any],
    partials: Callable[..., tuple] | None,
    lower: str,
    domains: tuple[Domain, ...],
    kinds: str,
    out: np.dtype | None = None,
    more: tuple[Callable, ...] = (),
    **rules: Any,
) -> Primitive:
    return register(
        Primitive(
            name,
            "elementwise",
            reference,
            _abstract(name, kinds, out),
            partials=partials,
            lower=lower,
            samples=_samples(domains, kinds) + more,
            **rules,
        )
    )


def row1(
    name: str,
    reference: Callable[..., Any],
    partial: Callable[..., Any] | None,
    lower: str,
    domain: Domain = REAL,
    kinds: str = FLOAT,
    out: np.dtype | None = None,
) -> Primitive:
    """A row of one operand; `partial(y, a)` is the derivative itself."""
    partials = None if partial is None else lambda y, a: (partial(y, a),)
    return _row(name, reference, partials, lower, (domain,), kinds, out)


def row2(
    name: str,
    reference: Callable[..., Any],
    partials: Callable[..., tuple] | None,
    lower: str,
    a: Domain = REAL,
    b: Domain = REAL,
    kinds: str = FLOAT,
    out: np.dtype | None = None,
    **rules: Any,
) -> Primitive:
    return _row(name, reference, partials, lower, (a, b), kinds, out, **rules)
