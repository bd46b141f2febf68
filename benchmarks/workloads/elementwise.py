"""`sum(x**2 * exp(x))`: one loop forward and backward, bound by `exp`."""

import math

import numpy as np
from numba import njit

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_FRESH, HAND_VECTOR, Workload


def function(x):
    return np.sum(x**2 * np.exp(x))


def function_torch(torch, x):
    return torch.sum(x**2 * torch.exp(x))


def _kernel(exp):
    @njit(fastmath={"reassoc", "contract"})
    def kernel(x, gradient):
        value = 0.0
        for i in range(len(x)):
            power = exp(x[i])
            value += x[i] * x[i] * power
            gradient[i] = power * x[i] * (x[i] + 2)
        return value

    return kernel


def _hand(exp):
    kernel = _kernel(exp)

    def factory(x):
        gradient = np.empty_like(x)
        return lambda x: (kernel(x, gradient), gradient)

    return factory


def hand_fresh(x):
    kernel = _kernel(math.exp)

    def call(x):
        gradient = np.empty_like(x)
        return kernel(x, gradient), gradient

    return call


HANDS = {HAND: _hand(math.exp), HAND_FRESH: hand_fresh}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.exp)


def _workload(size, title):
    return Workload(
        name=f"sum(x**2 * exp(x)), n={title}",
        function=function,
        data=lambda: (np.random.default_rng(0).normal(size=size),),
        hand=HANDS,
        target=1.5,
        torch=function_torch,
    )


WORKLOADS = (_workload(1_000, "1e3"), _workload(1_000_000, "1e6"))
