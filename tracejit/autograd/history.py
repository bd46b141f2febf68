"""How a value was made: the history behind a variable, one entry per call.

An entry holds what the call was given, and nothing of what it gave, so that history
without a reader dies by reference counts: a training loop leaves nothing behind.  The
arguments of a call are

    GradFn     what another call made
    Variable   a leaf, or a variable without gradient
    Constant   a copy of an ordinary array, or a NumPy scalar

and Python numbers, which are kept apart.

The value of a call that was seen before is not computed until somebody looks at it
(`value`); usually nobody does before `backward` makes a tape of the history, and then
the kernel computes it.  What an entry was given has to stay as it was until then: see
`storage`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..tape import Source

if TYPE_CHECKING:
    from .templates import Template

__all__ = [
    "SERIAL",
    "AccumulateGrad",
    "Constant",
    "Extra",
    "GradFn",
    "camel",
]

#: Numbers the entries of all threads in the order of their making.
SERIAL = itertools.count(1)


@functools.cache
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


class Constant:
    """An ordinary array (or NumPy scalar) that took part in a call."""

    __slots__ = ("kind", "mark", "place", "value")

    level = 0
    place: int

    def __init__(self, value: Any, kind: int) -> None:
        self.value = value
        self.kind = kind
        self.mark: Any = None


class GradFn:
    """One recorded call.

    Attributes:
        template: the call as a small tape; None once the history was freed.
        args: one per array that is an input of that tape, see the module.
        numbers: Python numbers, the inputs behind those.
        versions: for each of `args`, how often it had been written to if it is a
            variable; empty if none is.
        serial: increases in the order of recording.
        where: the user's position, `(code, offset)`.
        extra: hooks and the like, None for most.
        known: the value, None until somebody looks.
        freed: whether a backward pass went through it that did not retain it.
        mark, place: of the pass that looks at it (see `segments`).
    """

    __slots__ = (
        "__weakref__",
        "args",
        "extra",
        "freed",
        "known",
        "label",
        "mark",
        "numbers",
        "place",
        "serial",
        "template",
        "versions",
        "where",
    )

    #: Derivatives flow to it, as to variables of this level.
    level = 1
    place: int

    def __init__(
        self,
        template: Template | None,
        args: tuple,
        versions: tuple[int, ...],
        where: tuple,
        label: str,
        numbers: tuple[float, ...] = (),
        known: Any = None,
    ) -> None:
        self.known = known
        self.freed = False
        self.numbers = numbers
        self.mark: Any = None
        self.template = template
        self.args = args
        self.versions = versions
        self.where = where
        self.label = label
        self.serial = next(SERIAL)
        self.extra: Extra | None = None

    @property
    def value(self) -> Any:
        """The value, computed now if it was not yet."""
        return self.compute() if self.known is None else self.known

    def compute(self) -> Any:
        """Compute the value and those that it needs, without recursion."""
        stack = [self]
        while stack:
            fn = stack[-1]
            if fn.known is None:
                missing = [a for a in fn.args if isinstance(a, GradFn) and a.unknown]
                if missing:
                    stack += missing
                    continue
                assert fn.template is not None
                given = [arg.value for arg in fn.args]
                fn.known = fn.template.evaluate([*given, *fn.numbers])
            stack.pop()
        return self.known

    def look(self, storage: Any) -> Any:
        """The value, in the memory of its operand if the call gives a view."""
        if not self.args:
            return self.known
        assert self.template is not None
        if not self.template.view:
            storage.add_alias(self)
            return self.value
        self.known = self.template.see([*[a.value for a in self.args], *self.numbers])
        storage.add_alias(self)
        if isinstance(base := self.args[0], GradFn):
            storage.add_alias(base)
        return self.known

    @property
    def unknown(self) -> bool:
        return self.known is None

    def free(self) -> None:
        """Let no further backward pass through."""
        self.freed = True

    def forget(self) -> None:
        """Let go of what the call was given; its value is known."""
        self.args = self.versions = self.numbers = ()

    @property
    def kind(self) -> int:
        """The aval of the value that a cut holds, as a number."""
        assert self.extra is not None
        return self.extra.value.kind

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
