"""The faces of a function inside compiled code: `@njit` functions and C callbacks.

An intrinsic links the LLVM module of `inside` into the library of whoever calls it, so
that LLVM can inline it there.  A few lines of Python around it, compiled by Numba, look
at shapes, allocate the results and put them in their places:

    def shim(x, n):
        a0 = ascontiguousarray(x)
        if a0.shape[0] != 200:
            raise UnknownPathError(...)
        r1 = empty((200,), dtype1)
        status, r0 = body(a0, n, r1)
        if status != 0:
            raise UnknownPathError(...)
        return (r0, r1)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from ..avals import Aval
from ..errors import UnknownPathError
from . import engine, symbols, vector_math
from .inside import Path, inside_assembly

__all__ = ["KEPT", "Face", "njit_function"]

#: Code that Numba compiled may be called for as long as the process lives, and names
#: arrays and tables by their addresses.
KEPT: list[Any] = []
#: Stands for a module's name until that is known.
_NAME = "TRACEJIT_INSIDE"


@dataclass(frozen=True, eq=False)
class Face:
    """What a function looks like from compiled code.

    Attributes:
        name: the recorded function.
        parameters: names of the parameters.
        leaves: each traced leaf as an expression of the parameters, and its aval.
        results: avals of the tape's outputs.
        expression: the result, an expression of `o[0]`, `o[1]`, ... and `c[0]`, ....
        constants: the `c`.
        paths: the recordings.
        miss: what to say where none of them fits.
    """

    name: str
    parameters: Sequence[str]
    leaves: Sequence[tuple[str, Aval]]
    results: Sequence[Aval]
    expression: str
    constants: Sequence[Any]
    paths: list[Path] = field(repr=False)
    miss: str = ""


def njit_function(face: Face, on_miss: str) -> Any:
    """The `@njit` function; `on_miss` is "raise" or "status"."""
    from numba import njit

    scope = _scope(face)
    text = _shim(face, on_miss == "status")
    exec(compile(text, f"<tracejit {face.name}>", "exec"), scope)
    return njit(scope["shim"])


def _scope(face: Face) -> dict[str, Any]:
    """The globals of the lines around the intrinsic."""
    scope: dict[str, Any] = {
        "UnknownPathError": UnknownPathError,
        "ascontiguousarray": np.ascontiguousarray,
        "body": _intrinsic(face),
        "empty": np.empty,
        "miss": face.miss,
        "nan": np.nan,
    }
    for k, aval in enumerate(face.results):
        scope[f"dtype{k}"] = aval.dtype
        scope[f"kind{k}"] = aval.dtype.type
    for k, (_, aval) in enumerate(face.leaves):
        scope[f"argument{k}"] = aval.dtype
    for k, value in enumerate(face.constants):
        scope[f"c{k}"] = value
    return scope


def _shim(face: Face, status: bool) -> str:
    lines = [f"def shim({', '.join(face.parameters)}):"]
    given, tests = [], []
    for k, (text, aval) in enumerate(face.leaves):
        given.append(f"a{k}" if _in_memory(aval) else text)
        if _is_complex(aval):
            lines += [f"    a{k} = empty((1,), argument{k})", f"    a{k}[0] = {text}"]
        if aval.shape:
            lines.append(f"    a{k} = ascontiguousarray({text})")
            tests += [f"a{k}.shape[{i}] == {n}" for i, n in enumerate(aval.shape)]
    arrays = [k for k, aval in enumerate(face.results) if _in_memory(aval)]
    scalars = [k for k, aval in enumerate(face.results) if not _in_memory(aval)]
    for k in arrays:
        shape = "".join(f"{n}, " for n in face.results[k].shape or (1,))
        lines.append(f"    r{k} = empty(({shape}), dtype{k})")
    call = f"body(({''.join(f'{g}, ' for g in given + [f'r{k}' for k in arrays])}))"
    names = ", ".join(["status", *[f"r{k}" for k in scalars]])
    call = f"{names} = {call}" if scalars else f"status = {call}[0]"
    floats = [k for k, aval in enumerate(face.results) if aval.dtype.kind in "fc"]
    if not status:
        if tests:
            lines += [f"    if not ({' and '.join(tests)}):"]
            lines += ["        raise UnknownPathError(miss)"]
        lines += [f"    {call}", "    if status != 0:"]
        lines += ["        raise UnknownPathError(miss)"]
    else:
        lines += ["    status = -1"]
        lines += [f"    r{k} = kind{k}({'nan' if k in floats else 0})" for k in scalars]
        lines += [f"    if {' and '.join(tests) or 'True'}:", f"        {call}"]
        lines += ["    if status != 0:"]
        for k, aval in enumerate(face.results):
            what = f"r{k}[...]" if _in_memory(aval) else f"r{k}"
            lines += [f"        {what} = kind{k}({'nan' if k in floats else 0})"]
        lines += ["        pass"]
    result = face.expression
    for k, aval in enumerate(face.results):
        result = result.replace(f"o[{k}]", f"r{k}[0]" if _is_complex(aval) else f"r{k}")
    result = re.sub(r"\bc\[(\d+)\]", r"c\1", result)
    lines.append(f"    return status, {result}" if status else f"    return {result}")
    return "\n".join(lines) + "\n"


def _is_complex(aval: Aval) -> bool:
    """Whether it is one complex number, which stands in memory."""
    return aval.dtype.kind == "c" and not aval.shape


def _in_memory(aval: Aval) -> bool:
    return bool(aval.shape) or _is_complex(aval)


def _intrinsic(face: Face) -> Any:
    """`body((leaves..., array outputs...))` -> `(status, scalar outputs...)`."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np.numpy_support import from_dtype

    library = _Library(face)
    scalars = [aval for aval in face.results if not _in_memory(aval)]
    returned = types.Tuple([types.int64, *[from_dtype(a.dtype) for a in scalars]])
    wanted = [from_dtype(aval.dtype) for _, aval in face.leaves]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = library.link(context)
        word = ir.IntType(64)
        results = cgutils.alloca_once(builder, word, size=max(len(scalars), 1))
        pointer = cgutils.voidptr_t
        given = [builder.bitcast(results, pointer)]
        kinds = signature.args[0].types
        values = cgutils.unpack_tuple(builder, args[0], len(kinds))
        for k, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, value)
                given.append(builder.bitcast(array.data, pointer))
            else:
                number = context.cast(builder, value, kind, wanted[k])
                if wanted[k] is types.boolean and number.type.width != 1:
                    number = builder.trunc(number, ir.IntType(1))
                given.append(number)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(word, [g.type for g in given]), name
        )
        found = [builder.call(function, given)]
        for k, aval in enumerate(scalars):
            kind = from_dtype(aval.dtype)
            slot = cgutils.gep_inbounds(builder, results, k)
            model = context.data_model_manager[kind]
            at = builder.bitcast(slot, model.get_data_type().as_pointer())
            found.append(model.from_data(builder, builder.load(at)))
        return context.make_tuple(builder, returned, found)

    @intrinsic
    def body(typingctx: Any, operands: Any) -> Any:
        _check_types(face, operands.types)
        return returned(operands), generate

    return body


def _check_types(face: Face, kinds: Sequence[Any]) -> None:
    """Refuse arguments of other types than were recorded."""
    from numba import types
    from numba.core.errors import TypingError
    from numba.np.numpy_support import from_dtype

    for kind, (text, aval) in zip(kinds, face.leaves, strict=False):
        wanted = from_dtype(aval.dtype)
        if _in_memory(aval):
            good = (
                isinstance(kind, types.Array)
                and kind.dtype == wanted
                and kind.ndim == max(aval.ndim, 1)
                and kind.layout == "C"
                and kind.aligned
            )
        elif isinstance(wanted, types.Float):
            good = isinstance(kind, (types.Number, types.Boolean)) and not isinstance(
                kind, types.Complex
            )
        else:
            good = isinstance(kind, (types.Integer, types.Boolean))
        if not good:
            raise TypingError(
                f"{face.name}: argument {text} is {kind}, and {aval!r} was recorded. "
                "Convert it, or give an example of these types to njit"
            )


class _Library:
    """The LLVM module of a face, compiled once for each of Numba's code generators."""

    def __init__(self, face: Face) -> None:
        text = inside_assembly(face.paths, _NAME)
        number = hashlib.sha256(text.encode()).hexdigest()[:24]
        self.name = f"tracejit_inside_{number}"
        self.text = text.replace(_NAME, self.name)
        self.made: Any = None
        KEPT.append((face, [(p.captures, p.hosts) for p in face.paths]))

    def link(self, context: Any) -> str:
        """Link it into the library that is being compiled; the function's name."""
        if self.made is None:
            engine.prepare(symbols.needed(self.text))
            vector_math.load()
            module = llvm.parse_assembly(self.text)
            module.triple = llvm.get_process_triple()
            module.data_layout = str(engine.target_machine().target_data)
            module.verify()
            library = context.codegen().create_library(self.name)
            library.add_llvm_module(module)
            library.finalize()
            self.made = library
        context.active_code_library.add_linking_library(self.made)
        return self.name
