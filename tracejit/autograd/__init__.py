"""The define-by-run face: arrays that remember how they were made.

Example:
    >>> import numpy as np
    >>> from tracejit import autograd
    >>> x = autograd.array(np.arange(4.0), requires_grad=True)
    >>> y = 2 * np.dot(x, x)
    >>> y
    array(28., grad_fn=<MulBackward0>)
    >>> y.backward()
    >>> x.grad
    array([ 0.,  4.,  8., 12.])
"""

from . import operators as operators
from .draw import draw
from .engine import backward, grad
from .expression import Expression, var
from .function import Function
from .modes import enable_grad, is_grad_enabled, is_recording, no_grad, pause, record
from .numerical import forward_grad, numerical_grad
from .planning import Stats, clear, plans, stats
from .steps import Steps, steps
from .variable import Variable, array

__all__ = [
    "Expression",
    "Function",
    "Stats",
    "Steps",
    "Variable",
    "array",
    "backward",
    "clear",
    "draw",
    "enable_grad",
    "forward_grad",
    "grad",
    "is_grad_enabled",
    "is_recording",
    "no_grad",
    "numerical_grad",
    "pause",
    "plans",
    "record",
    "stats",
    "steps",
    "var",
]
