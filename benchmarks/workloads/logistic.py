"""Logistic regression: a tall matrix that is read once by an expert, twice by BLAS."""

import math

import numpy as np
from numba import njit

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_VECTOR, Workload

# Rows handled together: enough scores to fill vector registers, few enough that the
# rows are still in the first-level cache when they are read again for the gradient.
BLOCK = 32


def function(weights, features, labels):
    scores = features @ weights
    return np.mean(np.logaddexp(0.0, scores) - labels * scores)


def function_torch(torch, weights, features, labels):
    scores = features @ weights
    softplus = torch.nn.functional.softplus(scores, threshold=700)
    return torch.mean(softplus - labels * scores)


def _kernel(exp, log1p):
    @njit(fastmath={"reassoc", "contract"}, error_model="numpy")
    def kernel(weights, features, labels, scores, gradient):
        """Read each block of rows once from memory, for scores and for gradient."""
        rows = len(features)
        share = 1 / rows
        value = 0.0
        gradient[:] = 0
        for start in range(0, rows, BLOCK):
            block = features[start : start + BLOCK]
            targets = labels[start : start + BLOCK]
            for i in range(len(block)):
                row = block[i]
                score = 0.0
                for j in range(len(row)):
                    score += row[j] * weights[j]
                scores[i] = score
            for i in range(len(targets)):
                score = scores[i]
                power = exp(-abs(score))
                value += max(score, 0.0) + log1p(power) - targets[i] * score
                larger = 1 / (1 + power)
                probability = larger if score >= 0 else power * larger
                scores[i] = (probability - targets[i]) * share
            for i in range(len(block)):
                row = block[i]
                residual = scores[i]
                for j in range(len(row)):
                    gradient[j] += residual * row[j]
        return value * share

    return kernel


def _hand(exp, log1p):
    kernel = _kernel(exp, log1p)

    def factory(weights, features, labels):
        gradient, scores = np.empty_like(weights), np.empty(BLOCK)

        def call(weights, features, labels):
            return kernel(weights, features, labels, scores, gradient), gradient

        return call

    return factory


HANDS = {HAND: _hand(math.exp, math.log1p)}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.exp, vector_math.log1p)


def _workload(rows, columns):
    def data():
        random = np.random.default_rng(0)
        features = random.normal(size=(rows, columns))
        truth = random.normal(size=columns)
        labels = (features @ truth + random.normal(size=rows) > 0).astype(float)
        return 0.1 * truth, features, labels

    return Workload(
        name=f"logistic regression, {rows:,}×{columns}",
        function=function,
        data=data,
        hand=HANDS,
        target=1.5,
        torch=function_torch,
    )


WORKLOADS = (_workload(200, 10), _workload(10_000, 100))
