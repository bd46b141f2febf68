"""Host calls: a Python function on NumPy arrays, as an instr of the tape.

    %2: f64[3] = host_call %0 %1 {rule=<table>, outs=('f64[3]',)}

The param `rule` is the function with all that tracejit may ask of it:

    rule.name                            how it is called on a tape
    rule.run(*arrays) -> arrays          the function; a tuple, as many as `outs`
    rule.trusted, rule.native            optional, see `program.Host`
    rule.vjp(builder, cts, outs, xs)     -> cotangents of the xs, None for zero
    rule.jvp(builder, tangents, outs, xs)  -> tangents of the outs, None for zero

One of the two rules is enough, for the passes transpose it where the other is asked
for.  `vjp` may give thunks, called only if that operand is differentiated.  In a kernel
the function runs where the program is, with its operands in memory; everything around
it is compiled.

A function is taken to be pure: equal calls are one call, one whose result nobody uses
is none, and a path that is left by a guard behind it is recorded again, which calls it
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval, aval_of, parse_aval
from ..errors import UnsupportedError, message
from ..primitive import Primitive, register
from ..text import rule_name

__all__ = ["checked", "host_call", "identifier", "read_only"]


def identifier(name: str) -> str:
    """A function's name in a form that can stand on a tape."""
    return re.sub(r"\W+", "_", name).strip("_") or "function"


def checked(rule: Any, outs: tuple[str, ...], where: str = "") -> Callable[..., tuple]:
    """A rule's function, its results converted and compared with the avals `outs`.

    where: the position of the call in the user's code, for the error.

    Raises (when it is called):
        UnsupportedError: another number of values, other shapes or dtypes.
    """
    avals = [parse_aval(text) for text in outs]
    wanted = [(aval.shape, aval.dtype) for aval in avals]
    run = rule.run

    only = wanted[0] if len(wanted) == 1 else None

    def call(*arrays: Any) -> tuple:
        found = run(*arrays)
        if only and len(found) == 1 and isinstance(found[0], _ARRAYS):
            (array,) = found
            if (array.shape, array.dtype) == only:  # the usual case, quickly
                return found
        if len(found) != len(wanted):
            got = f"{len(found)} value{'s' * (len(found) != 1)}"
            raise _changed(rule_name(rule), got, str(len(wanted)), where)
        values = []
        for value, (shape, dtype) in zip(found, wanted, strict=True):
            array = value if isinstance(value, _ARRAYS) else np.asarray(value)
            if array.shape != shape or array.dtype != dtype:
                text = repr(Aval(shape, dtype))
                raise _changed(rule_name(rule), repr(aval_of(array)), text, where)
            values.append(array)
        return tuple(values)

    return call


_ARRAYS = (np.ndarray, np.generic)


def read_only(array: Any) -> Any:
    """A view that a function cannot write through; a NumPy scalar of shape ()."""
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        return np.asarray(array)[()]
    view = array.view()
    view.flags.writeable = False
    return view


def _changed(name: str, got: str, before: str, where: str) -> UnsupportedError:
    return UnsupportedError(
        message(
            f"{name} returned {got}, and {before} for operands of the same shapes when "
            "it was recorded",
            where=where,
            way_out="Let shapes and dtypes of the result depend on those of the "
            "arguments only, or make what decides on them a static argument",
        )
    )


def _reference(*arrays: Any, rule: Any, outs: tuple[str, ...]) -> tuple:
    # Somebody else computes with the operands' memory.
    found = checked(rule, outs)(*[read_only(a) for a in arrays])
    return tuple([np.asarray(value)[()] for value in found])


def _aval(*avals: Aval, rule: Any, outs: tuple[str, ...]) -> tuple[Aval, ...]:
    return tuple([parse_aval(text) for text in outs])


def _vjp(cts: Any, ys: Any, *xs: Any, rule: Any, outs: tuple[str, ...]) -> tuple:
    return tuple(rule.vjp(xs[0].builder, list(cts), list(ys), list(xs)))


def _jvp(tangents: Any, ys: Any, *xs: Any, rule: Any, outs: tuple[str, ...]) -> tuple:
    return tuple(rule.jvp(xs[0].builder, list(tangents), list(ys), list(xs)))


host_call: Primitive = register(
    Primitive(
        "host_call",
        "host",
        _reference,
        _aval,
        n_out=None,
        vjp=_vjp,
        jvp=_jvp,
        host=True,
    )
)
