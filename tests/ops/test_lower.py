"""The lowering expressions mean what the references compute.

`codegen` compiles them; here Python evaluates them, with NumPy's scalar functions
standing in for the math library.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.codegen.expressions import SPECIAL
from tracejit.primitive import PRIMITIVES

LANGUAGE = {
    **{
        name: getattr(np, name)
        for name in ("sqrt floor ceil trunc rint copysign").split()
    },
    **{
        name: getattr(np, name)
        for name in ("exp exp2 expm1 log log2 log10 log1p").split()
    },
    **{name: getattr(np, name) for name in ("sin cos tan sinh cosh tanh cbrt").split()},
    **{name: getattr(np, name) for name in ("hypot fmod isnan isinf isfinite").split()},
    **{name: getattr(np, name) for name in ("signbit fmax fmin").split()},
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "fabs": np.abs,
    "erf": special.erf,
    "erfc": special.erfc,
    **{name: getattr(special, name) for name in SPECIAL},
    "zeta": special.zeta,
    "pow": np.power,
    "npmax": np.maximum,
    "npmin": np.minimum,
    "pymod": np.remainder,
    "floordiv": np.floor_divide,
}
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.4, -2.5, 3.0, 40.0, 5e-324, np.inf, -np.inf, np.nan]
VALUES = {
    "f": [np.float64(x) for x in FLOATS],
    "i": [np.int64(x) for x in (0, 1, -1, 2, -7, 5)],
    "b": [np.bool_(False), np.bool_(True)],
}
#: Shifts by negative counts are undefined in NumPy, negative powers are errors.
NATURAL = {"left_shift", "right_shift", "pow"}


def rows():
    found = []
    for name, prim in sorted(PRIMITIVES.items()):
        if not prim.lower:
            continue
        samples = [make(np.random.default_rng(0))[0] for make in prim.samples]
        kinds = {arrays[-1].dtype.kind for arrays in samples} & set(VALUES)
        found += [pytest.param(prim, k, id=f"{name}-{k}") for k in sorted(kinds)]
    return found


@pytest.mark.parametrize(("prim", "kind"), rows())
def test_lower(prim, kind):
    assert prim.family == "elementwise"
    n = len(prim.samples[0](np.random.default_rng(0))[0])
    kinds = "b" + kind * 2 if prim.name == "select" else kind * n
    code = compile(prim.lower, prim.name, "eval")
    for values in itertools.product(*[VALUES[k] for k in kinds]):
        if prim.name in NATURAL and kind == "i" and values[-1] < 0:
            continue
        with np.errstate(all="ignore"):
            found = eval(code, LANGUAGE, dict(zip("abc", values, strict=False)))
            expected = prim.reference(*values)
        context = f"{prim.name}{values}: {found!r}, not {expected!r}"
        if kind == "f" and not isinstance(expected, np.bool_):
            np.testing.assert_allclose(found, expected, 1e-14, 1e-300, err_msg=context)
            if expected == 0 and prim.name not in ("mulz", "expit"):
                assert np.signbit(found) == np.signbit(expected), context
        else:
            assert found == expected, context


def test_every_elementwise_row_is_lowered():
    special_cased = {"cast", "wrap_index"}
    # Complex values become pairs before a kernel is made.
    special_cased |= {"real", "imag", "conj", "complex", "modulus"}
    for prim in PRIMITIVES.values():
        if prim.family == "elementwise" and not prim.host:
            assert bool(prim.lower) != (prim.name in special_cased), prim
