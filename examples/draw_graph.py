"""Draw computational graphs: of z = w*x + b, and of a network for digits.

Rectangles are operations, ellipses variables. The pictures are SVG, laid out without
any other program; `dot` is the same for graphviz.

Run it with `python examples/draw_graph.py`.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from tracejit import autograd, cond, value_and_grad

OUTPUT = Path(__file__).parent / "output"


def save(name, drawing):
    """Write a picture; return the number of its boxes."""
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{name}.svg"
    path.write_text(drawing.svg, encoding="utf-8")
    (OUTPUT / f"{name}.dot").write_text(drawing.dot, encoding="utf-8")
    root = ET.fromstring(drawing.svg)  # it is well-formed
    # What is counted is what is in the texts.
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {box.label for box in drawing.boxes} <= {text.strip() for text in texts}
    boxes, arrows = count(drawing)
    assert drawing.dot.count('" -> "') == arrows
    assert drawing.dot.count("[label=") == boxes
    print(f"{path.name}: {boxes} boxes, {arrows} arrows")
    return boxes


def count(drawing):
    """Return the number of boxes and arrows, those inside of loops too."""
    boxes, arrows = len(drawing.boxes), len(drawing.edges)
    for box in drawing.boxes:
        if box.inner is not None:
            inside, between = count(box.inner)
            boxes, arrows = boxes + inside, arrows + between
    return boxes, arrows


def line():
    """z = w*x + b, from its history."""
    w = autograd.array(2.0, requires_grad=True)
    x = autograd.array(3.0)
    b = autograd.array(1.0, requires_grad=True)
    z = w * x + b
    drawing = autograd.draw(z, w=w, x=x, b=b)
    print(drawing.dot)
    labels = [box.label for box in drawing.boxes]
    assert labels == ["w: f64[]", "x: f64[]", "Mul", "b: f64[]", "Add", "result: f64[]"]
    assert save("line", drawing) == 6


def loss(params, x, y):
    """Mean cross-entropy of a network with one hidden layer."""
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    z = hidden @ params["w2"] + params["b2"]
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(y)), y])


def network():
    """The network, as variables saw it, and with its gradient as a tape."""
    rng = np.random.default_rng(0)
    params = {
        "w1": rng.normal(size=(64, 32)),
        "b1": np.zeros(32),
        "w2": rng.normal(size=(32, 10)),
        "b2": np.zeros(10),
    }
    x, y = rng.random((16, 64)), rng.integers(0, 10, 16)
    leaves = {k: autograd.array(v, requires_grad=True) for k, v in params.items()}
    drawing = autograd.draw(loss(leaves, x, y), **leaves)
    roles = [box.role for box in drawing.boxes]
    assert roles.count("operation") == 14
    assert {"w1: f64[64,32]", "b2: f64[10]"} <= {box.label for box in drawing.boxes}
    save("digits", drawing)
    save("digits_gradient", value_and_grad(loss).draw(params, x, y))


def loops_and_guards():
    """A loop is a frame around its body, a guard an octagon."""

    @value_and_grad
    def grown(x):
        for _ in range(20):
            x = x + 0.1 * np.sin(x)
        if x > 1.0:
            x = np.sqrt(x)
        return x

    drawing = grown.draw(0.5)
    roles = [box.role for box in drawing.boxes]
    assert roles.count("loop") == 2
    assert roles.count("guard") == 1
    save("loop", drawing)


def a_branch():
    """What depends on a value: both sides are there, beside each other."""

    @value_and_grad
    def smooth(x):
        return cond(x > 0.0, np.sin, lambda x: x * x, x)

    drawing = smooth.draw(0.5)
    sides = {
        side.label: [part.label for part in side.inner.boxes]
        for box in drawing.boxes
        if box.role == "branch"
        for side in box.inner.boxes
        if "cos" in str(side.inner) or "add" in str(side.inner)
    }
    print(sides)
    assert sides == {
        "yes": ["%0: f64[]", "cos", "return"],
        "no": ["%0: f64[]", "add", "return"],
    }
    save("branch", drawing)


def main():
    """Draw all."""
    line()
    network()
    loops_and_guards()
    a_branch()


if __name__ == "__main__":
    main()
