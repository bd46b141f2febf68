"""First calls of long Python loops. `python -m benchmarks.long_loops`.

Each is a process of its own without a disk cache, warm by another function's kernel.
"""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.harness import duration, plain

REPEATED = 3
#: The compile time of the longest loop, over that of the shortest, is to be below.
EQUAL = 1.2


@dataclass
class First:
    """The first call of a loop of `rounds` rounds; seconds, and bytes it grew by."""

    case: str
    rounds: int
    seconds: float
    compiling: float
    bytes: int
    limit: float | None
    #: compile time, as a multiple of that of the first row of this case
    ratio: float


def sine(x, p, steps):
    for i in range(steps):
        x = x + 1e-5 * np.sin(x * p + i)
    return x


def counts(x, p, steps):
    n = 0
    for _ in range(steps):
        x = x + 1e-5 * np.sin(x * p)
        n += 1
    return x * n


#: Case, numbers of rounds, and seconds that each first call may last.
CASES = (
    ("Lotka-Volterra RK4", ((100, None), (1_000, None), (10_000, 2.0))),
    ("x = x + dt*sin(x*p + i)", ((5_000, 1.0), (1_000_000, None))),
    ("the same and n += 1, all recorded", ((5_000, 1.0), (20_000, None))),
)


def measure():
    """All rows, the median of some processes each, in turn."""
    keys = [(case, n, limit) for case, sizes in CASES for n, limit in sizes]
    found = {key: [] for key in keys}
    for _ in range(REPEATED):
        for case, n, limit in keys:
            found[case, n, limit].append(_in_process(case, n))
    outcomes = []
    for case, n, limit in keys:
        middle = [median(column) for column in zip(*found[case, n, limit], strict=True)]
        seconds, compiling, size = middle
        first = next((o for o in outcomes if o.case == case), None)
        ratio = compiling / first.compiling if first is not None else 1.0
        outcomes.append(First(case, n, seconds, compiling, int(size), limit, ratio))
    return outcomes


def _in_process(case, rounds):
    command = [sys.executable, "-m", "benchmarks.long_loops", case, str(rounds)]
    environment = {**os.environ, "TRACEJIT_CACHE": "0"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _main(case, rounds):
    # Here, because the process is another one.
    from benchmarks.workloads import ode
    from tracejit import value_and_grad

    value_and_grad(lambda x: np.sum(np.sin(x) ** 2))(np.ones(3))
    if case == CASES[0][0]:
        rates, state = np.array([1.0, 0.1, 0.075, 1.5]), np.array([10.0, 5.0])
        function, arguments = ode.function, (rates, state, 0.001, rounds)
    else:
        function = sine if case == CASES[1][0] else counts
        arguments = 0.5, 1.3, rounds
    graded = value_and_grad(function, argnums=(0, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = perf_counter()
    graded(*arguments)
    seconds = perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([seconds, graded.stats().compile_seconds, grown * 1024]))


def rows(outcomes):
    """The table as lists of texts, titles first."""
    table = [
        [
            "first call of",
            "rounds",
            "time",
            "compiling",
            "ratio",
            "memory",
            "target",
            "",
        ]
    ]
    for o in outcomes:
        goals, met = [], True
        if o.limit is not None:
            goals.append(f"< {duration(o.limit)}")
            met = o.seconds < o.limit
        if o.rounds == 10_000:
            goals.append(f"ratio ≤ {EQUAL}")
            met = met and o.ratio <= EQUAL
        table.append(
            [
                o.case,
                f"{o.rounds:,}",
                duration(o.seconds),
                duration(o.compiling),
                f"{o.ratio:.2f}",
                f"{o.bytes / 2**20:.0f} MB",
                ", ".join(goals),
                ("met" if met else "missed") if goals else "",
            ]
        )
    return table


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _main(sys.argv[1], int(sys.argv[2]))
    else:
        print(plain(rows(measure())))
