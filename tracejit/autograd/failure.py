"""What a wrong use raises."""

from __future__ import annotations

from ..errors import AutogradError, message
from ..tracer import where

__all__ = ["fail"]


def fail(what: str, way_out: str) -> AutogradError:
    """The error for a wrong use, at the user's line."""
    return AutogradError(message(what, where=where(), way_out=way_out))
