"""`primitive`: a function that is recorded as one instr, with rules of its own.

    @primitive                                     %2: f64[3] = host_call %0 %1
    def lookup(table, x): ...           ->             {rule=<lookup>, outs=('f64[3]',)}

The function itself is never recorded: it may do whatever Python or C can, and gets
NumPy arrays each time.  While recording it runs once, which tells what its outputs
look like; a kernel calls it where it stands in the program.  One that Numba compiled is
called without Python.

Its operands are what is an array or a float: traced values, arrays, floats.  All other
arguments (ints, strings, None, objects) are static: a part of the rule.  Rules are
functions on values, run when a derivative passes by; they are recorded like the rest of
the program, so that they can be differentiated again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, message
from ..numpy_api.table import as_tracer, tracers_in
from ..ops.host import host_call, identifier
from ..signature import caller, flatten
from ..tracer import Recorder, Tracer, active_recorder, check_dtype, user_source
from .host_rule import rule_of
from .leaves import function_name

__all__ = ["defjvp", "defvjp", "primitive"]


class primitive:
    """A function that is called as it is, from inside the kernels too.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> @primitive
        ... def smooth(x, n):
        ...     return np.convolve(x, np.ones(n) / n, "same")
        >>> smooth.defvjp(lambda ans, x, n: lambda g: smooth(g, n))
        >>> grad(lambda x: np.sum(smooth(x, 3) ** 2))(np.array([0.0, 3.0, 0.0]))
        array([1.33333333, 2.        , 1.33333333])
    """

    __wrapped__: Callable

    def __init__(self, fun: Callable) -> None:
        if not callable(fun):
            raise ArgumentError(
                message(
                    f"primitive is put on functions, not on a {type(fun).__name__}",
                    where=caller(),
                    way_out="Write primitive(function)",
                )
            )
        functools.update_wrapper(self, fun, updated=())
        self.name = identifier(function_name(fun))
        self.vjps: dict[int, Callable | None] = {}
        self.jvps: dict[int, Callable | None] = {}
        self.used = False

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    # --- rules ------------------------------------------------------------------------

    def defvjp(
        self, *makers: Callable | None, argnums: Sequence[int] | None = None
    ) -> None:
        """Set the reverse rules, in the form of HIPS/autograd.

        Args:
            makers: one for each of `argnums`, by default the arguments from the first
                on.  `maker(ans, *args, **kwargs)` gets the function's result and
                arguments, and returns the function from the result's cotangent to the
                argument's.  None: the derivative is zero everywhere.
        """
        self._set(self.vjps, "defvjp", makers, argnums)

    def defjvp(
        self, *rules: Callable | None, argnums: Sequence[int] | None = None
    ) -> None:
        """Set the forward rules, in the form of HIPS/autograd.

        Args:
            rules: one for each of `argnums`.  `rule(g, ans, *args, **kwargs)` returns
                the result's tangent if the argument's is `g`, in which it is linear.
                None: the derivative is zero everywhere.

        Without `defvjp` reverse mode transposes these rules.
        """
        self._set(self.jvps, "defjvp", rules, argnums)

    def _set(
        self,
        table: dict[int, Callable | None],
        kind: str,
        given: Sequence[Callable | None],
        argnums: Sequence[int] | None,
    ) -> None:
        numbers = range(len(given)) if argnums is None else tuple(argnums)
        if len(numbers) != len(given) or not given:
            raise ArgumentError(
                message(
                    f"{self.name}.{kind} was given {len(given)} rules for "
                    f"{len(numbers)} arguments",
                    where=caller(),
                    way_out="Give one rule for each of argnums",
                )
            )
        if self.used:
            raise ArgumentError(
                message(
                    f"{self.name}.{kind} comes after {self.name} was recorded, and "
                    "kernels may hold its former rules",
                    where=caller(),
                    way_out=f"Set all rules of {self.name} before it is used",
                )
            )
        table.update(zip(numbers, given, strict=True))

    # --- calls ------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rec = active_recorder()
        if rec is None:
            return self.__wrapped__(*args, **kwargs)
        self.used = True
        leaves, spec = flatten((args, kwargs))
        given = [_operand(rec, leaf) for leaf in leaves]
        refs = [x.ref for x in given if x is not None]
        rule, results = rule_of(rec, self, spec, leaves, given)
        rec.source = user_source()
        outs = rec.emit(host_call, refs, {"rule": rule, "outs": rule.outs})
        for ref, value in zip(outs, results, strict=True):
            # Its own: the function may use the same memory at its next call.
            rec.values[ref.index] = np.array(value)[()]
        return rule.result(rec, outs)


def _operand(rec: Recorder, leaf: Any) -> Tracer | None:
    """A leaf of the arguments as an operand; None if it is static."""
    kind = type(leaf)
    if kind is Tracer:
        return leaf
    if kind is float:
        return rec.tracer(rec.constant(leaf, np.dtype(np.float64)), float)
    if isinstance(leaf, np.generic):
        check_dtype(leaf.dtype)
        return as_tracer(rec, leaf)
    if isinstance(leaf, np.ndarray) and (
        leaf.dtype != object or next(iter(tracers_in([leaf])), None) is not None
    ):
        return as_tracer(rec, leaf)
    return None


def defvjp(
    fun: primitive, *makers: Callable | None, argnums: Sequence[int] | None = None
) -> None:
    """`fun.defvjp(*makers, argnums=argnums)`."""
    fun.defvjp(*makers, argnums=argnums)


def defjvp(
    fun: primitive, *rules: Callable | None, argnums: Sequence[int] | None = None
) -> None:
    """`fun.defjvp(*rules, argnums=argnums)`."""
    fun.defjvp(*rules, argnums=argnums)
