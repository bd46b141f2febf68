"""A primitive is one row: all that the rest of tracejit knows about an operation.

The rows are in `ops/`, one module a family.  Everything else, the passes, the
interpreter, the emitter and the test sweep, reads the rows and names no primitive
that it does not treat specially on purpose.

Derivatives are stated once, in the form that fits the family:

* `partials` (elementwise): `partials(out, *args)` gives dout/darg for every operand,
  as refs or Python numbers; `None` where the derivative is zero everywhere.  What
  costs more than an instr is a thunk, called only if that operand is differentiated.
  The forward and the reverse rule both follow.
* `multilinear` + `vjp` (structural, products): the operands in which the primitive is
  linear, each for itself; the forward rule follows, `vjp` is the transpose.
* `jvp` + `vjp` (the rest).
* `expand` (special routines): an equal composition of other primitives, through which
  derivatives are taken.
* none of these: the primitive has no derivative; its outputs carry no tangent.

Rules receive refs and are written with the operators and primitives themselves, so
their results can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .avals import Aval

__all__ = ["PRIMITIVES", "Primitive", "register"]


@dataclass(eq=False)
class Primitive:
    """One operation of the tape.

    Attributes:
        name: the word that stands on the tape.
        family: `elementwise`, `reduction`, `structural`, `contraction`, `linalg`,
            `host` or `control`; decides how fusion treats it.
        reference: NumPy implementation, `reference(*arrays, **params)`; a tuple of
            arrays where `n_out` is not 1.
        aval: abstract rule, `aval(*avals, **params)`, same shape of result.
        n_out: number of outputs; None where the params decide.
        partials, multilinear, jvp, vjp: see the module's docstring.
            `jvp(tangents, out, *args, **params)` has None for absent tangents and
            returns the output's tangent (or a tuple); `vjp(ct, out, *args, **params)`
            returns one cotangent (or None, or a thunk) per operand.
        expand: `expand(*args, **params)` emits the composition, returns its output.
        batch: `batch(args, batched, **params)`, all batched operands having the batch
            axis in front; returns the output with its batch axis in front.
        lower: elementwise only, an expression over a, b, c (see `codegen`).
        host: a kernel calls the reference itself, back in Python, on whole contiguous
            arrays; the row needs no lowering.
        into: of host rows whose routine can write its results where they belong:
            `into(outs, *arrays, **params)`, outs being contiguous arrays.
        samples: callables `rng -> (arrays, params)`, the test sweep's inputs.
    """

    name: str
    family: str
    reference: Callable[..., Any]
    aval: Callable[..., Any]
    n_out: int | None = 1
    partials: Callable[..., tuple] | None = None
    multilinear: tuple[int, ...] = ()
    jvp: Callable[..., Any] | None = None
    vjp: Callable[..., tuple] | None = None
    expand: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    lower: str = ""
    host: bool = False
    into: Callable[..., None] | None = None
    samples: tuple[Callable[..., Any], ...] = field(default=(), repr=False)

    @property
    def differentiable(self) -> bool:
        return bool(self.partials or self.vjp or self.expand)

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Emit this primitive on the tape that the operands belong to."""
        for arg in args:
            builder = getattr(arg, "builder", None)
            if builder is not None:
                return builder.emit(self, args, params)
        raise TypeError(f"primitive {self.name} needs at least one ref")

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


PRIMITIVES: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Add a row to the table; a second row of one name is a mistake."""
    if primitive.name in PRIMITIVES:
        raise ValueError(f"primitive {primitive.name} is registered twice")
    PRIMITIVES[primitive.name] = primitive
    return primitive


def same_aval(aval: Aval, *_: Any, **__: Any) -> Aval:
    """The abstract rule of whatever keeps its first operand's shape and dtype."""
    return aval
