"""`f.njit` and `f.cfunc`: recorded functions inside code that Numba or C compiled."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaWarning, TypingError
from scipy import LowLevelCallable
from scipy.integrate import nquad, quad

import tracejit as tj
from tracejit import grad, jit, primitive, value_and_grad, vmap

pytestmark = pytest.mark.compiles

X = np.linspace(0.1, 1.0, 50)
MISS = "f: no recorded path fits the arguments. Give an example of it to njit."


def test_value_and_gradient_of_a_scalar_function():
    f = value_and_grad(lambda x: np.sin(x) * np.exp(-x * x))
    inside = f.njit(0.5)

    @njit
    def total(n):
        value = slope = 0.0
        for i in range(n):
            v, s = inside(0.01 * i)
            value += v
            slope += s
        return value, slope

    points = 0.01 * np.arange(300)
    expected = np.array([f(float(x)) for x in points]).sum(0)
    assert np.allclose(total(300), expected, rtol=1e-12)
    assert f.stats().traces == 1


def test_no_python_inside():
    inside = value_and_grad(lambda x: np.sum(x**2)).njit(X)

    @njit(nogil=True)
    def use(x):
        return inside(x)[0]

    use(X)
    (code,) = use.inspect_llvm().values()
    heads = [text.partition("{") for text in code.split("define ")[1:]]
    bodies = [body for head, _, body in heads if "cpython" not in head]
    assert any("fmul" in body for body in bodies)
    assert not any("@PyObject" in body or "@PyGIL" in body for body in bodies)


def test_arrays_come_in_any_layout_and_leave_as_new_ones():
    f = value_and_grad(lambda x, y: np.sum(np.sin(x) * y), argnums=(0, 1))
    x = np.arange(12.0).reshape(3, 4)
    y = x + 1
    inside = f.njit(x, y)

    @njit
    def use(x, y):
        value, (gx, gy) = inside(x, y)
        gx[0, 0] += 100.0
        return value, gx, gy

    for a in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        value, gx, gy = use(a, y)
        assert np.isclose(value, np.sum(np.sin(x) * y))
        assert np.allclose(
            gx, np.cos(x) * y + 100.0 * (np.arange(12).reshape(3, 4) == 0)
        )
        assert np.allclose(gy, np.sin(x))


def test_what_goes_in_and_comes_out():
    @jit
    def f(p, n, z):
        (x, k), y = p
        return y, (x * k + n, n), x > 0, z, x

    inside = f.njit(((1.5, 2), X), 3, np.float32(2))
    y, (a, n), positive, z, x = inside(((1.5, 2), X), 3, np.float32(2))
    assert np.array_equal(y, X)
    assert y is not X
    assert (a, n, positive, z, x) == (6.0, 3, True, 2.0, 1.5)
    assert inside(((2, 2), X), True, 1.0)[1] == (5.0, 1)  # Numba's numbers are cast


def test_complex_numbers_and_arrays():
    f = jit(lambda z, w: (z * w, np.abs(w), np.sum(w), z))
    z, w = 1 + 2j, np.arange(12.0) + 1j
    for got, expected in zip(f.njit(z, w)(z, w), f(z, w), strict=True):
        assert np.allclose(got, expected, rtol=1e-14)
    assert f.njit(z, w)(2, w)[3] == 2 + 0j


def test_writes_into_own_arrays():
    def f(x):
        y = np.zeros(5)
        y[1:4] = x
        y[0] += 2.0 * x[1]
        return np.sum(y**2)

    x = np.array([1.0, 2.0, 3.0])
    value, slope = value_and_grad(f).njit(x)(x)
    assert value == 30.0
    assert np.array_equal(slope, [2.0, 20.0, 6.0])


def test_weak_scalars_and_none():
    f = jit(lambda x: (x * 2, None, 3, (X[1],)))
    found = f.njit(1.0)(4.0)
    assert found == (8.0, None, 3, (X[1],))


def test_static_arguments_are_bound():
    f = jit(lambda x, n: x**n, static_argnums=1)
    cube = f.njit(2.0, 3)
    assert cube(5.0) == 125.0
    assert f.njit(2.0, 2)(5.0) == 25.0


# --- paths ---------------------------------------------------------------------------


def branchy(x):
    s = np.sum(x)
    if s > 1.0:
        if s > 10.0:
            return s * s
        return np.sin(s)
    return 2.0 * s


def test_known_paths_are_tried_in_turn():
    f = value_and_grad(branchy)
    inside = f.njit(np.ones(3) * 0.1, more=[(np.ones(3),), (np.ones(3) * 9,)])
    for scale in (0.1, 1.0, 9.0, 2.0, -5.0):
        x = np.ones(3) * scale
        for a, b in zip(inside(x), f(x), strict=True):
            assert np.allclose(a, b, rtol=1e-14)
    assert f.stats().traces == 3


def test_what_was_recorded_before_is_included():
    f = value_and_grad(branchy)
    for scale in (0.1, 1.0):
        f(np.ones(3) * scale)
    inside = f.njit(np.ones(3) * 9)
    assert inside(np.ones(3) * 0.1)[0] == pytest.approx(0.6)
    assert f.stats().traces == 3


def test_an_unknown_path_raises():
    @value_and_grad
    def f(x):
        return x * x if x > 0 else -x

    inside = f.njit(1.0)
    assert inside(3.0) == (9.0, 6.0)
    with pytest.raises(tj.UnknownPathError) as caught:
        inside(-3.0)
    assert str(caught.value) == MISS


def test_other_shapes_raise():
    @grad
    def f(x):
        return np.sum(x * x)

    inside = f.njit(X)
    for x in (X[:20], np.zeros(0), np.zeros(51)):
        with pytest.raises(tj.UnknownPathError) as caught:
            inside(x)
        assert str(caught.value) == MISS


def test_status_instead():
    f = value_and_grad(lambda x: np.sum(x) if x[0] > 0 else 2.0 * np.sum(x))
    inside = f.njit(X, on_miss="status")
    status, (value, gradient) = inside(X)
    assert (status, value) == (0, pytest.approx(X.sum()))
    assert np.array_equal(gradient, np.ones(50))
    for x in (-X, X[:3]):
        status, (value, gradient) = inside(x)
        assert status != 0
        assert np.isnan(value)
        assert np.isnan(gradient).all()


def test_an_error_that_numpy_would_raise_is_a_miss():
    f = jit(lambda a: np.linalg.solve(a, np.ones(20)))
    inside = f.njit(np.eye(20))
    assert np.allclose(inside(2 * np.eye(20)), 0.5)
    with pytest.raises(tj.UnknownPathError):
        inside(np.zeros((20, 20)))


# --- captures, memory, threads --------------------------------------------------------

TABLE = np.arange(50.0)
RATE = [2.0]


def test_captured_arrays_are_bound_by_reference():
    def f(x):
        return np.sum(x * TABLE) * RATE[0]

    inside = grad(f).njit(X)
    assert np.array_equal(inside(X), 2 * np.arange(50.0))
    TABLE[3] = 100.0
    RATE[0] = 7.0
    try:
        assert inside(X)[3] == 200.0  # the array as it is, the number as it was
    finally:
        TABLE[3], RATE[0] = 3.0, 2.0


def test_an_array_that_nobody_else_holds_lives_on():
    def make():
        table = np.full(1000, 3.0)
        return jit(lambda x: x * table).njit(np.ones(1000))

    inside = make()
    churn = [np.full(1000, 9.0) for _ in range(100)]
    assert np.array_equal(inside(np.ones(1000)), np.full(1000, 3.0))
    assert len(churn) == 100


def test_threads_have_workspaces_of_their_own():
    matrix = np.random.default_rng(0).normal(size=(60, 60))

    def f(x):
        return np.sum(np.sin(matrix @ x) ** 2)

    step = value_and_grad(f)
    x = np.linspace(-1, 1, 60)
    inside = step.njit(x)

    @njit(nogil=True)
    def many(x, n):
        worst = 0.0
        value, slope = inside(x)
        for _ in range(n):
            v, s = inside(x)
            worst = max(worst, abs(v - value), np.max(np.abs(s - slope)))
        return worst

    many(x, 1)
    assert np.allclose(inside(x)[1], step(x)[1], rtol=1e-12)
    found = {}

    def work(k):
        found[k] = many(x + k, 300)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0.0, 1: 0.0}


def test_loops_and_libraries():
    def f(x):
        for _ in range(30):
            x = x + 0.1 * np.linalg.solve(np.eye(6) * 2.0 + np.outer(x, x), x)
        return np.sum(x)

    step = grad(f)
    x = np.linspace(0.1, 0.9, 6)
    assert np.allclose(step.njit(x)(x), step(x), rtol=1e-13)


def test_a_numba_primitive_inside():
    @primitive
    @njit
    def cube(x):
        return x * x * x

    cube.defvjp(lambda ans, x: lambda g: 3.0 * g * x * x)
    inside = grad(lambda x: np.sin(cube(x))).njit(1.0)
    assert np.isclose(inside(0.7), np.cos(0.343) * 3 * 0.49)


CACHED = """
import sys
import numpy as np
from numba import njit
from tracejit import grad
rate = float(sys.argv[1])
inside = grad(lambda x: rate * x * x).njit(1.0)
@njit(cache=True)
def use(x):
    return inside(x)
@njit(cache=True)
def outer(x):
    return use(x)
print(outer(1.0))
"""


@pytest.mark.processes
def test_numba_caches_no_caller(tmp_path):
    script = tmp_path / "cached.py"
    script.write_text(CACHED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), "5.0"],
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "10.0\n"
    # A cached caller would still have the old function in it when that is changed.
    for name in ("use", "outer"):
        assert f'Cannot cache compiled function "{name}"' in done.stderr
    assert not list(tmp_path.rglob("*.nbi"))


# --- refusals ------------------------------------------------------------------------


def text_of(call, *args, **kwargs):
    with pytest.raises(tj.TracejitError) as caught:
        call(*args, **kwargs)
    return str(caught.value).partition(": ")[2]


def test_refusals():
    f = jit(lambda x: x + 1)
    assert text_of(f.njit, 1.0, more=[(X,)]) == (
        "njit: the examples of <lambda> differ in structure, dtypes, shapes or static "
        "arguments. Call it once for each, which makes functions of their own."
    )
    assert text_of(f.njit, 1.0, on_miss="return") == (
        "njit: on_miss='return'. Use 'raise' or 'status'."
    )
    assert text_of(jit(lambda x: {"a": x}).njit, 1.0) == (
        "njit: the function returns a dict or another container or object. Return "
        "arrays and numbers in tuples."
    )
    assert text_of(jit(lambda p: p["a"]).njit, {"a": 1.0}) == (
        "njit: argument p is a dict or has static parts. Pass arrays, numbers and "
        "tuples of them."
    )
    strided = np.arange(10.0)[::2]
    assert text_of(jit(lambda x: x * strided).njit, np.ones(5)) == (
        "njit: a captured array of shape (5,) is not contiguous in memory. Let the "
        "function use np.ascontiguousarray of it, made outside, or pass it as an "
        "argument."
    )

    def writes(x):
        x[0] = 5.0
        return x * 2

    assert text_of(jit(writes).njit, np.ones(3)) == (
        "njit: writes writes into its arguments. Let it write into copies of them."
    )
    host = primitive(lambda x: float(x) + 1.0)
    assert text_of(jit(lambda x: host(x)).njit, 1.0) == (
        "njit: <lambda> calls lambda in Python, and compiled code cannot wait for "
        "that. Compile the function with numba.njit, or call <lambda> from Python."
    )


def test_batches_without_decisions():
    step = vmap(grad(lambda x: np.sin(x) * x))
    assert np.allclose(step.njit(X)(X), step(X), rtol=1e-14)


def test_batches_that_decide():
    """Each example takes its own path in compiled code, too."""
    batch = vmap(value_and_grad(lambda x: x * x if x > 0.5 else np.sin(x)))
    x = np.linspace(-1.0, 2.0, 7)
    inside = batch.njit(x)

    @njit
    def twice(x):
        values, slopes = inside(x)
        return values + slopes

    for given in (x, x[::-1].copy(), np.full(7, 3.0), np.full(7, -3.0)):
        values, slopes = batch(given)
        np.testing.assert_allclose(twice(given), values + slopes, rtol=1e-14)
    assert "branch" in repr(batch.tape(x))
    # A path that no example has taken is a miss, for the whole batch.
    large = vmap(jit(lambda x: x if x > 0.5 else 2 * x))
    one = large.njit(np.ones(3))
    np.testing.assert_array_equal(one(np.full(3, 2.0)), np.full(3, 2.0))
    with pytest.raises(tj.UnknownPathError, match="no recorded path fits"):
        one(np.array([1.0, 0.0, 1.0]))
    status, result = large.njit(np.ones(3), on_miss="status")(np.zeros(3))
    assert status == 1
    assert np.isnan(result).all()
    both = large.njit(np.ones(3), more=[(np.array([1.0, 0.0, 1.0]),)])
    np.testing.assert_array_equal(both(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(both(np.array([2.0, 0.1, 1.0])), [2.0, 0.2, 1.0])
    mean = jit(lambda x: np.mean(large(x))).cfunc(x)
    expected = np.mean(np.where(x > 0.5, x, 2 * x))
    assert mean.ctypes(7, pointer(x)) == pytest.approx(expected)


class Model:
    scale = 3.0

    @jit
    def scaled(self, x):
        return self.scale * x

    @vmap
    def bent(self, x):
        return self.scale * x if x > 0 else x


def test_methods_need_their_object():
    model = Model()
    assert Model.scaled.njit(model, 2.0)(4.0) == 12.0
    assert model.scaled.njit(model, 2.0)(4.0) == 12.0
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(model.bent(x), [-1.0, 6.0])
    np.testing.assert_array_equal(Model.bent.njit(model, x)(x), [-1.0, 6.0])
    missing = "scaled is a method, and missing a required argument: 'x'. "
    assert text_of(model.scaled.njit, 2.0) == (
        f"njit: {missing}Give the object in front: njit(object, ...)."
    )
    assert text_of(model.scaled.cfunc, 2.0) == (
        f"cfunc: {missing}Give the object in front: cfunc(object, ...)."
    )
    assert text_of(model.scaled.tape, 2.0) == (
        f"tape: {missing}Give the object in front: tape(object, ...)."
    )
    assert text_of(model.bent.njit, x).startswith("njit: bent is a method, and ")


def test_loops_writes_and_branches_inside():
    def walked(x):
        y = np.zeros(5)
        for k in range(5):
            if x[k] > 0:
                y[k] = x[k] * x[k]
            else:
                y[k] = -x[k]
        return y.sum()

    mixed = np.array([1.0, -2.0, 3.0, -4.0, 0.5])
    f = value_and_grad(walked)
    inside = f.njit(mixed, more=[(-mixed,)])
    for x in (mixed, -mixed):
        value, slope = inside(x)
        np.testing.assert_allclose(value, f(x)[0])
        np.testing.assert_allclose(slope, f(x)[1])

    def rounds(x):
        while x < 100.0:
            x = x * 2.0
        return x

    many = value_and_grad(rounds).njit(1.0)
    assert many(3.0) == (192.0, 64.0)
    assert many(1e-3) == (131.072, 131072.0)
    # More rounds than there is room for what the derivative needs of each: a miss.
    tiny = value_and_grad(lambda x: rounds(np.sin(x) * x))
    one = tiny.njit(0.5)
    with pytest.raises(tj.UnknownPathError):
        one(1e-200)


def test_other_types_are_refused_when_compiled():
    inside = jit(lambda x, n: x * n).njit(X, 3)
    with pytest.raises(
        TypingError, match=r"argument x is array\(float32, 1d, C\), and"
    ):
        inside(X.astype("f4"), 3)
    with pytest.raises(
        TypingError, match=r"argument n is float64, and i64\[\] was rec"
    ):
        inside(X, 3.5)


# --- C functions ---------------------------------------------------------------------


def test_quad_and_nquad():
    bell = jit(lambda x: np.exp(-x * x)).cfunc(0.0)
    assert bell.signature == "double (double)"
    assert np.isclose(quad(LowLevelCallable(bell.ctypes), -9, 9)[0] ** 2, np.pi)
    both = jit(lambda x, y: np.exp(-x * x - y)).cfunc(0.0, 1.0)
    assert both.signature == "double (int, double *)"
    found, _ = nquad(LowLevelCallable(both.ctypes), [[-9, 9], [0, 1]])
    assert np.isclose(found, np.sqrt(np.pi) * (1 - np.exp(-1)))
    array = jit(lambda x: np.exp(-(x[0] ** 2) - x[1])).cfunc(np.zeros(2))
    assert np.isclose(
        nquad(LowLevelCallable(array.ctypes), [[-9, 9], [0, 1]])[0], found
    )


def test_the_derivative_as_a_c_function():
    slope = grad(lambda x: np.sin(x) * x).cfunc(1.0)
    assert np.isclose(quad(LowLevelCallable(slope.ctypes), 0, 2)[0], 2 * np.sin(2))


def test_user_data():
    wide = jit(lambda x, a, b: b * np.exp(-a * x * x)).cfunc(0.0, 1.0, 1.0, user_data=2)
    assert wide.signature == "double (double, void *)"
    data = np.array([2.0, 3.0])
    call = LowLevelCallable(wide.ctypes, data.ctypes.data_as(ctypes.c_void_p))
    assert np.isclose(quad(call, -9, 9)[0], 3 * np.sqrt(np.pi / 2))
    many = jit(lambda x, y, p: p[0] * x + p[1] * y).cfunc(
        0.0, 1.0, np.zeros(2), user_data=1
    )
    assert many.signature == "double (int, double *, void *)"
    xx = (ctypes.c_double * 2)(5.0, 7.0)
    assert many.ctypes(2, xx, data.ctypes.data) == 31.0


def pointer(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def test_the_samplers_signature():
    precision = np.diag([1.0, 2.0, 3.0])
    density = value_and_grad(lambda x: -0.5 * x @ precision @ x)
    function = density.cfunc(np.zeros(3), signature="sampler")
    assert function.signature == "int64 (uint64, double *, double *, double *, void *)"
    x, slope, value = np.array([1.0, -1.0, 2.0]), np.zeros(3), np.zeros(1)
    assert function.ctypes(3, pointer(x), pointer(slope), pointer(value), None) == 0
    assert np.allclose(slope, -precision @ x)
    assert value[0] == -0.5 * x @ precision @ x
    # Another dimension: nothing is read.
    assert function.ctypes(2, pointer(x), pointer(slope), pointer(value), None) == 1
    assert np.isnan(value[0])
    assert function.ctypes(5, pointer(x), pointer(slope), pointer(value), None) == 1
    assert np.allclose(slope, -precision @ x)


def test_a_samplers_user_data():
    """The density's data, read at each call."""

    def log_density(x, data):
        return -0.5 * np.sum((x - data[0]) ** 2) * data[1]

    function = value_and_grad(log_density).cfunc(
        np.zeros(3), np.array([0.0, 1.0]), signature="sampler", user_data=1
    )
    x, slope, value = np.array([1.0, -1.0, 2.0]), np.zeros(3), np.zeros(1)
    for data in (np.array([0.5, 2.0]), np.array([-1.0, 3.0])):
        operands = pointer(x), pointer(slope), pointer(value), data.ctypes.data
        assert function.ctypes(3, *operands) == 0
        assert value[0] == pytest.approx(log_density(x, data), rel=1e-14)
        np.testing.assert_allclose(slope, -(x - data[0]) * data[1], rtol=1e-14)


def test_another_number_of_arguments_is_nan():
    both = jit(lambda x, y: x * y).cfunc(1.0, 2.0)
    xx = (ctypes.c_double * 3)(5.0, 7.0, 11.0)
    assert both.ctypes(2, xx) == 35.0
    assert np.isnan(both.ctypes(3, xx))
    assert np.isnan(both.ctypes(1, xx))
    array = jit(lambda x: x[0] - x[1]).cfunc(np.zeros(2))
    assert array.ctypes(2, xx) == -2.0
    assert np.isnan(array.ctypes(3, xx))


def test_a_new_path_is_answered_in_python():
    f = jit(lambda x: x * x if x > 0 else -x)
    function = f.cfunc(1.0)
    assert function.ctypes(3.0) == 9.0
    assert f.stats().traces == 1
    assert function.ctypes(-3.0) == 3.0
    assert f.stats().traces == 2


def test_an_error_is_reported_and_the_value_is_nan(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(what.exc_value))

    def f(x):
        if x < 0:
            raise ValueError("negative")
        return x

    function = jit(f).cfunc(1.0)
    assert np.isnan(function.ctypes(-1.0))
    assert [str(error) for error in seen] == ["negative"]
    assert function.ctypes(2.0) == 2.0


def test_refusals_of_cfunc():
    f = jit(lambda x: x + 1)
    assert text_of(f.cfunc, X, signature="float (float)").startswith(
        "cfunc: signature='float (float)'. Use 'sampler' or one of 'double (double)', "
    )
    assert text_of(f.cfunc, X) == (
        "cfunc: <lambda> does not return one float. Use jit, or grad of a function of "
        "one float."
    )
    assert text_of(f.cfunc, 1.0, signature="sampler") == (
        "cfunc: <lambda> does not return a float and its gradient by one array. Use "
        "value_and_grad of a function of one float64 array."
    )
    assert text_of(f.cfunc, 1) == (
        "cfunc: the arguments of <lambda> are not floats and one-dimensional float64 "
        "arrays. Let a function of such arguments call it."
    )
    g = jit(lambda x, y: np.sum(x) * y)
    assert text_of(g.cfunc, X, 1.0) == (
        "cfunc: several arguments, one of them an array, would be read from one place. "
        "Pass one array, or floats only."
    )
    assert text_of(g.cfunc, 1.0, 1.0, signature="double (double)") == (
        "cfunc: 'double (double)' for a function of other arguments than one float. "
        "Use 'double (int, double *)'."
    )
    assert text_of(g.cfunc, 1.0, 1.0, signature="double (double)", user_data=1) == (
        "cfunc: user_data=1 with 'double (double)', which has none. Use the signature "
        "with void *."
    )


@pytest.fixture(autouse=True)
def no_numba_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", NumbaWarning)
        yield
