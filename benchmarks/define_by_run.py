"""The define-by-run face. `python -m benchmarks --define-by-run`.

A training step of the digits network, three times: written with `tracejit.autograd`,
with `@value_and_grad`, and in PyTorch.  What recording one operation costs.  And what
10,000 steps of a small problem leave behind.
"""

import gc
import statistics
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks import contestants
from benchmarks.harness import duration
from benchmarks.leak import resident
from tracejit import autograd, value_and_grad

BATCH, HIDDEN, RATE = 32, 256, 0.1
ROUNDS = 30
#: At most so many times the step with `value_and_grad`; PyTorch takes at least so many
#: times as long.
TO_GRAD, TO_TORCH = 3.0, 2.0
OVERHEAD = 25e-6
STEPS, ALLOWED = 10_000, 1 << 20


@dataclass
class Measured:
    """One row: a figure, what was allowed, and whether it is met."""

    title: str
    figure: str
    target: str
    met: bool


def data():
    """A batch of the shape of the digits, and parameters."""
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH, 64)), rng.integers(0, 10, BATCH)
    params = [
        rng.normal(size=(64, HIDDEN)) / 8,
        np.zeros(HIDDEN),
        rng.normal(size=(HIDDEN, 10)) / 16,
        np.zeros(10),
    ]
    return x, y, params


ROWS = np.arange(BATCH)


def loss(params, x, y):
    """Mean cross-entropy of a network with one hidden layer."""
    w1, b1, w2, b2 = params
    hidden = np.maximum(x @ w1 + b1, 0)
    z = hidden @ w2 + b2
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.mean(log_p[ROWS, y])


def with_grad():
    """A step of descent with `value_and_grad`."""
    x, y, params = data()
    graded = value_and_grad(loss)

    def step():
        value, gradient = graded(params, x, y)
        for p, g in zip(params, gradient, strict=True):
            p -= RATE * g
        return value

    return step, params


def by_run():
    """The same with variables."""
    x, y, params = data()
    params = [autograd.array(p, requires_grad=True) for p in params]

    def step():
        value = loss(params, x, y)
        value.backward()
        with autograd.no_grad():
            for p in params:
                p -= RATE * p.grad
                p.grad.zero_()
        return value.item()

    return step, params


def by_torch():
    """The same in PyTorch."""
    import torch

    x, y, params = data()
    x, y, rows = torch.tensor(x), torch.tensor(y), torch.arange(BATCH)
    params = [torch.tensor(p, requires_grad=True) for p in params]

    def step():
        w1, b1, w2, b2 = params
        hidden = torch.relu(x @ w1 + b1)
        z = hidden @ w2 + b2
        z = z - z.amax(1, keepdim=True)
        log_p = z - torch.log(torch.exp(z).sum(1, keepdim=True))
        value = -torch.mean(log_p[rows, y])
        value.backward()
        with torch.no_grad():
            for p in params:
                p -= RATE * p.grad
                p.grad.zero_()
        return value.item()

    return step, params


def steps():
    """Median time of each contestant's step, after all came to the same parameters."""
    made = {"grad": with_grad(), "run": by_run()}
    if contestants.installed("torch"):
        made["torch"] = by_torch()
    for step, _ in made.values():
        for _ in range(20):
            step()
    reference = made["grad"][1]
    for _, params in made.values():
        for p, right in zip(params, reference, strict=True):
            array = p if isinstance(p, np.ndarray) else p.detach().numpy()
            np.testing.assert_allclose(array, right, rtol=1e-8, atol=1e-10)
    samples = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, (step, _) in made.items():
            step()
            samples[name].append(_usual(step, 20))
    return samples


def _usual(call, count):
    """The median time of single calls: what else the machine does hits few of them."""
    times = []
    for _ in range(count):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return statistics.median(times)


OPERATIONS = {
    "x * x": lambda x: x * x,
    "x * 2.0": lambda x: x * 2.0,
    "np.exp(x)": np.exp,
    "a @ x": lambda x: CONSTANT @ x,
    "x.sum()": lambda x: x.sum(),
    "np.mean(x, axis=0)": lambda x: np.mean(x, axis=0),
    "x[1:]": lambda x: x[1:],
    "x.reshape(2, 2)": lambda x: x.reshape(2, 2),
    "np.where(a > 1, x, 0.0)": lambda x: np.where(CONSTANT > 1, x, 0.0),
    "np.stack([x, x])": lambda x: np.stack([x, x]),
}
CONSTANT = np.arange(4.0)


def recording():
    """What recording adds to each operation, in seconds, by its text."""
    x, plain = autograd.array(CONSTANT, requires_grad=True), CONSTANT.copy()
    return {
        text: max(0.0, _each(operation, x) - _each(operation, plain))
        for text, operation in OPERATIONS.items()
    }


def _each(operation, x, calls=20):
    def some():
        for _ in range(calls):
            operation(x)

    some()
    return _usual(some, 200) / calls


def quadratic():
    """Growth in bytes and kernels of 10,000 steps on four numbers."""
    autograd.clear()
    x = autograd.array(np.arange(4.0), requires_grad=True)

    def step():
        value = ((x - 3.0) ** 2).sum()
        value.backward()
        with autograd.no_grad():
            x.sub_(0.01 * x.grad)
        x.grad.zero_()

    for _ in range(STEPS // 10):
        step()
    gc.collect()
    before = resident()
    for _ in range(STEPS):
        step()
    gc.collect()
    stats = autograd.stats()
    return resident() - before, stats.kernels_compiled + stats.kernels_reused


def measure():
    """All of it; a list of `Measured`."""
    found = []
    samples = steps()
    ours = statistics.median(samples["run"])
    ratio = _ratio(samples["run"], samples["grad"])
    found.append(
        Measured(
            f"training step of the digits network, batch {BATCH}: {duration(ours)}; "
            f"with `value_and_grad` {duration(statistics.median(samples['grad']))}",
            f"{ratio:.2f} times",
            f"at most {TO_GRAD:g}",
            ratio <= TO_GRAD,
        )
    )
    if "torch" in samples:
        ratio = _ratio(samples["torch"], samples["run"])
        found.append(
            Measured(
                "the same step in PyTorch: "
                f"{duration(statistics.median(samples['torch']))}",
                f"{ratio:.2f} times",
                f"at least {TO_TORCH:g}",
                ratio >= TO_TORCH,
            )
        )
    for text, seconds in recording().items():
        found.append(
            Measured(
                f"recording `{text}`",
                duration(seconds),
                f"at most {duration(OVERHEAD)}",
                seconds <= OVERHEAD,
            )
        )
    growth, kernels = quadratic()
    found.append(
        Measured(
            f"{STEPS:,} steps on four numbers, growth of memory",
            f"{growth / 2**20:.2f} MB",
            "none",
            growth <= ALLOWED,
        )
    )
    found.append(Measured("kernels of these steps", str(kernels), "1", kernels == 1))
    return found


def _ratio(times, others):
    pairs = zip(times, others, strict=True)
    return statistics.median(time / other for time, other in pairs)


def rows(measured):
    """The table as lists of texts, titles first."""
    table = [["", "measured", "target", ""]]
    for m in measured:
        table.append([m.title, m.figure, m.target, "met" if m.met else "MISSED"])
    return table
