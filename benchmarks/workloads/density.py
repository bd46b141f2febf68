"""Log density of Student's t distribution over many rows, with its parameters."""

import math

import numpy as np
from numba import njit
from scipy import special

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_VECTOR, Workload
from tracejit.scipy import stats

ROWS = 1_000_000


def function(parameters, x):
    df, loc, scale = parameters
    return np.sum(stats.t.logpdf(x, df, loc, scale))


def function_torch(torch, parameters, x):
    df, loc, scale = parameters
    return torch.distributions.StudentT(df, loc, scale).log_prob(x).sum()


def _kernel(log1p):
    @njit(fastmath={"reassoc", "contract"}, error_model="numpy")
    def kernel(df, loc, scale, x):
        total, by_df, by_loc, by_scale = 0.0, 0.0, 0.0, 0.0
        for i in range(len(x)):
            z = (x[i] - loc) / scale
            q = z * z / df
            log = log1p(q)
            total += log
            share = q / (1.0 + q)
            by_df += (df + 1.0) * share / df - log
            by_loc += share / z
            by_scale += share
        return total, by_df, by_loc, by_scale

    return kernel


def _hand(log1p):
    kernel = _kernel(log1p)

    def factory(parameters, x):
        gradient = np.empty(3)

        def call(parameters, x):
            df, loc, scale = parameters
            n = len(x)
            total, by_df, by_loc, by_scale = kernel(df, loc, scale, x)
            front = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df)
            front -= 0.5 * math.log(math.pi * df) + math.log(scale)
            psi = special.psi(0.5 * (df + 1)) - special.psi(0.5 * df)
            gradient[0] = 0.5 * (n * (psi - 1.0 / df) + by_df)
            gradient[1] = (df + 1.0) * by_loc / scale
            gradient[2] = ((df + 1.0) * by_scale - n) / scale
            return n * front - 0.5 * (df + 1.0) * total, gradient

        return call

    return factory


HANDS = {HAND: _hand(math.log1p)}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.log1p)

WORKLOADS = (
    Workload(
        name="Student's t log density, 1e6 rows",
        function=function,
        data=lambda: (
            np.array([4.0, 0.1, 1.3]),
            np.random.default_rng(0).standard_t(4.0, size=ROWS),
        ),
        hand=HANDS,
        target=1.5,
        torch=function_torch,
    ),
)
