"""C functions in the signatures that integrators and samplers call.

    def entry(n, xx):                              double f(int n, double *xx)
        a0 = xx[0]
        a1 = xx[1]
        status, found = shim(a0, a1)
        if status != 0:
            found = ask(a0, a1)                    in Python
        return found

Where no recorded path fits, the function is called in Python, which records one.  C has
no exceptions: an error is reported like one in a finalizer, and the value is NaN.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .numba_face import KEPT, Face, njit_function

__all__ = ["SIGNATURES", "Callback", "c_function"]

_DOUBLE, _INT, _POINTER = ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double)
_VOID = ctypes.c_void_p


class _Signature(NamedTuple):
    """names: of the C function's arguments; types: result, then arguments."""

    names: str
    types: tuple[Any, ...]


#: By the text that `scipy.LowLevelCallable` has for them.
SIGNATURES: dict[str, _Signature] = {
    "double (double)": _Signature("x", (_DOUBLE, _DOUBLE)),
    "double (double, void *)": _Signature("x, data", (_DOUBLE, _DOUBLE, _VOID)),
    "double (int, double *)": _Signature("n, xx", (_DOUBLE, _INT, _POINTER)),
    "double (int, double *, void *)": _Signature(
        "n, xx, data", (_DOUBLE, _INT, _POINTER, _VOID)
    ),
    "int64 (uint64, double *, double *, double *, void *)": _Signature(
        "n, xx, grad, logp, data",
        (ctypes.c_int64, ctypes.c_uint64, _POINTER, _POINTER, _POINTER, _VOID),
    ),
}


class Callback:
    """A C function.

    Attributes:
        address: of its code.
        ctypes: the function as ctypes has it, which `scipy.LowLevelCallable` takes.
        signature: its type in C.

    It stays valid for as long as the process lives.
    """

    def __init__(self, address: int, signature: str) -> None:
        result, *arguments = SIGNATURES[signature].types
        self.address = address
        self.signature = signature
        self.ctypes = ctypes.CFUNCTYPE(result, *arguments)(address)

    def __repr__(self) -> str:
        return f"<C function {self.signature} at {self.address:#x}>"


def c_function(
    face: Face,
    signature: str,
    given: list[str],
    python: Callable[..., Any],
    count: int,
) -> Callback:
    """Compile a callback.

    Args:
        count: so many numbers are where `xx` points; a caller that has another number
            of them gets NaN, or the status 1, and nothing is read.
        given: each parameter of the face as an expression of the C arguments: `x`,
            `xx[1]`, `carray(xx, (3,))`, `data[0]`.
        python: what is called where no path fits, with the parameters; it returns a
            float, or value and gradient, and does not raise.
    """
    from numba import carray, cfunc, njit, objmode, types

    shim = njit_function(face, "status")
    scope: dict[str, Any] = {
        "carray": carray,
        "objmode": objmode,
        "python": python,
        "shim": shim,
        "nan": np.nan,
    }
    names = SIGNATURES[signature].names
    text = _entry(names, given, count, sampler="logp" in names)
    exec(compile(text, f"<tracejit {face.name}>", "exec"), scope)
    scope["ask"] = njit(scope["ask"])
    pointer = types.CPointer(types.float64)
    kinds = {
        _DOUBLE: types.float64,
        _INT: types.intc,
        _POINTER: pointer,
        _VOID: pointer,
        ctypes.c_int64: types.int64,
        ctypes.c_uint64: types.uint64,
    }
    result, *arguments = [kinds[kind] for kind in SIGNATURES[signature].types]
    made = cfunc(result(*arguments))(scope["entry"])
    KEPT.append((made, python))
    assert made.address is not None
    return Callback(made.address, signature)


def _entry(names: str, given: list[str], count: int, sampler: bool) -> str:
    """The C function, and `ask`, which is compiled apart since it needs Python."""
    args = ", ".join(f"a{k}" for k in range(len(given)))
    values = "value, slope" if sampler else "value"
    kinds = 'value="float64"' + (', slope="float64[::1]"' if sampler else "")
    lines = [
        f"def ask({args}):",
        f"    with objmode({kinds}):",
        f"        {values} = python({args})",
        f"    return {values}",
        f"def entry({names}):",
        *_sized(names, count, sampler),
        *[f"    a{k} = {text}" for k, text in enumerate(given)],
        f"    status, found = shim({args})",
        "    if status != 0:",
        f"        found = ask({args})",
    ]
    if sampler:
        lines += [
            "    value, slope = found",
            "    logp[0] = value",
            "    for i in range(n):",
            "        grad[i] = slope[i]",
            "    return 1 if value != value else 0",
        ]
    else:
        lines += ["    return found"]
    return "\n".join([*lines, ""])


def _sized(names: str, count: int, sampler: bool) -> list[str]:
    """What leaves if the caller has another number of arguments."""
    if not names.startswith("n,"):
        return []
    leave = ["        logp[0] = nan", "        return 1"]
    return [f"    if n != {count}:", *(leave if sampler else ["        return nan"])]
