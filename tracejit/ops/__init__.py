"""The table of primitives; importing this package registers all rows."""

from . import (
    branch,
    complex,
    contraction,
    control,
    elementwise,
    factorised,
    host,
    indexing,
    library,
    linalg,
    logic,
    loop,
    reduction,
    spectral,
    structural,
    writes,
)

__all__ = [
    "branch",
    "complex",
    "contraction",
    "control",
    "elementwise",
    "factorised",
    "host",
    "indexing",
    "library",
    "linalg",
    "logic",
    "loop",
    "reduction",
    "spectral",
    "structural",
    "writes",
]
