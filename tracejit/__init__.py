"""Compiled gradients of plain NumPy functions."""

from . import numpy_api as _numpy_api
from . import ops as _ops
from .api import elementwise_grad, grad, jit, value_and_grad

__all__ = ["elementwise_grad", "grad", "jit", "value_and_grad"]
