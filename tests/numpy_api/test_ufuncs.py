"""Every ufunc of the table, every combination of dtypes, against NumPy."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import special

from tests.numpy_api.check import check, close, record
from tracejit.errors import UnsupportedError
from tracejit.numpy_api.ufuncs import COMPOSED, UFUNCS
from tracejit.tracer import TAPE_DTYPES, Tracer

GUFUNCS = {np.matmul, np.vecdot, np.matvec, np.vecmat}
ALL = [u for u in (*UFUNCS, *COMPOSED) if u not in GUFUNCS]
UNARY = [u for u in ALL if u.nin == 1]
BINARY = [u for u in ALL if u.nin == 2]

VALUES = {
    "f8": np.array([0.3, 0.7, 0.5]),
    "f4": np.array([0.25, 0.5, 0.75], np.float32),
    "i8": np.array([1, 2, 3]),
    "i4": np.array([3, 1, 2], np.int32),
    "u1": np.array([1, 2, 200], np.uint8),
    "?": np.array([True, False, True]),
    "f8 scalar": np.float64(0.6),
    "float": 0.5,
    "int": 2,
    "bool": True,
}

#: What NumPy has and a tape does not, by ufunc name and kinds of the operands.
REFUSED = "cannot be recorded"
OUT = np.zeros(2)


def name(u):
    return u.__name__


def answer(function, *args):
    """NumPy's result, or the exception's class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args)
        except (TypeError, ValueError, OverflowError) as error:
            return type(error)


def compare(function, *args):
    """The recorded result is NumPy's, or refused where a tape has no such dtype."""
    want = answer(function, *args)
    if isinstance(want, type):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            record(function, *args)
        return
    if refused(function, *args):
        kinds = {np.asarray(a).dtype.kind for a in args}
        wide = {np.asarray(w).dtype for w in (want if type(want) is tuple else [want])}
        exotic = not wide <= TAPE_DTYPES
        assert exotic or kinds <= set("iub"), "floats are never refused"


def refused(function, *args):
    """Check the recording; say whether a tape has no form for these dtypes."""
    try:
        check(function, *args)
    except UnsupportedError as error:
        return REFUSED in str(error)
    return False


@pytest.mark.parametrize("ufunc", UNARY, ids=name)
@pytest.mark.parametrize("kind", VALUES)
def test_unary(ufunc, kind):
    compare(lambda x: ufunc(x), VALUES[kind])


@pytest.mark.parametrize("ufunc", BINARY, ids=name)
def test_binary(ufunc):
    for a, b in itertools.product(VALUES.values(), repeat=2):
        compare(lambda x, y: ufunc(x, y), a, b)


@pytest.mark.parametrize("ufunc", BINARY, ids=name)
@pytest.mark.parametrize("traced_first", [True, False])
def test_binary_with_an_untraced_operand(ufunc, traced_first):
    for a, b in itertools.product(VALUES.values(), repeat=2):
        if traced_first:
            compare(lambda x, b=b: ufunc(x, b), a)
        else:
            compare(lambda y, a=a: ufunc(a, y), b)


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "divmod": divmod,
    "**": lambda a, b: a**b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators(symbol):
    operator = OPERATORS[symbol]
    for a, b in itertools.product(VALUES.values(), repeat=2):
        compare(operator, a, b)
        compare(lambda x, b=b: operator(x, b), a)
        compare(lambda y, a=a: operator(a, y), b)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("operator", ["-x", "+x", "abs(x)", "~x"])
def test_unary_operators(operator, kind):
    if (operator, kind) == ("~x", "bool"):
        pytest.skip("Python deprecates ~True")
    compare(lambda x: eval(operator), VALUES[kind])


def test_python_numbers_stay_weak():
    f4 = np.ones(2, np.float32)
    leaves, _, _ = record(
        lambda x, r: [x * r, x * (r * 2), x * (r / 3), x * -r, x * (r**2), x + abs(r)],
        f4,
        0.5,
    )
    assert {t.dtype for t in leaves} == {np.dtype(np.float32)}


def test_a_numpy_function_makes_a_python_number_strong():
    (out,), _, _ = record(lambda x, r: x * np.exp(r), np.ones(2, np.float32), 0.5)
    assert out.dtype == np.float64


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (lambda n, m: n + m, int),
        (lambda n, m: n / m, float),
        (lambda n, m: n * 0.5, float),
        (lambda n, m: n < m, bool),
        (lambda n, m: (n < m) + 1, int),
        (lambda n, m: n**2, int),
    ],
)
def test_arithmetic_of_python_numbers_is_pythons(program, expected):
    (out,), _, _ = record(program, 3, 4)
    assert out.weak is expected
    assert out.concrete == program(3, 4)
    assert isinstance(out, expected)


def test_python_int_out_of_range_is_numpys_error():
    with pytest.raises(
        OverflowError, match="Python integer 300 out of bounds for uint8"
    ):
        record(lambda x: x + 300, VALUES["u1"])


def test_comparison_with_an_int_out_of_range_is_exact():
    check(lambda x: x < 300, VALUES["u1"])
    check(lambda x: x > -1, VALUES["u1"])


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum])
def test_reduce_accumulate_outer(ufunc):
    x = np.array([[3.0, 1.0, 2.0], [0.5, 4.0, -1.0]])
    check(lambda x: ufunc.reduce(x), x)
    check(lambda x: ufunc.reduce(x, axis=1, keepdims=True), x)
    check(lambda x: ufunc.reduce(x, axis=None), x)
    check(lambda x: ufunc.accumulate(x), x)
    check(lambda x: ufunc.accumulate(x, axis=1), x)
    check(lambda x: ufunc.outer(x, np.arange(2.0)), x)


@pytest.mark.parametrize("ufunc", [np.logical_and, np.logical_or])
def test_logical_reduce_and_accumulate(ufunc):
    x = np.array([[True, False, True], [True, True, True]])
    check(lambda x: ufunc.reduce(x, axis=1), x)
    check(lambda x: ufunc.accumulate(x, axis=1), x)


def test_keywords():
    x, f4 = np.array([0.5, 1.5]), np.array([0.5, 1.5], "f4")
    check(lambda x: np.add(x, 1, dtype=np.float32), x)
    check(lambda x: np.add(x, 1, out=None, where=True), x)
    check(lambda x: np.less(x, 1, dtype=bool), x)
    check(lambda x: np.add(x, 2.5, dtype="i4", casting="unsafe"), x)
    for kinds in ("dd->d", (None, None, "f8"), (float, float, float)):
        check(lambda x, k=kinds: np.add(x, x, signature=k), f4)
        check(lambda x, k=kinds: np.add(x, 1, sig=k), f4)
    check(lambda x: np.exp(x, signature="f->f", casting="unsafe"), np.arange(3))


@pytest.mark.parametrize(
    ("program", "kind", "text"),
    [
        (lambda x: np.add(x, 1, dtype="i4"), TypeError, "Cannot cast ufunc 'add' inp"),
        (lambda x: np.add(x, 1, foo=1), TypeError, "got an unexpected keyword argumen"),
        (
            lambda x: np.add(x, 1, signature="d->d"),
            ValueError,
            "a type-string for add, 2 typ",
        ),
        (lambda x: np.add(x, 1, signature="d"), TypeError, "Use `dtype` or  fill the"),
        (lambda x: np.matmul(x, x, where=x > 0), TypeError, "unexpected keyword argum"),
        (lambda x: np.matmul(x, x, axis=0), TypeError, "single shared core"),
        (lambda x: np.matmul(x, x, keepdims=True), TypeError, "does not support keep"),
        (lambda x: np.matmul(x, x, axes=[0]), ValueError, "axes should be a list with"),
    ],
)
def test_errors_of_keywords_are_numpys(program, kind, text):
    x = np.array([[0.5, 1.5], [1.0, 2.0]])
    with pytest.raises(kind, match=text):
        program(x)
    with pytest.raises(kind, match=text):
        record(program, x)


def test_where_without_out():
    """NumPy leaves the rest as it is in memory, and warns; here it is zero."""
    x, mask = np.array([4.0, -1.0, 9.0]), np.array([True, False, True])

    def program(x):
        return np.sqrt(x, where=mask)

    with pytest.warns(UserWarning, match="'where' used without 'out'") as seen:
        (root,), _, _ = record(program, x)
    assert len(seen) == 1
    np.testing.assert_array_equal(root.concrete, [2.0, 0.0, 3.0])
    with pytest.warns(UserWarning, match="'where' used without 'out'"):
        (two, rest), _, _ = record(lambda x: np.divmod(x, 3.0, where=x > 0), x)
    np.testing.assert_array_equal(two.concrete, [1.0, 0.0, 3.0])
    np.testing.assert_array_equal(rest.concrete, [1.0, 0.0, 0.0])


def test_what_where_leaves_out_warns_of_nothing():
    def program(x, y, mask):
        out = np.zeros(3)
        return np.divide(x, y, out=out, where=mask)

    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 4.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record(program, x, y, y != 0)
        check(program, x, y, y != 0)
    with pytest.warns(RuntimeWarning, match="divide by zero encountered in divide"):
        record(program, x, y, np.array([True, True, False]))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (
            lambda x: np.exp(x, out=OUT),
            (
                "writing a traced value into an ordinary array (np.exp) cannot be "
                "recorded. Write into an array of the function's own, made by "
                "np.zeros, np.empty or np.copy."
            ),
        ),
        (
            lambda x: np.power.reduce(x),
            ("np.power.reduce cannot be recorded. Use np.power.accumulate(a)[-1]."),
        ),
        (
            lambda x: np.less.reduceat(x, [0, 1]),
            "np.less.reduceat cannot be recorded. Reduce each slice by itself.",
        ),
        (
            lambda x: special.hyp2f1(1, 2, 3, x),
            (
                "scipy.special.hyp2f1 cannot be recorded. Write it with supported "
                "NumPy functions, or compute it outside the function."
            ),
        ),
        (
            lambda x: np.sqrt(x > 0),
            (
                "np.sqrt of bool (a float16 result) cannot be recorded. Convert the "
                "operand with .astype(np.float64) first."
            ),
        ),
    ],
)
def test_refused(program, text):
    with pytest.raises(UnsupportedError) as caught:
        record(program, np.array([0.5, 1.5]))
    line = program.__code__.co_firstlineno
    assert str(caught.value) == f"test_ufuncs.py:{line} in <lambda>: {text}"


def test_scalars_that_numpy_repeats():
    leaves, _, _ = record(lambda n: [0, 1] * n, np.int64(2))
    assert leaves == [0, 1, 0, 1]
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        record(lambda x: [0, 1] * x, np.float64(2))


def test_powers_take_numpys_fast_paths():
    x = np.array([-np.inf, -0.0, 0.5])
    for p in (2, 0.5, -1, 2.0, 3, 0):
        check(lambda x, p=p: x**p, x)
        check(lambda x, p=p: x[2] ** p, x)


def test_in_place_operators():
    def program(x):
        y = x * 2
        alias = y
        y += 1
        y *= x
        return alias, x

    check(program, np.array([1.0, 2.0]))


def test_in_place_on_scalars_rebinds():
    def program(x):
        total = x[0]
        first = total
        total += 1.0
        return total, first

    check(program, np.array([1.0, 2.0]))


def shared_view(x):
    y = x * 2
    view = y[1:]
    view += 1
    return y, view


def base_of_a_view(x):
    y = x * 2
    view = y.T
    y += 1
    return view


@pytest.mark.parametrize("program", [shared_view, base_of_a_view])
def test_in_place_on_shared_memory(program):
    check(program, np.array([1.0, 2.0]))


def test_in_place_keeps_dtype_and_shape():
    def narrow(x):
        y = x * 2
        y += np.ones(2)
        return y

    check(narrow, np.ones(2, np.float32))
    with pytest.raises(TypeError, match="Cannot cast ufunc 'add' output from"):
        record(narrow, np.ones(2, int))

    def longer(x):
        y = x * 2
        y += np.ones((2, 2))

    with pytest.raises(ValueError, match=r"shape \(2,\) doesn't match the broadcast"):
        record(longer, np.ones(2))


def test_into_an_ordinary_array_in_place():
    total = np.zeros(2)

    def program(x):
        np.add(total, x, out=total)

    with pytest.raises(UnsupportedError) as caught:
        record(program, np.ones(2))
    assert str(caught.value).endswith(
        "in program: writing a traced value into an ordinary array (a += t) cannot be "
        "recorded. Write into an array of the function's own, made by np.zeros, "
        "np.empty or np.copy."
    )


def test_results_are_tracers_of_one_value_each():
    (out,), _, _ = record(lambda x: np.positive(x), np.ones(2))
    assert type(out) is Tracer
    close(out.concrete, np.ones(2))
