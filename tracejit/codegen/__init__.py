"""Code generation: a fused program as readable Python and as machine code."""

from __future__ import annotations

from ..program import Program
from .driver import Link, emit_driver
from .ir import Module
from .layout import Layout
from .llvm import emit_body
from .slots import Slots
from .wrapper import emit_wrapper

__all__ = ["assembly", "driver_assembly"]


def assembly(program: Program, slots: Slots, name: str) -> str:
    """The LLVM module of a program: `NAME_body` and its Python face `NAME`."""
    module = Module()
    layout = Layout(program, slots)
    emit_body(module, layout, f"{name}_body")
    emit_wrapper(module, layout, name, f"{name}_body")
    return str(module)


def driver_assembly(links: list[Link], inputs: int, name: str) -> str:
    """The LLVM module of a driver, the function `NAME`; see `driver`."""
    module = Module()
    bodies = [f"{name}_body{k}" for k in range(len(links))]
    for link, body in zip(links, bodies, strict=True):
        emit_body(module, link.layout, body, inlined=True)
    emit_driver(module, links, inputs, name, bodies)
    # An example that goes on at another body is no rare thing.
    return str(module).replace(", !prof !1", "")
