"""One backward pass: segments, and the cuts between them.

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

from .entries import operand, recorded
from .failure import fail
from .function import FunctionCall, FunctionOutput, Gathered
from .history import GradFn
from .modes import no_grad
from .piecewise import pull_back, versions_of
from .planning import find_plan
from .segments import reachable, require_unfreed, require_version
from .storage import touch, version
from .templates import pullback
from .variable import Variable

__all__ = ["RecordedWalk", "Walk"]


class Walk:
    """One backward pass: cotangents that wait for their turn.

    Attributes:
        leaves: leaf and gradient, by id, in the order in which they were reached.
        waiting: cut and cotangent so far, by id.
        seen: the entries that were passed, to be freed.
        wanted: gradients of cuts that somebody asks for, by id; None until known.
        leading: the entries that lead to something that is asked for, by id; None if
            all do.
    """

    def __init__(self) -> None:
        self.leaves: dict[int, tuple[Variable, Any]] = {}
        self.waiting: dict[int, tuple[GradFn, Any]] = {}
        self.seen: list[GradFn] = []
        self.wanted: dict[int, Any] = {}
        self.leading: set[int] | None = None
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
        segment, plan = find_plan(roots, tuple([ct is not None for ct in cts]))
        found: Sequence[Any]
        if any(plan.used[i] for i in segment.changed):
            found = pull_back(segment, cts)
        else:
            found = plan.run(segment, [ct for ct in cts if ct is not None])
        self.seen += segment.order
        leaves = self.leaves
        for target, ct in zip(segment.wrt, found, strict=True):
            if type(target) is Variable and id(target) not in leaves:
                leaves[id(target)] = target, ct
            else:
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
            if self.leading is None or key in self.leading:
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
            require_unfreed(fn)
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
        extra = x.extra
        if extra is None:
            extra = x.more()
        grad = extra.grad
        if grad is None:
            # A copy: two operands of a sum have the same cotangent, one array.
            extra.grad = Variable(np.array(ct))
        elif grad.fn is not None:
            extra.grad = Variable(np.asarray(grad.value + ct))
        else:
            touch(grad)
            value = grad.known
            if extra.request == "write":
                value[...] = ct
            else:
                np.add(value, ct, value)

    def finish(self) -> None:
        """Give the leaves their gradients."""
        for leaf, ct in reversed(self.leaves.values()):
            extra = leaf.more()
            if extra.hooks:
                ct = self.hooked(extra.hooks.values(), ct)
            self.store(leaf, ct)

    def free(self, roots: Sequence[Any]) -> None:
        """Let no further pass through the history that this one took.

        The roots forget it.  Other entries keep what their values are computed from,
        for as long as somebody holds them.
        """
        for fn in self.seen:
            fn.freed = True
            if type(fn) is FunctionCall:
                fn.free()
        for root in roots:
            if isinstance(root, GradFn):
                root.compute()
                root.forget()


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
            elif fn.template is not None:
                self.operands(fn)  # none of them was changed
                self.values[id(fn)] = fn.value

    def operands(self, fn: GradFn) -> list[Any]:
        """The values that a call was given."""
        found = []
        for arg, seen in zip(fn.args, versions_of(fn), strict=True):
            if isinstance(arg, GradFn):
                found.append(self.values[id(arg)])
            else:
                if type(arg) is Variable:
                    require_version(arg, seen)
                found.append(np.asarray(arg.value)[()])
        return found + [np.float64(number) for number in fn.numbers]

    def pull(self, fn: GradFn, ct: Any) -> None:
        if isinstance(fn, FunctionOutput):
            super().pull(fn, ct)
            return
        if isinstance(fn, FunctionCall):
            self.go(*fn.pull(ct, recorded=True))
            return
        assert fn.template is not None
        active = tuple([is_active(arg) for arg in fn.args])
        given = self.operands(fn)
        values = [*given[: len(fn.args)], ct.value[()], *given[len(fn.args) :]]
        held = operand(ct)
        args = (*fn.args, held)
        versions = (*versions_of(fn), version(held) if type(held) is Variable else 0)
        templates = pullback(fn.template, active)
        for arg, template in zip(fn.args, templates, strict=True):
            if template is None:
                continue
            value = template.evaluate(values)
            label = f"{fn.label}Backward0"
            made = recorded(value, template, args, versions, 1, label, fn.numbers)
            self.add(arg, made)

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
    return bool(arg.level)


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


def checked_gradient(answer: Any, shape: tuple[int, ...], who: str) -> Variable:
    """What a user's function gave as a gradient, of the shape it has to have."""
    if isinstance(answer, Variable):
        given = answer
    else:
        array = np.asarray(answer)
        if array.dtype.kind not in "biuf":
            raise fail(
                f"{who} a {type(answer).__name__} as a gradient",
                "Return an array of the shape of the gradient, or None",
            )
        given = Variable(array)
    if given.shape != shape:
        raise fail(
            f"{who} a gradient of shape {list(given.shape)} for one of shape "
            f"{list(shape)}",
            "Return a gradient of the same shape, or None",
        )
    return given
