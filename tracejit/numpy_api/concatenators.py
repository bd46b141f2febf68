"""`np.r_` and `np.c_` with traced values in the brackets."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tracer import SERVED, Tracer, active_recorder, refuse
from .joining import concatenate
from .shape import permute
from .table import as_tracer, cast, emit, enter, recorder_of, tracers_in

__all__: list[str] = []


class _Joiner:
    """Stands for `np.r_` or `np.c_` while somebody records."""

    def __init__(self, original: Any, axis: int, ndmin: int, place: int) -> None:
        self.__wrapped__ = original
        self.defaults = axis, ndmin, place

    def __len__(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __getitem__(self, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        ends = [e for k in items if isinstance(k, slice) for e in _ends(k)]
        found = next(iter(tracers_in([*items, *ends])), None)
        if active_recorder() is None or found is None:
            return self.__wrapped__[key]
        return self._joined(items, recorder_of(*items, *ends))

    def _joined(self, items: tuple, rec: Any) -> Any:
        axis, ndmin, place = self.defaults
        if isinstance(items[0], str):
            axis, ndmin, place = _directive(items[0], axis, ndmin, place)
            items = items[1:]
        parts: list[Tracer] = []
        kinds: list[Any] = []
        for item in items:
            if isinstance(item, str):
                raise ValueError("special directives must be the first entry.")
            part = as_tracer(rec, _range(item) if isinstance(item, slice) else item)
            number = type(item) in (bool, int, float)
            weak = part.weak if type(item) is Tracer else None
            kinds.append(item if number else weak(0) if weak else part.dtype)
            parts.append(_raised(part, ndmin, place))
        dtype = np.result_type(*kinds)
        return concatenate([cast(p, dtype) for p in parts], axis)


def _ends(item: slice) -> list[Any]:
    return [item.start, item.stop, item.step]


def _range(item: slice) -> Any:
    start = 0 if item.start is None else item.start
    step = 1 if item.step is None else item.step
    if isinstance(step, complex):
        return np.linspace(start, item.stop, num=int(abs(step)))
    return np.arange(start, item.stop, step)


def _directive(text: str, axis: int, ndmin: int, place: int) -> tuple[int, int, int]:
    if text in ("r", "c"):
        refuse(f"np.r_[{text!r}, ...]", "Use np.concatenate")
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"unknown special directive {text!r}") from error
    if len(numbers) > 3:
        raise ValueError(f"unknown special directive {text!r}")
    axis, ndmin, place = (*numbers, *(axis, ndmin, place)[len(numbers) :])
    return axis, ndmin, place


def _raised(x: Tracer, ndmin: int, place: int) -> Tracer:
    """At least `ndmin` axes, those of `x` beginning at `place`."""
    missing = max(ndmin, 1) - x.ndim
    if missing <= 0:
        return x
    raised = emit("reshape", x, shape=(1,) * missing + x.shape)
    if place == -1 or not x.ndim:
        return raised
    at = place + missing + 1 if place < 0 else place
    axes = list(range(raised.ndim))
    return permute(raised, (*axes[:at], *axes[missing:], *axes[at:missing]))


for _name, _original, *_defaults in (
    ("r_", np.r_, 0, 1, -1),
    ("c_", np.c_, -1, 2, 0),
):
    SERVED[np, _name] = _Joiner(_original, *_defaults)  # type: ignore[assignment]
    enter(f"np.{_name}", "function")
