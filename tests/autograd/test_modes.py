"""`no_grad`, `enable_grad`, `record`, `pause`, `attach_grad`."""

import re
import threading

import numpy as np
import pytest

from tracejit import autograd
from tracejit.errors import AutogradError


def leaf(*numbers):
    return autograd.array(np.array(numbers, float), requires_grad=True)


def attached(*numbers, **options):
    x = autograd.array(np.array(numbers, float))
    x.attach_grad(**options)
    return x


def test_no_grad_and_enable_grad():
    x = leaf(1, 2)
    assert autograd.is_grad_enabled()
    with autograd.no_grad():
        assert not autograd.is_grad_enabled()
        assert not (x * 2).requires_grad
        with autograd.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_as_a_decorator():
    @autograd.no_grad()
    def double(x):
        """Twice x."""
        return x * 2

    assert not double(leaf(1, 2)).requires_grad
    assert double.__doc__ == "Twice x."


def test_modes_end_with_an_error():
    with pytest.raises(KeyError), autograd.no_grad():
        raise KeyError
    with pytest.raises(KeyError), autograd.record():
        raise KeyError
    assert autograd.is_grad_enabled()
    assert not autograd.is_recording()


def test_attach_grad_allocates_zeros():
    x = attached(1, 2)
    assert x.grad.tolist() == [0, 0]
    assert x.requires_grad


def test_only_inside_record():
    x = attached(1, 2)
    assert not (x * 2).requires_grad
    with autograd.record():
        assert autograd.is_recording()
        y = x * 2
        with autograd.pause():
            assert not (x * 2).requires_grad
        assert (x * 2).requires_grad
    assert not autograd.is_recording()
    assert y.requires_grad
    assert not (y * 2).requires_grad


def test_outside_record_it_is_a_constant():
    w, x = leaf(3, 4), attached(1, 2)
    y = (w * x).sum()
    y.backward()
    assert w.grad.tolist() == [1, 2]
    assert x.grad.tolist() == [0, 0]


def test_a_non_scalar_sums():
    x = attached(0, 1, 2, 3)
    with autograd.record():
        y = x * x
    y.backward()
    assert x.grad.tolist() == [0, 2, 4, 6]
    with autograd.record():
        (x * x).backward()
    assert x.grad.tolist() == [0, 2, 4, 6]


def test_grad_req():
    written, added = attached(1, 2), attached(1, 2, grad_req="add")
    memory = written.grad.numpy()
    for _ in range(3):
        with autograd.record():
            y = written * added
        y.backward()
    assert written.grad.tolist() == [1, 2]
    assert added.grad.tolist() == [3, 6]
    assert memory.tolist() == [1, 2]  # no new array
    nothing = attached(1, 2, grad_req="null")
    assert nothing.grad is None
    with autograd.record():
        assert not (nothing * 2).requires_grad
    text = 'grad_req is "write", "add" or "null", not \'replace\''
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        attached(1, 2, grad_req="replace")


def test_attach_grad_of_a_result_makes_a_leaf():
    x = attached(1, 2)
    with autograd.record():
        y = x * 3
        y.attach_grad()
        z = y * y
    z.backward()
    assert y.grad.tolist() == [6, 12]
    assert x.grad.tolist() == [0, 0]


def test_backward_of_what_was_not_recorded():
    x = attached(1, 2)
    text = (
        "backward() of an array that does not require a gradient. Compute it from an "
        "array with requires_grad=True, outside no_grad(); or after attach_grad(), "
        "inside record()."
    )
    with pytest.raises(AutogradError, match=rf"^test_\S+ in \w+: {re.escape(text)}$"):
        (x * x).backward()


def test_threads_have_modes_and_histories_of_their_own():
    shared = leaf(1, 2, 3)
    found, errors = {}, []

    def work(number):
        try:
            assert autograd.is_grad_enabled()
            for k in range(30):
                y = shared * float(number)
                for _ in range(k % 5):
                    y = y * y
                (gradient,) = autograd.grad(y.sum(), shared)
                power = 2.0 ** (k % 5)
                x = np.array([1.0, 2.0, 3.0])
                expected = power * x ** (power - 1) * float(number) ** power
                np.testing.assert_allclose(gradient.numpy(), expected)
            found[number] = True
        except Exception as error:
            errors.append(error)

    with autograd.no_grad():
        threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert set(found) == {1, 2, 3}


def test_histories_of_two_threads_are_joined():
    x = leaf(1, 2)
    parts = []
    threads = [
        threading.Thread(target=lambda: parts.append(np.exp(x) * x)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        thread.join()
    (parts[0] * parts[1]).sum().backward()
    value, slope = np.exp([1, 2]) * [1, 2], np.exp([1, 2]) * [2, 3]
    np.testing.assert_allclose(x.grad.numpy(), 2 * value * slope)
