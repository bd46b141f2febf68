"""A vanilla recurrent network: matrix products and `tanh`, a hundred times.

J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990). The expert
multiplies all inputs at once before the loop, and all weight gradients after it.
"""

import math

import numpy as np
from numba import njit

from benchmarks import vector_math
from benchmarks.workload import HAND, HAND_VECTOR, Workload

STEPS, HIDDEN, BATCH, WIDTH = 100, 64, 32, 16


def function(params, inputs, target):
    into, recurrent, bias = params
    state = np.zeros((BATCH, HIDDEN))
    for x in inputs:
        state = np.tanh(x @ into + state @ recurrent + bias)
    return np.mean((state - target) ** 2)


def function_scan(jax, params, inputs, target):
    into, recurrent, bias = params

    def one(state, x):
        return jax.numpy.tanh(x @ into + state @ recurrent + bias), None

    state, _ = jax.lax.scan(one, jax.numpy.zeros((BATCH, HIDDEN)), inputs)
    return jax.numpy.mean((state - target) ** 2)


def function_torch(torch, params, inputs, target):
    into, recurrent, bias = params
    state = torch.zeros((BATCH, HIDDEN), dtype=inputs.dtype)
    for x in inputs:
        state = torch.tanh(x @ into + state @ recurrent + bias)
    return torch.mean((state - target) ** 2)


def _kernel(tanh):
    @njit(fastmath={"reassoc", "contract"})
    def activate(product, driven, bias, out):
        for i in range(len(out)):
            left, right, row = product[i], driven[i], out[i]
            for j in range(len(row)):
                row[j] = tanh(left[j] + right[j] + bias[j])

    @njit(fastmath={"reassoc", "contract"})
    def kernel(params, inputs, target, room, gradients):
        into, recurrent, bias = params
        d_into, d_recurrent, d_bias = gradients
        states, driven, cts, product, ct = room
        flat = STEPS * BATCH
        # All steps' inputs in one product.
        np.dot(inputs.reshape(flat, WIDTH), into, out=driven.reshape(flat, HIDDEN))
        for n in range(STEPS):
            np.dot(states[n], recurrent, out=product)
            activate(product, driven[n], bias, states[n + 1])
        value = 0.0
        share = 1.0 / (BATCH * HIDDEN)
        for i in range(BATCH):
            for j in range(HIDDEN):
                miss = states[STEPS, i, j] - target[i, j]
                value += miss * miss
                ct[i, j] = 2 * share * miss
        d_bias[:] = 0
        for m in range(STEPS):
            n = STEPS - 1 - m
            for i in range(BATCH):
                row, came, out = states[n + 1, i], ct[i], cts[n, i]
                for j in range(len(row)):
                    local = came[j] * (1 - row[j] * row[j])
                    out[j] = local
                    d_bias[j] += local
            np.dot(cts[n], recurrent.T, out=ct)
        cts_flat = cts.reshape(flat, HIDDEN)
        np.dot(inputs.reshape(flat, WIDTH).T, cts_flat, out=d_into)
        np.dot(states[:STEPS].reshape(flat, HIDDEN).T, cts_flat, out=d_recurrent)
        return value * share

    return kernel


def _hand(tanh):
    kernel = _kernel(tanh)

    def factory(params, inputs, target):
        room = (
            np.zeros((STEPS + 1, BATCH, HIDDEN)),
            np.empty((STEPS, BATCH, HIDDEN)),
            np.empty((STEPS, BATCH, HIDDEN)),
            np.empty((BATCH, HIDDEN)),
            np.empty((BATCH, HIDDEN)),
        )
        gradients = tuple(np.empty_like(p) for p in params)
        return lambda params, inputs, target: (
            kernel(params, inputs, target, room, gradients),
            gradients,
        )

    return factory


HANDS = {HAND: _hand(math.tanh)}
if vector_math.AVAILABLE:
    HANDS[HAND_VECTOR] = _hand(vector_math.tanh)


def data():
    random = np.random.default_rng(0)
    params = (
        random.normal(size=(WIDTH, HIDDEN)) / np.sqrt(WIDTH),
        random.normal(size=(HIDDEN, HIDDEN)) / np.sqrt(HIDDEN),
        0.1 * random.normal(size=HIDDEN),
    )
    inputs = random.normal(size=(STEPS, BATCH, WIDTH))
    return params, inputs, random.normal(size=(BATCH, HIDDEN))


WORKLOADS = (
    Workload(
        name=f"RNN T={STEPS}, hidden {HIDDEN}, batch {BATCH}",
        function=function,
        data=data,
        hand=HANDS,
        target=1.3,
        torch=function_torch,
        scan=function_scan,
    ),
)
