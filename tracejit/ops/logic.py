"""Comparisons, logic, selection and conversions: elementwise rows that choose.

The rules of `elementwise` are written with these, so they come first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..avals import Aval
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .rows import (
    ANY,
    ANYC,
    BOOL,
    FIELD,
    FLOAT,
    INT,
    NONZ,
    POS,
    REAL,
    SHAPES,
    broadcast_shape,
    row1,
    row2,
    same_dtype,
    sample,
)

# fmt: off
# --- comparisons and predicates
lt         = row2("lt", np.less, None, "a < b", REAL, REAL, ANY, BOOL)
le         = row2("le", np.less_equal, None, "a <= b", REAL, REAL, ANY, BOOL)
gt         = row2("gt", np.greater, None, "a > b", REAL, REAL, ANY, BOOL)
ge         = row2("ge", np.greater_equal, None, "a >= b", REAL, REAL, ANY, BOOL)
eq         = row2("eq", np.equal, None, "a == b", REAL, REAL, ANYC, BOOL)
ne         = row2("ne", np.not_equal, None, "a != b", REAL, REAL, ANYC, BOOL)
isnan      = row1("isnan", np.isnan, None, "isnan(a)", REAL, FIELD, BOOL)
isinf      = row1("isinf", np.isinf, None, "isinf(a)", REAL, FIELD, BOOL)
isfinite   = row1("isfinite", np.isfinite, None, "isfinite(a)", REAL, FIELD, BOOL)
signbit    = row1("signbit", np.signbit, None, "signbit(a)", REAL, FLOAT, BOOL)

# --- logic on bools, bits on integers and bools
logical_not = row1("logical_not", np.logical_not, None, "not a", REAL, "b")
logical_and = row2("logical_and", np.logical_and, None, "a and b", REAL, REAL, "b")
logical_or = row2("logical_or", np.logical_or, None, "a or b", REAL, REAL, "b")
logical_xor = row2("logical_xor", np.logical_xor, None, "a != b", REAL, REAL, "b")
invert     = row1("invert", np.invert, None, "~a", REAL, INT)
bit_and    = row2("bit_and", np.bitwise_and, None, "a & b", REAL, REAL, INT)
bit_or     = row2("bit_or", np.bitwise_or, None, "a | b", REAL, REAL, INT)
bit_xor    = row2("bit_xor", np.bitwise_xor, None, "a ^ b", REAL, REAL, INT)
left_shift = row2("left_shift", np.left_shift, None, "a << b", REAL, POS, "iu")
right_shift = row2("right_shift", np.right_shift, None, "a >> b", REAL, POS, "iu")


# --- extrema and selection: the cotangent of what was not chosen is exactly zero


def _extremum_rules(wins: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Rules of maximum and its kin; `wins(a, b)`: a is the result, b is not.

    Ties share equally; a NaN among the operands leaves zero for both.
    """

    def part(ct: Any, a: Any, b: Any) -> Any:
        return select(wins(a, b), ct, select(eq(a, b), 0.5 * ct, 0))

    def vjp(ct: Any, y: Any, a: Any, b: Any) -> tuple:
        return lambda: part(ct, a, b), lambda: part(ct, b, a)

    def jvp(tangents: tuple, y: Any, a: Any, b: Any) -> Any:
        ta, tb = tangents
        parts = [part(ta, a, b)] if ta is not None else []
        parts += [part(tb, b, a)] if tb is not None else []
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    return {"vjp": vjp, "jvp": jvp}


def _beats_nan(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def wins(a: Any, b: Any) -> Any:
        return logical_or(compare(a, b), logical_and(isnan(b), eq(a, a)))

    return wins


def _extremum(
    name: str, reference: Any, lower: str, wins: Callable[..., Any], kinds: str = ANY
) -> Primitive:
    rules = _extremum_rules(wins)
    return row2(name, reference, None, lower, REAL, REAL, kinds, **rules)


maximum    = _extremum("maximum", np.maximum, "npmax(a, b)", gt)
minimum    = _extremum("minimum", np.minimum, "npmin(a, b)", lt)
fmax       = _extremum("fmax", np.fmax, "fmax(a, b)", _beats_nan(gt), FLOAT)
fmin       = _extremum("fmin", np.fmin, "fmin(a, b)", _beats_nan(lt), FLOAT)


def _select_aval(cond: Aval, a: Aval, b: Aval) -> Aval:
    if cond.dtype != BOOL:
        raise InvalidTapeError(f"select by {cond!r}; the condition must be bool")
    dtype = same_dtype((a, b), "select", ANYC)
    return Aval(broadcast_shape((cond, a, b), "select"), dtype)


def _select_reference(cond: Any, a: Any, b: Any) -> Any:
    return np.where(cond, a, b)[()]


def _select_vjp(ct: Any, y: Any, cond: Any, a: Any, b: Any) -> tuple:
    return None, lambda: select(cond, ct, 0), lambda: select(cond, 0, ct)


def _select_jvp(tangents: tuple, y: Any, cond: Any, a: Any, b: Any) -> Any:
    _, ta, tb = tangents
    return select(cond, 0 if ta is None else ta, 0 if tb is None else tb)


def _mulz_reference(a: Any, b: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(a, 0), np.zeros_like(a), np.multiply(a, b))[()]


def _mulz_vjp(ct: Any, y: Any, a: Any, b: Any) -> tuple:
    return lambda: ct * b, lambda: mulz(a, ct)


def _mulz_jvp(tangents: tuple, y: Any, a: Any, b: Any) -> Any:
    ta, tb = tangents
    parts = [mulz(ta, b)] if ta is not None else []
    parts += [mulz(a, tb)] if tb is not None else []
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


select = register(
    Primitive(
        "select",
        "elementwise",
        _select_reference,
        _select_aval,
        vjp=_select_vjp,
        jvp=_select_jvp,
        lower="b if a else c",
        samples=tuple(
            sample((s[0], REAL, "?"), (s[1], REAL, d), (s[2], REAL, d))
            for s, d in zip(SHAPES, ["f8", "f8", "f8", "f8", "f4", "i8"], strict=True)
        ),
    )
)
_MULZ = "a * b if a != 0.0 else 0.0"

#: a * b, but 0 wherever a is 0, whatever b is: the product with an absolute zero.
mulz = row2(
    "mulz",
    _mulz_reference,
    None,
    _MULZ,
    NONZ,
    kinds=FIELD,
    vjp=_mulz_vjp,
    jvp=_mulz_jvp,
)

# --- conversions and identities


def _cast_aval(aval: Aval, *, dtype: np.dtype) -> Aval:
    return Aval(aval.shape, dtype)


def _cast_reference(a: Any, *, dtype: np.dtype) -> Any:
    a = np.asarray(a)
    if a.dtype.kind == "c" and dtype.kind in "iuf":
        a = a.real  # without a warning: the user is warned by `astype`
    return a.astype(dtype)[()]


_INT64, _UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def _wrap_index_reference(a: Any, *, n: int) -> Any:
    # As unsigned numbers the negative ones are large: one look says all are inside.
    if a.dtype == _INT64 and a.size and np.maximum.reduce(a.view(_UINT64), None) < n:
        return a.copy()
    bad = (a < -n) | (a >= n)
    if np.any(bad):
        first = np.asarray(a)[np.asarray(bad)].flat[0]
        raise IndexError(f"index {first} is out of bounds for an axis of size {n}")
    return np.where(a < 0, a + n, a)[()]


cast: Primitive = register(
    Primitive(
        "cast",
        "elementwise",
        _cast_reference,
        _cast_aval,
        multilinear=(0,),
        vjp=lambda ct, y, a, *, dtype: (cast(ct, dtype=a.dtype),),
        samples=(
            sample(((2, 3), REAL), dtype=np.dtype("f8")),
            sample(((2, 3), REAL, "f4"), dtype=np.dtype("f8")),
            sample(((3,), REAL), dtype=np.dtype("f4")),
            sample(((), REAL, "i8"), dtype=np.dtype("f4")),
            sample(((3,), NONZ), dtype=np.dtype("i4")),
            sample(((3,), REAL), dtype=np.dtype("?")),
            sample(((3,), REAL, "?"), dtype=np.dtype("f8")),
        ),
    )
)
copy       = row1("copy", np.copy, lambda y, a: 1, "a", REAL, ANYC)
stop_gradient = row1("stop_gradient", np.copy, None, "a", REAL, ANYC)
#: A negative index counts from the end; out of range is an IndexError.
wrap_index = register(
    Primitive(
        "wrap_index",
        "elementwise",
        _wrap_index_reference,
        lambda aval, *, n: aval,
        samples=(sample(np.array([0, -1, 2, -3]), n=3), sample(np.array(-2), n=2)),
    )
)
# fmt: on
