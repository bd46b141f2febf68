"""The loop: a body tape run a number of times.

    %5: f64[], %6: f64[100] = loop %1 %2 %3 {body=..., trip=100, consts=1, carries=1}

Operands are the loop-invariant values (`consts`), the start values of what is carried
from one iteration to the next (`carries`), and stacks `xs` of which each iteration gets
its own row.  The body's inputs are the counter (int64, 0-d), the consts, the carries
and a row of each of the xs; its outputs are the new carries and the rows of the results
that are stacked.  With `reverse` the counter runs from trip - 1 down to 0.

How often it runs may be known only at run time; `trip` is then a bound, and the rows of
stacks beyond the iterations that were run are never read:

test     the first carry is a bool: the loop ends as soon as it is False.  The second
         carry is int64 and counts the iterations.  Still True at the end means that
         the bound was too low, which a guard behind the loop sees.
counted  the first of the consts is an int64, the number of iterations.  So does the
         derivative of a loop with a test run over what that loop has stacked.
family   a number shared by a loop with a test and all that run as often as it did; 0
         for none.  Their bound may be raised, together (`passes.loops.grow`).
most     no bound of the family is higher; 0 if there is no limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..interpret import interpret
from ..primitive import Primitive, register
from ..tape import Tape

__all__ = ["loop"]

_FLAG, _NUMBER = Aval((), np.dtype(np.bool_)), Aval((), np.dtype(np.int64))


def _reference(
    *args: Any,
    body: Tape,
    trip: int,
    consts: int,
    carries: int,
    reverse: bool,
    test: bool = False,
    counted: bool = False,
    family: int = 0,
    most: int = 0,
) -> tuple:
    fixed, state = args[:consts], list(args[consts : consts + carries])
    xs = args[consts + carries :]
    avals = [body.avals[r] for r in body.outputs[carries:]]
    # Zeros, so that rows that nobody computes do not warn when they are copied about.
    stacks = [np.zeros((trip, *a.shape), a.dtype) for a in avals]
    count = min(int(fixed[0]), trip) if counted else trip
    for i in range(count - 1, -1, -1) if reverse else range(count):
        if test and not state[0]:
            break
        rows = [x[i] for x in xs]
        out = interpret(body, [np.int64(i), *fixed, *state, *rows])
        state = out[:carries]
        for stack, row in zip(stacks, out[carries:], strict=True):
            stack[i] = row
    return (*state, *stacks)


def _aval(
    *avals: Aval,
    body: Tape,
    trip: int,
    consts: int,
    carries: int,
    reverse: bool,
    test: bool = False,
    counted: bool = False,
    family: int = 0,
    most: int = 0,
) -> tuple[Aval, ...]:
    state, xs = avals[consts : consts + carries], avals[consts + carries :]
    rows = [Aval(x.shape[1:], x.dtype) for x in xs]
    wanted = [body.avals[r] for r in body.inputs[1:]]
    if [*avals[:consts], *state, *rows] != wanted:
        raise InvalidTapeError(f"loop of a body with inputs {wanted} over {avals}")
    if any(x.shape[0] != trip for x in xs):
        raise InvalidTapeError(f"loop of {trip} iterations over {xs}")
    if test and (reverse or [*state[:2]] != [_FLAG, _NUMBER]):
        raise InvalidTapeError(f"loop with a test carries {state}")
    if counted and (consts < 1 or avals[0] != _NUMBER):
        raise InvalidTapeError(f"counted loop of a number of iterations {avals[:1]}")
    outs = [body.avals[r] for r in body.outputs]
    if list(state) != outs[:carries]:
        raise InvalidTapeError(f"loop carries {state} but its body gives {outs}")
    return (*state, *(Aval((trip, *a.shape), a.dtype) for a in outs[carries:]))


loop = register(Primitive("loop", "control", _reference, _aval, n_out=None))
