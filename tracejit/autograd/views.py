"""Views of recorded memory: how they follow when it is written to.

    y = x * 2            root
    z = y[1:]            view of y by the step [1:]
    z += 1               y has a new entry, "write": what y was, with z + 1 at [1:]
    y.sum()              starts from there
    z.sum()              z is taken from y anew: y[1:]

Every view knows the variable that it is a view of in the end, its root, and the steps
from there.  A recorded write through any of them gives the root a new entry; the others
are behind then, which their version shows, and are taken from the root again when they
are used next.  A write that is not recorded (in `no_grad`, through `detach()`) leaves
the root behind as well, so what is recorded is refused from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..tracer import user_frame
from .failure import fail
from .history import GradFn
from .storage import State, require_fresh, version
from .templates import Template, record_call

__all__ = ["Step", "View", "note_view", "root_of"]


class Step(NamedTuple):
    """A call that gives a view of its first argument.

    Attributes:
        serve: the call on tracers.
        key: equal for equal calls on arrays of equal kind.
    """

    serve: Callable[..., Any]
    args: tuple
    kwargs: dict[str, Any]
    key: tuple

    def __call__(self, x: Any) -> Any:
        return self.serve(x, *self.args, **self.kwargs)


class View:
    """What a variable is a view of.

    Attributes:
        root: the variable that the memory belongs to.
        steps: the calls that lead from there; None if they are not known.
    """

    __slots__ = ("root", "steps")

    def __init__(self, root: State, steps: tuple[Step, ...] | None) -> None:
        self.root = root
        self.steps = steps

    def apply(self, x: Any) -> Any:
        """The view of something in the place of the root."""
        for step in self.known_steps():
            x = step(x)
        return x

    def known_steps(self) -> tuple[Step, ...]:
        """The steps; raises if they are not known."""
        if self.steps is None:
            raise fail(
                "an array changed in place has a view that was not taken by an index, "
                "reshape or transpose",
                "Use a copy of the view, or change the array before",
            )
        return self.steps

    def key(self) -> tuple:
        """Equal for equal steps from roots of equal kind."""
        return self.root.kind, *[step.key for step in self.known_steps()]

    def renew(self, x: State) -> None:
        """Give `x` the history that the root has now."""
        root = self.root
        if root.fn is not None and root.storage is not None:
            require_fresh(root)
        assert root.storage is not None
        if root.level:
            template = self._template()
            arg = root if root.fn is None else root.fn
            seen = (version(root),) if root.fn is None else ()
            frame = user_frame()
            where = (frame.f_code, frame.f_lasti)
            label = "AsStrided"
            if self.steps:
                label = x.fn.label if x.fn is not None else "View"
            x.fn = GradFn(template, (arg,), seen, where, label, (), x.known)
            root.storage.add_alias(x.fn)
        else:
            x.fn = None
        x.level = root.level
        x.seen = root.storage.count

    def _template(self) -> Template:
        key = self.key()
        found = _templates.get(key)
        if found is None:
            value = np.asarray(self.root.value)
            made = record_call(
                "view", self.apply, [value], [True], lambda given: (tuple(given), {})
            )
            if len(_templates) >= _MOST:
                _templates.clear()
            found = _templates[key] = made.result.as_view()
        return found


_templates: dict[tuple, Template] = {}
_MOST = 4096


def root_of(x: State) -> State:
    """The variable whose memory `x` sees; `x` itself if it is no view."""
    view = None if x.extra is None else x.extra.view
    return x if view is None else view.root


def note_view(out: Any, x: State, step: Step | None) -> None:
    """Note that `out` was taken from `x`, whose memory it shares."""
    above = None if x.extra is None else x.extra.view
    if above is None:
        root, steps = x, () if step else None
    else:
        root, steps = above.root, above.steps
    known = None if step is None or steps is None else (*steps, step)
    out.more().view = View(root, known)
    assert out.storage is not None
    out.storage.add_view(out)
