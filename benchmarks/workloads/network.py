"""A multilayer perceptron 784-256-256-10 on a batch of 256: matrix products.

Differentiated with respect to all weights and biases, held in nested tuples.
"""

import math
from itertools import pairwise

import numpy as np
from numba import njit

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_VECTOR, Workload

BATCH, WIDTHS = 256, (784, 256, 256, 10)


def function(params, images, labels):
    (w1, b1), (w2, b2), (w3, b3) = params
    hidden = np.maximum(images @ w1 + b1, 0)
    hidden = np.maximum(hidden @ w2 + b2, 0)
    scores = hidden @ w3 + b3
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_totals = np.log(np.sum(np.exp(scores), axis=1))
    return np.mean(log_totals - scores[np.arange(len(labels)), labels])


def function_torch(torch, params, images, labels):
    (w1, b1), (w2, b2), (w3, b3) = params
    hidden = torch.relu(images @ w1 + b1)
    hidden = torch.relu(hidden @ w2 + b2)
    return torch.nn.functional.cross_entropy(hidden @ w3 + b3, labels)


@njit
def rectify(hidden, bias):
    """`hidden = max(hidden + bias, 0)` in place."""
    for i in range(len(hidden)):
        row = hidden[i]
        for j in range(len(row)):
            # `max` would test for NaN; this is one vector instruction.
            total = row[j] + bias[j]
            row[j] = total if total > 0 else row.dtype.type(0)


@njit
def backward_rectify(ct, hidden, bias_gradient):
    """Mask `ct` where the unit was off, in place, and sum it over the batch."""
    bias_gradient[:] = 0
    for i in range(len(ct)):
        row, unit = ct[i], hidden[i]
        for j in range(len(row)):
            kept = row[j] if unit[j] > 0 else row.dtype.type(0)
            row[j] = kept
            bias_gradient[j] += kept


def _cross_entropy(exp):
    @njit(fastmath={"reassoc", "contract"}, error_model="numpy")
    def cross_entropy(scores, bias, labels, bias_gradient):
        """Mean loss; `scores` is overwritten by its cotangent."""
        number = scores.dtype.type
        share = number(1) / number(len(labels))
        value = number(0)
        bias_gradient[:] = 0
        for i in range(len(labels)):
            row = scores[i]
            for j in range(len(row)):
                row[j] += bias[j]
            top = row[0]
            for j in range(len(row)):
                top = max(top, row[j])
            right = row[labels[i]]
            total = number(0)
            for j in range(len(row)):
                row[j] = exp(row[j] - top)
                total += row[j]
            value += number(math.log(total)) + top - right
            scale = share / total
            for j in range(len(row)):
                row[j] *= scale
            row[labels[i]] -= share
            for j in range(len(row)):
                bias_gradient[j] += row[j]
        return value * share

    return cross_entropy


def _kernel(exp):
    cross_entropy = _cross_entropy(exp)

    @njit
    def kernel(params, images, labels, hidden1, hidden2, scores, ct1, ct2, gradients):
        (w1, b1), (w2, b2), (w3, b3) = params
        (dw1, db1), (dw2, db2), (dw3, db3) = gradients
        np.dot(images, w1, out=hidden1)
        rectify(hidden1, b1)
        np.dot(hidden1, w2, out=hidden2)
        rectify(hidden2, b2)
        np.dot(hidden2, w3, out=scores)
        value = cross_entropy(scores, b3, labels, db3)
        np.dot(hidden2.T, scores, out=dw3)
        np.dot(scores, w3.T, out=ct2)
        backward_rectify(ct2, hidden2, db2)
        np.dot(hidden1.T, ct2, out=dw2)
        np.dot(ct2, w2.T, out=ct1)
        backward_rectify(ct1, hidden1, db1)
        np.dot(images.T, ct1, out=dw1)
        return value

    return kernel


def _hand(kernel):
    def factory(params, images, labels):
        gradients = tuple((np.empty_like(w), np.empty_like(b)) for w, b in params)
        dtype = images.dtype
        hidden1, ct1 = (np.empty((BATCH, WIDTHS[1]), dtype) for _ in range(2))
        hidden2, ct2 = (np.empty((BATCH, WIDTHS[2]), dtype) for _ in range(2))
        scores = np.empty((BATCH, WIDTHS[3]), dtype)
        room = (hidden1, hidden2, scores, ct1, ct2, gradients)
        return lambda params, images, labels: (
            kernel(params, images, labels, *room),
            gradients,
        )

    return factory


def _workload(dtype, tolerance):
    hands = {HAND: _hand(_kernel(math.exp))}
    if vector_math.AVAILABLE:
        double = dtype == np.float64
        exp = vector_math.exp if double else vector_math.expf
        hands[HAND_VECTOR] = _hand(_kernel(exp))

    def data():
        random = np.random.default_rng(0)
        params = tuple(
            (
                (random.normal(size=(rows, columns)) / np.sqrt(rows)).astype(dtype),
                (0.1 * random.normal(size=columns)).astype(dtype),
            )
            for rows, columns in pairwise(WIDTHS)
        )
        images = random.uniform(size=(BATCH, WIDTHS[0])).astype(dtype)
        return params, images, random.integers(0, WIDTHS[-1], BATCH)

    return Workload(
        name=f"MLP 784-256-256-10, batch 256, {np.dtype(dtype).name}",
        function=function,
        data=data,
        hand=hands,
        target=1.2,
        torch=function_torch,
        tolerance=tolerance,
    )


WORKLOADS = (
    # Sums of 784 float32 products in different orders differ by about 1e-5.
    _workload(np.float32, tolerance=1e-4),
    _workload(np.float64, tolerance=1e-6),
)
