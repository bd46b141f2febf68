"""Functions that are written as text: the checks, the fast path, the results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType
from typing import Any

__all__ = ["define"]


@functools.lru_cache(maxsize=512)
def _compiled(source: str, name: str) -> CodeType:
    # Traces of one function mostly differ in the objects they name, not in the text.
    return compile(source, f"<tracejit {name}>", "exec")


def define(source: str, name: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function `name` that `source` defines, with `namespace` as its globals."""
    exec(_compiled(source, name), namespace)
    defined: Callable[..., Any] = namespace[name]
    return defined
