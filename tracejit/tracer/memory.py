"""Memory: which tracers are views of which, and what a write does to them.

A tape has values and no memory.  So a tracer is a name for the present value of some
memory: an owner holds a ref, a view knows its owner and the steps from there.

    y = x * 2            owner, ref %3
    v = y[1:]            view of y by (slice 1:), ref %4 = slice %3
    v[0] = t             %5 = update %3 ...; y is %5 now; v is stale, its ref is gone
    v.sum()              v derives its ref from y again: %6 = slice %5

A write through a view is written through the steps back to the owner.  A view whose
owner was written to has no ref; `Tracer.__getattr__` derives one when it is asked for.
So tracers that nobody writes to pay for none of this.

What is a view and what a copy depends in one case on how an array lies in memory: a
reshape that joins axes.  Memory that nobody here allocated (arguments of any layout,
and what NumPy computes from them) may go either way; such a result is no view, but as
long as it is in use neither of the two may be written to (`uncertain`).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..primitive import PRIMITIVES
from ..tape import Ref

__all__ = [
    "Owner",
    "Step",
    "View",
    "base_of",
    "derive",
    "is_mixed",
    "is_uncertain",
    "joins_axes",
    "link",
    "make_stale",
    "note_mixed",
    "note_uncertain",
    "note_written",
    "own_ref",
    "owner_of",
    "put",
    "replaced",
    "rewrite",
    "same_memory",
    "steps_of",
]

#: A view's primitive and its params: slice, reshape, transpose, broadcast_to, diagonal.
Step = tuple[str, dict[str, Any]]

READ_ONLY = frozenset(("broadcast_to", "diagonal"))


class Owner:
    """What is known about memory of its own.

    Attributes:
        views: weak references to the views whose refs are of the present value.
        uncertain: the same of results that may be views or copies.
        mixed: the same of what has the same memory after some numbers of rounds of a
            loop, or some sides, and not after others.
        contiguous: whether it is known to lie in C order.
        argument: the number of the argument's leaf that it is, or is a copy of.
    """

    __slots__ = ("argument", "contiguous", "mixed", "uncertain", "views")

    def __init__(self, contiguous: bool = False, argument: int | None = None) -> None:
        self.views: list[weakref.ref] = []
        self.uncertain: list[weakref.ref] = []
        self.mixed: list[weakref.ref] = []
        self.contiguous = contiguous
        self.argument = argument


class View(NamedTuple):
    """The memory of another tracer, seen through steps."""

    base: Any
    steps: tuple[Step, ...]

    @property
    def is_read_only(self) -> bool:
        return any(name in READ_ONLY for name, _ in self.steps)


def link(view: Any, of: Any, *steps: Step) -> Any:
    """Note that `view` is the memory of `of` seen through further steps."""
    memory = of.memory
    if memory is None and not of.ref.aval.shape and steps[0][0] != "broadcast_to":
        return view  # of a NumPy scalar, which never changes
    if type(memory) is View:
        base, before = memory
        view.memory = View(base, (*before, *steps))
    else:
        base = of
        view.memory = View(of, steps)
    owner_of(base).views.append(weakref.ref(view))
    return view


def owner_of(base: Any) -> Owner:
    """What is known about an owner's memory."""
    if base.memory is None:
        base.memory = Owner()
    owner: Owner = base.memory
    return owner


def base_of(x: Any) -> Any:
    return x.memory.base if type(x.memory) is View else x


def steps_of(x: Any) -> tuple[Step, ...]:
    return x.memory.steps if type(x.memory) is View else ()


# --- does a reshape copy? -------------------------------------------------------------


def joins_axes(x: Any, shape: tuple[int, ...]) -> str:
    """What `x.reshape(shape)` is: "view", "copy", or "uncertain"."""
    if x.rec.noting is not None:
        x.rec.noting.asks_for_layout(x)
    base = base_of(x)
    whole = base.ref.aval.shape
    owner = base.memory
    known = len(whole) < 2 or (type(owner) is Owner and owner.contiguous)
    if not x.memory and known:
        return "view"
    lies = _strides(whole, steps_of(x), _in_order(whole))
    if known:
        return "view" if _reshaped(*lies, shape) is not None else "copy"
    # Far apart, so that no two axes can be joined: a view then is one in any layout.
    apart = tuple([1 << (40 + 8 * k) for k in reversed(range(len(whole)))])
    lies = _strides(whole, steps_of(x), apart)
    return "view" if _reshaped(*lies, shape) is not None else "uncertain"


def _in_order(shape: Sequence[int]) -> tuple[int, ...]:
    strides, at = [], 1
    for n in reversed(shape):
        strides.append(at)
        at *= max(n, 1)
    return tuple(reversed(strides))


Lies = tuple[tuple[int, ...], tuple[int, ...]]


def _strides(shape: tuple[int, ...], steps: Sequence[Step], strides: Any) -> Lies:
    """Shape and strides, in elements, behind some steps."""
    for name, params in steps:
        if name == "slice":
            shape = params["size"]
            strides = tuple(
                [s * k for s, k in zip(strides, params["step"], strict=True)]
            )
        elif name in ("real", "imag"):
            strides = tuple([2 * s for s in strides])
        elif name == "transpose":
            shape = tuple([shape[p] for p in params["perm"]])
            strides = tuple([strides[p] for p in params["perm"]])
        elif name == "reshape":
            found = _reshaped(shape, strides, params["shape"])
            assert found is not None, "a reshape that is no view"
            shape, strides = params["shape"], found
        elif name == "broadcast_to":
            lead = len(params["shape"]) - len(shape)
            stretched = zip(shape, params["shape"][lead:], strides, strict=True)
            strides = (0,) * lead + tuple([s if n == m else 0 for n, m, s in stretched])
            shape = params["shape"]
        else:
            offset = params["offset"]
            n, m = shape[-2] + min(offset, 0), shape[-1] - max(offset, 0)
            shape = (*shape[:-2], max(min(n, m), 0))
            strides = (*strides[:-2], strides[-2] + strides[-1])
    return shape, strides


def _reshaped(
    shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The strides of a reshape without a copy; None if there are none."""
    if 0 in shape:
        return _in_order(new)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out = [0] * len(new)
    wanted = [k for k, n in enumerate(new) if n != 1]
    i = j = 0
    while i < len(old) and j < len(wanted):
        first_old, first_new = i, j
        have, want = old[i][0], new[wanted[j]]
        while have != want:
            if have < want:
                i += 1
                have *= old[i][0]
            else:
                j += 1
                want *= new[wanted[j]]
        for k in range(first_old, i):
            if old[k][1] != old[k + 1][1] * old[k + 1][0]:
                return None
        stride = old[i][1]
        for k in reversed(range(first_new, j + 1)):
            out[wanted[k]] = stride
            stride *= new[wanted[k]]
        i, j = i + 1, j + 1
    return tuple(out)


# --- steps as segments ----------------------------------------------------------------


class Box(NamedTuple):
    """Slices, axes of length 1 and permutations, as one.

    Attributes:
        shape: of what it is taken from.
        start, size, step: along its axes.
        axes: for each axis of the result the axis that it is; None: a new one.
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[int, ...]
    axes: tuple[int | None, ...]

    @property
    def result(self) -> tuple[int, ...]:
        return tuple([1 if a is None else self.size[a] for a in self.axes])

    @property
    def is_whole(self) -> bool:
        return self.size == self.shape and all(s == 1 for s in self.step)

    def then(self, name: str, params: dict[str, Any]) -> Box | None:
        """This box with a further step; None if it is more than a box."""
        if name == "transpose":
            return self._replace(axes=tuple([self.axes[p] for p in params["perm"]]))
        if name == "slice":
            return self._sliced(**params)
        if name != "reshape":
            return None
        long = [a for a, n in zip(self.axes, self.result, strict=True) if n != 1]
        new = params["shape"]
        if [n for n in new if n != 1] != [n for n in self.result if n != 1]:
            return None
        rest = iter(long)
        return self._replace(axes=tuple([None if n == 1 else next(rest) for n in new]))

    def _sliced(
        self, start: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]
    ) -> Box | None:
        starts, sizes, steps = list(self.start), list(self.size), list(self.step)
        for axis, a, n, s in zip(self.axes, start, size, step, strict=True):
            if axis is None:
                if n != 1:
                    return None
            else:
                starts[axis] += a * steps[axis]
                steps[axis] *= s
                sizes[axis] = n
        return self._replace(start=tuple(starts), size=tuple(sizes), step=tuple(steps))

    def take(self, rec: Any, ref: Ref) -> Ref:
        """What the box is of a ref."""
        if not self.is_whole:
            params = {"start": self.start, "size": self.size, "step": self.step}
            ref = rec.apply(PRIMITIVES["slice"], (ref,), params)
        kept = [a for a in self.axes if a is not None]
        dropped = [a for a in range(len(self.shape)) if a not in kept]
        perm = (*kept, *dropped)
        if perm != tuple(range(len(perm))):
            ref = rec.apply(PRIMITIVES["transpose"], (ref,), {"perm": perm})
        return _shaped(rec, ref, self.result)

    def put(self, rec: Any, ref: Ref, part: Ref, exclusive: bool) -> Ref:
        """The ref with this box of it replaced."""
        kept = [a for a in self.axes if a is not None]
        part = _shaped(rec, part, tuple([self.size[a] for a in kept]))
        order = tuple(sorted(range(len(kept)), key=kept.__getitem__))
        if order != tuple(range(len(order))):
            part = rec.apply(PRIMITIVES["transpose"], (part,), {"perm": order})
        part = _shaped(rec, part, self.size)
        if self.is_whole:
            return part
        params = {"start": self.start, "step": self.step, "axes": (), "add": False}
        return rec.overwrite(PRIMITIVES["update"], (ref, part), params, exclusive)


def _shaped(rec: Any, ref: Ref, shape: tuple[int, ...]) -> Ref:
    if ref.aval.shape == shape:
        return ref
    out: Ref = rec.apply(PRIMITIVES["reshape"], (ref,), {"shape": shape})
    return out


def _all_of(shape: tuple[int, ...]) -> Box:
    n = len(shape)
    return Box(shape, (0,) * n, shape, (1,) * n, tuple(range(n)))


def _segments(shape: tuple[int, ...], steps: Sequence[Step]) -> Iterator[Box | Step]:
    """Steps joined to as few as possible: boxes and what is none."""
    box = _all_of(shape)
    empty = True
    for name, params in steps:
        longer = box.then(name, params)
        if longer is not None:
            box, empty = longer, False
            continue
        if not empty:
            yield box
        before = box.result
        alone = _all_of(before).then(name, params)
        if alone is not None:
            box, empty = alone, False
            continue
        yield name, params
        shape, _ = _strides_shape(before, name, params)
        box, empty = _all_of(shape), True
    if not empty:
        yield box


def _strides_shape(shape: tuple[int, ...], name: str, params: dict[str, Any]) -> Lies:
    if name == "reshape":
        return params["shape"], ()
    return _strides(shape, [(name, params)], _in_order(shape))


# --- reading and writing --------------------------------------------------------------


def derive(view: Any) -> Ref:
    """The present ref of a view whose owner was written to."""
    base, steps = view.memory
    rec, ref = view.rec, base.ref
    for segment in _segments(ref.aval.shape, steps):
        if isinstance(segment, Box):
            ref = segment.take(rec, ref)
        else:
            name, params = segment
            ref = rec.apply(PRIMITIVES[name], (ref,), params)
    view.ref = ref
    owner_of(base).views.append(weakref.ref(view))
    return ref


def put(
    rec: Any, ref: Ref, steps: Sequence[Step], part: Ref, exclusive: bool = False
) -> Ref:
    """The value of an owner, `ref`, with what the steps lead to replaced by `part`.

    Args:
        exclusive: whether nobody else will read `ref` again.
    """
    segments = list(_segments(ref.aval.shape, steps))
    if not segments:
        return part
    seen = [ref]
    for segment in segments[:-1]:
        if isinstance(segment, Box):
            seen.append(segment.take(rec, seen[-1]))
        else:
            seen.append(rec.apply(PRIMITIVES[segment[0]], (seen[-1],), segment[1]))
    for segment, whole in zip(reversed(segments), reversed(seen), strict=True):
        if isinstance(segment, Box):
            part = segment.put(rec, whole, part, exclusive and whole is ref)
        elif segment[0] in ("real", "imag"):
            part = _with_part(rec, segment[0], whole, part)
        else:
            assert segment[0] == "reshape", "a write into a read-only view"
            part = _shaped(rec, part, whole.aval.shape)
    return part


def _with_part(rec: Any, name: str, whole: Ref, part: Ref) -> Ref:
    """A complex array with another real or imaginary part."""
    other = "imag" if name == "real" else "real"
    kept = rec.apply(PRIMITIVES[other], (whole,), {})
    parts = (part, kept) if name == "real" else (kept, part)
    out: Ref = rec.apply(PRIMITIVES["complex"], parts, {})
    return out


def rewrite(x: Any, part: Ref, steps: Sequence[Step] = ()) -> None:
    """Write `part` into the memory of `x`, or into what further steps lead to.

    The caller has seen to it that this memory may be written to.
    """
    base = base_of(x)
    steps = (*steps_of(x), *steps)
    if steps:
        ref = base.ref
        # The slot, this name and the argument: nobody else knows this value.
        exclusive = sys.getrefcount(ref) <= 3
        part = put(base.rec, ref, steps, part, exclusive)
    replaced(base, part)


def replaced(base: Any, ref: Ref) -> None:
    """Give an owner another value; its views are stale from now on."""
    if base.rec.noting is not None:
        base.rec.noting.writes_into(base)
    base.ref = ref
    owner = base.memory
    if owner is not None:
        note_written(base)
        for known in owner.views:
            view = known()
            if view is not None:
                del view.ref
        owner.views.clear()


def make_stale(view: Any) -> None:
    """Have a view that has a ref derive it from its owner's when it is asked again."""
    owner = owner_of(view.memory.base)
    owner.views = [known for known in owner.views if known() is not view]
    del view.ref


def note_written(base: Any) -> None:
    """Note that the caller's array, if it is one, may be another one afterwards."""
    owner = base.memory
    if owner is not None and owner.argument is not None:
        base.rec.written.add(owner.argument)


def note_uncertain(one: Any, other: Any) -> None:
    """Note that two arrays may share memory, or may not."""
    for x, y in ((one, other), (other, one)):
        owner_of(base_of(x)).uncertain.append(weakref.ref(y))


def note_mixed(one: Any, other: Any) -> None:
    """Note that whether two arrays share memory is decided by a loop."""
    for x, y in ((one, other), (other, one)):
        owner_of(base_of(x)).mixed.append(weakref.ref(y))


def is_mixed(x: Any) -> bool:
    """Whether a loop decides if something that is in use has the memory of `x`."""
    owner = base_of(x).memory
    if type(owner) is not Owner or not owner.mixed:
        return False
    return any(known() is not None for known in owner.mixed)


def own_ref(tracer: Any) -> Ref | None:
    """The ref of a tracer that has one; a stale view has its owner's."""
    if tracer is None:
        return None
    try:
        found: Ref = object.__getattribute__(tracer, "ref")
    except AttributeError:
        return None
    return found


def is_uncertain(x: Any) -> bool:
    """Whether a live result may be a view of the memory of `x`, or may be a copy."""
    owner = base_of(x).memory
    if type(owner) is not Owner or not owner.uncertain:
        return False
    owner.uncertain = [known for known in owner.uncertain if known() is not None]
    return bool(owner.uncertain)


def same_memory(a: Any, b: Any) -> bool:
    """Whether two tracers are one and the same part of one memory."""
    return base_of(a) is base_of(b) and steps_of(a) == steps_of(b)
