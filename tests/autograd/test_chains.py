"""Long histories, many iterations, and what is left behind."""

import gc
import tracemalloc

import numpy as np
import pytest

from tracejit import autograd
from tracejit.autograd.history import GradFn


@pytest.fixture(autouse=True)
def _fresh_plans():
    autograd.clear()


def test_a_chain_of_a_hundred_thousand():
    x = autograd.array(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.00001
    y.backward()
    np.testing.assert_allclose(x.grad.item(), 1.00001**100_000, rtol=1e-9)
    np.testing.assert_allclose(y.item(), 1.00001**100_000, rtol=1e-9)
    assert autograd.stats().interpreted == 0  # one loop


def test_a_chain_without_a_pattern_is_interpreted(monkeypatch):
    monkeypatch.setattr("tracejit.autograd.planning.LONGEST", 100)
    rng = np.random.default_rng(0)
    choices = [lambda y: y * 1.01, np.sin, np.tanh, lambda y: y + 0.5, np.cos]
    drawn = rng.integers(0, len(choices), 2000)
    x = autograd.array(0.3, requires_grad=True)

    def run(y):
        for k in drawn:
            y = choices[k](y)
        return y

    run(x).backward()
    step = 1e-30j  # the complex step
    with np.errstate(all="ignore"):
        expected = run(0.3 + step).imag / 1e-30
    np.testing.assert_allclose(x.grad.item(), expected, rtol=1e-7)
    assert autograd.stats().interpreted == 1


def test_a_long_history_is_let_go_without_recursion():
    x = autograd.array(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    del y
    gc.collect()


def test_values_of_long_histories_without_recursion():
    x = autograd.array(0.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    assert y.item() == 20_000


def entries():
    gc.collect()
    return sum(type(o) is GradFn for o in gc.get_objects())


def test_training_leaves_nothing_behind():
    before = entries()
    x = autograd.array(np.arange(4.0), requires_grad=True)
    c = autograd.array(np.ones(4))
    losses = []

    def step():
        loss = ((x - c) ** 2).sum()
        loss.backward()
        with autograd.no_grad():
            x.sub_(0.1 * x.grad)
        x.grad.zero_()
        return loss

    for _ in range(100):
        step()
    gc.collect()
    tracemalloc.start()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        step()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 8000  # a few dozen references to what is gone
    stats = autograd.stats()
    assert (stats.plans, stats.hits) == (1, 1099)
    assert stats.kernels_compiled + stats.kernels_reused == 1
    # A list of losses holds their values, not how they were made.
    with autograd.no_grad():
        x += 1.0
    losses += [step() for _ in range(20)]
    assert entries() - before <= 20
    assert losses[0].item() > losses[-1].item()


def test_a_program_of_ever_new_forms_is_interpreted():
    x = autograd.array(np.arange(4.0), requires_grad=True)
    rng = np.random.default_rng(1)
    functions = [np.sin, np.cos, np.tanh, np.exp]
    for _ in range(30):
        y = x
        for k in rng.integers(0, 4, 5):
            y = functions[k](y) * 0.5
        y.sum().backward()
    stats = autograd.stats()
    assert stats.plans >= 25
    assert stats.kernels_compiled + stats.kernels_reused < 15
    assert stats.interpreted >= 10


def test_ten_thousand_numbers_are_one_plan():
    x = autograd.array(np.arange(4.0), requires_grad=True)
    for k in range(50):
        (x * (1.0 / (k + 1))).sum().backward()
    assert autograd.stats().plans == 1
