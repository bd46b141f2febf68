"""NumPy's functions on tracers, one module a family; importing it fills the tables."""

from . import indexing, methods, operators, reductions, shape, ufuncs

__all__ = ["indexing", "methods", "operators", "reductions", "shape", "ufuncs"]
