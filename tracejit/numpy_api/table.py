"""The table from NumPy functions to implementations, and how operands become tracers.

Every implementation has its NumPy function's signature and is a composition of
primitives (`emit`), of other implementations, or of a tracer's own operators.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..errors import TracejitError, message
from ..primitive import PRIMITIVES
from ..tape import Ref
from ..tracer import (
    FUNCTIONS,
    Owner,
    Recorder,
    Tracer,
    check_dtype,
    full_name,
    joins_axes,
    link,
    note_uncertain,
    refuse,
    where,
)

__all__ = [
    "ENTRIES",
    "NUMBERS",
    "WRITE_OUT",
    "Entry",
    "as_array",
    "as_tracer",
    "cast",
    "common",
    "emit",
    "emit_view",
    "enter",
    "filled",
    "fresh",
    "implements",
    "in_dtype",
    "no_keywords",
    "of",
    "promoted",
    "recorder_of",
    "same_view",
    "stack_nested",
    "static_array",
    "tracers_in",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """What is served under one of NumPy's names; a row of docs/numpy-support.md.

    Attributes:
        name: `np.linalg.norm`, `ndarray.sum`, `np.add.reduce`.
        kind: `function`, `ufunc`, `method` or `ufunc method`.
        keywords: the optional parameters that are served, as NumPy names them.
        gradient: whether it is differentiable somewhere, in both modes.
        host: whether a kernel calls NumPy's routine for it.
    """

    name: str
    kind: str
    keywords: tuple[str, ...] = ()
    gradient: bool = True
    host: bool = False


#: All of what is served, by name.
ENTRIES: dict[str, Entry] = {}

#: Parameters that a signature has for NumPy's sake: `no_keywords` refuses some of them,
#: the others say nothing about traced values.
_NOT_LISTED = {
    "out",
    "like",
    "ndmax",
    "einsum_call",
    "subok",
    "device",
    "args",
    "kwargs",
    "self",
}


def enter(
    name: str,
    kind: str,
    implementation: Callable[..., Any] | None = None,
    *,
    keywords: Iterable[str] = (),
    gradient: bool = True,
    host: bool = False,
    refused: Iterable[str] = (),
) -> None:
    """Enter a name into the table, with the keywords of the implementation."""
    if implementation is not None:
        found = inspect.signature(implementation).parameters.values()
        hidden = _NOT_LISTED | set(refused)
        keywords = [
            p.name
            for p in found
            if p.name not in hidden
            and p.default is not p.empty
            and p.kind is not p.POSITIONAL_ONLY
        ]
    ENTRIES[name] = Entry(name, kind, tuple(keywords), gradient, host)


def implements(
    *functions: Callable[..., Any],
    gradient: bool = True,
    host: bool = False,
    refused: Iterable[str] = (),
) -> Callable[[F], F]:
    """Enter the decorated function as the implementation of NumPy functions.

    Args:
        functions: NumPy's functions.
        gradient: whether there is anything to differentiate.
        host: whether a kernel calls a routine of NumPy's for it.
        refused: parameters of the implementation that it refuses.
    """

    def register(implementation: F) -> F:
        served = _with_out(functions, implementation)
        for function in functions:
            if function in FUNCTIONS:
                raise TracejitError(f"{full_name(function)} has an implementation")
            FUNCTIONS[function] = served
            enter(
                full_name(function),
                "function",
                implementation,
                gradient=gradient,
                host=host,
                refused=refused,
            )
        return implementation

    return register


#: Writes a result to where `out=` says, `(function, out, result)`; `writes` fills it.
WRITE_OUT: list[Callable[..., Any]] = []


def _with_out(functions: Sequence[Any], implementation: Any) -> Any:
    """An implementation that serves `out=`, if the function has it."""
    parameters = list(inspect.signature(implementation).parameters.values())
    found = [k for k, p in enumerate(parameters) if p.name == "out"]
    if not found:
        return implementation
    by_position = parameters[found[0]].kind is not inspect.Parameter.KEYWORD_ONLY
    place = found[0] if by_position else sys.maxsize

    @functools.wraps(implementation)
    def served(*args: Any, **kwargs: Any) -> Any:
        if len(args) <= place and "out" not in kwargs:
            return implementation(*args, **kwargs)
        out = kwargs.pop("out", None)
        if len(args) > place:
            out, args = args[place], (*args[:place], None, *args[place + 1 :])
        result = implementation(*args, **kwargs)
        return result if out is None else WRITE_OUT[0](functions[0], out, result)

    return served


def no_keywords(function: Callable[..., Any], **keywords: Any) -> None:
    """Refuse the given keywords where they are not None (or `where` not True)."""
    for name, value in keywords.items():
        if value is not None and not (name == "where" and value is True):
            refuse(
                f"{full_name(function)} with {name}=",
                f"Leave {name}= away and use the result",
            )


def tracers_in(args: Iterable[Any]) -> Iterable[Tracer]:
    """All tracers in nested lists and tuples and in object arrays."""
    for arg in args:
        kind = type(arg)
        if kind is Tracer:
            yield arg
        elif kind is list or kind is tuple:
            yield from tracers_in(arg)
        elif kind is np.ndarray and arg.dtype == object:
            yield from tracers_in(arg.flat)


def recorder_of(*args: Any) -> Recorder:
    """The recorder that the tracers among the arguments belong to."""
    found: Recorder | None = None
    for tracer in tracers_in(args):
        if found is None:
            found = tracer.rec
        elif tracer.rec is not found:
            raise TracejitError(
                message(
                    f"values of two recordings meet: {found.name!r} and "
                    f"{tracer.rec.name!r}",
                    where=where(),
                    way_out="Return values from the inner function",
                )
            )
    if found is None:
        raise TypeError("no traced value among the arguments")
    return found


def emit(name: str, *operands: Any, **params: Any) -> Any:
    """Apply the primitive `name` to tracers of equal dtypes; a fresh tracer."""
    rec = operands[0].rec
    out = rec.apply(PRIMITIVES[name], [t.ref for t in operands], params)
    if isinstance(out, Ref):
        return Tracer(rec, out, None, False)
    return tuple([Tracer(rec, o, None, False) for o in out])


def emit_view(name: str, x: Tracer, **params: Any) -> Tracer:
    """Apply a primitive whose NumPy counterpart gives a view of `x`."""
    kind = joins_axes(x, params["shape"]) if name == "reshape" else "view"
    ref = x.rec.apply(PRIMITIVES[name], (x.ref,), params)
    view = Tracer(x.rec, ref, None, x.shared)
    if kind == "view":
        return link(view, x, (name, params))
    view.shared = False
    if kind == "uncertain":
        note_uncertain(x, view)
    return view


def same_view(x: Tracer) -> Tracer:
    """Another array object on the memory of `x`."""
    same = Tracer(x.rec, x.ref, x.weak, x.shared)
    return link(same, x) if x.memory is not None or x.ref.aval.shape else same


def fresh(x: Tracer, contiguous: bool = False) -> Tracer:
    """A copy: the same value, memory of its own.

    Args:
        contiguous: whether NumPy's copy lies in C order.
    """
    copy = Tracer(x.rec, x.ref, None, False)
    if contiguous:
        copy.memory = Owner(True)
    return copy


def cast(x: Tracer, dtype: Any) -> Tracer:
    """`x` with another dtype; the same value, a fresh tracer, where it has it."""
    dtype = np.dtype(dtype)
    if x.ref.aval.dtype == dtype:
        return Tracer(x.rec, x.ref, None, False)
    check_dtype(dtype)
    if x.ref.aval.dtype.kind == "c" and dtype.kind in "iuf":
        # Nobody but `astype` may drop imaginary parts.
        refuse(
            f"a function of a complex array (of {x.dtype}) that needs {dtype}",
            "Use .real or .astype, if the real part is meant",
        )
    return emit("cast", x, dtype=dtype)


def as_array(x: Any) -> Any:
    """An array-like without tracers as an array or NumPy scalar."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x
    return np.asarray(x)


def as_tracer(rec: Recorder, x: Any, dtype: Any = None) -> Tracer:
    """Any array-like as a tracer of `rec`, with NumPy's default dtypes.

    Lists and object arrays that hold tracers become traced stacks.
    """
    if type(x) is not Tracer:
        x = _untraced(rec, x)
    elif x.rec is not rec:
        recorder_of(x, rec.tracer(Ref(rec, 0, x.ref.aval)))
    return x if dtype is None or x.dtype == dtype else cast(x, dtype)


def in_dtype(x: Tracer, dtype: np.dtype) -> Tracer:
    """`x` itself if it has this dtype, else `x` cast: an operand, not a result."""
    return x if x.ref.aval.dtype == dtype else cast(x, dtype)


def of(a: Any, *others: Any) -> Tracer:
    """An operand as a tracer; if it is none, one of `others` holds one."""
    return a if type(a) is Tracer else as_tracer(recorder_of(a, *others), a)


def _untraced(rec: Recorder, x: Any) -> Tracer:
    kind = type(x)
    if kind in NUMBERS:
        return Tracer(rec, rec.constant(x, NUMBERS[kind]), None, False)
    if issubclass(kind, Tracer):  # an array that the function made, see `buffers`
        return x.constant(rec)
    if isinstance(x, np.generic):
        x.dtype.kind in "biufc" or refuse(f"a constant of dtype {x.dtype}")
        return Tracer(rec, rec.constant(x, x.dtype), None, False)
    holds_tracers = next(iter(tracers_in([x])), None) is not None
    if holds_tracers:
        return stack_nested(rec, x)
    return Tracer(rec, rec.capture(np.asarray(x)), None, True)


NUMBERS = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}


def filled(rec: Recorder, shape: tuple[int, ...], value: Any, dtype: Any) -> Tracer:
    """An array of one value."""
    fill = cast(as_tracer(rec, value), dtype)
    return fresh(emit("broadcast_to", fill, shape=shape), contiguous=True)


def common(tracers: list[Tracer]) -> list[Tracer]:
    """Tracers cast to the dtype that arrays of theirs have in common."""
    dtype = np.result_type(*[t.dtype for t in tracers])
    return [t if t.dtype == dtype else cast(t, dtype) for t in tracers]


def promoted(rec: Recorder, *operands: Any) -> list[Tracer]:
    """Operands as tracers of one dtype, Python numbers being weak (NEP 50)."""
    kinds = []
    usable = []
    for x in operands:
        if type(x) not in NUMBERS and type(x) is not Tracer:
            x = as_tracer(rec, x)
        usable.append(x)
        weak = x.weak if type(x) is Tracer else type(x)
        kinds.append(weak or x.dtype)
    dtype = _promotion(*kinds)
    return [_of_dtype(rec, x, dtype) for x in usable]


@cache
def _promotion(*kinds: Any) -> np.dtype:
    """The common dtype of dtypes and of Python's number classes."""
    if all(isinstance(k, type) for k in kinds):
        return np.result_type(*[NUMBERS[k] for k in kinds])
    return np.result_type(*[k(0) if isinstance(k, type) else k for k in kinds])


def _of_dtype(rec: Recorder, x: Any, dtype: np.dtype) -> Tracer:
    if type(x) in NUMBERS:
        return Tracer(rec, rec.constant(x, dtype), None, False)
    return cast(x, dtype)


def static_array(rec: Recorder, x: Any) -> np.ndarray:
    """The concrete value of counts, shifts or cuts that shape the tape itself.

    A guard holds it fixed: an ordinary array may be changed in place later on, a traced
    one is another with every call.
    """
    if type(x) is not Tracer and not isinstance(x, np.ndarray):
        if next(iter(tracers_in([x])), None) is None:
            return np.asarray(x)
        return np.asarray([operator.index(i) for i in x])
    given = as_tracer(rec, x)
    value = np.array(given.concrete)
    if given.ndim == 0:
        rec.guard(given.ref, value.item())
        return value
    same = emit("eq", given, Tracer(rec, rec.capture(value)))
    same = emit("all", same, axes=tuple(range(value.ndim)))
    rec.guard(same.ref, True, "an array that counts, shifts or cuts")
    return value


def stack_nested(rec: Recorder, x: Any) -> Tracer:
    """`np.array(x)` for nested sequences (or an object array) that hold tracers."""
    if type(x) is np.ndarray:
        x = x.tolist()
    if type(x) is Tracer or not isinstance(x, (list, tuple)):
        return as_tracer(rec, x)
    rows = [stack_nested(rec, row) for row in x]
    shape = rows[0].shape
    for row in rows[1:]:
        if row.shape != shape:
            raise ValueError(
                "setting an array element with a sequence. The requested array has an "
                "inhomogeneous shape after 1 dimensions. The detected shape was "
                f"({len(rows)},) + inhomogeneous part."
            )
    dtype = np.result_type(*[row.dtype for row in rows])
    lines = [emit("reshape", cast(r, dtype), shape=(1, *shape)) for r in rows]
    return fresh(emit("concatenate", *lines, axis=0), contiguous=True)
