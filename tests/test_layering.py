"""The direction of imports: a module imports only from rows above its own.

The sources are read with `ast` and never imported, so imports inside functions and
under `TYPE_CHECKING` count too.  A module that `ROWS` does not know fails the test:
its place is a decision, and is written down here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1] / "tracejit"

# Row 0 first.  A column lists its modules in the order in which they may import each
# other (`a <- b`: b may import a); the columns of one row know nothing of each other.
# A name stands for a module or for a whole package.  Modules of one package may import
# each other as long as no cycle arises.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "config"),
    ("avals",),
    ("primitive", "signature"),
    ("tape", "program"),
    (
        "text <- interpret",
        "drawing",
    ),
    ("ops",),
    ("passes",),
    ("captures", "tracer <- numpy_api", "codegen <- kernel <- threads <- batches"),
    ("dispatch",),
    ("api",),
    ("autograd", "scipy", "testing"),
    ("__init__",),
)

# What only some modules may name, and which.
COMPILER = {"codegen", "kernel"}
ENVIRONMENT = {"config"}
PROTOCOLS = {"tracer", "numpy_api", "scipy"}


class Place(NamedTuple):
    """Where a module stands: its row, its column, its position in the column."""

    row: int
    column: int
    position: int


class Import(NamedTuple):
    """One import of a module of the package, as written in `source` at `line`."""

    source: str
    line: int
    target: str


PLACES = {
    name: Place(row, column, position)
    for row, columns in enumerate(ROWS)
    for column, names in enumerate(columns)
    for position, name in enumerate(names.split(" <- "))
}


def place(module: str) -> Place | None:
    """Return the place of `module` or of the nearest package that has one."""
    while module not in PLACES:
        module, dot, _ = module.rpartition(".")
        if not dot:
            return None
    return PLACES[module]


def allowed(source: str, target: str) -> bool:
    """Say whether `source` may import `target`."""
    here, there = place(source), place(target)
    if here is None or there is None:
        return False
    if here[:2] == there[:2]:
        return there.position <= here.position
    return there.row < here.row


def top(module: str) -> str:
    """Return the first part of a dotted name."""
    return module.partition(".")[0]


def module_name(path: Path, root: Path = ROOT) -> str:
    """Return the dotted name below the package: `passes.vjp`, `ops`, `__init__`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"


@cache
def sources() -> dict[str, ast.Module]:
    """Return the parsed source of every module of the package."""
    return {
        module_name(path): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in sorted(ROOT.rglob("*.py"))
    }


def packages() -> set[str]:
    """Return the names of the modules that are packages."""
    return {module_name(path) for path in ROOT.rglob("__init__.py")}


def names_imported(tree: ast.Module) -> Iterator[tuple[int, int, str, str | None]]:
    """Yield (line, level, module, name) of each import, wherever it stands."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            for alias in item.names:
                yield item.lineno, 0, alias.name, None
        elif isinstance(item, ast.ImportFrom):
            for alias in item.names:
                yield item.lineno, item.level, item.module or "", alias.name


def absolute(source: str, level: int, module: str, is_package: bool) -> str:
    """Return the full dotted name that a relative import of `level` means."""
    if level == 0:
        return module
    package = ["tracejit", *source.split(".")] if source != "__init__" else ["tracejit"]
    if not is_package:
        package.pop()
    package = package[: len(package) - level + 1]
    return ".".join([*package, module] if module else package)


def imports_of(
    source: str, tree: ast.Module, known: set[str], is_package: bool
) -> Iterator[Import]:
    """Yield the imports of tracejit's own modules, resolved as deep as `known`."""
    for line, level, module, name in names_imported(tree):
        full = absolute(source, level, module, is_package)
        if top(full) != "tracejit":
            continue
        target = full.partition(".")[2] or "__init__"
        inner = name if target == "__init__" else f"{target}.{name}"
        if name is not None and inner in known:
            target = inner
        yield Import(source, line, target)


@cache
def package_imports() -> tuple[Import, ...]:
    """Return every import from one of the package's modules to another."""
    trees, are_packages = sources(), packages()
    return tuple(
        found
        for source, tree in trees.items()
        for found in imports_of(source, tree, set(trees), source in are_packages)
    )


def show(imports: list[Import]) -> str:
    """Return one line per import, for a failing test."""
    return "\n".join(f"{i.source}:{i.line} imports {i.target}" for i in imports)


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return one cycle of the import graph as a list of modules, empty if none."""
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        for target in sorted(edges.get(module, ())):
            if found := visit(target, [*trail, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := visit(module, []))), [])


def dotted(item: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes that starts at a name, else ''."""
    if isinstance(item, ast.Name):
        return item.id
    if isinstance(item, ast.Attribute) and (value := dotted(item.value)):
        return f"{value}.{item.attr}"
    return ""


def environment_lines(tree: ast.Module) -> list[int]:
    """Return the lines that name the process environment."""
    access = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
    lines = [i.lineno for i in ast.walk(tree) if dotted(i) in access]
    lines += [
        line
        for line, _, module, name in names_imported(tree)
        if f"{module}.{name}" in access
    ]
    return sorted(lines)


def protocol_lines(tree: ast.Module) -> list[int]:
    """Return the lines that name NumPy's dispatch protocols in code.

    `__array_ufunc__ = None` is free: it refuses the protocol.
    """
    protocols = {"__array_ufunc__", "__array_function__"}
    refusals = {
        id(target)
        for item in ast.walk(tree)
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
        if item.value.value is None
        for target in item.targets
    }

    def names(item: ast.AST) -> str | None:
        for field in ("name", "attr", "id", "value"):
            if isinstance(name := getattr(item, field, None), str):
                return name
        return None

    return sorted(
        item.lineno
        for item in ast.walk(tree)
        if names(item) in protocols and id(item) not in refusals
    )


def compiler_lines(tree: ast.Module) -> list[int]:
    """Return the lines that import Numba or llvmlite."""
    return [
        line
        for line, level, module, _ in names_imported(tree)
        if level == 0 and top(module) in {"numba", "llvmlite"}
    ]


# --- the package ---------------------------------------------------------------------


def test_every_module_has_a_place():
    unknown = [module for module in sources() if place(module) is None]
    assert not unknown, f"add to ROWS: {unknown}"


def test_imports_point_upwards():
    wrong = [i for i in package_imports() if not allowed(i.source, i.target)]
    assert not wrong, "\n" + show(wrong)


def test_no_import_cycles():
    edges: dict[str, set[str]] = {}
    for source, _, target in package_imports():
        edges.setdefault(source, set()).add(target)
    assert not (found := cycle(edges)), " -> ".join(found)


@pytest.mark.parametrize(
    ("lines", "homes"),
    [
        pytest.param(compiler_lines, COMPILER, id="numba and llvmlite"),
        pytest.param(environment_lines, ENVIRONMENT, id="os.environ"),
        pytest.param(protocol_lines, PROTOCOLS, id="dispatch protocols"),
    ],
)
def test_only_some_modules_name(lines, homes):
    wrong = {
        module: found
        for module, tree in sources().items()
        if top(module) not in homes and (found := lines(tree))
    }
    assert not wrong


# --- the checker: each planted violation is caught -----------------------------------

KNOWN = {"__init__", "tape", "ops", "ops.linalg", "passes", "passes.vjp", "kernel"}


@pytest.mark.parametrize(
    ("source", "is_package", "code", "targets"),
    [
        ("tape", False, "import tracejit.kernel", ["kernel"]),
        ("tape", False, "from .kernel import compile", ["kernel"]),
        ("tape", False, "from . import kernel, tape", ["kernel", "tape"]),
        ("tape", False, "def f():\n    from .ops import linalg", ["ops.linalg"]),
        ("passes.vjp", False, "from ..tape import Tape", ["tape"]),
        ("passes.vjp", False, "from . import vjp", ["passes.vjp"]),
        ("passes", True, "from .vjp import vjp", ["passes.vjp"]),
        ("passes", True, "from .. import grad", ["__init__"]),
        ("__init__", True, "from .passes import vjp", ["passes.vjp"]),
        ("tape", False, "import numpy as np", []),
    ],
)
def test_imports_are_resolved(source, is_package, code, targets):
    found = imports_of(source, ast.parse(code), KNOWN, is_package)
    assert [i.target for i in found] == targets


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("passes.vjp", "tape", True),
        ("passes.vjp", "passes.simplify", True),
        ("numpy_api.indexing", "tracer", True),
        ("tracer", "numpy_api.indexing", False),
        ("tracer", "kernel", False),
        ("codegen.llvm", "tracer", False),
        ("kernel", "codegen.llvm", True),
        ("codegen.llvm", "kernel", False),
        ("dispatch", "kernel", True),
        ("text", "interpret", False),
        ("unplaced", "tape", False),
        ("tape", "__init__", False),
    ],
)
def test_direction(source, target, expected):
    assert allowed(source, target) is expected


def test_cycles_are_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (compiler_lines, "def f():\n    from numba.core import types"),
        (compiler_lines, "x = 1\nimport llvmlite.binding as llvm"),
        (environment_lines, "import os\nx = os.environ['HOME']"),
        (environment_lines, "x = 1\nfrom os import getenv"),
        (protocol_lines, "class T:\n    def __array_ufunc__(self): ..."),
        (protocol_lines, "class T:\n    __array_ufunc__ = min"),
        (protocol_lines, "x = 1\nhasattr(x, '__array_function__')"),
    ],
)
def test_reserved_names_are_found(lines, code):
    assert lines(ast.parse(code)) == [2]


def test_prose_may_name_the_protocols_and_anyone_may_refuse_them():
    code = '"""Why `__array_ufunc__` is not enough."""\n__array_ufunc__ = None'
    assert not protocol_lines(ast.parse(code))


def test_rows_follow_the_design():
    """Front and back end share a row, and no name stands twice."""
    names = re.findall(r"\w+", " ".join(name for row in ROWS for name in row))
    assert len(names) == len(set(names)) == len(PLACES)
    assert place("tracer").row == place("kernel").row
    assert place("tracer").column != place("kernel").column
