"""Calls from a kernel back into Python: rows without a lowering, and `host_call`."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from pathlib import Path

import numpy as np
import pytest

from tests.random_tapes import random_tape
from tracejit.avals import Aval
from tracejit.errors import UnsupportedError
from tracejit.interpret import evaluate, interpret, verify
from tracejit.kernel import compile_tape
from tracejit.ops.host import host_call
from tracejit.passes import optimise
from tracejit.passes.batching import batch
from tracejit.passes.vjp import vjp
from tracejit.primitive import PRIMITIVES, Primitive
from tracejit.tape import Builder
from tracejit.text import parse_tape, print_tape

pytestmark = pytest.mark.compiles

F64 = np.dtype("f8")
X = np.linspace(-1.0, 2.0, 100)


class Table:
    """cos(x) * s and the sum of x, with a reverse rule; counts its calls."""

    name = "table"

    def __init__(self) -> None:
        self.calls = 0

    def run(self, x, s):
        self.calls += 1
        return np.cos(x) * s, x.sum()

    def vjp(self, builder, cts, outs, xs):
        x, s = xs
        found = None
        if cts[0] is not None:
            found = -cts[0] * PRIMITIVES["sin"](x) * s
        if cts[1] is not None:
            wide = PRIMITIVES["broadcast_to"](cts[1], shape=x.shape)
            found = wide if found is None else found + wide
        return [found, None]


def emit(builder, rule, *args, outs=("f64[100]", "f64[]")):
    return builder.emit(host_call, args, {"rule": rule, "outs": outs})


def program(rule):
    """%0: f64[100], %1: f64[]; compiled code on both sides of the call."""
    b = Builder("f")
    x, s = b.input(Aval((100,), F64)), b.input(Aval((), F64))
    y, total = emit(b, rule, x * 2.0, s + 1.0)
    return b, x, s, y, total


def tape_of(rule):
    b, x, s, y, total = program(rule)
    return verify(optimise(b.finish([y + x, total * s])))


def test_a_kernel_calls_the_function_between_compiled_loops():
    rule = Table()
    tape = tape_of(rule)
    executable = compile_tape(tape, [])
    status, _, (y, total) = executable.run(X, 3.0)
    assert status == 0
    assert np.allclose(y, np.cos(2 * X) * 4 + X, rtol=1e-14)
    assert np.isclose(total, 3 * (2 * X).sum())
    assert rule.calls == 1
    assert executable.hosts == ["table"]
    assert executable.kernel.stats["calls"] == 0
    assert executable.kernel.stats["loops"] == 2


def test_the_kernel_agrees_with_the_interpreter():
    tape = tape_of(Table())
    expected = interpret(tape, [X, np.float64(3)])
    for a, b in zip(compile_tape(tape, []).run(X, 3.0)[2], expected, strict=True):
        assert np.array_equal(a, b)


def test_the_text_parses_back():
    rule = Table()
    tape = tape_of(rule)
    text = print_tape(tape)
    assert "host_call %3 %5 {rule=<table>, outs=('f64[100]', 'f64[]')}" in text
    again = verify(parse_tape(text, {"table": rule}))
    assert print_tape(again) == text


def test_equal_calls_are_one_and_unused_calls_are_none():
    rule, b = Table(), Builder("f")
    x, s = b.input(Aval((100,), F64)), b.input(Aval((), F64))
    first, second = emit(b, rule, x, s), emit(b, rule, x, s)
    emit(b, rule, x * 2.0, s)
    tape = optimise(b.finish([first[0] + second[0]]))
    assert [i.prim.name for i in tape.instrs] == ["host_call", "add"]


def test_reverse_mode_asks_the_rule():
    rule = Table()
    b, x, _, y, total = program(rule)
    one = b.const(1.0, F64)
    ones = PRIMITIVES["broadcast_to"](one, shape=(100,))
    (found,) = vjp(b, [y, total], [ones, one], [x])
    tape = verify(optimise(b.finish([found])))
    (value,) = compile_tape(tape, []).run(X, 3.0)[2]
    assert np.allclose(value, -2 * np.sin(2 * X) * 4 + 2, rtol=1e-13)
    assert rule.calls == 0  # its result was not needed


def test_a_batch_calls_it_for_every_entry():
    rule = Table()
    b, x, _, y, total = program(rule)
    one = b.const(1.0, F64)
    ones = PRIMITIVES["broadcast_to"](one, shape=(100,))
    (slope,) = vjp(b, [y, total], [ones, one], [x])
    tape = b.finish([y, total, slope])
    outer = Builder("batched")
    xs = outer.input(Aval((3, 100), F64))
    scalar = outer.input(Aval((), F64))
    env = dict(zip(tape.inputs, (xs, scalar), strict=True))
    env, batched = batch(outer, tape.instrs, env, {tape.inputs[0]})
    assert batched.issuperset(tape.outputs)
    whole = verify(optimise(outer.finish([env[o] for o in tape.outputs])))
    many = np.stack([X, X + 1, X - 2])
    rows = compile_tape(whole, []).run(many, 3.0)[2]
    for k in range(3):
        single = interpret(tape, [many[k], np.float64(3)])
        for a, e in zip(rows, single, strict=True):
            assert np.allclose(a[k], e, rtol=1e-13)


def test_the_derivative_of_a_batch_is_the_batched_rule():
    outer, rule = Builder("batched"), Table()
    xs, scales = outer.input(Aval((3, 100), F64)), outer.input(Aval((3,), F64))
    inner = Builder("f")
    x, s = inner.input(Aval((100,), F64)), inner.input(Aval((), F64))
    y, _ = emit(inner, rule, x, s)
    env = {x.index: xs, s.index: scales}
    env, _ = batch(outer, inner.instrs, env, set(env))
    out = env[y.index]
    one = PRIMITIVES["broadcast_to"](outer.const(1.0, F64), shape=out.shape)
    (slope,) = vjp(outer, [out], [one], [xs])
    tape = verify(optimise(outer.finish([slope])))
    many, scale = np.stack([X, X + 1, X - 2]), np.array([1.0, 2.0, 3.0])
    (found,) = compile_tape(tape, []).run(many, scale)[2]
    assert np.allclose(found, -np.sin(many) * scale[:, None], rtol=1e-13)


LOOP = """
tape f(%0: f64[100], %1: f64[20]):
  %2: f64[100] = loop %0 %1 {trip=20, consts=0, carries=1, reverse=False}
    body: tape body(%0: i64[], %1: f64[100], %2: f64[]):
      %3: f64[100], %4: f64[] = host_call %1 %2 OPTIONS
      %5: f64[100] = add %3 %1
      return %5
  return %2
""".replace("OPTIONS", "{rule=<table>, outs=('f64[100]', 'f64[]')}")


def test_a_call_in_a_loop_stays_in_the_loop():
    rule = Table()
    tape = verify(parse_tape(LOOP, {"table": rule}))
    scales = np.linspace(0.1, 0.9, 20)
    executable = compile_tape(tape, [])
    (found,) = executable.run(X, scales)[2]
    expected = X
    for s in scales:
        expected = np.cos(expected) * s + expected
    assert np.allclose(found, expected, rtol=1e-13)
    assert rule.calls == 20
    assert executable.hosts == ["table"]


class Reference:
    """Any row's reference as a host function."""

    def __init__(self, instr) -> None:
        self.prim, self.params, self.name = instr.prim, instr.params, instr.prim.name

    def run(self, *arrays):
        return evaluate(self.prim, list(arrays), self.params)


@pytest.mark.parametrize("seed", range(16))
def test_any_instr_of_a_program_may_be_a_host_call(seed):
    tape, arrays = random_tape(seed, length=20)
    rng = np.random.default_rng(seed)
    b = Builder(tape.name)
    env = {ref: b.input(tape.avals[ref]) for ref in tape.inputs}
    hosted = 0
    for instr in tape.instrs:
        if not instr.args or rng.random() < 0.6:
            b.replay(instr, env)
            continue
        outs = tuple(repr(tape.avals[ref]) for ref in instr.outs)
        args = [env[a] for a in instr.args]
        found = emit(b, Reference(instr), *args, outs=outs)
        env.update(zip(instr.outs, found, strict=True))
        hosted += 1
    assert hosted
    mixed = verify(optimise(b.finish([env[ref] for ref in tape.outputs])))
    leaves = [a if a.ndim else a.item() for a in map(np.asarray, arrays)]
    results = compile_tape(mixed, []).run(*leaves)[2]
    for got, expected in zip(results, interpret(tape, arrays), strict=True):
        assert np.shape(got) == np.shape(expected)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


# --- errors --------------------------------------------------------------------------


class Failing(Table):
    def run(self, x, s):
        if s > 5:
            raise KeyError(f"no entry for {s}")
        return super().run(x, s)


def test_an_error_is_the_functions_own_with_its_traceback():
    call = compile_tape(tape_of(Failing()), []).call
    assert isinstance(call(X, 1.0), tuple)
    with pytest.raises(KeyError, match="no entry for 7") as caught:
        call(X, 6.0)
    lines = traceback.extract_tb(caught.value.__traceback__)
    assert lines[-1].name == "run"
    assert lines[-1].line.startswith("raise KeyError")
    assert isinstance(call(X, 1.0), tuple)  # the kernel goes on working


class Changing(Table):
    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def run(self, x, s):
        y, total = super().run(x, s)
        return self.change(y, total) if s > 5 else (y, total)


ADVICE = (
    " for operands of the same shapes when it was recorded. Let shapes and dtypes of"
    " the result depend on those of the arguments only, or make what decides on them a"
    " static argument."
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda y, t: (y[:50], t), "table returned f64[50], and f64[100]"),
        (lambda y, t: (y, np.float32(t)), "table returned f32[], and f64[]"),
        (lambda y, t: (y,), "table returned 1 value, and 2"),
    ],
)
def test_another_shape_or_dtype_than_recorded_is_an_error(change, text):
    tape = tape_of(Changing(change))
    call = compile_tape(tape, []).call
    assert isinstance(call(X, 1.0), tuple)
    with pytest.raises(UnsupportedError) as caught:
        call(X, 6.0)
    assert str(caught.value) == text + ADVICE
    with pytest.raises(UnsupportedError) as caught:
        interpret(tape, [X, np.float64(6)])
    assert str(caught.value) == text + ADVICE


def test_operands_may_be_kept_and_are_not_written():
    kept = []

    class Keeping(Table):
        def run(self, x, s):
            kept.append(x)
            return super().run(x, s)

    call = compile_tape(tape_of(Keeping()), []).call
    for shift in (0.0, 1.0, 2.0):
        call(X + shift, 1.0)
    for shift, seen in zip((0.0, 1.0, 2.0), kept, strict=True):
        assert np.array_equal(seen, 2 * (X + shift))

    class Writing(Table):
        def run(self, x, s):
            x[0] = 5.0
            return super().run(x, s)

    with pytest.raises(ValueError, match="read-only"):
        interpret(tape_of(Writing()), [X, np.float64(1)])


# --- threads, processes --------------------------------------------------------------


def test_two_threads_call_one_kernel_at_once():
    meeting = threading.Barrier(2, timeout=20)

    class Meeting(Table):
        def run(self, x, s):
            meeting.wait()  # both are inside
            return super().run(x, s)

    call = compile_tape(tape_of(Meeting()), []).call
    found = {}

    def work(k):
        found[k] = call(X + k, 1.0 + k)[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        expected = np.cos(2 * (X + k)) * (2.0 + k) + X + k
        assert np.allclose(found[k], expected, rtol=1e-13)


def test_a_function_may_call_its_own_kernel():
    class Recursive(Table):
        def run(self, x, s):
            if s > 2:
                return call(x / 2, s - 2)[0], np.float64(0)
            return super().run(x, s)

    call = compile_tape(tape_of(Recursive()), []).call
    inner = call(X, 2.0)[0]
    assert np.allclose(call(X, 3.0)[0], inner + X, rtol=1e-14)


PROCESS = """
import numpy as np
from tests.test_host_calls import Table, X, tape_of
from tracejit.kernel import compile_tape
executable = compile_tape(tape_of(Table()), [])
y, total = executable.run(X, 3.0)[2]
assert np.allclose(y, np.cos(2 * X) * 4 + X)
print(executable.compiled)
"""


@pytest.mark.processes
def test_a_kernel_from_disk_calls_this_process(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEJIT_CACHE", "1")
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    said = [
        subprocess.run(
            [sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


# --- rows without a lowering ---------------------------------------------------------


def host_row(name, family, reference, aval, **rules):
    return Primitive(name, family, reference, aval, host=True, **rules)


def test_a_row_may_be_its_reference():
    row = host_row(
        "singular_values",
        "linalg",
        lambda a: np.linalg.svd(a, compute_uv=False),
        lambda a: Aval((*a.shape[:-2], min(a.shape[-2:])), a.dtype),
    )
    b = Builder("f")
    a = b.input(Aval((4, 3), F64))
    values = b.emit(row, (a * 2.0,), {})
    tape = b.finish([PRIMITIVES["sum"](values * values, axes=(0,))])
    executable = compile_tape(tape, [])
    matrix = np.random.default_rng(0).normal(size=(4, 3))
    assert np.isclose(executable.run(matrix)[2][0], np.sum((2 * matrix) ** 2))
    assert executable.hosts == ["singular_values"]


def test_an_elementwise_row_broadcasts_in_its_reference():
    row = host_row(
        "floor_mod",
        "elementwise",
        np.fmod,
        lambda a, b: Aval(np.broadcast_shapes(a.shape, b.shape), a.dtype),
    )
    b = Builder("f")
    x, y = b.input(Aval((30, 1), F64)), b.input(Aval((20,), F64))
    z = b.input(Aval((), F64))
    out = b.emit(row, (x * 2.0, y), {})
    scalar = b.emit(row, (z, z + 2.0), {})
    tape = b.finish([out + scalar])
    u, v = np.linspace(1, 9, 30)[:, None], np.linspace(1, 2, 20)
    (found,) = compile_tape(tape, []).run(u, v, 5.0)[2]
    assert np.array_equal(found, np.fmod(2 * u, v) + 5.0)


def test_params_reach_the_reference():
    row = host_row("rolled", "structural", np.roll, lambda a, *, shift, axis: a)
    b = Builder("f")
    x = b.input(Aval((10, 10), F64))
    tape = b.finish([b.emit(row, (x + 1.0,), {"shift": 3, "axis": 1})])
    value = np.arange(100.0).reshape(10, 10)
    (found,) = compile_tape(tape, []).run(value)[2]
    assert np.array_equal(found, np.roll(value + 1, 3, axis=1))
