"""From a call to an answer: signature, path tree, kernel, recording."""

from .dispatcher import Dispatcher
from .examples import Examples, Mapped, Result
from .fast import MISS
from .outputs import StaticOutput
from .program import Program, Session, session_function
from .stats import Stats

__all__ = [
    "MISS",
    "Dispatcher",
    "Examples",
    "Mapped",
    "Program",
    "Result",
    "Session",
    "StaticOutput",
    "Stats",
    "session_function",
]
