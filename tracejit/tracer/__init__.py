"""Recording: tracers that stand for the arguments, and the recorder they write to."""

from .. import ops as ops  # registers the rows
from .frames import is_inside, user_frame, user_source, where
from .loop_items import LOOPS, served
from .recorder import (
    SERVED,
    TAPE_DTYPES,
    GuardInfo,
    Recorder,
    active_recorder,
    check_dtype,
    recording,
)
from .rounds import RecordAgain
from .tracer import FUNCTIONS, HINTS, UFUNC_METHODS, Tracer, full_name, refuse

__all__ = [
    "FUNCTIONS",
    "HINTS",
    "LOOPS",
    "SERVED",
    "TAPE_DTYPES",
    "UFUNC_METHODS",
    "GuardInfo",
    "RecordAgain",
    "Recorder",
    "Tracer",
    "active_recorder",
    "check_dtype",
    "full_name",
    "is_inside",
    "recording",
    "refuse",
    "served",
    "user_frame",
    "user_source",
    "where",
]
