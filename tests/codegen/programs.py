"""Programs made by hand, and the ways to run them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np

import tracejit.ops.elementwise  # noqa: F401  (fills the table of primitives)
from tracejit import kernel
from tracejit.codegen.source import array_outputs, print_program, scalar_outputs
from tracejit.program import (
    Accumulate,
    Accumulator,
    Affine,
    Buffer,
    Call,
    Check,
    Const,
    Counter,
    Exit,
    For,
    Let,
    Load,
    Program,
    Read,
    Store,
    Swap,
)

BOOL, I64, F32, F64 = map(np.dtype, ("?", "i8", "f4", "f8"))


class Make:
    """Builds a program statement by statement."""

    def __init__(self, name: str = "f") -> None:
        self.program = Program(name)
        self.body = self.program.body
        self.loops = self.accs = 0

    def value(self, dtype: Any) -> int:
        self.program.dtypes.append(np.dtype(dtype))
        return len(self.program.dtypes) - 1

    def arg(self, shape: tuple[int, ...], dtype: Any = F64, capture: bool = False):
        buffer = Buffer("arg", len(self.program.args), shape, np.dtype(dtype))
        self.program.args.append(buffer)
        self.program.captures += capture
        return buffer

    def out(self, shape: tuple[int, ...], dtype: Any = F64) -> Buffer:
        buffer = Buffer("out", len(self.program.outputs), shape, np.dtype(dtype))
        self.program.outputs.append(buffer)
        return buffer

    def work(self, shape: tuple[int, ...], dtype: Any = F64) -> Buffer:
        buffer = Buffer("work", len(self.program.works), shape, np.dtype(dtype))
        self.program.works.append(buffer)
        return buffer

    def local(self, shape: tuple[int, ...], dtype: Any = F64) -> Buffer:
        buffer = Buffer("local", len(self.program.locals), shape, np.dtype(dtype))
        self.program.locals.append(buffer)
        return buffer

    def returns(self, *outputs: Buffer | int) -> Program:
        self.program.outputs.extend(outputs)
        return self.program

    def const(self, value: Any, dtype: Any = F64) -> int:
        out = self.value(dtype)
        self.body.append(Const(out, value))
        return out

    def let(self, prim: str, *args: int, dtype: Any = None, **params: Any) -> int:
        out = self.value(dtype or self.program.dtypes[args[-1]])
        self.body.append(Let(out, prim, args, params))
        return out

    def load(self, buffer: Buffer, *index: Any) -> int:
        out = self.value(buffer.dtype)
        self.body.append(Load(out, buffer, self.index(index)))
        return out

    def store(self, buffer: Buffer, *index: Any, value: int, add: bool = False) -> None:
        self.body.append(Store(buffer, self.index(index), value, add))

    def counter(self, index: Any) -> int:
        out = self.value(I64)
        self.body.append(Counter(out, self.index((index,))[0]))
        return out

    def accumulator(self, start: int) -> int:
        dtype = self.program.dtypes[start]
        self.body.append(Accumulator(self.accs, dtype, start))
        self.accs += 1
        return self.accs - 1

    def accumulate(self, acc: int, kind: str, value: int) -> None:
        self.body.append(Accumulate(acc, kind, value))

    def read(self, acc: int, dtype: Any = F64) -> int:
        out = self.value(dtype)
        self.body.append(Read(out, acc))
        return out

    def exit(self, value: int, expected: Any, number: int) -> None:
        dtype = self.program.dtypes[value]
        wanted, status = self.const(expected, dtype), self.const(number + 1, I64)
        self.body.append(Exit(value, wanted, status))

    def check(self, value: int) -> None:
        self.body.append(Check(value))

    def call(self, name: str, ins: Any, outs: Any, **params: Any) -> None:
        self.body.append(Call(name, tuple(ins), tuple(outs), params))

    @contextmanager
    def loop(self, hi: int, lo: int = 0):
        """`with make.loop(n) as i`: i is the loop's variable, an index of step 1."""
        outer, var = self.body, self.loops
        self.loops += 1
        self.body = []
        outer.append(For(var, lo, hi, self.body))
        yield Affine(var, 1, 0)
        self.body = outer

    def swap(self, a: Buffer, b: Buffer) -> None:
        self.body.append(Swap(a, b))

    def index(self, parts: tuple[Any, ...]) -> tuple[Any, ...]:
        """Affine, ("value", number), or a plain integer."""
        return tuple(
            p
            if isinstance(p, Affine)
            else p[1]
            if isinstance(p, tuple)
            else Affine(None, 0, p)
            for p in parts
        )


def outputs_of(program: Program, result: tuple, outs: list[np.ndarray], args: Any):
    """The outputs in the order of the program, from those of the printed function."""
    scalars = dict(zip(scalar_outputs(program), result[2:], strict=True))
    arrays = dict(zip(map(id, array_outputs(program)), outs, strict=True))
    inputs = dict(zip(map(id, program.args), args, strict=True))
    return tuple(
        scalars[o] if isinstance(o, int) else arrays.get(id(o), inputs.get(id(o)))
        for o in program.outputs
    )


def _njit(function: Any = None, **options: Any) -> Any:
    return (lambda inner: inner) if function is None else function


def call_source(program: Program, args: Any, compiled: bool = False):
    """Run the printed source, in plain Python or under `njit`."""
    printed = print_program(program)
    scope: dict[str, Any] = {}
    text = printed.module("printed")
    if not compiled:
        # The helper functions as they stand too: compiling them takes seconds.
        scope["njit"] = _njit
        text = text.replace("from numba import njit\n", "")
    exec(text, scope)
    function = scope["kernel"]
    if compiled:
        from numba import njit

        function = njit(error_model="numpy")(function)
    outs = [np.empty(b.shape, b.dtype) for b in array_outputs(program)]
    works = [np.empty(b.shape, b.dtype) for b in program.works]
    leaves = len(program.args) - program.captures
    given = [
        b.dtype.type(a) if not b.shape and k < leaves else np.asarray(a)
        for k, (a, b) in enumerate(zip(args, program.args, strict=True))
    ]
    with np.errstate(all="ignore"):
        result = function(*given, *outs, *works, printed.ints, printed.floats)
    if result[0]:
        return int(result[0]), result[1], None
    return 0, None, outputs_of(program, result, outs, given)


def call_kernel(program: Program, args: Any):
    """Compile and run."""
    count = len(program.args) - program.captures
    executable = kernel.compile_program(program, list(args[count:]))
    return executable.run(*args[:count])


def same(left: Any, right: Any, rtol: float = 1e-12, kinds: bool = False) -> None:
    """Compare two answers `(status, outcome, outputs)`.

    kinds: scalars need be of one kind only; Numba returns Python's.
    """
    assert left[0] == right[0]
    if left[0] > 0:
        assert left[1] == right[1]
    if left[2] is None:
        assert right[2] is None
        return
    for a, b in zip(left[2], right[2], strict=True):
        assert np.shape(a) == np.shape(b)
        dtypes = np.asarray(a).dtype, np.asarray(b).dtype
        if kinds and not np.shape(a):
            assert dtypes[0].kind == dtypes[1].kind
        else:
            assert dtypes[0] == dtypes[1]
        single = np.asarray(a).dtype == F32
        tolerance = (
            {"rtol": 1e-5, "atol": 1e-6} if single else {"rtol": rtol, "atol": 1e-12}
        )
        np.testing.assert_allclose(a, b, **tolerance)
