"""Calls from a kernel back into Python.

The kernel puts the addresses of results and operands on its stack and calls one C
function, which is part of its module: it takes the GIL, makes arrays around the memory
and calls a Python object with them.  That object and what the arrays look like are in
a descriptor, which belongs to the trace; its address is a slot of the parameter block.
So a kernel knows neither functions nor addresses, and serves the next process.

An error stays set in the thread, the kernel leaves with `FAILED`, and its Python face
returns no object: the caller sees the function's own error and traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ..program import Call, Host, Program, walk
from ..signature import in_package
from .ir import I64, Module, literal
from .native import entry_of
from .routine import Emitter

__all__ = [
    "FAILED",
    "SYMBOLS",
    "Descriptor",
    "descriptors",
    "emit_host",
    "host_calls",
    "names_of",
]

#: The status of a kernel that left because a function raised.
FAILED = -2

SYMBOLS = (
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyObject_Vectorcall",
    "Py_DecRef",
)
_NAME = "tracejit_call_host"
#: Words of a descriptor: the object, the number of arrays, the type ndarray, the
#: address of a compiled function or 0, that of all shapes, then of each array rank,
#: address of the shape, number of the dtype, flags.
_HEAD, _ROW = 5, 4
#: C-contiguous and aligned; a result is writeable too.
_READ, _WRITE = 0x0101, 0x0501
_TEXT = f"""\
define internal i64 @{_NAME}(ptr %call, ptr %pointers) noinline nounwind {{
entry:
  %compiled = getelementptr inbounds i64, ptr %call, i64 3
  %function = load ptr, ptr %compiled, align 8
  %python = icmp eq ptr %function, null
  br i1 %python, label %enter, label %native
native:
  %sized = getelementptr inbounds i64, ptr %call, i64 4
  %sizes = load ptr, ptr %sized, align 8
  %code = call i64 %function(ptr %pointers, ptr %sizes)
  %good0 = icmp eq i64 %code, 0
  br i1 %good0, label %well, label %enter
well:
  ret i64 0
enter:
  %gil = call i32 @PyGILState_Ensure()
  %object = load ptr, ptr %call, align 8
  %counted = getelementptr inbounds i64, ptr %call, i64 1
  %count = load i64, ptr %counted, align 8
  %typed = getelementptr inbounds i64, ptr %call, i64 2
  %ndarray = load ptr, ptr %typed, align 8
  %made = alloca ptr, i64 %count, align 8
  br label %next
next:
  %k = phi i64 [ 0, %enter ], [ %k1, %good ]
  %full = icmp eq i64 %k, %count
  br i1 %full, label %ask, label %make
make:
  %offset = mul nuw nsw i64 %k, {_ROW}
  %first = add nuw nsw i64 %offset, {_HEAD}
  %row = getelementptr inbounds i64, ptr %call, i64 %first
  %rank = load i64, ptr %row, align 8
  %rank32 = trunc i64 %rank to i32
  %row1 = getelementptr inbounds i64, ptr %row, i64 1
  %shape = load ptr, ptr %row1, align 8
  %row2 = getelementptr inbounds i64, ptr %row, i64 2
  %number = load i64, ptr %row2, align 8
  %number32 = trunc i64 %number to i32
  %row3 = getelementptr inbounds i64, ptr %row, i64 3
  %flags = load i64, ptr %row3, align 8
  %flags32 = trunc i64 %flags to i32
  %source = getelementptr inbounds ptr, ptr %pointers, i64 %k
  %data = load ptr, ptr %source, align 8
  %array = call ptr @tracejit_PyArray_New(ptr %ndarray, i32 %rank32, ptr %shape,
    i32 %number32, ptr null, ptr %data, i32 0, i32 %flags32, ptr null)
  %lost = icmp eq ptr %array, null
  br i1 %lost, label %drop, label %good
good:
  %place = getelementptr inbounds ptr, ptr %made, i64 %k
  store ptr %array, ptr %place, align 8
  %k1 = add nuw nsw i64 %k, 1
  br label %next
ask:
  %answer = call ptr @PyObject_Vectorcall(ptr %object, ptr %made, i64 %count, ptr null)
  %raised = icmp eq ptr %answer, null
  br i1 %raised, label %drop, label %answered
answered:
  call void @Py_DecRef(ptr %answer)
  br label %drop
drop:
  %status = phi i64 [ {FAILED}, %make ], [ {FAILED}, %ask ], [ 0, %answered ]
  br label %one
one:
  %i = phi i64 [ 0, %drop ], [ %i1, %gone ]
  %done = icmp eq i64 %i, %k
  br i1 %done, label %release, label %gone
gone:
  %spot = getelementptr inbounds ptr, ptr %made, i64 %i
  %old = load ptr, ptr %spot, align 8
  call void @Py_DecRef(ptr %old)
  %i1 = add nuw nsw i64 %i, 1
  br label %one
release:
  call void @PyGILState_Release(i32 %gil)
  ret i64 %status
}}
"""


def _define(module: Module) -> None:
    """Put the C function into the module, once."""
    if _NAME in module.functions:
        return
    module.functions[_NAME] = _TEXT
    module.declare("PyGILState_Ensure", "i32")
    module.declare("PyGILState_Release", "void", "i32")
    module.declare("PyObject_Vectorcall", "ptr", "ptr", "ptr", "i64", "ptr")
    module.declare("Py_DecRef", "void", "ptr")
    kinds = ("ptr", "i32", "ptr", "i32", "ptr", "ptr", "i32", "i32", "ptr")
    module.declare("tracejit_PyArray_New", "ptr", *kinds)


def emit_host(emitter: Emitter, call: Call, descriptor: str) -> None:
    """Emit a `Call` of the name `host`; `descriptor` holds its descriptor's address."""
    _define(emitter.module)
    writer = emitter.writer
    buffers = (*call.outs, *call.ins)
    cell = writer.cell("ptr", len(buffers))
    for k, buffer in enumerate(buffers):
        place = writer.op(I64, f"getelementptr inbounds ptr, ptr {cell}, i64 {k}")
        pointer = emitter.pointer(buffer)
        writer.raw(f"store ptr {pointer}, ptr {place.text}, align 8")
    number = writer.op(I64, f"inttoptr i64 {descriptor} to ptr").text
    status = writer.op(I64, f"call i64 @{_NAME}(ptr {number}, ptr {cell})")
    good = emitter.scalars.compare("==", status, literal(I64, 0))
    emitter.leave_unless(good, status)


def host_calls(program: Program) -> list[Call]:
    """The host calls of a program, by their numbers."""
    found = [s for s in walk(program.body) if isinstance(s, Call) and s.name == "host"]
    return sorted(found, key=lambda call: call.params["number"])


class Descriptor(np.ndarray):
    """What the C function reads of one call; keeps alive what it points to."""

    keep: tuple[Any, ...]

    @property
    def is_native(self) -> bool:
        return bool(self[3])


def descriptors(program: Program) -> list[Descriptor]:
    """The descriptors of a program's host calls."""
    return [
        _descriptor(call, program.hosts[call.params["number"]])
        for call in host_calls(program)
    ]


def names_of(
    programs: Sequence[Program], made: Sequence[Sequence[Descriptor]]
) -> tuple[list[str], list[str]]:
    """What programs with these descriptors call in Python, and what of Numba's."""
    pairs = [
        (host.name, descriptor.is_native)
        for program, hosts in zip(programs, made, strict=True)
        for host, descriptor in zip(program.hosts, hosts, strict=True)
    ]
    return [n for n, native in pairs if not native], [
        n for n, native in pairs if native
    ]


def _descriptor(call: Call, host: Host) -> Descriptor:
    buffers = (*call.outs, *call.ins)
    shapes = np.array([n for b in buffers for n in b.shape], np.int64)
    target = _target(host, len(call.outs))
    entry = entry_of(host.native, call.outs, call.ins) if host.native else None
    at = shapes.ctypes.data
    code = 0 if entry is None else entry.address or 0
    words = [id(target), len(buffers), id(np.ndarray), code, at]
    for k, buffer in enumerate(buffers):
        flags = _WRITE if k < len(call.outs) else _READ
        words += [len(buffer.shape), at, buffer.dtype.num, flags]
        at += 8 * len(buffer.shape)
    made = np.array(words, np.int64).view(Descriptor)
    made.keep = (target, shapes, entry)
    return made


def _users_part(error: BaseException, trusted: bool) -> TracebackType | None:
    """The traceback from the function's own frame on; none of a library's."""
    trace = None if trusted else error.__traceback__
    while trace is not None and in_package(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _target(host: Host, count: int) -> Any:
    """The object that is called with results and operands."""
    run, trusted, into = host.run, host.trusted, host.into

    def target(*arrays: Any) -> None:
        # A function may keep its operands, or a traceback may keep its frames, and
        # this memory is another call's tomorrow; the tables' references keep nothing.
        given = arrays[count:]
        if trusted:
            operands = [a if a.ndim else a[()] for a in given]
        else:
            operands = [a.copy() if a.ndim else a[()] for a in given]
        try:
            if into is not None:
                into(arrays[:count], *operands)
                return
            found = run(*operands)
        except BaseException as error:
            arrays, given, operands = (), (), []
            raise error.with_traceback(_users_part(error, trusted)) from None
        if count == 1:
            arrays[0][...] = found[0]
            return
        for out, value in zip(arrays, found, strict=False):
            out[...] = value

    return target
