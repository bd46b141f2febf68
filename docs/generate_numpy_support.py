"""Write `docs/numpy-support.md`: what is served of NumPy, from the table.

python docs/generate_numpy_support.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import tracejit.numpy_api  # noqa: F401  (fills the table)
from tracejit.numpy_api.refusals import PLAIN, REFUSALS
from tracejit.numpy_api.table import ENTRIES, Entry

PAGE = Path(__file__).with_name("numpy-support.md")

KINDS = {
    "function": "Functions",
    "ufunc": "Ufuncs",
    "method": "Methods and attributes of arrays",
    "ufunc method": "Methods of ufuncs",
}

HEAD = """\
# NumPy's functions

Generated from the table in `tracejit/numpy_api` by
`python docs/generate_numpy_support.py`; `tests/numpy_api/test_registry.py` holds the
table against what the functions do.

{total} names are served, {differentiable} of them differentiable. A name is a function
of `np`, `np.linalg`, `np.fft` or `np.lib.stride_tricks`, a ufunc, a method or attribute
of `ndarray`, or a method of one ufunc (`np.add.reduce`); each counts once, under the
name by which NumPy itself calls it (`np.concat` is `np.concatenate`). Differentiable is
what has a derivative other than zero somewhere.

{counts}

Positional arguments, lists of traced values and NumPy's promotion work everywhere; the
tables name the optional parameters that are served, and `out=` is served wherever
NumPy has it. Modes: *jvp vjp* are both, of any
order; *none* passes through exactly and has derivative zero. Floats are float64 and
float32, integers and bools are what NumPy makes of them. In a kernel, *compiled* is
machine code of our own (BLAS and LAPACK where NumPy has them), *host* calls NumPy's
routine in the middle of it.
"""

REST = """
## Refused

What a traced value cannot be given to raises at your line, and says what to write:

| name | what to write instead |
| --- | --- |
{refused}

## Run as they are

Nothing traced can be given to these, and they do while recording what they always do:

{plain}
"""


def row(entry: Entry) -> str:
    """One line of a table."""
    keywords = " ".join(entry.keywords)
    modes = "jvp vjp" if entry.gradient else "none"
    place = "host" if entry.host else "compiled"
    return f"| `{entry.name}` | {keywords} | {modes} | {place} |"


def served(kind: str) -> list[Entry]:
    """NumPy's names of one kind, in order."""
    found = [e for e in ENTRIES.values() if e.kind == kind]
    return sorted([e for e in found if not e.name.startswith("scipy")], key=_order)


def _order(entry: Entry) -> tuple[int, str]:
    return entry.name.count("."), entry.name


def counts() -> str:
    """How many names there are of each kind."""
    every = Counter({kind: len(served(kind)) for kind in KINDS})
    some = {kind: sum(e.gradient for e in served(kind)) for kind in KINDS}
    lines = ["| | served | differentiable |", "| --- | --- | --- |"]
    lines += [f"| {KINDS[k].lower()} | {every[k]} | {some[k]} |" for k in KINDS]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    entries = [e for kind in KINDS for e in served(kind)]
    parts = [
        HEAD.format(
            total=len(entries),
            differentiable=sum(e.gradient for e in entries),
            counts=counts(),
        )
    ]
    for kind, title in KINDS.items():
        lines = [row(e) for e in served(kind)]
        head = "| name | optional parameters | modes | in a kernel |\n"
        parts.append(f"\n## {title}\n\n{head}| --- | --- | --- | --- |\n")
        parts.append("\n".join(lines) + "\n")
    ways = {n: w for n, w in sorted(REFUSALS.items()) if n not in ENTRIES}
    refused = "\n".join(
        f"| `{name}`{' (all of it)' if _is_module(name) else ''} | {way}. |"
        for name, way in ways.items()
    )
    plain = " ".join(f"`{name}`" for name in sorted(PLAIN - set(ENTRIES)))
    parts.append(REST.format(refused=refused, plain=plain))
    return "".join(parts)


def _is_module(name: str) -> bool:
    return name.removeprefix("np.") in (
        "char", "fft", "ma", "polynomial", "random", "rec", "strings",
    )  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
