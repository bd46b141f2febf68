"""Kernels and executables: structural keys, memory, threads, captures."""

from __future__ import annotations

import gc
import threading
import timeit

import numpy as np
import pytest

from tracejit import config, kernel
from tracejit.codegen.pool import LARGE, Pool
from tracejit.codegen.source import print_program

from .codegen.programs import BOOL, F32, F64, I64, Make, call_kernel

pytestmark = pytest.mark.compiles


def scaled(n: int, factor: float, dtype=F64):
    """y = factor * x."""
    m = Make()
    x, y = m.arg((n,), dtype), m.out((n,), dtype)
    c = m.const(factor, dtype)
    with m.loop(n) as i:
        m.store(y, i, value=m.let("mul", c, m.load(x, i)))
    return m.returns()


def through_work(n: int):
    """y = 2 x by way of a workspace."""
    m = Make()
    x, y, w = m.arg((n,)), m.out((n,)), m.work((n,))
    with m.loop(n) as i:
        v = m.load(x, i)
        m.store(w, i, value=m.let("add", v, v))
    with m.loop(n) as i:
        m.store(y, i, value=m.load(w, i))
    return m.returns()


def captured(shape, dtype=F64):
    """x + captured, for a captured array or 0-d array."""
    m = Make()
    x, c = m.arg((20,), dtype), m.arg(shape, dtype, capture=True)
    y = m.out((20,), dtype)
    with m.loop(20) as i:
        other = m.load(c, i) if shape else m.load(c)
        m.store(y, i, value=m.let("add", m.load(x, i), other))
    return m.returns()


# --- structural keys


def test_sizes_and_constants_are_parameters():
    first = kernel.compile_program(scaled(100, 2.0), [])
    second = kernel.compile_program(scaled(117, 5.0), [])
    assert second.kernel is first.kernel
    assert not second.compiled
    x = np.arange(117.0)
    np.testing.assert_array_equal(second.run(x)[2][0], 5 * x)
    np.testing.assert_array_equal(first.run(x[:100].copy())[2][0], 2 * x[:100])


@pytest.mark.parametrize(
    "other",
    [
        scaled(8, 2.0),
        scaled(7, 2.0),
        scaled(0, 2.0),
        scaled(100, 2.0, F32),
        through_work(100),
    ],
    ids=["small", "smaller", "empty", "dtype", "statements"],
)
def test_structure_is_not(other):
    first = kernel.compile_program(scaled(100, 2.0), [])
    assert kernel.compile_program(other, []).kernel is not first.kernel


def test_equal_numbers_share_a_parameter_and_different_ones_do_not():
    def two(n, k):
        m = Make()
        x, y = m.arg((n,)), m.arg((k,))
        return print_program(m.returns(m.load(x, 0), m.load(y, 0))).text

    assert two(10, 10) != two(10, 11)
    assert two(10, 11) == two(20, 30)
    assert two(10, 10) == two(20, 20)


def test_the_sign_of_a_large_integer_is_structure():
    def shifted(n):
        m = Make()
        return print_program(m.returns(m.counter(n))).text

    assert shifted(100) == shifted(200)
    assert shifted(100) != shifted(-100)
    m = Make()
    assert call_kernel(m.returns(m.counter(-100), m.counter(100)), [])[2] == (-100, 100)


def test_source_is_a_module_of_its_own():
    executable = kernel.compile_program(scaled(100, 2.0), [])
    source = executable.kernel.source
    assert source.startswith("# f(float64[100])\n# kernel ")
    assert "    for i0 in range(0, n0):\n        v0 = arg0[i0]\n" in source
    scope: dict = {}
    exec(source, scope)
    x, y = np.arange(5.0), np.empty(5)
    ints, floats = np.array([5]), np.array([3.0])
    assert scope["kernel"](x, y, ints, floats) == (0, 0)
    np.testing.assert_array_equal(y, 3 * x)


def test_statistics():
    stats = kernel.compile_program(through_work(50), []).kernel.stats
    assert (stats["loops"], stats["statements"], stats["calls"]) == (2, 7, 0)
    assert stats["compile_seconds"] > 0
    assert stats["code_bytes"] > 0


# --- memory


def test_results_are_fresh():
    run = kernel.compile_program(scaled(20, 2.0), []).run
    a, b = run(np.ones(20))[2][0], run(np.zeros(20))[2][0]
    np.testing.assert_array_equal(a, np.full(20, 2.0))
    np.testing.assert_array_equal(b, np.zeros(20))
    assert a.flags.owndata
    assert a.flags.writeable


def test_large_results_reuse_memory_only_after_their_last_view():
    n = LARGE // 8 + 5
    run = kernel.compile_program(scaled(n, 2.0), []).run
    x = np.ones(n)
    first = run(x)[2][0]
    address, view = first.ctypes.data, first[3:].reshape(-1, 1)[::2]
    assert address % 64 == 0
    del first
    gc.collect()
    second = run(3 * x)[2][0]
    assert second.ctypes.data != address
    assert np.all(view == 2.0)
    del view
    gc.collect()
    assert run(x)[2][0].ctypes.data == address
    assert np.all(second == 6.0)
    second[:] = 1.0  # writable


def test_the_pool_is_bounded():
    pool = Pool(limit=3 * LARGE)
    arrays = [pool.take((LARGE // 8,), F64) for _ in range(5)]
    assert pool.idle == 0
    del arrays
    gc.collect()
    assert 0 < pool.idle <= 3 * LARGE
    pool.clear()
    assert pool.idle == 0


def test_the_pool_can_be_off(monkeypatch):
    monkeypatch.setattr(config, "POOL_BYTES", 0)
    n = LARGE // 8
    run = kernel.compile_program(scaled(n, 2.0), []).run
    assert run(np.ones(n))[2][0].flags.owndata


def test_large_and_small_results_together():
    m = Make()
    n = LARGE // 8
    x, small, large = m.arg((n,)), m.out((3,)), m.out((n,))
    for k in range(3):
        m.store(small, k, value=m.load(x, k))
    with m.loop(n) as i:
        m.store(large, i, value=m.load(x, i))
    x = np.arange(float(n))
    a, b, c = call_kernel(m.returns(large), [x])[2]
    np.testing.assert_array_equal(a, [0, 1, 2])
    np.testing.assert_array_equal(b, x)
    assert c is b


def test_references_are_counted():
    """Neither results nor arguments leak, on success, failure and errors."""
    import sys

    m = Make()
    x, k = m.arg((20,)), m.load(m.arg((), I64))
    y = m.out((20,))
    with m.loop(20) as i:
        m.store(y, i, value=m.load(x, i))
    m.exit(k, 12, 0)
    run = kernel.compile_program(m.returns(x, y, m.let("neg", k)), []).run
    given, number = np.ones(20), 12
    before = sys.getrefcount(given), sys.getrefcount(None)
    for _ in range(5000):
        outputs = run(given, number)[2]
        run(given, 10**12)
        with pytest.raises(TypeError):
            run(given, "text")
    assert [sys.getrefcount(v) for v in outputs] == [4, 3, 4, 3]
    del outputs
    assert sys.getrefcount(given) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 100


# --- threads


def test_threads_do_not_share_a_workspace():
    n = 20_000
    run = kernel.compile_program(through_work(n), []).run
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).normal(size=n)
        for _ in range(200):
            if not np.array_equal(run(x)[2][0], 2 * x):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_compile_one_kernel():
    results = []

    def work():
        results.append(kernel.compile_program(scaled(1234, 0.25, F32), []))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(e.kernel) for e in results}) == 1
    assert sum(e.compiled for e in results) <= 1


# --- captures


def test_captured_arrays_are_read_at_each_call():
    c = np.zeros(20)
    run = kernel.compile_program(captured((20,)), [c]).run
    x = np.arange(20.0)
    np.testing.assert_array_equal(run(x)[2][0], x)
    c += 5
    np.testing.assert_array_equal(run(x)[2][0], x + 5)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2],
        lambda a: a[::-1][:20],
        lambda a: a.astype(">f8")[:20],
        lambda a: a.reshape(2, 20).T[:, 0],
    ],
    ids=["strided", "reversed", "byte order", "column"],
)
def test_captured_views_are_read_at_each_call(view):
    base = np.arange(40.0)
    c = view(base)
    run = kernel.compile_program(captured((20,)), [c]).run
    x = np.arange(20.0)
    np.testing.assert_array_equal(run(x)[2][0], x + c)
    c += 5
    np.testing.assert_array_equal(run(x)[2][0], x + c)


def test_captured_arrays_of_shape_nothing():
    c = np.array(3.0)
    run = kernel.compile_program(captured(()), [c]).run
    np.testing.assert_array_equal(run(np.zeros(20))[2][0], np.full(20, 3.0))
    c[()] = 4.0
    np.testing.assert_array_equal(run(np.zeros(20))[2][0], np.full(20, 4.0))


def test_a_run_outlives_its_executable():
    run = kernel.compile_program(captured((20,)), [np.full(20, 7.0)]).run
    gc.collect()
    np.testing.assert_array_equal(run(np.zeros(20))[2][0], np.full(20, 7.0))


@pytest.mark.parametrize("dtype", [F64, F32, I64, BOOL, np.dtype("u1"), np.dtype("u8")])
def test_scalars_of_every_dtype_go_in_and_out(dtype):
    m = Make()
    x = m.arg((), dtype)
    program = m.returns(m.load(x), x)
    for value in (0, 1, np.iinfo(dtype).max if dtype.kind in "iu" else 1):
        value = dtype.type(value)
        for given in (value, value.item()):
            outputs = call_kernel(program, [given])[2]
            assert all(v == value and v.dtype == dtype for v in outputs)


def test_the_overhead_of_a_call(capsys):
    run = kernel.compile_program(scaled(4, 2.0), []).run
    x = np.ones(4)
    seconds = min(timeit.repeat(lambda: run(x), number=20_000, repeat=3)) / 20_000
    with capsys.disabled():
        print(f" [{seconds * 1e6:.2f} µs a call] ", end="")
