"""The fast path: what it takes, what it refuses, and that it leaks nothing."""

import gc
import pickle
import sys
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tracejit as tj
from tracejit.dispatch.fast import MISS, RECORDINGS

X = np.array([1.0, 2.0, 3.0, 4.0])


class Subclass(np.ndarray):
    pass


class Odd(tuple):
    pass


class Real(float):
    pass


def ready(f, *args):
    """The fast path of `f` for arguments like these."""
    for _ in range(3):
        f(*args)
    return f._dispatcher.fast


def from_source(text, **names):
    """The function `f` of a module with globals of its own."""
    scope = {"np": np, **names}
    exec(text, scope)
    return scope["f"], scope


def is_native(fast):
    return type(fast) is types.BuiltinFunctionType


def misaligned():
    return np.frombuffer(b"?" + X.tobytes(), "u1")[1:].view("f8")


OTHERS = [
    None, True, 3, 2.0, "text", b"bytes", [1.0, 2.0, 3.0, 4.0], (X,), {"x": X},
    object(), Odd((X,)), Ellipsis, np.ndarray, np, len, MISS, np.float64(1),
    X.view(Subclass), X.view(np.matrix), np.ma.masked_array(X), memoryview(X),
    X[:3], X[:0], np.zeros((0, 4)), X.reshape(2, 2), X.reshape(4, 1), X.reshape(1, 4),
    np.array(1.0), X[::-1], np.repeat(X, 2)[::2], misaligned(),
    X.astype("f4"), X.astype(">f8"), X.astype("i8"), X.astype("c16"), X.astype("O"),
    np.zeros(4, "M8[s]"), np.zeros(4, [("a", "f8")]), np.zeros(4, "V8"),
    np.zeros(4, "S8"), 2**70,
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=lambda o: type(o).__name__)
def test_what_is_not_such_an_array_is_refused(other):
    fast = ready(tj.value_and_grad(lambda x: 2 * np.dot(x, x)), X)
    assert is_native(fast)
    assert fast(other) is MISS
    assert fast() is MISS
    assert fast(X, other) is MISS
    value, gradient = fast(X)
    assert value == 60
    np.testing.assert_array_equal(gradient, 4 * X)


def test_a_memory_map_is_refused(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=(4,))
    fast = ready(tj.jit(lambda x: x * 2), X)
    assert fast(mapped) is MISS


def test_what_is_refused_is_answered_by_the_general_path():
    f = tj.jit(lambda x: x * 2)
    fast = ready(f, X)
    for other in (
        X[::-1], np.repeat(X, 2)[::2], misaligned(), X.astype(">f8"), X.astype("f4"),
        X.reshape(2, 2), X[:0], np.array(1.0), X[:, None].T, 3.0, 2,
    ):  # fmt: skip
        assert fast(other) is MISS
        np.testing.assert_array_equal(f(other), np.asarray(other) * 2)
    with pytest.raises(TypeError):
        f()
    with pytest.raises(TypeError):
        f(X, X)


def test_equal_dtypes_and_read_only_arrays_are_taken():
    f = tj.jit(lambda x: x * 2)
    fast = ready(f, X)
    locked = X.copy()
    locked.flags.writeable = False
    unpickled = pickle.loads(pickle.dumps(X))
    assert unpickled.dtype is not X.dtype
    for x in (locked, unpickled, np.repeat(X, 2).reshape(2, 4)[0]):
        result = fast(x)
        np.testing.assert_array_equal(result, 2 * np.asarray(x).ravel()[:4])
        assert result.dtype is X.dtype
        assert result.flags.writeable


def test_the_length_of_every_axis_counts():
    fast = ready(tj.jit(lambda x: x + 1), np.zeros((2, 3, 5)))
    assert fast(np.ones((2, 3, 5))).shape == (2, 3, 5)
    for shape in [(3, 2, 5), (2, 5, 3), (2, 3, 4), (2, 3), (2, 3, 5, 1), (30,)]:
        assert fast(np.ones(shape)) is MISS
    empty = ready(tj.jit(lambda x: x + 1), np.zeros((0, 3)))
    assert empty(np.zeros((0, 3))).shape == (0, 3)
    assert empty(np.zeros((3, 0))) is MISS


def test_numbers_are_of_exactly_one_type():
    fast = ready(tj.jit(lambda a, n, s: a * n * s), 0.5, 3, np.float32(2))
    assert fast(0.5, -(2**62), np.float32(2)) == -(2.0**62)
    assert fast(np.nan, 1, np.float32(1)) != fast(np.nan, 1, np.float32(1))
    for args in [
        (1, 3, np.float32(2)),
        (Real(1), 3, np.float32(2)),
        (np.float64(1), 3, np.float32(2)),
        (None, 3, np.float32(2)),
        (0.5, True, np.float32(2)),
        (0.5, 2**63, np.float32(2)),
        (0.5, -(2**63) - 1, np.float32(2)),
        (0.5, 10**40, np.float32(2)),
        (0.5, np.int64(3), np.float32(2)),
        (0.5, X, np.float32(2)),
        (0.5, 3, 2.0),
        (0.5, 3, np.float64(2)),
        (0.5, 3, X),
    ]:
        assert fast(*args) is MISS


def test_settings_and_objects_are_compared_by_identity():
    def scale(x):
        return 2 * x

    def other(x):
        return 3 * x

    f = tj.jit(lambda x, flag, g, none: g(x) if flag else x)
    fast = ready(f, X, True, scale, None)
    np.testing.assert_array_equal(fast(X, True, scale, None), 2 * X)
    for args in [
        (X, False, scale, None),
        (X, 1, scale, None),
        (X, True, other, None),
        (X, True, scale, 0),
    ]:
        assert fast(*args) is MISS
    np.testing.assert_array_equal(f(X, True, other, None), 3 * X)


def test_static_arguments():
    f = tj.jit(lambda x, n: x**n, static_argnums=1)
    fast = ready(f, X / 4, 1000)
    np.testing.assert_array_equal(fast(X / 4, int("1000")), f(X / 4, 1000))
    assert fast(X, 1001) is MISS
    assert fast(X, 1000.0) is MISS


# --- what is captured -----------------------------------------------------------------


def test_a_rebound_global_is_seen():
    f, scope = from_source("def f(x): return np.sin(x) * rate", rate=0.1)
    f = tj.jit(f)
    fast = ready(f, X)
    assert is_native(fast)
    np.testing.assert_allclose(fast(X), np.sin(X) * 0.1)
    scope["rate"] = 0.2
    assert fast(X) is MISS
    np.testing.assert_allclose(f(X), np.sin(X) * 0.2)
    scope["np"] = types.SimpleNamespace(sin=np.cos)
    assert f._dispatcher.fast(X) is MISS
    np.testing.assert_allclose(f(X), np.cos(X) * 0.2)
    del scope["rate"]
    assert f._dispatcher.fast(X) is MISS
    with pytest.raises(NameError):
        f(X)
    assert sys.exc_info() == (None, None, None)


def test_equal_values_that_are_new_objects_do_not_leave_the_fast_path():
    f, scope = from_source("def f(x): return x * rate", rate=0.1)
    f = tj.jit(f)
    ready(f, X)
    scope["rate"] = float("0.1")
    f(X)
    for _ in range(5):
        scope["rate"] = float("0.1")
        np.testing.assert_allclose(f._dispatcher.fast(X), X * 0.1)
    scope["rate"] = 0.3
    assert f._dispatcher.fast(X) is MISS
    np.testing.assert_allclose(f(X), X * 0.3)
    assert f.stats().traces == 2


def test_cells_of_closures():
    rate, data = 0.5, X

    def f(x):
        return np.sum(x * data) * rate  # noqa: F821

    g = tj.grad(f)
    fast = ready(g, X)
    assert is_native(fast)
    np.testing.assert_allclose(fast(X), 0.5 * X)
    data = X + 1
    np.testing.assert_allclose(fast(X), 0.5 * (X + 1))
    for wrong in (X[:3], X.astype("f4"), X[::-1], list(X), None, X.view(Subclass)):
        data = wrong
        assert fast(X) is MISS
    data = X[::-1]
    np.testing.assert_allclose(g(X), 0.5 * X[::-1])
    data = X
    rate = 0.25
    assert fast(X) is MISS
    np.testing.assert_allclose(g(X), 0.25 * X)
    del data
    assert fast(X) is MISS


def test_global_arrays_enter_by_name():
    source = "def f(x): return np.exp(-x) @ B + C"
    f, scope = from_source(source, B=np.eye(4), C=X)
    f = tj.jit(f)
    fast = ready(f, X)
    assert is_native(fast)
    scope["B"], scope["C"] = np.ones((4, 4)), -X
    np.testing.assert_allclose(fast(X), np.exp(-X).sum() - X)
    scope["B"] = np.ones((4, 5))
    assert fast(X) is MISS
    scope["B"] = np.ones((4, 4)).T.copy()
    np.testing.assert_allclose(fast(X), np.exp(-X).sum() - X)
    assert f.stats().traces == 1


def test_captured_containers_keep_the_fast_path():
    weights = [2.0, 3.0]
    f = tj.jit(lambda x: x * weights[0] + weights[1])
    fast = ready(f, X)
    np.testing.assert_array_equal(fast(X), 2 * X + 3)
    assert fast(X[:2]) is MISS
    weights[1] = 4.0
    assert fast(X) is MISS
    np.testing.assert_array_equal(f(X), 2 * X + 4)


def test_an_error_in_a_lookup_is_a_miss():
    class Key:
        def __hash__(self):
            return hash("rate")

        def __eq__(self, other):
            raise ZeroDivisionError

    f, scope = from_source("def f(x): return x * rate", rate=2.0)
    fast = ready(tj.jit(f), X)
    del scope["rate"]
    scope[Key()] = 2.0
    assert fast(X) is MISS


def test_a_namespace_that_is_no_plain_dict():
    class Namespace(dict):
        pass

    scope = Namespace(np=np, rate=2.0)
    exec("def f(x): return x * rate", scope)
    f = tj.jit(scope["f"])
    ready(f, X)
    scope["rate"] = 3.0
    np.testing.assert_array_equal(f(X), 3 * X)


# --- what else can happen -------------------------------------------------------------


def test_nothing_is_answered_during_a_recording():
    fast = ready(tj.jit(lambda x: x * 2), X)
    RECORDINGS.append(None)
    try:
        assert fast(X) is MISS
    finally:
        RECORDINGS.remove(None)
    assert fast(X) is not MISS


def test_inside_another_function_it_is_part_of_the_recording():
    inner = tj.jit(lambda x: np.sin(x))
    ready(inner, X)
    outer = tj.grad(lambda x: np.sum(inner(x)))
    np.testing.assert_allclose(outer(X), np.cos(X))
    assert "cos" in str(outer.tape(X))


def test_a_guard_that_fails_goes_on_with_the_same_arguments():
    f = tj.jit(lambda x, k: x * k if x[0] > 0 else x - k)
    fast = ready(f, X, 2.0)
    assert is_native(fast)
    np.testing.assert_array_equal(fast(-X, 2.0), -X - 2)
    np.testing.assert_array_equal(f(X, 3.0), X * 3)
    np.testing.assert_array_equal(f(-X, 3.0), -X - 3)
    assert f.stats().traces == 2


def test_an_error_after_a_failed_guard_is_the_users():
    def plain(x):
        if x[0] > 0:
            return x
        raise RuntimeError("not positive")

    fast = ready(tj.jit(plain), X)
    with pytest.raises(RuntimeError, match="not positive"):
        fast(-X)
    np.testing.assert_array_equal(fast(X), X)


def test_hits_are_counted_once():
    f = tj.jit(lambda x: x * 2 if x[0] > 0 else x)
    for x in (X, X, X, -X, -X, X[:2], X[:2]):
        f(x)
    stats = f.stats()
    assert stats.hits + stats.traces == 7
    before = f.stats().hits
    ready(f, X)
    assert f.stats().hits == before + 3


def test_large_results_come_from_the_pool():
    x = np.ones(3_000_000)
    f = tj.jit(lambda x: x + 1)
    fast = ready(f, x)
    first, second = fast(x), fast(x)
    assert first[0] == second[-1] == 2
    assert not np.shares_memory(first, second)
    assert fast(x[1:]) is MISS


def test_results_in_containers():
    f = tj.jit(lambda x: {"a": x * 2, "b": [np.sum(x), 3]})
    fast = ready(f, X)
    result = fast(X)
    np.testing.assert_array_equal(result["a"], 2 * X)
    assert result["b"] == [10, 3]
    assert fast(X[:1]) is MISS
    assert fast() is MISS
    assert ready(tj.jit(lambda: np.ones(3) * 2))().sum() == 6
    assert ready(tj.jit(lambda x: ()), X)(X) == ()
    assert ready(tj.jit(lambda x: None), X)(X) is None


# --- references -----------------------------------------------------------------------


def growth(work, n=100_000):
    """Blocks of memory that n calls leave behind."""
    for _ in range(50):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(n):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_calls_leave_nothing_behind():
    f, scope = from_source(
        "def f(x, k): return (np.sin(x) * B, k * 2) if x[0] > 0 else (x, k)", B=X
    )
    f = tj.jit(f)
    x, k, negative, wrong = X.copy(), np.float64(1.5), -X, X[:2]
    fast = ready(f, x, k)
    assert is_native(fast)
    objects = (x, k, negative, wrong, MISS, X.dtype, scope["B"], f, fast, None)
    gc.collect()  # what earlier tests left holds the dtype, too
    counts = [sys.getrefcount(o) for o in objects]

    def missing():
        del scope["B"]
        assert fast(x, k) is MISS
        scope["B"] = X

    single = ready(tj.grad(lambda x: np.sum(x * x)), x)
    assert is_native(single)
    for work, n in [
        (lambda: f(x, k), 100_000),
        (lambda: single(x), 100_000),
        (lambda: fast(x, wrong), 100_000),
        (lambda: fast(wrong), 100_000),
        (lambda: fast(wrong, k), 100_000),
        (missing, 20_000),
        (lambda: fast(negative, k), 2_000),
    ]:
        assert abs(growth(work, n)) < n // 10
    changes = [sys.getrefcount(o) - c for o, c in zip(objects, counts, strict=True)]
    # Recordings that are freed meanwhile held the dtype, some hundred times.
    assert all(abs(change) < 1000 for change in changes), changes


def test_forgotten_functions_are_freed():
    f = tj.jit(lambda x: x * 2 if x[0] > 0 else x)
    ready(f, X)
    dispatcher = weakref.ref(f._dispatcher)
    table = weakref.ref(f._dispatcher.fast.__self__)
    del f
    gc.collect()
    assert dispatcher() is None
    assert table() is None


def test_a_captured_array_lives_as_long_as_the_kernel_reads_it():
    """Large enough that the kernel runs without the GIL."""
    n = 200_000
    f, scope = from_source("def f(x): return np.sum(np.exp(x) * B)", B=np.ones(n))
    f = tj.jit(f)
    x = np.zeros(n)
    fast = ready(f, x)
    assert is_native(fast)
    stop = threading.Event()

    def rebind():
        while not stop.is_set():
            scope["B"] = np.full(n, float(np.random.default_rng().integers(1, 5)))

    thread = threading.Thread(target=rebind)
    thread.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            sums = list(pool.map(lambda _: f(x), range(300)))
    finally:
        stop.set()
        thread.join()
    assert {float(s) / n for s in sums} <= {1.0, 2.0, 3.0, 4.0}
    assert f.stats().traces == 1
