"""`var`, `bind`, `eval`, `grad`."""

import re

import numpy as np
import pytest

from tracejit.autograd import array, var
from tracejit.errors import ArgumentError


def raises(text):
    return pytest.raises(ArgumentError, match=rf"^test_\S+ in \S+: {re.escape(text)}$")


def test_an_expression_before_its_data():
    a, b = var("a"), var("b")
    c = 2 * a + b
    assert repr(c) == "2 * a + b"
    assert list(c.variables) == ["a", "b"]
    assert c.eval(a=3.0, b=1.0) == 7.0
    assert c.eval(a=np.ones(2), b=[1.0, 2.0]).tolist() == [3, 4]
    assert c.eval(a=array([1.0, 2.0]), b=0.0).tolist() == [2, 4]


def test_it_is_compiled_once():
    a, b = var("a"), var("b")
    c = np.sum(np.tanh(a) * b)
    x, y = np.array([0.1, 0.2]), np.array([3.0, 4.0])
    for k in range(5):
        assert np.isclose(c.eval(a=x + k, b=y), np.sum(np.tanh(x + k) * y))
        slope = (1 - np.tanh(x + k) ** 2) * y
        np.testing.assert_allclose(c.grad("a", a=x + k, b=y), slope, rtol=1e-12)
    stats = c.stats()
    assert set(stats) == {"value", "a"}
    for counters in stats.values():
        assert (counters.traces, counters.hits) == (1, 4)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda a, b: (a + b) * 2, "(a + b) * 2"),
        (lambda a, b: a - (b - a), "a - (b - a)"),
        (lambda a, b: b / (a * a + 1), "b / (a * a + 1)"),
        (lambda a, b: a**2 @ b, "(a ** 2) @ b"),
        (lambda a, b: (-a)[1:].sum(axis=0) * b, None),
        (lambda a, b: np.stack([a, b]).T.reshape(4).max(), None),
        (lambda a, b: np.where(a > b, a, b).sum(), "(where(a > b, a, b)).sum()"),
        (lambda a, b: np.add(a, b) + np.ones(2) * a, None),
        (lambda a, b: np.linalg.norm(a) + np.add.reduce(b), None),
    ],
)
def test_operators_and_functions(build, text):
    c = build(var("a"), var("b"))
    if text is not None:
        assert repr(c) == text
    x, y = np.array([0.5, -2.0]), np.array([1.5, 3.0])
    np.testing.assert_allclose(c.eval(a=x, b=y), build(x, y), rtol=1e-13)


def test_bound():
    a, b = var("a"), var("b")
    c = (a * b).sum()
    bound = c.bind(a=np.ones(2), b=np.array([1.0, 2.0]))
    assert repr(bound) == "<(a * b).sum() bound to a: f64[2], b: f64[2]>"
    assert repr(bound.aval) == "f64[]"
    assert bound.eval() == 3.0
    assert bound.eval(a=np.array([2.0, 0.0])) == 2.0
    assert bound.grad("a").tolist() == [1, 2]
    with raises("a was bound as f64[2], and given f64[3]. Bind the expression anew."):
        bound.eval(a=np.ones(3))


def test_what_is_refused():
    a, b = var("a"), var("b")
    c = 2 * a + b
    with raises("the expression 2 * a + b has no variable 'x'. It has a, b."):
        c.eval(x=1.0)
    with raises("the expression 2 * a + b has no value for b. Give one: b=...."):
        c.bind(a=1.0)
    with raises("the expression 2 * a + b has no variable 'q'. It has a, b."):
        c.grad("q", a=1.0, b=1.0)
    with raises(
        "the expression 2 * a + b does not take a: f64[3], b: f64[2] (operands could "
        "not be broadcast together with shapes (3,) (2,) ). Give arrays whose shapes "
        "and dtypes fit together."
    ):
        c.bind(a=np.ones(3), b=np.ones(2))
    with raises(
        "k was declared with shape (3,), and given shape (2,). Give an array of the "
        "declared shape."
    ):
        (var("k", 3) * 2).eval(k=np.ones(2))
    with raises(
        "k was declared as float32, and given float64. Convert it with "
        ".astype(float32)."
    ):
        (var("k", dtype="f4") * 2).bind(k=np.ones(2))
    with raises(
        "the expression a > 1 has no value to decide on. Use np.where, or write a "
        "function for @grad."
    ):
        bool(a > 1)
    with raises("'2a' is no name. Use a Python identifier."):
        var("2a")
    with raises(
        "two variables are called 'a' and differ in shape or dtype. Give them "
        "different names."
    ):
        (a + var("a", 3)).eval(a=np.ones(3))


def test_deep_expressions():
    a = var("a")
    c = a
    for _ in range(2000):
        c = c + 1.0
    assert c.bind(a=1.0).eval() == 2001.0
