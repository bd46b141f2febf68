"""Every statement: the kernel against its own printed source."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import kernel
from tracejit.program import Affine, Program

from .programs import BOOL, F32, F64, I64, Make, call_kernel, call_source, same

pytestmark = pytest.mark.compiles
NAN = float("nan")


def gradient(n: int, dtype=F64) -> Program:
    """The sum of x**2 * exp(x), and its gradient."""
    m = Make()
    x, g = m.arg((n,), dtype), m.out((n,), dtype)
    two = m.const(2.0, dtype)
    acc = m.accumulator(m.const(0.0, dtype))
    with m.loop(n) as i:
        v = m.load(x, i)
        e = m.let("exp", v)
        y = m.let("mul", m.let("square", v), e)
        m.accumulate(acc, "sum", y)
        m.store(g, i, value=m.let("add", m.let("mul", m.let("mul", two, v), e), y))
    return m.returns(m.read(acc, dtype))


def reductions(n: int, dtype=F64) -> Program:
    m = Make()
    x = m.arg((n,), dtype)
    kinds = {"sum": 0, "prod": 1, "max": -100, "min": 100}
    accs = {k: m.accumulator(m.const(v, dtype)) for k, v in kinds.items()}
    last = m.accumulator(m.const(0, dtype))
    flags = {k: m.accumulator(m.const(v, BOOL)) for k, v in (("any", 0), ("all", 1))}
    one = m.const(1, dtype)
    with m.loop(n) as i:
        v = m.load(x, i)
        for kind, acc in accs.items():
            m.accumulate(acc, kind, v)
        m.accumulate(last, "set", v)
        big = m.let("gt", v, one, dtype=BOOL)
        for kind, acc in flags.items():
            m.accumulate(acc, kind, big)
    results = [m.read(a, dtype) for a in (*accs.values(), last)]
    results += [m.read(a, BOOL) for a in flags.values()]
    return m.returns(*results)


def matrix(rows: int, cols: int) -> Program:
    """Row sums in a workspace, a transposed copy, a product with a vector."""
    m = Make()
    a, v = m.arg((rows, cols)), m.arg((cols,))
    t, y = m.out((cols, rows)), m.out((rows,))
    sums = m.work((rows,))
    zero = m.const(0.0)
    with m.loop(rows) as i:
        acc, total = m.accumulator(zero), m.accumulator(zero)
        with m.loop(cols) as j:
            e = m.load(a, i, j)
            m.accumulate(acc, "sum", e)
            m.accumulate(total, "sum", m.let("mul", e, m.load(v, j)))
            m.store(t, j, i, value=e)
        m.store(sums, i, value=m.read(acc))
        m.store(y, i, value=m.read(total))
    with m.loop(rows) as i:
        m.store(y, i, value=m.load(sums, i), add=True)
    return m.returns()


def scalars() -> Program:
    """Scalar inputs of four dtypes, one of them returned as it is."""
    m = Make()
    a, b, c, d = (m.arg((), t) for t in (F64, F32, I64, BOOL))
    x, k, flag = m.load(a), m.load(c), m.load(d)
    y = m.let("cast", m.load(b), dtype=F64)
    z = m.let("select", flag, x, y)
    w = m.let("add", k, m.const(10**12, I64))
    return m.returns(
        z, w, m.let("cast", z, dtype=F32), flag, m.let("logical_not", flag), b, z
    )


def gathered(n: int, k: int) -> Program:
    """x[index], and the counts of each index: gathered reads and writes."""
    m = Make()
    x, index = m.arg((n,)), m.arg((k,), I64)
    y, counts = m.out((k,)), m.out((n,))
    zero, one = m.const(0.0), m.const(1.0)
    with m.loop(n) as i:
        m.store(counts, i, value=zero)
    with m.loop(k) as i:
        j = m.load(index, i)
        m.store(y, i, value=m.load(x, ("value", j)))
        m.store(counts, ("value", j), value=one, add=True)
    return m.returns()


def strided(n: int) -> Program:
    """Backwards, every second, and the counter itself."""
    m = Make()
    x, y, z = m.arg((n,)), m.out((n // 2,)), m.out((n,), I64)
    with m.loop(n // 2) as i:
        m.store(y, i, value=m.load(x, Affine(i.var, -2, n - 1)))
    with m.loop(n) as i:
        m.store(z, i, value=m.counter(Affine(i.var, 3, -20)))
    return m.returns(y, m.counter(17))


def small() -> Program:
    """A local array, filled and read by unrolled loops."""
    m = Make()
    x = m.arg((3, 2))
    local = m.local((2, 3))
    with m.loop(3) as i, m.loop(2) as j:
        m.store(local, j, i, value=m.load(x, i, j))
    acc = m.accumulator(m.const(0.0))
    with m.loop(2) as i, m.loop(3, lo=1) as j:
        m.accumulate(acc, "sum", m.let("powi", m.load(local, i, j), n=5))
    return m.returns(m.read(acc), m.let("powi", m.load(local, 1, 2), n=-3))


def bools(n: int) -> Program:
    m = Make()
    x, mask, y = m.arg((n,)), m.arg((n,), BOOL), m.out((n,), BOOL)
    zero = m.const(0.0)
    with m.loop(n) as i:
        big = m.let("gt", m.load(x, i), zero, dtype=BOOL)
        m.store(y, i, value=m.let("logical_xor", big, m.load(mask, i)))
    return m.returns()


RNG = np.random.default_rng(5)
CASES = {
    "gradient": (gradient(40), [RNG.normal(size=40)]),
    "gradient f32": (gradient(40, F32), [RNG.normal(size=40).astype("f4")]),
    "gradient of 3": (gradient(3), [RNG.normal(size=3)]),
    "gradient of none": (gradient(0), [np.zeros(0)]),
    "reductions": (reductions(33), [RNG.normal(size=33)]),
    "reductions f32": (reductions(33, F32), [RNG.normal(size=33).astype("f4")]),
    "reductions i64": (reductions(33, I64), [RNG.integers(-5, 9, size=33)]),
    "reductions i32": (
        reductions(33, np.dtype("i4")),
        [RNG.integers(-5, 9, size=33).astype("i4")],
    ),
    "reductions with nan": (reductions(40), [np.r_[1.0, NAN, np.ones(38)]]),
    "reductions with inf": (reductions(40), [np.r_[1.0, np.inf, -np.ones(38)]]),
    "reductions of none": (reductions(0), [np.zeros(0)]),
    "matrix": (matrix(11, 13), [RNG.normal(size=(11, 13)), RNG.normal(size=13)]),
    "small matrix": (matrix(2, 13), [RNG.normal(size=(2, 13)), RNG.normal(size=13)]),
    "scalars": (scalars(), [1.5, np.float32(2.5), 7, True]),
    "numpy scalars": (
        scalars(),
        [np.float64(1.5), 2.5, np.int64(-7), np.bool_(False)],
    ),
    "gathered": (
        gathered(9, 20),
        [RNG.normal(size=9), RNG.integers(0, 9, size=20)],
    ),
    "strided": (strided(20), [RNG.normal(size=20)]),
    "small": (small(), [RNG.normal(size=(3, 2))]),
    "bools": (bools(30), [RNG.normal(size=30), RNG.normal(size=30) > 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_source(name):
    program, args = CASES[name]
    same(call_kernel(program, args), call_source(program, args))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gradient", "reductions", "matrix", "scalars", "small"]
)
def test_source_runs_under_njit(name):
    program, args = CASES[name]
    same(
        call_source(program, args, compiled=True),
        call_source(program, args),
        kinds=True,
    )


def test_sums_are_numpys():
    x = RNG.normal(size=1000)
    status, outcome, (g, total) = call_kernel(gradient(1000), [x])
    assert (status, outcome) == (0, None)
    np.testing.assert_allclose(total, np.sum(x**2 * np.exp(x)), rtol=1e-13)
    np.testing.assert_allclose(g, (2 * x + x**2) * np.exp(x), rtol=1e-13)


def guarded() -> Program:
    """Two guards, a bool and an integer, and a check."""
    m = Make()
    x, k = m.load(m.arg((), F64)), m.load(m.arg((), I64))
    zero = m.const(0.0)
    m.exit(m.let("gt", x, zero, dtype=BOOL), True, 0)
    m.exit(k, 12, 1)
    m.check(m.let("lt", x, m.const(100.0), dtype=BOOL))
    m.exit(m.let("gt", x, m.const(50.0), dtype=BOOL), False, 2)
    return m.returns(m.let("sqrt", x), m.out((2,)))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((-1.0, 12), (1, False)),
        ((4.0, 13), (2, 13)),
        ((4.0, -3), (2, -3)),
        ((200.0, 12), (-1, None)),
        ((60.0, 12), (3, True)),
        ((4.0, 12), (0, None)),
        ((NAN, 12), (1, False)),
    ],
)
def test_guards(args, expected):
    program = guarded()
    program.outputs.pop()  # the array is there to be given back on failure
    status, outcome, outputs = call_kernel(program, args)
    assert (status, outcome) == expected
    assert type(outcome) is type(expected[1])
    assert (outputs is None) == (status != 0)
    plain = call_source(program, args)
    assert plain[0] == status
    if status > 0:
        assert plain[1] == outcome


def test_outputs_are_numpys_scalars_and_fresh_arrays():
    program, args = CASES["scalars"]
    outputs = call_kernel(program, args)[2]
    types = [type(v) for v in outputs]
    assert types == [
        np.float64, np.int64, np.float32, np.bool_, np.bool_, np.float32, np.float64,
    ]  # fmt: skip
    assert outputs[0] is outputs[-1]


def test_inputs_as_outputs_are_copied():
    m = Make()
    x, c = m.arg((20,)), m.arg((3, 4), capture=True)
    program = m.returns(x, c, x)
    a, b = RNG.normal(size=20), RNG.normal(size=(3, 4))
    first, second, third = call_kernel(program, [a, b])[2]
    np.testing.assert_array_equal(first, a)
    np.testing.assert_array_equal(second, b)
    assert first is third
    assert not np.shares_memory(first, a)
    assert not np.shares_memory(second, b)


@pytest.mark.parametrize("wrong", ["text", None, 1j])
def test_a_scalar_of_a_wrong_type_raises(wrong):
    m = Make()
    program = m.returns(m.let("exp", m.load(m.arg(()))))
    with pytest.raises(TypeError):
        call_kernel(program, [wrong])


def test_a_wrong_number_of_arguments_raises():
    with pytest.raises(TypeError):
        call_kernel(gradient(40), [])


def test_plain_arithmetic_is_numpys_to_the_bit():
    """A product that is compared or subtracted is never part of a fused one."""
    m = Make()
    a, b, c = (m.arg((100,)) for _ in range(3))
    y, z = m.out((100,)), m.out((100,))
    with m.loop(100) as i:
        u, v, w = m.load(a, i), m.load(b, i), m.load(c, i)
        m.store(y, i, value=m.let("sub", m.let("mul", u, v), w))
        m.store(z, i, value=m.let("add", m.let("square", u), m.let("mul", v, w)))
    args = [RNG.normal(size=100) for _ in range(3)]
    left, right = call_kernel(m.returns(), args)[2]
    np.testing.assert_array_equal(left, args[0] * args[1] - args[2])
    np.testing.assert_array_equal(right, args[0] ** 2 + args[1] * args[2])


def test_the_place_of_a_maximum_is_found_again():
    """What is computed twice has the same bits both times."""
    m = Make()
    a, b, c, hits = m.arg((100,)), m.arg((100,)), m.arg((100,)), m.out((100,), BOOL)
    top = m.accumulator(m.const(-np.inf))

    def value(i):
        return m.let("add", m.let("mul", m.load(a, i), m.load(b, i)), m.load(c, i))

    with m.loop(100) as i:
        m.accumulate(top, "max", value(i))
    best = m.read(top)
    with m.loop(100) as i:
        v = value(i)
        m.store(hits, i, value=m.let("eq", v, best, dtype=BOOL))
    args = [RNG.normal(size=100) for _ in range(3)]
    assert call_kernel(m.returns(), args)[2][0].sum() == 1


def test_products_that_are_only_summed_are_fused():
    m = Make()
    a, b = m.arg((100,)), m.arg((100,))
    acc = m.accumulator(m.const(0.0))
    with m.loop(100) as i:
        m.accumulate(acc, "sum", m.let("mul", m.load(a, i), m.load(b, i)))
    program = m.returns(m.read(acc))
    assert "fmul contract" in kernel.compile_program(program, []).kernel.assembly
    a, b = np.full(100, 0.1), np.full(100, 0.1)
    np.testing.assert_allclose(call_kernel(program, [a, b])[2][0], 1.0, rtol=1e-14)
