"""A heat equation as engineers write it: buffers, slices, boundaries in place.

A plate is heated at one edge.  The solver is plain NumPy and writes into arrays; `grad`
gives the derivative of a measurement with respect to a parameter and to the whole
initial field, and the conductivity is found from the measurement.

Run it with `python examples/in_place.py`.
"""

import numpy as np

from tracejit import grad, jit, value_and_grad

NX, NY, STEPS, DT = 24, 16, 60, 0.2


def plate(kappa, start):
    """The temperature after STEPS explicit steps; kappa: conductivity, grid units."""
    u = np.zeros((NY, NX))
    u[1:-1, 1:-1] = start
    flux = np.empty((NY - 2, NX - 2))
    inner = u[1:-1, 1:-1]
    for _ in range(STEPS):
        flux[:] = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        flux -= 4.0 * inner
        inner += kappa * DT * flux
        u[:, 0] = 1.0  # heated edge
        u[:, -1] = u[:, -2]  # insulated edges
        u[0, :] = u[1, :]
        u[-1, :] = u[-2, :]
    return u


def probes(kappa, start):
    """What is measured: temperatures along the middle of the plate."""
    return plate(kappa, start)[NY // 2, ::4]


def main():
    rng = np.random.default_rng(1)
    start = 0.1 * rng.random((NY - 2, NX - 2))

    # The same numbers as NumPy, and derivatives as differences have them.
    compiled = jit(plate)
    np.testing.assert_allclose(compiled(0.6, start), plate(0.6, start), rtol=1e-12)

    slope = grad(lambda kappa: probes(kappa, start).sum())
    h = 1e-5
    change = probes(0.6 + h, start).sum() - probes(0.6 - h, start).sum()
    print(f"d(probes)/d(conductivity): {slope(0.6):.8f}")
    np.testing.assert_allclose(slope(0.6), change / (2 * h), rtol=1e-7)

    field = grad(lambda start: probes(0.6, start).sum())
    gradient = field(start)
    direction = rng.normal(size=start.shape)
    ahead = probes(0.6, start + h * direction).sum()
    behind = probes(0.6, start - h * direction).sum()
    print(f"gradient to the initial field: {gradient.shape}, sum {gradient.sum():.6f}")
    np.testing.assert_allclose(
        np.sum(gradient * direction), (ahead - behind) / (2 * h), rtol=1e-6
    )

    # The conductivity from a measurement, by Newton steps on the misfit.
    truth = 0.85
    measured = probes(truth, start)
    misfit = value_and_grad(lambda k: np.sum((probes(k, start) - measured) ** 2))
    curvature = grad(lambda k: misfit(k)[1])
    kappa = np.float64(0.6)
    for _ in range(8):
        _, first = misfit(kappa)
        kappa -= first / abs(curvature(kappa))
    print(f"conductivity found: {kappa:.8f}, misfit {misfit(kappa)[0]:.1e}")
    assert abs(kappa - truth) < 1e-6

    # One trace and one kernel, with the time steps as loops in it.
    for function in (compiled, slope, field, misfit):
        assert function.stats().traces == 1, function.stats()
    loops = [i for i in compiled.tape(0.6, start).instrs if i.prim.name == "loop"]
    print(f"loops on the tape: {[i.params['trip'] for i in loops]}")
    assert len(loops) <= 2
    assert sum(i.params["trip"] for i in loops) >= STEPS - 4

    # A function that updates its argument does so compiled, too.
    @jit
    def relax(u):
        u[1:-1] += 0.25 * (u[2:] - 2.0 * u[1:-1] + u[:-2])

    rod = np.zeros(9)
    rod[0] = 1.0
    for _ in range(100):
        relax(rod)
    print("a rod, relaxed in place:", np.round(rod, 3))
    assert rod[1] > rod[4] > 0.0
    assert relax.stats().traces == 1


if __name__ == "__main__":
    main()
