"""Complex numbers: their parts, and how they are put together.

Of a function of a complex number that is not holomorphic the derivative is linear over
the reals only.  Everywhere in the package a cotangent `ct` of a value z stands for the
linear form  dz -> Re(ct * dz):  no conjugation, so that all rules of holomorphic
primitives are those of the real ones, and the gradient of a real u(x + iy) is
du/dx - i du/dy (HIPS/autograd's and JAX's convention).  The transposes here follow
from it: Re(ct * conj(dz)) = Re(conj(ct) * dz), and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..avals import Aval, complex_of, real_of
from ..errors import InvalidTapeError
from ..primitive import Primitive, register
from .logic import cast, eq, select
from .rows import NONZ, REAL, broadcast_shape, same_dtype, sample

__all__ = ["complex_", "conj", "imag", "modulus", "real"]


def _part_aval(name: str) -> Any:
    def aval(x: Aval) -> Aval:
        if x.dtype.kind != "c":
            raise InvalidTapeError(f"{name} of {x!r}, which is not complex")
        return Aval(x.shape, real_of(x.dtype))

    return aval


def _conj_aval(x: Aval) -> Aval:
    same_dtype((x,), "conj", "c")
    return x


def _complex_aval(a: Aval, b: Aval) -> Aval:
    dtype = same_dtype((a, b), "complex", "f")
    return Aval(broadcast_shape((a, b), "complex"), complex_of(dtype))


def _complex_reference(a: Any, b: Any) -> Any:
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    out = np.empty(shape, complex_of(np.asarray(a).dtype))
    out.real, out.imag = a, b
    return out[()]


def _complex_jvp(tangents: tuple, y: Any, a: Any, b: Any) -> Any:
    ta, tb = tangents
    if ta is None:
        return complex_(0, tb)
    return complex_(ta, 0 if tb is None else tb)


def _complex_vjp(ct: Any, y: Any, a: Any, b: Any) -> tuple:
    return lambda: real(ct), lambda: -imag(ct)


def _direction(y: Any, z: Any) -> tuple[Any, Any]:
    """The parts of z / |z|, and 0 at 0."""
    away = select(eq(y, 0), 1, y)
    return real(z) / away, imag(z) / away


def _modulus_vjp(ct: Any, y: Any, z: Any) -> tuple:
    re, im = _direction(y, z)
    return (complex_(ct * re, -(ct * im)),)


def _modulus_jvp(tangents: tuple, y: Any, z: Any) -> Any:
    re, im = _direction(y, z)
    return real(tangents[0]) * re + imag(tangents[0]) * im


def _row(
    name: str, reference: Any, aval: Any, *operands: tuple, **rules: Any
) -> Primitive:
    samples = [sample(*[((2, 3), d, kind) for d, kind in operands])]
    samples += [sample(*[((), d, kind) for d, kind in operands])]
    half = {"c16": "c8", "f8": "f4"}
    samples += [sample(*[((3,), d, half[kind]) for d, kind in operands])]
    return register(
        Primitive(name, "elementwise", reference, aval, samples=tuple(samples), **rules)
    )


real: Primitive = _row(
    "real",
    lambda z: np.real(z),
    _part_aval("real"),
    (REAL, "c16"),
    multilinear=(0,),
    vjp=lambda ct, y, z: (cast(ct, dtype=z.dtype),),
)
imag: Primitive = _row(
    "imag",
    lambda z: np.imag(z),
    _part_aval("imag"),
    (REAL, "c16"),
    multilinear=(0,),
    vjp=lambda ct, y, z: (complex_(0, -ct),),
)
conj: Primitive = _row(
    "conj",
    np.conjugate,
    _conj_aval,
    (REAL, "c16"),
    multilinear=(0,),
    vjp=lambda ct, y, z: (conj(ct),),
)
complex_: Primitive = _row(
    "complex",
    _complex_reference,
    _complex_aval,
    (REAL, "f8"),
    (REAL, "f8"),
    jvp=_complex_jvp,
    vjp=_complex_vjp,
)
#: The absolute value of a complex number; `abs` is that of a real one.
modulus: Primitive = _row(
    "modulus",
    np.absolute,
    _part_aval("modulus"),
    (NONZ, "c16"),
    vjp=_modulus_vjp,
    jvp=_modulus_jvp,
)
