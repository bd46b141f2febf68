"""Fit a differential equation to data, through the solver.

The Hudson Bay record of hares and lynxes, 1900-1920 (lynx_hare.csv), and Lotka and
Volterra's equations: four rates and the two populations at the beginning are fitted by
SciPy's optimiser. The loss goes through `solve_ivp` with its adaptive steps; its
gradient is that of the steps the solver took, all in one kernel.

    python examples/ode_fit.py
"""

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose
from scipy import integrate, optimize

from tracejit import value_and_grad
from tracejit.scipy.integrate import solve_ivp

TABLE = np.loadtxt(Path(__file__).parent / "lynx_hare.csv", delimiter=",", skiprows=1)


def slope(t, y, growth, hunting, death, feeding):
    hares, lynxes = y
    return np.stack(
        [
            growth * hares - hunting * hares * lynxes,
            feeding * hares * lynxes - death * lynxes,
        ]
    )


def predicted(log_parameters, years, solver=solve_ivp):
    """Populations in all years; parameters are positive, so logarithms are fitted."""
    p = np.exp(log_parameters)
    times = years - years[0]
    solution = solver(
        slope, (0.0, times[-1]), p[4:], t_eval=times, args=tuple(p[:4]),
        rtol=1e-8, atol=1e-8,
    )  # fmt: skip
    return solution.y


@value_and_grad
def loss(log_parameters, years, populations):
    ratio = np.log(predicted(log_parameters, years)) - np.log(populations)
    return np.mean(ratio**2)


def main():
    years, populations = TABLE[:, 0], TABLE[:, 1:].T
    start = np.log([0.5, 0.025, 0.8, 0.025, 30.0, 5.0])
    fit = optimize.minimize(
        loss, start, args=(years, populations), jac=True, method="BFGS"
    )
    growth, hunting, death, feeding, hares, lynxes = np.exp(fit.x)
    print(f"growth of hares {growth:.3f}, hunting {hunting:.4f}")
    print(f"death of lynxes {death:.3f}, feeding {feeding:.4f}")
    print(f"in {years[0]:.0f}: {hares:.1f} thousand hares, {lynxes:.1f} lynxes")
    print(f"mean squared log error {fit.fun:.4f} after {fit.nfev} calls")
    stats = loss.stats()
    print(f"{stats.traces} recording, {stats.kernels_compiled} kernel")

    # The solver takes another number of steps in every call; one kernel does them all.
    assert stats.traces == 1
    assert stats.kernels_compiled + stats.kernels_reused == 1
    assert fit.fun < 0.06

    # The gradient against differences, the solution against SciPy's own solver.
    gradient = loss(start, years, populations)[1]
    for k, step in enumerate(1e-5 * np.eye(6)):
        up, down = (loss(start + s, years, populations)[0] for s in (step, -step))
        assert_allclose(gradient[k], (up - down) / 2e-5, rtol=1e-3, atol=1e-6)
    theirs = predicted(fit.x, years, integrate.solve_ivp)
    assert_allclose(predicted(fit.x, years), theirs, rtol=1e-4)
    print("gradient and solution agree with differences and with SciPy")


if __name__ == "__main__":
    main()
