"""Families of distributions: what all continuous and all discrete ones share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import special

__all__ = ["Continuous", "Discrete", "Function"]

Function = Callable[..., Any]


def _log(p: Any, rest: Any) -> Any:
    """log(p), by what is left of 1 where that is the smaller part."""
    large = p > 0.5
    return np.where(large, np.log1p(-rest), np.log(np.where(large, 1.0, p)))


def read(
    family: str, parameters: tuple[str, ...], args: tuple, kwargs: dict[str, Any]
) -> tuple[list[Any], Any, Any]:
    """Shape parameters, loc and scale, given by position or by name."""
    names = (*parameters, "loc", "scale")
    if len(args) > len(names):
        raise TypeError(f"{family} takes at most {len(names)} parameters")
    found = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            raise TypeError(f"{family} has no parameter {name!r}")
        if name in found:
            raise TypeError(f"{family} got two values for {name!r}")
        found[name] = value
    missing = [name for name in parameters if name not in found]
    if missing:
        raise TypeError(f"{family} needs the parameter {missing[0]!r}")
    shapes = [special._floats(found[name]) for name in parameters]
    return shapes, found.get("loc", 0.0), found.get("scale", 1.0)


class Continuous:
    """A family of continuous distributions.

    Attributes:
        name: SciPy's name.

    Example:
        >>> import numpy as np
        >>> from tracejit import grad
        >>> from tracejit.scipy.stats import norm
        >>> x = np.array([1.0, 2.0, 4.5])
        >>> grad(lambda mu: np.sum(norm.logpdf(x, mu, 2.0)))(1.0)
        np.float64(1.125)

    The functions given are those of the standard distribution (loc 0, scale 1), of x
    and the shape parameters; x is inside the support whenever it matters.
    """

    def __init__(
        self,
        name: str,
        shapes: tuple[str, ...],
        logpdf: Function,
        cdf: Function,
        sf: Function,
        allowed: Function | None = None,
        low: Function | float = -math.inf,
        high: Function | float = math.inf,
        inner: float = 0.0,
        closed: bool = True,
        logcdf: Function | None = None,
        logsf: Function | None = None,
        *,
        ppf: Function,
        isf: Function,
    ) -> None:
        self.name = name
        self._ppf, self._isf = ppf, isf
        self._shapes = shapes
        self._logpdf, self._cdf, self._sf = logpdf, cdf, sf
        self._logcdf, self._logsf = logcdf, logsf
        self._allowed = allowed
        self._low, self._high, self._inner = low, high, inner
        self._closed = closed

    def __repr__(self) -> str:
        return f"<distribution {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with these parameters, whose methods take x alone."""
        return Frozen(self, args, kwargs)

    def _read(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], Any, Any]:
        return read(self.name, self._shapes, args, kwargs)

    def _prepare(self, x: Any, args: tuple, kwargs: dict[str, Any]) -> _Standard:
        """The argument in units of the standard distribution, and what is allowed."""
        shapes, loc, scale = self._read(args, kwargs)
        scale = special._floats(scale)
        z = (special._floats(x) - loc) / scale
        allowed = scale > 0
        if self._allowed is not None:
            allowed = allowed & self._allowed(*shapes)
        low = self._low(*shapes) if callable(self._low) else self._low
        high = self._high(*shapes) if callable(self._high) else self._high
        below = z < low if self._closed else z <= low
        return _Standard(z, shapes, scale, allowed, low, high, below, self._inner)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of the density at x."""
        at = self._prepare(x, args, kwargs)
        value = self._logpdf(at.safe, *at.shapes) - np.log(at.positive)
        return at.choose(value, -np.inf, -np.inf)

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The density at x."""
        at = self._prepare(x, args, kwargs)
        value = np.exp(self._logpdf(at.safe, *at.shapes)) / at.positive
        return at.choose(value, 0.0, 0.0)

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most x."""
        at = self._prepare(x, args, kwargs)
        return at.choose(self._cdf(at.safe, *at.shapes), 0.0, 1.0)

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than x, accurate where it is small."""
        at = self._prepare(x, args, kwargs)
        return at.choose(self._sf(at.safe, *at.shapes), 1.0, 0.0)

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `cdf`."""
        at = self._prepare(x, args, kwargs)
        if self._logcdf is not None:
            value = self._logcdf(at.safe, *at.shapes)
        else:
            value = _log(self._cdf(at.safe, *at.shapes), self._sf(at.safe, *at.shapes))
        return at.choose(value, -np.inf, 0.0)

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `sf`."""
        at = self._prepare(x, args, kwargs)
        if self._logsf is not None:
            value = self._logsf(at.safe, *at.shapes)
        else:
            value = _log(self._sf(at.safe, *at.shapes), self._cdf(at.safe, *at.shapes))
        return at.choose(value, 0.0, -np.inf)

    def _quantile(
        self, rule: Function, p: Any, ends: tuple[Any, Any], args: tuple, kwargs: dict
    ) -> Any:
        """Where the distribution function, or one minus it, is p."""
        shapes, loc, scale = self._read(args, kwargs)
        p, scale = special._floats(p), special._floats(scale)
        allowed = scale > 0
        if self._allowed is not None:
            allowed = allowed & self._allowed(*shapes)
        inside = (p > 0) & (p < 1)
        value = rule(np.where(inside, p, p.dtype.type(0.5)), *shapes)
        first, last = (end(*shapes) if callable(end) else end for end in ends)
        value = np.where(p <= 0, first, np.where(p >= 1, last, value))
        undefined = ~allowed | ~(inside | (p == 0) | (p == 1))
        # Of what is not allowed there is no infinity to multiply.
        factor = np.where(undefined, 1.0, scale)
        return np.where(undefined, np.nan, loc + factor * value)[()]

    def ppf(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Where `cdf` is p."""
        return self._quantile(self._ppf, p, (self._low, self._high), args, kwargs)

    def isf(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Where `sf` is p."""
        return self._quantile(self._isf, p, (self._high, self._low), args, kwargs)


class Frozen:
    """A distribution with its parameters: `norm(0.0, 2.0).logpdf(x)`.

    Example:
        >>> from tracejit.scipy.stats import expon
        >>> float(expon(scale=2.0).cdf(0.0))
        0.0
    """

    def __init__(self, family: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        self.dist, self.args, self.kwds = family, args, kwargs

    def __repr__(self) -> str:
        return f"{self.dist!r} with {self.args} {self.kwds}"

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.dist, name)
        return lambda x: method(x, *self.args, **self.kwds)


class _Standard:
    """An argument in units of the standard distribution."""

    def __init__(
        self,
        z: Any,
        shapes: list[Any],
        scale: Any,
        allowed: Any,
        low: Any,
        high: Any,
        below: Any,
        inner: float,
    ) -> None:
        self.below, self.above = below, z > high
        self.allowed, self.z = allowed, z
        self.inside = ~(self.below | self.above)
        # Outside the support the formulas are asked for a harmless point.
        bounded = not (low is -math.inf and high is math.inf)
        self.bounded = bounded
        self.safe = np.where(self.inside, z, z.dtype.type(inner)) if bounded else z
        self.shapes = shapes
        self.positive = scale

    def choose(self, value: Any, below: float, above: float) -> Any:
        """The value inside the support, the limits outside, NaN where not allowed."""
        if self.bounded:
            value = np.where(self.below, below, np.where(self.above, above, value))
        undefined = ~self.allowed | np.isnan(self.z)
        return np.where(undefined, np.nan, value)[()]


class Discrete:
    """A family of distributions of integers; see `Continuous`."""

    def __init__(
        self,
        name: str,
        shapes: tuple[str, ...],
        logpmf: Function,
        cdf: Function,
        sf: Function,
        allowed: Function,
        high: Function | float = math.inf,
    ) -> None:
        self.name = name
        self._shapes = shapes
        self._logpmf, self._cdf, self._sf = logpmf, cdf, sf
        self._allowed, self._high = allowed, high

    __repr__ = Continuous.__repr__

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        """The distribution with these parameters, whose methods take k alone."""
        return Frozen(self, args, kwargs)

    def _prepare(self, k: Any, args: tuple, kwargs: dict[str, Any]) -> tuple:
        shapes, loc, scale = read(self.name, self._shapes, args, kwargs)
        if scale is not None and not (isinstance(scale, float) and scale == 1.0):
            raise TypeError(f"{self.name} has no parameter 'scale'")
        k = special._floats(k) - loc
        allowed = self._allowed(*shapes) & ~np.isnan(k)
        high = self._high(*shapes) if callable(self._high) else self._high
        return k, shapes, allowed, high

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of the probability of k."""
        k, shapes, allowed, high = self._prepare(k, args, kwargs)
        inside = (k >= 0) & (k <= high) & (np.floor(k) == k)
        value = self._logpmf(np.where(inside, k, np.zeros_like(k)), *shapes)
        return np.where(allowed, np.where(inside, value, -np.inf), np.nan)[()]

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of k."""
        return np.exp(self.logpmf(k, *args, **kwargs))

    def _sum(
        self, rule: Function, ends: tuple[float, float], k: Any, *rest: Any
    ) -> Any:
        k, shapes, allowed, high = self._prepare(k, *rest)
        whole = np.floor(k)
        inside = (whole >= 0) & (whole < high)
        value = rule(np.where(inside, whole, np.zeros_like(k)), *shapes)
        outside = np.where(whole < 0, ends[0], ends[1])
        return np.where(allowed, np.where(inside, value, outside), np.nan)[()]

    def cdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of at most k."""
        return self._sum(self._cdf, (0.0, 1.0), k, args, kwargs)

    def sf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """The probability of more than k."""
        return self._sum(self._sf, (1.0, 0.0), k, args, kwargs)

    def logcdf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `cdf`."""
        return np.log(self.cdf(k, *args, **kwargs))

    def logsf(self, k: Any, *args: Any, **kwargs: Any) -> Any:
        """Logarithm of `sf`."""
        return np.log(self.sf(k, *args, **kwargs))
