"""What a guard expects is a parameter: paths of equal structure share a kernel."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit

pytestmark = pytest.mark.compiles


def test_branches_of_equal_structure_share_one_kernel():
    @tracejit.jit
    def scaled(x):
        if np.sum(x) > 0:
            return x * 2
        return x * 3

    x = np.ones(50)
    for _ in range(4):
        np.testing.assert_array_equal(scaled(x), 2 * x)
        np.testing.assert_array_equal(scaled(-x), -3 * x)
    assert scaled.stats().traces == 2
    assert scaled.stats().kernels_reused >= 1
    assert len(scaled.kernels()) == 1
