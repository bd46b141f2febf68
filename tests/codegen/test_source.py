"""The printed source: its form, and that it runs under `njit` to the same result."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.codegen.source import print_program

from .programs import BOOL, F32, I64, Make, call_kernel, call_source, same

RNG = np.random.default_rng(8)

PRINTED = """\
# arg0: f64[n0]
# arg1: f64[]
# arg2: f32[3]  captured
# out0: f64[n0]
# outputs: out0, v6, arg1
def kernel(arg0, arg1, arg2, out0, ints, floats):
    n0 = ints[0]
    c0 = floats[0]
    c1 = ints[1]
    c2 = np.bool_(ints[2])
    c3 = ints[3]
    s0 = c0
    for i0 in range(1, n0):
        v0 = arg0[i0 - 1]
        v1 = v0 * arg1
        out0[-1 * i0 + n0] = v1
        v2 = v1 > c0
        s0 = s0 + v1
        if v2 != c2:
            return c3, np.int64(v2), np.float64(0)
    v3 = arg2[2]
    v4 = np.float64(v3)
    v5 = s0
    v6 = v5 ** 3
    return 0, np.int64(0), v6
"""


def example(n: int):
    m = Make()
    x, factor, c = m.arg((n,)), m.arg(()), m.arg((3,), F32, capture=True)
    y = m.out((n,))
    zero = m.const(0.0)
    m.const(7, I64)
    acc = m.accumulator(zero)
    with m.loop(n, lo=1) as i:
        v = m.let("mul", m.load(x, i._replace(offset=-1)), m.load(factor))
        m.store(y, i._replace(step=-1, offset=n), value=v)
        positive = m.let("gt", v, zero, dtype=BOOL)
        m.accumulate(acc, "sum", v)
        m.exit(positive, True, 0)
    m.let("cast", m.load(c, 2), dtype=np.dtype("f8"))
    return m.returns(m.let("powi", m.read(acc), n=3), factor)


def test_the_canonical_text():
    assert print_program(example(100)).text == PRINTED
    assert print_program(example(7000)).text == PRINTED


def test_parameters_are_annotated_in_the_module():
    text = print_program(example(100)).module("title")
    assert text.startswith("# title\nimport numpy as np\n")
    assert (
        "    n0 = ints[0]  # 100\n    c0 = floats[0]  # 0.0\n    c1 = ints[1]  # 7\n"
        in text
    )


def test_a_long_signature_is_wrapped():
    m = Make()
    for _ in range(20):
        m.arg((3,))
    text = print_program(m.returns()).text
    assert "def kernel(\n    arg0, arg1," in text
    assert max(map(len, text.splitlines())) <= 88


def linear_algebra():
    """Every routine once, in one program."""
    m = Make()
    n = 12
    a, b = m.arg((2, n, n)), m.arg((2, n, 3))
    x, mask = m.arg((4, 11)), m.arg((4, 5), BOOL)
    product, factor = m.out((2, n, n)), m.out((2, n, n))
    m.call("gemm", [a, a], [product], ta=False, tb=True)
    m.call("cholesky", [product], [factor])
    for lower, trans in ((True, False), (True, True)):
        m.call(
            "triangular_solve",
            [factor, b],
            [m.out((2, n, 3))],
            lower=lower,
            trans=trans,
        )
    m.call("solve", [a, b], [m.out((2, n, 3))])
    m.call("inv", [a], [m.out((2, n, n))])
    m.call("det", [a], [m.out((2,))])
    m.call("slogdet", [a], [m.out((2,)), m.out((2,))])
    for matrix in (a, product):
        factors, pivots = m.out((2, n, n)), m.out((2, n), np.dtype("i4"))
        m.call("lu", [matrix], [factors, pivots])
        m.call("lu_inv", [factors, pivots], [m.out((2, n, n))])
        m.call("lu_solve", [factors, pivots, b], [m.out((2, n, 3))], trans=True)
    m.call("cholesky_vjp", [factor, product], [m.out((2, n, n))])
    m.call("argsort", [x], [m.out((4, 11), I64)], axis=1)
    m.call("mask_indices", [mask], [m.out((10,), I64)])
    args = [
        RNG.normal(size=(2, n, n)) + 5 * np.eye(n),
        RNG.normal(size=(2, n, 3)),
        np.round(RNG.normal(size=(4, 11)), 1),
        np.arange(20).reshape(4, 5) % 2 == 0,
    ]
    return m.returns(), args


@pytest.mark.slow
@pytest.mark.compiles
def test_routines_run_under_njit():
    program, args = linear_algebra()
    same(
        call_source(program, args, compiled=True), call_kernel(program, args), rtol=1e-8
    )
    singular = [np.zeros_like(args[0]), *args[1:]]
    assert call_source(program, singular, compiled=True)[0] == -1
    assert call_kernel(program, singular)[0] == -1


@pytest.mark.slow
@pytest.mark.compiles
def test_special_functions_run_under_njit():
    m = Make()
    x = m.load(m.arg(()))
    names = ("gammaln", "digamma", "erf", "erfc", "expit", "logit", "cbrt", "arctanh")
    values = [m.let(name, x) for name in names]
    program = m.returns(*values, m.let("zeta", m.const(2.5), x), m.let("mod", x, x))
    same(
        call_source(program, [0.7], compiled=True),
        call_kernel(program, [0.7]),
        rtol=1e-12,
    )


@pytest.mark.compiles
def test_equal_text_is_equal_code():
    """The assembly depends on nothing that the text does not show."""
    from tracejit.codegen import assembly

    texts = set()
    for n in (100, 7000):
        program = example(n)
        printed = print_program(program)
        texts.add(assembly(program, printed.slots, "k"))
    assert len(texts) == 1
