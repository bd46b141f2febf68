"""`check_grads`: accepts what is right, catches planted wrong rules."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.testing import check_grads, numerical_jvp

X = np.array([0.3, 1.2, 2.0])

RIGHT = [
    lambda x: np.sum(np.sin(x) * np.exp(x)),
    lambda x: x * x.sum(),
    lambda x: {"a": np.abs(x), "b": np.where(x > 1, x**2, 1.0), "n": 3},
    lambda x: np.linalg.norm(x),
    lambda x: np.sum(np.outer(x, x) @ x),
]


@pytest.mark.parametrize("f", RIGHT)
def test_right_derivatives_are_accepted(f):
    check_grads(f, (X,))


def test_several_arguments_of_any_kind():
    def f(p, x, n, mode):
        assert mode == "a"
        return p["w"] * x**n + p["b"][0]

    check_grads(f, ({"w": X, "b": [2.0]}, 1.5, 3, "a"))


def test_float32():
    check_grads(lambda x: np.sum(np.sin(x)), (X.astype("f4"),))


def wrong_vjp(factor):
    @tj.custom_vjp
    def f(x):
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x) * factor,))
    return lambda x: f(x) * 2


def wrong_jvp(factor):
    @tj.custom_jvp
    def f(x):
        return np.sin(x)

    f.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0] * factor))
    return lambda x: f(x) * 2


def test_a_planted_wrong_reverse_rule_is_caught():
    check_grads(wrong_vjp(1.0), (X,), modes=("rev",))
    with pytest.raises(tj.CheckError, match="the vjp of <lambda> is "):
        check_grads(wrong_vjp(1.001), (X,), modes=("rev",))


def test_a_planted_wrong_forward_rule_is_caught_in_both_modes():
    check_grads(wrong_jvp(1.0), (X,), order=1)
    for mode, name in (("fwd", "jvp"), ("rev", "vjp")):
        with pytest.raises(AssertionError, match=f"the {name} of <lambda> is "):
            check_grads(wrong_jvp(1.001), (X,), order=1, modes=(mode,))


def test_a_wrong_entry_of_a_large_result_is_caught():
    @tj.custom_vjp
    def f(x):
        return x * 2

    def bwd(_, ct):
        wrong = np.ones(1000)
        wrong[-1] = 1.01
        return (ct * 2 * wrong,)

    f.defvjp(lambda x: (x * 2, None), bwd)
    with pytest.raises(tj.CheckError):
        check_grads(f, (np.linspace(0, 1, 1000),), order=1, modes=("rev",))


def test_a_wrong_second_derivative_is_caught():
    @tj.custom_vjp
    def f(x):
        return np.sin(x)

    # The first derivative is right; the rule hides how it depends on x.
    f.defvjp(
        lambda x: (np.sin(x), tj.stop_gradient(np.cos(x))),
        lambda c, ct: (ct * c,),
    )
    check_grads(f, (X,), order=1, modes=("rev",))
    with pytest.raises(tj.CheckError, match="the vjp of vjp of f is "):
        check_grads(f, (X,), order=2, modes=("rev",))


def test_the_message():
    with pytest.raises(tj.CheckError) as error:
        check_grads(wrong_vjp(2.0), (1.0,), modes=("rev",), seed=1)
    where, _, what = str(error.value).partition(": ")
    assert where.startswith("test_testing.py:")
    words = what.split()
    assert words[:5] == ["the", "vjp", "of", "<lambda>", "is"]
    assert float(words[5]) / float(words[-12].rstrip(".")) == pytest.approx(2.0)
    assert what.endswith("Check the rules of the functions in it one by one.")


def test_directions_are_reproducible():
    def message(seed):
        with pytest.raises(tj.CheckError) as error:
            check_grads(wrong_vjp(2.0), (X,), modes=("rev",), seed=seed)
        return str(error.value).partition(" is ")[2]

    assert message(1) == message(1) != message(2)


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        ((X,), {"modes": ("back",)}, "unknown mode 'back'. Modes are 'fwd' and 'rev'."),
        (
            (3, "a"),
            {},
            "check_grads got no float argument. Pass floats or float arrays.",
        ),
    ],
)
def test_argument_errors(args, options, expected):
    with pytest.raises(tj.ArgumentError) as error:
        check_grads(lambda *a: a[0], args, **options)
    assert str(error.value).partition(": ")[2] == expected


def test_the_complex_step_is_exact_and_not_trusted_blindly():
    (exact,) = numerical_jvp(lambda x: (np.exp(x),), (1.0,), (1.0,))
    assert abs(exact - np.e) < 1e-15 * 10
    (real,) = numerical_jvp(lambda x: (np.abs(x) ** 2,), (2.0,), (1.0,))
    assert real == pytest.approx(4.0, rel=1e-9)
