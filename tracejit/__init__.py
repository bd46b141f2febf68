"""Compiled gradients of plain NumPy functions.

Example:
    >>> import numpy as np
    >>> from tracejit import value_and_grad
    >>> @value_and_grad
    ... def loss(x):
    ...     return np.sum(x**2)
    >>> loss(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
"""

from . import autograd as autograd
from . import numpy_api as numpy_api
from . import ops as ops
from .api import (
    checkpoint,
    cond,
    custom_jvp,
    custom_vjp,
    defjvp,
    defvjp,
    detach,
    elementwise_grad,
    fori_loop,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    primitive,
    scan,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
    while_loop,
)
from .errors import (
    ArgumentError,
    AutogradError,
    CheckError,
    ConcretizationError,
    DifferentiationError,
    RandomDrawError,
    TracejitError,
    UnknownPathError,
    UnsupportedError,
)

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "AutogradError",
    "CheckError",
    "ConcretizationError",
    "DifferentiationError",
    "RandomDrawError",
    "TracejitError",
    "UnknownPathError",
    "UnsupportedError",
    "autograd",
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "defjvp",
    "defvjp",
    "detach",
    "elementwise_grad",
    "fori_loop",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "primitive",
    "scan",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
