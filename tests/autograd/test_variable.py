"""Variables: what they look like, rules for leaves, changes in place."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest

from tracejit import autograd, stop_gradient
from tracejit.errors import AutogradError, UnsupportedError
from tracejit.tracer import FUNCTIONS


def leaf(*numbers):
    return autograd.array(np.array(numbers, float), requires_grad=True)


def raises(text, kind=AutogradError):
    """An error of exactly this text, behind the user's position."""
    return pytest.raises(kind, match=rf"^test_\w+\.py:\d+ in \S+: {re.escape(text)}$")


# --- looks ----------------------------------------------------------------------------


def test_repr():
    x = leaf(0, 1, 2.5)
    assert repr(x) == "array([0. , 1. , 2.5], requires_grad=True)"
    assert repr(x.detach()) == "array([0. , 1. , 2.5])"
    assert repr(x.sum()) == "array(3.5, grad_fn=<SumBackward0>)"
    assert repr(autograd.array([1, 2])) == "array([1, 2])"
    short = autograd.array(np.float32(0.5), requires_grad=True)
    assert repr(short) == "array(0.5, dtype=float32, requires_grad=True)"
    assert f"{x.sum():.2f}" == "3.50"


def test_attributes():
    x = autograd.array(np.ones((2, 3)), requires_grad=True)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert x.dtype == np.float64
    assert (x * 2).sum().item() == 12.0
    assert type((x * 2).sum().item()) is float
    assert [row.shape for row in x] == [(3,), (3,)]
    assert float(x[0, 0]) == 1.0
    assert int(x.sum()) == 6
    assert bool(x.sum() > 5)
    assert x.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_numpy():
    x = leaf(1, 2)
    with raises(
        "numpy() of an array that requires a gradient would lose its history. Use "
        "x.detach().numpy()."
    ):
        x.numpy()
    view = x.detach().numpy()
    assert type(view) is np.ndarray
    with autograd.no_grad():
        x += 1
    assert view.tolist() == [2, 3]  # no copy
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0


def test_it_does_not_become_an_ordinary_array_by_accident():
    x = leaf(1, 2)
    with raises(
        "an array that requires a gradient would become an ordinary array. Use "
        "NumPy's functions on it (np.stack for np.array of a list), or "
        "x.detach().numpy()."
    ):
        np.array([x.sum(), x.sum()])
    with raises(
        "a recorded result would be written into an ordinary array (np.add(..., "
        "out=a)). Assign the result to a name, or use no_grad()."
    ):
        np.add(x, 1.0, out=np.zeros(2))


def test_array_copies_its_data():
    data = np.zeros(2)
    x = autograd.array(data)
    data += 1
    assert x.tolist() == [0, 0]


def test_only_floats_require_gradients():
    with raises(
        "only arrays of floats can require gradients, not int64. Convert it with "
        ".astype(float)."
    ):
        autograd.array([1, 2], requires_grad=True)
    assert not (leaf(1, 2) > 1).requires_grad
    assert not leaf(1, 2).argmax().requires_grad


# --- recording ------------------------------------------------------------------------


def test_requires_grad_propagates():
    x, c = leaf(1, 2), autograd.array([3.0, 4.0])
    assert x.requires_grad
    assert not c.requires_grad
    assert (x * c).requires_grad
    assert not (c * c).requires_grad
    c.requires_grad = True
    assert (c * c).requires_grad
    assert c.requires_grad_(False) is c
    assert not (c * c).requires_grad


def test_leaves_and_what_made_the_rest():
    x = leaf(1, 2)
    y = x * 2.0
    z = y + x
    assert x.is_leaf
    assert x.grad_fn is None
    assert not y.is_leaf
    assert y.grad_fn.name() == "MulBackward0"
    assert re.match(r"<AddBackward0 object at 0x\w+>$", repr(z.grad_fn))
    assert z.grad_fn.next_functions[0] == (y.grad_fn, 0)
    (end, index) = z.grad_fn.next_functions[1]
    assert (end.name(), index) == ("AccumulateGrad", 0)
    assert end.variable is x
    with autograd.no_grad():
        assert (x * 2).is_leaf


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x + 1, "Add"),
        (lambda x: x - x, "Sub"),
        (lambda x: 2 / x, "Div"),
        (lambda x: x**2, "Pow"),
        (lambda x: -x, "Neg"),
        (np.exp, "Exp"),
        (np.mean, "Mean"),
        (lambda x: np.dot(x, x), "Dot"),
        (lambda x: x @ np.ones(2), "Matmul"),
        (lambda x: x.reshape(2, 1), "Reshape"),
        (lambda x: x[0], "Getitem"),
        (lambda x: np.where(x > 1, x, 0.0), "Where"),
        (lambda x: np.linalg.norm(x), "Norm"),
    ],
)
def test_names_of_grad_fn(function, name):
    assert function(leaf(1, 2)).grad_fn.name() == f"{name}Backward0"


def test_requires_grad_of_a_result_stays():
    y = leaf(1, 2) * 2
    with raises(
        "requires_grad of a recorded result cannot be changed; only that of leaves "
        "can. Use y.detach()."
    ):
        y.requires_grad = False


def test_retain_grad():
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [6, 12]
    assert x.grad.tolist() == [18, 36]
    with raises(
        "retain_grad() of an array that does not require a gradient. Compute it from "
        "an array with requires_grad=True."
    ):
        x.detach().retain_grad()


def test_unsupported_functions_say_so_and_work_unrecorded(monkeypatch):
    monkeypatch.delitem(FUNCTIONS, np.sinc)
    x = leaf(1, 2, 3)
    with raises(
        "np.sinc cannot be recorded. Write it with supported NumPy functions.",
        UnsupportedError,
    ):
        np.sinc(x)
    np.testing.assert_array_equal(np.sinc(x.detach()), np.sinc([1.0, 2.0, 3.0]))


def test_numpys_errors_and_warnings_come_from_the_users_line():
    with pytest.raises(ValueError, match="operands could not be broadcast together"):
        leaf(1, 2) + leaf(1, 2, 3)
    with pytest.warns(RuntimeWarning, match="divide by zero encountered in") as seen:
        np.log(leaf(0, 1))
    assert seen[0].filename == __file__
    x = leaf(1, 2)
    for k in (0, 1, 5):
        if k < 2:
            x[np.array([k, 0])]
        else:
            with pytest.raises(IndexError, match="index 5 is out of bounds"):
                x[np.array([k, 0])]
    for k in range(2):  # the second time, the call is known
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            1.0 / leaf(0, k)


def test_values_wait_and_are_right():
    x = leaf(1, 2)
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = np.exp(x) * 2.0
            z = y.reshape(2, 1).T[0, 1:] + y.sum()
    assert np.allclose(y.detach(), 2 * np.exp([1, 2]), rtol=1e-15)
    assert np.allclose(z.detach(), 2 * np.exp(2.0) + 2 * np.exp([1, 2]).sum())
    with autograd.no_grad():
        x *= 0.0
    # What was recorded before the change has the values of then.
    for _ in range(2):
        y = x * 2.0
    with autograd.no_grad():
        x += 5.0
    assert y.tolist() == [0, 0]


def test_a_variable_meets_a_traced_value():
    from tracejit import jit

    x = leaf(1, 2)
    with raises(
        "a variable of tracejit.autograd met a traced value. Pass x.detach().numpy() "
        "to the function as an argument."
    ):
        jit(lambda a: (a * x).sum())(np.ones(2))


def test_custom_rules_of_tracejit():
    from tracejit import custom_vjp

    x = leaf(2, 3)
    assert not stop_gradient(x).requires_grad

    @custom_vjp
    def clipped(a):
        return a

    clipped.defvjp(lambda a: (a, None), lambda _, ct: (np.clip(ct, -1, 1),))
    with raises(
        "clipped has a custom rule, which variables of tracejit.autograd do not "
        "follow. Write the rule as an autograd.Function, which works here and in grad.",
        UnsupportedError,
    ):
        clipped(x)


# --- detach and changes in place ------------------------------------------------------


def test_detach_of_what_is_used_afterwards():
    x = autograd.array(np.arange(4.0), requires_grad=True)
    y = x * x
    u = y.detach()
    z = u * x
    z.sum().backward()
    assert np.array_equal(x.grad, u)
    x.grad.zero_()
    y.sum().backward()
    assert np.array_equal(x.grad, 2 * x.detach())


def test_update_of_a_leaf():
    x = leaf(1, 2)
    (x * x).sum().backward()
    memory = x.detach().numpy()
    with autograd.no_grad():
        x -= 0.25 * x.grad
    assert memory.tolist() == [0.5, 1]
    assert x.requires_grad
    assert x.is_leaf
    with raises(
        "x -= y on a leaf that requires a gradient would change it under its history. "
        "Write inside `with autograd.no_grad():`."
    ):
        x -= 1.0
    with raises(
        "x[key] = value on a leaf that requires a gradient would change it under its "
        "history. Write inside `with autograd.no_grad():`."
    ):
        x[0] = 1.0
    x.data[0] = 7.0
    x.data -= 1.0
    assert x.tolist() == [6, 0]


@pytest.mark.parametrize("seen", [False, True])
def test_a_change_that_spoils_a_saved_value(seen):
    for _ in range(2):
        x = leaf(1, 2)
        y = (x * x).sum()
        if seen:
            y.item()
        with autograd.no_grad():
            x += 1
        with raises(
            "an array of shape [2] that the gradient needs was changed in place after "
            "it was used. Change it after backward(), or use a copy: x.clone()."
        ):
            y.backward()
        assert y.item() == 5.0


def test_a_change_that_spoils_nothing():
    for _ in range(2):
        x = leaf(1, 2)
        y = (x + 1.0).sum()
        with autograd.no_grad():
            x += 1
        y.backward()
        assert x.grad.tolist() == [1, 1]
        assert y.item() == 5.0


def test_changes_of_constants_count():
    for _ in range(2):
        x, c = leaf(1, 2), autograd.array([3.0, 4.0])
        y = (x * c).sum()
        c[0] = 0.0
        with raises(
            "an array of shape [2] that the gradient needs was changed in place after "
            "it was used. Change it after backward(), or use a copy: x.clone()."
        ):
            y.backward()
    data = np.array([3.0, 4.0])
    y = (x * data).sum()
    data[:] = 0.0  # ordinary arrays were copied
    y.backward()
    assert x.grad.tolist() == [3, 4]


def test_in_place_on_a_recorded_result():
    for _ in range(2):
        x = leaf(1, 2)
        y = x * 2
        before = y.detach()
        z = y * y
        y += x
        assert y.grad_fn.name() == "AddBackward0"
        assert y.tolist() == before.tolist() == [3, 6]
        (y + z).sum().backward()
        assert x.grad.tolist() == [11, 19]  # 3 + 8x
        assert z.tolist() == [4, 16]


def test_copies():
    x = leaf(1, 2)
    x.grad = autograd.array([1.0, 1.0])
    twin = copy.deepcopy(x)
    again = pickle.loads(pickle.dumps(x))
    for other in (twin, again):
        assert other.requires_grad
        assert other.tolist() == [1, 2]
    assert twin.grad.tolist() == [1, 1]
    assert twin.grad is not x.grad
    y = x.clone()
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]
    with raises("a recorded result cannot be pickled. Use y.detach()."):
        pickle.dumps(x * 2)


def test_wrong_gradients():
    x = leaf(1, 2)
    with raises(
        "a gradient of float64[3] does not fit a variable of float64[2]. Give it the "
        "shape and dtype of the variable."
    ):
        x.grad = autograd.array(np.ones(3))
    with pytest.raises(TypeError, match=r"^grad is an array of tracejit\.autograd"):
        x.grad = np.ones(2)
