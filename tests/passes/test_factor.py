"""Shared LU factors: equal results, one factorisation, singular matrices."""

from __future__ import annotations

import numpy as np
import pytest

from tracejit.avals import Aval
from tracejit.interpret import interpret, verify
from tracejit.ops.linalg import det, inv, slogdet, solve, swap
from tracejit.passes import optimise
from tracejit.passes.factor import factor
from tracejit.passes.simplify import simplify
from tracejit.passes.vjp import vjp
from tracejit.primitive import PRIMITIVES
from tracejit.tape import Builder

F8 = np.dtype("f8")


def names(tape):
    return [i.prim.name for i in tape.instrs]


def users(shape):
    builder = Builder()
    a = builder.input(Aval(shape, F8))
    b = builder.input(Aval((*shape[:-1], 2), F8))
    outs = [solve(a, b), solve(swap(a), b), inv(a), inv(swap(a)), det(a), *slogdet(a)]
    return verify(builder.finish(outs))


@pytest.mark.parametrize("shape", [(4, 4), (5, 3, 3), (1, 1)])
def test_all_users_of_one_matrix(shape):
    rng = np.random.default_rng(0)
    tape = users(shape)
    shared = verify(factor(tape))
    assert names(shared).count("lu") == 1
    assert not {"solve", "inv", "det", "slogdet"} & set(names(shared))
    arrays = [rng.normal(size=shape), rng.normal(size=(*shape[:-1], 2))]
    pairs = zip(interpret(shared, arrays), interpret(tape, arrays), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_definite_matrices():
    """Cholesky's factors behind the same formulas; LU's where rounding is no excuse."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 4))
    a = a @ a.T + np.eye(4)
    b = rng.normal(size=(4, 2))
    tape = users((4, 4))
    shared = factor(tape)
    for off, definite in ((0.0, True), (2e-16, True), (1e-12, False)):
        matrix = a.copy()
        matrix[0, 1] *= 1 + off
        assert PRIMITIVES["lu"].reference(matrix)[1].any() != definite
        pairs = zip(
            interpret(shared, [matrix, b]), interpret(tape, [matrix, b]), strict=True
        )
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert PRIMITIVES["lu"].reference(-a)[1].all()


def test_optimise_shares_factors():
    assert names(optimise(users((4, 4)))).count("lu") == 1


def test_a_single_user_is_left_alone():
    builder = Builder()
    a, b = (builder.input(Aval((3, 3), F8)) for _ in range(2))
    tape = builder.finish([inv(a), det(b)])
    assert factor(tape) is tape


def test_empty_matrices_are_left_alone():
    tape = users((0, 0))
    assert factor(tape) is tape


def test_a_likelihood_is_factorised_once():
    builder = Builder()
    a, b = builder.input(Aval((3, 3), F8)), builder.input(Aval((3, 1), F8))
    _, logs = slogdet(a)
    x = solve(a, b)
    cts = [builder.input(logs.aval), builder.input(x.aval)]
    gradient = vjp(builder, [logs, x], cts, [a])
    tape = factor(simplify(builder.finish([logs, x, *gradient])))
    found = [n for n in names(verify(tape)) if n.startswith(("lu", "inv", "solve"))]
    assert sorted(found) == ["lu", "lu_inv", "lu_solve", "lu_solve"]


def test_singular_matrices():
    builder = Builder()
    a = builder.input(Aval((2, 2), F8))
    tape = factor(builder.finish([det(a), *slogdet(a)]))
    assert interpret(tape, [np.ones((2, 2))]) == [0.0, 0.0, -np.inf]
    with pytest.raises(np.linalg.LinAlgError, match=r"^Singular matrix$"):
        interpret(factor(users((2, 2))), [np.ones((2, 2)), np.ones((2, 2))])


def test_values_come_from_the_row_with_the_vectors():
    """The gradient of a nuclear norm is one decomposition."""
    svd, svdvals = PRIMITIVES["svd"], PRIMITIVES["svdvals"]
    eigh, eigvalsh = PRIMITIVES["eigh"], PRIMITIVES["eigvalsh"]
    builder = Builder()
    a, b = builder.input(Aval((3, 3), F8)), builder.input(Aval((3, 3), F8))
    outs = [svdvals(a), *svd(a, full=False), svdvals(b), eigvalsh(a, lower=True)]
    outs += [*eigh(a, lower=False), *eigh(b, lower=True), eigvalsh(b, lower=True)]
    tape = verify(builder.finish(outs))
    shared = verify(factor(tape))
    assert sorted(names(shared)) == ["eigh", "eigh", "eigvalsh", "svd", "svdvals"]
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=(3, 3)), rng.normal(size=(3, 3))]
    for x, y in zip(interpret(shared, arrays), interpret(tape, arrays), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)
