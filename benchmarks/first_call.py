"""One fresh process that times its own start; `benchmarks.latency` runs it.

`python -m benchmarks.first_call compile` makes Numba warm by compiling something else;
`... load` makes it warm by loading something else from Numba's disk cache. Either way
tracejit's disk cache is where `TRACEJIT_CACHE_DIR` says. Prints seconds as JSON.
"""

import json
import sys
from time import perf_counter

import numpy as np


def main(way):
    seconds = {}

    def lap(name, action):
        start = perf_counter()
        answer = action()
        seconds[name] = perf_counter() - start
        return answer

    lap("numba", lambda: start_numba(way))
    value_and_grad = lap("import", import_tracejit)

    random = np.random.default_rng(0)
    features, targets = random.normal(size=(50, 4)), random.normal(size=50)
    weights = np.ones(4)
    graded = value_and_grad(loss)
    lap("first", lambda: graded(weights, features, targets))
    lap("second", lambda: graded(weights, features, targets))
    lap("new shape", lambda: graded(weights, features[:40], targets[:40]))
    lap("new branch, same code", lambda: graded(-weights, features, targets))
    lap("new branch, new code", lambda: graded(9 * weights, features, targets))
    lap("old branch", lambda: graded(-weights, features, targets))
    print(json.dumps({"seconds": seconds, "stats": numbers(graded.stats())}))


def loss(weights, features, targets):
    """Least squares with a penalty; three branches, two of them of equal structure."""
    residuals = features @ weights - targets
    size = np.sum(weights)
    if size > 20.0:
        return np.mean(np.sqrt(1 + residuals**2)) + np.log(np.sum(np.exp(weights)))
    strength = 0.1 if size > 0.0 else 0.2
    return np.mean(residuals**2) + strength * np.sum(weights**2)


def start_numba(way):
    # Here, because this import is what is timed.
    from benchmarks import numba_start

    function = numba_start.compiled if way == "compile" else numba_start.cached
    function(np.ones(3))


def import_tracejit():
    from tracejit import value_and_grad

    return value_and_grad


def numbers(stats):
    """The counters of `stats()`, as a dict that JSON takes."""
    names = ("traces", "kernels_compiled", "kernels_reused", "hits")
    return {name: getattr(stats, name) for name in names}


if __name__ == "__main__":
    main(sys.argv[1])
