"""One walk over a tape in two domains: avals (the verifier) and arrays (the oracle).

interpret(tape, arrays)   what every kernel's answer is compared with
verify(tape)              the rules of the IR, checked after every pass in tests
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .avals import aval_of
from .errors import InvalidTapeError, TracejitError, message
from .primitive import Primitive
from .tape import Instr, Tape, guard
from .text import print_instr

__all__ = ["GuardFailed", "interpret", "verify", "walk"]


class GuardFailed(TracejitError):
    """A guard's value is not the recorded one.

    Attributes: exit (number of the guard's side exit), outcome (the actual value).
    """

    def __init__(self, exit: int, outcome: Any) -> None:
        super().__init__(f"guard failed: exit {exit}, outcome {outcome!r}")
        self.exit = exit
        self.outcome = outcome


def walk(
    tape: Tape, inputs: Iterable[Any], apply: Callable[[Instr, list[Any]], tuple]
) -> list[Any]:
    """Run `apply(instr, operands) -> outputs` in order; return the tape's outputs."""
    env: list[Any] = [None] * len(tape.avals)
    for ref, value in zip(tape.inputs, inputs, strict=True):
        env[ref] = value
    for instr in tape.instrs:
        outs = apply(instr, [env[a] for a in instr.args])
        for ref, value in zip(instr.outs, outs, strict=True):
            env[ref] = value
    return [env[ref] for ref in tape.outputs]


def evaluate(prim: Primitive, operands: list[Any], params: dict[str, Any]) -> tuple:
    """The references' answer, always as a tuple."""
    out = prim.reference(*operands, **params)
    return (out,) if prim.n_out == 1 else tuple(out)


def _apply_arrays(instr: Instr, operands: list[Any]) -> tuple:
    if instr.prim is guard:
        outcome = operands[0].item() if operands[0].ndim == 0 else operands[0]
        if not np.array_equal(outcome, instr.params["expected"]):
            number = int(operands[1]) if len(operands) > 1 else 0
            raise GuardFailed(instr.params["exit"] + number, outcome)
        return ()
    return evaluate(instr.prim, operands, instr.params)


def _fresh(value: Any, taken: list[np.ndarray]) -> Any:
    """A result that shares no memory with an input, a constant or another result."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    shared = value.base is not None or any(value is other for other in taken)
    out = value.copy() if shared or not value.flags.c_contiguous else value
    taken.append(out)
    return out


def interpret(tape: Tape, arrays: Sequence[Any]) -> list[Any]:
    """Run `tape` with the primitives' NumPy references.

    Args:
        tape: any tape that `verify` accepts.
        arrays: one array or NumPy scalar per input, of exactly the input's aval.

    Returns:
        One fresh array per output, a NumPy scalar where the shape is ().

    Raises:
        GuardFailed: a guard's value differs from the expected one.
        ValueError: an input's shape or dtype is not the tape's.

    Example:
        >>> import numpy as np
        >>> import tracejit.ops
        >>> from tracejit.text import parse_tape
        >>> tape = parse_tape('''
        ... tape double(%0: f64[2]):
        ...   %1: f64[2] = add %0 %0
        ...   return %1
        ... ''')
        >>> interpret(tape, [np.array([1.0, 2.0])])
        [array([2., 4.])]
    """
    values = [
        x if isinstance(x, (np.ndarray, np.generic)) else np.asarray(x) for x in arrays
    ]
    avals = [tape.avals[ref] for ref in tape.inputs]
    for i, (value, aval) in enumerate(zip(values, avals, strict=True)):
        if value.shape != aval.shape:
            raise ValueError(f"input {i} is {aval_of(value)!r}, the tape has {aval!r}")
        if value.dtype != aval.dtype:
            # A Python number comes as what NumPy makes of it.
            values[i] = value.astype(aval.dtype)
    with np.errstate(all="ignore"):
        outputs = walk(tape, values, _apply_arrays)
    taken = [v for v in values if isinstance(v, np.ndarray)]
    return [_fresh(value, taken) for value in outputs]


def _invalid(tape: Tape, instr: Instr, what: str) -> InvalidTapeError:
    where = f"{instr.source}" if instr.source else ""
    return InvalidTapeError(
        message(f"{what}\n    {print_instr(tape, instr)}", where=where)
    )


def verify(tape: Tape) -> Tape:
    """Check single assignment, definition before use, avals and params.

    Returns:
        The tape itself, so that a test can write `verify(optimise(tape))`.

    Raises:
        InvalidTapeError: with the rule, the instr, and the user's line.
    """
    defined = set()
    for ref in tape.inputs:
        if ref in defined:
            raise InvalidTapeError(f"%{ref} is an input twice")
        defined.add(ref)
    for instr in tape.instrs:
        for ref in instr.args:
            if ref not in defined:
                raise _invalid(tape, instr, f"%{ref} is used before its definition")
        for ref in instr.outs:
            if ref in defined:
                raise _invalid(tape, instr, f"%{ref} is defined twice")
            defined.add(ref)
        _verify_avals(tape, instr)
        try:
            hash(tuple(instr.params.values()))
        except TypeError:
            raise _invalid(tape, instr, "a param is not hashable") from None
        for value in instr.params.values():
            if isinstance(value, Tape):
                _verify_body(tape, instr, value)
    for ref in tape.outputs:
        if ref not in defined:
            raise InvalidTapeError(f"the output %{ref} is not defined")
    return tape


def _verify_body(tape: Tape, instr: Instr, body: Tape) -> None:
    try:
        verify(body)
    except InvalidTapeError as error:
        raise _invalid(tape, instr, f"{error}\n  in the tape {body.name} of") from error


def _verify_avals(tape: Tape, instr: Instr) -> None:
    operands = [tape.avals[ref] for ref in instr.args]
    try:
        out = instr.prim.aval(*operands, **instr.params)
    except (InvalidTapeError, TypeError, ValueError, IndexError) as error:
        raise _invalid(tape, instr, str(error)) from error
    expected = (out,) if instr.prim.n_out == 1 else tuple(out)
    actual = tuple(tape.avals[ref] for ref in instr.outs)
    if expected != actual:
        text = f"the outputs are {actual}, by the abstract rule {expected}"
        raise _invalid(tape, instr, text)
