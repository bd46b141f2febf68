"""Recording: tracers that stand for the arguments, and the recorder they write to."""

from .. import ops as ops  # registers the rows
from .active import SERVED, active_recorder, paused, recording
from .forks import Promoted, RecordAgain
from .frames import is_calling, is_inside, user_frame, user_source, where
from .loop_items import LOOPS, served
from .memory import (
    Owner,
    View,
    base_of,
    is_mixed,
    is_uncertain,
    joins_axes,
    link,
    note_uncertain,
    own_ref,
    owner_of,
    put,
    replaced,
    rewrite,
    same_memory,
    steps_of,
)
from .recorder import (
    TAPE_DTYPES,
    GuardInfo,
    Recorder,
    check_dtype,
)
from .remembered import Memory
from .snippets import stamped
from .tracer import FUNCTIONS, HINTS, UFUNC_METHODS, Tracer, full_name, refuse
from .warn import call_noisy, call_silent, has_error_state

__all__ = [
    "FUNCTIONS",
    "HINTS",
    "LOOPS",
    "SERVED",
    "TAPE_DTYPES",
    "UFUNC_METHODS",
    "GuardInfo",
    "Memory",
    "Owner",
    "Promoted",
    "RecordAgain",
    "Recorder",
    "Tracer",
    "View",
    "active_recorder",
    "base_of",
    "call_noisy",
    "call_silent",
    "check_dtype",
    "full_name",
    "has_error_state",
    "is_calling",
    "is_inside",
    "is_mixed",
    "is_uncertain",
    "joins_axes",
    "link",
    "note_uncertain",
    "own_ref",
    "owner_of",
    "paused",
    "put",
    "recording",
    "refuse",
    "replaced",
    "rewrite",
    "same_memory",
    "served",
    "stamped",
    "steps_of",
    "user_frame",
    "user_source",
    "where",
]
