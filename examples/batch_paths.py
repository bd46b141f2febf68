"""An option that may be exercised early, over 100,000 simulated price paths.

The holder of an American put exercises when the price first falls below a boundary. The
function prices one path and is written for one path, with an `if` for the decision;
`vmap` runs it for all of them, each with its own decisions, and `value_and_grad` gives
delta, vega and rho beside the price.

    python examples/batch_paths.py
"""

import time

import numpy as np
from numpy.testing import assert_allclose

from tracejit import value_and_grad, vmap

PATHS, STEPS, YEARS = 100_000, 50, 1.0
STRIKE, BOUNDARY = 100.0, 85.0
STEP = YEARS / STEPS


def discounted_payoff(market, shocks):
    """What one path pays, in today's money."""
    spot, volatility, rate = market
    price, discount = spot, 1.0
    paid, alive = 0.0 * spot, 1.0 + 0.0 * spot
    for shock in shocks:
        drift = (rate - 0.5 * volatility**2) * STEP
        price = price * np.exp(drift + volatility * np.sqrt(STEP) * shock)
        discount = discount * np.exp(-rate * STEP)
        if price < BOUNDARY:
            paid = paid + alive * discount * (STRIKE - price)
            alive = 0.0 * alive
    if price < STRIKE:
        paid = paid + alive * discount * (STRIKE - price)
    return paid


def exercise_step(market, shocks):
    """When each path is exercised, by plain NumPy: STEPS if never."""
    spot, volatility, rate = market
    drift = (rate - 0.5 * volatility**2) * STEP
    steps = drift + volatility * np.sqrt(STEP) * shocks
    below = spot * np.exp(np.cumsum(steps, axis=1)) < BOUNDARY
    return np.where(below.any(axis=1), below.argmax(axis=1), STEPS)


def main():
    market = np.array([100.0, 0.3, 0.03])
    shocks = np.random.default_rng(1).normal(size=(PATHS, STEPS))
    price_all = vmap(value_and_grad(discounted_payoff), in_axes=(None, 0))

    start = time.perf_counter()
    values, gradients = price_all(market, shocks)
    first = time.perf_counter() - start
    start = time.perf_counter()
    values, gradients = price_all(market, shocks)
    again = time.perf_counter() - start

    stats = price_all.stats()
    error = values.std() / np.sqrt(PATHS)
    print(f"price {values.mean():.3f} +- {error:.3f}")
    for name, sensitivity in zip(
        ("delta", "vega", "rho"), gradients.mean(axis=0), strict=True
    ):
        print(f"{name:5} {sensitivity:8.3f}")
    print(
        f"{PATHS:,} paths, {stats.traces} recordings; first call {first:.2f} s, "
        f"then {again:.3f} s"
    )

    # Paths decide differently, yet a handful of recordings knows them all.
    assert stats.traces <= 8
    when = exercise_step(market, shocks)
    assert len(np.unique(when)) > STEPS / 2
    assert 0.2 < np.mean(when < STEPS) < 0.8

    # Differences, where a small change of the market changes no decision.
    some = shocks[:300]
    for k, h in enumerate((1e-4, 1e-6, 1e-6)):
        up, down = market.copy(), market.copy()
        up[k] += h
        down[k] -= h
        same = exercise_step(up, some) == exercise_step(down, some)
        difference = (price_all(up, some)[0] - price_all(down, some)[0]) / (2 * h)
        assert same.mean() > 0.95
        assert_allclose(
            gradients[:300, k][same], difference[same], rtol=1e-4, atol=1e-5
        )
    print("gradients agree with differences")


if __name__ == "__main__":
    main()
