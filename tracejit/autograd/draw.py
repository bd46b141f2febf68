"""The history of a variable as a picture."""

from __future__ import annotations

from typing import Any

from ..drawing import Box, Drawing
from .failure import fail
from .history import Constant, GradFn
from .segments import reachable
from .storage import renewed
from .templates import KINDS
from .variable import Variable

__all__ = ["draw"]

#: A picture of more calls shows nothing.
MOST = 500


def draw(y: Variable, **names: Variable) -> Drawing:
    """The computational graph behind a recorded result.

    Args:
        y: what was computed, before its history is freed.
        names: how leaves are called in the picture: `draw(z, w=w, x=x)`.

    Returns:
        A drawing: `dot` and `svg` are texts, and notebooks show it. Rectangles are
        operations, ellipses variables.

    Raises:
        AutogradError: `y` was not recorded, its history was freed, or it has more than
            500 calls.

    Example:
        >>> from tracejit import autograd
        >>> x = autograd.array(2.0, requires_grad=True)
        >>> picture = draw(x * x + 1.0, x=x)
        >>> [box.label for box in picture.boxes]
        ['x: f64[]', 'Mul', '1', 'Add', 'result: f64[]']
    """
    if y.fn is None or not y.level:
        raise fail(
            "draw() of an array that was not recorded",
            "Draw a result of arrays with requires_grad=True",
        )
    renewed(y)
    order = reachable([y.fn], through=True)
    if len(order) > MOST:
        raise fail(
            f"draw() of {len(order)} calls, of {MOST} at most",
            "Draw a smaller part, or the tape: autograd.plans()[-1].tape.draw()",
        )
    known = {id(variable): name for name, variable in names.items()}
    for name, variable in names.items():
        if variable.extra is not None and variable.extra.twin is not None:
            known[id(variable.extra.twin)] = name
    drawing = Drawing("history")
    keys: dict[int, str] = {}
    for fn in order:
        for arg in fn.args:
            if not isinstance(arg, GradFn) and id(arg) not in keys:
                keys[id(arg)] = f"value {len(keys)}"
                drawing.boxes.append(_variable(arg, keys[id(arg)], known))
        key = keys[id(fn)] = f"{fn.label} {len(keys)}"
        for i, number in enumerate(fn.numbers):
            drawing.boxes.append(Box(f"{key} {i}", f"{number:g}", "variable"))
            drawing.edges.append((f"{key} {i}", key))
        drawing.boxes.append(Box(key, fn.label, "operation"))
        args = dict.fromkeys(keys[id(arg)] for arg in fn.args)
        drawing.edges += [(arg, key) for arg in args]
    aval = _aval(y)
    drawing.boxes.append(Box("result", f"result: {aval}", "variable"))
    drawing.edges.append((keys[id(y.fn)], "result"))
    return drawing


def _variable(x: Any, key: str, known: dict[int, str]) -> Box:
    if isinstance(x, (Variable, Constant)):
        name = known.get(id(x), "leaf" if x.level else "constant")
        return Box(key, f"{name}: {_aval(x)}", "variable")
    return Box(key, repr(x)[:20], "variable")


def _aval(x: Any) -> str:
    return repr(KINDS[x.kind])
