"""Pictures of tapes: the computational graph as DOT and as SVG.

Rectangles are operations, ellipses variables (inputs and constants), a guard is an
octagon, a loop a frame around its body, a branch one around both sides.  DOT is for
graphviz; the SVG has a layout of its own, rows by depth, so that nothing has to be
installed to see a small graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from .tape import Instr, Tape, _drawer, const, guard

__all__ = ["Box", "Drawing", "draw_tape"]

#: Shape of a box in DOT by its role.
_DOT = {
    "variable": "ellipse",
    "operation": "box",
    "guard": "octagon",
    "loop": "box3d",
    "branch": "diamond",
    "side": "folder",
}
_FILL = {
    "variable": "#e8f0fe",
    "operation": "#fef7e0",
    "guard": "#fce8e6",
    "loop": "#e6f4ea",
    "branch": "#f3e8fd",
    "side": "#faf5ff",
}
_WIDTH, _HEIGHT, _GAP, _CHAR = 28, 34, 22, 7


@dataclass
class Box:
    """One part of a picture.

    Attributes:
        key: names it; unique in a drawing.
        label: the text in it.
        role: `variable`, `operation`, `guard`, `loop`, `branch`, or `side` of a branch.
        inner: what is inside, for the last three.
    """

    key: str
    label: str
    role: str
    inner: Drawing | None = None


@dataclass
class Drawing:
    """A computational graph; notebooks show it.

    Attributes:
        boxes: in an order in which operands come first.
        edges: pairs of keys.
        title: the name of the whole.
    """

    title: str = ""
    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)

    # --- DOT --------------------------------------------------------------------------

    @property
    def dot(self) -> str:
        """The graph in graphviz' language."""
        lines = [f"digraph {_quoted(self.title)} {{", "  rankdir=TB;"]
        lines += self._dot_lines("  ")
        return "\n".join([*lines, "}"])

    def _dot_lines(self, indent: str) -> Iterable[str]:
        for box in self.boxes:
            style = f"shape={_DOT[box.role]}, style=filled"
            color = f'fillcolor="{_FILL[box.role]}"'
            yield f"{indent}{_quoted(box.key)} [label={_quoted(box.label)},"
            yield f"{indent}  {style}, {color}];"
            if box.inner is not None:
                yield f"{indent}subgraph {_quoted('cluster ' + box.key)} {{"
                yield f"{indent}  label={_quoted(box.inner.title)};"
                yield from box.inner._dot_lines(indent + "  ")
                yield f"{indent}}}"
        for a, b in self.edges:
            yield f"{indent}{_quoted(a)} -> {_quoted(b)};"

    # --- SVG --------------------------------------------------------------------------

    @property
    def svg(self) -> str:
        """The graph as a picture, laid out in rows by depth."""
        body, width, height = self._layout()
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>\n'
            f"{body}\n</svg>"
        )

    def _repr_svg_(self) -> str:
        return self.svg

    def _layout(self) -> tuple[str, int, int]:
        """The SVG of the parts, and how much room it takes."""
        rows = self._rows()
        drawn = {box.key: _Part(box) for box in self.boxes}
        top, width = _GAP, 2 * _GAP
        for row in rows:
            wide = sum(drawn[k].width for k in row) + _GAP * (len(row) + 1)
            width = max(width, wide)
        for row in rows:
            wide = sum(drawn[k].width for k in row) + _GAP * (len(row) - 1)
            left = (width - wide) // 2
            for key in row:
                part = drawn[key]
                part.x, part.y = left, top
                left += part.width + _GAP
            top += max(drawn[k].height for k in row) + 2 * _GAP
        lines = [
            drawn[a].edge_to(drawn[b])
            for a, b in self.edges
            if a in drawn and b in drawn
        ]
        lines += [part.svg() for part in drawn.values()]
        return "\n".join(lines), width, max(top - _GAP, 2 * _GAP)

    def _rows(self) -> list[list[str]]:
        """The keys by depth; in a row, each near the middle of its operands."""
        depth = {box.key: 0 for box in self.boxes}
        before: dict[str, list[str]] = {key: [] for key in depth}
        for a, b in self.edges:
            if a in depth and b in depth:
                before[b].append(a)
        for box in self.boxes:  # operands come first
            found = [depth[a] + 1 for a in before[box.key]]
            depth[box.key] = max(found, default=0)
        after: dict[str, int] = {}
        for a, b in self.edges:
            if a in depth and b in depth:
                after[a] = min(after.get(a, depth[b] - 1), depth[b] - 1)
        for key, others in before.items():
            if not others and key in after:
                depth[key] = after[key]  # a variable stands above its first use
        rows: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
        for box in self.boxes:
            rows[depth[box.key]].append(box.key)
        rows = [row for row in rows if row]
        place: dict[str, float] = {}
        for row in rows:
            middle = {
                key: sum(known) / len(known) if known else float(i)
                for i, key in enumerate(row)
                for known in [[place[a] for a in before[key] if a in place]]
            }
            row.sort(key=lambda key, middle=middle: middle[key])  # type: ignore[misc]
            place.update({key: i - len(row) / 2 for i, key in enumerate(row)})
        return rows


class _Part:
    """A box with a place."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.x = self.y = 0
        self.body = ""
        self.width = max(_WIDTH + _CHAR * len(box.label), 2 * _WIDTH)
        self.height = _HEIGHT
        if box.inner is not None:
            self.body, wide, high = box.inner._layout()
            self.width = max(self.width, wide + 2)
            self.height = high + _HEIGHT

    def edge_to(self, other: _Part) -> str:
        x1, y1 = self.x + self.width // 2, self.y + self.height
        x2, y2 = other.x + other.width // 2, other.y
        bend = max((y2 - y1) // 2, 10)
        return (
            f'<path d="M{x1},{y1} C{x1},{y1 + bend} {x2},{y2 - bend} {x2},{y2}" '
            'fill="none" stroke="#555" marker-end="url(#arrow)"/>'
        )

    def svg(self) -> str:
        x, y, w, h = self.x, self.y, self.width, self.height
        role, fill = self.box.role, _FILL[self.box.role]
        style = f'fill="{fill}" stroke="#555"'
        if role == "variable":
            shape = (
                f'<ellipse cx="{x + w // 2}" cy="{y + h // 2}" rx="{w // 2}" '
                f'ry="{h // 2}" {style}/>'
            )
        elif role == "guard":
            cut = 8
            points = [
                (x + cut, y), (x + w - cut, y), (x + w, y + cut), (x + w, y + h - cut),
                (x + w - cut, y + h), (x + cut, y + h), (x, y + h - cut), (x, y + cut),
            ]  # fmt: skip
            text = " ".join(f"{a},{b}" for a, b in points)
            shape = f'<polygon points="{text}" {style}/>'
        else:
            shape = f'<rect x="{x}" y="{y}" width="{w}" height="{h}" {style}/>'
        at = y + (20 if self.body else h // 2 + 4)
        label = (
            f'<text x="{x + w // 2}" y="{at}" text-anchor="middle">'
            f"{escape(self.box.label)}</text>"
        )
        inner = ""
        if self.body:
            inner = f'<g transform="translate({x + 1},{y + _HEIGHT})">{self.body}</g>'
        return shape + label + inner


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- tapes ----------------------------------------------------------------------------


def draw_tape(tape: Tape, prefix: str = "", counts: bool = False) -> Drawing:
    """The graph of a tape, with guards, loops and branches.

    Args:
        prefix: in front of all keys, so that bodies of loops have keys of their own.
        counts: whether the first input is the number of a loop's round.
    """
    drawing = Drawing(tape.name)
    for i, ref in enumerate(tape.inputs):
        label = f"%{ref}: {tape.avals[ref]!r}"
        if counts and i == 0:
            label = f"%{ref}: round"
        drawing.boxes.append(Box(f"{prefix}%{ref}", label, "variable"))
    for number, instr in enumerate(tape.instrs):
        _draw_instr(drawing, tape, instr, number, prefix)
    for k, ref in enumerate(tape.outputs):
        key = f"{prefix}return {k}"
        drawing.boxes.append(Box(key, "return", "variable"))
        drawing.edges.append((f"{prefix}{_maker(tape, ref)}", key))
    return drawing


def _maker(tape: Tape, ref: int) -> str:
    """The key of what defines a ref: further results are found at the first."""
    for instr in tape.instrs:
        if ref in instr.outs:
            return f"%{instr.outs[0]}"
    return f"%{ref}"


def _draw_instr(
    drawing: Drawing, tape: Tape, instr: Instr, number: int, prefix: str
) -> None:
    name = instr.prim.name
    if instr.prim is const:
        key = f"{prefix}%{instr.outs[0]}"
        drawing.boxes.append(Box(key, f"{instr.params['value']:g}", "variable"))
        return
    if instr.prim is guard:
        key = f"{prefix}guard {number}"
        source = f"  {instr.source}" if instr.source is not None else ""
        label = f"guard {instr.params['expected']}{source}"
        drawing.boxes.append(Box(key, label, "guard"))
    else:
        key = f"{prefix}%{instr.outs[0]}"
        inner, role, label = _inner(instr, key), "operation", name
        if inner is not None:
            role = "branch" if name == "branch" else "loop"
            trip = instr.params.get("trip")
            label = name if trip is None else f"{name}, {trip} rounds"
        drawing.boxes.append(Box(key, label, role, inner))
    for arg in dict.fromkeys(instr.args):
        drawing.edges.append((f"{prefix}{_maker(tape, arg)}", key))


def _inner(instr: Instr, key: str) -> Drawing | None:
    """The body of a loop, the sides of a branch beside each other."""
    tapes = {k: tape for k, tape in instr.params.items() if isinstance(tape, Tape)}
    counts = "trip" in instr.params
    if len(tapes) < 2:
        return next((draw_tape(t, f"{key} ", counts) for t in tapes.values()), None)
    drawing = Drawing(instr.prim.name)
    for name, tape in tapes.items():
        side = draw_tape(tape, f"{key} {name} ", counts)
        drawing.boxes.append(Box(f"{key} {name}", name, "side", side))
    return drawing


_drawer.append(draw_tape)
