"""Random programs of writes, views and reads.

A program is a list of steps on numbered arrays.  It is run by plain NumPy, on arrays,
and by the recorder, on tracers; it is the same Python code for both.  Every number in a
program is smooth where it is evaluated (products, sums, sines), so that derivatives can
be compared with the complex step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

#: What a program is given: three arrays.
SHAPES = ((6,), (3, 4), (2, 3, 2))


def start(x):
    """The arrays of a program: of its argument, made by NumPy, and the argument."""
    a = x[:6] * 1.0
    b = np.zeros((3, 4), x.dtype)
    c = np.ones((2, 3, 2), x.dtype)
    d = x[:12].reshape(3, 4) * 0.5
    return [a, b, c, d, x]


@st.composite
def slices(draw, n):
    """A slice of an axis of length n that is not empty."""
    first = draw(st.integers(0, n - 1))
    step = draw(st.sampled_from((1, 1, 2, -1)))
    if step > 0:
        return slice(first, draw(st.integers(first + 1, n)), step)
    last = draw(st.integers(-1, first - 1))
    return slice(first, None if last < 0 else last, step)


@st.composite
def keys(draw, shape, advanced=True):
    """A key for an array of this shape."""
    key: list[Any] = []
    masked = advanced and draw(st.integers(0, 5)) == 0
    if masked:
        over = shape[: draw(st.integers(1, len(shape)))]
        size = int(np.prod(over))
        bits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        return np.array(bits).reshape(over)
    arrays = False
    for n in shape:
        kind = draw(st.sampled_from("isssaen" if advanced else "issse"))
        if kind == "e":
            break
        if kind == "i":
            key.append(draw(st.integers(-n, n - 1)))
        elif kind == "a" and not arrays:
            arrays = True
            size = draw(st.integers(1, 4))
            index = st.lists(st.integers(-n, n - 1), min_size=size, max_size=size)
            key.append(draw(index))
        elif kind == "n" and advanced:
            key += [None, draw(slices(n))]
        else:
            key.append(draw(slices(n)))
    if draw(st.integers(0, 3)) == 0 and None not in key:
        key.append(Ellipsis)
    return tuple(key)


STEPS = (
    "view set set update scalar inplace transpose reshape copy overlap row put sort"
    " fill where at out masked".split()
)


@st.composite
def programs(draw):
    """Steps `(kind, number of the array, ...)`; shapes are followed while drawing."""
    shapes = [(6,), (3, 4), (2, 3, 2), (3, 4), (12,)]
    steps = []
    for _ in range(draw(st.integers(2, 8))):
        kind = draw(st.sampled_from(STEPS))
        i = draw(st.integers(0, len(shapes) - 1))
        j = draw(st.integers(0, len(shapes) - 1))
        shape = shapes[i]
        dummy = np.zeros(shape)
        factor = draw(st.sampled_from((0.5, -1.5, 2.0)))
        if kind in ("view", "row"):
            key = draw(keys(shape, advanced=False)) if kind == "view" else 0
            found = dummy[key].shape
            if found and 0 not in found:
                shapes.append(found)
                steps.append(("view", i, key))
        elif kind == "transpose":
            shapes.append(shape[::-1])
            steps.append(("transpose", i))
        elif kind == "reshape":
            wanted = draw(st.sampled_from(((-1,), (1, -1), (-1, 1), (-1, shape[-1]))))
            shapes.append(dummy.reshape(wanted).shape)
            steps.append(("reshape", i, wanted))
        elif kind == "copy":
            shapes.append(shape)
            steps.append(("copy", i))
        elif kind in ("set", "update", "scalar", "at"):
            key = draw(keys(shape))
            steps.append((kind, i, key, j, factor))
        else:
            steps.append((kind, i, j, factor))
    return tuple(steps)


def like(source, shape, factor):
    """Something smooth of the given shape, made of all of an array."""
    total = np.sin(source).sum() * factor
    size = int(np.prod(shape))
    return total * np.cos(np.arange(float(size)) + 1.0).reshape(shape)


def run(steps, x):
    """Run a program; returns one number that depends on all there is."""
    arrays = start(x)
    for kind, i, *rest in steps:
        a = arrays[i]
        if kind == "view":
            arrays.append(a[rest[0]])
        elif kind == "transpose":
            arrays.append(a.T)
        elif kind == "reshape":
            arrays.append(a.reshape(rest[0]))
        elif kind == "copy":
            arrays.append(a.copy())
        elif kind == "set":
            key, j, factor = rest
            part = a[key]
            a[key] = like(arrays[j], np.shape(part), factor)
        elif kind == "update":
            key, j, factor = rest
            a[key] += like(arrays[j], np.shape(a[key]), factor)
        elif kind == "scalar":
            key, j, factor = rest
            a[key] = arrays[j].ravel()[-1] * factor
        elif kind == "at":
            key, j, factor = rest
            np.add.at(a, key, arrays[j].ravel()[0] * factor)
        else:
            j, factor = rest
            _whole(kind, a, arrays[j], factor)
    return result(arrays)


def _whole(kind, a, other, factor):
    """Steps that write into a whole array."""
    if kind == "inplace":
        a *= factor
        a += like(other, a.shape, 0.25)
    elif kind == "overlap":
        a[1:] = a[:-1]
        a[:-1] -= 0.5 * a[1:]
    elif kind == "put":
        np.put(a, [0, -1], other.ravel()[:2])
    elif kind == "sort":
        if a.dtype.kind != "c":
            a.sort(axis=0)
        else:
            order = np.argsort(a.real, axis=0, kind="stable")
            a[...] = np.take_along_axis(a, order, 0)
    elif kind == "fill":
        a.fill(other.ravel()[0] * factor)
    elif kind == "masked":
        a[a.real > 0.3] *= factor
        chosen = a.real < 0.1
        a[chosen] = like(other, (np.count_nonzero(chosen),), 0.25)
    elif kind == "where":
        np.copyto(a, like(other, a.shape, factor), where=a.real > 0.3)
    else:
        np.multiply(a, other.ravel()[-1], out=a)


def result(arrays):
    total = 0.0
    for number, a in enumerate(arrays):
        size = int(np.prod(a.shape))
        weights = np.sin(np.arange(float(size)) + number).reshape(a.shape)
        total = total + np.sum(np.sin(0.1 * a) * weights)
    return total
