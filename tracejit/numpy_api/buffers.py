"""Ordinary arrays that the recorded function makes, until they take traced values.

    out = np.zeros(n)        a Buffer: NumPy's array, and nothing on the tape
    out[0] = 1.0             still so
    out[i] = t               a tracer from now on, and all views of it, too

While a function is recorded, NumPy's creation functions give its code a `Buffer`: an
object that computes with an ordinary array, of which it is a stand-in, and is the only
one to have it.  The first traced value that is written turns the very same object into
a `Tracer` (the classes have one layout), so that every name it has sees it.  Until then
it is a constant: nothing depends on the arguments, and `float(out[0])` is a number.

Views of a buffer are buffers on views of its array.  How they lie in the memory of its
owner is read off their addresses and strides when it is promoted.  Who has got hold of
the array itself (code in C asks for it by `__array__`) would not see traced values; if
that is still so when one is to be written, it is refused.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..primitive import PRIMITIVES
from ..tape import Ref
from ..tracer import (
    TAPE_DTYPES,
    Owner,
    Recorder,
    Tracer,
    View,
    active_recorder,
    call_noisy,
    refuse,
)
from .layout import steps_to
from .table import recorder_of, tracers_in

__all__ = ["Buffer", "made", "plain"]


class _Data:
    """What a buffer has: its array, and the ref of its last use on the tape."""

    __slots__ = ("array", "known", "ref")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.known: np.ndarray | None = None
        self.ref: Ref | None = None


def made(result: Any, *taken: Any) -> Any:
    """What the user's code gets for an array that NumPy made while recording.

    Args:
        result: an array, or a container of arrays.
        taken: what the function was given; an array of theirs is not a new one.
    """
    rec = active_recorder()
    if rec is None or rec.closed:
        return result
    return _wrapped(rec, result, taken)


def _wrapped(rec: Recorder, result: Any, taken: Sequence[Any] = ()) -> Any:
    kind = type(result)
    if kind is np.ndarray:
        return _wrapped_array(rec, result, taken)
    if kind is tuple or kind is list:
        return kind([_wrapped(rec, part, taken) for part in result])
    return result


def _wrapped_array(rec: Recorder, array: np.ndarray, taken: Sequence[Any]) -> Any:
    if array.dtype not in TAPE_DTYPES or not array.flags.writeable:
        return array
    known = _known(rec, array)
    if not array.ndim and not known:
        return array
    for buffer in known:
        if object.__getattribute__(buffer, "memory").array is array:
            return buffer
    if not known:
        if not array.flags.owndata and array.base is not None:
            if type(_owner(array)) is not np.ndarray or not _is_fresh(array, taken):
                return array
        elif not _is_fresh(array, taken):
            return array
    buffer = Buffer.__new__(Buffer)
    set_own = object.__setattr__
    set_own(buffer, "rec", rec)
    set_own(buffer, "weak", None)
    set_own(buffer, "shared", False)
    set_own(buffer, "memory", _Data(array))
    rec.buffers.setdefault(id(_owner(array)), []).append(weakref.ref(buffer))
    rec.tracers.append(weakref.ref(buffer))
    return buffer


def _owner(array: Any) -> Any:
    while type(array) is np.ndarray and array.base is not None:
        array = array.base
    return array


def _is_fresh(array: np.ndarray, taken: Sequence[Any]) -> bool:
    """Whether an array is no part of what a function was given."""
    for given in taken:
        if isinstance(given, (list, tuple)):
            if not _is_fresh(array, given):
                return False
        elif isinstance(given, np.ndarray) and np.may_share_memory(array, plain(given)):
            return False
    return True


def _known(rec: Recorder, array: np.ndarray) -> list[Buffer]:
    """The live buffers on the memory of an array."""
    found = rec.buffers.get(id(_owner(array)))
    if found is None:
        return []
    alive = [buffer for known in found if (buffer := known()) is not None]
    return [buffer for buffer in alive if type(buffer) is Buffer]


def plain(x: Any) -> Any:
    """A value with ordinary arrays in place of buffers."""
    kind = type(x)
    if kind is Buffer:
        return object.__getattribute__(x, "memory").array
    if kind is tuple or kind is list:
        return kind([plain(part) for part in x])
    if kind is dict:
        return {key: plain(part) for key, part in x.items()}
    return x


def _traced(*values: Any) -> Tracer | None:
    return next(iter(tracers_in(values)), None)


#: What is looked up on the buffer itself.
_OWN = frozenset(
    "constant memory promote rec shared weak __array__ __array_function__"
    " __array_ufunc__".split()
)


class Buffer(Tracer):
    """An ordinary array made by the function that is recorded.

    It has the slots of a tracer, no ref, and in `memory` its data.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        if name == "ref":
            return self.constant(self.rec).ref
        if name.startswith("__"):
            if name in ("__array_interface__", "__array_struct__"):
                raise AttributeError(name)  # who has the memory is to be known
            if name != "__class__" and hasattr(Buffer, name):
                return object.__getattribute__(self, name)
            return getattr(plain(self), name)
        value = getattr(plain(self), name)
        if callable(value):
            return functools.partial(_call, self, name)
        return _wrapped(self.rec, value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(plain(self), name, value)  # shape, dtype, flat, ...

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        array = plain(self)
        return np.array(array, dtype, copy=copy)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        if _traced(*inputs, *kwargs.values()) is not None:
            return Tracer.__array_ufunc__(self, ufunc, method, *inputs, **kwargs)
        outs = kwargs.get("out")
        name = ufunc.__name__ if method == "__call__" else method
        function = getattr(ufunc, method)
        result = call_noisy(name, function, plain(inputs), plain(kwargs))
        if outs is not None and any(o is not None for o in outs):
            return outs[0] if len(outs) == 1 else outs
        return _wrapped(self.rec, result)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        if _traced(*args, *kwargs.values()) is not None:
            return Tracer.__array_function__(self, func, types, args, kwargs)
        name = getattr(func, "__name__", "")
        return _wrapped(self.rec, call_noisy(name, func, plain(args), plain(kwargs)))

    # --- as a value on the tape -------------------------------------------------------

    def constant(self, rec: Recorder) -> Tracer:
        """A tracer for the present contents."""
        data: _Data = object.__getattribute__(self, "memory")
        array = data.array
        if data.known is None or rec is not self.rec or not _same(array, data.known):
            known = array.copy()
            ref = rec.capture(known)
            if rec is not self.rec:
                return Tracer(rec, ref)
            data.known, data.ref = known, ref
        assert data.ref is not None
        return Tracer(rec, data.ref)

    def promote(self) -> None:
        """Turn this buffer, and all others on its memory, into tracers."""
        rec = self.rec
        if rec.noting is not None:
            rec.noting.pure = False
        buffers = _known(rec, plain(self))
        if _is_shared(buffers):
            refuse(
                "writing a traced value into an array that is also known as an "
                "ordinary one (np.asarray in a library, or a broadcast view)",
                "Write into a copy: a = a.copy()",
            )
        owner = _owner(plain(self))
        order = sorted(range(owner.ndim), key=lambda k: -abs(owner.strides[k]))
        lying = owner.transpose(order)
        if not lying.flags.c_contiguous:
            refuse("writing a traced value into an array of this memory layout")
        ref = _constant(rec, lying.copy())
        places = [(b, steps_to(plain(b), lying)) for b in buffers]
        base: Any = next((b for b, steps in places if not steps), None)
        if base is None:
            base = Tracer(rec, ref)
        for b, steps in places:
            _set_class(b, Tracer)
            b.memory = View(base, steps)
            rec.tracers.append(weakref.ref(b))
        base.ref, base.memory = ref, Owner(True)

    # --- as an array ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        if _traced(key) is not None:
            return self.constant(recorder_of(key))[key]
        return _wrapped(self.rec, plain(self)[plain(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if _traced(key, value) is not None:
            recorder_of(key, value, self.constant(self.rec))
            self.promote()
            Tracer.__setitem__(self, key, value)
        else:
            plain(self)[plain(key)] = plain(value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __copy__(self) -> Any:
        return _wrapped(self.rec, plain(self).copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return plain(self).__reduce_ex__(protocol)

    def item(self, *args: Any) -> Any:
        return plain(self).item(*args)

    def tolist(self) -> Any:
        return plain(self).tolist()


_set_class: Callable[[Any, type], None] = vars(object)["__class__"].__set__


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _constant(rec: Recorder, array: np.ndarray) -> Ref:
    """An array that nobody changes, on the tape."""
    if array.size:
        first = array.reshape(-1)[:1]
        if array.tobytes() == first.tobytes() * array.size:
            fill = rec.constant(first[0], array.dtype)
            ref: Ref = rec.apply(
                PRIMITIVES["broadcast_to"], (fill,), {"shape": array.shape}
            )
            return ref
    return rec.capture(array)


def _is_shared(buffers: list[Buffer]) -> bool:
    """Whether an ordinary array, not one of ours, sees the memory of these."""
    owner = _owner(plain(buffers[0]))
    held = 2  # by this name and as the argument
    for buffer in buffers:
        array = plain(buffer)
        if array is not owner and sys.getrefcount(array) > 3:
            return True  # a buffer, this name, the argument, and somebody else
        held += 1  # by the buffer, or by its view
        del array
    return sys.getrefcount(owner) > held


def _call(buffer: Buffer, name: str, *args: Any, **kwargs: Any) -> Any:
    """A method of a buffer."""
    if type(buffer) is not Buffer:
        return getattr(buffer, name)(*args, **kwargs)
    if _traced(*args, *kwargs.values()) is not None:
        if name in _WRITING:
            buffer.promote()
            return getattr(buffer, name)(*args, **kwargs)
        rec = recorder_of(*args, *kwargs.values())
        return getattr(buffer.constant(rec), name)(*args, **kwargs)
    function = getattr(plain(buffer), name)
    result = call_noisy(name, function, plain(args), plain(kwargs))
    out = kwargs.get("out")
    return _wrapped(buffer.rec, result) if out is None else out


_WRITING = frozenset(("fill", "put", "sort", "partition"))

# --- Python's operators ---------------------------------------------------------------

_ARITHMETIC = (
    "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift"
    " rshift".split()
)


#: NumPy's word for an operator in its warnings, where it is another one.
_WORDS = {
    "truediv": "divide",
    "floordiv": "floor_divide",
    "sub": "subtract",
    "mul": "multiply",
    "mod": "remainder",
    "pow": "power",
    "neg": "negative",
    "abs": "absolute",
}


def _word(name: str) -> str:
    for bare in (name.strip("_"), name.strip("_")[1:]):
        if bare in _WORDS:
            return _WORDS[bare]
    return name.strip("_")


def _operator(name: str) -> Callable[..., Any]:
    of_array, word = getattr(np.ndarray, name), _word(name)

    def method(self: Any, *others: Any) -> Any:
        if _traced(*others) is not None:
            constant = self.constant(recorder_of(*others))
            return getattr(Tracer, name)(constant, *others)
        operands = (plain(self), *plain(others))
        return _wrapped(self.rec, call_noisy(word, of_array, operands, {}))

    method.__name__ = name
    return method


def _in_place(name: str) -> Callable[..., Any]:
    of_array, word = getattr(np.ndarray, name), _word(name)

    def method(self: Any, other: Any) -> Any:
        if _traced(other) is not None:
            recorder_of(other, self.constant(self.rec))
            self.promote()
            return getattr(Tracer, name)(self, other)
        operands = (plain(self), plain(other))
        result = call_noisy(word, of_array, operands, {})
        return result if result is NotImplemented else self

    method.__name__ = name
    return method


for _name in _ARITHMETIC:
    setattr(Buffer, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Buffer, f"__r{_name}__", _operator(f"__r{_name}__"))
    if _name != "divmod":
        setattr(Buffer, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in (
    "lt le gt ge eq ne neg pos abs invert len contains bool int float complex index "
    "repr str format".split()
):
    setattr(Buffer, f"__{_name}__", _operator(f"__{_name}__"))
Buffer.__hash__ = None  # type: ignore[assignment]
