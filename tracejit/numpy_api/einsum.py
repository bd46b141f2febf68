"""`np.einsum`: diagonals, sums, contractions of pairs, one transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracer import Tracer, refuse
from .products import contract, diagonal
from .shape import permute
from .table import as_tracer, cast, common, emit, implements, no_keywords, recorder_of
from .ufuncs import call

__all__ = ["einsum"]


class _Labelled:
    """An operand of einsum: a tracer and one letter per axis."""

    def __init__(self, x: Tracer, labels: str) -> None:
        self.x = x
        self.labels = labels

    def kept(self, wanted: set[str]) -> _Labelled:
        """Diagonals of repeated letters, sums over letters that nobody wants."""
        x, labels = self.x, self.labels
        for letter in dict.fromkeys(labels):
            while labels.count(letter) > 1:
                i = labels.index(letter)
                j = labels.index(letter, i + 1)
                x = diagonal(x, 0, i, j)
                labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + letter
        axes = tuple(i for i, c in enumerate(labels) if c not in wanted)
        if axes:
            x = emit("sum", x, axes=axes)
        return _Labelled(x, "".join([c for c in labels if c in wanted]))

    def ordered(self, labels: str) -> Tracer:
        return permute(self.x, tuple([self.labels.index(c) for c in labels]))


@implements(np.einsum)
def einsum(
    *operands: Any,
    out: Any = None,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
    optimize: Any = False,
) -> Any:
    no_keywords(np.einsum, out=out)
    subscripts, arrays = _string_form(operands)
    rec = recorder_of(*arrays)
    tracers = common([as_tracer(rec, a) for a in arrays])
    if dtype is not None:
        tracers = [cast(t, dtype) for t in tracers]
    inputs, output = _parse(subscripts, tracers)
    terms = _without_ones(
        [_Labelled(t, labels) for t, labels in zip(tracers, inputs, strict=True)]
    )
    for which in _path(terms, output):
        rest = [t for i, t in enumerate(terms) if i not in which]
        wanted = set(output).union(*[set(t.labels) for t in rest])
        chosen = [terms[i] for i in which]
        while len(chosen) > 2:
            later = chosen[2:]
            inside = wanted.union(*[set(t.labels) for t in later])
            chosen = [_joined(chosen[:2], inside), *later]
        terms = [*rest, _joined(chosen, wanted)]
    (result,) = terms
    sizes = _sizes([_Labelled(t, c) for t, c in zip(tracers, inputs, strict=True)])
    return _spread(result, output, sizes)


def _spread(result: _Labelled, output: str, sizes: dict[str, int]) -> Tracer:
    """The result with its axes in order, those of broadcast ones restored."""
    have = "".join([c for c in output if c in result.labels])
    x = result.ordered(have)
    if have != output:
        kept = tuple([sizes[c] if c in have else 1 for c in output])
        x = emit("reshape", x, shape=kept)
    return x


def _string_form(operands: tuple) -> tuple[str, list[Any]]:
    """Turn `einsum(a, [0, 1], b, [1, 2], [0, 2])` into `einsum('ab,bc->ac', a, b)`."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])

    def letters(sublist: Any) -> str:
        return "".join(["..." if i is Ellipsis else _LETTERS[i] for i in sublist])

    pairs = len(operands) // 2
    arrays = list(operands[0 : 2 * pairs : 2])
    text = ",".join([letters(s) for s in operands[1 : 2 * pairs : 2]])
    if len(operands) % 2:
        text += "->" + letters(operands[-1])
    return text, arrays


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _parse(subscripts: str, tracers: list[Tracer]) -> tuple[list[str], str]:
    """Letters of the inputs and of the output, ellipses spelled out."""
    left, arrow, output = subscripts.partition("->")
    inputs = left.split(",")
    fits = len(inputs) == len(tracers)
    unused = [c for c in _LETTERS if c not in subscripts]
    longest = ""
    for i, (labels, t) in enumerate(zip(inputs, tracers, strict=False)):
        if "..." in labels:
            spare = t.ndim - (len(labels) - 3)
            fits &= spare >= 0
            dots = "".join(unused[len(unused) - spare :] if spare > 0 else [])
            longest = dots if len(dots) > len(longest) else longest
            inputs[i] = labels.replace("...", dots)
        fits &= len(inputs[i]) == t.ndim
    if not arrow:
        joined = "".join(inputs)
        once = [c for c in sorted(set(joined)) if joined.count(c) == 1]
        output = longest + "".join([c for c in once if c not in longest])
    output = output.replace("...", longest)
    if (
        not fits
        or not set(output) <= set("".join(inputs))
        or (len(set(output)) < len(output))
    ):
        np.einsum(subscripts, *[t.concrete for t in tracers])  # NumPy words the error
        refuse(f"np.einsum({subscripts!r}, ...)")
    return inputs, output


def _sizes(terms: list[_Labelled]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for term in terms:
        for c, n in zip(term.labels, term.x.shape, strict=True):
            sizes[c] = n if sizes.get(c, 1) == 1 else sizes[c]
            if n not in (1, sizes[c]):
                text = ",".join([t.labels for t in terms])
                np.einsum(text, *[t.x.concrete for t in terms])
    return sizes


def _without_ones(terms: list[_Labelled]) -> list[_Labelled]:
    """Drop axes of length 1 that another operand's axis would stretch."""
    sizes = _sizes(terms)
    found = []
    for term in terms:
        pairs = list(zip(term.labels, term.x.shape, strict=True))
        keep = [(c, n) for c, n in pairs if n != 1 or sizes[c] == 1]
        if len(keep) < len(pairs):
            shape = tuple([n for _, n in keep])
            term = _Labelled(
                emit("reshape", term.x, shape=shape), "".join([c for c, _ in keep])
            )
        found.append(term)
    return found


def _path(terms: list[_Labelled], output: str) -> list[tuple[int, ...]]:
    """Which operands to join, in order; results go to the end."""
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    text = ",".join([t.labels for t in terms])
    present = "".join([c for c in output if c in text])
    shapes = [np.broadcast_to(0.0, t.x.shape) for t in terms]
    path, _ = np.einsum_path(f"{text}->{present}", *shapes, optimize="greedy")
    return [tuple(step) for step in path[1:]]


def _joined(terms: list[_Labelled], wanted: set[str]) -> _Labelled:
    if len(terms) == 1:
        return terms[0].kept(wanted)
    a, b = terms
    a = a.kept(wanted | set(b.labels))
    b = b.kept(wanted | set(a.labels))
    both = [c for c in a.labels if c in b.labels]
    gone = [c for c in both if c not in wanted]
    batch = [c for c in both if c in wanted]
    free_a = "".join([c for c in a.labels if c not in both])
    free_b = "".join([c for c in b.labels if c not in both])
    labels = "".join(batch) + free_a + free_b
    if not gone:
        # No sum is left: a product that broadcasts.
        x = a.ordered("".join(batch) + free_a)
        if free_a and free_b:
            x = emit("reshape", x, shape=x.shape + (1,) * len(free_b))
        y = b.ordered("".join(batch) + free_b)
        if free_a:
            n = len(batch)
            y = emit("reshape", y, shape=y.shape[:n] + (1,) * len(free_a) + y.shape[n:])
        elif free_b:
            x = emit("reshape", x, shape=x.shape + (1,) * len(free_b))
        return _Labelled(call(np.multiply, x, y), labels)
    return _Labelled(
        contract(
            a.x,
            b.x,
            tuple([a.labels.index(c) for c in gone]),
            tuple([b.labels.index(c) for c in gone]),
            tuple([a.labels.index(c) for c in batch]),
            tuple([b.labels.index(c) for c in batch]),
        ),
        labels,
    )


@implements(np.einsum_path, gradient=False)
def einsum_path(
    *operands: Any, optimize: Any = "greedy", einsum_call: bool = False
) -> Any:
    """NumPy's own answer, which depends on shapes only."""
    stand_ins = [
        np.broadcast_to(0.0, t.shape) if type(t) is Tracer else t for t in operands
    ]
    ask: Any = np.einsum_path
    return ask(*stand_ins, optimize=optimize, einsum_call=einsum_call)
