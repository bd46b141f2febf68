"""Library routines and serial algorithms on whole buffers."""
from __future__ import annotations
from typing import Any
from ..program import Call
def emit_call(emitter: Any, call: Call) -> None:
    raise NotImplementedError(call.name)
