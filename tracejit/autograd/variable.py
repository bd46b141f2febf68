"""The variable: an array that remembers how it was made.

It holds an ndarray (or NumPy scalar), its level (see `modes`), and the entry of the
history that made it, if it was recorded.  Operators, methods and NumPy's functions are
added by `operators`, `backward` by `engine`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AutogradError, message
from ..numpy_api.protocols import Remembering
from ..tracer import check_dtype, where
from .history import Extra, GradFn, Storage
from .templates import KINDS, kind_of

__all__ = ["Hook", "Leaf", "Variable", "array", "constant", "fail", "version"]


def fail(what: str, way_out: str) -> AutogradError:
    """The error for a wrong use, at the user's line."""
    return AutogradError(message(what, where=where(), way_out=way_out))


class Leaf:
    """What few variables have: a gradient, hooks, and how gradients are stored."""

    __slots__ = ("grad", "hooks", "request", "retains")

    def __init__(self) -> None:
        self.grad: Variable | None = None
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


class Variable(Remembering):
    """An array with a history; made by `autograd.array`.

    Attributes:
        known: the array; a NumPy scalar for most results of shape (); None for a
            recorded result that nobody looked at.
        kind: the number of its aval.
        level: 0 for a constant, else see `modes`.
        fn: what made it; None for leaves.
        storage: the memory, shared with views; None as long as nobody asked for it.
        seen: its version when `fn` made this value.
        extra: gradient, hooks, if there are any.
        mark, place: of the pass that looks at it (see `segments`).
    """

    __slots__ = (
        "__weakref__",
        "extra",
        "fn",
        "kind",
        "known",
        "level",
        "mark",
        "place",
        "seen",
        "storage",
    )

    known: Any
    storage: Storage | None
    fn: GradFn | None
    extra: Leaf | None
    place: int

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

    def __init__(self, value: Any, level: int = 0) -> None:
        self.known = value
        self.kind = kind_of(value)
        self.level = level
        self.fn = None
        self.storage = None
        self.seen = 0
        self.extra = None
        self.mark: Any = None

    @property
    def value(self) -> Any:
        """The array (or NumPy scalar), computed now if nobody looked before."""
        if self.known is None:
            assert self.fn is not None
            require_fresh(self)
            storage = self.storage
            self.known = self.fn.value if storage is None else self.fn.look(storage)
        return self.known

    # --- what it looks like -----------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return KINDS[self.kind].shape

    @property
    def dtype(self) -> np.dtype:
        return KINDS[self.kind].dtype

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

    # --- gradient ---------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to it, or to what it was made of, exist."""
        return self.level > 0

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Variable:
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
        return self.fn if self.level else None

    @property
    def grad(self) -> Variable | None:
        """The accumulated gradient; None until the first `backward()`."""
        return None if self.extra is None else self.extra.grad

    @grad.setter
    def grad(self, new: Any) -> None:
        if new is not None:
            if not isinstance(new, Variable):
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
        extra.grad = Variable(np.zeros_like(self.value))

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


# --- versions -------------------------------------------------------------------------


def version(x: Variable) -> int:
    """How often the memory of `x` was written to."""
    return x.storage.count if x.storage is not None else 0


def shared_storage(x: Variable) -> Storage:
    """The memory of `x`, for one more that sees it."""
    if x.storage is None:
        x.storage = Storage()
    if x.fn is not None and x.known is not None:
        x.storage.add_alias(x.fn)
    return x.storage


def touch(x: Variable) -> None:
    """Note that `x` itself is written to now, right after this."""
    storage = shared_storage(x)
    storage.settle()
    storage.count += 1
    x.seen = storage.count


def require_fresh(x: Variable) -> None:
    """Refuse a recorded result whose memory somebody else wrote to."""
    if x.fn is not None and x.storage is not None and x.storage.count != x.seen:
        raise fail(
            f"a recorded array of shape {list(x.shape)} shares memory with one that "
            "was changed in place, so its history does not give its value any more",
            "Use a copy, x.copy(), or make the change before",
        )


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
    return Variable(value)
