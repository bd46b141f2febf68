"""Times tracejit against hand-written Numba, JAX, PyTorch and HIPS/autograd."""
