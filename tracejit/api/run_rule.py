"""Running a user's derivative rule where a pass meets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..avals import Aval, is_float
from ..dispatch import Session
from ..errors import ArgumentError, UnsupportedError, message
from ..signature import caller
from ..tape import Builder, Ref
from ..tracer import Recorder, Tracer, recording
from .leaves import cast, shape_text

__all__ = ["Body", "as_derivative", "on_recorder"]

#: Runs a user's rule: `body(recorder, moves, xs)`.
Body = Callable[[Recorder, list[Ref | None], list[Ref]], list[Ref | None]]


def on_recorder(
    name: str,
    known: Sequence[Any] | None,
    builder: Builder,
    moves: Sequence[Ref | None],
    xs: Sequence[Ref],
    body: Body,
) -> list[Ref | None]:
    """Run `body`, which runs the user's rule, so that its instrs go to `builder`.

    A builder that is no recorder has no values to run Python on: a session of its own
    stands in, with the values `known` of the recorded call, and ones for `moves`.
    """
    if isinstance(builder, Recorder):
        return body(builder, list(moves), list(xs))
    session = Session(name)
    given = [m for m in moves if m is not None]
    if known is None:
        known = [np.ones(x.shape, x.dtype) for x in xs]
    values = [np.ones(m.shape, m.dtype) for m in given] + list(known)
    inner = [session.input_value(np.asarray(v)[()]) for v in values]
    replaced = iter(inner)
    mine = [None if m is None else next(replaced) for m in moves]
    with recording(session):
        results = body(session, mine, list(replaced))
    if session.guards or session.hidden:
        raise UnsupportedError(
            message(
                f"the rule of {name} decides on values, or uses arrays from "
                "outside, where it is applied to a batch or in a loop",
                where=caller(),
                way_out="Use np.where in the rule, and pass arrays as arguments",
            )
        )
    env = dict(zip([r.index for r in inner], [*given, *xs], strict=True))
    for instr in session.instrs:
        builder.replay(instr, env)
    return [None if r is None else env[r.index] for r in results]


def as_derivative(rec: Recorder, leaf: Any, aval: Aval, what: str) -> Ref | None:
    """One leaf of what a rule returned, of the aval that it has to have."""
    if leaf is None or not is_float(aval):
        return None
    dtype = leaf.dtype if type(leaf) is Tracer else np.asarray(leaf).dtype
    if np.shape(leaf) != aval.shape or dtype.kind not in "iuf":
        raise ArgumentError(
            message(
                f"{what} returned {shape_text(leaf)} for {aval!r}",
                where=caller(),
                way_out="Derivatives have the shape of what they belong to, and are "
                "real",
            )
        )
    if type(leaf) is Tracer:
        return cast(leaf.ref, aval.dtype)
    array = np.asarray(leaf, aval.dtype)
    return rec.capture(array) if array.ndim else rec.const(array[()], aval.dtype)
