"""Signatures in words, for errors and explanations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import optree

from ..avals import Aval

__all__ = [
    "describe_call",
    "describe_change",
    "leaf_names",
    "parameter_names",
    "spec_names",
]


def parameter_names(fun: Callable, count: int) -> list[str]:
    """Names for `count` positional arguments of `fun`."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(count)]
    names = [
        p.name
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    names += [f"{rest}[{i}]" for i in range(count - len(names))]
    return names[:count]


def leaf_names(spec: optree.PyTreeSpec, fun: Callable) -> list[str]:
    """How the user would write each leaf of `(args, kwargs)`: `x`, `params['w1']`."""
    return spec_names(spec, parameter_names(fun, spec.child(0).num_children))


def spec_names(spec: optree.PyTreeSpec, positional: Sequence[str]) -> list[str]:
    """The leaf names of the structure of `(args, kwargs)`."""
    names = []
    for accessor in spec.accessors():
        head = accessor[1]
        first = positional[head.entry] if accessor[0].entry == 0 else str(head.entry)
        names.append(first + accessor[2:].codify(""))
    return names


def describe_key(key: tuple) -> str:
    """One leaf's part of a signature in words: `f64[4]`, `float`, `'mean'`."""
    match key:
        case ("array", dtype, shape):
            return repr(Aval(shape, dtype))
        case ("scalar", dtype):
            return f"np.{dtype.name}"
        case ("static", (kind, value)):
            if kind is float:
                return repr(float.fromhex(value))
            if kind in (tuple, frozenset):
                return f"another {kind.__name__}"
            return repr(value)
        case ("object", identity, *_):
            return repr(identity)
    return key[0]


def describe_change(old: tuple, new: tuple, fun: Callable) -> str:
    """What distinguishes two signatures: `argument x: f64[4] -> f64[8]`."""
    if old[0] != new[0]:
        return "arguments: another structure"
    positional = parameter_names(fun, new[0].child(0).num_children)
    names = spec_names(new[0], positional)
    changes = [
        f"argument {name}: {describe_key(was)} -> {describe_key(now)}"
        for name, was, now in zip(names, old[1], new[1], strict=True)
        if was != now
    ]
    for (name, was), (other, now) in zip(old[2], new[2], strict=False):
        if name == other and was != now:
            label = positional[name] if isinstance(name, int) else name
            before, after = describe_key(("static", was)), describe_key(("static", now))
            changes.append(f"argument {label}: {before} -> {after}")
    return ", ".join(changes) or "arguments: another structure"


def describe_call(key: tuple, fun: Callable) -> str:
    """The signature in words: `x: f64[4], y: float`."""
    names = spec_names(key[0], parameter_names(fun, key[0].child(0).num_children))
    return ", ".join(
        f"{name}: {describe_key(leaf)}"
        for name, leaf in zip(names, key[1], strict=True)
    )
