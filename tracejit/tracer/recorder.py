"""The recorder: a tape builder that computes while it records.

values   NumPy computes every primitive that the user's code asks for, at once, so
         that control flow is concrete and NumPy's errors come from the user's line
emit     what transforms append (`Builder.emit`) is abstract: its value is computed
         from the references when somebody asks for it
guards   traced values that became a Python bool or int, with their outcomes
captures ordinary arrays that met a traced one, taken by reference
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..avals import DTYPE_NAMES, Aval
from ..errors import TracejitError, UnsupportedError, message
from ..ops.writes import write_into
from ..primitive import PRIMITIVES, Primitive
from ..tape import Instr, Ref, Source, Tape, const, guard
from .exits import GuardExits
from .forks import RecordAgain
from .frames import user_frame, user_source, where
from .leaving import note_guard
from .rolling import Rolling
from .values import LARGE, Computed
from .warn import ErrorStates, run_noisy, warn

__all__ = [
    "TAPE_DTYPES",
    "GuardInfo",
    "Recorder",
    "check_dtype",
]

TAPE_DTYPES = frozenset(DTYPE_NAMES.values())

#: Families whose references can meet the floating-point unit's warnings.
_NOISY = frozenset({"elementwise", "reduction", "contraction", "linalg"})

#: Families that may wait for their values.
_DEFERRABLE = _NOISY | {"structural"}


class GuardInfo(NamedTuple):
    """One guard: the recording holds only while `ref` has the outcome `expected`.

    It stands behind a loop of any number of rounds up to `bound` if that is not 0.
    """

    exit: int
    ref: Ref
    expected: bool | int
    source: Source | None
    note: str = ""
    bound: int = 0


class _Capture(NamedTuple):
    array: np.ndarray
    ref: Ref
    snapshot: np.ndarray
    source: Source


_SLICE = PRIMITIVES["slice"]
#: A slice smaller than this part of its array has memory of its own.
SMALL_PART = 8


class Recorder(Rolling):
    """A builder whose user-facing operations compute at once.

    Attributes:
        captures: ordinary arrays that became hidden inputs, in order, by reference.
        guards: the guards in program order; a guard's `exit` is its index.
        closed: whether the recording is over; a tracer that outlives it is an error.
        python_rules: whether Python numbers ask what only a guard can tell (a divisor
            that is zero); not in the body of a `scan`, where nothing can be guarded.
        refusals: the errors raised for what cannot be recorded; the user's code may
            have caught them and gone another way.
        written: numbers of the arguments' leaves that were written into.
        buffers: ordinary arrays that the function made, by the id of their memory.
        may_skip: whether `rounds` may leave out rounds of loops; `skips` counts how
            often they did.
        may_end: whether loops may have run-time exits.
        may_fork: whether `forks` may put branches into loops, and `memory`: what it
            knows of them from former recordings, if anything.  `forks` are those
            that there are.
        watching: the loops that run (`forks.Forks`), by weak references.
        mixed_floats: whether a traced value stands for a float of Python or of NumPy,
            depending on the path.
        promoted: whether an array is a traced one before it has traced values, as it
            gets some in a loop.

    Example:
        >>> rec = Recorder("double")
        >>> x = rec.input_tracer(np.arange(3.0))
        >>> rec.value((x + x).ref)
        array([0., 2., 4.])
    """

    def __init__(self, name: str = "tape") -> None:
        super().__init__(name)
        self.hidden: list[int] = []
        self.captures: list[np.ndarray] = []
        self.guards: list[GuardInfo] = []
        self.exits = GuardExits(self.guards, _tracer_class[0], self.inputs, self.hidden)
        self.closed = False
        self.python_rules = True
        self.refusals: list[TracejitError] = []
        self.buffers: dict[int, list[weakref.ref]] = {}
        self.written: set[int] = set()
        self.may_skip = self.may_fork = False
        self.may_end = True
        self.skips = 0
        self.promoted = self.mixed_floats = False
        self.watching: list[weakref.ref] = []
        self._captured: dict[int, _Capture] = {}
        self._tables: dict[Any, Ref] = {}
        self._avals_of: dict[Any, Aval] = {}
        self._sources: dict[tuple[int, int], Source] = {}
        self.memory: Any = None
        self.forks: set[Any] = set()
        self.error_states = ErrorStates()

    # --- inputs -----------------------------------------------------------------------

    def input_value(self, value: Any) -> Ref:
        """A new input that holds `value`, an array or NumPy scalar."""
        check_dtype(value.dtype)
        ref = self.input(Aval(value.shape, value.dtype))
        self.values[ref.index] = value
        return ref

    def input_tracer(self, value: Any, weak: type | None = None) -> Any:
        """A tracer for one argument.

        Args:
            value: array, NumPy scalar or Python number.
            weak: `float`, `int`, `bool` or `complex` if the argument was a Python
                number, which takes the dtype of what it meets.
        """
        if weak is None and type(value) in (bool, int, float, complex):
            weak = type(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            value = np.asarray(value)[()]
        return self.tracer(self.input_value(value), weak)

    def tracer(
        self, ref: Ref, weak: type | None = None, *, shared: bool = False
    ) -> Any:
        """A tracer for a ref of this recorder.

        Args:
            shared: whether the array's memory belongs to somebody outside, so that it
                cannot be written to.
        """
        return _tracer_class[0](self, ref, weak, shared)

    def capture(self, array: np.ndarray) -> Ref:
        """The hidden input that stands for an ordinary array.

        The array is taken by reference, so that a kernel sees later changes in place;
        one that changes during the recording itself is refused, because both states
        would be the same input.
        """
        known = self._captured.get(id(array))
        if known is not None:
            self._check_unchanged(known)
            if self.noting is not None:
                self.noting.captures.append((known.ref.index, array))
            return known.ref
        check_dtype(array.dtype)
        ref = self.new(Aval(array.shape, array.dtype))
        self.values[ref.index] = array.copy() if array.ndim else array[()]
        self.hidden.append(ref.index)
        self.captures.append(array)
        self._captured[id(array)] = _Capture(
            array, ref, self.values[ref.index], user_source()
        )
        if self.noting is not None:
            self.noting.captures.append((ref.index, array))
        return ref

    def table(self, array: np.ndarray) -> Ref:
        """The hidden input that stands for numbers of the rounds of a loop.

        Equal tables are one: an inner loop has the same in every round.
        """
        key = array.dtype, array.shape, array.tobytes()
        found = self._tables.get(key)
        if self.noting is not None:
            self.noting.pure = False
        if found is None:
            found = self._tables[key] = self.capture(array)
        return found

    def tables(self) -> list[tuple[Any, int]]:
        """The tables so far: what they are, and their refs."""
        return [(key, ref.index) for key, ref in self._tables.items()]

    def outside_state(self) -> Any:
        """What was taken from outside so far (see `captures.portable`), if known."""
        return None

    def _check_unchanged(self, known: _Capture) -> None:
        if _same_bytes(known.array, known.snapshot):
            return
        raise UnsupportedError(
            message(
                "an ordinary array that met a traced value at "
                f"{where(known.source)} was written to afterwards",
                where=where(),
                way_out="Finish the array before its first use, or use a copy there",
            )
        )

    # --- instrs -----------------------------------------------------------------------

    def apply(
        self, prim: Primitive, refs: Sequence[Ref], params: dict[str, Any]
    ) -> Any:
        """Append one instr and compute it, at the user's line.

        Returns the output's ref, or a tuple of refs where `prim.n_out` is not 1.
        """
        if self.closed:
            self._refuse_late()
        values = self.values
        args, indices = [], []
        for ref in refs:
            index = ref.index
            value = values[index]
            if value is None or type(value) is weakref.ref:
                if index in self._deferred and prim.family in _DEFERRABLE:
                    return self._defer(prim, refs, params)
                value = self.value(ref)
            args.append(value)
            indices.append(index)
        frame = user_frame()
        spot = id(frame.f_code), frame.f_lasti
        self.source = self._sources.get(spot) or self.source_at(frame)
        if prim.family in _NOISY:
            try:
                out = run_noisy(prim, args, params, self.error_states)
            except UnsupportedError as refusal:
                self.refusals.append(refusal)
                raise
        else:
            out = prim.reference(*args, **params)
        first = len(values)
        if prim.n_out == 1:
            instr = Instr(prim, tuple(indices), params, (first,), self.source)
            self.instrs.append(instr)
            if prim is _SLICE and out.nbytes * SMALL_PART < args[0].nbytes:
                out = out.copy()  # else it would keep, and share, the whole array
            return self._new_value(instr, out)
        numbers = tuple(range(first, first + len(out)))
        instr = Instr(prim, tuple(indices), params, numbers, self.source)
        self.instrs.append(instr)
        return tuple([self._new_value(instr, value) for value in out])

    def overwrite(
        self,
        prim: Primitive,
        refs: Sequence[Ref],
        params: dict[str, Any],
        exclusive: bool,
    ) -> Ref:
        """`apply` for an `update` or `scatter`, in the memory of its first operand.

        The value itself is overwritten, if nobody has it: an element written to an
        array costs no copy of it.  Who asks for the old value has it computed again.

        Args:
            exclusive: whether nobody will read the first ref again.
        """
        old = refs[0]
        value = self.values[old.index] if exclusive else None
        small = type(value) is np.ndarray
        if type(value) is weakref.ref:
            value = value()
        # This name, the argument, the list and the ref have it.
        held = 2 + small + (type(old) is Computed and old.value is value)
        if (
            type(value) is not np.ndarray
            or self.producers[old.index] is None
            or not value.flags.owndata
            or not value.flags.writeable
            or sys.getrefcount(value) > held
            or any(ref.index in self._deferred for ref in refs)
        ):
            out: Ref = self.apply(prim, refs, params)
            return out
        if self.closed:
            self._refuse_late()
        part, *at = [self.value(ref) for ref in refs[1:]]
        if np.may_share_memory(part, value):
            part = part.copy()
        write_into(prim.name, value, part, at, params)
        self.values[old.index] = None
        frame = user_frame()
        spot = id(frame.f_code), frame.f_lasti
        self.source = self._sources.get(spot) or self.source_at(frame)
        indices = tuple([ref.index for ref in refs])
        instr = Instr(prim, indices, params, (len(self.values),), self.source)
        self.instrs.append(instr)
        return self._new_value(instr, value)

    def _defer(
        self, prim: Primitive, refs: Sequence[Ref], params: dict[str, Any]
    ) -> Any:
        """Append one instr; its value is computed when somebody asks for it."""
        frame = user_frame()
        spot = id(frame.f_code), frame.f_lasti
        self.source = self._sources.get(spot) or self.source_at(frame)
        out = self.emit(prim, refs, params)
        self._deferred.update(self.instrs[-1].outs)
        return out

    def _new_value(self, instr: Instr, value: Any) -> Ref:
        """A ref for an output of `instr`; its aval is that of the value."""
        key = value.shape, value.dtype
        aval = self._avals_of.get(key)
        if aval is None:
            aval = self._avals_of[key] = Aval(*key)
        values = self.values
        ref = Computed(self, len(values), aval, value)
        values.append(value if value.nbytes < LARGE else weakref.ref(value))
        self.producers.append(instr)
        self.avals.append(aval)
        return ref

    def source_at(self, frame: FrameType) -> Source:
        """One object for each instruction of the user's code: rolling tells by that."""
        spot = id(frame.f_code), frame.f_lasti
        if spot not in self._sources:
            self._sources[spot] = Source(frame.f_code, frame.f_lasti)
        return self._sources[spot]

    def _refuse_late(self) -> NoReturn:
        raise TracejitError(
            message(
                f"a traced value of {self.name!r} was used after its recording",
                where=where(),
                way_out="Return the value from the function instead of storing it",
            )
        )

    def warn(self, text: str, category: type[Warning] = RuntimeWarning) -> None:
        """Issue a warning at the user's line."""
        if self.noting is not None:
            self.noting.pure = False
        warn(text, category)

    def constant(self, value: Any, dtype: np.dtype) -> Ref:
        """A scalar constant, stamped with the user's line."""
        if self.closed:
            self._refuse_late()
        frame = user_frame()
        spot = id(frame.f_code), frame.f_lasti
        self.source = self._sources.get(spot) or self.source_at(frame)
        scalar = dtype.type(value)
        params = {"value": scalar.item(), "dtype": dtype}
        instr = Instr(const, (), params, (len(self.values),), self.source)
        self.instrs.append(instr)
        return self._new_value(instr, scalar)

    def guard(self, ref: Ref, expected: bool | int, note: str = "") -> None:
        """Record that what follows holds only while `ref` is `expected`."""
        number = len(self.guards)
        frame = user_frame()
        before = len(self.instrs)
        self.exits.visit(frame, expected)
        self.source = self.source_at(frame)
        self.append(guard, (ref,), {"expected": expected, "exit": number}, ())
        if self.noting is not None:
            self.noting.guards.append((expected, note))
            # Stale views that the visit derived are no part of the call.
            self.noting.pure &= len(self.instrs) == before + 1
        self.guards.append(GuardInfo(number, ref, expected, self.source, note))
        if self.may_fork and type(expected) is bool:
            note_guard(self, frame, expected)

    @classmethod
    def tracer_class(cls) -> type:
        """The class of traced values."""
        found: type = _tracer_class[0]
        return found

    def check_floats(self) -> None:
        """Record without branches in loops if it matters whose float a value is.

        It does where a dtype follows from it.
        """
        wide = {np.dtype(t) for t in (np.float64, np.int64, np.bool_, np.complex128)}
        if self.mixed_floats and not {a.dtype for a in self.avals} <= wide:
            raise RecordAgain(ends=False)

    def finish_trace(self, outputs: Iterable[Ref]) -> Tape:
        """The tape: argument inputs first, then the hidden inputs of `captures`."""
        for known in self._captured.values():
            self._check_unchanged(known)
        return Tape(
            (*self.inputs, *self.hidden),
            tuple(self.instrs),
            tuple(r.index for r in outputs),
            tuple(self.avals),
            self.name,
        )


#: The Tracer class, which imports this module.
_tracer_class: list[Any] = []


def check_dtype(dtype: np.dtype) -> None:
    """Refuse what no tape holds, with the user's line."""
    if dtype in TAPE_DTYPES:
        return
    raise UnsupportedError(
        message(
            f"arrays of dtype {dtype} cannot be recorded",
            where=where(),
            way_out="Use float64, float32, complex128, complex64, an integer dtype or "
            "bool",
        )
    )


def _bytes(a: Any) -> memoryview:
    return memoryview(a).cast("B")


def _same_bytes(a: np.ndarray, b: Any) -> bool:
    """Whether two arrays of one shape and dtype are equal, NaN being NaN."""
    if a.ndim and a.flags.c_contiguous and b.flags.c_contiguous and a.size:
        # Comparing bytes is a memcmp; comparing floats makes two temporaries.
        return _bytes(a) == _bytes(b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
