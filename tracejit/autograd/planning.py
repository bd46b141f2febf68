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
from .segments import Form, Segment
from .templates import KINDS

__all__ = [
    "Plan",
    "Stats",
    "clear",
    "find_plan",
    "plans",
    "stats",
]

#: So many plans that were used once are compiled; a further one waits for its second
#: use.
UNPROVEN = 8
#: Tapes of more instrs are interpreted: compiling them would take many seconds.
LONGEST = 5000

_NUMBER = Aval((), np.dtype(np.float64))
_ROW = Aval((1,), np.dtype(np.float64))


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
        _guesses.clear()
        _unproven.clear()
        for field in fields(Stats):
            setattr(_stats, field.name, 0)


class Plan:
    """How to compute the gradient of segments of one form.

    Attributes:
        tape: numbers, inputs, given cotangents; then tables of rolled loops.
        used: which inputs the gradient needs.
        executable: the kernel; None as long as the plan is interpreted.
        form: what its segments look like; None until it was used twice.
    """

    def __init__(self, segment: Segment, given: Sequence[bool]) -> None:
        raw, self._tables = _tape(segment, given)
        self.tape = optimise(raw)
        read = {ref for instr in self.tape.instrs for ref in instr.args}
        read |= set(self.tape.outputs)
        places = self.tape.inputs[1 : 1 + len(segment.inputs)]
        needed = _needed(self.tape, len(segment.wrt))
        self.used = [ref in needed for ref in places]
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
        self.form: Form | None = None

    @property
    def kernel(self) -> Any:
        """The compiled kernel, None while NumPy does the work."""
        return None if self.executable is None else self.executable.kernel

    def run(self, segment: Segment, cts: Sequence[Any]) -> tuple:
        """The cotangents of `segment.wrt`, fresh arrays or NumPy scalars."""
        if segment.changed:
            for root in segment.roots:
                root.compute()  # from what was kept when the input changed
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
        outputs = None
        if self.executable is not None:
            _, _, outputs = self.executable.run(*given)
        if outputs is None:
            _stats.interpreted += 1
            outputs = tuple(interpret(self._pruned, [*given, *self._tables]))
        count = len(segment.wrt)
        for root, value in zip(segment.roots, outputs[count:], strict=True):
            if root.known is None:
                root.known = value
        return outputs[:count]

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


def _needed(tape: Tape, count: int) -> set[int]:
    """The refs that the first `count` outputs depend on."""
    needed = set(tape.outputs[:count])
    for instr in reversed(tape.instrs):
        if not needed.isdisjoint(instr.outs):
            needed.update(instr.args)
    return needed


def replace_inputs(tape: Tape, inputs: Sequence[int]) -> Tape:
    """The tape with other inputs."""
    return Tape(tuple(inputs), tape.instrs, tape.outputs, tape.avals, tape.name)


def find_plan(roots: Sequence[GradFn], given: tuple[bool, ...]) -> tuple[Segment, Plan]:
    """The segment behind the roots, and the plan of its form, made if it is new.

    Args:
        given: for each root whether its cotangent is an input; else it is ones.
    """
    if len(roots) > 1:
        segment = Segment.read(roots)
        return segment, _find_plan(segment, given)
    # The form that a root of this template had last is tried first.
    kind = roots[0].template, given
    guess = _guesses.get(kind)
    if guess is not None:
        assert guess.form is not None
        found = guess.form.match(roots[0])
        if found is not None:
            _count(guess)
            return found, guess
    segment = Segment.read(roots)
    plan = _find_plan(segment, given)
    if plan.uses >= 2 and len(segment.order) <= LONGEST:
        if plan.form is None:
            plan.form = Form(segment)
        if len(_guesses) >= config.MAX_SIGNATURES:
            _guesses.clear()
        _guesses[kind] = plan
    return segment, plan


#: Plan that came last, by the root's template.
_guesses: dict[tuple, Plan] = {}


def _count(plan: Plan) -> None:
    """Note that a plan was found."""
    _stats.hits += 1
    if plan.uses < 3:
        plan.use(id(plan))


def _find_plan(segment: Segment, given: tuple[bool, ...]) -> Plan:
    key = (segment.key, given)
    plan = _plans.get(key)
    if plan is None:
        with _lock:
            plan = _plans.get(key)
            if plan is None:
                plan = Plan(segment, given)
                while len(_plans) >= config.MAX_SIGNATURES:
                    _plans.pop(next(iter(_plans)))
                    _guesses.clear()
                _plans[key] = plan
                _stats.plans += 1
                plan.use(id(plan))
                return plan
    _count(plan)
    return plan


def _tape(segment: Segment, given: Sequence[bool]) -> tuple[Tape, list[np.ndarray]]:
    """Forward and backward part of a segment, and the tables of its loops."""
    builder = Builder("backward")
    count = len(segment.numbers)
    numbers = builder.input(Aval((count,), np.dtype(np.float64)))
    (key, root_places, kinds, wrt_places) = segment.key
    inputs = [builder.input(KINDS[k]) for k in kinds]
    made: list[Ref] = []
    used = 0
    words = iter(key)
    for fn in segment.order:
        next(words)  # the template's number
        builder.source = fn.source
        operands = []
        for _ in fn.args:
            place = next(words)
            operands.append(made[place] if place >= 0 else inputs[-1 - place])
        for _ in fn.numbers:
            operands.append(_number(builder, numbers, used))
            used += 1
        tape = fn.template.tape  # type: ignore[union-attr]
        env = dict(zip(tape.inputs, operands, strict=True))
        for instr in tape.instrs:
            outs = [builder.new(tape.avals[out]) for out in instr.outs]
            refs = [env[a] for a in instr.args]
            builder.append(instr.prim, refs, instr.params, outs)
            env.update(zip(instr.outs, outs, strict=True))
        made.append(env[tape.outputs[0]])
    roots = [made[place] for place in root_places]
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
    wrt = [inputs[i] for i in wrt_places]
    found = vjp(builder, roots, cts, wrt)
    outs = [zeros(x) if ref is None else ref for ref, x in zip(found, wrt, strict=True)]
    return builder.finish(outs + roots), tables


def _number(builder: Builder, numbers: Ref, at: int) -> Ref:
    """One of the Python numbers, as a scalar."""
    # Not by `emit`: histories of many thousand entries have as many numbers.
    row, scalar = builder.new(_ROW), builder.new(_NUMBER)
    window = {"start": (at,), "size": (1,), "step": (1,)}
    builder.append(PRIMITIVES["slice"], [numbers], window, [row])
    builder.append(PRIMITIVES["reshape"], [row], {"shape": ()}, [scalar])
    return scalar


def _ones(builder: Builder, aval: Aval) -> Ref:
    one = builder.const(1, aval.dtype)
    return broadcast_to(one, shape=aval.shape) if aval.shape else one
