"""The workloads, one module per family, in the order of the table."""

from benchmarks.workloads import (
    black_scholes,
    density,
    dot,
    elementwise,
    gaussian_process,
    heat,
    logistic,
    network,
    ode,
    rnn,
    rosenbrock,
    spectral,
)

WORKLOADS = (
    *dot.WORKLOADS,
    *rosenbrock.WORKLOADS,
    *elementwise.WORKLOADS,
    *black_scholes.WORKLOADS,
    *logistic.WORKLOADS,
    *density.WORKLOADS,
    *network.WORKLOADS,
    *gaussian_process.WORKLOADS,
    *spectral.WORKLOADS,
    *ode.WORKLOADS,
    *heat.WORKLOADS,
    *rnn.WORKLOADS,
)
