"""Equal singular values and eigenvalues: they have derivatives, vectors do not."""

import numpy as np
import pytest

from tracejit import grad

EYE = np.eye(3)


@pytest.mark.compiles
def test_values_have_derivatives():
    nuclear = grad(lambda a: np.sum(np.linalg.svdvals(a)))(EYE)
    np.testing.assert_allclose(nuclear, EYE, atol=1e-14)
    trace = grad(lambda a: np.sum(np.linalg.eigvalsh(a)))(EYE)
    np.testing.assert_allclose(trace, EYE, atol=1e-14)


@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore")
def test_vectors_have_none():
    found = grad(lambda a: np.linalg.svd(a)[0][0, 1])(EYE)
    assert not np.isfinite(found).all()
    found = grad(lambda a: np.linalg.eigh(a)[1][0, 1])(EYE)
    assert not np.isfinite(found).all()
