"""Lotka-Volterra's equations by Runge-Kutta steps in plain Python; a scalar loop.

A. J. Lotka, "Elements of Physical Biology" (Williams & Wilkins, 1925), chapter VIII.
The hand-written adjoint keeps each step's state and computes its stages again on the
way back, which costs less than to keep them.
"""

import math

import numpy as np
from numba import njit

from benchmarks.workload import HAND, Workload


def slope(state, rates):
    hares, lynxes = state
    births, hunting, growth, deaths = rates
    return np.array(
        [
            hares * (births - hunting * lynxes),
            lynxes * (growth * hares - deaths),
        ]
    )


def function(rates, state, step, steps):
    for _ in range(steps):
        k1 = slope(state, rates)
        k2 = slope(state + 0.5 * step * k1, rates)
        k3 = slope(state + 0.5 * step * k2, rates)
        k4 = slope(state + step * k3, rates)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.sum(state**2)


def function_scan(jax, rates, state, step, steps):
    """The same for `jax.lax.scan`, which a user of JAX has to write it for."""

    def slope(state):
        hares, lynxes = state
        return jax.numpy.array(
            [
                hares * (rates[0] - rates[1] * lynxes),
                lynxes * (rates[2] * hares - rates[3]),
            ]
        )

    def one(state, _):
        k1 = slope(state)
        k2 = slope(state + 0.5 * step * k1)
        k3 = slope(state + 0.5 * step * k2)
        k4 = slope(state + step * k3)
        return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    state, _ = jax.lax.scan(one, state, None, length=steps)
    return jax.numpy.sum(state**2)


def function_torch(torch, rates, state, step, steps):
    def slope(state):
        hares, lynxes = state
        births, hunting, growth, deaths = rates
        return torch.stack(
            [
                hares * (births - hunting * lynxes),
                lynxes * (growth * hares - deaths),
            ]
        )

    for _ in range(steps):
        k1 = slope(state)
        k2 = slope(state + 0.5 * step * k1)
        k3 = slope(state + 0.5 * step * k2)
        k4 = slope(state + step * k3)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return torch.sum(state**2)


@njit(fastmath={"reassoc", "contract"}, inline="always")
def _slope(x, y, a, b, c, d):
    return x * (a - b * y), y * (c * x - d)


@njit(fastmath={"reassoc", "contract"}, inline="always")
def _pull(x, y, a, b, c, d, u, v):
    """Cotangents (u, v) of the slope at (x, y), pulled back to state and rates."""
    ux, vy = u * x, v * y
    return (
        u * (a - b * y) + c * vy,
        v * (c * x - d) - b * ux,
        ux,
        ux * y,
        vy * x,
        vy,
    )


@njit(fastmath={"reassoc", "contract"}, error_model="numpy")
def kernel(rates, state, step, steps, kept, by_rates, by_state):
    a, b, c, d = rates[0], rates[1], rates[2], rates[3]
    x, y = state[0], state[1]
    half, sixth = 0.5 * step, step / 6
    for n in range(steps):
        kept[n, 0], kept[n, 1] = x, y
        p1, q1 = _slope(x, y, a, b, c, d)
        p2, q2 = _slope(x + half * p1, y + half * q1, a, b, c, d)
        p3, q3 = _slope(x + half * p2, y + half * q2, a, b, c, d)
        p4, q4 = _slope(x + step * p3, y + step * q3, a, b, c, d)
        x += sixth * (p1 + 2 * p2 + 2 * p3 + p4)
        y += sixth * (q1 + 2 * q2 + 2 * q3 + q4)
    value = x * x + y * y
    u, v = 2 * x, 2 * y
    da, db, dc, dd = 0.0, 0.0, 0.0, 0.0
    for m in range(steps):
        n = steps - 1 - m
        x, y = kept[n, 0], kept[n, 1]
        p1, q1 = _slope(x, y, a, b, c, d)
        x2, y2 = x + half * p1, y + half * q1
        p2, q2 = _slope(x2, y2, a, b, c, d)
        x3, y3 = x + half * p2, y + half * q2
        p3, q3 = _slope(x3, y3, a, b, c, d)
        x4, y4 = x + step * p3, y + step * q3
        su, sv = sixth * u, sixth * v
        e4, f4, a4, b4, c4, d4 = _pull(x4, y4, a, b, c, d, su, sv)
        e3, f3, a3, b3, c3, d3 = _pull(
            x3, y3, a, b, c, d, 2 * su + step * e4, 2 * sv + step * f4
        )
        e2, f2, a2, b2, c2, d2 = _pull(
            x2, y2, a, b, c, d, 2 * su + half * e3, 2 * sv + half * f3
        )
        e1, f1, a1, b1, c1, d1 = _pull(x, y, a, b, c, d, su + half * e2, sv + half * f2)
        u += e1 + e2 + e3 + e4
        v += f1 + f2 + f3 + f4
        da += a1 + a2 + a3 + a4
        db -= b1 + b2 + b3 + b4
        dc += c1 + c2 + c3 + c4
        dd -= d1 + d2 + d3 + d4
    by_rates[0], by_rates[1], by_rates[2], by_rates[3] = da, db, dc, dd
    by_state[0], by_state[1] = u, v
    return value


def hand(rates, state, step, steps):
    kept = np.empty((steps, 2))
    gradients = np.empty(4), np.empty(2)

    def call(rates, state, step, steps):
        return kernel(rates, state, step, steps, kept, *gradients), gradients

    return call


def _workload(steps):
    def data():
        rates = np.array([1.0, 0.1, 0.075, 1.5])
        return rates, np.array([10.0, 5.0]), 0.01, steps

    return Workload(
        name=f"Lotka-Volterra RK4, T={steps:,}",
        function=function,
        data=data,
        hand={HAND: hand},
        target=1.5,
        argnums=(0, 1),
        static=(3,),
        torch=function_torch,
        scan=function_scan,
        first_limit=2.0 if steps == 10_000 else None,
    )


# --- 5,000 scalar steps ---------------------------------------------------------------


def scalar(x, p, dt, steps):
    for _ in range(steps):
        x = x + dt * np.sin(x * p)
    return x


def scalar_scan(jax, x, p, dt, steps):
    def one(x, _):
        return x + dt * jax.numpy.sin(x * p), None

    return jax.lax.scan(one, x, None, length=steps)[0]


def scalar_torch(torch, x, p, dt, steps):
    for _ in range(steps):
        x = x + dt * torch.sin(x * p)
    return x


@njit(fastmath={"reassoc", "contract"})
def scalar_kernel(x, p, dt, steps, kept):
    for n in range(steps):
        kept[n] = x
        x += dt * math.sin(x * p)
    ct, by_p = 1.0, 0.0
    for m in range(steps):
        before = kept[steps - 1 - m]
        slope = ct * dt * math.cos(before * p)
        by_p += slope * before
        ct += slope * p
    return x, (ct, by_p)


def scalar_hand(x, p, dt, steps):
    kept = np.empty(steps)
    return lambda x, p, dt, steps: scalar_kernel(x, p, dt, steps, kept)


SCALAR = Workload(
    name="x = x + dt*sin(x*p), T=5,000",
    function=scalar,
    data=lambda: (0.5, 1.3, 0.001, 5_000),
    hand={HAND: scalar_hand},
    target=1.5,
    argnums=(0, 1),
    static=(3,),
    torch=scalar_torch,
    scan=scalar_scan,
    first_limit=1.0,
)

WORKLOADS = (_workload(100), _workload(1_000), _workload(10_000), SCALAR)
