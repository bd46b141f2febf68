"""Addresses of library functions, registered with LLVM when a kernel needs them.

SciPy offers its BLAS, LAPACK and special functions as capsules of its Cython modules.
A module is imported only when a kernel names one of its functions, and no address is
ever part of a kernel, so kernels from disk work in every process.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from functools import cache
from typing import Any

import llvmlite.binding as llvm

__all__ = ["capsule_pointer", "exported", "needed", "register"]

_MODULES = {
    "blas": "scipy.linalg.cython_blas",
    "lapack": "scipy.linalg.cython_lapack",
    "special": "scipy.special.cython_special",
}
_SYMBOL = re.compile(r"@(tracejit_(blas|lapack|special)_(\w+))\(")


def needed(assembly: str) -> list[str]:
    """The library symbols that a module calls."""
    return sorted({match[0] for match in _SYMBOL.findall(assembly)})


def register(names: list[str]) -> None:
    """Make these symbols known to LLVM."""
    for name in names:
        _register(name)


@cache
def _register(name: str) -> None:
    _, library, function = name.split("_", 2)
    llvm.add_symbol(name, _address(_MODULES[library], function))


def _address(module: str, function: str) -> int:
    """The address of a C function that a Cython module exports."""
    table = importlib.import_module(module).__pyx_capi__
    return capsule_pointer(table[exported(module, function)])


def exported(module: str, function: str) -> str:
    """Under which name a Cython module exports a function of doubles."""
    table = importlib.import_module(module).__pyx_capi__
    if function in table:
        return function
    # Functions of a fused type are exported once per type; take that for double.
    for name, capsule in table.items():
        if re.fullmatch(rf"__pyx_fuse_\d+{function}", name):
            signature = _name(capsule) or b""
            if signature.startswith(b"double (double"):
                return name
    raise ImportError(f"{module} has no function {function} for double")


def _name(capsule: Any) -> bytes | None:
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get_name(capsule)


def capsule_pointer(capsule: Any) -> int:
    """The address in a PyCapsule."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, _name(capsule))
