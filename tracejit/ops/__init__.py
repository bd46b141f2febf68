"""The table of primitives; importing this package registers all rows."""

from . import (
    contraction,
    control,
    elementwise,
    factorised,
    indexing,
    linalg,
    logic,
    loop,
    reduction,
    structural,
    writes,
)

__all__ = [
    "contraction",
    "control",
    "elementwise",
    "factorised",
    "indexing",
    "linalg",
    "logic",
    "loop",
    "reduction",
    "structural",
    "writes",
]
