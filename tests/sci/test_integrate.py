"""Initial value problems and quadrature: SciPy's answers, derivatives of the steps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate

from tracejit import grad, jit, value_and_grad
from tracejit.errors import UnsupportedError
from tracejit.scipy import integrate
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


def test_what_is_refused():
    with pytest.raises(UnsupportedError, match="method='LSODA' is not supported"):
        integrate.solve_ivp(prey, (0, 1), START, "LSODA", args=tuple(RATES))
    with pytest.raises(ValueError, match="not properly sorted"):
        integrate.odeint(lambda y, t: y, 1.0, np.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="not within"):
        integrate.solve_ivp(prey, (0, 1), START, t_eval=TIMES, args=tuple(RATES))


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
