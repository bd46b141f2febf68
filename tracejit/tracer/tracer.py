"""The tracer: what the user's function sees in place of an array or a number.

A tracer is no ndarray subclass.  NumPy hands its functions over through the dispatch
protocols; Python's operators, NumPy's methods and attributes are added to the class
by `numpy_api`, which imports this module.  Here are the protocols, what a tracer looks
like to Python, and the places where a traced value leaves the trace:

* as a `bool` or an `int`, for control flow and sizes: a guard remembers the outcome;
* as a `float` or an ordinary array: an error, because nothing could guard it.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from scipy import special

from ..errors import ConcretizationError, TracejitError, UnsupportedError, message
from ..primitive import PRIMITIVES
from ..tape import Ref
from .active import active_recorder
from .frames import Concretized, outermost_library_call, where
from .loop_items import rows
from .memory import derive
from .recorder import Recorder, _tracer_class
from .shown import is_shown
from .snippets import stamped

__all__ = ["FUNCTIONS", "HINTS", "UFUNC_METHODS", "Tracer", "full_name", "refuse"]

#: NumPy function -> implementation on tracers, filled by `numpy_api`.
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}

#: ufunc method name -> implementation `(ufunc, inputs, kwargs)`, filled by `numpy_api`.
UFUNC_METHODS: dict[str, Callable[..., Any]] = {}

#: Full name of an unsupported function -> its way out, where there is a special one.
HINTS: dict[str, str] = {}

_WAY_OUT = "Write it with supported NumPy functions, or compute it outside the function"


def full_name(func: Any) -> str:
    """A function's name as the user writes it: `np.linalg.eigh`."""
    module = getattr(func, "__module__", None) or ""
    name = getattr(func, "__name__", repr(func))
    if isinstance(func, np.ufunc):
        if name.endswith("(vectorized)"):
            return "np.frompyfunc"
        module = "numpy" if getattr(np, name, None) is func else "scipy.special"
    module = module.replace("numpy.lib.scimath", "numpy.emath")
    parts = ["np" if p == "numpy" else p for p in module.split(".")]
    return ".".join([p for p in parts if p and not p.startswith("_")] + [name])


def _hint(name: str) -> str:
    """The way out of a function or of the module that it is from; "" if none."""
    parts = name.replace("numpy.", "np.").split(".")
    names = [".".join(parts[:k]) for k in range(len(parts), 1, -1)]
    return next((HINTS[n] for n in names if n in HINTS), "")


def refuse(what: str, way_out: str = _WAY_OUT) -> NoReturn:
    """Raise UnsupportedError at the user's line: `what` cannot be recorded."""
    _raise(
        UnsupportedError(
            message(f"{what} cannot be recorded", where=where(), way_out=way_out)
        )
    )


def _raise(error: TracejitError) -> NoReturn:
    """Raise a refusal, and see that the recording fails even if somebody catches it."""
    recorder = active_recorder()
    if recorder is not None:
        recorder.refusals.append(error)
    raise error


class Tracer:
    """A traced array or scalar.

    Attributes:
        rec: the recorder it belongs to.
        ref: its value on the tape; a write in place gives it another one.  A view whose
            owner was written to has none until it is asked for (see `memory`).
        weak: the class of what would be a Python number (`float`, `int`, `bool`,
            `complex`), else None.
        shared: whether somebody outside the recording has the memory (a captured
            array), so that it cannot be written to.
        memory: what is known about its memory: an `Owner`, a `View`, or None.
    """

    __slots__ = ("__weakref__", "memory", "rec", "ref", "shared", "weak")

    ref: Ref
    memory: Any

    def __init__(
        self, rec: Recorder, ref: Ref, weak: type | None = None, shared: bool = False
    ) -> None:
        self.rec = rec
        self.ref = ref
        self.weak = weak
        self.shared = shared
        self.memory = None
        rec.tracers.append(weakref.ref(self))

    if TYPE_CHECKING:
        # `numpy_api.operators` and `numpy_api.indexing` fill these in.
        # fmt: off
        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __divmod__(self, other: Any) -> Any: ...
        def __rdivmod__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __rmatmul__(self, other: Any) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __rand__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __ror__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __rxor__(self, other: Any) -> Any: ...
        def __lshift__(self, other: Any) -> Any: ...
        def __rlshift__(self, other: Any) -> Any: ...
        def __rshift__(self, other: Any) -> Any: ...
        def __rrshift__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __neg__(self) -> Any: ...
        def __pos__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def __invert__(self) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        # fmt: on

    # --- NumPy's protocols ------------------------------------------------------------

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        serve = UFUNC_METHODS.get(method)
        if serve is None:
            refuse(f"{full_name(ufunc)}.{method}")
        return serve(ufunc, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        serve = FUNCTIONS.get(func)
        if serve is None:
            name = full_name(func)
            refuse(name, _hint(name) or _WAY_OUT)
        return stamped(serve, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        _refuse_concrete(self, "an ordinary array")

    # --- what it looks like -----------------------------------------------------------

    @property
    def concrete(self) -> Any:
        """The concrete NumPy value; what depends on it is not recorded."""
        return self.rec.value(self.ref)[()]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        if self.weak is not None:
            return self.weak
        return np.ndarray if self.ref.aval.shape else self.ref.aval.dtype.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ref.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.ref.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.ref.aval.shape)

    @property
    def size(self) -> int:
        return self.ref.aval.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.ref.aval.shape:
            raise TypeError(f"object of type {self.__class__.__name__!r} has no len()")
        return self.ref.aval.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.ref.aval.shape:
            raise TypeError("iteration over a 0-d array")
        return rows(self) or (self[i] for i in range(self.ref.aval.shape[0]))

    # Text that people alone read says that a value is traced.  Any other text is what
    # it would be without tracing, and guarded.

    def __repr__(self) -> str:
        if is_shown():
            return f"traced {self.ref.aval!r} {self.concrete!r}"
        return repr(self.spoken())

    def __str__(self) -> str:
        if is_shown():
            return f"traced {self.ref.aval!r} {self.concrete}"
        return str(self.spoken())

    def __format__(self, spec: str) -> str:
        if is_shown():
            return format(self.concrete, spec) if spec else str(self)
        return format(self.spoken(), spec)

    def spoken(self) -> Any:
        """The value as the function would see it untraced; guarded to be the same."""
        value = self.concrete
        if not (self.rec.closed or is_shown()):
            known = Tracer(self.rec, self.rec.table(np.array(value)), None)
            bool(_same(self, known).all())
        return value if self.weak is None else self.weak(value)

    def __copy__(self) -> Tracer:
        return Tracer(self.rec, self.ref, self.weak)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracer:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        _refuse_concrete(self, "bytes (pickle)")

    def __getattr__(self, name: str) -> Any:
        if name == "ref":
            return derive(self)
        if name.startswith("__") or not hasattr(self.__class__, name):
            kind = self.__class__.__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
        way_out = _OF_ATTRIBUTES.get(name, _WAY_OUT)
        return refuse(f"the attribute {name!r} of a traced array", way_out)

    # --- leaving the trace ------------------------------------------------------------

    def __bool__(self) -> bool:
        expected = bool(self.concrete)  # NumPy's own error for an array
        ref = self.ref
        if ref.aval.dtype.kind != "b":
            zero = self.rec.constant(0, ref.aval.dtype)
            ref = self.rec.apply(PRIMITIVES["ne"], (ref, zero), {})
        self._guard(ref, expected)
        return expected

    def __index__(self) -> int:
        expected = operator.index(self.concrete)
        self._guard(self.ref, expected)
        return expected

    def __int__(self) -> int:
        return self._guarded_int("trunc", int(self.concrete))

    def __trunc__(self) -> int:
        return self._guarded_int("trunc", int(self.concrete))

    def __floor__(self) -> int:
        return self._guarded_int("floor", int(np.floor(self.concrete)))

    def __ceil__(self) -> int:
        return self._guarded_int("ceil", int(np.ceil(self.concrete)))

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits is None:
            return self._guarded_int("rint", round(self.concrete))
        if self.weak is None:
            return FUNCTIONS[np.round](self, ndigits)
        if self.weak is not float and operator.index(ndigits) >= 0:
            return self
        # Python rounds the exact decimal fraction: round(2.675, 2) is 2.67.
        refuse("round() of a Python number to digits", "Use np.round(x, n)")

    def _guarded_int(self, rounding: str, expected: int) -> int:
        ref, rec = self.ref, self.rec
        if ref.aval.dtype.kind == "f":
            ref = rec.apply(PRIMITIVES[rounding], (ref,), {})
        if ref.aval.dtype != np.int64:
            ref = rec.apply(PRIMITIVES["cast"], (ref,), {"dtype": np.dtype(np.int64)})
        self._guard(ref, expected)
        return expected

    def _guard(self, ref: Ref, expected: bool | int) -> None:
        if ref.aval.shape:
            ref = self.rec.apply(PRIMITIVES["reshape"], (ref,), {"shape": ()})
        self.rec.guard(ref, expected)

    def __float__(self) -> NoReturn:
        _refuse_concrete(self, "a Python float")

    def __complex__(self) -> NoReturn:
        _refuse_concrete(self, "a Python complex")

    def item(self, *args: Any) -> NoReturn:
        _refuse_concrete(self, "a Python number")

    def tolist(self) -> NoReturn:
        _refuse_concrete(self, "a list of Python numbers")

    def __hash__(self) -> int:
        error = ConcretizationError(
            message(
                f"unhashable type: a traced value ({self.ref.aval!r}) as a dict key or "
                "set element",
                where=where(),
                way_out="Use a list, or a key that does not depend on the arguments",
            )
        )
        if self.ref.aval.shape:
            raise error  # arrays have no hash either
        _raise(error)


_tracer_class.append(Tracer)


def _same(x: Any, y: Any) -> Any:
    """Where two traced arrays have the same text: NaNs too, zeros by their sign."""
    if x.dtype.kind == "c":
        return _same(x.real, y.real) & _same(x.imag, y.imag)
    if x.dtype.kind != "f":
        return x == y
    return (x == y) & (np.signbit(x) == np.signbit(y)) | (x != x) & (y != y)


def _refuse_concrete(tracer: Tracer, became: str) -> NoReturn:
    """Raise ConcretizationError; the way out depends on what the user was doing."""
    seen = Concretized()
    library = outermost_library_call()
    name = library or seen.called
    what = f"a traced value ({tracer.ref.aval!r}) would become {became}"
    if name:
        what += f" in {name}()"
    _raise(
        ConcretizationError(message(what, where=where(), way_out=_way_out(name, seen)))
    )


def _way_out(name: str, seen: Concretized) -> str:
    last = name.rpartition(".")[2]
    hint = _hint(name)
    if hint:
        return hint
    if seen.opcode in {"STORE_SUBSCR", "STORE_SLICE"}:
        return (
            "They can be written into an array of the function's own, made by "
            "np.zeros, np.empty or np.copy"
        )
    if name.startswith("scipy.special.") and last in _OWN_SPECIAL:
        return f"Use tracejit.scipy.special.{last}"
    if name.startswith(("math.", "cmath.")):
        if isinstance(getattr(np, last, None), np.ufunc):
            return f"Use np.{last}"
        if isinstance(getattr(special, last, None), np.ufunc):
            return f"Use scipy.special.{last}"
        return _WAY_OUT
    if name in {"float", "complex", "np.float64"} or last in {
        "item",
        "tolist",
    }:
        return "Leave the conversion away: a traced scalar works like a NumPy scalar"
    if last in {"reduce", "accumulate", "reduceat"}:
        return _ONE_ARRAY
    if seen.opcode == "BINARY_OP" and not name:
        return "Write text with an f-string"
    if isinstance(getattr(np, last, None), type):
        return f"Use x.astype(np.{last})"
    if name in {"np.r_", "np.c_"}:
        return "Use np.concatenate or np.stack"
    if seen.opcode in {"BINARY_SUBSCR", "BINARY_SLICE"}:
        return (
            "To index an ordinary array with a traced one, "
            "write np.take(array, index, axis)"
        )
    if last in {"array", "asarray", "full"}:
        return f"Call it as np.{last}, by this name, or use np.stack"
    if getattr(np, last, None) in FUNCTIONS or name == f"np.{last}":
        return _ONE_ARRAY
    return _WAY_OUT


_MEMORY = "Ask about the ordinary array outside the function"
_OF_ATTRIBUTES = {
    "view": "Use x.astype for another dtype, and x[...] for a view",
    "tobytes": "Return the array and write it outside the function",
    **dict.fromkeys(("base", "ctypes", "data", "flags", "strides"), _MEMORY),
}

_ONE_ARRAY = "Give it one array: np.array([...]) makes one of traced values"

#: What SciPy computes in Python, and `tracejit.scipy.special` has under the same name.
_OWN_SPECIAL = ("logsumexp", "softmax", "log_softmax")
