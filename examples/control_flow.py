"""A gradient through `while` and `if`, with the real branch taken every time.

The number of doublings and the sign of the result depend on the input.  The loop runs
inside the kernel, as often as the input asks for; each side of the `if` is a path of
its own, which is recorded once and found again after that.

Run it with `python examples/control_flow.py`.
"""

import numpy as np
from numpy.linalg import norm
from numpy.testing import assert_allclose

from tracejit import value_and_grad


def f(a):
    """Double `a` until its norm passes 1000; negative results are scaled by 100."""
    b = a * 2
    while norm(b) < 1000:
        b = b * 2
    c = b if b.sum() > 0 else 100 * b
    return c


def main():
    """Compare the gradient with f(a) / a over many inputs, and tell the paths."""
    f_and_slope = value_and_grad(f)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=60) * rng.choice([1, 10, 100], size=60)

    recorded = []
    for number, a in enumerate(inputs):
        traces_before = f_and_slope.stats().traces
        value, slope = f_and_slope(a)

        # f only multiplies, so between two branch points it is a straight line
        # through the origin.
        assert value == f(a)
        assert_allclose(slope, f(a) / a, rtol=1e-12)

        is_new = f_and_slope.stats().traces > traces_before
        if is_new:
            recorded.append(number)
        doublings = int(np.ceil(np.log2(1000 / abs(a))))
        if number < 12 or is_new:
            sign = "positive" if a > 0 else "negative"
            note = "recorded" if is_new else "found again"
            print(f"call {number:2}  a = {a:8.3f}  {doublings:2} × 2, {sign}  {note}")

    stats = f_and_slope.stats()
    found = len(inputs) - len(recorded)
    print(f"\n{len(inputs)} calls: {len(recorded)} paths recorded, {found} found again")
    assert stats.signatures == 1
    # Two signs, and perhaps inputs that need too few doublings to be a loop.
    assert 2 <= stats.traces == len(recorded) <= 6
    assert stats.hits >= found

    print(f"\nWhy each was recorded:\n\n{f_and_slope.explain()}")
    assert "control_flow.py" in f_and_slope.explain()
    assert "if b.sum() > 0" in f_and_slope.explain()

    print(f"\n{stats}")


if __name__ == "__main__":
    main()
