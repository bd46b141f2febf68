"""Writes to recorded arrays: what is recorded, noticed, refused."""

import gc
import tracemalloc

import numpy as np
import pytest

from tracejit import AutogradError, autograd

X = np.arange(1.0, 5.0)


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


def test_a_hook_belongs_to_the_value_that_it_was_set_on():
    for _ in range(2):
        x = autograd.array(X, requires_grad=True)
        y = x * 2
        seen = []
        y.register_hook(lambda g: seen.append(g.tolist()))  # noqa: B023
        y[0] = 1.0
        (y * y).sum().backward()
        assert seen == [[0.0, 8.0, 12.0, 16.0]]
        assert x.grad.tolist() == [0.0, 16.0, 24.0, 32.0]


def test_a_retained_gradient_is_that_of_the_present_value():
    for _ in range(2):
        x = autograd.array(X, requires_grad=True)
        y = x * 2
        z = y[1:]
        y.retain_grad()
        z.retain_grad()
        y[0] = 1.0
        z *= 3.0
        (y * y + np.concatenate([z[:1], z])).sum().backward()
        assert y.grad.tolist() == [2.0, 26.0, 37.0, 49.0]
        assert z.grad.tolist() == [2.0, 1.0, 1.0]
        assert x.grad.tolist() == [0.0, 6 * 26.0, 6 * 37.0, 6 * 49.0]


def test_integers_are_written_to_as_numpy_does():
    x = autograd.array(X, requires_grad=True)
    counts = autograd.array([1, 2, 3])
    counts[0] = x[3]
    assert counts.tolist() == [4, 2, 3]
    assert not counts.requires_grad
    with pytest.raises(TypeError, match="Cannot cast ufunc 'add' output from"):
        counts += x[:3]


def test_in_the_manner_of_mxnet():
    x = autograd.array(X)
    x.attach_grad()
    with autograd.record():
        y = x * x
        y[0] = 3.0
        y += x
    y.backward()
    assert x.grad.tolist() == [1.0, 5.0, 7.0, 9.0]
    y[0] = 0.0  # outside of record(): not recorded
    with autograd.record():
        refused(BEHIND, lambda: y * y)


def test_what_no_rule_reads_may_change():
    """A kernel would compute y from k again; y itself is known."""
    for _ in range(3):
        x = autograd.array(X, requires_grad=True)
        k = autograd.array(np.ones(4))
        y = x + k
        z = np.exp(y) * y
        k[1:] = 7.0
        with autograd.no_grad():
            x *= 2.0
        z.sum().backward()
        np.testing.assert_allclose(x.grad, np.exp(X + 1) * (X + 2), rtol=1e-13)


def test_what_a_rule_reads_may_not():
    x = autograd.array(X, requires_grad=True)
    k = autograd.array(np.ones(4))
    y = (x + k) * k
    k[1:] = 7.0
    refused(
        "an array of shape [4] that the gradient needs was changed in place after it "
        "was used. Change it after backward(), or use a copy: x.clone().",
        y.sum().backward,
    )


def test_changes_of_what_was_written():
    """Values that were let go are computed before what they come from changes."""
    for when in (0, 1, 2):
        x = autograd.array(X, requires_grad=True)
        y = autograd.array(np.zeros(4))
        y[:] = x

        def change(now, x=x, when=when):
            if when == now:
                with autograd.no_grad():
                    x += 1.0

        change(0)
        y[0] = 5.0
        change(1)
        y[1] = 6.0
        change(2)
        (y * y).sum().backward()
        assert x.grad.tolist() == [0.0, 0.0, 6.0, 8.0]


def test_a_lazy_copy_has_memory_of_its_own():
    x = autograd.array(np.arange(6.0).reshape(2, 3), requires_grad=True)
    for _ in range(3):  # from the second time on the copy waits for its value
        y = x.copy()
        y[0][1] = x[1, 2]
        assert np.array_equal(y.detach(), [[0.0, 5.0, 2.0], [3.0, 4.0, 5.0]])
        assert np.array_equal(x.detach(), np.arange(6.0).reshape(2, 3))


def test_a_call_that_gave_a_view_gives_a_copy_next_time():
    x = autograd.array(np.arange(6.0).reshape(2, 3), requires_grad=True)
    view = (x * 2).astype(np.float64, copy=False)
    y = view.astype(np.float64)
    y[0] = 7.0
    assert view.detach().tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_a_reshape_is_a_view_or_a_copy_as_the_memory_lies(order):
    for transposed in order * 2:
        x = autograd.array(np.arange(9.0).reshape(3, 3), requires_grad=True)
        y = x * 2
        z = y.detach().numpy().copy()
        assert y.detach().shape == (3, 3)
        line = (y.T if transposed else y).reshape(9)
        part = (z.T if transposed else z).reshape(9)
        line[1], part[1] = x[2, 2], 8.0
        assert np.array_equal(y.detach(), z)
        assert np.array_equal(line.detach(), part)
        y.sum().backward()
        wanted = np.full((3, 3), 2.0)
        if not transposed:
            wanted[0, 1], wanted[2, 2] = 0.0, 3.0
        assert np.array_equal(x.grad, wanted)


@pytest.mark.parametrize("call", ["reshape", "ravel"])
def test_a_reshape_does_not_wait_for_a_write(call):
    for step in range(5):
        x = autograd.array(np.arange(9.0).reshape(3, 3), requires_grad=True)
        y, z = x * 2, np.arange(9.0).reshape(3, 3) * 2
        args = (9,) if call == "reshape" else ()
        # The same call is a view of contiguous memory, and a copy of transposed.
        line = getattr(y.T if step >= 2 else y, call)(*args)
        part = getattr(z.T if step >= 2 else z, call)(*args)
        y[0], z[0] = 100.0, 100.0
        assert np.array_equal(line.detach(), part)
        assert np.array_equal(y.detach(), z)


@pytest.mark.parametrize("call", [(False,), {"copy": False}])
def test_nan_to_num_in_place(call):
    x = autograd.array(X, requires_grad=True)
    args, kwargs = (call, {}) if type(call) is tuple else ((), call)
    refused(
        "np.nan_to_num(x, copy=False) would change a variable unrecorded. Write "
        "x[...] = np.nan_to_num(x).",
        lambda: np.nan_to_num(x * 2, *args, **kwargs),
    )
