"""np.linalg of complex matrices: values, and derivatives in both modes."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import grad, jit
from tracejit.interpret import interpret
from tracejit.passes.jvp import jvp
from tracejit.passes.vjp import vjp
from tracejit.tape import Builder
from tracejit.testing import check_grads
from tracejit.tracer import Recorder, recording

RNG = np.random.default_rng(11)


def draw(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def herm(x):
    return np.conj(np.swapaxes(x, -1, -2))


SQUARE = draw(3, 3) + 3 * np.eye(3)
STACK = draw(2, 3, 3) + 3 * np.eye(3)
TALL, WIDE = draw(4, 2), draw(2, 4)
POSITIVE = SQUARE @ herm(SQUARE)
HERMITIAN = SQUARE + herm(SQUARE)
RIGHT = draw(3, 2)


def fixed(v):
    """Vectors, up to their phase: the projectors on them."""
    return v[..., :, None, :] * np.conj(v)[..., None, :, :]


# Vectors are compared and differentiated through what their phases do not change.
CASES = {
    "solve": (np.linalg.solve, SQUARE, RIGHT),
    "solve stacked": (np.linalg.solve, STACK, draw(2, 3, 1)),
    "solve real": (np.linalg.solve, SQUARE, RIGHT.real),
    "inv": (np.linalg.inv, STACK),
    "det": (np.linalg.det, STACK),
    "slogdet": (lambda a: tuple(np.linalg.slogdet(a)), STACK),
    "cholesky": (np.linalg.cholesky, POSITIVE),
    "cholesky upper": (lambda a: np.linalg.cholesky(a, upper=True), POSITIVE),
    "cholesky solve": (
        lambda a, b: np.linalg.solve(np.linalg.cholesky(a), b),
        POSITIVE,
        RIGHT,
    ),
    "eigvalsh": (np.linalg.eigvalsh, HERMITIAN),
    "eigvalsh upper": (lambda a: np.linalg.eigvalsh(a, "U"), HERMITIAN),
    "eigh": (lambda a: fixed(np.linalg.eigh(a)[1]), HERMITIAN),
    "svdvals": (lambda a: np.linalg.svd(a, compute_uv=False), TALL),
    "svd": (lambda a: fixed(np.linalg.svd(a, False)[0]), TALL),
    "svd of wide": (lambda a: fixed(herm(np.linalg.svd(a, False)[2])), WIDE),
    "svd product": (lambda a: matrices(np.linalg.svd(a, False)), SQUARE),
    "nuclear norm": (lambda a: np.linalg.norm(a, "nuc"), TALL),
    "norm": (np.linalg.norm, STACK),
    "spectral norm": (lambda a: np.linalg.norm(a, 2), SQUARE),
    "svd full": (lambda a: beyond(np.linalg.svd(a)[0]), TALL),
    "svd full of wide": (lambda a: beyond(herm(np.linalg.svd(a)[2])), WIDE),
    "qr complete": (lambda a: beyond(np.linalg.qr(a, "complete")[0]), TALL),
    "qr": (lambda a: tuple(np.linalg.qr(a)), TALL),
    "qr square": (lambda a: tuple(np.linalg.qr(a)), SQUARE),
    "qr of wide": (lambda a: tuple(np.linalg.qr(a)), WIDE),
    "pinv": (np.linalg.pinv, TALL),
    "pinv of wide": (np.linalg.pinv, WIDE),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b)[0], TALL, draw(4, 2)),
    "lstsq of wide": (lambda a, b: np.linalg.lstsq(a, b)[0], WIDE, draw(2)),
    "cond": (np.linalg.cond, SQUARE),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, 3), SQUARE),
    "matrix_power of the inverse": (lambda a: np.linalg.matrix_power(a, -2), SQUARE),
    "eigvals": (np.linalg.eigvals, SQUARE),
    "eig": (lambda a: fixed(np.linalg.eig(a)[1]), SQUARE),
    "eigvals of real": (
        lambda a: np.linalg.eigvals(a) ** 2,
        np.array([[1.0, 2.0, 0.0], [-3.0, 0.5, 1.0], [0.2, 0.1, 4.0]]),
    ),
    "eigvals that are real": (np.linalg.eigvals, np.diag([1.0, 3.0, 6.0]) + 0.1),
    "eig that is real": (
        lambda a: tuple(np.linalg.eig(a)),
        np.diag([1.0, 3.0, 6.0]) + 0.1 * RNG.normal(size=(3, 3)),
    ),
}


def beyond(u):
    """The projection on what completes a basis; WIDE and TALL have rank 2."""
    return u[..., 2:] @ herm(u[..., 2:])


def matrices(svd):
    u, s, vh = svd
    return u @ vh, (u * s) @ vh


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name):
    """On the interpreter: value, forward mode, reverse mode, each against NumPy."""
    f, *args = CASES[name]
    rec = Recorder("f")
    with recording(rec):
        out = f(*[rec.input_tracer(a) for a in args])
    outs = list(out) if isinstance(out, tuple) else [out]
    tape = rec.finish_trace([o.ref for o in outs])
    values = interpret(tape, [*args, *rec.captures])
    for value, expected in zip(values, as_tuple(f(*args)), strict=True):
        assert value.dtype == expected.dtype
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-10)

    builder = Builder("derivatives")
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    for instr in tape.instrs:
        builder.replay(instr, env)
    xs = [env[ref] for ref in tape.inputs[: len(args)]]
    ys = [env[ref] for ref in tape.outputs]
    ts = [random_like(a) for a in args]
    us = [random_like(v) for v in values]
    tangents = [builder.input(x.aval) for x in xs]
    cts = [builder.input(y.aval) for y in ys]
    pushed = jvp(builder, 0, xs, tangents, ys)
    pulled = vjp(builder, ys, cts, xs)
    finished = builder.finish([*pushed, *pulled])
    answers = interpret(finished, [*args, *rec.captures, *ts, *us])
    moved, back = answers[: len(ys)], answers[len(ys) :]
    h = 1e-3

    def at(k):
        return as_tuple(f(*[a + k * h * t for a, t in zip(args, ts, strict=True)]))

    for i, move in enumerate(moved):
        numeric = 8 * (at(1)[i] - at(-1)[i]) - (at(2)[i] - at(-2)[i])
        np.testing.assert_allclose(move, numeric / (12 * h), rtol=1e-6, atol=1e-6)
    left = sum(np.sum(u * m).real for u, m in zip(us, moved, strict=True))
    right = sum(np.sum(t * b).real for t, b in zip(ts, back, strict=True))
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def random_like(a):
    found = RNG.normal(size=np.shape(a))
    if np.asarray(a).dtype.kind == "c":
        found = found + 1j * RNG.normal(size=np.shape(a))
    return np.asarray(found)[()]


@pytest.mark.compiles
def test_compiled():
    """One kernel with host calls, and loops around them."""

    def f(a, b):
        w, v = np.linalg.eigh(a @ herm(a))
        x = np.linalg.solve(a, b)
        return w, np.abs(v) ** 2, x * 2, np.linalg.det(a), np.linalg.svd(a)[1]

    for answer, expected in zip(jit(f)(SQUARE, RIGHT), f(SQUARE, RIGHT), strict=True):
        assert answer.dtype == expected.dtype
        np.testing.assert_allclose(answer, expected, rtol=1e-11)
    check_grads(lambda a: np.sum(np.abs(np.linalg.inv(a)) ** 2), (SQUARE,))
    check_grads(lambda a: np.linalg.slogdet(a)[1], (SQUARE,))


@pytest.mark.compiles
def test_the_dtype_of_eigenvalues_is_guarded():
    def f(a):
        w = np.linalg.eigvals(a)
        return w * 2

    g = jit(f)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    for a, traces in ((np.diag([1.0, 2.0]), 1), (turn, 2), (np.diag([3.0, 5.0]), 2)):
        answer = g(a)
        assert answer.dtype == f(a).dtype
        np.testing.assert_allclose(answer, f(a), rtol=1e-13)
        assert g.stats().traces == traces


@pytest.mark.compiles
def test_the_gradient_of_an_eigenvalue():
    a = np.array([[2.0, 1.0], [0.5, 3.0]])

    def largest(a):
        return np.max(np.linalg.eigvals(a))

    w, v = np.linalg.eig(a)
    k = np.argmax(w)
    left = np.linalg.inv(v)[k]
    np.testing.assert_allclose(grad(largest)(a), np.outer(left, v[:, k]), rtol=1e-12)
