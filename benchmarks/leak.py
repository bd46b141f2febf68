"""Whether memory stays flat over 100,000 calls. `python -m benchmarks.leak`."""

import gc
import os
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.harness import plain
from tracejit import value_and_grad

CALLS = 100_000
# The interpreter's own free lists move by this much; 20 bytes a call is a leak.
ALLOWED = 2 << 20


@dataclass
class Growth:
    """How many bytes the process grew by while a case ran `calls` times."""

    case: str
    calls: int
    bytes: int


def square(x):
    return 2 * np.dot(x, x)


def branches(x):
    total = np.sum(x)
    return total**2 if total > 0 else np.sum(np.exp(x))


def container(params):
    return np.sum(params["w"] ** 2) + np.sum(params["layers"][0] * params["b"])


def refuse(x):
    """Raises when `x` is negative: an exception must leave nothing behind."""
    if x[0] < 0:
        raise ValueError("negative")
    return np.sum(x)


def cases():
    """Pairs of a title, a function, the number of calls, and arguments in turn."""
    x = np.linspace(0.5, 1.5, 4)
    params = {"w": x, "b": 2 * x, "layers": [3 * x]}
    large = np.linspace(-1, 1, 500_000)
    yield "one small array", square, CALLS, [x]
    yield "two branches in turn", branches, CALLS, [x, -x]
    yield "three shapes in turn", square, CALLS, [x, np.ones(20), np.ones(30)]
    yield "a dict of arrays", container, CALLS, [params]
    yield "an exception in every second call", refuse, CALLS // 10, [x, -x]
    yield "4 MB gradients", square, CALLS // 50, [large]
    shapes = [large[i:] for i in range(50)]
    yield "a recording of 4 MB in every call", square, len(shapes), shapes


def measure():
    """Run every case; a list of `Growth`, or empty where the system shows no RSS."""
    if not Path("/proc/self/statm").exists():
        return []
    outcomes = []
    for title, function, calls, arguments in cases():
        graded = value_and_grad(function)
        # Backwards, so that arguments that come once stay new to the measured calls.
        _call(graded, arguments[::-1], calls // 10)
        gc.collect()
        before = resident()
        _call(graded, arguments, calls)
        gc.collect()
        outcomes.append(Growth(title, calls, resident() - before))
    return outcomes


def _call(graded, arguments, number):
    for argument in islice(cycle(arguments), number):
        try:
            graded(argument)
        except ValueError as error:
            if str(error) != "negative":
                raise


def resident():
    """Bytes of this process that are in memory (Linux)."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def rows(outcomes):
    """The table as lists of texts, titles first."""
    table = [["called with", "calls", "growth", ""]]
    for outcome in outcomes:
        growth = f"{outcome.bytes / 2**20:.2f} MB"
        mark = "flat" if outcome.bytes <= ALLOWED else "LEAKS"
        table.append([outcome.case, f"{outcome.calls:,}", growth, mark])
    return table


if __name__ == "__main__":
    print(plain(rows(measure())))
