"""Who runs a workload: hand-written Numba, tracejit, and whichever peers are here.

Each contestant is made by `make(workload, arguments)`, which returns
`call(*arguments) -> (value, gradient)` on NumPy arrays, both ways.
"""

import importlib
import importlib.util
from types import FunctionType

import numpy as np
import optree

from tracejit import value_and_grad

PEERS = ("jax", "torch", "autograd")
TITLES = {
    "tracejit": "tracejit",
    "jax": "JAX jit",
    "torch": "PyTorch eager",
    "autograd": "HIPS/autograd",
}


def installed(name):
    """Whether the top-level module `name` could be imported."""
    return importlib.util.find_spec(name) is not None


def make(name, workload, arguments):
    """The contestant `name` of `TITLES`, or the label of one of `workload.hand`."""
    if name in workload.hand:
        return workload.hand[name](*arguments)
    return _MAKERS[name](workload)


def rebound(function, **modules):
    """`function` and the helpers in its module, with other modules under their names.

    So JAX and autograd get the user's own source, with `np` meaning their NumPy.
    """
    scope = {**function.__globals__, **modules}

    def copy(original):
        return FunctionType(original.__code__, scope, original.__name__)

    for name, value in function.__globals__.items():
        if getattr(value, "__module__", None) == function.__module__ and isinstance(
            value, FunctionType
        ):
            scope[name] = copy(value)
    return copy(function)


def _make_tracejit(workload):
    return value_and_grad(workload.function, argnums=workload.argnums)


def _make_jax(workload):
    import jax
    import jax.scipy.special

    jax.config.update("jax_enable_x64", True)
    function = rebound(workload.function, np=jax.numpy, special=jax.scipy.special)
    compiled = jax.jit(jax.value_and_grad(function, argnums=workload.argnums))

    def call(*arguments):
        value, gradient = compiled(*arguments)
        return float(value), optree.tree_map(np.asarray, gradient)

    return call


def _make_torch(workload):
    import torch

    indices = _indices(workload)

    def call(*arguments):
        tensors = list(optree.tree_map(torch.from_numpy, arguments))
        for i in indices:
            leaves, structure = optree.tree_flatten(tensors[i])
            leaves = [leaf.detach().requires_grad_() for leaf in leaves]
            tensors[i] = optree.tree_unflatten(structure, leaves)
        leaves, structure = optree.tree_flatten([tensors[i] for i in indices])
        value = workload.torch(torch, *tensors)
        gradients = [ct.numpy() for ct in torch.autograd.grad(value, leaves)]
        gradient = optree.tree_unflatten(structure, gradients)
        return value.item(), _as_argnums(workload, gradient)

    return call


def _make_autograd(workload):
    import autograd
    import autograd.numpy
    import autograd.scipy.special

    function = rebound(
        workload.function, np=autograd.numpy, special=autograd.scipy.special
    )
    return autograd.value_and_grad(function, workload.argnums)


_MAKERS = {
    "tracejit": _make_tracejit,
    "jax": _make_jax,
    "torch": _make_torch,
    "autograd": _make_autograd,
}


def _indices(workload):
    numbers = workload.argnums
    return (numbers,) if isinstance(numbers, int) else numbers


def _as_argnums(workload, gradients):
    """One gradient for an int `argnums`, a tuple for a tuple, as JAX answers."""
    return gradients[0] if isinstance(workload.argnums, int) else tuple(gradients)
