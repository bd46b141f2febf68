"""The transforms."""

from .control import cond, fori_loop, scan, while_loop
from .custom import custom_jvp, custom_vjp
from .gradients import elementwise_grad, grad, jit, value_and_grad
from .jacobians import hessian, jacfwd, jacobian, jacrev
from .primitives import defjvp, defvjp, primitive
from .products import hvp, jvp, vjp
from .rules import checkpoint, detach, stop_gradient
from .transform import Transform
from .vmap import vmap

__all__ = [
    "Transform",
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
