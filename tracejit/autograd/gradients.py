"""The gradient's side of a variable: who requires one, where it goes, hooks."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .failure import fail
from .history import Extra, GradFn
from .storage import State, renewed, require_fresh, version

__all__ = ["Differentiable", "Hook", "Leaf"]


class Leaf:
    """What few variables have: a gradient, hooks, and how gradients are stored."""

    __slots__ = ("grad", "hooks", "request", "retains", "twin", "view")

    def __init__(self) -> None:
        #: What it is a view of.
        self.view: Any = None
        #: The same memory as a constant, for histories.
        self.twin: Any = None
        self.grad: Any = None
        self.request = "add"
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.retains = False


class Hook:
    """A registered hook; `remove()` takes it away, once or more often.

    Also a context manager that removes it at the end.
    """

    _numbers = itertools.count()

    def __init__(self, hooks: dict[int, Callable[[Any], Any]], function: Any) -> None:
        self._hooks = hooks
        self._number = next(self._numbers)
        hooks[self._number] = function

    def remove(self) -> None:
        """Take the hook away."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Differentiable(State):
    """What a variable does that concerns its gradient."""

    __slots__ = ()

    if TYPE_CHECKING:

        def detach(self) -> Any: ...
        def detach_(self) -> Any: ...

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to it, or to what it was made of, exist."""
        return self.level > 0

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Say whether operations on this leaf are recorded from now on.

        Raises:
            AutogradError: it is no leaf, or has no float dtype.
        """
        if self.fn is not None and self.level:
            if requires_grad:
                return self
            raise fail(
                "requires_grad of a recorded result cannot be changed; only that of "
                "leaves can",
                "Use y.detach()",
            )
        if requires_grad:
            self._require_float()
        if self.extra is not None:
            self.extra.view = None  # from now on it is a leaf
        self.level = int(bool(requires_grad))
        return self

    def _require_float(self) -> None:
        if self.dtype.kind != "f":
            raise fail(
                f"only arrays of floats can require gradients, not {self.dtype}",
                "Convert it with .astype(float)",
            )
        self.known = np.asarray(self.value)  # a leaf is updated in place

    @property
    def is_leaf(self) -> bool:
        """Whether it is no recorded result."""
        return self.fn is None or not self.level

    @property
    def grad_fn(self) -> GradFn | None:
        """What made it; None for leaves."""
        if not self.level:
            return None
        renewed(self)
        return self.fn

    @property
    def grad(self) -> Any:
        """The accumulated gradient; None until the first `backward()`."""
        return None if self.extra is None else self.extra.grad

    @grad.setter
    def grad(self, new: Any) -> None:
        if new is not None:
            if not isinstance(new, Differentiable):
                raise TypeError(
                    f"grad is an array of tracejit.autograd or None, not {new!r}"
                )
            if new.shape != self.shape or new.dtype != self.dtype:
                raise fail(
                    f"a gradient of {new.dtype}{list(new.shape)} does not fit a "
                    f"variable of {self.dtype}{list(self.shape)}",
                    "Give it the shape and dtype of the variable",
                )
        self.more().grad = new

    def more(self) -> Leaf:
        """What few variables have, made when it is needed."""
        if self.extra is None:
            self.extra = Leaf()
        return self.extra

    def retain_grad(self) -> None:
        """Keep the gradient of this recorded result in `.grad`, as for leaves.

        Raises:
            AutogradError: it does not require a gradient.
        """
        if not self.level:
            raise fail(
                "retain_grad() of an array that does not require a gradient",
                "Compute it from an array with requires_grad=True",
            )
        if self.fn is not None:
            self.more().retains = True
            self.cut().retains = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad()` was called on this recorded result."""
        return self.fn is not None and self.extra is not None and self.extra.retains

    def cut(self) -> Extra:
        """Have the backward pass stop here, at the value of this moment."""
        assert self.fn is not None
        if self.dtype.kind == "c":
            raise fail(
                "the gradient of an array of complex numbers in between",
                "Ask for that of real and imaginary part, which are arrays of floats",
            )
        require_fresh(self)
        if self.fn.extra is None:
            self.fn.extra = Extra()
        extra = self.fn.extra
        if extra.value is None:
            extra.value = self.detach()
            extra.version = version(self)
        return extra

    def register_hook(self, hook: Callable[[Any], Any]) -> Hook:
        """Call `hook(gradient)` when the gradient of this variable is known.

        What it returns, unless None, takes the gradient's place.

        Returns:
            A handle with `remove()`.

        Raises:
            AutogradError: the variable does not require a gradient.
        """
        if not self.level:
            raise fail(
                "a hook on an array that does not require a gradient would never run",
                "Set requires_grad=True",
            )
        hooks = self.more().hooks if self.fn is None else self.cut().hooks
        return Hook(hooks, hook)

    def attach_grad(self, grad_req: str = "write") -> None:
        """Allocate a gradient of zeros; what `record()` sees is differentiated.

        Args:
            grad_req: `"write"`: each `backward()` overwrites the gradient; `"add"`: it
                is added; `"null"`: there is none.

        A recorded result becomes a leaf.
        """
        if grad_req not in ("write", "add", "null"):
            raise ValueError(f'grad_req is "write", "add" or "null", not {grad_req!r}')
        self.detach_()
        if grad_req == "null":
            self.extra = None
            return
        self._require_float()
        self.level = 2
        extra = self.more()
        extra.request = grad_req
        extra.grad = type(self)(np.zeros_like(self.value))
