"""Which Python loops become loops of a kernel, and what another trip count costs.

* a `for` loop over a number of steps: another number is recorded, and reuses the kernel
* Newton's iteration, a `while` on a traced value: the gradient goes through the steps
* a loop with an `if` on traced values: each sequence of branches is a path

`stats()` counts recordings and kernels, `explain()` says why each recording was made,
and `tape()` shows the loops.

    python examples/newton_and_paths.py
"""

import numpy as np
from numpy.testing import assert_allclose

from tracejit import value_and_grad


def logistic_map(r, steps):
    """The population after some generations."""
    x = 0.3
    for _ in range(steps):
        x = r * x * (1.0 - x)
    return x


def lambert(a):
    """The x with x * exp(x) = a, by Newton's iteration."""
    x = 4.0
    step = 1.0
    while np.abs(step) > 1e-12:
        power = np.exp(x)
        step = (x * power - a) / (power * (x + 1.0))
        x = x - step
    return x


def bouncing(x, kicks):
    """A walk with a wall at zero: a branch in every step."""
    for kick in kicks:
        x = x + kick
        if x < 0.0:
            x = -0.5 * x
    return x


def tell(title, function):
    """Print the counters, and the loops of the tape."""
    stats = function.stats()
    print(
        f"  {title}: {stats.traces} recordings, {stats.kernels_compiled} compiled, "
        f"{stats.kernels_reused} reused"
    )


def loops(tape):
    """The trip counts of a tape's loops."""
    return [i.params["trip"] for i in tape.instrs if i.prim.name == "loop"]


def several_counts():
    """The same kernel for any number of steps."""
    print("for _ in range(steps)")
    graded = value_and_grad(logistic_map)
    for steps in (400, 1_000, 5_000):
        value, slope = graded(2.8, steps)
        assert_allclose(value, logistic_map(2.8, steps), rtol=1e-12)
        print(f"  {steps:5} steps  x = {value:.6f}  dx/dr = {slope:9.6f}")
        # One loop forward, one backward: the tape does not grow with the steps.  The
        # first step is in front of them, because 0.3 is a Python number.
        assert loops(graded.tape(2.8, steps)) == [steps - 1, steps - 1]
    tell("400, 1,000 and 5,000 steps", graded)
    assert graded.stats().traces == 3
    # Fewer steps would be recorded one by one, and because of that first step be rolled
    # another way: a second kernel for short loops.
    assert graded.stats().kernels_compiled == 1
    # The fixed point is 1 - 1/r, and so its derivative is 1/r**2.
    assert_allclose(slope, 1 / 2.8**2, rtol=1e-9)


def newton():
    """The gradient of an iteration with a test for its end."""
    print("\nwhile np.abs(step) > 1e-12")
    graded = value_and_grad(lambert)
    for a in (0.5, 2.0, 2.1, 50.0, 0.5, 2.0):
        value, slope = graded(a)
        print(f"  a = {a:5.2f}  x = {value:.12f}  dx/da = {slope:.12f}")
        assert_allclose(value * np.exp(value), a)
        assert_allclose(slope, value / (a * (1 + value)), rtol=1e-9)
    tell("six inputs", graded)
    print("  " + graded.explain().replace("\n", "\n  "))
    # Whatever is recorded: every input was answered rightly, by few kernels.
    assert graded.stats().traces <= 4


def walls():
    """Branches in a loop: the right answer for each sequence."""
    print("\nfor kick in kicks: ... if x < 0.0")
    graded = value_and_grad(bouncing)
    random = np.random.default_rng(0)
    for _ in range(3):
        kicks = random.normal(size=12)
        value, slope = graded(1.0, kicks)
        assert_allclose(value, bouncing(1.0, kicks))
        bounces = round(np.log2(abs(1 / slope)))
        print(f"  x = {value:7.4f}  after {bounces} bounces, dx/dx0 = {slope}")
    tell("three sequences of kicks", graded)


def main():
    """Run the three."""
    several_counts()
    newton()
    walls()


if __name__ == "__main__":
    main()
