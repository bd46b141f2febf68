"""Running a program on tracers: from a call to a session, its outputs and checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import config
from ..signature import Call, leaf_names, parameter_names
from ..tracer import Memory, Owner, Promoted, RecordAgain, recording
from .effects import effects_of
from .fast import RECORDINGS
from .outputs import Outputs
from .program import Program, Session

__all__ = ["Recordings"]


class Recordings:
    """Records calls of one program, and remembers its loops from one to the next."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._memories: dict[tuple, Memory] = {}
        self._endless: set[tuple] = set()

    def record(self, call: Call, may_skip: bool = True) -> tuple[Session, Outputs, Any]:
        """Run the function on tracers; everything is put back if it raises.

        Args:
            may_skip: whether rounds of loops may be left out (`tracer.rounds`).
        """
        session = Session(self.program.name)
        session.may_end = session.may_fork = call.key not in self._endless
        session.may_skip = may_skip
        session.memory = self._memory(call.key)
        try:
            outputs, checks = self._run(call, session)
        except Promoted:
            return self.record(call, may_skip)
        except RecordAgain as again:
            if not again.ends:
                if len(self._endless) >= config.MAX_SIGNATURES:
                    self._endless.clear()
                self._endless.add(call.key)
            return self.record(call, may_skip=False)
        except Exception:
            # It may be about an array that is an ordinary one on other paths.
            if session.promoted:
                session.memory.give_up_arrays()
                return self.record(call, may_skip)
            # It may be about values that are those of another round.
            if session.skips:
                return self.record(call, may_skip=False)
            raise
        return session, outputs, checks

    def _memory(self, key: tuple) -> Memory:
        """What is remembered of the loops of a signature."""
        if key not in self._memories:
            while len(self._memories) >= config.MAX_SIGNATURES:
                del self._memories[next(iter(self._memories))]
            self._memories[key] = Memory()
        return self._memories[key]

    def _run(self, call: Call, session: Session) -> tuple[Outputs, Any]:
        tracers = [
            session.input_tracer(value, _WEAK.get(kind[0]))
            for value, kind in zip(call.values, _traced_kinds(call), strict=True)
        ]
        for number, tracer in enumerate(tracers):
            if tracer.shape:
                tracer.memory = Owner(argument=number)
        RECORDINGS.append(session)
        try:
            with recording(session):
                function = session.outside.function(self.program.fun)
                args, kwargs = self._arguments(call, session, tracers)
                result = self.program.inline(function, args, kwargs)
                if session.holes:  # a loop was left in its last round
                    raise RecordAgain
                if session.refusals:  # the user's code caught it and went on
                    raise session.refusals[0]
                outputs = Outputs(session, result)
                delivers = self.program.writes_back
                session.effects = effects_of(session, tracers, call.raw, delivers)
                if session.effects is not None:
                    outputs.add([tracers[i].ref for i in session.effects.delivered])
                session.check_floats()
                session.roll(0, outputs.refs)
        finally:
            RECORDINGS.remove(session)
        checks = session.outside.close()
        if session.effects is not None:
            session.effects.check(session.captures, call, self.program.fun)
        return outputs, checks

    def _arguments(
        self, call: Call, session: Session, tracers: list[Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """The arguments as the recording sees them."""
        outside, fun = session.outside, self.program.fun
        names = leaf_names(call.spec, fun) if call.objects else []
        args, kwargs = call.rebuild(
            tracers, lambda i, value: outside.argument(value, names[i])
        )
        positional = parameter_names(fun, len(args))
        fresh = list(args)
        for i, value in enumerate(args):
            if i in call.static_args:
                fresh[i] = outside.argument(value, positional[i])
            else:
                outside.watched.add_tree(value, positional[i])
        for name, value in kwargs.items():
            if name in call.static_kwargs:
                kwargs[name] = outside.argument(value, name)
            else:
                outside.watched.add_tree(value, name)
        return tuple(fresh), kwargs

    def values(self, call: Call, session: Session, outputs: Outputs) -> tuple[Any, ...]:
        """What the kernel would return, by the values of the recording itself."""
        try:
            values = [session.value(ref) for ref in outputs.refs]
        except (RecordAgain, Exception):
            if not session.skips:
                raise
            # So that NumPy raises at the user's line.
            session, outputs, _ = self.record(call, may_skip=False)
            values = [session.value(ref) for ref in outputs.refs]
        return tuple(
            [
                np.array(v, order="C") if np.ndim(v) else np.asarray(v)[()]
                for v in values
            ]
        )


_WEAK: dict[str, type] = {"float": float, "int": int, "complex": complex}


def _traced_kinds(call: Call) -> list[tuple]:
    kinds = call.key[1]
    return [kinds[i] for i in call.traced]
