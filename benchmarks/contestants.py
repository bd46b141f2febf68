"""Who runs a workload: hand-written Numba, tracejit, and whichever peers are here.

Each contestant is made by `make(workload, arguments)`, which returns
`call(*arguments) -> (value, gradient)` on NumPy arrays, both ways.
"""

import importlib
import importlib.util
import subprocess
import sys
from functools import partial
from types import FunctionType

import numpy as np
import optree

from tracejit import value_and_grad

PEERS = ("jax", "scan", "torch", "autograd")
TITLES = {
    "tracejit": "tracejit",
    "jax": "JAX jit",
    "scan": "JAX scan",
    "torch": "PyTorch eager",
    "autograd": "HIPS/autograd",
}


#: JAX unrolls Python loops; it is given this many seconds to compile one
#: (`--unrolled`).
UNROLLED_SECONDS = 120


class TooSlow(Exception):
    """A contestant's first call took too long."""


#: Functions that JAX could not compile in time.
_too_slow = set()


def installed(name):
    """Whether the contestant `name` can run: its module could be imported."""
    module = "jax" if name == "scan" else name
    return importlib.util.find_spec(module) is not None


def takes_part(name, workload):
    """Whether this workload is one for the contestant `name`."""
    if name == "scan":
        return workload.scan is not None
    if name == "torch":
        return workload.torch is not None
    return name in TITLES or name in workload.hand


def make(name, workload, arguments):
    """The contestant `name` of `TITLES`, or the label of one of `workload.hand`."""
    if name in workload.hand:
        return workload.hand[name](*arguments)
    return _MAKERS[name](workload)


def make_peer(name, workload):
    """A peer's `call(*arguments) -> (value, gradient)`."""
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

    if workload.scan is not None:
        _try_unrolled(workload)
    function = rebound(workload.function, np=jax.numpy, special=jax.scipy.special)
    return _jitted(workload, function)


def _try_unrolled(workload):
    """Raise TooSlow if JAX cannot unroll and compile the loop in time.

    In a process of its own, because nothing else stops XLA. The workloads of one
    function come with their numbers of rounds growing: one that was too slow answers
    for the longer ones.
    """
    if workload.function in _too_slow:
        raise TooSlow(f"with fewer rounds not compiled in {UNROLLED_SECONDS} s")
    command = [sys.executable, "-m", "benchmarks.contestants", workload.name]
    try:
        subprocess.run(command, check=True, timeout=UNROLLED_SECONDS)
    except subprocess.TimeoutExpired:
        _too_slow.add(workload.function)
        raise TooSlow(f"not compiled in {UNROLLED_SECONDS} s") from None


def _make_scan(workload):
    import jax

    return _jitted(workload, partial(workload.scan, jax))


def _jitted(workload, function):
    import jax

    jax.config.update("jax_enable_x64", True)
    graded = jax.value_and_grad(function, argnums=workload.argnums)
    compiled = jax.jit(graded, static_argnums=workload.static)

    def call(*arguments):
        value, gradient = compiled(*arguments)
        return float(value), optree.tree_map(np.asarray, gradient)

    return call


def _make_torch(workload):
    import torch

    def _tensor(x):
        if isinstance(x, np.ndarray):
            return torch.from_numpy(x)
        return torch.tensor(x, dtype=torch.float64) if isinstance(x, float) else x

    indices = _indices(workload)

    def call(*arguments):
        tensors = list(optree.tree_map(_tensor, arguments))
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
    "scan": _make_scan,
    "torch": _make_torch,
    "autograd": _make_autograd,
}


def _indices(workload):
    numbers = workload.argnums
    return (numbers,) if isinstance(numbers, int) else numbers


def _unrolled(name):
    """What `_try_unrolled` starts: JAX's first call of one workload."""
    import jax
    import jax.scipy.special

    from benchmarks.workloads import WORKLOADS

    (workload,) = [w for w in WORKLOADS if w.name == name]
    function = rebound(workload.function, np=jax.numpy, special=jax.scipy.special)
    _jitted(workload, function)(*workload.data())


def _as_argnums(workload, gradients):
    """One gradient for an int `argnums`, a tuple for a tuple, as JAX answers."""
    return gradients[0] if isinstance(workload.argnums, int) else tuple(gradients)


if __name__ == "__main__":
    _unrolled(sys.argv[1])
