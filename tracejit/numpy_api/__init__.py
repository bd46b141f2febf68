"""NumPy's functions on tracers, one module a family; importing it fills the tables."""

from . import (
    creation,
    indexing,
    linalg,
    metadata,
    methods,
    operators,
    products,
    reductions,
    selection,
    served,
    shape,
    ufuncs,
)

__all__ = [
    "creation",
    "indexing",
    "linalg",
    "metadata",
    "methods",
    "operators",
    "products",
    "reductions",
    "selection",
    "served",
    "shape",
    "ufuncs",
]
