"""Tracebacks without tracejit's own frames: the user's line comes last."""

from __future__ import annotations

from types import TracebackType

from .. import config
from ..signature import in_package

__all__ = ["hide_frames"]


def hide_frames(error: BaseException) -> None:
    """Cut tracejit's frames out of an error that passes through to the user.

    An error in whose traceback the user's function does not occur is left alone.
    """
    if config.FULL_TRACEBACK:
        return
    kept: list[TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        if not in_package(trace.tb_frame.f_code.co_filename):
            kept.append(trace)
        trace = trace.tb_next
    rest: TracebackType | None = None
    for part in reversed(kept):
        rest = TracebackType(rest, part.tb_frame, part.tb_lasti, part.tb_lineno)
    if rest is not None:
        error.__traceback__ = rest
