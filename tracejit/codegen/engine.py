"""From LLVM assembly to machine code, and from machine code to Python functions.

Compiling uses Numba's own target: its target machine (CPU name, features, options of
the user's Numba settings) and LLVM's optimisation pipeline.  No front end takes part:
no type inference, no registries, which are what a process's first `@njit` waits for.
Loading needs llvmlite alone, so a process that finds its kernels on disk never
imports Numba.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from . import entry, host, symbols, vector_math, wrapper

__all__ = [
    "address",
    "compile_assembly",
    "cpu",
    "load_object",
    "make_function",
    "method",
    "name_symbols",
    "optimise",
    "prepare",
    "target_machine",
]

_LOCK = threading.RLock()
_METH_FASTCALL = 0x0080


@cache
def cpu() -> tuple[str, str]:
    """Name and features of the host's processor."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    return llvm.get_host_cpu_name(), features


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _engine() -> Any:
    """The engine that holds all loaded kernels."""
    _initialise()
    vector_math.load()
    _register_interface()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    module = llvm.parse_assembly("")
    module.triple = llvm.get_process_triple()
    return llvm.create_mcjit_compiler(module, target.create_target_machine(jit=True))


def _register_interface() -> None:
    """Make known to LLVM what a kernel's wrapper calls of Python and NumPy."""
    for name in {*wrapper.SYMBOLS, *entry.SYMBOLS, *host.SYMBOLS}:
        function = getattr(ctypes.pythonapi, name)
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    # Slots of NumPy's C API are part of its binary interface, version 2.
    capsule = np._core.multiarray._ARRAY_API  # type: ignore[attr-defined]
    table = (ctypes.c_void_p * 183).from_address(symbols.capsule_pointer(capsule))
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[0] or 0)()
    if version >> 24 != 2 or not entry.probe():
        raise ImportError(
            f"Python {sys.version.split()[0]} with NumPy {np.__version__} (binary "
            f"interface {version:#x}) is not supported"
        )
    llvm.add_symbol("tracejit_PyArray_Scalar", table[60])
    llvm.add_symbol("tracejit_PyArray_New", table[93])
    llvm.add_symbol("tracejit_PyArray_EquivTypes", table[182])


@cache
def target_machine() -> Any:
    """Numba's target machine for the host."""
    from numba.core.registry import cpu_target

    _initialise()
    return cpu_target.target_context.codegen()._tm


def optimise(assembly: str, quick: bool = False, level: int = 3) -> Any:
    """Parse and optimise; returns llvmlite's module.

    quick: do not interleave the rounds of vectorised loops.  That halves the time for
    a program of many loops, and costs something where data is in the cache.
    level: of the pipeline; 0 does no more than inline what must be.
    """
    machine = target_machine()
    module = llvm.parse_assembly(assembly)
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.PipelineTuningOptions(speed_level=level)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_interleaving = not quick
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_assembly(assembly: str, quick: bool = False, level: int = 3) -> bytes:
    """Machine code, as an object file; for the options see `optimise`."""
    with _LOCK:
        return target_machine().emit_object(optimise(assembly, quick, level))


def load_object(code: bytes, needed: list[str]) -> None:
    """Add an object file, which calls the `needed` library symbols, to the process."""
    with _LOCK:
        engine = _engine()
        symbols.register(needed)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()


def prepare(needed: list[str]) -> None:
    """Make known to LLVM what a module calls that another engine compiles."""
    with _LOCK:
        _engine()
        symbols.register(needed)


def name_symbols(addresses: dict[str, int]) -> None:
    """Make functions known to LLVM by name."""
    with _LOCK:
        _engine()
        for name, where in addresses.items():
            llvm.add_symbol(name, where)


def address(name: str) -> int:
    """The address of a loaded function; 0 if there is none."""
    with _LOCK:
        return _engine().get_function_address(name)


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def method(name: str, pointer: int) -> Any:
    """A method definition; it must live as long as functions made of it."""
    return _MethodDef(name.encode(), pointer, _METH_FASTCALL, None)


def make_function(definition: Any, owner: Any) -> Any:
    """A built-in function with `owner` as its self."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return make(ctypes.addressof(definition), owner, None)
