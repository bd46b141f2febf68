"""Pictures of histories and of tapes, as DOT and as SVG."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tracejit import autograd, cond, jit, value_and_grad
from tracejit.errors import AutogradError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [t.text for t in ET.fromstring(svg).iter(f"{SVG}text")]


def count(svg, shape):
    return len(list(ET.fromstring(svg).iter(f"{SVG}{shape}")))


def line():
    w = autograd.array(2.0, requires_grad=True)
    x = autograd.array(3.0)
    b = autograd.array(1.0, requires_grad=True)
    return autograd.draw(w * x + b, w=w, x=x, b=b)


def test_dot_of_a_history():
    assert (
        line().dot
        == """\
digraph "history" {
  rankdir=TB;
  "value 0" [label="w: f64[]",
    shape=ellipse, style=filled, fillcolor="#e8f0fe"];
  "value 1" [label="x: f64[]",
    shape=ellipse, style=filled, fillcolor="#e8f0fe"];
  "Mul 2" [label="Mul",
    shape=box, style=filled, fillcolor="#fef7e0"];
  "value 3" [label="b: f64[]",
    shape=ellipse, style=filled, fillcolor="#e8f0fe"];
  "Add 4" [label="Add",
    shape=box, style=filled, fillcolor="#fef7e0"];
  "result" [label="result: f64[]",
    shape=ellipse, style=filled, fillcolor="#e8f0fe"];
  "value 0" -> "Mul 2";
  "value 1" -> "Mul 2";
  "Mul 2" -> "Add 4";
  "value 3" -> "Add 4";
  "Add 4" -> "result";
}"""
    )


def test_svg_of_a_history():
    svg = line()._repr_svg_()
    assert texts(svg) == [
        "w: f64[]", "x: f64[]", "Mul", "b: f64[]", "Add", "result: f64[]",
    ]  # fmt: skip
    assert count(svg, "ellipse") == 4
    assert count(svg, "rect") == 2
    places = {t.text: int(t.get("y")) for t in ET.fromstring(svg).iter(f"{SVG}text")}
    assert places["w: f64[]"] < places["Mul"] < places["Add"] < places["result: f64[]"]


def test_boxes_do_not_overlap():
    x = autograd.array(np.ones(3), requires_grad=True)
    y = np.exp(x) * np.sin(x) + np.cos(x) / 3.0
    root = ET.fromstring(autograd.draw(y.sum()).svg)
    boxes = []
    for r in root.iter(f"{SVG}rect"):
        x0, y0, w, h = (int(r.get(k)) for k in ("x", "y", "width", "height"))
        boxes.append((x0, y0, x0 + w, y0 + h))
    for e in root.iter(f"{SVG}ellipse"):
        cx, cy, rx, ry = (int(e.get(k)) for k in ("cx", "cy", "rx", "ry"))
        boxes.append((cx - rx, cy - ry, cx + rx, cy + ry))
    assert len(boxes) == 10
    for i, a in enumerate(boxes):
        assert min(a) >= 0
        assert a[2] <= int(root.get("width"))
        assert a[3] <= int(root.get("height"))
        for b in boxes[:i]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart


def test_functions_and_hooks_are_in_the_picture():
    class Twice(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    x = autograd.array(1.0, requires_grad=True)
    y = np.exp(x)
    y.register_hook(lambda g: g)
    labels = [box.label for box in autograd.draw(Twice.apply(y) + 1.0, x=x).boxes]
    assert labels[:2] == ["x: f64[]", "Exp"]
    assert "Twice" in labels


def test_what_cannot_be_drawn():
    text = (
        "draw() of an array that was not recorded. Draw a result of arrays with "
        "requires_grad=True."
    )
    with pytest.raises(AutogradError, match=rf"^test_\S+ in \w+: {re.escape(text)}$"):
        autograd.draw(autograd.array(1.0))


def grown(x):
    for _ in range(20):
        x = x + 0.1 * np.sin(x)
    if x > 1.0:
        x = np.sqrt(x)
    return x


def test_a_tape_with_loop_and_guard():
    tape = jit(grown).tape(0.5)
    dot = tape.to_dot()
    assert 'label="loop, 20 rounds"' in dot
    assert "subgraph" in dot
    assert dot.count("octagon") == 1
    assert 'label="guard True  test_draw.py:' in dot
    svg = tape._repr_svg_()
    assert count(svg, "polygon") == 1
    assert {"sin", "mul", "add", "gt", "return"} <= set(texts(svg))


def test_draw_of_a_transform():
    drawing = value_and_grad(grown).draw(0.5)
    roles = [box.role for box in drawing.boxes]
    assert roles.count("loop") == 2
    assert roles.count("guard") == 1
    keys = [box.key for box in drawing.boxes]
    assert len(set(keys)) == len(keys)
    for a, b in drawing.edges:
        assert a in keys
        assert b in keys
    ET.fromstring(drawing.svg)


def test_the_sides_of_a_branch_are_beside_each_other():
    @value_and_grad
    def smooth(x):
        return cond(x > 0.0, np.sin, lambda x: x * x, x)

    drawing = smooth.draw(0.5)
    branches = [box for box in drawing.boxes if box.role == "branch"]
    sides = [
        {
            side.label: [part.label for part in side.inner.boxes]
            for side in box.inner.boxes
        }
        for box in branches
    ]
    assert {
        "yes": ["%0: f64[]", "cos", "return"],
        "no": ["%0: f64[]", "add", "return"],
    } in sides
    assert {side.role for box in branches for side in box.inner.boxes} == {"side"}
    assert drawing.dot.count('[label="yes"') == len(branches)
    ET.fromstring(drawing.svg)
    assert drawing.svg.count(">yes</text>") == len(branches)


def test_a_branch_in_a_loop():
    @value_and_grad
    def grown(x):
        for _ in range(20):
            x = x * 0.5 if x > 1.0 else x + 0.3
        return x

    grown(0.5)
    (loop, *_) = [box for box in grown.draw(0.5).boxes if box.role == "loop"]
    assert loop.label == "loop, 20 rounds"
    assert loop.inner.boxes[0].label == "%0: round"
