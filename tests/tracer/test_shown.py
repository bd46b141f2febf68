"""Text of traced values: shown to people it is free, else it is guarded."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import pytest

from tracejit import grad, jit

INPUTS = [np.array(v) for v in ([0.3, 2.0], [-1.0, 2.0], [0.3, 2.0], [0.5, -0.0])]
INPUTS += [np.array([np.nan, 1.0]), np.array([0.5, 0.0]), np.array([np.nan, -1.0])]


def decided(text, x):
    return x.sum() + len(text) + 10 * text.count("-") + 100 * text.count("3")


def f_string(x):
    return decided(f"{x[0]:.3f}", x)


def bare_f_string(x):
    return decided(f"{x[0]} {x[1]!r}", x)


def str_(x):
    return decided(str(x[0]), x)


def repr_(x):
    return decided(repr(x), x)


def format_(x):
    return decided(format(x[0], "+.1e"), x)


def method(x):
    return decided("{:.2f} {}".format(x[0], x[1]), x)  # noqa: UP032


def percent(x):
    return decided("%s" % x[0], x)  # noqa: UP031


def joined(x):
    return decided(",".join(str(v) for v in x), x)


def array_repr(x):
    return decided(np.array_repr(x), x)


def array2string(x):
    return decided(np.array2string(x, precision=2), x)


def number_again(x):
    return x.sum() * float(f"{x[0]:.1f}")


def by_container(x):
    said = {"text": [f"{x[0]}"]}
    return decided(said["text"][0], x)


def printed_by_choice(x, print=str):
    return decided(print(x[0]), x)


def kept_error(x):
    error = ValueError(f"{x[0]}")
    return decided(str(error), x)


def in_a_loop(x):
    total = 0.0
    for v in x:
        total = total + v * len(f"{v:.3f}")
    return total


def in_a_while(x):
    while len(str(x[0])) < 6 and abs(x[0]) < 1e6:
        x = x * 3.0
    return x.sum()


DECIDING = [
    f_string,
    bare_f_string,
    str_,
    repr_,
    format_,
    method,
    percent,
    joined,
    array_repr,
    array2string,
    number_again,
    by_container,
    printed_by_choice,
    kept_error,
    in_a_loop,
    in_a_while,
]


@pytest.mark.parametrize("function", DECIDING, ids=lambda f: f.__name__)
def test_text_that_may_decide_is_numpys_and_guarded(function):
    compiled = jit(function)
    for x in INPUTS:
        np.testing.assert_array_equal(compiled(x), function(x.copy()))


def test_the_same_text_needs_no_other_trace():
    compiled = jit(f_string)
    for _ in range(3):
        compiled(INPUTS[0])
    assert compiled.stats().traces == 1


@pytest.mark.parametrize("value", [0.5, 3, np.float32(0.25), 1 - 2j, True])
def test_text_of_scalars(value):
    def texts(v):
        return v * len(f"{v}") + 100 * len(repr(v))

    compiled = jit(texts)
    assert compiled(value) == texts(value)
    other = type(value)(-3.25) if not isinstance(value, (int, bool)) else value
    assert compiled(other) == texts(other)


def test_text_is_returned():
    say = jit(lambda x: (f"{x:.2f}", 2 * x))
    assert say(0.5) == ("0.50", 1.0)
    assert say(0.25) == ("0.25", 0.5)


# --- shown to people

LOGGER = logging.getLogger("tests.shown")


def prints(x):
    print("x is", x, f"{x[0]:.1f} %s" % x[1], f"{x!r}", sep="\n")
    return x.sum()


def logs(x):
    LOGGER.info("at %s", x)
    LOGGER.warning(f"at {x[0]}")
    logging.info("at %s" % x)  # noqa: UP031
    return x.sum()


def warns(x):
    warnings.warn(f"at {x[0]}", stacklevel=1)
    return x.sum()


def drops(x):
    str(x)
    f"{x}"
    return x.sum()


def asserts(x):
    assert np.isnan(x[0]) or x[0] < 1e6, f"too large: {x}"
    if x[1] > 1e6:
        raise ValueError(f"too large: {x[1]}")
    return x.sum()


@pytest.mark.filterwarnings("ignore:at ")
@pytest.mark.parametrize("function", [prints, logs, warns, drops, asserts])
def test_text_for_people_costs_no_trace(function, caplog):
    caplog.set_level(logging.INFO)
    compiled = jit(function)
    for x in [x for x in INPUTS if not math.isnan(x[0])]:
        assert compiled(x) == function(x)
    assert compiled.stats().traces == 1


def test_what_is_printed_says_that_it_is_traced(capsys):
    grad(prints)(np.array([0.5, -1.5]))
    assert capsys.readouterr().out.splitlines() == [
        "x is",
        "traced f64[2] [ 0.5 -1.5]",
        "0.5 traced f64[] -1.5",
        "traced f64[2] array([ 0.5, -1.5])",
    ]


def test_an_error_says_the_value():
    with pytest.raises(ValueError, match=r"^too large: traced f64\[\] 10000000\.0$"):
        jit(asserts)(np.array([0.5, 1e7]))


def test_names_that_other_libraries_use_are_free():
    """Functions for arrays with units, or of another tool, ask for these."""

    @jit
    def unwrapped(x):
        for name in ("value", "_value", "values", "data_", "magnitude", "primal"):
            assert not hasattr(x, name)
        return 2 * getattr(x, "value", x)

    assert unwrapped(1.5) == 3.0
    assert unwrapped(2.5) == 5.0
