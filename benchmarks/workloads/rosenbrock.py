"""Rosenbrock's valley in n dimensions: a stencil whose gradient overlaps itself."""

import numpy as np
from numba import njit

from benchmarks.workload import HAND, HAND_FRESH, Workload


def function(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def function_torch(torch, x):
    return torch.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@njit(fastmath={"reassoc", "contract"})
def kernel(x, gradient):
    """One pass: each inner element of the gradient gathers from both its terms.

    Slices, rather than `x[i - 1]`, keep Numba's test for negative indices, and with it
    the end of vectorisation, out of the loop.
    """
    n = len(x)
    left = x[1] - x[0] * x[0]
    value = 100 * left * left + (1 - x[0]) * (1 - x[0])
    gradient[0] = -400 * x[0] * left - 2 * (1 - x[0])
    before, here, after, inner = x[:-2], x[1:-1], x[2:], gradient[1:-1]
    for i in range(len(here)):
        left = here[i] - before[i] * before[i]
        right = after[i] - here[i] * here[i]
        slack = 1 - here[i]
        value += 100 * right * right + slack * slack
        inner[i] = 200 * left - 400 * here[i] * right - 2 * slack
    gradient[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2])
    return value


def hand(x):
    gradient = np.empty_like(x)
    return lambda x: (kernel(x, gradient), gradient)


def hand_fresh(x):
    def call(x):
        gradient = np.empty_like(x)
        return kernel(x, gradient), gradient

    return call


def _workload(size, title, target, limit=None):
    return Workload(
        name=f"Rosenbrock, n={title}",
        function=function,
        data=lambda: (np.random.default_rng(0).normal(size=size),),
        hand={HAND: hand, HAND_FRESH: hand_fresh},
        target=target,
        limit=limit,
        torch=function_torch,
    )


WORKLOADS = (
    _workload(2, "2", target=2.5, limit=4e-6),
    _workload(1_000, "1e3", target=1.5),
    _workload(1_000_000, "1e6", target=1.5),
)
