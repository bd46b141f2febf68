"""Python text of the helper functions that a printed program may need."""

from __future__ import annotations

__all__ = ["HELPERS", "header"]

_SPECIAL = """\
_{name} = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int)(
    get_cython_function_address("scipy.special.cython_special", "{symbol}")
)


@njit
def {name}(x):
    return _{name}(x, 1)
"""

HELPERS: dict[str, str] = {
    "gammaln": _SPECIAL.format(name="gammaln", symbol="gammaln"),
    "psi": _SPECIAL.format(name="psi", symbol="__pyx_fuse_1psi"),
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
    ctypes = bool(names & {"gammaln", "psi"})
    lines = ["import ctypes"] if ctypes else []
    lines += ["import math"] if "math." in body else []
    lines += [*([""] if lines else []), "import numpy as np"]
    if names:
        lines.append("from numba import njit")
    if ctypes:
        lines.append("from numba.extending import get_cython_function_address")
    parts = ["\n".join(lines) + "\n"]
    parts += [HELPERS[name] for name in sorted(names)]
    return "\n\n".join(parts)
