"""Writes to recorded arrays, through views in both directions.

The same statements run on ordinary arrays, where the complex step gives the gradient.
"""

import gc
import tracemalloc

import numpy as np
import pytest

from tracejit import AutogradError, autograd

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


def test_second_derivatives():
    x = autograd.array(X, requires_grad=True)
    y = x**3
    z = y[1:]
    z *= x[1:]
    (first,) = autograd.grad(y.sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second, [6 * 1.0, 12 * 4.0, 12 * 9.0, 12 * 16.0])


def test_what_it_looks_like():
    x = autograd.array(X, requires_grad=True)
    y = x * 2
    y[0] = 7.0
    assert repr(y) == "array([7., 4., 6., 8.], grad_fn=<SetitemBackward0>)"
    z = y[2:]
    z += 1
    assert repr(y) == "array([7., 4., 7., 9.], grad_fn=<SetitemBackward0>)"
    assert z.grad_fn.name() == "GetitemBackward0"
    assert z.grad_fn.next_functions[0][0] is y.grad_fn
    buffer = autograd.array(np.zeros(2))
    part = buffer[:1]
    buffer[1] = x[0]
    assert buffer.requires_grad
    assert part.requires_grad
    assert not buffer.is_leaf
    y.zero_()
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 4


def refused(text, statement):
    with pytest.raises(AutogradError) as caught:
        statement()
    assert str(caught.value).partition(": ")[2] == text


def test_leaves_are_not_written_to():
    x = autograd.array(X, requires_grad=True)
    v = x[1:]
    tail = (
        "a leaf that requires a gradient would change it under its history. Write "
        "inside `with autograd.no_grad():`."
    )

    def add():
        nonlocal v
        v += 1

    def item():
        x[0] = 1.0

    refused(f"x += y on a view of {tail}", add)
    refused(f"x[key] = value on {tail}", item)
    refused(f"x.zero_() on a view of {tail}", v.zero_)
    refused(f"x.add_(y) on {tail}", lambda: x.add_(1))
    assert x.tolist() == X.tolist()
    with autograd.no_grad():
        x[0] = 5.0
        v *= 2.0
    assert x.tolist() == [5.0, 4.0, 6.0, 8.0]
    (v * v).sum().backward()  # a view of a leaf is taken from it anew
    assert x.grad.tolist() == [0.0, 8.0, 12.0, 16.0]


BEHIND = (
    "a recorded array of shape [4] was changed in place without being recorded, itself "
    "or one that shares its memory, so its history does not give its value any more. "
    "Use a copy, x.copy(), or make the change before."
)


def without_recording(y):
    with autograd.no_grad():
        y += 1


def through_detach(y):
    y.detach()[0] = 1.0


def through_a_view_without_recording(y):
    with autograd.no_grad():
        y[1:] *= 2.0


def through_data(y):
    y.data = np.zeros(4)


@pytest.mark.parametrize(
    "change",
    [
        without_recording,
        through_detach,
        through_a_view_without_recording,
        through_data,
    ],
    ids=lambda c: c.__name__,
)
def test_an_unrecorded_change_is_noticed(change):
    for _ in range(2):
        x = autograd.array(X, requires_grad=True)
        y = x * 2
        view = y[1:]
        change(y)
        refused(BEHIND, lambda: y * y)  # noqa: B023
        refused(BEHIND, lambda: view.sum())  # noqa: B023


def test_a_leaf_changed_after_use_is_noticed():
    x = autograd.array(X, requires_grad=True)
    y = x * x
    y[0] = 1.0
    with autograd.no_grad():
        x += 1
    refused(
        "an array of shape [4] that the gradient needs was changed in place after it "
        "was used. Change it after backward(), or use a copy: x.clone().",
        y.sum().backward,
    )


def test_a_view_of_unknown_origin_is_refused_after_a_write():
    x = autograd.array(X, requires_grad=True)
    y = x * 2
    _, b = np.split(y, 2)
    y[0] = 1.0
    refused(
        "an array changed in place has a view that was not taken by an index, reshape "
        "or transpose. Use a copy of the view, or change the array before.",
        lambda: b * 2,
    )
    assert (y * 1.0).sum().item() == 1.0 + 4.0 + 6.0 + 8.0


def test_numpy_speaks_of_wrong_shapes():
    x = autograd.array(X, requires_grad=True)
    y = x * 2
    with pytest.raises(ValueError, match="could not broadcast input array from shape"):
        y[1:] = np.ones(2)
    with pytest.raises(IndexError, match="out of bounds"):
        y[7] = 1.0
    y.sum().backward()
    assert x.grad.tolist() == [2.0] * 4


def test_a_constant_stays_one_where_it_was_used_before():
    x = autograd.array(X, requires_grad=True)
    k = autograd.array(np.ones(4))
    y = (x + k).sum()
    k.requires_grad_()
    y.backward()
    assert x.grad.tolist() == [1.0] * 4
    assert k.grad is None


def test_another_index_compiles_nothing():
    autograd.clear()
    for n in (12, 40, 25):
        x = autograd.array(X, requires_grad=True)
        y = autograd.array(np.zeros(50))
        y[0] = x[0]
        for i in range(1, n):
            y[i] = y[i - 1] * x[1] * 0.25 + x[2]
        y.sum().backward()
    stats = autograd.stats()
    assert stats.kernels_compiled + stats.kernels_reused == stats.plans


def test_many_writes_keep_one_array():
    x = autograd.array(X, requires_grad=True)

    def fill():
        y = autograd.array(np.zeros(10_000))
        for i in range(300):
            y[i] = x[1] * 0.5
        return y

    y = fill()
    gc.collect()
    tracemalloc.start()
    y = fill()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 20 * y.value.nbytes  # not 300 copies
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad, [0.0, 300 * 2 * 0.25 * 2.0, 0.0, 0.0])
