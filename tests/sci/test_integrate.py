"""Initial value problems and quadrature: SciPy's answers, derivatives of the steps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate

from tracejit import grad, jacobian, jit, jvp, value_and_grad, vmap
from tracejit.errors import UnsupportedError
from tracejit.scipy import integrate, optimize
from tracejit.testing import check_grads

RATES = np.array([1.1, 0.4, 0.4, 0.1])
START = np.array([10.0, 5.0])
TIMES = np.linspace(0.0, 5.0, 6)
TIGHT = {"rtol": 1e-9, "atol": 1e-9}


def prey(t, y, a, b, c, d):
    return np.array([a * y[0] - b * y[0] * y[1], d * y[0] * y[1] - c * y[1]])


def test_solve_ivp_is_scipys():
    expected = scipy.integrate.solve_ivp(
        prey, (0.0, 5.0), START, t_eval=TIMES, args=tuple(RATES), rtol=1e-11, atol=1e-11
    )

    def solve(y0, rates):
        return integrate.solve_ivp(
            prey, (0.0, 5.0), y0, t_eval=TIMES, args=tuple(rates), **TIGHT
        )

    for found in (solve(START, RATES), jit(solve)(START, RATES)):
        np.testing.assert_allclose(found.y, expected.y, rtol=1e-7)
        np.testing.assert_array_equal(found.t, TIMES)
    later = integrate.solve_ivp(
        prey, (0.0, 5.0), START, t_eval=TIMES[2:4], args=tuple(RATES), **TIGHT
    )
    np.testing.assert_allclose(later.y, expected.y[:, 2:4], rtol=1e-7)
    ends = integrate.solve_ivp(prey, (0.0, 5.0), START, args=tuple(RATES), **TIGHT)
    np.testing.assert_allclose(ends.y, expected.y[:, [0, -1]], rtol=1e-7)


def test_derivatives_are_those_of_the_steps():
    def loss(y0, rates):
        found = integrate.solve_ivp(
            prey, (0.0, 5.0), y0, t_eval=TIMES, args=tuple(rates), **TIGHT
        )
        return np.sum(found.y**2)

    check_grads(loss, (START, RATES), order=1, rtol=1e-6)
    f = value_and_grad(loss, argnums=1)
    f(START, RATES)
    kernels = f.stats().kernels_compiled
    for factor in (0.5, 1.5, 2.0):  # other numbers of steps
        f(START, factor * RATES)
    assert f.stats().traces == 1
    assert f.stats().kernels_compiled == kernels == 1


def test_backwards_in_time():
    forth = integrate.solve_ivp(prey, (0.0, 3.0), START, args=tuple(RATES), **TIGHT)
    back = integrate.solve_ivp(
        prey, (3.0, 0.0), forth.y[:, -1], args=tuple(RATES), **TIGHT
    )
    np.testing.assert_allclose(back.y[:, -1], START, rtol=1e-7)


def test_a_state_out_of_reach_is_nan():
    blown = integrate.solve_ivp(lambda t, y: y * y, (0.0, 2.0), np.ones(1))
    assert np.isnan(blown.y[0, -1])


def test_the_end_may_be_traced():
    def late(t):
        return integrate.solve_ivp(lambda t, y: -y, (0.0, t), [1.0], rtol=1e-9).y[0, -1]

    np.testing.assert_allclose(grad(late)(1.5), -np.exp(-1.5), rtol=1e-5)


def test_odeint():
    def slope(y, t, k):
        return [y[1], -k * y[0]]

    t = np.linspace(0.0, 2.0, 5)
    got = jit(lambda k: integrate.odeint(slope, np.array([1.0, 0.0]), t, (k,)))(2.0)
    expected = scipy.integrate.odeint(slope, [1.0, 0.0], t, (2.0,))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    check_grads(
        lambda k: np.sum(integrate.odeint(slope, np.array([1.0, 0.0]), t, (k,))),
        (2.0,),
        order=1,
        rtol=1e-5,
    )


@pytest.mark.parametrize(("method", "tolerance"), [("RK23", 1e-6), ("DOP853", 1e-9)])
def test_methods(method, tolerance):
    exact = scipy.integrate.solve_ivp(
        prey, (0.0, 3.0), START, args=tuple(RATES), method="DOP853", rtol=1e-12,
        atol=1e-12,
    ).y[:, -1]  # fmt: skip

    def end(rates):
        found = integrate.solve_ivp(
            prey, (0.0, 3.0), START, method, args=tuple(rates), rtol=tolerance,
            atol=tolerance,
        )  # fmt: skip
        return found.y[:, -1]

    np.testing.assert_allclose(jit(end)(RATES), exact, rtol=30 * tolerance)
    slopes, h = jacobian(end)(RATES), 1e-4
    for i, step in enumerate(h * np.eye(4)):
        expected = (end(RATES + step) - end(RATES - step)) / (2 * h)
        np.testing.assert_allclose(slopes[:, i], expected, rtol=1e-4, atol=1e-4)


def robertson(t, y, a, b, c):
    slow, fast, back = a * y[0], b * y[1] ** 2, c * y[1] * y[2]
    return np.array([back - slow, slow - back - fast, fast])


def test_a_stiff_problem():
    """An explicit method would need some million steps."""
    rates, start = np.array([0.04, 3e7, 1e4]), np.array([1.0, 0.0, 0.0])

    def end(rates, method="BDF"):
        found = integrate.solve_ivp(
            robertson, (0.0, 1e4), start, method, args=tuple(rates), rtol=1e-6,
            atol=1e-9,
        )  # fmt: skip
        return found.y[0, -1]

    def exact(rates):
        return scipy.integrate.solve_ivp(
            robertson, (0.0, 1e4), start, "Radau", args=tuple(rates), rtol=1e-10,
            atol=1e-13,
        ).y[0, -1]  # fmt: skip

    value, slopes = value_and_grad(end)(rates)
    np.testing.assert_allclose(value, exact(rates), rtol=1e-5)
    for i, step in enumerate(1e-3 * np.diag(rates)):
        expected = (exact(rates + step) - exact(rates - step)) / (2 * step[i])
        np.testing.assert_allclose(slopes[i], expected, rtol=1e-4)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_both_modes_and_the_second_order(method):
    def end(k):
        found = integrate.solve_ivp(
            lambda t, y: -k * y * y, (0.0, 2.0), [1.0], method, rtol=1e-8, atol=1e-10
        )
        return found.y[0, -1]

    # y = 1 / (1 + 2 k)
    np.testing.assert_allclose(grad(end)(0.5), -2 / 4, rtol=1e-5)
    np.testing.assert_allclose(jvp(end, (0.5,), (1.0,))[1], -2 / 4, rtol=1e-5)
    np.testing.assert_allclose(grad(grad(end))(0.5), 8 / 8, rtol=1e-4)
    many = vmap(end)(np.array([0.5, 1.0, 2.0]))
    np.testing.assert_allclose(many, [1 / 2, 1 / 3, 1 / 5], rtol=1e-6)


def test_complex_states():
    def end(w):
        found = integrate.solve_ivp(
            lambda t, y: 1j * w * y, (0.0, 1.0), np.array([1.0 + 0j]), **TIGHT
        )
        return found.y[0, -1]

    np.testing.assert_allclose(jit(end)(2.0), np.exp(2j), rtol=1e-7)
    np.testing.assert_allclose(
        grad(lambda w: np.real(end(w)))(2.0), -np.sin(2.0), rtol=1e-6
    )


def test_a_solution_as_a_function_of_time():
    times = np.array([1.5, 0.0, 0.5])

    def loss(k):
        found = integrate.solve_ivp(
            lambda t, y: -k * y, (0.0, 2.0), [1.0], dense_output=True, **TIGHT
        )
        return np.sum(found.sol(times)) + found.sol(1.0)[0]

    at = np.append(times, 1.0)
    np.testing.assert_allclose(jit(loss)(2.0), np.sum(np.exp(-2 * at)), rtol=1e-7)
    expected = -np.sum(at * np.exp(-2 * at))
    np.testing.assert_allclose(grad(loss)(2.0), expected, rtol=1e-6)


def test_keywords_of_the_solver():
    calls = {"first_step": 1e-3, "max_step": 0.05, "jac": None, "vectorized": True}

    def decay(t, y):
        assert y.shape == (1, 1)
        return -y

    found = jit(
        lambda y: integrate.solve_ivp(decay, (0.0, 1.0), y, rtol=1.0, atol=1.0, **calls)
    )(np.ones(1))
    # Steps of 0.05 keep what the tolerances give away.
    np.testing.assert_allclose(found.y[0, -1], np.exp(-1.0), rtol=1e-8)
    assert found.success
    assert found["message"].startswith("The solver successfully reached the end")
    coarse = integrate.solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], rtol=1, atol=1)
    assert abs(coarse.y[0, -1] - np.exp(-1.0)) > 1e-6
    blown = integrate.solve_ivp(lambda t, y: y * y, (0.0, 2.0), np.ones(1))
    assert not blown.success
    assert blown.status == -1
    assert blown.message.startswith("Required step size")
    t = np.linspace(0.0, 1.0, 3)
    got = integrate.odeint(lambda y, t: -y, 1.0, t, h0=1e-3, hmax=0.1, mxstep=9999)
    np.testing.assert_allclose(got[:, 0], np.exp(-t), rtol=1e-7)


REFUSALS = [
    (
        lambda: integrate.solve_ivp(prey, (0, 1), START, "Euler", args=tuple(RATES)),
        (
            "solve_ivp: method='Euler' is not supported. Known are 'RK23', 'RK45', "
            "'DOP853', 'Radau', 'BDF', 'LSODA'."
        ),
    ),
    (
        lambda: integrate.solve_ivp(prey, (0, 1), START, events=lambda t, y: y[0]),
        (
            "solve_ivp: events= is not supported. Find the time with "
            "tracejit.scipy.optimize.root, as the end of t_span."
        ),
    ),
    (
        lambda: integrate.odeint(prey, START, [0.0, 1.0], full_output=True),
        "odeint: full_output= is not supported. Leave it out.",
    ),
    (
        lambda: integrate.quad(np.sin, 0.0, 1.0, weight="cos", wvar=1.0),
        "quad: weight= is not supported. Multiply the function by the weight.",
    ),
    (
        lambda: integrate.quad(np.sin, 0.0, 1.0, full_output=1),
        "quad: full_output= is not supported. Leave it out.",
    ),
]


@pytest.mark.parametrize("case", range(len(REFUSALS)))
def test_what_is_refused(case):
    call, text = REFUSALS[case]
    with pytest.raises(UnsupportedError) as caught:
        call()
    assert str(caught.value).partition(": ")[2] == text


def test_what_is_wrong():
    with pytest.raises(ValueError, match="not properly sorted"):
        integrate.odeint(lambda y, t: y, 1.0, np.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="not within"):
        integrate.solve_ivp(prey, (0, 1), START, t_eval=TIMES, args=tuple(RATES))
    with pytest.raises(TypeError, match="unexpected keyword argument 'tol'"):
        integrate.solve_ivp(prey, (0, 1), START, tol=1e-3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'tol'"):
        integrate.odeint(prey, START, [0.0, 1.0], tol=1e-3)
    with pytest.raises(ValueError, match="Infinity inputs cannot be used"):
        integrate.quad(np.sin, 0.0, np.inf, points=[1.0])


def test_an_event_is_the_root_of_the_end():
    """When a ball thrown upwards lands, by its speed."""

    def landing(speed):
        def height(t):
            found = integrate.solve_ivp(
                lambda t, y: np.array([y[1], -10.0 + 0.0 * y[0]]), (0.0, t[0]),
                np.stack([0.0 * speed, speed]), rtol=1e-9, atol=1e-9,
            )  # fmt: skip
            return found.y[0, -1]

        return optimize.root(height, np.array([3.0]), method="hybr").x[0]

    np.testing.assert_allclose(jit(landing)(10.0), 2.0, rtol=1e-8)
    np.testing.assert_allclose(grad(landing)(10.0), 0.2, rtol=1e-8)


def test_quad_with_break_points_and_complex_functions():
    def area(s):
        return integrate.quad(lambda x: np.abs(x - s), 0.0, 2.0, points=[0.5, 1.3])[0]

    np.testing.assert_allclose(jit(area)(1.3), 0.5 * (1.3**2 + 0.7**2), rtol=1e-14)
    np.testing.assert_allclose(grad(area)(1.3), 1.3 - 0.7, rtol=1e-12)

    def wave(k):
        found = integrate.quad(
            lambda x: np.exp(1j * k * x), 0.0, 1.0, complex_func=True
        )
        return found[0]

    np.testing.assert_allclose(jit(wave)(2.0), (np.exp(2j) - 1) / 2j, rtol=1e-13)


@pytest.mark.parametrize(
    ("function", "a", "b"),
    [
        (lambda x, s: np.exp(-s * x * x), -np.inf, np.inf),
        (lambda x, s: np.exp(-s * x) * np.sin(x), 0.0, np.inf),
        (lambda x, s: 1 / (s + x * x), -np.inf, 1.0),
        (lambda x, s: np.log(x) * s, 0.0, 1.0),
        (lambda x, s: np.sqrt(np.abs(x - 0.3 * s)), -1.0, 2.0),
        (lambda x, s: x * s, 2.0, 1.0),
    ],
)
def test_quad(function, a, b):
    def area(s):
        return integrate.quad(function, a, b, (s,))[0]

    expected = scipy.integrate.quad(function, a, b, (1.3,))[0]
    np.testing.assert_allclose(jit(area)(1.3), expected, rtol=1e-7)
    np.testing.assert_allclose(area(1.3), expected, rtol=1e-7)
    h = 1e-4
    exact = scipy.integrate.quad(function, a, b, (1.3 + h,))[0]
    exact = (exact - scipy.integrate.quad(function, a, b, (1.3 - h,))[0]) / (2 * h)
    np.testing.assert_allclose(grad(area)(1.3), exact, rtol=1e-2, atol=1e-6)


def test_quad_by_its_limits():
    def area(b):
        return integrate.quad(lambda x: x * x, 0.0, b)[0]

    np.testing.assert_allclose(grad(area)(1.5), 2.25, rtol=1e-12)
