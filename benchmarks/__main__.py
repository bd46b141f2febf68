"""`python -m benchmarks`: see `--help`."""

import argparse
import os
import sys
from pathlib import Path


def main():
    options = parse()
    # Libraries read these once, when they are imported, so nothing that imports
    # NumPy may be imported before this line.
    set_threads(options.threads)

    from benchmarks import (
        batched,
        contestants,
        define_by_run,
        harness,
        inside,
        latency,
        leak,
        long_loops,
        page,
        paths,
        recording,
        rolling,
    )

    contestants.UNROLLED_SECONDS = options.unrolled
    settings = harness.settings()
    print(settings)
    labels = contestants_of(options)
    outcomes = run_workloads(options, labels)
    show(harness.rows(outcomes, labels) if outcomes else [])
    show(harness.first_rows(outcomes, labels))
    peers = [label for label in labels if label in contestants.PEERS]
    crowds = paths.measure(peers=peers) if options.paths else []
    show(paths.rows(crowds) if crowds else [])
    batches = batched.measure() if options.batched else []
    show(batched.rows(batches) if batches else [])
    borders = inside.measure() if options.inside else []
    show(inside.rows(borders) if borders else [])
    waits = latency.measure() if options.latency else []
    show(latency.rows(waits) if waits else [])
    loops = long_loops.measure() if options.long_loops else []
    show(long_loops.rows(loops) if loops else [])
    rolls = rolling.measure() if options.long_loops else []
    show(rolling.rows(rolls) if rolls else [])
    growths = leak.measure() if options.leak else []
    show(leak.rows(growths) if growths else [])
    costs = recording.measure() if options.recording else []
    show(recording.summary(costs) if costs else [])
    variables = define_by_run.measure() if options.define_by_run else []
    show(define_by_run.rows(variables) if variables else [])
    if options.markdown:
        text = page.render(
            outcomes,
            labels,
            crowds,
            batches,
            waits,
            growths,
            borders=borders,
            loops=loops,
            rolls=rolls,
            variables=variables,
            costs=costs,
            settings=settings,
            command=" ".join(["python -m benchmarks", *sys.argv[1:]]),
        )
        options.markdown.write_text(text, encoding="utf-8")


def show(table):
    from benchmarks.harness import plain

    if table:
        print("\n" + plain(table), flush=True)


def parse():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time value and gradient: hand-written Numba, tracejit, peers.",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="only workloads with TEXT in their name; may be given again",
    )
    parser.add_argument(
        "--peers", action="store_true", help="also JAX, PyTorch, HIPS/autograd"
    )
    parser.add_argument(
        "--unrolled",
        type=int,
        default=120,
        metavar="SECONDS",
        help="how long JAX may compile an unrolled loop (default: 120)",
    )
    parser.add_argument("--latency", action="store_true", help="time first calls too")
    parser.add_argument(
        "--paths", action="store_true", help="count recordings of loops with exits too"
    )
    parser.add_argument(
        "--batched", action="store_true", help="time vmap of a branching function too"
    )
    parser.add_argument(
        "--inside", action="store_true", help="time functions in Numba's and back too"
    )
    parser.add_argument(
        "--long-loops", action="store_true", help="time first calls of long loops too"
    )
    parser.add_argument(
        "--recording", action="store_true", help="time every NumPy call's recording too"
    )
    parser.add_argument("--leak", action="store_true", help="look for leaks too")
    parser.add_argument(
        "--define-by-run", action="store_true", help="time `tracejit.autograd` too"
    )
    parser.add_argument("--all", action="store_true", help="all of the above")
    parser.add_argument(
        "--threads", type=int, default=1, help="for every library (default: 1)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument(
        "--sample",
        type=float,
        default=0.005,
        metavar="SECONDS",
        help="shortest time of a sample (default: 0.005)",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the page FILE as well"
    )
    options = parser.parse_args()
    if options.all:
        options.recording = True
        options.peers = options.latency = options.leak = options.paths = True
        options.batched = options.inside = options.define_by_run = True
        options.long_loops = True
    return options


def set_threads(number):
    for library in ("OPENBLAS", "OMP", "MKL", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = str(number)
    os.environ["TRACEJIT_THREADS"] = str(number)
    # The size of the thread pool of JAX on processors.
    os.environ["NPROC"] = str(number)
    if number == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"


def contestants_of(options):
    """Labels of the columns: the hand-written ones, tracejit, peers that are here."""
    from benchmarks.contestants import PEERS, installed
    from benchmarks.workload import HAND, HAND_FRESH, HAND_VECTOR

    peers = [name for name in PEERS if options.peers and installed(name)]
    return [HAND, HAND_VECTOR, HAND_FRESH, "tracejit", *peers]


def run_workloads(options, labels):
    """Run the chosen workloads; tell on stderr where we are and what failed."""
    from benchmarks.harness import run
    from benchmarks.workloads import WORKLOADS

    outcomes = []
    for workload in WORKLOADS:
        if options.only and not any(text in workload.name for text in options.only):
            continue
        print(f"{workload.name} ...", file=sys.stderr, flush=True)
        outcome = run(
            workload, labels, rounds=options.rounds, sample_seconds=options.sample
        )
        for label, text in outcome.failures.items():
            print(f"{workload.name}: {label} failed\n{text}", file=sys.stderr)
        outcomes.append(outcome)
    return outcomes


if __name__ == "__main__":
    main()
