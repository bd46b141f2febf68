"""Every refusal of a write, with its full text."""

from __future__ import annotations

import numpy as np
import pytest
from numpy import add as kept_add

from tracejit import cond, fori_loop, grad, jit, vmap
from tracejit.errors import ConcretizationError, UnsupportedError

X = np.array([0.5, -1.5, 2.0])
OUTSIDE = np.zeros(3)
OWN = (
    "Write into an array of the function's own, made by np.zeros, np.empty or np.copy."
)


class Model:
    def __init__(self):
        self.buffer = np.zeros(3)


MODEL = Model()


def text_of(function, *args, kind=UnsupportedError):
    with pytest.raises(kind) as caught:
        jit(function)(*args)
    return str(caught.value).partition(": ")[2]


def into_global(x):
    OUTSIDE[0] = x[0]
    return OUTSIDE.sum()


def plain_into_global(x):
    OUTSIDE[0] = 1.0
    return x.sum()


def add_to_global(x):
    view = OUTSIDE[1:]
    view += x[1:]


def sort_global(x):
    OUTSIDE.sort()
    return x


@pytest.mark.parametrize(
    "function", [into_global, plain_into_global, add_to_global, sort_global]
)
def test_captured_arrays(function):
    text = text_of(function, X)
    assert text == (
        "writing into an array from outside of the function cannot be recorded. Write "
        "into a copy: a = a.copy()."
    )
    assert not OUTSIDE.any()


def test_attributes_of_objects():
    def program(x):
        MODEL.buffer[0] = x[0]
        return x

    assert text_of(program, X, kind=ConcretizationError) == (
        "a traced value (f64[]) would become a Python float. They can be written into "
        "an array of the function's own, made by np.zeros, np.empty or np.copy."
    )


def test_out_into_an_ordinary_array():
    def program(x):
        kept_add(x, 1.0, out=MODEL.buffer)

    assert text_of(program, X) == (
        "writing a traced value into an ordinary array (a += t) cannot be recorded. "
        f"{OWN}"
    )
    assert not MODEL.buffer.any()


def test_functions_into_an_ordinary_array():
    def program(x):
        np.copyto(MODEL.buffer, x)

    assert text_of(program, X) == (
        "writing a traced value into an ordinary array (np.copyto) cannot be recorded. "
        f"{OWN}"
    )


def test_an_array_that_is_known_elsewhere():
    def program(x):
        y = np.zeros(3)
        wide = np.broadcast_to(y, (2, 3))
        y[0] = x[0]
        return wide

    assert text_of(program, X) == (
        "writing a traced value into an array that is also known as an ordinary one "
        "(np.asarray in a library, or a broadcast view) cannot be recorded. Write into "
        "a copy: a = a.copy()."
    )


def test_reshapes_that_may_be_copies():
    def program(x):
        line = x.reshape(-1)
        x[0, 0] = 1.0
        return line

    assert text_of(program, np.ones((2, 3))) == (
        "writing into an array while a reshaped array is in use, which may be a view of"
        " it or a copy, depending on how the caller's arrays lie in memory, cannot be "
        "recorded. Reshape a copy: a.copy().reshape(...)."
    )

    def done_with(x):
        total = x.reshape(-1).sum()
        x[0, 0] = 1.0
        return total + x.sum()

    assert jit(done_with)(np.full((2, 3), 2.0)) == 23.0


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (
            lambda x: np.broadcast_to(x, (2, 3)).__setitem__(0, 1.0),
            ValueError,
            "assignment destination is read-only",
        ),
        (
            lambda x: np.diagonal(np.outer(x, x)).__setitem__(0, 1.0),
            ValueError,
            "assignment destination is read-only",
        ),
        (lambda x: x.__setitem__(3, 1.0), IndexError, "index 3 is out of bounds"),
        (
            lambda x: x.__setitem__(slice(1), np.ones(2)),
            ValueError,
            "could not broadcast input array from shape (2,) into shape (1,)",
        ),
        (
            lambda x: x.__setitem__([0, 1], x),
            ValueError,
            (
                "shape mismatch: value array of shape (3,) could not be broadcast to "
                "indexing result of shape (2,)"
            ),
        ),
        (
            lambda x: x.__setitem__(x > 0, np.ones(3)),
            ValueError,
            (
                "NumPy boolean array indexing assignment cannot assign 3 input values "
                "to the 2 output values where the mask is true"
            ),
        ),
        (
            lambda x: np.arange(3).__iadd__(x),
            TypeError,
            (
                "Cannot cast ufunc 'add' output from dtype('float64') to dtype('int64')"
                " with casting rule 'same_kind'"
            ),
        ),
        (
            lambda x: x.__iadd__(np.ones((2, 3))),
            ValueError,
            (
                "non-broadcastable output operand with shape (3,) doesn't match the "
                "broadcast shape (2,3)"
            ),
        ),
    ],
)
def test_numpys_own_errors(function, kind, text):
    with pytest.raises(kind) as plain:
        function(X.copy())
    assert text in str(plain.value)
    with pytest.raises(kind) as caught:
        jit(function)(X.copy())
    assert text in str(caught.value)


def test_read_only_arguments():
    x = X.copy()
    x.flags.writeable = False
    with pytest.raises(ValueError, match="assignment destination is read-only"):
        jit(lambda x: x.__imul__(2))(x)


def test_scalars():
    def program(x):
        s = x.sum()
        s[()] = 1.0

    assert text_of(program, X) == (
        "writing into a traced scalar or 0-d array cannot be recorded. Bind the name "
        "again: a = value."
    )


def test_a_gradient_says_the_same():
    with pytest.raises(UnsupportedError, match="from outside of the function"):
        grad(into_global)(X)


def test_bodies_write_into_what_they_are_given():
    def in_loop(x):
        y = np.zeros(3)

        def body(i, c):
            y[0] = 1.0 + c
            return c * 2

        return fori_loop(0, 3, body, x[0]) + y.sum()

    def in_cond(x):
        y = x * 2

        def write(v):
            y[0] = v
            return v

        return cond(x[0] > 0, write, lambda v: v, x[1]) + y.sum()

    def in_vmap(x):
        y = x * 2

        def write(v):
            y[0] = v
            return v

        return vmap(write)(x) + y

    for function, what in (
        (
            in_loop,
            "the body of a fori_loop of body writes to an array from outside. Make",
        ),
        (in_cond, "a side of a cond writes to an array from outside. Return the new"),
        (in_vmap, "a function under vmap writes to an array from outside. Return the"),
    ):
        assert text_of(function, X).startswith(what)
