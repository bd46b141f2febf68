"""Ufuncs, choosing, clipping, interpolation."""

import numpy as np

UNARY = {
    "x": """negative positive absolute fabs square exp exp2 expm1 sin cos tan arctan
    sinh cosh tanh arcsinh cbrt conjugate deg2rad rad2deg degrees radians""",
    "f": "sqrt reciprocal log log2 log10 log1p",
    "h": "arcsin arccos arctanh",
    "1 + f": "arccosh",
}
BINARY = {
    "x, y": """add subtract multiply divide true_divide maximum minimum fmax fmin
    arctan2 hypot logaddexp logaddexp2""",
    "x, r": "add subtract multiply maximum",
    "x, f": "divide remainder mod fmod copysign",
    "f, y": "power pow float_power heaviside",
    "np.where(b, 0, x), y": "heaviside",
}
SMOOTH = [
    f"np.{name}({arguments})"
    for table in (UNARY, BINARY)
    for arguments, names in table.items()
    for name in names.split()
]
SMOOTH += """
np.add(x, 2.5, dtype=FLOAT, casting='same_kind')
np.exp(x, dtype=FLOAT, casting='unsafe')
np.modf(x)
np.divmod(x, f)
np.frexp(x)
np.ldexp(x, i)
np.ldexp(q, 3)
np.add(x, y, signature='dd->d', casting='unsafe')
np.multiply(x, y, sig=(None, None, FLOAT), order='F', subok=False)
np.exp(x, where=b, out=np.ones(x.shape))
np.divide(x, y, out=np.ones(x.shape), where=MASK)
np.where(b, np.log(f, where=b), 1.0)
np.matmul(m, n)
np.matmul(m, o, axes=[(0, 1), (1, 0), (0, 1)])
np.matmul(t, s, axes=[(2, 1), (1, 0), (0, 2)])
np.matmul(m, n[:, 0], axes=[(0, 1), 0, 0])
np.vecdot(x, y)
np.vecdot(x, y, axis=AXIS, keepdims=KEEP)
np.vecdot(m, o.T, axes=[1, 0, ()])
np.vecdot(c, c, axes=[0, 0, 0], keepdims=True)
np.matvec(t, u, axes=[(0, 2), 0, 0])
np.matvec(m, n[:, 0])
np.vecmat(m[:, 0], o)
np.clip(x, -0.5, 0.5)
np.clip(x, a_min=y, a_max=None)
np.clip(x, a_min=None, a_max=r)
np.clip(x, min=-0.5, max=q * q)
x.clip(min=-0.5, max=0.5)
np.nan_to_num(z, copy=True, nan=1.5, posinf=2.0, neginf=-2.0)
np.nan_to_num(np.where(b, np.inf, x), posinf=q)
np.where(x > y, x, 2 * y)
np.where(b, x, 1.0)
np.where(b, r, x)
np.select([x > 1, y > 0], [x, x * y], default=0.5)
np.select([b], [x])
np.select(condlist=[x > 1, x > 0], choicelist=[2 * x, y], default=q)
np.piecewise(x, [x < 0, x > 1], [lambda t: t * t, 3.0, lambda t: np.sin(t)])
np.piecewise(v, v > 0, [lambda t, k: k * t, 0.25], 2.0)
np.piecewise(q, [q > 0], [np.exp, np.cos])
np.choose(i % 2, [x, y])
np.choose(i, (x, y, 2 * x), mode='wrap')
np.choose(i, choices=(x, 1.5), mode='clip')
b.choose([x, y], mode='raise')
np.sinc(x)
np.i0(x)
np.real(x)
np.real_if_close(x, tol=50)
np.conj(x)
np.interp(x, k, v)
np.interp(x, k, v, left=q, right=2.0)
np.interp(x, xp=[0.0, 1.0, 4.0], fp=[q, 1.0, 2.0], period=3.5)
np.interp(q, k, v)
np.unwrap(5 * x, axis=AXIS)
np.unwrap(5 * x, discont=2.5, period=4.0)
np.unwrap(3 * v, discont=q * q, period=5.0)
np.convolve(v, w[:2], mode='same')
np.convolve(v, g, mode='full')
np.correlate(v, w[:2], mode='valid')
np.correlate(w[:2], v, mode='same')
np.correlate(w[:2], v, mode='valid')
np.correlate(v, g)
np.correlate(v, g, mode='full')
""".strip().splitlines()

CONSTANT = [
    f"np.{name}({arguments})"
    for arguments, names in {
        "x": "sign floor ceil trunc rint isnan isfinite isinf signbit logical_not",
        "x, y": """less less_equal greater greater_equal equal not_equal logical_and
        logical_or logical_xor""",
        "x, f": "floor_divide",
        "i, j": "bitwise_and bitwise_or bitwise_xor gcd lcm",
        "i, j % 3": "left_shift right_shift",
        "i": "invert bitwise_not bitwise_invert bitwise_count",
        "j, i % 3": "bitwise_left_shift bitwise_right_shift",
    }.items()
    for name in names.split()
    if hasattr(np, name)
]
CONSTANT += """
np.power(i, j)
np.power(3, 7 * j)
np.power(j, i % 3 + 60)
np.nextafter(x, y)
np.spacing(x)
np.round(x, decimals=SMALL)
np.around(x, decimals=1)
np.fix(x)
np.angle(x, deg=FLAG)
np.imag(x)
np.isposinf(1 / (x - x))
np.isneginf(-1 / (x * 0))
np.isclose(x, x + 1e-6, rtol=1e-4, atol=1e-9, equal_nan=FLAG)
np.allclose(x, x + 1e-6, rtol=1e-4, atol=1e-9, equal_nan=FLAG)
np.array_equal(z, z, equal_nan=FLAG)
np.array_equiv(x, x[:1])
x.round(decimals=1)
""".strip().splitlines()
