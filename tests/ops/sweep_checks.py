"""What must hold for one row and one sample: the checks of the registry sweep.

Derivatives are compared with complex steps where the reference is analytic and takes
complex operands, and with five-point differences everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracejit.avals import aval_of, is_float
from tracejit.interpret import evaluate, interpret, verify
from tracejit.passes.batching import batch
from tracejit.passes.jvp import jvp
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.primitive import Primitive
from tracejit.tape import Builder, Ref, Tape
from tracejit.text import parse_tape, print_tape

Arrays = Sequence[np.ndarray]

#: Operands that a row refuses to be differentiated by.
REFUSED = {
    "zeta": {0},
    "expn": {0},
    **{name: {0} for name in ("jv", "yv", "iv", "ive", "kv", "kve")},
}
#: References that take complex numbers and are not analytic in them, or compute with
#: them another way (a Schur form mixes tiny imaginary parts into the real ones).
NOT_ANALYTIC = set(
    "abs cast complex complex_expi cholesky complete_qr eig eigvals eigh eigvalsh expi"
    " ive jv lstsq pinv qr slogdet svd svdvals sylvester yv".split()
)


class Case:
    """A row, one sample, and the tape builder that holds the row's instr."""

    def __init__(
        self,
        prim: Primitive,
        arrays: Arrays,
        params: dict[str, Any],
        twice: bool = False,
    ) -> None:
        refused = set(REFUSED.get(prim.name, ()))
        self.prim, self.arrays, self.params = prim, list(arrays), params
        self.builder = Builder(prim.name)
        self.ins = [self.builder.input(aval_of(a)) for a in arrays]
        out = self.builder.emit(prim, self.ins, params)
        self.outs: tuple[Ref, ...] = out if isinstance(out, tuple) else (out,)
        self.wrt = [
            i
            for i, ref in enumerate(self.ins)
            if is_float(ref.aval) and i not in refused
        ]
        self.moving = [o for o in self.outs if is_float(o.aval)]

    def input_like(self, refs: Sequence[Ref]) -> list[Ref]:
        return [self.builder.input(ref.aval) for ref in refs]

    def finish(self, refs: Sequence[Ref | None]) -> Tape:
        found = [ref for ref in refs if ref is not None]
        return verify(self.builder.finish(found))


def random_like(rng: np.random.Generator, refs: Sequence[Ref]) -> list[np.ndarray]:
    return [direction(rng, r) for r in refs]


def direction(rng: np.random.Generator, like: Ref) -> np.ndarray:
    """Random numbers; of complex ones both parts."""
    found = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        found = found + 1j * rng.normal(size=like.shape)
    return np.asarray(found).astype(like.dtype)


def run(tape: Tape, refs: Sequence[Ref | None], arrays: Arrays) -> list[Any]:
    """The tape's outputs, zeros where a derivative was None."""
    found = iter(interpret(tape, arrays))
    return [None if ref is None else np.asarray(next(found)) for ref in refs]


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """What a cotangent makes of a tangent: Re(ct * t), summed."""
    return sum(
        float(np.sum(x * y).real)
        for x, y in zip(xs, ys, strict=True)
        if x is not None and y is not None
    )


def five_point(function: Callable[[float], np.ndarray], h: float = 1e-3) -> Any:
    """Derivative at 0, with error of order h**4."""
    near = function(h) - function(-h)
    far = function(2 * h) - function(-2 * h)
    return (8 * near - far) / (12 * h)


def close(actual: Any, expected: Any, tolerance: float) -> None:
    """Equal to `tolerance`, relative to the largest element; None is zeros."""
    actual = np.zeros_like(expected) if actual is None else actual
    scale = 1.0 + np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


# --- value, abstract rule, text


def check_value(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """The reference gives what the abstract rule promises; the tape is well formed."""
    case = Case(prim, arrays, params)
    tape = case.finish(case.outs)
    with np.errstate(all="ignore"):
        values = evaluate(prim, list(arrays), params)
    assert [aval_of(v) for v in values] == [o.aval for o in case.outs]
    for value, answer in zip(values, interpret(tape, arrays), strict=True):
        np.testing.assert_array_equal(answer, value)
    text = print_tape(tape)
    again = parse_tape(text)
    assert print_tape(again) == text
    assert again.avals == tape.avals
    for value, answer in zip(values, interpret(again, arrays), strict=True):
        np.testing.assert_array_equal(answer, value)


# --- first and second order


def check_first_order(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """jvp against differences, vjp against jvp."""
    rng = np.random.default_rng(1)
    case = Case(prim, arrays, params)
    wrt = [case.ins[i] for i in case.wrt]
    tangents, cts = case.input_like(wrt), case.input_like(case.moving)
    pushed = jvp(case.builder, 0, wrt, tangents, case.moving)
    pulled = vjp(case.builder, case.moving, cts, wrt)
    refs = [*pushed, *pulled]
    ts, us = random_like(rng, wrt), random_like(rng, case.moving)
    tape = case.finish(refs)
    answers = run(tape, refs, [*arrays, *ts, *us])
    forward, backward = answers[: len(pushed)], answers[len(pushed) :]

    moving = [i for i, o in enumerate(case.outs) if is_float(o.aval)]

    def moved(h: Any) -> list[np.ndarray]:
        xs = list(arrays)
        for i, t in zip(case.wrt, ts, strict=True):
            xs[i] = np.asarray(xs[i] + h * t)
        out = evaluate(prim, xs, params)
        return [np.asarray(out[i]) for i in moving]

    for k in range(len(moving)):
        close(forward[k], five_point(lambda h, k=k: moved(h)[k]), 1e-8)
    if prim.name not in NOT_ANALYTIC and not any(a.dtype.kind == "c" for a in arrays):
        try:
            exact = moved(1e-30j)
        except (TypeError, ValueError):
            exact = []
        for k, value in enumerate(exact):
            close(forward[k], np.imag(value) / 1e-30, 1e-11)
    for u, f in zip(us, forward, strict=True):
        assert f is None or u.shape == f.shape
    left, right = inner(us, forward), inner(ts, backward)
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)
    simple = interpret(verify(simplify(tape)), [*arrays, *ts, *us])
    for a, b in zip(simple, [x for x in answers if x is not None], strict=True):
        np.testing.assert_array_equal(a, b)


def check_second_order(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """jvp of the vjp against differences of the vjp, and against vjp of the vjp."""
    rng = np.random.default_rng(2)
    case = Case(prim, arrays, params, twice=True)
    wrt = [case.ins[i] for i in case.wrt]
    cts, tangents = case.input_like(case.moving), case.input_like(wrt)
    gradient = vjp(case.builder, case.moving, cts, wrt)
    us, ts = random_like(rng, case.moving), random_like(rng, wrt)
    inputs = [*arrays, *us, *ts]
    first = case.finish(gradient)
    pushed = jvp(case.builder, 0, wrt, tangents, [g for g in gradient if g])
    pairs = [(g, t) for g, t in zip(gradient, tangents, strict=True) if g is not None]
    pulled = vjp(case.builder, [g for g, _ in pairs], [t for _, t in pairs], wrt)
    filled = iter(pushed)
    forward_refs = [None if g is None else next(filled) for g in gradient]
    refs = [*forward_refs, *pulled]
    answers = run(case.finish(refs), refs, inputs)
    forward, backward = answers[: len(wrt)], answers[len(wrt) :]

    def moved(h: float) -> list[Any]:
        xs = list(inputs)
        for i, t in zip(case.wrt, ts, strict=True):
            xs[i] = np.asarray(xs[i] + h * t)
        return run(first, gradient, xs)

    for k, g in enumerate(gradient):
        if g is not None:
            close(forward[k], five_point(lambda h, k=k: moved(h)[k]), 2e-7)
            shape = np.shape(forward[k]) if forward[k] is not None else wrt[k].shape
            assert shape == wrt[k].shape
    for a, b in zip(forward, backward, strict=True):
        if a is not None or b is not None:
            expected = np.zeros_like(a) if b is None else b
            close(a, expected, 1e-8)


def check_dtype(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """No instr of a float32 derivative is float64."""
    case = Case(prim, arrays, params)
    wrt = [case.ins[i] for i in case.wrt]
    cts, tangents = case.input_like(case.moving), case.input_like(wrt)
    gradient = vjp(case.builder, case.moving, cts, wrt)
    pushed = jvp(case.builder, 0, wrt, tangents, case.moving)
    tape = case.finish([*gradient, *pushed])
    assert all(aval.dtype != np.float64 for aval in tape.avals), tape


# --- batching


def check_batch(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """Every choice of batched operands against a Python loop."""
    case = Case(prim, arrays, params)
    size = 3
    for choice in range(1, 2 ** len(arrays)):
        flags = [bool(choice >> i & 1) for i in range(len(arrays))]
        marked = list(zip(arrays, flags, strict=True))
        stacks = [variants(a, size) if flag else a for a, flag in marked]
        builder = Builder("batched")
        refs = [builder.input(aval_of(s)) for s in stacks]
        env = {ref.index: new for ref, new in zip(case.ins, refs, strict=True)}
        batched = {r.index for r, f in zip(case.ins, flags, strict=True) if f}
        env, batched = batch(builder, case.builder.instrs, env, batched)
        assert all(o.index in batched for o in case.outs)
        tape = verify(builder.finish([env[o.index] for o in case.outs]))
        answers = interpret(tape, stacks)
        for k, answer in enumerate(answers):
            loop = []
            for i in range(size):
                pairs = zip(stacks, flags, strict=True)
                one = [s[i] if flag else s for s, flag in pairs]
                loop.append(evaluate(prim, one, params)[k])
            expected = np.stack(loop)
            assert aval_of(answer) == aval_of(expected)
            single = expected.dtype in (np.float32, np.complex64)
            tolerance = 1e-5 if single else 1e-12
            np.testing.assert_allclose(answer, expected, tolerance, tolerance)


def check_batched_vjp(prim: Primitive, arrays: Arrays, params: dict[str, Any]) -> None:
    """The vjp with a batch of cotangents, as for a Jacobian."""
    rng = np.random.default_rng(3)
    case = Case(prim, arrays, params)
    wrt = [case.ins[i] for i in case.wrt]
    cts = case.input_like(case.moving)
    start = len(case.builder.instrs)
    gradient = [g for g in vjp(case.builder, case.moving, cts, wrt) if g is not None]
    one = case.finish(gradient)
    builder = Builder("jacobian")
    env = {r.index: builder.input(r.aval) for r in case.ins}
    size = 2
    batched = set()
    for ct in cts:
        aval = type(ct.aval)((size, *ct.shape), ct.dtype)
        env[ct.index] = builder.input(aval)
        batched.add(ct.index)
    env, _ = batch(builder, case.builder.instrs[:start], env, batched)
    env, batched = batch(builder, case.builder.instrs[start:], env, batched)
    tape = verify(builder.finish([env[g.index] for g in gradient]))
    stacks = [np.stack(random_like(rng, [c, c])) for c in cts]
    answers = interpret(tape, [*arrays, *stacks])
    for i in range(size):
        expected = interpret(one, [*arrays, *[s[i] for s in stacks]])
        for g, a, e in zip(gradient, answers, expected, strict=True):
            close(a[i] if g.index in batched else a, e, 1e-12)


def variants(array: np.ndarray, size: int) -> np.ndarray:
    """Different arrays that are as valid as `array`: reorder indices, scale floats."""
    if array.dtype.kind in "fc":
        return np.stack([array * f for f in (1.0, 0.9, 1.05)[:size]]).astype(
            array.dtype
        )
    return np.stack([np.roll(array, i) for i in range(size)])
