"""Plans: how a form is recognised, and what is no such form."""

import numpy as np
import pytest

from tracejit import AutogradError, autograd
from tracejit.autograd import planning, segments


@pytest.fixture(autouse=True)
def _fresh():
    autograd.clear()


def leaf(*numbers):
    return autograd.array(numbers, requires_grad=True)


def gradients(loss, *leaves):
    """Gradients of a loss, as lists."""
    return [g.tolist() for g in autograd.grad(loss, leaves)]


@pytest.fixture
def spelled(monkeypatch):
    """How many entries were numbered: none where the guess was right."""
    found = []
    original = segments.Segment.read.__func__

    def read(cls, roots):
        segment = original(cls, roots)
        found.append(len(segment.order))
        return segment

    monkeypatch.setattr(segments.Segment, "read", classmethod(read))
    return found


def test_a_form_that_comes_back_is_not_spelled(spelled):
    x = leaf(1.0, 2.0)
    for _ in range(5):
        (x * x * 3.0).sum().backward()
    assert spelled == [3, 3]  # once to plan, once to remember
    assert x.grad.tolist() == [30.0, 60.0]
    assert (autograd.stats().plans, autograd.stats().hits) == (1, 4)


def test_forms_that_alternate_are_told_apart():
    x = leaf(1.0, 2.0)
    for _ in range(4):
        assert gradients((x * x).sum(), x) == [[2.0, 4.0]]
        assert gradients((x * np.exp(x * 0.0)).sum(), x) == [[1.0 + 0.0, 1.0]]
        assert gradients((x + x).sum(), x) == [[2.0, 2.0]]
    assert autograd.stats().plans == 3


def test_two_operands_may_turn_out_to_be_one():
    x, z = leaf(1.0, 2.0), leaf(5.0, 7.0)
    for _ in range(3):
        assert gradients((np.sin(x) * z).sum(), z) == [np.sin([1.0, 2.0]).tolist()]
    for a, b, want in [(x, z, [5.0, 7.0]), (x, x, [2.0, 4.0]), (z, z, [10.0, 14.0])]:
        for _ in range(3):
            a.grad = b.grad = None
            (a * b).sum().backward()
            assert a.grad.tolist() == want


def test_one_operand_may_turn_out_to_be_two():
    x, z = leaf(1.0, 2.0), leaf(5.0, 7.0)
    for _ in range(3):
        assert gradients((x * x).sum(), x) == [[2.0, 4.0]]
    assert gradients((x * z).sum(), x, z) == [[5.0, 7.0], [1.0, 2.0]]
    u, v = x + 1.0, x + 1.0
    for _ in range(3):
        assert gradients((u * u).sum(), u) == [[4.0, 6.0]]
    assert gradients((u * v).sum(), u, v) == [[2.0, 3.0], [2.0, 3.0]]


def test_a_constant_in_the_place_of_a_leaf():
    x, c = leaf(1.0, 2.0), autograd.array([5.0, 7.0])
    for _ in range(3):
        (x * x).sum().backward()
    x.grad = None
    (x * c).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    (c * x).sum().backward()
    assert x.grad.tolist() == [10.0, 14.0]


def test_other_numbers_and_other_shapes():
    x = leaf(1.0, 2.0)
    for factor in (1.0, 2.0, 3.0, -4.0):
        assert gradients((x * factor).sum(), x) == [[factor, factor]]
    y = leaf(1.0, 2.0, 3.0)
    for _ in range(3):
        assert gradients((y * 2.0).sum(), y) == [[2.0, 2.0, 2.0]]


def test_a_hook_where_there_was_none():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (np.sin(x) * 3.0).sum().backward()
    x.grad = None
    y = np.sin(x)
    y.register_hook(lambda g: g * 0.0)
    (y * 3.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_a_guess_refuses_what_spelling_refuses():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        y = (x * x).sum()
        y.backward()
    z = (x * x).sum()
    with autograd.no_grad():
        x += 1.0
    with pytest.raises(AutogradError, match="was changed in place after it was used"):
        z.backward()
    w = x * x
    w.sum().backward()
    with pytest.raises(AutogradError, match=r"an earlier .* has freed"):
        w.sum().backward()


def test_clear_forgets_the_guesses(spelled):
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * 3.0).sum().backward()
    assert planning._guesses
    autograd.clear()
    assert not planning._guesses
    (x * 3.0).sum().backward()
    assert len(spelled) == 3
