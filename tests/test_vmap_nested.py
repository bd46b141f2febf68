"""`vmap` of deciding functions inside other transforms: one loop, own paths."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracejit import (
    cond,
    errors,
    grad,
    hessian,
    jacobian,
    jit,
    jvp,
    primitive,
    scan,
    value_and_grad,
    vmap,
    while_loop,
)
from tracejit.api import each

RNG = np.random.default_rng(7)


def bent(x):
    y = np.exp(-x * x)
    if y > 0.3:
        z = np.sin(x) * y
        if x > 0:
            z = z * np.log(1 + x)
    else:
        z = np.sqrt(1 + x * x) - y
    return z


def total(f, **axes):
    return lambda *args: np.sum(vmap(f, **axes)(*args) ** 2)


def slopes(f, xs, step=1e-6):
    return np.array([(f(x + step) - f(x - step)) / (2 * step) for x in xs])


def loops(tape):
    return [i for i in tape.instrs if i.prim.name == "loop"]


def test_gradient_of_a_sum_over_examples():
    g = grad(total(bent))
    xs = RNG.normal(size=30)
    expected = 2 * np.array([bent(x) for x in xs]) * slopes(bent, xs)
    np.testing.assert_allclose(g(xs), expected, rtol=1e-7, atol=1e-9)
    ys = RNG.normal(size=30)
    expected = 2 * np.array([bent(x) for x in ys]) * slopes(bent, ys)
    np.testing.assert_allclose(g(ys), expected, rtol=1e-7, atol=1e-9)
    assert g.stats().traces == 1
    assert g.stats().interpreted == 0
    forward, backward = loops(g.tape(xs))
    assert forward.params["trip"] == backward.params["trip"] == 30


def test_one_recording_for_each_path(monkeypatch):
    recorded = []
    one = each._Each.one

    def counted(self, rows):
        recorded.append(rows)
        return one(self, rows)

    monkeypatch.setattr(each._Each, "one", counted)
    xs = RNG.normal(size=500)
    expected = sum(bent(x) ** 2 for x in xs)
    assert jit(total(bent))(xs) == pytest.approx(expected, rel=1e-12)
    assert len(recorded) == 3


def test_many_examples_are_not_recorded_one_by_one():
    xs = RNG.normal(size=20_000)
    g = value_and_grad(total(bent))
    value, gradient = g(xs)
    v, d = vmap(value_and_grad(bent))(xs)
    np.testing.assert_allclose(value, np.sum(v * v), rtol=1e-12)
    np.testing.assert_allclose(gradient, 2 * v * d, rtol=1e-9, atol=1e-14)
    assert g.stats().record_seconds < 10.0


def test_nothing_of_a_side_that_is_not_taken():
    def f(x):
        if x > 0:
            return np.sqrt(x) * np.log(x)
        return x * x

    xs = np.array([-1.0, 2.0, -3.0, 0.5])
    with np.errstate(all="raise"):
        gradient = grad(lambda xs: np.sum(vmap(f)(xs)))(xs)
    at = [-2.0, None, -6.0, None]
    for k in (1, 3):
        at[k] = (0.5 * np.log(xs[k]) + 1.0) / np.sqrt(xs[k])
    np.testing.assert_allclose(gradient, at, rtol=1e-14)
    singular = np.zeros((2, 2))
    solved = grad(
        lambda a: np.sum(vmap(lambda m: np.linalg.inv(m) if m[0, 0] > 0 else m)(a))
    )
    stack = np.stack([np.eye(2), singular, 2 * np.eye(2)])
    np.testing.assert_allclose(solved(stack)[1], np.ones((2, 2)))


def test_a_path_that_no_example_took_is_recorded_when_one_does():
    g = grad(total(bent))
    xs = np.full(6, 0.2)
    g(xs)
    assert g.stats().traces == 1
    np.testing.assert_allclose(
        g(-xs), 2 * bent(-0.2) * slopes(bent, -xs), rtol=1e-7, atol=1e-9
    )
    assert g.stats().traces == 2
    # The new tape knows the old paths too.
    mixed = np.array([0.2, -0.2, 0.1, -0.1, 0.3, -0.3])
    expected = 2 * np.array([bent(x) for x in mixed]) * slopes(bent, mixed)
    for order in (slice(None), slice(None, None, -1)):
        np.testing.assert_allclose(
            g(mixed[order]), expected[order], rtol=1e-7, atol=1e-9
        )
    assert g.stats().traces == 2
    far = np.array([0.2, -0.2, 4.0, -0.1, 0.3, 5.0])
    expected = 2 * np.array([bent(x) for x in far]) * slopes(bent, far)
    np.testing.assert_allclose(g(far), expected, rtol=1e-7, atol=1e-9)
    assert g.stats().traces == 3
    assert g(xs).shape == g(mixed).shape == g(-far).shape == (6,)
    assert g.stats().traces == 3


def root(a):
    x = a
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
    return x if a > 1.0 else 2.0 * x


def test_own_trip_counts():
    g = value_and_grad(lambda a: np.sum(vmap(root)(a) * np.arange(1.0, 41.0)))
    for size in (10.0, 500.0):
        a = RNG.uniform(0.2, size, 40)
        scale = np.where(a > 1.0, 1.0, 2.0) * np.arange(1.0, 41.0)
        value, gradient = g(a)
        np.testing.assert_allclose(value, np.sum(scale * np.sqrt(a)), rtol=1e-12)
        np.testing.assert_allclose(gradient, scale * 0.5 / np.sqrt(a), rtol=1e-9)


def test_integers_decide():
    def f(x, kind):
        n = int(kind)
        if n == 0:
            return x * x
        return np.sin(x) if n == 1 else x * n

    g = grad(lambda x, kinds: np.sum(vmap(f)(x, kinds)))
    x, kinds = RNG.normal(size=8), np.array([0, 1, 5, 0, 7, 1, 1, 5])
    for k in (kinds, kinds[::-1].copy()):
        expected = np.where(k == 0, 2 * x, np.where(k == 1, np.cos(x), k))
        np.testing.assert_allclose(g(x, k), expected, rtol=1e-12)
    assert g.stats().traces == 1


@pytest.mark.parametrize(
    "axes",
    [
        {"in_axes": (0, None)},
        {"in_axes": (-1, None), "out_axes": -1},
        {"in_axes": (1, None), "out_axes": 0},
        {"in_axes": ({"a": 0, "b": None}, None)},
    ],
)
def test_axes(axes):
    def f(x, p):
        if isinstance(x, dict):
            x = x["a"] * x["b"]
        return x * p if np.sum(x) > 0 else np.exp(x - p)

    x = RNG.normal(size=(3, 4))
    if isinstance(axes["in_axes"][0], dict):
        x = {"a": x, "b": np.arange(1.0, 5.0)}
    weights = RNG.normal(size=(4, 4))[:3]
    f_out = vmap(f, **axes)

    def loss(x, p):
        out = f_out(x, p)
        return np.sum(out * (weights.T if out.shape == (4, 3) else weights))

    found = jit(lambda x, p: f_out(x, p))(x, 1.5)
    np.testing.assert_allclose(found, f_out(x, 1.5), rtol=1e-12)
    slope = grad(loss, argnums=1)(x, 1.5)
    step = 1e-6
    difference = (loss(x, 1.5 + step) - loss(x, 1.5 - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_several_results_in_containers():
    def f(x):
        if x > 0:
            return {"value": x, "both": (1, np.array([x, 2 * x]))}
        return {"value": 0.5 * x, "both": (0.5, np.array([x * x, x]))}

    def g(xs):
        out = vmap(f)(xs)
        return np.sum(out["value"]) + np.sum(out["both"][1] ** 2) * out["both"][0][1]

    xs = np.array([1.0, -2.0, 3.0])
    inner = 1.0 + 4 + 16 + 4 + 9 + 36
    assert jit(g)(xs) == pytest.approx(1.0 - 1.0 + 3.0 + 0.5 * inner)
    expected = 0.5 * np.array([10.0, 4 * -8.0 + 2 * -2.0, 30.0])
    np.testing.assert_allclose(grad(g)(xs), np.add(expected, [1.0, 0.5, 1.0]))


def test_vmap_of_vmap_inside():
    def f(x, y):
        return x * y if x > y else x - y * y

    both = vmap(vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    x, y = RNG.normal(size=5), RNG.normal(size=7)
    weights = RNG.normal(size=(5, 7))
    g = grad(lambda x, y: np.sum(both(x, y) * weights), argnums=(0, 1))
    by_x, by_y = g(x, y)
    larger = x[:, None] > y
    np.testing.assert_allclose(
        by_x, np.sum(np.where(larger, y, 1.0) * weights, axis=1), rtol=1e-12
    )
    np.testing.assert_allclose(
        by_y,
        np.sum(np.where(larger, x[:, None], -2 * y) * weights, axis=0),
        rtol=1e-12,
    )
    assert len(loops(g.tape(x, y))) == 1


def test_grad_inside_and_outside():
    inner = vmap(grad(bent))
    xs = np.array([0.5, -0.5, 2.0, 1.0])
    np.testing.assert_allclose(
        grad(lambda xs: np.sum(inner(xs)))(xs), slopes(grad(bent), xs), rtol=1e-6
    )
    np.testing.assert_allclose(
        hessian(lambda xs: np.sum(vmap(bent)(xs)))(xs),
        np.diag(slopes(grad(bent), xs)),
        rtol=1e-6,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        jacobian(vmap(bent))(xs), np.diag(slopes(bent, xs)), rtol=1e-6, atol=1e-12
    )
    moved = jvp(vmap(bent), (xs,), (np.ones(4),))[1]
    np.testing.assert_allclose(moved, slopes(bent, xs), rtol=1e-6)
    np.testing.assert_allclose(
        vmap(grad(total(bent)))(np.stack([xs, -xs])),
        [grad(total(bent))(xs), grad(total(bent))(-xs)],
        rtol=1e-12,
    )


def test_shared_values_decide_too():
    def f(x, p):
        if p > 0:
            x = x * p
        return np.exp(x) if x > 1.0 else x * x + p

    g = grad(lambda x, p: np.sum(vmap(f, in_axes=(0, None))(x, p)), argnums=1)
    x = np.array([0.5, 2.0, -1.0])
    assert g(x, 1.0) == pytest.approx(
        2 * 0.25 + 1 + 2.0 * np.exp(2.0) + 2.0 * 1.0 + 1.0
    )
    assert g(x, -1.0) == pytest.approx(2.0)
    assert g.stats().traces == 2
    assert g(x, 1.0) == g(x.copy(), 1.0)


def test_in_a_scan():
    xs = RNG.normal(size=(5, 3))

    def step(carry, row):
        return carry + np.sum(vmap(bent)(row * carry)), carry

    def plain(start):
        carry = start
        for row in xs:
            carry = carry + sum(bent(x) for x in row * carry)
        return carry

    def looped(start):
        return scan(step, start, xs)[0]

    value, slope = value_and_grad(looped)(0.7)
    assert value == pytest.approx(plain(0.7), rel=1e-12)
    step_size = 1e-6
    difference = (plain(0.7 + step_size) - plain(0.7 - step_size)) / (2 * step_size)
    assert slope == pytest.approx(difference, rel=1e-6)


def test_primitives_and_explicit_branches():
    @primitive
    def table(x):
        return np.floor(4.0 * x) / 4.0

    table.defvjp(lambda y, x: lambda ct: ct)

    def f(x):
        y = table(x) if x > 0 else x
        return cond(y > 0.5, lambda: y * y, lambda: -y)

    xs = np.array([0.3, -0.2, 0.9, 0.6])
    g = value_and_grad(lambda xs: np.sum(vmap(f)(xs)))
    value, gradient = g(xs)
    assert value == pytest.approx(-0.25 + 0.2 + 0.75**2 - 0.5)
    np.testing.assert_allclose(gradient, [-1.0, -1.0, 1.5, -1.0])
    assert g.stats().host_calls >= 1


def test_captured_arrays():
    scale = np.array([2.0, 3.0])

    def f(x):
        return np.sum(x * scale) if x[0] > 0 else np.sum(x) * scale[1]

    g = grad(lambda xs: np.sum(vmap(f)(xs)))
    xs = np.array([[1.0, 1.0], [-1.0, 2.0]])
    np.testing.assert_allclose(g(xs), [[2.0, 3.0], [3.0, 3.0]])
    scale[:] = [5.0, 7.0]
    np.testing.assert_allclose(g(xs), [[5.0, 7.0], [7.0, 7.0]])
    assert g.stats().traces == 1


def test_writes_into_the_example():
    def f(x):
        if x[0] > 0:
            x[1] = x[0] * x[1]
        else:
            x *= 2.0
        return x

    xs = np.array([[1.5, 2.0], [-1.0, 3.0]])
    kept = xs.copy()
    gradient = grad(lambda xs: np.sum(vmap(f)(xs)))(xs)
    np.testing.assert_allclose(gradient, [[3.0, 1.5], [2.0, 2.0]])
    np.testing.assert_array_equal(xs, kept)


def test_errors_come_from_the_example():
    def f(a):
        return np.linalg.inv(a)[0, 0] if a[0, 0] > 0 else a[1, 1]

    stack = np.stack([-np.eye(2), np.eye(2), np.ones((2, 2))])
    g = grad(lambda s: np.sum(vmap(f)(s)))
    g(np.stack([-np.eye(2), np.eye(2), np.eye(2)]))
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix") as caught:
        g(stack)
    assert any(entry.name == "f" for entry in caught.traceback)
    fresh = grad(lambda s: np.sum(vmap(f)(2.0 * s)))
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix") as caught:
        fresh(stack)
    assert any(entry.name == "f" for entry in caught.traceback)


def test_other_shapes_on_other_paths_are_refused():
    def f(x):
        return x if x > 0 else np.array([x, x])

    with pytest.raises(errors.ArgumentError) as caught:
        grad(lambda xs: np.sum(vmap(f)(xs)))(np.array([1.0, -1.0]))
    text = str(caught.value)
    assert "f returns shape () for one example of the batch and shape (2,) for" in text
    assert "Return the same structure and shapes on every path" in text


def test_very_many_paths_are_right_all_the_same(monkeypatch):
    monkeypatch.setattr(each, "_PATHS", 5)

    def digits(x):
        a = x[0] if x[0] > 0 else 1.0
        b = x[1] if x[1] > 0 else 1.0
        c = x[2] if x[2] > 0 else 1.0
        return 4.0 * a + 2.0 * b + c

    bits = np.arange(8)[:, None] >> np.arange(3) & 1
    signs = 2.0 * bits - 1.0
    g = value_and_grad(lambda s: np.sum(vmap(digits)(s)))
    value, gradient = g(signs)
    assert value == pytest.approx(sum(digits(x) for x in signs))
    np.testing.assert_allclose(gradient, (signs > 0) * [4.0, 2.0, 1.0])


# --- programs -------------------------------------------------------------------------


def rounds(x):
    y = x * x + 0.5
    while y < 50.0:
        y = y * 1.7
    return y if x > 0 else 2 * y


def explicit(x):
    if x > 0:
        return while_loop(lambda y: y < 50.0, lambda y: y * 1.7, x * x + 0.5)
    return x


def turns(x):
    s = 0.0 * x
    for k in range(6):
        s = s + x if x * k > 1.0 else s - x * x
    return s


def bounds(x):
    return max(x, 0.5) * min(x, 2.0) + abs(x)


def power(x):
    n = int(np.floor(abs(x) * 3))
    return x**n if n > 1 else x


def masked(x):
    v = np.array([x, 0.5 - x, 0.3 * x - 0.1])
    return (v[v > 0] ** 2).sum()


def picked(x):
    v = np.array([np.sin(x), np.cos(x), 0.1 * x])
    return v[int(np.argmax(v))]


def ordered(x):
    v = sorted([x, x * x, 0.3])
    return v[0] * v[2]


def stored(x):
    out = np.zeros(3)
    out[0] = x
    out[1] = x * x if x > 0 else -x
    out[2] = out[0] * out[1]
    return out.sum()


@pytest.mark.parametrize(
    "f", [rounds, explicit, turns, bounds, power, masked, picked, ordered, stored]
)
def test_programs_against_a_python_loop(f):
    xs = np.array([0.7, -1.9, 2.6, 0.31, -0.2, 4.0, -3.1])
    values, slopes = np.array([f(x) for x in xs]), np.array([grad(f)(x) for x in xs])
    both, rows = np.stack([xs, xs[::-1]]), np.stack([slopes, slopes[::-1]])
    close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
    for _ in range(2):  # recorded, and from the kernel
        close(jit(vmap(f))(xs), values)
        close(grad(total(f))(xs), 2 * values * slopes)
        close(vmap(grad(lambda v: np.sum(vmap(f)(v))))(both), rows)
        close(jit(vmap(vmap(f)))(both), np.stack([values, values[::-1]]))
    close(jacobian(vmap(f))(xs), np.diag(slopes))


def test_a_loop_is_learned_from_later_examples():
    """The first example goes one way in all rounds, the others both ways."""
    g = value_and_grad(lambda v: np.sum(vmap(turns)(v)))
    xs = np.array([-1.1, 0.7, 0.3, 3.0])
    value, slope = g(xs)
    assert value == pytest.approx(sum(turns(x) for x in xs))
    np.testing.assert_allclose(slope, slopes(turns, xs), rtol=1e-6)
    np.testing.assert_allclose(g(-xs)[1], slopes(turns, -xs), rtol=1e-6)
    assert g.stats().traces == 1


def test_rounds_that_cannot_branch_are_decisions_of_their_own():
    """What is compared may be a NumPy number, so that the loop has no branch."""

    def f(x):
        out = np.zeros(3)
        out[0] = x
        if x > 0.2:
            out[1:] = x * x
        y = out.sum()
        for k in range(6):
            y = y * 0.9 if y > 0.5 * k else y + np.sin(y)
        return y

    xs = np.array([0.7, 1.6, -1.9, 3.5, 0.1])
    expected = np.array([grad(f)(x) for x in xs])
    g = grad(lambda v: np.sum(vmap(f)(v)))
    for _ in range(2):
        np.testing.assert_allclose(g(xs), expected, rtol=1e-12)
    rows = np.stack([xs, xs[::-1]])

    def summed(a):
        return scan(lambda c, r: (c + np.sum(vmap(f)(r * a)), None), 0.0, rows)[0]

    looped = grad(summed)
    assert looped(1.0) == pytest.approx(2 * np.sum(xs * expected), rel=1e-10)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=6),
    st.lists(
        st.sampled_from(["if", "while", "for", "int", "max", "mask"]),
        min_size=1,
        max_size=3,
    ),
)
def test_random_programs(xs, parts):
    def f(x):
        y = x * 1.5 + 0.013
        for k, part in enumerate(parts):
            if part == "if":
                y = y + 1.01 if y > k else y * 0.5
            elif part == "while":
                while y * y > 2.0:
                    y = y / 2.0
            elif part == "for":
                for j in range(5):
                    y = y * 0.9 if y > j * 0.5 else y + np.sin(y)
            elif part == "int":
                n = int(np.floor(np.abs(y))) % 3
                y = y * n if n else y - 1.03
            elif part == "max":
                y = max(y, 0.3) * min(y, 1.1)
            else:
                v = np.array([y, 0.4 - y, y * y - 1.0])
                y = v[v > 0].sum() + 0.1 * y
        return y

    xs = np.array(xs)
    close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
    close(jit(vmap(f))(xs), [f(x) for x in xs])
    g = grad(lambda v: np.sum(vmap(f)(v)))
    expected = [grad(f)(x) for x in xs]
    close(g(xs), expected)
    close(g(xs), expected)


def test_what_is_remembered_may_fail_with_other_shared_values():
    """An example of a former path raises now: it is forgotten, and nothing else."""

    def f(x, a):
        if x > 0:
            return np.linalg.inv(a * x)[0, 0] + a[1, 1]
        return x * a[0, 1] if x > -5.0 else x * a[1, 0]

    g = grad(lambda xs, a: np.sum(vmap(f, in_axes=(0, None))(xs, a)))
    regular = np.array([[2.0, 1.0], [0.5, 3.0]])
    singular = np.array([[2.0, 1.0], [4.0, 2.0]])
    np.testing.assert_allclose(
        g(np.array([1.0, -1.0]), regular),
        [-np.linalg.inv(regular)[0, 0], 1.0],
        rtol=1e-12,
    )
    found = g(np.array([-6.0, -1.0]), singular)
    np.testing.assert_array_equal(found, [4.0, 1.0])
    for a in (regular, singular):
        np.testing.assert_array_equal(g(np.array([-1.0, -6.0]), a), [a[0, 1], a[1, 0]])
    with pytest.raises(np.linalg.LinAlgError):
        g(np.array([1.0, -1.0]), singular)
