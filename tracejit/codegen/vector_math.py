"""Vector math from glibc's libmvec: attributes that let LLVM vectorise `exp`.

A call of a scalar function carries the names of its vector variants; the loop
vectoriser picks what fits.  The library must be loaded before code that uses it.
Where there is no libmvec the scalar functions are called, and nothing else changes.
Errors are at most 4 ulp.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import llvmlite.binding as llvm

from .ir import Module

__all__ = ["LIBRARY", "available", "call_attributes", "identity", "load"]

LIBRARY = "libmvec.so.1"

#: Functions that exist in libmvec, by number of operands; older versions lack some.
_FUNCTIONS = dict.fromkeys(
    "acos acosh asin asinh atan atanh cbrt cos cosh erf erfc exp exp2 expm1 log log10"
    " log1p log2 sin sinh tan tanh".split(),
    1,
) | dict.fromkeys("atan2 hypot pow".split(), 2)

PURE = "nounwind willreturn memory(none)"


@cache
def _library() -> ctypes.CDLL | None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None


@cache
def _instruction_sets() -> tuple[tuple[str, int], ...]:
    """Letters of libmvec's names and bytes per vector, for what the host has."""
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return ()
    sets = []
    if features.get("avx2") and features.get("fma"):
        sets.append(("d", 32))
    if features.get("avx512f") and features.get("avx512dq"):
        sets.append(("e", 64))
    return tuple(sets)


@cache
def available(name: str, single: bool) -> tuple[tuple[str, int], ...]:
    """Vector variants of a scalar function: (symbol, lanes) that the host can run."""
    count = _FUNCTIONS.get(name)
    library = _library()
    if count is None or library is None:
        return ()
    found = []
    for letter, width in _instruction_sets():
        lanes = width // (4 if single else 8)
        symbol = f"_ZGV{letter}N{lanes}{'v' * count}_{name}{'f' if single else ''}"
        if hasattr(library, symbol):
            found.append((symbol, lanes))
    return tuple(found)


def call_attributes(module: Module, name: str, single: bool) -> str:
    """Declare the vector variants; return the attribute group of the scalar call."""
    text = PURE
    variants = []
    for symbol, lanes in available(name, single):
        vector = f"<{lanes} x {'float' if single else 'double'}>"
        args = ", ".join([vector] * _FUNCTIONS[name])
        scalar = name + ("f" if single else "")
        letters = "v" * _FUNCTIONS[name]
        module.vectors[symbol] = f"declare {vector} @{symbol}({args}) {PURE}"
        variants.append(f"_ZGV_LLVM_N{lanes}{letters}_{scalar}({symbol})")
    if variants:
        text += f' "vector-function-abi-variant"="{",".join(variants)}"'
    return module.attribute(text)


@cache
def identity() -> str:
    """What generated code depends on: part of the structural key."""
    if _library() is None or not _instruction_sets():
        return "none"
    names = [s for n in _FUNCTIONS for f in (False, True) for s, _ in available(n, f)]
    return (
        f"libmvec:{len(names)}:{','.join(letter for letter, _ in _instruction_sets())}"
    )


@cache
def load() -> None:
    """Make the vector functions known to LLVM, once in a process."""
    if _library() is not None:
        llvm.load_library_permanently(LIBRARY)
