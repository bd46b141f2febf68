"""Log marginal likelihood of a Gaussian process with three hyperparameters.

C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning" (MIT
Press, 2006): equation 2.30 and algorithm 2.1 for the value, equation 5.9 for the
gradient. The user's version comes twice: through a Cholesky factor, as in the book,
and through `solve` and `slogdet`, as equation 2.30 reads. Both have the same
hand-written opponent, which inverts from one Cholesky factor in place.
"""

import ctypes
import math

import numpy as np
from numba import njit
from numba.extending import get_cython_function_address

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_VECTOR, Workload

SIZE = 300


def covariance(log_params, x):
    variance, length, noise = np.exp(log_params)
    distance = (x[:, None] - x[None, :]) / length
    return variance * np.exp(-0.5 * distance**2) + noise * np.eye(len(x))


def by_cholesky(log_params, x, y):
    factor = np.linalg.cholesky(covariance(log_params, x))
    white = np.linalg.solve(factor, y)
    return (
        -0.5 * np.dot(white, white)
        - np.sum(np.log(np.diag(factor)))
        - 0.5 * len(x) * np.log(2 * np.pi)
    )


def by_solve(log_params, x, y):
    matrix = covariance(log_params, x)
    _, log_determinant = np.linalg.slogdet(matrix)
    return (
        -0.5 * np.dot(y, np.linalg.solve(matrix, y))
        - 0.5 * log_determinant
        - 0.5 * len(x) * np.log(2 * np.pi)
    )


def _covariance_torch(torch, log_params, x):
    variance, length, noise = torch.exp(log_params)
    distance = (x[:, None] - x[None, :]) / length
    identity = torch.eye(len(x), dtype=x.dtype)
    return variance * torch.exp(-0.5 * distance**2) + noise * identity


def by_cholesky_torch(torch, log_params, x, y):
    factor = torch.linalg.cholesky(_covariance_torch(torch, log_params, x))
    white = torch.linalg.solve_triangular(factor, y[:, None], upper=False)[:, 0]
    return (
        -0.5 * torch.dot(white, white)
        - torch.sum(torch.log(torch.diag(factor)))
        - 0.5 * len(x) * math.log(2 * math.pi)
    )


def by_solve_torch(torch, log_params, x, y):
    matrix = _covariance_torch(torch, log_params, x)
    return (
        -0.5 * torch.dot(y, torch.linalg.solve(matrix, y))
        - 0.5 * torch.linalg.slogdet(matrix)[1]
        - 0.5 * len(x) * math.log(2 * math.pi)
    )


def _lapack(name, arguments):
    """A LAPACK function that Numba can call; every argument is an address."""
    address = get_cython_function_address("scipy.linalg.cython_lapack", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


dpotrf = _lapack("dpotrf", 5)  # uplo n a lda info
dpotri = _lapack("dpotri", 5)  # uplo n a lda info
dpotrs = _lapack("dpotrs", 8)  # uplo n nrhs a lda b ldb info


def _kernel(exp):
    @njit(fastmath={"reassoc", "contract"}, error_model="numpy")
    def kernel(log_params, x, y, smooth, matrix, alpha, flags, gradient):
        """Fill and read upper triangles only; LAPACK sees them as lower ones."""
        n = len(x)
        variance, length, noise = np.exp(log_params)
        scale = -0.5 / (length * length)
        for i in range(n):
            # Slices, because a loop from i to n would keep Numba's test for negative
            # indices and stay scalar.
            later, row, copy = x[i:], smooth[i, i:], matrix[i, i:]
            for j in range(len(later)):
                gap = x[i] - later[j]
                row[j] = variance * exp(scale * gap * gap)
                copy[j] = row[j]
            copy[0] += noise

        lower, size, one, info = flags[0:], flags[1:], flags[2:], flags[3:]
        dpotrf(lower.ctypes, size.ctypes, matrix.ctypes, size.ctypes, info.ctypes)
        if info[0] != 0:
            return np.nan
        half_log_determinant = 0.0
        for i in range(n):
            half_log_determinant += math.log(matrix[i, i])
            alpha[i] = y[i]
        dpotrs(
            lower.ctypes,
            size.ctypes,
            one.ctypes,
            matrix.ctypes,
            size.ctypes,
            alpha.ctypes,
            size.ctypes,
            info.ctypes,
        )
        dpotri(lower.ctypes, size.ctypes, matrix.ctypes, size.ctypes, info.ctypes)

        fit, by_variance, by_length, by_noise = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            later, row, inverse = x[i + 1 :], smooth[i, i + 1 :], matrix[i, i + 1 :]
            partners = alpha[i + 1 :]
            for j in range(len(later)):
                gap = x[i] - later[j]
                term = (alpha[i] * partners[j] - inverse[j]) * row[j]
                by_variance += term
                by_length += term * gap * gap
            diagonal = alpha[i] * alpha[i] - matrix[i, i]
            by_noise += diagonal
            fit += y[i] * alpha[i]
        gradient[0] = by_variance + 0.5 * variance * by_noise
        gradient[1] = by_length / (length * length)
        gradient[2] = 0.5 * noise * by_noise
        return -0.5 * fit - half_log_determinant - 0.5 * n * math.log(2 * math.pi)

    return kernel


def _hand(exp):
    kernel = _kernel(exp)

    def factory(log_params, x, y):
        n = len(x)
        smooth, matrix = np.empty((n, n)), np.empty((n, n))
        alpha, gradient = np.empty(n), np.empty(3)
        # What LAPACK wants by address: 'L', n, one right-hand side, room for info.
        flags = np.array([ord("L"), n, 1, 0], dtype=np.int32)
        room = (smooth, matrix, alpha, flags, gradient)
        return lambda log_params, x, y: (kernel(log_params, x, y, *room), gradient)

    return factory


HANDS = {HAND: _hand(math.exp)}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.exp)


def data():
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0, 10, SIZE))
    y = np.sin(x) + 0.3 * random.normal(size=SIZE)
    return np.log([1.0, 1.5, 0.1]), x, y


def _workload(way, function, function_torch):
    return Workload(
        name=f"Gaussian process ({way}), n={SIZE}",
        function=function,
        data=data,
        hand=HANDS,
        target=1.5,
        torch=function_torch,
    )


WORKLOADS = (
    _workload("cholesky", by_cholesky, by_cholesky_torch),
    _workload("slogdet, solve", by_solve, by_solve_torch),
)
