"""Small programs that try to make a compiled function answer wrongly.

Each row is a function and calls; every answer, the first and the later ones, is that
of plain Python.  What cannot be right raises: see `test_pitfalls.py`.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict, deque, namedtuple

import numpy as np
import pytest

from tracejit import grad, hessian, jacobian, jit

pytestmark = pytest.mark.compiles

X = np.linspace(-1.0, 2.0, 6)
M = np.arange(12.0).reshape(3, 4)
Pair = namedtuple("Pair", "a b")


def outcome(f, args):
    try:
        with np.errstate(all="ignore"):
            return f(*args)
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        return type(error)


def check(got, expected):
    """The same types, shapes and dtypes; the same numbers up to rounding."""
    if isinstance(expected, type):
        assert got is expected, got
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        check(list(got.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple, deque)):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            check(a, b)
    elif isinstance(expected, (np.ndarray, np.generic, float)):
        a, b = np.asarray(got), np.asarray(expected)
        assert type(got) is type(expected) or a.shape == () == b.shape
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        tolerance = 1e-5 if a.dtype == np.float32 else 1e-11
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    else:
        assert type(got) is type(expected), (got, expected)
        assert got == expected


# --- programs -------------------------------------------------------------------------

PROGRAMS = []


def program(*calls):
    def enter(f):
        PROGRAMS.append(pytest.param(f, calls, id=f.__name__))
        return f

    return enter


@program((X, X), (X, X[::-1]), (X[:3], X[3:]), (X, X))
def same_array_twice(a, b):
    a = a * 2
    a += b
    return a, b


@program((X,), (X[::-1],), (X[:0],), (np.float32(X),), (X.astype(">f8"),))
def layouts(x):
    return x[::-1] * 2, x.sum(), x[1:] - x[:-1]


@program((M,), (M.T,), (M[::-1, ::2],), (np.asfortranarray(M),), (M[:0],))
def layouts_2d(m):
    return m.T @ m, m.sum(0), m.reshape(-1), m.ravel()[::-1]


@program((np.broadcast_to(1.5, 4),), (np.broadcast_to(np.arange(3.0), (2, 3)),))
def stride_zero(x):
    return x + np.arange(x.size).reshape(x.shape)


@program((np.array(2.0),), (np.float64(3.0),), (4.0,), (5,), (np.float32(2),))
def zero_dim(x):
    return x * 2, x / 3, np.sqrt(x)


@program((X, 3), (X, 1), (X, 0), (X, -1), (X, 5), (X, 6))
def int_loop(x, n):
    total = 0.0
    for i in range(n):
        total = total + x[i] * (i + 1)
    return total, n * 2


@program((X, 1), (X, -2), (X, 7), (X, -7))
def index_by_traced(x, i):
    return x[i]


@program((X, 1, 3), (X, 0, 6), (X, 3, 1), (X, -2, 9))
def slice_by_traced(x, i, j):
    return x[i:j], x[: i % 3], x[:: abs(i) + 1]


@program((X, 2), (X, 3))
def dict_by_traced_int(x, k):
    table = {2: 10.0, 3: 20.0}
    return x * table[int(k)]


@program((3.0,), (0.5,), (100.0,))
def while_break(x):
    n = 0
    while True:
        x = x / 2
        n += 1
        if x < 0.3:
            break
    else:
        n = -1
    return x, n


@program(([3.0, 1.0, 2.0],), ([1.0, 2.0, 3.0],), ([1.0, 1.0, 0.0],))
def sorting(values):
    return sorted(values), min(values), max(values, key=lambda v: -v)


@program((1.0, 2.0), (2.0, 1.0), (0.0, 0.0), (1.0, 0.0))
def try_division(a, b):
    try:
        return a / b
    except ZeroDivisionError:
        return -1.0
    finally:
        a = 0.0


@program((1, 2), (7, -2), (-7, 2), (5, 0), (0, 3))
def integers(a, b):
    return a // b, a % b, divmod(a, b), a / b, -a, abs(a), a * b, a**2, a > b


@program((True, 2), (False, 3))
def bools(flag, n):
    return flag + n, n * flag, not flag, flag and n, flag == 1


@program((X,), (-X,), (X * 0,), (X * np.nan,))
def comprehension(x):
    return [v * 2 for v in x if v > 0], {i: v for i, v in enumerate(x) if i % 2}


@program((X,), (X + 5,))
def walrus(x):
    if (s := x.sum()) > 5:
        return s
    return s - (t := s * 2) + t


@program((0, 2.0), (1, 2.0), (5, 2.0))
def match_statement(kind, x):
    match kind:
        case 0:
            return x
        case 1:
            return x * 2
        case _:
            return x * 3


@program(({"b": X, "a": (None, [1.0, 2])},), ({"b": X + 1, "a": (None, [3.0, 4])},))
def nested_containers(tree):
    return {"z": tree["b"] * 2, "y": [tree["a"][0], tree["a"][1]], "x": tree}


@program((Pair(X, 2.0),), (Pair(X, 3.0),))
def namedtuples(p):
    return p._replace(b=p.b * 2), p.a * p.b


@program(
    (OrderedDict(b=1.0, a=2.0), deque([1.0, 2.0])),
)
def other_containers(d, q):
    return d["a"] - d["b"], q[0] - q[1], list(d), q


@program((4,), (0,), (7,))
def recursion(n):
    def fact(k):
        return 1 if k <= 1 else k * fact(k - 1)

    return fact(n)


@program((2.0,), (3.0,))
def late_binding(x):
    return [f(x) for f in [lambda v: v * i for i in range(3)]]  # noqa: B023


@program((2.0,), (3.0,))
def generators(x):
    def powers():
        y = x
        while True:
            yield y
            y = y * x

    return list(itertools.islice(powers(), 4)), sum(v for v in [x, 2 * x] if v > 5)


@program((X,), (X[:2],), (X[:0],))
def unpacking(x):
    first, *rest = [0.0, *x]
    del first
    return rest, len(x), x.shape


@program((X,), (X - 1,))
def delete_and_rebind(x):
    y = x * 2
    x = y + 1
    del y
    return x


@program((1.0,), (-1.0,), (np.nan,), (np.inf,))
def chained(x):
    if 0 < x < 10:
        return "mid"
    return "nan" if x != x else "out"


@program((X, 0.5), (X, 3.0), (X.astype("f4"), 0.5))
def partly_in_place(x, y):
    z = x.copy()
    z *= 2
    z += y
    w = z
    w = w - z[0]
    return z, w, x


@program((np.array([1, 2, 3]), 2), (np.array([1, 2, 3], "u1"), 200))
def integer_arrays(a, n):
    return a + 1, a * a, a / 2, a // 2, a.sum(), a > n, a == n


@program((np.array([True, False]), X[:2]), (np.array([False, False]), X[:2]))
def bool_arrays(m, x):
    return x[m], np.where(m, x, 0), m.sum(), m.any(), ~m, x * m


@program((X, (1, 2)), (X, (2, 0)))
def tuple_of_ints(x, idx):
    return x[list(idx)], x[idx[0]] * idx[1]


@program((2.0, 3), (2.0, -1), (0.0, -1), (0.0, 0))
def powers(x, n):
    return x**n, x**2, 2.0**n


@program((5.5,), (-5.5,), (2.5,))
def rounding(x):
    return round(x), int(x), x // 1, x % 1, np.round(x, 1)


@program((X, 1.0), (X, -1.0), (X, 2.0))
def early_return(x, t):
    for i, v in enumerate(x):
        if v > t:
            return i, v
    return None, t


@program((1.0, 2.0), (2.0, 1.0))
def swapped(a, b):
    if a > b:
        a, b = b, a
    return {"lo": a, "hi": b}, [a] * 3, (a, b) * 2


@pytest.mark.parametrize(("f", "calls"), PROGRAMS)
def test_programs(f, calls):
    compiled = jit(f)
    for _ in range(2):
        for args in calls:
            check(outcome(compiled, args), outcome(f, args))


def test_two_views_of_one_buffer():
    def f(a, b):
        c = a + 1
        c += b
        return c, a, b

    compiled = jit(f)
    base = np.arange(8.0)
    for first, second in ((slice(0, 4), slice(2, 6)), (slice(4, 0, -1), slice(1, 5))):
        a, b = base[first], base[second]
        got = compiled(a, b)
        check(got, f(a, b))
        got[0][:] = got[1][:] = 9.0
        assert base.tolist() == list(range(8))


def test_read_only_arguments():
    x = np.arange(3.0)
    x.flags.writeable = False
    out = jit(lambda x: (x, x * 2))(x)
    out[0][0] = 5.0
    assert x[0] == 0.0


@pytest.mark.parametrize("kind", ["class", "partial", "method", "kwonly", "default"])
def test_kinds_of_callables(kind):
    class Model:
        def __init__(self):
            self.k = 2.0

        def __call__(self, x):
            return x * self.k

        def run(self, x):
            return x * self.k

    model = Model()
    if kind == "class":
        f = jit(model)
    elif kind == "partial":
        f = jit(functools.partial(lambda m, x: m.run(x), model))
    elif kind == "method":
        f = jit(model.run)
    elif kind == "kwonly":
        f = jit(lambda x, *, m=model: m(x))
    else:
        f = jit(lambda x, m=model: m(x))
    for k in (2.0, 3.0, 2.0):
        model.k = k
        assert f(4.0) == 4.0 * k


# --- loops, which are rolled ----------------------------------------------------------

LOOPS = []


def loop(f):
    LOOPS.append(pytest.param(f, id=f.__name__))
    return f


@loop
def accumulated(x, n):
    for _ in range(n):
        x = np.sin(x) * 1.5
    return x.sum()


@loop
def collected(x, n):
    out = []
    for i in range(n):
        x = np.tanh(x + 0.1)
        if i % 2 == 0:
            out.append(x)
    return sum(np.sum(v) for v in out) + x[0]


@loop
def middle_used_later(x, n):
    kept = x
    for i in range(n):
        x = np.cos(x)
        if i == 2:
            kept = x
    return np.sum(x * kept)


@loop
def irregular_constants(x, n):
    for c in [0.5, 1.5, -0.3, 0.5, 2.0, 1.0, 0.9][:n]:
        x = np.sin(x * c) + c
    return x.sum()


@loop
def growing(x, n):
    for _ in range(n):
        x = np.concatenate([x, np.sin(x[:1])])
    return np.sum(x**2)


@loop
def shrinking(x, n):
    for _ in range(n):
        x = np.sin(x[1:] * x[:-1])
    return np.sum(x)


@loop
def two_carries(x, n):
    a, b = x, x * 0.5
    for _ in range(n):
        a, b = b, np.sin(a + b)
    return np.sum(a * b)


@loop
def rotating(x, n):
    a, b, c = x, x * 2, x * 3
    for _ in range(n):
        a, b, c = b, c, a * 0.5
    return np.sum(a) + 2 * np.sum(b) + 3 * np.sum(c)


@loop
def guards_inside(x, n):
    for _ in range(n):
        x = np.where(x > 1, x * 0.5, x + 0.3) if x.sum() > 1 else x * 1.7 + 0.2
    return x.sum()


@loop
def until(x, n):
    k = 0
    while x.sum() < 3.0 and k < n:
        x = x + 0.35
        k += 1
    return x.sum() * k


@loop
def counter_used(x, n):
    for i in range(n):
        x = x * (i + 1) + x[i % 3] / (i + 2)
    return x.sum()


@loop
def rows(x, n):
    total = 0.0
    for i in range(n):
        total = total + x[i % 3] * x[(i + 1) % 3]
    return total


@loop
def stacked(x, n):
    return np.sum(np.array([np.sin(x * i) for i in range(n)]), axis=None) + x[0]


@loop
def nested(x, n):
    for _ in range(n):
        for _ in range(5):
            x = np.sin(x)
        x = x * 2
    return x.sum()


@loop
def triangular(x, n):
    for i in range(n):
        for _ in range(i):
            x = np.sin(x)
        x = x * 1.5
    return x.sum()


@loop
def grad_inside(x, n):
    for _ in range(n):
        x = x - 0.1 * grad(lambda y: np.sum(np.sin(y) * y))(x)
    return x.sum()


@loop
def several_dtypes(x, n):
    a, count = x, np.zeros(3, np.int64)
    for _ in range(n):
        a = np.sin(a)
        count = count + (a > 0.5)
    return np.sum(a * count)


@loop
def in_place(x, n):
    total = np.zeros(3) + x
    for _ in range(n):
        x = x * 0.7
        total += x
    return total.sum()


@loop
def first_differs(x, n):
    y = None
    for _ in range(n):
        y = x if y is None else np.sin(y) + x
    return x.sum() if y is None else y.sum()


@loop
def last_differs(x, n):
    for i in range(n):
        x = np.sin(x) if i < n - 1 else np.exp(x)
    return x.sum()


@loop
def captured_matrix(x, n):
    for _ in range(n):
        x = np.tanh(MATRIX @ x)
    return x.sum()


@loop
def indices(x, n):
    order = [0, 2, 1, 1, 0, 2, 2]
    total = x[0] * 0
    for i in range(n):
        total = total * x[order[i]] + x[order[-i - 1]]
    return total


@loop
def all_values_kept(x, n):
    values = [x]
    for _ in range(n):
        values.append(np.sin(values[-1]) + values[max(len(values) - 3, 0)])
    return sum((k + 1) * v.sum() for k, v in enumerate(values))


@loop
def continued(x, n):
    for i in range(n):
        if i == 1:
            continue
        x = np.sin(x) + x
    return x.sum()


MATRIX = np.array([[0.5, -0.2, 0.1], [0.3, 0.8, -0.5], [0.0, 0.4, 0.9]])
POINTS = (np.array([0.3, -0.7, 1.2]), np.array([-1.1, 0.2, 0.05]))


def differences(f, x, step=1e-6):
    parts = [(f(x + d) - f(x - d)) / (2 * step) for d in step * np.eye(x.size)]
    return np.array(parts)


def plain(f, n):
    """The function without tracejit; gradients inside by differences."""
    if f is not grad_inside:
        return lambda x: f(x, n)

    def by_hand(x):
        for _ in range(n):
            x = x - 0.1 * (np.cos(x) * x + np.sin(x))
        return x.sum()

    return by_hand


@pytest.mark.parametrize("f", LOOPS)
def test_loops(f):
    compiled, gradient = jit(f), grad(f)
    for n in (0, 1, 2, 3, 4, 5, 6, 7, 5):
        reference = plain(f, n)
        for x in POINTS:
            if f is shrinking and n > 1:
                continue
            np.testing.assert_allclose(compiled(x, n), reference(x), rtol=1e-11)
            np.testing.assert_allclose(
                gradient(x, n), differences(reference, x), rtol=2e-5, atol=1e-7
            )


@pytest.mark.parametrize("f", LOOPS)
def test_second_derivatives_of_loops(f):
    if f in (guards_inside, until, several_dtypes, shrinking):
        pytest.skip("piecewise")
    for n in (4, 6):
        second = hessian(lambda x, f=f, n=n: f(x, n))
        forward = jacobian(grad(lambda x, f=f, n=n: f(x, n)))
        for x in POINTS:
            slope = grad(lambda x, f=f, n=n: f(x, n))
            expected = differences(slope, x)
            np.testing.assert_allclose(second(x), expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(forward(x), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("f", LOOPS)
def test_jacobians_of_loops(f):
    if f is shrinking:
        pytest.skip("needs more elements")
    for n in (3, 5):
        reference = plain(f, n)

        def vector(x, f=f, n=n):
            return np.stack([f(x, n), f(x * 0.9, n) * x[1]])

        def expected(x, f=reference):
            return np.stack([f(x), f(x * 0.9) * x[1]])

        for x in POINTS:
            np.testing.assert_allclose(
                jacobian(vector)(x),
                np.transpose(differences(expected, x)),
                rtol=2e-5,
                atol=1e-7,
            )


def test_a_loop_of_guards_alone():
    def first_above(x):
        for v in x:
            if v > 1:
                return v
        return 0.0

    f = jit(first_above)
    for x in (X, -X, X * 0, X * 9, X):
        assert f(x) == first_above(x)
