"""What a call looks like from outside: which leaves are traced, which are static.

`read_call` flattens the arguments of a call (optree pytrees, None is no leaf) and
sorts the leaves into two kinds:

* traced: arrays, NumPy scalars, Python floats and ints.  Dtype and shape belong to
  the signature, the value does not.
* static: everything else.  Strings, bools and other values belong to the signature
  by equality of type and value, plain objects by identity.

Two calls with equal `Call.key` may share a trace.  `Call.values` are ready for a
kernel: C-contiguous, aligned, native byte order, arrays of shape () as scalars.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType, MethodType
from typing import Any

import numpy as np
import optree

from .avals import DTYPE_NAMES, Aval
from .errors import ArgumentError, UnsupportedError, message

__all__ = [
    "NAMESPACE",
    "Call",
    "Identity",
    "Statics",
    "caller",
    "flatten",
    "leaf_names",
    "prepare",
    "read_call",
    "structure",
    "typed",
    "unflatten",
]

#: Containers registered with optree under this name (or globally) are opened.
NAMESPACE = "tracejit"

_CANONICAL = {dtype: dtype for dtype in DTYPE_NAMES.values()}
_PACKAGE = str(Path(__file__).parent)
_INT64 = np.iinfo(np.int64)


def flatten(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    """The leaves of a pytree and its structure."""
    return optree.tree_flatten(tree, namespace=NAMESPACE)


def unflatten(spec: optree.PyTreeSpec, leaves: Iterable[Any]) -> Any:
    """The pytree of this structure with these leaves."""
    return optree.tree_unflatten(spec, leaves)


def structure(tree: Any) -> optree.PyTreeSpec:
    """The structure of a pytree."""
    return optree.tree_structure(tree, namespace=NAMESPACE)


def in_package(file: str) -> bool:
    """Whether a source file is one of tracejit's own."""
    return file.startswith(_PACKAGE)


def caller(frame: FrameType | None = None) -> str:
    """The innermost position outside tracejit, `file.py:12 in loss`."""
    frame = frame or sys._getframe(1)
    while frame is not None and in_package(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    name = Path(frame.f_code.co_filename).name
    return f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"


class Identity:
    """Stands for one object in a key; does not keep it alive where that is possible."""

    __slots__ = ("_hash", "ref", "type")

    def __init__(self, value: Any) -> None:
        self._hash = id(value)
        self.type = type(value)
        try:
            self.ref: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self.ref = lambda: value

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Identity):
            return NotImplemented
        mine = self.ref()
        return mine is not None and mine is other.ref()

    def __repr__(self) -> str:
        value = self.ref()
        name = getattr(value, "__qualname__", None)
        return name or f"<{self.type.__name__} object>"


def typed(value: Any) -> Any:
    """A hashable that is equal only for equal type and value (1, 1.0, True, -0.0)."""
    kind = type(value)
    if kind is float:
        return float, value.hex()
    if kind in (tuple, frozenset):
        return kind, kind(typed(item) for item in value)
    hash(value)
    return kind, value


class Statics:
    """Which arguments of a function its caller declared static."""

    def __init__(
        self,
        fun: Callable,
        argnums: int | Sequence[int] = (),
        argnames: str | Sequence[str] = (),
    ) -> None:
        self.positions = {argnums} if isinstance(argnums, int) else set(argnums)
        self.names = {argnames} if isinstance(argnames, str) else set(argnames)
        self.any = bool(self.positions or self.names)
        if self.any:
            self._complete(fun)

    def _complete(self, fun: Callable) -> None:
        """Add the names of the given positions, and the reverse."""
        try:
            parameters = list(inspect.signature(fun).parameters.values())
        except (TypeError, ValueError):
            return
        ordered = [
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        variadic = {p.kind for p in parameters}
        known = {p.name for p in parameters}
        unknown = sorted(self.names - known)
        if unknown and inspect.Parameter.VAR_KEYWORD not in variadic:
            raise ArgumentError(
                message(
                    f"static_argnames names {unknown[0]!r}, which is no parameter of "
                    f"{getattr(fun, '__name__', fun)}",
                    where=caller(),
                    way_out=f"Its parameters are {', '.join(known) or 'none'}",
                )
            )
        named = {i for i, name in enumerate(ordered) if name in self.names}
        self.names |= {
            ordered[i] for i in self.positions if -len(ordered) <= i < len(ordered)
        }
        self.positions = {i % len(ordered) if i < 0 else i for i in self.positions}
        self.positions |= named


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
        """The call's (args, kwargs) with the traced leaves replaced, objects wrapped."""
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
        elif isinstance(leaf, np.generic):
            dtype = _CANONICAL.get(leaf.dtype)
            key, value = (dtype and ("scalar", dtype)), leaf
        else:
            keys.append(_read_static(call, i, leaf, fun))
            continue
        if key is None:
            _refuse_dtype(call, i, leaf, fun)
        keys.append(key)
        if key[0] != "static":
            call.traced.append(i)
            call.values.append(value)
            call.raw.append(leaf)
    call.key = (call.spec, tuple(keys), static_key)
    return call


_FLOAT = ("float",)
_INT = ("int",)


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
                f"argument {leaf_names(call, fun)[i]} is a {type(leaf).__name__}, "
                "a subclass of ndarray",
                where=caller(),
                way_out="Pass np.asarray of it, if plain ndarray arithmetic is meant",
            )
        )
    kind = type(leaf)
    if kind is MethodType or kind.__eq__ is object.__eq__:
        call.objects.append((i, leaf))
        if kind is MethodType:
            return "object", Identity(leaf.__self__), Identity(leaf.__func__)
        return "object", Identity(leaf)
    try:
        return "static", typed(leaf)
    except TypeError:
        raise ArgumentError(
            message(
                f"argument {leaf_names(call, fun)[i]} is a {kind.__name__}, which is "
                "neither a number nor a container that can be opened nor hashable",
                where=caller(),
                way_out="Register the class with optree.register_pytree_node(..., "
                f"namespace={NAMESPACE!r}), or make it hashable",
            )
        ) from None


def _refuse_dtype(call: Call, i: int, leaf: Any, fun: Callable) -> None:
    name = leaf_names(call, fun)[i]
    if leaf.dtype.kind == "c":
        way_out = "Complex numbers are not supported yet: pass two real arrays"
    else:
        known = "bool, integers, float32 and float64"
        way_out = f"Supported are {known}: convert it, or close over it"
    raise UnsupportedError(
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


# --- words for people ----------------------------------------------------------------


def parameter_names(fun: Callable, count: int) -> list[str]:
    """Names for `count` positional arguments of `fun`."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(count)]
    names = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    names += [f"{rest}[{i}]" for i in range(count - len(names))]
    return names[:count]


def leaf_names(call: Call, fun: Callable) -> list[str]:
    """How the user would write each leaf: `x`, `params['w1']`."""
    count = call.spec.child(0).num_children
    return spec_names(call.spec, parameter_names(fun, count))


def spec_names(spec: optree.PyTreeSpec, positional: Sequence[str]) -> list[str]:
    """The leaf names of the structure of `(args, kwargs)`."""
    names = []
    for accessor in spec.accessors():
        head = accessor[1]
        first = positional[head.entry] if accessor[0].entry == 0 else str(head.entry)
        names.append(first + accessor[2:].codify(""))
    return names


def describe_key(key: tuple) -> str:
    """One leaf's part of a signature in words: `f64[4]`, `float`, `'mean'`."""
    match key:
        case ("array", dtype, shape):
            return repr(Aval(shape, dtype))
        case ("scalar", dtype):
            return f"np.{dtype.name}"
        case ("static", (kind, value)):
            if kind is float:
                return repr(float.fromhex(value))
            if kind in (tuple, frozenset):
                return f"another {kind.__name__}"
            return repr(value)
        case ("object", identity, *_):
            return repr(identity)
    return key[0]


def describe_change(old: tuple, new: tuple, fun: Callable) -> str:
    """What distinguishes two signatures: `argument x: f64[4] -> f64[8]`."""
    if old[0] != new[0]:
        return "arguments: another structure"
    positional = parameter_names(fun, new[0].child(0).num_children)
    names = spec_names(new[0], positional)
    changes = [
        f"argument {name}: {describe_key(was)} -> {describe_key(now)}"
        for name, was, now in zip(names, old[1], new[1], strict=True)
        if was != now
    ]
    for (name, was), (other, now) in zip(old[2], new[2], strict=False):
        if name == other and was != now:
            label = positional[name] if isinstance(name, int) else name
            before, after = describe_key(("static", was)), describe_key(("static", now))
            changes.append(f"argument {label}: {before} -> {after}")
    return ", ".join(changes) or "arguments: another structure"


def describe_call(key: tuple, fun: Callable) -> str:
    """The signature in words: `x: f64[4], y: float`."""
    names = spec_names(key[0], parameter_names(fun, key[0].child(0).num_children))
    return ", ".join(
        f"{name}: {describe_key(leaf)}"
        for name, leaf in zip(names, key[1], strict=True)
    )
