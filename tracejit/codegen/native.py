"""Functions that Numba compiled, called from a kernel without Python.

The kernel's host call gets a second address, of a C function

    i64 f(void **arrays, i64 *sizes)

that Numba compiles from a few lines written here: it makes arrays around the memory,
calls the user's function, and copies the results.  It returns 0, or 1 if the function
raised or gave another shape than was recorded; then the call is done once more in
Python, which raises as it should.  The address is part of the trace's descriptor, so a
kernel from disk does not know it.

    def entry(arrays, sizes):
        a0 = read_only(carray(arrays[1], (sizes[1],), dtype0))
        a1 = carray(arrays[2], (1,), dtype1)[0]
        try:
            r = fun(a0, a1, s2)
            ...
"""

from __future__ import annotations

import threading
import weakref
from functools import cache
from typing import Any, NamedTuple

from ..avals import complex_of
from ..program import Buffer, Native

__all__ = ["Entry", "entry_of"]


class Entry(NamedTuple):
    """A compiled entry; `keep` holds the code behind `address`."""

    address: int | None
    keep: Any


_ENTRIES: weakref.WeakKeyDictionary[Any, dict[Any, Entry | None]]
_ENTRIES = weakref.WeakKeyDictionary()
_LOCK = threading.RLock()


def entry_of(
    native: Native, outs: tuple[Buffer, ...], ins: tuple[Buffer, ...]
) -> Entry | None:
    """The entry for arrays of these ranks and dtypes; None if Numba refuses."""
    kinds = tuple([(len(b.shape), b.dtype.str) for b in (*outs, *ins)])
    try:
        static = tuple(native.static.items())
        key: Any = native.call, native.results, static, native.pairs, kinds
        hash(key)
    except TypeError:
        key = object()
    with _LOCK:
        known = _ENTRIES.setdefault(native.fun, {})
        if key not in known:
            known[key] = _compile(native, outs, ins)
        return known[key]


def _compile(
    native: Native, outs: tuple[Buffer, ...], ins: tuple[Buffer, ...]
) -> Entry | None:
    from numba import cfunc, types
    from numba.core.errors import NumbaError

    scope: dict[str, Any] = {"fun": native.fun, **_tools(), **native.static}
    text = _text(native, outs, ins, scope)
    exec(compile(text, "<tracejit entry>", "exec"), scope)
    signature = types.int64(types.CPointer(types.voidptr), types.CPointer(types.int64))
    try:
        made = cfunc(signature)(scope["entry"])
    except NumbaError:
        return None
    return Entry(made.address, made)


@cache
def _tools() -> dict[str, Any]:
    from numba import carray, types
    from numba.extending import intrinsic

    @intrinsic
    def read_only(typingctx: Any, array: Any) -> Any:
        """The array as one that must not be written."""
        fixed = array.copy(readonly=True)
        return fixed(array), lambda context, builder, signature, args: args[0]

    return {"carray": carray, "read_only": read_only, "types": types}


def _text(
    native: Native,
    outs: tuple[Buffer, ...],
    ins: tuple[Buffer, ...],
    scope: dict[str, Any],
) -> str:
    lines, at = ["def entry(arrays, sizes):"], 0
    arrays, checks, ranks = [], [], []
    for k, buffer in enumerate((*outs, *ins)):
        is_pair = bool(native.pairs) and native.pairs[k]
        rank = len(buffer.shape) - is_pair
        ranks.append(rank)
        scope[f"dtype{k}"] = complex_of(buffer.dtype) if is_pair else buffer.dtype
        sizes = [f"sizes[{at + n}]" for n in range(rank)]
        shape = ", ".join(sizes or ["1"])
        arrays.append(f"carray(arrays[{k}], ({shape},), dtype{k})")
        at += len(buffer.shape)
        if k < len(outs) and rank:
            checks += [
                f"{native.results[k]}.shape[{n}] != {s}" for n, s in enumerate(sizes)
            ]
    for k in range(len(ins)):
        text = arrays[len(outs) + k]
        if not ranks[len(outs) + k]:
            text += "[0]"
        else:
            text = f"{text}.copy()" if native.copies else f"read_only({text})"
        lines.append(f"    a{k} = {text}")
    lines += ["    try:", f"        r = {native.call}"]
    if checks:
        lines += [f"        if {' or '.join(checks)}:", "            return 1"]
    for k in range(len(outs)):
        index = "..." if ranks[k] else "0"
        lines.append(f"        {arrays[k]}[{index}] = {native.results[k]}")
    lines += ["    except Exception:", "        return 1", "    return 0", ""]
    return "\n".join(lines)
