"""The table of primitives; importing this package registers all rows."""

from . import (
    complex,
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
)

__all__ = [
    "complex",
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
]
