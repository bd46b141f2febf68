"""Signature, path tree, fast path, counters, log, checks, errors."""

import gc
import linecache
import traceback
import types
import weakref

import numpy as np
import pytest

import tracejit as tj
from tracejit import config, grad, jit, signature
from tracejit.dispatch import MISS
from tracejit.dispatch.fast import RECORDINGS
from tracejit.signature import Statics, read_call

X = np.array([1.0, 2.0, 3.0])


def counts(f):
    s = f.stats()
    return s.signatures, s.traces, s.guard_failures, s.hits, s.interpreted


def from_source(source, **values):
    """A function whose source lines are known as `model.py`."""
    name = f"/user/model{len(linecache.cache)}/model.py"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    namespace = {"np": np, "__name__": "model", **values}
    exec(compile(source, name, "exec"), namespace)
    return namespace["f"]


# --- signatures -----------------------------------------------------------------------

KEYS = [
    (X, X + 1, True),
    (X, np.ones(4), False),
    (X, X.astype("f4"), False),
    (X, X.astype(">f8"), True),
    (np.ones((4, 3))[:, 0], np.ones(4), True),
    (1.0, 2.5, True),
    (1, 5, True),
    (1, 1.0, False),
    (1, True, False),
    (True, False, False),
    (1.0, np.float64(1.0), False),
    (np.float64(1), np.float64(2), True),
    (np.float32(1), np.float64(1), False),
    ("a", "a", True),
    ("a", "b", False),
    (None, None, True),
    (None, 1.0, False),
    ([1.0, X], [2.0, X], True),
    ([1.0], (1.0,), False),
    ({"a": 1.0, "b": X}, {"b": X, "a": 1.0}, True),
    ({"a": 1.0}, {"b": 1.0}, False),
    (2**70, 2**70, True),
    (2**70, 2**71, False),
    (np.sin, np.sin, True),
    (np.sin, np.cos, False),
    (frozenset({1}), frozenset({1.0}), False),
]


@pytest.mark.parametrize(("a", "b", "expected"), KEYS)
def test_equal_keys(a, b, expected):
    def f(x):
        pass

    statics = Statics(f)
    first, second = (read_call((v,), {}, statics, f) for v in (a, b))
    assert (first.key == second.key) is expected
    if expected:
        assert hash(first.key) == hash(second.key)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 6))[:, ::2],
        np.ones((3, 2)).T,
        np.arange(5.0)[::-1],
        np.arange(6, dtype=">f8"),
        np.frombuffer(b"x" + np.arange(4.0).tobytes(), "u1")[1:].view("f8"),
        np.array(3.0),
        np.zeros((0, 3)),
        np.arange(4.0, dtype=np.longdouble).astype("d"),
    ],
    ids="strided transposed reversed swapped unaligned 0-d empty alias".split(),
)
def test_any_layout_is_taken(array):
    f = tj.value_and_grad(lambda x: np.sum(x**2))
    for _ in range(3):
        value, gradient = f(array)
        np.testing.assert_array_equal(value, np.sum(array.astype(float) ** 2))
        np.testing.assert_array_equal(gradient, 2 * array)
        assert gradient.shape == array.shape
    assert counts(f) == (1, 1, 0, 2, 0)


def test_an_alias_of_an_integer_dtype_is_taken():
    scale = np.arange(3, dtype=np.longlong)
    f = tj.jit(lambda x: x * scale)
    for _ in range(3):
        np.testing.assert_array_equal(f(np.arange(3, dtype=np.longlong)), [0, 1, 4])
    assert counts(f) == (1, 1, 0, 2, 0)


def test_a_read_only_array_is_taken():
    x = X.copy()
    x.flags.writeable = False
    f = tj.grad(lambda x: np.sum(x**2))
    for _ in range(3):
        np.testing.assert_array_equal(f(x), 2 * X)


REFUSED = [
    (
        X.astype("f2"),
        (
            "argument p['a'] has dtype float16 (shape (3,)). Supported are bool, "
            "integers, float32, float64, complex64 and complex128: convert it, or "
            "close over it."
        ),
    ),
    (
        np.ma.masked_array(X),
        (
            "argument p['a'] is a MaskedArray, a subclass of ndarray. Pass "
            "np.asarray of it, if plain ndarray arithmetic is meant."
        ),
    ),
    (
        {1, 2},
        (
            "argument p['a'] is a set, which is neither a number nor a container "
            "that can be opened nor hashable. Register the class with "
            "optree.register_pytree_node(..., namespace='tracejit'), or make it "
            "hashable."
        ),
    ),
]


@pytest.mark.parametrize(("value", "expected"), REFUSED)
def test_refused_arguments(value, expected):
    f = tj.jit(lambda p: p)
    with pytest.raises(tj.TracejitError) as error:
        f({"a": value})
    assert str(error.value).partition(": ")[2] == expected
    assert str(error.value).startswith("test_dispatch.py:")
    assert counts(f) == (0, 0, 0, 0, 0)


def test_static_arguments():
    @tj.jit(static_argnames="mode")
    def f(x, mode, n=2):
        return x + (1.0 if mode == "up" else -1.0) * n

    np.testing.assert_array_equal(f(X, "up"), X + 2)
    np.testing.assert_array_equal(f(X, "down"), X - 2)
    np.testing.assert_array_equal(f(X, mode="up"), X + 2)
    np.testing.assert_array_equal(f(X, "up"), X + 2)
    np.testing.assert_array_equal(f(X, "up"), X + 2)
    assert counts(f)[:2] == (3, 3)
    assert "argument mode: 'up' -> 'down'" in f.explain()


def test_unhashable_static_argument():
    f = tj.jit(lambda x, n: x, static_argnums=1)
    with pytest.raises(tj.ArgumentError, match="static argument 1 is a list, which is"):
        f(X, [1])


def test_unknown_static_name():
    with pytest.raises(tj.ArgumentError, match="'mod', which is no parameter of f"):

        @tj.jit(static_argnames="mod")
        def f(x, mode):
            pass


def test_a_dataclass_registered_with_optree():
    import optree

    class Params:
        def __init__(self, w, b):
            self.w, self.b = w, b

    optree.register_pytree_node(
        Params,
        lambda p: ((p.w, p.b), None),
        lambda _, children: Params(*children),
        namespace=signature.NAMESPACE,
    )
    gradient = tj.grad(lambda p: np.sum(p.w * p.b))(Params(X, 2.0))
    assert isinstance(gradient, Params)
    np.testing.assert_array_equal(gradient.w, [2, 2, 2])
    assert gradient.b == 6


# --- path tree ------------------------------------------------------------------------

BRANCHES = """\
def f(x):
    r = x.sum()
    if r > 0:
        if r > 10:
            return r * 3
        return r * 2
    if x[0] > 0:
        return r
    return -r
"""


def expected(x):
    r = x.sum()
    if r > 0:
        return r * 3 if r > 10 else r * 2
    return r if x[0] > 0 else -r


def test_each_path_is_recorded_once():
    f = tj.jit(from_source(BRANCHES))
    inputs = [X, 10 * X, -X, np.array([1.0, -3.0, 0.0])]
    for x in inputs * 3:
        np.testing.assert_allclose(f(x), expected(x))
    assert counts(f)[:2] == (1, 4)
    assert f.stats().hits == 8
    assert f.stats().interpreted == 0
    assert f.stats().kernels_compiled + f.stats().kernels_reused == 4


def test_explain_names_the_line_that_decided():
    f = tj.jit(from_source(BRANCHES))
    for x in (X, 10 * X, -X, np.ones(4)):
        f(x)
    assert f.explain() == (
        "trace 1: first call (x: f64[3])\n"
        "trace 2: model.py:4  if r > 10: was False, now True (r = 60)\n"
        "trace 3: model.py:3  if r > 0: was True, now False (r = -6)\n"
        "trace 4: argument x: f64[3] -> f64[4]"
    )


@pytest.mark.parametrize(
    ("source", "first", "second", "text"),
    [
        (
            "def f(x):\n    n = 0\n    while x < 3: x += 1; n += 1\n    return n",
            2.5,
            1.5,
            (
                "trace 2: model.py:3  while x < 3: x += 1; n += 1: "
                "was False, now True (x = 2.5)"
            ),
        ),
        (
            "def f(x):\n    return x * 2 if 0 < x else x",
            1.0,
            -1.0,
            (
                "trace 2: model.py:2  return x * 2 if 0 < x else x: was True, now "
                "False (x = -1)"
            ),
        ),
        (
            "def f(x):\n    return sum(x for i in range(int(x)))",
            2.0,
            3.0,
            "trace 2: model.py:2  return sum(x for i in range(int(x))): was 2, now 3",
        ),
        (
            "def f(x):\n    return max(x * x, x)",
            2.0,
            0.5,
            "trace 2: model.py:2  return max(x * x, x): was False, now True",
        ),
    ],
)
def test_explanations(source, first, second, text):
    f = tj.jit(from_source(source))
    f(first)
    f(second)
    assert f.explain().splitlines()[1] == text


def test_alternating_paths_hit_with_one_failure_each():
    f = tj.jit(lambda x: x * 2 if x.sum() > 0 else x)
    f(X), f(-X), f(X)
    before = f.stats().guard_failures
    for _ in range(5):
        f(-X), f(X)
    assert f.stats().traces == 2
    assert f.stats().hits == 11
    assert f.stats().guard_failures - before == 10


def test_what_an_interpreted_path_leaves_for_the_backward_kernel(monkeypatch):
    """Residuals of a path that is not compiled lie as the kernel reads them."""
    monkeypatch.setattr(config, "MAX_EAGER_PATHS", 0)
    x, w = np.arange(1.0, 13.0).reshape(3, 4), np.array([1.0, -2.0, 0.5])
    out, pull = tj.vjp(lambda x: np.hypot.reduce(x, axis=1), x)
    np.testing.assert_allclose(out, np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(pull(w)[0], x / out[:, None] * w[:, None])


def test_many_paths_are_interpreted_first_and_compiled_when_they_return():
    f = tj.jit(from_source("def f(x):\n    return x * int(x)"))
    n = config.MAX_EAGER_PATHS
    for i in range(n + 3):
        assert f(i + 0.5) == i * (i + 0.5)
    stats = f.stats()
    assert stats.traces == n + 3
    assert stats.interpreted == 3
    assert stats.kernels_compiled + stats.kernels_reused == n
    assert f(n + 0.5) == n * (n + 0.5)
    stats = f.stats()
    assert stats.traces == n + 3
    assert stats.interpreted == 3
    assert stats.hits == 1
    assert stats.kernels_compiled + stats.kernels_reused == n + 1


def test_python_runs_once_per_path(capsys):
    @tj.jit
    def f(x):
        print("run")
        return x * 2 if x.sum() > 0 else x

    for x in (X, -X, X, -X, X):
        f(x)
    assert capsys.readouterr().out == "run\nrun\n"
    assert counts(f)[:2] == (1, 2)


def test_values_on_the_border_of_a_comparison():
    """A kernel may round differently from NumPy; the recording's answer counts."""
    f = tj.jit(lambda x: x + 1 if np.sum(x * 0.1) > 0.6 else x - 1)
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = rng.normal(size=64)
        x += (6.0 - x.sum()) / 64
        got = f(x)
        assert np.array_equal(got, x + 1) or np.array_equal(got, x - 1)
    assert f.stats().traces <= 2


# --- NumPy's errors, and the user's ---------------------------------------------------


def test_an_index_out_of_range_raises_at_the_users_line():
    f = tj.jit(from_source("def f(x, i):\n    return x[i] * 2"))
    i = np.array([0, 2])
    np.testing.assert_array_equal(f(X, i), [2, 6])
    np.testing.assert_array_equal(f(X, i), [2, 6])
    with pytest.raises(IndexError) as error:
        f(X, np.array([0, 3]))
    assert traceback.extract_tb(error.value.__traceback__)[-1].name == "f"
    np.testing.assert_array_equal(f(X, i), [2, 6])
    assert f.stats().traces == 1


def test_the_users_exception_passes_and_leaves_nothing_behind():
    class Mine(Exception):
        pass

    def f(x):
        if x.sum() < 0:
            raise Mine("here")
        return x * 2

    g = tj.jit(f)
    for _ in range(2):
        with pytest.raises(Mine, match="here") as error:
            g(-X)
        frames = traceback.extract_tb(error.value.__traceback__)
        assert frames[-1].name == "f"
        assert not RECORDINGS
        assert tj.tracer.active_recorder() is None
    np.testing.assert_array_equal(g(X), 2 * X)
    with pytest.raises(Mine):
        g(-X)
    np.testing.assert_array_equal(g(X), 2 * X)
    assert counts(g)[:2] == (1, 1)


def test_a_shape_error_comes_from_the_users_line():
    def f(x):
        return np.sum(x + np.ones(4))

    with pytest.raises(ValueError, match=r"shapes \(3,\) \(4,\)") as error:
        tj.grad(f)(X)
    frames = traceback.extract_tb(error.value.__traceback__)
    assert frames[-1].line == "return np.sum(x + np.ones(4))"
    ours = [
        f for f in frames if "tracejit/" in f.filename and "/tests/" not in f.filename
    ]
    assert len(ours) <= 2


def test_full_traceback(monkeypatch):
    monkeypatch.setattr(config, "FULL_TRACEBACK", True)
    with pytest.raises(ValueError, match="shapes") as error:
        tj.grad(lambda x: np.sum(x + np.ones(4)))(X)
    assert len(traceback.extract_tb(error.value.__traceback__)) > 6


def test_an_opaque_result_is_refused():
    class Result:
        pass

    def f(x):
        result = Result()
        result.x = x
        return result

    with pytest.raises(tj.UnsupportedError) as error:
        tj.jit(f)(X)
    assert str(error.value).partition(": ")[2] == (
        "f returned a Result, which cannot be opened. Return arrays, numbers and "
        "containers of them, or register Result with "
        "optree.register_pytree_node(..., namespace='tracejit')."
    )


# --- fast path ------------------------------------------------------------------------


def test_the_fast_path_takes_containers_and_settings():
    rate = 2.0
    f = tj.value_and_grad(lambda p, x, mode: rate * np.sum(p["w"] * x) + p["b"][0])
    p = {"w": X, "b": [1.0, np.float32(2)]}
    f(p, X, "a")
    f(p, X, "a")
    fast = f._dispatcher.fast
    assert fast(p, X, "a") is not MISS
    for other in [
        (p, X, "b"),
        (p, X),
        (p, X[:2], "a"),
        (p, X.astype("f4"), "a"),
        (p, list(X), "a"),
        (p, X[::-1], "a"),
        ({"w": X, "c": [1.0, np.float32(2)]}, X, "a"),
        ({"w": X}, X, "a"),
        ({"w": X, "b": (1.0, np.float32(2))}, X, "a"),
        ({"w": X, "b": [1, np.float32(2)]}, X, "a"),
    ]:
        assert fast(*other) is MISS
    rate = 3.0
    assert fast(p, X, "a") is MISS
    assert f(p, X, "a")[0] == 3 * 14 + 1


def test_a_result_is_never_shared_between_calls():
    constant = np.ones(2)
    f = tj.jit(lambda x: (x, x * 2, constant * 1, np.arange(3)))
    first = f(X)
    for leaf in first:
        leaf[0] = 99
    second = f(X)
    np.testing.assert_array_equal(second[1], 2 * X)
    np.testing.assert_array_equal(second[2], [1, 1])
    np.testing.assert_array_equal(second[3], [0, 1, 2])
    third = f(X)
    third[3][0] = 99
    np.testing.assert_array_equal(f(X)[3], [0, 1, 2])


def test_the_input_may_be_returned_but_is_not_aliased():
    x = X.copy()
    y = tj.jit(lambda x: x)(x)
    y[0] = 99
    assert x[0] == 1


# --- log, check, settings -------------------------------------------------------------


def test_log(monkeypatch, capsys):
    monkeypatch.setattr(config, "LOG", True)
    f = tj.jit(from_source(BRANCHES))
    f(X), f(-X)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[trace 1 f model.py:1]  ")
    assert ", 2 guards, kernel " in first
    assert second.startswith("[trace 2 f (1/exit 0) model.py:3]  ")
    assert second.endswith(" s")


def test_check_mode_accepts_what_is_right(monkeypatch):
    monkeypatch.setattr(config, "CHECK", True)
    f = tj.value_and_grad(lambda x: np.sum(np.sin(x)) if x[0] > 0 else np.sum(x))
    for x in (X, -X, X, -X):
        f(x)
    assert counts(f)[:2] == (1, 2)


def test_check_mode_finds_a_wrong_kernel(monkeypatch):
    f = tj.jit(lambda x: x * 2)
    f(X)
    trace = f._dispatcher.traces[0]
    trace.fast_refused = True
    trace.executable = types.SimpleNamespace(
        run=lambda x: (0, None, (x * 2.001,)), kernel=None, compiled=True
    )
    np.testing.assert_allclose(f(X), X * 2.001)
    monkeypatch.setattr(config, "CHECK", True)
    f._dispatcher.fast = lambda *args: MISS
    with pytest.raises(tj.CheckError, match="output 0 of the kernel differs from the"):
        f(X)


def test_check_mode_finds_a_stale_trace(monkeypatch):
    """What no capture can see: the world outside Python, here a file."""
    f = tj.jit(lambda x: x * 2)
    f(X)
    trace = f._dispatcher.traces[0]
    monkeypatch.setattr(config, "CHECK", True)
    tape = tj.jit(lambda x: x * 3).tape(X)
    trace.tape = tape
    trace.executable = types.SimpleNamespace(
        run=lambda x: (0, None, (x * 3,)), kernel=None, compiled=True
    )
    f._dispatcher.fast = lambda *args: MISS
    with pytest.raises(tj.CheckError, match="differs from a fresh recording"):
        f(X)


def test_the_number_of_signatures_is_bounded(monkeypatch):
    monkeypatch.setattr(config, "MAX_SIGNATURES", 3)
    f = tj.jit(lambda x: x)
    for n in range(6):
        f(np.ones(n + 1))
    assert len(f._dispatcher.entries) == 3


def test_the_number_of_variants_is_bounded(monkeypatch):
    monkeypatch.setattr(config, "MAX_VARIANTS", 3)
    k = 0
    f = tj.jit(lambda x: x + k)
    for k in range(6):
        np.testing.assert_array_equal(f(X), X + k)
    (entry,) = f._dispatcher.entries.values()
    assert len(entry.roots) == 3


def test_a_signature_with_too_many_traces_starts_again(monkeypatch):
    monkeypatch.setattr(config, "MAX_TRACES", 5)
    f = tj.jit(from_source("def f(x):\n    return x * int(x)"))
    for i in range(12):
        assert f(i + 0.5) == i * (i + 0.5)
    assert len(f._dispatcher.traces) <= 5
    assert f.stats().traces == 12


def test_objects_are_not_kept_alive_without_bound(monkeypatch):
    monkeypatch.setattr(config, "MAX_OBJECTS", 2)

    class Model:
        @tj.grad
        def f(self, x):
            return np.sum(x) * self.k

    alive = []
    for k in range(5):
        model = Model()
        model.k = k
        np.testing.assert_array_equal(model.f(X), [k] * 3)
        alive.append(weakref.ref(model))
    del model
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 2


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("TRACEJIT_CACHE", raising=False)
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path))
    assert config.cache_dir() == tmp_path
    monkeypatch.setenv("TRACEJIT_CACHE", "0")
    assert config.cache_dir() is None
    monkeypatch.delenv("TRACEJIT_CACHE")
    monkeypatch.delenv("TRACEJIT_CACHE_DIR")
    assert config.cache_dir().name == "tracejit"


# --- memory ---------------------------------------------------------------------------


def test_a_function_is_forgotten_with_its_traces():
    def f(x):
        return x * 2

    g = tj.jit(f)
    g(X)
    trace = weakref.ref(g._dispatcher.traces[0])
    del f, g
    gc.collect()
    assert trace() is None


def test_a_recording_lets_go_of_its_arrays_at_once():
    gc.disable()
    try:
        x = np.ones(1000)
        alive = weakref.ref(x)
        tj.grad(lambda x: np.sum(np.sin(x) ** 2))(x)
        del x
        assert alive() is None
    finally:
        gc.enable()


def test_a_tracer_cannot_leak_through_a_method_of_a_list():
    kept = []
    keep = kept.append

    def f(x):
        keep(x)
        return x * 2

    with pytest.raises(tj.UnsupportedError, match="changes keep"):
        tj.jit(f)(X)
    with pytest.raises(tj.TracejitError, match="used after its recording"):
        kept[0] + 1


def test_equal_results_are_arrays_of_their_own():
    """The caller may write into one of them."""
    f = grad(lambda a, b: np.sum(np.sin(a + b)), argnums=(0, 1))
    for _ in range(3):  # recorded, searched, on the fast path
        first, second = f(np.ones(3), np.ones(3))
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(first, second)

    def twice(x):
        y = x * 2
        return y, y, x * 2

    one, same, other = jit(twice)(np.ones(3))
    assert one is same  # as in NumPy
    assert not np.shares_memory(one, other)
