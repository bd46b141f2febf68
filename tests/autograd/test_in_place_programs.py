"""Writes to recorded arrays, through views in both directions.

The same statements run on ordinary arrays, where the complex step gives the gradient.
"""

import numpy as np
import pytest

from tracejit import autograd

X = np.arange(1.0, 5.0)


def an_item(x, zeros):
    y = x * 2
    y[1] = 5.0
    return (y * y).sum()


def an_item_from_others(x, zeros):
    y = x * 2
    y[1] = x[0] * x[2]
    return (y * y * x).sum()


def added(x, zeros):
    y = x * 2
    y += 1
    y *= x
    return (y * y).sum()


def through_a_view(x, zeros):
    y = x * 2
    z = y[1:]
    z *= x[1:]
    return (y * y).sum() + z.sum() * 3


def seen_by_a_view(x, zeros):
    y = x * 2
    z = y[1:]
    y *= x
    return (z * z).sum()


def a_view_of_a_view(x, zeros):
    y = x * 2
    z = y[1:]
    w = z[1:]
    w *= 5.0
    return (z * z).sum() + (y * x).sum()


def two_views(x, zeros):
    y = x * 2
    a, b = y[:3], y[1:]
    a *= x[:3]
    b += x[1:]
    return (a * a).sum() + (b * y[:3]).sum()


def through_a_reshape(x, zeros):
    y = x * 2
    z = y.reshape(2, 2)
    z[0] = z[1] * x[:2]
    return (y * y * y).sum()


def through_a_transpose(x, zeros):
    y = (x * 2).reshape(2, 2)
    z = y.T
    z[0, 1] = x[3] * x[3]
    return (y * np.array([[1.0, 2.0], [3.0, 4.0]])).sum()


def a_buffer(x, zeros):
    y = zeros(4)
    y[0] = x[0] * x[1]
    y[1:3] = x[2:] ** 2
    return (y * y).sum()


def a_view_of_a_buffer(x, zeros):
    y = zeros(4)
    z = y[1:]
    z += x[1:]
    return (y * y).sum()


def a_buffer_under_a_view(x, zeros):
    y = zeros(4)
    z = y[1:]
    y += x
    return (z * z).sum()


def a_recurrence(x, zeros):
    y = zeros(10)
    y[0] = x[0]
    for i in range(1, 10):
        y[i] = y[i - 1] * x[1] * 0.5 + x[2]
    return (y * y).sum()


def parts_that_grow(x, zeros):
    y = x * 2
    y[1:] += x[:-1]
    y[0] -= x[3]
    y[:2] *= 3.0
    return (y * y).sum()


def onto_itself(x, zeros):
    y = x * 2
    y[1:] = y[:-1]
    y += y
    return (y * y * x).sum()


def what_was_before(x, zeros):
    y = x * 2
    u = y * y
    y += x * x
    return (u * y).sum()


def after_an_exponential(x, zeros):
    y = np.exp(x)
    y += 1
    return (y * x).sum()


def by_a_list(x, zeros):
    y = x * 2
    y[[0, 2]] = x[1:3] * x[0]
    y[np.array([1, 3])] = x[3]
    return (y * x).sum()


def by_a_mask(x, zeros):
    y = x * 2
    y[np.array([False, True, False, True])] = 0.5
    return (y * y * x).sum()


def rows_and_columns(x, zeros):
    y = (x * 2).reshape(2, 2)
    y[0] += y[1]
    y[:, 0] = y[:, 1] * x[:2]
    return (y * y).sum()


def a_scalar(x, zeros):
    s = x.sum()
    s += x[0]
    s *= s
    return s


def divided(x, zeros):
    y = x * 2
    y /= x.sum()
    y **= 2
    y -= x
    return (y * y).sum()


PROGRAMS = [
    an_item,
    an_item_from_others,
    added,
    through_a_view,
    seen_by_a_view,
    a_view_of_a_view,
    two_views,
    through_a_reshape,
    through_a_transpose,
    a_buffer,
    a_view_of_a_buffer,
    a_buffer_under_a_view,
    a_recurrence,
    parts_that_grow,
    onto_itself,
    what_was_before,
    after_an_exponential,
    by_a_list,
    by_a_mask,
    rows_and_columns,
    a_scalar,
    divided,
]


def by_complex_step(program):
    """The gradient on ordinary arrays."""

    def slope(k):
        z = X.astype(complex)
        z[k] += 1e-30j
        return program(z, lambda n: np.zeros(n, complex)).imag / 1e-30

    return [slope(k) for k in range(4)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_gradients(program):
    value, gradient = program(X.copy(), np.zeros), by_complex_step(program)
    for _ in range(3):  # the first computes values at once, the others wait
        x = autograd.array(X, requires_grad=True)
        y = program(x, lambda n: autograd.array(np.zeros(n)))
        y.backward()
        np.testing.assert_allclose(y.item(), value, rtol=1e-13)
        np.testing.assert_allclose(x.grad, gradient, rtol=1e-12, atol=1e-12)


def drawn(seed, leaves):
    """A program of ten statements: operations, writes, views and writes to those."""
    rng = np.random.default_rng(seed)
    made, views = [leaves[0] + leaves[1]], []

    def some(of):
        return of[rng.integers(len(of))]

    for _ in range(10):
        a, b, target = some(leaves + made), some(leaves + made), some(made)
        match rng.integers(8):
            case 0:
                made.append(a + b)
            case 1:
                made.append(a * b)
            case 2:
                made.append(a * 0.5 - b)
            case 3:
                target += b
            case 4:
                target[1:3] = b[:2] * 0.7
            case 5:
                views.append(target[rng.integers(2) :])
                views[-1][:] = views[-1] * 0.9
            case 6:
                views.append(target[:2])
            case 7:
                square = target.reshape(2, 2)
                square[1] = square[0] * 2.0
    total = (made[-1] * made[-1]).sum()
    for view in views:
        total = total + view.sum() * 0.3
    return total


def test_drawn_programs(monkeypatch):
    # Compiling takes most of the time; the programs above do it.
    monkeypatch.setattr("tracejit.autograd.planning.LONGEST", 0)
    for seed in range(100):
        starts = np.random.default_rng(seed + 1000).normal(size=(2, 4))
        leaves = [autograd.array(v, requires_grad=True) for v in starts]
        drawn(seed, leaves).backward()
        for n, leaf in enumerate(leaves):
            for k in range(4):
                points = list(starts.astype(complex))
                points[n][k] += 1e-30j
                slope = drawn(seed, points).imag / 1e-30
                assert np.isclose(leaf.grad[k].item(), slope, rtol=1e-9), seed


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_against_pytorch(program):
    torch = pytest.importorskip("torch")
    t = torch.tensor(X, requires_grad=True)
    try:
        program(t, lambda n: torch.zeros(n, dtype=torch.float64)).backward()
    except (RuntimeError, TypeError) as error:
        pytest.skip(str(error)[:60])  # it saved what the program overwrites
    x = autograd.array(X, requires_grad=True)
    program(x, lambda n: autograd.array(np.zeros(n))).backward()
    np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=1e-12, atol=1e-12)
