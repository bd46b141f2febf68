"""What `TRACEJIT_CHECK=1` compares: a kernel's outputs with what they must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import CheckError, message
from ..signature import caller

__all__ = ["compare"]


def compare(name: str, got: Sequence[Any], expected: Sequence[Any], of: str) -> None:
    """Raise CheckError unless the outputs are equal up to rounding.

    Args:
        name: the function's.
        got: outputs of the kernel.
        expected: what they must be.
        of: whose these are.
    """
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        if not _close(np.asarray(a), np.asarray(b)):
            text = f"{name}: output {i} of the kernel differs from {of}'s: {a} and {b}"
            way_out = "This is a bug in tracejit: please report the tape"
            raise CheckError(message(text, where=caller(), way_out=way_out))


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a kernel's result is the expected one up to rounding."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    eps = np.finfo(a.dtype).eps
    finite = b[np.isfinite(b)]
    scale = np.abs(finite).max(initial=0.0)
    tolerance = 1e4 * eps
    return bool(
        np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    )
