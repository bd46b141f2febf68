"""NumPy functions x keywords x dtypes against NumPy: value, dtype, shape, tape."""

import numpy as np
import pytest
from scipy import special as scipy_special

from tests.numpy_api.check import check, record
from tracejit.errors import UnsupportedError
from tracejit.scipy import special

RNG = np.random.default_rng(1)
V = RNG.normal(size=5)
W = RNG.normal(size=5)
M = RNG.normal(size=(3, 4))
N = RNG.normal(size=(4, 3))
S = RNG.normal(size=(3, 3)) + 3 * np.eye(3)
P = S @ S.T
C = RNG.normal(size=(2, 3, 4))
D = RNG.normal(size=(2, 4, 2))
INT = np.array([[3, 1, 2], [0, 5, -4]])
B = np.array([[True, False, True], [True, True, True]])
Z = np.array([np.nan, np.inf, -np.inf, 0.0, 1.5])
E = np.zeros((0, 3))
ONE = np.array(2.5)
F32 = M.astype(np.float32)

BEYOND = {
    "sqrt": (V,),
    "log": (V,),
    "log2": (W,),
    "log10": (M.astype("f4"),),
    "arccos": (2 * V,),
    "arcsin": (2 * W,),
    "arctanh": (3 * V,),
    "logn": (2.0, V),
    "power": (V, 3),
}


@pytest.mark.parametrize("name", BEYOND)
def test_results_that_are_complex_where_they_have_to_be(name):
    function = getattr(np.emath, name)
    *others, x = BEYOND[name] if name != "power" else reversed(BEYOND[name])

    def program(x):
        return function(x, *others) if name == "power" else function(*others, x)

    for given in (x, np.abs(x) / 4 + 0.1, np.abs(x[0]), x + 0.5j):
        with np.errstate(all="ignore"):
            check_complex(program, given)


def check_complex(program, x):
    expected = program(x)
    (found,), _, _ = record(program, x)
    assert found.dtype == expected.dtype
    rtol = 1e-5 if expected.dtype in ("f4", "c8") else 1e-12
    np.testing.assert_allclose(found.concrete, expected, rtol)


def test_sort_complex():
    for x in (V, M.astype("f4"), INT.astype("i2"), V + 1j * W):
        check_complex(np.sort_complex, x)


def test_polynomials_of_conjugate_zeros_are_real():
    pairs = np.array([1 + 2j, 3.0, 1 - 2j])
    for x in (pairs, pairs + 1j, S - 2 * np.rot90(S), 1j * S):
        check_complex(np.poly, x)


def test_histograms():
    sample = np.array([0.0, 0.5, 1.0, 1.0, 2.0, 3.0, -1.0, 7.5])
    for x in (sample, sample.astype("f4"), sample.astype(int), sample > 0):
        for bins in (3, [0, 1, 2, 3], np.array([0.0, 1.0, 1.0, 7.5])):
            check(lambda x, b=bins: np.histogram(x, b), x)
            check(lambda x, b=bins: np.histogram(x, b, weights=np.arange(8)), x)
            check(lambda x, b=bins: np.histogram(x, b, density=True), x)
        check(lambda x: np.histogram(x, 4, range=(0, 3)), x)
    check(lambda x: np.histogram(x), np.ones(3))
    check(lambda x: np.histogram(x), sample[:0])
    check(lambda x: np.histogram(x, [0.0, 1.0, 9.0]), np.append(sample, np.nan))
    for bins, text in (
        ([2.0, 1.0], "`bins` must increase monotonically"),
        (0, "`bins` must be positive"),
        (np.ones((1, 1)), "`bins` must be 1d"),
    ):
        with pytest.raises(ValueError, match=text):
            record(lambda x, b=bins: np.histogram(x, b), sample)
    with pytest.raises(ValueError, match="max must be larger than min in range"):
        record(lambda x: np.histogram(x, 3, (1.0, 0.0)), sample)
    with pytest.raises(TypeError, match="`bins` must be an integer, a string, or"):
        record(lambda x: np.histogram(x, 1.5), sample)
    with pytest.raises(UnsupportedError) as caught:
        record(lambda x: np.histogram(x, weights=x > 0), sample)
    assert str(caught.value).endswith(
        "np.histogram with bools as weights cannot be recorded. Convert them with "
        ".astype(int)."
    )
    with pytest.raises(UnsupportedError) as caught:
        record(lambda x: np.histogram(x, "auto"), sample)
    assert str(caught.value).endswith(
        "np.histogram with bins='auto' cannot be recorded. Give the number of bins, or "
        "their edges."
    )


def test_unique_rows():
    rows = np.array([[1, 2], [0, 5], [1, 2], [1, 1]])
    for x in (rows, rows * 0.5, rows > 1, rows[:1]):
        for axis in (0, 1, -1):
            check(lambda x, a=axis: np.unique(x, True, True, True, a), x)
    check(lambda x: np.unique(x, axis=1), C)


def test_integer_powers_of_arrays():
    bases = np.array([0, 1, -1, 2, -3, 7])
    for dtype in ("i1", "u1", "i4", "i8"):
        base = bases.astype(dtype)
        exponents = np.array([0, 1, 5, 7, 63, 200], "u1")
        for n in (exponents, exponents.reshape(-1, 1), exponents[:3], exponents[2]):
            if np.ndim(n) != 1 or n.shape == base.shape:
                check(lambda x, n: x**n, base, n)
        check(lambda n: 3**n, exponents)
    check(lambda x, n: x**n, bases[:0], bases[:0])
    with pytest.raises(ValueError, match="Integers to negative integer powers are no"):
        record(lambda x, n: x**n, bases, bases)
    with pytest.raises(UnsupportedError) as caught:
        record(lambda x, n: x**n, B, 3)
    assert str(caught.value).endswith(
        "a power of bools with a traced Python number as exponent cannot be recorded. "
        "Convert the base with .astype(int)."
    )


MODES = ("full", "same", "valid")

REDUCTIONS = {
    "sum": lambda x, **k: np.sum(x, **k),
    "prod": lambda x, **k: np.prod(x, **k),
    "mean": lambda x, **k: np.mean(x, **k),
    "max": lambda x, **k: np.max(x, **k),
    "min": lambda x, **k: np.min(x, **k),
    "amax": lambda x, **k: np.amax(x, **k),
    "amin": lambda x, **k: np.amin(x, **k),
    "ptp": lambda x, **k: np.ptp(x, **k),
    "var": lambda x, **k: np.var(x, **k),
    "std": lambda x, **k: np.std(x, **k),
    "any": lambda x, **k: np.any(x, **k),
    "all": lambda x, **k: np.all(x, **k),
    "count_nonzero": lambda x, **k: np.count_nonzero(x, **k),
    "nansum": lambda x, **k: np.nansum(x, **k),
    "nanmean": lambda x, **k: np.nanmean(x, **k),
    "nanvar": lambda x, **k: np.nanvar(x, **k),
    "nanstd": lambda x, **k: np.nanstd(x, **k),
    "nanprod": lambda x, **k: np.nanprod(x, **k),
    "median": lambda x, **k: np.median(x, **k),
}
AXES = [{}, {"axis": 0}, {"axis": -1}, {"axis": None}, {"keepdims": True}]
TUPLES = [{"axis": (0, 1)}, {"axis": (-1, 0), "keepdims": True}, {"axis": ()}]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(
    "array", [M, F32, INT, INT.astype("i4"), B], ids=["f8", "f4", "i8", "i4", "bool"]
)
def test_reductions(name, array):
    if name == "ptp" and array.dtype == bool:
        pytest.skip("NumPy cannot subtract bools")
    keywords = AXES + ([] if name == "median" else TUPLES)
    for keys in keywords:
        if keys == {"axis": ()} and name == "count_nonzero":
            continue
        check(lambda x, k=keys: REDUCTIONS[name](x, **k), array)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
def test_reductions_in_another_dtype(name):
    for dtype in ("f4", "f8"):
        check(lambda x, d=dtype: REDUCTIONS[name](x, dtype=d), M)
        check(lambda x, d=dtype: REDUCTIONS[name](x, axis=0, dtype=d), INT)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all"])
def test_reductions_under_a_mask(name):
    mask = M > 0
    check(lambda x: REDUCTIONS[name](x, where=mask), M)
    check(lambda x: REDUCTIONS[name](x, axis=0, where=mask), M)
    check(lambda x: REDUCTIONS[name](x, axis=1, keepdims=True, where=x > 0.1), M)
    check(lambda x: REDUCTIONS[name](x, where=np.array([True, False, True, True])), M)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_reductions_with_an_initial_value(name):
    for initial in (0.5, -3, 10):
        check(lambda x, i=initial: REDUCTIONS[name](x, axis=0, initial=i), M)
    check(lambda x: REDUCTIONS[name](x, initial=0.5, where=x > 0), M)
    check(lambda x: REDUCTIONS[name](x, axis=0, initial=1.0), E)


@pytest.mark.parametrize("name", ["sum", "prod", "any", "all"])
def test_reductions_of_nothing(name):
    check(lambda x: REDUCTIONS[name](x, axis=0), E)
    check(lambda x: REDUCTIONS[name](x), E)


def test_nan_reductions():
    x = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0]])
    for name in ("nansum", "nanmean", "nanvar", "nanstd", "nanprod"):
        check(lambda x, n=name: REDUCTIONS[n](x, axis=1), x)
    check(lambda x: [np.nanmax(x), np.nanmin(x, axis=1), np.nanmax(x, axis=0)], x)
    check(lambda x: np.median(x, axis=1), x)
    check(lambda x: np.quantile(x, 0.5, axis=0), x)


CASES = {
    # reductions
    "var ddof": lambda: (lambda x: np.var(x, axis=0, ddof=1), M),
    "std ddof": lambda: (lambda x: np.std(x, ddof=2), M),
    "var correction": lambda: (lambda x: np.var(x, correction=1), M),
    "var mean": lambda: (lambda x: np.var(x, mean=np.mean(x, keepdims=True)), M),
    "average": lambda: (lambda x: np.average(x, axis=1), M),
    "average weights": lambda: (lambda x, w: np.average(x, weights=w), V, W**2),
    "average axis": lambda: (lambda x: np.average(x, axis=0, weights=[1, 2, 3]), M),
    "argmax": lambda: (lambda x: np.argmax(x), M),
    "argmax axis": lambda: (lambda x: np.argmax(x, axis=-1), M),
    "argmin keep": lambda: (lambda x: np.argmin(x, axis=0, keepdims=True), INT),
    "argmax keep": lambda: (lambda x: np.argmax(x, keepdims=True), M),
    "cumsum": lambda: (lambda x: np.cumsum(x), M),
    "cumsum axis": lambda: (lambda x: np.cumsum(x, axis=1), INT.astype("i4")),
    "cumsum bool": lambda: (lambda x: np.cumsum(x, axis=-2), B),
    "cumsum dtype": lambda: (lambda x: np.cumsum(x, axis=0, dtype="f4"), INT),
    "cumprod": lambda: (lambda x: np.cumprod(x, axis=1), M),
    # shapes
    "reshape": lambda: (lambda x: np.reshape(x, (2, -1)), M),
    "reshape int": lambda: (lambda x: np.reshape(x, -1), M),
    "reshape F": lambda: (lambda x: np.reshape(x, (4, 3), order="F"), M),
    "ravel": lambda: (lambda x: np.ravel(x), M),
    "ravel F": lambda: (lambda x: np.ravel(x, order="F"), M),
    "transpose": lambda: (lambda x: np.transpose(x), C),
    "transpose axes": lambda: (lambda x: np.transpose(x, (1, -1, 0)), C),
    "matrix_transpose": lambda: (lambda x: np.matrix_transpose(x), C),
    "swapaxes": lambda: (lambda x: np.swapaxes(x, 0, -1), C),
    "moveaxis": lambda: (lambda x: np.moveaxis(x, 0, -1), C),
    "moveaxis two": lambda: (lambda x: np.moveaxis(x, [0, 1], [-1, 0]), C),
    "rollaxis": lambda: (lambda x: np.rollaxis(x, 2), C),
    "rollaxis to": lambda: (lambda x: np.rollaxis(x, 0, 3), C),
    "expand_dims": lambda: (lambda x: np.expand_dims(x, 1), M),
    "expand_dims two": lambda: (lambda x: np.expand_dims(x, (0, -1)), M),
    "squeeze": lambda: (lambda x: np.squeeze(x), M[None, :, None]),
    "squeeze axis": lambda: (lambda x: np.squeeze(x, 0), M[None, :, None]),
    "atleast_1d": lambda: (lambda x: np.atleast_1d(x), ONE),
    "atleast_2d": lambda: (lambda x: np.atleast_2d(x), V),
    "atleast_3d": lambda: (lambda x, y: np.atleast_3d(x, y), V, M),
    "broadcast_to": lambda: (lambda x: np.broadcast_to(x, (2, 3, 4)), M),
    "broadcast_arrays": lambda: (lambda x, y: np.broadcast_arrays(x, y), M, V[:4]),
    "flip": lambda: (lambda x: np.flip(x), C),
    "flip axis": lambda: (lambda x: np.flip(x, -1), C),
    "flip axes": lambda: (lambda x: np.flip(x, (0, 2)), C),
    "flip empty": lambda: (lambda x: np.flip(x), E),
    "flipud": lambda: (lambda x: np.flipud(x), M),
    "fliplr": lambda: (lambda x: np.fliplr(x), M),
    "rot90": lambda: (lambda x: [np.rot90(x, k) for k in range(-1, 4)], M),
    "roll": lambda: (lambda x: np.roll(x, 2), M),
    "roll axis": lambda: (lambda x: np.roll(x, -1, axis=1), M),
    "roll axes": lambda: (lambda x: np.roll(x, (1, 5), axis=(0, 1)), M),
    "concatenate": lambda: (lambda x, y: np.concatenate((x, y)), M, N.T),
    "concatenate axis": lambda: (lambda x: np.concatenate([x, x], axis=-1), M),
    "concatenate flat": lambda: (lambda x, y: np.concatenate([x, y], None), M, V),
    "concatenate mixed": lambda: (
        lambda x: np.concatenate([x, [[1, 2, 3]]]),
        F32[:, :3],
    ),
    "stack": lambda: (lambda x, y: np.stack([x, y]), V, W),
    "stack axis": lambda: (lambda x: np.stack([x, x], axis=-1), M),
    "stack scalars": lambda: (lambda x: np.stack([x[0], x[1], 2.0]), V),
    "vstack": lambda: (lambda x, y: np.vstack([x, y]), V, W),
    "hstack": lambda: (lambda x, y: np.hstack([x, y]), V, W),
    "hstack 2d": lambda: (lambda x: np.hstack([x, x]), M),
    "hstack scalars": lambda: (lambda x: np.hstack([x[0], x]), V),
    "dstack": lambda: (lambda x: np.dstack([x, x]), M),
    "column_stack": lambda: (lambda x, y: np.column_stack([x, y]), V, W),
    "block": lambda: (lambda x: np.block([[x, x], [x, np.ones((3, 4))]]), M),
    "block row": lambda: (lambda x: np.block([x, 1.0, x]), V),
    "append": lambda: (lambda x: np.append(x, 1.0), V),
    "append axis": lambda: (lambda x: np.append(x, x, axis=0), M),
    "split": lambda: (lambda x: np.split(x, 2, axis=1), M),
    "split at": lambda: (lambda x: np.split(x, [1, 3]), V),
    "split beyond": lambda: (lambda x: np.split(x, [2, 9]), V),
    "array_split": lambda: (lambda x: np.array_split(x, 3), V),
    "hsplit": lambda: (lambda x: np.hsplit(x, 2), M),
    "vsplit": lambda: (lambda x: np.vsplit(x, 3), M),
    "unstack": lambda: (lambda x: np.unstack(x, axis=1), M),
    "tile": lambda: (lambda x: np.tile(x, 3), V),
    "tile two": lambda: (lambda x: np.tile(x, (2, 3)), M),
    "tile more": lambda: (lambda x: np.tile(x, (2, 1, 2)), V),
    "repeat": lambda: (lambda x: np.repeat(x, 2), M),
    "repeat axis": lambda: (lambda x: np.repeat(x, 3, axis=1), M),
    "repeat array": lambda: (lambda x: np.repeat(x, [1, 0, 2], axis=0), M),
    "repeat traced": lambda: (
        lambda x, n: np.repeat(x, n, axis=0),
        M,
        np.array([1, 0, 2]),
    ),
    "sort": lambda: (lambda x: np.sort(x), M),
    "sort axis": lambda: (lambda x: np.sort(x, axis=0), M),
    "sort flat": lambda: (lambda x: np.sort(x, axis=None), M),
    "sort ints": lambda: (lambda x: np.sort(x), INT),
    "argsort": lambda: (lambda x: np.argsort(x, axis=-1), M),
    "take_along_axis": lambda: (
        lambda x: np.take_along_axis(x, np.argsort(M, 0), 0),
        M,
    ),
    # products
    "dot 11": lambda: (lambda a, b: np.dot(a, b), V, W),
    "dot 21": lambda: (lambda a, b: np.dot(a, b), N, V[:3]),
    "dot 12": lambda: (lambda a, b: np.dot(a, b), V[:4], N),
    "dot 22": lambda: (lambda a, b: np.dot(a, b), M, N),
    "dot 32": lambda: (lambda a, b: np.dot(a, b), C, N),
    "dot 33": lambda: (lambda a, b: np.dot(a, b), C, D),
    "dot scalar": lambda: (lambda a: np.dot(a, 2.0), M),
    "dot mixed": lambda: (lambda a: np.dot(a, np.ones(4)), F32),
    "dot ints": lambda: (lambda a: np.dot(a, a.T), INT),
    "matmul 11": lambda: (lambda a, b: a @ b, V, W),
    "matmul 21": lambda: (lambda a, b: a @ b, N, V[:3]),
    "matmul 12": lambda: (lambda a, b: a @ b, V[:4], N),
    "matmul 22": lambda: (lambda a, b: np.matmul(a, b), M, N),
    "matmul 32": lambda: (lambda a, b: a @ b, C, N),
    "matmul 23": lambda: (lambda a, b: a @ b, M, D),
    "matmul 31": lambda: (lambda a, b: a @ b, C, V[:4]),
    "matmul 13": lambda: (lambda a, b: a @ b, V[:4], D),
    "matmul 33": lambda: (lambda a, b: a @ b, C, D),
    "matmul stretched": lambda: (lambda a, b: a @ b, C[:1], D),
    "matmul 43": lambda: (lambda a, b: a @ b, C[:, None], D),
    "matmul mixed": lambda: (lambda a: a @ N, F32),
    "matmul ints": lambda: (lambda a: a @ a.T, INT),
    "rmatmul": lambda: (lambda a: np.ones((2, 3)) @ a, M),
    "vecdot": lambda: (lambda a, b: np.vecdot(a, b), M, M + 1),
    "matvec": lambda: (lambda a, b: np.matvec(a, b), C, V[:4]),
    "vecmat": lambda: (lambda a, b: np.vecmat(a, b), V[:3], C),
    "inner": lambda: (lambda a, b: np.inner(a, b), M, C),
    "inner 11": lambda: (lambda a, b: np.inner(a, b), V, W),
    "outer": lambda: (lambda a, b: np.outer(a, b), V, M),
    "vdot": lambda: (lambda a: np.vdot(a, a + 1), M),
    "tensordot": lambda: (lambda a, b: np.tensordot(a, b, 1), C, D.transpose(1, 0, 2)),
    "tensordot axes": lambda: (lambda a, b: np.tensordot(a, b, ([0, 2], [0, 1])), C, D),
    "tensordot 0": lambda: (lambda a, b: np.tensordot(a, b, 0), V, W),
    "tensordot ints": lambda: (lambda a, b: np.tensordot(a, b, (-1, 1)), C, D),
    "kron": lambda: (lambda a, b: np.kron(a, b), M, S),
    "kron 1": lambda: (lambda a, b: np.kron(a, b), V, S),
    "cross": lambda: (lambda a, b: np.cross(a, b), V[:3], W[:3]),
    "cross rows": lambda: (lambda a, b: np.cross(a, b), N, W[:3]),
    "diagonal": lambda: (lambda a: np.diagonal(a), M),
    "diagonal offset": lambda: (lambda a: np.diagonal(a, 1, 2, 0), C),
    "trace": lambda: (lambda a: np.trace(a), M),
    "trace offset": lambda: (lambda a: np.trace(a, -1), INT),
    "diag": lambda: (lambda a: [np.diag(a), np.diag(a, 1), np.diag(a, -2)], V),
    "diag 2": lambda: (lambda a: np.diag(a, 1), M),
    "diagflat": lambda: (lambda a: np.diagflat(a), M),
    "tril": lambda: (lambda a: [np.tril(a), np.tril(a, 1), np.triu(a, -1)], M),
    "tril stack": lambda: (lambda a: np.triu(a), C),
    "tril 1": lambda: (lambda a: np.tril(a), V),
    # einsum
    "einsum matmul": lambda: (lambda a, b: np.einsum("ij,jk->ik", a, b), M, N),
    "einsum implicit": lambda: (lambda a, b: np.einsum("ij,jk", a, b), M, N),
    "einsum swapped": lambda: (lambda a, b: np.einsum("ij,jk->ki", a, b), M, N),
    "einsum trace": lambda: (lambda a: np.einsum("ii", a), S),
    "einsum diagonal": lambda: (lambda a: np.einsum("ii->i", a), S),
    "einsum transpose": lambda: (lambda a: np.einsum("ba", a), M),
    "einsum sum": lambda: (lambda a: np.einsum("ij->j", a), M),
    "einsum all": lambda: (lambda a: np.einsum("ij->", a), M),
    "einsum batch": lambda: (lambda a, b: np.einsum("bij,bjk->bik", a, b), C, D),
    "einsum outer": lambda: (lambda a, b: np.einsum("i,j->ji", a, b), V, W),
    "einsum hadamard": lambda: (lambda a: np.einsum("ij,ij->ij", a, a), M),
    "einsum quadratic": lambda: (lambda a, b: np.einsum("i,ij,j", a, b, a), V[:3], S),
    "einsum three": lambda: (lambda a, b: np.einsum("ij,jk,kl->il", a, b, a), M, N),
    "einsum dots": lambda: (lambda a, b: np.einsum("...ij,...jk->...ik", a, b), C, D),
    "einsum dots implicit": lambda: (lambda a: np.einsum("...i,i", a, np.ones(4)), C),
    "einsum lists": lambda: (
        lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]),
        M,
        N,
    ),
    "einsum lists implicit": lambda: (
        lambda a, b: np.einsum(a, [0, 1], b, [1, 2]),
        M,
        N,
    ),
    "einsum optimize": lambda: (lambda a: np.einsum("ij,ij->", a, a, optimize=True), M),
    "einsum ones": lambda: (lambda a, b: np.einsum("ij,jk->ik", a, b), M[:, :1], N),
    "einsum mixed": lambda: (lambda a: np.einsum("ij,jk", a, N), F32),
    "einsum free sum": lambda: (lambda a, b: np.einsum("ij,kl->ik", a, b), M, N),
    "einsum batch row": lambda: (lambda a, b: np.einsum("bi,bi->b", a, b), M, M),
    # linalg
    "cholesky": lambda: (lambda a: np.linalg.cholesky(a @ a.T), S),
    "cholesky upper": lambda: (lambda a: np.linalg.cholesky(a @ a.T, upper=True), S),
    "inv": lambda: (lambda a: np.linalg.inv(a), S),
    "inv ints": lambda: (lambda a: np.linalg.inv(a), np.array([[2, 1], [1, 1]])),
    "det": lambda: (lambda a: np.linalg.det(a), np.stack([S, P])),
    "slogdet": lambda: (lambda a: np.linalg.slogdet(a), S),
    "slogdet attribute": lambda: (lambda a: np.linalg.slogdet(a).logabsdet, S),
    "solve": lambda: (lambda a, b: np.linalg.solve(a, b), S, N.T[:3]),
    "solve 1": lambda: (lambda a, b: np.linalg.solve(a, b), S, V[:3]),
    "solve stack": lambda: (lambda a, b: np.linalg.solve(a, b), np.stack([S, P]), M),
    "solve stack 1": lambda: (
        lambda a, b: np.linalg.solve(a, b),
        np.stack([S, P]),
        V[:3],
    ),
    "solve f4": lambda: (lambda a: np.linalg.solve(a, V[:3]), S.astype("f4")),
    "matrix_power": lambda: (
        lambda a: [np.linalg.matrix_power(a, n) for n in (-2, 0, 1, 3)],
        S,
    ),
    "multi_dot": lambda: (lambda a, b: np.linalg.multi_dot([a, b, a]), M, N),
    "linalg.matmul": lambda: (lambda a, b: np.linalg.matmul(a, b), M, N),
    "linalg.trace": lambda: (lambda a: np.linalg.trace(a), C),
    "linalg.diagonal": lambda: (lambda a: np.linalg.diagonal(a, offset=1), C),
    "norm": lambda: (lambda a: np.linalg.norm(a), M),
    "norm keepdims": lambda: (lambda a: np.linalg.norm(a, keepdims=True), M),
    "norm axis": lambda: (lambda a: np.linalg.norm(a, axis=1), M),
    "norm f4": lambda: (lambda a: np.linalg.norm(a, axis=0, keepdims=True), F32),
    "norm orders": lambda: (
        lambda a: [
            np.linalg.norm(a, o) for o in (1, 2, 3, 0, np.inf, -np.inf, -1, 0.5)
        ],
        V,
    ),
    "norm matrix": lambda: (
        lambda a: [np.linalg.norm(a, o) for o in ("fro", 1, -1, np.inf, -np.inf)],
        M,
    ),
    "norm axes": lambda: (lambda a: np.linalg.norm(a, "fro", axis=(0, 2)), C),
    "norm axes 1": lambda: (lambda a: np.linalg.norm(a, 1, (0, 2), keepdims=True), C),
    "norm ints": lambda: (lambda a: np.linalg.norm(a), INT),
    "vector_norm": lambda: (lambda a: np.linalg.vector_norm(a), M),
    "vector_norm axis": lambda: (lambda a: np.linalg.vector_norm(a, axis=1), M),
    "matrix_norm": lambda: (lambda a: np.linalg.matrix_norm(a), C),
    # choosing, clipping, rounding
    "where": lambda: (lambda x: np.where(x > 0, x, 0), M),
    "where f4": lambda: (lambda x: np.where(x > 0, x, 0.0), F32),
    "where mixed": lambda: (lambda x: np.where(x > 0, x, M), F32),
    "where untraced": lambda: (lambda x: np.where(M > 0, x, 1), M),
    "where ints": lambda: (lambda x: np.where(x > 0, x, 0.5), INT),
    "where number": lambda: (lambda x: np.where(x, 1.0, 2.0), M),
    "where row": lambda: (lambda x: np.where(x[0] > 0, x, x[:, :1]), M),
    "select": lambda: (lambda x: np.select([x > 1, x > 0], [x, 2 * x], 5.0), M),
    "clip": lambda: (lambda x: np.clip(x, -0.5, 0.5), M),
    "clip low": lambda: (lambda x: np.clip(x, None, 0.5), M),
    "clip high": lambda: (lambda x: np.clip(x, 0, None), F32),
    "clip keywords": lambda: (lambda x: np.clip(x, min=0, max=0.1), F32),
    "clip arrays": lambda: (lambda x: np.clip(x, M - 0.1, [1, 2, 3, 4]), M),
    "clip ints": lambda: (lambda x: np.clip(x, 0, 2), INT),
    "clip to floats": lambda: (lambda x: np.clip(x, 0.5, 2), INT),
    "nan_to_num": lambda: (lambda x: np.nan_to_num(x), Z),
    "nan_to_num values": lambda: (lambda x: np.nan_to_num(x, nan=1, posinf=2.0), Z),
    "round": lambda: (lambda x: np.round(x), M),
    "round 2": lambda: (lambda x: np.round(x, 2), M),
    "round -1": lambda: (lambda x: np.round(x * 100, -1), F32),
    "round ints": lambda: (lambda x: np.round(x), INT),
    "fix": lambda: (lambda x: np.fix(x * 3), M),
    "isclose": lambda: (lambda x: np.isclose(x, Z), Z),
    "isclose nan": lambda: (lambda x: np.isclose(x, Z, equal_nan=True), Z),
    "isclose near": lambda: (lambda x: np.isclose(x, M + 1e-7, rtol=1e-6), M),
    "isclose ints": lambda: (lambda x: np.isclose(x, INT), INT),
    "allclose": lambda: (lambda x: np.allclose(x, M), M),
    "array_equal": lambda: (lambda x: np.array_equal(x, M), M),
    "array_equal shape": lambda: (lambda x: np.array_equal(x, V), M),
    # differences and sums
    "diff": lambda: (lambda x: np.diff(x), M),
    "diff n": lambda: (lambda x: np.diff(x, n=2, axis=0), M),
    "diff n large": lambda: (lambda x: np.diff(x, n=9), M),
    "diff ends": lambda: (lambda x: np.diff(x, prepend=0, append=x[:, :1]), M),
    "diff bool": lambda: (lambda x: np.diff(x), B),
    "ediff1d": lambda: (lambda x: np.ediff1d(x), M),
    "trapezoid": lambda: (lambda x: np.trapezoid(x), M),
    "trapezoid x": lambda: (lambda x: np.trapezoid(x, [0, 1, 3, 4]), M),
    "trapezoid dx": lambda: (lambda x: np.trapezoid(x, dx=0.1, axis=0), M),
    "convolve": lambda: (
        lambda x, y: [np.convolve(x, y, m) for m in ("full", "same", "valid")],
        V,
        W[:3],
    ),
    "convolve short": lambda: (lambda x: np.convolve([1, 2], x), V),
    "pad": lambda: (lambda x: np.pad(x, 2), V),
    "pad pairs": lambda: (lambda x: np.pad(x, ((1, 2), (0, 3))), M),
    "pad values": lambda: (lambda x: np.pad(x, 1, constant_values=(2, 3)), M),
    "pad ints": lambda: (lambda x: np.pad(x, (1, 0)), INT),
    "pad edge": lambda: (lambda x: np.pad(x, (2, 1), "edge"), M),
    "pad reflect": lambda: (lambda x: np.pad(x, 2, mode="reflect"), M),
    "pad symmetric": lambda: (lambda x: np.pad(x, 2, mode="symmetric"), M),
    "pad wrap": lambda: (lambda x: np.pad(x, ((1, 1), (2, 2)), mode="wrap"), M),
    "correlate": lambda: (
        lambda x, y: [np.correlate(x, y, m) for m in MODES],
        V,
        W[:3],
    ),
    "gradient": lambda: (lambda x: np.gradient(x), M),
    "gradient spacing": lambda: (lambda x: np.gradient(x, 0.1, 2), M),
    "gradient axis": lambda: (lambda x: np.gradient(x, 0.5, axis=-1), M),
    "gradient ints": lambda: (lambda x: np.gradient(x, axis=1), INT),
    "sinc": lambda: (lambda x: np.sinc(x), np.array([0.0, 0.3, 1.0])),
    # statistics
    "median even": lambda: (lambda x: np.median(x, axis=1), M),
    "quantile": lambda: (lambda x: np.quantile(x, 0.3), M),
    "quantile many": lambda: (lambda x: np.quantile(x, [0.1, 0.5, 1.0], axis=0), M),
    "percentile": lambda: (lambda x: np.percentile(x, [25, 75], axis=1), C),
    "cov": lambda: (lambda x: np.cov(x), M),
    "cov columns": lambda: (lambda x: np.cov(x, rowvar=False, bias=True), M),
    "cov two": lambda: (lambda x, y: np.cov(x, y, ddof=0), V, W),
    "cov one": lambda: (lambda x: np.cov(x), V),
    "corrcoef": lambda: (lambda x: np.corrcoef(x), M),
    "corrcoef two": lambda: (lambda x, y: np.corrcoef(x, y), V, W),
    "nanmax": lambda: (lambda x: np.nanmax(x, axis=0), M),
    "nanmin": lambda: (lambda x: np.nanmin(x, keepdims=True), M),
    "cumulative_sum": lambda: (lambda x: np.cumulative_sum(x, axis=1), M),
    "cumulative_prod": lambda: (lambda x: np.cumulative_prod(x), V),
    # creation
    "zeros_like": lambda: (lambda x: np.zeros_like(x) + x, F32),
    "ones_like": lambda: (lambda x: np.ones_like(x, dtype=int), F32),
    "ones_like shape": lambda: (lambda x: np.ones_like(x, shape=(2, 2)), F32),
    "full_like": lambda: (lambda x: np.full_like(x, x[0, 0]), M),
    "full_like ints": lambda: (lambda x: np.full_like(x, 2.7), INT),
    "copy": lambda: (lambda x: np.copy(x), M),
    "astype": lambda: (lambda x: np.astype(x, np.float32), M),
    "meshgrid": lambda: (lambda x, y: np.meshgrid(x, y), V, W[:3]),
    "meshgrid ij": lambda: (lambda x, y: np.meshgrid(x, y, indexing="ij"), V, W[:3]),
    "meshgrid sparse": lambda: (lambda x: np.meshgrid(x, [1, 2], sparse=True), V),
    "linspace": lambda: (lambda x: np.linspace(x[0], x[1], 7), V),
    "linspace open": lambda: (lambda x: np.linspace(0, x[1], 7, endpoint=False), V),
    "linspace arrays": lambda: (lambda x: np.linspace(x, 2 * x, 3), V),
    "linspace one": lambda: (lambda x: np.linspace(x[0], 1, 1), V),
    "vander": lambda: (lambda x: np.vander(x, 3), V),
    "vander up": lambda: (lambda x: np.vander(x, increasing=True), V),
    "polyval": lambda: (lambda p: np.polyval(p, 2.0), V),
    "polyval at": lambda: (lambda x: np.polyval([1.0, 2, 3], x), M),
    # scipy
    "logsumexp": lambda: (lambda x: special.logsumexp(x, axis=1), M),
    "softmax": lambda: (lambda x: special.softmax(x, axis=-1), F32),
    "log_softmax": lambda: (lambda x: special.log_softmax(x), M),
}


@pytest.mark.parametrize("name", CASES)
def test_function(name):
    function, *arrays = CASES[name]()
    check(function, *arrays)


METHODS = {
    "x.T": M,
    "x.mT": C,
    "x.real": M,
    "x.imag": M,
    "x.sum()": M,
    "x.sum(0, keepdims=True)": M,
    "x.sum(axis=(0, 1))": M,
    "x.prod(axis=1)": M,
    "x.mean(-1)": M,
    "x.var(ddof=1)": M,
    "x.std(axis=0)": M,
    "x.min()": M,
    "x.max(axis=1)": M,
    "x.any()": B,
    "x.all(axis=0)": B,
    "x.argmin()": M,
    "x.argmax(1)": M,
    "x.argsort()": M,
    "x.cumsum(0)": M,
    "x.cumprod()": M,
    "x.reshape(4, 3)": M,
    "x.reshape((2, -1))": M,
    "x.reshape(-1, order='F')": M,
    "x.ravel()": M,
    "x.flatten()": M,
    "x.transpose()": C,
    "x.transpose(1, 0, 2)": C,
    "x.transpose((2, 0, 1))": C,
    "x.swapaxes(0, 1)": M,
    "x.squeeze()": M[None],
    "x.repeat(2, axis=0)": M,
    "x.take([0, 1], axis=1)": M,
    "x.clip(0, 1)": M,
    "x.clip(max=0)": M,
    "x.trace()": M,
    "x.diagonal(1)": M,
    "x.round(1)": M,
    "x.dot(x.T)": M,
    "x.astype(np.float32)": M,
    "x.astype(int)": M,
    "x.astype('f8', copy=False)": M,
    "x.copy()": M,
    "x.conj()": M,
    "x.nonzero()": M,
    "x.shape": M,
    "[x.ndim, x.size, x.nbytes, x.itemsize, len(x)]": M,
    "[np.shape(x), np.ndim(x), np.size(x), np.size(x, 0)]": M,
    "np.iscomplexobj(x)": M,
    "np.isrealobj(x)": M,
    "np.isreal(x)": M,
}


@pytest.mark.parametrize("text", METHODS)
def test_method(text):
    check(lambda x: eval(text, {"x": x, "np": np}), METHODS[text])


def test_dtype_questions():
    def program(x):
        assert x.dtype == np.float32
        assert np.result_type(x, 1.0) == np.float32
        assert np.result_type(x, np.float64(1)) == np.float64
        assert np.can_cast(x.dtype, "f8")
        return x

    check(program, F32)


AGAINST_SCIPY = [
    np.array([1.0, 2.0, 1000.0]),
    np.array([[1.0, -np.inf], [3.0, 2.0]]),
    np.array([[1.0, 2.0], [-1.0, -2.0]], np.float32),
    np.array([1, 2, 3]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_own_special_functions_are_scipys(name):
    own, theirs = getattr(special, name), getattr(scipy_special, name)
    for x in AGAINST_SCIPY:
        for axis in (None, 0, -1):
            np.testing.assert_allclose(
                own(x, axis=axis), theirs(x, axis=axis), rtol=2e-6, atol=1e-12
            )
            check(lambda t, a=axis: own(t, axis=a), x)


def test_logsumexp_keywords():
    x = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    b = np.array([1.0, -2.0, 0.5])
    for keys in ({"keepdims": True}, {"axis": (0, 1)}, {"b": np.abs(b), "axis": 1}):
        np.testing.assert_allclose(
            special.logsumexp(x, **keys), scipy_special.logsumexp(x, **keys)
        )
        check(lambda t, k=keys: special.logsumexp(t, **k), x)
    own = special.logsumexp(x, axis=1, b=b, return_sign=True)
    theirs = scipy_special.logsumexp(x, axis=1, b=b, return_sign=True)
    np.testing.assert_allclose(own, theirs)
