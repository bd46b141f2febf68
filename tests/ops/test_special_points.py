"""Derivatives at the points where formulas break: zeros, ties, infinities, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.avals import aval_of
from tracejit.interpret import interpret, verify
from tracejit.ops import elementwise as ew
from tracejit.ops.linalg import cholesky, cholesky_vjp
from tracejit.ops.logic import fmax, gt, lt, maximum, minimum, mulz, select, wrap_index
from tracejit.ops.reduction import max_, min_, prod, sum_
from tracejit.ops.structural import (
    broadcast_to,
    diagonal,
    mask_indices,
    reshape,
    slice_,
)
from tracejit.passes.jvp import jvp
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.tape import Builder

INF, NAN = np.inf, np.nan


def gradients(f, *xs, order=1):
    """The gradients of sum(f(*xs)); at order 2 those of the sum of the gradients."""
    xs = [np.asarray(x) for x in xs]
    builder = Builder("f")
    refs = [builder.input(aval_of(x)) for x in xs]
    outs = [f(*refs)]
    for _ in range(order):
        cts = [ones(builder, out) for out in outs if out is not None]
        outs = vjp(builder, [out for out in outs if out is not None], cts, refs)
    tape = verify(builder.finish([out for out in outs if out is not None]))
    values = iter(interpret(tape, xs))
    found = [
        np.zeros(x.shape) if out is None else np.asarray(next(values))
        for x, out in zip(xs, outs, strict=True)
    ]
    again = interpret(verify(simplify(tape)), xs)
    kept = [v for v, out in zip(found, outs, strict=True) if out is not None]
    for a, b in zip(again, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    return found


def ones(builder, ref):
    one = builder.const(1, ref.dtype)
    return broadcast_to(one, shape=ref.shape) if ref.shape else one


# --- powers


@pytest.mark.parametrize(
    ("base", "exponent", "by_base", "by_exponent"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0),
        (0.0, 3.5, 0.0, 0.0),
        (-2.0, 3.0, 12.0, NAN),
        (-1.5, 2.0, -3.0, NAN),
        (-2.0, 0.0, 0.0, NAN),
        (2.0, 0.0, 0.0, np.log(2.0)),
        (2.0, -1.0, -0.25, 0.5 * np.log(2.0)),
    ],
)
def test_pow(base, exponent, by_base, by_exponent):
    with np.errstate(invalid="ignore"):
        found = gradients(ew.pow_, base, exponent)
    np.testing.assert_allclose(found, [by_base, by_exponent], rtol=1e-15)


@pytest.mark.parametrize(("exponent", "expected"), [(1, 0), (2, 2), (3, 0), (0, 0)])
def test_second_derivative_of_a_power_at_zero(exponent, expected):
    (found,) = gradients(lambda x: x ** float(exponent), np.zeros(2), order=2)
    np.testing.assert_array_equal(found, [expected, expected])


# --- extrema


def test_abs_at_zero_has_derivative_zero():
    (found,) = gradients(ew.abs_, [0.0, -0.0, 2.0, -3.0])
    np.testing.assert_array_equal(found, [0, 0, 1, -1])


@pytest.mark.parametrize("extremum", [maximum, minimum, fmax])
def test_ties_share_equally(extremum):
    found = gradients(extremum, [1.0, 0.0, 2.0], [1.0, -0.0, 2.0])
    np.testing.assert_array_equal(found, [[0.5] * 3, [0.5] * 3])


def test_maximum_of_nan_has_gradient_zero_and_fmax_takes_the_number():
    found = gradients(maximum, [NAN, 1.0], [1.0, NAN])
    np.testing.assert_array_equal(found, [[0, 0], [0, 0]])
    found = gradients(fmax, [NAN, 1.0], [1.0, NAN])
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


@pytest.mark.parametrize("extremum", [max_, min_])
def test_equal_extrema_of_an_array_share_equally(extremum):
    (found,) = gradients(lambda x: extremum(x, axes=(0,)), [2.0, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(found, [0.25] * 4)


def test_prod_with_zeros():
    (found,) = gradients(lambda x: prod(x, axes=(0,)), [2.0, 0.0, 3.0])
    np.testing.assert_array_equal(found, [0, 6, 0])
    (found,) = gradients(lambda x: prod(x, axes=(0,)), [2.0, 0.0, 3.0], order=2)
    np.testing.assert_array_equal(found, [3, 5, 2])


# --- special functions


def test_xlogy_at_zero():
    by_x, by_y = gradients(ew.xlogy, [0.0, 0.0], [2.0, 0.0])
    np.testing.assert_array_equal(by_x, [np.log(2.0), -INF])
    np.testing.assert_array_equal(by_y, [0.0, 0.0])
    # d/dy d/dx = 1/y, though the factor x is 0 here.
    _, by_y = gradients(ew.xlogy, 0.0, 2.0, order=2)
    assert by_y == 0.5


def test_logaddexp_of_infinities_and_ties():
    found = gradients(ew.logaddexp, [-INF, INF, -INF, 1.0], [-INF, INF, 0.0, 1.0])
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0, 0.5], [0.5, 0.5, 1, 0.5]])
    builder = Builder()
    x = builder.input(aval_of(np.zeros(())))
    (g,) = vjp(builder, [ew.logaddexp(x, 1.0)], [builder.const(1, x.dtype)], [x])
    (second,) = vjp(builder, [g], [builder.const(1, x.dtype)], [x])
    assert interpret(builder.finish([second]), [np.float64(1.0)]) == [0.25]


def test_hypot_at_the_origin():
    np.testing.assert_array_equal(gradients(ew.hypot, 0.0, 0.0), [0, 0])


# --- absolute zeros


X = np.array([-1.0, 0.0, 2.0])


def where_log(x):
    return select(gt(x, 0), ew.log(x), 0)


def where_scaled(x):
    """The zero passes through constants, sums, casts and moves before it meets 1/x."""
    y = ew.log(x)
    y = reshape(-(3 * y + 1) * x, shape=(3, 1))
    return select(gt(x, 0), reshape(y, shape=(3,)), 0)


def where_window(x):
    tail = slice_(ew.sqrt(x), start=(0,), size=(3,), step=(1,))
    return select(gt(x, 0), tail, x)


def clipped(x):
    return minimum(maximum(ew.log(x), -1), 5)


@pytest.mark.parametrize(
    ("f", "first", "second"),
    [
        (where_log, [0, 0, 0.5], [0, 0, -0.25]),
        (where_scaled, [0, 0, -3 * np.log(2) - 4], [0, 0, -1.5]),
        (where_window, [1, 1, 0.5 / np.sqrt(2)], [0, 0, -0.25 / 2**1.5]),
        (clipped, [0, 0, 0.5], [0, 0, -0.25]),
    ],
)
def test_no_nan_from_what_was_not_chosen(f, first, second):
    for order, expected in ((1, first), (2, second)):
        (found,) = gradients(f, X, order=order)
        np.testing.assert_allclose(found, expected, rtol=1e-14, err_msg=f"{order}")


def test_no_nan_in_forward_over_reverse():
    builder = Builder()
    x, t = (builder.input(aval_of(X)) for _ in range(2))
    y = where_log(x)
    (g,) = vjp(builder, [y], [ones(builder, y)], [x])
    tangents = jvp(builder, 0, [x], [t], [y, g])
    found = interpret(builder.finish(tangents), [X, np.ones(3)])
    np.testing.assert_array_equal(found, [[0, 0, 0.5], [0, 0, -0.25]])


def test_a_chosen_infinity_is_not_hidden():
    (found,) = gradients(lambda x: select(lt(x, 1), ew.log(x), 0), [0.0, 2.0])
    np.testing.assert_array_equal(found, [INF, 0])


def test_mulz():
    builder = Builder()
    a, b = (builder.input(aval_of(np.zeros(5))) for _ in range(2))
    tape = builder.finish([mulz(a, b)])
    values = [np.array([0.0, -0.0, 2.0, NAN, INF]), np.array([INF, NAN, INF, 0, 0])]
    (found,) = interpret(tape, values)
    np.testing.assert_array_equal(found, [0, 0, INF, NAN, NAN])


# --- linear algebra


def test_gradient_of_the_log_determinant_by_cholesky():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4))
    a = a @ a.T + np.eye(4)

    def logdet(a):
        return 2 * sum_(ew.log(diagonal(cholesky(a), offset=0)), axes=(0,))

    (found,) = gradients(logdet, a)
    # The lower triangle stands for both: see the comment at the row.
    inverse = np.linalg.inv(a)
    expected = 2 * np.tril(inverse) - np.diag(np.diag(inverse))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 150])
def test_blocked_cholesky_vjp_is_the_formula(n):
    rng = np.random.default_rng(n)
    factor = np.tril(rng.normal(size=(n, n))) / np.sqrt(n) + 2 * np.eye(n)
    ct = rng.normal(size=(n, n))
    builder = Builder()
    refs = [builder.input(aval_of(x)) for x in (factor, ct)]
    tape = builder.finish([cholesky_vjp(*refs), cholesky_vjp.expand(*refs)])
    blocked, formula = interpret(tape, [factor, ct])
    np.testing.assert_allclose(blocked, formula, rtol=1e-10, atol=1e-12)


# --- errors as NumPy's


def test_wrap_index_out_of_range():
    builder = Builder()
    i = builder.input(aval_of(np.array([0, 1])))
    tape = builder.finish([wrap_index(i, n=3)])
    assert interpret(tape, [np.array([-3, 2])])[0].tolist() == [0, 2]
    with pytest.raises(IndexError) as error:
        interpret(tape, [np.array([0, -4])])
    assert str(error.value) == "index -4 is out of bounds for an axis of size 3"


def test_mask_indices_with_another_count():
    builder = Builder()
    mask = builder.input(aval_of(np.zeros(3, bool)))
    tape = builder.finish([mask_indices(mask, count=2)])
    with pytest.raises(IndexError) as error:
        interpret(tape, [np.array([True, False, False])])
    assert str(error.value) == "the mask selects 1 elements, not 2"
