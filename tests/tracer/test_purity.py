"""Which loops may run any number of rounds: both sides of the rule.

The functions below are recorded, never compiled; `refused` ones carry the text that
must be blamed and why.
"""

from __future__ import annotations

import math
import random
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import tracejit
from tracejit.tracer.purity import Info, check
from tracejit.tracer.purity.bytecode import code_of

from .watching import line_of, record, verdict

# ruff: noqa: B007, B023, F841, ISC004, RUF005, SIM103
A = np.array([[2.0, 0.5], [0.1, 3.0]])
STEPS = [0.1, 0.2, 0.3]
LAYERS = [(A, np.ones(2)), (A, np.zeros(2))]
COUNT = 0
RNG = np.random.default_rng(0)
State = namedtuple("State", "x v")


class Model:
    def __init__(self) -> None:
        self.rate, self.k = 2.0, 0

    def step(self, x: Any) -> Any:
        return x * self.rate + self.offset

    @property
    def offset(self) -> float:
        return self.rate / 2

    def counted(self, x: Any) -> Any:
        self.k += 1
        return x * 2


MODEL = Model()
LOG: list[Any] = []


def f(x):
    return x * x - 2.0


def df(x):
    return 2.0 * x


def noisy(x):
    LOG.append(1)
    return x * 2


def done(x):
    if abs(x) > 1e3:
        return True
    return False


# --- accepted -------------------------------------------------------------------------


def doubling(b):
    while np.linalg.norm(b) < 1000:
        b = b * 2
    return b


def newton(x):
    while True:
        dx = f(x) / df(x)
        x = x - dx
        if abs(dx) < 1e-9:
            break
    return x


def newton_with_arguments(x):
    def solve(fun, dfun, x, tol=1e-9):
        dx = np.inf
        while abs(dx) > tol:
            dx = fun(x) / dfun(x)
            x -= dx
        return x

    return solve(f, df, x)


def test_in_helper(x):
    while not done(x):
        x = x * 2
    return x


test_in_helper.__test__ = False  # type: ignore[attr-defined]


def inner_loop(x):
    while abs(x) < 1e6:
        for h in STEPS:
            x = x + h * x
        for i in range(3):
            x = x + i
    return x


def comprehension(x):
    while abs(x) < 1e6:
        x = sum([x * h for h in STEPS]) + sum(x * k for k in range(3))
    return x


def new_list(x):
    while abs(x) < 1e6:
        parts = []
        for h in STEPS:
            parts.append(x * h)
        x = x + np.sum(np.array(parts))
    return x


def arrays(x):
    y = np.array([x, 1.0])
    while np.max(y) < 1e6:
        y = A @ y
        y = np.where(y > 0, y, 0.0) + special.expit(y) + y.sum() + y[::-1]
    return y


def layers(x):
    y = np.array([x, 1.0])
    while y.max() < 1e6:
        for w, b in LAYERS:
            y = w @ y + b
    return y


def pair(x):
    x, v = x, 1.0 + 0 * x
    while x * x + v * v < 1e6:
        x, v = x + 0.5 * v, v + 0.5 * x
    return x


def named_tuple(x):
    s = State(x, x)
    while abs(s.x) < 1e6:
        s = State(s.x + 0.5 * s.v, s.v + 0.5 * s.x)
    return s.x


def method(x):
    while abs(x) < 1e6:
        x = MODEL.step(x)
    return x


def closure(x):
    def step(y):
        return y * scale

    scale = 2.0
    while abs(x) < 1e6:
        x = step(x)
    return x


def function_made_in_loop(x):
    while abs(x) < 1e6:
        phi = lambda a: x + a * x  # noqa: E731
        x = phi(0.5)
    return x


def untraced_math(x):
    n = 3
    while abs(x) < 1e6:
        x = x * math.sqrt(n) + math.pi
    return x


def branch(x):
    while abs(x) < 1e6:
        x = x * 2 if x > 5 else x + 2
    return x


def optional(x, callback=None, verbose=False):
    while abs(x) < 1e6:
        x = x * 2
        if callback is not None:
            callback(x)
        if verbose:
            print(x)
    return x


def continued(x):
    while abs(x) < 1e6:
        x = x * 2
        if x > 4:
            continue
        x = x + 1
    return x


def raising(x):
    while abs(x) < 1e6:
        x = x * 2
        if x < 0:
            raise ValueError(f"negative: {x}")
    return x


def gradient(x):
    while abs(x) < 1e6:
        x = x + tracejit.grad(f)(x)
    return x


@pytest.mark.parametrize(
    "function",
    [
        doubling, newton, newton_with_arguments, test_in_helper, inner_loop,
        comprehension, new_list, arrays, layers, pair, named_tuple, method, closure,
        function_made_in_loop, untraced_math, branch, optional, continued, raising,
        gradient,
    ],
)  # fmt: skip
def test_accepted(function):
    found = verdict(function)
    assert found.ok, found.reason


def test_what_is_written_in_place_is_said():
    assert verdict(newton_with_arguments).in_place
    assert not verdict(newton).in_place


# --- refused --------------------------------------------------------------------------


def counter(x):
    n = 0
    while abs(x) < 1e3:
        x = x * 2
        n += 1
    return x * n


def counter_limit(x):
    n = 0
    while abs(x) < 1e3:
        x = x * 2
        n += 1
        if n > 50:
            break
    return x


def collected(x):
    out = []
    while abs(x) < 1e3:
        x = x * 2
        out.append(x)
    return x * len(out)


def collected_by_name(x):
    out = []
    add = out.append
    while abs(x) < 1e3:
        x = x * 2
        add(1.0)
    return x


def concatenated(x):
    out = []
    while abs(x) < 1e3:
        x = x * 2
        out += [1.0]
    return x


def rebuilt(x):
    out = []
    while abs(x) < 1e3:
        x = x * 2
        out = out + [x]
    return x


def global_set(x):
    global COUNT
    while abs(x) < 1e3:
        x = x * 2
        COUNT = 5
    return x


def attribute_set(x):
    while abs(x) < 1e3:
        x = x * 2
        MODEL.k = 7
    return x


def attribute_set_in_method(x):
    while abs(x) < 1e3:
        x = MODEL.counted(x)
    return x


def item_set(x):
    table = {"n": 0}
    while abs(x) < 1e3:
        x = x * 2
        table["n"] = 1
    return x


def array_item_set(x):
    a = np.zeros(3)
    while abs(x) < 1e3:
        x = x * 2
        a[0] = 1.0
    return x


def array_out(x):
    a = np.zeros(3)
    while abs(x) < 1e3:
        x = x * 2
        np.add(1.0, 2.0, out=a)
    return x


def array_out_by_position(x):
    a = np.zeros(3)
    while abs(x) < 1e3:
        x = x * 2
        np.add(1.0, 2.0, a)
    return x


def consumed(x):
    it = iter(STEPS * 10)
    while abs(x) < 1e3:
        x = x * 2 + next(it)
    return x


def consumed_by_for(x):
    it = iter(STEPS * 10)
    while abs(x) < 1e3:
        x = x * 2
        for h in it:
            x = x + h
            break
    return x


def consumed_by_zip(x):
    it = iter(STEPS * 100)
    while abs(x) < 1e3:
        for h, _ in zip(it, STEPS):  # noqa: B905
            x = x * 2 + h
    return x


def drawn(x):
    while abs(x) < 1e3:
        x = x * 2 + np.random.normal()  # noqa: NPY002
    return x


def drawn_from_generator(x):
    while abs(x) < 1e3:
        x = x * 2 + RNG.normal()
    return x


def drawn_from_python(x):
    while abs(x) < 1e3:
        x = x * 2 + random.random()
    return x


def nonlocal_set(x):
    n = 0

    def step(x):
        nonlocal n
        n = n + 1
        return x * 2

    while abs(x) < 1e3:
        x = step(x)
    return x * n


def math_follows(x):
    t = 0.0
    while abs(x) < 1e3:
        t = t + 0.1
        x = x * 2 + math.sin(t)
    return x


def printed(x):
    while abs(x) < 1e3:
        x = x * 2
        print("x")
    return x


def text(x):
    label = ""
    while abs(x) < 1e3:
        x = x * 2
        label = f"{x}"
    return x


def text_by_percent(x):
    while abs(x) < 1e3:
        x = x * 2
        x = x + len("%s" % x)  # noqa: UP031
    return x


def impure_helper(x):
    while abs(x) < 1e3:
        x = noisy(x)
    return x


def impure_through_map(x):
    while abs(x) < 1e3:
        x = sum(map(noisy, [x]))
    return x


def deleted(x):
    while abs(x) < 1e3:
        y = x * 2
        x = y
        del y
    return x


def imported(x):
    while abs(x) < 1e3:
        import math as m

        x = x * m.e
    return x


def with_statement(x):
    while abs(x) < 1e3:
        with np.errstate(all="ignore"):
            x = x * 2
    return x


def caught(x):
    while abs(x) < 1e3:
        try:
            x = x * 2
        except ValueError:
            x = x * 3
    return x


def caught_in_helper(x):
    def safe(x):
        try:
            return x * 2
        except ValueError:
            return x * 3

    while abs(x) < 1e3:
        x = safe(x)
    return x


def unknown_operator(x):
    class Odd:
        def __rmul__(self, other):
            return other * 2

    odd = Odd()
    while abs(x) < 1e3:
        x = x * odd.__rmul__(1)
        x = np.float64(2) * odd + x
    return x


def vectorised(x):
    g = np.vectorize(lambda v: v)
    while abs(x) < 1e3:
        x = x * 2 + g(1.0)
    return x


def ufunc_of_python(x):
    g = np.frompyfunc(lambda v: v, 1, 1)
    while abs(x) < 1e3:
        x = x * 2 + g(1.0)
    return x


def recursive(x):
    def down(x, n):
        return x * 2 if n == 0 else down(x, n - 1)

    while abs(x) < 1e3:
        x = down(x, 2)
    return x


def decided_inside_max(x):
    while abs(x) < 1e3:
        x = x * 2
        x = max(x, 0.5 * x, -x)
    return max(x, x, x)


def decided_in_expression(x):
    n = 0
    y = x
    while True:
        n = (n + 1) + 0 * (n := 0) * (1 if x < 1e3 else 2)
        x = x * 2
        if n > 8:
            break
    return x < 5 and y


@pytest.mark.parametrize(
    ("function", "blamed", "why"),
    [
        (counter, "n += 1", "an untraced Python number changes in the loop"),
        (counter_limit, "n += 1", "an untraced Python number changes in the loop"),
        (collected, "out.append(x)", "a list changes in the loop"),
        (collected_by_name, "add(1.0)", "a list changes in the loop"),
        (concatenated, "out += [1.0]", "a list changes in the loop"),
        (rebuilt, "out = out + [x]", "a list changes in the loop"),
        (global_set, "COUNT = 5", "a global variable is set in the loop"),
        (attribute_set, "MODEL.k = 7", "an attribute is set in the loop"),
        (item_set, 'table["n"] = 1', "a dict changes in the loop"),
        (array_item_set, "a[0] = 1.0", "an ordinary array changes in the loop"),
        (array_out, "np.add(1.0, 2.0, out=a)", "an ordinary array changes in the loop"),
        (
            array_out_by_position,
            "np.add(1.0, 2.0, a)",
            "an ordinary array changes in the loop",
        ),
        (consumed, "next(it)", "an iterator is consumed in the loop"),
        (consumed_by_for, "for h in it", "an iterator is consumed in the loop"),
        (consumed_by_zip, "zip(it, STEPS)", "an iterator is consumed in the loop"),
        (drawn, "np.random.normal()", "a random number is drawn in the loop"),
        (drawn_from_generator, "RNG.normal()", "a random number is drawn in the loop"),
        (drawn_from_python, "random.random()", "a random number is drawn in the loop"),
        (math_follows, "t = t + 0.1", "an untraced Python number changes in the loop"),
        (
            nonlocal_set,
            "n = n + 1",
            "a variable of an enclosing function is set in the loop",
        ),
        (printed, 'print("x")', "text is printed in the loop"),
        (text, 'label = f"{x}"', "text is made of values in the loop"),
        (
            text_by_percent,
            'x = x + len("%s" % x)',
            "text may be made of values in the loop",
        ),
        (deleted, "del y", "something is deleted in the loop"),
        (imported, "import math as m", "a module is imported in the loop"),
        (
            with_statement,
            'np.errstate(all="ignore")',
            "errstate is not known to be free of side effects",
        ),
        (
            vectorised,
            "g(1.0)",
            "vectorize.__call__ is not known to be free of side effects",
        ),
        (
            ufunc_of_python,
            "g(1.0)",
            "a ufunc object is not known to be free of side effects",
        ),
    ],
)
def test_refused(function: Callable, blamed: str, why: str):
    found = verdict(function)
    line = line_of(function, blamed)
    assert not found.ok
    assert found.line == line
    found = found._replace(reason=found.reason.replace("  # noqa: UP031", ""))
    assert found.reason == f"`{blamed}`, line {line}: {why}"


@pytest.mark.parametrize(
    ("function", "helper", "blamed"),
    [
        (attribute_set_in_method, Model.counted, "self.k += 1"),
        (impure_helper, noisy, "LOG.append(1)"),
        (impure_through_map, noisy, "LOG.append(1)"),
        (caught_in_helper, caught_in_helper, "except ValueError"),
        (caught, caught, "except ValueError"),
        (recursive, recursive, "return x * 2 if n == 0"),
        (unknown_operator, unknown_operator, "x = np.float64(2) * odd + x"),
    ],
)
def test_refused_for_a_line_elsewhere(function, helper, blamed):
    found = verdict(function)
    assert not found.ok
    assert found.line == line_of(helper, blamed)


@pytest.mark.parametrize("function", [decided_inside_max, decided_in_expression])
def test_an_outcome_that_is_no_statement_of_its_own(function):
    rec = record(function, 1.5)
    codes = [g.source for g in rec.guards[:-1]]
    found = {rec.watch.verdict(s.code, s.lasti) for s in codes}
    assert any("the outcome is decided inside" in v.reason for v in found)


# --- a `for` has a fixed number of rounds ---------------------------------------------


def bounded(x):
    for _ in range(2, 200, 3):
        x = x * 2
        if abs(x) > 1e3:
            break
    return x


def bounded_by_name(x, n=50):
    for _ in range(n):
        x = x * 2
        if abs(x) > 1e3:
            break
    return x


def bounded_and_used(x):
    for i in range(50):
        x = x * 2
        if abs(x) > 1e3:
            break
    return x * i


def bounded_and_read(x):
    for i in range(50):
        x = x * 2 + i
        if abs(x) > 1e3:
            break
    return x


def bounded_by_list(x):
    for _ in STEPS * 10:
        x = x * 2
        if abs(x) > 1e3:
            break
    return x


def bounded_and_impure(x):
    for _ in range(50):
        x = noisy(x)
        if abs(x) > 1e3:
            break
    return x


def bounded_and_skipped(x):
    for _ in range(50):
        x = x * 2
        if x > 1e5:
            continue
        if abs(x) > 1e3:
            break
    return x


@pytest.mark.parametrize(
    ("function", "rounds"),
    [
        (bounded, range(2, 200, 3)),
        (bounded_by_name, range(50)),
        (bounded_by_list, None),
        (bounded_and_skipped, None),
    ],
)
def test_rounds_of_a_for_loop(function, rounds):
    found = verdict(function)
    assert not found.ok
    assert found.rounds == rounds
    assert "the loop has a fixed number of rounds" in found.reason


@pytest.mark.parametrize("function", [bounded_and_used, bounded_and_read])
def test_a_loop_variable_that_is_read(function):
    line = line_of(function, "for i")
    assert verdict(function)[:4] == (
        False,
        f"`for i in range(50)`, line {line}: "
        "an untraced Python number changes in the loop",
        line,
        None,
    )


def test_an_impure_for_loop_has_no_rounds():
    found = verdict(bounded_and_impure)
    assert (found.ok, found.rounds) == (False, None)
    assert found.line == line_of(noisy, "LOG.append(1)")


# --- the reader itself ----------------------------------------------------------------


def test_unknown_instructions_are_refused(monkeypatch):
    from tracejit.tracer.purity import steps

    monkeypatch.delitem(steps.METHODS, "BINARY_OP")
    assert verdict(doubling).reason.endswith(
        "BINARY_OP is not known to be free of side effects"
    )


def test_every_planted_effect_is_seen():
    """One impure statement in a loop that is accepted otherwise."""
    pure = "while abs(x) < 1e3:\n        x = x * 2\n        {}"
    statements = [
        "MODEL.k = 1", "LOG.append(1)", "LOG[0] = 1", "del LOG[0]", "globals()",
        "setattr(MODEL, 'k', 1)", "open('a')", "vars(MODEL)", "id(x)", "hash(1)",
        "input()", "A[0, 0] = 1.0", "A.sort()", "A.fill(0)", "LOG.sort()", "exec('1')",
        "np.copyto(A, 1)", "np.random.seed(0)", "np.add.at(A, 0, 1)", "np.save('a', A)",
        "MODEL.__dict__.update(k=1)", "MODEL.counted(x)", "LOG.extend([1])",
        "np.sum(A, 0, None, A[0])", "A.sum(0, None, A[0])", "A.T[0] = 1.0",
        "np.ravel(A)[0] = 1.0", "A[0][0] = 1.0", "A.ravel().sort()", "random.seed(1)",
        "[LOG.append(1) for _ in STEPS]", "list(map(LOG.append, STEPS))",
        "(lambda: LOG.append(1))()", "max(STEPS, key=LOG.append)", "LOG.__iadd__([1])",
        "setter = LOG.append; setter(1)", "alias = LOG; alias.append(1)",
        "STEPS.__setitem__(0, 1)", "type(MODEL).rate = 1", "super()",
    ]  # fmt: skip
    passed = []
    for statement in statements:
        source = f"def g(x):\n    {pure.format(statement)}\n    return x\n"
        namespace = dict(globals())
        exec(compile(source, "<planted>", "exec"), namespace)
        code = code_of(namespace["g"].__code__)
        guard = max(i for i, op in enumerate(code.ops) if op.is_branch)
        frame = _Frame(namespace["g"])
        info = Info.of(frame, _Nothing, {"x": _Nothing()})  # type: ignore[arg-type]
        if check(info, code.ops[guard].offset).ok:
            passed.append(statement)
    assert passed == []


class _Nothing:
    """In place of a tracer, where nothing is computed."""


class _Frame:
    def __init__(self, function: Any) -> None:
        import builtins

        self.f_code = function.__code__
        self.f_globals = function.__globals__
        self.f_builtins = vars(builtins)
