"""From a stretch of history to a kernel that computes its gradient.

    y = x * 2.0; z = exp(y)          tape backward(%0: f64[1], %1: f64[3], %2: f64[3]):
                                       %3: f64[] = ...      (the 2.0, from %0)
    a segment of two entries    ->     %4: f64[3] = mul %1 %3
                                       %5: f64[3] = exp %4
                                       %6: f64[3] = mul %2 %5
                                       %7: f64[3] = mul %6 %3
                                       return %7

A segment is spelled by the numbers of its templates and by who made whose operands.
This key is a tuple of ints, so that finding the plan of a step that was done before
costs about a microsecond an entry.  A plan that is new becomes a tape, goes through the
same passes as a `@grad` function, and finds or compiles a kernel by structural key.

1. The kernel computes the values between the leaves again, so forward and backward part
   are fused, and loops of the user's code are rolled with their residuals inside.
2. Python numbers come in one array, so that those of a loop are rows of it.
3. A program that never takes the same form twice is interpreted: at most `UNPROVEN`
   plans are compiled that were not used again.  So are very long tapes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .. import config
from ..avals import Aval, aval_of
from ..interpret import interpret
from ..kernel import Executable, compile_tape
from ..ops.rows import zeros
from ..ops.structural import broadcast_to
from ..passes import optimise
from ..passes.reroll import reroll
from ..passes.vjp import vjp
from ..primitive import PRIMITIVES
from ..tape import Builder, Ref, Tape
from .history import GradFn
from .templates import KINDS, kind_of
from .variable import Variable, fail, version

__all__ = [
    "Plan",
    "Segment",
    "Stats",
    "clear",
    "find_plan",
    "plans",
    "reachable",
    "require_version",
    "stats",
]

#: So many plans that were used once are compiled; a further one waits for its second
#: use.
UNPROVEN = 8
#: Tapes of more instrs are interpreted: compiling them would take many seconds.
LONGEST = 5000

_NUMBER = Aval((), np.dtype(np.float64))


@dataclass
class Stats:
    """What `backward()` and `grad()` did so far, in all threads.

    Attributes:
        plans: forms of history that were seen, each became a tape.
        hits: gradients that found their plan.
        kernels_compiled: kernels that were compiled.
        kernels_reused: plans that found their kernel compiled already.
        interpreted: gradients computed by NumPy on the tape.
    """

    plans: int = 0
    hits: int = 0
    kernels_compiled: int = 0
    kernels_reused: int = 0
    interpreted: int = 0

    def __str__(self) -> str:
        return "\n".join(
            f"{field.name:<17}{getattr(self, field.name):>8}" for field in fields(self)
        )


_stats = Stats()
_plans: dict[tuple, Plan] = {}
_unproven: set[int] = set()
_lock = threading.RLock()


def stats() -> Stats:
    """Counters of plans and kernels; see `Stats`."""
    return replace(_stats)


def plans() -> list[Plan]:
    """The plans in use; each has `.tape` and `.kernel`."""
    return list(_plans.values())


def clear() -> None:
    """Forget all plans and counters; kernels stay where they are."""
    with _lock:
        _plans.clear()
        _unproven.clear()
        for field in fields(Stats):
            setattr(_stats, field.name, 0)


class Segment:
    """A stretch of history between its roots and where the gradient goes.

    Attributes:
        order: the entries, in the order of recording.
        leaves: variables that are differentiated, and `cuts`: entries at which the
            gradient stops for now.
        constants: variables and arrays that are not differentiated.
        numbers: Python numbers.
        key: the form, as ints.
    """

    def __init__(self, roots: Sequence[GradFn]) -> None:
        self.roots = roots
        self.order = reachable(roots)
        self.leaves: list[Variable] = []
        self.cuts: list[GradFn] = []
        self.constants: list[Any] = []
        self.numbers: list[float] = []
        self.versions: list[int] = []
        self.inputs: list[Any] = []
        self.codes: list[tuple[int, ...]] = []
        self._places: dict[int, int] = {}
        self._read()

    def _read(self) -> None:
        places = self._places
        key: list[int] = []
        codes = self.codes
        for number, fn in enumerate(self.order):
            template = fn.template
            code = []
            for i, arg in enumerate(fn.args):
                if type(arg) is float:
                    self.numbers.append(arg)
                    code.append(-1)
                    continue
                place = places.get(id(arg))
                if place is None:
                    place = self._input(arg, fn.versions[i])
                elif type(arg) is Variable:
                    self._same_version(arg, place, fn.versions[i])
                code.append(place)
            places[id(fn)] = number
            codes.append(tuple(code))
            key.append(template.number)  # type: ignore[union-attr]
            key += code
        self.key = (
            tuple(key),
            tuple([places[id(root)] for root in self.roots]),
            tuple([self._wrt(arg) for arg in self.inputs]),
        )

    def _input(self, arg: Any, seen: int) -> int:
        """Places below -1 count the inputs: -2, -3, ..."""
        self.inputs.append(arg)
        place = -1 - len(self.inputs)
        self._places[id(arg)] = place
        if isinstance(arg, GradFn):
            self.cuts.append(arg)
            assert arg.extra is not None
            seen = arg.extra.version
        elif type(arg) is Variable and arg.level:
            self.leaves.append(arg)
        else:
            self.constants.append(arg)
        self.versions.append(seen)
        return place

    def _same_version(self, arg: Variable, place: int, seen: int) -> None:
        """A leaf that was used, changed and used again: neither state is in use now,
        or one of them is not."""
        if seen != self.versions[-2 - place]:
            self.versions[-2 - place] = -1

    def _wrt(self, arg: Any) -> bool:
        return isinstance(arg, GradFn) or (type(arg) is Variable and arg.level > 0)

    @property
    def wrt(self) -> list[Any]:
        """Leaves and cuts in the order of the plan's results."""
        return [arg for arg in self.inputs if self._wrt(arg)]

    def holder(self, arg: Any) -> Any:
        """The variable (or array) that has the value of an input."""
        if isinstance(arg, GradFn):
            assert arg.extra is not None
            return arg.extra.value
        return arg

    def values(self, used: Sequence[bool]) -> list[Any]:
        """The values of the inputs; raises if one that is used was changed in place."""
        found = []
        for arg, seen, needed in zip(self.inputs, self.versions, used, strict=True):
            holder = self.holder(arg)
            if type(holder) is Variable:
                if needed:
                    require_version(holder, seen)
                found.append(holder.value)
            else:
                found.append(holder)
        return found


def require_version(x: Variable, seen: int) -> None:
    """Refuse a variable that was written to since it was used."""
    if version(x) == seen:
        return
    raise fail(
        f"an array of shape {list(x.shape)} that the gradient needs was changed in "
        "place after it was used",
        "Change it after backward(), or use a copy: x.clone()",
    )


def reachable(roots: Sequence[GradFn], through: bool = False) -> list[GradFn]:
    """The entries behind the roots, in the order of recording.

    Args:
        through: whether to go on behind cuts.
    """
    found: dict[int, GradFn] = {}
    stack = list(roots)
    while stack:
        fn = stack.pop()
        if id(fn) in found:
            continue
        if fn.freed:
            raise fail(
                "backward() through a history that an earlier backward() has freed",
                "Call the earlier one with retain_graph=True",
            )
        found[id(fn)] = fn
        for arg in fn.args:
            if isinstance(arg, GradFn) and (through or arg.extra is None):
                stack.append(arg)
    return sorted(found.values(), key=_serial)


def _serial(fn: GradFn) -> int:
    return fn.serial


class Plan:
    """How to compute the gradient of segments of one form.

    Attributes:
        tape: numbers, inputs, given cotangents; then tables of rolled loops.
        used: which inputs the gradient needs.
        executable: the kernel; None as long as the plan is interpreted.
    """

    def __init__(self, segment: Segment, given: Sequence[bool]) -> None:
        raw, self._tables = _tape(segment, given)
        self.tape = optimise(raw)
        read = {ref for instr in self.tape.instrs for ref in instr.args}
        read |= set(self.tape.outputs)
        places = self.tape.inputs[1 : 1 + len(segment.inputs)]
        self.used = [ref in read for ref in places]
        avals = [self.tape.avals[ref] for ref in self.tape.inputs]
        #: Inputs that the gradient does not need are left out of the kernel.
        end = len(avals) - len(self._tables)
        self._kept = [i for i, r in enumerate(self.tape.inputs[:end]) if r in read]
        self._scalar = [not avals[i].shape for i in self._kept]
        self._all = len(self._kept) == end
        tables = self.tape.inputs[end:]
        self._pruned = replace_inputs(
            self.tape, [self.tape.inputs[i] for i in self._kept] + list(tables)
        )
        self.executable: Executable | None = None
        self.uses = 0

    @property
    def kernel(self) -> Any:
        """The compiled kernel, None while NumPy does the work."""
        return None if self.executable is None else self.executable.kernel

    def run(self, segment: Segment, cts: Sequence[Any]) -> tuple:
        """The cotangents of `segment.wrt`, fresh arrays or NumPy scalars."""
        values = [np.array(segment.numbers), *segment.values(self.used), *cts]
        given = []
        for i, scalar in zip(self._kept, self._scalar, strict=True):
            value = values[i]
            if scalar:
                given.append(value[()])
            elif value.flags.c_contiguous:
                given.append(value)
            else:
                given.append(np.ascontiguousarray(value))
        if self.executable is not None:
            status, _, outputs = self.executable.run(*given)
            if status == 0 and outputs is not None:
                return outputs
        _stats.interpreted += 1
        return tuple(interpret(self._pruned, [*given, *self._tables]))

    def use(self, number: int) -> None:
        """Compile if it is time to."""
        self.uses += 1
        if self.uses == 2:
            _unproven.discard(number)
        if self.executable is not None or len(self._pruned.instrs) > LONGEST:
            return
        if self.uses == 1:
            if len(_unproven) >= UNPROVEN:
                return
            _unproven.add(number)
        with _lock:
            if self.executable is None:
                self.executable = compile_tape(self._pruned, self._tables)
                if self.executable.compiled:
                    _stats.kernels_compiled += 1
                else:
                    _stats.kernels_reused += 1


def replace_inputs(tape: Tape, inputs: Sequence[int]) -> Tape:
    """The tape with other inputs."""
    return Tape(tuple(inputs), tape.instrs, tape.outputs, tape.avals, tape.name)


def find_plan(segment: Segment, given: Sequence[bool]) -> Plan:
    """The plan of a segment's form, made if it is new.

    Args:
        given: for each root whether its cotangent is an input; else it is ones.
    """
    key = (*segment.key, tuple(given), tuple([kind(a) for a in segment.inputs]))
    plan = _plans.get(key)
    if plan is None:
        with _lock:
            plan = _plans.get(key)
            if plan is None:
                plan = Plan(segment, given)
                while len(_plans) >= config.MAX_SIGNATURES:
                    _plans.pop(next(iter(_plans)))
                _plans[key] = plan
                _stats.plans += 1
                plan.use(id(plan))
                return plan
    _stats.hits += 1
    if plan.uses < 3:
        plan.use(id(plan))
    return plan


def kind(arg: Any) -> int:
    """The aval of an input, as a number."""
    if type(arg) is Variable:
        return arg.kind
    if isinstance(arg, GradFn):
        assert arg.extra is not None
        return arg.extra.value.kind
    return kind_of(arg)


def _tape(segment: Segment, given: Sequence[bool]) -> tuple[Tape, list[np.ndarray]]:
    """Forward and backward part of a segment, and the tables of its loops."""
    builder = Builder("backward")
    count = len(segment.numbers)
    numbers = builder.input(Aval((count,), np.dtype(np.float64)))
    inputs = [builder.input(KINDS[kind(arg)]) for arg in segment.inputs]
    made: list[Ref] = []
    used = 0
    for fn, code in zip(segment.order, segment.codes, strict=True):
        builder.source = fn.source
        operands = []
        for place in code:
            if place == -1:
                operands.append(_number(builder, numbers, used))
                used += 1
            else:
                operands.append(made[place] if place >= 0 else inputs[-2 - place])
        tape = fn.template.tape  # type: ignore[union-attr]
        env = dict(zip(tape.inputs, operands, strict=True))
        for instr in tape.instrs:
            outs = [builder.new(tape.avals[out]) for out in instr.outs]
            refs = [env[a] for a in instr.args]
            builder.append(instr.prim, refs, instr.params, outs)
            env.update(zip(instr.outs, outs, strict=True))
        made.append(env[tape.outputs[0]])
    places = {id(fn): i for i, fn in enumerate(segment.order)}
    roots = [made[places[id(root)]] for root in segment.roots]
    tables: list[np.ndarray] = []
    late: list[Ref] = []

    def table(array: np.ndarray) -> Ref:
        tables.append(array)
        late.append(builder.new(aval_of(array)))
        return late[-1]

    builder.source = None
    reroll(builder, 0, [root.index for root in roots], table)
    cts = [
        builder.input(root.aval) if wanted else _ones(builder, root.aval)
        for root, wanted in zip(roots, given, strict=True)
    ]
    builder.inputs += [ref.index for ref in late]
    wrt = [
        ref
        for ref, arg in zip(inputs, segment.inputs, strict=True)
        if segment._wrt(arg)
    ]
    found = vjp(builder, roots, cts, wrt)
    outs = [zeros(x) if ref is None else ref for ref, x in zip(found, wrt, strict=True)]
    return builder.finish(outs), tables


def _number(builder: Builder, numbers: Ref, at: int) -> Ref:
    """One of the Python numbers, as a scalar."""
    row = PRIMITIVES["slice"](numbers, start=(at,), size=(1,), step=(1,))
    return PRIMITIVES["reshape"](row, shape=())


def _ones(builder: Builder, aval: Aval) -> Ref:
    one = builder.const(1, aval.dtype)
    return broadcast_to(one, shape=aval.shape) if aval.shape else one
