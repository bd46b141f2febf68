"""The branch: one of two tapes is run, which one is decided at run time.

    %5: f64[] = branch %4 %1 %2
      yes: tape yes(%0: f64[], %1: f64[]):
        ...
      no: tape no(%0: f64[], %1: f64[]):
        ...

The first operand is a bool (0-d), the others are the inputs of both tapes, which give
results of the same avals.  Nothing of the side that is not taken is computed, so what
would raise, leave at a guard or make a NaN there does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..interpret import interpret
from ..primitive import Primitive, register
from ..tape import Tape

__all__ = ["branch"]

_FLAG = Aval((), np.dtype(np.bool_))


def _reference(pred: Any, *args: Any, yes: Tape, no: Tape) -> tuple:
    return tuple(interpret(yes if pred else no, args))


def _aval(pred: Aval, *avals: Aval, yes: Tape, no: Tape) -> tuple[Aval, ...]:
    if pred != _FLAG:
        raise InvalidTapeError(f"branch on {pred!r}; it must be bool[]")
    for side in (yes, no):
        wanted = [side.avals[ref] for ref in side.inputs]
        if list(avals) != wanted:
            raise InvalidTapeError(f"branch over {avals}, one side takes {wanted}")
    outs, others = ([s.avals[ref] for ref in s.outputs] for s in (yes, no))
    if outs != others:
        raise InvalidTapeError(f"the sides of a branch give {outs} and {others}")
    return tuple(outs)


branch = register(Primitive("branch", "control", _reference, _aval, n_out=None))
