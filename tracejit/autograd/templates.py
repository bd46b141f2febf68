"""Templates: one call of a NumPy function as a small tape.

    np.mean(x, axis=0), x: f64[32,10]        tape mean(%0: f64[32,10]):
                                               %1: f64[10] = sum %0 {axes=(0,)}
                                               %2: f64[] = 32.0
                                               %3: f64[10] = div %1 %2
                                               return %3

The first call of its kind (function, shapes, dtypes, what is static) runs through
`numpy_api` on tracers, as it does in a `@grad` function.  What comes after finds the
tape and only notes which operands it was given, so recording costs a dictionary look-up
and no tape grows while the user's code runs.

1. Equal tapes are one template, whatever they were recorded from: the numbers of
   templates spell the structure of a history.
2. Python numbers that meet an array in arithmetic are inputs, so that a learning rate
   that changes makes no new template.
3. A call that depends on values (a mask's count, a number of repetitions) is recorded
   anew each time, with the values of the call; nothing needs a guard, because the
   user's code runs each time too.
4. A call with several results has a template for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..avals import Aval
from ..errors import ConcretizationError, UnsupportedError
from ..passes.vjp import vjp
from ..primitive import PRIMITIVES
from ..tape import Builder, Instr, Ref, Tape, const, guard
from ..tracer import Recorder, Tracer, call_silent, check_dtype

__all__ = [
    "KINDS",
    "Recorded",
    "Template",
    "kind_of",
    "pullback",
    "record_call",
    "record_ufunc",
]

#: The avals, by number.  A kind is an aval that hashes as fast as an int.
KINDS: list[Aval] = []
_kinds: dict[tuple, int] = {}
_lock = threading.RLock()


def kind_of(value: Any) -> int:
    """The number of a value's aval, for an array or NumPy scalar."""
    found = _kinds.get((value.shape, value.dtype))
    if found is None:
        with _lock:
            found = _kinds.get((value.shape, value.dtype))
            if found is None:
                found = len(KINDS)
                KINDS.append(Aval(value.shape, value.dtype))
                _kinds[value.shape, value.dtype] = found
    return found


class Template:
    """A call as a tape of one output.

    Attributes:
        tape: operands in, then arrays that the call made or took itself.
        number: equal for equal tapes.
        kind: the aval of the output, as a number.
        lazy: whether the value may wait until somebody looks.
        view: whether NumPy's result lies in the memory of the first operand.
        copying: the same call where it gives a copy, if this one gives a view.
    """

    __slots__ = (
        "_as_view",
        "_bounds",
        "_checks",
        "_steps",
        "copying",
        "kind",
        "lazy",
        "name",
        "number",
        "pullbacks",
        "tape",
        "view",
    )

    def __init__(self, tape: Tape, number: int) -> None:
        self.tape = tape
        self.number = number
        self.name = tape.name
        self.view = False
        out = tape.avals[tape.outputs[0]]
        self.kind = kind_of(np.empty(out.shape, out.dtype))
        self.pullbacks: dict[tuple[bool, ...], list[Template | None]] = {}
        self._steps = tuple([_step(instr) for instr in tape.instrs])
        checks = _checks(tape)
        self.lazy = checks is not None
        self._checks = checks or ()
        self._bounds = _bounds(tape) if checks else ()
        self._as_view: Template | None = None
        self.copying = self

    def as_view(self) -> Template:
        """The same call where it gives a view: `x.astype(d, copy=False)`, say."""
        if self.view:
            return self
        if self._as_view is None:
            twin = Template(self.tape, next(_numbers))
            twin.view, twin.copying = True, self
            self._as_view = twin
        return self._as_view

    def evaluate(self, values: Sequence[Any]) -> Any:
        """The output for these operands, by NumPy; memory of its own."""
        out = self.see(values)
        if isinstance(out, np.ndarray) and (
            out.base is not None or not self.tape.instrs
        ):
            out = np.array(out)
        return out

    def see(self, values: Sequence[Any]) -> Any:
        """The same, maybe in the memory of an operand."""
        return call_silent(self._run, values)

    def _run(self, values: Sequence[Any]) -> Any:
        tape = self.tape
        env: dict[int, Any] = {
            i: np.float64(value) if type(value) is float else value
            for i, value in zip(tape.inputs, values, strict=True)
        }
        for step in self._steps:
            step(env)
        out = env[tape.outputs[0]]
        return out if out.shape else out[()]

    def reads(self, place: int) -> bool:
        """Whether the output depends on an operand's value."""
        ref = self.tape.inputs[place]
        return ref in self.tape.outputs or any(
            ref in instr.args for instr in self.tape.instrs
        )

    def check(self, values: Sequence[Any]) -> bool:
        """Whether NumPy would not raise; only asked if it is lazy.

        Args:
            values: of the operands; None for those that are not known.
        """
        if not self._checks:
            return True
        if self._bounds:
            for place, n in self._bounds:
                if not _usual(values[place], n):
                    break
            else:
                return True
        env = dict(zip(self.tape.inputs, values, strict=True))
        try:
            for step in self._checks:
                step(env)
        except (ArithmeticError, LookupError, ValueError):
            return False
        return True

    def __repr__(self) -> str:
        return f"<template {self.number}>\n{self.tape!r}"


def _step(instr: Instr) -> Callable[[dict[int, Any]], None]:
    """One instr as a function on values by ref."""
    reference, args, params = instr.prim.reference, instr.args, instr.params
    if instr.prim.n_out == 1:
        (out,) = instr.outs

        def one(env: dict[int, Any]) -> None:
            env[out] = reference(*[env[a] for a in args], **params)

        return one

    def several(env: dict[int, Any]) -> None:
        results = reference(*[env[a] for a in args], **params)
        env.update(zip(instr.outs, results, strict=True))

    return several


#: Families whose references may raise for some values.
_RAISING = frozenset(("linalg", "host", "control"))
_RAISING_ROWS = frozenset(("wrap_index", "mask_indices"))


def _checks(tape: Tape) -> tuple | None:
    """The steps that may raise, with what they need; None if they need floats.

    What they need from the operands has to be known when the call is recorded, which is
    so for index arrays and masks.
    """
    raising = [
        instr
        for instr in tape.instrs
        if instr.prim.name in _RAISING_ROWS
        or (instr.prim.family in _RAISING and instr.prim is not const)
    ]
    if not raising:
        return ()
    wanted = {a for instr in raising for a in instr.args}
    needed = set(map(id, raising))
    for instr in reversed(tape.instrs):
        if id(instr) in needed or not wanted.isdisjoint(instr.outs):
            needed.add(id(instr))
            wanted.update(instr.args)
    if any(tape.avals[i].dtype.kind == "f" for i in tape.inputs if i in wanted):
        return None
    return tuple([_step(i) for i in tape.instrs if id(i) in needed])


def _bounds(tape: Tape) -> tuple[tuple[int, int], ...]:
    """Which operand has to index how many; empty if that is not all there is to check.

    Most often an index array is an operand itself.
    """
    raising = [
        i
        for i in tape.instrs
        if i.prim.name in _RAISING_ROWS or i.prim.family in _RAISING
    ]
    found = []
    for instr in raising:
        if instr.prim is const:
            continue
        if instr.prim.name != "wrap_index" or instr.args[0] not in tape.inputs:
            return ()
        found.append((tape.inputs.index(instr.args[0]), instr.params["n"]))
    return tuple(found)


_INT64 = np.dtype(np.int64)


def _usual(index: Any, n: int) -> bool:
    """Whether an index array has nothing to wrap, and surely nothing to refuse."""
    if type(index) is not np.ndarray or index.dtype is not _INT64 or not index.size:
        return False
    if index.nbytes > 1024:
        # As unsigned numbers, negative ones are too large.
        return bool(index.view(np.uint64).max() < n)
    # To recognise few numbers takes less than to reduce them.
    key = (n, index.tobytes())
    if key in _usual_ones:
        return True
    if not index.view(np.uint64).max() < n:
        return False
    if len(_usual_ones) >= _MOST:
        _usual_ones.clear()
    _usual_ones.add(key)
    return True


#: Small index arrays that are in bounds, as bytes.
_usual_ones: set[tuple[int, bytes]] = set()
#: Templates by structure; the oldest go when there are too many.
_templates: dict[tuple, Template] = {}
_MOST = 4096
_numbers = iter(range(1 << 62))


def _interned(tape: Tape) -> Template:
    """The template of a tape whose refs are numbered in order."""
    # 1, 1.0 and True are equal, -0.0 and 0.0 too, and NaN is not even itself.
    values = repr([i.params.get("value") for i in tape.instrs])
    key = (
        values,
        tape.name,
        len(tape.inputs),
        tape.outputs,
        tape.avals,
        tuple([(i.prim.name, i.args, tuple(i.params.items())) for i in tape.instrs]),
    )
    with _lock:
        found = _templates.get(key)
        if found is None:
            while len(_templates) >= _MOST:
                del _templates[next(iter(_templates))]
            found = _templates[key] = Template(tape, next(_numbers))
        return found


def _only(rec: Recorder, inputs: Sequence[int], output: Ref) -> Tape:
    """What of a recording the output needs, as a tape of its own."""
    wanted = {output.index}
    kept = []
    for instr in reversed(rec.instrs):
        if instr.prim is not guard and not wanted.isdisjoint(instr.outs):
            wanted.update(instr.args)
            kept.append(instr)
    builder = Builder(rec.name)
    env = {i: builder.input(rec.avals[i]) for i in inputs}
    for instr in reversed(kept):
        builder.copy(instr, env, rec.avals)
    builder.source = None
    for instr in builder.instrs:
        instr.source = None
    return builder.finish([env[output.index]])


class Recorded(NamedTuple):
    """What became of a call.

    Attributes:
        result: the call's result, with a template (or None) in the place of each array.
        made: arrays that are further inputs of every template, behind the operands.
        fixed: whether the templates hold for all operands of these kinds.
    """

    result: Any
    made: tuple[np.ndarray, ...]
    fixed: bool


def record_ufunc(
    name: str, serve: Callable[..., Any], operands: Sequence[Any], weak: Sequence[bool]
) -> Template:
    """The template of a ufunc's call; `weak` operands are Python numbers."""
    rec = Recorder(name)
    tracers = []
    for value, number in zip(operands, weak, strict=True):
        if not number:
            check_dtype(value.dtype)
        tracers.append(rec.input_tracer(value, float if number else None))
    out = serve(*tracers)
    pairs = list(zip(rec.inputs, weak, strict=True))
    arrays = [i for i, number in pairs if not number]
    numbers = [i for i, number in pairs if number]
    assert not rec.hidden
    return _interned(_only(rec, (*arrays, *numbers), out.ref))


def record_call(
    name: str,
    serve: Callable[..., Any],
    operands: Sequence[Any],
    tracked: Sequence[bool],
    rebuild: Callable[[Sequence[Any]], tuple[tuple, dict[str, Any]]],
) -> Recorded:
    """Run `serve` on tracers of the operands.

    Args:
        operands: the arrays among the arguments.
        tracked: which of them are differentiated.
        rebuild: puts tracers (or arrays) in the places of the operands.

    Raises:
        UnsupportedError: the call cannot be recorded, with the user's line.
    """
    try:
        found = _try(name, serve, operands, [True] * len(operands), rebuild)
        if found is not None:
            return found
    except (UnsupportedError, ConcretizationError):
        if all(tracked):
            raise
    # Arrays that decide on the form of the tape are what they are in this call.
    found = _try(name, serve, operands, tracked, rebuild, decided=True)
    assert found is not None
    return found


def _try(
    name: str,
    serve: Callable[..., Any],
    operands: Sequence[Any],
    traced: Sequence[bool],
    rebuild: Callable[[Sequence[Any]], tuple[tuple, dict[str, Any]]],
    decided: bool = False,
) -> Recorded | None:
    """None if the recording holds for these values only and `decided` is not set."""
    rec = Recorder(name)
    given, inputs = [], []
    for value, is_traced in zip(operands, traced, strict=True):
        if is_traced:
            tracer = rec.input_tracer(value)
            inputs.append(tracer.ref.index)
            given.append(tracer)
        else:
            # An input that nothing uses keeps the places of the operands.
            inputs.append(-1)
            given.append(value)
    args, kwargs = rebuild(given)
    result = serve(*args, **kwargs)
    if rec.guards and not decided:
        return None
    made = tuple([np.asarray(rec.values[i]) for i in rec.hidden])
    fixed = not rec.guards and not made and all(traced)
    places = []
    for index, value in zip(inputs, operands, strict=True):
        if index < 0:
            index = rec.new(Aval(value.shape, value.dtype)).index
        places.append(index)
    all_inputs = [*places, *rec.hidden]

    def template(leaf: Any) -> Any:
        if type(leaf) is Tracer:
            return _interned(_only(rec, all_inputs, leaf.ref))
        if type(leaf) in (list, tuple) or hasattr(leaf, "_fields"):
            return [template(item) for item in leaf]
        return None

    return Recorded(template(result), made, fixed)


# --- the reverse rule of a template ---------------------------------------------------


def pullback(template: Template, active: tuple[bool, ...]) -> list[Template | None]:
    """Templates of the cotangents: operands, the output's cotangent, numbers in.

    Args:
        active: which arrays among the operands are differentiated.

    Returns:
        One per operand, None where it is not active.
    """
    found = template.pullbacks.get(active)
    if found is None:
        with _lock:
            found = template.pullbacks[active] = _pullback(template, active)
    return found


def _pullback(template: Template, active: tuple[bool, ...]) -> list[Template | None]:
    rec = Recorder(template.name)
    tape = template.tape
    count = len(active)
    env = {i: rec.input(tape.avals[i]) for i in tape.inputs[:count]}
    ct = rec.input(tape.avals[tape.outputs[0]])
    env |= {i: rec.input(tape.avals[i]) for i in tape.inputs[count:]}
    operands = [env[i] for i in tape.inputs[:count]]
    for instr in tape.instrs:
        rec.replay(instr, env)
    out = env[tape.outputs[0]]
    wrt = [ref for ref, wanted in zip(operands, active, strict=True) if wanted]
    cts = iter(vjp(rec, [out], [ct], wrt))
    templates: list[Template | None] = []
    for ref, wanted in zip(operands, active, strict=True):
        if not wanted:
            templates.append(None)
            continue
        found = next(cts)
        if found is None:
            zero = rec.const(0, ref.dtype)
            shape = {"shape": ref.shape}
            found = rec.emit(PRIMITIVES["broadcast_to"], (zero,), shape)
        templates.append(_interned(_only(rec, rec.inputs, found)))
    return templates
