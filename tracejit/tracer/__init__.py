"""Recording: tracers that stand for the arguments, and the recorder they write to."""

from .. import ops as ops  # registers the rows
from .frames import is_calling, is_inside, user_frame, user_source, where
from .memory import (
    Owner,
    View,
    base_of,
    is_uncertain,
    joins_axes,
    link,
    owner_of,
    put,
    replaced,
    rewrite,
    same_memory,
    steps_of,
)
from .recorder import (
    SERVED,
    TAPE_DTYPES,
    GuardInfo,
    Recorder,
    active_recorder,
    check_dtype,
    recording,
)
from .tracer import FUNCTIONS, HINTS, UFUNC_METHODS, Tracer, full_name, refuse
from .warn import run_noisy

__all__ = [
    "FUNCTIONS",
    "HINTS",
    "SERVED",
    "TAPE_DTYPES",
    "UFUNC_METHODS",
    "GuardInfo",
    "Owner",
    "Recorder",
    "Tracer",
    "View",
    "active_recorder",
    "base_of",
    "check_dtype",
    "full_name",
    "is_calling",
    "is_inside",
    "is_uncertain",
    "joins_axes",
    "link",
    "owner_of",
    "put",
    "recording",
    "refuse",
    "replaced",
    "rewrite",
    "run_noisy",
    "same_memory",
    "steps_of",
    "user_frame",
    "user_source",
    "where",
]
