"""`Function`: a call with a backward rule in Python.

    call = Mul.apply(w, x)     the entry of the call, with `ctx`
      └── output 0             an entry for each result, which is a cut with its value

The kernels of a backward pass go from the outputs to the next call's results; between
them Python runs the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tracer import user_frame
from .entries import operand, tracked
from .failure import fail
from .history import Extra, GradFn
from .modes import enable_grad, no_grad
from .segments import require_version
from .storage import shared_storage, version
from .traced import apply_traced, gradient_count, gradient_shape, is_traced
from .variable import Variable

__all__ = ["Context", "Function", "FunctionCall", "FunctionOutput"]


class Context:
    """What `forward` hands to `backward`; any attribute may be set on it.

    Attributes:
        needs_input_grad: for each input of `forward` whether a gradient is wanted.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...] = ()) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple = ()
        self._versions: tuple[int, ...] = ()
        self._freed = False

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep arrays for `backward`; changing one in place is noticed."""
        self._saved = tensors
        self._versions = tuple(
            [version(t) if isinstance(t, Variable) else 0 for t in tensors]
        )

    @property
    def saved_tensors(self) -> tuple:
        """What was given to `save_for_backward`."""
        if self._freed:
            raise fail(
                "the saved arrays of a Function were freed by an earlier backward()",
                "Call the earlier one with retain_graph=True",
            )
        for tensor, seen in zip(self._saved, self._versions, strict=True):
            if isinstance(tensor, Variable):
                require_version(tensor, seen)
        return self._saved

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say that these results have no gradient."""
        self._plain = tuple([id(t) for t in tensors])

    _plain: tuple[int, ...] = ()
    #: Shape and dtype of each input of `forward`.
    _avals: Sequence[tuple] = ()

    def parts(self) -> dict[str, Any]:
        """What was kept, for a rule inside a `@grad` function."""
        return {k: v for k, v in vars(self).items() if k not in ("_versions", "_plain")}

    @classmethod
    def rebuilt(cls, parts: dict[str, Any]) -> Context:
        """A context of the same parts."""
        ctx = cls()
        vars(ctx).update(parts)
        ctx._versions = (0,) * len(ctx._saved)
        return ctx


class FunctionCall(GradFn):
    """The entry of one call of a Function.

    Attributes:
        function: the class.
        ctx: its context.
        outputs: aval of each result, as (shape, dtype).
    """

    __slots__ = ("ctx", "function", "outputs")

    def __init__(
        self, function: type[Function], ctx: Context, args: tuple, where: tuple
    ) -> None:
        versions = tuple([version(a) if type(a) is Variable else 0 for a in args])
        super().__init__(None, args, versions, where, function.__name__)
        self.function = function
        self.ctx = ctx
        self.outputs: list[tuple] = []

    def free(self) -> None:
        super().free()
        self.ctx._saved, self.ctx._freed = (), True

    def compute(self) -> Any:
        return None

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def pull(self, cts: Gathered, recorded: bool) -> tuple[list[Any], list[Any]]:
        """Run the rule; targets and cotangents of those inputs that have one."""
        given = [
            ct if isinstance(ct, Variable) else Variable(_array(ct, shape, dtype))
            for ct, (shape, dtype) in zip(cts.parts, self.outputs, strict=True)
        ]
        with enable_grad() if recorded else no_grad():
            answer = self.function.backward(self.ctx, *given)
        answers = self._checked(answer)
        targets, found = [], []
        for arg, ct in zip(self.args, answers, strict=True):
            if ct is None or not _differentiable(arg):
                continue
            targets.append(arg)
            found.append(ct if recorded else np.asarray(ct.value))
        return targets, found

    def _checked(self, answer: Any) -> list[Variable | None]:
        """One gradient, or None, per input of `forward`."""
        answers = answer if isinstance(answer, tuple) else (answer,)
        count = len(self.args)
        while len(answers) > count and answers[-1] is None:
            answers = answers[:-1]
        if len(answers) != count:
            raise fail(*gradient_count(self.function, len(answers), count))
        return [
            self._gradient(i, arg, ct)
            for i, (arg, ct) in enumerate(zip(self.args, answers, strict=True))
        ]

    def _gradient(self, number: int, arg: Any, ct: Any) -> Variable | None:
        if ct is None or not _differentiable(arg):
            return None
        shape, dtype = self._aval(number)
        found = ct if isinstance(ct, Variable) else Variable(np.asarray(ct))
        if found.shape != shape:
            raise fail(*gradient_shape(self.function, number, found.shape, shape))
        return found if found.dtype == dtype else found.astype(dtype)  # type: ignore

    def _aval(self, number: int) -> tuple:
        return self.ctx._avals[number]


class FunctionOutput(GradFn):
    """The entry of one result of a Function, number `index`."""

    __slots__ = ("call", "index")

    def __init__(self, call: FunctionCall, index: int, value: Any) -> None:
        super().__init__(None, (call,), (0,), call.where, call.label)
        self.call = call
        self.index = index
        self.extra = Extra()
        self.extra.value = value
        self.extra.version = version(value)

    @property
    def value(self) -> Any:
        assert self.extra is not None
        return self.extra.value.value

    def compute(self) -> Any:
        return self.value

    @property
    def unknown(self) -> bool:
        return False

    @property
    def next_functions(self) -> tuple:
        return self.call.next_functions

    def name(self) -> str:
        return self.call.name()


class Gathered:
    """The cotangents of one call's results; sums place by place."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)

    def __add__(self, other: Gathered) -> Gathered:
        return Gathered(
            [
                a if b is None else b if a is None else a + b
                for a, b in zip(self.parts, other.parts, strict=True)
            ]
        )


def _array(ct: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return np.zeros(shape, dtype) if ct is None else np.asarray(ct)


def _differentiable(arg: Any) -> bool:
    return bool(getattr(arg, "level", 0))


class Function:
    """A function with a backward rule of its own.

    It works on variables, and on traced values inside `@grad` functions.

    A subclass has two static methods.  `forward(ctx, *args)` computes the result (or a
    tuple of results) without being recorded; `backward(ctx, *grad_outputs)` returns one
    gradient per argument of `forward`, None where there is none.

    Example:
        >>> from tracejit import autograd
        >>> class Cube(autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x**3
        ...     @staticmethod
        ...     def backward(ctx, grad_output):
        ...         (x,) = ctx.saved_tensors
        ...         return grad_output * 3 * x**2
        >>> x = autograd.array(2.0, requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        array(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result."""
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the inputs."""
        raise NotImplementedError(
            "a Function needs a static method backward(ctx, grad_output)"
        )

    def __init__(self) -> None:
        raise fail(
            f"a {type(self).__name__} cannot be made: Functions have no instances",
            f"Call {type(self).__name__}.apply(...)",
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the function."""
        if is_traced(args):
            return apply_traced(cls, Context, args)
        needs = tuple([type(a) is Variable and tracked(a) for a in args])
        ctx = Context(needs)
        with no_grad():
            result = cls.forward(ctx, *args)
        if not any(needs):
            return result
        levels = {a.level for a, need in zip(args, needs, strict=True) if need}
        frame = user_frame()
        held = tuple([operand(a) if type(a) is Variable else a for a in args])
        call = FunctionCall(cls, ctx, held, (frame.f_code, frame.f_lasti))
        ctx._avals = [
            (a.shape, a.dtype) if type(a) is Variable else ((), None) for a in args
        ]
        results = result if isinstance(result, tuple) else (result,)
        level = 1 if 1 in levels else 2
        made = [_output(call, r, level) for r in results]
        return tuple(made) if isinstance(result, tuple) else made[0]


def _output(call: FunctionCall, result: Any, level: int) -> Any:
    """A result of `forward` as a recorded variable."""
    index = len(call.outputs)
    given = result
    if isinstance(result, (np.ndarray, np.generic, float)):
        result = Variable(np.asarray(result))
    if not isinstance(result, Variable):
        raise fail(
            f"{call.function.__name__}.forward returned a {type(result).__name__}",
            "Return an array, or a tuple of arrays",
        )
    call.outputs.append((result.shape, result.dtype))
    if id(given) in call.ctx._plain or result.dtype.kind != "f":
        return result
    out = Variable(result.value, level)
    out.storage = shared_storage(result)
    out.seen = out.storage.count
    out.fn = FunctionOutput(call, index, result.detach())
    return out
