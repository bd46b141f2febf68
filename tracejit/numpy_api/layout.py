"""How an array lies in the memory of another: the steps that lead to it.

NumPy's views are an address, a shape and strides.  Where these fall into the axes of
the owner, the view is a slice of it with its axes in some order; else they may fall
into the axes of the owner seen with another shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tracer import refuse

__all__ = ["steps_to"]

Step = tuple[str, dict[str, Any]]


def steps_to(view: np.ndarray, owner: np.ndarray) -> tuple[Step, ...]:
    """The steps from `owner`, which is C-contiguous, to `view`; no step if it is it."""
    if view.dtype != owner.dtype:
        refuse(
            "writing a traced value into an array that is seen with another dtype, too"
        )
    size = view.dtype.itemsize
    offset, odd = divmod(_address(view) - _address(owner), size)
    strides = [s // size for s in view.strides]
    if not odd and not any(s % size for s in view.strides):
        for shape in (owner.shape, _shape_of(strides, owner.size)):
            steps = _steps(shape, view.shape, strides, offset) if shape else None
            if steps is not None:
                found = [] if shape == owner.shape else [("reshape", {"shape": shape})]
                return (*found, *steps)
    return refuse(
        "writing a traced value into an array that is seen with strides of its own"
    )


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _shape_of(strides: list[int], size: int) -> tuple[int, ...]:
    """The shape in which C order has these strides, perhaps further ones; or ()."""
    wanted = sorted({abs(s) for s in strides if s} | {1}, reverse=True)
    shape = []
    for whole, part in zip([size, *wanted], wanted, strict=False):
        if whole % part:
            return ()
        shape.append(whole // part)
    return tuple(shape)


def _steps(
    whole: tuple[int, ...], shape: tuple[int, ...], strides: list[int], offset: int
) -> tuple[Step, ...] | None:
    """A slice, a permutation, axes of length 1; None if these do not lead there."""
    steps: list[Step] = []
    if 0 in shape:
        if whole == shape:
            return ()
        nothing = (0,) * len(whole)
        params = {"start": nothing, "size": nothing, "step": (1,) * len(whole)}
        return ("slice", params), ("reshape", {"shape": shape})
    order = [math.prod(whole[k + 1 :]) for k in range(len(whole))]
    start, rest = [], offset
    for n, s in zip(whole, order, strict=True):
        start.append(rest // s % n if n else 0)
    size, step = [1] * len(whole), [1] * len(whole)
    axes = []
    for n, t in zip(shape, strides, strict=True):
        if n == 1:
            continue
        axis = next(
            (k for k, s in enumerate(order) if s <= abs(t) < s * whole[k]), None
        )
        if axis is None or axis in axes or t % order[axis]:
            return None
        pace = t // order[axis]
        if not 0 <= start[axis] + pace * (n - 1) < whole[axis]:
            return None
        axes.append(axis)
        size[axis], step[axis] = n, pace
    if (start, size, step) != ([0] * len(whole), [*whole], [1] * len(whole)):
        params = {"start": tuple(start), "size": tuple(size), "step": tuple(step)}
        steps.append(("slice", params))
    perm = (*axes, *[k for k in range(len(whole)) if k not in axes])
    if perm != tuple(range(len(perm))):
        steps.append(("transpose", {"perm": perm}))
    if tuple([size[k] for k in perm]) != shape:
        steps.append(("reshape", {"shape": shape}))
    return tuple(steps)
