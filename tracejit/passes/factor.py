"""Factor: solve, inv, det and slogdet of one matrix share its LU factors.

    %2, %3 = slogdet %0                 %2, %3 = lu %0
    %4 = solve %0 %1             ->     ...sign and logarithms of the diagonal of %2
    %5 = inv %0                         %6 = lu_solve %2 %3 %1
                                        %7 = lu_inv %2 %3

    %2 = svdvals %0                     %3, %2, %4 = svd %0
    %3, %5, %4 = svd %0          ->     (%5 is %2)

The gradient of a log-likelihood factorises its covariance matrix three or four times
if every instr does so for itself.  This is a pass and not part of the rules, because
the derivative of `solve` is simpler than that of a factorisation.

The gradient of a sum of singular values needs the vectors, and their row gives the
values too; so do those of eigenvalues.

1. Only matrices with two or more uses are rewritten; a^T counts as a use of a.
2. Derivatives have been taken: the new rows have none.
3. A singular matrix gives what it gave before: 0 and -inf as determinants, an exit
   (NumPy's LinAlgError) where it is solved or inverted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..ops import elementwise as ew
from ..ops.eigen import eig, eigvals
from ..ops.factorised import PIVOT, lu, lu_inv, lu_solve
from ..ops.linalg import det, inv, slogdet, solve, swap
from ..ops.logic import cast, eq, gt, select
from ..ops.reduction import prod, sum_
from ..ops.spectral import eigh, eigvalsh, svd, svdvals
from ..ops.structural import diagonal, iota, transpose
from ..tape import Builder, Instr, Ref, Tape

__all__ = ["factor"]

_USERS = {solve, inv, det, slogdet}


#: Rows of values alone -> the row that has the vectors too, and which output of it
#: the values are.
_VALUES = {svdvals: (svd, 1), eigvalsh: (eigh, 0), eigvals: (eig, 0)}


def factor(tape: Tape) -> Tape:
    """Return an equivalent tape in which shared matrices are factorised once."""
    return _share_factors(_share_vectors(tape))


def _share_vectors(tape: Tape) -> Tape:
    """Take values from the row with the vectors, if that stands on the tape anyway."""
    matrices = {i.args[0] for i in tape.instrs if i.prim in _VALUES}
    rows = [row for row, _ in _VALUES.values()]
    full = {
        (i.prim, i.args[0]): i.params
        for i in tape.instrs
        if i.prim in rows and i.args[0] in matrices
    }
    if not full:
        return tape
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    made: dict[tuple, tuple[Ref, ...]] = {}

    def vectors(prim: Any, matrix: int, params: dict[str, Any]) -> tuple[Ref, ...]:
        key = (prim, matrix, *params.values())
        if key not in made:
            made[key] = builder.emit(prim, (env[matrix],), params)
        return made[key]

    for instr in tape.instrs:
        builder.source = instr.source
        row, place = _VALUES.get(instr.prim, (instr.prim, None))
        params = full.get((row, instr.args[0])) if instr.args else None
        if params is None:
            builder.replay(instr, env)
        elif place is None:
            outs = vectors(row, instr.args[0], instr.params)
            env.update(zip(instr.outs, outs, strict=True))
        elif all(params.get(k) == v for k, v in instr.params.items()):
            env[instr.outs[0]] = vectors(row, instr.args[0], params)[place]
        else:
            builder.replay(instr, env)
    return builder.finish([env[ref] for ref in tape.outputs])


def _share_factors(tape: Tape) -> Tape:
    swapped = {i.outs[0]: i.args[0] for i in tape.instrs if _is_swap(i)}
    uses = Counter(
        swapped.get(i.args[0], i.args[0]) for i in tape.instrs if i.prim in _USERS
    )
    shared = {
        ref
        for ref, count in uses.items()
        if count > 1 and tape.avals[ref].size and tape.avals[ref].dtype.kind == "f"
    }
    if not shared:
        return tape
    builder = Builder(tape.name)
    env = {ref: builder.input(tape.avals[ref]) for ref in tape.inputs}
    factors: dict[int, tuple[Ref, Ref]] = {}
    for instr in tape.instrs:
        matrix = instr.args[0] if instr.args else -1
        base = swapped.get(matrix, matrix)
        if instr.prim not in _USERS or base not in shared:
            builder.replay(instr, env)
            continue
        builder.source = instr.source
        if base not in factors:
            factors[base] = lu(env[base])
        outs = _use(instr, env, *factors[base], trans=base != matrix)
        env.update(zip(instr.outs, outs, strict=True))
    return builder.finish([env[ref] for ref in tape.outputs])


def _is_swap(instr: Instr) -> bool:
    if instr.prim is not transpose:
        return False
    perm = instr.params["perm"]
    n = len(perm)
    return perm == (*range(n - 2), n - 1, n - 2)


def _use(
    instr: Instr, env: dict[int, Ref], factors: Ref, pivots: Ref, trans: bool
) -> tuple:
    """What one of the users gives, from the factors."""
    if instr.prim is solve:
        return (lu_solve(factors, pivots, env[instr.args[1]], trans=trans),)
    if instr.prim is inv:
        inverse = lu_inv(factors, pivots)
        return (swap(inverse) if trans else inverse,)
    u = _squared(diagonal(factors, offset=0), pivots)
    last = (u.ndim - 1,)
    if instr.prim is det:
        return (_parity(pivots, u) * prod(u, axes=last),)
    sign = _parity(pivots, u) * prod(ew.sign(u), axes=last)
    return sign, sum_(ew.log(ew.abs_(u)), axes=last)


def _squared(u: Ref, pivots: Ref) -> Any:
    """The numbers whose product is the determinant: Cholesky's factor counts twice."""
    return u * select(eq(pivots, 0), u, 1)


def _parity(pivots: Ref, u: Ref) -> Any:
    """-1 to the number of row exchanges; a pivot is its own row or a later one."""
    n = u.shape[-1]
    params = {"shape": (n,), "axis": 0, "dtype": PIVOT}
    place = u.builder.emit(iota, (), params) + 1
    moved = cast(gt(pivots, place), dtype=u.dtype)
    return 1 - 2 * ew.mod(sum_(moved, axes=(u.ndim - 1,)), 2)
