"""What SciPy computes in Python, on traced and ordinary values alike."""

from . import special, stats

__all__ = ["special", "stats"]
