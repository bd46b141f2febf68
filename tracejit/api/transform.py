"""The object that a decorator returns: a transform put on a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from ..dispatch import MISS, Dispatcher, Program, Stats, session_function
from ..errors import ArgumentError, message
from ..signature import Statics, caller
from ..tape import Tape
from ..tracer import active_recorder

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
        return self._method

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
        return self._used().tape(args, kwargs)

    def kernels(self) -> list[Any]:
        """The compiled kernels; each has `.source`, `.tape` and `.stats`."""
        return self._used().kernels()


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
