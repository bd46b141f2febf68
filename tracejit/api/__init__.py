"""The transforms."""

from .gradients import elementwise_grad, grad, jit, value_and_grad
from .transform import Transform

__all__ = ["Transform", "elementwise_grad", "grad", "jit", "value_and_grad"]
