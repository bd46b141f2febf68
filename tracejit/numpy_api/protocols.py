"""NumPy's dispatch protocols for classes of other packages.

A tracer speaks the protocols itself.  What stands for an array elsewhere, such as a
variable of `autograd`, asks for them here, so that only `tracer` and this package
depend on how NumPy dispatches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Remembering", "serve"]


class Remembering:
    """Base of what stands for an array and remembers how it was made, by itself."""

    __slots__ = ()

    requires_grad: Any

    def detach(self) -> Any:
        """The same values without memory."""
        raise NotImplementedError


def serve(kind: type, ufunc: Callable[..., Any], function: Callable[..., Any]) -> None:
    """Make NumPy hand over its calls on instances of `kind`.

    Args:
        kind: the class.
        ufunc: `ufunc(self, ufunc, method, *inputs, **kwargs)`.
        function: `function(self, func, types, args, kwargs)`.
    """
    kind.__array_ufunc__ = ufunc  # type: ignore[attr-defined]
    kind.__array_function__ = function  # type: ignore[attr-defined]
