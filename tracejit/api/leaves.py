"""Leaves of pytrees as refs: what can be differentiated, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..avals import Aval, aval_of, dtype_name
from ..dispatch import Session
from ..errors import ArgumentError, DifferentiationError, message
from ..ops.control import custom_vjp
from ..ops.rows import zeros
from ..ops.structural import broadcast_to
from ..primitive import PRIMITIVES
from ..signature import caller, flatten, parameter_names, unflatten
from ..tape import Instr, Ref
from ..tracer import Owner, Recorder, Tracer, base_of

__all__ = [
    "Run",
    "as_ref",
    "at_level",
    "cast",
    "close_level",
    "floats",
    "fresh_copy",
    "function_name",
    "level_of",
    "ones",
    "run",
    "shape_text",
    "watch",
    "zero_filled",
]


def shape_text(leaf: Any) -> str:
    """A value in words: `f64[3]`, `int`, `str`."""
    if type(leaf) is Tracer:
        return leaf.weak.__name__ if leaf.weak else repr(leaf.ref.aval)
    if isinstance(leaf, (np.ndarray, np.generic)):
        aval = aval_of(leaf)
        return f"{dtype_name(aval.dtype)}[{','.join(map(str, aval.shape))}]"
    return type(leaf).__name__


def cast(ref: Ref, dtype: np.dtype) -> Ref:
    """The ref in another dtype."""
    return ref if ref.dtype == dtype else PRIMITIVES["cast"](ref, dtype=dtype)


def ones(rec: Recorder, aval: Aval) -> Ref:
    """An array of ones, a scalar constant if there are no axes."""
    one = rec.const(1, aval.dtype)
    return broadcast_to(one, shape=aval.shape) if aval.shape else one


def symbolic(rec: Recorder, aval: Aval) -> Ref:
    """A ref that no instr defines, to be replaced when its users leave the tape.

    Rules of the user compute while they record, so it has a value.
    """
    ref = rec.new(aval)
    rec.values[ref.index] = np.ones(aval.shape, aval.dtype)[()]
    return ref


def zero_filled(refs: Sequence[Ref | None], like: Sequence[Ref]) -> list[Ref]:
    """Zeros where a derivative is zero everywhere."""
    return [zeros(x) if ref is None else ref for ref, x in zip(refs, like, strict=True)]


def as_ref(rec: Recorder, leaf: Any, aval: Aval, what: str) -> Ref:
    """A given tangent or cotangent as a ref of exactly this aval."""
    if type(leaf) is not Tracer:
        array = np.asarray(leaf)
        kinds = array.dtype.kind in ("biufc" if aval.dtype.kind == "c" else "biuf")
        if array.shape != aval.shape or not kinds:
            raise _mismatch(leaf, aval, what)
        value = array.astype(aval.dtype)
        return (
            rec.const(value[()], aval.dtype) if not aval.shape else rec.capture(value)
        )
    if leaf.shape != aval.shape or (leaf.dtype.kind == "c") > (aval.dtype.kind == "c"):
        raise _mismatch(leaf, aval, what)
    return cast(leaf.ref, aval.dtype)


def _mismatch(leaf: Any, aval: Aval, what: str) -> ArgumentError:
    return ArgumentError(
        message(
            f"{what} is {shape_text(leaf)}, but {aval!r} is needed",
            where=caller(),
            way_out="Give it the shape of what it belongs to",
        )
    )


# --- levels: differentiations under way on one recorder (see `custom`) ---------------


def level_of(rec: Recorder) -> int:
    """How many differentiations the code that runs now is inside of."""
    return getattr(rec, "level", 0)


@contextmanager
def at_level(rec: Recorder, level: int) -> Iterator[None]:
    """Run at a level; put back in any case."""
    before = level_of(rec)
    rec.level = level  # type: ignore[attr-defined]
    try:
        yield
    finally:
        rec.level = before  # type: ignore[attr-defined]


def close_level(rec: Recorder, start: int) -> None:
    """Take the rules of the level that is done off the tape, from instr `start` on.

    What remains in their place are identities: an outer level differentiates what
    stands in front of them.
    """
    level = level_of(rec) + 1
    instrs = rec.instrs[start:]
    if not any(instr.prim is custom_vjp for instr in instrs):
        return
    kept: list[Instr] = []
    for instr in instrs:
        if instr.prim is not custom_vjp or instr.params["rule"].level != level:
            kept.append(instr)
            continue
        for out, arg in zip(instr.outs, instr.args, strict=False):
            copied = Instr(PRIMITIVES["copy"], (arg,), {}, (out,), instr.source)
            rec.producers[out] = copied
            kept.append(copied)
    rec.instrs[start:] = kept


# --- running a function to differentiate it ------------------------------------------


class Run(NamedTuple):
    """One run of a function on fresh copies of what is differentiated.

    Attributes:
        xs: refs of the differentiated leaves.
        spec: their structure: that of the argument, or a tuple of arguments.
        start: the first instr that may depend on them.
        out: the function's result.
        aux: what came beside it, if the function says so.
    """

    xs: list[Ref]
    spec: Any
    start: int
    out: Any
    aux: Any


def run(
    rec: Recorder,
    kind: str,
    fun: Callable,
    argnums: int | tuple[int, ...],
    has_aux: bool,
    args: tuple,
    kwargs: dict[str, Any],
) -> Run:
    """Run `fun` with fresh copies of the arguments `argnums`.

    A copy is a value of its own on the tape: the derivative with respect to it does
    not see other uses of the same array, in closures or other arguments.
    """
    numbers = _positions(kind, fun, argnums, args)
    chosen = (
        args[numbers[0]] if isinstance(argnums, int) else [args[i] for i in numbers]
    )
    leaves, spec = flatten(chosen if isinstance(argnums, int) else tuple(chosen))
    names = _Names(fun, numbers, args)
    copies = [_copy(rec, kind, leaf, names, i) for i, leaf in enumerate(leaves)]
    refs = [c.ref for c in copies]  # now: the function may write into them
    fresh = unflatten(spec, copies)
    args = list(args)  # type: ignore[assignment]
    for i, value in zip(
        numbers, (fresh,) if isinstance(argnums, int) else fresh, strict=True
    ):
        args[i] = value  # type: ignore[index]
        watch(rec, value, parameter_names(fun, len(args))[i])
    start = len(rec.instrs)
    with at_level(rec, level_of(rec) + 1):
        out = fun(*args, **kwargs)
    rec.roll(start)
    aux = None
    if has_aux:
        if not (isinstance(out, tuple) and len(out) == 2):
            raise ArgumentError(
                message(
                    f"has_aux=True, but {function_name(fun)} returned {_kind_of(out)}",
                    where=caller(),
                    way_out="Return a pair (value, aux)",
                )
            )
        out, aux = out
    return Run(refs, spec, start, out, aux)


def watch(rec: Recorder, tree: Any, label: str) -> None:
    """See that a function does not write into containers made anew for it."""
    if isinstance(rec, Session):
        rec.outside.watched.add_tree(tree, label)


def _kind_of(out: Any) -> str:
    if isinstance(out, tuple):
        return f"a tuple of {len(out)}"
    return shape_text(out)


class _Names:
    """Finds how the user would write a differentiated leaf, for errors."""

    def __init__(self, fun: Callable, numbers: list[int], args: tuple) -> None:
        self.fun, self.numbers, self.args = fun, numbers, args

    def __getitem__(self, leaf: int) -> str:
        positional = parameter_names(self.fun, len(self.args))
        names = []
        for i in self.numbers:
            _, spec = flatten(self.args[i])
            names += [positional[i] + a.codify("") for a in spec.accessors()]
        return names[leaf]


def _positions(
    kind: str, fun: Callable, argnums: int | tuple[int, ...], args: tuple
) -> list[int]:
    wanted = (argnums,) if isinstance(argnums, int) else argnums
    for i in wanted:
        if not -len(args) <= i < len(args):
            given = len(args)
            plural = "" if given == 1 else "s"
            raise ArgumentError(
                message(
                    f"{kind}: argnums={argnums!r}, but {function_name(fun)} was called "
                    f"with {given} positional argument{plural}",
                    where=caller(),
                    way_out="Pass what is differentiated by position",
                )
            )
    return [i % len(args) for i in wanted]


def _copy(rec: Recorder, kind: str, leaf: Any, names: _Names, i: int) -> Tracer:
    """A fresh tracer for a leaf that is differentiated."""
    traced = type(leaf) is Tracer
    dtype = leaf.dtype if traced else np.asarray(leaf).dtype
    static = isinstance(leaf, (bool, str)) and not traced
    if static or dtype.kind not in "fc":
        raise ArgumentError(
            message(
                f"{kind} cannot differentiate with respect to {names[i]}, which is "
                f"{shape_text(leaf)}",
                where=caller(),
                way_out="Pass a float, or an array with .astype(float); or choose "
                "another argument with argnums",
            )
        )
    if traced:
        source, weak = leaf.ref, leaf.weak
    else:
        weak = type(leaf) if type(leaf) in (float, complex) else None
        array = np.asarray(leaf)
        source = rec.capture(array) if array.ndim else rec.const(array[()], dtype)
    fresh = rec.tracer(fresh_copy(rec, source), weak)
    if traced and fresh.shape:
        owner = base_of(leaf).memory
        fresh.memory = Owner(argument=getattr(owner, "argument", None))
    return fresh


def fresh_copy(rec: Recorder, source: Ref) -> Ref:
    """The same value under a ref of its own."""
    ref = rec.emit(PRIMITIVES["copy"], (source,), {})
    # Nobody writes into a recorder's values, so they may share memory.
    rec.values[ref.index] = rec.value(source)
    return ref


def function_name(fun: Callable) -> str:
    return getattr(fun, "__name__", type(fun).__name__)


def floats(kind: str, fun: Callable, out: Any) -> tuple[list[Any], Any]:
    """The leaves of an output that is to be differentiated, and its structure.

    Constants are allowed: their derivative is zero.  Integers and bools are not.
    """
    leaves, spec = flatten(out)
    for leaf in leaves:
        dtype = leaf.dtype if type(leaf) is Tracer else np.asarray(leaf).dtype
        if dtype.kind not in "fc":
            raise DifferentiationError(
                message(
                    f"{kind}: {function_name(fun)} returned {shape_text(leaf)}, which "
                    "has no derivative",
                    where=caller(),
                    way_out="Return a float, or return it as aux with has_aux=True",
                )
            )
    return leaves, spec
