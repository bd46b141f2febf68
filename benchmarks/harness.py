"""Runs the contestants of a workload side by side, and makes tables of the outcome.

Contestants take turns (A B C A B C ...), so that a slow second of the machine hits all
of them, and a ratio is the median over rounds of ratios *within* a round. Before
timing, every contestant's value and gradient are compared with the hand-written ones.
"""

import gc
import itertools
import os
import statistics
import traceback
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import optree

from benchmarks import contestants
from benchmarks.workload import HAND

#: Calls that last longer, in seconds, need no warm caches to be told apart, and no
#: more rounds than fit into `PATIENCE`.
SLOW = 0.5
PATIENCE = 5.0


@dataclass
class Outcome:
    """The samples of one workload: label -> seconds a call, one figure a round.

    `first` has the seconds of each contestant's first call.
    """

    workload: object
    samples: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    first: dict = field(default_factory=dict)

    def seconds(self, label):
        """Median time of a call, or None if the contestant did not run."""
        return statistics.median(self.samples[label]) if label in self.samples else None

    def ratio(self, label, base=HAND):
        """Median over rounds of the time of `label` as a multiple of `base`."""
        if label not in self.samples or base not in self.samples:
            return None
        # A slow contestant sits out the later rounds.
        pairs = zip(self.samples[label], self.samples[base], strict=False)
        return statistics.median(time / reference for time, reference in pairs)

    def best_hand(self):
        """The label of the fastest hand-written version that ran, or None."""
        ran = [label for label in self.workload.hand if label in self.samples]
        return min(ran, key=self.seconds, default=None)

    def met(self):
        """Whether tracejit reached the target; None if it did not run."""
        if "tracejit" in self.failures:
            return False
        ratio, limit = self.ratio("tracejit"), self.workload.limit
        if ratio is None:
            return None
        in_time = limit is None or self.seconds("tracejit") <= limit
        return ratio <= self.workload.target and in_time


def run(workload, labels, *, rounds, sample_seconds):
    """Time the contestants `labels` on one workload.

    Args:
        workload: the `Workload`.
        labels: whom to time, `HAND` first; what the workload lacks is left out.
        rounds: samples for each contestant.
        sample_seconds: repeat a call within a sample until it lasts this long.

    Returns:
        The `Outcome`. A contestant that raises, or whose answer is wrong, has a text
        in `failures` and no samples.
    """
    outcome = Outcome(workload)
    arguments = workload.data()
    calls, reference = {}, None
    for label in labels:
        if not contestants.takes_part(label, workload):
            continue
        try:
            call = contestants.make(label, workload, arguments)
            start = perf_counter()
            answer = call(*arguments)
            outcome.first[label] = perf_counter() - start
            if label == HAND:
                # A hand-written kernel reuses its output: keep a copy.
                reference = optree.tree_map(np.copy, answer)
            check(answer, reference, workload.tolerance)
        except Exception:
            outcome.failures[label] = traceback.format_exc()
        else:
            calls[label] = call
    _sample(outcome, calls, arguments, rounds, sample_seconds)
    return outcome


def check(answer, reference, tolerance):
    """Raise ValueError unless two answers agree.

    A gradient array may differ by `tolerance` times its largest element.
    """
    leaves, structure = optree.tree_flatten(answer)
    expected, expected_structure = optree.tree_flatten(reference)
    if len(leaves) != len(expected):
        raise ValueError(f"answer is {structure}, expected {expected_structure}")
    for index, (leaf, right) in enumerate(zip(leaves, expected, strict=True)):
        if np.shape(leaf) != np.shape(right):
            raise ValueError(
                f"leaf {index} has shape {np.shape(leaf)}, expected {np.shape(right)}"
            )
        error = np.max(np.abs(np.asarray(leaf) - right)) / np.max(np.abs(right))
        if not error <= tolerance:
            raise ValueError(
                f"leaf {index} of (value, gradient) differs from the hand-written "
                f"one by {error:.1e} of its largest element, allowed {tolerance:.0e}"
            )


def _sample(outcome, calls, arguments, rounds, sample_seconds):
    """Let the contestants take turns, the slow ones in fewer rounds."""
    numbers = {
        label: _calls_in(sample_seconds, call, arguments)
        for label, call in calls.items()
    }
    outcome.samples = {label: [] for label in calls}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for label, call in calls.items():
                samples = outcome.samples[label]
                if numbers[label] is None:
                    if sum(samples) < PATIENCE:
                        samples.append(_time(call, arguments, 1))
                    continue
                # Untimed: nobody pays for the caches that the one before left behind.
                call(*arguments)
                samples.append(_time(call, arguments, numbers[label]))
    finally:
        if collecting:
            gc.enable()


def _calls_in(seconds, call, arguments):
    """How many calls last at least `seconds`; None if one lasts longer than `SLOW`."""
    # The first calls compile, the fast path too; they must not count as slow calls.
    for _ in range(3):
        if _time(call, arguments, 1) > SLOW:
            return None
    number = 1
    while (once := _time(call, arguments, number)) * number < seconds:
        number = max(2 * number, int(1.1 * seconds / once))
    return number


def _time(call, arguments, number):
    """Seconds a call, over `number` calls."""
    repetitions = itertools.repeat(None, number)
    start = perf_counter()
    for _ in repetitions:
        call(*arguments)
    return (perf_counter() - start) / number


def duration(seconds):
    """A time with its unit and three digits: `4.13 µs`."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def rows(outcomes, labels):
    """The table as lists of texts, titles first.

    Args:
        outcomes: of `run`.
        labels: the contestants that get a column, in order, `tracejit` among them.
    """
    titles = [contestants.TITLES.get(label, label) for label in labels]
    table = [["workload", *titles, "ratio", "to best", "target", ""]]
    for outcome in outcomes:
        workload = outcome.workload
        ratios = [
            _times(outcome.ratio("tracejit", base))
            for base in (HAND, outcome.best_hand())
        ]
        goal = f"≤ {workload.target}"
        if workload.limit is not None:
            goal += f", < {duration(workload.limit)}"
        cells = [_cell(outcome, label) for label in labels]
        mark = {None: "", True: "met", False: "missed"}[outcome.met()]
        table.append([workload.name, *cells, *ratios, goal, mark])
    return table


def first_rows(outcomes, labels):
    """A table of first calls, of the workloads that are loops; lists of texts."""
    labels = [label for label in labels if label in contestants.TITLES]
    titles = [contestants.TITLES[label] for label in labels]
    table = [["first call", *titles, "target", ""]]
    for outcome in outcomes:
        if outcome.workload.scan is None or "tracejit" not in outcome.first:
            continue
        cells = [duration(outcome.first.get(label)) for label in labels]
        limit = outcome.workload.first_limit
        goal, mark = "", ""
        if limit is not None:
            goal = f"< {duration(limit)}"
            mark = "met" if outcome.first["tracejit"] < limit else "missed"
        table.append([outcome.workload.name, *cells, goal, mark])
    return table if len(table) > 1 else []


def _times(ratio):
    return "" if ratio is None else f"{ratio:.2f}"


def _cell(outcome, label):
    if label in outcome.failures:
        error = outcome.failures[label].strip().splitlines()[-1].split(":")[0]
        return error.rpartition(".")[2]
    return duration(outcome.seconds(label))


def plain(table):
    """A table of texts, in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = [_line(row, widths).rstrip() for row in table]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _line(row, widths):
    first, *others = row
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join(cells)


def markdown(table):
    """The same table in Markdown, figures to the right."""
    first, *others = table
    rule = ["---", *["---:"] * (len(first) - 1)]
    escaped = [[cell.replace("*", r"\*") for cell in row] for row in others]
    return "\n".join(f"| {' | '.join(row)} |" for row in (first, rule, *escaped))


def settings():
    """One line on processor, threads, versions, and what else the machine is doing.

    The load is that of the minute before, so ask before the first workload runs.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from llvmlite.binding import get_host_cpu_name

    versions = []
    for package in ("numpy", "scipy", "numba", "jax", "torch", "autograd"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    threads = os.environ.get("NUMBA_NUM_THREADS", "all")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{get_host_cpu_name()}, {os.cpu_count()} cores, threads used: {threads}, "
        f"load before the run: {load} (0 is idle); "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )
