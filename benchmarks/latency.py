"""How long a user waits: first calls, second processes, new shapes, new branches.

`python -m benchmarks.latency` prints the table. Every figure of a first call is the
median over fresh processes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.harness import duration, plain
from tracejit import value_and_grad

PROCESSES = 5
RETRACES = 9
CHAIN = 100


@dataclass
class Wait:
    """One figure: what was waited for, seconds, and the most it may be, if any."""

    what: str
    seconds: float
    target: float | None = None


def measure():
    """All waits, in the order of the table."""
    compiling, loading = first_calls()
    start = loading["import"] + loading["first"]
    recorded, altogether = retraces()
    return [
        Wait("Numba's own start, compiling one loop", compiling["numba"]),
        Wait("Numba's own start, that loop from disk", loading["numba"]),
        Wait("import tracejit, after Numba", loading["import"]),
        Wait("first call, empty disk cache", compiling["first"], 0.25),
        Wait("first call, from disk cache", loading["first"], 0.05),
        Wait("import and first call, from disk cache", start),
        Wait("second call", loading["second"]),
        Wait("new shape", compiling["new shape"]),
        Wait("new branch of equal structure", compiling["new branch, same code"]),
        Wait("new branch of new structure", compiling["new branch, new code"]),
        Wait("the same, from disk cache", loading["new branch, new code"]),
        Wait("old branch again", compiling["old branch"]),
        Wait("recording, a NumPy call", recorded, 25e-6),
        Wait("new shape altogether, a NumPy call", altogether),
    ]


def first_calls():
    """Median seconds of `first_call`'s laps: with an empty disk cache, with a full one.

    Raises:
        AssertionError: a second process compiled something.
    """
    compiling, loading = [], []
    with tempfile.TemporaryDirectory() as folder:
        bytecode = Path(folder, "bytecode")
        for run in range(PROCESSES + 1):
            caches = Path(folder, f"caches-{run}")
            cold = _process("compile", caches, bytecode)
            _process("load", caches, bytecode)  # fills Numba's own cache
            warm = _process("load", caches, bytecode)
            compiled = warm["stats"]["kernels_compiled"]
            if compiled:
                raise AssertionError(f"the second process compiled {compiled} kernels")
            if run > 0:  # the first run wrote Python's bytecode
                compiling.append(cold["seconds"])
                loading.append(warm["seconds"])
    return _medians(compiling), _medians(loading)


def _process(way, caches, bytecode):
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "TRACEJIT_CACHE_DIR": str(caches / "tracejit"),
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }
    # Set in containers, where it would count the compiling of sources as start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.first_call", way]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        command, env=environment, cwd=root, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def _medians(laps):
    return {name: statistics.median(lap[name] for lap in laps) for name in laps[0]}


def chain(x):
    """`CHAIN` NumPy calls on a small array, and the seconds that this run took."""
    start = perf_counter()
    for _ in range((CHAIN - 1) // 3):
        x = np.sin(x) * 0.5 + x
    return np.sum(x), perf_counter() - start


def retraces():
    """Seconds a NumPy call when `chain` meets a new shape: recording, and altogether.

    The function runs when it is recorded, and only then, so the time inside it is the
    recording's. Nothing is compiled, and the first recording of the process, which
    also starts the recorder, is not counted.
    """
    graded = value_and_grad(chain, has_aux=True)
    graded(np.ones(100))
    recorded, altogether = [], []
    for size in range(101, 101 + RETRACES):
        x = np.ones(size)
        start = perf_counter()
        (_, inside), _ = graded(x)
        altogether.append((perf_counter() - start) / CHAIN)
        recorded.append(float(inside) / CHAIN)
    return statistics.median(recorded), statistics.median(altogether)


def rows(waits):
    """The table as lists of texts, titles first."""
    table = [["wait for", "time", "target", ""]]
    for wait in waits:
        target, mark = "", ""
        if wait.target is not None:
            target = f"≤ {duration(wait.target)}"
            mark = "met" if wait.seconds <= wait.target else "missed"
        table.append([wait.what, duration(wait.seconds), target, mark])
    return table


if __name__ == "__main__":
    print(plain(rows(measure())))
