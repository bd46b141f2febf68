"""`jacobian`, `jacfwd`, `jacrev`, `hessian`.

A Jacobian is one reverse or forward sweep, batched: the sweep is emitted once with a
symbolic cotangent (tangent), taken off the tape again, and put back by
`passes.batching` for all rows (columns) of an identity matrix at once.  Its work is
then done by wide loops and matrix products, and the tape does not grow with the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from ..avals import Aval
from ..errors import DifferentiationError, message
from ..ops.structural import broadcast_to, iota, reshape, transpose
from ..passes.batching import batch
from ..passes.jvp import jvp as emit_jvp
from ..passes.vjp import vjp as emit_vjp
from ..primitive import PRIMITIVES
from ..signature import caller, flatten, unflatten
from ..tape import Ref
from ..tracer import Recorder, Tracer
from .gradients import (
    Argnums,
    check_holomorphic,
    is_complex,
    normal_argnums,
    pulled,
    recorder,
    scalar,
)
from .leaves import Run, cast, close_level, floats, function_name, run, symbolic
from .products import forward_only_by_rule
from .transform import Transform, decorator

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]

#: Emits one sweep: takes the symbolic direction, gives the refs it ends in.
Sweep = Callable[[Ref], Sequence[Ref | None]]


def identity(rec: Recorder, aval: Aval) -> Ref:
    """All unit arrays of an aval, stacked in front: `[n, *shape]`."""
    n, int64 = aval.size, np.dtype(np.int64)
    rows = rec.emit(iota, (), {"shape": (n, n), "axis": 0, "dtype": int64})
    columns = rec.emit(iota, (), {"shape": (n, n), "axis": 1, "dtype": int64})
    ones = cast(PRIMITIVES["eq"](rows, columns), aval.dtype)
    return reshape(ones, shape=(n, *aval.shape))


def swept(rec: Recorder, aval: Aval, sweep: Sweep) -> list[Ref | None]:
    """The sweep's results for all unit directions of `aval`, stacked in front."""
    direction = symbolic(rec, aval)
    mark = len(rec.instrs)
    results = sweep(direction)
    fragment = rec.instrs[mark:]
    del rec.instrs[mark:]
    made = {out for instr in fragment for out in instr.outs}
    env = {a: rec.ref(a) for instr in fragment for a in instr.args if a not in made}
    env[direction.index] = identity(rec, aval)
    env, batched = batch(rec, fragment, env, {direction.index})
    stacked: list[Ref | None] = []
    for result in results:
        if result is None:
            stacked.append(None)
            continue
        ref = env.get(result.index, result)
        if result.index not in batched:
            ref = broadcast_to(
                reshape(ref, shape=(1, *ref.shape)), shape=(aval.size, *ref.shape)
            )
        stacked.append(ref)
    return stacked


def zeros_of(rec: Recorder, shape: tuple[int, ...], dtype: np.dtype) -> Ref:
    """Zeros of a shape."""
    zero = rec.const(0, dtype)
    return broadcast_to(zero, shape=shape) if shape else zero


def reverse_rows(rec: Recorder, done: Run, outs: Sequence[Ref]) -> list[list[Ref]]:
    """Per output, per input: the block of the Jacobian, by reverse mode."""
    blocks = []
    for out in outs:

        def sweep(ct: Ref, out: Ref = out) -> Sequence[Ref | None]:
            return emit_vjp(rec, [out], [ct], done.xs, done.start)

        row = []
        for x, found in zip(done.xs, swept(rec, out.aval, sweep), strict=True):
            shape = (*out.shape, *x.shape)
            row.append(
                zeros_of(rec, shape, x.dtype)
                if found is None
                else reshape(found, shape=shape)
            )
        blocks.append(row)
    return blocks


def forward_columns(rec: Recorder, done: Run, outs: Sequence[Ref]) -> list[list[Ref]]:
    """The same blocks by forward mode."""
    columns = []
    for x in done.xs:

        def sweep(tangent: Ref, x: Ref = x) -> Sequence[Ref | None]:
            return emit_jvp(rec, done.start, [x], [tangent], outs)

        column = []
        for out, found in zip(outs, swept(rec, x.aval, sweep), strict=True):
            shape = (*out.shape, *x.shape)
            if found is None:
                column.append(zeros_of(rec, shape, out.dtype))
                continue
            perm = (*range(1, out.ndim + 1), 0)
            column.append(reshape(transpose(found, perm=perm), shape=shape))
        columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def _choose(rec: Recorder, done: Run, outs: Sequence[Ref], mode: str) -> str:
    """Forward mode for many outputs, reverse mode for many inputs.

    The derivative of real outputs by complex inputs is what reverse mode gives, that
    of complex outputs by real inputs what forward mode gives.
    """
    from_complex = any(x.dtype.kind == "c" for x in done.xs)
    to_complex = any(out.dtype.kind == "c" for out in outs)
    if from_complex and not to_complex:
        return "reverse"
    if to_complex and not from_complex:
        return "forward"
    if mode != "either":
        return mode
    if forward_only_by_rule(rec, done.start):
        return "reverse"
    rows = sum(out.aval.size for out in outs)
    columns = sum(x.aval.size for x in done.xs)
    return "reverse" if rows < columns else "forward"


def _assembled(rec: Recorder, done: Run, out: Any, blocks: list[list[Ref]]) -> Any:
    """The tree of outputs, of trees of inputs."""
    leaves, spec = flatten(out)
    rows = iter(blocks)
    trees = []
    for leaf in leaves:
        if type(leaf) is Tracer:
            found = [rec.tracer(ref) for ref in next(rows)]
        else:
            shape = np.shape(leaf)
            found = [np.zeros((*shape, *x.shape), x.dtype) for x in done.xs]
        trees.append(unflatten(done.spec, found))
    return unflatten(spec, trees)


def blocks_of(rec: Recorder, done: Run, out: Any, mode: str) -> Any:
    """The Jacobian of a run's output."""
    outs = [leaf.ref for leaf in flatten(out)[0] if type(leaf) is Tracer]
    if _choose(rec, done, outs, mode) == "reverse":
        blocks = reverse_rows(rec, done, outs)
    else:
        blocks = forward_columns(rec, done, outs)
    return _assembled(rec, done, out, blocks)


def _check_complex(
    kind: str,
    fun: Callable,
    mode: str,
    holomorphic: bool,
    xs: Sequence[Ref],
    outs: Sequence[Any],
) -> None:
    """Complex by complex needs `holomorphic`, and so does a mode that gives less."""
    from_complex = [x for x in xs if x.dtype.kind == "c"]
    to_complex = [out for out in outs if is_complex(out)]
    if holomorphic or (from_complex and to_complex):
        check_holomorphic(kind, fun, holomorphic, xs, outs)
    elif mode == "forward" and from_complex:
        raise DifferentiationError(
            message(
                f"{kind}: {function_name(fun)} takes {from_complex[0].aval!r}, and a "
                "column for each input says nothing about imaginary directions",
                where=caller(),
                way_out="Use jacrev, or pass holomorphic=True if the function is "
                "complex differentiable",
            )
        )
    elif mode == "reverse" and to_complex:
        check_holomorphic(kind, fun, False, xs, outs)


def _jacobian(
    kind: str,
    mode: str,
    fun: Callable | None,
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
) -> Any:
    def make(fun: Callable, shift: int = 0) -> Transform:
        numbers = normal_argnums(argnums, shift)

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            rec = recorder()
            done = run(rec, kind, fun, numbers, has_aux, args, kwargs)
            leaves, _ = floats(kind, fun, done.out)
            _check_complex(kind, fun, mode, holomorphic, done.xs, leaves)
            found = blocks_of(rec, done, done.out, mode)
            close_level(rec, done.start)
            return (found, done.aux) if has_aux else found

        return Transform(
            fun,
            kind,
            inline,
            (numbers, has_aux, holomorphic),
            as_method=lambda: make(fun, 1),
        )

    return decorator(make, fun)


def jacfwd(
    fun: Callable | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Any:
    """The Jacobian by forward mode, a column per input; see `jacobian`."""
    return _jacobian("jacfwd", "forward", fun, argnums, has_aux, holomorphic)


def jacrev(
    fun: Callable | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Any:
    """The Jacobian by reverse mode, a row per output; see `jacobian`."""
    return _jacobian("jacrev", "reverse", fun, argnums, has_aux, holomorphic)


def jacobian(
    fun: Callable | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Any:
    """The Jacobian, in the mode that the sizes suggest.

    Args:
        fun: plain NumPy, returns arrays and containers of them.
        argnums: which positional arguments to differentiate.
        has_aux: whether `fun` returns `(y, aux)`.
        holomorphic: whether `fun` is complex differentiable, of complex arguments with
            complex results. Real results have the derivative df/dx - i df/dy by a
            complex argument, complex ones df/dx by a real argument.

    Returns:
        A function that gives, for each output leaf, a tree of the argument's structure
        with leaves of shape `(*output.shape, *input.shape)`.

    Example:
        >>> import numpy as np
        >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """
    return _jacobian("jacobian", "either", fun, argnums, has_aux, holomorphic)


def _refuse_complex_hessian(fun: Callable) -> NoReturn:
    raise DifferentiationError(
        message(
            f"hessian: {function_name(fun)} takes or returns complex numbers",
            where=caller(),
            way_out="Write it as a function of the real and the imaginary part",
        )
    )


def hessian(
    fun: Callable | None = None, argnums: Argnums = 0, has_aux: bool = False
) -> Any:
    """The Hessian of a function that returns a scalar: forward over reverse.

    Example:
        >>> import numpy as np
        >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
    """

    def make(fun: Callable, shift: int = 0) -> Transform:
        numbers = normal_argnums(argnums, shift)

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            rec = recorder()
            done = run(rec, "hessian", fun, numbers, has_aux, args, kwargs)
            out = scalar("hessian", fun, done.out)
            if any(x.dtype.kind == "c" for x in (*done.xs, out)):
                _refuse_complex_hessian(fun)
            gradient = pulled(rec, done, out)
            closed = forward_only_by_rule(rec, done.start)
            mode = "reverse" if closed else "forward"
            found = blocks_of(rec, done, gradient, mode)
            return (found, done.aux) if has_aux else found

        return Transform(
            fun, "hessian", inline, (numbers, has_aux), as_method=lambda: make(fun, 1)
        )

    return decorator(make, fun)
