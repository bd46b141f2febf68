"""`vmap` of a function with branches: every example on its own path."""

import math
import statistics
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np
from numba import njit, prange

from benchmarks.contestants import installed
from benchmarks.harness import check, duration
from tracejit import value_and_grad, vmap

EXAMPLES = 100_000
TARGET = 1.5


def response(x, p):
    """One example: three ways to compute, two decisions."""
    y = np.exp(-x * x) * p
    if y > 0.3:
        z = np.sin(x) * y
        if x > 0:
            z = z * np.log(1 + x)
    else:
        z = np.sqrt(1 + x * x) - y
    return z


@njit(parallel=True)
def response_kernel(x, p, values, gradients):
    for i in prange(len(x)):
        a = x[i]
        power = math.exp(-a * a)
        y = power * p
        by_y = -2 * a * y
        if y > 0.3:
            sine = math.sin(a)
            z = sine * y
            by = math.cos(a) * y + sine * by_y
            if a > 0:
                log = math.log(1 + a)
                by = by * log + z / (1 + a)
                z = z * log
        else:
            root = math.sqrt(1 + a * a)
            z = root - y
            by = a / root - by_y
        values[i] = z
        gradients[i] = by


def hand(x, p):
    values, gradients = np.empty_like(x), np.empty_like(x)

    def call(x, p):
        response_kernel(x, p, values, gradients)
        return values, gradients

    return call


def ours(x, p):
    return vmap(value_and_grad(response), in_axes=(0, None))


def jax_where(x, p):
    """Both sides of each branch for all examples, as `jax.vmap` wants it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def function(x, p):
        y = jnp.exp(-x * x) * p
        z = jnp.sin(x) * y
        inside = jnp.where(x > 0, x, 0.0)
        z = jnp.where(x > 0, z * jnp.log(1 + inside), z)
        return jnp.where(y > 0.3, z, jnp.sqrt(1 + x * x) - y)

    compiled = jax.jit(jax.vmap(jax.value_and_grad(function), in_axes=(0, None)))
    return lambda x, p: tuple(map(np.asarray, compiled(x, p)))


@dataclass
class Outcome:
    """Median seconds of a call, by contestant, and the median ratio to hand-written."""

    times: dict
    ratio: float
    first: float
    recordings: int

    def met(self):
        others = [t for label, t in self.times.items() if label.startswith("JAX")]
        ahead = all(self.times["tracejit"] <= t for t in others)
        return self.ratio <= TARGET and ahead


def measure(rounds=15):
    """Time all contestants in turns."""
    x = np.random.default_rng(0).normal(size=EXAMPLES)
    makers = {"hand-written, prange": hand, "tracejit": ours}
    if installed("jax"):
        makers["JAX, jnp.where"] = jax_where
    calls = {label: make(x, 1.0) for label, make in makers.items()}
    expected = calls["hand-written, prange"](x, 1.0)
    first = 0.0
    for label, call in calls.items():
        start = perf_counter()
        check(call(x, 1.0), expected, 1e-9)
        if label == "tracejit":
            first = perf_counter() - start
    times = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            times[label].append(_median(partial(call, x, 1.0)))
    ratios = [
        a / b
        for a, b in zip(times["tracejit"], times["hand-written, prange"], strict=True)
    ]
    medians = {label: statistics.median(found) for label, found in times.items()}
    recordings = calls["tracejit"].stats().traces
    return [Outcome(medians, statistics.median(ratios), first, recordings)]


def _median(call, number=5):
    found = []
    for _ in range(number):
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return statistics.median(found)


def rows(outcomes):
    """The table as lists of texts, titles first."""
    labels = list(outcomes[0].times)
    titles = ["batch", *labels, "ratio", "first call", "recordings", "target", ""]
    return [titles] + [
        [
            f"branches, {EXAMPLES:,} examples",
            *[duration(o.times[label]) for label in labels],
            f"{o.ratio:.2f}",
            duration(o.first),
            str(o.recordings),
            f"{TARGET}",
            "met" if o.met() else "missed",
        ]
        for o in outcomes
    ]
