"""Every form of reading by index, against NumPy."""

import numpy as np
import pytest

from tests.numpy_api.check import check, record

X = np.arange(24.0).reshape(2, 3, 4)
V = np.arange(5.0)
i1 = np.array([0, 2, 1])
i2 = np.array([[1, 0], [-1, 2]])
mask = np.array([True, False, True])

KEYS = {
    "int": 1,
    "negative int": -1,
    "numpy int": np.int32(1),
    "ints": (1, 2, 3),
    "two ints": (0, -1),
    "slice": slice(1, None),
    "step": (slice(None), slice(None, None, 2)),
    "negative step": (slice(None), slice(None, None, -1)),
    "negative step two": (slice(None), slice(2, 0, -2), slice(-1, -4, -1)),
    "empty slice": (slice(None), slice(2, 1)),
    "beyond": slice(0, 99),
    "ellipsis": ...,
    "ellipsis int": (..., 0),
    "int ellipsis": (0, ...),
    "middle": (0, ..., 1),
    "newaxis": None,
    "newaxis twice": (None, 0, None),
    "newaxis end": (..., None),
    "empty tuple": (),
    "array": np.array([1, 0, 1]),
    "list": [1, 0],
    "empty list": [],
    "array 2d": np.array([[0, 1], [1, 1]]),
    "second axis": (slice(None), i1),
    "last axis": (..., i1),
    "two arrays": (np.array([0, 1, 1]), i1),
    "broadcast arrays": (np.array([[0], [1]]), i1),
    "three arrays": (np.array([0, 1]), np.array([2, 0]), np.array([3, 3])),
    "array int": (slice(None), i1, 0),
    "int array": (0, i1),
    "array slice array": (np.array([0, 1, 1]), slice(None), i1),
    "int slice array": (0, slice(None), i1),
    "int slice array 2d": (0, slice(1, None), i2),
    "array slice int": (np.array([0, 1]), slice(None), 1),
    "slice array array": (slice(None), i1, i1),
    "newaxis between": (np.array([0, 1, 1]), None, i1),
    "newaxis before": (None, np.array([0, 1, 1]), i1),
    "array newaxis slice": (np.array([0, 1]), None, slice(1, None), ..., i1[:2]),
    "list of lists": (slice(None), [[0, 1], [2, 2]]),
    "zero-d array": np.array(1),
    "mask last": (..., np.array([True, False, True, True])),
    "mask middle": (slice(None), mask),
    "mask 2d": np.array([[True, False, True], [False, False, True]]),
    "mask 3d": X > 10,
    "mask and int": (1, mask),
    "mask and slice": (slice(None), mask, slice(1, 3)),
    "mask and array": (np.array([0, 1]), mask),
    "list mask": (slice(None), [True, True, False]),
    "nothing selected": (slice(None), np.zeros(3, bool)),
    "small dtype": np.array([1, 0], np.int8),
    "unsigned": np.array([1, 0], np.uint16),
}


@pytest.mark.parametrize("name", KEYS)
def test_read(name):
    key = KEYS[name]
    check(lambda x: x[key], X)


@pytest.mark.parametrize(
    "name", [n for n, k in KEYS.items() if isinstance(k, np.ndarray)]
)
def test_read_by_a_traced_array(name):
    check(lambda x, i: x[i], X, KEYS[name])


def test_traced_ints():
    check(lambda x, i: x[i], X, np.int64(1))
    check(lambda x, i: x[i], X, -2)
    check(lambda x, i: x[0, i, 1:], X, 2)
    check(lambda x, i: x[i, :, i], X, 1)
    check(lambda x, i: x[:, i1, i], X, 1)
    check(lambda x, i: x[:, i, 0] + x[:, -1, i], X, 1)


def test_argmax_as_index():
    rec = check(lambda x: x[np.argmax(x)], V)
    assert not rec.guards
    rec = check(lambda x: x[:, np.argmax(x[0])], X[0])
    assert not rec.guards


def test_masks_of_the_array_itself_are_guarded_on_their_count():
    rec = check(lambda x: x[x > 1.5], V)
    (guard,) = rec.guards
    assert guard.expected == 3
    assert guard.note == "the number of elements that a mask selects"
    check(lambda x: x[(x > 3) & (x < 20)].sum(), X)


def test_plain_index_into_a_mask_of_ints():
    check(lambda y, x: x[y == 1], np.array([1, 0, 1]), X[0])


def test_functions():
    check(lambda x: np.take(x, [1, -1, 3]), X)
    check(lambda x: np.take(x, i2, axis=1), X)
    check(lambda x: np.take(x, 2, axis=-1), X)
    check(lambda x: np.take(x, [7, -9], axis=1, mode="wrap"), X)
    check(lambda x: np.take(x, [7, -9], axis=1, mode="clip"), X)
    check(lambda i: np.take(X, i, axis=1), i1)
    check(lambda x: np.compress([True, False, True], x, axis=1), X)
    check(lambda x: np.compress(x > 1, x), V)
    check(lambda x: np.extract(x > 1, x), V)
    check(lambda x: np.flatnonzero(x > 2), V)
    check(lambda x: np.nonzero(x > 11), X)
    check(lambda x: np.argwhere(x > 11), X)


def test_iteration():
    check(lambda x: [row.sum() for row in x], X[0])
    check(lambda x: (lambda a, *rest: [a, *rest])(*x), V)

    def unpack(x):
        (a, b), c = x[:2, 0], x[1, 1]
        return a, b, c

    check(unpack, X[0])
    check(lambda x: [a * b for a, b in zip(x, reversed(x), strict=True)], V)
    check(lambda x: [v * i for i, v in enumerate(x)], V)


ILL_TYPED = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer "
    "or boolean arrays are valid indices"
)
ERRORS = {
    "int": 5,
    "second int": (0, 3),
    "traced": (0, np.array([0, 4])),
    "list": [2],
    "last": (..., -5),
    "too many": (0, 0, 0, 0),
    "ellipses": (..., ...),
    "float": 1.0,
    "string": "a",
    "list of floats": [1.0],
    "array of floats": np.array([1.0]),
    "float array in a tuple": (0, np.array([1.0])),
    "mask": np.array([True, False, True]),
    "mask second": (0, np.array([True, False])),
    "shapes": (np.array([0, 1]), np.array([0, 1, 2])),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_numpys(name):
    key = ERRORS[name]
    with pytest.raises(IndexError) as numpys:
        X[key]
    with pytest.raises(IndexError) as ours:
        record(lambda x: x[key], X)
    assert str(ours.value) == str(numpys.value)


@pytest.mark.parametrize(("index", "axis"), [(9, 1), ([0, -4], 1), (99, None)])
def test_take_errors_are_numpys(index, axis):
    with pytest.raises(IndexError) as numpys:
        np.take(X, index, axis)
    with pytest.raises(IndexError) as ours:
        record(lambda x: np.take(x, index, axis), X)
    assert str(ours.value) == str(numpys.value)


def test_a_traced_index_out_of_range_is_numpys_error():
    with pytest.raises(
        IndexError, match="index 7 is out of bounds for axis 0 with size 5"
    ):
        record(lambda x, i: x[i], V, 7)


def test_iteration_over_a_scalar():
    with pytest.raises(TypeError, match=r"object is not iterable|over a 0-d array"):
        record(lambda x: list(x), 1.0)
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        record(lambda x: len(x), 1.0)
