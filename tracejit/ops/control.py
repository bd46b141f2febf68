"""Control primitives: what stands on the tape for a derivative's sake.

`custom_vjp`, `custom_jvp` and `checkpoint` are identities: outputs equal the operands
y0, y1, ..., which were computed in front of them, and the remaining operands are the
arguments x0, x1, ... that a rule is given.  Their derivative ignores the y and asks the
param `rule`:

    rule.vjp(builder, cts, xs) -> cotangents of the xs        (None stands for zero)
    rule.jvp(builder, tangents, xs) -> tangents of the ys

`custom_jvp` in reverse mode takes `rule.vjp` if there is one; otherwise the vjp pass
transposes what `rule.jvp` emits.  `simplify` replaces all three by their y operands.

`barrier` is an identity too, but one that no pass looks through: two barriers of one
value are different values, so what a checkpoint computes again stays computed again.
"""

from __future__ import annotations

from typing import Any

from ..errors import DifferentiationError
from ..primitive import Primitive, register
from ..tape import const, guard
from ..text import rule_name
from .rows import REAL, sample

__all__ = ["barrier", "checkpoint", "const", "custom_jvp", "custom_vjp", "guard"]


def _leading(*values: Any, rule: Any, n: int) -> tuple:
    return values[:n]


def _rule_vjp(cts: Any, outs: Any, *args: Any, rule: Any, n: int) -> tuple:
    xs = list(args[n:])
    return (None,) * n + tuple(rule.vjp(xs[0].builder, list(cts), xs))


def _rule_jvp(tangents: Any, outs: Any, *args: Any, rule: Any, n: int) -> tuple:
    xs = list(args[n:])
    return tuple(rule.jvp(xs[0].builder, list(tangents[n:]), xs))


def _no_jvp(tangents: Any, outs: Any, *args: Any, rule: Any, n: int) -> tuple:
    raise DifferentiationError(
        f"{rule_name(rule)} has a custom reverse rule only, so forward mode cannot"
        " pass through it. Use grad, vjp or jacrev, or give it a custom_jvp rule."
    )


def _identity(name: str, **rules: Any) -> Primitive:
    return register(Primitive(name, "control", _leading, _leading, n_out=None, **rules))


barrier: Primitive = register(
    Primitive(
        "barrier",
        "control",
        lambda x: x,
        lambda aval: aval,
        multilinear=(0,),
        vjp=lambda ct, y, x: (ct,),
        batch=lambda args, batched: barrier(args[0]),
        samples=(sample(((2, 3), REAL)), sample(((2,), REAL, "f4"))),
    )
)
custom_vjp = _identity("custom_vjp", vjp=_rule_vjp, jvp=_no_jvp)
custom_jvp = _identity("custom_jvp", vjp=_rule_vjp, jvp=_rule_jvp)
#: Forward mode needs no residuals, so it goes through the y that are there already.
checkpoint = _identity(
    "checkpoint",
    vjp=_rule_vjp,
    jvp=lambda tangents, outs, *args, rule, n: tuple(tangents[:n]),
)
