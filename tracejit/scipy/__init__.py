"""What SciPy computes in Python, on traced and ordinary values alike."""

from . import special

__all__ = ["special"]
