"""Functions inside `@grad` functions: a custom rule of the recorder.

While a function is recorded, the arguments of `Mul.apply` are traced values.  The class
becomes a `custom_vjp` then: `forward` computes result and residuals (what `ctx` keeps),
`backward` is its rule, and both are recorded with all else into one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api import custom_vjp
from ..dispatch import session_function
from ..errors import ArgumentError, message
from ..signature import caller
from ..tracer import Tracer, active_recorder

__all__ = ["apply_traced", "gradient_count", "gradient_shape", "is_traced"]


def is_traced(args: Sequence[Any]) -> bool:
    """Whether a call belongs to a function that is being recorded."""
    return active_recorder() is not None and any(type(a) is Tracer for a in args)


def apply_traced(function: Any, context: Callable[..., Any], args: tuple) -> Any:
    """`function.apply(*args)` on traced values.

    Args:
        context: makes the `ctx` of one call from `needs_input_grad`.
    """
    rule = _rules.get(function)
    if rule is None:
        rule = _rules[function] = _rule(function, context)
    return rule(*args)


_rules: dict[Any, custom_vjp] = {}


def _rule(function: Any, context: Callable[..., Any]) -> custom_vjp:
    def forward(*args: Any) -> tuple[Any, Any]:
        needs = [type(a) is Tracer and a.dtype.kind == "f" for a in args]
        ctx = context(tuple(needs))
        rec = active_recorder()
        run = function.forward
        if rec is not None:
            run = session_function(rec, run)
        return run(ctx, *args), ctx

    def plain(*args: Any) -> Any:
        return forward(*args)[0]

    def fwd(*args: Any) -> tuple[Any, Any]:
        out, ctx = forward(*args)
        shapes = tuple([np.shape(a) for a in args])
        return out, (ctx.parts(), shapes)

    def bwd(residuals: Any, ct: Any) -> tuple:
        parts, shapes = residuals
        ctx = context.rebuilt(parts)  # type: ignore[attr-defined]
        rec = active_recorder()
        run = function.backward
        if rec is not None:
            run = session_function(rec, run)
        answer = run(ctx, *(ct if isinstance(ct, tuple) else (ct,)))
        answers = answer if isinstance(answer, tuple) else (answer,)
        while len(answers) > len(shapes) and answers[-1] is None:
            answers = answers[:-1]
        if len(answers) != len(shapes):
            raise _error(gradient_count(function, len(answers), len(shapes)))
        # As for variables: what is no input of the gradient is not looked at.
        needs = ctx.needs_input_grad
        answers = tuple(
            [a if need else None for a, need in zip(answers, needs, strict=True)]
        )
        for i, (found, shape) in enumerate(zip(answers, shapes, strict=True)):
            if found is not None and np.shape(found) != shape:
                raise _error(gradient_shape(function, i, np.shape(found), shape))
        return answers

    rule = custom_vjp(plain)
    rule.name = function.__name__
    rule.defvjp(fwd, bwd)
    return rule


def gradient_count(function: Any, found: int, wanted: int) -> tuple[str, str]:
    """The words for a wrong number of gradients."""
    what = (
        f"{function.__name__}.backward returned {found} gradient{'s' * (found != 1)} "
        f"for {wanted} input{'s' * (wanted != 1)} of forward"
    )
    return what, "Return one gradient per input, None where there is none"


def gradient_shape(
    function: Any, number: int, found: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[str, str]:
    """The words for a gradient of a wrong shape."""
    what = (
        f"{function.__name__}.backward returned a gradient of shape {list(found)} for "
        f"input {number}, whose shape is {list(wanted)}"
    )
    return what, "Return a gradient of the shape of the input"


def _error(words: tuple[str, str]) -> ArgumentError:
    what, way_out = words
    return ArgumentError(message(what, where=caller(), way_out=way_out))
