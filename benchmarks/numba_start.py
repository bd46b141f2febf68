"""The smallest Numba functions on an array: what Numba's own start costs."""

from numba import njit


def _total(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    return total


compiled = njit(_total)
cached = njit(cache=True)(_total)
