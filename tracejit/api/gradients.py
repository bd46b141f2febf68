"""`jit`, `grad`, `value_and_grad`, `elementwise_grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DifferentiationError, message
from ..ops.rows import zeros
from ..passes.vjp import vjp as emit_vjp
from ..signature import caller, flatten, unflatten
from ..tape import Ref
from ..tracer import Recorder, Tracer, active_recorder
from .leaves import (
    Run,
    close_level,
    floats,
    function_name,
    ones,
    run,
    shape_text,
    zero_filled,
)
from .transform import Transform, decorator

__all__ = [
    "Argnums",
    "check_holomorphic",
    "elementwise_grad",
    "grad",
    "is_complex",
    "jit",
    "normal_argnums",
    "pulled",
    "recorder",
    "scalar",
    "value_and_grad",
]

Argnums = int | Sequence[int]


def recorder() -> Recorder:
    """The active recorder; inline code runs under one."""
    found = active_recorder()
    assert found is not None
    return found


def normal_argnums(argnums: Argnums, shift: int = 0) -> int | tuple[int, ...]:
    """`argnums` hashable; `shift` makes room for `self`."""
    if isinstance(argnums, (int, np.integer)):
        return int(argnums) + (shift if argnums >= 0 else 0)
    return tuple(int(i) + (shift if i >= 0 else 0) for i in argnums)


def _shifted(statics: Argnums) -> tuple[int, ...]:
    shifted = normal_argnums(statics, 1)
    return (shifted,) if isinstance(shifted, int) else shifted


def jit(
    fun: Callable | None = None,
    *,
    static_argnums: Argnums = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """Compile a function: the same results, without the interpreter.

    Args:
        fun: any function of arrays, numbers and containers of them.
        static_argnums, static_argnames: arguments whose value, not only whose kind,
            a kernel may depend on; hashable.

    Example:
        >>> import numpy as np
        >>> @jit
        ... def norm(x):
        ...     return np.sqrt(np.sum(x**2))
        >>> norm(np.array([3.0, 4.0]))
        np.float64(5.0)
    """

    def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        return fun(*args, **kwargs)

    def make(fun: Callable, shift: int = 0) -> Transform:
        return Transform(
            fun,
            "jit",
            inline,
            (),
            _shifted(static_argnums) if shift else static_argnums,
            static_argnames,
            lambda: make(fun, 1),
        )

    return decorator(make, fun)


def _gradient(
    kind: str, has_value: bool, fun: Callable | None, options: dict[str, Any]
) -> Any:
    """`grad` and `value_and_grad`, which differ in what they return."""
    argnums, has_aux = options["argnums"], options["has_aux"]
    static_argnums, holomorphic = options["static_argnums"], options["holomorphic"]

    def make(fun: Callable, shift: int = 0) -> Transform:
        numbers = normal_argnums(argnums, shift)

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            rec = recorder()
            done = run(rec, kind, fun, numbers, has_aux, args, kwargs)
            out = scalar(kind, fun, done.out)
            check_holomorphic(kind, fun, holomorphic, done.xs, [out])
            gradient = pulled(rec, done, out)
            if has_value:
                return ((done.out, done.aux) if has_aux else done.out), gradient
            return (gradient, done.aux) if has_aux else gradient

        return Transform(
            fun,
            kind,
            inline,
            (numbers, has_aux, holomorphic),
            _shifted(static_argnums) if shift else static_argnums,
            options["static_argnames"],
            lambda: make(fun, 1),
        )

    return decorator(make, fun)


def scalar(kind: str, fun: Callable, out: Any) -> Any:
    """The one float that `grad` differentiates."""
    leaves, spec = flatten(out)
    if spec.is_leaf() and np.shape(leaves[0]) == ():
        return floats(kind, fun, out)[0][0]
    name = function_name(fun)
    got = shape_text(out) if spec.is_leaf() else f"a {type(out).__name__}"
    raise ArgumentError(
        message(
            f"{kind} needs a scalar, but {name} returned {got}",
            where=caller(),
            way_out="Return a sum or a mean, or use elementwise_grad, jacobian or vjp"
            if spec.is_leaf()
            else "Return the scalar alone, or a pair (value, aux) with has_aux=True",
        )
    )


def check_holomorphic(
    kind: str, fun: Callable, holomorphic: bool, xs: Sequence[Ref], outs: Sequence[Any]
) -> None:
    """A complex result has a derivative if the function is said to be holomorphic."""
    name = function_name(fun)
    if not holomorphic:
        for out in outs:
            if is_complex(out):
                raise DifferentiationError(
                    message(
                        f"{kind}: {name} returned {shape_text(out)}, and the "
                        "derivative of a complex result is no gradient",
                        where=caller(),
                        way_out="Pass holomorphic=True if the function is complex "
                        "differentiable, return a real number, or use vjp or jvp",
                    )
                )
        return
    what = [*xs, *outs]
    real = next((x for x in what if not is_complex(x)), None)
    if real is not None:
        side = "an argument" if what.index(real) < len(xs) else "a result"
        got = repr(real.aval) if isinstance(real, Ref) else shape_text(real)
        raise DifferentiationError(
            message(
                f"{kind} with holomorphic=True needs complex arguments and results, "
                f"but {name} has {side} {got}",
                where=caller(),
                way_out="Leave holomorphic=True away, or convert with .astype(complex)",
            )
        )


def is_complex(x: Any) -> bool:
    return (x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype).kind == "c"


def pulled(rec: Recorder, done: Run, out: Any) -> Any:
    """The gradient, in the structure of the arguments."""
    refs: list[Ref | None] = [None] * len(done.xs)
    if type(out) is Tracer:
        one = ones(rec, out.ref.aval)
        refs = emit_vjp(rec, [out.ref], [one], done.xs, done.start)
    close_level(rec, done.start)
    found = [rec.tracer(ref) for ref in zero_filled(refs, done.xs)]
    return unflatten(done.spec, found)


def grad(
    fun: Callable | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    static_argnums: Argnums = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """The gradient of a function that returns a scalar.

    Args:
        fun: plain NumPy; returns a float, or a pair (float, aux) if `has_aux`.
        argnums: which positional arguments to differentiate; an int gives the
            gradient of that argument, a sequence a tuple of gradients.
        has_aux: whether the function returns something beside the value.
        holomorphic: whether the function is complex differentiable, of a complex
            argument with a complex result; the derivative is the complex one. Without
            it the result has to be real; the gradient by a complex argument x + iy is
            then df/dx - i df/dy.
        static_argnums, static_argnames: see `jit`.

    Returns:
        A function of the same arguments; the gradient has the structure, shapes and
        dtypes of the argument, `(gradient, aux)` if `has_aux`.

    Raises:
        ArgumentError: no such argument, an integer argument, an output that is no
            scalar.
        DifferentiationError: an integer output, or a complex one without `holomorphic`.

    Example:
        >>> import numpy as np
        >>> @grad
        ... def f(x):
        ...     return 2 * np.dot(x, x)
        >>> f(np.array([0.0, 1.0, 2.0]))
        array([0., 4., 8.])
    """
    options = {
        "argnums": argnums,
        "has_aux": has_aux,
        "holomorphic": holomorphic,
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
    }
    return _gradient("grad", False, fun, options)


def value_and_grad(
    fun: Callable | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    static_argnums: Argnums = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """Value and gradient together, from one kernel; see `grad`.

    Returns:
        A function that returns `(value, gradient)`, or `((value, aux), gradient)` if
        `has_aux`.

    Example:
        >>> import numpy as np
        >>> value_and_grad(lambda x, y: np.sum(x * y), argnums=1)(
        ...     np.array([1.0, 2.0]), np.array([3.0, 4.0])
        ... )
        (np.float64(11.0), array([1., 2.]))
    """
    options = {
        "argnums": argnums,
        "has_aux": has_aux,
        "holomorphic": holomorphic,
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
    }
    return _gradient("value_and_grad", True, fun, options)


def elementwise_grad(
    fun: Callable | None = None, argnums: Argnums = 0, *, holomorphic: bool = False
) -> Any:
    """The sum of the outputs' derivatives: f'(x) where f works element by element.

    Example:
        >>> import numpy as np
        >>> elementwise_grad(np.square)(np.array([1.0, 2.0, 3.0]))
        array([2., 4., 6.])
    """

    def make(fun: Callable, shift: int = 0) -> Transform:
        numbers = normal_argnums(argnums, shift)

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            rec = recorder()
            kind = "elementwise_grad"
            done = run(rec, kind, fun, numbers, False, args, kwargs)
            leaves, _ = floats(kind, fun, done.out)
            check_holomorphic(kind, fun, holomorphic, done.xs, leaves)
            outs = [leaf.ref for leaf in leaves if type(leaf) is Tracer]
            cts = [ones(rec, out.aval) for out in outs]
            refs = emit_vjp(rec, outs, cts, done.xs, done.start)
            close_level(rec, done.start)
            found = [
                rec.tracer(zeros(x) if ref is None else ref)
                for ref, x in zip(refs, done.xs, strict=True)
            ]
            return unflatten(done.spec, found)

        return Transform(
            fun,
            "elementwise_grad",
            inline,
            (numbers, holomorphic),
            as_method=lambda: make(fun, 1),
        )

    return decorator(make, fun)
