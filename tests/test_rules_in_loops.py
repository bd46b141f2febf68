"""stop_gradient, custom rules and checkpoint in the bodies of loops."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    grad,
    jvp,
    scan,
    stop_gradient,
    value_and_grad,
)

STEPS = 30
X = np.linspace(0.1, 0.9, 3)


@custom_vjp
def halved(x):
    """2 sin(x), of which the rule says half the derivative."""
    return 2.0 * np.sin(x)


halved.defvjp(lambda x: (2.0 * np.sin(x), x), lambda x, ct: (np.cos(x) * ct,))


@custom_jvp
def root(x):
    return np.sqrt(x)


@root.defjvp
def _(primals, tangents):
    y = root(*primals)
    return y, 0.7 * tangents[0] / (2.0 * y)


@custom_vjp
def scaled(x, factor):
    return x * factor


scaled.defvjp(
    lambda x, factor: (x * factor, (factor, x)),
    lambda kept, ct: (3.0 * kept[0] * ct, np.sum(kept[1] * ct)),
)


def with_vjp(x):
    for _ in range(STEPS):
        x = halved(x) + 0.1
    return x.sum()


def slope_with_vjp(x):
    slope = 1.0
    for _ in range(STEPS):
        slope, x = slope * np.cos(x), 2.0 * np.sin(x) + 0.1
    return slope


def with_jvp(x):
    for _ in range(STEPS):
        x = root(x * x + 1.0) * 0.9
    return x.sum()


def slope_with_jvp(x):
    slope = 1.0
    for _ in range(STEPS):
        y = np.sqrt(x * x + 1.0)
        slope, x = slope * 0.9 * 0.7 / (2.0 * y) * 2.0 * x, 0.9 * y
    return slope


def with_number(x):
    for n in range(STEPS):
        x = scaled(x, 0.3) + 0.01 * x * n
    return x.sum()


def slope_with_number(x):
    slope = 1.0
    for n in range(STEPS):
        slope = slope * (0.9 + 0.01 * n)
    return slope + 0.0 * x


def stopped(x):
    y = x
    for _ in range(STEPS):
        y = np.sin(y) * stop_gradient(y) + x
    return y.sum()


def slope_stopped(x):
    y, slope = x, 1.0
    for _ in range(STEPS):
        y, slope = np.sin(y) * y + x, slope * np.cos(y) * y + 1.0
    return slope


CASES = [
    (with_vjp, slope_with_vjp),
    (with_jvp, slope_with_jvp),
    (with_number, slope_with_number),
    (stopped, slope_stopped),
]


def loops(tape):
    return [i for i in tape.instrs if i.prim.name == "loop"]


@pytest.mark.parametrize(("fun", "slope"), CASES)
def test_rules_roll_and_are_asked(fun, slope):
    f = value_and_grad(fun)
    value, gradient = f(X)
    np.testing.assert_allclose(value, fun(X), rtol=1e-12)
    np.testing.assert_allclose(gradient, slope(X), rtol=1e-9)
    tape = f.tape(X)
    # A first round may stand in front.
    assert [i.params["trip"] >= STEPS - 1 for i in loops(tape)] == [True, True]
    assert len(tape.instrs) < 30


@pytest.mark.parametrize(("fun", "slope"), CASES[1:2] + CASES[3:])
def test_forward_mode(fun, slope):
    tangent = np.array([1.0, -2.0, 0.5])
    _, moved = jvp(fun, (X,), (tangent,))
    np.testing.assert_allclose(moved, np.sum(slope(X) * tangent), rtol=1e-9)


def test_rules_that_differ_stay_apart():
    def alternating(x):
        for n in range(8):
            x = scaled(x, 0.3 if n % 2 else 0.4)
        return x.sum()

    f = value_and_grad(alternating)
    value, gradient = f(X)
    np.testing.assert_allclose(value, np.sum(X) * 0.12**4, rtol=1e-12)
    np.testing.assert_allclose(gradient, np.full(3, (9 * 0.12) ** 4), rtol=1e-12)


def test_rules_in_nested_loops():
    def nested(x):
        for _ in range(6):
            for _ in range(5):
                x = halved(x) + 0.1
            x = x * 0.5
        return x.sum()

    slope, x = 1.0, X
    for _ in range(6):
        for _ in range(5):
            slope, x = slope * np.cos(x), 2.0 * np.sin(x) + 0.1
        slope, x = slope * 0.5, x * 0.5
    f = grad(nested)
    np.testing.assert_allclose(f(X), slope, rtol=1e-9)
    # The first round of all, which starts from the argument, may stand in front.
    tape = f.tape(X)
    assert len(loops(tape)) <= 4
    assert len(tape.instrs) < 60
    assert any(loops(i.params["body"]) for i in loops(tape))


def test_a_rule_in_a_scan():
    f = grad(
        lambda x: scan(lambda x, _: (halved(x) + 0.1, None), x, None, STEPS)[0].sum()
    )
    np.testing.assert_allclose(f(X), slope_with_vjp(X), rtol=1e-9)


# --- checkpoint


def cell(state, x):
    inner = np.tanh(state * 0.9 + x)
    return np.sin(inner) * np.exp(-inner * inner) + 0.5 * state


kept_cell = checkpoint(cell)


def rolled(body):
    def loss(state, xs):
        for i in range(xs.shape[0]):
            state = body(state, xs[i])
        return np.sum(state**2)

    return loss


def scanned(body):
    def loss(state, xs):
        return np.sum(scan(lambda s, x: (body(s, x), None), state, xs)[0] ** 2)

    def whole(state, xs):
        step = checkpoint(lambda s, x: (cell(s, x), None))
        return np.sum(scan(step, state, xs)[0] ** 2)

    return whole if body is kept_cell else loss


def stacked_bytes(tape):
    """What the loops of a tape stack, and inner ones at any one time."""
    total = 0
    for i in loops(tape):
        outs = i.outs[i.params["carries"] :]
        total += sum(tape.avals[o].size * tape.avals[o].dtype.itemsize for o in outs)
        total += stacked_bytes(i.params["body"])
    return total


@pytest.mark.parametrize("form", [rolled, scanned])
def test_checkpoint_needs_memory_for_the_root_of_the_steps(form):
    state = np.linspace(0.1, 1.0, 50)
    sizes = {}
    for steps in (100, 400):
        xs = np.sin(np.arange(steps * 50.0)).reshape(steps, 50) * 0.1
        plain, kept = (grad(form(body)) for body in (cell, kept_cell))
        np.testing.assert_allclose(kept(state, xs), plain(state, xs), rtol=1e-10)
        for name, f in (("plain", plain), ("kept", kept)):
            sizes[name, steps] = stacked_bytes(f.tape(state, xs))
    assert sizes["plain", 400] > 3.9 * sizes["plain", 100]
    assert sizes["kept", 400] < 2.2 * sizes["kept", 100]
    assert sizes["kept", 400] < 0.3 * sizes["plain", 400]
