"""Ufuncs called with keywords: `dtype=`, `signature=`, `where=`, `axes=` and their kin.

Which loop `dtype=` or `signature=` stand for is NumPy's own answer (`resolve_dtypes`);
the operands are cast to what that loop takes.  What `where=` leaves out is computed all
the same, silently, and not taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..tracer import UFUNC_METHODS, Tracer, call_noisy
from .shape import moveaxis
from .table import NUMBERS, as_tracer, emit, filled, in_dtype, recorder_of
from .ufuncs import BOOL, call, kind_of

__all__ = ["call_masked", "call_with", "in_loop"]


def _call_method(ufunc: np.ufunc, inputs: tuple, kwargs: dict[str, Any]) -> Any:
    if not kwargs:
        return call(ufunc, *inputs)
    return call_with(ufunc, inputs, **kwargs)


UFUNC_METHODS["__call__"] = _call_method


def call_with(
    ufunc: np.ufunc,
    inputs: tuple,
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: Any = "same_kind",
    order: str = "K",
    subok: bool = True,
    signature: Any = None,
    **rest: Any,
) -> Any:
    """`ufunc(*inputs, ...)` with a tracer among the inputs or in `where`, and no `out`.

    NumPy leaves what `where` does not choose as it finds it in memory, and warns; here
    that is zero.
    """
    if dtype is not None or signature is not None:
        inputs = in_loop(ufunc, inputs, dtype, signature, casting)
    if ufunc.signature is not None:
        return _generalized(ufunc, inputs, **rest)
    if rest:
        _fail_as_numpy(ufunc, rest)
    if where is True:
        return call(ufunc, *inputs)
    rec = recorder_of(*inputs, where)
    rec.warn(
        "'where' used without 'out', expect unitialized memory in output. If this is "
        "intentional, use out=None.",
        UserWarning,
    )
    mask = as_tracer(rec, where, BOOL)
    found = call_masked(ufunc, inputs, mask)
    parts = found if isinstance(found, tuple) else (found,)
    left = [emit("select", mask, p, filled(rec, (), 0, p.dtype)) for p in parts]
    return tuple(left) if isinstance(found, tuple) else left[0]


def call_masked(ufunc: np.ufunc, inputs: tuple, mask: Any) -> Any:
    """`ufunc(*inputs)`, with the warnings of where `mask` is true."""
    rec = recorder_of(*inputs, mask)
    inputs = _usable(rec, inputs)
    if not any(type(x) is Tracer for x in inputs):
        inputs = (as_tracer(rec, inputs[0]), *inputs[1:])
    with np.errstate(all="ignore"):
        found = call(ufunc, *inputs)
    values = [x.concrete if type(x) is Tracer else x for x in (*inputs, mask)]
    shape = np.broadcast_shapes(*[np.shape(v) for v in values])
    outs = [np.zeros(shape, d) for d in _loop_of(ufunc, inputs)[ufunc.nin :]]
    keywords = {"where": values.pop(), "out": tuple(outs)}
    call_noisy(ufunc.__name__, ufunc, values, keywords)
    return found


def _usable(rec: Any, inputs: tuple) -> tuple:
    """Tracers and Python numbers."""
    return tuple(
        [x if type(x) in (Tracer, *NUMBERS) else as_tracer(rec, x) for x in inputs]
    )


def _loop_of(ufunc: np.ufunc, inputs: tuple, **asked: Any) -> tuple[np.dtype, ...]:
    kinds = [kind_of(x) for x in inputs]
    if all(isinstance(k, type) for k in kinds):
        kinds = [np.dtype(k) for k in kinds]
    return ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), **asked)


def in_loop(
    ufunc: np.ufunc, inputs: tuple, dtype: Any, signature: Any, casting: str
) -> tuple:
    """The operands in the dtypes of the loop that `dtype=` or `signature=` ask for."""
    if dtype is not None:
        asked = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    else:
        asked = _parsed(ufunc, signature)
    rec = recorder_of(*inputs)
    inputs = _usable(rec, inputs)
    loop = _loop_of(ufunc, inputs, signature=asked, casting=casting)
    return tuple(
        [_in_dtype(as_tracer(rec, x), d) for x, d in zip(inputs, loop, strict=False)]
    )


def _in_dtype(x: Tracer, dtype: np.dtype) -> Tracer:
    if x.dtype.kind == "c" and dtype.kind in "iuf":
        return x.astype(dtype)  # asked for, with NumPy's warning
    return in_dtype(x, dtype)


def _parsed(ufunc: np.ufunc, signature: Any) -> tuple:
    """A signature as a tuple of dtypes; `dd->d` is one of its forms."""
    if isinstance(signature, str):
        parts = signature.partition("->")
        found = (*parts[0], *parts[2]) if parts[1] else ()
    else:
        found = tuple(signature)
    if len(found) != ufunc.nargs:
        _fail_as_numpy(ufunc, {"signature": signature})
    return tuple([None if s is None else np.dtype(s) for s in found])


def _fail_as_numpy(ufunc: np.ufunc, keywords: dict[str, Any]) -> NoReturn:
    ones = [np.ones((1,) * 2) for _ in range(ufunc.nin)]
    ufunc(*ones, **keywords)
    name = next(iter(keywords))
    raise TypeError(f"{ufunc.__name__}() got an unexpected keyword argument {name!r}")


# --- generalized ufuncs ---------------------------------------------------------------


def _generalized(
    ufunc: np.ufunc,
    inputs: tuple,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
    **rest: Any,
) -> Any:
    """`matmul` and its kin: the axes that they work on, moved to the end and back."""
    if rest:
        _fail_as_numpy(ufunc, rest)
    if axes is None and axis is None and not keepdims:
        return call(ufunc, *inputs)
    rec = recorder_of(*inputs)
    operands = [as_tracer(rec, x) for x in inputs]
    *cores, result = _core_axes(ufunc, [x.ndim for x in operands])
    if axis is not None:
        if axes is not None:
            raise TypeError("cannot specify both 'axis' and 'axes'")
        if any(count != 1 for count in cores):
            _fail_as_numpy(ufunc, {"axis": axis})
        axes = [axis] * len(cores)
    elif axes is None:
        axes = [tuple(range(-count, 0)) for count in cores]
    axes = [(a,) if isinstance(a, int) else tuple(a) for a in axes]
    if keepdims and (result or len(set(cores)) > 1):
        _fail_as_numpy(ufunc, {"keepdims": True})
    if len(axes) == len(cores) and not result:
        axes = [*axes, axes[0] if keepdims else ()]
    if len(axes) != ufunc.nargs:
        raise ValueError(
            "axes should be a list with an entry for all "
            f"{ufunc.nargs} inputs and outputs; entries for outputs can only be "
            "omitted if none of them has core axes."
        )
    moved = [
        moveaxis(x, a, tuple(range(-len(a), 0)))
        for x, a in zip(operands, axes, strict=False)
    ]
    out = call(ufunc, *moved)
    if keepdims:
        out = emit("reshape", out, shape=(*out.shape, *(1,) * cores[0]))
    return moveaxis(out, tuple(range(-len(axes[-1]), 0)), axes[-1])


def _core_axes(ufunc: np.ufunc, ndims: Sequence[int]) -> list[int]:
    """How many axes of each operand, and of the result, are the ufunc's own."""
    assert ufunc.signature is not None
    takes, gives = ufunc.signature.split("->")
    names = [part.strip("()").split(",") for part in takes.split("),(")]
    missing = set()
    counts = []
    for core, ndim in zip(names, ndims, strict=True):
        optional = [name for name in core if name.endswith("?")]
        if ndim < len(core):
            missing.update(optional)
            core = [name for name in core if name not in optional]
        counts.append(len([name for name in core if name]))
    left = [n for n in gives.strip("()").split(",") if n and n not in missing]
    return [*counts, len(left)]
