"""Abstract values: the shape and dtype of an array, without its data."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = [
    "DTYPE_NAMES",
    "Aval",
    "aval_of",
    "complex_of",
    "dtype_name",
    "is_float",
    "parse_aval",
    "real_of",
]

#: The dtypes a tape may hold, by the short names that the tape's text uses.
DTYPE_NAMES: dict[str, np.dtype] = {
    "bool": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
}
_SHORT = {dtype: short for short, dtype in DTYPE_NAMES.items()}


class Aval:
    """Shape and dtype of a value; two equal avals are the same object's equal.

    Example:
        >>> Aval((128, 3), np.dtype("f4"))
        f32[128,3]
    """

    __slots__ = ("dtype", "shape")

    shape: tuple[int, ...]
    dtype: np.dtype

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Aval)
            and self.shape == other.shape
            and self.dtype == other.dtype
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(map(str, self.shape))}]"


def dtype_name(dtype: np.dtype) -> str:
    """The short name of a dtype (`f64`); dtypes that no tape holds keep NumPy's."""
    return _SHORT.get(dtype, str(dtype))


def aval_of(value: object) -> Aval:
    """The aval of an array or scalar.

    Example:
        >>> aval_of(np.zeros((2, 3)))
        f64[2,3]
    """
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    return Aval(array.shape, array.dtype)


def is_float(aval: Aval) -> bool:
    """Whether derivatives with respect to values of this aval exist."""
    return aval.dtype.kind in "fc"


def complex_of(dtype: np.dtype) -> np.dtype:
    """The dtype of complex numbers whose parts have a float dtype."""
    return np.dtype(np.complex64 if dtype == np.float32 else np.complex128)


def real_of(dtype: np.dtype) -> np.dtype:
    """The dtype of the parts of complex numbers; of others, the dtype itself."""
    if dtype.kind != "c":
        return dtype
    return np.dtype(np.float32 if dtype == np.complex64 else np.float64)


@cache
def parse_aval(text: str) -> Aval:
    """The inverse of `repr`.

    Example:
        >>> parse_aval("i64[4]")
        i64[4]
    """
    short, _, dims = text.rstrip("]").partition("[")
    shape = tuple(int(n) for n in dims.split(",") if n)
    return Aval(shape, DTYPE_NAMES[short])
