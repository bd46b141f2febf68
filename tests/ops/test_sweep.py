"""The registry sweep: every row x every sample x every check."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.errors import DifferentiationError
from tracejit.ops import elementwise
from tracejit.primitive import PRIMITIVES

from . import sweep_checks as checks

#: Rows with tests of their own: no operands, no outputs, or a rule as param.
ELSEWHERE = {
    "branch",
    "const",
    "guard",
    "custom_vjp",
    "custom_jvp",
    "checkpoint",
    "loop",
    "host_call",
}
#: Results whose shape or exit depends on the data.
UNBATCHED = {"mask_indices", "iota"}


def cases(keep):
    found = []
    for name, prim in sorted(PRIMITIVES.items()):
        if name in ELSEWHERE or not keep(prim):
            continue
        for i, make in enumerate(prim.samples):
            rng = np.random.default_rng(zlib.crc32(f"{name}{i}".encode()))
            arrays, params = make(rng)
            found.append(pytest.param(prim, arrays, params, id=f"{name}-{i}"))
    return found


def smooth(keep):
    """The f64 samples of rows with a derivative."""
    found = []
    for case in cases(keep):
        floats = float_dtypes(*case.values)
        if case.values[0].differentiable and floats == {np.dtype("f8")}:
            found.append(case)
    return found


def single(keep):
    """The f32 samples of rows with a derivative."""
    found = []
    for case in cases(keep):
        floats = float_dtypes(*case.values)
        if case.values[0].differentiable and floats == {np.dtype("f4")}:
            found.append(case)
    return found


def float_dtypes(prim, arrays, params):
    """The float dtypes of a row's operands and results."""
    case = checks.Case(prim, arrays, params)
    return {r.dtype for r in (*case.ins, *case.outs) if r.dtype.kind == "f"}


def any_row(prim):
    return True


def test_every_row_has_samples():
    for name, prim in PRIMITIVES.items():
        assert prim.samples or name in ELSEWHERE, name


def test_every_differentiable_row_keeps_float32():
    for prim in PRIMITIVES.values():
        if prim.differentiable and prim.samples:
            kinds = [make(np.random.default_rng(0))[0] for make in prim.samples]
            dtypes = {a.dtype for arrays in kinds for a in arrays}
            assert dtypes & {np.dtype("f4"), np.dtype("c8")}, prim


@pytest.mark.parametrize(("prim", "arrays", "params"), cases(any_row))
def test_value(prim, arrays, params):
    checks.check_value(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), smooth(any_row))
def test_first_order(prim, arrays, params):
    checks.check_first_order(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), smooth(any_row))
def test_second_order(prim, arrays, params):
    checks.check_second_order(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), single(any_row))
def test_derivatives_stay_in_float32(prim, arrays, params):
    checks.check_dtype(prim, arrays, params)


@pytest.mark.parametrize(
    ("prim", "arrays", "params"), cases(lambda p: p.name not in UNBATCHED)
)
def test_batch(prim, arrays, params):
    checks.check_batch(prim, arrays, params)


@pytest.mark.parametrize(("prim", "arrays", "params"), smooth(any_row))
def test_batched_vjp(prim, arrays, params):
    checks.check_batched_vjp(prim, arrays, params)


# --- the checks themselves


def planted(**changes):
    return dataclasses.replace(elementwise.sin, **changes)


X = np.array([0.3, -1.2])


def test_a_wrong_partial_is_caught():
    wrong = planted(partials=lambda y, a: (elementwise.sin(a),))
    with pytest.raises(AssertionError):
        checks.check_first_order(wrong, [X], {})


def test_a_wrong_sign_is_caught():
    wrong = planted(partials=lambda y, a: (-elementwise.cos(a),))
    with pytest.raises(AssertionError):
        checks.check_first_order(wrong, [X], {})


def test_a_vjp_that_is_not_the_transpose_is_caught():
    wrong = planted(
        partials=None,
        jvp=lambda ts, y, a: ts[0] * elementwise.cos(a),
        vjp=lambda ct, y, a: (2 * ct * elementwise.cos(a),),
    )
    with pytest.raises(AssertionError):
        checks.check_first_order(wrong, [X], {})


def test_a_rule_that_is_right_only_at_first_order_is_caught():
    def detached(y, a):
        return (elementwise.cos(PRIMITIVES["stop_gradient"](a)),)

    checks.check_first_order(planted(partials=detached), [X], {})
    with pytest.raises(AssertionError):
        checks.check_second_order(planted(partials=detached), [X], {})


def test_a_wrong_abstract_rule_is_caught():
    wrong = planted(aval=lambda a: type(a)(a.shape, np.dtype("f4")))
    with pytest.raises(AssertionError):
        checks.check_value(wrong, [X], {})


def test_a_wrong_batch_rule_is_caught():
    wrong = planted(batch=lambda args, flags: elementwise.cos(args[0]))
    with pytest.raises(AssertionError):
        checks.check_batch(wrong, [X], {})


def test_zeta_by_its_first_operand_says_no():
    case = checks.Case(PRIMITIVES["zeta"], [X, X], {})
    with pytest.raises(DifferentiationError) as error:
        checks.vjp(case.builder, case.outs, case.input_like(case.outs), case.ins[:1])
    assert str(error.value) == (
        "zeta has no derivative with respect to its first operand."
    )
