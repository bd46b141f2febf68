"""Python text of the helper functions that a printed program may need."""

from __future__ import annotations

from .expressions import SPECIAL
from .symbols import exported

__all__ = ["HELPERS", "header"]

#: Of helpers that stand for SciPy's functions: `i0` is a loop's counter.
_PREFIX = "special_"
_SPECIAL = """\
_{name} = ctypes.CFUNCTYPE({types}, ctypes.c_int)(
    get_cython_function_address("scipy.special.cython_special", "{symbol}")
)


@njit
def special_{name}({args}):
    return _{name}({args}, 1)
"""


def _special(name: str, count: int) -> str:
    types = ", ".join(["ctypes.c_double"] * (count + 1))
    args = ", ".join("xyz"[:count])
    symbol = exported("scipy.special.cython_special", name)
    return _SPECIAL.format(name=name, types=types, args=args, symbol=symbol)


HELPERS: dict[str, str] = {
    "zeta": '''\
@njit(error_model="numpy")
def zeta(s, q):
    """Hurwitz zeta: the first terms, the integral of the rest, corrections."""
    if s == 1.0 or (s > 1.0 and q <= 0.0 and q == np.floor(q)):
        return np.inf
    if not (s > 1.0 and (q > 0.0 or s == np.floor(s))):
        return np.nan
    total, k = 0.0, 0
    while k < 10 or q < 10.0:
        total += q**-s
        q += 1.0
        k += 1
    total += q ** (1.0 - s) / (s - 1.0) + 0.5 * q**-s
    weights = (
        1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160,
        -691 / 1307674368000, 1 / 74724249600,
    )
    term = s * q ** (-s - 1.0)
    for j in range(7):
        total += weights[j] * term
        term *= (s + 2 * j + 1) * (s + 2 * j + 2) / (q * q)
    return total
''',
    "gemm": '''\
@njit
def gemm(a, b, out, ta, tb):
    """out = op(a) @ op(b), stacked; op transposes the last two axes."""
    if out.size == 0:
        return True
    m, n = out.shape[-2:]
    z = out.reshape((out.size // (m * n), m, n))
    x = a.reshape((z.shape[0], a.shape[-2], a.shape[-1]))
    y = b.reshape((z.shape[0], b.shape[-2], b.shape[-1]))
    for i in range(z.shape[0]):
        p = x[i].T.copy() if ta else x[i]
        q = y[i].T.copy() if tb else y[i]
        z[i] = np.dot(p, q)
    return True
''',
    "cholesky": """\
@njit
def cholesky(a, out):
    if out.size == 0:
        return True
    n = a.shape[-1]
    x = a.reshape((a.size // (n * n), n, n))
    z = out.reshape(x.shape)
    try:
        for i in range(x.shape[0]):
            z[i] = np.linalg.cholesky(x[i])
    except Exception:
        return False
    return True
""",
    "triangular_solve": '''\
@njit
def triangular_solve(a, b, out, lower, trans):
    """Substitution row by row, forwards or backwards."""
    if out.size == 0:
        return True
    n, m = b.shape[-2:]
    y = b.reshape((b.size // (n * m), n, m))
    x, z = a.reshape((y.shape[0], n, n)), out.reshape(y.shape)
    for i in range(x.shape[0]):
        t = x[i].T.copy() if trans else x[i]
        z[i] = y[i]
        for k in range(n):
            r = k if lower != trans else n - 1 - k
            for c in range(z.shape[2]):
                for j in range(k):
                    q = j if lower != trans else n - 1 - j
                    z[i, r, c] -= t[r, q] * z[i, q, c]
                z[i, r, c] /= t[r, r]
    return True
''',
    "solve": """\
@njit
def solve(a, b, out):
    if out.size == 0:
        return True
    n, m = b.shape[-2:]
    y = b.reshape((b.size // (n * m), n, m))
    x, z = a.reshape((y.shape[0], n, n)), out.reshape(y.shape)
    try:
        for i in range(x.shape[0]):
            z[i] = np.linalg.solve(x[i], y[i])
    except Exception:
        return False
    return True
""",
    "inv": """\
@njit
def inv(a, out):
    if out.size == 0:
        return True
    n = a.shape[-1]
    x = a.reshape((a.size // (n * n), n, n))
    z = out.reshape(x.shape)
    try:
        for i in range(x.shape[0]):
            z[i] = np.linalg.inv(x[i])
    except Exception:
        return False
    return True
""",
    "det": """\
@njit
def det(a, out):
    z = out.reshape(out.size)
    x = a.reshape((z.size, a.shape[-1], a.shape[-1]))
    for i in range(x.shape[0]):
        z[i] = np.linalg.det(x[i])
    return True
""",
    "slogdet": """\
@njit
def slogdet(a, sign, logdet):
    s, t = sign.reshape(sign.size), logdet.reshape(sign.size)
    x = a.reshape((s.size, a.shape[-1], a.shape[-1]))
    for i in range(x.shape[0]):
        p, q = np.linalg.slogdet(x[i])
        s[i] = p
        t[i] = q
    return True
""",
    "cholesky_vjp": '''\
@njit
def cholesky_vjp(y, ct, out):
    """From the last column to the first; Murray (2016), section 3.1."""
    if out.size == 0:
        return True
    n = y.shape[-1]
    f = y.reshape((y.size // (n * n), n, n))
    c, z = ct.reshape(f.shape), out.reshape(f.shape)
    for s in range(f.shape[0]):
        z[s] = np.tril(c[s])
        for k in range(n - 1, -1, -1):
            if f[s, k, k] == 0:
                return False
            for j in range(k + 1, n):
                for i in range(j, n):
                    z[s, i, k] -= z[s, i, j] * f[s, j, k]
                    z[s, j, k] -= z[s, i, j] * f[s, i, k]
            for j in range(k + 1, n):
                z[s, j, k] /= f[s, k, k]
                z[s, k, k] -= f[s, j, k] * z[s, j, k]
            z[s, k, k] = 0.5 * z[s, k, k] / f[s, k, k]
    return True
''',
    "lu": '''\
@njit
def lu(a, factors, pivots):
    """Factors of each transposed matrix; pivots of 0 mark those of Cholesky."""
    if factors.size == 0:
        return True
    n = a.shape[-1]
    f = factors.reshape((a.size // (n * n), n, n))
    x, p = a.reshape(f.shape), pivots.reshape((f.shape[0], n))
    tolerance = 4 * np.finfo(x.dtype).eps
    for s in range(f.shape[0]):
        f[s] = x[s]
        p[s] = 0
        definite = True
        for i in range(n):
            definite = definite and f[s, i, i] > 0
            for j in range(i):
                u, v = f[s, i, j], f[s, j, i]
                definite = definite and abs(u - v) <= tolerance * (abs(u) + abs(v))
        for i in range(n):
            if definite:
                for k in range(i):
                    f[s, i, i:] -= f[s, k, i] * f[s, k, i:]
                definite = f[s, i, i] > 0
            if definite:
                f[s, i, i:] /= np.sqrt(f[s, i, i])
        if definite:
            continue
        f[s] = x[s]
        for k in range(n):
            row = k + np.argmax(np.abs(f[s, k, k:]))
            p[s, k] = row + 1
            for i in range(n):
                f[s, i, k], f[s, i, row] = f[s, i, row], f[s, i, k]
            if f[s, k, k] != 0:
                f[s, k, k + 1 :] /= f[s, k, k]
            for i in range(k + 1, n):
                f[s, i, k + 1 :] -= f[s, i, k] * f[s, k, k + 1 :]
    return True
''',
    "lu_solve": '''\
@njit
def lu_solve(factors, pivots, b, out, trans):
    """Substitution, forwards and backwards, with the factors that `lu` makes."""
    if out.size == 0:
        return True
    n, m = b.shape[-2:]
    y = b.reshape((b.size // (n * m), n, m))
    f, p = factors.reshape((y.shape[0], n, n)), pivots.reshape((y.shape[0], n))
    z = out.reshape(y.shape)
    for s in range(y.shape[0]):
        z[s] = y[s]
        definite = p[s, 0] == 0
        for k in range(n):
            if f[s, k, k] == 0:
                return False
            if trans and not definite:
                for c in range(m):
                    row = p[s, k] - 1
                    z[s, k, c], z[s, row, c] = z[s, row, c], z[s, k, c]
        for k in range(n):
            for j in range(k):
                u = f[s, j, k] if trans or definite else f[s, k, j]
                z[s, k] -= u * z[s, j]
            if definite or not trans:
                z[s, k] /= f[s, k, k]
        for k in range(n - 1, -1, -1):
            for j in range(k + 1, n):
                u = f[s, j, k] if trans and not definite else f[s, k, j]
                z[s, k] -= u * z[s, j]
            if definite or trans:
                z[s, k] /= f[s, k, k]
        for k in range(n - 1, -1, -1):
            if not trans and not definite:
                for c in range(m):
                    row = p[s, k] - 1
                    z[s, k, c], z[s, row, c] = z[s, row, c], z[s, k, c]
    return True
''',
    "lu_inv": """\
@njit
def lu_inv(factors, pivots, out):
    n = factors.shape[-1]
    one = np.zeros_like(factors)
    for i in range(n):
        one[..., i, i] = 1
    return lu_solve(factors, pivots, one, out, False)
""",
    "argsort": '''\
@njit
def argsort(x, out, outer, n, inner):
    """Stable, NaN last, along the middle of three axes."""
    y, z = x.reshape((outer, n, inner)), out.reshape((outer, n, inner))
    for i in range(outer):
        for j in range(inner):
            z[i, :, j] = np.argsort(y[i, :, j].copy(), kind="mergesort")
    return True
''',
    "host": '''\
#: The functions that the program calls, by number; see `Program.hosts`.
HOSTS = []


def host(number, *arrays):
    """Results first, then operands."""
    HOSTS[number](*arrays)
    return True
''',
    "mask_indices": """\
@njit
def mask_indices(mask, out):
    k = 0
    flat = mask.reshape(mask.size)
    for i in range(flat.size):
        if flat[i]:
            if k == out.size:
                return False
            out[k] = i
            k += 1
    return k == out.size
""",
}


def header(names: set[str], body: str) -> str:
    """The imports and helpers that the printed function needs."""
    if "lu_inv" in names:
        names = names | {"lu_solve"}
    ctypes = any(name.startswith(_PREFIX) for name in names)
    lines = ["import ctypes"] if ctypes else []
    lines += ["import math"] if "math." in body else []
    lines += [*([""] if lines else []), "import numpy as np"]
    if names:
        lines.append("from numba import njit")
    if ctypes:
        lines.append("from numba.extending import get_cython_function_address")
    parts = ["\n".join(lines) + "\n"]
    for name in sorted(names):
        special = name.removeprefix(_PREFIX)
        known = special == name
        parts.append(HELPERS[name] if known else _special(special, SPECIAL[special]))
    return "\n\n".join(parts)
