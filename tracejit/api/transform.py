"""The object that a decorator returns: a transform put on a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from ..codegen.callback import Callback
from ..codegen.numba_face import njit_function
from ..dispatch import MISS, Dispatcher, Program, Stats, session_function
from ..errors import ArgumentError, message
from ..signature import Statics, caller
from ..tape import Tape
from ..tracer import active_recorder
from .inside import callback_of, face_of

__all__ = ["Inline", "Transform", "decorator", "dispatcher_of"]

#: Runs a transformed function on the active recorder: `inline(fun, args, kwargs)`.
Inline = Callable[[Callable, tuple, dict[str, Any]], Any]


class _Memory:
    """What is known about one function, kept on the function itself.

    So `grad(f)(x)` in a loop records once, and all is forgotten together with f.
    """

    def __init__(self, owner: Callable | None = None) -> None:
        self.owner = owner
        self.dispatchers: dict[Any, Dispatcher] = {}

    def __reduce__(self) -> tuple:
        return _Memory, ()  # whoever pickles a function takes no traces along

    def __deepcopy__(self, memo: dict) -> _Memory:
        return _Memory()


_ATTRIBUTE = "__tracejit__"
#: Functions that live as long as the process and take no attributes.
_IMMORTAL = (np.ufunc, BuiltinFunctionType, type(np.sum))
_of_library: dict[Callable, _Memory] = {}


def dispatcher_of(program: Program, key: tuple) -> Dispatcher:
    """The dispatcher of a transform (`key`) on a function, the same each time."""
    fun = program.fun
    if isinstance(fun, _IMMORTAL):
        memory = _of_library.setdefault(fun, _Memory(fun))
        return memory.dispatchers.setdefault(key, Dispatcher(program))
    ours = type(fun).__module__.partition(".")[0] == "tracejit"
    if not (isinstance(fun, FunctionType) or ours):
        return Dispatcher(program)
    known: _Memory | None = fun.__dict__.get(_ATTRIBUTE)
    # functools.wraps copies attributes to other functions.
    if known is None or known.owner is not fun:
        known = fun.__dict__[_ATTRIBUTE] = _Memory(fun)
    return known.dispatchers.setdefault(key, Dispatcher(program))


class Transform:
    """A function with a transform: call it like the function.

    Attributes:
        __wrapped__: the function itself.

    Example:
        >>> import numpy as np
        >>> from tracejit import jit
        >>> double = jit(lambda x: x + x)
        >>> double(np.array([1.0, 2.0]))
        array([2., 4.])
        >>> double.stats().traces
        1
    """

    __wrapped__: Callable

    def __init__(
        self,
        fun: Callable,
        kind: str,
        inline: Inline,
        key: tuple = (),
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        as_method: Callable[[], Transform] | None = None,
    ) -> None:
        if not callable(fun):
            raise ArgumentError(
                message(
                    f"{kind} is put on functions, not on a {type(fun).__name__}",
                    where=caller(),
                    way_out=f"Write {kind}(function)(arguments)",
                )
            )
        functools.update_wrapper(self, fun, updated=())
        self._kind = kind
        self._inline = inline
        self._as_method = as_method
        self._method: Transform | None = None
        self._is_method = False
        name = getattr(fun, "__name__", type(fun).__name__)
        self._program = Program(
            fun,
            inline,
            name,
            Statics(fun, static_argnums, static_argnames),
            writes_back=kind == "jit",
        )
        statics = self._program.statics
        self._key = (
            kind,
            key,
            frozenset(statics.positions),
            frozenset(statics.names),
        )
        self._found: Dispatcher | None = None

    @property
    def _dispatcher(self) -> Dispatcher:
        if self._found is None:
            self._found = dispatcher_of(self._program, self._key)
        return self._found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        dispatcher = self._found or self._dispatcher
        if not kwargs:
            answer = dispatcher.fast(*args)
            if answer is not MISS:
                return answer
        recorder = active_recorder()
        if recorder is None:
            return dispatcher.call(args, kwargs)
        fun = session_function(recorder, self._program.fun)
        return self._inline(fun, args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return MethodType(self._for_methods(), instance)

    def _for_methods(self) -> Transform:
        """The same transform for calls whose first argument is `self`."""
        if self._as_method is None:
            return self
        if self._method is None:
            self._method = self._as_method()
            self._method._is_method = True
        return self._method

    def _require_object(self, what: str, args: tuple, kwargs: dict[str, Any]) -> None:
        """What Python finds through a method is not bound to the object."""
        if not self._is_method:
            return
        try:
            inspect.signature(self._program.fun).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(
                message(
                    f"{what}: {self._program.name} is a method, and {error}",
                    where=caller(),
                    way_out=f"Give the object in front: {what}(object, ...)",
                )
            ) from None
        except ValueError:  # no signature to be had
            return

    def __reduce__(self) -> Any:
        # By reference, like functions: the name leads to the decorated object.
        return self.__qualname__  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{self._kind} of {self._program.name}>"

    # --- inspection -------------------------------------------------------------------

    def _used(self) -> Dispatcher:
        """The dispatcher with a history: that of methods, if it is used as one."""
        return (self._method or self)._dispatcher

    def stats(self) -> Stats:
        """What happened so far: traces, kernels, hits, seconds."""
        return self._used().stats.snapshot()

    def explain(self) -> str:
        """One line per trace: why it was recorded."""
        return str(self._used().events)

    def tape(self, *args: Any, **kwargs: Any) -> Tape:
        """The tape of the path that these arguments take; it prints as a program."""
        self._require_object("tape", args, kwargs)
        return self._used().tape(args, kwargs)

    def draw(self, *args: Any, **kwargs: Any) -> Any:
        """The computational graph of that path, with guards and loops, as a picture.

        It has `dot` and `svg`, both texts; notebooks show it.
        """
        return self.tape(*args, **kwargs).draw()

    def kernels(self) -> list[Any]:
        """The compiled kernels; each has `.source`, `.tape` and `.stats`."""
        return self._used().kernels()

    # --- for compiled code ------------------------------------------------------------

    def njit(
        self, *example: Any, more: Sequence[tuple] = (), on_miss: str = "raise"
    ) -> Any:
        """A function that `@njit` code of Numba can call, with no Python inside.

        Args:
            example: arguments, which say dtypes, shapes and static values; they are
                recorded if their path is not known.
            more: further examples, tuples of arguments, that take other paths.  What
                was recorded before for such arguments is included.
            on_miss: what happens where no recorded path fits the arguments.  "raise":
                `UnknownPathError`.  "status": the function returns `(status, result)`;
                status is 0 if there is a result, else floats in it are NaN.

        Returns:
            A Numba dispatcher.  Arrays come in any layout and leave as new arrays.
            Static arguments are bound and left out; captured arrays are bound by
            reference, and other captured values as they are now.

        Raises:
            ArgumentError, UnsupportedError: see `docs/inside-numba.md`.

        Example:
            >>> import numpy as np
            >>> from numba import njit
            >>> from tracejit import grad
            >>> slope = grad(lambda x: np.sin(x) * x).njit(1.0)
            >>> @njit
            ... def total(n):
            ...     s = 0.0
            ...     for i in range(n):
            ...         s += slope(0.1 * i)
            ...     return s
            >>> round(total(4), 6)
            1.176138
        """
        if on_miss not in ("raise", "status"):
            raise ArgumentError(
                message(
                    f"njit: on_miss={on_miss!r}",
                    where=caller(),
                    way_out="Use 'raise' or 'status'",
                )
            )
        self._require_object("njit", example, {})
        examples = [example, *map(tuple, more)]
        miss = "no recorded path fits the arguments. Give an example of it to njit"
        face = face_of("njit", self._used(), examples, miss)
        return njit_function(face, on_miss)

    def cfunc(
        self,
        *example: Any,
        more: Sequence[tuple] = (),
        signature: str = "",
        user_data: int = 0,
    ) -> Callback:
        """A C function for integrators, root finders and samplers.

        Args:
            example, more: see `njit`.
            signature: the type in C, by the words of `scipy.LowLevelCallable`:
                "double (double)", "double (double, void *)", "double (int, double *)",
                "double (int, double *, void *)", or "sampler", which is
                "int64 (uint64, double *, double *, double *, void *)" with the
                arguments dim, x, grad, logp, user_data.  By default the first that
                fits the example.
            user_data: so many of the last arguments, floats or an array, are read from
                the memory behind `void *`.

        Returns:
            An object with `address` and `ctypes`, valid for as long as the process
            lives.  Where no recorded path fits, it calls the function in Python.

        Example:
            >>> import numpy as np
            >>> from scipy import LowLevelCallable
            >>> from scipy.integrate import quad
            >>> from tracejit import jit
            >>> bell = jit(lambda x: np.exp(-x * x)).cfunc(0.0)
            >>> area, error = quad(LowLevelCallable(bell.ctypes), -np.inf, np.inf)
            >>> round(area**2, 12) == round(np.pi, 12)
            True
        """
        self._require_object("cfunc", example, {})
        return callback_of(self, example, more, signature, user_data)


def decorator(
    make: Callable[..., Transform],
    fun: Callable | None,
    **options: Any,
) -> Any:
    """`@t`, `@t(option=...)` and `t(fun, option=...)` all make a Transform."""
    if fun is None:
        return functools.partial(decorator, make, **options)
    if isinstance(fun, MethodType) and isinstance(fun.__func__, FunctionType):
        # A bound method is a new object at each access; its function is not.
        made = make(fun.__func__, **options)
        return MethodType(made._for_methods(), fun.__self__)
    return make(fun, **options)
