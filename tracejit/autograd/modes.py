"""What is recorded: everywhere, nowhere, or only inside `with record():`.

Each thread has a mode of its own.  A variable has a level, and an operation on it is
recorded if 0 < level <= mode:

    mode 0   `no_grad`, `pause`           level 0   constants
    mode 1   the default, `enable_grad`   level 1   `requires_grad=True`
    mode 2   `record`                     level 2   `attach_grad()`
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = [
    "LOCAL",
    "enable_grad",
    "is_grad_enabled",
    "is_recording",
    "no_grad",
    "pause",
    "record",
]


class _Local(threading.local):
    mode = 1


LOCAL = _Local()


class _Mode:
    """A context manager, and a decorator, that sets the mode of this thread."""

    __slots__ = ("_before",)

    mode: int

    def __init__(self) -> None:
        self._before: tuple = ()

    def __enter__(self) -> None:
        self._before = LOCAL.mode, self._before
        LOCAL.mode = self.mode

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOCAL.mode, self._before = self._before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_Mode):
    """Record nothing in this block (or function): `with autograd.no_grad():`.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array([1.0, 2.0], requires_grad=True)
        >>> with autograd.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    __slots__ = ()

    mode = 0


class enable_grad(_Mode):
    """Record again, inside `no_grad`.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array([1.0, 2.0], requires_grad=True)
        >>> with autograd.no_grad(), autograd.enable_grad():
        ...     y = x * 2
        >>> y.requires_grad
        True
    """

    __slots__ = ()

    mode = 1


class pause(no_grad):
    """Record nothing in this block, inside `record`: the same as `no_grad`."""

    __slots__ = ()


class record(_Mode):
    """Record what happens to arrays with `attach_grad()` in this block.

    What is computed from them outside of such a block is not recorded.  `backward()`
    of what was computed inside starts at the sum if it is no scalar.

    Example:
        >>> import numpy as np
        >>> from tracejit import autograd
        >>> x = autograd.array(np.arange(4.0))
        >>> x.attach_grad()
        >>> with autograd.record():
        ...     y = 2 * np.dot(x, x)
        >>> y.backward()
        >>> x.grad
        array([ 0.,  4.,  8., 12.])
    """

    __slots__ = ()

    mode = 2


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread now."""
    return LOCAL.mode > 0


def is_recording() -> bool:
    """Whether this is inside `with record():`."""
    return LOCAL.mode == 2
