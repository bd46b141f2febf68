"""`backward()` and `grad()`: from the roots of a history to gradients.

    roots ── segment: one kernel ──► leaves
                  │
                  └─────────────────► cuts: hooks, wanted gradients, Functions
                                        └── next segment ──► ...

Usually a history is one segment.  An entry with a hook, a `Function`, or one whose own
gradient is wanted is a cut: the kernel of the segment in front of it gives its
cotangent, the user's Python code may change that, and the next segment starts from
there.  Cuts are taken in the reverse order of recording, so that all contributions to
one are known when its turn comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import AutogradError
from .calls import operand, recorded
from .function import FunctionCall, FunctionOutput, Gathered
from .history import GradFn
from .modes import enable_grad, no_grad
from .plans import Segment, find_plan, reachable, require_version
from .templates import pullback
from .variable import Variable, fail, touch, version

__all__ = ["backward", "grad"]


class Walk:
    """One backward pass: cotangents that wait for their turn.

    Attributes:
        leaves: leaf and gradient, by id, in the order in which they were reached.
        waiting: cut and cotangent so far, by id.
        seen: the entries that were passed, to be freed.
        wanted: gradients of cuts that somebody asks for, by id; None until known.
    """

    def __init__(self) -> None:
        self.leaves: dict[int, tuple[Variable, Any]] = {}
        self.waiting: dict[int, tuple[GradFn, Any]] = {}
        self.seen: list[GradFn] = []
        self.wanted: dict[int, Any] = {}
        self._queue: list[tuple[int, int]] = []

    def add(self, target: Any, ct: Any) -> None:
        """Add a contribution to the cotangent of a leaf or a cut."""
        known: dict[int, Any] = self.leaves
        if isinstance(target, GradFn):
            known = self.waiting
            if id(target) not in known:
                heapq.heappush(self._queue, (-target.serial, id(target)))
        old = known.get(id(target))
        known[id(target)] = target, ct if old is None else old[1] + ct

    def go(self, targets: Sequence[Any], cts: Sequence[Any]) -> None:
        """Pull cotangents of entries and leaves back; a cotangent None is ones."""
        inner: dict[int, tuple[GradFn, Any]] = {}
        for target, ct in zip(targets, cts, strict=True):
            if not isinstance(target, GradFn) or self.is_cut(target):
                self.add(target, ct)
            elif id(target) in inner:
                # `a, b = backward([y, y])`: one root.
                inner[id(target)] = target, inner[id(target)][1] + ct
            else:
                inner[id(target)] = target, ct
        if inner:
            entries = list(inner.values())
            self.segment([fn for fn, _ in entries], [ct for _, ct in entries])

    def is_cut(self, fn: GradFn) -> bool:
        return fn.extra is not None

    def segment(self, roots: Sequence[GradFn], cts: Sequence[Any]) -> None:
        """Run the kernel between these entries and what is behind them."""
        segment = Segment(roots)
        plan = find_plan(segment, [ct is not None for ct in cts])
        found = plan.run(segment, [ct for ct in cts if ct is not None])
        self.seen += segment.order
        for target, ct in zip(segment.wrt, found, strict=True):
            self.add(target, ct)

    def run(self) -> None:
        """Take the cuts, the latest first."""
        while self._queue:
            _, key = heapq.heappop(self._queue)
            fn, ct = self.waiting.pop(key)
            if fn.extra is not None:
                ct = self.visit(fn, ct)
            if key in self.wanted:
                self.wanted[key] = ct
            self.pull(fn, ct)

    def visit(self, fn: GradFn, ct: Any) -> Any:
        """Hooks, and a variable that retains its gradient."""
        assert fn.extra is not None
        ct = self.hooked(fn.extra.hooks.values(), ct)
        keeper = None if fn.extra.retains is None else fn.extra.retains()
        if keeper is not None:
            self.store(keeper, ct)
        return ct

    def pull(self, fn: GradFn, ct: Any) -> None:
        """Go on behind a cut."""
        if isinstance(fn, FunctionOutput):
            count = len(fn.call.outputs)
            parts = [ct if i == fn.index else None for i in range(count)]
            self.add(fn.call, Gathered(parts))
        elif isinstance(fn, FunctionCall):
            self.seen.append(fn)
            targets, cts = fn.pull(ct, recorded=False)
            self.go(targets, cts)
        else:
            self.segment([fn], [ct])

    def hooked(self, hooks: Iterable[Any], ct: Any) -> Any:
        """The gradient after the hooks, each of which may replace it."""
        for hook in list(hooks):
            with no_grad():
                answer = hook(Variable(np.asarray(ct)))
            if answer is not None:
                checked = checked_gradient(answer, np.shape(ct), "a hook returned")
                ct = np.asarray(value_of(checked), ct.dtype)
        return ct

    def store(self, x: Variable, ct: Any) -> None:
        """Add to `x.grad`, in the memory that there is."""
        extra = x.more()
        grad = extra.grad
        if grad is None:
            extra.grad = Variable(np.asarray(ct))
        elif grad.fn is not None:
            extra.grad = Variable(np.asarray(grad.value + ct))
        else:
            grad.value = np.asarray(grad.value)
            if extra.request == "write":
                np.copyto(grad.value, ct)
            else:
                np.add(grad.value, ct, out=grad.value)
            touch(grad)

    def finish(self) -> None:
        """Give the leaves their gradients."""
        for leaf, ct in reversed(self.leaves.values()):
            extra = leaf.more()
            if extra.hooks:
                ct = self.hooked(extra.hooks.values(), ct)
            self.store(leaf, ct)

    def free(self) -> None:
        """Let go of the history that was passed."""
        for fn in self.seen:
            fn.free()


class RecordedWalk(Walk):
    """A backward pass whose operations are recorded: cotangents are variables.

    Every entry is a cut here, and is pulled back by its template's own reverse rule, so
    that the history of a gradient names the values that it depends on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, Any] = {}

    def is_cut(self, fn: GradFn) -> bool:
        return True

    def add(self, target: Any, ct: Any) -> None:
        if ct is not None:
            super().add(target, ct)

    def go(self, targets: Sequence[Any], cts: Sequence[Any]) -> None:
        for target, ct in zip(targets, cts, strict=True):
            self.add(target, ct)

    def compute(self, roots: Sequence[GradFn]) -> None:
        """The values of all entries behind the roots, by NumPy."""
        order = reachable(roots, through=True)
        self.seen += order
        for fn in order:
            if fn.extra is not None and fn.extra.value is not None:
                holder = fn.extra.value
                require_version(holder, fn.extra.version)
                self.values[id(fn)] = holder.value
            elif fn.template is not None and not isinstance(fn, FunctionCall):
                given = [
                    self.value(arg, seen)
                    for arg, seen in zip(fn.args, fn.versions, strict=True)
                ]
                self.values[id(fn)] = fn.template.evaluate(given)

    def value(self, arg: Any, seen: int) -> Any:
        if isinstance(arg, GradFn):
            return self.values[id(arg)]
        if type(arg) is Variable:
            require_version(arg, seen)
            return np.asarray(arg.value)[()]
        return np.asarray(arg)[()]

    def pull(self, fn: GradFn, ct: Any) -> None:
        if isinstance(fn, FunctionOutput):
            super().pull(fn, ct)
            return
        if isinstance(fn, FunctionCall):
            self.go(*fn.pull(ct, recorded=True))
            return
        assert fn.template is not None
        active = tuple([is_active(arg) for arg in fn.args])
        values = [
            *[self.value(a, n) for a, n in zip(fn.args, fn.versions, strict=True)],
            ct.value[()],
        ]
        held = operand(ct)
        args = (*fn.args, held)
        versions = (*fn.versions, version(held) if type(held) is Variable else 0)
        templates = pullback(fn.template, active)
        for arg, template in zip(fn.args, templates, strict=True):
            if template is None:
                continue
            value = template.evaluate(values)
            label = f"{fn.label}Backward0"
            self.add(arg, recorded(value, template, args, versions, 1, label))

    def hooked(self, hooks: Iterable[Any], ct: Any) -> Any:
        for hook in list(hooks):
            answer = hook(ct)
            if answer is not None:
                ct = checked_gradient(answer, ct.shape, "a hook returned")
        return ct

    def store(self, x: Variable, ct: Any) -> None:
        extra = x.more()
        replaces = extra.grad is None or extra.request == "write"
        extra.grad = ct if replaces else extra.grad + ct


def is_active(arg: Any) -> bool:
    """Whether a derivative flows to an argument of an entry."""
    return isinstance(arg, GradFn) or (type(arg) is Variable and arg.level > 0)


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def checked_gradient(answer: Any, shape: tuple[int, ...], who: str) -> Variable:
    """What a user's function gave as a gradient, of the shape it has to have."""
    given = answer if isinstance(answer, Variable) else Variable(np.asarray(answer))
    if given.shape != shape:
        raise fail(
            f"{who} a gradient of shape {list(given.shape)} for one of shape "
            f"{list(shape)}",
            "Return a gradient of the same shape, or None",
        )
    return given


# --- roots ----------------------------------------------------------------------------


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
        walk.free()


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
    roots, cts = _roots(outputs, grad_outputs, "grad()", create_graph)
    walk = RecordedWalk() if create_graph else Walk()
    # Entries whose gradient is asked for are cuts for the time of this call.
    opened = [x for x in chosen if x.fn is not None and x.fn.extra is None]
    for x in chosen:
        if x.fn is not None:
            walk.wanted[id(x.fn)] = None
            x.cut()
    try:
        _walk(roots, cts, create_graph, walk)
    finally:
        for x in opened:
            if x.fn is not None:
                x.fn.extra = None
    found = [_found(walk, x, allow_unused) for x in chosen]
    if not (create_graph if retain_graph is None else retain_graph):
        walk.free()
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
    return ct if isinstance(ct, Variable) else Variable(np.asarray(ct))


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
    backward(self, gradient, retain_graph, create_graph)


Variable.backward = _backward  # type: ignore[method-assign]
