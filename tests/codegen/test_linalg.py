"""Library routines and serial algorithms against NumPy, stacked and empty too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from tracejit.primitive import PRIMITIVES

from .programs import BOOL, F32, F64, I64, Make, call_kernel, call_source, same

pytestmark = pytest.mark.compiles
RNG = np.random.default_rng(11)
STACKS = [(), (3,), (2, 12)]
SIZES = [1, 2, 5, 30]


def run(name, ins, shapes, dtypes=None, source=True, **params):
    """One call on whole arrays; also through the printed source."""
    m = Make()
    args = [m.arg(a.shape, a.dtype) for a in ins]
    dtypes = dtypes or [ins[0].dtype] * len(shapes)
    outs = [m.out(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    m.call(name, args, outs, **params)
    program = m.returns()
    result = call_kernel(program, ins)
    if source:
        tolerance = 1e-3 if ins[0].dtype == F32 else 1e-8
        plain = call_source(program, ins)
        assert plain[0] == result[0]
        for a, b in zip(result[2] or (), plain[2] or (), strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    return result


def matrices(stack, n, m, dtype=F64):
    return RNG.normal(size=(*stack, n, m)).astype(dtype)


def close(result, *expected):
    status, _, outputs = result
    assert status == 0
    for a, b in zip(outputs, expected, strict=True):
        assert a.dtype == b.dtype
        tolerance = 2e-3 if a.dtype == F32 else 1e-9
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("stack", [(), (3,)])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(3, 4, 5), (20, 30, 10), (1, 20, 9), (20, 1, 9), (1, 1, 12), (9, 1, 1)],
)
def test_gemm(m, n, k, ta, tb, stack, dtype):
    a = matrices(stack, *((k, m) if ta else (m, k)), dtype)
    b = matrices(stack, *((n, k) if tb else (k, n)), dtype)
    x = a.swapaxes(-1, -2) if ta else a
    y = b.swapaxes(-1, -2) if tb else b
    close(run("gemm", [a, b], [(*stack, m, n)], ta=ta, tb=tb), x @ y)


@pytest.mark.parametrize(("m", "n", "k"), [(3, 4, 0), (0, 4, 5), (3, 0, 5), (1, 4, 0)])
def test_gemm_of_nothing(m, n, k):
    a, b = matrices((), m, k), matrices((), k, n)
    close(run("gemm", [a, b], [(m, n)], ta=False, tb=False), a @ b)


@pytest.mark.parametrize("dtype", [I64, BOOL, np.dtype("i4")])
@pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True)])
def test_gemm_of_integers(ta, tb, dtype):
    a = RNG.integers(0, 2 if dtype == BOOL else 9, size=(2, 4, 5)).astype(dtype)
    b = RNG.integers(0, 2 if dtype == BOOL else 9, size=(2, 5, 3)).astype(dtype)
    x = a.swapaxes(1, 2).copy() if ta else a
    y = b.swapaxes(1, 2).copy() if tb else b
    close(run("gemm", [x, y], [(2, 4, 3)], source=False, ta=ta, tb=tb), a @ b)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", SIZES)
def test_cholesky(n, stack, dtype):
    a = matrices(stack, n, n)
    a = (a @ a.swapaxes(-1, -2) + np.eye(n)).astype(dtype)
    close(run("cholesky", [a], [a.shape]), np.linalg.cholesky(a))


def test_cholesky_reads_the_lower_triangle_and_refuses_what_numpy_refuses():
    a = np.array([[4.0, 99.0], [2.0, 3.0]])
    close(run("cholesky", [a], [(2, 2)]), np.linalg.cholesky(a))
    bad = np.array([[1.0, 0.0], [0.0, -1.0]])
    assert run("cholesky", [bad], [(2, 2)]) == (-1, None, None)
    mixed = np.stack([np.eye(2), -np.eye(2), np.eye(2)])
    assert run("cholesky", [mixed], [mixed.shape])[0] == -1


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("stack", [(), (4,)])
@pytest.mark.parametrize(("n", "m"), [(4, 3), (12, 1), (1, 9)])
def test_triangular_solve(n, m, stack, trans, lower, dtype):
    a = (matrices(stack, n, n) + 4 * np.eye(n)).astype(dtype)
    b = matrices(stack, n, m, dtype)
    expected = np.empty_like(b)
    for i in np.ndindex(*stack):
        expected[i] = solve_triangular(a[i], b[i], lower=lower, trans=int(trans))
    close(
        run("triangular_solve", [a, b], [b.shape], lower=lower, trans=trans), expected
    )


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (4, 3), (30, 12)])
def test_solve(n, m, stack, dtype):
    a = (matrices(stack, n, n) + 9 * np.eye(n)).astype(dtype)
    b = matrices(stack, n, m, dtype)
    close(run("solve", [a, b], [b.shape]), np.linalg.solve(a, b))


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", SIZES)
def test_inv_and_determinants(n, stack, dtype):
    a = (matrices(stack, n, n) + 2 * np.eye(n)).astype(dtype)
    if dtype == F64:
        close(run("inv", [a], [a.shape]), np.linalg.inv(a))
    sign, log = np.linalg.slogdet(a)
    close(run("slogdet", [a], [stack, stack]), np.asarray(sign), np.asarray(log))
    a = a / 2
    close(run("det", [a], [stack]), np.asarray(np.linalg.det(a)))


def test_singular_matrices():
    a = np.stack([np.eye(3), np.ones((3, 3)), np.zeros((3, 3))])
    assert run("solve", [a, a], [a.shape])[0] == -1
    assert run("inv", [a], [a.shape])[0] == -1
    close(run("det", [a], [(3,)]), np.array([1.0, 0.0, 0.0]))
    sign, log = run("slogdet", [a], [(3,), (3,)], source=False)[2]
    np.testing.assert_array_equal(sign, [1, 0, 0])
    np.testing.assert_array_equal(log, [0, -np.inf, -np.inf])


def test_matrices_without_elements():
    a = np.zeros((2, 0, 0))
    close(run("det", [a], [(2,)], source=False), np.ones(2))
    close(run("inv", [a], [a.shape], source=False), a)
    close(run("cholesky", [a], [a.shape], source=False), a)


BLOCKS = [1, 5, 32, 33, 70]
I32 = np.dtype("i4")


def tolerance_of(dtype):
    return 2e-3 if dtype == F32 else 1e-9


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", BLOCKS)
def test_cholesky_vjp(n, stack, dtype):
    """Against the formula, with what is not to be read above the diagonal."""
    y = matrices(stack, n, n) / 4
    y[..., range(n), range(n)] = 2 + RNG.random((*stack, n))
    ct = matrices(stack, n, n)
    low, bar = np.tril(y), np.tril(ct)
    p = np.tril(low.swapaxes(-1, -2) @ bar)
    p[..., range(n), range(n)] /= 2
    back = np.linalg.inv(low)
    full = back.swapaxes(-1, -2) @ p @ back
    expected = np.tril(full + full.swapaxes(-1, -2))
    expected[..., range(n), range(n)] /= 2
    # A random factor is the worse conditioned the larger it is.
    scale = np.abs(expected).max()
    args = [y.astype(dtype), ct.astype(dtype)]
    found = run("cholesky_vjp", args, [y.shape], source=n < 40 and stack == ())
    assert found[0] == 0
    np.testing.assert_allclose(
        found[2][0] / scale, expected / scale, atol=tolerance_of(dtype)
    )
    assert found[2][0].dtype == dtype


def test_cholesky_vjp_of_a_singular_factor():
    y = np.stack([np.eye(40), np.diag(np.arange(40.0))])
    assert run("cholesky_vjp", [y, y], [y.shape])[0] == -1


def some_matrices(kind, stack, n, dtype):
    a = matrices(stack, n, n)
    if kind == "definite":
        a = a @ a.swapaxes(-1, -2) + n * np.eye(n)
        # What rounding leaves of symmetry.
        a *= 1 + np.finfo(dtype).eps * RNG.integers(-1, 2, a.shape)
    elif kind == "indefinite":
        a = a + a.swapaxes(-1, -2)
        a[..., range(n), range(n)] = 0.1 / n
    elif kind == "mixed" and stack:
        a[0] = np.eye(n)
    return a.astype(dtype)


@pytest.mark.parametrize(
    ("stack", "dtype"), [((), F64), ((2, 3), F64), ((), F32)], ids=str
)
@pytest.mark.parametrize("n", BLOCKS)
@pytest.mark.parametrize("kind", ["general", "definite", "indefinite", "mixed"])
def test_shared_factors(kind, n, stack, dtype):
    a = some_matrices(kind, stack, n, dtype)
    source = n < 40 and stack == ()
    pivots = (*stack, n)
    result = run("lu", [a], [a.shape, pivots], [dtype, I32], source=source)
    reference = PRIMITIVES["lu"].reference(a)
    rounded = 20 * n**2 * np.finfo(dtype).eps
    np.testing.assert_array_equal(result[2][1], reference[1])
    np.testing.assert_allclose(result[2][0], reference[0], rtol=1, atol=rounded)
    marked = (reference[1] == 0).any(-1)
    assert marked.all() == (kind == "definite" or (n == 1 and marked.all()))

    exact = a.astype("f8")
    inverse = np.linalg.inv(exact)
    limit = rounded * np.abs(inverse).max() * np.linalg.cond(exact).max()
    found = run("lu_inv", list(reference), [a.shape], source=source)
    np.testing.assert_allclose(found[2][0], inverse, rtol=0, atol=limit)
    for m in (1, 3):
        b = matrices(stack, n, m, dtype)
        for trans in (False, True):
            x = inverse.swapaxes(-1, -2) @ b if trans else inverse @ b
            found = run(
                "lu_solve", [*reference, b], [b.shape], source=source, trans=trans
            )
            np.testing.assert_allclose(found[2][0], x, rtol=0, atol=4 * limit)
            assert found[2][0].dtype == dtype


def test_an_ill_conditioned_inverse_keeps_its_digits():
    """Recursions that skip the inverse of the factor lose all of them here."""
    x = np.linspace(0, 10, 300)
    a = np.exp(-0.5 * ((x[:, None] - x) / 1.5) ** 2) + 1e-5 * np.eye(300)
    factors = PRIMITIVES["lu"].reference(a)
    assert not factors[1].any()
    found = run("lu_inv", list(factors), [a.shape], source=False)[2][0]
    assert np.abs(a @ found - np.eye(300)).max() < 1e-8


def test_singular_and_empty_factors():
    eye, ones = np.eye(3), np.ones((3, 3))
    a = np.stack([eye, ones, eye[::-1]])
    result = run("lu", [a], [a.shape, (3, 3)], [F64, I32])
    factors, pivots = result[2]
    np.testing.assert_array_equal(pivots[0], 0)
    assert pivots[1].all()
    assert pivots[2].all()
    for k, status in enumerate((0, -1, 0)):
        one = [factors[k], pivots[k]]
        assert run("lu_inv", one, [(3, 3)])[0] == status
        for b in (ones, ones[:, :1].copy()):
            assert run("lu_solve", [*one, b], [b.shape], trans=False)[0] == status
    assert run("lu_inv", [factors, pivots], [a.shape])[0] == -1
    empty = np.zeros((2, 0, 0))
    none = np.zeros((2, 0), I32)
    close(run("lu", [empty], [(2, 0, 0), (2, 0)], [F64, I32]), empty, none)
    close(run("lu_inv", [empty, none], [(2, 0, 0)]), empty)
    close(run("cholesky_vjp", [empty, empty], [(2, 0, 0)]), empty)


def test_nan_is_no_definite_matrix():
    a = np.eye(4)
    a[2, 1] = a[1, 2] = np.nan
    result = run("lu", [a], [a.shape, (4,)], [F64, I32], source=False)
    assert result[2][1].all()


@pytest.mark.parametrize("shape", [(40,), (1,), (0,), (5, 12), (3, 4, 9)])
@pytest.mark.parametrize("dtype", [F64, F32, I64, np.dtype("u1"), BOOL])
def test_argsort(shape, dtype):
    x = RNG.integers(0, 9, size=shape).astype(dtype)
    if dtype.kind == "f":
        x[RNG.random(shape) < 0.2] = np.nan
        x[RNG.random(shape) < 0.1] = -0.0
    for axis in range(len(shape)):
        result = run("argsort", [x], [shape], [I64], axis=axis)
        close(result, np.argsort(x, axis=axis, kind="stable"))


@pytest.mark.parametrize("shape", [(30,), (4, 5), (0,)])
def test_mask_indices(shape):
    mask = RNG.random(shape) > 0.5
    count = int(mask.sum())
    result = run("mask_indices", [mask], [(count,)], [I64], count=count)
    close(result, np.flatnonzero(mask))
    for wrong in {count + 1, max(count - 1, 0)} - {count}:
        assert run("mask_indices", [mask], [(wrong,)], [I64])[0] == -1


def test_calls_on_rows_and_reshaped_buffers():
    """A row of an array, and an array in another shape, are buffers too."""
    from tracejit.program import Affine, Buffer

    m = Make()
    a, b, y = m.arg((4, 3, 3)), m.arg((4, 3)), m.out((4, 3))
    with m.loop(4) as i:
        matrix = Buffer("arg", 0, (3, 3), F64, of=a, at=(i,))
        column = Buffer("arg", 1, (3, 1), F64, of=b, at=(i,))
        result = Buffer("out", 0, (3, 1), F64, of=y, at=(i,))
        m.call("solve", [matrix, column], [result])
    flat = Buffer("out", 0, (12,), F64, of=y)
    total = m.accumulator(m.const(0.0))
    with m.loop(12) as i:
        m.accumulate(total, "sum", m.load(flat, i))
    program = m.returns(m.read(total), m.load(flat, Affine(None, 0, 5)))
    args = [matrices((4,), 3, 3) + 5 * np.eye(3), RNG.normal(size=(4, 3))]
    result = call_kernel(program, args)
    expected = np.linalg.solve(args[0], args[1][..., None])[..., 0]
    np.testing.assert_allclose(result[2][0], expected, rtol=1e-12)
    same(result, call_source(program, args), rtol=1e-10)


def test_buffers_can_exchange_their_memory():
    """Fibonacci, with the old and the new state swapped in each round."""
    m = Make()
    x, y = m.arg((2,), I64), m.out((2,), I64)
    old, new = m.work((2,), I64), m.work((2,), I64)
    with m.loop(2) as i:
        m.store(old, i, value=m.load(x, i))
    with m.loop(20):
        a, b = m.load(old, 0), m.load(old, 1)
        m.store(new, 0, value=b)
        m.store(new, 1, value=m.let("add", a, b))
        m.swap(old, new)
    with m.loop(2) as i:
        m.store(y, i, value=m.load(old, i))
    args = [np.array([0, 1])]
    result = call_kernel(m.returns(), args)
    np.testing.assert_array_equal(result[2][0], [6765, 10946])
    same(result, call_source(m.program, args))
