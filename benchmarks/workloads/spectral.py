"""Deconvolution by FFT, and the nuclear norm by SVD: gradients around library calls.

The deconvolution is least squares with a circular blur, 65536 points; forward and
gradient need two real transforms each way, and the hand-written version calls NumPy's
for just these. The nuclear norm of a 200 x 100 matrix is the sum of its singular
values; its gradient is u @ vh (G. Watson, "Characterization of the subdifferential of
some matrix norms", 1992), so one SVD is all that is needed.
"""

import numpy as np

from benchmarks.workload import HAND, Workload

POINTS = 1 << 16
SHAPE = (200, 100)


def deconvolution(x, response, target):
    blurred = np.fft.irfft(np.fft.rfft(x) * response, len(x))
    residual = blurred - target
    return np.mean(residual * residual)


def deconvolution_torch(torch, x, response, target):
    blurred = torch.fft.irfft(torch.fft.rfft(x) * response, len(x))
    residual = blurred - target
    return torch.mean(residual * residual)


def _deconvolution_hand(x, response, target):
    back = np.conj(response)

    def run(x, response, target):
        residual = np.fft.irfft(np.fft.rfft(x) * response, len(x)) - target
        value = np.dot(residual, residual) / len(x)
        half = np.fft.rfft(residual)
        half *= back
        gradient = np.fft.irfft(half, len(x))
        gradient *= 2.0 / len(x)
        return value, gradient

    return run


def nuclear_norm(a):
    return np.sum(np.linalg.svd(a, compute_uv=False))


def nuclear_norm_torch(torch, a):
    return torch.sum(torch.linalg.svdvals(a))


def _nuclear_norm_hand(a):
    def run(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return s.sum(), u @ vh

    return run


def _deconvolution_data():
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, POINTS))
    frequency = np.fft.rfftfreq(POINTS)
    response = np.exp(-50 * frequency**2) * np.exp(-3j * frequency)
    target = np.fft.irfft(np.fft.rfft(x) * response, POINTS) + 0.1 * noise
    return noise, response, target


def _matrix():
    return (np.random.default_rng(1).normal(size=SHAPE),)


WORKLOADS = (
    Workload(
        name=f"deconvolution by FFT, {POINTS} points",
        function=deconvolution,
        data=_deconvolution_data,
        torch=deconvolution_torch,
        hand={HAND: _deconvolution_hand},
        target=1.2,
    ),
    Workload(
        name=f"nuclear norm by SVD, {SHAPE[0]} x {SHAPE[1]}",
        function=nuclear_norm,
        data=_matrix,
        torch=nuclear_norm_torch,
        hand={HAND: _nuclear_norm_hand},
        target=1.2,
    ),
)
