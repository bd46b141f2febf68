"""The variable: an array that remembers how it was made.

It holds an ndarray (or NumPy scalar), its level (see `modes`), and the entry of the
history that made it, if it was recorded.  Operators, methods and NumPy's functions are
added by `operators`, `backward` by `engine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tracer import check_dtype
from .failure import fail
from .gradients import Differentiable
from .storage import shared_storage, touch
from .templates import KINDS, kind_of

__all__ = ["Variable", "array", "constant"]


class Variable(Differentiable):
    """An array with a history; made by `autograd.array`."""

    __slots__ = ()

    if TYPE_CHECKING:
        # fmt: off
        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def sum(self, *args: Any, **kwargs: Any) -> Any: ...
        def zero_(self) -> Any: ...
        def backward(self, *args: Any, **kwargs: Any) -> None: ...
        # fmt: on

    # --- what it looks like -----------------------------------------------------------

    @property
    def ndim(self) -> int:
        return len(KINDS[self.kind].shape)

    @property
    def size(self) -> int:
        return KINDS[self.kind].size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        if self.fn is not None and self.level:
            tail = f", grad_fn=<{self.fn.name()}>"
        elif self.level == 1:
            tail = ", requires_grad=True"
        else:
            tail = ""
        value = np.asarray(self.value)
        text = np.array2string(
            value, separator=", ", prefix="array(", suffix=tail + ")"
        )
        if value.dtype not in (np.float64, np.int64, np.bool_):
            tail = f", dtype={value.dtype}{tail}"
        return f"array({text}{tail})"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return format(self.value[()], spec) if spec else repr(self)

    # --- leaving ----------------------------------------------------------------------

    def item(self) -> Any:
        """The Python number that is its only element."""
        return self.value.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.value.tolist()

    def numpy(self) -> np.ndarray:
        """The array as an ordinary one, which can be read only; no copy.

        Raises:
            AutogradError: it requires a gradient; say `detach()` first.
        """
        if self.level:
            raise fail(
                "numpy() of an array that requires a gradient would lose its history",
                "Use x.detach().numpy()",
            )
        view = np.asarray(self.value).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.level:
            raise fail(
                "an array that requires a gradient would become an ordinary array",
                "Use NumPy's functions on it (np.stack for np.array of a list), or "
                "x.detach().numpy()",
            )
        view = self.numpy()
        if dtype is not None and view.dtype != dtype:
            return view.astype(dtype)
        return view.copy() if copy else view

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    # Arrays compare elementwise, and yet a variable may be a key: it is itself.
    __hash__ = object.__hash__

    # --- without history --------------------------------------------------------------

    def detach(self) -> Variable:
        """The same memory without history; it does not require a gradient."""
        twin = Variable(self.value)
        if self.value.shape or isinstance(self.value, np.ndarray):
            twin.storage = shared_storage(self)
            twin.seen = twin.storage.count
        return twin

    def detach_(self) -> Variable:
        """Forget the history."""
        self.known = self.value
        self.fn, self.level = None, 0
        if self.extra is not None:
            self.extra.view = None
        return self

    @property
    def data(self) -> Variable:
        """The same as `detach()`; assigning to it writes the values in place."""
        return self.detach()

    @data.setter
    def data(self, new: Any) -> None:
        value = new.value if isinstance(new, Variable) else new
        if np.shape(value) != self.shape:
            raise fail(
                f"data of shape {np.shape(value)} does not fit a variable of shape "
                f"{self.shape}",
                "Make a new variable with autograd.array",
            )
        if value is not self.value:
            self.known = np.asarray(self.value)
            touch(self)
            np.copyto(self.value, value, casting="same_kind")

    def clone(self) -> Any:
        """A recorded copy."""
        return self.copy()  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        if not self.is_leaf:
            raise fail("a recorded result cannot be copied deeply", "Use y.detach()")
        twin = Variable(np.array(self.value), self.level)
        if self.extra is not None:
            twin.more().request = self.extra.request
            if self.extra.grad is not None:
                twin.more().grad = Variable(np.array(self.extra.grad.value))
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise fail("a recorded result cannot be pickled", "Use y.detach()")
        return _rebuilt, (np.array(self.value), self.level)


def _rebuilt(value: np.ndarray, level: int) -> Variable:
    return Variable(value, level)


# --- making ---------------------------------------------------------------------------


def array(data: Any, requires_grad: bool = False, dtype: Any = None) -> Variable:
    """An array that remembers how it is used.

    Args:
        data: array, number, nested lists; copied.
        requires_grad: whether operations on it are recorded.
        dtype: another dtype than NumPy's own choice.

    Returns:
        A variable of the shape of `data`.

    Raises:
        AutogradError: `requires_grad` and no float dtype.
        UnsupportedError: a dtype that no tape holds.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array([1.0, 2.0], requires_grad=True)
        >>> y = (x * x).sum()
        >>> y.backward()
        >>> x.grad
        array([2., 4.])
    """
    if isinstance(data, Variable):
        data = data.value
    value = np.array(data, dtype=dtype)
    check_dtype(value.dtype)
    made = Variable(value)
    if requires_grad:
        made.requires_grad_()
    return made


def constant(value: Any) -> Variable:
    """A variable without history around a result of NumPy."""
    made = _new(Variable)
    made.known = value
    made.kind = kind_of(value)
    made.level = made.seen = 0
    made.fn = made.storage = made.extra = made.mark = None
    return made


_new = object.__new__
