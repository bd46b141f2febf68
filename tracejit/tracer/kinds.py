"""What a call is known by, for `snippets`: all of its arguments but the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from .memory import Owner
from .recorder import _tracer_class

__all__ = ["BYTES", "STATIC", "describe", "pattern"]

#: Ordinary arrays of so many bytes may be among the arguments.
BYTES = 256
#: Lists and tuples of so many items.
ITEMS = 64

#: What has no data; equal ones of one class are the same.
STATIC = frozenset(
    (np.ufunc, np.dtype, int, bool, str, bytes, type(None), type(Ellipsis))
)
_CLASSES = frozenset((int, bool, float, complex))
_NO_VALUE = type(np._NoValue)


def describe(values: Any, parts: list[Any], leaves: list[Any], rec: Any) -> Any:
    """Add to `parts` what arguments are apart from their data, to `leaves` their data.

    Returns:
        The recorder of the tracers; None without any; False if this is no call for a
        snippet.
    """
    tracer = _tracer_class[0]
    for x in values:
        kind = type(x)
        if kind is tracer:
            if rec is None:
                rec = x.rec
            elif x.rec is not rec:
                return False
            aval = x.ref.aval
            memory = x.memory
            if memory is None:
                lies = 0
            elif type(memory) is Owner:
                lies = 1 if memory.contiguous else 0 if aval.shape else 2
            else:
                lies = 3
            parts += (kind, aval.shape, aval.dtype.num, x.weak, x.shared, lies)
            leaves.append(x)
        elif kind in STATIC:
            parts += (kind, x)
        elif kind is float:
            parts += (kind, x.hex())
        elif kind is tuple or kind is list:
            if len(x) > ITEMS:
                return False
            parts += (kind, len(x))
            rec = describe(x, parts, leaves, rec)
            if rec is False:
                return False
        elif kind is slice:
            parts.append(kind)
            rec = describe((x.start, x.stop, x.step), parts, leaves, rec)
            if rec is False:
                return False
        elif kind is np.ndarray:
            if x.nbytes > BYTES or x.dtype.kind not in "biufc":
                return False
            parts += (kind, x.shape, x.dtype, x.tobytes())
            leaves.append(x)
        elif isinstance(x, np.generic) and x.dtype.kind in "biufc":
            parts += (kind, x.tobytes())
        elif kind is complex:
            parts += (kind, x.real.hex(), x.imag.hex())
        elif issubclass(kind, tracer):
            # An array that the function made, see `numpy_api.buffers`.
            array = x.memory.array
            if array.nbytes > BYTES or (rec is not None and x.rec is not rec):
                return False
            rec = x.rec
            parts += (kind, array.shape, array.dtype.num, array.tobytes())
            leaves.append(x.constant(rec))
        elif kind is type and (x in _CLASSES or issubclass(x, np.generic)):
            parts.append(x)
        elif isinstance(x, np.dtype):
            parts += (np.dtype, x)
        elif kind is _NO_VALUE:
            parts.append(kind)
        else:
            return False
    return rec


def pattern(leaves: list[Any]) -> tuple[int, ...]:
    """Which of several operands are one and the same."""
    seen: dict[int, int] = {}
    tracer = _tracer_class[0]
    return tuple(
        [
            seen.setdefault(x.ref.index if type(x) is tracer else ~id(x), k)
            for k, x in enumerate(leaves)
        ]
    )
