"""What is compiled when, and what is found again: in one process and in the next.

The example runs itself twice with one fresh cache folder.  Each run makes the same
four kinds of call and reports the time of each and what `stats()` counted.

Run it with `python examples/cached_compile.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
from time import perf_counter

import numba
import numpy as np

from tracejit import value_and_grad

COUNTERS = ("traces", "kernels_compiled", "kernels_reused", "hits", "guard_failures")


@value_and_grad
def loss(weights, x, y):
    """Return the mean squared error, tamed by a root while it is large."""
    residual = np.tanh(x @ weights) - y
    error = np.mean(residual**2)
    if error > 1:
        error = 2 * np.sqrt(error) - 1
    return error


def data(rows, columns, scale=1.0):
    """Return weights, a table and targets of the given size."""
    rng = np.random.default_rng(rows)
    weights = rng.normal(size=columns) / columns
    x = rng.normal(size=(rows, columns))
    y = np.tanh(x @ weights) + 0.1 * rng.normal(size=rows)
    return weights, x, scale * y


def measure():
    """Make the calls, and return for each its name, seconds and change of stats()."""
    # The first compilation of a process starts Numba itself; keep that out of the
    # figures.
    numba.njit(lambda: 0)()

    small, large = data(1000, 20), data(3000, 50)
    far_off = data(1000, 20, scale=10.0)
    calls = {
        "first call": small,
        "second call": small,
        "new shape": large,
        "new branch": far_off,
        "first branch again": small,
    }
    report = []
    for name, args in calls.items():
        before = loss.stats()
        before = {counter: getattr(before, counter) for counter in COUNTERS}
        start = perf_counter()
        loss(*args)
        seconds = perf_counter() - start
        after = loss.stats()
        change = {c: getattr(after, c) - before[c] for c in COUNTERS}
        report.append({"call": name, "seconds": seconds, **change})
    return report


def run_in_new_process(cache_folder):
    """Return the report of `measure`, run by a Python of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "measure"],
        env={**os.environ, "TRACEJIT_CACHE_DIR": cache_folder},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def show(title, report):
    """Print one process's report as a table."""
    print(f"{title:<22}{'ms':>9}  " + "  ".join(COUNTERS))
    for row in report:
        counts = "  ".join(f"{row[c]:>{len(c)}}" for c in COUNTERS)
        print(f"  {row['call']:<20}{1000 * row['seconds']:>9.2f}  {counts}")
    print()


def counted(report, counter):
    """Return one counter's change for each call."""
    return [row[counter] for row in report]


def main():
    """Run the calls in two processes and check what each had to do."""
    with tempfile.TemporaryDirectory() as cache_folder:
        first = run_in_new_process(cache_folder)
        second = run_in_new_process(cache_folder)
    show("first process", first)
    show("second process", second)

    # The user's function is recorded for each signature and branch, in both processes;
    # recording takes milliseconds.
    assert counted(first, "traces") == counted(second, "traces") == [1, 0, 1, 1, 0]
    # Compiled: once for the function, and once for the code of the other branch.  A new
    # shape is not new code, and the second process finds everything on disk.
    assert counted(first, "kernels_compiled") == [1, 0, 0, 1, 0]
    assert counted(second, "kernels_compiled") == [0, 0, 0, 0, 0]
    assert counted(first, "kernels_reused")[2] == 1
    # Known branches are found, with no recording.
    assert counted(first, "hits")[1] == counted(first, "hits")[4] == 1
    assert counted(first, "guard_failures")[3] >= 1


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        print(json.dumps(measure()))
    else:
        main()
