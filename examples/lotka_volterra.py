"""Hares and lynxes: a differential equation in a Python loop, fitted to a record.

The Hudson's Bay Company counted pelts from 1900 to 1920.  Lotka's and Volterra's
equations have four rates; Runge-Kutta steps in two nested `for` loops carry the state
from year to year, and SciPy's optimiser gets the gradient of the misfit.  The loops
become loops in one kernel: a finer step is the same kernel with other trip counts.

    python examples/lotka_volterra.py          plot goes to examples/output

Data: E. P. Odum, "Fundamentals of Ecology" (Saunders, 1953), as tabulated by J. M.
Mahaffy.  The state of 1900 is taken as counted, so only the rates are fitted.
"""

from pathlib import Path
from time import perf_counter

import matplotlib
import numpy as np
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from tracejit import value_and_grad

matplotlib.use("Agg")

from matplotlib import pyplot

HERE = Path(__file__).parent


def slope(state, rates):
    """How fast hares and lynxes increase, a year."""
    hares, lynxes = state
    births, hunting, deaths, growth = rates
    return np.array(
        [hares * (births - hunting * lynxes), lynxes * (growth * hares - deaths)]
    )


def simulate(rates, state, years, steps):
    """The states at the beginning of each year, `steps` Runge-Kutta steps a year."""
    h = 1.0 / steps
    states = [state]
    for _ in range(years - 1):
        for _ in range(steps):
            k1 = slope(state, rates)
            k2 = slope(state + 0.5 * h * k1, rates)
            k3 = slope(state + 0.5 * h * k2, rates)
            k4 = slope(state + h * k3, rates)
            state = state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        states.append(state)
    return np.array(states)


def misfit(log_rates, pelts, steps):
    """Sum of squares of what the logarithms of the counts differ by."""
    states = simulate(np.exp(log_rates), pelts[0], len(pelts), steps)
    return np.sum((np.log(states) - np.log(pelts)) ** 2)


def timed(function, *args, repetitions=1):
    """The result, and the seconds that one call takes."""
    start = perf_counter()
    for _ in range(repetitions):
        result = function(*args)
    return result, (perf_counter() - start) / repetitions


def differences(log_rates, pelts, steps, h=1e-6):
    """Central differences: eight runs of the NumPy function."""
    columns = h * np.eye(len(log_rates))
    return np.array(
        [
            (misfit(log_rates + e, pelts, steps) - misfit(log_rates - e, pelts, steps))
            / (2 * h)
            for e in columns
        ]
    )


def plot(years, pelts, rates, path):
    """Counts as dots, the fitted model as lines."""
    fine = simulate(rates, pelts[0], len(pelts), 50)
    _, axes = pyplot.subplots(figsize=(8, 4))
    for k, name in enumerate(("hares", "lynxes")):
        axes.plot(years, pelts[:, k], "o", color=f"C{k}")
        axes.plot(years, fine[:, k], color=f"C{k}", label=name)
    axes.set(xlabel="year", ylabel="pelts, thousands", title="Hudson's Bay Company")
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    pyplot.savefig(path, dpi=120, bbox_inches="tight")


def main():
    """Fit, compare with finite differences, tell what was recorded and compiled."""
    table = np.loadtxt(HERE / "lynx_hare.csv", delimiter=",", skiprows=1)
    years, pelts = table[:, 0], table[:, 1:]
    start = np.log([0.5, 0.03, 0.9, 0.03])
    graded = value_and_grad(misfit)

    (value, gradient), first = timed(graded, start, pelts, 10)
    assert_allclose(value, misfit(start, pelts, 10))
    exact, numpy_time = timed(differences, start, pelts, 10)
    assert_allclose(gradient, exact, rtol=1e-5, atol=1e-5)
    _, ours = timed(graded, start, pelts, 10, repetitions=100)
    print(f"first call           {1e3 * first:9.1f} ms")
    print(f"value and gradient   {1e6 * ours:9.1f} µs")
    print(f"finite differences   {1e6 * numpy_time:9.1f} µs, 8 runs of NumPy")
    assert ours < numpy_time

    fit = minimize(graded, start, args=(pelts, 10), jac=True, method="BFGS")
    rates = np.exp(fit.x)
    print(f"\nfit in {fit.nfev} calls: misfit {fit.fun:.3f}, before {value:.3f}")
    names = ("births", "hunting", "deaths", "growth")
    for name, rate in zip(names, rates, strict=True):
        print(f"  {name:8}{rate:7.4f} a year")
    assert fit.fun < value
    assert np.abs(graded(fit.x, pelts, 10)[1]).max() < 1e-3
    assert_allclose(rates, [0.4375, 0.0223, 1.0312, 0.0343], rtol=5e-3)

    print("\nsteps a year   steps     value     recordings   kernels")
    for steps in (10, 30, 50):
        value, _ = graded(fit.x, pelts, steps)
        stats = graded.stats()
        print(
            f"{steps:12}{steps * (len(pelts) - 1):8}{value:10.4f}"
            f"{stats.traces:13}{stats.kernels_compiled:10}"
        )
        assert_allclose(value, fit.fun, rtol=1e-3)
    # Each number of steps was recorded. Of the longer loops some rounds were left out,
    # which may give them a kernel of their own; it serves all of them.
    assert stats.traces == 3
    assert stats.kernels_compiled <= 2

    path = HERE / "output" / "lotka_volterra.png"
    plot(years, pelts, rates, path)
    print(f"\nplot: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
