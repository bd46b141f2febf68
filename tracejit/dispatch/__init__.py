"""From a call to an answer: signature, path tree, kernel, recording."""

from .dispatcher import Dispatcher
from .fast import MISS
from .outputs import StaticOutput
from .program import Program, Session, session_function
from .stats import Stats

__all__ = [
    "MISS",
    "Dispatcher",
    "Program",
    "Session",
    "StaticOutput",
    "Stats",
    "session_function",
]
