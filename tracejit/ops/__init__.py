"""The table of primitives; importing this package registers all rows."""

from . import (
    branch,
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
    structural,
)

__all__ = [
    "branch",
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
    "structural",
]
