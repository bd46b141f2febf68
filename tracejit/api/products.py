"""`vjp`, `jvp` and `hvp`: products with a Jacobian or a Hessian."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval, aval_of
from ..dispatch import Program, StaticOutput, session_function
from ..errors import ArgumentError, UnsupportedError, message
from ..kernel import Executable, compile_tape
from ..passes import optimise
from ..passes.jvp import jvp as emit_jvp
from ..passes.vjp import vjp as emit_vjp
from ..signature import Statics, caller, flatten, prepare, unflatten
from ..tape import Builder, Instr, Ref, Tape
from ..tracer import Recorder, Tracer, active_recorder
from .gradients import Argnums, normal_argnums, pulled, recorder, scalar
from .leaves import (
    Run,
    as_ref,
    close_level,
    floats,
    function_name,
    run,
    shape_text,
    symbolic,
    zero_filled,
)
from .transform import Transform, decorator, dispatcher_of

__all__ = ["hvp", "jvp", "vjp"]


# --- vjp -----------------------------------------------------------------------------

#: Instrs that the backward part computes again instead of keeping their results.
_CHEAP = frozenset({"const", "iota", "broadcast_to", "reshape"})


class Backward(StaticOutput):
    """The backward part of one trace: a tape of residuals and cotangents."""

    def __init__(self, rec: Recorder, fun: Callable, done: Run) -> None:
        leaves, self.out_spec = floats("vjp", fun, done.out)
        self.in_spec = done.spec
        self.out_avals = [_aval(leaf) for leaf in leaves]
        outs = [leaf.ref for leaf in leaves if type(leaf) is Tracer]
        mark, guards = len(rec.instrs), len(rec.guards)
        cts = [symbolic(rec, out.aval) for out in outs]
        found = emit_vjp(rec, outs, list(cts), done.xs, done.start)
        results = zero_filled(found, done.xs)
        fragment = rec.instrs[mark:]
        del rec.instrs[mark:]
        close_level(rec, done.start)
        if len(rec.guards) != guards:
            raise UnsupportedError(
                message(
                    "a custom rule decides on a traced value inside vjp",
                    where=caller(),
                    way_out="Use np.where in the rule, or grad instead of vjp",
                )
            )
        self.used = [i for i, leaf in enumerate(leaves) if type(leaf) is Tracer]
        self._residuals = _residuals(rec, fragment, results, cts)
        self.tape = optimise(
            _fragment_tape(rec, fragment, self._residuals, cts, results)
        )
        self._executable: Executable | None = None
        self._lock = threading.Lock()

    def take_residuals(self) -> list[Ref]:
        """What the forward part is to return; not kept, a ref keeps its recorder."""
        residuals, self._residuals = self._residuals, []
        return residuals

    def executable(self) -> Executable:
        """The kernel, compiled at the first call of `back`."""
        with self._lock:
            if self._executable is None:
                self._executable = compile_tape(self.tape, [])
        return self._executable


def _aval(leaf: Any) -> Aval:
    return leaf.ref.aval if type(leaf) is Tracer else aval_of(leaf)


def _residuals(
    rec: Recorder, fragment: list[Instr], results: list[Ref], cts: list[Ref]
) -> list[Ref]:
    """What the backward part takes from the forward part; cheap instrs move over."""
    live = {ref.index for ref in results}
    kept: list[Instr] = []
    for instr in reversed(fragment):
        if not live.isdisjoint(instr.outs):
            live.update(instr.args)
            kept.append(instr)
    fragment[:] = kept[::-1]
    defined = {out for instr in fragment for out in instr.outs}
    defined.update(ct.index for ct in cts)
    waiting = sorted(live - defined)
    moved: list[Instr] = []
    residuals: list[int] = []
    while waiting:
        index = waiting.pop()
        if index in defined:
            continue
        defined.add(index)
        producer = rec.producers[index]
        if producer is not None and producer.prim.name in _CHEAP:
            moved.append(producer)
            waiting.extend(producer.args)
        else:
            residuals.append(index)
    moved.sort(key=lambda instr: instr.outs[0])
    fragment[:0] = moved
    return [rec.ref(index) for index in sorted(residuals)]


def _fragment_tape(
    rec: Recorder,
    fragment: list[Instr],
    residuals: list[Ref],
    cts: list[Ref],
    results: list[Ref],
) -> Tape:
    builder = Builder(f"{rec.name}_back")
    env = {ref.index: builder.input(ref.aval) for ref in (*residuals, *cts)}
    for instr in fragment:
        builder.replay(instr, env)
    return builder.finish([env[ref.index] for ref in results])


class Pullback:
    """`back` of `y, back = vjp(f, x)`: maps a cotangent of y to cotangents of x."""

    def __init__(self, backward: Backward, residuals: tuple) -> None:
        self._backward = backward
        self._residuals = residuals

    @property
    def tape(self) -> Tape:
        """The tape of the backward part: residuals and cotangents in."""
        return self._backward.tape

    def __call__(self, ct: Any) -> tuple:
        backward = self._backward
        leaves = _cotangents(ct, backward)
        rec = active_recorder()
        if rec is not None:
            return self._inline(rec, leaves)
        values = []
        for leaf, i in zip(leaves, backward.used, strict=True):
            aval = backward.out_avals[i]
            array = np.asarray(leaf)
            kinds = "biufc" if aval.dtype.kind == "c" else "biuf"
            if array.shape != aval.shape or array.dtype.kind not in kinds:
                raise _wrong_cotangent(leaf, aval)
            values.append(prepare(array.astype(aval.dtype, copy=False)))
        outputs = backward.executable().call(*self._residuals, *values)
        assert isinstance(outputs, tuple)
        return unflatten(backward.in_spec, outputs)

    def _inline(self, rec: Recorder, leaves: list[Any]) -> tuple:
        tape = self._backward.tape
        avals = [tape.avals[ref] for ref in tape.inputs]
        given = (*self._residuals, *leaves)
        env = {
            ref: as_ref(rec, value, aval, "the cotangent")
            for ref, value, aval in zip(tape.inputs, given, avals, strict=True)
        }
        for instr in tape.instrs:
            rec.replay(instr, env)
        found = [rec.tracer(env[ref]) for ref in tape.outputs]
        return unflatten(self._backward.in_spec, found)


def _wrong_cotangent(leaf: Any, aval: Aval) -> ArgumentError:
    return ArgumentError(
        message(
            f"the cotangent is {shape_text(leaf)}, the output is {aval!r}",
            where=caller(),
            way_out="Pass a cotangent of the output's shape",
        )
    )


def _cotangents(ct: Any, backward: Backward) -> list[Any]:
    leaves, spec = flatten(ct)
    if spec != backward.out_spec:
        raise ArgumentError(
            message(
                f"the cotangent has the structure {spec}, the output "
                f"{backward.out_spec}",
                where=caller(),
                way_out="Pass a cotangent of the output's structure",
            )
        )
    return [leaves[i] for i in backward.used]


def vjp(fun: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """The value of a function, and the map from cotangents back.

    The forward kernel returns what the backward kernel needs, so that `back` may be
    called any number of times.  Both are remembered with the function.

    Args:
        fun: plain NumPy, of float arrays and containers of them.
        primals: its arguments.
        has_aux: whether `fun` returns `(y, aux)`.

    Returns:
        `(y, back)`, or `(y, back, aux)` if `has_aux`; `back(ct)` is a tuple with one
        cotangent per primal.

    Example:
        >>> import numpy as np
        >>> y, back = vjp(lambda x: x * x, np.array([1.0, 2.0, 3.0]))
        >>> y
        array([1., 4., 9.])
        >>> back(np.array([1.0, 0.1, 0.01]))
        (array([2.  , 0.4 , 0.06]),)
    """
    numbers = tuple(range(len(primals)))

    def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        rec = recorder()
        done = run(rec, "vjp", fun, numbers, has_aux, args, kwargs)
        backward = Backward(rec, fun, done)
        residuals = tuple(rec.tracer(ref) for ref in backward.take_residuals())
        return done.out, residuals, done.aux, backward

    rec = active_recorder()
    if rec is not None:
        return _inline_vjp(rec, fun, primals, has_aux)
    target, args = _unbound(fun, primals)
    shift = len(args) - len(primals)
    numbers = tuple(i + shift for i in numbers)
    program = Program(target, inline, function_name(fun), Statics(target))
    dispatcher = dispatcher_of(program, ("vjp", numbers, has_aux))
    answer = dispatcher.fast(*args)
    if not isinstance(answer, tuple):
        answer = dispatcher.call(args, {})
    out, residuals, aux, backward = answer
    back = Pullback(backward, residuals)
    return (out, back, aux) if has_aux else (out, back)


def _inline_vjp(rec: Recorder, fun: Callable, primals: tuple, has_aux: bool) -> tuple:
    """`vjp` inside a recording: the cotangents are emitted when `back` is called."""
    inner = session_function(rec, fun)
    numbers = tuple(range(len(primals)))
    done = run(rec, "vjp", inner, numbers, has_aux, primals, {})
    leaves, spec = floats("vjp", fun, done.out)

    def back(ct: Any) -> tuple:
        given, ct_spec = flatten(ct)
        if ct_spec != spec:
            raise ArgumentError(
                message(
                    f"the cotangent has the structure {ct_spec}, the output {spec}",
                    where=caller(),
                    way_out="Pass a cotangent of the output's structure",
                )
            )
        pairs = [
            (leaf.ref, as_ref(rec, c, leaf.ref.aval, "the cotangent"))
            for leaf, c in zip(leaves, given, strict=True)
            if type(leaf) is Tracer
        ]
        outs, cts = [out for out, _ in pairs], [c for _, c in pairs]
        found = emit_vjp(rec, outs, cts, done.xs, done.start)
        tracers = [rec.tracer(ref) for ref in zero_filled(found, done.xs)]
        return unflatten(done.spec, tracers)

    return (done.out, back, done.aux) if has_aux else (done.out, back)


def _unbound(fun: Callable, args: tuple) -> tuple[Callable, tuple]:
    """A bound method as its function, which is remembered, and the object."""
    if hasattr(fun, "__func__") and hasattr(fun, "__self__"):
        return fun.__func__, (fun.__self__, *args)
    return fun, args


# --- jvp -----------------------------------------------------------------------------


def pushed(rec: Recorder, kind: str, fun: Callable, done: Run, tangents: Any) -> Any:
    """The tangent of a run's output, given the tangents of what it moved."""
    leaves, spec = flatten(tangents)
    if spec != done.spec:
        raise ArgumentError(
            message(
                f"{kind}: the tangents have the structure {spec}, the primals "
                f"{done.spec}",
                where=caller(),
                way_out="Give one tangent per primal, in the same containers",
            )
        )
    moves = [
        as_ref(rec, leaf, x.aval, f"{kind}: a tangent")
        for leaf, x in zip(leaves, done.xs, strict=True)
    ]
    outs, out_spec = floats(kind, fun, done.out)
    traced = [leaf.ref for leaf in outs if type(leaf) is Tracer]
    found = emit_jvp(rec, done.start, done.xs, moves, traced)
    dots = iter(zero_filled(found, traced))
    return unflatten(
        out_spec,
        [
            rec.tracer(next(dots)) if type(leaf) is Tracer else np.zeros_like(leaf)
            for leaf in outs
        ],
    )


def jvp(fun: Callable, primals: tuple | list, tangents: tuple | list) -> tuple:
    """The value of a function and its derivative along a direction.

    Args:
        fun: plain NumPy.
        primals: the arguments, a tuple.
        tangents: the direction, of the same structure and shapes.

    Returns:
        `(y, dy)`.

    Example:
        >>> import numpy as np
        >>> jvp(np.sin, (0.0,), (2.0,))
        (np.float64(0.0), np.float64(2.0))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(
        tangents, (tuple, list)
    ):
        raise ArgumentError(
            message(
                "jvp takes primals and tangents as tuples",
                where=caller(),
                way_out="Write jvp(f, (x,), (v,))",
            )
        )
    primals, tangents = tuple(primals), tuple(tangents)

    def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        rec = recorder()
        *before, moved, moves = args
        numbers = tuple(range(len(before), len(before) + len(moved)))
        full = (*before, *moved)
        done = run(rec, "jvp", fun, numbers, False, full, kwargs)
        return done.out, pushed(rec, "jvp", fun, done, moves)

    rec = active_recorder()
    if rec is not None:
        return inline(session_function(rec, fun), (primals, tangents), {})
    target, before = _unbound(fun, ())
    args = (*before, primals, tangents)
    program = Program(target, inline, function_name(fun), Statics(_no_names))
    dispatcher = dispatcher_of(program, ("jvp", len(before)))
    answer = dispatcher.fast(*args)
    return answer if isinstance(answer, tuple) else dispatcher.call(args, {})


def _no_names(primals: tuple, tangents: tuple) -> None:
    """The signature that the arguments of a jvp have in errors."""


# --- hvp -----------------------------------------------------------------------------


def hvp(fun: Callable | None = None, argnums: Argnums = 0) -> Any:
    """The product of the Hessian with a direction, without the Hessian.

    Args:
        fun: plain NumPy, returns a scalar.
        argnums: the argument or arguments to differentiate twice.

    Returns:
        A function of the arguments of `fun` and, last, the direction, in the structure
        of the differentiated argument.

    Example:
        >>> import numpy as np
        >>> hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.5]))
        array([6., 6.])
    """

    def make(fun: Callable, shift: int = 0) -> Transform:
        numbers = normal_argnums(argnums, shift)

        def inline(fun: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
            rec = recorder()
            *args, direction = args  # type: ignore[assignment]
            done = run(rec, "hvp", fun, numbers, False, tuple(args), kwargs)
            out = scalar("hvp", fun, done.out)
            gradient = pulled(rec, done, out)
            return _moved(rec, fun, done, gradient, direction)

        return Transform(fun, "hvp", inline, (numbers,), as_method=lambda: make(fun, 1))

    return decorator(make, fun)


def _moved(
    rec: Recorder, fun: Callable, done: Run, gradient: Any, direction: Any
) -> Any:
    """The derivative of the gradient along the direction.

    Forward over reverse; a function with a custom reverse rule has no forward mode,
    and the product is then the gradient of <gradient, direction>.
    """
    if not forward_only_by_rule(rec, done.start):
        return pushed(rec, "hvp", fun, done._replace(out=gradient), direction)
    leaves, _ = flatten(direction)
    grads, spec = flatten(gradient)
    cts = [
        as_ref(rec, leaf, x.aval, "hvp: the direction")
        for leaf, x in zip(leaves, done.xs, strict=True)
    ]
    # The Hessian is symmetric: its product from the left is the same.
    refs = emit_vjp(rec, [g.ref for g in grads], list(cts), done.xs, done.start)
    return unflatten(spec, [rec.tracer(r) for r in zero_filled(refs, done.xs)])


def forward_only_by_rule(rec: Recorder, start: int) -> bool:
    """Whether forward mode is closed by a `custom_vjp`."""
    return any(instr.prim.name == "custom_vjp" for instr in rec.instrs[start:])
