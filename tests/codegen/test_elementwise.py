"""The lowering of every elementwise row, over ordinary and special values.

The oracle is the row's reference.  Vector and scalar code are both met: the arrays are
longer than any vector and no multiple of one.
"""

from __future__ import annotations

import math
import warnings
from itertools import product

import numpy as np
import pytest

from tracejit.primitive import PRIMITIVES

from .programs import BOOL, F32, F64, I64, Make, call_kernel, call_source, same

pytestmark = pytest.mark.compiles

SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.5, 7.25, 1e-3, -1e-3, 20.0,
    -20.0, 100.0, 1e-300, -1e-300, 1e300, -1e300, np.inf, -np.inf, np.nan,
]  # fmt: skip
RNG = np.random.default_rng(3)
ROWS = {n: p for n, p in PRIMITIVES.items() if p.family == "elementwise" and p.lower}
#: In units in the last place of the result: vector math, then what is composed of it.
ULPS = {
    "digamma": 60, "gammaln": 60, "zeta": 40, "i0": 40, "i1": 40,
    "expit": 12, "logit": 60, "xlogy": 8,
    "logaddexp": 30, "log_expit": 8, "erfc": 8, "hypot": 5, "pow": 5,
}  # fmt: skip
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def operands(count: int, dtype: np.dtype) -> list[np.ndarray]:
    """All combinations of special values, and random ones."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = np.array(SPECIAL).astype(dtype)
    elif dtype.kind == "b":
        values = np.array([False, True])
    else:
        info = np.iinfo(dtype)
        small = [0, 1, 2, 3, 5, 7, 13, 40, 63, 64, -1, -2, -3, -7]
        values = [v for v in small if info.min <= v <= info.max]
        values = np.array([*values, info.min, info.max], dtype)
    table = np.array(list(product(values, repeat=count)), dtype)
    if dtype.kind == "f":
        table = np.concatenate([table, RNG.normal(size=(67, count)).astype(dtype)])
        table = np.concatenate(
            [table, RNG.uniform(0.01, 30, (67, count)).astype(dtype)]
        )
    table = np.concatenate([table] * (1 if len(table) > 40 else 20))
    return [np.ascontiguousarray(column) for column in table.T]


def elementwise(name: str, args: list[np.ndarray], out: np.dtype):
    m = Make()
    ins = [m.arg(a.shape, a.dtype) for a in args]
    y = m.out(args[0].shape, out)
    with m.loop(len(args[0])) as i:
        m.store(y, i, value=m.let(name, *[m.load(x, i) for x in ins], dtype=out))
    return m.returns()


def reference(name: str, args: list[np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "erfc" and args[0].dtype == F64:
            # SciPy's loses digits in the far tail.
            return np.array([math.erfc(v) for v in args[0]])
        return np.asarray(PRIMITIVES[name].reference(*args))


def supported(name: str, dtype: np.dtype) -> bool:
    kinds = {sample(RNG)[0][-1].dtype.kind for sample in PRIMITIVES[name].samples}
    return dtype.kind in kinds


def close(name: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for so many ulp."""
    assert actual.dtype == expected.dtype
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    ulps = ULPS.get(name, 4)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    limit = ulps * np.finfo(actual.dtype).eps
    with np.errstate(all="ignore"):
        error = np.abs(actual - expected) / np.maximum(
            np.abs(expected), np.finfo(actual.dtype).tiny
        )
    bad = (error > limit) & (actual != expected) & ~np.isnan(actual)
    assert not bad.any(), [actual[bad][:5], expected[bad][:5]]


#: In single precision SciPy iterates with single operands, and gives up near 0.
DOUBLE = {"betainc", "betaincinv", "betainccinv", "stdtrit"}
FLOATS = [
    (n, d)
    for n in ROWS
    for d in ((F64,) if n in DOUBLE else (F64, F32))
    if supported(n, d) and n != "select"
]
WHOLE = [
    (n, np.dtype(d)) for n in ROWS for d in INTEGERS if supported(n, np.dtype("i8"))
]
LOGIC = [n for n in ROWS if supported(n, BOOL)]


@pytest.mark.parametrize(("name", "dtype"), FLOATS, ids=lambda v: str(v))
def test_floats(name, dtype):
    args = operands(operand_count(name), dtype)
    args = domain(name, args)
    expected = reference(name, args)
    result = call_kernel(elementwise(name, args, expected.dtype), args)
    close(name, result[2][0], expected)


def operand_count(name: str) -> int:
    return len(PRIMITIVES[name].samples[0](RNG)[0])


def domain(name: str, args: list[np.ndarray]) -> list[np.ndarray]:
    """Leave out what is ill-conditioned or where libraries rightly differ."""
    a, b = args[0], args[-1]
    keep = np.ones(a.shape, bool)
    big = 1e3 if name != "pow" else 1e4
    with np.errstate(all="ignore"):
        if name in ("sin", "cos", "tan"):
            keep = ~(np.abs(a) > big)
        if name == "zeta":
            # Our own series: ordinary numbers, and the poles.
            keep = (np.abs(a) < 60) & (np.abs(b) < 60) & (b > 0) & (a > 0.9)
        if name in ("digamma", "gammaln"):
            # Near their zeros the relative error grows without bound.
            keep = (a > 2.2) | (a == 0) | ~np.isfinite(a)
            keep &= a != -np.inf
        if name == "logit":
            keep = np.abs(a - 0.5) > 0.01
        if name == "logaddexp":
            keep = (np.abs(a) < 1e4) & (np.abs(b) < 1e4) & (a + b > 0.5)
        if name == "mod" or name == "floor_divide":
            keep = (
                np.isfinite(a) & np.isfinite(b) & (np.abs(a) < 1e9) & (np.abs(b) > 1e-2)
            )
        if name == "arctanh":
            keep = ~(np.abs(a) > 1e30)
    return [np.ascontiguousarray(x[keep]) for x in args]


@pytest.mark.parametrize("name", [n for n in ROWS if supported(n, np.dtype("i8"))])
def test_integers(name):
    if name == "select":
        return
    for dtype in map(np.dtype, INTEGERS):
        if not supported(name, dtype):
            continue
        args = operands(operand_count(name), dtype)
        if name == "pow":
            keep = args[1].astype("O") >= 0
            args = [np.ascontiguousarray(a[keep]) for a in args]
        expected = reference(name, args)
        result = call_kernel(elementwise(name, args, expected.dtype), args)
        np.testing.assert_array_equal(result[2][0], expected, err_msg=str(dtype))


@pytest.mark.parametrize("name", LOGIC)
def test_bools(name):
    args = operands(operand_count(name), BOOL)
    if name == "select":
        args[1:] = [RNG.normal(size=len(args[0])) for _ in args[1:]]
    expected = reference(name, args)
    program = elementwise(name, args, expected.dtype)
    result = call_kernel(program, args)
    np.testing.assert_array_equal(result[2][0], expected)
    np.testing.assert_array_equal(call_source(program, args)[2][0], expected)


DTYPES = [np.dtype(d) for d in (*INTEGERS, "f4", "f8", "?")]


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts(source):
    args = operands(1, source)
    for target in DTYPES:
        x = args[0]
        if source.kind == "f" and target.kind in "iu":
            # Out of range is undefined, in C and in NumPy.
            info = np.iinfo(target)
            with np.errstate(invalid="ignore"):
                x = x[(x > max(info.min, -1e18) - 1) & (x < min(info.max, 1e18))]
        x = np.ascontiguousarray(x)
        result = call_kernel(elementwise("cast", [x], target), [x])
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(result[2][0], x.astype(target))


@pytest.mark.parametrize(("name", "dtype"), FLOATS, ids=lambda v: str(v))
def test_source_says_the_same(name, dtype):
    """A few values through the printed source."""
    args = [a[-9:] for a in operands(operand_count(name), dtype)]
    args = [np.ascontiguousarray(a) for a in args]
    if name in ("digamma", "gammaln", "zeta"):
        args = [a + 2 for a in args]
    program = elementwise(name, args, reference(name, args).dtype)
    same(call_source(program, args), call_kernel(program, args), rtol=1e-10)


def test_every_row_with_a_lowering_is_compiled():
    assert {n for n, _ in FLOATS} | set(LOGIC) | {n for n, _ in WHOLE} == set(ROWS)


def test_integer_constants_keep_all_bits():
    m = Make()
    values = [2**63 - 1, -(2**63), 2**53 + 1]
    program = m.returns(*[m.const(v, I64) for v in values])
    assert list(call_kernel(program, [])[2]) == values
