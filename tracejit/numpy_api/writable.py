"""What may be written to, and writes into small arrays from snippets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from ..tracer import (
    RecordAgain,
    Tracer,
    View,
    base_of,
    full_name,
    is_mixed,
    is_uncertain,
    refuse,
    replaced,
    stamped,
)
from .buffers import Buffer
from .table import fresh

__all__ = ["check_writable", "in_place", "refuse_ordinary", "writable"]


def check_writable(x: Tracer, what: str = "assignment destination") -> None:
    """Refuse memory of others; NumPy's error for what is read-only."""
    memory = x.memory
    if memory is None and not x.shared and x.ref.aval.shape:
        return
    if x.shared or base_of(x).shared:
        refuse(
            "writing into an array from outside of the function",
            "Write into a copy: a = a.copy()",
        )
    if type(memory) is View:
        if memory.is_read_only:
            raise ValueError(f"{what} is read-only")
    elif not x.ref.aval.shape:
        if x.weak is not None:
            raise TypeError(
                f"{x.weak.__name__!r} object does not support item assignment"
            )
        refuse(
            "writing into a traced scalar or 0-d array",
            "Bind the name again: a = value",
        )
    if is_mixed(x):
        raise RecordAgain(ends=False)
    if is_uncertain(x):
        refuse(
            "writing into an array while a reshaped array is in use, which may be a "
            "view of it or a copy, depending on how the caller's arrays lie in memory,",
            "Reshape a copy: a.copy().reshape(...)",
        )


def writable(function: Any, x: Any, what: str = "assignment destination") -> Tracer:
    """An array that a function is to write into, as a tracer.

    A buffer that the recorded function made becomes one; other ordinary arrays are
    refused.
    """
    if isinstance(x, Buffer):
        x.promote()
    if type(x) is not Tracer:
        refuse_ordinary(function)
    check_writable(x, what)
    return x


def refuse_ordinary(function: Any) -> NoReturn:
    """Refuse to write a traced value into an ordinary array."""
    name = full_name(function)
    symbol = (
        _SYMBOLS.get(getattr(function, "__name__", "")) if name[:3] == "np." else ""
    )
    what = f"a {symbol}= t" if symbol else name
    refuse(
        f"writing a traced value into an ordinary array ({what})",
        "Write into an array of the function's own, made by np.zeros, np.empty or "
        "np.copy",
    )


#: What may stand in front of `=`.
_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "floor_divide": "//",
    "remainder": "%",
    "matmul": "@",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "left_shift": "<<",
    "right_shift": ">>",
}


#: Contents of so many bytes are written anew as a whole.
_FEW = 2048


def in_place(write: Callable[..., Any]) -> Callable[..., Any]:
    """Serve a function that writes into its first argument from snippets.

    What a snippet gives is the content of a small array; of a large one, a part is
    overwritten.
    """

    @functools.wraps(write)
    def on_copy(x: Tracer, *args: Any, **kwargs: Any) -> Tracer:
        copy = fresh(x, contiguous=True)
        if x.rec.noting is not None:
            x.rec.noting.own.append(copy)
        write(copy, *args, **kwargs)
        return copy

    @functools.wraps(write)
    def served(*args: Any, **kwargs: Any) -> None:
        x = args[0] if args else None
        if type(x) is Tracer and type(x.memory) is not View and x.nbytes <= _FEW:
            check_writable(x)
            replaced(x, stamped(on_copy, args, kwargs).ref)
        else:
            write(*args, **kwargs)

    return served
