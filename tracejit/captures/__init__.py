"""What a trace took from closures and globals, and whether it still holds."""

from .capture import Captures
from .checks import Check, Checks, describe
from .define import define
from .portable import Portable
from .snapshot import Snapshot

__all__ = ["Captures", "Check", "Checks", "Portable", "Snapshot", "define", "describe"]
