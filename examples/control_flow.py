"""A gradient through `while` and `if`, with the real branch taken every time.

The number of doublings and the sign of the result depend on the input.  Each new path
through the code is recorded once; after that it is found again.

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


def path(a):
    """Return what decides the path of f: the number of doublings and the sign."""
    doublings = int(np.ceil(np.log2(1000 / abs(a))))
    return doublings, "positive" if a > 0 else "negative"


def main():
    """Compare the gradient with f(a) / a over many inputs, and tell the paths."""
    f_and_slope = value_and_grad(f)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=60) * rng.choice([1, 10, 100], size=60)

    first_seen, recorded, found = {}, 0, 0
    for number, a in enumerate(inputs):
        traces_before = f_and_slope.stats().traces
        value, slope = f_and_slope(a)

        # f only multiplies, so between two branch points it is a straight line
        # through the origin.
        assert value == f(a)
        assert_allclose(slope, f(a) / a, rtol=1e-12)

        is_new = f_and_slope.stats().traces > traces_before
        recorded, found = recorded + is_new, found + (not is_new)
        assert is_new == (path(a) not in first_seen)
        first_seen.setdefault(path(a), number)

        doublings, sign = path(a)
        note = "recorded" if is_new else f"found again, as call {first_seen[path(a)]}"
        if number < 12 or is_new:
            print(f"call {number:2}  a = {a:8.3f}  {doublings:2} × 2, {sign}  {note}")

    stats = f_and_slope.stats()
    print(f"\n{len(inputs)} calls: {recorded} paths recorded, {found} found again")
    assert recorded == stats.traces == len(first_seen)
    assert found > recorded
    assert stats.signatures == 1

    print(f"\nWhy each was recorded:\n\n{f_and_slope.explain()}")
    assert "control_flow.py" in f_and_slope.explain()
    assert "if b.sum() > 0" in f_and_slope.explain()
    assert "norm(b) < 1000" in f_and_slope.explain()

    print(f"\n{stats}")


if __name__ == "__main__":
    main()
