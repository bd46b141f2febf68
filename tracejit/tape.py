"""The tape: a linear program of primitives in single assignment.

A tape is inputs, instrs in program order, outputs.  A value is known by its ref, a
small integer, printed `%7`; `avals[7]` is its shape and dtype.  Guards are instrs
without outputs.  Tapes are immutable; a `Builder` makes them, and a pass reads one
tape and builds the next.

`Ref` is the handle that rules are written on: it has Python's arithmetic operators,
each of which emits one instr on the ref's builder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from .avals import Aval
from .primitive import PRIMITIVES, Primitive, register

__all__ = [
    "Builder", "Instr", "Ref", "Source", "Tape", "const", "guard", "has_guard",
    "inner_tapes",
]  # fmt: skip


class Source(NamedTuple):
    """The position of the user's code that an instr came from."""

    code: CodeType
    lasti: int

    @property
    def file(self) -> str:
        return self.code.co_filename

    @property
    def function(self) -> str:
        return self.code.co_name

    @property
    def line(self) -> int:
        found = self.code.co_firstlineno
        for start, stop, line in self.code.co_lines():
            if start <= self.lasti < stop and line is not None:
                found = line
        return found

    def __str__(self) -> str:
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"


class Instr:
    """One instruction: `outs = prim(args, **params)`, and where it came from."""

    __slots__ = ("args", "outs", "params", "prim", "source")

    prim: Primitive
    args: tuple[int, ...]
    params: dict[str, Any]
    outs: tuple[int, ...]
    source: Source | None

    def __init__(
        self,
        prim: Primitive,
        args: tuple[int, ...],
        params: dict[str, Any],
        outs: tuple[int, ...],
        source: Source | None = None,
    ) -> None:
        self.prim = prim
        self.args = args
        self.params = params
        self.outs = outs
        self.source = source


@dataclass(frozen=True, eq=False)
class Tape:
    """A finished program.

    Attributes:
        inputs: refs of the inputs, in order.
        instrs: instructions in program order.
        outputs: refs of the results; the same ref may stand twice.
        avals: aval of every ref, indexed by ref.
        name: the function that was recorded.
    """

    inputs: tuple[int, ...]
    instrs: tuple[Instr, ...]
    outputs: tuple[int, ...]
    avals: tuple[Aval, ...]
    name: str = "tape"

    def __repr__(self) -> str:
        # The one syntax lives in text.py, which imports this module.
        return _printer[0](self) if _printer else object.__repr__(self)

    def draw(self) -> Any:
        """The computational graph, with guards and loops; notebooks show it.

        The drawing has `dot` and `svg`, both texts.
        """
        return _drawer[0](self)

    def to_dot(self) -> str:
        """The computational graph in graphviz' language."""
        return self.draw().dot

    def _repr_svg_(self) -> str:
        return self.draw().svg


def inner_tapes(instr: Instr) -> list[Tape]:
    """The tapes among an instr's params: the body of a loop, the sides of a branch."""
    return [value for value in instr.params.values() if isinstance(value, Tape)]


_printer: list[Callable[[Tape], str]] = []
#: Pictures are in drawing.py, which imports this module.
_drawer: list[Callable[[Tape], Any]] = []


class Ref:
    """A value on a tape under construction."""

    __slots__ = ("aval", "builder", "index")

    # NumPy must not try to turn a ref into an array element by element.
    __array_ufunc__ = None

    def __init__(self, builder: Builder, index: int, aval: Aval) -> None:
        self.builder = builder
        self.index = index
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    def __repr__(self) -> str:
        return f"%{self.index}: {self.aval!r}"

    def _emit(self, name: str, *args: Any) -> Any:
        return self.builder.emit(PRIMITIVES[name], args, {})

    # fmt: off
    def __neg__(self) -> Ref: return self._emit("neg", self)
    def __add__(self, other: Any) -> Ref: return self._emit("add", self, other)
    def __radd__(self, other: Any) -> Ref: return self._emit("add", other, self)
    def __sub__(self, other: Any) -> Ref: return self._emit("sub", self, other)
    def __rsub__(self, other: Any) -> Ref: return self._emit("sub", other, self)
    def __mul__(self, other: Any) -> Ref: return self._emit("mul", self, other)
    def __rmul__(self, other: Any) -> Ref: return self._emit("mul", other, self)
    def __truediv__(self, other: Any) -> Ref: return self._emit("div", self, other)
    def __rtruediv__(self, other: Any) -> Ref: return self._emit("div", other, self)
    def __pow__(self, other: Any) -> Ref: return self._emit("pow", self, other)
    def __rpow__(self, other: Any) -> Ref: return self._emit("pow", other, self)
    def __lt__(self, other: Any) -> Ref: return self._emit("lt", self, other)
    def __le__(self, other: Any) -> Ref: return self._emit("le", self, other)
    def __gt__(self, other: Any) -> Ref: return self._emit("gt", self, other)
    def __ge__(self, other: Any) -> Ref: return self._emit("ge", self, other)
    # fmt: on


class Builder:
    """Makes a tape: `input`, `emit` and `const` give refs, `finish` the tape.

    Operands of `emit` are refs of this builder or Python numbers; a number becomes a
    `const` of the dtype of the first ref operand (Python numbers are weakly typed).
    `source` is stamped on every instr emitted while it is set.
    """

    def __init__(self, name: str = "tape") -> None:
        self.name = name
        self.inputs: list[int] = []
        self.instrs: list[Instr] = []
        self.avals: list[Aval] = []
        self.source: Source | None = None

    def ref(self, index: int) -> Ref:
        return Ref(self, index, self.avals[index])

    def input(self, aval: Aval) -> Ref:
        ref = self.new(aval)
        self.inputs.append(ref.index)
        return ref

    def new(self, aval: Aval) -> Ref:
        """A fresh ref; whoever asks must define it."""
        self.avals.append(aval)
        return Ref(self, len(self.avals) - 1, aval)

    def const(self, value: Any, dtype: np.dtype) -> Ref:
        """A scalar constant of the given dtype."""
        value = dtype.type(value).item()
        return self.emit(const, (), {"value": value, "dtype": dtype})

    def emit(self, prim: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Append one instr; return its output ref, or a tuple where n_out is not 1."""
        refs = self.as_refs(args)
        out = prim.aval(*[r.aval for r in refs], **params)
        outs = (out,) if prim.n_out == 1 else tuple(out)
        results = tuple(self.new(aval) for aval in outs)
        self.append(prim, refs, params, results)
        return results[0] if prim.n_out == 1 else results

    def append(
        self,
        prim: Primitive,
        refs: Sequence[Ref],
        params: dict[str, Any],
        outs: Sequence[Ref],
    ) -> None:
        self.instrs.append(
            Instr(
                prim,
                tuple([r.index for r in refs]),
                params,
                tuple([r.index for r in outs]),
                self.source,
            )
        )

    def extend(
        self, instr: Instr, params: dict[str, Any], avals: Sequence[Aval]
    ) -> tuple[Ref, ...]:
        """Give an instr further outputs; the ones it has must not change.

        For instrs whose params decide what they give (a loop that is to stack more).
        Whoever finished a tape with this instr before must not use that tape again.
        """
        refs = tuple(self.new(aval) for aval in avals)
        instr.params = params
        instr.outs = (*instr.outs, *[ref.index for ref in refs])
        return refs

    def replace(self, start: int, instrs: list[Instr], stop: int | None = None) -> None:
        """Put `instrs` in the place of those from `start` to `stop`, or to the end."""
        self.instrs[start:stop] = instrs

    def as_refs(self, args: Iterable[Any]) -> list[Ref]:
        args = list(args)
        dtype = None
        for arg in args:
            if isinstance(arg, Ref):
                if arg.builder is not self:
                    raise ValueError(f"{arg!r} belongs to another tape")
                # The last ref operand: in select(cond, a, 0) the number is like a.
                dtype = arg.aval.dtype
        if dtype is None:
            return []
        return [a if isinstance(a, Ref) else self.const(a, dtype) for a in args]

    def replay(self, instr: Instr, env: dict[int, Ref]) -> tuple[Ref, ...]:
        """Emit `instr` of another tape, its operands looked up in `env`."""
        self.source = instr.source
        out = self.emit(instr.prim, [env[a] for a in instr.args], instr.params)
        outs = (out,) if instr.prim.n_out == 1 else tuple(out)
        env.update(zip(instr.outs, outs, strict=True))
        return outs

    def copy(self, instr: Instr, env: dict[int, Ref], avals: Sequence[Aval]) -> None:
        """`replay` of an instr whose operands have the avals that they had before."""
        self.source = instr.source
        outs = [self.new(avals[out]) for out in instr.outs]
        self.append(instr.prim, [env[a] for a in instr.args], instr.params, outs)
        env.update(zip(instr.outs, outs, strict=True))

    def finish(self, outputs: Iterable[Ref]) -> Tape:
        return Tape(
            tuple(self.inputs),
            tuple(self.instrs),
            tuple(r.index for r in outputs),
            tuple(self.avals),
            self.name,
        )


def _const_reference(*, value: Any, dtype: np.dtype) -> Any:
    return dtype.type(value)


const = register(
    Primitive(
        "const",
        "control",
        _const_reference,
        lambda *, value, dtype: Aval((), dtype),
    )
)


def _guard_reference(value: Any, *number: Any, expected: Any, exit: int) -> tuple[()]:
    return ()


#: `guard %4 is True -> exit 1`: the recording holds only while %4 has this outcome.
#: A second operand is added to the exit's number (in a loop, where it counts).
guard = register(
    Primitive(
        "guard",
        "control",
        _guard_reference,
        lambda aval, *number, expected, exit: (),
        n_out=0,
    )
)


def has_guard(instr: Instr) -> bool:
    """Whether an instr is a guard or has one in it."""
    bodies = inner_tapes(instr)
    return instr.prim is guard or any(has_guard(i) for b in bodies for i in b.instrs)
