"""Random tapes: well-formed programs over most primitives, from a seed."""

from __future__ import annotations

import numpy as np

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.avals import Aval
from tracejit.primitive import PRIMITIVES as P
from tracejit.tape import Builder, Ref, Tape

F64 = np.dtype(np.float64)
I64 = np.dtype(np.int64)
UNARY = ("neg", "square", "tanh", "sin", "abs", "copy", "exp")
BINARY = ("add", "sub", "mul", "maximum", "minimum", "add", "mul")


def random_tape(seed: int, length: int = 14) -> tuple[Tape, list[np.ndarray]]:
    """A tape with inputs of matching shapes; values stay of moderate size."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([3, 7, 11, 13]))
    m = int(rng.choice([1, 2, 5, 12]))
    builder = Builder(f"random{seed}")
    shapes: list[tuple[int, ...]] = [(n,), (n, m), (m,), (), (n, n)]
    refs = [builder.input(Aval(s, F64)) for s in shapes]
    arrays = [rng.uniform(-1, 1, size=s) for s in shapes]
    while len(builder.instrs) < length:
        x = refs[int(rng.integers(len(refs)))]
        new = _step(rng, builder, refs, x)
        if new is not None and new.aval.size <= 3000:
            refs.append(new)
    floats = [r for r in refs if r.dtype == F64]
    count = int(rng.integers(1, 4))
    picked = [floats[int(k)] for k in rng.integers(len(floats), size=count)]
    return builder.finish([*picked, floats[-1]]), arrays


def _step(
    rng: np.random.Generator, builder: Builder, refs: list[Ref], x: Ref
) -> Ref | None:
    kind = rng.choice(_KINDS)
    ndim = x.ndim
    axis = int(rng.integers(ndim)) if ndim else 0
    same = [r for r in refs if r.dtype == x.dtype]
    if x.ndim > 3:
        return None
    if kind == "unary":
        y = P[str(rng.choice(UNARY))](x)
        return P["tanh"](y)
    if kind == "binary":
        fitting = [r for r in same if _broadcasts(r.shape, x.shape)]
        y = fitting[int(rng.integers(len(fitting)))]
        return P[str(rng.choice(BINARY))](x, y) * 0.5
    if kind == "select":
        fitting = [r for r in same if _broadcasts(r.shape, x.shape)]
        y = fitting[int(rng.integers(len(fitting)))]
        return P["select"](x > 0.1, y, x)
    if kind == "reduce" and ndim:
        axes = sorted(
            {int(a) for a in rng.integers(ndim, size=int(rng.integers(1, ndim + 1)))}
        )
        name = str(rng.choice(["sum", "max", "min", "sum"]))
        if any(x.shape[a] == 0 for a in axes) and name != "sum":
            return None
        y = P[name](x, axes=tuple(axes))
        return y * 0.1
    if kind == "keepdims" and ndim:
        y = P["sum"](x, axes=(axis,)) * 0.1
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return P["sub"](x, P["reshape"](y, shape=shape))
    if kind == "scan" and ndim:
        return P["cumsum"](x, axis=axis) * 0.1
    if kind == "arg" and ndim and x.shape[axis]:
        y = P[str(rng.choice(["argmax", "argmin"]))](x, axis=axis)
        return P["cast"](y, dtype=F64)
    if kind == "slice" and ndim:
        start, size, step = [], [], []
        for length in x.shape:
            s = int(rng.choice([1, 1, 1, 2, -1]))
            k = int(rng.integers(1, length + 1)) if length else 0
            k = min(k, (length + abs(s) - 1) // abs(s))
            room = length - 1 - (k - 1) * abs(s)
            lo = int(rng.integers(room + 1)) if room > 0 and k else 0
            start.append(lo if s > 0 else lo + (k - 1) * abs(s))
            size.append(k)
            step.append(s)
        return P["slice"](x, start=tuple(start), size=tuple(size), step=tuple(step))
    if kind == "unslice" and ndim:
        start = [int(k) for k in rng.integers(0, 3, size=ndim)]
        step = [int(rng.choice([1, 1, 2])) for _ in range(ndim)]
        shape = [
            s + (k - 1) * t + 1 + int(rng.integers(0, 2)) if k else s
            for s, t, k in zip(start, step, x.shape, strict=True)
        ]
        return P["unslice"](x, start=tuple(start), step=tuple(step), shape=tuple(shape))
    if kind == "transpose" and ndim > 1:
        return P["transpose"](x, perm=tuple(int(k) for k in rng.permutation(ndim)))
    if kind == "reshape":
        shape = (x.aval.size,) if rng.random() < 0.5 else (1, *x.shape)
        return P["reshape"](x, shape=shape)
    if kind == "broadcast":
        return P["broadcast_to"](x, shape=(int(rng.integers(1, 4)), *x.shape))
    if kind == "concatenate" and ndim:
        fitting = [
            r
            for r in same
            if r.ndim == ndim
            and all(
                a == b
                for k, (a, b) in enumerate(zip(r.shape, x.shape, strict=True))
                if k != axis
            )
        ]
        picked = [fitting[int(k)] for k in rng.integers(len(fitting), size=2)]
        return P["concatenate"](x, *picked, axis=axis)
    if kind == "gather" and ndim and x.shape[axis]:
        index = P["iota"]
        del index
        length = x.shape[axis]
        at = P["cast"](P["floor"](P["abs"](refs[0]) * (length * 0.99)), dtype=I64)
        y = P["gather"](x, P["wrap_index"](at, n=length), axis=axis)
        if rng.random() < 0.5:
            return y
        return P["scatter_add"](y, P["wrap_index"](at, n=length), axis=axis, n=length)
    if kind == "dot" and ndim:
        fitting = [
            (r, k) for r in same for k in range(r.ndim) if r.shape[k] == x.shape[axis]
        ]
        y, k = fitting[int(rng.integers(len(fitting)))]
        return P["dot"](x, y, contract=((axis,), (k,)), batch=((), ())) * 0.1
    if kind == "tril" and ndim > 1:
        return P[str(rng.choice(["tril", "triu"]))](x, k=int(rng.integers(-1, 2)))
    return None


_KINDS = (
    ["unary"] * 3
    + ["binary"] * 6
    + ["reduce"] * 3
    + ["slice", "unslice"] * 2
    + "select keepdims scan arg transpose reshape broadcast concatenate gather dot "
    "tril".split()
)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 3
    except ValueError:
        return False
