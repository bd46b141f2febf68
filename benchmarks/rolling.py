"""Finding the loops of a recorded tape. `python -m benchmarks.rolling`.

Of tapes that were recorded with all rounds, processor time by the number of instrs.
"""

import gc
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import process_time

import numpy as np

from benchmarks.harness import duration, plain
from benchmarks.workloads import ode

REPEATED = 5
#: Seconds that rolling may take for each instr.
LIMIT = 1e-6


@dataclass
class Roll:
    """One tape: seconds for each of its instrs, and what is left of them."""

    case: str
    instrs: int
    left: int
    recording: float
    rolling: float


def steps(x, p):
    for _ in range(20_000):
        x = x + 0.01 * np.sin(x * p)
    return x


def nested(x, p):
    for _ in range(100):
        y = x
        for k in range(100):
            y = y + 0.01 * np.sin(y * p + k)
        x = 0.5 * x + 0.1 * y
    return x


def collected(x, p):
    seen = []
    for _ in range(15_000):
        x = x + 0.01 * np.sin(x * p)
        seen.append(x)
    return np.sum(np.array(seen) ** 2)


def rows_of(x, p):
    total = x[0]
    for k in range(len(x)):
        total = total + x[k] * x[len(x) - 1 - k] * (k + 0.5) ** 2 * p
    return total


def straight(lines):
    """A function of that many lines, no two of which are a loop."""
    line = "    x = 0.5 * np.sin(x) + p\n"
    names = {"np": np}
    exec("def straight(x, p):\n" + line * lines + "    return x\n", names)
    return names["straight"]


#: Case, function and arguments.
CASES = (
    ("scalar steps, 20,000 rounds", steps, (0.3, 1.2)),
    (
        "Lotka-Volterra RK4, 1,000 rounds",
        partial(ode.function, step=1e-3, steps=1000),
        (np.array([1.0, 0.1, 0.075, 1.5]), np.array([10.0, 5.0])),
    ),
    ("nested, 100 rounds of 100", nested, (0.3, 1.2)),
    ("a list, 15,000 rounds", collected, (0.3, 1.2)),
    ("elements of an array, 6,000 rounds", rows_of, (np.linspace(0, 1, 6000), 1.1)),
    ("no loop, 12,000 lines", straight(12_000), (0.3, 1.2)),
)


def measure():
    """All rows; the collector is off, as while a function is recorded."""
    return [_measured(*case) for case in CASES]


def _measured(case, function, arguments):
    from tracejit.passes.reroll import reroll_tape
    from tracejit.tracer import Recorder, recording

    recorder = Recorder(case)
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = process_time()
        with recording(recorder):
            out = function(*[recorder.input_tracer(a) for a in arguments])
        seconds = process_time() - start
        tape = recorder.finish_trace([out.ref])
        times = []
        for _ in range(REPEATED):
            start = process_time()
            rolled, _ = reroll_tape(tape)
            times.append(process_time() - start)
    finally:
        if collecting:
            gc.enable()
    count = len(tape.instrs)
    left = len(rolled.instrs)
    return Roll(case, count, left, seconds / count, median(times) / count)


def rows(outcomes):
    """The table as lists of texts, titles first."""
    titles = ["tape", "instrs", "after", "recording", "rolling", "target", ""]
    return [
        titles,
        *[
            [
                o.case,
                f"{o.instrs:,}",
                f"{o.left:,}",
                duration(o.recording),
                duration(o.rolling),
                f"≤ {duration(LIMIT)}",
                "met" if o.rolling <= LIMIT else "missed",
            ]
            for o in outcomes
        ],
    ]


if __name__ == "__main__":
    print(plain(rows(measure())))
