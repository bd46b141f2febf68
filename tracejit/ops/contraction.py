"""dot: the one contraction, with the axes of `lax.dot_general`.

`dot(a, b){contract, batch}`: each param is a pair of axis tuples, of a and of b.  The
result has the batch axes, then the free axes of a, then those of b.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .rows import ANYC, REAL, same_dtype, sample
from .structural import transpose

Axes = tuple[int, ...]
Pair = tuple[Axes, Axes]


def free_axes(ndim: int, *taken: Axes) -> Axes:
    """The axes of an operand that are in none of `taken`."""
    used = {axis for axes in taken for axis in axes}
    return tuple(i for i in range(ndim) if i not in used)


def _dot_aval(a: Aval, b: Aval, *, contract: Pair, batch: Pair) -> Aval:
    dtype = same_dtype((a, b), "dot", ANYC)
    pairs = (*zip(*contract, strict=True), *zip(*batch, strict=True))
    if any(a.shape[i] != b.shape[j] for i, j in pairs):
        text = f"dot of {a!r} and {b!r}: contract {contract}, batch {batch}"
        raise InvalidTapeError(text)
    shape = tuple(a.shape[i] for i in batch[0])
    shape += tuple(a.shape[i] for i in free_axes(a.ndim, contract[0], batch[0]))
    shape += tuple(b.shape[i] for i in free_axes(b.ndim, contract[1], batch[1]))
    return Aval(shape, dtype)


def _dot_reference(a: Any, b: Any, *, contract: Pair, batch: Pair) -> Any:
    if not batch[0] and a.ndim <= 2 and b.ndim <= 2 and len(contract[0]) == 1:
        # BLAS takes a transposed view as it is.
        left = a if contract[0][0] == a.ndim - 1 else a.T
        right = b if contract[1][0] == 0 else b.T
        return np.dot(left, right)
    free_a = free_axes(a.ndim, contract[0], batch[0])
    free_b = free_axes(b.ndim, contract[1], batch[1])
    stack = [a.shape[i] for i in batch[0]]
    rows, cols = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    inner = math.prod(a.shape[i] for i in contract[0])
    left = np.transpose(a, (*batch[0], *free_a, *contract[0]))
    right = np.transpose(b, (*batch[1], *contract[1], *free_b))
    left = left.reshape((*stack, math.prod(rows), inner))
    right = right.reshape((*stack, inner, math.prod(cols)))
    return np.matmul(left, right).reshape((*stack, *rows, *cols))[()]


def _transposed_dot(
    ct: Any, other: Any, shape: tuple[int, ...], own: Pair, others: Pair, leads: bool
) -> Any:
    """The cotangent of one operand: `ct` contracted with the other operand.

    Args:
        shape: of the operand; `own` and `others` are its and the other operand's
            (contract, batch) axes; `leads` tells whether it is the first operand.
    """
    contract, batch = own
    other_contract, other_batch = others
    free = free_axes(len(shape), contract, batch)
    other_free = free_axes(other.ndim, other_contract, other_batch)
    n = len(batch)
    start = n + len(free) if leads else n
    ct_contract = tuple(range(start, start + len(other_free)))
    ct_batch = tuple(range(n))
    # What is left of the other operand are its contracted axes, in its own order.
    partner = dict(zip(other_contract, contract, strict=True))
    rest = tuple(partner[i] for i in sorted(other_contract))
    orders = [(*batch, *free, *rest), (*batch, *rest, *free)]
    # The order of the operands that leaves no transpose to do, if there is one.
    identity = tuple(range(len(shape)))
    if orders[1] == identity and orders[0] != identity:
        axes = {
            "contract": (other_free, ct_contract),
            "batch": (other_batch, ct_batch),
        }
        return dot(other, ct, **axes)
    out = dot(
        ct, other, contract=(ct_contract, other_free), batch=(ct_batch, other_batch)
    )
    if orders[0] == identity:
        return out
    return transpose(out, perm=tuple(sorted(identity, key=orders[0].__getitem__)))


def _dot_vjp(ct: Any, y: Any, a: Any, b: Any, *, contract: Pair, batch: Pair) -> tuple:
    of_a, of_b = (contract[0], batch[0]), (contract[1], batch[1])
    return (
        lambda: _transposed_dot(ct, b, a.shape, of_a, of_b, True),
        lambda: _transposed_dot(ct, a, b.shape, of_b, of_a, False),
    )


def _next(axes: Axes) -> Axes:
    return tuple(i + 1 for i in axes)


def _dot_batch(args: Any, batched: Any, *, contract: Pair, batch: Pair) -> Any:
    a, b = args
    if all(batched):
        return dot(
            a,
            b,
            contract=(_next(contract[0]), _next(contract[1])),
            batch=((0, *_next(batch[0])), (0, *_next(batch[1]))),
        )
    which = 0 if batched[0] else 1
    pairs = [
        tuple(_next(p) if i == which else p for i, p in enumerate(pair))
        for pair in (contract, batch)
    ]
    out = dot(a, b, contract=pairs[0], batch=pairs[1])
    # The batch axis is the first free axis of its operand.
    at = len(batch[0])
    if which == 1:
        at += a.ndim - len(contract[0]) - at
    if at == 0:
        return out
    return transpose(out, perm=(at, *range(at), *range(at + 1, out.ndim)))


def matmul(a: Any, b: Any, *, ta: bool = False, tb: bool = False) -> Any:
    """Product of stacked matrices (last two axes), either one transposed."""
    stack = tuple(range(a.ndim - 2))
    n = len(stack)
    contract = ((n if ta else n + 1,), (n + 1 if tb else n,))
    return dot(a, b, contract=contract, batch=(stack, stack))


def _dots(*shapes: tuple[int, ...], contract: Pair, batch: Pair = ((), ())) -> Any:
    return sample(*[(s, REAL) for s in shapes], contract=contract, batch=batch)


dot = register(
    Primitive(
        "dot",
        "contraction",
        _dot_reference,
        _dot_aval,
        multilinear=(0, 1),
        vjp=_dot_vjp,
        batch=_dot_batch,
        samples=(
            _dots((3,), (3,), contract=((0,), (0,))),
            _dots((2, 3), (3,), contract=((1,), (0,))),
            _dots((3,), (3, 2), contract=((0,), (0,))),
            _dots((2, 3), (3, 4), contract=((1,), (0,))),
            _dots((3, 2), (4, 3), contract=((0,), (1,))),
            _dots((2,), (3,), contract=((), ())),
            _dots((2, 3, 4), (4, 3), contract=((1, 2), (1, 0))),
            _dots((2, 3, 4), (5, 4), contract=((2,), (1,))),
            _dots((2, 3, 4), (2, 4, 2), contract=((2,), (1,)), batch=((0,), (0,))),
            _dots((3, 2, 4), (4, 2), contract=((2,), (0,)), batch=((1,), (1,))),
            _dots((2, 0), (0, 3), contract=((1,), (0,))),
            sample(
                ((2, 3), REAL, "f4"),
                ((3, 4), REAL, "f4"),
                contract=((1,), (0,)),
                batch=((), ()),
            ),
            sample(
                ((2, 3), REAL, "i8"),
                ((3,), REAL, "i8"),
                contract=((1,), (0,)),
                batch=((), ()),
            ),
        ),
    )
)
