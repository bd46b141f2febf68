"""One kind of call of a primitive: function, arguments, rules (`ops.host` asks it)."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..avals import aval_of, is_float
from ..dispatch import session_function
from ..errors import ArgumentError, DifferentiationError, UnsupportedError, message
from ..ops.host import checked, read_only
from ..program import Native
from ..signature import caller, flatten, unflatten
from ..tape import Builder, Ref
from ..tracer import Recorder, Tracer, active_recorder, check_dtype, paused
from .leaves import shape_text
from .run_rule import as_derivative, on_recorder

__all__ = ["HostRule", "rule_of"]


class Owner(Protocol):
    """What a rule needs of its primitive."""

    name: str
    __wrapped__: Callable
    vjps: dict[int, Callable | None]
    jvps: dict[int, Callable | None]


_WEAK = {float: float, int: int, bool: bool}


class HostRule:
    """One kind of call of a primitive: what `ops.host` asks of a host function.

    Attributes:
        outs: the avals of the outputs, as text.
        recorder: that of one call, if it is still there.
    """

    recorder: Callable[[], Recorder | None]
    outs: tuple[str, ...]
    out_spec: Any
    out_weak: list[type | None]

    def __init__(
        self,
        owner: Owner,
        spec: Any,
        static: dict[int, Any],
        count: int,
        weak: tuple[type | None, ...],
    ) -> None:
        self.owner, self.spec, self.static, self.weak = owner, spec, static, weak
        self.name = owner.name
        self.fun = owner.__wrapped__
        # Signatures that the user wrote are of arrays that may be written.
        self.fixed = _is_numbas(self.fun) and not self.fun._can_compile  # type: ignore
        self.dynamic = [k for k in range(count) if k not in static]
        args, kwargs = spec.children()
        #: Whether the operands are the positional arguments, one leaf each.
        self.plain = not static and not kwargs.num_leaves and args.num_children == count
        self.quick = self.plain and not self.fixed
        self.first_leaf = [0]
        for child in args.children():
            self.first_leaf.append(self.first_leaf[-1] + child.num_leaves)
        self.native: Native | None = None
        if owner.jvps:
            self.jvp = self._jvp
        if owner.vjps or not owner.jvps:
            self.vjp = self._vjp

    def __repr__(self) -> str:
        return self.name

    # --- the function -----------------------------------------------------------------

    def tree(self, operands: Sequence[Any]) -> tuple[tuple, dict[str, Any]]:
        """args and kwargs with these operands."""
        if self.plain:
            return tuple(operands), {}
        leaves = dict(zip(self.dynamic, operands, strict=True)) | self.static
        return unflatten(self.spec, [leaves[k] for k in range(len(leaves))])

    def call(self, operands: Sequence[Any]) -> Any:
        if self.quick and active_recorder() is None:
            return self.fun(*operands)
        if self.fixed:
            operands = [np.array(x)[()] for x in operands]
        args, kwargs = self.tree(operands)
        if active_recorder() is None:
            return self.fun(*args, **kwargs)
        with paused():
            return self.fun(*args, **kwargs)

    def first(self, values: list[Any]) -> tuple:
        """Call it and take note of what comes out."""
        leaves, self.out_spec = flatten(self.call(values))
        arrays = []
        for leaf in leaves:
            array = np.asarray(leaf)
            if array.dtype.kind not in "biufc":
                raise UnsupportedError(
                    message(
                        f"the primitive {self.name} returned a {type(leaf).__name__}",
                        where=caller(),
                        way_out="Return arrays and numbers, in tuples, lists or dicts",
                    )
                )
            check_dtype(array.dtype)
            arrays.append(array)
        self.outs = tuple([repr(aval_of(a)) for a in arrays])
        if _is_numbas(self.fun):
            self.native = self._native()
        self.out_weak = [_WEAK.get(type(leaf)) for leaf in leaves]
        return tuple(arrays)

    def _native(self) -> Native | None:
        """How compiled code calls it; None if only Python can."""
        names = {k: f"a{i}" for i, k in enumerate(self.dynamic)}
        leaves = [names.get(k, f"s{k}") for k in range(len(names) + len(self.static))]
        args, kwargs = unflatten(self.spec, leaves)
        results = _results(self.out_spec)
        if results is None:
            return None
        try:
            given = [_expression(a) for a in args]
            given += [f"{key}={_expression(a)}" for key, a in kwargs.items()]
        except TypeError:
            return None
        static = {f"s{k}": value for k, value in self.static.items()}
        call = f"fun({', '.join(given)})"
        return Native(self.fun, call, results, static, copies=self.fixed)

    def run(self, *operands: Any) -> tuple:
        found = self.call(operands)
        if isinstance(found, (np.ndarray, np.generic, float)):
            return (found,)  # `checked` compares it with what was there before
        leaves, spec = flatten(found)
        if spec != self.out_spec:
            raise UnsupportedError(
                message(
                    f"{self.name} returned {_structure(spec)}, and "
                    f"{_structure(self.out_spec)} when it was recorded",
                    way_out="Let the structure of the result depend on static "
                    "arguments only",
                )
            )
        return tuple(leaves)

    def result(self, rec: Recorder, outs: Sequence[Ref]) -> Any:
        """The function's result, made of tracers."""
        pairs = zip(outs, self.out_weak, strict=True)
        return unflatten(
            self.out_spec, [rec.tracer(r, w, shared=False) for r, w in pairs]
        )

    # --- its rules --------------------------------------------------------------------

    def _known_values(self) -> list[Any] | None:
        rec = self.recorder()
        return None if rec is None else _SEEN[rec][self]

    def _arguments(self, rec: Recorder, xs: Sequence[Ref]) -> tuple[tuple, dict]:
        pairs = zip(xs, self.weak, strict=True)
        return self.tree([rec.tracer(x, weak) for x, weak in pairs])

    def _refuse(self, number: int | None, kind: str) -> DifferentiationError:
        if number is None:
            what = "a keyword argument, which has no rule"
            way_out = "Pass it by position"
        else:
            what = f"its argument {number}, for which it has no {kind} rule"
            way_out = f"Call {self.name}.def{kind}(rule, argnums=({number},)) first"
        return DifferentiationError(
            message(
                f"{self.name} is differentiated with respect to {what}",
                where=caller(),
                way_out=way_out,
            )
        )

    def _numbers(self) -> list[int | None]:
        """The positional argument that each operand belongs to."""
        ends = self.first_leaf
        found: list[int | None] = []
        for leaf in self.dynamic:
            inside = [i for i in range(len(ends) - 1) if ends[i] <= leaf < ends[i + 1]]
            found.append(inside[0] if inside else None)
        return found

    def _vjp(
        self, builder: Builder, cts: list[Ref | None], outs: list[Ref], xs: list[Ref]
    ) -> list[Any]:
        numbers = self._numbers()
        pulled: dict[int | None, list[Ref | None]] = {}

        def part(k: int) -> Callable[[], Ref | None]:
            def thunk() -> Ref | None:
                number = numbers[k]
                if number not in pulled:
                    pulled[number] = self._pull(builder, number, cts, outs, xs)
                first = numbers.index(number)
                return pulled[number][k - first]

            return thunk

        return [part(k) if is_float(x.aval) else None for k, x in enumerate(xs)]

    def _pull(
        self,
        builder: Builder,
        number: int | None,
        cts: list[Ref | None],
        outs: list[Ref],
        xs: list[Ref],
    ) -> list[Ref | None]:
        """The cotangents of the operands in one argument."""
        if number is None or number not in self.owner.vjps:
            raise self._refuse(number, "vjp")
        maker = self.owner.vjps[number]
        mine = [x.aval for x, n in zip(xs, self._numbers(), strict=True) if n == number]
        if maker is None:
            return [None] * len(mine)

        def body(
            rec: Recorder, moves: list[Ref | None], known: list[Ref]
        ) -> list[Ref | None]:
            answers, operands = known[: len(outs)], known[len(outs) :]
            args, kwargs = self._arguments(rec, operands)
            ans = self.result(rec, answers)
            pull = session_function(rec, maker)(ans, *args, **kwargs)
            if not callable(pull):
                raise ArgumentError(
                    message(
                        f"the vjp rule of {self.name} for argument {number} returned "
                        f"{shape_text(pull)} instead of a function",
                        where=caller(),
                        way_out="Write it as lambda ans, *args: lambda g: ...",
                    )
                )
            ct = unflatten(self.out_spec, _filled(rec, moves, answers))
            found = pull(ct)
            like = self.spec.children()[0].children()[number]
            what = f"the vjp rule of {self.name} for argument {number}"
            leaves = _same_structure(found, like, what, "its argument")
            first = self.first_leaf[number]
            chosen = [leaves[k - first] for k in self.dynamic if self._in(k, number)]
            return [
                as_derivative(rec, leaf, aval, what)
                for leaf, aval in zip(chosen, mine, strict=True)
            ]

        known = self._known_values()
        return on_recorder(self.name, known, builder, cts, [*outs, *xs], body)

    def _in(self, leaf: int, number: int) -> bool:
        return self.first_leaf[number] <= leaf < self.first_leaf[number + 1]

    def _jvp(
        self,
        builder: Builder,
        tangents: list[Ref | None],
        outs: list[Ref],
        xs: list[Ref],
    ) -> list[Ref | None]:
        numbers = self._numbers()
        moving = {n for n, t in zip(numbers, tangents, strict=True) if t is not None}
        for number in moving:
            if number is None or number not in self.owner.jvps:
                raise self._refuse(number, "jvp")

        def body(
            rec: Recorder, moves: list[Ref | None], known: list[Ref]
        ) -> list[Ref | None]:
            answers, operands = known[: len(outs)], known[len(outs) :]
            args, kwargs = self._arguments(rec, operands)
            ans = self.result(rec, answers)
            changes, _ = self.tree(_filled(rec, moves, operands))
            total: list[Ref | None] = [None] * len(outs)
            for number in sorted(n for n in moving if n is not None):
                push = self.owner.jvps[number]
                if push is None:
                    continue
                found = session_function(rec, push)(
                    changes[number], ans, *args, **kwargs
                )
                what = f"the jvp rule of {self.name} for argument {number}"
                leaves = _same_structure(found, self.out_spec, what, "the result")
                for k, (leaf, out) in enumerate(zip(leaves, outs, strict=True)):
                    ref = as_derivative(rec, leaf, out.aval, what)
                    old = total[k]
                    total[k] = ref if old is None or ref is None else old + ref
                    if ref is None:
                        total[k] = old
            return total

        known = self._known_values()
        return on_recorder(self.name, known, builder, tangents, [*outs, *xs], body)


#: The rules of the recordings that are going on: equal calls share one, so that they
#: can be one instr, or one in a loop.
_RULES: weakref.WeakKeyDictionary[Recorder, dict[Any, HostRule]]
_RULES = weakref.WeakKeyDictionary()
#: Results and operands of one call of each, for derivatives taken without values.
_SEEN: weakref.WeakKeyDictionary[Recorder, dict[HostRule, list[Any]]]
_SEEN = weakref.WeakKeyDictionary()
#: Larger ones are not kept.
_LARGE = 1 << 18


def rule_of(
    rec: Recorder,
    owner: Owner,
    spec: Any,
    leaves: list[Any],
    given: list[Tracer | None],
) -> tuple[HostRule, tuple]:
    """The rule of such a call, the same for equal ones, and the results of this one.

    Args:
        spec, leaves: of args and kwargs.
        given: the operand that each leaf is, None if it is static.
    """
    operands = [x for x in given if x is not None]
    values = [read_only(rec.value(x.ref)) for x in operands]
    weak = tuple([x.weak for x in operands])
    static = {k: leaves[k] for k, x in enumerate(given) if x is None}
    kinds = tuple([(k, type(v), v) for k, v in static.items()])
    key = (owner, spec, kinds, weak, tuple([x.ref.aval for x in operands]))
    known = _RULES.setdefault(rec, {})
    try:
        rule = known.get(key)
    except TypeError:  # a static argument that has no hash
        rule, known = None, {}
        key = ()  # type: ignore[assignment]
    if rule is None:
        rule = known[key] = HostRule(owner, spec, static, len(leaves), weak)
        rule.recorder = weakref.ref(rec)
        results = rule.first(values)
        kept = [_kept(np.asarray(v)) for v in (*results, *values)]
        _SEEN.setdefault(rec, {})[rule] = kept
    else:
        results = checked(rule, rule.outs)(*values)
    return rule, results


def _kept(value: np.ndarray) -> np.ndarray:
    if value.nbytes < _LARGE:
        return value
    return np.broadcast_to(value.dtype.type(1), value.shape)


def _is_numbas(fun: Any) -> bool:
    """Whether a function is one that Numba compiles."""
    kind = type(fun)
    return kind.__module__.startswith("numba.") and hasattr(fun, "py_func")


def _results(spec: Any) -> tuple[str, ...] | None:
    """The results in a value `r`, which is one of them or a flat tuple."""
    if spec.is_leaf():
        return ("r",)
    if (
        spec.type is tuple
        and spec.num_children == spec.num_leaves == spec.num_nodes - 1
    ):
        return tuple([f"r[{k}]" for k in range(spec.num_leaves)])
    return None


def _expression(tree: Any) -> str:
    """Names, in tuples or not, as they stand in a call."""
    if type(tree) is str:
        return tree
    if type(tree) is not tuple:
        raise TypeError(tree)
    return f"({''.join([f'{_expression(part)}, ' for part in tree])})"


def _filled(
    rec: Recorder, moves: Sequence[Ref | None], like: Sequence[Ref]
) -> list[Any]:
    """Tangents or cotangents as tracers, ordinary zeros where there are none."""
    return [
        np.zeros(x.shape, x.dtype)[()] if move is None else rec.tracer(move)
        for move, x in zip(moves, like, strict=True)
    ]


def _same_structure(found: Any, spec: Any, what: str, of: str) -> list[Any]:
    """The leaves of what a rule returned; None stands for zero."""
    if found is None:
        return [None] * spec.num_leaves
    leaves, got = flatten(found)
    if got != spec:
        raise ArgumentError(
            message(
                f"{what} returned {_tree_text(found, got)} for "
                f"{_tree_text(None, spec)}",
                where=caller(),
                way_out=f"Give it the structure of {of}",
            )
        )
    return leaves


def _tree_text(found: Any, spec: Any) -> str:
    if spec.is_leaf() and found is not None:
        return shape_text(found)
    return _structure(spec)


def _structure(spec: Any) -> str:
    """A structure as the user would write it, `*` for an array."""
    if spec.is_leaf():
        return "an array"
    return re.sub(r"PyTreeSpec\((.*?)(, \w+='\w+')*\)", r"\1", str(spec))
