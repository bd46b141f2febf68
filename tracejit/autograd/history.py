"""How a value was made: the history behind a variable, one entry per call.

An entry holds what the call was given, and nothing of what it gave, so that history
without a reader dies by reference counts: a training loop leaves nothing behind.  The
arguments of a call are

    GradFn     what another call made
    Variable   a leaf, or a variable without gradient
    float      a Python number
    ndarray    a copy of an ordinary array, or a NumPy scalar

Values between the leaves are not kept.  `backward` makes a tape of the history and
computes them again, in the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..tape import Source

if TYPE_CHECKING:
    from .templates import Template

__all__ = ["SERIAL", "AccumulateGrad", "Extra", "GradFn", "camel"]

#: Numbers the entries of all threads in the order of their making.
SERIAL = itertools.count(1)


def camel(name: str) -> str:
    """`log_expit` as part of a class's name: `LogExpit`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


class Extra:
    """What few entries have.  An entry with extras is a cut: the backward pass stops
    there, and goes on with another kernel.

    Attributes:
        hooks: functions of the gradient, by number.
        value: the value that kernels behind the cut start from, a variable without
            history of its own, or None if it was not needed yet.
        retains: the variable whose `.grad` is wanted, by a weak reference.
    """

    __slots__ = ("hooks", "retains", "value", "version")

    def __init__(self) -> None:
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.value: Any = None
        self.version = 0
        self.retains: Any = None


class GradFn:
    """One recorded call.

    Attributes:
        template: the call as a small tape; None once the history was freed.
        args: one per input of that tape, see the module.
        versions: of each variable among `args`, how often it had been written to.
        serial: increases in the order of recording.
        where: the user's position, `(code, offset)`.
        extra: hooks and the like, None for most.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "extra",
        "label",
        "serial",
        "template",
        "versions",
        "where",
    )

    def __init__(
        self,
        template: Template | None,
        args: tuple,
        versions: tuple[int, ...],
        where: tuple,
        label: str,
    ) -> None:
        self.template = template
        self.args = args
        self.versions = versions
        self.where = where
        self.label = label
        self.serial = next(SERIAL)
        self.extra: Extra | None = None

    @property
    def freed(self) -> bool:
        return self.template is None

    def free(self) -> None:
        """Let go of what the call was given."""
        self.template = None
        self.args = self.versions = ()

    def name(self) -> str:
        """`MulBackward0` for a product."""
        return f"{self.label}Backward0"

    @property
    def source(self) -> Source | None:
        return Source(*self.where) if self.where else None

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """What made the operands: pairs (grad_fn, 0), None for constants."""
        found: list[tuple[Any, int]] = []
        for arg in self.args:
            if isinstance(arg, GradFn):
                found.append((arg, 0))
            elif getattr(arg, "level", 0):
                found.append((AccumulateGrad(arg), 0))
            else:
                found.append((None, 0))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class AccumulateGrad:
    """Where a gradient ends: at a leaf, `variable`."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"

    next_functions: tuple = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and self.variable is other.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"
