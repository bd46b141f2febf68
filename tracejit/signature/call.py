"""What a call looks like from outside: which leaves are traced, which are static.

`read_call` flattens the arguments of a call (optree pytrees, None is no leaf) and
sorts the leaves into two kinds:

* traced: arrays, NumPy scalars, Python's floats, ints and complex numbers.  Dtype and
  shape belong to the signature, the value does not.
* static: everything else.  Strings, bools and other values belong to the signature
  by equality of type and value, plain objects by identity.

Two calls with equal `Call.key` may share a trace.  `Call.values` are ready for a
kernel: C-contiguous, aligned, native byte order, arrays of shape () as scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import numpy as np
import optree

from ..avals import DTYPE_NAMES
from ..errors import ArgumentError, UnsupportedError, message
from .frames import caller
from .statics import Identity, Statics, compares_by_identity, typed
from .trees import NAMESPACE, flatten, unflatten
from .words import leaf_names

__all__ = ["Call", "canonical", "prepare", "read_call"]

_CANONICAL = {dtype: dtype for dtype in DTYPE_NAMES.values()}
_INT64 = np.iinfo(np.int64)
_FLOAT = ("float",)
_INT = ("int",)
_COMPLEX = ("complex",)


def canonical(dtype: np.dtype) -> np.dtype | None:
    """The tape's own object for an equal dtype; None for what no tape holds."""
    return _CANONICAL.get(dtype)


class Call:
    """One call, taken apart.

    Attributes:
        key: hashable; equal keys may share a trace.
        values: the traced leaves, ready for a kernel.
        raw: the traced leaves as the caller gave them.
        traced: their positions among all leaves.
        leaves: all leaves.
        spec: the structure of `(args, kwargs)`, static arguments replaced by None.
        objects: static leaves that may hold or read more (functions, instances).
    """

    __slots__ = (
        "key",
        "leaves",
        "objects",
        "raw",
        "spec",
        "static_args",
        "static_kwargs",
        "traced",
        "values",
    )

    key: tuple
    values: list[Any]
    raw: list[Any]
    traced: list[int]
    leaves: list[Any]
    spec: optree.PyTreeSpec
    objects: list[tuple[int, Any]]
    static_args: dict[int, Any]
    static_kwargs: dict[str, Any]

    def rebuild(
        self,
        tracers: Iterable[Any],
        wrap: Callable[[int, Any], Any] = lambda position, value: value,
    ) -> tuple[tuple, dict[str, Any]]:
        """The call's (args, kwargs), traced leaves replaced and objects wrapped."""
        leaves = list(self.leaves)
        for position, value in self.objects:
            leaves[position] = wrap(position, value)
        for position, tracer in zip(self.traced, tracers, strict=True):
            leaves[position] = tracer
        args, kwargs = unflatten(self.spec, leaves)
        if self.static_args:
            args = list(args)
            for i, value in self.static_args.items():
                args[i] = value
        return tuple(args), {**kwargs, **self.static_kwargs}


def read_call(
    args: tuple, kwargs: dict[str, Any], statics: Statics, fun: Callable
) -> Call:
    """Take a call apart; errors name the argument of `fun`."""
    call = Call()
    call.static_args, call.static_kwargs = {}, {}
    static_key: tuple = ()
    if statics.any:
        args, kwargs, static_key = _take_statics(call, args, kwargs, statics)
    call.leaves, call.spec = flatten((args, kwargs))
    call.values, call.raw, call.traced, call.objects = [], [], [], []
    keys = []
    for i, leaf in enumerate(call.leaves):
        kind = type(leaf)
        if kind is np.ndarray:
            key, value = _read_array(leaf)
        elif kind is float:
            key, value = _FLOAT, leaf
        elif kind is int:
            key, value = _read_int(leaf)
        elif kind is complex:
            key, value = _COMPLEX, leaf
        elif isinstance(leaf, np.generic):
            dtype = _CANONICAL.get(leaf.dtype)
            key, value = (None if dtype is None else ("scalar", dtype)), leaf
        else:
            keys.append(_read_static(call, i, leaf, fun))
            continue
        if key is None:
            raise _wrong_dtype(call, i, leaf, fun)
        keys.append(key)
        if key[0] != "static":
            call.traced.append(i)
            call.values.append(value)
            call.raw.append(leaf)
    call.key = (call.spec, tuple(keys), static_key)
    return call


def _read_array(leaf: np.ndarray) -> tuple[tuple | None, Any]:
    dtype = _CANONICAL.get(leaf.dtype)
    if dtype is None:
        dtype = _CANONICAL.get(leaf.dtype.newbyteorder("="))
        if dtype is None:
            return None, leaf
    return ("array", dtype, leaf.shape), prepare(leaf)


def prepare(array: np.ndarray) -> Any:
    """The array as a kernel takes it: contiguous, aligned, native; () as a scalar."""
    dtype = array.dtype
    canonical = _CANONICAL.get(dtype)
    if canonical is None:
        array = array.astype(dtype.newbyteorder("="))
    elif canonical is not dtype:
        array = array.view(canonical)
    if not array.shape:
        return array[()]
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.array(array, order="C")


def _read_int(leaf: int) -> tuple[tuple, Any]:
    if _INT64.min <= leaf <= _INT64.max:
        return _INT, leaf
    return ("static", (int, leaf)), leaf


def _read_static(call: Call, i: int, leaf: Any, fun: Callable) -> tuple:
    if isinstance(leaf, np.ndarray):
        raise UnsupportedError(
            message(
                f"argument {leaf_names(call.spec, fun)[i]} is a {type(leaf).__name__}, "
                "a subclass of ndarray",
                where=caller(),
                way_out="Pass np.asarray of it, if plain ndarray arithmetic is meant",
            )
        )
    kind = type(leaf)
    if kind is MethodType or compares_by_identity(kind):
        call.objects.append((i, leaf))
        if kind is MethodType:
            return "object", Identity(leaf.__self__), Identity(leaf.__func__)
        return "object", Identity(leaf)
    try:
        return "static", typed(leaf)
    except TypeError:
        raise ArgumentError(
            message(
                f"argument {leaf_names(call.spec, fun)[i]} is a {kind.__name__}, which "
                "is neither a number nor a container that can be opened nor hashable",
                where=caller(),
                way_out="Register the class with optree.register_pytree_node(..., "
                f"namespace={NAMESPACE!r}), or make it hashable",
            )
        ) from None


def _wrong_dtype(call: Call, i: int, leaf: Any, fun: Callable) -> UnsupportedError:
    name = leaf_names(call.spec, fun)[i]
    known = "bool, integers, float32, float64, complex64 and complex128"
    way_out = f"Supported are {known}: convert it, or close over it"
    return UnsupportedError(
        message(
            f"argument {name} has dtype {leaf.dtype} (shape {leaf.shape})",
            where=caller(),
            way_out=way_out,
        )
    )


def _take_statics(
    call: Call, args: tuple, kwargs: dict[str, Any], statics: Statics
) -> tuple[tuple, dict[str, Any], tuple]:
    """Set the declared static arguments aside."""
    rest = list(args)
    for i in statics.positions:
        if i < len(rest):
            call.static_args[i] = rest[i]
            rest[i] = None
    call.static_kwargs = {k: v for k, v in kwargs.items() if k in statics.names}
    rest_kwargs = {k: v for k, v in kwargs.items() if k not in statics.names}
    key = []
    for name, value in [*call.static_args.items(), *call.static_kwargs.items()]:
        try:
            key.append((name, typed(value)))
        except TypeError:
            raise ArgumentError(
                message(
                    f"static argument {name!r} is a {type(value).__name__}, which is "
                    "not hashable",
                    where=caller(),
                    way_out="Pass a tuple or another hashable value",
                )
            ) from None
    return tuple(rest), rest_kwargs, tuple(key)
