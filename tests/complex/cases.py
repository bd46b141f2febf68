"""Every row that takes complex numbers, with operands made from its real samples."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.avals import aval_of
from tracejit.errors import InvalidTapeError
from tracejit.primitive import PRIMITIVES, Primitive

#: Rows with tests of their own: guards and loops; matrices that have to be Hermitian;
#: `iota` has no operand to say that it is complex.
ELSEWHERE = {"const", "guard", "custom_vjp", "custom_jvp", "checkpoint", "loop", "iota"}
#: Orders: NumPy has them for complex numbers too, lexicographic.
ORDERS = {"max", "min", "argmax", "argmin", "argsort"}


def cases() -> list[tuple[str, Primitive, list[np.ndarray], dict[str, Any]]]:
    """(id, row, operands, params) of complex128, then of complex64, once a row each."""
    found = []
    for name, prim in sorted(PRIMITIVES.items()):
        if name in ELSEWHERE or name in ORDERS or prim.family == "linalg":
            continue
        for i, make in enumerate(prim.samples):
            rng = np.random.default_rng(zlib.crc32(f"complex {name} {i}".encode()))
            arrays, params = make(rng)
            moved = [_complex(rng, a) for a in arrays]
            if any(a.dtype.kind == "c" for a in moved) and _takes(prim, moved, params):
                found.append((f"{name}-{i}", prim, moved, params))
    return found


def _complex(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    imag = rng.uniform(0.2, 0.9, size=array.shape) * rng.choice([-1, 1], array.shape)
    dtype = np.complex64 if array.dtype == np.float32 else np.complex128
    return np.asarray(array + 1j * imag).astype(dtype)


def _takes(prim: Primitive, arrays: list[np.ndarray], params: dict[str, Any]) -> bool:
    try:
        prim.aval(*map(aval_of, arrays), **params)
    except InvalidTapeError:
        return False
    return True
