"""`backward()` and `grad()`: what is asked for, checked, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import AutogradError
from .failure import fail
from .history import GradFn
from .modes import enable_grad
from .segments import leading
from .storage import renewed
from .templates import KINDS
from .variable import Variable
from .walk import RecordedWalk, Walk

__all__ = ["backward", "grad"]


def _roots(
    outputs: Any, gradients: Any, verb: str, recorded: bool
) -> tuple[list[Variable], list[Any]]:
    """The outputs as a list, and a checked cotangent (or None) for each."""
    several = isinstance(outputs, (list, tuple))
    roots = list(outputs) if several else [outputs]
    given = list(gradients) if isinstance(gradients, (list, tuple)) else [gradients]
    if gradients is None:
        given = [None] * len(roots)
    if len(given) != len(roots):
        raise fail(
            f"{verb} got {len(roots)} outputs and {len(given)} gradients",
            "Give one gradient, or None, for each output",
        )
    for i, (root, ct) in enumerate(zip(roots, given, strict=True)):
        checked = _cotangent(root, ct, verb)
        # The gradient of a recorded pass depends on the given cotangent, too.
        keep = recorded and isinstance(ct, Variable) and ct.dtype == root.dtype
        given[i] = ct if keep else checked
    return roots, given


def _cotangent(root: Any, ct: Any, verb: str) -> Any:
    if not isinstance(root, Variable) or not root.level:
        raise _no_history(root, verb)
    renewed(root)
    if root.dtype.kind == "c":
        raise fail(
            f"{verb} of an array of complex numbers",
            "Take its real part, imaginary part or absolute value",
        )
    if ct is None:
        if root.size != 1 and root.level == 1:
            raise fail(
                f"{verb} of an array of shape {list(root.shape)}: only a scalar has a "
                "gradient without further words",
                "Call y.sum().backward(), or give gradient= an array of the shape of y"
                if verb == "backward()"
                else "Use y.sum(), or give grad_outputs= an array of the shape of y",
            )
        return None
    value = ct.value if isinstance(ct, Variable) else np.asarray(ct)
    if value.shape != root.shape:
        raise fail(
            f"{verb} got a gradient of shape {list(value.shape)} for an output of "
            f"shape {list(root.shape)}",
            "Give the gradient the shape of the output",
        )
    return np.asarray(value, root.dtype)[()]


def _no_history(root: Any, verb: str) -> AutogradError:
    if not isinstance(root, Variable):
        return fail(
            f"{verb} of a {type(root).__name__}",
            "Compute it from arrays made by autograd.array",
        )
    return fail(
        f"{verb} of an array that does not require a gradient",
        "Compute it from an array with requires_grad=True, outside no_grad(); or "
        "after attach_grad(), inside record()",
    )


def _walk(
    roots: Sequence[Variable], cts: Sequence[Any], create_graph: bool, walk: Walk
) -> None:
    """Go from the roots to the leaves."""
    targets = [root if root.fn is None else root.fn for root in roots]
    if not create_graph:
        cuts = [walk.is_cut(t) if isinstance(t, GradFn) else True for t in targets]
        twice = len(set(map(id, targets))) < len(targets)
        for i, (root, ct) in enumerate(zip(roots, cts, strict=True)):
            if ct is None and (cuts[i] or twice):
                cts[i] = np.ones(root.shape, root.dtype)[()]  # type: ignore[index]
        walk.go(targets, cts)
        walk.run()
        return
    given = [
        ct if isinstance(ct, Variable) else Variable(_ones_like(root, ct))
        for root, ct in zip(roots, cts, strict=True)
    ]
    assert isinstance(walk, RecordedWalk)
    with enable_grad():
        walk.compute([t for t in targets if isinstance(t, GradFn)])
        walk.go(targets, given)
        walk.run()


def _ones_like(root: Variable, ct: Any) -> Any:
    return np.ones(root.shape, root.dtype) if ct is None else np.asarray(ct)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Accumulate the gradients of `tensors` into `.grad` of the leaves.

    Args:
        tensors: a variable, or several, whose gradients are added up.
        grad_tensors: a cotangent for each that is no scalar.
        retain_graph: whether the history is kept, for another call; by default if
            `create_graph`.
        create_graph: whether the gradients are recorded themselves.

    Raises:
        AutogradError: no history, a history that was freed, a variable that was changed
            in place, no gradient for a non-scalar.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array([1.0, 2.0], requires_grad=True)
        >>> autograd.backward([x.sum(), (x * x).sum()])
        >>> x.grad
        array([3., 5.])
    """
    roots, cts = _roots(tensors, grad_tensors, "backward()", create_graph)
    walk = RecordedWalk() if create_graph else Walk()
    _walk(roots, cts, create_graph, walk)
    if create_graph:
        with enable_grad():
            walk.finish()
    else:
        walk.finish()
    if not (create_graph if retain_graph is None else retain_graph):
        walk.free([root.fn for root in roots])


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Variable | None, ...]:
    """The gradients of `outputs` with respect to `inputs`; `.grad` stays as it is.

    Args:
        outputs: a variable, or several, whose gradients are added up.
        inputs: a variable, or several: leaves or recorded results.
        grad_outputs: a cotangent for each output that is no scalar.
        retain_graph: whether the history is kept, for another call; by default if
            `create_graph`.
        create_graph: whether the gradients are recorded, for higher derivatives.
        allow_unused: whether an input may have no part in the outputs; its gradient is
            None then.

    Returns:
        A tuple, one gradient per input.

    Raises:
        AutogradError: as `backward`; or an input has no part in the outputs.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array(3.0, requires_grad=True)
        >>> (slope,) = autograd.grad(x**3, x, create_graph=True)
        >>> slope.item(), autograd.grad(slope, x)[0].item()
        (27.0, 18.0)
    """
    chosen = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    for x in chosen:
        if not isinstance(x, Variable) or not x.level:
            raise fail(
                "grad() with respect to what does not require a gradient",
                "Make it by autograd.array(..., requires_grad=True)",
            )
        renewed(x)
    roots, cts = _roots(outputs, grad_outputs, "grad()", create_graph)
    walk = RecordedWalk() if create_graph else Walk()
    # Entries whose gradient is asked for are cuts for the time of this call.
    opened = [x for x in chosen if x.fn is not None and x.fn.extra is None]
    for x in chosen:
        if x.fn is not None:
            walk.wanted[id(x.fn)] = None
            x.cut()
    if walk.wanted:
        asked = {id(x if x.fn is None else x.fn) for x in chosen}
        walk.leading = leading([root.fn for root in roots], asked)
    try:
        _walk(roots, cts, create_graph, walk)
    finally:
        for x in opened:
            if x.fn is not None:
                x.fn.extra = None
    found = [_found(walk, x, allow_unused) for x in chosen]
    if not (create_graph if retain_graph is None else retain_graph):
        walk.free([root.fn for root in roots])
    return tuple(found)


def _found(walk: Walk, x: Variable, allow_unused: bool) -> Variable | None:
    if x.fn is not None:
        ct = walk.wanted[id(x.fn)]
    else:
        _, ct = walk.leaves.get(id(x), (x, None))
        if ct is not None and x.extra is not None:
            ct = walk.hooked(x.extra.hooks.values(), ct)
    if ct is None:
        if allow_unused:
            return None
        raise fail(
            f"grad() with respect to an array of shape {list(x.shape)} that has no "
            "part in the outputs",
            "Leave it away, or set allow_unused=True to get None for it",
        )
    return ct if isinstance(ct, Variable) else Variable(np.array(ct))


def _backward(
    self: Variable,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Accumulate the gradient of this variable into `.grad` of the leaves.

    Args:
        gradient: the cotangent, of the shape of this variable; needed if that is no
            scalar.
        retain_graph, create_graph: see `autograd.backward`.
    """
    fn = self.fn
    if gradient is None and not create_graph and type(fn) is GradFn:
        aval = KINDS[self.kind]
        plain = fn.extra is None and self.storage is None
        if not aval.shape and aval.dtype.kind == "f" and plain:
            # A loss: nothing to ask, one segment.
            walk = Walk()
            walk.segment((fn,), (None,))
            walk.run()
            walk.finish()
            if not retain_graph:
                walk.free((fn,))
            return
    backward(self, gradient, retain_graph, create_graph)


Variable.backward = _backward  # type: ignore[method-assign]
