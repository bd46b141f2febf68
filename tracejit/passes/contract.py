"""Contract: every `dot` becomes either loops that fuse or a matrix product for BLAS.

    %2: f64[n] = dot %X %w {contract=((1,), (0,))}
 ->
    %2: f64[n,d] = mul %X %w_row
    %3: f64[n] = sum %2 {axes=(1,)}

A product with a vector does as much memory traffic as arithmetic, so it belongs into
the loop of whatever makes its operands or uses its result; BLAS would read the matrix
once more.  Products of matrices become `dot` of the form that `gemm` takes: operands
`(batch..., rows, columns)` with the contracted axis among the last two.

1. The loop order of a matrix-vector product is the storage order of the matrix, so that
   its rows are read as they lie, for `X @ w` and for `X.T @ r`.
2. A transpose under a product is absorbed by its axis numbers, never computed, where
   the last two axes come out as rows and columns in either order.
3. Static products of at most `TINY` multiplications are written out.
"""

from __future__ import annotations

from math import prod

from ..primitive import PRIMITIVES
from ..program import STATIC_LIMIT
from ..tape import Builder, Instr, Ref, Tape, inner_tapes

__all__ = ["contract"]

TINY = 64


def contract(tape: Tape) -> Tape:
    """Rewrite every `dot` of the tape, loop bodies included."""
    if not any(i.prim.name == "dot" or inner_tapes(i) for i in tape.instrs):
        return tape
    builder = Builder(tape.name)
    env: dict[int, Ref] = {}
    made: dict[int, Instr] = {}
    for ref in tape.inputs:
        env[ref] = builder.input(tape.avals[ref])
    for instr in tape.instrs:
        if instr.prim.name == "dot":
            builder.source = instr.source
            env[instr.outs[0]] = _dot(builder, instr, env, made, tape)
        else:
            if inner_tapes(instr):
                params = {
                    key: contract(value) if isinstance(value, Tape) else value
                    for key, value in instr.params.items()
                }
                instr = Instr(instr.prim, instr.args, params, instr.outs, instr.source)
            builder.replay(instr, env)
            for out in instr.outs:
                made[out] = instr
    return builder.finish([env[r] for r in tape.outputs])


def _absorb(ref: int, axes: list[int], made: dict[int, Instr]) -> tuple[int, list[int]]:
    """Look through transposes: the operand's operand, `axes` renumbered in order."""
    while (instr := made.get(ref)) is not None and instr.prim.name == "transpose":
        perm = instr.params["perm"]
        axes = [perm[a] for a in axes]
        (ref,) = instr.args
    return ref, axes


def _dot(
    builder: Builder,
    instr: Instr,
    env: dict[int, Ref],
    made: dict[int, Instr],
    tape: Tape,
) -> Ref:
    (a_con, b_con) = instr.params["contract"]
    (a_bat, b_bat) = instr.params["batch"]
    a_ref, b_ref = instr.args

    def split(ref: int, con: tuple[int, ...], bat: tuple[int, ...]) -> list[int]:
        ndim = tape.avals[ref].ndim
        free = [k for k in range(ndim) if k not in con and k not in bat]
        return [*bat, *free, *con]

    # All axes of an operand as batch, free, contracted; then in terms of what is
    # under its transposes.
    a_under, a_axes = _absorb(a_ref, split(a_ref, a_con, a_bat), made)
    b_under, b_axes = _absorb(b_ref, split(b_ref, b_con, b_bat), made)
    a, b = env[a_under], env[b_under]
    n_bat, n_con = len(a_bat), len(a_con)
    a_parts = _parts(a_axes, n_bat, n_con)
    b_parts = _parts(b_axes, n_bat, n_con)
    batch, a_free, con = (prod(a.shape[k] for k in part) for part in a_parts)
    b_free = prod(b.shape[k] for k in b_parts[1])
    out_shape = tape.avals[instr.outs[0]].shape
    total = batch * a_free * b_free * con
    sizes = (batch, a_free, b_free, con)
    tiny = total <= TINY and all(n <= STATIC_LIMIT for n in sizes)
    if total == 0 or tiny or 1 in (a_free, b_free, con):
        return _as_loops(a, b, a_parts, b_parts, out_shape, b_free == 1 or a_free > 1)
    a2, ta = _matrix(a, a_parts, transposed_is="rows last")
    b2, tb = _matrix(b, b_parts, transposed_is="rows first")
    rank = a2.ndim
    lead = tuple(range(rank - 2))
    product = PRIMITIVES["dot"](
        a2,
        b2,
        contract=((rank - 2 if ta else rank - 1,), (rank - 1 if tb else rank - 2,)),
        batch=(lead, lead),
    )
    return _reshape(product, out_shape)


def _parts(
    axes: list[int], n_bat: int, n_con: int
) -> tuple[list[int], list[int], list[int]]:
    end = len(axes) - n_con
    return axes[:n_bat], axes[n_bat:end], axes[end:]


def _as_loops(
    a: Ref,
    b: Ref,
    a_parts: tuple[list[int], list[int], list[int]],
    b_parts: tuple[list[int], list[int], list[int]],
    out_shape: tuple[int, ...],
    a_leads: bool,
) -> Ref:
    """The product as a broadcast multiplication and a sum.

    The axes of the leading operand stay as they lie in memory; the free axes of the
    other come last.
    """
    if not a_leads:
        return _lead(b, a, b_parts, a_parts, out_shape, swapped=True)
    return _lead(a, b, a_parts, b_parts, out_shape, swapped=False)


def _lead(
    a: Ref,
    b: Ref,
    a_parts: tuple[list[int], list[int], list[int]],
    b_parts: tuple[list[int], list[int], list[int]],
    out_shape: tuple[int, ...],
    *,
    swapped: bool,
) -> Ref:
    n_free = len(b_parts[1])
    # Where each axis of b goes in the iteration space (a's axes, then b's free ones).
    place = dict(zip(b_parts[0], a_parts[0], strict=True))
    place.update(zip(b_parts[2], a_parts[2], strict=True))
    place.update({k: a.ndim + j for j, k in enumerate(b_parts[1])})
    order = sorted(range(b.ndim), key=lambda k: place[k])
    shape = [1] * (a.ndim + n_free)
    for k in order:
        shape[place[k]] = b.shape[k]
    b = _reshape(_transpose(b, order), tuple(shape))
    a = _reshape(a, (*a.shape, *[1] * n_free))
    out = PRIMITIVES["mul"](a, b) if not swapped else PRIMITIVES["mul"](b, a)
    con = sorted(a_parts[2])
    if prod(out.shape[k] for k in con) != 1:
        out = PRIMITIVES["sum"](out, axes=tuple(con))
    elif con:
        kept = [n for k, n in enumerate(out.shape) if k not in con]
        out = _reshape(out, tuple(kept))
    left = [k for k in range(a.ndim) if k not in con]
    position = {k: j for j, k in enumerate(left)}
    own, other = a_parts[1], [a.ndim - n_free + j for j in range(n_free)]
    wanted = [*a_parts[0], *(other + own if swapped else own + other)]
    out = _transpose(out, [position[k] for k in wanted])
    return _reshape(out, out_shape)


def _matrix(
    x: Ref, parts: tuple[list[int], list[int], list[int]], transposed_is: str
) -> tuple[Ref, bool]:
    """An operand as (batch, two axes) and whether gemm has to transpose it.

    The left operand is (free, contracted), the right one (contracted, free).
    """
    bat, free, con = parts
    order = [*bat, *free, *con]
    free_first = order == list(range(x.ndim))
    con_first = [*bat, *con, *free] == list(range(x.ndim))
    if not free_first and not con_first:
        x = _transpose(x, order)
        free_first = True
    n_bat = prod(x.shape[k] for k in range(len(bat)))
    if free_first:
        n_free = prod(x.shape[k] for k in range(len(bat), len(bat) + len(free)))
        n_con = prod(x.shape[k] for k in range(len(bat) + len(free), x.ndim))
        shape = (n_free, n_con)
    else:
        n_con = prod(x.shape[k] for k in range(len(bat), len(bat) + len(con)))
        n_free = prod(x.shape[k] for k in range(len(bat) + len(con), x.ndim))
        shape = (n_con, n_free)
    x = _reshape(x, (n_bat, *shape) if bat else shape)
    left = transposed_is == "rows last"
    return x, (not free_first) if left else free_first


def _reshape(x: Ref, shape: tuple[int, ...]) -> Ref:
    return x if x.shape == shape else PRIMITIVES["reshape"](x, shape=shape)


def _transpose(x: Ref, perm: list[int]) -> Ref:
    if perm == list(range(x.ndim)):
        return x
    return PRIMITIVES["transpose"](x, perm=tuple(perm))
