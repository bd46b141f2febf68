"""Where the user called from."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

__all__ = ["caller", "in_package"]

_PACKAGE = str(Path(__file__).parents[1])


def in_package(file: str) -> bool:
    """Whether a source file is one of tracejit's own."""
    return file.startswith(_PACKAGE)


def caller(frame: FrameType | None = None) -> str:
    """The innermost position outside tracejit, `file.py:12 in loss`."""
    frame = frame or sys._getframe(1)
    while frame is not None and in_package(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    name = Path(frame.f_code.co_filename).name
    return f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"
