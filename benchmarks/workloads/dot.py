"""`2 * dot(x, x)` of four numbers: nothing but the cost of a call."""

import numpy as np
from numba import njit

from benchmarks.workload import HAND, HAND_FRESH, Workload


def function(x):
    return 2 * np.dot(x, x)


def function_torch(torch, x):
    return 2 * torch.dot(x, x)


@njit(fastmath={"reassoc", "contract"})
def kernel(x, gradient):
    square = 0.0
    for i in range(len(x)):
        square += x[i] * x[i]
        gradient[i] = 4 * x[i]
    return 2 * square


def hand(x):
    gradient = np.empty_like(x)
    return lambda x: (kernel(x, gradient), gradient)


def hand_fresh(x):
    def call(x):
        gradient = np.empty_like(x)
        return kernel(x, gradient), gradient

    return call


WORKLOADS = (
    Workload(
        name="2*dot(x, x), n=4",
        function=function,
        data=lambda: (np.arange(4.0),),
        hand={HAND: hand, HAND_FRESH: hand_fresh},
        target=2.5,
        limit=4e-6,
        torch=function_torch,
    ),
)
