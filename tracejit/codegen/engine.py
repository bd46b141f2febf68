"""From LLVM assembly to machine code, and from machine code to addresses.

Compiling uses Numba's own target: its target machine (CPU name, features, options of
the user's Numba settings) and the optimisation pipeline of LLVM at Numba's level.
Loading needs llvmlite alone, so a process that finds its kernels on disk never waits
for Numba.  No front end takes part: no type inference, no registries.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from . import vector_math
from .wrapper import HEAD, SYMBOLS

__all__ = ["address", "compile_assembly", "cpu", "load_object", "make_function", "optimise"]

_LOCK = threading.RLock()


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
    _register_symbols()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(jit=True)
    module = llvm.parse_assembly("")
    module.triple = llvm.get_process_triple()
    return llvm.create_mcjit_compiler(module, machine)


def _register_symbols() -> None:
    for name in SYMBOLS:
        function = getattr(ctypes.pythonapi, name)
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    # Slots of NumPy's C API are part of its binary interface, version 2.
    capsule = np._core.multiarray._ARRAY_API  # type: ignore[attr-defined]
    table = (ctypes.c_void_p * 94).from_address(capsule_pointer(capsule))
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[0])()
    probe = np.zeros(1)
    data = ctypes.c_void_p.from_address(id(probe) + HEAD).value
    if version >> 24 != 2 or data != probe.ctypes.data:
        raise ImportError(f"NumPy with binary interface {version:#x} is not supported")
    llvm.add_symbol("tracejit_PyArray_Scalar", table[60])
    llvm.add_symbol("tracejit_PyArray_New", table[93])


def capsule_pointer(capsule: Any) -> int:
    """The address in a PyCapsule."""
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, get_name(capsule))


@cache
def _numba_codegen() -> Any:
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen()


def optimise(assembly: str) -> Any:
    """Parse and optimise; returns llvmlite's module."""
    from numba.core.llvm_bindings import create_pass_builder

    _initialise()
    machine = _numba_codegen()._tm
    module = llvm.parse_assembly(assembly)
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    module.verify()
    builder = create_pass_builder(machine, opt=3, loop_vectorize=True, slp_vectorize=True)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_assembly(assembly: str) -> bytes:
    """Machine code, as an object file."""
    with _LOCK:
        return _numba_codegen()._tm.emit_object(optimise(assembly))


def load_object(code: bytes) -> None:
    """Add an object file to the process."""
    with _LOCK:
        engine = _engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()


def address(name: str) -> int:
    """The address of a loaded function."""
    with _LOCK:
        return _engine().get_function_address(name)


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_METH_FASTCALL = 0x0080


def method(name: str, pointer: int) -> Any:
    """A method definition; it must live as long as functions made of it."""
    return _MethodDef(name.encode(), pointer, _METH_FASTCALL, None)


def make_function(definition: Any, owner: Any) -> Any:
    """A built-in function with `owner` as its self."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return make(ctypes.addressof(definition), owner, None)
