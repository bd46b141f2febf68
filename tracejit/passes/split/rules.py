"""How one instr is split: by formula, by parts, as real instrs or as a host call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...avals import Aval, complex_of, real_of
from ...interpret import evaluate
from ...ops.contraction import dot
from ...ops.host import host_call
from ...ops.loop import loop
from ...ops.structural import (
    broadcast_to,
    concatenate,
    inverse,
    iota,
    reshape,
    transpose,
    window,
)
from ...tape import Builder, Instr, Ref
from ...text import rule_name
from .formulas import FORMULAS, Pair, mul

__all__ = ["apart", "joined", "split_instr"]

#: Linear over the reals and the same for both parts.
_BY_PARTS = frozenset(
    "reshape transpose broadcast_to slice unslice concatenate diagonal diag_embed tril"
    " triu gather scatter_add sum cumsum barrier".split()
)

Rule = Callable[..., tuple]


def split_instr(
    builder: Builder, instr: Instr, args: Sequence[Any], outs: Sequence[Aval]
) -> tuple[Ref | Pair, ...]:
    """The outputs of an instr with a complex operand or output."""
    prim, params = instr.prim, instr.params
    if prim.name in _BY_PARTS:
        return (_by_parts(instr, args),)
    if prim.name in FORMULAS:
        return (FORMULAS[prim.name](*args, **params),)
    if prim.name in _RULES:
        return _RULES[prim.name](builder, *args, **params)
    return _hosted(builder, instr, args, outs)


def apart(both: Ref) -> Pair:
    """The parts of what lies in memory side by side."""
    axis = both.ndim - 1
    re, im = [reshape(window(both, axis, k, 1), shape=both.shape[:-1]) for k in (0, 1)]
    return Pair(re, im, both=both)


def joined(z: Pair) -> Ref:
    """The parts side by side."""
    if z.both is not None:
        return z.both
    shape = (*z.re.shape, 1)
    parts = [reshape(part, shape=shape) for part in z[:2]]
    return concatenate(*parts, axis=len(shape) - 1)


# --- what NumPy computes itself


class _Reference:
    """A row's reference on parts side by side: a rule of `host_call`.

    trusted: NumPy's routines keep no operand.
    """

    trusted = True

    def __init__(
        self, instr: Instr, pairs: tuple[bool, ...], outs: Sequence[Aval]
    ) -> None:
        self.prim, self.params = instr.prim, instr.params
        self.function = instr.params["rule"] if instr.prim is host_call else None
        self.name = (
            instr.prim.name if self.function is None else rule_name(self.function)
        )
        self.pairs = pairs
        self.outs = tuple(outs)
        self.native = getattr(self.function, "native", None)
        if self.native is not None:
            flags = (*[aval.dtype.kind == "c" for aval in outs], *pairs)
            self.native = replace(self.native, pairs=flags)
        if self.function is not None:
            self.trusted = False
        if instr.prim.into is not None:
            self.into = self._into

    def run(self, *arrays: Any) -> tuple:
        found = evaluate(self.prim, self._operands(arrays), self.params)
        return tuple(map(_in_memory, found))

    def _operands(self, arrays: Sequence[Any]) -> list[Any]:
        pairs = zip(arrays, self.pairs, strict=True)
        return [_as_complex(a)[()] if pair else a for a, pair in pairs]

    def _into(self, outs: Sequence[Any], *arrays: Any) -> None:
        typed = [
            _as_complex(out) if aval.dtype.kind == "c" else out
            for out, aval in zip(outs, self.outs, strict=True)
        ]
        self.prim.into(typed, *self._operands(arrays), **self.params)  # type: ignore


def _as_complex(both: np.ndarray) -> np.ndarray:
    """Parts side by side as complex numbers, without a copy."""
    return both.view(complex_of(both.dtype)).reshape(both.shape[:-1])


def _in_memory(value: Any) -> Any:
    """A complex result as NumPy stores it, its parts along a last axis."""
    if value.dtype.kind != "c":
        return value
    array = np.ascontiguousarray(value).reshape(*np.shape(value), 1)
    return array.view(real_of(array.dtype))


def _hosted(
    builder: Builder, instr: Instr, args: Sequence[Any], outs: Sequence[Aval]
) -> tuple[Ref | Pair, ...]:
    pairs = tuple(isinstance(a, Pair) for a in args)
    given = [joined(a) if isinstance(a, Pair) else a for a in args]
    stored = [
        Aval((*a.shape, 2), real_of(a.dtype)) if a.dtype.kind == "c" else a
        for a in outs
    ]
    params = {
        "rule": _Reference(instr, pairs, outs),
        "outs": tuple(repr(aval) for aval in stored),
    }
    results = builder.emit(host_call, given, params)
    return tuple(
        apart(result) if aval.dtype.kind == "c" else result
        for result, aval in zip(results, outs, strict=True)
    )


def _by_parts(instr: Instr, args: Sequence[Any]) -> Pair:
    prim, params = instr.prim, instr.params
    pairs = [a for a in args if isinstance(a, Pair)]
    re, im = [
        prim(*[a[k] if isinstance(a, Pair) else a for a in args], **params)
        for k in (0, 1)
    ]
    return Pair(re, im, all(p.flat for p in pairs))


def _iota(builder: Builder, *, shape: Any, axis: int, dtype: np.dtype) -> tuple:
    params = {"shape": shape, "axis": axis, "dtype": real_of(dtype)}
    re = builder.emit(iota, (), params)
    zero = builder.const(0, re.dtype)
    return (Pair(re, broadcast_to(zero, shape=shape), True),)


def _dot(builder: Builder, a: Pair, b: Pair, **params: Any) -> tuple:
    """Four real products; two if one side is real by construction."""

    def product(x: Ref, y: Ref) -> Any:
        return dot(x, y, **params)

    re, im = product(a.re, b.re), None
    if not (a.flat or b.flat):
        re = re - product(a.im, b.im)
    if not b.flat:
        im = product(a.re, b.im)
    if not a.flat:
        other = product(a.im, b.re)
        im = other if im is None else im + other
    if im is None:
        zero = builder.const(0, re.dtype)
        im = broadcast_to(zero, shape=re.shape) if re.shape else zero
    return (Pair(re, im, a.flat and b.flat),)


def _prod(builder: Builder, z: Pair, *, axes: tuple[int, ...]) -> tuple:
    """A loop over the reduced axes, since the parts meet in every step."""
    kept = tuple(i for i in range(z.re.ndim) if i not in axes)
    shape = tuple(z.re.shape[i] for i in kept)
    trip = math.prod(z.re.shape[i] for i in axes)
    rows = _rows(z, (*axes, *kept), (trip, *shape))
    re, im, *_ = _running(builder, rows)
    return (Pair(re, im),)


def _cumprod(builder: Builder, z: Pair, *, axis: int) -> tuple:
    perm = (axis, *[i for i in range(z.re.ndim) if i != axis])
    shape = tuple(z.re.shape[i] for i in perm)
    if not math.prod(shape):
        return (z,)
    stacks = _running(builder, _rows(z, perm, shape))[2:]
    re, im = [transpose(s, perm=inverse(perm)) for s in stacks]
    return (Pair(re, im),)


def _rows(z: Pair, perm: tuple[int, ...], shape: tuple[int, ...]) -> Pair:
    re, im = [reshape(transpose(p, perm=perm), shape=shape) for p in z[:2]]
    return Pair(re, im)


def _running(builder: Builder, rows: Pair) -> tuple[Ref, ...]:
    """The product along the first axis, and all the products on the way."""
    aval = type(rows.re.aval)(rows.re.shape[1:], rows.re.dtype)
    counter = type(aval)((), np.dtype(np.int64))
    body = Builder("product")
    body.input(counter)
    state = Pair(body.input(aval), body.input(aval))
    found = mul(state, Pair(body.input(aval), body.input(aval)))
    tape = body.finish([found.re, found.im, found.re, found.im])
    start = [builder.const(n, aval.dtype) for n in (1, 0)]
    if aval.shape:
        start = [broadcast_to(s, shape=aval.shape) for s in start]
    params = {
        "body": tape,
        "trip": rows.re.shape[0],
        "consts": 0,
        "carries": 2,
        "reverse": False,
    }
    return builder.emit(loop, [*start, rows.re, rows.im], params)


_RULES: dict[str, Rule] = {
    "iota": _iota,
    "dot": _dot,
    "prod": _prod,
    "cumprod": _cumprod,
}
