"""Write `docs/ops.md`, the table of all primitives, from their rows.

python docs/generate_op_reference.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np

import tracejit.ops  # noqa: F401  (registers the rows)
from tracejit.avals import Aval
from tracejit.errors import InvalidTapeError
from tracejit.numpy_api.ufuncs import UFUNCS
from tracejit.primitive import PRIMITIVES, Primitive

PAGE = Path(__file__).with_name("ops.md")

FAMILIES = {
    "elementwise": "Equal dtypes, NumPy's broadcasting. The lowering is an expression\n"
    "over the operands a, b, c; what has none, the emitter knows by name. Complex\n"
    "operands are split into their parts before anything is lowered.",
    "reduction": "`axes` disappear; keeping them is a `reshape`.",
    "structural": "Shape, order and place of elements. Most cost nothing in a kernel:\n"
    "they change an index.",
    "contraction": "Sums of products.",
    "linalg": "On the last two axes, stacked over the others.",
    "host": "Functions in Python; a kernel calls them back.",
    "control": "What only transforms, guards and passes look at.",
}

HEAD = """\
# Primitives

Generated from the rows in `tracejit/ops` by `python docs/generate_op_reference.py`.
What users call is NumPy; each NumPy function becomes one or several of these {count}
primitives. The words are those of [architecture.md](architecture.md); how to add a
row is in [add-a-primitive.md](add-a-primitive.md).

Derivative: *partials* (both modes follow from ∂out/∂operand), *linear* (in the named
operands, with a transpose), *rules* (a forward and a reverse rule), *expansion*
(through an equal composition of other rows), *zero* (none: constant almost everywhere,
or not a float).
"""


def operands(prim: Primitive) -> list[str]:
    """The names of a row's operands, `*name` for any number of them."""
    if prim.family == "elementwise":
        count = len(prim.samples[0](np.random.default_rng(0))[0])
        return list("abc"[:count])
    return [name for name, kind in _parameters(prim) if kind != "param"]


def params(prim: Primitive) -> list[str]:
    """The names of a row's params: what its abstract rule or its samples name."""
    names = [name for name, kind in _parameters(prim) if kind == "param"]
    for make in prim.samples:
        names += make(np.random.default_rng(0))[1]
    return list(dict.fromkeys(names))


def _parameters(prim: Primitive) -> list[tuple[str, str]]:
    found = []
    for p in inspect.signature(prim.aval).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            found.append((p.name, "param"))
        elif p.kind is p.VAR_POSITIONAL and p.name != "_":
            found.append((f"*{p.name}", "operand"))
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            found.append((p.name, "operand"))
    return found


def derivative(prim: Primitive) -> str:
    if prim.partials:
        return "partials"
    if prim.multilinear:
        names = operands(prim)
        if any(name.startswith("*") for name in names):
            return "linear"
        return "linear: " + ", ".join(names[i] for i in prim.multilinear)
    if prim.name == "loop":
        return "a loop, by `passes/loops`"
    if prim.vjp:
        return "rules"
    return "expansion" if prim.expand else "zero"


def dtypes(prim: Primitive) -> str:
    """Which dtypes the operands of an elementwise row may have."""
    count = len(operands(prim))
    given = params(prim)
    if given or prim.name == "select":
        return "any" if prim.name in ("cast", "select") else "int"
    names = {"bool": "?", "int": "i8", "uint": "u8", "float": "f8", "complex": "c16"}
    found = [n for n, code in names.items() if _takes(prim, count, code)]
    return "any" if len(found) == len(names) else " ".join(found)


def _takes(prim: Primitive, count: int, code: str) -> bool:
    try:
        prim.aval(*[Aval((2,), np.dtype(code))] * count)
    except InvalidTapeError:
        return False
    return True


def ufuncs(prim: Primitive) -> str:
    """The ufuncs that are recorded as this primitive."""
    found = [ufunc for ufunc, name in UFUNCS.items() if name == prim.name]
    return " ".join(f"`{_public(ufunc)}`" for ufunc in found)


def _public(ufunc: np.ufunc) -> str:
    name = ufunc.__name__
    return f"np.{name}" if getattr(np, name, None) is ufunc else f"special.{name}"


def code(text: str) -> str:
    """Inline code in a table cell, where a bar needs its escape."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def section(family: str, rows: list[Primitive]) -> str:
    if family == "elementwise":
        head = ["name", "ufuncs", "dtypes", "derivative", "lowering"]
        body = [
            [code(p.name), ufuncs(p), dtypes(p), derivative(p), code(p.lower)]
            for p in rows
        ]
    else:
        head = ["name", "operands", "params", "derivative", "batch rule"]
        body = [
            [
                code(p.name),
                code(", ".join(operands(p))),
                code(", ".join(params(p))),
                derivative(p),
                "yes" if p.batch else "",
            ]
            for p in rows
        ]
    return f"\n## {family.capitalize()}\n\n{FAMILIES[family]}\n\n{table(head, body)}"


def page() -> str:
    """The whole page."""
    families: dict[str, list[Primitive]] = {name: [] for name in FAMILIES}
    for prim in PRIMITIVES.values():
        families[prim.family].append(prim)
    parts = [section(family, rows) for family, rows in families.items()]
    return HEAD.format(count=len(PRIMITIVES)) + "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(PRIMITIVES)} primitives")
