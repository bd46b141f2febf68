"""Black-Scholes call prices, summed, and all their sensitivities.

F. Black and M. Scholes, "The pricing of options and corporate liabilities", Journal
of Political Economy 81 (1973), equation 13. The hand-written gradient uses the closed
forms of the sensitivities, and the identity `spot * pdf(d1) = strike * discount *
pdf(d2)`, which saves one exponential that no automatic tool will find.
"""

import math

import numpy as np
from numba import njit
from scipy import special

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_FRESH, HAND_VECTOR, Workload

SIZE = 1_000_000


def normal_cdf(x):
    return 0.5 * (1 + special.erf(x / np.sqrt(2.0)))


def function(spot, strike, years, rate, volatility):
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-rate * years)
    return np.sum(spot * normal_cdf(d1) - discounted * normal_cdf(d2))


def function_torch(torch, spot, strike, years, rate, volatility):
    def normal_cdf(x):
        return 0.5 * (1 + torch.erf(x / math.sqrt(2.0)))

    spread = volatility * torch.sqrt(years)
    d1 = (torch.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * torch.exp(-rate * years)
    return torch.sum(spot * normal_cdf(d1) - discounted * normal_cdf(d2))


def _kernel(exp, log, erf):
    root_half = math.sqrt(0.5)
    density_at_zero = 1 / math.sqrt(2 * math.pi)

    @njit(fastmath={"reassoc", "contract"}, error_model="numpy")
    def kernel(spot, strike, years, rate, volatility, ds, dk, dt, dr, dv):
        value = 0.0
        for i in range(len(spot)):
            s, k, t, r, v = spot[i], strike[i], years[i], rate[i], volatility[i]
            root = math.sqrt(t)
            spread = v * root
            d1 = (log(s / k) + (r + 0.5 * v * v) * t) / spread
            d2 = d1 - spread
            discount = exp(-r * t)
            cdf1 = 0.5 + 0.5 * erf(d1 * root_half)
            cdf2 = 0.5 + 0.5 * erf(d2 * root_half)
            exercised = discount * cdf2
            vega = s * density_at_zero * exp(-0.5 * d1 * d1) * root
            value += s * cdf1 - k * exercised
            ds[i] = cdf1
            dk[i] = -exercised
            dt[i] = 0.5 * vega * v / t + r * k * exercised
            dr[i] = k * t * exercised
            dv[i] = vega
        return value

    return kernel


def _hand(exp, log, erf):
    kernel = _kernel(exp, log, erf)

    def factory(*inputs):
        gradients = tuple(np.empty_like(x) for x in inputs)
        return lambda *inputs: (kernel(*inputs, *gradients), gradients)

    return factory


def hand_fresh(*inputs):
    kernel = _kernel(math.exp, math.log, math.erf)

    def call(*inputs):
        gradients = tuple(np.empty_like(x) for x in inputs)
        return kernel(*inputs, *gradients), gradients

    return call


HANDS = {HAND: _hand(math.exp, math.log, math.erf), HAND_FRESH: hand_fresh}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.exp, vector_math.log, vector_math.erf)


def data():
    random = np.random.default_rng(0)
    return (
        random.uniform(80, 120, SIZE),  # spot
        random.uniform(80, 120, SIZE),  # strike
        random.uniform(0.2, 2.0, SIZE),  # years
        random.uniform(0.0, 0.05, SIZE),  # rate a year
        random.uniform(0.1, 0.5, SIZE),  # volatility a root year
    )


WORKLOADS = (
    Workload(
        name="Black-Scholes, 5 gradients, n=1e6",
        function=function,
        data=data,
        hand=HANDS,
        target=1.5,
        argnums=(0, 1, 2, 3, 4),
        torch=function_torch,
    ),
)
