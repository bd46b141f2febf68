"""Checks: does what a trace captured still hold?  Compiled to straight-line Python.

A check fetches one value by the path on which the recording found it and compares it
with what was there.  The lines of all checks make one function, so that a call pays
some 30 ns a name and no interpretation:

    t0 = g0['rate']
    if t0 is not v0 and not same(t0, v0): return (0, t0)
    t1 = g0['X']
    if type(t1) is not ndarray or t1.dtype != d1 or t1.shape != (3,): return (1, t1)
    return None, (t1,)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..avals import Aval
from ..signature import prepare
from .define import define
from .snapshot import Snapshot
from .values import same, same_items

__all__ = ["Check", "Checks"]


@dataclass(eq=False)
class Check:
    """One captured value.

    Attributes:
        fetch: Python expression over earlier values (`t0`) and the environment.
        label: the value as the user writes it, `params['w1']`.
        kind: how it is compared; containers and traced arrays are not kept alive.

            same      an immutable value; value is it
            items     many of them in a sequence; value is its type and a tuple
            sequence  value is type and length; items have checks of their own
            mapping   value is type and list of keys; items have checks of their own
            parts     made anew at each access; value is the type
            array     traced; value is the aval
            is        value is the object
            alias     value is the number of the check that found the same object
            snapshot  value is the snapshot
    """

    fetch: str
    label: str
    kind: str
    value: Any


class Checks:
    """All that one trace captured.

    Attributes:
        labels: of the captured arrays, in the order in which `run` gives them.
    """

    def __init__(self, checks: list[Check], env: dict[str, Any]) -> None:
        self.checks = checks
        self.env: dict[str, Any] = {
            "ndarray": np.ndarray,
            "same": same,
            "same_items": same_items,
            **env,
        }
        self.arrays = [i for i, c in enumerate(checks) if c.kind == "array"]
        self._run: Callable[[], Any] | None = None

    def lines(self, fail: str) -> list[str]:
        """Python statements; `fail` is the statement of a failure, over {i}.

        What check i finds is bound to `t{i}`.
        """
        lines = []
        for i, check in enumerate(self.checks):
            lines.append(f"t{i} = {check.fetch}")
            condition = self._condition(i, check)
            lines.append(f"if {condition}: {fail.format(i=i)}")
        return lines

    def _condition(self, i: int, check: Check) -> str:
        """When check i fails, as an expression; its constants go to `env`."""
        t, v, k, value = f"t{i}", f"v{i}", f"k{i}", check.value
        self.env[v] = value
        match check.kind:
            case "same":
                return f"{t} is not {v} and not same({t}, {v})"
            case "items":
                self.env[k], self.env[v] = value
                return f"type({t}) is not {k} or not same_items({t}, {v})"
            case "is":
                return f"{t} is not {v}"
            case "alias":
                return f"{t} is not t{value}"
            case "sequence":
                self.env[k], length = value
                return f"type({t}) is not {k} or len({t}) != {length}"
            case "mapping":
                self.env[k], self.env[v] = value
                return f"type({t}) is not {k} or list({t}) != {v}"
            case "parts":
                self.env[k] = value
                return f"type({t}) is not {k}"
            case "array":
                self.env[v] = value.dtype
                shape = repr(value.shape)
                return (
                    f"type({t}) is not ndarray or {t}.dtype != {v} "
                    f"or {t}.shape != {shape}"
                )
            case "snapshot":
                self.env[v] = value.unchanged
                return f"not {v}({t})"
        raise AssertionError(check.kind)

    def run(self) -> tuple[Any, ...] | None:
        """The captured arrays, ready for a kernel; None if anything has changed."""
        if self._run is None:
            self._run = self._compile()
        try:
            failed, found = self._run()
        except (LookupError, AttributeError, ValueError, TypeError):
            return None
        return None if failed is not None else found

    def change(self) -> tuple[Check, Any] | None:
        """The first value that has changed, and what is there now."""
        if self._run is None:
            self._run = self._compile()
        try:
            failed, found = self._run()
        except (LookupError, AttributeError, ValueError, TypeError):
            return Check("", "a captured name", "gone", None), None
        return None if failed is None else (self.checks[failed], found)

    def _compile(self) -> Callable[[], Any]:
        arrays = self.arrays
        body = self.lines("return {i}, t{i}")
        found = "".join(f"prepare(t{i}), " for i in arrays)
        body.append(f"return None, ({found})")
        source = "def run():\n" + "\n".join(f"    {line}" for line in body)
        namespace = {**self.env, "prepare": prepare}
        return define(source, "run", namespace)


def describe(check: Check, now: Any) -> str:
    """A change in words: `lr: was 0.1, now 0.2`."""
    then = check.value
    if check.kind == "gone":
        return "a captured name is gone"
    if check.kind == "snapshot" and isinstance(then, Snapshot):
        inner, now = then.change(now) or (then, now)
        return _words(inner.label, inner.kind, inner.value, now)
    return _words(check.label, check.kind, then, now)


def _words(label: str, kind: str, then: Any, now: Any) -> str:
    if kind == "array" and isinstance(now, np.ndarray):
        was = then if isinstance(then, Aval) else Aval(then.shape, then.dtype)
        is_ = Aval(now.shape, now.dtype)
        if was == is_:
            return f"{label}: its contents changed"
        return f"{label}: was {was!r}, now {is_!r}"
    if kind == "items":
        then, now = list(then[1]), list(now)
    if kind in ("same", "items"):
        return f"{label}: was {_short(then)}, now {_short(now)}"
    if kind in ("sequence", "mapping", "equal", "object", "alias", "parts", "buffer"):
        return f"{label}: changed"
    return f"{label}: is another object"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
